package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
)

// goesOn are the ways in which an enrollment that ended says that the device enrolled
// again, when its Authenticate is on no record.
var goesOn = map[string]func(*fuller){
	"report":      func(f *fuller) { f.report(id, idle(id)) },
	"TokenUpdate": func(f *fuller) { f.checkin(id, tokenUpdate(id)) },
}

// appleOff: Apple says that the lock is off.
func (f *fuller) appleOff(id string) {
	f.t.Helper()
	require.NoError(f.t, f.inventory.Update(f.t.Context(), id, func(r *inventory.Record) error {
		r.AddEvidence(activationlock.Evidence{Source: activationlock.SourceApple, State: activationlock.Off, At: f.now})
		r.Summary.DueAt = f.now
		return nil
	}))
	f.tick()
}

func (f *fuller) verdicts(serialOrID string) (erase, reassign activationlock.Verdict) {
	f.t.Helper()
	mayErase, err := f.engine.CanErase(f.t.Context(), serialOrID)
	require.NoError(f.t, err)
	mayReassign, err := f.engine.CanReassign(f.t.Context(), serialOrID)
	require.NoError(f.t, err)
	return mayErase.Verdict, mayReassign.Verdict
}

// That Find My is on speaks against what Apple says of the lock, also in an enrollment
// in which the device has not said so yet: an erase leaves the lock.
func TestFindMyOutlivesTheEnrollment(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*fuller){
		"End, and a report": func(f *fuller) {
			require.NoError(f.t, f.engine.End(f.t.Context(), id))
			f.after(24 * time.Hour)
			f.report(id, idle(id))
		},
		"Authenticate": func(f *fuller) { f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1")) },
		"Authenticate, twice": func(f *fuller) {
			f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
			f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
		},
		"CheckOut, and a TokenUpdate": func(f *fuller) {
			f.checkin(id, checkOut(id))
			f.checkin(id, tokenUpdate(id))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFuller(t, nil)
			f.settled(id, serial, iPhone.with(findMyOn))
			f.after(25 * time.Hour)
			f.appleOff(id)
			for range 2 {
				erase, reassign := f.verdicts(serial)
				require.Equal(t, activationlock.VerdictUnknown, erase)
				require.Equal(t, activationlock.VerdictUnknown, reassign)
				again(f)
			}
			require.Equal(t, activationlock.VerdictUnknown, f.record(id).Summary.Reassign)

			f.report(id, informationAnswer(id, "host", iPhone))
			require.False(t, f.record(id).FindMyWasOn)
			f.appleOff(id)
			erase, reassign := f.verdicts(serial)
			require.Equal(t, activationlock.Yes, erase, "it says that Find My is off")
			require.Equal(t, activationlock.Yes, reassign)
		})
	}
}

// A forger whose enrollment was ended was seen last: the device itself says nothing any
// more, on its activation screen.
func TestEndedForgerThatWasSeenLast(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, locked)
	f.after(7 * time.Hour)
	f.checkin(other, authenticate(other, serial, "iPhone17,3", "26.1"))
	f.checkin(other, tokenUpdate(other))
	require.NoError(t, f.engine.End(t.Context(), other))
	f.tick()
	require.Equal(t, id, f.device(serial).Record.EnrollmentID)
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
}

// It claims its serial number again, without naming it.
func TestDisputeWithOneThatGoesOn(t *testing.T) {
	t.Parallel()
	for name, speak := range goesOn {
		t.Run(name, func(t *testing.T) {
			f := newFuller(t, withDoer)
			f.settled(id, serial, iPhone)
			f.checkin(id, checkOut(id))
			f.after(time.Hour)
			f.settled(other, serial, iPhone)
			f.appleOff(other)
			f.after(24 * time.Hour)
			speak(f)
			_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
			require.ErrorIs(t, err, engine.ErrDisputed)
			require.Len(t, f.told(engine.SerialDisputed), 1)
			f.tick()
			for _, claims := range []string{id, other} {
				require.True(t, f.record(claims).Disputed)
				require.Contains(t, kinds(f.record(claims)), inventory.SerialDisputed)
			}
		})
	}
}

// Nobody knows when it enrolled again, so the 15 days of its code begin when it left.
func TestWindowOfOneThatGoesOn(t *testing.T) {
	t.Parallel()
	for name, speak := range goesOn {
		t.Run(name, func(t *testing.T) {
			f := newFuller(t, nil)
			f.settled(id, serial, iPhone)
			f.checkin(id, checkOut(id))
			left := f.now
			f.after(48 * time.Hour)
			speak(f) // and then the device says nothing
			require.Equal(t, left, f.record(id).AuthenticatedAt)
			require.Equal(t, left, f.records(serial)[0].StaleSince)
			f.after(activationlock.CodeWindow - 48*time.Hour - 12*time.Hour)
			f.tick()
			require.Contains(t, kinds(f.record(id)), inventory.WindowCloses)
			f.after(24 * time.Hour)
			f.tick()
			require.Contains(t, kinds(f.record(id)), inventory.WindowOver)
		})
	}
}

// An organization locks the devices that enroll, and this one was given away.
func TestPolicyLocksNoDeviceThatGoesOn(t *testing.T) {
	t.Parallel()
	for name, speak := range goesOn {
		t.Run(name, func(t *testing.T) {
			f := newFuller(t, func(f *fuller) { withDoer(f); f.config.Policy.LockForOrganization = true })
			f.settled(id, serial, locked)
			f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 200})
			f.known(serial)
			f.tick()
			require.NoError(t, f.engine.End(t.Context(), id))
			f.after(time.Minute)
			_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
			require.NoError(t, err)
			f.after(25 * time.Hour)
			speak(f)
			f.report(id, informationAnswer(id, "host", iPhone))
			f.after(time.Minute)
			f.tick()
			require.Empty(t, f.told(engine.Locked, engine.LockRefused))
		})
	}
}

func TestRelockOfOneThatGoesOn(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, locked)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 200})
	f.known(serial)
	require.NoError(t, f.engine.End(t.Context(), id))
	f.after(time.Minute)
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, activationlock.Off, f.device(serial).Lock.State)
	f.after(8 * 24 * time.Hour)
	info := f.one(f.report(id, idle(id)), "DeviceInformation")
	f.report(id, informationAnswer(id, info.UUID, locked)) // the same user's Find My
	f.tick()
	require.Contains(t, kinds(f.record(id)), inventory.Relocked)
}

// How soon a device has to answer says nothing of how late a server hands on a report.
func TestLateReportWithAShortDeadline(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { f.config.Policy.AnswerWithin = 10 * time.Minute })
	f.settled(id, serial, iPhone)
	f.checkin(id, checkOut(id))
	f.after(23 * time.Hour)
	require.Empty(t, f.report(id, idle(id)).Commands)
	require.False(t, f.record(id).CheckedOutAt.IsZero())
}

// A victim that says nothing is disputed no longer, though the forger left while escrow
// was down.
func TestDisputeIsOverWhileEscrowIsDown(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.checkin(other, authenticate(other, serial, "iPhone17,3", "26.1"))
	f.checkin(other, tokenUpdate(other))
	require.True(t, f.record(id).Disputed)
	f.escrowDown = true
	f.checkin(other, checkOut(other))
	f.escrowDown = false
	require.False(t, f.record(other).CheckedOutAt.IsZero())
	require.False(t, f.record(id).Disputed)
}
