package activationlock_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
)

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

// lockables are devices that may have a lock, can, and cannot.
var lockables = []activationlock.Device{{}, {ProductName: "iPhone17,3", OSVersion: "26.1"}, {ProductName: "AppleTV14,1", OSVersion: "26.1"}}

func supervised(d activationlock.Device, fact *bool) activationlock.Device {
	d.Supervised = fact
	return d
}

// situations are all there are, as far as the status goes.
func situations() iter.Seq[activationlock.Situation] {
	return func(yield func(activationlock.Situation) bool) {
		for _, device := range lockables {
			for _, state := range states {
				for _, kind := range lockKinds {
					for _, fact := range answers {
						for _, codes := range holdings() {
							for _, question := range questions {
								if !yield(activationlock.Situation{
									Device: supervised(device, fact), Lock: activationlock.Lock{State: state, Kind: kind},
									Codes: codes, Question: question,
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
	return fmt.Sprintf("%+v, lock %q %q, supervised %s, Find My %s, codes %+v, question %q",
		s.Device.ProductName, s.Lock.State, s.Lock.Kind, fact(s.Device.Supervised), fact(s.FindMy), s.Codes, s.Question)
}

func fact(f *bool) string {
	switch {
	case f == nil:
		return "unknown"
	case *f:
		return "yes"
	}
	return "no"
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
	unsupervised := func(s situation) bool { return s.Device.Supervised != nil && !*s.Device.Supervised }
	table := []struct {
		status activationlock.Status
		when   func(situation) bool
	}{
		{activationlock.NotApplicable, func(s situation) bool { return s.Device.ProductName == "AppleTV14,1" }},
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
		Device: activationlock.Device{ProductName: "strange", OSVersion: "strange"}, Lock: activationlock.Lock{State: "strange", Kind: "strange"},
		Codes: []activationlock.HeldCode{{Kind: "strange"}}, Question: "strange",
	}
	require.Equal(t, activationlock.Unknown, activationlock.StatusOf(strange))
	strange.Lock.State = activationlock.On
	require.Equal(t, activationlock.Unknown, activationlock.StatusOf(strange))
	strange.Device.Supervised = new(false)
	require.Equal(t, activationlock.EnabledWithoutBypassCodeNotSupervised, activationlock.StatusOf(strange))
}

// The same table for people to read: testdata/status.txt. A line holds for all
// the values that it names.
func TestStatusGolden(t *testing.T) {
	t.Parallel()
	held := func(kind bypasscode.Kind, which string) []activationlock.HeldCode {
		switch which {
		case "void":
			return []activationlock.HeldCode{{Kind: kind, Void: true}}
		case "held":
			return []activationlock.HeldCode{{Kind: kind, Void: true}, {Kind: kind}}
		}
		return nil
	}
	inputs := []column{
		{"can have a lock", []string{"unknown", "yes", "no"}},
		{"lock", []string{"unknown", "on", "off"}},
		{"kind of lock", []string{"unknown", "user", "organization"}},
		{"device code", []string{"none", "void", "held"}},
		{"server code", []string{"none", "void", "held"}},
		{"supervised", []string{"unknown", "no", "yes"}},
		{"question for the code", []string{"not asked", "overdue", "answered"}},
	}
	var out strings.Builder
	table(&out, inputs, []string{"status", "English", "Dutch"}, func(pick []int) []string {
		status := activationlock.StatusOf(activationlock.Situation{
			Device:   supervised(lockables[pick[0]], answers[pick[5]]),
			Lock:     activationlock.Lock{State: states[pick[1]], Kind: lockKinds[pick[2]]},
			Codes:    append(held(bypasscode.Device, inputs[3].values[pick[3]]), held(bypasscode.Server, inputs[4].values[pick[4]])...),
			Question: questions[pick[6]],
		})
		return []string{string(status), fmt.Sprintf("%q", status.Label(activationlock.English)), fmt.Sprintf("%q", status.Label(activationlock.Dutch))}
	})
	golden(t, "status.txt", out.String())
}

func TestHasLock(t *testing.T) {
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
		got := activationlock.Device{ProductName: test.product, OSVersion: test.version, LockSupported: test.supported}.HasLock()
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
