package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// lockedDevice is a supervised device that its user locked and whose code can be
// had; the organization has it.
func lockedDevice(t *testing.T, f *fuller) *activationlocktest.Device {
	t.Helper()
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, Supervised: true, Now: f.config.Clock})
	require.NoError(t, err)
	require.NoError(t, f.apple.Add(device, true))
	_, err = device.Enroll()
	require.NoError(t, err)
	for _, c := range []mdmcmd.Command{mdmcmd.ActivationLockBypassCode, mdmcmd.Settings{MDMOptions: allow()}} {
		raw, err := mdmcmd.Encode("x", c)
		require.NoError(t, err)
		_, err = device.Answer(raw)
		require.NoError(t, err)
	}
	require.NoError(t, device.SetFindMy(true))
	require.Equal(t, activationlocktest.UserLinked, f.apple.Lock(serial).Kind)
	return device
}

// known adds a device to the simulated Apple, so that it can be asked about it.
func (f *fuller) known(serial string) {
	f.t.Helper()
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: serial, IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001", Now: f.config.Clock,
	})
	require.NoError(f.t, err)
	require.NoError(f.t, f.apple.Add(device, true))
}

func withDoer(f *fuller)   { f.config.Doer = viaApple{f.apple} }
func withStatus(f *fuller) { f.config.StatusAPI = apple.BusinessAPI }

// serverCodes returns the records of server codes.
func (f *fuller) serverCodes() (found []escrow.Record) {
	f.t.Helper()
	for _, r := range f.records(serial) {
		if r.Kind == bypasscode.Server {
			found = append(found, r)
		}
	}
	return found
}

// lastOf returns the last evidence of a source.
func (f *fuller) lastOf(s activationlock.Source) (last activationlock.Evidence) {
	for _, e := range f.record(id).Evidence {
		if e.Source == s {
			last = e
		}
	}
	return last
}

func (f *fuller) order() {
	f.t.Helper()
	require.NoError(f.t, f.engine.LockForOrganization(f.t.Context(), serial, by, "Lost. Please bring it back."))
}

func lockAnswer(serial, status string) string {
	return fmt.Sprintf(`{"serial_number":%q,"response_status":%q}`, serial, status)
}

// refusedByTLS is how a client says that Apple did not accept its certificate.
var refusedByTLS = &net.OpError{Op: "remote error", Err: tls.AlertError(42)}

// What follows from each answer to a first lock call.
func TestLockAnswers(t *testing.T) {
	t.Parallel()
	const soon, hour, tomorrow, weekly = "soon", "an hour", "tomorrow", "with the inventory"
	for _, test := range []struct {
		name   string
		status int
		body   string
		err    error

		code     escrow.State
		says     bool // evidence
		state    activationlock.State
		kind     activationlock.LockKind
		ordered  bool // still
		again    string
		events   []engine.EventType
		canErase bool
	}{
		{"locked", 200, lockAnswer(serial, "SUCCESS"), nil, escrow.Current, true, activationlock.On, activationlock.OrganizationLinked, false, hour, []engine.EventType{engine.Locked}, true},
		{"another one locked", 200, lockAnswer("XXFAKE0SER2", "SUCCESS"), nil, escrow.MaybeActive, true, activationlock.StateUnknown, "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"already locked", 200, lockAnswer(serial, "DEVICE_ALREADY_LOCKED"), nil, escrow.Void, true, activationlock.On, "", false, weekly, []engine.EventType{engine.LockRefused}, false},
		{"not accessible", 200, lockAnswer(serial, "NOT_ACCESSIBLE"), nil, escrow.Void, false, "", "", false, weekly, []engine.EventType{engine.LockRefused}, false},
		{"failed", 200, lockAnswer(serial, "FAILED"), nil, escrow.MaybeActive, true, activationlock.StateUnknown, "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"unreadable", 200, `{`, nil, escrow.MaybeActive, true, activationlock.StateUnknown, "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"malformed", 400, "", nil, escrow.Void, false, "", "", false, weekly, []engine.EventType{engine.AppleFailed, engine.LockRefused}, false},
		{"denied", 403, `"ACCESS_DENIED"`, nil, escrow.Void, false, "", "", false, weekly, []engine.EventType{engine.AppleFailed, engine.LockRefused}, false},
		{"terms", 403, `"T_C_NOT_SIGNED"`, nil, escrow.MaybeActive, false, "", "", true, tomorrow, []engine.EventType{engine.AppleFailed}, false},
		{"session", 401, "", nil, escrow.MaybeActive, false, "", "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"too many", 429, "", nil, escrow.MaybeActive, false, "", "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"down", 503, "", nil, escrow.MaybeActive, true, activationlock.StateUnknown, "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"nothing", 0, "", errors.New("a connection that broke"), escrow.MaybeActive, true, activationlock.StateUnknown, "", true, soon, []engine.EventType{engine.AppleFailed}, false},
		{"TLS", 0, "", refusedByTLS, escrow.MaybeActive, true, activationlock.StateUnknown, "", false, weekly, []engine.EventType{engine.AppleFailed, engine.LockRefused}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, nil)
			f.settled(id, serial, iPhone)
			may := func() bool {
				answer, err := f.engine.CanErase(t.Context(), id)
				require.NoError(t, err)
				return answer.Yes()
			}
			require.True(t, may())
			f.order()
			require.False(t, may(), "it is ordered")
			request := f.request(engine.LockService)
			require.Equal(t, id, request.EnrollmentID)
			require.Equal(t, serial, request.SerialNumber)
			require.Equal(t, escrow.MaybeActive, f.serverCodes()[0].State)
			require.False(t, may(), "a call is under way")
			f.after(time.Second)
			var resp *http.Response
			if test.err == nil {
				resp = answerOf(test.status, test.body)
			}
			require.NoError(t, f.engine.HandleAnswer(t.Context(), request, resp, test.err))

			codes := f.serverCodes()
			require.Len(t, codes, 1)
			require.Equal(t, test.code, codes[0].State)
			want := activationlock.Evidence{}
			if test.says {
				want = activationlock.Evidence{State: test.state, Kind: test.kind, Source: activationlock.SourceLockCall, At: f.now}
			}
			require.Equal(t, want, f.lastOf(activationlock.SourceLockCall))
			r := f.record(id)
			require.Equal(t, test.ordered, r.LockOrder != inventory.LockOrder{})
			x := r.Exchanges[string(engine.LockService)]
			require.Empty(t, x.UUIDs, "the call is over")
			switch again := x.AgainAt.Sub(f.now); test.again {
			case soon:
				require.True(t, again >= 5*time.Minute && again <= 10*time.Minute, "%v", again)
			case hour:
				require.Equal(t, time.Hour, again)
			case tomorrow:
				require.Equal(t, 24*time.Hour, again)
			default:
				require.Equal(t, inventory.Periodic{}.For(id).Next(f.now), x.AgainAt)
			}
			require.Equal(t, test.events, f.told(engine.Locked, engine.LockRefused, engine.AppleFailed))
			require.Equal(t, test.canErase, may())
			require.Empty(t, f.requests(), "not at once")
			f.now = x.AgainAt
			if f.after(time.Minute); test.ordered { // Apple may want more
				f.request(engine.LockService)
				require.Len(t, f.serverCodes(), 1, "no new code for a new try")
			} else {
				require.Empty(t, f.requests())
			}
		})
	}
}

