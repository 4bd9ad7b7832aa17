package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

var locked = iPhone.with(dict{"IsActivationLockEnabled": true})

// acts returns the acts in the audit.
func (f *fuller) acts() (all []audit.Act) {
	f.t.Helper()
	entries, err := f.stores.Audit().Scan(f.t.Context(), -1, 1000)
	require.NoError(f.t, err)
	for _, e := range entries {
		all = append(all, e.Act)
	}
	return all
}

func TestLockForOrganizationIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(*fuller)
		device  string
		by      escrow.Act
		message string
		want    error
	}{
		"no audit": {func(f *fuller) {
			f.settled(id, serial, iPhone)
			f.config.Audit, f.config.Actions, f.config.Organization = nil, nil, ""
			f.engine = f.another()
		}, serial, by, "", engine.ErrNoAudit},
		"no actor":   {func(f *fuller) { f.settled(id, serial, iPhone) }, serial, escrow.Act{Reason: "a test"}, "", nil},
		"no reason":  {func(f *fuller) { f.settled(id, serial, iPhone) }, serial, escrow.Act{Actor: "anna"}, "", nil},
		"long":       {func(f *fuller) { f.settled(id, serial, iPhone) }, serial, by, long, nil},
		"unknown":    {func(*fuller) {}, serial, by, "", inventory.ErrNotFound},
		"codes only": {func(f *fuller) { f.held(serial, code) }, serial, by, "", inventory.ErrNotFound},
		"disputed":   {func(f *fuller) { f.settled(id, serial, iPhone); f.enroll(other, serial, iPhone) }, id, by, "", engine.ErrDisputed},
		"a TV":       {func(f *fuller) { f.checkin(id, authenticate(id, serial, "AppleTV14,1", "26.0")) }, id, by, "", engine.ErrNotPossible},
		"too old":    {func(f *fuller) { f.checkin(id, authenticate(id, serial, "iPad4,1", "9.2")) }, id, by, "", engine.ErrNotPossible},
		"nameless":   {func(f *fuller) { f.report(id, idle(id)) }, id, by, "", engine.ErrNotPossible},
		"audit down": {func(f *fuller) {
			f.settled(id, serial, iPhone)
			f.auditedIn(&down{f.stores.Audit(), true})
			f.engine = f.another()
		}, serial, by, "", errDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, withDoer)
			test.prepare(f)
			err := f.engine.LockForOrganization(t.Context(), test.device, test.by, test.message)
			require.ErrorContains(t, err, "engine: lock for the organization: ")
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			} else {
				require.ErrorContains(t, err, "an actor and a reason are required")
			}
			require.Empty(t, f.acts())
			f.tick()
			require.Empty(t, f.apple.Requests())
		})
	}
}

// What Apple does not lock is tried, since Apple says that best: then the order is
// over.
func TestLockForOrganizationOfWhatAppleDoesNotLock(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, ProductName: "Mac14,2", Now: f.config.Clock})
	require.NoError(t, err)
	require.NoError(t, f.apple.Add(device, true))
	f.checkin(id, authenticate(id, serial, "Mac14,2", "15.1"))
	f.order()
	require.Len(t, f.apple.Requests(), 1)
	require.Equal(t, []engine.EventType{engine.LockRefused}, f.told(engine.Locked, engine.LockRefused))
	require.Zero(t, f.record(id).LockOrder)
}

// The same order again is no second call while the first has no answer, and one
// that was put off is tried at once for it.
func TestLockForOrganizationAgain(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.order()
	request := f.request(engine.LockService)
	f.order()
	require.Empty(t, f.requests())
	require.NoError(t, f.engine.HandleAnswer(t.Context(), request, answerOf(403, "T_C_NOT_SIGNED"), nil))
	f.after(time.Hour)
	require.Empty(t, f.requests(), "the terms are to be signed")
	require.NoError(t, f.engine.LockForOrganization(t.Context(), id, by, ""))
	request = f.request(engine.LockService)
	require.Zero(t, f.lastOf(activationlock.SourceLockCall), "no call could have locked it")
	require.NoError(t, f.engine.HandleAnswer(t.Context(), request, answerOf(200, lockAnswer(serial, "SUCCESS")), nil))
	require.Equal(t, []audit.Act{audit.LockOrdered, audit.LockOrdered, audit.LockOrdered}, f.acts())
	f.after(2 * time.Hour)
	require.Empty(t, f.requests())
}

