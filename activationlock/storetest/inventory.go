package storetest

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// Inventory tests a store of records against the promises of [inventory.Store],
// each in a subtest with an empty storage. Fresh, clock and open are those of
// [Escrow].
func Inventory(t *testing.T, fresh func(t *testing.T, clock func() time.Time) (open func(t *testing.T) inventory.Store)) {
	for _, c := range []struct {
		name string
		test func(records)
	}{
		{"None", records.none},
		{"NewRecord", records.newRecord},
		{"ChangedRecord", records.changedRecord},
		{"Limits", records.limits},
		{"Strings", records.strings},
		{"Times", records.times},
		{"Identifiers", records.identifiers},
		{"BySerialNumber", records.bySerialNumber},
		{"Fixed", records.fixed},
		{"Reopen", records.reopen},
		{"Memory", records.memory},
		{"ChangeFails", records.changeFails},
		{"ChangePanics", records.changePanics},
		{"ContextIsOver", records.contextIsOver},
		{"ContextEndsInChange", records.contextEndsInChange},
		{"Due", records.due},
		{"Release", records.release},
		{"Expiry", records.expiry},
		{"Skew", records.skew},
		{"ClaimedRecord", records.claimedRecord},
		{"Sorted", records.sorted},
		{"Cursors", records.cursors},
		{"Pages", records.pages},
		{"Text", records.text},
		{"Filters", records.filters},
		{"RandomQueries", records.randomQueries},
		{"OneRecord", records.oneRecord},
		{"OneNewRecord", records.oneNewRecord},
		{"ManyRecords", records.manyRecords},
		{"HalfAnUpdate", records.halfAnUpdate},
		{"Claimers", records.claimers},
		{"ClaimersAtWork", records.claimersAtWork},
		{"ListMeanwhile", records.listMeanwhile},
	} {
		run(t, c.name, fresh, func(f fixture[inventory.Store]) {
			k := records{f}
			if rows := k.list(f.store, inventory.Query{Limit: 10}); len(rows) > 0 {
				k.Fatalf("fresh makes an empty storage: it has %d records", len(rows))
			}
			c.test(k)
		})
	}
}

// records is a case on a store of records.
type records struct{ fixture[inventory.Store] }

// record returns a record with something in every field.
func (k records) record(enrollmentID string) inventory.Record {
	k.Helper()
	return record(k.T, enrollmentID, 1)
}

// update changes a record, and checks what change is passed.
func (k records) update(s inventory.Store, enrollmentID string, edit func(*inventory.Record)) {
	k.Helper()
	called, passed := false, ""
	k.noError("Update", s.Update(k.ctx, enrollmentID, func(r *inventory.Record) error {
		called, passed = true, r.EnrollmentID
		edit(r)
		return nil
	}))
	if !called {
		k.Fatalf("Update calls change")
	}
	if passed != enrollmentID {
		k.Fatalf("Update passes the record of the enrollment: it has another enrollment ID")
	}
}

// write has updates leave records as they are wanted.
func (k records) write(s inventory.Store, want ...inventory.Record) {
	k.Helper()
	for _, w := range want {
		k.update(s, w.EnrollmentID, func(r *inventory.Record) { *r = separate(w) })
	}
}

func (k records) get(s inventory.Store, enrollmentID string) inventory.Record {
	k.Helper()
	r, err := s.Get(k.ctx, enrollmentID)
	k.noError("Get", err)
	return r
}

func (k records) ofSerial(s inventory.Store, serialNumber string) []inventory.Record {
	k.Helper()
	list, err := s.BySerialNumber(k.ctx, serialNumber)
	k.noError("BySerialNumber", err)
	return list
}

func (k records) list(s inventory.Store, q inventory.Query) []inventory.Row {
	k.Helper()
	rows, err := s.List(k.ctx, q)
	k.noError("List", err)
	if len(rows) > q.Limit {
		k.Fatalf("List returns no more rows than the limit: there are %d, and the limit is %d", len(rows), q.Limit)
	}
	return rows
}

// all returns all rows of a query, page by page.
func (k records) all(s inventory.Store, q inventory.Query) (rows []inventory.Row) {
	k.Helper()
	seen := map[string]bool{}
	for {
		page := k.list(s, q)
		for _, r := range page {
			if seen[r.EnrollmentID] {
				k.Fatalf("pages have each row once: one is there twice")
			}
			seen[r.EnrollmentID] = true
			q.After = r.Cursor
		}
		if len(page) > 0 && q.After == "" {
			k.Fatalf("the last row of a page has a cursor: it has none")
		}
		rows = append(rows, page...)
		if len(page) < q.Limit {
			return rows
		}
		q.Into = page
	}
}

