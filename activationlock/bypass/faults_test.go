package bypass_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// fate is what happens to one of all calls of all stores.
type fate struct {
	calls, at int // which one, from 1
	// how: "before": it fails; "after": it is done and says that it failed; "crash
	// before" and "crash": the server ends
	how   string
	fired bool
}

// errCrash is the panic with which a server ends.
var errCrash = errors.New("the server ends")

func (f *fate) around(call func() error) error {
	f.calls++
	hit := f.calls == f.at
	f.fired = f.fired || hit
	switch {
	case hit && f.how == "before":
		return errDown
	case hit && f.how == "crash before":
		panic(errCrash)
	}
	err := call()
	if hit && f.how == "crash" {
		panic(errCrash)
	}
	if hit && err == nil {
		return errDown
	}
	return err
}

// The stores of a server, with a fate.
type (
	fatedActions struct {
		bypass.Store
		f *fate
	}
	fatedCodes struct {
		escrow.Store
		f *fate
	}
	fatedTrail struct {
		audit.Store
		f *fate
	}
)

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

func (s fatedActions) OfDevice(ctx context.Context, serialNumber string) (all []bypass.Action, err error) {
	err = s.f.around(func() error { all, err = s.Store.OfDevice(ctx, serialNumber); return err })
	return all, err
}

func (s fatedActions) Scan(ctx context.Context, after string, limit int, open bool) (all []bypass.Action, err error) {
	err = s.f.around(func() error { all, err = s.Store.Scan(ctx, after, limit, open); return err })
	return all, err
}

func (s fatedCodes) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	return s.f.around(func() error { return s.Store.Update(ctx, subject, change) })
}

func (s fatedCodes) Entries(ctx context.Context, subject escrow.Subject) (all []escrow.Entry, err error) {
	err = s.f.around(func() error { all, err = s.Store.Entries(ctx, subject); return err })
	return all, err
}

func (s fatedTrail) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	return s.f.around(func() error { return s.Store.Append(ctx, next) })
}

// fated puts a server's stores under a fate.
func (s *server) fated(f *fate) {
	s.actions, s.codes, s.trail = fatedActions{s.mem.Actions(), f}, fatedCodes{s.mem.Escrow(), f}, fatedTrail{s.mem.Audit(), f}
	s.boot()
}

// survive does something that may end the server.
func (s *server) survive(do func() error) (err error) {
	defer func() {
		if r := recover(); r == errCrash {
			s.boot()
			err = errCrash
		} else if r != nil {
			panic(r)
		}
	}()
	return do()
}

// witness is an Apple that looks into the stores with each call: it must be on the
// books, and no code may come for which there is an answer. Another device's may be on
// the books at that moment, too, and not come: where the store failed after the commit.
func (s *server) witness(double *appleDouble) *appleDouble {
	uses := map[string]int{}
	double.clock = s.clock
	double.before = func(code string) {
		all, err := s.mem.Actions().Scan(context.Background(), "", 999, true)
		require.NoError(s.t, err)
		ids := s.idsOf(code)
		underWay := 0
		for _, a := range all {
			for _, t := range a.Attempts {
				if ids[t.RecordID] && t.Tries > 0 && t.AnsweredAt.Before(t.SentAt) && t.SentAt.Equal(s.clock.Now()) {
					underWay++
					require.NotContains(s.t, []apple.Outcome{apple.NotFound, apple.Malformed, apple.Done}, t.Outcome, "there is an answer for it")
					require.False(s.t, t.NotOpened)
					uses[t.RecordID]++
					used := 0
					for _, e := range s.entries() {
						if e.Act == audit.UsedUnlock && e.RecordID == t.RecordID {
							used++
						}
					}
					require.GreaterOrEqual(s.t, used, uses[t.RecordID], "each use is in the audit before")
				}
			}
		}
		require.Equal(s.t, 1, underWay, "the call is on the books")
	}
	return double
}

// idsOf returns the records of a code.
func (s *server) idsOf(code string) map[string]bool {
	s.t.Helper()
	entries, err := s.mem.Escrow().Scan(context.Background(), "", 9999)
	require.NoError(s.t, err)
	ids := map[string]bool{}
	for _, e := range entries {
		ids[e.ID] = bytes.Contains(e.Sealed, []byte(code))
	}
	return ids
}

func (s *server) entries() []audit.Entry {
	s.t.Helper()
	entries, err := s.mem.Audit().Scan(context.Background(), -1, 9999)
	require.NoError(s.t, err)
	return entries
}

