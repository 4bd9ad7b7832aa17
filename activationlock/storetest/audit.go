package storetest

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
)

// Audit tests a store of an audit against the promises of [audit.Store], each in
// a subtest with an empty storage. Fresh, clock and open are those of [Escrow].
func Audit(t *testing.T, fresh func(t *testing.T, clock func() time.Time) (open func(t *testing.T) audit.Store)) {
	for _, c := range []struct {
		name string
		test func(chain)
	}{
		{"None", chain.none},
		{"NewEntry", chain.newEntry},
		{"Digests", chain.digests},
		{"Limits", chain.limits},
		{"Strings", chain.strings},
		{"Numbers", chain.numbers},
		{"Times", chain.times},
		{"ManyEntries", chain.manyEntries},
		{"Scan", chain.scan},
		{"Reopen", chain.reopen},
		{"Memory", chain.memory},
		{"NextFails", chain.nextFails},
		{"NextPanics", chain.nextPanics},
		{"NumberIsThere", chain.numberIsThere},
		{"ContextIsOver", chain.contextIsOver},
		{"ContextEndsInNext", chain.contextEndsInNext},
		{"Writers", chain.writers},
		{"HalfAnAppend", chain.halfAnAppend},
		{"Log", chain.log},
	} {
		run(t, c.name, fresh, func(f fixture[audit.Store]) {
			k := chain{f}
			k.wants("fresh makes an empty storage", k.all(f.store, 10))
			c.test(k)
		})
	}
}

// chain is a case on a store of an audit.
type chain struct{ fixture[audit.Store] }

// next is what Append calls.
type next = func(last audit.Entry) ([]audit.Entry, error)

func appending(entries ...audit.Entry) next {
	return func(audit.Entry) ([]audit.Entry, error) { return entries, nil }
}

// row returns an entry with something in every field.
func (k chain) row(number int64) audit.Entry {
	k.Helper()
	return row(k.T, number, int(number))
}

// row returns an entry with the nth value in every field but its number.
func row(t *testing.T, number int64, n int) audit.Entry {
	t.Helper()
	var e audit.Entry
	for _, f := range fieldsOf(&e) {
		if !f.identifies() {
			f.fill(t, n)
		}
	}
	e.Number = number
	return e
}

func (k chain) rows(from, to int64) (entries []audit.Entry) {
	k.Helper()
	for n := from; n <= to; n++ {
		entries = append(entries, k.row(n))
	}
	return entries
}

// needed are the fields of an entry that a log never leaves empty.
var needed = map[string]bool{"Number": true, "Act": true, "At": true, "Actor": true, "Reason": true}

// setTexts gives all strings of an entry the same value.
func setTexts(e *audit.Entry, s string) {
	for _, f := range fieldsOf(e) {
		if f.value.Kind() == reflect.String {
			f.value.SetString(s)
		}
	}
}

func numbers(entries []audit.Entry) (numbers []string) {
	for _, e := range entries {
		numbers = append(numbers, strconv.FormatInt(e.Number, 10))
	}
	return numbers
}

// write appends entries, all at once.
func (k chain) write(s audit.Store, entries ...audit.Entry) {
	k.Helper()
	k.noError("Append", s.Append(k.ctx, appending(copied(entries)...)))
}

// page returns a page of all entries.
func (k chain) page(s audit.Store, after int64, limit int) []audit.Entry {
	k.Helper()
	page, err := s.Scan(k.ctx, after, limit)
	k.noError("Scan", err)
	if len(page) > limit {
		k.Fatalf("Scan returns no more entries than the limit: there are %d, and the limit is %d", len(page), limit)
	}
	for _, e := range page {
		if e.Number <= after {
			k.Fatalf("Scan returns entries in the order of their numbers, those greater than after: %d came after %d", e.Number, after)
		}
		after = e.Number
	}
	return page
}

// all walks through the store in pages.
func (k chain) all(s audit.Store, limit int) (entries []audit.Entry) {
	k.Helper()
	after := int64(math.MinInt64)
	for {
		page := k.page(s, after, limit)
		entries = append(entries, page...)
		if len(page) < limit {
			return entries
		}
		after = page[limit-1].Number
	}
}

// wants compares entries, and names the promise if they differ.
func (k chain) wants(promise string, got []audit.Entry, want ...audit.Entry) {
	k.Helper()
	if d := differences(want, got, numbers); d != "" {
		k.Fatalf("%s: %s", promise, d)
	}
}

