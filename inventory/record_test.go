package inventory_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// at is the nth hour.
func at(hour int) time.Time {
	return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
}

func TestExchange(t *testing.T) {
	t.Parallel()
	var x inventory.Exchange
	require.False(t, x.Asked("1"))
	require.False(t, x.Asked(""))
	require.False(t, x.Overdue(at(1000)), "nothing was asked")

	x = x.Ask("1", at(1), at(10))
	require.Equal(t, inventory.Exchange{UUIDs: []string{"1"}, AskedAt: at(1), AgainAt: at(10), OverdueAt: at(10), SilentAt: at(10)}, x)
	require.True(t, x.Asked("1"))
	require.False(t, x.Asked("2"))
	require.False(t, x.Asked(""))
	require.False(t, x.Overdue(at(10).Add(-1)))
	require.True(t, x.Overdue(at(10)), "the deadline itself is too late")
	require.True(t, x.Overdue(at(11)))

	// Asked again, the first deadline stays: the device is no less overdue.
	x = x.Ask("2", at(10), at(20))
	require.Equal(t, inventory.Exchange{UUIDs: []string{"1", "2"}, AskedAt: at(10), AgainAt: at(20), OverdueAt: at(10), SilentAt: at(10), Unanswered: 1}, x)
	require.True(t, x.Overdue(at(10)))

	// An answer, if only to the first, ends that; the second may still come.
	x = x.Answered("1", inventory.NoCode, at(12), at(18))
	require.Equal(t, inventory.Exchange{UUIDs: []string{"2"}, AskedAt: at(10), AnsweredAt: at(12), Answer: inventory.NoCode, AgainAt: at(18)}, x)
	require.False(t, x.Overdue(at(1000)))

	// The same answer again is none, nor is one to what was not asked.
	for _, uuid := range []string{"1", "3", ""} {
		require.Equal(t, x, x.Answered(uuid, inventory.WithCode, at(13), at(30)), "%q", uuid)
	}
	x = x.Answered("2", inventory.WithCode, at(14), at(30))
	require.Equal(t, inventory.Exchange{UUIDs: []string{}, AskedAt: at(10), AnsweredAt: at(14), Answer: inventory.WithCode, AgainAt: at(30)}, x)

	// And a new question has its own deadline.
	x = x.Ask("4", at(30), at(40))
	require.Equal(t, at(40), x.OverdueAt)
	require.Equal(t, at(14), x.AnsweredAt)
}

// What the other side cannot do now is no answer and no failure.
func TestExchangeLater(t *testing.T) {
	t.Parallel()
	var x inventory.Exchange
	for i, want := range []int{0, 0, 1, 2} {
		x = x.Ask(fmt.Sprint(i), at(5*i), at(5*i+6)) // the first deadline is 6
		require.Equal(t, want, x.Unanswered, "question %d", i)
	}
	require.True(t, x.Silent(at(6)))
	require.False(t, x.Silent(at(6).Add(-1)))
	later := x.Later(at(17))
	require.Equal(t, at(17), later.AgainAt)
	require.Zero(t, later.Unanswered)
	require.Equal(t, 1, later.NotNows)
	require.True(t, later.Overdue(at(17)), "but not answered either")
	require.False(t, later.Silent(at(1000)), "it said something")
	again := later.Ask("4", at(17), at(23))
	require.Zero(t, again.Unanswered)
	require.False(t, again.Silent(at(23).Add(-1)))
	require.True(t, again.Silent(at(23)), "and then nothing more")
	require.Equal(t, 1, again.Ask("5", at(23), at(29)).Unanswered)
	require.Equal(t, 2, again.Later(at(24)).NotNows, "in a row")
	require.Zero(t, again.Answered("4", inventory.Done, at(20), at(21)).NotNows)
	later.AgainAt, later.SilentAt, later.Unanswered, later.NotNows = x.AgainAt, x.SilentAt, x.Unanswered, x.NotNows
	require.Equal(t, x, later, "the question stays open, and its deadline as it was")
	require.Equal(t, 3, x.Ask("4", at(20), at(26)).Unanswered)
	require.Zero(t, x.Answered("3", inventory.Done, at(20), at(21)).Unanswered)
}

