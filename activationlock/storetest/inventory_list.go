package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var sortColumns = []inventory.Column{
	inventory.ByEnrollmentID, inventory.BySerialNumber, inventory.ByDeviceName, inventory.ByLastSeen, inventory.BySeverity,
}

// orders returns a query for each order.
func orders(f inventory.Filter) (all []inventory.Query) {
	for _, c := range sortColumns {
		all = append(all, inventory.Query{Filter: f, Sort: c}, inventory.Query{Filter: f, Sort: c, Descending: true})
	}
	return all
}

// lists compares pages, however large, with all rows that fit a query.
func (k records) lists(promise string, s inventory.Store, q inventory.Query, of []inventory.Record) {
	k.Helper()
	if q.Descending {
		promise += " (descending)"
	}
	k.sees(fmt.Sprintf("%s, sorted by %q", promise, q.Sort), k.all(s, q), q, of)
}

// fleet returns records with values that are in each other's way.
func fleet(random *rand.Rand, n int) (all []inventory.Record) {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	for i := range n {
		r := inventory.Record{EnrollmentID: fmt.Sprintf("%s%d", pick("", "a", "A", "b", "\u00e9", "%", "_", "\\", "~", "zz "), i)}
		r.Facts.SerialNumber = pick("", "", "C02", "c02", "C02\u00e9", "X%Y", "X_Y", "X\\Y", "XaY", "serial")
		r.Facts.DeviceName = pick("", "iPad van Zo\u00eb", "iPad", "ipad", "IPAD ", "50% off", "a_b", "a\\b", "\U0001F511", "\x01", "\x02", "\x03")
		r.Facts.ModelName = pick("", "iPhone 17", "MacBook Air", "MacBook\nAir", "%")
		r.Facts.ProductName = pick("", "iPhone17,3", "iPad8,1", "Mac14,2", "Watch7,1", "AppleTV11,1", "other")
		r.Facts.OSVersion = pick("", "18.4", "26.0.1")
		r.Ownership = inventory.Ownership(pick("", "company", "personal", "Company"))
		if s := pick("", "yes", "no"); s != "" {
			r.Facts.Supervised = new(s == "yes")
		}
		if pick("seen", "never") == "seen" {
			r.LastSeen = noon.Add(time.Duration(random.IntN(9)-4) * time.Microsecond)
		}
		if pick("", "live") != "" {
			r.TokenAt = noon
			if pick("", "", "ended") != "" {
				r.CheckedOutAt = noon
			}
		}
		for _, g := range []string{"sales", "Sales", "a%", "a_", "\u00e9", "team 1"} {
			if random.IntN(4) == 0 {
				r.Groups = append(r.Groups, g)
			}
		}
		r.SetGroups(r.Groups...)
		s := &r.Summary
		s.Status = activationlock.Status(pick("", "notEnabled", "enabledWithBypassCode", "enabledWithoutBypassCodeUnreachable", "notenabled"))
		s.LockKind = activationlock.LockKind(pick("", "user", "organization"))
		s.Reassign = activationlock.Verdict(pick("", "yes", "no", "Yes"))
		for _, at := range []*time.Time{&s.CodeSince, &s.InventoryAt, &s.DueAt, &s.At} {
			if random.IntN(2) == 0 {
				*at = noon.Add(time.Duration(random.IntN(5)-2) * time.Microsecond)
			}
		}
		for _, kind := range []inventory.FindingKind{inventory.MayLock, inventory.NotSeen, inventory.Conflict, "maylock"} {
			if random.IntN(5) == 0 {
				s.Findings = append(s.Findings, inventory.Finding{
					Kind: kind, Severity: inventory.Severity(1 + random.IntN(3)), Since: noon.Add(time.Duration(random.IntN(9)) * time.Hour), Days: random.IntN(3) - 1,
				})
			}
		}
		slices.SortStableFunc(s.Findings, func(a, b inventory.Finding) int { return int(b.Severity - a.Severity) })
		all = append(all, r)
	}
	return all
}