// holds compares all entries, and the last with what next is passed, and names
// the promise if they differ.
func (k chain) holds(promise string, s audit.Store, want ...audit.Entry) {
	k.Helper()
	k.wants(promise, k.all(s, 1000), want...)
	called := false
	var passed, last audit.Entry
	k.noError("Append", s.Append(k.ctx, func(e audit.Entry) ([]audit.Entry, error) {
		called, passed = true, e
		return nil, nil
	}))
	if len(want) > 0 {
		last = want[len(want)-1]
	}
	if !called {
		k.Fatalf("Append calls next, also where there are no entries")
	}
	if len(want) == 0 {
		if !reflect.ValueOf(passed).IsZero() {
			k.Fatalf("%s: next is passed the zero Entry where there are none: it was passed another", promise)
		}
		return
	}
	if d := differences([]audit.Entry{last}, []audit.Entry{passed}, numbers); d != "" {
		k.Fatalf("%s: next is passed the entry with the greatest number: %s", promise, d)
	}
}

func (k chain) none() {
	const promise = "none is not an error"
	for _, after := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		if entries, err := k.store.Scan(k.ctx, after, 1); err != nil || len(entries) > 0 {
			k.Errorf("%s: Scan returns %d entries and the error %v", promise, len(entries), err)
		}
	}
	k.holds(promise, k.store)
	const nothing = "an append of no entries writes nothing"
	k.write(k.store)
	k.holds(nothing, k.store)
	k.write(k.store, k.row(1))
	k.noError("Append", k.store.Append(k.ctx, appending([]audit.Entry{}...)))
	k.noError("Append", k.store.Append(k.ctx, appending()))
	k.holds(nothing, k.store, k.row(1))
}

func (k chain) newEntry() {
	const promise = "an entry keeps every field"
	var want []audit.Entry
	for n := range int64(3) {
		want = append(want, k.row(n+1))
		k.write(k.store, k.row(n+1))
		k.holds(promise, k.store, want...)
	}
	// Each field alone, so that none hides behind another.
	for i := range fieldsOf(new(audit.Entry)) {
		e := k.row(int64(len(want) + 1))
		for j, f := range fieldsOf(&e) {
			if j != i && !needed[f.name] {
				f.clear()
			}
		}
		want = append(want, e)
		k.write(k.store, e)
		k.holds(promise, k.store, want...)
	}
}

func (k chain) digests() {
	const promise = "an entry keeps every byte of its digest"
	var want []audit.Entry
	add := func(edit func(i int) byte) {
		e := k.row(int64(len(want) + 1))
		for i := range e.Digest {
			e.Digest[i] = edit(i)
		}
		want = append(want, e)
		k.write(k.store, e)
		k.holds(promise, k.store, want...)
	}
	for _, b := range []byte{0, 1, '\n', ' ', '\'', '0', '\\', 0x7f, 0x80, 0xff} {
		add(func(int) byte { return b })
	}
	for start := 0; start < 256; start += len(audit.Digest{}) { // each byte there is
		add(func(i int) byte { return byte(start + i) })
	}
	add(func(i int) byte { return byte(i / 16) }) // zeros first
	add(func(i int) byte { return byte(i/16) ^ 1 })
}

func (k chain) limits() {
	const promise = "an entry keeps every field up to the limits"
	var want []audit.Entry
	for i := range 3 {
		text := longest(i)
		if i == 1 {
			text = fmt.Sprintf("%0*d", audit.MaxText, i) // as many symbols as can be
		}
		e := k.row(int64(i + 1))
		setTexts(&e, text)
		want = append(want, e)
		k.write(k.store, e)
		k.holds(promise, k.store, want...)
	}
	// Each field alone: what has room for one may have none for the next.
	for i, f := range fieldsOf(new(audit.Entry)) {
		if f.value.Kind() == reflect.String {
			e := k.row(int64(len(want) + 1))
			fieldsOf(&e)[i].value.SetString(longest(i % 10))
			want = append(want, e)
		}
	}
	k.write(k.store, want[3:]...)
	k.holds(promise, k.store, want...)
}

func (k chain) strings() {
	const promise = "strings are kept byte by byte"
	var want []audit.Entry
	for i, s := range strange {
		e := k.row(int64(i + 1))
		setTexts(&e, s)
		want = append(want, e)
	}
	k.write(k.store, want...)
	k.holds(promise, k.store, want...)
}

