package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Escrow tests a store of codes against the promises of [escrow.Store], each in
// a subtest with an empty storage.
//
// Fresh makes that storage, and registers with its t what cleans it up. It may
// call t.Parallel. A store that needs the time takes it from clock.
//
// Open opens the storage, once as the server starts and again for a case that
// has a second server, or one that starts again; both are used at once. A store
// that is for one server only, or in memory, returns the one that it returned
// first.
func Escrow(t *testing.T, fresh func(t *testing.T, clock func() time.Time) (open func(t *testing.T) escrow.Store)) {
	for _, c := range []struct {
		name string
		test func(codes)
	}{
		{"None", codes.none},
		{"NoSubject", codes.noSubject},
		{"NewEntry", codes.newEntry},
		{"ChangedEntry", codes.changedEntry},
		{"Limits", codes.limits},
		{"ManyEntries", codes.manyEntries},
		{"Times", codes.times},
		{"Order", codes.order},
		{"Untouched", codes.untouched},
		{"Join", codes.join},
		{"Joined", codes.joined},
		{"JoinedEntry", codes.joinedEntry},
		{"Identifiers", codes.identifiers},
		{"Strings", codes.strings},
		{"LookAlikes", codes.lookAlikes},
		{"Scan", codes.scan},
		{"Reopen", codes.reopen},
		{"Memory", codes.memory},
		{"ChangeFails", codes.changeFails},
		{"ForeignEntries", codes.foreignEntries},
		{"ChangePanics", codes.changePanics},
		{"ContextIsOver", codes.contextIsOver},
		{"ContextEndsInChange", codes.contextEndsInChange},
		{"OneSubject", codes.oneSubject},
		{"ManySubjects", codes.manySubjects},
		{"JoinedSubjects", codes.joinedSubjects},
		{"JoinMeanwhile", codes.joinMeanwhile},
		{"SharedEnrollment", codes.sharedEnrollment},
		{"HalfAnUpdate", codes.halfAnUpdate},
		{"ScanMeanwhile", codes.scanMeanwhile},
		{"Life", codes.life},
	} {
		run(t, c.name, fresh, func(f fixture[escrow.Store]) {
			k := codes{f}
			k.wants("fresh makes an empty storage", k.all(f.store, 10))
			c.test(k)
		})
	}
}

// codes is a case on a store of codes.
type codes struct{ fixture[escrow.Store] }

var (
	serial     = escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	enrollment = escrow.Subject{EnrollmentID: "00008120-0011223344556677"}
)

// change is what Update calls.
type change = func([]escrow.Entry) ([]escrow.Entry, error)

func returning(entries ...escrow.Entry) change {
	return func([]escrow.Entry) ([]escrow.Entry, error) { return entries, nil }
}

// entry returns an entry with something in every field.
func (k codes) entry(id string, subject escrow.Subject) escrow.Entry {
	k.Helper()
	return entry(k.T, id, subject, 1)
}

// file writes entries, in one update for each run of the same subject.
func (k codes) file(s escrow.Store, entries ...escrow.Entry) {
	k.Helper()
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].Subject == entries[0].Subject {
			n++
		}
		k.update(s, entries[0].Subject, returning(copied(entries[:n])...))
		entries = entries[n:]
	}
}

func (k codes) update(s escrow.Store, subject escrow.Subject, change change) {
	k.Helper()
	k.noError("Update", s.Update(k.ctx, subject, change))
}

func (k codes) joins(s escrow.Store, enrollment, serial escrow.Subject) {
	k.Helper()
	k.noError("Join", s.Join(k.ctx, enrollment.EnrollmentID, serial.SerialNumber))
}

// leads checks which serial numbers an enrollment is joined to.
func (k codes) leads(promise string, s escrow.Store, enrollment escrow.Subject, want ...string) {
	k.Helper()
	got, err := s.Joined(k.ctx, enrollment.EnrollmentID)
	k.noError("Joined", err)
	if !slices.Equal(got, want) {
		k.Fatalf("%s: the serial numbers were %s and are %s", promise, list(want), list(got))
	}
}