func TestExchangeKeepsTheLastQuestions(t *testing.T) {
	t.Parallel()
	var x inventory.Exchange
	for i := range 20 {
		x = x.Ask(fmt.Sprint(i), at(i), at(i+1))
	}
	require.Equal(t, []string{"12", "13", "14", "15", "16", "17", "18", "19"}, x.UUIDs)
	require.Equal(t, at(1), x.OverdueAt)
	require.False(t, x.Asked("11"))
	require.True(t, x.Asked("12"))
}

// An exchange is a value: what was made of it never changes it.
func TestExchangeSharesNothing(t *testing.T) {
	t.Parallel()
	var x inventory.Exchange
	for i := range 8 {
		x = x.Ask(fmt.Sprint(i), at(i), at(i+1))
	}
	x.UUIDs = append(make([]string, 0, 100), x.UUIDs...) // room to write into
	before := slices.Clone(x.UUIDs)
	a, b := x.Ask("a", at(20), at(21)), x.Ask("b", at(20), at(21))
	c := x.Answered("3", inventory.Done, at(20), at(21))
	require.Equal(t, before, x.UUIDs)
	require.Equal(t, "a", a.UUIDs[7])
	require.Equal(t, "b", b.UUIDs[7])
	require.Equal(t, []string{"0", "1", "2", "4", "5", "6", "7"}, c.UUIDs)
}

// said makes evidence of the nth hour.
func said(state activationlock.State, source activationlock.Source, hour int) activationlock.Evidence {
	return activationlock.Evidence{State: state, Source: source, At: at(hour)}
}

func TestAddEvidence(t *testing.T) {
	t.Parallel()
	const on, off, device, other = activationlock.On, activationlock.Off, activationlock.SourceDevice, activationlock.Source("other")
	type evidence = []activationlock.Evidence
	for _, test := range []struct {
		name        string
		given, want evidence
	}{
		{"one", evidence{said(on, device, 1)}, evidence{said(on, device, 1)}},
		{"two of a run", evidence{said(on, device, 1), said(on, device, 2)}, evidence{said(on, device, 1), said(on, device, 2)}},
		{
			"of a run the first and the last",
			evidence{said(on, device, 1), said(on, device, 2), said(on, device, 3), said(on, device, 4)},
			evidence{said(on, device, 1), said(on, device, 4)},
		},
		{
			"of each run",
			evidence{said(off, device, 1), said(off, device, 2), said(off, device, 3), said(on, device, 4), said(on, device, 5), said(on, device, 6), said(off, device, 7)},
			evidence{said(off, device, 1), said(off, device, 3), said(on, device, 4), said(on, device, 6), said(off, device, 7)},
		},
		{
			"another source is another run",
			evidence{said(on, device, 1), said(on, device, 2), said(on, other, 3), said(on, device, 4)},
			evidence{said(on, device, 1), said(on, device, 2), said(on, other, 3), said(on, device, 4)},
		},
		{
			"late evidence goes to its place",
			evidence{said(off, device, 5), said(on, device, 2), said(on, device, 6)},
			evidence{said(on, device, 2), said(off, device, 5), said(on, device, 6)},
		},
		{
			"and cannot push out what is newer",
			evidence{said(off, device, 4), said(on, device, 1), said(on, device, 5), said(on, device, 3)},
			evidence{said(on, device, 1), said(on, device, 3), said(off, device, 4), said(on, device, 5)},
		},
		{
			"late in a run it is nothing new",
			evidence{said(on, device, 1), said(on, device, 5), said(on, device, 3)},
			evidence{said(on, device, 1), said(on, device, 5)},
		},
		{
			"of the same moment in the order given",
			evidence{said(on, device, 1), said(off, device, 1), said(on, other, 1)},
			evidence{said(on, device, 1), said(off, device, 1), said(on, other, 1)},
		},
	} {
		var r inventory.Record
		for _, e := range test.given {
			r.AddEvidence(e)
		}
		require.Equal(t, test.want, r.Evidence, test.name)
	}

	// A record that was copied does not change with the copy.
	r := inventory.Record{Evidence: append(make(evidence, 0, 100), said(on, device, 1), said(on, device, 2))}
	for _, e := range (evidence{said(on, device, 3), said(off, device, 0), said(off, device, 9)}) {
		same := r
		same.AddEvidence(e)
		require.Equal(t, evidence{said(on, device, 1), said(on, device, 2)}, r.Evidence)
		require.Equal(t, activationlock.Evidence{}, r.Evidence[:3][2])
	}
}