func TestLockOrderThatIsNotOnRecord(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	for n := 1; ; n++ {
		f.fate.strikes(n, "before")
		err := f.engine.LockForOrganization(t.Context(), serial, by, "")
		fired := f.fate.fired
		if f.fate.strikes(0, ""); !fired {
			require.NoError(t, err)
			require.Greater(t, n, 4)
			break
		}
		require.Error(t, err, "call %d", n)
		require.Zero(t, f.record(id).LockOrder)
		require.Empty(t, f.requests())
	}
	f.request(engine.LockService)
}

func TestBypassIsRefused(t *testing.T) {
	t.Parallel()
	unlock := engine.Unlock{Act: by, InHand: true}
	f := newFuller(t, withDoer)
	f.settled(id, serial, locked)
	_, _, err := f.engine.Bypass(t.Context(), "XXFAKE0SER9", unlock)
	require.ErrorIs(t, err, inventory.ErrNotFound)
	_, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by})
	require.ErrorIs(t, err, bypass.ErrNotInHand)
	_, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{InHand: true})
	require.Error(t, err)
	f.enroll(other, serial, iPhone)
	for _, name := range []string{serial, id, other} {
		_, _, err = f.engine.Bypass(t.Context(), name, unlock)
		require.ErrorIs(t, err, engine.ErrDisputed, name)
	}
	require.Empty(t, f.acts())
	f.config.Actions, f.config.Organization = nil, ""
	_, _, err = f.another().Bypass(t.Context(), serial, unlock)
	require.ErrorIs(t, err, engine.ErrNoBypass)
	require.Empty(t, f.apple.Requests())
	require.Nil(t, f.device(id).LastBypass)
}

// While one is under way there is no second one, and its action is returned.
func TestBypassThatIsUnderWay(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, locked)
	first, warning, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.WarningRelock, warning)
	again, _, err := f.engine.Bypass(t.Context(), id, engine.Unlock{Act: by, InHand: true})
	require.ErrorIs(t, err, bypass.ErrOpen)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, first.ID, f.device(serial).LastBypass.ID)
}

// Of a device whose codes are not held, the bypass is over at once and says why.
func TestBypassWithoutACode(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*fuller){nil, withDoer} {
		f := newFuller(t, change)
		f.enroll(id, serial, locked)
		a, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, bypass.NoCode, a.Reason)
		require.Equal(t, []engine.EventType{engine.BypassEnded}, f.told(engine.BypassEnded))
		require.Empty(t, f.record(id).BypassID)
		require.Empty(t, f.requests())
		f.checkin(other, authenticate(other, "XXFAKE0SER2", "AppleTV14,1", "26.0"))
		a, _, err = f.engine.Bypass(t.Context(), other, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, bypass.NotSupported, a.State)
	}
}

// Who was told of no success must not go on as if there were one, and erase the device.
func TestBypassThatFailsHasNoWarning(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, locked)
	f.after(time.Minute)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 404})
	a, warning, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Failed, a.State)
	require.Len(t, a.Attempts, 1)
	require.Empty(t, warning)
}