// entries returns the entries of a subject.
func (k codes) entries(s escrow.Store, subject escrow.Subject) []escrow.Entry {
	k.Helper()
	entries, err := s.Entries(k.ctx, subject)
	k.noError("Entries", err)
	return entries
}

// page returns a page of all entries.
func (k codes) page(s escrow.Store, after string, limit int) []escrow.Entry {
	k.Helper()
	page, err := s.Scan(k.ctx, after, limit)
	k.noError("Scan", err)
	if len(page) > limit {
		k.Fatalf("Scan returns no more entries than the limit: there are %d, and the limit is %d", len(page), limit)
	}
	for _, e := range page {
		if e.ID <= after {
			k.Fatalf("Scan returns entries in the byte order of their IDs, those greater than after: %+q came after %+q", e.ID, after)
		}
		after = e.ID
	}
	return page
}

// read returns the entries of a subject, which Update passes too.
func (k codes) read(s escrow.Store, subject escrow.Subject) []escrow.Entry {
	k.Helper()
	entries := k.entries(s, subject)
	called := false
	var passed []escrow.Entry
	k.update(s, subject, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		called, passed = true, entries
		return nil, nil
	})
	if !called {
		k.Fatalf("Update calls change, also where there are no entries")
	}
	if d := difference(entries, passed); d != "" {
		k.Fatalf("Update passes what Entries returns: %s", d)
	}
	return entries
}

// all walks through the store in pages.
func (k codes) all(s escrow.Store, limit int) (entries []escrow.Entry) {
	k.Helper()
	after := ""
	for {
		page := k.page(s, after, limit)
		entries = append(entries, page...)
		if len(page) < limit {
			return entries
		}
		after = page[limit-1].ID
	}
}

// wants compares entries, and names the promise if they differ.
func (k codes) wants(promise string, got []escrow.Entry, want ...escrow.Entry) {
	k.Helper()
	if d := difference(want, got); d != "" {
		k.Fatalf("%s: %s", promise, d)
	}
}

// holds compares the entries of a subject, and names the promise if they differ.
func (k codes) holds(promise string, s escrow.Store, subject escrow.Subject, want ...escrow.Entry) {
	k.Helper()
	k.wants(promise, k.entries(s, subject), want...)
	k.read(s, subject)
}

func (k codes) none() {
	const promise = "none is not an error"
	for _, subject := range []escrow.Subject{serial, enrollment} {
		if entries, err := k.store.Entries(k.ctx, subject); err != nil || len(entries) > 0 {
			k.Errorf("%s: Entries returns %d entries and the error %v", promise, len(entries), err)
		}
		k.holds(promise, k.store, subject)
	}
	if entries, err := k.store.Scan(k.ctx, "", 1); err != nil || len(entries) > 0 {
		k.Errorf("%s: Scan returns %d entries and the error %v", promise, len(entries), err)
	}
	if err := k.store.Join(k.ctx, enrollment.EnrollmentID, serial.SerialNumber); err != nil {
		k.Errorf("an enrollment without entries can be joined: the error is %v", err)
	}
	k.holds(promise, k.store, serial)
}

func (k codes) noSubject() {
	const promise = "a subject that nothing can be filed under has no entries, and that is not an error"
	k.file(k.store, k.entry("1", serial), k.entry("2", enrollment))
	k.joins(k.store, enrollment, serial)
	subjects := map[string]escrow.Subject{
		"the empty subject":                         {},
		"a serial number and an enrollment ID":      {SerialNumber: serial.SerialNumber, EnrollmentID: enrollment.EnrollmentID},
		"a serial number and another enrollment ID": {SerialNumber: serial.SerialNumber, EnrollmentID: "another"},
	}
	for name, edit := range map[string]func(string) string{
		"with a NUL":      func(s string) string { return s + "\x00" },
		"of a NUL":        func(string) string { return "\x00" },
		"that is no text": func(s string) string { return s + "\xff" },
		"that is long":    func(string) string { return longest(0) + "0" },
		"that is huge":    func(s string) string { return strings.Repeat(s, 1<<16/len(s)) },
	} {
		subjects["a serial number "+name] = escrow.Subject{SerialNumber: edit(serial.SerialNumber)}
		subjects["an enrollment ID "+name] = escrow.Subject{EnrollmentID: edit(enrollment.EnrollmentID)}
	}
	for name, subject := range subjects {
		if entries, err := k.store.Entries(k.ctx, subject); err != nil || len(entries) > 0 {
			k.Errorf("%s: of %s, Entries returns %d entries and the error %v", promise, name, len(entries), err)
		}
	}
	k.holds("a store works on after a subject that nothing can be filed under", k.store, serial, k.entry("1", serial), k.entry("2", enrollment))
}

