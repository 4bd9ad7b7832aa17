package storetest

import (
	"context"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
)

func (k chain) memory() {
	const (
		in     = "nothing that goes in shares memory with the store"
		passed = "nothing that next is passed shares memory with the store"
		out    = "nothing that comes out of Scan shares memory with the store"
	)
	want := k.rows(1, 5)
	intact := func(promise string, want ...audit.Entry) {
		k.Helper()
		got, err := k.store.Scan(k.ctx, -1, 100)
		k.noError("Scan", err)
		k.wants(promise, got, want...) // in whatever order
		k.holds(promise, k.store, want...)
	}
	for _, n := range []int{0, 3} { // into an empty chain, and onto one
		given := copied(want[n : n+2])
		k.noError("Append", k.store.Append(k.ctx, appending(given...)))
		k.wants("an append does not modify what next returns", given, want[n:n+2]...)
		spoil(given)
		intact(in, want[:n+2]...)
		if n == 0 {
			k.write(k.store, want[2])
		}
	}
	var last []audit.Entry
	k.noError("Append", k.store.Append(k.ctx, func(e audit.Entry) ([]audit.Entry, error) { last = []audit.Entry{e}; return nil, nil }))
	spoil(last)
	intact(passed, want...)
	for _, limit := range []int{2, 5, 10} {
		page := k.page(k.store, -1, limit)
		spoil(page[:cap(page)])
		intact(out, want...)
	}
	k.write(k.store, k.row(6))
	intact(out, append(want, k.row(6))...)
}

// unwritten checks that nothing came of an append: all that there is was there
// before.
func (k chain) unwritten(promise string, before ...audit.Entry) {
	k.Helper()
	for _, s := range []audit.Store{k.store, k.open()} {
		k.holds(promise, s, before...)
	}
}

func (k chain) nextFails() {
	const (
		returned = "an error of next is returned as it is, or wrapped"
		nothing  = "nothing is written when next returns an error"
		again    = "a store works on after an error"
	)
	var before []audit.Entry
	for range 2 { // onto an empty chain, and onto one that is not
		n := int64(len(before))
		for _, entries := range [][]audit.Entry{nil, k.rows(n+1, n+1), k.rows(n+1, n+3)} {
			k.fails(returned, k.store.Append(k.ctx, func(audit.Entry) ([]audit.Entry, error) { return entries, errRefused }), errRefused)
			k.unwritten(nothing, before...)
		}
		before = append(before, k.rows(n+1, n+2)...)
		k.write(k.store, before[n:]...)
		k.holds(again, k.store, before...)
	}
}

func (k chain) nextPanics() {
	const nothing = "nothing is written when next panics, and the store works on"
	before := k.rows(1, 2)
	k.write(k.store, before...)
	for range 3 { // more often than there are connections, perhaps
		err := func() (err error) {
			defer func() {
				if recover() != nil {
					err = errRefused
				}
			}()
			return k.store.Append(k.ctx, func(audit.Entry) ([]audit.Entry, error) { panic("storetest: next panics") })
		}()
		if err == nil {
			k.Errorf("an append whose next panics does not return as if it were done")
		}
		k.unwritten(nothing, before...)
	}
	k.write(k.store, k.row(3))
	k.holds(nothing, k.store, k.rows(1, 3)...)
}

func (k chain) numberIsThere() {
	const (
		refused = "an entry whose number is there already gives an error"
		nothing = "an append with an entry whose number is there already writes nothing"
	)
	before := k.rows(1, 3)
	k.write(k.store, before...)
	other := func(number int64) audit.Entry { return row(k.T, number, 9) }
	for _, entries := range [][]audit.Entry{
		{other(3)},
		{other(1)},
		{k.row(3)}, // the same once more
		{k.row(4), other(3)},
		{k.row(4), k.row(5), other(2)},
		{other(3), k.row(4)},
		{k.row(4), other(4)}, // there twice at once
		{k.row(4), k.row(5), other(4)},
	} {
		if err := k.store.Append(k.ctx, appending(entries...)); err == nil {
			k.Errorf("%s: the error is nil", refused)
		}
		k.unwritten(nothing, before...)
	}
	k.write(k.store, k.row(4), k.row(5))
	k.holds("a store works on after an error", k.store, k.rows(1, 5)...)
}

func (k chain) contextIsOver() {
	const (
		says    = "a call whose context is over returns the context's error"
		nothing = "a call whose context is over writes nothing"
	)
	canceled, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancel := context.WithDeadline(k.ctx, time.Unix(0, 0))
	defer cancel()
	var before []audit.Entry
	for range 2 {
		n := int64(len(before))
		for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
			k.fails(says+" (Append)", k.store.Append(ctx, appending(k.rows(n+1, n+2)...)), want)
			_, err := k.store.Scan(ctx, -1, 10)
			k.fails(says+" (Scan)", err, want)
			k.unwritten(nothing, before...)
		}
		before = append(before, k.rows(n+1, n+2)...)
		k.write(k.store, before[n:]...)
		k.holds("a store works on after a context that was over", k.store, before...)
	}
}

func (k chain) contextEndsInNext() {
	const (
		promise = "an append whose context ends in next writes everything or nothing"
		durable = "an append that returns without an error is durable, also if its context ended in next"
	)
	before := k.rows(1, 2)
	k.write(k.store, before...)

	ctx, cancel := context.WithCancel(k.ctx)
	err := k.store.Append(ctx, func(audit.Entry) ([]audit.Entry, error) {
		cancel()
		return k.rows(3, 4), ctx.Err()
	})
	k.fails("an error of next is returned as it is, or wrapped", err, context.Canceled)
	k.unwritten("nothing is written when next returns an error", before...)

	ctx, cancel = context.WithCancel(k.ctx)
	err = k.store.Append(ctx, func(audit.Entry) ([]audit.Entry, error) {
		cancel()
		return k.rows(3, 5), nil
	})
	after := k.rows(1, 5)
	got := k.all(k.store, 10)
	switch {
	case err == nil:
		k.wants(durable, got, after...)
	case differences(before, got, numbers) != "":
		k.wants(promise, got, after...)
	}
	k.unwritten(promise, got...)
	n := int64(len(got))
	k.write(k.store, k.row(n+1))
	k.holds("a store works on after a context that ended", k.store, append(got, k.row(n+1))...)
}
