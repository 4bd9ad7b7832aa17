package audit_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

const length = 6 // entries of the chain that is tampered with

// keyed is both columns of the table in the package's documentation.
var keyed = map[string]bool{"without a key": false, "with a key": true}

// chainOf returns a chain, its log and its key.
func chainOf(t *testing.T, withKey bool) (*table, *audit.Log, []byte) {
	t.Helper()
	var key audit.Key
	var raw []byte
	if withKey {
		key, raw = testKey(t, 1), keyBytes(1)
	}
	s := &table{}
	log := newLog(t, s, key)
	for i := range length {
		_, err := log.Append(t.Context(), event(i))
		require.NoError(t, err)
	}
	return s, log, raw
}

const never = length + 1

// finding is what Verify says: without a head, or with one of an entry before
// From, that all is well (Number 0) or broken at Number; with a head of From or
// a later entry, that it is broken at With.
type finding struct {
	number  int64
	problem string
	from    int
	with    func(kept int64) int64
	text    string
	// sooner: a head of the entry before Number finds it there.
	sooner bool
}

func always(number int64, problem string) finding {
	return finding{number: number, problem: problem, from: never}
}

func orSooner(number int64, problem string) finding {
	return finding{number: number, problem: problem, from: never, sooner: true}
}

func byHead(from int, text string, with func(int64) int64) finding {
	return finding{from: from, with: with, text: text}
}

func notFound() finding { return finding{from: never} }

func itself(kept int64) int64 { return kept }

func at(number int64) func(int64) int64 { return func(int64) int64 { return number } }