// story is an action that meets most of what there is: of four codes the first
// does not open, the second has to wait and is refused, the third is lost once
// and refused, and the last one opens the lock.
func (s *server) story() *appleDouble {
	s.hold(bySerial, codeTexts[:4]...)
	s.closed[codeTexts[3]] = closedErrors[0]
	s.boot()
	waited, lost := false, false
	return s.witness(&appleDouble{opens: map[string]bool{codeTexts[0]: true}, answer: func(_ int, code string) (int, http.Header, error) {
		switch {
		case code == codeTexts[2] && !waited:
			waited = true
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"600"}}, nil
		case code == codeTexts[1] && !lost:
			lost = true
			return 0, nil, errDown
		}
		return 0, nil, nil
	}})
}

// finish starts and runs the action A1 until it is over, whatever happens.
func (s *server) finish(double *appleDouble) bypass.Action {
	s.t.Helper()
	for range 50 {
		var a bypass.Action
		err := s.survive(func() (err error) {
			if a, _, err = s.Start(context.Background(), wish()); err != nil && !errors.Is(err, bypass.ErrExists) {
				return err
			}
			a, err = s.Run(context.Background(), "A1", double)
			return err
		})
		switch {
		case err == nil && a.State.Over():
			require.True(s.t, a.Noted)
			require.Equal(s.t, a, s.get("A1"))
			return a
		case err == nil:
			require.True(s.t, a.NextAt.After(s.clock.Now()))
			s.clock.Move(a.NextAt.Sub(s.clock.Now()))
		default:
			s.clock.Move(bypass.AnswerWithin)
		}
	}
	require.FailNow(s.t, "it does not end")
	return bypass.Action{}
}

// end is what an action comes to.
func end(a bypass.Action) []string {
	all := []string{string(a.State), string(a.Reason), string(a.Device.SerialNumber)}
	for _, t := range a.Attempts {
		all = append(all, fmt.Sprintf("%s %s %d %v", t.RecordID, t.Outcome, t.StatusCode, t.NotOpened))
	}
	return all
}

// Whichever call of store, escrow or audit fails, or is the last one before the
// server ends: it ends as it would have.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"never", "before", "after", "crash before", "crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; ; n++ {
				s := newServer(t)
				double := s.story()
				f := &fate{at: n, how: how}
				if how == "never" {
					f.at = -1
				}
				s.fated(f)
				a := s.finish(double)
				f.at = -1 // it has passed
				says := fmt.Sprintf("%s call %d", how, n)
				got := end(a)
				records, err := s.escrow.Records(t.Context(), bySerial)
				require.NoError(t, err)
				byText := map[string]escrow.Record{} // by the place in the plan
				for i, attempt := range a.Attempts {
					for _, r := range records {
						if r.ID == attempt.RecordID {
							byText[fmt.Sprint(i)] = r
						}
					}
				}
				for i := range a.Attempts {
					got[3+i] = got[3+i][len(a.Attempts[i].RecordID)+1:]
				}
				require.Equal(t, []string{"done", "", serial, " 0 true", "not found 404 false", "not found 404 false", "done 200 false"}, got, says)
				require.Equal(t, escrow.Worked, byText["3"].State, says)
				for _, i := range []string{"0", "1", "2"} {
					require.NotEqual(t, escrow.Worked, byText[i].State, says)
				}
				// The order of the plan was kept, and no code sent more than it had to be.
				sent := slices.Compact(slices.Clone(double.sent))
				require.Equal(t, []string{codeTexts[2], codeTexts[1], codeTexts[0]}, sent, says)
				require.LessOrEqual(t, len(double.sent), 6, says)
				acts := s.told()
				require.Contains(t, acts, "unlock ended: done", says)
				require.Contains(t, acts, "unlock started: the device is in hand", says)
				log, err := audit.New(audit.Config{Store: s.mem.Audit()})
				require.NoError(t, err)
				_, err = log.Verify(t.Context(), audit.Head{})
				require.NoError(t, err, says)
				if !f.fired {
					require.LessOrEqual(t, len(double.sent), 5)
					break
				}
			}
			t.Logf("%d calls", n-1)
			require.True(t, how == "never" || n > 25, "the story has %d calls", n)
		})
	}
}

