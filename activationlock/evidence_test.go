package activationlock_test

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
)

const (
	on, off, unknown   = activationlock.On, activationlock.Off, activationlock.StateUnknown
	user, organization = activationlock.UserLinked, activationlock.OrganizationLinked
	device, status     = activationlock.SourceDevice, activationlock.SourceApple
	lockCall, unlock   = activationlock.SourceLockCall, activationlock.SourceUnlockCall
	lostMode           = activationlock.SourceLostMode
)

var epoch = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// hour is the nth hour.
func hour(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

// words are all that can be said of a lock.
var words = []struct {
	name string
	activationlock.Evidence
}{
	{"device on", activationlock.Evidence{State: on, Source: device}},
	{"device off", activationlock.Evidence{State: off, Source: device}},
	{"Apple USER", activationlock.Evidence{State: on, Kind: user, Source: status}},
	{"Apple MDM", activationlock.Evidence{State: on, Kind: organization, Source: status}},
	{"Apple on", activationlock.Evidence{State: on, Source: status}}, // of a kind that is new
	{"Apple NONE", activationlock.Evidence{State: off, Source: status}},
	{"lock call SUCCESS", activationlock.Evidence{State: on, Kind: organization, Source: lockCall}},
	{"lock call already locked", activationlock.Evidence{State: on, Source: lockCall}},
	{"lock call no answer", activationlock.Evidence{Source: lockCall}},
	{"unlock call 200", activationlock.Evidence{State: off, Source: unlock}},
	{"lost mode on", activationlock.Evidence{State: on, Source: lostMode}},
	{"lost mode off", activationlock.Evidence{State: off, Source: lostMode}},
}

// said is a word, by its name, of the nth hour.
func said(name string, n int) activationlock.Evidence {
	for _, w := range words {
		if w.name == name {
			e := w.Evidence
			e.At = hour(n)
			return e
		}
	}
	panic(name)
}

// say names a word, and when it was said.
func say(e activationlock.Evidence) string {
	at := e.At
	e.At = time.Time{}
	for _, w := range words {
		if w.Evidence == e {
			return fmt.Sprintf("%s (%v)", w.name, at.Sub(epoch))
		}
	}
	return fmt.Sprintf("%+v", e)
}

func sayAll(evidence []activationlock.Evidence) string {
	var all []string
	for _, e := range evidence {
		all = append(all, say(e))
	}
	return strings.Join(all, ", ")
}

func sources(evidence []activationlock.Evidence) string {
	var names []string
	for _, e := range evidence {
		names = append(names, say(e)[:strings.Index(say(e), " (")])
	}
	return cmp.Or(strings.Join(names, ", "), "-")
}

// All that one or two words come to, for people to read.
func TestEvidenceGolden(t *testing.T) {
	t.Parallel()
	var names []string
	for _, w := range words {
		names = append(names, w.name)
	}
	results := []string{"lock", "kind", "decided by", "confidence", "conflicts"}
	show := func(evidence ...activationlock.Evidence) []string {
		l := activationlock.Derive(evidence)
		return []string{
			l.State.Label(activationlock.English), cmp.Or(string(l.Kind), "-"), cmp.Or(string(l.Source), "-"),
			cmp.Or(string(l.Confidence), "unfounded"), sources(l.Conflicts),
		}
	}
	var out strings.Builder
	fmt.Fprintln(&out, "One word")
	fmt.Fprintln(&out)
	table(&out, []column{{"said", names}}, results, func(pick []int) []string { return show(said(names[pick[0]], 0)) })
	for _, first := range names {
		fmt.Fprintf(&out, "\n%s, and then\n\n", first)
		table(&out, []column{{"said", names}, {"after", []string{"an hour", "two days"}}}, results, func(pick []int) []string {
			return show(said(first, 0), said(names[pick[0]], []int{1, 48}[pick[1]]))
		})
	}
	golden(t, "evidence.txt", out.String())
}

func TestDerive(t *testing.T) {
	t.Parallel()
	type (
		evidence = []activationlock.Evidence
		Lock     = activationlock.Lock
	)
	of := func(state activationlock.State, kind activationlock.LockKind, source activationlock.Source, n int) activationlock.Evidence {
		return activationlock.Evidence{State: state, Kind: kind, Source: source, At: hour(n)}
	}
	never := activationlock.Evidence{State: on, Source: device} // at the zero time
	for _, test := range []struct {
		name  string
		given evidence
		want  Lock
	}{
		{"nothing", nil, Lock{}},
		{"absent is not off", evidence{of(unknown, "", device, 1)}, Lock{}},
		{"of a newer version", evidence{of("strange", "", device, 1)}, Lock{}},
		{
			"on", evidence{said("device on", 1)},
			Lock{State: on, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"since the first of the run, at the last", evidence{said("device on", 1), said("device on", 2), said("device on", 3)},
			Lock{State: on, Source: device, At: hour(3), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"since the last change", evidence{said("device on", 1), said("device off", 2), said("device on", 3), said("device on", 4)},
			Lock{State: on, Source: device, At: hour(4), Since: hour(3), Confidence: activationlock.Reported},
		},
		{
			"absent ends no run", evidence{said("device on", 1), of(unknown, "", device, 2), said("device on", 3), of(unknown, "", device, 4)},
			Lock{State: on, Source: device, At: hour(3), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"of one moment, on", evidence{said("device on", 1), said("device off", 1)},
			Lock{State: on, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"of one moment, on, of two sources", evidence{said("device on", 1), said("Apple NONE", 1)},
			Lock{State: on, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Doubted, Conflicts: evidence{said("Apple NONE", 1)}},
		},
		{
			"of one moment, a lock call without an answer and an unlock", evidence{said("lock call no answer", 1), said("unlock call 200", 1)},
			Lock{Source: lockCall, At: hour(1), Since: hour(1)},
		},
		{"time unknown", evidence{never}, Lock{State: on, Source: device, Confidence: activationlock.Reported}},
		{
			"time unknown, then known", evidence{never, said("device off", 1)},
			Lock{State: off, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"the strongest is named, with its last word", evidence{said("Apple USER", 1), said("device on", 2), said("Apple on", 3), said("device on", 60)},
			Lock{State: on, Kind: user, Source: status, At: hour(3), Since: hour(1), Confidence: activationlock.Stated},
		},
		{
			"a source that is new is as weak as the device", evidence{of(on, "", "new", 1), said("device off", 2), of(off, "", "new", 3)},
			Lock{State: off, Source: "new", At: hour(3), Since: hour(3), Confidence: activationlock.Reported},
		},
		{
			"one without a name is weaker", evidence{said("device off", 1), of(off, "", "", 3)},
			Lock{State: off, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"a lock call never says off", evidence{said("lock call SUCCESS", 1), of(off, "", lockCall, 99)},
			Lock{State: on, Kind: organization, Source: lockCall, At: hour(1), Since: hour(1), Confidence: activationlock.Certain},
		},
		{
			"kinds of one moment that contradict are unknown", evidence{of(on, user, "a", 1), of(on, organization, "b", 1), of(on, user, "c", 1)},
			Lock{State: on, Source: "c", At: hour(1), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"kinds that contradicted, settled later", evidence{of(on, user, "a", 1), of(on, organization, "a", 1), of(on, user, "a", 2)},
			Lock{State: on, Kind: user, Source: "a", At: hour(2), Since: hour(1), Confidence: activationlock.Reported},
		},
		{
			"the kind stays while nobody says another", evidence{said("Apple USER", 1), said("device on", 2), said("Apple on", 3), said("lock call already locked", 4)},
			Lock{State: on, Kind: user, Source: lockCall, At: hour(4), Since: hour(1), Confidence: activationlock.Certain},
		},
		{
			"a success begins a lock", evidence{said("Apple USER", 1), said("lock call SUCCESS", 9)},
			Lock{State: on, Kind: organization, Source: lockCall, At: hour(9), Since: hour(9), Confidence: activationlock.Certain},
		},
		{
			"lock calls without an answer, since the first, at the last", evidence{said("device off", 1), said("lock call no answer", 2), said("lock call no answer", 3)},
			Lock{Source: lockCall, At: hour(3), Since: hour(2)},
		},
		{
			"the retry finds it locked", evidence{said("lock call no answer", 2), said("lock call already locked", 3), said("Apple MDM", 4)},
			Lock{State: on, Kind: organization, Source: status, At: hour(4), Since: hour(3), Confidence: activationlock.Stated},
		},
		{
			"what was said while nothing was known still contradicts", evidence{said("lock call no answer", 1), said("Apple NONE", 2), said("device on", 3)},
			Lock{State: on, Source: device, At: hour(3), Since: hour(3), Confidence: activationlock.Doubted, Conflicts: evidence{said("Apple NONE", 2)}},
		},
		{
			"a conflict ends with the source's next word", evidence{said("lock call SUCCESS", 1), said("device off", 2), said("device on", 3)},
			Lock{State: on, Kind: organization, Source: lockCall, At: hour(1), Since: hour(1), Confidence: activationlock.Certain},
		},
		{
			"and with time", evidence{said("unlock call 200", 1), said("Apple MDM", 2), said("Apple MDM", 25)},
			Lock{State: on, Kind: organization, Source: status, At: hour(25), Since: hour(2), Confidence: activationlock.Stated},
		},
		{
			"not before", evidence{said("unlock call 200", 1), said("Apple MDM", 2), said("Apple MDM", 24)},
			Lock{State: on, Kind: organization, Source: status, At: hour(24), Since: hour(2), Confidence: activationlock.Doubted, Conflicts: evidence{said("unlock call 200", 1)}},
		},
		{
			"conflicts of several, the last word of each", evidence{
				said("lock call SUCCESS", 1), said("device off", 2), said("Apple USER", 3), said("Apple NONE", 4), said("device off", 5),
			},
			Lock{
				State: on, Kind: organization, Source: lockCall, At: hour(1), Since: hour(1), Confidence: activationlock.Doubted,
				Conflicts: evidence{said("Apple NONE", 4), said("device off", 5)},
			},
		},
		{
			"Apple's status lags behind a lock call whatever the device says", evidence{
				said("lock call no answer", 1), said("device on", 2), said("device off", 3), said("Apple NONE", 4),
			},
			Lock{
				State: on, Source: device, At: hour(2), Since: hour(2), Confidence: activationlock.Doubted,
				Conflicts: evidence{said("device off", 3), said("Apple NONE", 4)},
			},
		},
		{
			"it lags behind a lock that was on", evidence{said("device on", 1), said("lock call no answer", 50), said("Apple NONE", 51)},
			Lock{
				State: on, Source: device, At: hour(1), Since: hour(1), Confidence: activationlock.Doubted, Conflicts: evidence{said("Apple NONE", 51)},
			},
		},
		{
			"until it had time", evidence{said("lock call no answer", 1), said("Apple NONE", 25)},
			Lock{State: off, Source: status, At: hour(25), Since: hour(25), Confidence: activationlock.Stated},
		},
		{
			"an unlock ends the wait", evidence{said("lock call SUCCESS", 1), said("unlock call 200", 2), said("Apple NONE", 3)},
			Lock{State: off, Source: status, At: hour(3), Since: hour(2), Confidence: activationlock.Stated},
		},
		{
			"not that of a lock that came since", evidence{said("unlock call 200", 1), said("device on", 2), said("Apple NONE", 3)},
			Lock{
				State: on, Source: device, At: hour(2), Since: hour(2), Confidence: activationlock.Doubted,
				Conflicts: evidence{said("unlock call 200", 1), said("Apple NONE", 3)},
			},
		},
		{
			"in Lost Mode, Apple's MDM may be that", evidence{said("lost mode on", 1), said("Apple MDM", 2)},
			Lock{State: on, Source: status, At: hour(2), Since: hour(2), Confidence: activationlock.Stated},
		},
		{
			"also when Lost Mode shows later", evidence{said("Apple MDM", 2), said("lost mode on", 30)},
			Lock{State: on, Source: status, At: hour(2), Since: hour(2), Confidence: activationlock.Stated},
		},
		{
			"and for a while after it", evidence{said("lost mode on", 1), said("lost mode off", 2), said("lost mode off", 20), said("Apple MDM", 25)},
			Lock{State: on, Source: status, At: hour(25), Since: hour(25), Confidence: activationlock.Stated},
		},
		{
			"not for long", evidence{said("lost mode on", 1), said("lost mode off", 2), said("lost mode off", 20), said("Apple MDM", 26)},
			Lock{State: on, Kind: organization, Source: status, At: hour(26), Since: hour(26), Confidence: activationlock.Stated},
		},
		{
			"a person's lock stays one in Lost Mode", evidence{said("Apple USER", 2), said("lost mode on", 3)},
			Lock{State: on, Kind: user, Source: status, At: hour(2), Since: hour(2), Confidence: activationlock.Stated},
		},
		{
			"one that we made is the organization's", evidence{said("lock call SUCCESS", 1), said("lost mode on", 2), said("Apple MDM", 3)},
			Lock{State: on, Kind: organization, Source: status, At: hour(3), Since: hour(1), Confidence: activationlock.Stated},
		},
		{
			"not one that we did not", evidence{said("lock call SUCCESS", 1), said("Apple USER", 26), said("lost mode on", 27), said("Apple MDM", 28)},
			Lock{State: on, Kind: user, Source: status, At: hour(28), Since: hour(1), Confidence: activationlock.Stated},
		},
	} {
		// All orders of the argument, each of which is only read.
		for given := range permutations(slices.Clone(test.given)) {
			before := slices.Clone(given)
			require.Equal(t, test.want, activationlock.Derive(given), "%s: %s", test.name, sayAll(given))
			require.Equal(t, before, given)
		}
	}
}

func permutations[T any](of []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		var permute func(int) bool
		permute = func(n int) bool {
			if n == len(of) {
				return yield(slices.Clone(of))
			}
			for i := n; i < len(of); i++ {
				of[n], of[i] = of[i], of[n]
				if !permute(n + 1) {
					return false
				}
				of[n], of[i] = of[i], of[n]
			}
			return true
		}
		permute(0)
	}
}

// history is evidence in its order, for rules that look back over all of it
// rather than fold it.
type history []activationlock.Evidence

func (h history) last(before int, is func(int) bool) int {
	for i := before - 1; i >= 0; i-- {
		if is(i) {
			return i
		}
	}
	return -1
}

func (h history) some(from, before int, is func(activationlock.Evidence) bool) bool {
	return from < before && slices.ContainsFunc(h[max(from, 0):before], is)
}

func (h history) on(i int) bool { return h[i].State == on && h[i].Source != lostMode }

// unanswered is a lock call that may have locked the device.
func unanswered(e activationlock.Evidence) bool { return e.State == unknown && e.Source == lockCall }

func succeeded(e activationlock.Evidence) bool {
	return e.State == on && e.Source == lockCall && e.Kind == organization
}

// off reports whether the word i is to be believed that the lock is off.
func (h history) off(i int) bool {
	e := h[i]
	if e.State != off || e.Source == lostMode {
		return false
	}
	recent := func(j int) bool { return e.At.Sub(h[j].At) < activationlock.AppleLag }
	was := h.last(i, h.off) // since then it may have come on
	success := max(was, h.last(i, func(j int) bool { return succeeded(h[j]) })-1)
	came := -1 // when it did
	for j := i - 1; j > success; j-- {
		if h.on(j) {
			came = j
		}
	}
	call := h.last(i, func(j int) bool { return unanswered(h[j]) })
	// The source saw the lock on, after any lock call of which nobody knows.
	saw := h.some(max(success, call)+1, i, func(o activationlock.Evidence) bool { return o.State == on && o.Source == e.Source })
	switch e.Source {
	case unlock:
		return true
	case status:
		unlocked := h.last(i, func(j int) bool { return h[j].Source == unlock })
		called := h.last(i, func(j int) bool { return h[j].Source == lockCall })
		return (called <= unlocked || !recent(called)) && (came < 0 || saw || !recent(came))
	}
	settled := h.last(i, func(j int) bool { return h[j].Source == lockCall && h[j].State == on })
	knows := h.last(i, func(j int) bool { return h.off(j) })
	return (call < 0 || settled > call || knows > call) && (came < 0 || saw)
}

// state is on from the first word that says so until one that is to be believed
// says off, and unknown from a lock call without an answer.
func (h history) state() activationlock.State {
	was := h.last(len(h), h.off)
	switch {
	case h.last(len(h), h.on) > was:
		return on
	case h.last(len(h), func(i int) bool { return unanswered(h[i]) }) > was:
		return unknown
	case was >= 0:
		return off
	}
	return unknown
}

func sorted(evidence []activationlock.Evidence) history {
	rank := map[activationlock.State]int{off: 0, unknown: 1, on: 2}
	return slices.SortedStableFunc(slices.Values(evidence), func(a, b activationlock.Evidence) int {
		return cmp.Or(a.At.Compare(b.At), rank[a.State]-rank[b.State], cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source))
	})
}

// checkLock states what holds of every Lock.
func checkLock(t *testing.T, evidence []activationlock.Evidence, l activationlock.Lock) {
	t.Helper()
	what := func() string { return sayAll(sorted(evidence)) }
	fail := func(holds bool, why string) {
		t.Helper()
		if !holds {
			require.Fail(t, why, "%s: %+v", what(), l)
		}
	}
	h := sorted(evidence)
	if want := h.state(); l.State != want {
		require.Fail(t, "another state", "want %q: %s: %+v", want, what(), l)
	}
	find := func(is func(activationlock.Evidence) bool) bool { return slices.ContainsFunc(evidence, is) }

	fail((l.Confidence == activationlock.Unfounded) == (l.State == unknown), "founded, or not known")
	fail((l.Confidence == activationlock.Doubted) == (len(l.Conflicts) > 0 && l.State != unknown), "doubted, or no conflict")
	fail(l.Confidence != activationlock.Certain || l.Source == lockCall || l.Source == unlock, "certain without a call")
	fail(l.Confidence != activationlock.Stated || l.Source == status, "stated by nobody")
	fail(l.Confidence != activationlock.Reported || l.Source == device, "reported although Apple says so")
	fail(l.State == on || l.Kind == activationlock.KindUnknown, "a kind of no lock")
	fail(l.Source == "" && l.At.IsZero() || find(func(e activationlock.Evidence) bool {
		return e.Source == l.Source && e.State == l.State && e.At.Equal(l.At)
	}), "nobody said so")
	fail(!l.Since.After(l.At), "since later than at")
	if l.State != unknown {
		fail(find(func(e activationlock.Evidence) bool {
			return e.State == l.State && e.At.Equal(l.Since) && e.Source != lostMode
		}), "nobody said so then")
		fail(l.State == on || !find(func(e activationlock.Evidence) bool {
			return e.State == on && e.Source != lostMode && !e.At.Before(l.Since)
		}), "off since, and on meanwhile")
	}
	if l.Kind != "" {
		fail(find(func(e activationlock.Evidence) bool {
			return e.State == on && e.Kind == l.Kind && !e.At.Before(l.Since)
		}), "a kind that nobody said")
	}
	if l.Kind == organization && l.Confidence != activationlock.Certain && !find(succeeded) {
		lost := h.last(len(h), func(i int) bool { return h[i].Source == lostMode })
		fail(lost < 0 || h[lost].State == off, "Lost Mode taken for a lock of the organization")
	}
	for i, c := range l.Conflicts {
		fail(slices.Contains(evidence, c), "a conflict that nobody said")
		fail(c.Source != lostMode, "Lost Mode says nothing of the lock")
		fail(c.State != l.State || c.Kind != l.Kind, "a conflict that says the same")
		fail(c.State != unknown, "not to know is no conflict")
		fail(l.At.Sub(c.At) < activationlock.AppleLag, "a conflict of long ago")
		fail(!find(func(e activationlock.Evidence) bool {
			return e.Source == c.Source && e.At.After(c.At) && e.State != unknown
		}), "not its last word")
		fail(i == 0 || !l.Conflicts[i-1].At.After(c.At), "conflicts out of order")
	}
}

// All that three words come to follows the rules as they are stated above, apart
// from the code.
func TestDeriveOfThreeWords(t *testing.T) {
	t.Parallel()
	for _, a := range words {
		for _, b := range words {
			for _, c := range words {
				for _, gap := range [][2]int{{1, 1}, {1, 48}, {48, 1}, {48, 48}} {
					evidence := []activationlock.Evidence{said(a.name, 0), said(b.name, gap[0]), said(c.name, gap[0]+gap[1])}
					checkLock(t, evidence, activationlock.Derive(evidence))
				}
			}
		}
	}
}

// However much was said, and in whatever order it is kept.
func TestDeriveOfManyWords(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	found := map[activationlock.State]int{}
	for range 20000 {
		evidence := make([]activationlock.Evidence, random.IntN(10))
		at := 0
		for i := range evidence {
			at += []int{0, 1, 1, 12, 23, 24, 48}[random.IntN(7)]
			evidence[i] = said(words[random.IntN(len(words))].name, at)
		}
		want := activationlock.Derive(evidence)
		found[want.State]++
		checkLock(t, evidence, want)

		random.Shuffle(len(evidence), func(i, j int) { evidence[i], evidence[j] = evidence[j], evidence[i] })
		before := slices.Clone(evidence)
		require.Equal(t, want, activationlock.Derive(evidence), "%s", sayAll(evidence))
		require.Equal(t, before, evidence, "the argument is only read")
	}
	for _, s := range states {
		require.Greater(t, found[s], 1000, "%v", found)
	}
}

func TestLockKindOfCodes(t *testing.T) {
	t.Parallel()
	// The kind that the evidence comes to says which code opens the lock.
	l := activationlock.Derive([]activationlock.Evidence{said("lock call SUCCESS", 1), said("Apple USER", 2)})
	require.True(t, l.Kind.Opens(bypasscode.Server))
	require.False(t, l.Kind.Opens(bypasscode.Device))
}