func (k chain) numbers() {
	const promise = "entries are returned in the order of their numbers, up to the greatest number that there is"
	var want []audit.Entry
	for _, n := range []int64{1, 2, 9, 10, 11, 99, 100, 255, 256, 1<<15 - 1, 1 << 15, 1 << 16, 1<<31 - 1, 1 << 31, 1 << 32, 1 << 53, 1<<53 + 1, math.MaxInt64 - 1, math.MaxInt64} {
		e := row(k.T, n, len(want))
		k.write(k.store, e)
		want = append(want, e)
		k.holds(promise, k.store, want...)
	}
	for i, e := range want {
		k.wants(promise, k.page(k.store, e.Number, 100), want[i+1:]...)
		k.wants(promise, k.page(k.store, e.Number-1, 1), e)
	}
}

func (k chain) times() {
	const promise = "times are returned as they came: in UTC, in whole microseconds"
	var want []audit.Entry
	for i, at := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.Date(1, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1582, 10, 10, 1, 2, 3, 4000, time.UTC),
		time.Date(1677, 9, 21, 0, 12, 43, 0, time.UTC),
		time.Date(1969, 7, 20, 20, 17, 40, 123_456_000, time.UTC),
		time.Unix(-1, 999_999_000).UTC(),
		time.Unix(0, 0).UTC(),
		noon,
		noon.Add(time.Microsecond),
		noon.Add(999_999 * time.Microsecond),
		time.Date(2000, 2, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), // clocks in Europe go forward
		time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		noon.Add(-time.Hour), // time need not go forward
	} {
		e := k.row(int64(i + 1))
		for _, f := range fieldsOf(&e) {
			if p, ok := f.value.Addr().Interface().(*time.Time); ok {
				*p = at
			}
		}
		want = append(want, e)
		k.write(k.store, e)
		k.holds(promise, k.store, want...)
	}
}

func (k chain) manyEntries() {
	const promise = "an append writes as many entries as next returns, in their order"
	want := k.rows(1, 1400)
	k.write(k.store, want[:3]...)
	k.holds(promise, k.store, want[:3]...)
	k.write(k.store, want[3:1300]...)
	k.holds(promise, k.store, want[:1300]...)
	k.write(k.store, want[1300:]...)
	k.holds(promise, k.store, want...)
}

func (k chain) scan() {
	const promise = "Scan returns the entries with a greater number than after, fewer than limit only if there are no more"
	want := k.rows(1, 23)
	k.write(k.store, want[:9]...)
	for _, e := range want[9:] {
		k.write(k.store, e)
	}
	for _, limit := range []int{1, 2, 7, len(want) - 1, len(want), len(want) + 1, 1000, math.MaxInt32} {
		k.wants(promise, k.all(k.store, limit), want...)
		for _, after := range []int64{math.MinInt64, math.MinInt32, -1, 0, 1, 9, 10, 22, 23, 24, 1000, math.MaxInt32, math.MaxInt64} {
			from := int(min(max(after, 0), int64(len(want))))
			k.wants(promise, k.page(k.store, after, limit), want[from:min(len(want), from+min(limit, 1000))]...)
		}
	}
	for _, limit := range []int{0, -1, math.MinInt} {
		for _, after := range []int64{math.MinInt64, 0, 9} {
			if page, err := k.store.Scan(k.ctx, after, limit); err != nil || len(page) > 0 {
				k.Errorf("Scan with a limit below 1 returns no entries and no error: with %d it returns %d and the error %v", limit, len(page), err)
			}
		}
	}
	k.holds(promise, k.store, want...)

	// A walk in whose middle others come.
	var seen []audit.Entry
	after := int64(math.MinInt64)
	for n := 0; ; n++ {
		page := k.page(k.store, after, 5)
		seen = append(seen, page...)
		if len(page) < 5 {
			break
		}
		after = page[4].Number
		if n < 8 {
			e := k.row(int64(len(want) + 1))
			want = append(want, e)
			k.write(k.store, e)
		}
	}
	k.wants("a walk sees each entry once, also those that come meanwhile", seen, want...)
}

func (k chain) reopen() {
	const (
		seen = "a call that returns without an error is durable: another handle sees it at once"
		kept = "a call that returns without an error is durable: a store that is opened again has it"
	)
	want := k.rows(1, 6)
	other := k.open()
	k.holds(seen, other)
	k.write(k.store, want[0])
	k.holds(seen, other, want[0])
	k.write(other, want[1:3]...)
	k.holds(seen, k.store, want[:3]...)
	k.write(k.store, want[3])
	k.holds(seen, other, want[:4]...)

	again := k.open()
	k.holds(kept, again, want[:4]...)
	k.write(again, want[4:]...)
	for _, s := range []audit.Store{k.store, other, again} {
		k.holds(kept, s, want...)
	}
}
