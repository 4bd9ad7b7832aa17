package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var findMyOn, findMyOff = dict{"IsDeviceLocatorServiceEnabled": true}, dict{"IsDeviceLocatorServiceEnabled": false}

// allowed plays the rest of an enrollment, up to the permission.
func (w *world) allowed(id string, ask engine.Queued, code string) {
	w.t.Helper()
	settings := w.one(w.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Empty(w.t, w.report(id, answer(id, settings.UUID, "Acknowledged", nil)).Commands)
}

// permission lets an idle device get the permission; if the engine first wants
// to hear that the code is still the same, it is.
func (w *world) permission() engine.Queued {
	w.t.Helper()
	out := w.report(id, idle(id))
	if len(out.Commands) == 1 && out.Commands[0].RequestType == "ActivationLockBypassCode" {
		out = w.report(id, codeAnswer(id, out.Commands[0].UUID, code))
	}
	return w.one(out, "Settings")
}

func (w *world) current(serial string) string {
	w.t.Helper()
	records := w.records(serial)
	require.NotEmpty(w.t, records)
	require.Equal(w.t, escrow.Current, records[0].State)
	return w.reveal(records[0])
}

// A TokenUpdate that could not be recorded may be the only one.
func TestTokenUpdateThatWasNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.inventoryDown = true
	require.Empty(t, w.checkin(id, tokenUpdate(id)).Commands)
	w.inventoryDown = false
	w.one(w.report(id, idle(id)), "DeviceInformation")
}

func TestAuthenticateThatComesTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.allowed(id, ask, code)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := w.one(w.report(id, idle(id)), "DeviceInformation")
	w.one(w.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
}

// The mark in escrow stands in for an Authenticate that is not on record.
func TestAuthenticateThatWasNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	w.allowed(id, ask, code)

	w.now = w.now.Add(8 * 24 * time.Hour)
	w.inventoryDown = true
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.inventoryDown = false
	info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
	erased := iPhone.with(dict{"MDMOptions": dict{"ActivationLockAllowedWhileSupervised": false}})
	ask = w.one(w.report(id, informationAnswer(id, info.UUID, erased)), "ActivationLockBypassCode")

	t.Log("asked as often as in any new enrollment")
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, "")).Commands, "no allow on a code of before")
	w.now = w.now.Add(6 * time.Hour)
	ask = w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
	w.allowed(id, ask, code2)
	require.Equal(t, code2, w.current(serial))
}

func TestEnrollmentAfterCheckOutThatWasNotRecorded(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, missed ...[]byte) *world {
		w := newWorld(t)
		ask := w.enroll(id, serial, iPhone)
		w.allowed(id, ask, code)
		w.checkin(id, checkOut(id))
		w.now = w.now.Add(24 * time.Hour)
		w.inventoryDown, w.escrowDown = true, true
		for _, raw := range missed {
			w.checkin(id, raw)
		}
		w.inventoryDown, w.escrowDown = false, false
		return w
	}
	authenticate := authenticate(id, serial, "iPhone17,3", "26.1")

	t.Run("Authenticate", func(t *testing.T) {
		w := begin(t, authenticate)
		info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
		ask := w.one(w.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
		w.one(w.report(id, codeAnswer(id, ask.UUID, code2)), "Settings")
	})
	t.Run("both", func(t *testing.T) {
		w := begin(t, authenticate, tokenUpdate(id))
		w.now = w.now.Add(-time.Microsecond)
		require.Empty(t, w.report(id, idle(id)).Commands, "that may be a late one")
		w.now = w.now.Add(time.Microsecond)
		info := w.one(w.report(id, idle(id)), "DeviceInformation")
		ask := w.one(w.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
		w.one(w.report(id, codeAnswer(id, ask.UUID, code2)), "Settings")
	})
	t.Run("away for weeks", func(t *testing.T) {
		w := begin(t, authenticate, tokenUpdate(id))
		w.now = w.now.Add(20 * 24 * time.Hour)
		w.one(w.report(id, idle(id)), "DeviceInformation")
	})
	t.Run("a clock that was ahead", func(t *testing.T) {
		w := begin(t, authenticate, tokenUpdate(id)) // the CheckOut came a day ago by that clock
		w.now = w.now.Add(-365 * 24 * time.Hour)
		w.one(w.report(id, idle(id)), "DeviceInformation")
		require.Equal(t, w.now, w.device(id).Record.AuthenticatedAt)
	})
	t.Run("late reports", func(t *testing.T) {
		w := begin(t)
		w.now = w.now.Add(-23 * time.Hour)
		for range 3 {
			w.now = w.now.Add(time.Hour)
			require.Empty(t, w.report(id, idle(id)).Commands)
		}
	})
}

// The victim is not enrolled yet, but on its way.
func TestForgerBetweenAuthenticateAndTokenUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	forged := w.enroll(other, serial, iPhone)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	require.Empty(t, w.report(other, codeAnswer(other, forged.UUID, code2)).Commands)
	require.Equal(t, code, w.current(serial))
}

