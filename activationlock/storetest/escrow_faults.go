package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

var errRefused = errors.New("storetest: change refuses")

func (k codes) memory() {
	const (
		in     = "nothing that goes in shares memory with the store"
		out    = "nothing that comes out of Entries shares memory with the store"
		passed = "nothing that change is passed shares memory with the store"
		pages  = "nothing that comes out of Scan shares memory with the store"
	)
	want := []escrow.Entry{k.entry("1", serial), k.entry("2", serial), k.entry("3", serial)}
	given := copied(want)
	k.update(k.store, serial, returning(given...))
	k.wants("an update does not modify what change returns", given, want...)
	spoil(given)
	k.holds(in, k.store, serial, want...)

	entries := k.entries(k.store, serial)
	spoil(entries)
	k.holds(out, k.store, serial, want...)

	k.update(k.store, serial, func(e []escrow.Entry) ([]escrow.Entry, error) { entries = e; return nil, nil })
	spoil(entries)
	k.holds(passed, k.store, serial, want...)
	k.update(k.store, serial, func(e []escrow.Entry) ([]escrow.Entry, error) { entries = e; return e, nil })
	spoil(entries)
	k.holds(passed, k.store, serial, want...)

	spoil(k.page(k.store, "", 10))
	k.wants(pages, k.all(k.store, 10), want...)
	k.holds(pages, k.store, serial, want...)
}

// unwritten checks that nothing came of an update of serial: it holds all that
// there is, and that is what was there before.
func (k codes) unwritten(promise string, before ...escrow.Entry) {
	k.Helper()
	for _, s := range []escrow.Store{k.store, k.open()} {
		k.holds(promise, s, serial, before...)
		k.wants(promise, k.all(s, 10), before...)
	}
}

// attempt returns what an update of serial may write: an entry, changed, and a
// new one.
func (k codes) attempt(e escrow.Entry) (changed, added escrow.Entry) {
	changed = entry(k.T, e.ID, e.Subject, 2)
	changed.Kind, changed.FirstSeen = e.Kind, e.FirstSeen
	return changed, k.entry("9", serial)
}

func (k codes) changeFails() {
	const (
		returned = "an error of change is returned as it is, or wrapped"
		nothing  = "nothing is written when change returns an error"
	)
	k.joins(k.store, enrollment, serial)
	k.fails(returned, k.store.Update(k.ctx, serial, func([]escrow.Entry) ([]escrow.Entry, error) { return nil, errRefused }), errRefused)
	k.unwritten(nothing)
	before := []escrow.Entry{k.entry("1", enrollment), k.entry("2", serial)}
	k.file(k.store, before...)
	changed, added := k.attempt(before[0])
	for _, change := range []change{
		func([]escrow.Entry) ([]escrow.Entry, error) { return nil, errRefused },
		func(e []escrow.Entry) ([]escrow.Entry, error) { return e, errRefused },
		func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{changed, added}, errRefused },
	} {
		k.fails(returned, k.store.Update(k.ctx, serial, change), errRefused)
		k.unwritten(nothing, before...)
	}
	k.update(k.store, serial, returning(changed, added))
	k.holds("a store works on after an error", k.store, serial, changed, before[1], added)
}

func (k codes) foreignEntries() {
	const (
		refused = "an update that returns an entry of another subject gives an error"
		nothing = "an update that returns an entry of another subject writes nothing"
	)
	theirs := k.entry("1", enrollment)
	before := []escrow.Entry{k.entry("2", serial)}
	k.file(k.store, theirs)
	k.file(k.store, before...)
	changed, added := k.attempt(before[0])
	stolen := added
	stolen.ID = theirs.ID
	for _, foreign := range []escrow.Entry{stolen, theirs, k.entry("8", enrollment), k.entry("8", escrow.Subject{SerialNumber: "another"})} {
		if err := k.store.Update(k.ctx, serial, returning(changed, added, foreign)); err == nil {
			k.Errorf("%s: the error is nil", refused)
		}
		k.holds(nothing, k.store, serial, before...)
		k.holds(nothing, k.store, enrollment, theirs)
		k.wants(nothing, k.all(k.store, 10), append([]escrow.Entry{theirs}, before...)...)
	}
	k.update(k.store, serial, returning(changed, added))
	k.holds("a store works on after an error", k.store, serial, changed, added)
}