// Each cell of the table in the package's documentation, with each head that can
// have been kept. Whoever tampers makes digests without a key, unless they have
// it.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper             func(t *testing.T, log *audit.Log, s *table)
		unkeyed, withAKey  finding
		keyInTheWrongHands bool
	}{
		"changed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows[2].Actor = "bert" },
			unkeyed: always(3, wrong), withAKey: always(3, wrong),
		},
		"changed, its own digest made anew": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[2].Actor = "bert"
				s.rows[2].Digest = digestOf(nil, s.rows[1].Digest, 3, s.rows[2].Event)
			},
			unkeyed: orSooner(4, wrong), withAKey: always(3, wrong),
		},
		"the last one changed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows[5].Reason = "none" },
			unkeyed: always(6, wrong), withAKey: always(6, wrong),
		},
		"doubled": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows = slices.Insert(s.rows, 3, s.rows[2]) },
			unkeyed: always(3, disorder), withAKey: always(3, disorder),
		},
		"doubled at the end": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = append(s.rows, s.rows[5])
				s.rows[6].Number = 7
			},
			unkeyed: always(7, wrong), withAKey: always(7, wrong),
		},
		"inserted, the others renumbered": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = slices.Insert(s.rows, 3, audit.Entry{Event: event(20)})
				for i := range s.rows {
					s.rows[i].Number = int64(i) + 1
				}
				s.rows[3].Digest = digestOf(nil, s.rows[2].Digest, 4, s.rows[3].Event)
			},
			unkeyed: orSooner(5, wrong), withAKey: always(4, wrong),
		},
		"inserted before the first": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = slices.Insert(s.rows, 0, audit.Entry{Event: event(20)})
			},
			unkeyed: always(0, belowOne), withAKey: always(0, belowOne),
		},
		"inserted far before the first": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = slices.Insert(s.rows, 0, audit.Entry{Number: math.MinInt64 + 1, Event: event(20)})
			},
			unkeyed: always(math.MinInt64+1, belowOne), withAKey: always(math.MinInt64+1, belowOne),
		},
		"inserted after a gap": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = append(s.rows, audit.Entry{Number: math.MaxInt64, Event: event(20)})
			},
			unkeyed: always(7, missing), withAKey: always(7, missing),
		},
		"removed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows = slices.Delete(s.rows, 2, 3) },
			unkeyed: always(3, missing), withAKey: always(3, missing),
		},
		"the first removed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows = s.rows[1:] },
			unkeyed: always(1, missing), withAKey: always(1, missing),
		},
		"removed, the others renumbered": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = slices.Delete(s.rows, 2, 3)
				for i := range s.rows {
					s.rows[i].Number = int64(i) + 1
				}
			},
			unkeyed: always(3, wrong), withAKey: always(3, wrong),
		},
		"swapped as they lie": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows[2], s.rows[3] = s.rows[3], s.rows[2] },
			unkeyed: always(3, missing), withAKey: always(3, missing),
		},
		"swapped with their numbers": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[2], s.rows[3] = s.rows[3], s.rows[2]
				s.rows[2].Number, s.rows[3].Number = 3, 4
			},
			unkeyed: always(3, wrong), withAKey: always(3, wrong),
		},
		"swapped under their digests": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[2].Event, s.rows[3].Event = s.rows[3].Event, s.rows[2].Event
			},
			unkeyed: always(3, wrong), withAKey: always(3, wrong),
		},
		"the last two removed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows = s.rows[:4] },
			unkeyed: byHead(5, cut, at(5)), withAKey: byHead(5, cut, at(5)),
		},
		"all removed": {
			tamper:  func(_ *testing.T, _ *audit.Log, s *table) { s.rows = nil },
			unkeyed: byHead(1, cut, at(1)), withAKey: byHead(1, cut, at(1)),
		},
		"the last two removed, others appended since": {
			tamper: func(t *testing.T, log *audit.Log, s *table) {
				s.rows = s.rows[:4]
				_, err := log.Append(t.Context(), event(20), event(21), event(22))
				require.NoError(t, err)
			},
			unkeyed: byHead(5, otherHead, itself), withAKey: byHead(5, otherHead, itself),
		},
		"all removed, others appended since": {
			tamper: func(t *testing.T, log *audit.Log, s *table) {
				s.rows = nil
				for i := range length {
					_, err := log.Append(t.Context(), event(20+i))
					require.NoError(t, err)
				}
			},
			unkeyed: byHead(1, otherHead, itself), withAKey: byHead(1, otherHead, itself),
		},
		"made anew from the third": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[2].Actor = "bert"
				anew(nil, s.rows, 2)
			},
			unkeyed: byHead(3, otherHead, itself), withAKey: always(3, wrong),
		},
		"the last one made anew": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[5].Actor = "bert"
				anew(nil, s.rows, 5)
			},
			unkeyed: byHead(6, otherHead, itself), withAKey: always(6, wrong),
		},
		"one removed, and made anew": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = slices.Delete(s.rows, 4, 5)
				s.rows[4].Number = 5
				anew(nil, s.rows, 4)
			},
			unkeyed: byHead(5, otherHead, itself), withAKey: always(5, wrong),
		},
		"added at the end": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = append(s.rows, audit.Entry{Number: 7, Event: event(20)})
				anew(nil, s.rows, 6)
			},
			unkeyed: notFound(), withAKey: always(7, wrong),
		},
		"another chain in its place": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				for i := range s.rows {
					s.rows[i].Event = event(20 + i)
				}
				anew(nil, s.rows, 0)
			},
			unkeyed: byHead(1, otherHead, itself), withAKey: always(1, wrong),
		},
		"made anew from the third, with the key": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[2].Actor = "bert"
				anew(keyBytes(1), s.rows, 2)
			},
			keyInTheWrongHands: true,
			withAKey:           byHead(3, otherHead, itself),
		},
		"the last one made anew, with the key": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows[5].Actor = "bert"
				anew(keyBytes(1), s.rows, 5)
			},
			keyInTheWrongHands: true,
			withAKey:           byHead(6, otherHead, itself),
		},
		"added at the end, with the key": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				s.rows = append(s.rows, audit.Entry{Number: 7, Event: event(20)})
				anew(keyBytes(1), s.rows, 6)
			},
			keyInTheWrongHands: true,
			withAKey:           notFound(),
		},
		"another chain of the same key in its place": {
			tamper: func(_ *testing.T, _ *audit.Log, s *table) {
				for i := range s.rows {
					s.rows[i].Event = event(20 + i)
				}
				anew(keyBytes(1), s.rows, 0)
			},
			keyInTheWrongHands: true,
			withAKey:           byHead(1, otherHead, itself),
		},
	} {
		for column, withKey := range keyed {
			if c.keyInTheWrongHands && !withKey {
				continue
			}
			t.Run(name+"/"+column, func(t *testing.T) {
				t.Parallel()
				s, log, _ := chainOf(t, withKey)
				honest := slices.Clone(s.rows)
				c.tamper(t, log, s)
				want := c.unkeyed
				if withKey {
					want = c.withAKey
				}
				for kept := range length + 1 {
					head, err := log.Verify(t.Context(), headOf(honest, kept))
					number, problem := want.number, want.problem
					if kept >= want.from {
						number, problem = want.with(int64(kept)), want.text
						if number > int64(len(s.rows)) {
							number, problem = int64(len(s.rows))+1, cut
						}
					}
					if want.sooner && int64(kept) == number-1 {
						number, problem = int64(kept), otherHead
					}
					if problem == "" {
						require.NoError(t, err, "head %d", kept)
						require.Equal(t, headOf(s.rows, len(s.rows)), head)
						continue
					}
					requireBroken(t, err, number, problem)
					require.Zero(t, head)
				}
			})
		}
	}
}

