package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

type (
	write   = func(*inventory.Record) error
	devices = []inventory.Record
	claimed = []inventory.Claim
	report  = []inventory.Row
	claim   = func(ctx context.Context, now, until time.Time, limit int) (claimed, error)
)

// recordStore is a store whose methods can be exchanged. It begins as one that
// keeps every promise.
type recordStore struct {
	update   func(ctx context.Context, id string, change write) error
	get      func(ctx context.Context, id string) (inventory.Record, error)
	bySerial func(ctx context.Context, serialNumber string) (devices, error)
	claim    func(ctx context.Context, now, until time.Time, limit int) (claimed, error)
	release  func(ctx context.Context, c inventory.Claim) error
	list     func(ctx context.Context, q inventory.Query) (report, error)
	totals   func(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error)
}

func (s *recordStore) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return s.update(ctx, id, change)
}
func (s *recordStore) Get(ctx context.Context, id string) (inventory.Record, error) {
	return s.get(ctx, id)
}
func (s *recordStore) BySerialNumber(ctx context.Context, serialNumber string) ([]inventory.Record, error) {
	return s.bySerial(ctx, serialNumber)
}
func (s *recordStore) Claim(ctx context.Context, now, until time.Time, limit int) ([]inventory.Claim, error) {
	return s.claim(ctx, now, until, limit)
}
func (s *recordStore) Release(ctx context.Context, c inventory.Claim) error { return s.release(ctx, c) }
func (s *recordStore) List(ctx context.Context, q inventory.Query) ([]inventory.Row, error) {
	return s.list(ctx, q)
}
func (s *recordStore) Totals(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error) {
	return s.totals(ctx, f, now)
}

func keeping(s inventory.Store) *recordStore {
	return &recordStore{s.Update, s.Get, s.BySerialNumber, s.Claim, s.Release, s.List, s.Totals}
}

// changes changes what change does.
func (s *recordStore) changes(do func(ctx context.Context, r *inventory.Record, change write) error) {
	update := s.update
	s.update = func(ctx context.Context, id string, change write) error {
		return update(ctx, id, func(r *inventory.Record) error { return do(ctx, r, change) })
	}
}

// in changes each record that is written.
func (s *recordStore) in(edit func(r *inventory.Record)) {
	s.changes(func(_ context.Context, r *inventory.Record, change write) error {
		err := change(r)
		*r = r.Clone()
		edit(r)
		return err
	})
}

// out changes each record that is read.
func (s *recordStore) out(edit func(r *inventory.Record)) {
	get, bySerial := s.get, s.bySerial
	s.get = func(ctx context.Context, id string) (inventory.Record, error) {
		r, err := get(ctx, id)
		if err == nil {
			edit(&r)
		}
		return r, err
	}
	s.bySerial = func(ctx context.Context, serialNumber string) (devices, error) {
		list, err := bySerial(ctx, serialNumber)
		for i := range list {
			edit(&list[i])
		}
		return list, err
	}
}

// rows changes each row that is read.
func (s *recordStore) rows(edit func(r *inventory.Row)) {
	s.pages(func(_ inventory.Query, page report) report {
		for i := range page {
			edit(&page[i])
		}
		return page
	})
}

// pages changes the pages that are read.
func (s *recordStore) pages(edit func(q inventory.Query, page report) report) {
	list := s.list
	s.list = func(ctx context.Context, q inventory.Query) (report, error) {
		page, err := list(ctx, q)
		return edit(q, page), err
	}
}

// asks changes what is asked of List.
func (s *recordStore) asks(edit func(q *inventory.Query)) {
	list := s.list
	s.list = func(ctx context.Context, q inventory.Query) (report, error) {
		edit(&q)
		return list(ctx, q)
	}
}

// counts changes what is asked of Totals, and then what comes of it.
func (s *recordStore) counts(ask func(*inventory.Filter, *time.Time), edit func(*inventory.Totals)) {
	totals := s.totals
	s.totals = func(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error) {
		ask(&f, &now)
		t, err := totals(ctx, f, now)
		edit(&t)
		return t, err
	}
}

func (s *recordStore) claims(do func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error)) {
	claim := s.claim
	s.claim = func(ctx context.Context, now, until time.Time, limit int) (claimed, error) {
		return do(ctx, now, until, limit, claim)
	}
}

// brokenInventory is a store of records that breaks one promise.
type brokenInventory struct {
	name    string
	at      string // the case that finds it
	promise string // what the failure says
	bend    func(*recordStore)
	apart   bool // each handle has a storage of its own
}

func (b brokenInventory) handles() func() inventory.Store {
	under := memstore.New()
	var once sync.Once
	s := keeping(under.Inventory())
	return func() inventory.Store {
		if b.apart {
			return memstore.New().Inventory()
		}
		once.Do(func() { b.bend(s) })
		return s
	}
}

func asIs(*inventory.Filter, *time.Time) {}