func (k codes) newEntry() {
	const promise = "a new entry keeps every field"
	for i, subject := range []escrow.Subject{serial, enrollment} {
		e := k.entry(fmt.Sprint(i), subject)
		k.file(k.store, e)
		k.holds(promise, k.store, subject, e)
	}
	k.wants("Scan returns every field", k.all(k.store, 10), k.entry("0", serial), k.entry("1", enrollment))

	// Each field alone, so that none hides behind another.
	subject := escrow.Subject{SerialNumber: "one field"}
	var want []escrow.Entry
	for i := range fieldsOf(new(escrow.Entry)) {
		e := k.entry(fmt.Sprintf("only %d", i), subject)
		for j, f := range fieldsOf(&e) {
			if j != i && !f.identifies() {
				f.clear()
			}
		}
		want = append(want, e)
	}
	k.file(k.store, want...)
	k.holds(promise, k.store, subject, want...)
}

func (k codes) changedEntry() {
	const promise = "an update changes every field that may change, and no other"
	e := k.entry("1", serial)
	other := k.entry("2", serial)
	k.file(k.store, e, other)
	check := func() {
		k.Helper()
		k.file(k.store, e)
		k.holds(promise, k.store, serial, e, other)
	}
	for i, f := range fieldsOf(&e) {
		if f.fixed() {
			continue
		}
		f.fill(k.T, 2)
		check()
		f.clear()
		check()
		f.fill(k.T, i)
		check()
	}
	for n := range max(len(states), len(causes)) {
		for _, f := range fieldsOf(&e) {
			if !f.fixed() {
				f.fill(k.T, n)
			}
		}
		check()
	}
	for _, f := range fieldsOf(&e) { // as a purge does, and more
		if !f.fixed() {
			f.clear()
		}
	}
	check()
	k.wants(promise, k.all(k.store, 10), e, other)
}

// longest returns a string of as many bytes as can be kept, in symbols of up to
// four bytes, that ends in a digit.
func longest(n int) string {
	s := strings.Repeat("\U0001F511", (escrow.MaxIdentifier-4)/4) + "\u00e9"
	return s + strings.Repeat("x", escrow.MaxIdentifier-len(s)-1) + fmt.Sprint(n)
}

func (k codes) limits() {
	const promise = "an entry keeps every field up to the limits"
	subject := escrow.Subject{SerialNumber: longest(0)}
	twin := escrow.Subject{SerialNumber: longest(1)}
	enrolled := escrow.Subject{EnrollmentID: longest(2)}
	big := make([]byte, escrow.MaxSealed)
	for i := range big {
		big[i] = byte(i ^ i>>8)
	}
	var want []escrow.Entry
	for i, s := range []escrow.Subject{subject, twin, enrolled} {
		e := k.entry(longest(i), s)
		for _, f := range fieldsOf(&e) {
			if p, ok := f.plain(); ok {
				*p = longest(i)
			}
		}
		e.Sealed, e.RecoveryCopy = big, big[i:]
		k.file(k.store, e)
		want = append(want, e)
		k.holds(promise, k.store, s, e)
	}
	k.joins(k.store, enrolled, subject)
	k.holds(promise, k.store, subject, want[0], want[2])
	k.holds(promise, k.store, twin, want[1])
	k.wants(promise, k.all(k.store, 1), want...)
	for i := range want { // and back
		for _, f := range fieldsOf(&want[i]) {
			if !f.fixed() {
				f.clear()
			}
		}
		k.file(k.store, want[i])
	}
	k.holds(promise, k.store, subject, want[0], want[2])
	for i := range want {
		for _, f := range fieldsOf(&want[i]) {
			if p, ok := f.plain(); ok {
				*p = longest(i + 3)
			}
		}
		want[i].Sealed, want[i].RecoveryCopy = big[i:], big
		k.file(k.store, want[i])
	}
	k.holds(promise, k.store, subject, want[0], want[2])
}

