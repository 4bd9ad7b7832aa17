package storetest

import (
	"context"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
)

func (k actions) memory() {
	const (
		in     = "nothing that goes in shares memory with the store"
		passed = "nothing that change is passed shares memory with the store"
		out    = "nothing that comes out of Get shares memory with the store"
		lists  = "nothing that comes out of OfDevice shares memory with the store"
		pages  = "nothing that comes out of Scan shares memory with the store"
	)
	want := []bypass.Action{k.action("1", serial, bypass.Pending), k.action("2", serial, bypass.Done)}
	given := copied(want)
	for _, a := range given {
		k.noError("Create", k.store.Create(k.ctx, a))
	}
	k.wants("Create does not modify what it is passed", given, want...)
	spoil(given)
	k.holds(in, k.store, want...)

	got := []bypass.Action{k.get(k.store, "1")}
	spoil(got)
	k.holds(out, k.store, want...)

	var kept *bypass.Action
	k.update(k.store, "1", func(a *bypass.Action) { kept = a })
	attempts := kept.Attempts
	spoil([]bypass.Action{{Attempts: attempts, Unsupported: kept.Unsupported}})
	*kept = bypass.Action{}
	k.holds(passed, k.store, want...)

	want[0] = action(k.T, "1", serial, bypass.Active, 2)
	given = copied(want[:1])
	k.update(k.store, "1", func(a *bypass.Action) { *a = given[0] })
	spoil(given)
	k.holds(in, k.store, want...)

	spoil(k.ofDevice(k.store, serial.SerialNumber))
	k.holds(lists, k.store, want...)
	for _, open := range []bool{false, true} {
		spoil(k.page(k.store, "", 10, open))
		k.holds(pages, k.store, want...)
	}
}

// edit changes all of an action that may change.
func (k actions) edit(a *bypass.Action) {
	*a = action(k.T, a.ID, a.Subject, bypass.Canceled, 2)
}

func (k actions) changeFails() {
	const (
		returned = "an error of change is returned as it is, or wrapped"
		nothing  = "nothing is written when change returns an error"
	)
	before := []bypass.Action{k.action("1", serial, bypass.Pending), k.action("2", serial, bypass.Done)}
	k.create(k.store, before...)
	for _, a := range before {
		for _, change := range []func(*bypass.Action) error{
			func(*bypass.Action) error { return errRefused },
			func(a *bypass.Action) error { k.edit(a); return errRefused },
			func(a *bypass.Action) error { a.Attempts[0].Tries++; return errRefused },
			func(a *bypass.Action) error { *a = bypass.Action{}; return errRefused },
		} {
			k.fails(returned, k.store.Update(k.ctx, a.ID, change), errRefused)
			k.unwritten(nothing, before...)
		}
	}
	k.update(k.store, "1", k.edit)
	k.edit(&before[0])
	k.holds("a store works on after an error", k.store, before...)
}

func (k actions) changePanics() {
	const nothing = "nothing is written when change panics, and the store works on"
	before := []bypass.Action{k.action("1", serial, bypass.Pending), k.action("2", device(1), bypass.Active)}
	k.create(k.store, before...)
	for range 3 { // more often than there are connections, perhaps
		err := func() (err error) {
			defer func() {
				if recover() != nil {
					err = errRefused
				}
			}()
			return k.store.Update(k.ctx, "1", func(a *bypass.Action) error {
				k.edit(a)
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

func (k actions) contextIsOver() {
	const (
		says    = "a call whose context is over returns the context's error"
		nothing = "a call whose context is over writes nothing"
	)
	before := []bypass.Action{k.action("1", serial, bypass.Pending)}
	k.create(k.store, before...)
	canceled, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancel := context.WithDeadline(k.ctx, time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		for _, a := range []bypass.Action{k.action("2", device(1), bypass.Pending), k.action("3", serial, bypass.Done)} {
			k.fails(says+" (Create)", k.store.Create(ctx, a), want)
		}
		k.fails(says+" (Update)", k.store.Update(ctx, "1", func(a *bypass.Action) error { k.edit(a); return nil }), want)
		a, err := k.store.Get(ctx, "1")
		k.fails(says+" (Get)", err, want)
		k.wants("a call that fails returns nothing", []bypass.Action{a}, bypass.Action{})
		_, err = k.store.OfDevice(ctx, serial.SerialNumber)
		k.fails(says+" (OfDevice)", err, want)
		for _, open := range []bool{false, true} {
			_, err = k.store.Scan(ctx, "", 10, open)
			k.fails(says+" (Scan)", err, want)
		}
		k.unwritten(nothing, before...)
	}
	k.update(k.store, "1", k.edit)
	k.edit(&before[0])
	k.create(k.store, k.action("2", serial, bypass.Pending))
	k.holds("a store works on after a context that was over", k.store, before[0], k.action("2", serial, bypass.Pending))
}

func (k actions) contextEndsInChange() {
	const (
		promise = "an update whose context ends in change writes everything or nothing"
		durable = "an update that returns without an error is durable, also if its context ended in change"
	)
	before := k.action("1", serial, bypass.Pending)
	after := k.action("1", serial, bypass.Pending)
	k.edit(&after)
	k.create(k.store, before)

	ctx, cancel := context.WithCancel(k.ctx)
	k.fails("an error of change is returned as it is, or wrapped", k.store.Update(ctx, "1", func(a *bypass.Action) error {
		cancel()
		k.edit(a)
		return ctx.Err()
	}), context.Canceled)
	k.unwritten("nothing is written when change returns an error", before)

	ctx, cancel = context.WithCancel(k.ctx)
	err := k.store.Update(ctx, "1", func(a *bypass.Action) error {
		cancel()
		k.edit(a)
		return nil
	})
	for _, s := range []bypass.Store{k.store, k.open()} {
		got := []bypass.Action{k.get(s, "1")}
		switch {
		case err == nil:
			k.wants(durable, got, after)
		case k.differ([]bypass.Action{before}, got) != "":
			k.wants(promise, got, after)
		}
		k.holds(promise, s, got...)
	}
	after.State = bypass.Done
	k.write(k.store, after)
	k.holds("a store works on after a context that ended", k.store, after)
}