const (
	keepsRecord  = "a new record keeps every field"
	recordTimes  = "times are returned as they came: in UTC, in whole microseconds"
	byteByByte   = "identifiers are compared byte by byte"
	rowOrder     = "rows come in the order of the query, and those of the same value by enrollment ID"
	wantsCursor  = "List is ErrCursor for an After that is no cursor, or one of another order"
	partOf       = "Filter.Text is part of a serial number, an enrollment ID, or the name of the device or its model"
	fits         = "a query returns the records that fit each field of its filter that is set"
	countsAll    = "Totals counts the records that fit a filter"
	dueOrder     = "records are claimed in the order in which they became due"
	claimIsOver  = "a claim is over when its time is reached"
	notClaimed   = "it is ErrNotClaimed if another claim has taken its place, or none is there"
	ownUpdates   = "two updates of one record never overlap"
	nothingIsPut = "nothing is written when change"
	pageInPlace  = "a page that comes in the place of another has its own rows"
)

var brokenInventories = []brokenInventory{
	{name: "has no records", at: "None", promise: "gives no error where nothing is wrong", bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			if len(page) == 0 {
				err = cmp.Or(err, errBusy)
			}
			return page, err
		}
	}},
	{name: "returns an empty record", at: "None", promise: "it is ErrNotFound if there is no such record", bend: func(s *recordStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			if errors.Is(err, inventory.ErrNotFound) {
				return inventory.Record{EnrollmentID: id}, nil
			}
			return r, err
		}
	}},
	{name: "makes a record by looking", at: "None", promise: "what is not there is not made by looking for it", bend: func(s *recordStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			if errors.Is(err, inventory.ErrNotFound) && id == "another" {
				if page, _ := s.list(ctx, inventory.Query{Limit: 1}); len(page) > 0 {
					_ = s.update(ctx, id, func(*inventory.Record) error { return nil })
				}
			}
			return r, err
		}
	}},
	{name: "makes no empty record", at: "None", promise: "an update makes the record, also if change leaves it empty", bend: func(s *recordStore) {
		s.pages(func(_ inventory.Query, page report) report {
			return slices.DeleteFunc(page, func(r inventory.Row) bool { return r.EnrollmentID == "2" && r.SerialNumber == "" })
		})
	}},
	{name: "releases what was never claimed", at: "None", promise: "it is ErrNotClaimed if there is no claim", bend: func(s *recordStore) {
		s.release = func(ctx context.Context, _ inventory.Claim) error { return ctx.Err() }
	}},
	{name: "claims what is never due", at: "None", promise: "a record whose DueAt is zero is never due", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			if page, _ := s.list(ctx, inventory.Query{Limit: 1}); len(c) == 0 && len(page) > 0 && page[0].Summary.DueAt.IsZero() && limit > 0 {
				c = claimed{{EnrollmentID: page[0].EnrollmentID, Token: "x"}}
			}
			return c, err
		})
	}},

	{name: "forgets a field", at: "NewRecord", promise: keepsRecord + ": OptionsSent", bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) { r.OptionsSent.IdleRebootAllowed = nil })
	}},
	{name: "forgets false", at: "NewRecord", promise: keepsRecord, bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) {
			if r.Facts.FindMy != nil && !*r.Facts.FindMy {
				r.Facts.FindMy = nil
			}
		})
	}},
	{name: "takes unknown for false", at: "NewRecord", promise: keepsRecord, bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) {
			if r.Facts.LostMode == nil {
				r.Facts.LostMode = new(bool)
			}
		})
	}},
	{name: "forgets an exchange", at: "NewRecord", promise: keepsRecord + `: Exchanges["One"]`, bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) { delete(r.Exchanges, "One") })
	}},
	{name: "forgets UUIDs", at: "NewRecord", promise: `UUIDs[1] was something and is missing`, bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) {
			for k, x := range r.Exchanges {
				x.UUIDs = x.UUIDs[:min(len(x.UUIDs), 1)]
				r.Exchanges[k] = x
			}
		})
	}},
	{name: "keeps few findings", at: "NewRecord", promise: keepsRecord + ": Summary.Findings[16]", bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) { r.Summary.Findings = r.Summary.Findings[:min(16, len(r.Summary.Findings))] })
	}},
	{name: "shows no groups", at: "NewRecord", promise: keepsRecord + " (List): Groups[0]", bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) { r.Groups = nil })
	}},
	{name: "shows no days", at: "NewRecord", promise: keepsRecord + " (List): Summary.Findings[0].Days", bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) {
			for i := range r.Summary.Findings {
				r.Summary.Findings[i].Days = 0
			}
		})
	}},
	{name: "shows supervised as known", at: "NewRecord", promise: keepsRecord + " (List): Supervised", bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) {
			if r.Supervised == nil {
				r.Supervised = new(bool)
			}
		})
	}},
	{name: "does not remove an exchange", at: "ChangedRecord", promise: "an update changes every field, and no other record", bend: func(s *recordStore) {
		s.changes(func(_ context.Context, r *inventory.Record, change write) error {
			before := r.Clone()
			err := change(r)
			if *r = r.Clone(); r.Exchanges == nil {
				r.Exchanges = before.Exchanges
			}
			return err
		})
	}},
	{name: "keeps old groups in its index", at: "ChangedRecord", promise: "an update changes every field, and no other record (Filter.Groups)", bend: func(s *recordStore) {
		var mu sync.Mutex
		had := map[string]bool{}
		s.in(func(r *inventory.Record) {
			mu.Lock()
			defer mu.Unlock()
			for _, g := range r.Groups {
				had[g] = true
			}
		})
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			mu.Lock()
			stale := len(q.Filter.Groups) == 1 && had[q.Filter.Groups[0]]
			mu.Unlock()
			if stale && strings.HasPrefix(q.Filter.Groups[0], "group ") {
				q.Filter.Groups = nil
			}
			return list(ctx, q)
		}
	}},
	{name: "changes the neighbor too", at: "ChangedRecord", promise: "an update changes every field, and no other record", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			err := update(ctx, id, change)
			if id == "1" && err == nil {
				err = update(ctx, "0", func(r *inventory.Record) error { r.CodeID = "x"; return nil })
			}
			return err
		}
	}},

	{name: "cuts strings", at: "Limits", promise: "a record keeps every field up to the limits", bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) { r.Facts.DeviceName = upTo(254)(r.Facts.DeviceName) })
	}},
	{name: "has no room for many groups", at: "Limits", promise: "Update gives no error where nothing is wrong", bend: func(s *recordStore) {
		s.changes(func(_ context.Context, r *inventory.Record, change write) error {
			err := change(r)
			if len(strings.Join(r.Groups, ",")) > 1<<15 {
				err = cmp.Or(err, errBusy)
			}
			return err
		})
	}},
	{name: "escapes HTML", at: "Strings", promise: "strings are kept byte by byte", bend: func(s *recordStore) {
		s.out(func(r *inventory.Record) { r.CodeID = strings.ReplaceAll(r.CodeID, "<", "\\u003c") })
	}},
	{name: "separates groups by commas", at: "Strings", promise: "strings are kept byte by byte (List): Groups", bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) { r.Groups = strings.Split(strings.Join(r.Groups, ","), ",") })
	}},
	{name: "keeps milliseconds", at: "Times", promise: recordTimes, bend: func(s *recordStore) {
		s.in(func(r *inventory.Record) { r.AllowedSince = r.AllowedSince.Truncate(time.Millisecond) })
	}},
	{name: "returns local time", at: "Times", promise: "and is that in the location", bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) { r.Summary.CodeSince = r.Summary.CodeSince.In(time.FixedZone("CET", 3600)) })
	}},
	{name: "does not report when the summary was computed", at: "Times", promise: recordTimes, bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) { r.Summary.At = time.Time{} })
	}},
	{name: "takes zero for 1970", at: "Times", promise: recordTimes, bend: func(s *recordStore) {
		s.out(func(r *inventory.Record) {
			if r.CheckedOutAt.IsZero() {
				r.CheckedOutAt = time.Unix(0, 0).UTC()
			}
		})
	}},
	{name: "takes 1970 for zero", at: "Times", promise: recordTimes, bend: func(s *recordStore) {
		s.rows(func(r *inventory.Row) {
			if r.LastSeen.UnixMicro() == 0 {
				r.LastSeen = time.Time{}
			}
		})
	}},
	{name: "sorts what was never seen last", at: "Times", promise: recordTimes + ", zero as zero, and sorted", bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			if q.Sort != inventory.ByLastSeen || q.Descending {
				return list(ctx, q)
			}
			after, limit := q.After, q.Limit
			q.After, q.Limit = "", inventory.MaxPage
			all, err := list(ctx, q)
			var seen, never report
			for _, r := range all {
				if r.LastSeen.IsZero() {
					never = append(never, r)
				} else {
					seen = append(seen, r)
				}
			}
			all = append(seen, never...)
			from := 1 + slices.IndexFunc(all, func(r inventory.Row) bool { return r.Cursor == after })
			return all[from:min(len(all), from+limit)], err
		}
	}},
	{name: "trims enrollment IDs", at: "Identifiers", promise: byteByByte, bend: func(s *recordStore) {
		get := s.get
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			if err != nil && ctx.Err() == nil {
				return get(ctx, strings.TrimRight(id, " "))
			}
			return r, err
		}
	}},
	{name: "folds case of serial numbers", at: "Identifiers", promise: byteByByte + " (BySerialNumber)", bend: func(s *recordStore) {
		bySerial := s.bySerial
		s.bySerial = func(ctx context.Context, serialNumber string) (devices, error) {
			list, err := bySerial(ctx, serialNumber)
			if other := strings.ToLower(serialNumber); other != serialNumber {
				more, _ := bySerial(ctx, other)
				list = append(list, more...)
			}
			return list, err
		}
	}},
	{name: "folds case of groups", at: "Identifiers", promise: byteByByte + " (Filter.Groups)", bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			for _, g := range slices.Clone(q.Filter.Groups) {
				q.Filter.Groups = append(q.Filter.Groups, strings.ToLower(g))
			}
		})
	}},
	{name: "returns records of a serial number in any order", at: "BySerialNumber", promise: "BySerialNumber returns the records that claim a serial number, by enrollment ID", bend: func(s *recordStore) {
		bySerial := s.bySerial
		s.bySerial = func(ctx context.Context, serialNumber string) (devices, error) {
			list, err := bySerial(ctx, serialNumber)
			slices.Reverse(list)
			return list, err
		}
	}},
	{name: "finds records without a serial number", at: "BySerialNumber", promise: `no record claims the serial number ""`, bend: func(s *recordStore) {
		bySerial := s.bySerial
		s.bySerial = func(ctx context.Context, serialNumber string) (list devices, err error) {
			if serialNumber != "" {
				return bySerial(ctx, serialNumber)
			}
			page, err := s.list(ctx, inventory.Query{Sort: inventory.BySerialNumber, Limit: 1})
			for _, r := range page {
				list = append(list, inventory.Record{EnrollmentID: r.EnrollmentID})
			}
			return list, err
		}
	}},
	{name: "gives a record another enrollment ID", at: "Fixed", promise: "the enrollment ID of a record stays as it is", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			moved := ""
			var to inventory.Record
			err := update(ctx, id, func(r *inventory.Record) error {
				before := r.EnrollmentID
				err := change(r)
				if r.EnrollmentID != before {
					moved, to = r.EnrollmentID, r.Clone()
					r.EnrollmentID = before
				}
				return err
			})
			if err == nil && moved != "" {
				err = update(ctx, moved, func(r *inventory.Record) error { *r = to; return nil })
			}
			return err
		}
	}},
	{name: "has a storage for each handle", at: "Reopen", promise: "Get gives no error where nothing is wrong", apart: true},
	{name: "forgets claims when it is opened", at: "Reopen", promise: "records that were claimed can be claimed again", bend: func(s *recordStore) {
		calls := 0
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			calls++
			if calls == 3 {
				now, until = until.Add(time.Hour), until.Add(2*time.Hour)
			}
			return claim(ctx, now, until, limit)
		})
	}},

	{name: "keeps what change was passed", at: "Memory", promise: "shares memory with the store", bend: func(s *recordStore) {
		var mu sync.Mutex
		cache := map[string]inventory.Record{}
		s.changes(func(_ context.Context, r *inventory.Record, change write) error {
			err := change(r)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				cache[r.EnrollmentID] = *r
			}
			return err
		})
		get := s.get
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if kept, there := cache[id]; there && err == nil {
				return kept.Clone(), nil
			}
			return r, err
		}
	}},
	{name: "returns its own record", at: "Memory", promise: "nothing that comes out of Get shares memory with the store", bend: func(s *recordStore) {
		var mu sync.Mutex
		cache := map[string]inventory.Record{}
		s.in(func(r *inventory.Record) {
			mu.Lock()
			defer mu.Unlock()
			cache[r.EnrollmentID] = r.Clone()
		})
		get := s.get
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if kept, there := cache[id]; there && err == nil {
				return kept, nil
			}
			return r, err
		}
	}},
	{name: "returns its own groups", at: "Memory", promise: "nothing that comes out of List shares memory with the store", bend: func(s *recordStore) {
		var mu sync.Mutex
		cache := map[string][]string{}
		s.rows(func(r *inventory.Row) {
			mu.Lock()
			defer mu.Unlock()
			if kept, there := cache[r.EnrollmentID]; there {
				r.Groups = kept
			} else {
				cache[r.EnrollmentID] = r.Groups
			}
		})
	}},
	{name: "puts a page after the other", at: "Memory", promise: pageInPlace, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report { return append(q.Into, page...) })
	}},
	{name: "uses the groups of the page before", at: "Memory", promise: pageInPlace, bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			before := slices.Clone(q.Into)
			page, err := list(ctx, q)
			for i := range min(len(before), len(page)) {
				page[i].Groups = append(before[i].Groups[:0], page[i].Groups...)
			}
			return page, err
		}
	}},

	{name: "writes although change fails", at: "ChangeFails", promise: nothingIsPut + " returns an error", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			var failed error
			err := update(ctx, id, func(r *inventory.Record) error {
				failed = change(r)
				r.EnrollmentID = id
				return nil
			})
			return cmp.Or(failed, err)
		}
	}},
	{name: "makes a record although change fails", at: "ChangeFails", promise: nothingIsPut + " returns an error", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			err := update(ctx, id, change)
			if err != nil && ctx.Err() == nil {
				_ = update(ctx, id, func(*inventory.Record) error { return nil })
			}
			return err
		}
	}},
	{name: "has errors of its own", at: "ChangeFails", promise: "an error of change is returned as it is, or wrapped", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			if err := update(ctx, id, change); err != nil && ctx.Err() == nil {
				return errBusy
			}
			return ctx.Err()
		}
	}},
	{name: "writes although change panics", at: "ChangePanics", promise: nothingIsPut + " panics", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			var panicked any
			err := update(ctx, id, func(r *inventory.Record) error {
				defer func() { panicked = recover() }()
				return change(r)
			})
			if panicked != nil {
				panic(panicked)
			}
			return err
		}
	}},
	{name: "has no time for contexts", at: "ContextIsOver", promise: "a call whose context is over returns the context's error (Update)", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			return update(context.WithoutCancel(ctx), id, change)
		}
	}},
	{name: "claims although the context is over", at: "ContextIsOver", promise: "a call whose context is over returns the context's error (Claim)", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(context.WithoutCancel(ctx), now, until, limit)
		})
	}},
	{name: "claims nothing quickly", at: "ContextIsOver", promise: "a call whose context is over returns the context's error (Claim)", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			if limit <= 0 {
				return nil, nil
			}
			return claim(ctx, now, until, limit)
		})
	}},
	{name: "returns when the context ends", at: "ContextEndsInChange", promise: "an error of change is returned as it is, or wrapped", bend: func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			err := update(ctx, id, change)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}},

	{name: "claims in the order of IDs", at: "Due", promise: dueOrder, bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			slices.SortFunc(c, func(a, b inventory.Claim) int { return cmp.Compare(a.EnrollmentID, b.EnrollmentID) })
			return c, err
		})
	}},
	{name: "claims a moment late", at: "Due", promise: "a record is due when its DueAt is not after now", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now.Add(-time.Microsecond), until, limit)
		})
	}},
	{name: "claims a moment early", at: "Due", promise: "a record is due when its DueAt is not after now", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now.Add(time.Microsecond), until, limit)
		})
	}},
	{name: "takes no limit for all", at: "Due", promise: "a Claim with a limit below 1 claims none", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			if limit <= 0 {
				limit = everything
			}
			return claim(ctx, now, until, limit)
		})
	}},
	{name: "claims a hundred at most", at: "Due", promise: dueOrder, bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now, until, min(limit, 1000))
		})
	}},
	{name: "has no claims", at: "Due", promise: "a record is due when its DueAt is not after now", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, _ time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now, now, limit)
		})
	}},
	{name: "releases with any token", at: "Release", promise: notClaimed, bend: func(s *recordStore) {
		var mu sync.Mutex
		tokens := map[string]string{}
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			mu.Lock()
			defer mu.Unlock()
			for _, c := range c {
				tokens[c.EnrollmentID] = c.Token
			}
			return c, err
		})
		release := s.release
		s.release = func(ctx context.Context, c inventory.Claim) error {
			mu.Lock()
			c.Token = cmp.Or(tokens[c.EnrollmentID], c.Token)
			mu.Unlock()
			return release(ctx, c)
		}
	}},
	{name: "has one token", at: "Release", promise: "each claim of a record has a token of its own", bend: func(s *recordStore) {
		var mu sync.Mutex
		tokens := map[string]string{}
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			mu.Lock()
			defer mu.Unlock()
			for i := range c {
				tokens[c[i].EnrollmentID] = c[i].Token
				c[i].Token = c[i].EnrollmentID
			}
			return c, err
		})
		release := s.release
		s.release = func(ctx context.Context, c inventory.Claim) error {
			mu.Lock()
			if c.Token == c.EnrollmentID {
				c.Token = tokens[c.EnrollmentID]
			}
			mu.Unlock()
			return release(ctx, c)
		}
	}},
	{name: "does not release", at: "Release", promise: "what is released can be claimed again", bend: func(s *recordStore) {
		var mu sync.Mutex
		released := map[string]bool{}
		s.release = func(ctx context.Context, c inventory.Claim) error {
			mu.Lock()
			defer mu.Unlock()
			if c.EnrollmentID == "a" && len(c.Token) == 26 && !released[c.Token] {
				released[c.Token] = true
				return ctx.Err()
			}
			return inventory.ErrNotClaimed
		}
	}},
	{name: "has claims that last", at: "Expiry", promise: claimIsOver, bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now, until.Add(time.Microsecond), limit)
		})
	}},
	{name: "has claims that end early", at: "Expiry", promise: claimIsOver, bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now, until.Add(-time.Second), limit)
		})
	}},
	{name: "has claims of five minutes", at: "Skew", promise: "a claim holds for its time less a minute", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, _ time.Time, limit int, claim claim) (claimed, error) {
			return claim(ctx, now, now.Add(5*time.Minute), limit)
		})
	}},
	{name: "frees a record that is updated", at: "ClaimedRecord", promise: "a claim stays when its record is updated", bend: func(s *recordStore) {
		var mu sync.Mutex
		held := map[string]inventory.Claim{}
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			mu.Lock()
			defer mu.Unlock()
			for _, c := range c {
				held[c.EnrollmentID] = c
			}
			return c, err
		})
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			err := update(ctx, id, change)
			mu.Lock()
			defer mu.Unlock()
			if c, there := held[id]; there && err == nil {
				delete(held, id)
				_ = s.release(ctx, c)
			}
			return err
		}
	}},

	{name: "sorts in any case", at: "Sorted", promise: rowOrder, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			if q.Sort == inventory.ByDeviceName && q.Limit == inventory.MaxPage {
				slices.SortStableFunc(page, func(a, b inventory.Row) int {
					return cmp.Compare(strings.ToLower(a.DeviceName), strings.ToLower(b.DeviceName))
				})
			}
			return page
		})
	}},
	{name: "descends by value only", at: "Sorted", promise: rowOrder, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			if q.Descending && q.Sort == inventory.BySeverity && q.Limit == inventory.MaxPage {
				slices.SortFunc(page, func(a, b inventory.Row) int {
					return cmp.Or(cmp.Compare(b.Summary.Severity(), a.Summary.Severity()), cmp.Compare(a.EnrollmentID, b.EnrollmentID))
				})
			}
			return page
		})
	}},
	{name: "sorts by anything", at: "Sorted", promise: "List gives an error for a column that rows are not sorted by", bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if q.Sort == "enrollment_id" {
				q.Sort = ""
			}
		})
	}},
	{name: "loses rows of the same value", at: "Sorted", promise: rowOrder, bend: func(s *recordStore) {
		var mu sync.Mutex
		names := map[string]string{}
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if name, there := names[q.After]; there && q.Sort == inventory.ByDeviceName && q.Limit == 7 {
				for len(page) > 0 && page[0].DeviceName == name { // only what is greater
					q.After = page[0].Cursor
					page, err = list(ctx, q)
				}
			}
			for _, r := range page {
				names[r.Cursor] = r.DeviceName
			}
			return page, err
		}
	}},
	{name: "takes any cursor", at: "Cursors", promise: wantsCursor, bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			if errors.Is(err, inventory.ErrCursor) {
				return nil, nil
			}
			return page, err
		}
	}},
	{name: "has cursors of no order", at: "Cursors", promise: wantsCursor, bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			id, is := strings.CutPrefix(q.After, "cursor ")
			if q.After = ""; is {
				limit := q.Limit
				q.Limit = inventory.MaxPage
				all, _ := list(ctx, q)
				at := slices.IndexFunc(all, func(r inventory.Row) bool { return r.EnrollmentID == id })
				q.Limit = limit
				if at >= 0 {
					q.After = all[at].Cursor
				}
			}
			page, err := list(ctx, q)
			for i := range page {
				page[i].Cursor = "cursor " + page[i].EnrollmentID
			}
			return page, err
		}
	}},
	{name: "has no largest page", at: "Pages", promise: "a limit below 1 gives no rows, and one above MaxPage is MaxPage", bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			if q.Limit > inventory.MaxPage && len(page) == inventory.MaxPage {
				q.After = page[len(page)-1].Cursor
				more, _ := list(ctx, q)
				page = append(page, more...)
				page = page[:min(len(page), q.Limit)]
			}
			return page, err
		}
	}},
	{name: "takes no limit for all rows", at: "Pages", promise: "a limit below 1 gives no rows, and one above MaxPage is MaxPage", bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if q.Limit < 1 {
				q.Limit = inventory.MaxPage
			}
		})
	}},
	{name: "has wildcards", at: "Text", promise: partOf, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if q.Filter.Text == "%%" {
				q.Filter.Text = ""
			}
		})
	}},
	{name: "has a wildcard for one", at: "Text", promise: partOf, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if strings.Trim(q.Filter.Text, "_") == "" {
				q.Filter.Text = ""
			}
		})
	}},
	{name: "folds all letters", at: "Text", promise: partOf, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) { q.Filter.Text = strings.ToLower(q.Filter.Text) })
	}},
	{name: "does not fold letters", at: "Text", promise: partOf, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			return slices.DeleteFunc(page, func(r inventory.Row) bool {
				return !strings.Contains(r.SerialNumber+"\x00"+r.EnrollmentID+"\x00"+r.DeviceName+"\x00"+r.ModelName, q.Filter.Text)
			})
		})
	}},
	{name: "searches what is joined", at: "Text", promise: partOf, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if q.Filter.Text == "firstboth" {
				q.Filter.Text = "both"
			}
		})
	}},
	{name: "searches the OS version", at: "Text", promise: partOf, bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			all := q
			all.Filter.Text = ""
			rows, _ := list(ctx, all)
			for _, r := range rows {
				if q.Filter.Text != "" && r.OSVersion == q.Filter.Text && len(page) == 0 {
					page = append(page, r)
				}
			}
			return page, err
		}
	}},
	{name: "counts without the text", at: "Text", promise: "(Totals)", bend: func(s *recordStore) {
		s.counts(func(f *inventory.Filter, _ *time.Time) { f.Text = "" }, func(*inventory.Totals) {})
	}},
	{name: "leaves a filter out", at: "Filters", promise: fits, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) { q.Filter.Reassign = nil })
	}},
	{name: "takes unknown for not supervised", at: "Filters", promise: fits, bend: func(s *recordStore) {
		list := s.list
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			if q.Filter.Supervised == nil || *q.Filter.Supervised {
				return list(ctx, q)
			}
			q.Filter.Supervised = nil
			page, err := list(ctx, q)
			return slices.DeleteFunc(page, func(r inventory.Row) bool { return r.Supervised != nil && *r.Supervised }), err
		}
	}},
	{name: "wants all groups", at: "Filters", promise: fits, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			return slices.DeleteFunc(page, func(r inventory.Row) bool {
				return slices.ContainsFunc(q.Filter.Groups, func(g string) bool { return !slices.Contains(r.Groups, g) })
			})
		})
	}},
	{name: "takes an empty list for none", at: "Filters", promise: fits, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			if q.Filter.Statuses != nil && len(q.Filter.Statuses) == 0 {
				return nil
			}
			return page
		})
	}},
	{name: "wants one severity", at: "Filters", promise: fits, bend: func(s *recordStore) {
		s.pages(func(q inventory.Query, page report) report {
			return slices.DeleteFunc(page, func(r inventory.Row) bool { return q.Filter.Severity > 0 && r.Summary.Severity() != q.Filter.Severity })
		})
	}},
	{name: "takes a finding for a group", at: "Filters", promise: fits, bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) {
			if slices.Contains(q.Filter.Groups, string(inventory.MayLock)) {
				q.Filter.Groups, q.Filter.Findings = nil, []inventory.FindingKind{inventory.MayLock}
			}
		})
	}},
	{name: "counts a device for each group", at: "Filters", promise: countsAll, bend: func(s *recordStore) {
		totals := s.totals
		s.totals = func(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error) {
			t, err := totals(ctx, f, now)
			t.Devices *= max(1, len(f.Groups))
			return t, err
		}
	}},
	{name: "does not count those without a status", at: "Filters", promise: countsAll, bend: func(s *recordStore) {
		s.counts(asIs, func(t *inventory.Totals) { delete(t.Statuses, "") })
	}},
	{name: "does not count those without a finding", at: "Filters", promise: countsAll, bend: func(s *recordStore) {
		s.counts(asIs, func(t *inventory.Totals) { delete(t.Severities, 0) })
	}},
	{name: "counts all as reassignable", at: "Filters", promise: countsAll + ": Reassignable", bend: func(s *recordStore) {
		s.counts(asIs, func(t *inventory.Totals) { t.Reassignable = t.Devices })
	}},
	{name: "counts what is due just now", at: "Filters", promise: countsAll + ": Overdue", bend: func(s *recordStore) {
		s.counts(func(_ *inventory.Filter, now *time.Time) { *now = now.Add(time.Microsecond) }, func(*inventory.Totals) {})
	}},
	{name: "shows what does not fit", at: "RandomQueries", promise: "a query returns the records that fit its filter, in its order", bend: func(s *recordStore) {
		s.asks(func(q *inventory.Query) { q.Filter.Live = false })
	}},

	{name: "does not lock", at: "OneRecord", promise: ownUpdates, bend: func(s *recordStore) {
		s.unlocked(func(context.Context, string) bool { return true })
	}},
	{name: "does not lock what is not there", at: "OneNewRecord", promise: ownUpdates + ", also if it is not there yet", bend: func(s *recordStore) {
		s.unlocked(func(ctx context.Context, id string) bool {
			_, err := s.get(ctx, id)
			return err != nil
		})
	}},
	{name: "is busy", at: "ManyRecords", promise: "updates at the same time all succeed", bend: func(s *recordStore) {
		var mu sync.Mutex
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			if !mu.TryLock() {
				callers.wait()
				return errBusy
			}
			defer mu.Unlock()
			callers.wait()
			return update(ctx, id, change)
		}
	}},
	{name: "writes in two steps", at: "HalfAnUpdate", promise: "what an update writes is seen together or not at all", bend: func(s *recordStore) {
		update := s.update
		var mu sync.Mutex
		s.update = func(ctx context.Context, id string, change write) error {
			mu.Lock()
			defer mu.Unlock()
			name := ""
			err := update(ctx, id, func(r *inventory.Record) error {
				before := r.Facts.DeviceName
				err := change(r)
				name, r.Facts.DeviceName = r.Facts.DeviceName, before
				return err
			})
			if err != nil {
				return err
			}
			halves.written()
			return update(ctx, id, func(r *inventory.Record) error { r.Facts.DeviceName = name; return nil })
		}
		get := s.get
		s.get = func(ctx context.Context, id string) (r inventory.Record, err error) {
			halves.read(func() { r, err = get(ctx, id) })
			return r, err
		}
	}},
	{name: "looks and then claims", at: "Claimers", promise: "of several servers that claim at the same time, no two get the same record", bend: func(s *recordStore) {
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			found, _ := claim(ctx, now, now, limit) // over at once
			readers.wait()
			_, err := claim(ctx, now, until, limit) // and then for good
			return found, err
		})
	}},
	{name: "claims until it is asked again", at: "ClaimersAtWork", promise: "while a server has a claim, no other one gets it", bend: func(s *recordStore) {
		var working atomic.Bool
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			working.Store(true)
			return claim(ctx, now, now, limit)
		})
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			if working.Load() {
				callers.wait() // of two that have the first record
			}
			return update(ctx, id, change)
		}
	}},
	{name: "counts rows instead of keys", at: "ListMeanwhile", promise: "pages have each record once that does not change", bend: func(s *recordStore) {
		list, update := s.list, s.update
		// Who writes lets others list before, and who lists lets others write, if
		// anybody does still.
		var updates, lists atomic.Int64
		others := func(did *atomic.Int64) {
			for before, n := did.Load(), 0; did.Load() == before && n < 10_000; n++ {
				runtime.Gosched()
			}
		}
		s.update = func(ctx context.Context, id string, change write) error {
			if strings.HasPrefix(id, "new ") {
				others(&lists)
			}
			defer updates.Add(1)
			return update(ctx, id, change)
		}
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			from := 0
			if _, err := fmt.Sscanf(q.After, "row %d", &from); q.After != "" && err != nil {
				return nil, inventory.ErrCursor
			}
			limit := q.Limit
			q.After, q.Limit = "", inventory.MaxPage
			all, err := list(ctx, q)
			for i := range all {
				all[i].Cursor = fmt.Sprint("row ", i+1)
			}
			lists.Add(1)
			others(&updates)
			return all[min(len(all), from):min(len(all), from+max(0, limit))], err
		}
	}},
}