func (k records) totals(s inventory.Store, f inventory.Filter, now time.Time) inventory.Totals {
	k.Helper()
	t, err := s.Totals(k.ctx, f, now)
	k.noError("Totals", err)
	return t
}

func (k records) claim(s inventory.Store, now, until time.Time, limit int) []inventory.Claim {
	k.Helper()
	claims, err := s.Claim(k.ctx, now, until, limit)
	k.noError("Claim", err)
	if len(claims) > max(0, limit) {
		k.Fatalf("Claim claims no more than the limit: it is %d, and the limit is %d", len(claims), limit)
	}
	for _, c := range claims {
		if c.Token == "" {
			k.Fatalf("each claim has a token: one has none")
		}
	}
	return claims
}

func idsOfRecords(list []inventory.Record) (ids []string) {
	for _, r := range list {
		ids = append(ids, r.EnrollmentID)
	}
	return ids
}

func idsOfRows(rows []inventory.Row) (ids []string) {
	for _, r := range rows {
		ids = append(ids, r.EnrollmentID)
	}
	return ids
}

func idsOfClaims(claims []inventory.Claim) (ids []string) {
	for _, c := range claims {
		ids = append(ids, c.EnrollmentID)
	}
	return ids
}

// sameIDs compares identifiers in order.
func (k records) sameIDs(promise, what string, got, want []string) {
	k.Helper()
	if !slices.Equal(got, want) {
		k.Fatalf("%s: the %s are %s, and should be %s", promise, what, list(got), list(want))
	}
}

// wants compares records, and names the promise if they differ.
func (k records) wants(promise string, got []inventory.Record, want ...inventory.Record) {
	k.Helper()
	k.sameIDs(promise, "records", idsOfRecords(got), idsOfRecords(want))
	for i := range want {
		if d := differs(want[i], got[i]); d != "" {
			k.Fatalf("%s: %s", promise, d)
		}
	}
}

// sees compares rows with those of the records that a query is of.
func (k records) sees(promise string, got []inventory.Row, q inventory.Query, of []inventory.Record) {
	k.Helper()
	want := model(q, of)
	k.sameIDs(promise, "rows", idsOfRows(got), idsOfRows(want))
	for i := range want {
		row := got[i]
		row.Cursor = ""
		if d := differs(want[i], row); d != "" {
			k.Fatalf("%s: %s", promise, d)
		}
	}
}

// model is what List should return of some records, with no limit.
func model(q inventory.Query, of []inventory.Record) (rows []inventory.Row) {
	for _, r := range of {
		if row := inventory.RowOf(&r); q.Filter.Matches(row) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b inventory.Row) int {
		order := 0
		switch q.Sort {
		case inventory.BySerialNumber:
			order = cmp.Compare(a.SerialNumber, b.SerialNumber)
		case inventory.ByDeviceName:
			order = cmp.Compare(a.DeviceName, b.DeviceName)
		case inventory.ByLastSeen:
			order = a.LastSeen.Compare(b.LastSeen)
		case inventory.BySeverity:
			order = cmp.Compare(a.Summary.Severity(), b.Summary.Severity())
		}
		if order = cmp.Or(order, cmp.Compare(a.EnrollmentID, b.EnrollmentID)); q.Descending {
			return -order
		}
		return order
	})
	return rows
}