// A forger's enrollment says nothing of the victim's code.
func TestForgerMarksNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	w.now = w.now.Add(time.Hour)
	w.checkin(other, authenticate(other, serial, "iPhone17,3", "26.1"))
	require.True(t, w.records(serial)[0].StaleSince.IsZero())
	require.Contains(t, w.eventTypes(), engine.SerialDisputed)
}

// A forger gives its code first, and then says whose it is.
func TestForgerThatJoinsLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nameless := dict{"ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true}
	info := w.one(w.report(other, idle(other)), "DeviceInformation")
	forged := w.one(w.report(other, informationAnswer(other, info.UUID, nameless)), "ActivationLockBypassCode")
	ask := w.enroll(id, serial, iPhone)
	w.one(w.report(other, codeAnswer(other, forged.UUID, code2)), "Settings")

	out := w.report(other, informationAnswer(other, "host", dict{"SerialNumber": serial}))
	require.NotContains(t, types(out), "Settings")
	require.Empty(t, w.records(serial), "the victim has no code")

	t.Log("once the forger is gone, the victim's code is the current one")
	w.checkin(other, checkOut(other))
	w.allowed(id, ask, code)
	require.Equal(t, code, w.current(serial))
}

// A device left and is locked. Another one claims its serial number then, and is thrown
// out: it is the one seen last, but the code of the first opens the lock of the first.
func TestForgerOfADeviceThatLeft(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	f.checkin(id, checkOut(id))
	f.after(time.Hour)
	f.checkin(other, authenticate(other, serial, "RealityDevice14,1", "26.1"))
	info := f.one(f.checkin(other, tokenUpdate(other)), "DeviceInformation")
	vision := dict{"UDID": other, "SerialNumber": serial, "ProductName": "RealityDevice14,1", "OSVersion": "26.1", "IsSupervised": true}
	f.report(other, codeAnswer(other, f.one(f.report(other, informationAnswer(other, info.UUID, vision)), "ActivationLockBypassCode").UUID, code2))
	f.after(time.Hour)
	f.checkin(other, checkOut(other))

	f.requests() // for the status, which nobody answers
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	var told []string
	for range 2 {
		unlock := f.request(engine.UnlockService)
		told = append(told, unlock.HTTP.URL.Query().Get("productType"))
		require.NoError(t, f.engine.HandleAnswer(t.Context(), unlock, answerOf(404, ""), nil))
	}
	require.Equal(t, []string{"RealityDevice14,1", "iPhone17,3"}, told)
}

func TestJoinIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nameless := dict{"ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true}
	info := w.one(w.report(id, idle(id)), "DeviceInformation")
	ask := w.one(w.report(id, informationAnswer(id, info.UUID, nameless)), "ActivationLockBypassCode")
	w.allowed(id, ask, code)
	named := informationAnswer(id, "host", dict{"SerialNumber": serial})
	w.escrowDown = true
	w.report(id, named)
	w.escrowDown = false
	require.Empty(t, w.records(serial))
	w.report(id, named)
	require.Equal(t, code, w.current(serial))
}

// partial is an inventory of which parts fail.
type partial struct {
	inventory.Store
	get, update, bySerial *bool
}

func (p partial) Get(ctx context.Context, id string) (inventory.Record, error) {
	if *p.get {
		return inventory.Record{}, errDown
	}
	return p.Store.Get(ctx, id)
}