func (k codes) manyEntries() {
	const promise = "an update writes as many entries as one subject can have"
	var want []escrow.Entry
	for i := range 3 * escrow.Quota {
		e := k.entry(fmt.Sprint(i*7919%1000), serial)
		e.CommandUUID = fmt.Sprint(i)
		want = append(want, e)
	}
	for i := range 2 {
		for j := range want {
			want[j].StateReason = fmt.Sprint(i)
		}
		k.file(k.store, want...)
		k.holds(promise, k.store, serial, want...)
	}
	slices.SortFunc(want, byID)
	k.wants("Scan returns all entries", k.all(k.store, 256), want...)
}

func (k codes) times() {
	const promise = "times are returned as they came: in UTC, in whole microseconds, zero as zero"
	var want []escrow.Entry
	for i, at := range []time.Time{
		{},
		noon,
		noon.Add(time.Microsecond),
		noon.Add(999_999 * time.Microsecond),
		time.Unix(0, 0).UTC(), // not zero
		time.Unix(-1, 999_999_000).UTC(),
		time.Date(1969, 7, 20, 20, 17, 40, 123_456_000, time.UTC),
		time.Date(1582, 10, 10, 1, 2, 3, 4000, time.UTC),
		time.Date(2000, 2, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), // clocks in Europe go forward
		time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		e := k.entry(fmt.Sprintf("%02d", i), serial)
		for _, f := range fieldsOf(&e) {
			if p, ok := f.value.Addr().Interface().(*time.Time); ok {
				*p = at
			}
		}
		k.file(k.store, e)
		want = append(want, e)
	}
	k.holds(promise, k.store, serial, want...)
	k.wants(promise, k.all(k.store, 100), want...)
}

func (k codes) order() {
	const promise = "entries come in the order of filing, and keep their place when they change"
	// IDs, times and everything else go another way than the order.
	e := map[string]escrow.Entry{}
	for i, id := range []string{"m", "z", "a", "B", "b", "1", "10", "9"} {
		e[id] = entry(k.T, id, serial, 20-i)
	}
	k.file(k.store, e["m"], e["a"])
	k.file(k.store, e["z"])
	k.holds(promise, k.store, serial, e["m"], e["a"], e["z"])

	changed := entry(k.T, "m", serial, 7)
	changed.Kind, changed.FirstSeen = e["m"].Kind, e["m"].FirstSeen
	k.file(k.store, changed)
	k.holds(promise, k.store, serial, changed, e["a"], e["z"])

	// New ones and old ones in one update, the old ones in another order.
	k.update(k.store, serial, returning(e["10"], e["z"], e["B"], e["m"], e["9"], e["1"]))
	k.holds("several new entries of one update are filed in their order", k.store, serial,
		e["m"], e["a"], e["z"], e["10"], e["B"], e["9"], e["1"])

	// Of enrollments that are joined too.
	joined := k.entry("5", enrollment)
	k.file(k.store, joined, e["b"])
	k.joins(k.store, enrollment, serial)
	want := []escrow.Entry{e["m"], e["a"], e["z"], e["10"], e["B"], e["9"], e["1"], joined, e["b"]}
	k.holds("the entries of a serial number and of joined enrollments come in one order, that of filing", k.store, serial, want...)
	last := k.entry("0", enrollment)
	k.file(k.store, last)
	k.file(k.store, joined, changed)
	want[0] = changed
	k.holds("the entries of a serial number and of joined enrollments come in one order, that of filing", k.store, serial, append(want, last)...)

	// To read does not change what is there, however many that are.
	for n := range 9 {
		subject, first := escrow.Subject{SerialNumber: fmt.Sprint(n)}, k.entry(fmt.Sprint("first ", n), escrow.Subject{EnrollmentID: fmt.Sprint(n)})
		var own []escrow.Entry
		for i := range n {
			own = append(own, k.entry(fmt.Sprint("own ", n, " ", i), subject))
		}
		k.file(k.store, first)
		k.file(k.store, own...)
		k.joins(k.store, first.Subject, subject)
		for range 2 {
			k.holds("entries come in the order of filing, each time that they are read", k.store, subject, append([]escrow.Entry{first}, own...)...)
		}
	}
}

