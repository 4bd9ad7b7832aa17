package audit_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

func TestNewChecks(t *testing.T) {
	t.Parallel()
	_, err := audit.New(audit.Config{})
	require.EqualError(t, err, "audit: Config.Store is required")
	for _, size := range []int{0, 1, 16, 31, 33, 64} {
		key, err := audit.NewKey(make([]byte, size))
		require.EqualError(t, err, "audit: a key has 32 bytes")
		require.Empty(t, key)
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	for _, withKey := range keyed {
		s, raw := &table{}, []byte(nil)
		if withKey {
			raw = keyBytes(1)
		}
		var told []audit.Head
		log, err := audit.New(audit.Config{Store: s, Key: logKey(t, withKey), OnHead: func(_ context.Context, h audit.Head) { told = append(told, h) }})
		require.NoError(t, err)

		head, err := log.Append(t.Context())
		require.NoError(t, err)
		require.Zero(t, head)

		one, err := log.Append(t.Context(), event(0))
		require.NoError(t, err)
		first := digestOf(raw, audit.Digest{}, 1, event(0))
		require.Equal(t, audit.Head{Number: 1, Digest: first}, one)

		events := []audit.Event{event(1), event(2), event(3)}
		many, err := log.Append(t.Context(), events...)
		require.NoError(t, err)
		require.Equal(t, []audit.Event{event(1), event(2), event(3)}, events)
		require.EqualValues(t, 4, many.Number)

		head, err = log.Append(t.Context())
		require.NoError(t, err)
		require.Equal(t, many, head)
		require.Equal(t, []audit.Head{one, many}, told)

		previous := audit.Digest{}
		for i, row := range s.rows {
			require.Equal(t, digestOf(raw, previous, int64(i)+1, event(i)), row.Digest)
			require.Equal(t, audit.Entry{Number: int64(i) + 1, Event: event(i), Digest: row.Digest}, row)
			previous = row.Digest
		}
		require.Len(t, s.rows, 4)
		head, err = log.Verify(t.Context(), one)
		require.NoError(t, err)
		require.Equal(t, many, head)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 127) + "x" // 255 bytes
	fields := map[string]struct {
		set      func(*audit.Event, string)
		required bool
	}{
		"act":        {func(e *audit.Event, s string) { e.Act = audit.Act(s) }, true},
		"actor":      {func(e *audit.Event, s string) { e.Actor = s }, true},
		"reason":     {func(e *audit.Event, s string) { e.Reason = s }, true},
		"serial":     {func(e *audit.Event, s string) { e.SerialNumber = s }, false},
		"enrollment": {func(e *audit.Event, s string) { e.EnrollmentID = s }, false},
		"record":     {func(e *audit.Event, s string) { e.RecordID = s }, false},
		"detail":     {func(e *audit.Event, s string) { e.Detail = s }, false},
	}
	s := &table{}
	log := newLog(t, s, audit.Key{})
	refused := func(e audit.Event, how string) {
		t.Helper()
		before := len(s.rows)
		head, err := log.Append(t.Context(), event(0), e)
		require.EqualError(t, err, "audit: an event needs act, time, actor and reason, of the years 1 to 9999 and in at most 255 bytes of UTF-8 each", how)
		require.Zero(t, head)
		require.Len(t, s.rows, before)
	}
	for name, f := range fields {
		for _, bad := range []string{long + "y", "a\x00b", "\x00", "\xff", "a\xc3", strings.Repeat("x", 1<<16+1)} {
			e := event(1)
			f.set(&e, bad)
			refused(e, name)
		}
		e := event(1)
		f.set(&e, "")
		if f.required {
			refused(e, name)
			continue
		}
		_, err := log.Append(t.Context(), e)
		require.NoError(t, err)
	}
	for name, f := range fields {
		for _, good := range []string{long, "x", "\n", "\uFFFD", "=1+1"} {
			e := event(1)
			f.set(&e, good)
			_, err := log.Append(t.Context(), e)
			require.NoError(t, err, name)
			require.Equal(t, e, s.rows[len(s.rows)-1].Event)
		}
	}
	for _, bad := range []time.Time{
		{}, time.Time{}.Add(999), time.Time{}.Add(-1), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600)), // 10000 in UTC
		aroundTheClock(start), time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0), time.Date(0, 6, 1, 0, 0, 0, 0, time.UTC),
	} {
		e := event(1)
		e.At = bad
		refused(e, bad.String())
	}
	for _, good := range []time.Time{
		time.Time{}.Add(time.Microsecond), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)), // 9999 in UTC
		time.Unix(0, 0), time.Date(1969, 1, 1, 0, 0, 0, 1999, time.FixedZone("", 7200)), time.Now(),
	} {
		e := event(1)
		e.At = good
		_, err := log.Append(t.Context(), e)
		require.NoError(t, err, good)
		require.Equal(t, time.UnixMicro(good.UnixMicro()).UTC(), s.rows[len(s.rows)-1].At)
	}
	_, err := log.Verify(t.Context(), audit.Head{})
	require.NoError(t, err)
}

