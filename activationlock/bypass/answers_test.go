package bypass_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var deep = flag.Bool("deep", false, "try all sequences of five answers, instead of a choice of those")

// happening is what becomes of one code.
type happening struct {
	name   string
	answer apple.Answer // unless it is one of these:
	closed bool         // the code cannot be opened
	ruled  bool         // the host's rule refuses
	lost   bool         // nobody answers
}

var happenings = []happening{
	{name: "404", answer: apple.Answer{Outcome: apple.NotFound, StatusCode: 404}},
	{name: "503", answer: apple.Answer{Outcome: apple.Later, StatusCode: 503}},
	{name: "odd 2xx", answer: apple.Answer{Outcome: apple.Failed, StatusCode: 202}},
	{name: "lost", lost: true},
	{name: "closed", closed: true},
	// Up to here they lead to all states that are not over.
	{name: "400", answer: apple.Answer{Outcome: apple.Malformed, StatusCode: 400}},
	{name: "429", answer: apple.Answer{Outcome: apple.Later, StatusCode: 429}},
	{name: "429, in 90 s", answer: apple.Answer{Outcome: apple.Later, StatusCode: 429, RetryAfter: 90 * time.Second}},
	{name: "503, in 5 days", answer: apple.Answer{Outcome: apple.Later, StatusCode: 503, RetryAfter: 120 * time.Hour}},
	{name: "no answer", answer: apple.Answer{Outcome: apple.NoAnswer}},
	{name: "200", answer: apple.Answer{Outcome: apple.Done, StatusCode: 200}},
	{name: "403", answer: apple.Answer{Outcome: apple.Refused, StatusCode: 403}},
	{name: "TLS", answer: apple.Answer{Outcome: apple.Refused}},
	{name: "session over", answer: apple.Answer{Outcome: apple.SessionOver, StatusCode: 401}},
	{name: "terms", answer: apple.Answer{Outcome: apple.TermsNotSigned, StatusCode: 403}},
	{name: "already locked", answer: apple.Answer{Outcome: apple.AlreadyLocked, StatusCode: 403}},
	{name: "not possible", answer: apple.Answer{Outcome: apple.NotPossible, StatusCode: 403}},
	{name: "of a later version", answer: apple.Answer{Outcome: "of a later version", StatusCode: 418}},
	{name: "ruled", ruled: true},
}

// branching are the first ones of happenings.
const branching = 5

// model says in its own words what must become of an action. It knows nothing of
// the package but the names of states and reasons.
type model struct {
	canonical []bool
	sent      []int  // how often each code went out
	finished  []bool // no use in sending it again
	closed    []bool
	oddBefore []bool // the last answer was an undocumented success
	doubt     bool   // a call may have removed the lock
	over      string
	open      bool // the last call has no answer
	now, next time.Time
	first     time.Time // call
}

func newModel(canonical []bool, now time.Time) model {
	n := len(canonical)
	m := model{canonical: canonical, sent: make([]int, n), finished: make([]bool, n), closed: make([]bool, n), oddBefore: make([]bool, n), now: now}
	if n == 0 {
		m.over = "failed noCode"
	}
	return m
}

func (m model) clone() model {
	m.sent, m.finished, m.closed, m.oddBefore = append([]int{}, m.sent...), append([]bool{}, m.finished...), append([]bool{}, m.closed...), append([]bool{}, m.oddBefore...)
	return m
}

// pause doubles from a minute to an hour.
func (m *model) pause(i int) time.Duration {
	return min(time.Minute<<min(m.sent[i]-1, 6), time.Hour)
}

// turn is the index of the code that is to be sent, negative if there is none.
func (m *model) turn() int {
	different := 0
	for i := range m.sent {
		if m.sent[i] > 0 {
			different++
		}
	}
	for i := range m.sent {
		if !m.finished[i] && (m.sent[i] > 0 || different < 4) {
			return i
		}
	}
	return -1
}

func (m *model) exhausted() {
	if m.turn() >= 0 {
		return
	}
	sent, closed := false, false
	for i := range m.sent {
		sent, closed = sent || m.sent[i] > 0, closed || m.closed[i]
	}
	switch {
	case m.doubt:
		m.over = "failed maybeUnlocked"
	case sent && closed:
		m.over = "failed notAllOpened"
	case sent:
		m.over = "failed codesRefused"
	default:
		m.over = "failed notOpened"
	}
}

