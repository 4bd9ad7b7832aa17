package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
)

// enrollWith is enroll, with whatever comes of it.
func (w *world) enrollWith(id, serial string, facts dict) engine.Outcome {
	w.t.Helper()
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
	return w.report(id, informationAnswer(id, info.UUID, facts.with(dict{"UDID": id, "SerialNumber": serial})))
}

// A device names itself like another one's serial number. Whoever asks for that serial
// number means the other.
func TestEnrollmentNamedLikeASerialNumber(t *testing.T) {
	t.Parallel()
	const stolen = "XXFAKE0SER9"
	for _, known := range []string{"its record", "its code only"} {
		f := newFuller(t, withDoer)
		f.held(stolen, code2)
		if known == "its record" {
			f.settled(id, serial, locked)
		} else {
			f.held(serial, code)
		}
		before, err := f.engine.CanErase(t.Context(), serial)
		require.NoError(t, err)
		rogue := serial
		f.checkin(rogue, authenticate(rogue, stolen, "iPhone17,3", "26.1"))
		f.checkin(rogue, tokenUpdate(rogue))

		d := f.device(serial)
		require.NotEqual(t, rogue, d.Record.EnrollmentID, known)
		require.Equal(t, code, f.reveal(d.Codes[0]), known)
		after, err := f.engine.CanErase(t.Context(), serial)
		require.NoError(t, err)
		require.False(t, after.Yes(), "%s: %v before, and %v", known, before, after)
		_, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.ErrorIs(t, err, engine.ErrDisputed, known)
		_, err = f.engine.Reveal(t.Context(), serial, engine.Wish{Act: by})
		require.ErrorIs(t, err, engine.ErrDisputed, known)
		err = f.engine.LockForOrganization(t.Context(), serial, by, "")
		if known == "its record" {
			require.ErrorIs(t, err, engine.ErrDisputed)
		} else {
			require.ErrorIs(t, err, inventory.ErrNotFound)
		}
		require.Zero(t, f.record(rogue).LockOrder)
	}

	t.Log("one that is named like nobody is found by its name")
	f := newFuller(t, withDoer)
	f.settled(id, serial, iPhone)
	require.Equal(t, id, f.device(id).Record.EnrollmentID)
	a, err := f.engine.CanErase(t.Context(), id)
	require.NoError(t, err)
	require.True(t, a.Yes(), a)
}

// appleSaysOff has it on record that Apple says that the lock is off, which settles it.
func (f *fuller) appleSaysOff(id string) {
	f.t.Helper()
	f.appleOff(id)
	require.Equal(f.t, activationlock.Yes, f.record(id).Summary.Reassign)
}

// Of a dispute both sides know, as soon as it begins and when it ends, also one that
// says nothing: and the report says no more than the engine does.
func TestDisputeIsOnRecordOfBoth(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fuller){
		"CheckOut": func(f *fuller) { f.checkin(other, checkOut(other)) },
		"End":      func(f *fuller) { require.NoError(f.t, f.engine.End(f.t.Context(), other)) },
	} {
		f := newFuller(t, nil)
		f.settled(id, serial, iPhone)
		f.appleSaysOff(id)
		f.events = nil
		f.checkin(other, authenticate(other, serial, "iPhone17,3", "26.1"))
		f.checkin(other, authenticate(other, serial, "iPhone17,3", "26.1"))
		require.Len(t, f.told(engine.SerialDisputed), 1, "told once")
		f.tick()
		for _, each := range []string{id, other} {
			require.True(t, f.record(each).Disputed, "%s of %s", name, each)
		}
		require.Contains(t, kinds(f.record(id)), inventory.SerialDisputed)
		require.Equal(t, activationlock.VerdictUnknown, f.record(id).Summary.Reassign)

		f.after(time.Minute)
		end(f)
		f.tick()
		require.False(t, f.record(id).Disputed, name)
		require.NotContains(t, kinds(f.record(id)), inventory.SerialDisputed)
		require.Equal(t, activationlock.Yes, f.record(id).Summary.Reassign)
		require.False(t, f.record(other).CheckedOutAt.IsZero())
	}
}

