package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// fuller is a world with everything that an engine can have: an audit, actions, and
// a simulated Apple.
type fuller struct {
	*world
	stores *memstore.Store
	apple  *activationlocktest.Apple
	audit  *audit.Log
	fate   fate
	config engine.Config
}

// start is when the clock of a fuller world begins.
var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// newFuller makes a world whose engine hands its requests out, unless change gives
// it a Doer.
func newFuller(t *testing.T, change func(*fuller)) *fuller {
	t.Helper()
	f := &fuller{world: &world{t: t, now: start}, stores: memstore.New()}
	f.inventory = f.stores.Inventory()
	clock := func() time.Time { return f.now }
	f.apple = activationlocktest.NewApple(activationlocktest.AppleConfig{Now: clock})
	count := 0
	f.config = engine.Config{
		Inventory: fatedInventory{faultyInventory{f.inventory, &f.inventoryDown}, &f.fate},
		Policy:    engine.Policy{Options: allow()},
		Actions:   fatedActions{f.stores.Actions(), &f.fate}, Organization: "Example School",
		NewUUID: func() string {
			f.mu.Lock()
			defer f.mu.Unlock()
			count++
			return fmt.Sprintf("activationlock-%d", count)
		},
		Clock:  clock,
		Logger: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e engine.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
		},
	}
	f.auditedIn(fatedAudit{f.stores.Audit(), &f.fate})
	if change != nil {
		change(f)
	}
	f.engine = f.another()
	t.Cleanup(func() {
		for _, secret := range []string{code, code2, code3, "magic-secret"} {
			require.NotContains(t, f.log.String(), secret)
			require.NotContains(t, fmt.Sprintf("%+v", f.events), secret)
		}
	})
	return f
}

// auditedIn has the audit in a store, for the next engine and its escrow.
func (f *fuller) auditedIn(store audit.Store) {
	f.t.Helper()
	var err error
	f.audit, err = audit.New(audit.Config{Store: store})
	require.NoError(f.t, err)
	f.escrow, err = escrow.New(escrow.Config{
		Store:  fatedEscrow{faultyEscrow{f.stores.Escrow(), &f.escrowDown}, &f.fate},
		Sealer: clear{}, Audit: f.audit, Clock: f.config.Clock,
	})
	require.NoError(f.t, err)
	f.config.Escrow, f.config.Audit = f.escrow, f.audit
}

// another is another server's engine on the same stores.
func (f *fuller) another() *engine.Engine {
	f.t.Helper()
	e, err := engine.New(f.config)
	require.NoError(f.t, err)
	return e
}

// viaApple sends requests to the simulated Apple, as a host's client does.
type viaApple struct{ *activationlocktest.Apple }

func (a viaApple) Do(r *http.Request) (resp *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			resp, err = nil, errors.New("the connection was closed")
		} else if p != nil {
			panic(p)
		}
	}()
	r = r.Clone(r.Context())
	switch r.URL.Host {
	case "mdmenrollment.apple.com":
		r.Header.Set(apple.SessionHeader, a.NewSession())
	case "api-business.apple.com":
		r.Header.Set("Authorization", "Bearer x")
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

// fate is what happens to one of all calls of all stores.
type fate struct {
	mu    sync.Mutex
	calls int
	at    int    // which one, from 1; 0 for none
	how   string // "before": it fails; "after": it is done and says that it failed; "crash": the server ends after it
	fired bool
}

var errCrash = errors.New("the server ends")

func (f *fate) around(call func() error) error {
	f.mu.Lock()
	f.calls++
	hit, how := f.calls == f.at, f.how
	f.fired = f.fired || hit
	f.mu.Unlock()
	if hit && how == "before" {
		return errDown
	}
	err := call()
	switch {
	case hit && how == "crash":
		panic(errCrash)
	case hit && err == nil:
		return errDown
	}
	return err
}

// strikes has the n-th call from now on fail, 0 for none.
func (f *fate) strikes(n int, how string) { f.calls, f.at, f.how, f.fired = 0, n, how, false }

// survive does something that may end the server; if it did, a new engine goes on.
func (f *fuller) survive(do func()) (ended bool) {
	defer func() {
		if r := recover(); r == errCrash {
			f.engine, ended = f.another(), true
		} else if r != nil {
			panic(r)
		}
	}()
	do()
	return false
}

// The stores, with a fate.
type (
	fatedInventory struct {
		inventory.Store
		f *fate
	}
	fatedEscrow struct {
		escrow.Store
		f *fate
	}
	fatedActions struct {
		bypass.Store
		f *fate
	}
	fatedAudit struct {
		audit.Store
		f *fate
	}
)

func (s fatedInventory) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return s.f.around(func() error { return s.Store.Update(ctx, id, change) })
}