// see is told what happens to the code whose turn it is; now is the time of the
// call, and later that of its answer.
func (m *model) see(h happening, later time.Time) {
	i := m.turn()
	switch {
	case h.closed:
		m.finished[i], m.closed[i] = true, true
		m.exhausted()
		return
	case h.ruled:
		m.over = "failed notAllowed"
		return
	}
	m.sent[i]++
	if m.first.IsZero() {
		m.first = m.now
	}
	if h.lost {
		m.next, m.open = m.now.Add(max(2*time.Minute, m.pause(i))), true
		return
	}
	again := func(doubt bool) {
		m.doubt = m.doubt || doubt
		m.next = later.Add(max(m.pause(i), min(h.answer.RetryAfter, 24*time.Hour)))
		if later.Sub(m.first) >= 72*time.Hour {
			m.over = "failed noAnswer"
		}
	}
	odd := m.oddBefore[i]
	m.oddBefore[i] = false
	switch h.answer.Outcome {
	case apple.Done:
		m.over = "done "
	case apple.NotFound:
		m.finished[i] = true
		m.exhausted()
	case apple.Malformed:
		if m.canonical[i] {
			m.over = "failed ourFault"
			return
		}
		m.finished[i] = true
		m.exhausted()
	case apple.Later:
		again(h.answer.StatusCode >= 500)
	case apple.NoAnswer:
		again(true)
	case apple.Failed:
		if odd {
			m.doubt, m.over = true, "failed maybeUnlocked"
			return
		}
		m.oddBefore[i] = true
		again(true)
	default:
		m.over = "failed appleRefused"
	}
}

// single is a store of one action, which is quickly set back.
type single struct{ action bypass.Action }

func (s *single) Create(_ context.Context, a bypass.Action) error { s.action = a.Clone(); return nil }

func (s *single) Update(_ context.Context, _ string, change func(*bypass.Action) error) error {
	a := s.action.Clone()
	if err := change(&a); err != nil {
		return err
	}
	s.action = a
	return nil
}

func (s *single) Get(context.Context, string) (bypass.Action, error) {
	if s.action.ID == "" {
		return bypass.Action{}, bypass.ErrNotFound
	}
	return s.action.Clone(), nil
}

func (s *single) OfDevice(context.Context, string) ([]bypass.Action, error) { return nil, nil }

func (s *single) Scan(context.Context, string, int, bool) ([]bypass.Action, error) { return nil, nil }

// forgetful is an audit that keeps nothing.
type forgetful struct{}

func (forgetful) Append(_ context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	_, err := next(audit.Entry{})
	return err
}

func (forgetful) Scan(context.Context, int64, int) ([]audit.Entry, error) { return nil, nil }

var (
	errRule   = errors.New("the rule says no")
	errScript = errors.New("there is no more to happen")
)

// board plays sequences of happenings with an action.
type board struct {
	t      *testing.T
	store  *single
	clock  *handClock
	texts  []string // in the order of the plan
	b      *bypass.Bypass
	script []happening
	played int
}

func newBoard(t *testing.T, texts []string) *board {
	s := newServer(t)
	g := &board{t: t, store: &single{}, clock: s.clock}
	for i := range texts {
		g.texts = append(g.texts, texts[len(texts)-1-i])
	}
	s.allow = func(context.Context, escrow.Reveal, escrow.Record) error {
		if len(g.script) > 0 && g.script[0].ruled {
			return errRule
		}
		return nil
	}
	s.actions, s.trail = g.store, forgetful{}
	s.boot()
	s.hold(bySerial, texts...)
	e, err := escrow.New(escrow.Config{Store: s.codes, Audit: s.audit, Allow: s.allow, Clock: s.clock.Now, Sealer: window{func([]byte) error {
		if len(g.script) == 0 {
			return errScript
		}
		h := g.script[0]
		g.script = g.script[1:]
		if h.closed {
			return seal.ErrNoKey
		}
		return nil
	}}})
	require.NoError(t, err)
	g.b, err = bypass.New(bypass.Config{Store: g.store, Escrow: e, Audit: s.audit, Organization: "Example School", Clock: s.clock.Now})
	require.NoError(t, err)
	_, _, err = g.b.Start(t.Context(), wish())
	require.NoError(t, err)
	return g
}

