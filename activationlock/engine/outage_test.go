package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// moody is an Apple whose services answer, each call after a time, as they are told.
type moody struct {
	f     *fuller
	takes time.Duration
	// fails says what comes of a call for a device, for the lock service for "";
	// status 0 without an error is a good answer.
	fails func(s engine.Service, serial string) (status int, body string, err error)
	calls map[engine.Service]int
	asked map[string]int // for the status, by serial number
}

func (m *moody) Do(r *http.Request) (*http.Response, error) {
	service, serial := engine.UnlockService, r.URL.Query().Get("serial")
	switch {
	case r.URL.Host == "api-business.apple.com":
		service, serial = engine.StatusService, path.Base(path.Dir(r.URL.Path))
	case strings.HasPrefix(r.URL.String(), apple.LockURL):
		service, serial = engine.LockService, ""
	}
	m.f.after(m.takes)
	m.calls[service]++
	status, body, err := m.fails(service, serial)
	switch {
	case err != nil:
		return nil, err
	case status != 0:
		return answerOf(status, body), nil
	case service == engine.LockService:
		return answerOf(200, lockAnswer("", "SUCCESS")), nil
	case service == engine.StatusService:
		m.asked[serial]++
		return answerOf(200, statusAnswer(serial, "false", "NONE")), nil
	}
	return answerOf(200, ""), nil
}

// all returns how many calls there were, and begins to count anew.
func (m *moody) all() (n int) {
	for _, calls := range m.calls {
		n += calls
	}
	m.calls = map[engine.Service]int{}
	return n
}

func (m *moody) hang() {
	m.takes = 30 * time.Second
	m.fails = func(engine.Service, string) (int, string, error) { return 0, "", context.DeadlineExceeded }
}

func (m *moody) answer() {
	m.takes = 200 * time.Millisecond
	m.fails = func(engine.Service, string) (int, string, error) { return 0, "", nil }
}

// newMoody makes a world of n devices that are enrolled and have the permission, and
// of a moody Apple, which answers for now.
func newMoody(t *testing.T, n int, change func(*fuller)) (*fuller, *moody) {
	t.Helper()
	m := &moody{calls: map[engine.Service]int{}, asked: map[string]int{}}
	f := newFuller(t, func(f *fuller) {
		withStatus(f)
		f.config.Doer = m
		if change != nil {
			change(f)
		}
	})
	m.f = f
	m.answer()
	for i, id := range names(n) {
		f.settled(id, serialOf(i), iPhone)
	}
	return f, m
}

func serialOf(i int) string { return fmt.Sprintf("XXFAKE%05d", i) }

// minutes has a Tick every minute for a while.
func (f *fuller) minutes(n int) {
	f.t.Helper()
	for end := f.now.Add(time.Duration(n) * time.Minute); f.now.Before(end); f.after(time.Minute) {
		f.tickOf(1000)
	}
}

func (f *fuller) tickOf(limit int) []engine.Batch {
	f.t.Helper()
	batches, err := f.engine.Tick(f.t.Context(), limit)
	require.NoError(f.t, err)
	return batches
}

// orphans begins bypasses of devices of which only codes are known, elsewhere.
func (f *fuller) orphans(n int) *bypass.Bypass {
	f.t.Helper()
	bypasses, err := bypass.New(bypass.Config{Store: f.stores.Actions(), Escrow: f.escrow, Audit: f.audit, Organization: "Example School", Clock: f.config.Clock})
	require.NoError(f.t, err)
	for i := range n {
		f.held(fmt.Sprint("ORPHAN", i), code)
		_, _, err = bypasses.Start(f.t.Context(), bypass.Start{
			ID: fmt.Sprintf("A%03d", i), Subject: escrow.Subject{SerialNumber: fmt.Sprint("ORPHAN", i)}, Act: by, InHand: true,
		})
		require.NoError(f.t, err)
	}
	return bypasses
}

// states counts the actions by their state.
func (f *fuller) states() map[bypass.State]int {
	f.t.Helper()
	all, err := f.stores.Actions().Scan(f.t.Context(), "", 1000, false)
	require.NoError(f.t, err)
	states := map[bypass.State]int{}
	for _, a := range all {
		states[a.State]++
	}
	return states
}