// counts compares totals with those of the records that a filter is of.
func (k records) counts(promise string, s inventory.Store, f inventory.Filter, now time.Time, of []inventory.Record) {
	k.Helper()
	got := k.totals(s, f, now)
	var want [4]int
	statuses, severities := map[string]int{}, map[inventory.Severity]int{}
	for _, r := range model(inventory.Query{Filter: f}, of) {
		want[0]++
		statuses[string(r.Summary.Status)]++
		severities[r.Summary.Severity()]++
		if !r.Summary.CodeSince.IsZero() && r.Summary.Status != activationlock.NotApplicable {
			want[1]++
		}
		if r.Summary.Reassign == "yes" {
			want[2]++
		}
		if !r.Summary.DueAt.IsZero() && r.Summary.DueAt.Before(now) {
			want[3]++
		}
	}
	for i, n := range []int{got.Devices, got.WithCode, got.Reassignable, got.Overdue} {
		if n != want[i] {
			k.Fatalf("%s: %s is %d, and should be %d", promise, []string{"Devices", "WithCode", "Reassignable", "Overdue"}[i], n, want[i])
		}
	}
	for status, n := range statuses {
		if m := got.Statuses[activationlock.Status(status)]; m != n {
			k.Fatalf("%s: of status %+q there are %d, and should be %d", promise, status, m, n)
		}
	}
	for severity, n := range severities {
		if m := got.Severities[severity]; m != n {
			k.Fatalf("%s: of severity %d there are %d, and should be %d", promise, severity, m, n)
		}
	}
	for status, n := range got.Statuses {
		if n != statuses[string(status)] {
			k.Fatalf("%s: of status %+q there are %d, and should be none", promise, status, n)
		}
	}
	for severity, n := range got.Severities {
		if n != severities[severity] {
			k.Fatalf("%s: of severity %d there are %d, and should be none", promise, severity, n)
		}
	}
}

// holds compares all records, however they are read, and names the promise if they
// differ.
func (k records) holds(promise string, s inventory.Store, want ...inventory.Record) {
	k.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b inventory.Record) int { return cmp.Compare(a.EnrollmentID, b.EnrollmentID) })
	serials := map[string][]inventory.Record{}
	for _, r := range want {
		k.wants(promise, []inventory.Record{k.get(s, r.EnrollmentID)}, r)
		serials[r.Facts.SerialNumber] = append(serials[r.Facts.SerialNumber], r)
	}
	for serialNumber, of := range serials {
		if serialNumber != "" {
			k.wants(promise+" (BySerialNumber)", k.ofSerial(s, serialNumber), of...)
		}
	}
	k.sees(promise+" (List)", k.all(s, inventory.Query{Limit: inventory.MaxPage}), inventory.Query{}, want)
	k.counts(promise+" (Totals)", s, inventory.Filter{}, noon, want)
}

// unwritten checks that nothing came of a call.
func (k records) unwritten(promise string, before ...inventory.Record) {
	k.Helper()
	for _, s := range []inventory.Store{k.store, k.open()} {
		k.holds(promise, s, before...)
	}
}

func (k records) none() {
	const (
		promise = "none is not an error"
		missing = "it is ErrNotFound if there is no such record"
		claims  = "it is ErrNotClaimed if there is no claim"
	)
	nothing := func() {
		k.Helper()
		for _, id := range []string{"1", "another", longest(0), "\x01", " ", "", "a\x00", "\xff", longest(0) + "0"} {
			r, err := k.store.Get(k.ctx, id)
			k.fails(missing, err, inventory.ErrNotFound)
			if !reflect.ValueOf(r).IsZero() {
				k.Errorf("%s: Get returns the zero Record: it returns another", missing)
			}
			if list, err := k.store.BySerialNumber(k.ctx, id); err != nil || len(list) > 0 {
				k.Errorf("%s: BySerialNumber returns %d records and the error %v", promise, len(list), err)
			}
			k.fails(claims, k.store.Release(k.ctx, inventory.Claim{EnrollmentID: id, Token: "token"}), inventory.ErrNotClaimed)
		}
	}
	nothing()
	k.holds(promise, k.store)
	if n := len(k.claim(k.store, noon, noon.Add(time.Hour), 10)); n > 0 {
		k.Errorf("%s: Claim claims %d records", promise, n)
	}
	blank := inventory.Record{EnrollmentID: "2"}
	k.update(k.store, "2", func(*inventory.Record) {})
	for _, id := range []string{"2", "another"} {
		for _, token := range []string{"", "token", "\xff", longest(0) + "0"} {
			k.fails(claims, k.store.Release(k.ctx, inventory.Claim{EnrollmentID: id, Token: token}), inventory.ErrNotClaimed)
		}
	}
	if n := len(k.claim(k.store, noon, noon.Add(time.Hour), 10)); n > 0 {
		k.Errorf("a record whose DueAt is zero is never due: Claim claims %d", n)
	}
	k.holds("an update makes the record, also if change leaves it empty", k.store, blank)
	nothing()
	k.holds("what is not there is not made by looking for it", k.store, blank)
}