// play has one more thing happen, and compares.
func (g *board) play(h happening, m *model, path []string) {
	ctx, says := g.t.Context(), func() string { return fmt.Sprintf("%q", append(path, h.name)) }
	g.played++
	if g.clock.at = m.now; m.next.After(m.now) {
		// Not before its time.
		g.script, g.clock.at = nil, m.next.Add(-time.Microsecond)
		call, a, err := g.b.Next(ctx, "A1")
		if err != nil || call != nil || !a.NextAt.Equal(m.next) {
			require.Fail(g.t, "it does not wait", "%s: %v %v, %s instead of %s", says(), call, err, a.NextAt, m.next)
		}
		m.now, g.clock.at = m.next, m.next
	}
	m.doubt = m.doubt || m.open
	i, ends := m.turn(), m.open && m.now.Sub(m.first) >= 72*time.Hour
	m.open = false
	g.script = []happening{h}
	call, _, err := g.b.Next(ctx, "A1")
	switch {
	case ends:
		if m.over = "failed noAnswer"; call != nil || err != nil {
			require.Fail(g.t, "it does not end", "%s: %v", says(), err)
		}
	case h.ruled, h.closed:
		if call != nil || err != nil && !errors.Is(err, errScript) {
			require.Fail(g.t, "a code that is not to be had", "%s: %v", says(), err)
		}
		m.see(h, m.now)
	default:
		require.NoError(g.t, err, "%s", says())
		require.NotNil(g.t, call, "%s", says())
		body, err := io.ReadAll(call.Request.Body)
		require.NoError(g.t, err)
		if want := url.QueryEscape(g.texts[i]); !strings.Contains(string(body), want) {
			require.Fail(g.t, "the wrong code", says())
		}
		// While the call is under way nobody makes another.
		if second, _, err := g.b.Next(ctx, "A1"); second != nil || err != nil {
			require.Fail(g.t, "two calls at once", "%s: %v", says(), err)
		}
		answered := m.now.Add(time.Second)
		m.see(h, answered)
		if !h.lost {
			g.clock.at = answered
			_, err = g.b.Answer(ctx, call, h.answer)
			require.NoError(g.t, err, "%s", says())
			m.now = answered
		}
	}
	a := &g.store.action
	got := string(a.State) + " " + string(a.Reason)
	want := m.over
	if want == "" {
		want = "pending "
		for _, n := range m.sent {
			if n > 0 {
				want = "active "
			}
		}
	}
	different := 0
	for i, t := range a.Attempts {
		if t.Tries != m.sent[i] || t.NotOpened != m.closed[i] {
			require.Fail(g.t, "another attempt", "%s: attempt %d: %+v", says(), i, t)
		}
		if t.Tries > 0 {
			different++
		}
	}
	if got != want || different > 4 || m.over != "" && (!a.NextAt.IsZero() || a.EndedAt.IsZero() || !a.Noted) {
		require.Fail(g.t, "another end", "%s: %q instead of %q: %+v", says(), got, want, *a)
	}
}

// walk plays all sequences of a length.
func (g *board) walk(m model, path []string, left int, all bool) {
	if left == 0 || m.over != "" {
		return
	}
	before := g.store.action.Clone()
	for i, h := range happenings {
		if !all && left > 1 && i >= branching {
			break
		}
		g.store.action = before.Clone()
		next := m.clone()
		g.play(h, &next, path)
		g.walk(next, append(path, h.name), left-1, all)
	}
	g.store.action = before
}

