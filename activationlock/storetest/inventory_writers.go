package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/activationlock/sdk/inventory"
)

// changes runs an update among others, which may not fail.
func (k records) changes(s inventory.Store, id string, edit func(*inventory.Record)) {
	err := s.Update(k.ctx, id, func(r *inventory.Record) error {
		runtime.Gosched() // to whoever should not get in
		edit(r)
		return nil
	})
	if err != nil {
		k.Errorf("updates at the same time all succeed: the error is %v", err)
	}
}

func (k records) oneRecord() {
	const promise = "two updates of one record never overlap"
	k.write(k.store, k.record("1"))
	k.counted(promise, "1")
}

// oneNewRecord has updates meet where there is nothing to lock.
func (k records) oneNewRecord() {
	const promise = "two updates of one record never overlap, also if it is not there yet"
	for round := range 4 {
		k.counted(promise, fmt.Sprint("new ", round))
	}
}

// counted has many updates count in a record, in which groups and findings come
// and go.
func (k records) counted(promise, id string) {
	k.Helper()
	k.together(writers, func(i int, s inventory.Store) {
		for n := range 2 {
			k.changes(s, id, func(r *inventory.Record) {
				x := r.Exchanges["Count"]
				x.UUIDs = append(slices.Clone(x.UUIDs), "x")
				r.Exchanges = map[string]inventory.Exchange{"Count": x}
				r.SetGroups(fmt.Sprint((i + n) % 3))
			})
		}
	})
	r := k.get(k.store, id)
	if n := len(r.Exchanges["Count"].UUIDs); n != 2*writers {
		k.Errorf("%s: of %d changes there are %d", promise, 2*writers, n)
	}
	for i := range 3 {
		q := inventory.Query{Filter: inventory.Filter{Groups: []string{fmt.Sprint(i)}, Text: id}, Limit: 10}
		if got, want := len(k.list(k.store, q)), len(model(q, []inventory.Record{r})); got != want {
			k.Errorf("%s: List finds %d records of a group, and should find %d", promise, got, want)
		}
	}
}

func (k records) manyRecords() {
	const promise = "updates of different records do not disturb each other"
	var want []inventory.Record
	for i := range writers {
		r := record(k.T, fmt.Sprint(i), i)
		r.Facts.SerialNumber = fmt.Sprint("serial ", i%5)
		want = append(want, r)
	}
	k.together(writers, func(i int, s inventory.Store) {
		id := fmt.Sprint(i)
		k.changes(s, id, func(*inventory.Record) {})
		for n := range 3 {
			k.changes(s, id, func(r *inventory.Record) { *r = record(k.T, id, n) })
		}
		k.changes(s, id, func(r *inventory.Record) { *r = separate(want[i]) })
	})
	k.holds(promise, k.store, want...)
}

// halfAnUpdate has readers look at what every update changes together.
func (k records) halfAnUpdate() {
	const promise = "what an update writes is seen together or not at all"
	set := func(r *inventory.Record, value string) {
		r.ParentID, r.Facts.DeviceName = value, value
		r.Exchanges = map[string]inventory.Exchange{"One": {UUIDs: []string{value}}}
		r.Groups = []string{value}
	}
	first := k.record("1")
	set(&first, "first")
	k.write(k.store, first)
	half := func(r inventory.Record) bool {
		uuids := r.Exchanges["One"].UUIDs
		return len(uuids) != 1 || uuids[0] != r.ParentID || r.Facts.DeviceName != r.ParentID || !slices.Equal(r.Groups, uuids)
	}
	k.together(writers/2, func(i int, s inventory.Store) {
		if i%4 < 2 {
			for n := range 6 {
				k.changes(s, "1", func(r *inventory.Record) { set(r, fmt.Sprint(i, " ", n)) })
			}
			return
		}
		for n := range 12 {
			saw := false
			var err error
			switch n % 4 {
			case 0:
				var list []inventory.Record
				list, err = s.BySerialNumber(k.ctx, first.Facts.SerialNumber)
				saw = len(list) == 1 && !half(list[0])
			case 1:
				var rows []inventory.Row
				rows, err = s.List(k.ctx, inventory.Query{Limit: 10, Sort: inventory.ByDeviceName})
				saw = len(rows) == 1 && slices.Equal(rows[0].Groups, []string{rows[0].DeviceName})
			default:
				var r inventory.Record
				r, err = s.Get(k.ctx, "1")
				saw = !half(r)
			}
			if err != nil {
				k.Errorf("reads and updates at the same time all succeed: the error is %v", err)
			} else if !saw {
				k.Errorf("%s: a reader saw half of one", promise)
			}
		}
	})
}

func (k records) listMeanwhile() {
	const promise = "pages have each record once that does not change, whatever is written meanwhile"
	var still []inventory.Record
	for i := range 60 {
		r := inventory.Record{EnrollmentID: fmt.Sprintf("%02d", i), LastSeen: noon.Add(time.Duration(i%5) * time.Second)}
		r.Facts.DeviceName = fmt.Sprint("name ", i%7)
		k.write(k.store, r)
		if i%3 != 0 {
			still = append(still, r)
		}
	}
	k.together(8, func(i int, s inventory.Store) {
		if i < 4 {
			for n := range 10 {
				k.changes(s, fmt.Sprintf("%02d", 3*(5*i+n%5)), func(r *inventory.Record) {
					r.Facts.DeviceName = fmt.Sprint("name ", n)
					r.LastSeen = noon.Add(time.Duration(i*n) * time.Second)
				})
				k.changes(s, fmt.Sprintf("new %d %d", i, n), func(r *inventory.Record) { r.Facts.DeviceName = "name 3" })
			}
			return
		}
		q := inventory.Query{Sort: []inventory.Column{inventory.ByEnrollmentID, inventory.ByDeviceName, inventory.ByLastSeen}[i%3], Descending: i%2 == 0, Limit: i}
		seen := map[string]int{}
		for {
			page, err := s.List(k.ctx, q)
			if err != nil {
				k.Errorf("lists and updates at the same time all succeed: the error is %v", err)
				return
			}
			for _, r := range page {
				seen[r.EnrollmentID]++
				q.After = r.Cursor
			}
			if len(page) < q.Limit {
				break
			}
		}
		for _, r := range still {
			if seen[r.EnrollmentID] != 1 {
				k.Errorf("%s: one was there %d times", promise, seen[r.EnrollmentID])
			}
		}
	})
}