// Every field of every row is bound by its digest.
func TestEachFieldIsBound(t *testing.T) {
	t.Parallel()
	changes := map[string]struct {
		change  func(e *audit.Entry)
		problem string
	}{
		"act":           {func(e *audit.Entry) { e.Act = "looked" }, wrong},
		"later":         {func(e *audit.Entry) { e.At = e.At.Add(time.Microsecond) }, wrong},
		"earlier":       {func(e *audit.Entry) { e.At = e.At.Add(-time.Microsecond) }, wrong},
		"nanosecond":    {func(e *audit.Entry) { e.At = e.At.Add(time.Nanosecond) }, foreign},
		"zero time":     {func(e *audit.Entry) { e.At = time.Time{} }, foreign},
		"year 10000":    {func(e *audit.Entry) { e.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, foreign},
		"year 0":        {func(e *audit.Entry) { e.At = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) }, foreign},
		"same int64":    {func(e *audit.Entry) { e.At = aroundTheClock(e.At) }, foreign},
		"actor":         {func(e *audit.Entry) { e.Actor += " " }, wrong},
		"reason":        {func(e *audit.Entry) { e.Reason = strings.ToUpper(e.Reason) }, wrong},
		"serial":        {func(e *audit.Entry) { e.SerialNumber = "" }, wrong},
		"enrollment":    {func(e *audit.Entry) { e.EnrollmentID = "" }, wrong},
		"record":        {func(e *audit.Entry) { e.RecordID = "record-z" }, wrong},
		"detail":        {func(e *audit.Entry) { e.Detail = "" }, wrong},
		"digest":        {func(e *audit.Entry) { e.Digest[31] ^= 1 }, wrong},
		"no digest":     {func(e *audit.Entry) { e.Digest = audit.Digest{} }, wrong},
		"no act":        {func(e *audit.Entry) { e.Act = "" }, foreign},
		"no actor":      {func(e *audit.Entry) { e.Actor = "" }, foreign},
		"no reason":     {func(e *audit.Entry) { e.Reason = "" }, foreign},
		"nul":           {func(e *audit.Entry) { e.Detail = "a\x00b" }, foreign},
		"not utf-8":     {func(e *audit.Entry) { e.Detail = "\xff" }, foreign},
		"too long":      {func(e *audit.Entry) { e.Detail = strings.Repeat("x", audit.MaxText+1) }, foreign},
		"same 16 bits":  {func(e *audit.Entry) { e.Detail += strings.Repeat("x", 1<<16) }, foreign},
		"to the left":   {func(e *audit.Entry) { e.Actor, e.Reason = e.Actor+e.Reason[:1], e.Reason[1:] }, wrong},
		"to the right":  {func(e *audit.Entry) { e.RecordID, e.Detail = "", e.RecordID+e.Detail }, wrong},
		"actor, reason": {func(e *audit.Entry) { e.Actor, e.Reason = e.Reason, e.Actor }, wrong},
		"identifiers":   {func(e *audit.Entry) { e.SerialNumber, e.EnrollmentID = e.EnrollmentID, e.SerialNumber }, wrong},
	}
	for column, withKey := range keyed {
		for name, c := range changes {
			t.Run(name+"/"+column, func(t *testing.T) {
				t.Parallel()
				honest, log, raw := chainOf(t, withKey)
				for i := range honest.rows {
					s := honest.copy()
					c.change(&s.rows[i])
					_, err := newLog(t, s, logKey(t, withKey)).Verify(t.Context(), audit.Head{})
					requireBroken(t, err, int64(i)+1, c.problem)
					if c.problem == foreign { // a digest does not make it better
						anew(raw, s.rows, i)
						_, err := newLog(t, s, logKey(t, withKey)).Verify(t.Context(), audit.Head{})
						requireBroken(t, err, int64(i)+1, c.problem)
					}
				}
				_, err := log.Verify(t.Context(), headOf(honest.rows, length))
				require.NoError(t, err)
			})
		}
	}
}