// Whatever Apple answers, and in whatever order: the action ends as it must, after
// at most four codes, and no code goes out again for which there is an answer.
func TestEverySequenceOfAnswers(t *testing.T) {
	t.Parallel()
	odd := []string{"code-0", "code-1", "code-2", "code-3", "code-4", "code-5"}
	plans := map[string][]string{"no code": nil}
	for n := 1; n <= 6; n++ {
		mixed := append([]string{}, codeTexts[:n]...)
		for i := n % 2; i < n; i += 2 {
			mixed[i] = odd[i]
		}
		plans[fmt.Sprint(n)] = mixed
	}
	plans["2 canonical"], plans["5 odd"] = codeTexts[:2], odd[:5]
	for name, texts := range plans {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newBoard(t, texts)
			canonical := []bool{}
			for _, text := range g.texts {
				_, err := bypasscode.Parse(text)
				canonical = append(canonical, err == nil)
			}
			m := newModel(canonical, noon)
			a := g.store.action
			require.Equal(t, m.over == "", !a.State.Over())
			g.walk(m, nil, 3, true)
			g.walk(m, nil, 5, *deep)
			t.Logf("%d steps", g.played)
		})
	}
}

// With an Apple that never answers it ends.
func TestItGivesUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"503", "429", "429, in 90 s", "503, in 5 days", "no answer", "lost"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := happening{}
			for _, known := range happenings {
				if known.name == name {
					h = known
				}
			}
			g := newBoard(t, codeTexts[:2])
			calls := 0
			for ; calls < 10_000; calls++ {
				g.script = []happening{h}
				call, a, err := g.b.Next(t.Context(), "A1")
				require.NoError(t, err)
				if call == nil && a.State.Over() {
					break
				}
				if call == nil {
					require.True(t, a.NextAt.After(g.clock.at))
					g.clock.at = a.NextAt
					continue
				}
				if !h.lost {
					a, err = g.b.Answer(t.Context(), call, h.answer)
					require.NoError(t, err)
					if a.State.Over() {
						break
					}
				}
			}
			a := g.store.action
			require.Equal(t, bypass.Failed, a.State)
			require.Equal(t, bypass.NoAnswer, a.Reason)
			require.Equal(t, name != "429" && name != "429, in 90 s", a.Attempts[0].Lost, "the lock may be off")
			took := g.clock.at.Sub(noon)
			require.GreaterOrEqual(t, took, bypass.GiveUpAfter)
			require.LessOrEqual(t, took, bypass.GiveUpAfter+24*time.Hour)
			require.True(t, a.Noted)
			require.Zero(t, a.Attempts[1].Tries, "no code was burnt")
			t.Logf("%d tries in %s", a.Attempts[0].Tries, took)
		})
	}
}

// To the moment.
func TestWhenItGivesUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	s.start()
	_, a, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	require.Equal(t, bypass.Step{Do: bypass.Wait, At: noon.Add(bypass.AnswerWithin)}, a.Next(noon.Add(bypass.AnswerWithin-1)))
	require.Equal(t, bypass.Step{Do: bypass.Send}, a.Next(noon.Add(bypass.AnswerWithin)))
	require.Equal(t, bypass.Step{Do: bypass.Send}, a.Next(noon.Add(bypass.GiveUpAfter-1)))
	require.Equal(t, bypass.Step{Do: bypass.GiveUp}, a.Next(noon.Add(bypass.GiveUpAfter)))
	s.clock.Move(bypass.GiveUpAfter)
	a, err = s.Run(t.Context(), "A1", &appleDouble{})
	require.NoError(t, err)
	require.Equal(t, bypass.NoAnswer, a.Reason)
	require.True(t, a.Attempts[0].Lost, "nobody knows what came of the call")
}

// Stores keep whole microseconds.
func TestOddRetryAfter(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{
		90*time.Second + 999: 90 * time.Second, -time.Hour: time.Minute, 1<<63 - 1: 24 * time.Hour,
	} {
		s := newServer(t)
		s.hold(bySerial, codeTexts[0])
		s.start()
		call, _, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		a, err := s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Later, RetryAfter: given})
		require.NoError(t, err)
		require.Equal(t, noon.Add(want), a.NextAt)
	}
}

