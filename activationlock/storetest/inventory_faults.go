package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/activationlock/sdk/inventory"
)

func (k records) memory() {
	const (
		in     = "nothing that goes in shares memory with the store"
		passed = "nothing that change is passed shares memory with the store"
		out    = "nothing that comes out of Get shares memory with the store"
		lists  = "nothing that comes out of BySerialNumber shares memory with the store"
		pages  = "nothing that comes out of List shares memory with the store"
		reused = "a page that comes in the place of another has its own rows, and leaves alone what those before had in them"
		counts = "nothing that comes out of Totals shares memory with the store"
	)
	want := []inventory.Record{k.record("1"), k.record("2")}
	k.edit(&want[1]) // so that nothing of one is that of the other
	k.write(k.store, want...)
	var kept *inventory.Record
	given := separate(want[0])
	k.update(k.store, "1", func(r *inventory.Record) { kept, *r = r, given })
	ruin(kept)
	ruin(&given)
	k.holds(in, k.store, want...)
	k.update(k.store, "1", func(r *inventory.Record) { kept = r })
	ruin(kept)
	k.holds(passed, k.store, want...)

	got := k.get(k.store, "1")
	ruin(&got)
	k.holds(out, k.store, want...)
	for _, got := range k.ofSerial(k.store, want[0].Facts.SerialNumber) {
		ruin(&got)
	}
	k.holds(lists, k.store, want...)
	for _, row := range k.list(k.store, inventory.Query{Limit: 10}) {
		ruin(&row)
	}
	k.holds(pages, k.store, want...)
	for _, n := range []int{1, 2, 3} { // shorter than the page, as long, and longer
		before := k.list(k.store, inventory.Query{Limit: 2})
		kept := slices.Clone(before)
		into := append(slices.Clone(before), before[0])[:n]
		down := inventory.Query{Limit: 10, Descending: true, Into: into}
		k.sees(reused, k.list(k.store, down), down, want)
		k.sees(reused, kept, inventory.Query{}, want)
	}
	totals := k.totals(k.store, inventory.Filter{}, noon)
	clear(totals.Statuses)
	clear(totals.Severities)
	k.holds(counts, k.store, want...)
}

// edit changes all of a record that may change.
func (k records) edit(r *inventory.Record) { *r = record(k.T, r.EnrollmentID, 2) }

func (k records) changeFails() {
	const (
		returned = "an error of change is returned as it is, or wrapped"
		nothing  = "nothing is written when change returns an error"
	)
	before := []inventory.Record{k.record("1"), k.record("2")}
	k.write(k.store, before...)
	for _, id := range []string{"1", "new"} {
		for _, change := range []func(*inventory.Record) error{
			func(*inventory.Record) error { return errRefused },
			func(r *inventory.Record) error { k.edit(r); return errRefused },
			func(r *inventory.Record) error { *r = inventory.Record{}; return errRefused },
			func(r *inventory.Record) error {
				for name := range r.Exchanges {
					delete(r.Exchanges, name)
				}
				return errRefused
			},
		} {
			k.fails(returned, k.store.Update(k.ctx, id, change), errRefused)
			k.unwritten(nothing, before...)
		}
	}
	k.update(k.store, "1", k.edit)
	k.edit(&before[0])
	k.holds("a store works on after an error", k.store, before...)
}

func (k records) changePanics() {
	const nothing = "nothing is written when change panics, and the store works on"
	before := []inventory.Record{k.record("1"), k.record("2")}
	k.write(k.store, before...)
	for i := range 4 { // more often than there are connections, perhaps
		err := func() (err error) {
			defer func() {
				if recover() != nil {
					err = errRefused
				}
			}()
			return k.store.Update(k.ctx, []string{"1", "new"}[i%2], func(r *inventory.Record) error {
				k.edit(r)
				panic("storetest: change panics")
			})
		}()
		if err == nil {
			k.Errorf("an update whose change panics does not return as if it were done")
		}
		k.unwritten(nothing, before...)
	}
	k.update(k.store, "1", k.edit)
	k.edit(&before[0])
	k.holds(nothing, k.store, before...)
}

func (k records) contextIsOver() {
	const (
		says    = "a call whose context is over returns the context's error"
		nothing = "a call whose context is over changes nothing"
	)
	before := []inventory.Record{k.record("1"), k.record("2")}
	for i := range before {
		before[i].Summary.DueAt = noon
	}
	k.write(k.store, before...)
	claims := k.claim(k.store, noon, noon.Add(time.Hour), 1)
	canceled, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancel := context.WithDeadline(k.ctx, time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		for _, id := range []string{"1", "new"} {
			k.fails(says+" (Update)", k.store.Update(ctx, id, func(r *inventory.Record) error { k.edit(r); return nil }), want)
			r, err := k.store.Get(ctx, id)
			k.fails(says+" (Get)", err, want)
			if d := differs(inventory.Record{}, r); d != "" {
				k.Errorf("a call that fails returns nothing: %s", d)
			}
		}
		for _, serialNumber := range []string{before[0].Facts.SerialNumber, "", "new"} {
			_, err := k.store.BySerialNumber(ctx, serialNumber)
			k.fails(says+" (BySerialNumber)", err, want)
		}
		for _, limit := range []int{0, 10} {
			_, err := k.store.Claim(ctx, noon, noon.Add(time.Hour), limit)
			k.fails(says+" (Claim)", err, want)
			_, err = k.store.List(ctx, inventory.Query{Limit: limit})
			k.fails(says+" (List)", err, want)
		}
		k.fails(says+" (Release)", k.store.Release(ctx, claims[0]), want)
		_, err := k.store.Totals(ctx, inventory.Filter{}, noon)
		k.fails(says+" (Totals)", err, want)
		k.unwritten(nothing, before...)
	}
	k.sameIDs(nothing, "claims", idsOfClaims(k.claim(k.store, noon, noon.Add(time.Hour), 10)), []string{"2"})
	k.noError("Release", k.store.Release(k.ctx, claims[0]))
	k.update(k.store, "1", k.edit)
	k.edit(&before[0])
	k.holds("a store works on after a context that was over", k.store, before...)
}

func (k records) contextEndsInChange() {
	const (
		promise = "an update whose context ends in change writes everything or nothing"
		durable = "an update that returns without an error is durable, also if its context ended in change"
	)
	before, after := k.record("1"), k.record("1")
	k.edit(&after)
	k.write(k.store, before)

	ctx, cancel := context.WithCancel(k.ctx)
	k.fails("an error of change is returned as it is, or wrapped", k.store.Update(ctx, "1", func(r *inventory.Record) error {
		cancel()
		k.edit(r)
		return ctx.Err()
	}), context.Canceled)
	k.unwritten("nothing is written when change returns an error", before)

	ctx, cancel = context.WithCancel(k.ctx)
	err := k.store.Update(ctx, "1", func(r *inventory.Record) error {
		cancel()
		k.edit(r)
		return nil
	})
	for _, s := range []inventory.Store{k.store, k.open()} {
		got := k.get(s, "1")
		switch {
		case err == nil:
			k.wants(durable, []inventory.Record{got}, after)
		case differs(before, got) != "":
			k.wants(promise, []inventory.Record{got}, after)
		}
		k.holds(promise, s, got)
	}
	after.ParentID = "later"
	k.write(k.store, after)
	k.holds("a store works on after a context that ended", k.store, after)
}