func (k codes) untouched() {
	const promise = "what change returned nothing for stays as it is"
	own, second := k.entry("1", serial), k.entry("2", serial)
	foreign := k.entry("3", escrow.Subject{SerialNumber: "another"})
	joined := k.entry("4", enrollment)
	k.file(k.store, own, second, foreign, joined)
	k.joins(k.store, enrollment, serial)

	k.update(k.store, serial, returning())
	k.update(k.store, serial, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{}, nil })
	k.holds(promise, k.store, serial, own, second, joined)
	second.State, second.StateReason = escrow.Void, "another reason"
	k.file(k.store, second)
	k.holds(promise, k.store, serial, own, second, joined)
	k.file(k.store, k.entry("5", serial))
	k.holds(promise, k.store, serial, own, second, joined, k.entry("5", serial))
	k.holds(promise, k.store, foreign.Subject, foreign)
	k.holds(promise, k.store, enrollment, joined)
}

func (k codes) join() {
	const (
		tooFew  = "Join makes the entries of an enrollment entries of the serial number too"
		later   = "Join counts for entries that are still to come"
		oneWay  = "Join goes in one direction: the enrollment keeps its own entries and gets no others"
		several = "an enrollment can be joined to several serial numbers"
	)
	other := escrow.Subject{EnrollmentID: "other enrollment"}
	second := escrow.Subject{SerialNumber: "second serial number"}
	a, b, c, d := k.entry("a", enrollment), k.entry("b", serial), k.entry("c", other), k.entry("d", enrollment)
	k.file(k.store, a, b, c, d)
	for i := range 2 {
		k.joins(k.store, enrollment, serial)
		k.holds([]string{tooFew, "joining twice is joining once"}[i], k.store, serial, a, b, d)
		k.holds(oneWay, k.store, enrollment, a, d)
		k.holds("Join is about its enrollment and no other", k.store, other, c)
	}
	e := k.entry("e", enrollment)
	k.file(k.store, e)
	k.holds(later, k.store, serial, a, b, d, e)
	k.holds(later, k.store, enrollment, a, d, e)

	k.joins(k.store, other, serial)
	k.holds("several enrollments can be joined to a serial number", k.store, serial, a, b, c, d, e)
	k.holds(oneWay, k.store, enrollment, a, d, e)
	k.holds(oneWay, k.store, other, c)

	k.joins(k.store, enrollment, second)
	k.holds(several, k.store, second, a, d, e)
	k.holds(several, k.store, serial, a, b, c, d, e)
	f := k.entry("f", second)
	k.file(k.store, f)
	k.holds(several, k.store, second, a, d, e, f)
	k.holds("serial numbers that share an enrollment share nothing else", k.store, serial, a, b, c, d, e)
	k.holds(oneWay, k.store, enrollment, a, d, e)

	// Nothing is there yet, on either side.
	early, earlySerial := escrow.Subject{EnrollmentID: "early"}, escrow.Subject{SerialNumber: "early serial number"}
	k.joins(k.store, early, earlySerial)
	k.holds("none is not an error", k.store, earlySerial)
	g := k.entry("g", early)
	k.file(k.store, g)
	k.holds(later, k.store, earlySerial, g)
	k.holds(later, k.store, early, g)

	k.wants("Scan returns each entry once, joined or not", k.all(k.store, 3), a, b, c, d, e, f, g)
}