func (k records) newRecord() {
	const promise = "a new record keeps every field"
	want := []inventory.Record{k.record("1"), record(k.T, "2", 2), {EnrollmentID: "3"}}
	k.write(k.store, want...)
	k.holds(promise, k.store, want...)

	// Each field alone, so that none hides behind another, and each alone missing.
	full := k.record("")
	for i, f := range fieldsOf(&full) {
		if f.name == "EnrollmentID" {
			continue
		}
		alone := inventory.Record{EnrollmentID: fmt.Sprint("only ", i)}
		fieldsOf(&alone)[i].value.Set(detach(f.value))
		without := k.record(fmt.Sprint("without ", i))
		fieldsOf(&without)[i].value.SetZero()
		k.write(k.store, alone, without)
		want = append(want, alone, without)
	}
	for n := range 20 { // as many findings, groups and pieces of evidence as there can be, and more
		r := inventory.Record{EnrollmentID: fmt.Sprint(n, " of all"), Exchanges: map[string]inventory.Exchange{}}
		for i := range n {
			other := record(k.T, "", i+2)
			r.Summary.Findings = append(r.Summary.Findings, other.Summary.Findings[i%2])
			r.Evidence = append(r.Evidence, other.Evidence[i%2])
			r.Exchanges[fmt.Sprint("Command", i)] = other.Exchanges["One"]
			r.SetGroups(append(r.Groups, fmt.Sprint("Group ", i))...)
		}
		k.write(k.store, r)
		want = append(want, r)
	}
	k.holds(promise, k.store, want...)
}

func (k records) changedRecord() {
	const promise = "an update changes every field, and no other record"
	others := []inventory.Record{k.record("0"), record(k.T, "2", 2), {EnrollmentID: "3"}}
	k.write(k.store, others...)
	r := k.record("1")
	check := func() {
		k.Helper()
		before, err := k.store.Get(k.ctx, "1")
		k.update(k.store, "1", func(passed *inventory.Record) {
			if d := differs(before, *passed); err == nil && d != "" {
				k.Errorf("Update passes what Get returns: %s", d)
			}
			*passed = separate(r)
		})
		k.holds(promise, k.store, append(others, r)...)
	}
	check()
	for i, f := range fieldsOf(&r) {
		if f.name == "EnrollmentID" {
			continue
		}
		for n := range 3 { // changed, emptied, filled again
			if n == 1 {
				f.value.SetZero()
			} else {
				next := record(k.T, "1", n+i)
				f.value.Set(detach(fieldsOf(&next)[i].value))
			}
			check()
		}
	}
	r = inventory.Record{EnrollmentID: "1"}
	check()
	check() // which changes nothing
	r = record(k.T, "1", 3)
	check()
	// Groups and findings come and go.
	for i := range 8 {
		r.Groups, r.Summary.Findings = nil, nil
		for j := range 3 {
			if i>>j&1 == 1 {
				r.Groups = append(r.Groups, fmt.Sprint("group ", j))
				r.Summary.Findings = append(r.Summary.Findings, inventory.Finding{Kind: inventory.FindingKind(fmt.Sprint("finding ", j)), Severity: 2, Since: noon})
			}
		}
		check()
		for j := range 3 {
			f := inventory.Filter{Groups: []string{fmt.Sprint("group ", j)}}
			k.sees(promise+" (Filter.Groups)", k.list(k.store, inventory.Query{Filter: f, Limit: 10}), inventory.Query{Filter: f}, append(others, r))
			f = inventory.Filter{Findings: []inventory.FindingKind{inventory.FindingKind(fmt.Sprint("finding ", j))}}
			k.sees(promise+" (Filter.Findings)", k.list(k.store, inventory.Query{Filter: f, Limit: 10}), inventory.Query{Filter: f}, append(others, r))
		}
	}
}