func logKey(t *testing.T, withKey bool) audit.Key {
	if !withKey {
		return audit.Key{}
	}
	return testKey(t, 1)
}

// aroundTheClock is another time with the same int64 of microseconds.
func aroundTheClock(t time.Time) time.Time {
	return time.Unix(t.Unix()+18446744073709, int64(t.Nanosecond())+551616000).UTC()
}

func TestAroundTheClock(t *testing.T) {
	t.Parallel()
	require.Equal(t, start.UnixMicro(), aroundTheClock(start).UnixMicro())
	require.False(t, start.Equal(aroundTheClock(start)))
}

// What a store returns in another time zone is the same time, and shown in UTC.
func TestTimeZonesAreNoChange(t *testing.T) {
	t.Parallel()
	s, log, _ := chainOf(t, true)
	for i := range s.rows {
		s.rows[i].At = s.rows[i].At.In(time.FixedZone("", 3600))
	}
	_, err := log.Verify(t.Context(), audit.Head{})
	require.NoError(t, err)
	for e, err := range log.Entries(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, event(int(e.Number-1)), e.Event)
	}
	_, err = newLog(t, s, testKey(t, 1)).Append(t.Context(), event(0))
	require.NoError(t, err)
}

func TestWrongKeys(t *testing.T) {
	t.Parallel()
	zeros, err := audit.NewKey(make([]byte, audit.KeySize))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		withKey bool
		key     audit.Key
	}{
		"another key":     {true, testKey(t, 2)},
		"the key is gone": {true, audit.Key{}},
		"a key added":     {false, testKey(t, 1)},
		"a key of zeros":  {false, zeros},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, log, _ := chainOf(t, c.withKey)
			honest := slices.Clone(s.rows)
			other := newLog(t, s, c.key)
			for range 2 { // and it does not get better
				_, err := other.Append(t.Context(), event(20))
				requireBroken(t, err, 1, wrong)
			}
			_, err := other.Verify(t.Context(), audit.Head{})
			requireBroken(t, err, 1, wrong)
			require.Equal(t, honest, s.rows)
			_, err = log.Append(t.Context(), event(20))
			require.NoError(t, err)
			_, err = log.Verify(t.Context(), headOf(s.rows, 7))
			require.NoError(t, err)

			// If it was appended all the same, the chain is broken there.
			s.rows = append(s.rows, audit.Entry{Number: 8, Event: event(21), Digest: digestOf(keyBytes(9), s.rows[6].Digest, 8, event(21))})
			_, err = log.Verify(t.Context(), audit.Head{})
			requireBroken(t, err, 8, wrong)
		})
	}
}

// Two logs that begin an empty chain with different keys: the second append
// shows it.
func TestKeysThatDifferFromTheStart(t *testing.T) {
	t.Parallel()
	s := &table{}
	one, two := newLog(t, s, testKey(t, 1)), newLog(t, s, audit.Key{})
	head, err := two.Append(t.Context())
	require.NoError(t, err)
	require.Zero(t, head)
	_, err = one.Append(t.Context(), event(0))
	require.NoError(t, err)
	_, err = two.Append(t.Context(), event(1))
	requireBroken(t, err, 1, wrong)
	require.Len(t, s.rows, 1)
}