func statusAnswer(serial, locked, kind string) string {
	return fmt.Sprintf(`{"data":{"type":"activationLockStatus","id":%q,"attributes":{"isLocked":%s,"lockType":%q}}}`, serial, locked, kind)
}

// What follows from each answer to a question for the lock's status.
func TestStatusAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		status      int
		body        string
		err         error
		says        bool
		state       activationlock.State
		kind        activationlock.LockKind
		answer      inventory.Answer
		least, most time.Duration
		failed      bool
	}{
		{"off", 200, statusAnswer(serial, "false", "NONE"), nil, true, activationlock.Off, "", inventory.Done, time.Hour, time.Hour, false},
		{"of a user", 200, statusAnswer(serial, "true", "USER"), nil, true, activationlock.On, activationlock.UserLinked, inventory.Done, time.Hour, time.Hour, false},
		{"of the organization", 200, statusAnswer(serial, "true", "MDM"), nil, true, activationlock.On, activationlock.OrganizationLinked, inventory.Done, time.Hour, time.Hour, false},
		{"of another", 200, statusAnswer("XXFAKE0SER2", "false", "NONE"), nil, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"unreadable", 200, "{", nil, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"unknown", 404, "", nil, false, "", "", inventory.Refused, 30 * 24 * time.Hour, 30 * 24 * time.Hour, false},
		{"malformed", 400, "", nil, false, "", "", inventory.Refused, 24 * time.Hour, 24 * time.Hour, true},
		{"refused", 403, "", nil, false, "", "", inventory.Refused, 24 * time.Hour, 24 * time.Hour, true},
		{"session", 401, "", nil, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"too many", 429, "", nil, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"down", 500, "", nil, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"nothing", 0, "", errDown, false, "", "", "", 5 * time.Minute, 10 * time.Minute, true},
		{"TLS", 0, "", refusedByTLS, false, "", "", inventory.Refused, 24 * time.Hour, 24 * time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, withStatus)
			f.settled(id, serial, iPhone)
			request := f.request(engine.StatusService)
			require.Equal(t, "api-business.apple.com", request.HTTP.URL.Host)
			require.Contains(t, request.HTTP.URL.Path, serial)
			f.after(time.Second)
			var resp *http.Response
			if test.err == nil {
				resp = answerOf(test.status, test.body)
			}
			require.NoError(t, f.engine.HandleAnswer(t.Context(), request, resp, test.err))
			want := activationlock.Evidence{}
			if test.says {
				want = activationlock.Evidence{State: test.state, Kind: test.kind, Source: activationlock.SourceApple, At: f.now}
			}
			require.Equal(t, want, f.lastOf(activationlock.SourceApple))
			x := f.record(id).Exchanges[string(engine.StatusService)]
			require.Equal(t, test.answer, x.Answer)
			again := x.AgainAt.Sub(f.now)
			require.True(t, test.least <= again && again <= test.most, "%v", again)
			require.Equal(t, test.failed, f.told(engine.AppleFailed) != nil)
			require.Empty(t, f.requests())
		})
	}
}