func (k codes) changePanics() {
	const nothing = "nothing is written when change panics, and the store works on"
	before := []escrow.Entry{k.entry("1", enrollment), k.entry("2", serial)}
	k.file(k.store, before...)
	k.joins(k.store, enrollment, serial)
	for range 3 { // more often than there are connections, perhaps
		err := func() (err error) {
			defer func() {
				if recover() != nil {
					err = errRefused
				}
			}()
			return k.store.Update(k.ctx, serial, func([]escrow.Entry) ([]escrow.Entry, error) { panic("storetest: change panics") })
		}()
		if err == nil {
			k.Errorf("an update whose change panics does not return as if it were done")
		}
		k.unwritten(nothing, before...)
	}
	changed, added := k.attempt(before[0])
	k.update(k.store, serial, returning(changed, added))
	k.holds(nothing, k.store, serial, changed, before[1], added)
}

func (k codes) contextIsOver() {
	const (
		says    = "a call whose context is over returns the context's error"
		nothing = "a call whose context is over writes nothing"
	)
	before, apart := k.entry("1", serial), k.entry("2", enrollment)
	changed, added := k.attempt(before)
	k.file(k.store, before, apart)
	canceled, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancel := context.WithDeadline(k.ctx, time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		k.fails(says+" (Update)", k.store.Update(ctx, serial, returning(changed, added)), want)
		k.fails(says+" (Join)", k.store.Join(ctx, enrollment.EnrollmentID, serial.SerialNumber), want)
		_, err := k.store.Entries(ctx, serial)
		k.fails(says+" (Entries)", err, want)
		_, err = k.store.Joined(ctx, enrollment.EnrollmentID)
		k.fails(says+" (Joined)", err, want)
		_, err = k.store.Scan(ctx, "", 10)
		k.fails(says+" (Scan)", err, want)
		for _, s := range []escrow.Store{k.store, k.open()} {
			k.holds(nothing, s, serial, before)
			k.holds(nothing, s, enrollment, apart)
			k.leads(nothing, s, enrollment)
		}
	}
	k.joins(k.store, enrollment, serial)
	k.update(k.store, serial, returning(changed, added))
	k.holds("a store works on after a context that was over", k.store, serial, changed, apart, added)
}

func (k codes) contextEndsInChange() {
	const (
		promise = "an update whose context ends in change writes everything or nothing"
		durable = "an update that returns without an error is durable, also if its context ended in change"
	)
	before := []escrow.Entry{k.entry("1", serial), k.entry("2", serial)}
	k.file(k.store, before...)
	changed, added := k.attempt(before[0])
	after := []escrow.Entry{changed, before[1], added}

	ctx, cancel := context.WithCancel(k.ctx)
	err := k.store.Update(ctx, serial, func([]escrow.Entry) ([]escrow.Entry, error) {
		cancel()
		return nil, ctx.Err()
	})
	k.fails("an error of change is returned as it is, or wrapped", err, context.Canceled)
	k.unwritten("nothing is written when change returns an error", before...)

	ctx, cancel = context.WithCancel(k.ctx)
	err = k.store.Update(ctx, serial, func([]escrow.Entry) ([]escrow.Entry, error) {
		cancel()
		return []escrow.Entry{changed, added}, nil
	})
	for _, s := range []escrow.Store{k.store, k.open()} {
		got := k.read(s, serial)
		switch {
		case err == nil:
			k.wants(durable, got, after...)
		case difference(before, got) != "":
			k.wants(promise, got, after...)
		}
	}
	k.update(k.store, serial, returning(changed, added))
	k.holds("a store works on after a context that ended", k.store, serial, after...)
}