// While Apple hangs, devices get their commands all the same, a dead service is called
// now and then only, and once it is back all that was wanted is done.
func TestAppleHangs(t *testing.T) {
	t.Parallel()
	const n = 200
	f, m := newMoody(t, n, nil)
	f.tickOf(1000)
	require.Len(t, m.asked, n)
	f.after(3 * week) // all are due again, for Apple and for the device
	m.hang()
	m.all()
	m.asked = map[string]int{}
	before := f.now
	commands := map[string]bool{}
	for _, b := range f.tickOf(1000) {
		require.Equal(t, "DeviceInformation", b.Commands[0].RequestType)
		commands[b.Enrollment.ID] = true
	}
	require.Len(t, commands, n, "no device waits for Apple")
	require.LessOrEqual(t, f.now.Sub(before), 2*time.Minute)
	require.Equal(t, 1, m.all(), "the others wait for what comes of it")

	t.Log("a person's orders are sent at once all the same")
	for _, i := range []int{0, 1} {
		require.NoError(t, f.engine.LockForOrganization(t.Context(), serialOf(i), by, ""))
		require.Equal(t, i+1, m.calls[engine.LockService])
	}
	for _, i := range []int{2, 3} {
		a, _, err := f.engine.Bypass(t.Context(), serialOf(i), engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, bypass.Active, a.State)
	}
	require.Equal(t, 2, m.calls[engine.UnlockService])

	f.minutes(60)
	for service, calls := range m.calls {
		require.InDelta(t, 7, calls, 2, service)
	}
	require.Len(t, m.calls, 3)
	m.all()
	f.minutes(9 * 60)
	require.InDelta(t, 12, m.calls[engine.StatusService], 2, "every 45 minutes")
	require.LessOrEqual(t, m.calls[engine.LockService], 13, "two orders rest longer in the end")
	require.LessOrEqual(t, m.calls[engine.UnlockService], 13)

	m.answer()
	f.minutes(65) // an unlock rests for an hour at most
	require.GreaterOrEqual(t, len(m.asked), n-8, "those that were asked last rest a little longer")
	require.Equal(t, map[bypass.State]int{bypass.Done: 2}, f.states())
	f.minutes(24 * 60)
	require.Len(t, m.asked, n)
	require.Equal(t, []engine.EventType{engine.Locked, engine.Locked}, f.told(engine.Locked))
}

// Bypasses of devices without a record do not fill a Tick either, nor do they end for
// an Apple that hangs, or by a certificate that is refused.
func TestOrphansWhileAppleHangs(t *testing.T) {
	t.Parallel()
	const n = 80
	f, m := newMoody(t, 1, nil)
	f.orphans(n)
	f.after(3 * week)
	m.hang()
	before := f.now
	require.Len(t, f.tickOf(1000), 1)
	require.Equal(t, map[engine.Service]int{engine.UnlockService: 1, engine.StatusService: 1}, m.calls)
	require.Equal(t, time.Minute, f.now.Sub(before))
	require.Equal(t, map[bypass.State]int{bypass.Active: 1, bypass.Pending: n - 1}, f.states(), "no code of another counts as tried")
	f.minutes(60)
	require.InDelta(t, 7, m.calls[engine.UnlockService], 2)

	m.fails = func(engine.Service, string) (int, string, error) { return 0, "", refusedByTLS }
	f.minutes(60)
	require.InDelta(t, 1, f.states()[bypass.Failed], 1)
	failed := f.states()[bypass.Failed]

	m.answer()
	f.minutes(60)
	require.Equal(t, map[bypass.State]int{bypass.Failed: failed, bypass.Done: n - failed}, f.states())
}