// Append looks at the first entry, and at the number of the last.
func TestAppendToABrokenChain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows    func(rows []audit.Entry) []audit.Entry
		number  int64
		problem string
	}{
		"the first changed": {func(rows []audit.Entry) []audit.Entry { rows[0].Actor = "bert"; return rows }, 1, wrong},
		"the first gone":    {func(rows []audit.Entry) []audit.Entry { return rows[1:] }, 1, missing},
		"number 0": {func(rows []audit.Entry) []audit.Entry {
			return append([]audit.Entry{{Event: event(0)}}, rows...)
		}, 0, belowOne},
		"only number 0": {func([]audit.Entry) []audit.Entry { return []audit.Entry{{Digest: audit.Digest{1}, Event: event(0)}} }, 0, belowOne},
		"the greatest number": {func(rows []audit.Entry) []audit.Entry {
			rows[5].Number = math.MaxInt64
			return rows
		}, math.MaxInt64, noneFollow},
		"the one before the greatest": {func(rows []audit.Entry) []audit.Entry {
			rows[5].Number = math.MaxInt64 - 1
			return rows
		}, math.MaxInt64 - 1, noneFollow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, _ := chainOf(t, true)
			s.rows = c.rows(s.rows)
			before := slices.Clone(s.rows)
			log, err := audit.New(audit.Config{Store: s, Key: testKey(t, 1), OnHead: func(context.Context, audit.Head) { t.Error("no head") }})
			require.NoError(t, err)
			head, err := log.Append(t.Context(), event(20), event(21))
			requireBroken(t, err, c.number, c.problem)
			require.EqualError(t, err, fmt.Sprintf("audit: the chain is broken at entry %d: %s", c.number, c.problem))
			require.Zero(t, head)
			require.Equal(t, before, s.rows)
		})
	}
	// A log that has seen the first entry looks at the last one only.
	for _, last := range []audit.Entry{{Digest: audit.Digest{1}}, {Number: -1}, {Number: math.MinInt64}} {
		s, log, _ := chainOf(t, false)
		_, err := log.Append(t.Context(), event(20))
		require.NoError(t, err)
		s.rows = []audit.Entry{last}
		_, err = log.Append(t.Context(), event(21))
		requireBroken(t, err, last.Number, noneFollow)
	}
	// The last number that there is.
	s, log, _ := chainOf(t, false)
	_, err := log.Append(t.Context(), event(20))
	require.NoError(t, err)
	s.rows[6].Number = math.MaxInt64 - 1
	head, err := log.Append(t.Context(), event(21))
	require.NoError(t, err)
	require.EqualValues(t, math.MaxInt64, head.Number)
}

func TestHeadsOfOtherChains(t *testing.T) {
	t.Parallel()
	for _, withKey := range keyed {
		s, log, _ := chainOf(t, withKey)
		honest := headOf(s.rows, 3)
		for _, kept := range []audit.Head{{Number: 3}, {Number: 3, Digest: audit.Digest{1}}, {Number: 3, Digest: s.rows[3].Digest}} {
			_, err := log.Verify(t.Context(), kept)
			requireBroken(t, err, 3, otherHead)
		}
		_, err := log.Verify(t.Context(), audit.Head{Number: 7, Digest: honest.Digest})
		requireBroken(t, err, 7, cut)
		_, err = log.Verify(t.Context(), audit.Head{Number: math.MaxInt64, Digest: honest.Digest})
		requireBroken(t, err, 7, cut)
		for _, none := range []audit.Head{{Digest: honest.Digest}, {Number: -3}, {Number: -3, Digest: honest.Digest}, {Number: math.MinInt64}} {
			head, err := log.Verify(t.Context(), none)
			require.EqualError(t, err, "audit: a head is a number, a colon and 64 lower-case hexadecimal digits")
			require.Zero(t, head)
		}
	}
}