func (k codes) joined() {
	const (
		none    = "none is not an error, and an enrollment is joined to what it was joined to only"
		returns = "Joined returns the serial numbers that an enrollment is joined to, in byte order"
		exact   = "Joined compares identifiers byte by byte"
	)
	k.leads(none, k.store, enrollment)
	k.file(k.store, k.entry("1", enrollment), k.entry("2", serial))
	k.leads(none, k.store, enrollment)
	for range 2 { // twice is once
		k.joins(k.store, enrollment, serial)
		k.leads(returns, k.store, enrollment, serial.SerialNumber)
	}
	k.leads(none, k.store, escrow.Subject{EnrollmentID: "another"})
	k.leads(none, k.store, escrow.Subject{EnrollmentID: serial.SerialNumber})
	other := escrow.Subject{EnrollmentID: "without entries"}
	k.joins(k.store, other, serial)
	k.leads("an enrollment without entries can be joined", k.store, other, serial.SerialNumber)
	k.leads(returns, k.store, enrollment, serial.SerialNumber)

	// To serial numbers that look alike, in any order.
	many := escrow.Subject{EnrollmentID: "many"}
	order := k.random().Perm(len(strange))
	for _, i := range order {
		k.joins(k.store, many, escrow.Subject{SerialNumber: strange[i]})
	}
	for _, i := range order[:9] {
		k.joins(k.store, many, escrow.Subject{SerialNumber: strange[i]})
	}
	want := slices.Sorted(slices.Values(strange))
	k.leads(returns, k.store, many, want...)
	for _, id := range []string{"Many", "MANY", "many ", " many", "man", "many%", "m_ny", "m\u00e1ny"} {
		k.leads(exact, k.store, escrow.Subject{EnrollmentID: id})
	}

	got, err := k.store.Joined(k.ctx, many.EnrollmentID)
	k.noError("Joined", err)
	clear(got)
	k.leads("nothing that comes out of Joined shares memory with the store", k.store, many, want...)
}

// lookAlikes are enrollments that look alike and are joined to one serial
// number: a store that takes one join for another loses codes.
func (k codes) lookAlikes() {
	const promise = "Join compares identifiers byte by byte, also of enrollments that are joined to one serial number"
	subject := escrow.Subject{SerialNumber: "shared"}
	var want []escrow.Entry
	for i, id := range strange {
		e := k.entry(fmt.Sprintf("%03d", i), escrow.Subject{EnrollmentID: id})
		k.file(k.store, e)
		want = append(want, e)
	}
	for i, e := range want {
		k.leads(promise, k.store, e.Subject)
		k.joins(k.store, e.Subject, subject)
		k.leads(promise, k.store, e.Subject, subject.SerialNumber)
		k.wants(promise, k.entries(k.store, subject), want[:i+1]...)
	}
	k.holds(promise, k.store, subject, want...)
	for _, e := range want {
		k.wants(promise, k.entries(k.store, e.Subject), e)
		k.leads(promise, k.store, e.Subject, subject.SerialNumber)
	}
}

func (k codes) joinedEntry() {
	const promise = "an entry can be changed through a serial number that its enrollment is joined to"
	before, after := k.entry("1", enrollment), entry(k.T, "1", enrollment, 2)
	after.Kind, after.FirstSeen = before.Kind, before.FirstSeen
	own, added := k.entry("2", serial), k.entry("3", serial)
	k.file(k.store, before, own)
	k.joins(k.store, enrollment, serial)
	k.update(k.store, serial, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		if d := difference([]escrow.Entry{before, own}, entries); d != "" {
			return nil, errors.New(d)
		}
		return []escrow.Entry{added, after}, nil
	})
	k.holds(promise, k.store, serial, after, own, added)
	k.holds(promise, k.store, enrollment, after)
}