func (s fatedInventory) Get(ctx context.Context, id string) (r inventory.Record, err error) {
	err = s.f.around(func() error { r, err = s.Store.Get(ctx, id); return err })
	return r, err
}

func (s fatedInventory) BySerialNumber(ctx context.Context, serial string) (all []inventory.Record, err error) {
	err = s.f.around(func() error { all, err = s.Store.BySerialNumber(ctx, serial); return err })
	return all, err
}

func (s fatedInventory) Claim(ctx context.Context, now, until time.Time, limit int) (all []inventory.Claim, err error) {
	err = s.f.around(func() error { all, err = s.Store.Claim(ctx, now, until, limit); return err })
	return all, err
}

func (s fatedInventory) Release(ctx context.Context, c inventory.Claim) error {
	return s.f.around(func() error { return s.Store.Release(ctx, c) })
}

func (s fatedEscrow) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	return s.f.around(func() error { return s.Store.Update(ctx, subject, change) })
}

func (s fatedEscrow) Entries(ctx context.Context, subject escrow.Subject) (all []escrow.Entry, err error) {
	err = s.f.around(func() error { all, err = s.Store.Entries(ctx, subject); return err })
	return all, err
}

func (s fatedActions) Create(ctx context.Context, a bypass.Action) error {
	return s.f.around(func() error { return s.Store.Create(ctx, a) })
}

func (s fatedActions) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	return s.f.around(func() error { return s.Store.Update(ctx, id, change) })
}

func (s fatedActions) Get(ctx context.Context, id string) (a bypass.Action, err error) {
	err = s.f.around(func() error { a, err = s.Store.Get(ctx, id); return err })
	return a, err
}

func (s fatedActions) OfDevice(ctx context.Context, serial string) (all []bypass.Action, err error) {
	err = s.f.around(func() error { all, err = s.Store.OfDevice(ctx, serial); return err })
	return all, err
}

func (s fatedActions) Scan(ctx context.Context, after string, limit int, open bool) (all []bypass.Action, err error) {
	err = s.f.around(func() error { all, err = s.Store.Scan(ctx, after, limit, open); return err })
	return all, err
}

func (s fatedAudit) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	return s.f.around(func() error { return s.Store.Append(ctx, next) })
}

// tick works off what is due.
func (f *fuller) tick() []engine.Batch {
	f.t.Helper()
	batches, err := f.engine.Tick(f.t.Context(), 100)
	require.NoError(f.t, err)
	return batches
}

// requests ticks and returns what Apple is to be asked.
func (f *fuller) requests() (all []engine.Request) {
	f.t.Helper()
	for _, b := range f.tick() {
		all = append(all, b.Requests...)
	}
	return all
}

// request ticks and returns the only request.
func (f *fuller) request(s engine.Service) engine.Request {
	f.t.Helper()
	all := f.requests()
	require.Len(f.t, all, 1)
	require.Equal(f.t, s, all[0].Service)
	return all[0]
}

func (f *fuller) after(d time.Duration) { f.now = f.now.Add(d) }

// settled has a device that is enrolled, gave its code, and has the permission.
func (f *fuller) settled(id, serial string, facts dict) {
	f.t.Helper()
	f.allowed(id, f.enroll(id, serial, facts), code)
	f.events = nil
}

func (f *fuller) record(id string) inventory.Record {
	f.t.Helper()
	r, err := f.inventory.Get(f.t.Context(), id)
	require.NoError(f.t, err)
	return r
}

