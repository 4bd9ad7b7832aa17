package activationlock_test

import (
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	states    = []activationlock.State{activationlock.StateUnknown, activationlock.On, activationlock.Off}
	lockKinds = []activationlock.LockKind{activationlock.KindUnknown, activationlock.UserLinked, activationlock.OrganizationLinked}
	questions = []activationlock.Question{activationlock.NotAsked, activationlock.Overdue, activationlock.Answered}
	answers   = []*bool{nil, new(false), new(true)}
)

// holdings are all sets of codes that escrow may hold: none, and every subset
// of one of each kind, void and not, and one of no kind at all.
func holdings() (all [][]activationlock.HeldCode) {
	codes := []activationlock.HeldCode{
		{Kind: bypasscode.Device}, {Kind: bypasscode.Server},
		{Kind: bypasscode.Device, Void: true}, {Kind: bypasscode.Server, Void: true},
		{},
	}
	for set := range 1 << len(codes) {
		var held []activationlock.HeldCode
		for i, c := range codes {
			if set&(1<<i) != 0 {
				held = append(held, c)
			}
		}
		all = append(all, held)
	}
	return all
}

// situations are all there are.
func situations() iter.Seq[activationlock.Situation] {
	return func(yield func(activationlock.Situation) bool) {
		for _, applicable := range states {
			for _, state := range states {
				for _, kind := range lockKinds {
					for _, supervised := range answers {
						for _, codes := range holdings() {
							for _, question := range questions {
								if !yield(activationlock.Situation{
									Applicable: applicable, Lock: activationlock.Lock{State: state, Kind: kind},
									Supervised: supervised, Codes: codes, Question: question,
								}) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

func show(s activationlock.Situation) string {
	supervised := "unknown"
	if s.Supervised != nil {
		supervised = fmt.Sprint(*s.Supervised)
	}
	return fmt.Sprintf("applicable %q, lock %q %q, supervised %s, codes %+v, question %q",
		s.Applicable, s.Lock.State, s.Lock.Kind, supervised, s.Codes, s.Question)
}

// The table of the report, stated apart from the code: the first row that holds
// gives the status.
func TestStatusTable(t *testing.T) {
	t.Parallel()
	type situation = activationlock.Situation
	opens := map[activationlock.LockKind][]bypasscode.Kind{
		activationlock.KindUnknown:        {bypasscode.Device, bypasscode.Server},
		activationlock.UserLinked:         {bypasscode.Device},
		activationlock.OrganizationLinked: {bypasscode.Server},
	}
	on := func(s situation) bool { return s.Lock.State == activationlock.On }
	usable := func(s situation) bool {
		return slices.ContainsFunc(s.Codes, func(c activationlock.HeldCode) bool {
			return slices.Contains(opens[s.Lock.Kind], c.Kind) && !c.Void
		})
	}
	unsupervised := func(s situation) bool { return s.Supervised != nil && !*s.Supervised }
	table := []struct {
		status activationlock.Status
		when   func(situation) bool
	}{
		{activationlock.NotApplicable, func(s situation) bool { return s.Applicable == activationlock.Off }},
		{activationlock.NotEnabled, func(s situation) bool { return s.Lock.State == activationlock.Off }},
		{activationlock.EnabledWithBypassCode, func(s situation) bool { return on(s) && usable(s) }},
		{activationlock.EnabledWithoutBypassCodeNotSupervised, func(s situation) bool { return on(s) && !usable(s) && unsupervised(s) }},
		{activationlock.EnabledWithoutBypassCodeUnreachable, func(s situation) bool { return on(s) && !usable(s) && s.Question == activationlock.Overdue }},
		{activationlock.EnabledWithoutBypassCodeNotProvided, func(s situation) bool { return on(s) && !usable(s) && s.Question == activationlock.Answered }},
		{activationlock.Unknown, func(s situation) bool { return s.Lock.State == activationlock.StateUnknown }},
		{activationlock.Unknown, func(s situation) bool {
			return on(s) && !usable(s) && !unsupervised(s) && s.Question == activationlock.NotAsked
		}},
	}
	seen := map[int]int{}
	total := 0
	for s := range situations() {
		total++
		row := slices.IndexFunc(table, func(r struct {
			status activationlock.Status
			when   func(situation) bool
		}) bool {
			return r.when(s)
		})
		require.GreaterOrEqual(t, row, 0, "no row for %s", show(s))
		seen[row]++
		require.Equal(t, table[row].status, activationlock.StatusOf(s), show(s))
		require.Equal(t, usable(s), s.Usable(), show(s))

		// The order of the codes makes no difference.
		slices.Reverse(s.Codes)
		require.Equal(t, table[row].status, activationlock.StatusOf(s), show(s))
	}
	require.Equal(t, 3*3*3*3*32*3, total)
	require.Len(t, seen, len(table), "every row is needed")
}

func TestStatusIsTotal(t *testing.T) {
	t.Parallel()
	require.Equal(t, activationlock.Unknown, activationlock.StatusOf(activationlock.Situation{}))
	// Not even values from a newer version's store give no status.
	strange := activationlock.Situation{
		Applicable: "strange", Lock: activationlock.Lock{State: "strange", Kind: "strange"},
		Codes: []activationlock.HeldCode{{Kind: "strange"}}, Question: "strange",
	}
	require.Equal(t, activationlock.Unknown, activationlock.StatusOf(strange))
	strange.Lock.State = activationlock.On
	require.Equal(t, activationlock.Unknown, activationlock.StatusOf(strange))
	strange.Supervised = new(false)
	require.Equal(t, activationlock.EnabledWithoutBypassCodeNotSupervised, activationlock.StatusOf(strange))
}

// The same table for people to read: testdata/status.txt. A line holds for all
// the values that it names.
func TestStatusGolden(t *testing.T) {
	t.Parallel()
	const inputs = 7
	type line [inputs + 1]string // the last is the status
	held := func(kind bypasscode.Kind, which string) []activationlock.HeldCode {
		switch which {
		case "void":
			return []activationlock.HeldCode{{Kind: kind, Void: true}}
		case "held":
			return []activationlock.HeldCode{{Kind: kind, Void: true}, {Kind: kind}}
		}
		return nil
	}
	names := [inputs][]string{
		{"unknown", "yes", "no"},
		{"unknown", "on", "off"},
		{"unknown", "user", "organization"},
		{"none", "void", "held"},
		{"none", "void", "held"},
		{"unknown", "no", "yes"},
		{"not asked", "overdue", "answered"},
	}
	var lines []line
	pick := make([]int, inputs)
	for {
		var l line
		for i, p := range pick {
			l[i] = names[i][p]
		}
		l[inputs] = string(activationlock.StatusOf(activationlock.Situation{
			Applicable: states[pick[0]],
			Lock:       activationlock.Lock{State: states[pick[1]], Kind: lockKinds[pick[2]]},
			Codes:      append(held(bypasscode.Device, l[3]), held(bypasscode.Server, l[4])...),
			Supervised: answers[pick[5]],
			Question:   questions[pick[6]],
		}))
		lines = append(lines, l)
		i := inputs - 1
		for ; i >= 0; i-- {
			if pick[i]++; pick[i] < len(names[i]) {
				break
			}
			pick[i] = 0
		}
		if i < 0 {
			break
		}
	}
	require.Len(t, lines, 2187)

	// Lines that differ in one column only become one, column by column.
	for column := inputs - 1; column >= 0; column-- {
		var shorter []line
		at := map[line]int{}
		values := map[int][]string{}
		for _, l := range lines {
			key := l
			key[column] = ""
			i, there := at[key]
			if !there {
				i = len(shorter)
				at[key] = i
				shorter = append(shorter, l)
			}
			values[i] = append(values[i], l[column])
		}
		for i := range shorter {
			shorter[i][column] = strings.Join(values[i], "|")
			if len(values[i]) == len(names[column]) {
				shorter[i][column] = "any"
			}
		}
		lines = shorter
	}

	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "can have a lock\tlock\tkind of lock\tdevice code\tserver code\tsupervised\tquestion for the code\tstatus\tEnglish\tDutch")
	for _, l := range lines {
		status := activationlock.Status(l[inputs])
		fmt.Fprintf(w, "%s\t%q\t%q\n", strings.Join(l[:], "\t"), status.Label(activationlock.English), status.Label(activationlock.Dutch))
	}
	require.NoError(t, w.Flush())

	golden := filepath.Join("testdata", "status.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "if the change is meant: go test ./activationlock -run Golden -update")
}

func TestApplicability(t *testing.T) {
	t.Parallel()
	const unknown, on, off = activationlock.StateUnknown, activationlock.On, activationlock.Off
	no, yes := new(false), new(true)
	for _, test := range []struct {
		product, version string
		supported        *bool
		want             activationlock.State
	}{
		{"iPhone4,1", "6.1.3", nil, off},
		{"iPhone5,1", "7", nil, off},
		{"iPhone5,1", "7.0", nil, off},
		{"iPhone5,1", "7.0.4", nil, off},
		{"iPhone5,1", "7.1", nil, on},
		{"iPhone5,1", "7.1.2", nil, on},
		{"iPhone5,1", "8", nil, on},
		{"iPhone5,1", "8.0", nil, on},
		{"iPhone5,1", "10.0.1", nil, on}, // not compared as text
		{"iPad13,1", "7.0.6", nil, off},
		{"iPad13,1", "18.7", nil, on},
		{"iPod9,1", "15.8", nil, on},
		{"iPhone17,3", "26.1", nil, on},
		{"iPhone17,3", "26.1", no, on}, // the answer is a Mac's
		{"iPhone5,1", "7.0", yes, off},

		{"iPhone17,3", "", nil, unknown},
		{"iPhone17,3", "x", nil, unknown},
		{"iPhone17,3", "seven.one", nil, unknown},
		{"iPhone17,3", ".1", nil, unknown},
		{"iPhone17,3", "8.", nil, unknown},
		{"iPhone17,3", "8.x", nil, unknown},
		{"iPhone17,3", "-8.0", nil, unknown},
		{"iPhone17,3", "+8.0", nil, unknown},
		{"iPhone17,3", " 8.0", nil, unknown},
		{"iPhone17,3", "0x8.0", nil, unknown},
		{"iPhone17,3", "99999999999999999999.1", nil, unknown},
		{"iPhone17,3", "7.99999999999999999999", nil, unknown},
		{"iPhone17,3", "26.1.x", nil, on}, // what comes third decides nothing

		{"MacBookPro16,1", "10.12.6", yes, off},
		{"MacBookPro16,1", "10.14.6", nil, off},
		{"MacBookPro16,1", "10.14.6", yes, off},
		{"MacBookPro16,1", "10.15", nil, unknown}, // may lack the chip
		{"MacBookPro16,1", "10.15", yes, on},
		{"MacBookPro16,1", "10.15", no, off},
		{"MacBookPro16,1", "10.16", yes, on}, // what macOS 11 says to old programs
		{"Macmini7,1", "11.0", no, off},
		{"Macmini7,1", "11.0", nil, unknown},
		{"Mac14,2", "11", yes, on},
		{"Mac14,2", "26.1", yes, on},
		{"Mac14,2", "26.1", nil, unknown},
		{"Mac14,2", "", yes, unknown},
		{"Mac14,2", "", no, off},
		{"Mac14,2", "garbage", no, off},
		{"Mac14,2", "garbage", nil, unknown},
		{"iMac14,2", "10.9", nil, off},
		{"VirtualMac2,1", "15.0", no, off},

		{"AppleTV14,1", "26.0", nil, off},
		{"AppleTV14,1", "", yes, off},
		{"AudioAccessory5,1", "17.0", nil, off},
		{"Watch7,1", "26.0", nil, on},
		{"Watch7,1", "", nil, on},
		{"RealityDevice14,1", "2.0", nil, on},
		{"RealityDevice14,1", "", nil, on},

		{"", "", nil, unknown},
		{"", "26.1", nil, unknown},
		{"", "26.1", no, unknown},
		{"Toaster1,1", "26.1", yes, unknown},
		{"iphone17,3", "7.0", nil, unknown},
	} {
		got := activationlock.Applicability(test.product, test.version, test.supported)
		require.Equal(t, test.want, got, "%q %q %v", test.product, test.version, test.supported)
	}
}

func TestLockKindOpens(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lock activationlock.LockKind
		code bypasscode.Kind
		want bool
	}{
		{activationlock.UserLinked, bypasscode.Device, true},
		{activationlock.UserLinked, bypasscode.Server, false},
		{activationlock.OrganizationLinked, bypasscode.Device, false},
		{activationlock.OrganizationLinked, bypasscode.Server, true},
		{activationlock.KindUnknown, bypasscode.Device, true},
		{activationlock.KindUnknown, bypasscode.Server, true},
		{activationlock.KindUnknown, "", false},
		{activationlock.UserLinked, "", false},
		{activationlock.OrganizationLinked, "", false},
		{"of the future", bypasscode.Device, true},
		{activationlock.KindUnknown, "of the future", false},
	} {
		require.Equal(t, test.want, test.lock.Opens(test.code), "a %q code on a %q lock", test.code, test.lock)
	}
}

// other is a source besides the device.
const other activationlock.Source = "other"

var epoch = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// said makes evidence of the nth hour.
func said(state activationlock.State, hour int) activationlock.Evidence {
	return activationlock.Evidence{State: state, Source: activationlock.SourceDevice, At: epoch.Add(time.Duration(hour) * time.Hour)}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	const unknown, on, off = activationlock.StateUnknown, activationlock.On, activationlock.Off
	const user, organization = activationlock.UserLinked, activationlock.OrganizationLinked
	of := func(kind activationlock.LockKind, source activationlock.Source, e activationlock.Evidence) activationlock.Evidence {
		e.Kind, e.Source = kind, source
		return e
	}
	never := activationlock.Evidence{State: on, Source: activationlock.SourceDevice} // at the zero time
	type evidence = []activationlock.Evidence
	for _, test := range []struct {
		name  string
		given evidence
		want  activationlock.Lock
	}{
		{"nothing", nil, activationlock.Lock{}},
		{"absent is not off", evidence{said(unknown, 1)}, activationlock.Lock{}},
		{"on", evidence{said(on, 1)}, lock(on, 1)},
		{"off", evidence{said(off, 1)}, lock(off, 1)},
		{"the latest wins", evidence{said(off, 1), said(on, 2)}, lock(on, 2)},
		{"the latest wins, off", evidence{said(on, 1), said(off, 2)}, lock(off, 2)},
		{"since the first of the run", evidence{said(on, 1), said(on, 2), said(on, 3)}, lock(on, 1)},
		{"since the last change", evidence{said(on, 1), said(off, 2), said(on, 3), said(on, 4)}, lock(on, 3)},
		{"absent between ends no run", evidence{said(on, 1), said(unknown, 2), said(on, 3)}, lock(on, 1)},
		{"absent after changes nothing", evidence{said(on, 1), said(unknown, 2)}, lock(on, 1)},
		{"same moment", evidence{said(on, 1), said(off, 1)}, activationlock.Lock{}},
		{"same moment, settled later", evidence{said(on, 1), said(off, 1), said(on, 2)}, lock(on, 2)},
		{"same moment, settled before", evidence{said(on, 0), said(on, 1), said(off, 1)}, activationlock.Lock{}},
		{"same moment, thrice", evidence{said(on, 1), said(off, 1), said(on, 1)}, activationlock.Lock{}},
		{"same moment, same state", evidence{said(on, 1), said(on, 1)}, lock(on, 1)},
		{"time unknown", evidence{never}, activationlock.Lock{State: on, Source: activationlock.SourceDevice}},
		{"time unknown, then known", evidence{never, said(off, 1)}, lock(off, 1)},
		{"time unknown gives no since", evidence{never, said(on, 1)}, lock(on, 1)},
		{
			"the one that decides is named",
			evidence{said(off, 1), of(user, other, said(on, 2))},
			activationlock.Lock{State: on, Kind: user, Source: other, Since: epoch.Add(2 * time.Hour)},
		},
		{
			"of the same moment, the one that knows the kind",
			evidence{of("", "a", said(on, 1)), of(user, "b", said(on, 1)), of("", "c", said(on, 1))},
			activationlock.Lock{State: on, Kind: user, Source: "b", Since: epoch.Add(time.Hour)},
		},
		{
			"kinds that contradict are unknown",
			evidence{of(user, "a", said(on, 1)), of(organization, "b", said(on, 1)), of(user, "c", said(on, 1))},
			activationlock.Lock{State: on, Source: "b", Since: epoch.Add(time.Hour)},
		},
		{
			"kinds that contradicted, settled later",
			evidence{of(user, other, said(on, 1)), of(organization, other, said(on, 1)), of(user, other, said(on, 2))},
			activationlock.Lock{State: on, Kind: user, Source: other, Since: epoch.Add(time.Hour)},
		},
	} {
		given := slices.Clone(test.given)
		for order := range permutations(given) {
			require.Equal(t, test.want, activationlock.Derive(order), "%s: %+v", test.name, order)
		}
	}
}

// lock is what the device's evidence comes to, since an hour.
func lock(state activationlock.State, hour int) activationlock.Lock {
	return activationlock.Lock{State: state, Source: activationlock.SourceDevice, Since: epoch.Add(time.Duration(hour) * time.Hour)}
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

// The order in which evidence is kept or read never matters, and the state is
// what a look at the last moment alone gives.
func TestDeriveInAnyOrder(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	sources := []activationlock.Source{activationlock.SourceDevice, other, "third"}
	found := map[activationlock.State]int{}
	for range 3000 {
		evidence := make([]activationlock.Evidence, random.IntN(9))
		for i := range evidence {
			evidence[i] = said(states[random.IntN(len(states))], random.IntN(6))
			evidence[i].Kind = lockKinds[random.IntN(len(lockKinds))]
			evidence[i].Source = sources[random.IntN(len(sources))]
		}
		want := activationlock.Derive(evidence)
		found[want.State]++

		last := map[activationlock.State]bool{}
		var at time.Time
		for _, e := range evidence {
			if e.State != activationlock.StateUnknown && e.At.After(at) {
				at, last = e.At, map[activationlock.State]bool{}
			}
			if e.State != activationlock.StateUnknown && e.At.Equal(at) {
				last[e.State] = true
			}
		}
		if len(last) == 1 {
			require.True(t, last[want.State], "%+v", evidence)
			require.False(t, want.Since.IsZero() || want.Since.After(at), "%+v", evidence)
			// Nothing said otherwise since, and nothing said the same before
			// without somebody who said otherwise after it.
			for _, e := range evidence {
				if e.State != activationlock.StateUnknown && e.State != want.State {
					require.True(t, e.At.Before(want.Since), "%+v", evidence)
				}
				if e.State == want.State && e.At.Before(want.Since) {
					require.True(t, slices.ContainsFunc(evidence, func(o activationlock.Evidence) bool {
						return o.State != activationlock.StateUnknown && o.State != want.State && !o.At.Before(e.At)
					}), "%+v", evidence)
				}
			}
		} else {
			require.Equal(t, activationlock.Lock{}, want, "%+v", evidence)
		}

		for range 4 {
			random.Shuffle(len(evidence), func(i, j int) { evidence[i], evidence[j] = evidence[j], evidence[i] })
			before := slices.Clone(evidence)
			require.Equal(t, want, activationlock.Derive(evidence), "%+v", evidence)
			require.Equal(t, before, evidence, "the argument is only read")
		}
	}
	require.Len(t, found, len(states), "%v", slices.Collect(maps.Keys(found)))
}