// If Apple answers 404 for a lock that is off, a lost answer is not taken for a
// refusal.
func TestCrashAfterTheUnlock(t *testing.T) {
	t.Parallel()
	ends := map[bypass.Reason]int{}
	for n := 1; ; n++ {
		s := newServer(t)
		s.hold(bySerial, codeTexts[:3]...)
		off := false
		double := s.witness(&appleDouble{answer: func(_ int, code string) (int, http.Header, error) {
			if off || code != codeTexts[1] {
				return 404, nil, nil
			}
			off = true
			return 200, nil, nil
		}})
		f := &fate{at: n, how: "crash before"}
		s.fated(f)
		a := s.finish(double)
		ends[a.Reason]++
		require.True(t, off)
		require.Contains(t, []bypass.Reason{"", bypass.MaybeUnlocked}, a.Reason)
		if !f.fired {
			break
		}
	}
	// There is one place where it is lost: when the server ends before it is stored.
	require.Equal(t, 1, ends[bypass.MaybeUnlocked])
}

// A store that is away for some seconds gets the answer when it is back.
func TestStoreAwayWhenTheAnswerComes(t *testing.T) {
	t.Parallel()
	for _, away := range []int{1, 4, 5, 9} {
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		broken := &flaky{Store: s.mem.Actions()}
		s.actions = broken
		s.boot()
		s.start()
		double := &appleDouble{opens: map[string]bool{codeTexts[0]: true}, after: func(string) { broken.left.Store(int32(away)) }}
		a, err := s.Run(t.Context(), "A1", double)
		if away < 5 {
			require.NoError(t, err)
			require.Equal(t, bypass.Done, a.State)
		} else {
			require.ErrorIs(t, err, errDown)
		}
		require.Len(t, s.clock.pauses, min(away, 4))
		require.Less(t, s.clock.Now().Sub(noon), bypass.AnswerWithin/4)
		// Where the host is about to stop, there is one more try, and no pause.
		s.clock.pauses = nil
	}
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	broken := &flaky{Store: s.mem.Actions()}
	s.actions = broken
	s.boot()
	s.start()
	ctx, cancel := context.WithCancel(t.Context())
	s.clock.onStop = cancel
	double := &appleDouble{opens: map[string]bool{codeTexts[0]: true}, after: func(string) { broken.left.Store(1) }}
	a, err := s.Run(ctx, "A1", double)
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
}

// flaky fails some times.
type flaky struct {
	bypass.Store
	left atomic.Int32
}

func (f *flaky) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	if f.left.Add(-1) >= 0 {
		return errDown
	}
	return f.Store.Update(ctx, id, change)
}

// The host stops in the middle of a call.
func TestContextEndsInTheCall(t *testing.T) {
	t.Parallel()
	t.Run("after Apple did it", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		s.start()
		ctx, cancel := context.WithCancel(t.Context())
		a, err := s.Run(ctx, "A1", &appleDouble{opens: map[string]bool{codeTexts[0]: true}, after: func(string) { cancel() }})
		require.NoError(t, err)
		require.Equal(t, bypass.Done, a.State)
		require.True(t, a.Noted)
		require.Equal(t, a, s.get("A1"))
	})
	t.Run("after Apple refused", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[:2]...)
		s.start()
		ctx, cancel := context.WithCancel(t.Context())
		double := &appleDouble{after: func(string) { cancel() }}
		a, err := s.Run(ctx, "A1", double)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, apple.NotFound, a.Attempts[0].Outcome)
		require.Equal(t, a, s.get("A1"))
		require.Len(t, double.sent, 1)
	})
	t.Run("on the way", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		s.start()
		ctx, cancel := context.WithCancel(t.Context())
		a, err := s.Run(ctx, "A1", &appleDouble{before: func(string) { cancel() }})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, apple.NoAnswer, a.Attempts[0].Outcome)
		require.Equal(t, noon.Add(time.Minute), s.get("A1").NextAt)
	})
	t.Run("before the call", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		ctx, cancel := context.WithCancel(t.Context())
		s.allow = func(context.Context, escrow.Reveal, escrow.Record) error { return nil }
		s.trail = endsAfter{s.mem.Audit(), audit.UsedUnlock, cancel}
		s.boot()
		before := s.start()
		double := &appleDouble{}
		_, err := s.Run(ctx, "A1", double)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, double.sent)
		require.Equal(t, before, s.get("A1"), "it was not sent, and cannot have removed the lock")
	})
}

// endsAfter is an audit after whose entry the host stops.
type endsAfter struct {
	audit.Store
	act    audit.Act
	cancel func()
}

func (e endsAfter) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	found := false
	err := e.Store.Append(ctx, func(last audit.Entry) ([]audit.Entry, error) {
		all, err := next(last)
		found = len(all) > 0 && all[0].Act == e.act
		return all, err
	})
	if found {
		e.cancel()
	}
	return err
}