// The host may stop for a week, with actions begun and not: they go on.
func TestAfterAWeek(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	for name, test := range map[string]struct {
		before, after int // what Apple answers; 0: no call
		want          bypass.State
	}{
		"nothing was sent":              {0, 200, bypass.Done},
		"nothing was sent, and it fell": {0, 503, bypass.Active},
		"it waited":                     {503, 200, bypass.Done},
		"it waited, and waits again":    {503, 503, bypass.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.hold(bySerial, codeTexts[0])
			s.start()
			status := test.before
			double := &appleDouble{answer: func(int, string) (int, http.Header, error) { return status, nil, nil }}
			if test.before != 0 {
				_, err := s.Run(t.Context(), "A1", double)
				require.NoError(t, err)
			}
			s.clock.Move(week)
			status = test.after
			a, err := s.Run(t.Context(), "A1", double)
			require.NoError(t, err)
			require.Equal(t, test.want, a.State)
		})
	}
}

// A clock that is set back does not make answers count for nothing.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[:2]...)
	s.start()
	call, _, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	s.clock.Move(-time.Hour)
	a, err := s.Answer(t.Context(), call, apple.Answer{Outcome: apple.Later, StatusCode: 429})
	require.NoError(t, err)
	require.Equal(t, noon.Add(-59*time.Minute), a.NextAt)
	s.clock.Move(time.Minute)
	for _, want := range []bypass.State{bypass.Active, bypass.Failed} {
		call, _, err = s.Next(t.Context(), "A1")
		require.NoError(t, err)
		require.NotNil(t, call)
		none, _, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		require.Nil(t, none, "the call is under way")
		a, err = s.Answer(t.Context(), call, apple.Answer{Outcome: apple.NotFound, StatusCode: 404})
		require.NoError(t, err)
		require.Equal(t, want, a.State)
	}
}

// What comes after the call counted as lost.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	refused, unlocked := apple.Answer{Outcome: apple.NotFound, StatusCode: 404}, apple.Answer{Outcome: apple.Done, StatusCode: 200}
	stale := func(t *testing.T) (s *server, first, second *bypass.Call) {
		s = newServer(t)
		s.hold(bySerial, codeTexts[:2]...)
		s.start()
		first, _, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		s.clock.Move(bypass.AnswerWithin)
		second, a, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		require.Equal(t, 2, a.Attempts[0].Tries)
		require.True(t, a.Attempts[0].Lost)
		return s, first, second
	}
	t.Run("in time for nobody else was faster", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.hold(bySerial, codeTexts[:2]...)
		s.start()
		call, _, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		s.clock.Move(time.Hour)
		a, err := s.Answer(t.Context(), call, refused)
		require.NoError(t, err)
		require.Equal(t, apple.NotFound, a.Attempts[0].Outcome)
		require.False(t, a.Attempts[0].Lost)
	})
	t.Run("of a stale try", func(t *testing.T) {
		t.Parallel()
		s, first, second := stale(t)
		before := s.get("A1")
		for _, answer := range []apple.Answer{refused, {Outcome: apple.Refused}, {Outcome: apple.Malformed}, {Outcome: apple.Later}, {Outcome: apple.Failed}, {}} {
			_, err := s.Answer(t.Context(), first, answer)
			require.NoError(t, err)
			require.Equal(t, before, s.get("A1"))
		}
		a, err := s.Answer(t.Context(), second, refused)
		require.NoError(t, err)
		require.Equal(t, apple.NotFound, a.Attempts[0].Outcome)
		// The other code is refused too; perhaps since the lost call did it.
		call, _, err := s.Next(t.Context(), "A1")
		require.NoError(t, err)
		a, err = s.Answer(t.Context(), call, refused)
		require.NoError(t, err)
		require.Equal(t, bypass.MaybeUnlocked, a.Reason)
		// And so it was.
		s.clock.Move(time.Hour)
		a, err = s.Answer(t.Context(), first, unlocked)
		require.NoError(t, err)
		require.Equal(t, bypass.Done, a.State)
		require.Empty(t, a.Reason)
		require.Equal(t, a.Attempts[0].RecordID, a.Opened().RecordID)
		require.Equal(t, s.clock.Now(), a.Opened().AnsweredAt)
		require.Equal(t, []string{"unlock ended: failed: maybeUnlocked", "unlock ended: done"}, s.told()[4:])
	})
	t.Run("200 while another call is under way", func(t *testing.T) {
		t.Parallel()
		s, first, second := stale(t)
		a, err := s.Answer(t.Context(), first, unlocked)
		require.NoError(t, err)
		require.Equal(t, bypass.Done, a.State)
		again, err := s.Answer(t.Context(), second, refused)
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		s, _, second := stale(t)
		a, err := s.Answer(t.Context(), second, refused)
		require.NoError(t, err)
		s.clock.Move(time.Second)
		again, err := s.Answer(t.Context(), second, apple.Answer{Outcome: apple.Malformed})
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
	t.Run("of no action", func(t *testing.T) {
		t.Parallel()
		_, err := newServer(t).Answer(t.Context(), &bypass.Call{ActionID: "A9"}, unlocked)
		require.ErrorIs(t, err, bypass.ErrNotFound)
	})
}

// A store that was meddled with does not make it run for ever.
func TestMeddledAction(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(*bypass.Action){
		"no attempts":        func(a *bypass.Action) { a.Attempts = nil },
		"all of them over":   func(a *bypass.Action) { a.Attempts[0].NotOpened = true },
		"without a give up":  func(a *bypass.Action) { a.Attempts[0].Tries, a.Attempts[0].SentAt = 1, noon.Add(-time.Hour) },
		"of another version": func(a *bypass.Action) { a.Attempts[0].Outcome = "later still"; a.Attempts[0].NotOpened = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.hold(bySerial, codeTexts[0])
			s.start()
			require.NoError(t, s.actions.Update(t.Context(), "A1", func(a *bypass.Action) error { meddle(a); return nil }))
			a, err := s.Run(t.Context(), "A1", &appleDouble{})
			require.NoError(t, err)
			require.True(t, a.State.Over())
			require.Equal(t, bypass.Step{}, a.Next(noon))
		})
	}
}