// Update fails at the last moment.
func (p partial) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return p.Store.Update(ctx, id, func(r *inventory.Record) error {
		if err := change(r); err != nil || !*p.update {
			return err
		}
		return errDown
	})
}

func (p partial) BySerialNumber(ctx context.Context, serial string) ([]inventory.Record, error) {
	if *p.bySerial {
		return nil, errDown
	}
	return p.Store.BySerialNumber(ctx, serial)
}

// newPartialWorld is a world with an inventory of which parts fail.
func newPartialWorld(t *testing.T) (w *world, p partial) {
	t.Helper()
	w = newWorld(t)
	p = partial{w.inventory, new(false), new(false), new(false)}
	w.engine = w.another(p, allow())
	return w, p
}

// another is another engine on the same escrow.
func (w *world) another(records inventory.Store, options mdmcmd.MDMOptions) *engine.Engine {
	w.t.Helper()
	e, err := engine.New(engine.Config{
		Escrow: w.escrow, Inventory: records,
		Policy: weekly(options), Clock: func() time.Time { return w.now },
	})
	require.NoError(w.t, err)
	return e
}

func TestNobodyCanSayWhetherItIsDisputed(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	forged := w.enroll(other, serial, iPhone)
	*fails.bySerial = true
	require.Empty(t, w.report(other, codeAnswer(other, forged.UUID, code2)).Commands)
	require.Equal(t, code, w.current(serial))
	require.Len(t, w.records(serial), 2, "kept all the same")

	t.Log("an honest device is asked again")
	*fails.bySerial = false
	w.checkin(other, checkOut(other))
	ask := w.enroll(id, serial, iPhone)
	*fails.bySerial = true
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code3)).Commands)
	*fails.bySerial = false
	w.now = w.now.Add(6 * time.Hour)
	w.allowed(id, w.one(w.report(id, idle(id)), "ActivationLockBypassCode"), code3)
	require.Equal(t, code3, w.current(serial))
}

// If nobody can say who claims the serial number, the mark is the safe side.
func TestMarkWhenNobodyCanSay(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	*fails.bySerial = true
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	require.False(t, w.records(serial)[0].StaleSince.IsZero())
}

// The forger knows the victim's code.
func TestForgerWithTheVictimsCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	forged := w.enroll(other, serial, iPhone)
	require.Empty(t, w.report(other, codeAnswer(other, forged.UUID, code)).Commands)
	held := w.records(serial)
	require.Len(t, held, 1)
	require.Equal(t, id, held[0].EnrollmentID)
}

// Nobody could read that the code was asked for, though it could be written.
func TestCodeOfWhichNobodyKnowsThatItWasAsked(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	nameless := dict{"ProductName": "iPhone17,3", "OSVersion": "26.1", "IsSupervised": true}
	again := func() engine.Queued {
		w.checkin(id, list(dict{"MessageType": "Authenticate", "UDID": id, "Topic": "t"}))
		info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
		return w.one(w.report(id, informationAnswer(id, info.UUID, nameless)), "ActivationLockBypassCode")
	}
	w.allowed(id, again(), code)
	w.now = w.now.Add(-time.Minute) // so that the code gets no mark
	ask := again()
	*fails.get = true
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code)).Commands)
	*fails.get = false
	w.now = w.now.Add(24 * time.Hour)
	w.allowed(id, w.one(w.report(id, idle(id)), "ActivationLockBypassCode"), code)
}

// Another code was committed, and the record does not know. The device may not give it
// again.
func TestCodeThatIsNotOnRecord(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	settings := w.one(w.report(id, codeAnswer(id, w.enroll(id, serial, iPhone).UUID, code)), "Settings")
	w.report(id, answer(id, settings.UUID, "NotNow", nil))
	ask := w.one(w.report(id, informationAnswer(id, "host", findMyOn)), "ActivationLockBypassCode")
	*fails.update = true
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code2)).Commands)
	*fails.update = false
	first := w.device(serial).Record.CodeID
	w.now = w.now.Add(time.Hour)
	w.one(w.report(id, idle(id)), "Settings")
	d := w.device(serial)
	require.NotEqual(t, first, d.Record.CodeID)
	require.False(t, d.Record.CodeWanted)
	require.Equal(t, inventory.WithCode, d.Record.Exchanges["ActivationLockBypassCode"].Answer)
	require.Equal(t, w.now.Add(-time.Hour), d.Record.Exchanges["ActivationLockBypassCode"].AnsweredAt)
	i := slices.IndexFunc(d.Codes, func(c escrow.Record) bool { return c.ID == d.Record.CodeID })
	require.Equal(t, code2, w.reveal(d.Codes[i]))
	require.Equal(t, escrow.Current, d.Codes[i].State)
}