// What follows from each answer to an unlock call.
func TestUnlockAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		err    error
		state  bypass.State
		events []engine.EventType
	}{
		{"done", 200, nil, bypass.Done, []engine.EventType{engine.Unlocked}},
		{"not found", 404, nil, bypass.Failed, []engine.EventType{engine.BypassEnded}},
		{"malformed", 400, nil, bypass.Failed, []engine.EventType{engine.BypassEnded}},
		{"refused", 403, nil, bypass.Failed, []engine.EventType{engine.BypassEnded}},
		{"session", 401, nil, bypass.Failed, []engine.EventType{engine.BypassEnded}},
		{"TLS", 0, refusedByTLS, bypass.Failed, []engine.EventType{engine.BypassEnded}},
		{"too many", 429, nil, bypass.Active, nil},
		{"down", 503, nil, bypass.Active, nil},
		{"odd", 204, nil, bypass.Active, nil},
		{"nothing", 0, errDown, bypass.Active, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, nil)
			f.settled(id, serial, iPhone.with(dict{"IsActivationLockEnabled": true}))
			action, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
			require.NoError(t, err)
			require.Equal(t, action.ID, f.record(id).BypassID)
			request := f.request(engine.UnlockService)
			require.Equal(t, id, request.EnrollmentID)
			require.Empty(t, f.requests())
			f.after(time.Second)
			var resp *http.Response
			if test.err == nil {
				resp = answerOf(test.status, "")
			}
			require.NoError(t, f.engine.HandleAnswer(t.Context(), request, resp, test.err))
			require.Equal(t, test.events, f.told(engine.Unlocked, engine.BypassEnded))
			d := f.device(serial)
			require.Equal(t, test.state, d.LastBypass.State)
			off := activationlock.Evidence{}
			if test.state == bypass.Done {
				off = activationlock.Evidence{State: activationlock.Off, Source: activationlock.SourceUnlockCall, At: f.now}
			}
			require.Equal(t, off, f.lastOf(activationlock.SourceUnlockCall))
			require.Equal(t, test.state == bypass.Done, d.Status == activationlock.NotEnabled)
			require.Equal(t, test.state.Over(), d.Record.BypassID == "")
			require.Empty(t, f.requests(), "not at once")
			if !test.state.Over() {
				require.True(t, d.LastBypass.NextAt.After(f.now))
				f.now = d.LastBypass.NextAt.Add(time.Minute)
				f.request(engine.UnlockService)
			} else {
				f.after(time.Hour)
				require.Empty(t, f.requests())
			}
		})
	}
}

// An answer that comes twice changes nothing, whatever happened since.
func TestAnswersThatComeTwice(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	status := f.request(engine.StatusService)
	off := func() *http.Response { return answerOf(200, statusAnswer(serial, "false", "NONE")) }
	require.NoError(t, f.engine.HandleAnswer(t.Context(), status, off(), nil))
	f.order()
	lock := f.request(engine.LockService)
	refused := func() *http.Response { return answerOf(200, lockAnswer(serial, "NOT_ACCESSIBLE")) }
	require.NoError(t, f.engine.HandleAnswer(t.Context(), lock, refused(), nil))
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	unlock := f.request(engine.UnlockService)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), unlock, answerOf(200, ""), nil))

	f.after(time.Hour)
	f.order()
	second, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	f.events = nil
	before, known := f.record(id), f.device(id).Lock
	require.NoError(t, f.engine.HandleAnswer(t.Context(), status, off(), nil))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), lock, refused(), nil))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), unlock, answerOf(200, ""), nil))
	after := f.record(id)
	require.Equal(t, second.ID, after.BypassID, "it is under way")
	require.NotZero(t, after.LockOrder, "the new order stays")
	require.Equal(t, known, f.device(id).Lock)
	require.Equal(t, before.Exchanges[string(engine.StatusService)], after.Exchanges[string(engine.StatusService)])
	require.Equal(t, before.Exchanges[string(engine.LockService)], after.Exchanges[string(engine.LockService)])
	require.Empty(t, f.told(engine.Locked, engine.LockRefused, engine.Unlocked, engine.BypassEnded))
}

// Nobody answered a call and another one is under way: the answer to the first one
// counts, but its refusal says nothing of the code that both have.
func TestAnswersThatComeLate(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.order()
	first := f.request(engine.LockService)
	require.Empty(t, f.requests(), "it is under way")
	f.after(10*time.Minute - time.Second)
	require.Empty(t, f.requests())
	f.after(time.Second)
	second := f.request(engine.LockService)
	codes := f.serverCodes()
	require.Len(t, codes, 1, "the first call may have locked the device with it")
	require.Equal(t, activationlock.Evidence{Source: activationlock.SourceLockCall, At: f.now.Add(-10 * time.Minute)}, f.lastOf(activationlock.SourceLockCall))

	require.NoError(t, f.engine.HandleAnswer(t.Context(), first, answerOf(200, lockAnswer(serial, "NOT_ACCESSIBLE")), nil))
	require.Equal(t, escrow.MaybeActive, f.serverCodes()[0].State)
	f.after(time.Second)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), second, answerOf(200, lockAnswer(serial, "SUCCESS")), nil))
	codes = f.serverCodes()
	require.Len(t, codes, 1)
	require.Equal(t, escrow.Current, codes[0].State)
	require.Equal(t, activationlock.OrganizationLinked, f.device(id).Lock.Kind)
	require.Equal(t, activationlock.EnabledWithBypassCode, f.device(id).Status)
}