// The table that people read: what each answer does.
func TestAnswersTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	fmt.Fprintf(&out, "What each answer to the first of two codes does.\n\n%-18s  %-24s  %s\n%-18s  %-24s  %s\n", "answer", "code in the usual form", "code in another form", strings.Repeat("-", 18), strings.Repeat("-", 24), strings.Repeat("-", 24))
	for _, h := range happenings {
		line := []string{}
		for _, texts := range [][]string{codeTexts[:2], {"code-0", "code-1"}} {
			g := newBoard(t, texts)
			g.script = []happening{h}
			call, a, err := g.b.Next(t.Context(), "A1")
			if err != nil {
				require.ErrorIs(t, err, errScript)
				a = g.store.action
			}
			if call != nil && !h.lost {
				a, err = g.b.Answer(t.Context(), call, h.answer)
				require.NoError(t, err)
			}
			does := string(a.State) + " " + string(a.Reason)
			if !a.State.Over() {
				g.script = nil
				if _, waiting, err := g.b.Next(t.Context(), "A1"); err == nil {
					does = fmt.Sprint("same code in ", waiting.NextAt.Sub(noon))
				} else {
					does = "next code"
				}
			}
			if does = strings.TrimSpace(does); a.Attempts[0].Lost {
				does += " (?)"
			}
			line = append(line, does)
		}
		fmt.Fprintf(&out, "%-18s  %-24s  %s\n", h.name, line[0], line[1])
	}
	out.WriteString("\n(?) the lock may be off. closed: the code cannot be opened. ruled: the host's rule refused.\n")
	golden(t, "answers.txt", out.String())
}

// The action is what stores keep, so all of it survives JSON.
func TestActionInJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts...)
	s.start()
	for range 3 {
		_, err := s.Run(t.Context(), "A1", &appleDouble{answer: func(n int, _ string) (int, http.Header, error) { return 404 + n%2*99, nil, nil }})
		require.NoError(t, err)
		a := s.get("A1")
		body, err := json.Marshal(a)
		require.NoError(t, err)
		var again bypass.Action
		require.NoError(t, json.Unmarshal(body, &again))
		require.Equal(t, a, again)
		s.clock.Move(time.Hour)
	}
}

// A clone shares nothing.
func TestClone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[0])
	a := s.start()
	a.Unsupported = append(a.Unsupported, "x")
	c := a.Clone()
	require.Equal(t, a, c)
	c.Attempts[0].Tries, c.Unsupported[0] = 9, "y"
	require.Zero(t, a.Attempts[0].Tries)
	require.EqualValues(t, "x", a.Unsupported[0])
}