// held has a code in escrow that came from elsewhere, of a device without a record.
func (f *fuller) held(serial, text string) {
	f.t.Helper()
	_, err := f.escrow.Capture(f.t.Context(), escrow.Capture{
		Subject: escrow.Subject{SerialNumber: serial}, Kind: bypasscode.Device, Text: bypasscode.NewText(text),
		Cause: escrow.CauseImport, ReceivedAt: f.now, Device: escrow.Device{SerialNumber: serial, ProductType: "iPhone17,3"},
	})
	require.NoError(f.t, err)
}

// told returns the events of some types.
func (f *fuller) told(types ...engine.EventType) (found []engine.EventType) {
	for _, e := range f.events {
		if slices.Contains(types, e.Type) {
			found = append(found, e.Type)
		}
	}
	return found
}

// answerOf is an answer of Apple.
func answerOf(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(body)))}
}

var by = escrow.Act{Actor: "anna@example.org", Reason: "the pupil left"}

func adopt(e *engine.Engine, t *testing.T, ids ...string) {
	t.Helper()
	result, err := e.Adopt(t.Context(), func(yield func(engine.Enrollment) bool) {
		for _, id := range ids {
			if !yield(engine.Enrollment{ID: id}) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, engine.AdoptResult{Adopted: len(ids)}, result)
}

func names(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("UDID-%03d", i))
	}
	return ids
}

// Several servers work off a fleet, each enrollment once, and each command comes
// with the enrollment that it is for.
func TestTickWorksOffWhatIsDueOnce(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	ids := names(100)
	adopt(f.engine, t, ids...)
	require.Empty(t, f.tick(), "none is due yet")
	f.after(24 * time.Hour)

	var mu sync.Mutex
	var all sync.WaitGroup
	asked := map[string]string{}
	for range 4 {
		server := f.another()
		all.Go(func() {
			for {
				batches, err := server.Tick(t.Context(), 7)
				mu.Lock()
				for _, b := range batches {
					if len(b.Commands) != 1 || b.Commands[0].RequestType != "DeviceInformation" || len(b.Requests) != 0 ||
						b.Enrollment.Channel != engine.DeviceChannel || asked[b.Enrollment.ID] != "" {
						t.Errorf("%+v", b)
					}
					asked[b.Enrollment.ID] = b.Commands[0].UUID
				}
				mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if err != nil || len(batches) == 0 {
					return
				}
			}
		})
	}
	all.Wait()
	require.Len(t, asked, len(ids))
	for id, uuid := range asked {
		require.Equal(t, []string{uuid}, f.record(id).Exchanges["DeviceInformation"].UUIDs)
	}
	require.Empty(t, f.tick())
	f.after(23 * time.Hour)
	require.Empty(t, f.tick(), "they have a day to answer")
}

func TestTickHeedsItsLimit(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	adopt(f.engine, t, names(5)...)
	f.after(24 * time.Hour)
	for _, want := range []int{2, 2, 1, 0} {
		batches, err := f.engine.Tick(t.Context(), 2)
		require.NoError(t, err)
		require.Len(t, batches, want)
	}
}

// While a store is down nothing is sent and nothing is lost: what is due is due
// again after ten minutes.
func TestTickWithAStoreThatIsDown(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*fuller) *bool{
		"escrow":    func(f *fuller) *bool { return &f.escrowDown },
		"inventory": func(f *fuller) *bool { return &f.inventoryDown },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFuller(t, nil)
			adopt(f.engine, t, names(3)...)
			f.after(24 * time.Hour)
			*down(f) = true
			require.Empty(t, f.tick())
			require.NotEmpty(t, f.told(engine.EscrowFailed, engine.RecordFailed))
			*down(f) = false
			f.after(10*time.Minute - time.Second)
			require.Empty(t, f.tick(), "the claim holds")
			f.after(time.Second)
			require.Len(t, f.tick(), 3)
		})
	}
}