// Run bounds the call, so that its answer is stored before it counts as lost.
func TestCallIsBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	s.start()
	_, err := s.Run(t.Context(), "A1", doer(func(r *http.Request) (*http.Response, error) {
		deadline, bounded := r.Context().Deadline()
		require.True(t, bounded)
		require.LessOrEqual(t, time.Until(deadline), bypass.AnswerWithin/2)
		require.Greater(t, time.Until(deadline), bypass.AnswerWithin/4)
		return nil, errDown
	}))
	require.NoError(t, err)
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// Many servers on one store run the same action at once.
func TestManyServers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	s.start()
	var mu sync.Mutex
	underWay := map[string]bool{}
	double := &appleDouble{opens: map[string]bool{codeTexts[2]: true}}
	double.before = func(code string) {
		mu.Lock()
		defer mu.Unlock()
		assert.False(t, underWay[code], "sent twice at once")
		assert.Empty(t, underWay, "another code is under way")
		underWay[code] = true
	}
	double.after = func(code string) {
		for range 20 {
			runtime.Gosched()
		}
		mu.Lock()
		defer mu.Unlock()
		delete(underWay, code)
	}
	var wg sync.WaitGroup
	for range 6 {
		b, err := bypass.New(bypass.Config{Store: s.actions, Escrow: s.escrow, Audit: s.audit, Organization: "Example School", Clock: s.clock.Now, Pause: s.clock.Pause})
		require.NoError(t, err)
		wg.Go(func() {
			for {
				a, err := b.Run(context.Background(), "A1", double)
				if !assert.NoError(t, err) || a.State.Over() && a.Noted {
					return
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	a := s.get("A1")
	require.Equal(t, bypass.Done, a.State)
	require.Equal(t, []string{codeTexts[5], codeTexts[4], codeTexts[3], codeTexts[2]}, double.sent)
	for _, t2 := range a.Attempts[:4] {
		require.Equal(t, 1, t2.Tries)
	}
}

// A fault in the middle of concluding is made good by the next call.
func TestConcludedLater(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	s.start()
	call, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	trail := s.trail
	s.trail = downTrail{trail}
	s.boot()
	a, err := s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Done, StatusCode: 200})
	require.ErrorIs(t, err, errDown)
	require.Equal(t, bypass.Done, a.State, "Apple's answer is stored all the same")
	require.False(t, a.Noted)
	require.Equal(t, bypass.Step{Do: bypass.Note}, a.Next(noon))
	s.trail = trail
	s.boot()
	open, err := s.actions.Scan(t.Context(), "", 9, true)
	require.NoError(t, err)
	require.Empty(t, open)
	a, err = s.Run(t.Context(), "A1", &appleDouble{})
	require.NoError(t, err)
	require.True(t, a.Noted)
	require.Equal(t, "unlock ended: done", s.told()[2])
	// So does Cancel.
	require.NoError(t, s.actions.Update(t.Context(), "A1", func(a *bypass.Action) error { a.Noted = false; return nil }))
	a, err = s.Cancel(t.Context(), "A1", act)
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	require.True(t, a.Noted)
}

type downTrail struct{ audit.Store }

func (downTrail) Append(context.Context, func(audit.Entry) ([]audit.Entry, error)) error {
	return errDown
}

// While an end is noted, a late answer makes it another one. That is noted too.
func TestLateAnswerWhileConcluding(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	s.start()
	call, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	other := newServer(t)
	other.mem, other.actions, other.codes, other.trail = s.mem, s.actions, s.codes, downTrail{s.trail}
	other.boot()
	s.trail = endsAfter{s.mem.Audit(), audit.UnlockEnded, func() {
		_, err := other.Answer(context.Background(), call, apple.Answer{Outcome: apple.Done, StatusCode: 200})
		require.ErrorIs(t, err, errDown)
	}}
	s.boot()
	a, err := s.Cancel(t.Context(), "A1", act)
	require.NoError(t, err)
	require.Equal(t, bypass.Done, a.State)
	require.False(t, a.Noted)
	s.trail = s.mem.Audit()
	s.boot()
	a, err = s.Run(t.Context(), "A1", &appleDouble{})
	require.NoError(t, err)
	require.True(t, a.Noted)
	acts := s.told()
	require.Equal(t, []string{"unlock ended: canceled", "unlock ended: done"}, acts[len(acts)-2:])
}

// A code that was purged after it opened the lock has nothing to be marked.
func TestPurgedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	s.start()
	call, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	require.NoError(t, s.escrow.Delete(t.Context(), bySerial, noon))
	require.NoError(t, s.escrow.Purge(t.Context(), bySerial, escrow.Purge{Act: act, At: noon, LockOff: true}))
	a, err := s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Done})
	require.NoError(t, err)
	require.True(t, a.Noted)
}