// A call that was lost is not under way for ever, once a later one is answered.
func TestCallThatWasLost(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.order()
	f.request(engine.LockService)
	f.after(10 * time.Minute)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.LockService), answerOf(200, lockAnswer(serial, "SUCCESS")), nil))
	f.after(time.Hour)
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.UnlockService), answerOf(200, ""), nil))
	answer, err := f.engine.CanReassign(t.Context(), serial)
	require.NoError(t, err)
	require.True(t, answer.Yes(), "%v", answer)
}

// After a call that was lost, that the device is locked already may be its doing.
func TestAlreadyLockedByACallThatWasLost(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.known(serial)
	f.settled(id, serial, iPhone)
	f.apple.Script(activationlocktest.LockService, activationlocktest.Fault{Processed: true, Drop: true})
	f.order()
	require.Equal(t, activationlock.StateUnknown, f.device(id).Lock.State)
	require.Equal(t, escrow.MaybeActive, f.serverCodes()[0].State)
	f.after(10 * time.Minute)
	f.tick()
	require.Len(t, f.apple.Requests(), 2)
	codes := f.serverCodes()
	require.Len(t, codes, 1)
	require.Equal(t, escrow.MaybeActive, codes[0].State)
	require.Equal(t, codes[0].Hash, f.apple.Lock(serial).Hash, "the code that is held opens it")
	require.Equal(t, activationlock.On, f.device(id).Lock.State)
	require.Equal(t, activationlock.EnabledWithBypassCode, f.device(id).Status)
}

func TestAnswersToNoQuestion(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	before := f.record(id)
	for _, request := range []engine.Request{
		{}, {Service: "another"},
		{Service: engine.LockService, EnrollmentID: id, SerialNumber: serial},
		{Service: engine.StatusService, EnrollmentID: id, SerialNumber: serial},
		{Service: engine.UnlockService, EnrollmentID: id, SerialNumber: serial},
	} {
		body := &closed{}
		err := f.engine.HandleAnswer(t.Context(), request, &http.Response{StatusCode: 200, Body: body}, nil)
		require.ErrorContains(t, err, "not a request of an engine")
		require.True(t, body.closed)
		require.Error(t, f.engine.HandleAnswer(t.Context(), request, nil, errDown))
	}
	require.Equal(t, before, f.record(id))

	t.Log("and of an engine with other stores")
	g := newFuller(t, withStatus)
	g.settled(other, "XXFAKE0SER2", iPhone)
	request := g.request(engine.StatusService)
	require.ErrorIs(t, f.engine.HandleAnswer(t.Context(), request, answerOf(200, statusAnswer("XXFAKE0SER2", "true", "USER")), nil), inventory.ErrNotFound)
	_, err := f.inventory.Get(t.Context(), other)
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

type closed struct {
	strings.Reader
	closed bool
}

func (c *closed) Close() error { c.closed = true; return nil }

// An answer that cannot be kept is an error, and Apple is asked again.
func TestAnswerThatCannotBeKept(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	request := f.request(engine.StatusService)
	f.inventoryDown = true
	require.ErrorIs(t, f.engine.HandleAnswer(t.Context(), request, answerOf(200, statusAnswer(serial, "true", "USER")), nil), errDown)
	f.inventoryDown = false
	require.Empty(t, f.requests())
	f.after(10 * time.Minute)
	request = f.request(engine.StatusService)

	t.Log("without escrow nothing can be planned, but it is kept")
	f.escrowDown = true
	require.NoError(t, f.engine.HandleAnswer(t.Context(), request, answerOf(200, statusAnswer(serial, "true", "USER")), nil))
	require.Equal(t, activationlock.On, f.lastOf(activationlock.SourceApple).State)
	require.Equal(t, f.now, f.record(id).Summary.DueAt)
}

// Whichever call of a store fails: what is not kept is an error.
func TestAnswerWhateverFails(t *testing.T) {
	t.Parallel()
	failed := 0
	for n := 1; ; n++ {
		f := newFuller(t, withStatus)
		f.settled(id, serial, iPhone)
		request := f.request(engine.StatusService)
		f.fate.strikes(n, "before")
		err := f.engine.HandleAnswer(t.Context(), request, answerOf(200, statusAnswer(serial, "true", "USER")), nil)
		require.Equal(t, err == nil, f.lastOf(activationlock.SourceApple).State == activationlock.On, "call %d", n)
		if err != nil {
			failed++
		}
		if !f.fate.fired {
			break
		}
	}
	require.GreaterOrEqual(t, failed, 2, "the record is read and written")
}

// Escrow fails after the call is on record: no call is made, and nobody says that
// the device may be locked.
func TestLockCallThatCouldNotBeMade(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	f.order()
	for n := 1; ; n++ {
		f.fate.strikes(n, "before")
		batches, err := f.engine.Tick(t.Context(), 100)
		if err != nil {
			require.ErrorIs(t, err, errDown)
		}
		if len(batches) == 1 && len(batches[0].Requests) == 1 {
			require.Greater(t, n, 7, "Claim, the record, escrow, and the four of the code")
			require.Len(t, f.serverCodes(), 1)
			break
		}
		require.True(t, f.fate.fired)
		require.Zero(t, f.lastOf(activationlock.SourceLockCall), "call %d", n)
		f.after(10 * time.Minute)
	}
	require.Zero(t, f.lastOf(activationlock.SourceLockCall))
}

// A service that wants to be left alone is, for all devices of the engine; the other
// services are not.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f) })
	f.known(serial)
	f.known("XXFAKE0SER2")
	f.settled(id, serial, iPhone)
	f.settled(other, "XXFAKE0SER2", iPhone)
	f.apple.LimitRate(activationlocktest.StatusService, 1, time.Hour)
	f.tick()
	require.Len(t, f.apple.Requests(), 2, "the second one is refused")
	third := "00008120-0000000000000003"
	f.known("XXFAKE0SER3")
	f.settled(third, "XXFAKE0SER3", iPhone)
	f.tick()
	require.Len(t, f.apple.Requests(), 2, "left alone")
	f.order()
	require.Len(t, f.apple.Requests(), 3, "another service")
	require.Equal(t, activationlocktest.OrganizationLinked, f.apple.Lock(serial).Kind)

	due := f.record(third).Summary.DueAt
	require.Equal(t, f.now.Add(time.Hour), due, "when it may be asked")
	f.now = due.Add(-time.Second)
	f.tick()
	require.Len(t, f.apple.Requests(), 3)
	f.after(time.Second)
	f.apple.LimitRate(activationlocktest.StatusService, 0, 0)
	f.tick()
	require.Len(t, f.apple.Requests(), 5)
	require.Equal(t, activationlock.Off, f.device(third).Lock.State)
	require.Equal(t, activationlock.SourceApple, f.device(third).Lock.Source)
}