// Whichever call of a store fails, or is the last one of a server: each of the
// enrollments is sent its command, at the latest when it would have been lost.
func TestTickWhateverFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"before", "after", "crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; ; n++ {
				f := newFuller(t, nil)
				adopt(f.engine, t, names(2)...)
				f.after(24 * time.Hour)
				f.fate.strikes(n, how)
				sent := map[string]int{}
				work := func() {
					f.survive(func() {
						batches, err := f.engine.Tick(t.Context(), 100)
						if err != nil {
							require.ErrorIs(t, err, errDown)
						}
						for _, b := range batches {
							require.Equal(t, "DeviceInformation", b.Commands[0].RequestType)
							sent[b.Enrollment.ID]++
						}
					})
				}
				work()
				if !f.fate.fired {
					require.Equal(t, map[string]int{"UDID-000": 1, "UDID-001": 1}, sent)
					break
				}
				f.after(10 * time.Minute)
				work()
				if how == "before" {
					require.Equal(t, map[string]int{"UDID-000": 1, "UDID-001": 1}, sent, "call %d", n)
					continue
				}
				f.after(24 * time.Hour)
				work()
				require.Len(t, sent, 2, "call %d", n)
			}
			require.Greater(t, n, 8, "every call was looked at")
		})
	}
}

// What was claimed too long ago is left to others: their clocks may be ahead.
func TestTickLeavesWhatItHasNoTimeFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		took time.Duration
		want int
	}{{7 * time.Minute, 2}, {7*time.Minute + time.Second, 1}} {
		f := newFuller(t, nil)
		adopt(f.engine, t, names(2)...)
		f.after(24 * time.Hour)
		count, took := 0, time.Duration(0)
		f.config.NewUUID = func() string { count++; f.after(took); return fmt.Sprint("activationlock-slow-", count) }
		f.engine = f.another()
		took = test.took
		require.Len(t, f.tick(), test.want, "%v", test.took)
		f.config.NewUUID = nil
		f.engine = f.another()
		require.Len(t, f.tick(), 2-test.want, "what was left is due at once")
	}
}

// A context that ends midway takes nothing away from what is planned already.
func TestTickWhoseContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := newFuller(t, nil)
	adopt(f.engine, t, names(5)...)
	f.after(24 * time.Hour)
	planned := 0
	f.config.NewUUID = func() string {
		if planned++; planned == 4 { // New tried it twice
			cancel()
		}
		return fmt.Sprint("activationlock-", planned)
	}
	f.engine = f.another()
	batches, err := f.engine.Tick(ctx, 100)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, batches, 2)
	f.after(10 * time.Minute)
	require.Len(t, f.tick(), 3)
}

// The device is known by an imported code only.
func TestBypassOfADeviceWithoutARecord(t *testing.T) {
	t.Parallel()
	t.Run("with a Doer", func(t *testing.T) {
		t.Parallel()
		f := newFuller(t, func(f *fuller) { f.config.Doer = viaApple{f.apple} })
		device := lockedDevice(t, f)
		f.held(serial, device.Code().Reveal())
		f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 503})
		action, warning, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, bypass.WarningRelock, warning)
		require.Equal(t, bypass.Active, action.State)
		require.Empty(t, f.told(engine.Unlocked))
		f.now = action.NextAt.Add(-time.Second)
		require.Empty(t, f.tick())
		require.Len(t, f.apple.Requests(), 1, "not before its time")
		f.now = action.NextAt
		require.Empty(t, f.tick())
		require.Equal(t, activationlocktest.NotLocked, f.apple.Lock(serial).Kind)
		require.Equal(t, []engine.EventType{engine.Unlocked}, f.told(engine.Unlocked))
		require.Equal(t, bypass.Done, f.device(serial).LastBypass.State)
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		f := newFuller(t, nil)
		f.held(serial, code)
		f.held(serial, code2)
		_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		batches := f.tick()
		require.Len(t, batches, 1)
		require.Zero(t, batches[0].Enrollment)
		require.Len(t, batches[0].Requests, 1)
		request := batches[0].Requests[0]
		require.Equal(t, engine.UnlockService, request.Service)
		require.Empty(t, request.EnrollmentID)
		require.Equal(t, serial, request.SerialNumber)
		require.Empty(t, f.tick(), "it is under way")
		require.NoError(t, f.engine.HandleAnswer(t.Context(), request, answerOf(404, ""), nil))
		require.Empty(t, f.told(engine.Unlocked, engine.BypassEnded))
		require.NoError(t, f.engine.HandleAnswer(t.Context(), f.request(engine.UnlockService), answerOf(200, ""), nil))
		require.Equal(t, []engine.EventType{engine.Unlocked}, f.told(engine.Unlocked, engine.BypassEnded))
		require.Empty(t, f.tick())
	})
}