func TestAppendFails(t *testing.T) {
	t.Parallel()
	s := &table{}
	var told []audit.Head
	log, err := audit.New(audit.Config{Store: s, OnHead: func(_ context.Context, h audit.Head) { told = append(told, h) }})
	require.NoError(t, err)
	fails := func(ctx context.Context, want error, text string) {
		t.Helper()
		head, err := log.Append(ctx, event(0), event(1))
		require.ErrorIs(t, err, want)
		require.EqualError(t, err, text)
		require.Zero(t, head)
		require.Empty(t, told)
	}
	s.failScan = true
	fails(t.Context(), errStore, "audit: scan: the store is down")
	s.failScan = false
	s.failBefore = true
	fails(t.Context(), errStore, "audit: append: the store is down")
	require.Empty(t, s.rows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails(ctx, context.Canceled, "audit: scan: context canceled")

	s.failAfter = true // the entries are there all the same
	fails(t.Context(), errStore, "audit: append: the store is down")
	require.Len(t, s.rows, 2)

	s.retry = true
	head, err := log.Append(t.Context(), event(2), event(3))
	require.NoError(t, err)
	require.Equal(t, headOf(s.rows, 4), head)
	require.Equal(t, []audit.Head{head}, told)
	verified, err := log.Verify(t.Context(), head)
	require.NoError(t, err)
	require.Equal(t, head, verified)

	// Now the context is the store's affair alone, and is the one of the call.
	head, err = log.Append(ctx, event(4))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, head)
	_, err = log.Verify(ctx, head)
	require.ErrorIs(t, err, context.Canceled)
}

func TestOnHeadHasTheContextAndComesFirst(t *testing.T) {
	t.Parallel()
	type key struct{}
	s := &table{}
	var told int64
	log, err := audit.New(audit.Config{Store: s, OnHead: func(ctx context.Context, h audit.Head) {
		require.Equal(t, "here", ctx.Value(key{}))
		require.Len(t, s.rows, int(h.Number)) // it is written
		told = h.Number
	}})
	require.NoError(t, err)
	for i := range 3 {
		head, err := log.Append(context.WithValue(t.Context(), key{}, "here"), event(i))
		require.NoError(t, err)
		require.Equal(t, head.Number, told)
	}
}

// The first entry is compared with the key once, not at each append.
func TestTheFirstEntryIsReadOnce(t *testing.T) {
	t.Parallel()
	s := &table{}
	log := newLog(t, s, audit.Key{})
	for i := range 10 {
		_, err := log.Append(t.Context(), event(i))
		require.NoError(t, err)
	}
	require.Equal(t, []int{1, 1}, s.asked)
}

func TestManyPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 511, 512, 513, 1024, 1537} {
		for _, pages := range []int{0, 100} {
			s := &table{pages: pages}
			log := newLog(t, s, testKey(t, 1))
			var events []audit.Event
			for i := range n {
				events = append(events, event(i))
			}
			want, err := log.Append(t.Context(), events...)
			require.NoError(t, err)
			require.EqualValues(t, n, want.Number)
			for _, kept := range []int{0, n / 2, n} {
				head, err := log.Verify(t.Context(), headOf(s.rows, kept))
				require.NoError(t, err)
				require.Equal(t, want, head)
			}
			var got []audit.Entry
			s.asked = nil
			for e, err := range log.Entries(t.Context()) {
				require.NoError(t, err)
				got = append(got, e)
			}
			require.Equal(t, s.rows, got)
			if pages == 0 {
				require.Equal(t, slices.Repeat([]int{512}, (n+511)/512+1), s.asked)
			}
			if n > 2 {
				s.rows[n-1].Detail = ""
				_, err = log.Verify(t.Context(), audit.Head{})
				requireBroken(t, err, int64(n), wrong)
			}
		}
	}
}