// unlocked updates in two steps, where it is said to: it reads with one, and writes
// with the next. Two calls wait for each other between the steps.
func (s *recordStore) unlocked(where func(context.Context, string) bool) {
	update := s.update
	s.update = func(ctx context.Context, id string, change write) error {
		if !where(ctx, id) {
			return update(ctx, id, change)
		}
		r, err := s.get(ctx, id)
		if errors.Is(err, inventory.ErrNotFound) {
			r, err = inventory.Record{EnrollmentID: id}, nil
		}
		if err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		readers.wait()
		return update(ctx, id, func(now *inventory.Record) error { *now = r; return nil })
	}
}

// lawfulInventory is what a store of records may do although nobody expects it.
var lawfulInventory = map[string]func(*recordStore){
	"calls change more than once": func(s *recordStore) {
		s.changes(func(_ context.Context, r *inventory.Record, change write) error {
			first := r.Clone()
			if err := change(&first); err != nil {
				return err
			}
			return change(r)
		})
	},
	"wraps errors, and returns panics": func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errBusy
				}
				if err != nil {
					err = fmt.Errorf("store: update: %w", err)
				}
			}()
			return update(ctx, id, change)
		}
		get, release, list := s.get, s.release, s.list
		s.get = func(ctx context.Context, id string) (inventory.Record, error) {
			r, err := get(ctx, id)
			if err != nil {
				err = fmt.Errorf("store: get: %w", err)
			}
			return r, err
		}
		s.release = func(ctx context.Context, c inventory.Claim) error {
			if err := release(ctx, c); err != nil {
				return fmt.Errorf("store: release: %w", err)
			}
			return nil
		}
		s.list = func(ctx context.Context, q inventory.Query) (report, error) {
			page, err := list(ctx, q)
			if err != nil {
				err = fmt.Errorf("store: list: %w", err)
			}
			return page, err
		}
	},
	"returns empty for nil": func(s *recordStore) {
		s.out(func(r *inventory.Record) {
			if r.Groups == nil {
				r.Groups = []string{}
			}
			if r.Exchanges == nil {
				r.Exchanges = map[string]inventory.Exchange{}
			}
		})
		s.rows(func(r *inventory.Row) {
			if r.Summary.Findings == nil {
				r.Summary.Findings = []inventory.Finding{}
			}
		})
		s.counts(asIs, func(t *inventory.Totals) {
			if t.Statuses != nil {
				t.Statuses[activationlock.NotEnabled] += 0
			}
		})
		s.pages(func(_ inventory.Query, page report) report { return append(report{}, page...) })
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			c, err := claim(ctx, now, until, limit)
			return append(claimed{}, c...), err
		})
	},
	"refuses what is no identifier": func(s *recordStore) {
		update := s.update
		s.update = func(ctx context.Context, id string, change write) error {
			if !escrow.ValidIdentifier(id) {
				return errBusy
			}
			return update(ctx, id, change)
		}
	},
	"leaves out what others are at work on": func(s *recordStore) {
		var mu sync.Mutex
		s.claims(func(ctx context.Context, now, until time.Time, limit int, claim claim) (claimed, error) {
			if !mu.TryLock() {
				return nil, ctx.Err()
			}
			defer mu.Unlock()
			return claim(ctx, now, until, limit)
		})
	},
}

func TestInventory(t *testing.T) {
	t.Parallel()
	t.Run("memstore", func(t *testing.T) {
		t.Parallel()
		storetest.Inventory(t, handles(func() func() inventory.Store {
			s := memstore.New()
			return s.Inventory
		}))
	})
	t.Run("all that is allowed", func(t *testing.T) {
		t.Parallel()
		storetest.Inventory(t, handles(brokenInventory{bend: func(s *recordStore) {
			for _, name := range slices.Sorted(maps.Keys(lawfulInventory)) {
				lawfulInventory[name](s)
			}
		}}.handles))
	})
}

// A store of records that breaks a promise is found in the same way as others.
func TestInventoriesThatBreakAPromise(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(brokenStore); name != "" {
		at := slices.IndexFunc(brokenInventories, func(b brokenInventory) bool { return b.name == name })
		require.GreaterOrEqual(t, at, 0)
		storetest.Inventory(t, handles(brokenInventories[at].handles))
		return
	}
	names := map[string]bool{}
	for _, b := range brokenInventories {
		require.False(t, names[b.name], "two stores are called %q", b.name)
		names[b.name] = true
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			finds(t, b.name, b.at, b.promise)
		})
	}
}