func (k records) sorted() {
	const promise = "rows come in the order of the query, and those of the same value by enrollment ID"
	random := k.random()
	all := fleet(random, 60)
	for i, s := range strange {
		r := inventory.Record{EnrollmentID: fmt.Sprint("strange ", i), LastSeen: time.Date(1582+i*60, 1, 2, 3, 4, 5, i*1000, time.UTC)}
		r.Facts.SerialNumber, r.Facts.DeviceName = s, strange[len(strange)-1-i]
		r.Summary.Findings = []inventory.Finding{{Severity: inventory.Severity(i % 12)}}
		all = append(all, r)
	}
	for _, i := range random.Perm(len(all)) {
		k.write(k.store, all[i])
	}
	for _, q := range orders(inventory.Filter{}) {
		for _, q.Limit = range []int{inventory.MaxPage, 7, 1} {
			k.lists(promise, k.store, q, all)
		}
		q.Limit = 9 // pages enough for a place to be read into again
		k.streams(q, all)
	}
	if _, err := k.store.List(k.ctx, inventory.Query{Sort: "enrollment_id", Limit: 1}); err == nil {
		k.Errorf("List gives an error for a column that rows are not sorted by: it gives none")
	}
}

func (k records) cursors() {
	const promise = "List is ErrCursor for an After that is no cursor, or one of another order"
	all := fleet(k.random(), 12)
	k.write(k.store, all...)
	for i, q := range orders(inventory.Filter{}) {
		q.Limit = 5
		row := k.list(k.store, q)[4]
		for j, other := range orders(inventory.Filter{}) {
			other.Limit, other.After = 5, row.Cursor
			if _, err := k.store.List(k.ctx, other); i != j {
				k.fails(promise, err, inventory.ErrCursor)
			} else {
				k.noError("List", err)
			}
		}
		q.Filter.Live = true // the filter may change
		q.After = row.Cursor
		k.noError("List", func() error { _, err := k.store.List(k.ctx, q); return err }())
		for _, after := range []string{
			"x", " ", "\x00", "\xff", "%", "'", row.EnrollmentID + "!", row.Cursor + "!", row.Cursor + "=", " " + row.Cursor, row.Cursor[:1], row.Cursor + "\n",
			strings.Repeat("A", 3000),
		} {
			q.After = after
			_, err := k.store.List(k.ctx, q)
			k.fails(promise, err, inventory.ErrCursor)
		}
		for n := range row.Cursor { // half of one, or another: no more than an error
			for _, after := range []string{row.Cursor[:n], row.Cursor[:n] + "A" + row.Cursor[n+1:], row.Cursor[:n] + "_" + row.Cursor[n+1:]} {
				q.After = after
				if _, err := k.store.List(k.ctx, q); err != nil {
					k.fails(promise, err, inventory.ErrCursor)
				}
			}
		}
	}
	// The row that a cursor is of may be gone from there.
	const gone = "pages go on after a row that has changed"
	q := inventory.Query{Sort: inventory.ByDeviceName, Limit: 6}
	page := k.list(k.store, q)
	last := page[5]
	rest := model(q, all)[6:]
	k.update(k.store, last.EnrollmentID, func(r *inventory.Record) { r.Facts.DeviceName = "" })
	q.After, q.Limit = last.Cursor, 100
	k.sameIDs(gone, "rows", idsOfRows(k.list(k.store, q)), idsOfRows(rest))
	// The cursor of every row, from the other handle.
	for _, q := range orders(inventory.Filter{}) {
		q.Limit = 100
		rows := k.list(k.store, q)
		other := k.open()
		for i := range rows {
			q.After, q.Limit = "", i+1
			q.After, q.Limit = k.list(k.store, q)[i].Cursor, 100
			k.sameIDs("a page begins after the row of its cursor", "rows", idsOfRows(k.list(other, q)), idsOfRows(rows[i+1:]))
		}
	}
}