// An Apple that is slow holds up no device, nor a bypass; it is asked for as much as
// it can answer.
func TestAppleIsSlow(t *testing.T) {
	t.Parallel()
	const n, limit, perTick = 120, 30, 12
	f, m := newMoody(t, n, nil)
	f.tickOf(n)
	f.after(3 * week)
	m.takes = 5 * time.Second
	m.asked = map[string]int{}
	commands := map[string]bool{}
	for i := range n / limit {
		before := f.now
		for _, b := range f.tickOf(limit) {
			commands[b.Enrollment.ID] = true
		}
		require.Len(t, commands, (i+1)*limit, "what was left for lack of time does not come first")
		require.Equal(t, time.Minute, f.now.Sub(before))
		require.Len(t, m.asked, (i+1)*perTick)
	}
	for i := range n {
		r := f.record(names(n)[i])
		if x := r.Exchanges[string(engine.StatusService)]; m.asked[serialOf(i)] == 0 {
			require.Empty(t, x.UUIDs, "what was not sent is not on record as asked")
			require.False(t, r.Summary.DueAt.After(f.now), "and is due")
		}
	}
	last := ""
	for i := range n {
		if m.asked[serialOf(i)] == 0 {
			last = serialOf(i)
		}
	}
	m.hang()
	a, _, err := f.engine.Bypass(t.Context(), last, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	f.now = a.NextAt
	m.answer()
	m.takes = 5 * time.Second
	f.tickOf(n)
	require.Equal(t, map[bypass.State]int{bypass.Done: 1}, f.states(), "before all that wait for their status")
	for range n/perTick + 1 {
		f.tickOf(limit)
	}
	require.Len(t, m.asked, n)
}

// Bypasses of devices without a record have no more time in a Tick than all others.
func TestOrphansWhileAppleIsSlow(t *testing.T) {
	t.Parallel()
	f, m := newMoody(t, 1, nil)
	f.orphans(20)
	m.takes = 5 * time.Second
	f.tick()
	require.Equal(t, map[engine.Service]int{engine.UnlockService: 12}, m.calls)
	f.tick()
	require.Equal(t, map[engine.Service]int{engine.UnlockService: 20, engine.StatusService: 1}, m.calls)
}

// Which answers have a service left alone: those that another device would get, too.
func TestServicePauses(t *testing.T) {
	t.Parallel()
	const n = 4
	for _, test := range []struct {
		name    string
		service engine.Service
		status  int
		body    string
		err     error
		pauses  bool
	}{
		{"timeout", engine.StatusService, 0, "", context.DeadlineExceeded, true},
		{"nothing", engine.StatusService, 0, "", errors.New("a connection that broke"), true},
		{"TLS", engine.StatusService, 0, "", refusedByTLS, true},
		{"token", engine.StatusService, 401, "", nil, true},
		{"role", engine.StatusService, 403, "", nil, true},
		{"called off", engine.StatusService, 0, "", context.Canceled, false},
		{"unknown", engine.StatusService, 404, "", nil, false},
		{"malformed", engine.StatusService, 400, "", nil, false},
		{"odd", engine.StatusService, 200, "{", nil, false},
		{"nothing", engine.LockService, 0, "", errDown, true},
		{"session", engine.LockService, 401, "", nil, true},
		{"terms", engine.LockService, 403, `"T_C_NOT_SIGNED"`, nil, true},
		{"denied", engine.LockService, 403, `"ACCESS_DENIED"`, nil, true},
		{"malformed", engine.LockService, 400, "", nil, false},
		{"not accessible", engine.LockService, 200, lockAnswer("", "NOT_ACCESSIBLE"), nil, false},
		{"nothing", engine.UnlockService, 0, "", errDown, true},
		{"certificate", engine.UnlockService, 401, "", nil, true},
		{"TLS", engine.UnlockService, 0, "", refusedByTLS, true},
		{"unknown", engine.UnlockService, 404, "", nil, false},
		{"malformed", engine.UnlockService, 400, "", nil, false},
	} {
		t.Run(string(test.service)+" "+test.name, func(t *testing.T) {
			t.Parallel()
			f, m := newMoody(t, n, func(f *fuller) {
				f.config.Policy.LockForOrganization = test.service == engine.LockService
			})
			if test.service == engine.UnlockService {
				f.orphans(n)
			}
			m.fails = func(s engine.Service, _ string) (int, string, error) {
				if s != test.service {
					return 0, "", nil
				}
				return test.status, test.body, test.err
			}
			f.tick()
			want := n
			if test.pauses {
				want = 1
			}
			require.Equal(t, want, m.calls[test.service])
			if test.service != engine.StatusService {
				require.Equal(t, n, m.calls[engine.StatusService], "the other services are not left alone")
			}
			if !test.pauses {
				return
			}
			f.after(44 * time.Second)
			f.tick()
			require.Equal(t, 1, m.calls[test.service])
			f.after(time.Second)
			f.tick()
			require.Equal(t, 2, m.calls[test.service], "one finds out")
			f.after(89 * time.Second)
			f.tick()
			require.Equal(t, 2, m.calls[test.service], "twice as long")
			m.answer()
			f.after(time.Second)
			f.tick()
			require.GreaterOrEqual(t, m.calls[test.service], 4, "and then the others are")
		})
	}
}

// What a person orders finds out, too, whether a service is back; if it is not, the
// others wait no longer than before.
func TestPersonFindsOut(t *testing.T) {
	t.Parallel()
	f, m := newMoody(t, 0, nil)
	f.orphans(20)
	m.hang()
	f.minutes(10)
	m.calls = map[engine.Service]int{}
	for i := range 8 {
		f.held(fmt.Sprint("HAND", i), code)
		_, _, err := f.engine.Bypass(t.Context(), fmt.Sprint("HAND", i), engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
		require.Equal(t, i+1, m.calls[engine.UnlockService], "at once")
	}
	f.minutes(7)
	require.Equal(t, 9, m.calls[engine.UnlockService])

	m.answer()
	f.held("HANDS", code)
	a, _, err := f.engine.Bypass(t.Context(), "HANDS", engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	f.tick()
	require.Greater(t, f.states()[bypass.Done], 15, "and Tick goes on with all that were left")

	t.Log("what Apple wants a person heeds, too")
	m.fails = func(engine.Service, string) (int, string, error) { return 503, "", nil }
	f.held("HANDED", code)
	for _, serial := range []string{"HANDED", "HANDS"} {
		a, _, err = f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
		require.NoError(t, err)
	}
	require.Equal(t, bypass.Pending, a.State)
}

// One device whose calls alone get no answer does not keep the others from being asked,
// whoever comes first.
func TestOneDeviceInVain(t *testing.T) {
	t.Parallel()
	const n = 20
	f, m := newMoody(t, n, nil)
	f.orphans(n)
	m.fails = func(_ engine.Service, serial string) (int, string, error) {
		if serial == serialOf(0) || serial == "ORPHAN0" {
			return 0, "", errDown
		}
		return 0, "", nil
	}
	f.minutes(30)
	require.Len(t, m.asked, n-1)
	require.Equal(t, map[bypass.State]int{bypass.Active: 1, bypass.Done: n - 1}, f.states())
}

// Without a Doer it is the same: after calls in vain one request is handed out, and
// the others wait for what comes of it, or for a minute.
func TestOneRequestFindsOut(t *testing.T) {
	t.Parallel()
	const n = 10
	f, _ := newMoody(t, n, func(f *fuller) { f.config.Doer = nil })
	all := f.requests()
	require.Len(t, all, n, "nobody knows yet")
	f.orphans(n)
	for _, r := range append(all, f.requests()...) {
		require.NoError(t, f.engine.HandleAnswer(t.Context(), r, nil, errDown))
	}
	f.after(44 * time.Second)
	require.Empty(t, f.requests(), "that many calls were in vain, sent at the same time, counts once")

	f.after(10 * time.Minute)
	both := func() (status, unlock engine.Request) {
		all := f.requests()
		require.Len(t, all, 2)
		require.Equal(t, []engine.Service{engine.StatusService, engine.UnlockService}, []engine.Service{all[0].Service, all[1].Service})
		return all[0], all[1]
	}
	both() // nobody answers
	f.after(time.Minute - time.Second)
	require.Empty(t, f.requests())
	f.after(time.Second)
	status, unlock := both()
	require.NoError(t, f.engine.HandleAnswer(t.Context(), status, answerOf(404, ""), nil))
	require.NoError(t, f.engine.HandleAnswer(t.Context(), unlock, answerOf(200, ""), nil))
	f.after(time.Minute)
	require.Len(t, f.requests(), n-2+n-1, "the others; and the bypass whose call was lost, two minutes ago")
}

// While there is more to ask Apple than a Tick has time for, Run does not wait.
func TestRunDoesNotWaitWhileApplesAnswersAreSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		calls := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := newFuller(t, func(f *fuller) {
			withStatus(f)
			f.config.Clock = time.Now
			f.config.Doer = doer(func(*http.Request) (*http.Response, error) {
				time.Sleep(5 * time.Second)
				if calls++; calls == n {
					cancel()
				}
				return answerOf(404, ""), nil
			})
		})
		f.now = time.Now() // when codes are filed by what is not the engine
		for i, id := range names(n) {
			f.settled(id, serialOf(i), iPhone)
		}
		began := time.Now()
		err := f.engine.Run(ctx, time.Hour, 100, func(context.Context, engine.Batch) error { return nil })
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, n*5*time.Second, time.Since(began))
	})
}

// A context that ends while Apple is called ends that: no other call begins.
func TestTickWhoseContextEndsAtApple(t *testing.T) {
	t.Parallel()
	f, m := newMoody(t, 3, nil)
	ctx, cancel := context.WithCancel(t.Context())
	m.fails = func(engine.Service, string) (int, string, error) { cancel(); return 0, "", context.Canceled }
	f.config.Actions, f.config.Organization = nil, ""
	f.engine = f.another()
	_, err := f.engine.Tick(ctx, 100)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, m.all())
	m.answer()
	f.after(10 * time.Minute)
	f.tick()
	require.Equal(t, 3, m.all(), "nor is the service left alone for that")
}