// strange are identifiers that some store takes for the same. All are valid.
var strange = []string{
	"abc", "ABC", "Abc", "aBC", "abc ", "abc  ", " abc", "abc\n", "abc\r\n", "abc\t", "abc\u00a0", "abc.", "abc\x7f",
	"a", "ab", "abcd", "A", "b", "%", "_", "a%", "a_c", "*", "a*", "?", "[a]c", "'", "''", "\"", "`", "\\", "\\\\", "\\'", "\\n", "\\x00", "$1", ":a", "@a", "--", ";", "/", "|", "a|b", ",",
	"0", "00", "1", "01", "1.0", "1e0", " 1", "0x1", "+1", "-0", "null", "NULL", "true", "NaN", "9223372036854775808", "9223372036854775809",
	"\u00e9", "e\u0301", "\u00c9", "e", "E", "\u00df", "ss", "SS", "\u1e9e", "i", "I", "\u0130", "\u0131", "\u017f", "s", "\u212a", "k", "K", "\u212b", "\u00c5", "A\u030a",
	"\ufb01", "fi", "\uff21", "\uff41", "\u2460", "\u00b2", "2", "\u00c6", "AE", "\u03c3", "\u03c2", "\u30ab", "\u304b", "\uff76", "\u30ac", "\uac00", "\u1100\u1161",
	"abc\u200b", "abc\u200d", "ab\u00adc", "\ufeffabc", "\u202eabc", "abc\ufe0f", "\u200b", " ", "  ", "\n", "\x01",
	"\ufffd", "\uffff", "\U00010000", "\U0001F511", "\U0001F513", "\U0001F469\u200d\U0001F4BB", "\U0001F469", "\U0010FFFF",
	"00008120-0011223344556677", "00008120-0011223344556677 ", "00008120-001122334455667", "00008120-00112233445566770",
	longest(0), longest(1), longest(0)[:escrow.MaxIdentifier-1],
}

func (k codes) identifiers() {
	const (
		exact  = "identifiers are compared byte by byte, and a serial number is never an enrollment ID"
		joined = "Join compares identifiers byte by byte"
	)
	serials, enrollments := make([]escrow.Entry, len(strange)), make([]escrow.Entry, len(strange))
	for i, id := range strange {
		serials[i] = k.entry(fmt.Sprintf("serial %03d", i), escrow.Subject{SerialNumber: id})
		enrollments[i] = k.entry(fmt.Sprintf("enrollment %03d", i), escrow.Subject{EnrollmentID: id})
		k.file(k.store, serials[i], enrollments[i])
	}
	for i := range strange {
		k.wants(exact, k.entries(k.store, serials[i].Subject), serials[i])
		k.wants(exact, k.entries(k.store, enrollments[i].Subject), enrollments[i])
	}
	// One alone, and then each to the serial number that looks the same.
	k.joins(k.store, escrow.Subject{EnrollmentID: "abc"}, escrow.Subject{SerialNumber: "Joined"})
	k.holds(joined, k.store, escrow.Subject{SerialNumber: "Joined"}, enrollments[0])
	for _, id := range []string{"joined", "JOINED", "Joined ", "Joine", "Joined%", "Join\u0435d"} {
		k.holds(joined, k.store, escrow.Subject{SerialNumber: id})
	}
	for i := range strange {
		k.joins(k.store, enrollments[i].Subject, serials[i].Subject)
	}
	for i := range strange {
		k.holds(joined, k.store, serials[i].Subject, serials[i], enrollments[i])
		k.wants(joined, k.entries(k.store, enrollments[i].Subject), enrollments[i])
	}
}

func (k codes) strings() {
	const promise = "record IDs are compared byte by byte, and strings are kept so"
	subject := escrow.Subject{SerialNumber: "strange strings"}
	want := make([]escrow.Entry, len(strange))
	for i, id := range strange {
		want[i] = k.entry(id, subject)
		for _, f := range fieldsOf(&want[i]) {
			if p, ok := f.plain(); ok {
				*p = id
			}
		}
	}
	k.file(k.store, want...)
	k.holds(promise, k.store, subject, want...)
	for i := range want { // each other one changes
		if i%2 == 0 {
			want[i].StateReason = "changed"
			k.file(k.store, want[i])
		}
	}
	k.holds(promise, k.store, subject, want...)
}

func byID(a, b escrow.Entry) int { return cmp.Compare(a.ID, b.ID) }