// However much is added, in order or not, the list stays short. While it is not
// full, and nothing came late, it says what all of it would have said; and it never
// says that a lock is off which all of it would have called on.
func TestEvidenceIsShortened(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	const on, off = activationlock.On, activationlock.Off
	words := []activationlock.Evidence{
		{State: on, Source: activationlock.SourceDevice}, {State: off, Source: activationlock.SourceDevice},
		{State: on, Kind: activationlock.UserLinked, Source: activationlock.SourceApple},
		{State: on, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceApple}, {State: off, Source: activationlock.SourceApple},
		{State: on, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceLockCall},
		{State: on, Source: activationlock.SourceLockCall}, {Source: activationlock.SourceLockCall},
		{State: off, Source: activationlock.SourceUnlockCall},
		{State: on, Source: activationlock.SourceLostMode}, {State: off, Source: activationlock.SourceLostMode},
	}
	states, full := map[activationlock.State]int{}, 0
	for round := range 400 {
		var r inventory.Record
		var all []activationlock.Evidence
		hour, disorder, steady := 100, random.IntN(2)*8, random.IntN(6)
		word, capped := words[1], false
		for range random.IntN(60) {
			hour += 1 + random.IntN(20)
			if random.IntN(steady+1) == 0 {
				word = words[random.IntN(len(words))]
			}
			e := word
			e.At = at(hour - random.IntN(disorder+1))
			all = append(all, e)
			capped = capped || len(r.Evidence) == 16
			r.AddEvidence(e)

			want, got := activationlock.Derive(all), activationlock.Derive(r.Evidence)
			states[got.State]++
			require.False(t, got.State == off && want.State == on, "round %d: %+v\n%+v", round, all, r.Evidence)
			if capped {
				full++
			} else if disorder == 0 {
				require.False(t, got.Since.Before(want.Since), "round %d: %+v", round, all)
				got.Since = want.Since // which may have been within a run
				require.Equal(t, want, got, "round %d: %+v", round, all)
			}
			require.LessOrEqual(t, len(r.Evidence), 16)
			require.True(t, slices.IsSortedFunc(r.Evidence, func(a, b activationlock.Evidence) int { return a.At.Compare(b.At) }))
			last := map[activationlock.Source]activationlock.Evidence{}
			for _, e := range all {
				if !e.At.Before(last[e.Source].At) {
					last[e.Source] = e
				}
			}
			for _, e := range last {
				require.Contains(t, r.Evidence, e, "the last words of each source stay")
			}
			for _, kept := range r.Evidence {
				require.Contains(t, all, kept, "nothing is made up")
			}
		}
	}
	require.Len(t, states, 3)
	require.Greater(t, full, 500)
}

// Years of inventory do not push out a call of ours.
func TestAddEvidenceKeepsTheLastWordsOfEachSource(t *testing.T) {
	t.Parallel()
	var r inventory.Record
	call := activationlock.Evidence{
		State: activationlock.On, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceLockCall, At: at(0),
	}
	r.AddEvidence(call)
	for i := range 100 {
		r.AddEvidence(said([]activationlock.State{activationlock.On, activationlock.Off}[i%2], activationlock.SourceDevice, i+1))
	}
	require.Len(t, r.Evidence, 16)
	require.Equal(t, call, r.Evidence[0])
	require.Equal(t, said(activationlock.Off, activationlock.SourceDevice, 86), r.Evidence[1])
	require.Equal(t, said(activationlock.Off, activationlock.SourceDevice, 100), r.Evidence[15])
}