func (k records) pages() {
	const promise = "a limit below 1 gives no rows, and one above MaxPage is MaxPage"
	const n = inventory.MaxPage + 5
	var all []inventory.Record
	for i := range n {
		r := inventory.Record{EnrollmentID: fmt.Sprintf("%05d", i)}
		r.Facts.DeviceName = fmt.Sprint(i % 2)
		all = append(all, r)
	}
	k.together(8, func(i int, s inventory.Store) {
		for j := i; j < n; j += 8 {
			k.changes(s, all[j].EnrollmentID, func(r *inventory.Record) { *r = separate(all[j]) })
		}
	})
	for _, limit := range []int{0, -1, math.MinInt} {
		if rows, err := k.store.List(k.ctx, inventory.Query{Limit: limit}); err != nil || len(rows) > 0 {
			k.Errorf("%s: with %d there are %d, and the error is %v", promise, limit, len(rows), err)
		}
	}
	for _, limit := range []int{inventory.MaxPage, inventory.MaxPage + 1, math.MaxInt32, math.MaxInt} {
		if rows := k.list(k.store, inventory.Query{Limit: limit}); len(rows) != inventory.MaxPage {
			k.Errorf("%s: with %d there are %d", promise, limit, len(rows))
		}
	}
	k.streams(inventory.Query{Sort: inventory.ByDeviceName, Descending: true}, all) // most of the first page has the same name
}

// streams compares what Rows gives with all rows that fit a query.
func (k records) streams(q inventory.Query, of []inventory.Record) {
	k.Helper()
	var rows []inventory.Row
	for r, err := range inventory.Rows(k.ctx, k.store, q) {
		k.noError("Rows", err)
		r.Cursor = ""
		rows = append(rows, r)
	}
	k.sees("Rows streams all rows of a query", rows, q, of)
}

func (k records) text() {
	const promise = "Filter.Text is part of a serial number, an enrollment ID, or the name of the device or its model, whatever the case of ASCII letters, and nothing else"
	var all []inventory.Record
	for i, s := range append(fleetTexts(), strange...) {
		r := inventory.Record{EnrollmentID: fmt.Sprint("id ", i)}
		f := &r.Facts
		*[]*string{&f.SerialNumber, &f.DeviceName, &f.ModelName, &f.UDID, &f.ProductName, &f.OSVersion}[i%6] = s
		all = append(all, r)
	}
	all = append(all, inventory.Record{EnrollmentID: "both", Facts: inventory.Facts{SerialNumber: "first", DeviceName: "second", ModelName: "third"}})
	k.write(k.store, all...)
	for _, part := range append([]string{
		"st", "ID 1", "id", "firstboth", "first both", "thsecond", "t\x01b", "t\x02b", "t\x03b", "t\nb", "t\x1fb", "t|b", "t b", "\x03both", "first\x03", "\x03", "\x02", "\x01\x02", "\x01\x01",
		"%%", "__", "i%", "50%", "%o", "x\\%", "\\_", "a!b", "!", "!%", "\u00c9", "\u00e9", "\u0130", "STRASSE", "\U0001F511", "\xff", "\xc3", "a\x00", "\x00", longest(0) + "0", longest(0)[1:],
		strings.Repeat("%", 255), strings.Repeat("a", 10_000), "NULL", "'", "\"", ";--",
	}, append(fleetTexts(), strange...)...) {
		q := inventory.Query{Filter: inventory.Filter{Text: part}, Limit: inventory.MaxPage}
		k.sees(promise, k.list(k.store, q), q, all)
		k.counts(promise+" (Totals)", k.store, q.Filter, noon, all)
	}
}

func fleetTexts() []string {
	return []string{
		"50% off", "a_b", "a\\b", "a\\%b", "a\\_b", "axb", "a%b", "a!b", "a!%b", "iPad van Zo\u00eb", "IPAD VAN ZO\u00cb", "x\x01y", "x\x02y", "x\x03y", "x\x01\x02y", "\x01\x01\x01\x02", "\x01\x01\x02\x02",
		"\x01\x02\x02\x02", "stra\u00dfe", "[a-z]", "^a", ".*", "a\nb", "\u212a",
	}
}