// The same if the window closed meanwhile: it is not lost to the permission.
func TestCodeThatIsNotOnRecordForWeeks(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	ask := w.enroll(id, serial, iPhone)
	*fails.update = true
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code)).Commands)
	*fails.update = false
	w.now = w.now.Add(40 * 24 * time.Hour)
	out := w.report(id, idle(id)) // its answer is old
	require.Equal(t, []string{"DeviceInformation", "ActivationLockBypassCode"}, types(out))
	w.one(w.report(id, answer(id, out.Commands[1].UUID, "Acknowledged", nil)), "Settings")
}

// What could not be put on record is not returned.
func TestNoCommandThatIsNotOnRecord(t *testing.T) {
	t.Parallel()
	w, fails := newPartialWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	stores := w.engine
	count := 0
	w.engine = w.another(countdown{fails, &count, 1}, allow())
	require.Empty(t, w.checkin(id, tokenUpdate(id)).Commands)
	require.Equal(t, 1, count)
	w.engine = stores
	w.one(w.report(id, idle(id)), "DeviceInformation")
}

// countdown fails in the nth update.
type countdown struct {
	partial
	count *int
	n     int
}

func (c countdown) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	*c.count++
	*c.update = *c.count == c.n
	defer func() { *c.update = false }()
	return c.partial.Update(ctx, id, change)
}

// An empty answer does not undo the code that is held.
func TestEmptyAnswerKeepsThePermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settings := w.one(w.report(id, codeAnswer(id, w.enroll(id, serial, iPhone).UUID, code)), "Settings")
	ask := w.one(w.report(id, informationAnswer(id, "host", findMyOn)), "ActivationLockBypassCode")
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, "")).Commands)
	w.report(id, answer(id, settings.UUID, "NotNow", nil))
	w.now = w.now.Add(time.Hour)
	w.one(w.report(id, idle(id)), "Settings")
}

// A question waits for escrow.
func TestNothingIsAskedWithoutEscrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.escrowDown = true
	require.Empty(t, w.checkin(id, tokenUpdate(id)).Commands)
	w.escrowDown = false
	w.one(w.report(id, idle(id)), "DeviceInformation")
}

// What a device was before its erase says nothing of it now.
func TestFactsOfBeforeTheErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := w.one(w.checkin(id, tokenUpdate(id)), "DeviceInformation")
	require.Empty(t, w.report(id, informationAnswer(id, info.UUID, iPhone.with(dict{"IsSupervised": false}))).Commands)

	w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	w.checkin(id, tokenUpdate(id))
	w.now = w.now.Add(24 * time.Hour)
	require.Equal(t, []string{"DeviceInformation", "ActivationLockBypassCode"}, types(w.report(id, idle(id))))
}

// The answer to options that another policy wanted says nothing of these.
func TestAnswerToOtherOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.one(w.report(id, codeAnswer(id, w.enroll(id, serial, iPhone).UUID, code)), "Settings")
	w.now = w.now.Add(24 * time.Hour)
	options := allow()
	options.IdleRebootAllowed = new(true)
	w.engine = w.another(w.inventory, options)
	lost := w.permission()
	require.Contains(t, string(lost.Plist), "IdleRebootAllowed")
	require.Empty(t, w.report(id, answer(id, old.UUID, "Acknowledged", nil)).Commands)
	w.now = w.now.Add(48 * time.Hour)
	w.report(id, answer(id, w.permission().UUID, "Acknowledged", nil))
	w.now = w.now.Add(24 * time.Hour)
	require.Empty(t, w.report(id, idle(id)).Commands)
}