// A hundred bypasses that wait do not keep one behind them from going on.
func TestBypassBehindManyThatWait(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	for i := range 100 {
		require.NoError(t, f.stores.Actions().Create(t.Context(), bypass.Action{
			ID: fmt.Sprintf("A%03d", i), Subject: escrow.Subject{SerialNumber: fmt.Sprint("WAITS", i)}, By: by, State: bypass.Active,
			Attempts: []bypass.Attempt{{RecordID: "R"}}, StartedAt: f.now, NextAt: f.now.Add(time.Hour), GiveUpAt: f.now.Add(bypass.GiveUpAfter),
		}))
	}
	f.held(serial, code)
	bypasses, err := bypass.New(bypass.Config{Store: f.stores.Actions(), Escrow: f.escrow, Audit: f.audit, Organization: "Example School", Clock: f.config.Clock})
	require.NoError(t, err)
	_, _, err = bypasses.Start(t.Context(), bypass.Start{ID: "Z", Subject: escrow.Subject{SerialNumber: serial}, Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, serial, f.request(engine.UnlockService).SerialNumber)
}

// What somebody began without the engine gets to the device's record all the same.
func TestBypassThatBeganElsewhere(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone.with(dict{"IsActivationLockEnabled": true}))
	bypasses, err := bypass.New(bypass.Config{Store: f.stores.Actions(), Escrow: f.escrow, Audit: f.audit, Organization: "Example School", Clock: f.config.Clock})
	require.NoError(t, err)
	_, _, err = bypasses.Start(t.Context(), bypass.Start{
		ID: "A1", Subject: escrow.Subject{SerialNumber: serial}, Act: by, InHand: true, Identity: escrow.Device{ProductType: "iPhone17,3"},
	})
	require.NoError(t, err)
	require.Empty(t, f.tick())
	require.Equal(t, "A1", f.record(id).BypassID)
	request := f.request(engine.UnlockService)
	require.Equal(t, id, request.EnrollmentID)
	require.NoError(t, f.engine.HandleAnswer(t.Context(), request, answerOf(200, ""), nil))
	require.Empty(t, f.record(id).BypassID)
	require.Equal(t, []engine.EventType{engine.Unlocked}, f.told(engine.Unlocked))
}

// An engine that has no place for actions leaves them alone.
func TestBypassThatIsOthers(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	f.config.Actions, f.config.Organization = nil, ""
	f.engine = f.another()
	require.Empty(t, f.requests())
	require.NotEmpty(t, f.record(id).BypassID)
}

// Run ticks at once and then at its interval, and ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) {
			f.config.Clock = time.Now
			f.config.Policy.AdoptWithin = time.Hour
		})
		adopt(f.engine, t, names(3)...)
		time.Sleep(time.Hour)
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		var got []string
		ended := make(chan error)
		go func() {
			ended <- f.engine.Run(ctx, time.Minute, 100, func(_ context.Context, b engine.Batch) error {
				at, got = append(at, time.Since(began)), append(got, b.Enrollment.ID)
				return nil
			})
		}()
		synctest.Wait()
		require.ElementsMatch(t, names(3), got)
		require.Equal(t, []time.Duration{0, 0, 0}, at, "at once")

		time.Sleep(30 * time.Second)
		adopt(f.engine, t, "UDID-X")
		due := f.record("UDID-X").Summary.DueAt.Sub(began)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, got, 4)
		require.Equal(t, due.Truncate(time.Minute)+time.Minute, at[3], "with the first tick after it is due")

		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// While there is more due than the limit, Run does not wait.
func TestRunDoesNotWaitWhileMoreIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) { f.config.Clock = time.Now })
		adopt(f.engine, t, names(25)...)
		time.Sleep(24 * time.Hour)
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		err := f.engine.Run(ctx, time.Hour, 4, func(_ context.Context, b engine.Batch) error {
			if n++; n == 25 {
				require.Zero(t, time.Since(began))
				cancel()
			}
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 25, n)
	})
}

// What came before the context ended is delivered all the same: it is on record as
// asked.
func TestRunDeliversTheLastBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) { f.config.Clock = time.Now })
		adopt(f.engine, t, names(5)...)
		time.Sleep(24 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := f.engine.Run(ctx, time.Hour, 100, func(ctx context.Context, b engine.Batch) error {
			require.NoError(t, ctx.Err())
			_, bounded := ctx.Deadline()
			require.Equal(t, n > 0, bounded)
			n++
			cancel()
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 5, n)
	})
}

// A store that is down, and a batch that cannot be delivered, end nothing.
func TestRunGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) { f.config.Clock = time.Now })
		adopt(f.engine, t, names(1)...)
		time.Sleep(24 * time.Hour)
		f.fate.strikes(1, "before") // Claim
		ctx, cancel := context.WithTimeout(t.Context(), 26*time.Hour)
		defer cancel()
		n := 0
		err := f.engine.Run(ctx, time.Minute, 100, func(context.Context, engine.Batch) error { n++; return errDown })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2, n, "asked again after its deadline")
		require.Equal(t, []engine.EventType{engine.TickFailed, engine.DeliveryFailed, engine.DeliveryFailed}, f.told(engine.TickFailed, engine.DeliveryFailed))
		require.ErrorIs(t, f.events[0].Err, errDown)
		require.Equal(t, "UDID-000", f.events[len(f.events)-1].EnrollmentID)
	})
}

// With an error Run waits, also where more is due: it may be there for long.
func TestRunWaitsAfterAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) {
			f.config.Clock = time.Now
			f.config.Actions = noScan{f.config.Actions}
		})
		adopt(f.engine, t, names(3)...)
		time.Sleep(24 * time.Hour)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var at []time.Duration
		_ = f.engine.Run(ctx, time.Minute, 1, func(context.Context, engine.Batch) error {
			at = append(at, time.Since(began))
			return nil
		})
		require.Equal(t, []time.Duration{0, time.Minute, 2 * time.Minute}, at)
	})
}

// noScan is a store of actions whose lists are down.
type noScan struct{ bypass.Store }

func (noScan) Scan(context.Context, string, int, bool) ([]bypass.Action, error) { return nil, errDown }

func TestRunChecksItsArguments(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	deliver := func(context.Context, engine.Batch) error { return nil }
	for _, err := range []error{
		f.engine.Run(t.Context(), 0, 1, deliver), f.engine.Run(t.Context(), -1, 1, deliver),
		f.engine.Run(t.Context(), 1, 0, deliver), f.engine.Run(t.Context(), 1, 1, nil),
	} {
		require.ErrorContains(t, err, "an interval, a limit and what delivers are required")
	}
	require.Zero(t, f.fate.calls)
}

// The context ends while the host's queue hangs: what is planned still has half a minute,
// all of it together.
func TestRunEndsThoughTheQueueHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFuller(t, func(f *fuller) { f.config.Policy.AdoptWithin = time.Hour })
		var ids []string
		for n := range 100 {
			ids = append(ids, fmt.Sprintf("device-%d", n))
		}
		adopt(f.engine, t, ids...)
		f.after(2 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		began, delivered := time.Now(), 0
		err := f.engine.Run(ctx, time.Minute, 1000, func(ctx context.Context, _ engine.Batch) error {
			cancel()
			delivered++
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, len(ids), delivered)
		require.Equal(t, 30*time.Second, time.Since(began), "by the clock of the test")
	})
}