func (k codes) scan() {
	const promise = "Scan returns the entries of all subjects in the byte order of their IDs"
	var want []escrow.Entry
	for i, id := range strange {
		want = append(want, k.entry(id, []escrow.Subject{serial, enrollment, {SerialNumber: fmt.Sprint(i)}, {EnrollmentID: fmt.Sprint(i)}}[i%4]))
	}
	random := k.random()
	random.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
	k.file(k.store, want...)
	k.joins(k.store, enrollment, serial)
	k.joins(k.store, enrollment, escrow.Subject{SerialNumber: "another"})
	slices.SortFunc(want, byID)
	for _, limit := range []int{1, 2, 7, len(want) - 1, len(want), len(want) + 1, 1000} {
		k.wants(promise, k.all(k.store, limit), want...)
	}
	for _, after := range []string{"", "\x01", " ", "abb", "abc ", "abc\x01", "abcc", "\u00e8", longest(0), longest(9), "\U0010FFFF", "\U0010FFFFx"} {
		const promise = "Scan returns the entries whose ID is greater than after, also if after is no ID"
		at, there := slices.BinarySearchFunc(want, after, func(e escrow.Entry, id string) int { return cmp.Compare(e.ID, id) })
		if there {
			at++
		}
		for _, limit := range []int{3, 1000} {
			k.wants(promise, k.page(k.store, after, limit), want[at:min(at+limit, len(want))]...)
		}
	}

	for _, limit := range []int{0, -1, math.MinInt} {
		for _, after := range []string{"", "abc"} {
			if page, err := k.store.Scan(k.ctx, after, limit); err != nil || len(page) > 0 {
				k.Errorf("Scan with a limit below 1 returns no entries and no error: with %d it returns %d and the error %v", limit, len(page), err)
			}
		}
	}

	// In the middle of a walk others come and change, before the walk and after.
	const meanwhile = "a walk sees each entry that is there all the time once, whatever is written meanwhile"
	seen := map[string]int{}
	after := ""
	for page := 0; ; page++ {
		entries := k.page(k.store, after, 5)
		for _, e := range entries {
			seen[e.ID]++
			after = e.ID
		}
		if len(entries) < 5 {
			break
		}
		changed := want[random.IntN(len(want))]
		changed.StateReason = fmt.Sprint(page)
		k.file(k.store, changed, k.entry(fmt.Sprintf("\x02 %d", page), enrollment), k.entry(fmt.Sprintf("\U0010FFFF %d", page%3), serial))
	}
	for _, e := range want {
		if seen[e.ID] != 1 {
			k.Errorf("%s: it saw %+q %d times", meanwhile, e.ID, seen[e.ID])
		}
	}
}

func (k codes) reopen() {
	const (
		seen = "a call that returns without an error is durable: another handle sees it at once"
		kept = "a call that returns without an error is durable: a store that is opened again has it"
	)
	other := k.open()
	k.holds(seen, other, serial)
	k.holds(seen, other, enrollment)
	a, b, c := k.entry("a", serial), k.entry("b", enrollment), k.entry("c", serial)
	k.file(k.store, a)
	k.holds(seen, other, serial, a)
	k.file(other, b)
	k.holds(seen, k.store, enrollment, b)
	k.leads(seen, other, enrollment)
	k.joins(k.store, enrollment, serial)
	k.leads(seen, other, enrollment, serial.SerialNumber)
	k.holds(seen, other, serial, a, b)
	k.file(other, c)
	a.State, a.Sealed = escrow.Purged, nil
	k.file(other, a)
	k.holds(seen, k.store, serial, a, b, c)

	again := k.open()
	k.holds(kept, again, serial, a, b, c)
	k.holds(kept, again, enrollment, b)
	k.leads(kept, again, enrollment, serial.SerialNumber)
	k.wants(kept, k.all(again, 2), a, b, c)
	d := k.entry("0", enrollment)
	k.file(again, d)
	for _, s := range []escrow.Store{k.store, other, again} {
		k.holds(kept, s, serial, a, b, c, d)
	}
}