// The device's record heeds it too, for other servers, and should this one end.
func TestTooManyRequestsOnRecord(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	resp := answerOf(429, "")
	resp.Header.Set("Retry-After", "3600")
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), resp, nil))
	require.Equal(t, f.now.Add(time.Hour), f.record(id).Exchanges[string(engine.StatusService)].AgainAt)
	f.engine = f.another()
	f.after(time.Hour - time.Second)
	require.Empty(t, f.requests())
	f.after(time.Second)
	f.request(engine.StatusService)
}

// A short pause does not end a long one.
func TestTooManyRequestsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	f.settled(other, "XXFAKE0SER2", iPhone)
	all := f.requests()
	require.Len(t, all, 2)
	resp := answerOf(429, "")
	resp.Header.Set("Retry-After", "3600")
	require.NoError(t, f.engine.HandleAnswer(t.Context(), all[0], resp, nil))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), all[1], answerOf(503, ""), nil))
	f.after(time.Hour - time.Second)
	require.Empty(t, f.requests())
	f.after(time.Second)
	require.Len(t, f.requests(), 2)
}

func TestTooManyUnlocks(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withDoer)
	f.settled(id, serial, iPhone)
	f.settled(other, "XXFAKE0SER2", iPhone)
	f.known(serial)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 429, RetryAfter: time.Hour})
	a, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, f.now.Add(time.Hour), a.NextAt)
	a, _, err = f.engine.Bypass(t.Context(), "XXFAKE0SER2", engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Pending, a.State, "Tick goes on with it")
	f.held("XXFAKE0SER3", code)
	a, _, err = f.engine.Bypass(t.Context(), "XXFAKE0SER3", engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Pending, a.State, "of a device without a record, too")
	f.tick()
	require.Len(t, f.apple.Requests(), 1)
	f.after(time.Hour)
	f.tick()
	require.Len(t, f.apple.Requests(), 4)
}

// With a Doer all of it happens in Tick, and in the end both sides agree.
func TestWithDoerBothSidesAgree(t *testing.T) {
	t.Parallel()
	for _, faults := range [][]activationlocktest.Fault{
		{}, {{Drop: true}}, {{Status: 503}}, {{Status: 503, Processed: true}}, {{Drop: true, Processed: true}}, {{Status: 401}}, {{Status: 429}},
		{{Drop: true}, {Status: 500}, {Drop: true, Processed: true}},
	} {
		t.Run(fmt.Sprint(faults), func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f) })
			f.known(serial)
			f.settled(id, serial, iPhone)
			f.apple.Script(activationlocktest.StatusService, faults...)
			f.apple.Script(activationlocktest.LockService, faults...)
			f.order()
			for range 12 {
				require.Empty(t, f.requests(), "none are handed out")
				f.after(30 * time.Minute)
			}
			require.Equal(t, activationlocktest.OrganizationLinked, f.apple.Lock(serial).Kind)
			require.Equal(t, "Lost. Please bring it back.", f.apple.Lock(serial).Message)
			d := f.device(serial)
			require.Equal(t, activationlock.On, d.Lock.State)
			require.Equal(t, activationlock.EnabledWithBypassCode, d.Status)
			require.Zero(t, d.Record.LockOrder)
			opens := 0
			for _, c := range f.serverCodes() {
				if c.Hash == f.apple.Lock(serial).Hash {
					require.Contains(t, []escrow.State{escrow.Current, escrow.MaybeActive}, c.State)
					opens++
				}
			}
			require.Equal(t, 1, opens)

			t.Log("and the lock is removed with it")
			f.apple.Script(activationlocktest.UnlockService, faults...)
			_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
			require.NoError(t, err)
			for range 12 {
				f.after(30 * time.Minute)
				f.tick()
			}
			if d = f.device(serial); d.LastBypass.Reason == bypass.AppleRefused { // which tried no code
				_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
				require.NoError(t, err)
			}
			require.Equal(t, activationlocktest.NotLocked, f.apple.Lock(serial).Kind)
			d = f.device(serial)
			require.Empty(t, d.Record.BypassID)
			require.True(t, d.LastBypass.State == bypass.Done || d.LastBypass.MaybeUnlocked(), "%v", d.LastBypass)
		})
	}
}