// What the host's own report says of the permission may be from before it.
func TestLateReportOfThePermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	w.now = w.now.Add(2 * time.Hour)
	late := informationAnswer(id, "host", dict{"MDMOptions": dict{"ActivationLockAllowedWhileSupervised": false}})
	require.Empty(t, w.report(id, late).Commands)
}

// The users of a device do not dispute its serial number.
func TestUserChannelDisputesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	user := engine.Enrollment{ID: id + ":anna", ParentID: id, Channel: engine.UserChannel}
	_, err := w.engine.HandleReport(t.Context(), user, list(dict{
		"Status": "Acknowledged", "UDID": id, "UserID": "U", "CommandUUID": "host",
		"QueryResponses": dict{"SerialNumber": serial},
	}))
	require.NoError(t, err)
	require.Empty(t, w.events)

	// Nor are they asked: a code from there is nobody's answer.
	raw := list(dict{"Status": "Acknowledged", "UDID": id, "UserID": "U", "CommandUUID": ask.UUID, "ActivationLockBypassCode": code2})
	out, err := w.engine.HandleReport(t.Context(), user, raw)
	require.NoError(t, err)
	require.Empty(t, out.Commands)
	require.Equal(t, escrow.Disputed, w.records(serial)[0].State)
	w.allowed(id, ask, code)
}

// Two questions are open, and the answer to the earlier one comes last.
func TestAnswerThatWasOvertaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.enroll(id, serial, iPhone)
	w.report(id, answer(id, first.UUID, "NotNow", nil))
	w.now = w.now.Add(time.Hour)
	second := w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
	w.allowed(id, second, code2)
	before := w.device(id).Record
	w.report(id, codeAnswer(id, first.UUID, code))
	require.Equal(t, code2, w.current(serial))
	require.Len(t, w.records(serial), 2, "kept all the same")
	require.Equal(t, before, w.device(id).Record)
}

// The device gave its code, Find My came on, and only now the code arrives.
func TestCodeFromBeforeFindMy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.enroll(id, serial, iPhone)
	second := w.one(w.report(id, informationAnswer(id, "host", findMyOn)), "ActivationLockBypassCode")
	require.Empty(t, w.report(id, codeAnswer(id, first.UUID, code)).Commands)
	require.Len(t, w.records(serial), 1, "kept all the same")
	w.allowed(id, second, code2)
	require.Equal(t, code2, w.current(serial))
}

// It came on once more while the answer was on its way: nobody knows whether the code is
// from before. It is kept, and asked for again within the hour.
func TestCodeBetweenTwoFindMys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enroll(id, serial, iPhone)
	ask := w.one(w.report(id, informationAnswer(id, "host", findMyOn)), "ActivationLockBypassCode")
	require.Empty(t, w.report(id, informationAnswer(id, "host", findMyOff)).Commands)
	require.Empty(t, w.report(id, informationAnswer(id, "host", findMyOn)).Commands)
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code)).Commands)
	require.Equal(t, escrow.Disputed, w.records(serial)[0].State)
	require.Equal(t, code, w.reveal(w.records(serial)[0]))
	w.now = w.now.Add(time.Hour - time.Second)
	require.Empty(t, w.report(id, idle(id)).Commands)
	w.now = w.now.Add(time.Second)
	w.allowed(id, w.one(w.report(id, idle(id)), "ActivationLockBypassCode"), code)
	require.Equal(t, code, w.current(serial))
	require.Len(t, w.records(serial), 1)
}

// A refusal is no answer to what became of the code.
func TestRefusedAfterFindMy(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]dict{
		"error": deviceError("MCMDMErrorDomain", 12078), "empty": {"ActivationLockBypassCode": ""}, "missing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.allowed(id, w.enroll(id, serial, iPhone), code)
			ask := w.one(w.report(id, informationAnswer(id, "host", findMyOn)), "ActivationLockBypassCode")
			status := "Acknowledged"
			if name == "error" {
				status = "Error"
			}
			require.Empty(t, w.report(id, answer(id, ask.UUID, status, more)).Commands)
			w.now = w.now.Add(6 * time.Hour)
			ask = w.one(w.report(id, idle(id)), "ActivationLockBypassCode")
			require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, code2)).Commands)
			require.Equal(t, code2, w.current(serial))
			w.now = w.now.Add(6 * time.Hour)
			require.Empty(t, w.report(id, idle(id)).Commands)
		})
	}
}