func (k records) filters() {
	const promise = "a query returns the records that fit each field of its filter that is set"
	random := k.random()
	all := fleet(random, 80)
	k.write(k.store, all...)
	yes, no := true, false
	for _, f := range []inventory.Filter{
		{}, {Live: true}, {Supervised: &yes}, {Supervised: &no}, {Severity: 1}, {Severity: 2}, {Severity: 3}, {Severity: 4}, {Severity: -1},
		{Statuses: []activationlock.Status{""}}, {Statuses: []activationlock.Status{"notEnabled"}}, {Statuses: []activationlock.Status{"notEnabled", "", "notEnabled"}},
		{Statuses: []activationlock.Status{"nothing"}}, {Statuses: []activationlock.Status{"\xff"}}, {Statuses: []activationlock.Status{"\x00", "notEnabled"}},
		{Ownerships: []inventory.Ownership{inventory.Company}}, {Ownerships: []inventory.Ownership{inventory.OwnershipUnknown, inventory.Personal}},
		{Groups: []string{"sales"}}, {Groups: []string{"sales", "\u00e9", "sales"}}, {Groups: []string{"a_"}}, {Groups: []string{""}}, {Groups: []string{"\xff"}},
		{Groups: []string{"SALES"}}, {Groups: []string{string(inventory.MayLock)}}, {Groups: []string{longest(0) + "0"}},
		{Platforms: []mdmcmd.Platform{mdmcmd.IOS}}, {Platforms: []mdmcmd.Platform{mdmcmd.MacOS, ""}}, {Platforms: []mdmcmd.Platform{"ios"}},
		{Findings: []inventory.FindingKind{inventory.MayLock}}, {Findings: []inventory.FindingKind{inventory.MayLock, inventory.NotSeen}},
		{Findings: []inventory.FindingKind{"sales"}}, {Findings: []inventory.FindingKind{"nothing"}},
		{Reassign: []activationlock.Verdict{activationlock.Yes}}, {Reassign: []activationlock.Verdict{"", activationlock.No}},
		{Statuses: []activationlock.Status{}, Groups: []string{}, Findings: []inventory.FindingKind{}},
		{Groups: []string{"sales"}, Findings: []inventory.FindingKind{inventory.NotSeen}, Live: true},
		{Text: "ipad", Severity: 2}, {Text: "%", Live: true},
	} {
		for _, q := range orders(f) {
			q.Limit = 1 + random.IntN(9)
			k.lists(promise, k.store, q, all)
		}
		k.counts("Totals counts the records that fit a filter", k.store, f, noon, all)
	}
	for _, now := range []time.Time{noon.Add(-3 * time.Microsecond), noon.Add(time.Microsecond), noon.Add(time.Hour), time.Unix(0, 0).UTC()} {
		k.counts("Totals counts what was due before now", k.store, inventory.Filter{}, now, all)
	}
}

func (k records) randomQueries() {
	const promise = "a query returns the records that fit its filter, in its order"
	random := k.random()
	all := fleet(random, 120)
	k.write(k.store, all...)
	for range 60 {
		if i := random.IntN(len(all)); random.IntN(3) == 0 { // some change meanwhile
			id := all[i].EnrollmentID
			all[i] = fleet(random, 1)[0]
			all[i].EnrollmentID = id
			k.write(k.store, all[i])
		}
		of := all[random.IntN(len(all))] // so that something fits
		var f inventory.Filter
		maybe := func(set func()) {
			if random.IntN(5) == 0 {
				set()
			}
		}
		maybe(func() { f.Statuses = []activationlock.Status{of.Summary.Status, "notEnabled"}[:1+random.IntN(2)] })
		maybe(func() { f.Ownerships = []inventory.Ownership{of.Ownership, inventory.Personal}[:1+random.IntN(2)] })
		maybe(func() { f.Groups = append(slices.Clone(of.Groups), "team 1")[:1+random.IntN(1+len(of.Groups))] })
		maybe(func() { f.Platforms = []mdmcmd.Platform{of.Facts.Platform(), mdmcmd.IOS}[:1+random.IntN(2)] })
		maybe(func() { f.Findings = []inventory.FindingKind{inventory.MayLock, inventory.Conflict}[:1+random.IntN(2)] })
		maybe(func() { f.Supervised = of.Facts.Supervised })
		maybe(func() { f.Reassign = []activationlock.Verdict{of.Summary.Reassign} })
		maybe(func() { f.Severity = inventory.Severity(random.IntN(4)) })
		maybe(func() { f.Live = true })
		maybe(func() {
			name := []rune(of.Facts.DeviceName + of.EnrollmentID)
			f.Text = string(name[random.IntN(len(name)):])
		})
		q := inventory.Query{Filter: f, Sort: sortColumns[random.IntN(len(sortColumns))], Descending: random.IntN(2) == 0, Limit: 1 + random.IntN(40)}
		k.lists(promise, k.store, q, all)
		k.counts("Totals counts the records that fit a filter", k.store, f, noon.Add(time.Duration(random.IntN(5)-2)*time.Microsecond), all)
	}
}