// Apple is asked for the status at first, then weekly, and of nobody in vain.
func TestStatusIsAskedWeekly(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f) })
	f.known(serial)
	f.settled(id, serial, iPhone)
	f.tick()
	require.Len(t, f.apple.Requests(), 1, "at first")
	for range 3 {
		next := inventory.Periodic{}.For(id).Next(f.record(id).Exchanges[string(engine.StatusService)].AnsweredAt)
		n := len(f.apple.Requests())
		f.now = next.Add(-time.Second)
		f.tick()
		require.Len(t, f.apple.Requests(), n)
		f.after(time.Second)
		f.tick()
		require.Len(t, f.apple.Requests(), n+1)
	}
}

func TestStatusByTheHostsSchedule(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		withDoer(f)
		withStatus(f)
		f.config.Policy.LockStatus = inventory.Periodic{Every: 24 * time.Hour}.For
	})
	f.known(serial)
	f.settled(id, serial, iPhone)
	for range 10 * 24 {
		f.tick()
		f.after(time.Hour)
	}
	require.InDelta(t, 11, len(f.apple.Requests()), 1)
}

// Apple says first that the lock came on, and the device after it: only then may it
// have made another code.
func TestAppleSaysFirstThatTheLockCameOn(t *testing.T) {
	t.Parallel()
	f := newFuller(t, withStatus)
	f.settled(id, serial, iPhone)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "true", "USER")), nil))
	require.Equal(t, activationlock.On, f.device(id).Lock.State)
	f.after(2 * time.Hour)
	ask := f.one(f.report(id, informationAnswer(id, "host-1", locked)), "ActivationLockBypassCode")
	f.report(id, codeAnswer(id, ask.UUID, code2))
	require.Equal(t, code2, f.current(serial))
	f.after(2 * time.Hour)
	require.Empty(t, f.report(id, informationAnswer(id, "host-2", locked)).Commands, "it was on before")

	t.Log("once more, after an unlock: that it is off is not believed of the device, since Apple says that it came on again")
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.UnlockService), answerOf(200, ""), nil))
	for _, says := range []dict{iPhone, locked} {
		f.after(8 * 24 * time.Hour)
		var status engine.Request
		for _, r := range f.requests() {
			status = r
		}
		require.NoError(t, f.engine.HandleAnswer(t.Context(), status, answerOf(200, statusAnswer(serial, "true", "USER")), nil))
		require.Equal(t, activationlock.On, f.device(id).Lock.State)
		f.report(id, informationAnswer(id, "host-3", says))
		require.Equal(t, activationlock.On, f.device(id).Lock.State)
		require.Equal(t, says["IsActivationLockEnabled"], f.record(id).CodeWanted)
	}
}

// After an unlock only Apple tells whether the lock stays off: it is asked daily
// until it does.
func TestStatusIsAskedDailyAfterAnUnlock(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		withStatus(f)
		f.config.Policy.LockStatus = inventory.Periodic{Every: 300 * 24 * time.Hour}.For
	})
	f.settled(id, serial, iPhone.with(dict{"IsActivationLockEnabled": true}))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "true", "USER")), nil))
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.UnlockService), answerOf(200, ""), nil))

	f.checkin(id, checkOut(id)) // erased and in a drawer: only Apple can tell
	f.after(24*time.Hour - time.Second)
	require.Empty(t, f.requests())
	f.after(time.Second)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(503, ""), nil))
	f.after(time.Hour)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "false", "NONE")), nil))
	f.after(20 * 24 * time.Hour)
	require.Empty(t, f.requests(), "it is verified: the schedule is enough")

	t.Log("unlocked again, and Apple still says otherwise a day later")
	f.enroll(id, serial, iPhone.with(dict{"IsActivationLockEnabled": true}))
	_, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.UnlockService), answerOf(200, ""), nil))
	for range 3 {
		f.after(24 * time.Hour)
		f.request(engine.StatusService) // nobody answers
	}
	f.after(24 * time.Hour)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "true", "USER")), nil))
	require.Contains(t, f.kinds(id), inventory.Relocked)
	f.after(25 * time.Hour)
	require.Empty(t, f.requests(), "it came on again")
}

// kinds are those of a record's findings.
func (f *fuller) kinds(id string) (all []inventory.FindingKind) {
	for _, finding := range f.record(id).Summary.Findings {
		all = append(all, finding.Kind)
	}
	return all
}

func TestStatusOfWhatNobodyHas(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f) })
	f.settled(id, serial, iPhone)
	f.tick()
	require.Len(t, f.apple.Requests(), 1)
	require.Equal(t, 404, f.apple.Requests()[0].Status)
	f.after(30*24*time.Hour - time.Second)
	f.tick()
	require.Len(t, f.apple.Requests(), 1, "weekly would be in vain")
	f.after(time.Second)
	f.after(7 * 24 * time.Hour)
	f.tick()
	require.Len(t, f.apple.Requests(), 2)
}