// A code that Apple refused opens nothing, as far as anybody knows, until the device
// gives it again: an erase would make a brick.
func TestNoEraseWithARefusedCode(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, locked.with(findMyOn))
	f.after(time.Minute)
	erase, _ := f.verdicts(serial)
	require.Equal(t, activationlock.Yes, erase)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 404})
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	answer, err := f.engine.CanErase(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, activationlock.VerdictUnknown, answer.Verdict)
	require.Contains(t, answer.Reasons, activationlock.ReasonCodeDoubtful)
	require.Zero(t, f.device(serial).Codes[0].StaleSince, "which is no mark on the code")

	f.after(time.Minute)
	f.report(id, codeAnswer(id, "host", code))
	erase, _ = f.verdicts(serial)
	require.Equal(t, activationlock.Yes, erase, "the device gave it again")
}

// What Apple refused before a lock came on says nothing of the code that this one has.
func TestCodeThatWasRefusedBeforeTheLock(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, iPhone)
	lock := func() {
		f.after(2 * time.Hour)
		f.apple.Script(activationlocktest.LockService, activationlocktest.Fault{Status: 200, Body: lockAnswer(serial, "SUCCESS")})
		f.order()
	}
	lock()
	erase, _ := f.verdicts(serial)
	require.Equal(t, activationlock.Yes, erase)
	f.after(time.Minute)
	for range 4 {
		f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 404})
	}
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	erase, _ = f.verdicts(serial)
	require.Equal(t, activationlock.VerdictUnknown, erase)

	f.after(time.Hour)
	f.appleOff(id)
	lock()
	require.Len(t, f.serverCodes(), 1, "the same code again")
	erase, _ = f.verdicts(serial)
	require.Equal(t, activationlock.Yes, erase)
}

// With a Doer the lock is off when Bypass returns; should it come on again, that is
// a finding.
func TestBypass(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.known(serial)
	f.settled(id, serial, locked)
	require.Equal(t, activationlock.EnabledWithBypassCode, f.device(id).Status)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 200})
	f.after(time.Minute)
	a, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	d := f.device(serial)
	require.Equal(t, activationlock.NotEnabled, d.Status)
	require.Equal(t, activationlock.SourceUnlockCall, d.Lock.Source)
	require.Equal(t, a, *d.LastBypass)
	require.Equal(t, escrow.Worked, d.Codes[0].State)
	require.Empty(t, d.Record.BypassID)
	require.Equal(t, []engine.EventType{engine.Unlocked}, f.told(engine.Unlocked, engine.BypassEnded))
	require.Equal(t, []audit.Act{audit.UnlockStarted, audit.UsedUnlock, audit.UnlockEnded}, f.acts())

	f.after(25 * time.Hour)
	f.report(id, informationAnswer(id, "host", dict{"IsActivationLockEnabled": true}))
	require.Contains(t, f.kinds(id), inventory.Relocked)
	require.NotEqual(t, activationlock.NotEnabled, f.device(id).Status)
	again, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.NotEqual(t, a.ID, again.ID)
	require.Equal(t, again.ID, f.device(id).LastBypass.ID)
}

// Several codes are tried one after the other, the right one among them.
func TestBypassTriesTheOthers(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*fuller){nil, withDoer} {
		f := newFuller(t, change)
		device := lockedDevice(t, f)
		f.held(serial, device.Code().Reveal())
		f.after(time.Hour)
		f.held(serial, code)
		_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		client := viaApple{f.apple}
		for _, request := range f.requests() {
			resp, err := client.Do(request.HTTP)
			require.NoError(t, f.engine.HandleAnswer(t.Context(), request, resp, err))
		}
		for _, request := range f.requests() {
			resp, err := client.Do(request.HTTP)
			require.NoError(t, f.engine.HandleAnswer(t.Context(), request, resp, err))
		}
		require.Len(t, f.apple.CodesTried(serial), 2)
		require.Equal(t, activationlocktest.NotLocked, f.apple.Lock(serial).Kind)
		require.Equal(t, bypass.Done, f.device(serial).LastBypass.State)
	}
}