// The host deleted an enrollment, of which no CheckOut comes.
func TestEnd(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	require.ErrorIs(t, f.engine.End(t.Context(), id), inventory.ErrNotFound)
	f.settled(id, serial, iPhone)
	f.inventoryDown = true
	require.Error(t, f.engine.End(t.Context(), id))
	f.inventoryDown = false
	f.after(time.Minute)
	require.NoError(t, f.engine.End(t.Context(), id))
	ended := f.record(id)
	require.Equal(t, f.now, ended.CheckedOutAt)
	f.after(time.Minute)
	require.NoError(t, f.engine.End(t.Context(), id))
	require.Equal(t, ended.CheckedOutAt, f.record(id).CheckedOutAt, "once")
	for range 60 {
		f.after(24 * time.Hour)
		require.Empty(t, f.commands())
	}
	require.Equal(t, code, f.reveal(f.device(serial).Codes[0]))
}

// An order to lock a device makes it one that may not be given away.
func TestReportOfAnOrderedLock(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.appleSaysOff(id)
	require.NoError(t, f.engine.LockForOrganization(t.Context(), serial, by, ""))
	f.tick()
	require.Equal(t, activationlock.VerdictUnknown, f.record(id).Summary.Reassign)
	a, err := f.engine.CanReassign(t.Context(), serial)
	require.NoError(t, err)
	require.False(t, a.Yes())
}

// A channel that is none is told, and nothing of the message taken in.
func TestChannelThatIsNone(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	_, err := f.engine.HandleCheckin(t.Context(), engine.Enrollment{ID: id, Channel: "Device"}, authenticate(id, serial, "iPhone17,3", "26.1"))
	require.NoError(t, err)
	require.Equal(t, []engine.EventType{engine.NotBelieved}, f.eventTypes())
	_, err = f.inventory.Get(t.Context(), id)
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

// What a host says of an enrollment may look into the inventory.
func TestAdoptWithAPolicyThatReads(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	asked := 0
	f.config.PolicyFor = func(r *inventory.Record) engine.Policy {
		asked++
		_, err := f.inventory.Get(t.Context(), r.EnrollmentID)
		require.ErrorIs(t, err, inventory.ErrNotFound)
		return engine.Policy{AdoptWithin: time.Hour}
	}
	f.engine = f.another()
	adopt(f.engine, t, id, other)
	require.Equal(t, 2, asked)
	require.False(t, f.record(id).Summary.DueAt.After(f.now.Add(time.Hour)))
}

// Where a host has no schedule for a device, the default holds.
func TestScheduleOfSome(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		f.config.Policy.Inventory = func(enrollmentID string) inventory.Schedule {
			if enrollmentID == id {
				return nil
			}
			return inventory.Periodic{}.For(enrollmentID)
		}
	})
	f.settled(id, serial, iPhone)
	due := f.record(id).Summary.DueAt
	require.True(t, due.After(f.now) && !due.After(f.now.Add(7*24*time.Hour)), due)
}

// Two servers see the same change, and one of them tells of it.
func TestFindingIsToldOnce(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.enroll(id, serial, iPhone)
	second := f.another()
	f.after(13 * 24 * time.Hour) // the window closes
	f.events = nil
	// The second server reads the record before the first writes it.
	var once sync.Once
	f.config.PolicyFor = func(*inventory.Record) engine.Policy {
		once.Do(func() {
			_, err := second.HandleReport(context.WithoutCancel(t.Context()), engine.Enrollment{ID: id}, idle(id))
			require.NoError(t, err)
		})
		return f.config.Policy
	}
	f.engine = f.another()
	f.report(id, idle(id))
	began := 0
	for _, e := range f.events {
		if e.Type == engine.FindingBegan && e.Finding.Kind == inventory.WindowCloses {
			began++
		}
	}
	require.Equal(t, 1, began)
}

// The true device is just enrolling again, and a forger says that Find My is off.
func TestDisputeWithOneThatIsBeginning(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone.with(findMyOn))
	f.appleOff(id)
	f.enrollWith(other, serial, iPhone)
	f.after(7 * time.Hour)
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	f.after(7 * time.Hour)
	f.report(other, idle(other))
	f.appleOff(other)
	require.Equal(t, other, f.device(serial).Record.EnrollmentID, "which was seen last")
	erase, reassign := f.verdicts(serial)
	require.Equal(t, activationlock.VerdictUnknown, erase)
	require.Equal(t, activationlock.VerdictUnknown, reassign)
}