// A device that turns Find My on and off all day is asked once an hour, answer
// it or not.
func TestFindMyInACircle(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.allowed(id, w.enroll(id, serial, iPhone), code)
			asked := 0
			for range 24 * 60 {
				w.now = w.now.Add(time.Minute)
				out := w.report(id, informationAnswer(id, "host", findMyOff))
				out.Commands = append(out.Commands, w.report(id, informationAnswer(id, "host", findMyOn)).Commands...)
				for _, c := range out.Commands {
					if c.RequestType == "ActivationLockBypassCode" {
						asked++
						if answers {
							w.report(id, codeAnswer(id, c.UUID, []string{code, code2}[asked%2]))
						}
					}
				}
			}
			require.LessOrEqual(t, asked, 25)
			require.GreaterOrEqual(t, asked, 20)
		})
	}
}

// What would never be kept must not block the host's queue.
func TestCodeThatIsTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	require.Empty(t, w.report(id, codeAnswer(id, ask.UUID, strings.Repeat("x", escrow.MaxText+1))).Commands)
	require.Equal(t, []engine.EventType{engine.CodeNotKept}, w.eventTypes())
	require.Empty(t, w.records(serial))
}

// A host took a report for a check-in.
func TestReportAsCheckin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := w.enroll(id, serial, iPhone)
	out := w.checkin(id, codeAnswer(id, ask.UUID, code))
	w.one(out, "Settings")
	require.True(t, out.Ours)
	require.Equal(t, code, w.current(serial))
}

// between lets something happen between two steps of a call.
type between struct {
	escrow.Store
	then *func()
}

func (s between) Entries(ctx context.Context, subject escrow.Subject) ([]escrow.Entry, error) {
	entries, err := s.Store.Entries(ctx, subject)
	if then := *s.then; then != nil {
		*s.then = nil
		then()
	}
	return entries, err
}

// Between the reading of the codes and the plan, another server learns more.
func TestAnotherServerMeanwhile(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string][]byte{
		"another serial number": informationAnswer(id, "host", dict{"SerialNumber": "XXFAKE0SER2"}),
		"Authenticate":          authenticate(id, serial, "iPhone17,3", "26.1"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stores := memstore.New()
			var then func()
			var planned []string // by the other server
			w.escrow = escrowOn(t, between{stores.Escrow(), &then})
			var err error
			w.engine, err = engine.New(engine.Config{
				Escrow: w.escrow, Inventory: stores.Inventory(),
				Policy: weekly(allow()), Clock: func() time.Time { return w.now },
			})
			require.NoError(t, err)
			ask := w.enroll(id, serial, iPhone)
			then = func() {
				if name == "Authenticate" {
					w.checkin(id, meanwhile)
				} else {
					planned = types(w.report(id, meanwhile))
				}
			}
			out := w.report(id, codeAnswer(id, ask.UUID, code))
			require.Nil(t, then)
			if name == "Authenticate" { // the code is of the enrollment before
				require.NotContains(t, types(out), "Settings")
			} else { // which is not followed
				require.Equal(t, []string{"Settings"}, append(planned, types(out)...), "once")
			}
		})
	}
}

// The record could not be read as the code came, in the last minutes in which the device
// gives it: nothing else says that it was asked for.
func TestOneReadFailsAsTheCodeComes(t *testing.T) {
	t.Parallel()
	var store failsOnce
	f := newFuller(t, func(f *fuller) { store.Store, f.config.Inventory = f.config.Inventory, &store })
	ask := f.enroll(id, serial, iPhone)
	f.after(activationlock.CodeWindow - 40*time.Minute)
	store.next = true
	f.report(id, codeAnswer(id, ask.UUID, code))
	require.False(t, store.next)
	require.Equal(t, escrow.Current, f.records(serial)[0].State)
	require.Equal(t, code, f.current(serial))
}

// failsOnce fails the next time that a record is read.
type failsOnce struct {
	inventory.Store
	next bool
}

func (s *failsOnce) Get(ctx context.Context, id string) (inventory.Record, error) {
	if s.next {
		s.next = false
		return inventory.Record{}, errDown
	}
	return s.Store.Get(ctx, id)
}