// Whichever call of a store fails, or is the last one of a server: the lock is off in
// the end, and the record says what is known of it.
func TestBypassWhateverFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"before", "after", "crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // a store that fails is given time
				for n := 1; ; n++ {
					f := newFuller(t, withDoer)
					f.known(serial)
					f.settled(id, serial, locked)
					f.after(time.Minute)
					f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 503}, activationlocktest.Fault{Status: 200}, activationlocktest.Fault{Status: 200})
					f.fate.strikes(n, how)
					over := func() bool {
						return len(f.actions()) > 0 && f.actions()[0].State.Over() && f.actions()[0].Noted && f.record(id).BypassID == ""
					}
					for range 20 {
						f.survive(func() {
							if len(f.actions()) == 0 {
								_, _, _ = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
							}
						})
						f.survive(func() { _, _ = f.engine.Tick(t.Context(), 100) })
						if over() {
							break
						}
						f.after(10 * time.Minute)
					}
					fired := f.fate.fired
					f.fate.strikes(0, "")
					require.True(t, over(), "call %d: %+v", n, f.actions())
					require.Len(t, f.actions(), 1, "call %d", n)
					a := f.actions()[0]
					require.Equal(t, bypass.Done, a.State, "call %d", n)
					require.Equal(t, activationlock.Off, f.device(id).Lock.State, "call %d", n)
					require.Equal(t, escrow.Worked, f.device(id).Codes[0].State)
					require.LessOrEqual(t, len(f.told(engine.Unlocked, engine.BypassEnded)), 1)
					if how == "before" {
						require.Len(t, f.told(engine.Unlocked), 1, "call %d", n)
					}
					if !fired {
						require.Greater(t, n, 20)
						return
					}
				}
			})
		})
	}
}

// While the audit was not told what came of a bypass, it is not over.
func TestBypassThatTheAuditWasNotToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the audit is given time
		var trail *down
		f := newFuller(t, func(f *fuller) {
			trail = &down{Store: f.stores.Audit()}
			f.auditedIn(trail)
			f.config.Doer = doer(func(*http.Request) (*http.Response, error) {
				trail.down = true
				return answerOf(200, ""), nil
			})
		})
		f.settled(id, serial, locked)
		f.after(time.Minute)
		a, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, bypass.Done, a.State)
		require.False(t, a.Noted)
		require.Equal(t, a.ID, f.record(id).BypassID)
		require.Equal(t, activationlock.Off, f.device(id).Lock.State)
		require.Empty(t, f.told(engine.Unlocked))
		trail.down = false
		f.after(10 * time.Minute)
		f.tick()
		require.True(t, f.device(id).LastBypass.Noted)
		require.Empty(t, f.record(id).BypassID)
		require.Len(t, f.told(engine.Unlocked), 1)
		require.Contains(t, f.acts(), audit.UnlockEnded)
	})
}

// A bypass that is over ends before another one takes its place on record.
func TestBypassAfterOneThatTheAuditWasNotToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var trail *down
		f := newFuller(t, func(f *fuller) {
			trail = &down{Store: f.stores.Audit()}
			f.auditedIn(trail)
			f.config.Doer = doer(func(*http.Request) (*http.Response, error) {
				trail.down = true
				return answerOf(200, ""), nil
			})
		})
		f.settled(id, serial, locked)
		f.after(time.Minute)
		first, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		trail.down = false
		f.after(time.Minute)
		_, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Len(t, f.actions(), 2)
		require.Equal(t, first.ID, f.actions()[0].ID)
		require.True(t, f.actions()[0].Noted)
		require.Len(t, f.told(engine.Unlocked), 1)
	})
}

// Of a device without a record, codes may be filed under its enrollment.
func TestDeviceOfAnEnrollmentWithoutARecord(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	_, err := f.escrow.Capture(t.Context(), escrow.Capture{
		Subject: escrow.Subject{EnrollmentID: "UDID-OLD"}, Kind: bypasscode.Device, Text: bypasscode.NewText(code),
		Cause: escrow.CauseEnrollment, ReceivedAt: f.now,
	})
	require.NoError(t, err)
	d, err := f.engine.Device(t.Context(), "UDID-OLD")
	require.NoError(t, err)
	require.Len(t, d.Codes, 1)
	_, err = f.engine.Reveal(t.Context(), "UDID-OLD", engine.Wish{Act: by})
	require.ErrorIs(t, err, escrow.ErrRefused, "whose device it is nobody knows")
}