func (k records) limits() {
	const promise = "a record keeps every field up to the limits"
	var want []inventory.Record
	for i := range 4 {
		text := longest(i)
		if i%2 == 1 { // some formats have six bytes for each of these
			text = strings.Repeat("\x01", escrow.MaxIdentifier)
		}
		r := k.record(longest(i))
		walk("", reflect.ValueOf(&r).Elem(), func(f field) {
			switch {
			case f.name == "EnrollmentID":
			case f.value.Kind() == reflect.String:
				f.value.SetString(text)
			case f.value.Kind() == reflect.Int:
				f.value.SetInt(math.MaxInt32)
			}
		})
		r.Groups = nil
		for j := range 200 {
			r.Groups = append(r.Groups, fmt.Sprintf("%03d", j)+text[:len(text)-3])
		}
		if i%2 == 0 {
			r.Groups = r.Groups[:0]
			for j := range 200 {
				r.Groups = append(r.Groups, fmt.Sprintf("%03d", j)+strings.Repeat("\u00e9", 126))
			}
		}
		for len(r.Evidence) < 32 {
			r.Evidence = append(r.Evidence, r.Evidence...)
		}
		k.write(k.store, r)
		want = append(want, r)
		k.holds(promise, k.store, want...)
	}
	for i := range want { // and back
		want[i] = inventory.Record{EnrollmentID: want[i].EnrollmentID}
		k.write(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
}

func (k records) strings() {
	const promise = "strings are kept byte by byte"
	var want []inventory.Record
	for i, s := range append([]string{"<a href=\"x\">&amp;</a>", "\u2028\u2029", "\\u0041", "{}", "\"}", "3:abc", "1 0 0 1:x", "\x02", "\x03", "\x1f"}, strange...) {
		a, b := k.record("same"), k.record(fmt.Sprint("s", i))
		for _, r := range []*inventory.Record{&a, &b} {
			walk("", reflect.ValueOf(r).Elem(), func(f field) {
				if f.value.Kind() == reflect.String && f.name != "EnrollmentID" {
					f.value.SetString(s)
				}
			})
			r.Groups = []string{s, s + "~"}
			if len(s) >= escrow.MaxIdentifier {
				r.Groups = []string{s}
			}
		}
		k.write(k.store, a)
		k.wants(promise, []inventory.Record{k.get(k.store, "same")}, a)
		k.write(k.store, b)
		want = append(want, b)
		if i == 0 {
			want = append(want, a)
		}
		want[1] = a
	}
	k.holds(promise, k.store, want...)
}

func (k records) times() {
	const promise = "times are returned as they came: in UTC, in whole microseconds, zero as zero"
	var want []inventory.Record
	for i, at := range []time.Time{
		noon,
		{},
		noon.Add(time.Microsecond),
		noon.Add(999_999 * time.Microsecond),
		time.Unix(0, 0).UTC(), // not zero
		time.Unix(-1, 999_999_000).UTC(),
		time.Date(1969, 7, 20, 20, 17, 40, 123_456_000, time.UTC),
		time.Date(1582, 10, 10, 1, 2, 3, 4000, time.UTC),
		time.Date(2000, 2, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), // clocks in Europe go forward
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		a, b := k.record("same"), k.record(fmt.Sprintf("%02d", i))
		for _, r := range []*inventory.Record{&a, &b} {
			walk("", reflect.ValueOf(r).Elem(), func(f field) {
				if p, ok := f.value.Addr().Interface().(*time.Time); ok {
					*p = at
				}
			})
		}
		k.write(k.store, a, b)
		k.wants(promise, []inventory.Record{k.get(k.store, "same")}, a)
		want = append(want, b)
		if i == 0 {
			want = append(want, a)
		}
		want[1] = a
	}
	k.holds(promise, k.store, want...)
	q := inventory.Query{Sort: inventory.ByLastSeen, Limit: 3}
	k.sees(promise+", and sorted", k.all(k.store, q), q, want)
}

func (k records) identifiers() {
	const exact = "identifiers are compared byte by byte"
	var want []inventory.Record
	for i, id := range strange {
		r := record(k.T, id, i)
		r.Facts.SerialNumber = strange[(i+7)%len(strange)]
		r.Groups = []string{id}
		r.Summary.Findings = []inventory.Finding{{Kind: inventory.FindingKind(id), Severity: 1}}
		r.Summary.DueAt = noon
		want = append(want, r)
		k.write(k.store, r)
	}
	k.holds(exact, k.store, want...)
	for i, r := range want {
		r.LastSeen = noon.Add(time.Duration(i) * time.Second)
		k.write(k.store, r)
		want[i] = r
	}
	k.holds(exact, k.store, want...)
	for _, id := range strange {
		for name, f := range map[string]inventory.Filter{
			"Groups": {Groups: []string{id}}, "Findings": {Findings: []inventory.FindingKind{inventory.FindingKind(id)}},
		} {
			q := inventory.Query{Filter: f, Limit: 10}
			k.sees(exact+" (Filter."+name+")", k.list(k.store, q), q, want)
		}
	}
	for _, c := range k.claim(k.store, noon, noon.Add(time.Hour), len(want)+1) {
		k.noError("Release", k.store.Release(k.ctx, c))
		k.fails(exact+": Release", k.store.Release(k.ctx, c), inventory.ErrNotClaimed)
	}
	for _, id := range []string{"aBc ", "abc   ", "  abc", "ab%", "ab_", "\u00c9 ", "Ss", "abc\u200c"} {
		if list := k.ofSerial(k.store, id); len(list) > 0 {
			k.Errorf("%s: BySerialNumber returns %d records of a serial number that has none", exact, len(list))
		}
		_, err := k.store.Get(k.ctx, id)
		k.fails(exact+": Get", err, inventory.ErrNotFound)
	}
}

func (k records) bySerialNumber() {
	const promise = "BySerialNumber returns the records that claim a serial number, by enrollment ID"
	random := k.random()
	var want []inventory.Record
	for i, id := range strange {
		r := record(k.T, id, i)
		r.Facts.SerialNumber = []string{"", "one", "two", "One"}[i%4]
		want = append(want, r)
	}
	for _, i := range random.Perm(len(want)) {
		k.write(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
	if list := k.ofSerial(k.store, ""); len(list) > 0 {
		k.Errorf("no record claims the serial number \"\": BySerialNumber returns %d", len(list))
	}
	for _, i := range random.Perm(len(want))[:9] {
		want[i].Facts.SerialNumber = "two"
		k.write(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
}

// fixed has changes do what they may not. A store may refuse that, or leave it
// out.
func (k records) fixed() {
	const promise = "the enrollment ID of a record stays as it is"
	want := []inventory.Record{k.record("1"), k.record("2")}
	k.write(k.store, want...)
	for i, other := range []string{"2", "another", "", "new"} {
		for j, id := range []string{"1", "new"} {
			err := k.store.Update(k.ctx, id, func(r *inventory.Record) error {
				r.EnrollmentID, r.ParentID = other, fmt.Sprint(i, j)
				return nil
			})
			for _, s := range []inventory.Store{k.store, k.open()} {
				r, missing := s.Get(k.ctx, id)
				if missing == nil && r.EnrollmentID != id {
					k.Fatalf("%s: one did not", promise)
				}
				if _, lost := s.Get(k.ctx, other); lost == nil && other != "2" && other != id {
					k.Fatalf("%s: there is a record of another", promise)
				}
				k.wants(promise, []inventory.Record{k.get(s, "2")}, want[1])
				if err != nil && id == "1" {
					k.wants("nothing is written when an update gives an error", []inventory.Record{r}, want[0])
				}
				if id == "1" && missing == nil {
					want[0] = r // what else came of it is the store's to say
				}
			}
		}
	}
}

func (k records) reopen() {
	const (
		seen = "a call that returns without an error is durable: another handle sees it at once"
		kept = "a call that returns without an error is durable: a store that is opened again has it"
	)
	other := k.open()
	k.holds(seen, other)
	a, b, c := k.record("a"), record(k.T, "b", 2), record(k.T, "c", 3)
	a.Summary.DueAt, b.Summary.DueAt, c.Summary.DueAt = noon, noon, time.Time{}
	k.write(k.store, a)
	k.holds(seen, other, a)
	k.write(other, b)
	k.holds(seen, k.store, a, b)
	a.Facts.DeviceName = "new name"
	k.write(other, a)
	k.holds(seen, k.store, a, b)
	claims := k.claim(k.store, noon, noon.Add(time.Hour), 1)
	k.sameIDs("those due longest come first", "claims", idsOfClaims(claims), []string{"a"})
	k.sameIDs(seen, "claims", idsOfClaims(k.claim(other, noon, noon.Add(time.Hour), 10)), []string{"b"})

	again := k.open()
	k.holds(kept, again, a, b)
	if n := len(k.claim(again, noon, noon.Add(time.Hour), 10)); n > 0 {
		k.Errorf("%s: %d records that were claimed can be claimed again", kept, n)
	}
	k.noError("Release by another handle", again.Release(k.ctx, claims[0]))
	k.write(again, c)
	for _, s := range []inventory.Store{k.store, other, again} {
		k.holds(kept, s, a, b, c)
	}
	k.sameIDs(kept, "claims", idsOfClaims(k.claim(other, noon, noon.Add(time.Hour), 10)), []string{"a"})
}