// Of a device that left, Apple is asked for thirty days.
func TestStatusOfADeviceThatLeft(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f) })
	f.known(serial)
	f.settled(id, serial, iPhone)
	left := f.now
	f.checkin(id, checkOut(id))
	last := time.Time{}
	for range 60 * 24 {
		f.tick()
		f.after(time.Hour)
	}
	for _, r := range f.apple.Requests() {
		last = r.Time
	}
	require.InDelta(t, 5, len(f.apple.Requests()), 1)
	require.Greater(t, last.Sub(left), 20*24*time.Hour)
	require.LessOrEqual(t, last.Sub(left), 30*24*time.Hour)
	require.False(t, f.record(id).Summary.DueAt.Before(f.now) && !f.record(id).Summary.DueAt.IsZero(), "it does not stay due")
}

func TestStatusIsNotAskedInVain(t *testing.T) {
	t.Parallel()
	asked := func(t *testing.T, change func(*fuller), product string) int {
		f := newFuller(t, change)
		f.checkin(id, authenticate(id, serial, product, "26.1"))
		f.checkin(id, tokenUpdate(id))
		return len(f.requests())
	}
	require.Equal(t, 1, asked(t, withStatus, "iPhone17,3"))
	require.Equal(t, 1, asked(t, withStatus, "Mac14,2"))
	require.Equal(t, 1, asked(t, withStatus, "RealityDevice14,1"))
	require.Zero(t, asked(t, withStatus, "AppleTV14,1"))
	require.Zero(t, asked(t, withStatus, "Watch7,1"))
	require.Zero(t, asked(t, nil, "iPhone17,3"), "no API")

	f := newFuller(t, withStatus)
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	require.Empty(t, f.requests(), "its enrollment is not complete")
	f.checkin(id, tokenUpdate(id))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.StatusService), answerOf(200, statusAnswer(serial, "false", "NONE")), nil))
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	f.after(week)
	require.Empty(t, f.requests(), "nor is its next one")
	enrollment := dict{"EnrollmentID": "E-1", "Topic": "t", "SerialNumber": "XXFAKE0SER9"}
	f.checkin("E-1", list(enrollment.with(dict{"MessageType": "Authenticate", "ProductName": "iPhone15,2"})))
	f.checkin("E-1", list(enrollment.with(dict{"MessageType": "TokenUpdate"})))
	require.Empty(t, f.requests(), "a user enrollment")
	user := engine.Enrollment{ID: id + ":anna", ParentID: id, Channel: engine.UserChannel}
	_, err := f.engine.HandleCheckin(t.Context(), user, list(dict{"MessageType": "TokenUpdate", "UDID": id, "UserID": "U", "UserShortName": "anna", "Topic": "t"}))
	require.NoError(t, err)
	require.NoError(t, f.inventory.Update(t.Context(), user.ID, func(r *inventory.Record) error {
		r.Facts.SerialNumber, r.Summary.DueAt = serial, f.now
		return nil
	}))
	require.Empty(t, f.requests(), "a user channel")
}

// The policy has a device locked once in each enrollment, unless its lock was
// removed in it.
func TestPolicyLocksForTheOrganization(t *testing.T) {
	t.Parallel()
	policy := func(f *fuller) {
		f.config.Policy.LockForOrganization = true
		f.config.Policy.LostMessage = "Property of Example School"
	}
	f := newFuller(t, func(f *fuller) { withDoer(f); policy(f) })
	f.known(serial)
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	f.tick()
	require.Empty(t, f.apple.Requests(), "nobody knows whether it is locked")
	f.report(id, informationAnswer(id, info.UUID, iPhone))
	f.tick()
	require.Equal(t, activationlocktest.OrganizationLinked, f.apple.Lock(serial).Kind)
	require.Equal(t, "Property of Example School", f.apple.Lock(serial).Message)
	require.Equal(t, []engine.EventType{engine.Locked}, f.told(engine.Locked))

	t.Log("an administrator turns it off at Apple: it stays off")
	f.apple.AdministratorTurnsOff(serial)
	f.after(25 * time.Hour)
	require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error {
		r.AddEvidence(activationlock.Evidence{State: activationlock.Off, Source: activationlock.SourceApple, At: f.now})
		return nil
	}))
	require.Equal(t, activationlock.Off, f.device(id).Lock.State)
	for range 60 {
		f.after(24 * time.Hour)
		f.tick()
	}
	require.Len(t, f.apple.Requests(), 1)

	t.Log("unlocked in the next enrollment before it was locked")
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	f.after(time.Hour)
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 200})
	a, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	info = f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	f.report(id, informationAnswer(id, info.UUID, iPhone))
	f.tick()
	require.Len(t, f.apple.Requests(), 2)

	t.Log("and in the one after that it is locked")
	f.after(time.Hour)
	f.enroll(id, serial, iPhone)
	f.tick()
	require.Len(t, f.apple.Requests(), 3)
	require.Equal(t, activationlocktest.OrganizationLinked, f.apple.Lock(serial).Kind)

	for name, facts := range map[string]dict{
		"locked":    iPhone.with(dict{"IsActivationLockEnabled": true}),
		"a Mac":     {"ProductName": "Mac14,2", "OSVersion": "15.1", "IsSupervised": true, "IsActivationLockSupported": true},
		"a TV":      {"ProductName": "AppleTV14,1", "OSVersion": "26.0", "IsSupervised": true},
		"too old":   iPhone.with(dict{"OSVersion": "9.2"}),
		"a headset": {"ProductName": "RealityDevice14,1", "OSVersion": "26.0", "IsSupervised": true},
	} {
		f := newFuller(t, policy)
		info := f.one(f.report(id, idle(id)), "DeviceInformation")
		f.report(id, informationAnswer(id, info.UUID, facts.with(dict{"SerialNumber": serial})))
		require.Empty(t, f.requests(), name)
	}

	t.Log("what Apple refused is tried again with the next inventory")
	f = newFuller(t, policy)
	f.settled(id, serial, iPhone)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.LockService), answerOf(200, lockAnswer(serial, "NOT_ACCESSIBLE")), nil))
	next := inventory.Periodic{}.For(id).Next(f.now)
	f.now = next.Add(-time.Second)
	require.Empty(t, f.requests())
	f.now = next
	f.request(engine.LockService)

	t.Log("and of who left, nothing is locked")
	f = newFuller(t, policy)
	f.settled(id, serial, iPhone)
	f.checkin(id, checkOut(id))
	require.Empty(t, f.requests())

	t.Log("of two that claim one serial number, nobody knows which is meant")
	f = newFuller(t, policy)
	f.enroll(id, serial, iPhone)
	f.enroll(other, serial, iPhone)
	require.Empty(t, f.requests())
	f.checkin(other, checkOut(other))
	all := f.requests()
	require.Len(t, all, 1, "one of them left")
	require.Equal(t, id, all[0].EnrollmentID)
}