// fill sets every field to something that is not zero.
func fill(t *testing.T, v reflect.Value, count *int) {
	t.Helper()
	*count++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *count))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*count))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*count))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), count)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		for i := range v.Len() {
			fill(t, v.Index(i), count)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, count)
			fill(t, value, count)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(at(*count)))
			return
		}
		for i := range v.NumField() {
			require.True(t, v.Type().Field(i).IsExported(), "%s has a field that a store cannot keep", v.Type())
			fill(t, v.Field(i), count)
		}
	default:
		require.Fail(t, "a record should not have this", v.Type().String())
	}
}

// shared lists the paths at which two values use the same memory.
func shared(a, b reflect.Value, path string) (paths []string) {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.IsNil() || b.IsNil() {
			return nil
		}
		if a.UnsafePointer() == b.UnsafePointer() {
			return []string{path}
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		return shared(a.Elem(), b.Elem(), path)
	case reflect.Slice:
		for i := range a.Len() {
			paths = append(paths, shared(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case reflect.Map:
		for _, key := range a.MapKeys() {
			paths = append(paths, shared(a.MapIndex(key), b.MapIndex(key), fmt.Sprintf("%s[%v]", path, key))...)
		}
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			return nil // its location never changes
		}
		for i := range a.NumField() {
			paths = append(paths, shared(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)...)
		}
	}
	return paths
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	var r inventory.Record
	count := 0
	fill(t, reflect.ValueOf(&r).Elem(), &count)
	require.Greater(t, count, 50)
	c := r.Clone()
	require.Equal(t, r, c)
	require.Empty(t, shared(reflect.ValueOf(r), reflect.ValueOf(c), "Record"))

	// The test sees what is shared: a plain copy shares plenty.
	same := r
	require.Contains(t, shared(reflect.ValueOf(r), reflect.ValueOf(same), "Record"), "Record.Facts.Supervised")
	require.Contains(t, shared(reflect.ValueOf(r), reflect.ValueOf(same), "Record"), "Record.Exchanges")

	// And nothing comes of nothing.
	var zero inventory.Record
	require.Equal(t, inventory.Record{}, zero.Clone())
}

func TestLive(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		record inventory.Record
		want   bool
	}{
		{inventory.Record{}, false},
		{inventory.Record{AuthenticatedAt: at(1)}, false},
		{inventory.Record{AuthenticatedAt: at(1), TokenAt: at(2)}, true},
		{inventory.Record{TokenAt: at(2)}, true},
		{inventory.Record{TokenAt: at(2), CheckedOutAt: at(3)}, false},
		{inventory.Record{CheckedOutAt: at(3)}, false},
	} {
		require.Equal(t, test.want, test.record.Live(), "%+v", test.record)
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	r := inventory.Record{EnrollmentID: "E"}
	require.Equal(t, escrow.Subject{EnrollmentID: "E"}, r.Subject())
	r.Facts.SerialNumber = "S"
	require.Equal(t, escrow.Subject{SerialNumber: "S"}, r.Subject())
}

func TestPlatform(t *testing.T) {
	t.Parallel()
	require.Equal(t, mdmcmd.IOS, inventory.Facts{ProductName: "iPad13,1"}.Platform())
	require.Equal(t, mdmcmd.MacOS, inventory.Facts{ProductName: "Mac14,2"}.Platform())
	require.Empty(t, inventory.Facts{}.Platform())
}

// locked is a supervised phone with its lock on.
func locked() inventory.Record {
	return inventory.Record{
		EnrollmentID: "E",
		Facts:        inventory.Facts{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Evidence:     []activationlock.Evidence{said(activationlock.Off, activationlock.SourceDevice, 1), said(activationlock.On, activationlock.SourceDevice, 2)},
	}
}

const question = "ActivationLockBypassCode"

func TestSituation(t *testing.T) {
	t.Parallel()
	r := locked()
	r.Exchanges = map[string]inventory.Exchange{"DeviceInformation": inventory.Exchange{}.Ask("1", at(1), at(2))}
	want := activationlock.Situation{
		Device: activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
		Lock: activationlock.Lock{
			State: activationlock.On, Source: activationlock.SourceDevice, At: at(2), Since: at(2), Confidence: activationlock.Reported,
		},
	}
	require.Equal(t, want, r.Situation(nil, at(100)), "an open question of another type says nothing")
	r.Facts.FindMy, want.FindMy = new(true), new(true)
	require.Equal(t, want, r.Situation(nil, at(100)))

	codes := []escrow.Record{{Kind: bypasscode.Server, State: escrow.Superseded}, {Kind: bypasscode.Device, State: escrow.Current}}
	want.Codes = []activationlock.HeldCode{{Kind: bypasscode.Server, Doubtful: true}, {Kind: bypasscode.Device, Doubtful: true}}
	require.Equal(t, want, r.Situation(codes, at(100)))

	asked := inventory.Exchange{}.Ask("1", at(10), at(20))
	answered := asked.Answered("1", inventory.NoCode, at(12), at(18))
	for _, test := range []struct {
		name     string
		exchange inventory.Exchange
		hour     int
		want     activationlock.Question
	}{
		{"never", inventory.Exchange{}, 100, activationlock.NotAsked},
		{"in time", asked, 19, activationlock.NotAsked},
		{"at the deadline", asked, 20, activationlock.Overdue},
		{"past it", asked, 100, activationlock.Overdue},
		{"past it and asked again", asked.Ask("2", at(20), at(30)), 21, activationlock.Overdue},
		{"answered", answered, 100, activationlock.Answered},
		{"refused", asked.Answered("1", inventory.Refused, at(12), at(18)), 100, activationlock.Answered},
		{"with a code", asked.Answered("1", inventory.WithCode, at(12), at(18)), 100, activationlock.Answered},
		{"answered late", asked.Answered("1", inventory.NoCode, at(25), at(30)), 100, activationlock.Answered},
		{"answered, and asked again", answered.Ask("2", at(18), at(28)), 20, activationlock.Answered},
		{"answered, and asked again in vain", answered.Ask("2", at(18), at(28)), 28, activationlock.Overdue},
	} {
		r.Exchanges[question] = test.exchange
		require.Equal(t, test.want, r.Situation(nil, at(test.hour)).Question, test.name)
	}
}

// Everything that decides about a device comes from its own word, or is unknown.
func TestDevice(t *testing.T) {
	t.Parallel()
	var nobody inventory.Record
	require.Equal(t, activationlock.Device{}, nobody.Device())
	mac := inventory.Record{UserEnrollment: true, Facts: inventory.Facts{
		ProductName: "Mac14,2", OSVersion: "15.1", Supervised: new(true), SharedIPad: new(false), LockSupported: new(false), LockManageable: new(true),
	}}
	require.Equal(t, activationlock.Device{
		ProductName: "Mac14,2", OSVersion: "15.1", UserEnrollment: true,
		Supervised: new(true), SharedIPad: new(false), LockSupported: new(false), LockManageable: new(true),
	}, mac.Device())
	require.Equal(t, activationlock.Situation{Device: mac.Device()}, mac.Situation(nil, at(1)))
	require.Equal(t, activationlock.NotApplicable, mac.Status(nil, at(1)), "a Mac's own answer counts")
}

// Which codes are doubtful, and which are no codes any more.
func TestHeldCodes(t *testing.T) {
	t.Parallel()
	const device, server = bypasscode.Device, bypasscode.Server
	for _, test := range []struct {
		name   string
		code   escrow.Record
		wanted bool
		want   []activationlock.HeldCode
	}{
		{"the device's", escrow.Record{Kind: device, State: escrow.Current}, false, []activationlock.HeldCode{{Kind: device}}},
		{"the device's, to be asked again", escrow.Record{Kind: device, State: escrow.Current}, true, []activationlock.HeldCode{{Kind: device, Doubtful: true}}},
		{"perhaps stale", escrow.Record{Kind: device, State: escrow.Current, StaleSince: at(1)}, false, []activationlock.HeldCode{{Kind: device, Doubtful: true}}},
		{"superseded", escrow.Record{Kind: device, State: escrow.Superseded}, false, []activationlock.HeldCode{{Kind: device, Doubtful: true}}},
		{"disputed", escrow.Record{Kind: device, State: escrow.Disputed}, false, []activationlock.HeldCode{{Kind: device, Doubtful: true}}},
		{"worked, of a lock that is gone", escrow.Record{Kind: device, State: escrow.Worked}, false, []activationlock.HeldCode{{Kind: device, Doubtful: true}}},
		{"void", escrow.Record{Kind: device, State: escrow.Void}, false, []activationlock.HeldCode{{Kind: device, Void: true, Doubtful: true}}},
		{"purged", escrow.Record{Kind: device, State: escrow.Purged}, false, nil},
		{"imported", escrow.Record{Kind: server, State: escrow.Current, Cause: escrow.CauseImport}, false, []activationlock.HeldCode{{Kind: server}}},
		{"the server's, never sent", escrow.Record{Kind: server, State: escrow.Current, Cause: escrow.CauseOrganizationLock}, false, []activationlock.HeldCode{{Kind: server, Doubtful: true}}},
		{"sent", escrow.Record{Kind: server, State: escrow.MaybeActive, Cause: escrow.CauseOrganizationLock, StateSince: at(1)}, false, []activationlock.HeldCode{{Kind: server}}},
		{"confirmed", escrow.Record{Kind: server, State: escrow.Current, Cause: escrow.CauseOrganizationLock, StateSince: at(1)}, true, []activationlock.HeldCode{{Kind: server}}},
	} {
		r := inventory.Record{CodeWanted: test.wanted}
		require.Equal(t, test.want, r.Situation([]escrow.Record{test.code}, at(9)).Codes, test.name)
	}
}

// While a person's lock is on, its code is one that came before it did, and was
// asked for again since.
func TestUnprovenCodes(t *testing.T) {
	t.Parallel()
	// That it is off is not believed of a device which did not see this lock.
	hidden := []activationlock.Evidence{
		said(activationlock.On, activationlock.SourceApple, 2), said(activationlock.Off, activationlock.SourceDevice, 3), said(activationlock.On, activationlock.SourceApple, 5),
	}
	for _, test := range []struct {
		name           string
		came, answered int
		evidence       []activationlock.Evidence
		doubtful       bool
	}{
		{"asked before and since", 1, 5, []activationlock.Evidence{said(activationlock.On, activationlock.SourceDevice, 3)}, false},
		{"at the same moment", 3, 3, []activationlock.Evidence{said(activationlock.On, activationlock.SourceDevice, 3)}, false},
		{"only since", 4, 5, []activationlock.Evidence{said(activationlock.On, activationlock.SourceDevice, 3)}, true},
		{"only before", 1, 2, []activationlock.Evidence{said(activationlock.On, activationlock.SourceDevice, 3)}, true},
		{"the lock is off", 4, 2, []activationlock.Evidence{said(activationlock.Off, activationlock.SourceDevice, 3)}, false},
		{
			"the lock is the organization's", 4, 2,
			[]activationlock.Evidence{{State: activationlock.On, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceApple, At: at(3)}}, false,
		},
		{"not asked since it was off, which was not believed, and on", 1, 4, hidden, true},
		{"asked since it was off, which was not believed, and on", 1, 5, hidden, false},
		{"off, which was not believed", 1, 2, hidden[:2], false},
	} {
		r := inventory.Record{
			Evidence:  test.evidence,
			Exchanges: map[string]inventory.Exchange{question: {AnsweredAt: at(test.answered)}},
		}
		codes := []escrow.Record{
			{Kind: bypasscode.Device, State: escrow.Current, FirstSeen: at(test.came)},
			{Kind: bypasscode.Server, State: escrow.Current, FirstSeen: at(test.came)},
		}
		require.Equal(t, []activationlock.HeldCode{
			{Kind: bypasscode.Device, Doubtful: test.doubtful}, {Kind: bypasscode.Server},
		}, r.Situation(codes, at(9)).Codes, test.name)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	device, server := escrow.Record{Kind: bypasscode.Device}, escrow.Record{Kind: bypasscode.Server}
	overdue := map[string]inventory.Exchange{question: inventory.Exchange{}.Ask("1", at(10), at(20))}
	answered := map[string]inventory.Exchange{question: inventory.Exchange{}.Ask("1", at(10), at(20)).Answered("1", inventory.NoCode, at(12), at(18))}
	for _, test := range []struct {
		name  string
		of    func(*inventory.Record)
		codes []escrow.Record
		want  activationlock.Status
	}{
		{"nothing is known", func(r *inventory.Record) { *r = inventory.Record{} }, nil, activationlock.Unknown},
		{"iOS 7.0", func(r *inventory.Record) { r.Facts.OSVersion = "7.0.4" }, []escrow.Record{device}, activationlock.NotApplicable},
		{"off", func(r *inventory.Record) { r.AddEvidence(said(activationlock.Off, activationlock.SourceDevice, 3)) }, []escrow.Record{device}, activationlock.NotEnabled},
		{"a device code", func(*inventory.Record) {}, []escrow.Record{device}, activationlock.EnabledWithBypassCode},
		{"a server code", func(*inventory.Record) {}, []escrow.Record{server}, activationlock.EnabledWithBypassCode},
		{"the wrong code", func(r *inventory.Record) {
			r.Evidence[1].Kind, r.Exchanges = activationlock.UserLinked, answered
		}, []escrow.Record{server}, activationlock.EnabledWithoutBypassCodeNotProvided},
		{"unsupervised", func(r *inventory.Record) { r.Facts.Supervised, r.Exchanges = new(false), overdue }, nil, activationlock.EnabledWithoutBypassCodeNotSupervised},
		{"overdue", func(r *inventory.Record) { r.Exchanges = overdue }, nil, activationlock.EnabledWithoutBypassCodeUnreachable},
		{"answered", func(r *inventory.Record) { r.Exchanges = answered }, nil, activationlock.EnabledWithoutBypassCodeNotProvided},
		{"not asked", func(*inventory.Record) {}, nil, activationlock.Unknown},
	} {
		r := locked()
		test.of(&r)
		require.Equal(t, test.want, r.Status(test.codes, at(100)), test.name)
		require.Equal(t, activationlock.StatusOf(r.Situation(test.codes, at(100))), r.Status(test.codes, at(100)))
	}
}

// What an error meant is no longer true once the device answered again.
func TestAnsweredForgetsTheError(t *testing.T) {
	t.Parallel()
	x := inventory.Exchange{}.Ask("1", at(1), at(2)).Ask("2", at(1), at(2)).Answered("1", inventory.Refused, at(2), at(3))
	x.Error = mdmcmd.ErrorNotSupervised
	require.Equal(t, mdmcmd.ErrorNotSupervised, x.Answered("1", inventory.Done, at(3), at(4)).Error, "the same answer again is none")
	require.Equal(t, mdmcmd.ErrorNotSupervised, x.Ask("3", at(3), at(4)).Error)
	require.Equal(t, mdmcmd.ErrorNone, x.Answered("2", inventory.Done, at(3), at(4)).Error)
}