// actions are those of the device, past all faults.
func (f *fuller) actions() []bypass.Action {
	f.t.Helper()
	all, err := f.stores.Actions().OfDevice(f.t.Context(), serial)
	require.NoError(f.t, err)
	return all
}

// Where several claim one serial number nobody knows which device is meant, so no
// answer is yes.
func TestMayItBeErased(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	ask := func(name string) (erase, reassign activationlock.Answer) {
		erase, err := f.engine.CanErase(t.Context(), name)
		require.NoError(t, err)
		reassign, err = f.engine.CanReassign(t.Context(), name)
		require.NoError(t, err)
		return erase, reassign
	}
	erase, reassign := ask(serial)
	require.True(t, erase.Yes())
	require.False(t, reassign.Yes(), "only the device says so")
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "false", "NONE")), nil))
	erase, reassign = ask(id)
	require.True(t, erase.Yes())
	require.True(t, reassign.Yes())

	require.NoError(t, f.inventory.Update(t.Context(), id+":anna", func(r *inventory.Record) error {
		r.Channel, r.ParentID, r.TokenAt, r.LastSeen, r.Facts.SerialNumber = engine.UserChannel, id, f.now, f.now.Add(time.Second), serial
		return nil
	}))
	_, reassign = ask(serial)
	require.True(t, reassign.Yes(), "a user channel is no other device")
	require.Equal(t, id, f.device(serial).Record.EnrollmentID)

	f.enroll(other, serial, iPhone)
	for _, name := range []string{id, serial} {
		erase, reassign = ask(name)
		for _, a := range []activationlock.Answer{erase, reassign} {
			require.Equal(t, activationlock.VerdictUnknown, a.Verdict)
			require.Equal(t, []activationlock.Reason{activationlock.ReasonConflict}, a.Reasons)
		}
	}
	f.checkin(other, checkOut(other))
	_, reassign = ask(id)
	require.True(t, reassign.Yes(), "an enrollment that ended claims nothing")

	f.order()
	for range 2 { // while it is ordered, and while the call is under way
		erase, reassign = ask(id)
		require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonMayBeLocked}}, erase)
		require.Equal(t, erase, reassign)
		f.requests()
	}

	t.Log("a lock call that nobody ordered but the policy")
	require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error {
		r.LockOrder = inventory.LockOrder{}
		r.AddEvidence(activationlock.Evidence{State: activationlock.Off, Source: activationlock.SourceUnlockCall, At: f.now})
		return nil
	}))
	_, reassign = ask(id)
	require.Equal(t, []activationlock.Reason{activationlock.ReasonMayBeLocked}, reassign.Reasons)

	_, err := f.engine.CanErase(t.Context(), "XXFAKE0SER9")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	f.inventoryDown = true
	_, err = f.engine.CanReassign(t.Context(), id)
	require.ErrorIs(t, err, errDown)
}

