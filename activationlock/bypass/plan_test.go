package bypass_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var lockKinds = []activationlock.LockKind{activationlock.KindUnknown, activationlock.UserLinked, activationlock.OrganizationLinked}

// record reads a code of a table: kind and day, state, and the day when it got it.
func record(t *testing.T, line string) (r escrow.Record) {
	t.Helper()
	words := strings.Split(line, ", ")
	r.ID = words[0]
	var kind string
	var day int
	_, err := fmt.Sscanf(words[0], "%1s%d", &kind, &day)
	require.NoError(t, err)
	r.Kind, r.LastSeen = map[string]bypasscode.Kind{"d": bypasscode.Device, "s": bypasscode.Server, "?": "of a later version"}[kind], noon.AddDate(0, 0, day)
	state, since, marked := strings.Cut(words[1], " since ")
	if r.State = escrow.State(state); marked {
		_, err = fmt.Sscan(since, &day)
		require.NoError(t, err)
		r.StateSince = noon.AddDate(0, 0, day)
	}
	return r
}

func names(records []escrow.Record) (all []string) {
	for _, r := range records {
		all = append(all, r.ID)
	}
	return all
}

// The table that people read. A code is called by its kind (d of the device, s of
// the server) and the day on which it was seen last.
func TestPlanTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	out.WriteString("Which codes are tried, in which order. Each is called by its kind (d of the\ndevice, s of the server) and the day on which it was seen last. At most four are\nsent: those before the bar, unless one cannot be opened.\n")
	for _, test := range []struct {
		name  string
		codes []string
	}{
		{"No codes", nil},
		{"One", []string{"d1, current"}},
		{"One of each kind", []string{"d1, current", "s2, current"}},
		{"One of each kind, the device's came later", []string{"d3, current", "s2, current"}},
		{"Apple confirmed the lock after the device's code came", []string{"d3, current", "s2, current since 4"}},
		{"A lock call had no clear answer", []string{"d3, current", "s2, maybe active since 4"}},
		{"The server's code opened the lock: it is gone, and says nothing of the next", []string{"d3, current", "s2, worked since 4"}},
		{"That a doubtful code came says nothing", []string{"d2, current", "s1, current", "s9, disputed", "s8, void since 9"}},
		{"Many erases", []string{"d1, superseded", "d2, superseded", "d3, superseded", "d4, superseded", "d5, superseded", "d6, current", "s0, current"}},
		{"Many erases, and locks of the organization", []string{"d1, superseded", "d2, superseded", "d3, current", "s4, superseded", "s5, worked", "s6, maybe active since 7"}},
		{"The current one is older, as after a merge of servers", []string{"d1, current", "d5, superseded", "d6, worked"}},
		{"Two current ones, as after a merge", []string{"d1, current", "d5, current", "d3, superseded"}},
		{"Void and disputed come last", []string{"d9, void", "d8, disputed", "d1, superseded", "s9, void", "s8, disputed", "s1, superseded"}},
		{"Nothing but void and disputed", []string{"d9, void", "d8, disputed", "s9, void", "s8, disputed"}},
		{"The other kind has but doubtful ones", []string{"d1, superseded", "d2, superseded", "d3, superseded", "d4, superseded", "d5, current", "s9, disputed", "s8, void"}},
		{"Purged is gone", []string{"d2, purged", "d1, superseded"}},
		{"Of later versions", []string{"?3, current", "d2, of a later version", "d1, superseded", "d0, void"}},
	} {
		fmt.Fprintf(&out, "\n%s\n%s\n", test.name, strings.TrimRight("  held:             "+strings.Join(test.codes, "; "), " "))
		var codes []escrow.Record
		for _, line := range test.codes {
			codes = append(codes, record(t, line))
		}
		for _, kind := range lockKinds {
			plan := names(bypass.Plan(codes, activationlock.Lock{State: activationlock.On, Kind: kind}))
			if len(plan) > bypass.MaxAttempts {
				plan = slices.Insert(plan, bypass.MaxAttempts, "|")
			}
			line := fmt.Sprintf("  %-18s%s", map[activationlock.LockKind]string{
				activationlock.KindUnknown: "kind unknown:", activationlock.UserLinked: "of a person:", activationlock.OrganizationLinked: "organization:",
			}[kind], strings.Join(plan, " "))
			out.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	golden(t, "plan.txt", out.String())
}

// The rules, each stated by itself.
func TestPlanProperties(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	states := []escrow.State{escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded, escrow.Disputed, escrow.Void, escrow.Purged}
	good := func(r escrow.Record) bool {
		return r.State == escrow.Current || r.State == escrow.MaybeActive || r.State == escrow.Worked || r.State == escrow.Superseded
	}
	for range 3000 {
		var codes []escrow.Record
		for day := range rng.IntN(14) { // all times differ
			r := escrow.Record{ID: fmt.Sprint("R", day), Kind: bypasscode.Device, State: states[rng.IntN(len(states))], LastSeen: noon.AddDate(0, 0, day)}
			if rng.IntN(3) == 0 {
				r.Kind = bypasscode.Server
			}
			if r.State != escrow.Superseded && rng.IntN(2) == 0 {
				r.StateSince = noon.AddDate(0, 0, rng.IntN(20)).Add(time.Duration(day+1) * time.Minute)
			}
			codes = append(codes, r)
		}
		lock := activationlock.Lock{Kind: lockKinds[rng.IntN(len(lockKinds))]}
		plan := bypass.Plan(codes, lock)
		says := fmt.Sprintf("%+v\n%v", codes, names(plan))

		// All are there once, but for those that are purged.
		want := names(slices.DeleteFunc(slices.Clone(codes), func(r escrow.Record) bool { return r.State == escrow.Purged }))
		require.ElementsMatch(t, want, names(plan), says)
		// The order given makes no difference, and is not changed.
		shuffled := slices.Clone(codes)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		given := names(shuffled)
		require.Equal(t, names(plan), names(bypass.Plan(shuffled, lock)), says)
		require.Equal(t, given, names(shuffled))

		// The best code of the kind that is known to open the lock is among the first
		// four whatever its state, and only it may stand before better ones.
		exempt := ""
		if lock.Kind != activationlock.KindUnknown {
			if at := slices.IndexFunc(plan, func(r escrow.Record) bool { return lock.Kind.Opens(r.Kind) }); at >= 0 {
				require.Less(t, at, bypass.MaxAttempts, says)
				if !good(plan[at]) {
					exempt = plan[at].ID
					require.True(t, at == bypass.MaxAttempts-1 || !slices.ContainsFunc(plan[at:], good), says)
				}
			}
		}
		for i, a := range plan {
			for _, b := range plan[i+1:] {
				if a.ID == exempt {
					continue
				}
				if a.State == escrow.Void {
					require.Equal(t, escrow.Void, b.State, "void comes last: %s", says)
				}
				if a.State == escrow.Disputed {
					require.False(t, good(b), "disputed comes after all good ones: %s", says)
				}
				if a.Kind == b.Kind && good(a) && good(b) {
					if b.State == escrow.Current {
						require.Equal(t, escrow.Current, a.State, "current comes first: %s", says)
					}
					if (a.State == escrow.Current) == (b.State == escrow.Current) {
						require.True(t, a.LastSeen.After(b.LastSeen), "newer comes first: %s", says)
					}
				}
				if a.Kind == b.Kind && a.State == b.State {
					require.True(t, a.LastSeen.After(b.LastSeen), "newer comes first: %s", says)
				}
			}
		}
		first := plan[:min(4, len(plan))]
		for _, kind := range []bypasscode.Kind{bypasscode.Device, bypasscode.Server} {
			if at := slices.IndexFunc(plan, func(r escrow.Record) bool { return r.Kind == kind && good(r) }); at >= 0 {
				require.Contains(t, names(first), plan[at].ID, "the best code of each kind is among the first four: %s", says)
			}
		}
		// The kind that opens the lock comes first, and no more than the best one of
		// the other kind goes before any of it.
		if lock.Kind != activationlock.KindUnknown {
			others := 0
			for _, r := range plan {
				if !good(r) {
					break
				}
				if lock.Kind.Opens(r.Kind) {
					require.LessOrEqual(t, others, 1, says)
				} else if others++; others == 1 {
					at := slices.Index(names(plan), r.ID)
					rest := slices.ContainsFunc(plan[at:], func(r escrow.Record) bool { return good(r) && lock.Kind.Opens(r.Kind) })
					require.True(t, !rest || at == bypass.MaxAttempts-1, says)
				}
			}
		}
	}
}

// Of codes that nobody can tell apart, the order of escrow stays.
func TestPlanOfEqualTimes(t *testing.T) {
	t.Parallel()
	codes := []escrow.Record{record(t, "d1, superseded"), record(t, "d1, worked"), record(t, "d1, superseded")}
	for i := range codes {
		codes[i].ID = fmt.Sprint(i)
	}
	require.Equal(t, []string{"0", "1", "2"}, names(bypass.Plan(codes, activationlock.Lock{})))
}

// A new action does not try the same four again.
func TestPlanAfterRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ids := s.hold(bySerial, codeTexts...) // six, the last one the newest
	double := &appleDouble{}
	order := func(id string, change func(*bypass.Start)) (places []int) {
		start := wish()
		start.ID = id
		change(&start)
		a, err := s.Preview(t.Context(), start)
		require.NoError(t, err)
		for _, attempt := range a.Attempts {
			places = append(places, slices.Index(ids, attempt.RecordID))
		}
		return places
	}
	same := func(*bypass.Start) {}
	require.Equal(t, []int{5, 4, 3, 2, 1, 0}, order("A1", same))
	s.start()
	_, err := s.Run(t.Context(), "A1", double)
	require.NoError(t, err)
	require.Len(t, double.sent, bypass.MaxAttempts)
	refusedAt := s.clock.Now()

	s.clock.Move(time.Hour)
	require.Equal(t, []int{5, 1, 0, 4, 3, 2}, order("A2", same), "the best one stays, since there may have been no lock")
	lockedSince := func(at time.Time) func(*bypass.Start) {
		return func(start *bypass.Start) { start.Lock = activationlock.Lock{State: activationlock.On, Since: at} }
	}
	require.Equal(t, []int{5, 1, 0, 4, 3, 2}, order("A2", lockedSince(refusedAt)), "of the lock that was there")
	require.Equal(t, []int{5, 4, 3, 2, 1, 0}, order("A2", lockedSince(refusedAt.Add(time.Minute))), "of another lock")
	require.Equal(t, []int{5, 4, 3, 2, 1, 0}, order("A2", func(start *bypass.Start) { start.Identity.IMEI = "350000000000001" }), "Apple is told something else")

	// A code that the device gives again may be the right one after all.
	_, err = s.escrow.Capture(t.Context(), escrow.Capture{
		Subject: bySerial, Kind: bypasscode.Device, Text: bypasscode.NewText(codeTexts[3]), Cause: escrow.CauseSchedule,
		EnrollmentID: "E-" + serial, CommandUUID: "again", ReceivedAt: s.clock.Now(), Device: phone,
	})
	require.NoError(t, err)
	require.Equal(t, 3, order("A2", same)[0])

	// Every code has its turn in the end.
	start := wish()
	start.ID = "A2"
	_, _, err = s.Start(t.Context(), start)
	require.NoError(t, err)
	_, err = s.Run(t.Context(), "A2", double)
	require.NoError(t, err)
	slices.Sort(double.sent)
	require.Len(t, slices.Compact(double.sent), len(codeTexts))
}

// The plan is made of the evidence that Start is given.
func TestPlanOfStart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ids := s.hold(bySerial, codeTexts...)
	r, err := s.escrow.LockCode(t.Context(), escrow.Lock{SerialNumber: serial, At: noon.AddDate(0, -1, 0), Device: phone})
	require.NoError(t, err)
	for kind, want := range map[activationlock.LockKind][]string{
		activationlock.OrganizationLinked: {r.ID, ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]},
		activationlock.UserLinked:         {ids[5], ids[4], ids[3], r.ID, ids[2], ids[1], ids[0]},
		activationlock.KindUnknown:        {ids[5], r.ID, ids[4], ids[3], ids[2], ids[1], ids[0]},
	} {
		start := wish()
		start.Lock.Kind = kind
		a, err := s.Preview(t.Context(), start)
		require.NoError(t, err)
		got := []string{}
		for _, attempt := range a.Attempts {
			got = append(got, attempt.RecordID)
			require.Equal(t, map[bool]bypasscode.Kind{true: bypasscode.Server, false: bypasscode.Device}[attempt.RecordID == r.ID], attempt.Kind)
		}
		require.Equal(t, want, got)
	}
}