// Apple sees no lock call before its code is in escrow, marked as one that may open
// the device, and none of a person before it is in the audit.
func TestLockCodeIsSafeBeforeTheCall(t *testing.T) {
	t.Parallel()
	calls := 0
	f := newFuller(t, func(f *fuller) {
		f.config.Doer = doer(func(r *http.Request) (*http.Response, error) {
			calls++
			codes := f.serverCodes()
			require.Len(f.t, codes, 1)
			require.Equal(f.t, escrow.MaybeActive, codes[0].State)
			require.Equal(f.t, escrow.CauseOrganizationLock, codes[0].Cause)
			require.NotZero(f.t, codes[0].Hash)
			acts, err := f.stores.Audit().Scan(f.t.Context(), -1, 100)
			require.NoError(f.t, err)
			ordered := acts[len(acts)-1]
			require.Equal(f.t, audit.LockOrdered, ordered.Act)
			require.Equal(f.t, []string{by.Actor, by.Reason, serial}, []string{ordered.Actor, ordered.Reason, ordered.SerialNumber})
			require.Len(f.t, f.record(id).Exchanges[string(engine.LockService)].UUIDs, 1, "it is on record")
			_, bounded := r.Context().Deadline()
			require.True(f.t, bounded)
			return answerOf(200, lockAnswer(serial, "SUCCESS")), nil
		})
	})
	f.settled(id, serial, iPhone)
	f.order()
	require.Equal(t, 1, calls)
	require.Equal(t, activationlock.OrganizationLinked, f.device(id).Lock.Kind)
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// Whichever call of a store fails, or is the last one of a server: the code that
// opens the lock is held in the end, as one that may open it.
func TestLockWhateverFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"before", "after", "crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				f := newFuller(t, withDoer)
				f.known(serial)
				f.settled(id, serial, iPhone)
				f.apple.Script(activationlocktest.LockService, activationlocktest.Fault{Status: 503, Processed: true})
				f.after(time.Minute)
				f.fate.strikes(n, how)
				f.survive(func() { _ = f.engine.LockForOrganization(t.Context(), serial, by, "") })
				for range 20 {
					f.after(10 * time.Minute)
					f.survive(func() { _, _ = f.engine.Tick(t.Context(), 100) })
				}
				fired := f.fate.fired
				f.fate.strikes(0, "")
				if f.apple.Lock(serial).Kind == activationlocktest.NotLocked { // the order was an error
					require.Empty(t, f.apple.Requests(), "call %d", n)
					require.Zero(t, f.record(id).LockOrder)
				} else {
					opens := 0
					for _, c := range f.serverCodes() {
						if c.Hash == f.apple.Lock(serial).Hash {
							require.Contains(t, []escrow.State{escrow.Current, escrow.MaybeActive}, c.State, "call %d", n)
							opens++
						}
					}
					require.Equal(t, 1, opens, "call %d", n)
					require.Equal(t, activationlock.On, f.device(id).Lock.State, "call %d", n)
					require.Zero(t, f.record(id).LockOrder, "call %d", n)
				}
				if !fired {
					require.Greater(t, n, 20)
					return
				}
			}
		})
	}
}

// What Apple did is kept also if the caller goes away meanwhile.
func TestAnswerWhileTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := newFuller(t, func(f *fuller) {
		f.config.Doer = doer(func(r *http.Request) (*http.Response, error) {
			cancel()
			if strings.HasPrefix(r.URL.String(), apple.LockURL) {
				return answerOf(200, lockAnswer(serial, "SUCCESS")), nil
			}
			return answerOf(200, ""), nil
		})
	})
	f.settled(id, serial, iPhone)
	f.after(time.Minute)
	require.NoError(t, f.engine.LockForOrganization(ctx, serial, by, ""))
	require.Equal(t, activationlock.OrganizationLinked, f.device(id).Lock.Kind)
	require.Equal(t, []engine.EventType{engine.Locked}, f.told(engine.Locked))

	f.after(time.Minute)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	a, _, err := f.engine.Bypass(ctx, serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	require.Equal(t, activationlock.Off, f.device(id).Lock.State)
	require.Equal(t, []engine.EventType{engine.Unlocked}, f.told(engine.Unlocked))
}