// A store that breaks its promises breaks the chain, and no walk is endless.
func TestStoresThatBreakTheirPromises(t *testing.T) {
	t.Parallel()
	s, log, _ := chainOf(t, false)
	s.stuck = true // the same page for ever
	_, err := log.Verify(t.Context(), audit.Head{})
	requireBroken(t, err, 1, disorder)
	s.stuck, s.pages, s.ignore = false, 2, 2 // more than the limit
	_, err = log.Verify(t.Context(), headOf(s.rows, 6))
	require.NoError(t, err)
	_, err = newLog(t, s, audit.Key{}).Append(t.Context(), event(6))
	require.NoError(t, err)

	slices.Reverse(s.rows)
	_, err = log.Verify(t.Context(), audit.Head{})
	requireBroken(t, err, 1, missing)
	var seen []int64
	for e, err := range log.Entries(t.Context()) {
		if err != nil {
			requireBroken(t, err, 6, disorder)
			require.Zero(t, e)
			break
		}
		seen = append(seen, e.Number)
	}
	require.Equal(t, []int64{7}, seen)

	s.failScan = true
	_, err = log.Verify(t.Context(), audit.Head{})
	require.ErrorIs(t, err, errStore)
	require.EqualError(t, err, "audit: scan: the store is down")
}

// Entries shows what is there, broken or not, and stops when it is told to.
func TestEntriesAreNotVerified(t *testing.T) {
	t.Parallel()
	s, log, _ := chainOf(t, true)
	s.rows[1].Actor = "bert"
	s.rows[4].Number = 90
	s.rows[5].Number = 91
	s.rows = slices.Insert(s.rows, 0, audit.Entry{Number: -4, Event: event(9)})
	var got []audit.Entry
	for e, err := range log.Entries(t.Context()) {
		require.NoError(t, err)
		got = append(got, e)
	}
	require.Equal(t, s.rows, got)
	for e, err := range log.Entries(t.Context()) {
		require.NoError(t, err)
		require.EqualValues(t, -4, e.Number)
		break
	}
	s.failScan = true
	errs := 0
	for e, err := range log.Entries(t.Context()) {
		require.ErrorIs(t, err, errStore)
		require.Zero(t, e)
		errs++
	}
	require.Equal(t, 1, errs)
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 20
	s := &table{}
	var mu sync.Mutex
	told := map[int64]audit.Head{}
	onHead := func(_ context.Context, h audit.Head) {
		mu.Lock()
		defer mu.Unlock()
		told[h.Number] = h
	}
	var logs []*audit.Log // two servers
	for range 2 {
		log, err := audit.New(audit.Config{Store: s, Key: testKey(t, 1), OnHead: onHead})
		require.NoError(t, err)
		logs = append(logs, log)
	}
	var wg sync.WaitGroup
	errs := make(chan error, writers*each*2)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := logs[w%2].Append(t.Context(), event(w), event(i))
				errs <- err
				if i%5 == 0 {
					_, err := logs[i%2].Verify(t.Context(), audit.Head{})
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, s.rows, writers*each*2)
	require.Len(t, told, writers*each) // batches stay together
	for _, head := range told {
		require.Zero(t, head.Number%2)
		require.Equal(t, headOf(s.rows, int(head.Number)), head)
		_, err := logs[0].Verify(t.Context(), head)
		require.NoError(t, err)
	}
}

func TestNewKeyKeepsACopy(t *testing.T) {
	t.Parallel()
	raw := keyBytes(1)
	key, err := audit.NewKey(raw)
	require.NoError(t, err)
	clear(raw)
	s := &table{}
	head, err := newLog(t, s, key).Append(t.Context(), event(0))
	require.NoError(t, err)
	require.Equal(t, digestOf(keyBytes(1), audit.Digest{}, 1, event(0)), head.Digest)
}

// No error says what is in an entry, a head or a key.
func TestErrorsDoNotQuote(t *testing.T) {
	t.Parallel()
	const bait = "bait-2f7c"
	e := event(0)
	e.Actor, e.Reason, e.Detail = bait, bait, bait+"\x00"
	s, log, _ := chainOf(t, false)
	_, appended := log.Append(t.Context(), e)
	_, parsed := audit.ParseHead(bait + ":" + strings.Repeat("0", 64))
	_, key := audit.NewKey([]byte(bait))
	s.rows[3].Event = e
	_, verified := log.Verify(t.Context(), audit.Head{})
	e.Detail = bait
	s.rows[3].Event = e
	_, changed := log.Verify(t.Context(), audit.Head{})
	for i, err := range []error{appended, parsed, key, verified, changed} {
		require.Error(t, err, i)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), bait)
	}
}