// What is known of the device goes to the rule, which decides.
func TestReveal(t *testing.T) {
	t.Parallel()
	var asked []escrow.Reveal
	f := newFuller(t, nil)
	var err error
	f.config.Escrow, err = escrow.New(escrow.Config{
		Store: f.stores.Escrow(), Sealer: clear{}, Audit: f.audit,
		Allow: func(ctx context.Context, r escrow.Reveal, record escrow.Record) error {
			asked = append(asked, r)
			return escrow.Allow(ctx, r, record)
		},
	})
	require.NoError(t, err)
	f.engine = f.another()
	f.settled(id, serial, dict{"ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true})
	wish := engine.Wish{Act: by}

	_, err = f.engine.Reveal(t.Context(), serial, wish)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.NotContains(t, err.Error(), code)
	require.Nil(t, asked[0].CompanyOwned)
	require.Nil(t, asked[0].LockOn)

	own := func(o inventory.Ownership) {
		require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error { r.Ownership = o; return nil }))
	}
	own(inventory.Personal)
	f.report(id, informationAnswer(id, "host", dict{"IsActivationLockEnabled": true}))
	_, err = f.engine.Reveal(t.Context(), id, wish)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.Equal(t, []*bool{new(false), new(true)}, []*bool{asked[1].CompanyOwned, asked[1].LockOn})

	own(inventory.Company)
	text, err := f.engine.Reveal(t.Context(), id, wish)
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	require.Equal(t, []*bool{new(true), new(true)}, []*bool{asked[2].CompanyOwned, asked[2].LockOn})
	require.Equal(t, by, asked[2].Act)
	require.Equal(t, escrow.Purpose(""), asked[2].Purpose, "for a person")
	require.Equal(t, []audit.Act{audit.Refused, audit.Refused, audit.Revealed}, f.acts())

	f.after(time.Minute)
	f.report(id, informationAnswer(id, "host", dict{"IsActivationLockEnabled": false}))
	_, err = f.engine.Reveal(t.Context(), id, wish)
	require.ErrorIs(t, err, escrow.ErrRefused)
	require.Equal(t, new(false), asked[3].LockOn)
}

// Of several codes it is the one that a bypass would try first, or the one that is
// named.
func TestRevealOfSeveralCodes(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, locked)
	f.after(time.Hour)
	ask := f.enroll(id, serial, locked)
	f.report(id, codeAnswer(id, ask.UUID, code2))
	require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error { r.Ownership = inventory.Company; return nil }))
	codes := f.device(id).Codes
	require.Len(t, codes, 2)
	text, err := f.engine.Reveal(t.Context(), id, engine.Wish{Act: by})
	require.NoError(t, err)
	require.Equal(t, code2, text.Reveal())
	text, err = f.engine.Reveal(t.Context(), id, engine.Wish{Act: by, RecordID: codes[1].ID})
	require.NoError(t, err)
	require.Equal(t, code, text.Reveal())
	_, err = f.engine.Reveal(t.Context(), id, engine.Wish{Act: by, RecordID: "another"})
	require.ErrorIs(t, err, escrow.ErrNotFound)
	_, err = f.engine.Reveal(t.Context(), id, engine.Wish{})
	require.Error(t, err)
	require.NotContains(t, fmt.Sprint(err), code)

	f.order()
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.LockService), answerOf(200, lockAnswer(serial, "SUCCESS")), nil))
	text, err = f.engine.Reveal(t.Context(), id, engine.Wish{Act: by})
	require.NoError(t, err)
	require.NotContains(t, []string{code, code2}, text.Reveal(), "the lock is the organization's, and so is its code")
}

func TestRevealOfNothing(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.enroll(id, serial, locked)
	_, err := f.engine.Reveal(t.Context(), id, engine.Wish{Act: by})
	require.ErrorIs(t, err, engine.ErrNoCode)
	_, err = f.engine.Reveal(t.Context(), "XXFAKE0SER9", engine.Wish{Act: by})
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Empty(t, f.acts())
}

// A device is found by either name; of two that claim one serial number it is the
// one seen last.
func TestDeviceOfTwo(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.enroll(id, serial, iPhone)
	f.after(2 * time.Hour)
	f.enroll(other, serial, iPhone)
	require.Equal(t, other, f.device(serial).Record.EnrollmentID)
	f.after(7 * time.Hour)
	f.report(id, idle(id))
	require.Equal(t, id, f.device(serial).Record.EnrollmentID)
	require.Equal(t, other, f.device(other).Record.EnrollmentID)

	f.held("XXFAKE0SER3", code)
	d := f.device("XXFAKE0SER3")
	require.Zero(t, d.Record.EnrollmentID)
	require.Len(t, d.Codes, 1)
	require.Nil(t, d.LastBypass)
}
