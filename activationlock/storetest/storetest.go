// Package storetest tests whether a store keeps what it promises.
//
// It is for whoever writes a store on a database of their own: an [escrow.Store],
// an [audit.Store], a [bypass.Store], an [inventory.Store] or all of them. Call
// [Escrow], [Audit], [Actions] and [Inventory] from a test, with a function that
// makes an empty storage; the example is the whole of it. Each failure is a
// sentence that begins with the promise that was broken:
//
//	a new entry keeps every field: Device.IMEI2 was "Device.IMEI2 1" and is ""
//
// What a store does not promise is not asked of it. It may call a change or a
// next more than once, wrap its error, return an empty slice for nil, and finish
// or give up an update or an append whose context ends in the middle.
//
// The tests find fields that are forgotten, changed or mixed up, also those that
// a later version of this module adds; identifiers that are taken for the same
// and are not; lost order; joins that go too far or not far enough; failed
// updates and appends that leave something behind; memory that is shared; pages
// that lose entries; numbers that are there twice; devices with two actions that
// are not over; records that two servers claim; and writers on two servers that overwrite each other or break a
// chain. Those of writers that meet need some luck, so run them often, and with the
// race detector.
//
// They cannot find whether a commit outlives a loss of power, a failover to a
// replica or a restored backup, nor whether a store is fast enough. A call that
// never returns is shown by the time limit of go test, whose stack traces have
// the name of the case.
package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// patience is when a call that heeds its context is taken for hanging. No case
// depends on how long anything takes.
const patience = 2 * time.Minute

// noon is the time on the kit's clock, which stands still.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// fixture is what a case has of its store, whatever the interface: the first
// handle of a fresh storage, and a way to another one.
type fixture[S any] struct {
	*testing.T
	ctx   context.Context
	store S
	open  func() S
}

// run runs one case on a fresh storage.
func run[S any](t *testing.T, name string, fresh func(*testing.T, func() time.Time) func(*testing.T) S, test func(fixture[S])) {
	t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		opener := fresh(t, clock)
		open := func() S { return opener(t) }
		test(fixture[S]{t, ctx, open(), open})
	})
}

// noError ends the case if a call fails that has no reason to.
func (f fixture[S]) noError(call string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s gives no error where nothing is wrong: it is %v", call, err)
	}
}

// fails checks that an error is the one that is wanted.
func (f fixture[S]) fails(promise string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("%s: the error is %v", promise, err)
	}
}

// works ends the case if what stands on the store fails.
func (f fixture[S]) works(what, call string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s works on this store: %s gives the error %v", what, call, err)
	}
}

// together runs f for 0 to n-1 at once, on two handles in turn, as two servers
// do.
func (f fixture[S]) together(n int, do func(i int, store S)) {
	stores := [2]S{f.store, f.open()}
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			<-start
			do(i, stores[i%2])
		})
	}
	close(start)
	wait.Wait()
}

// random returns a source of random numbers, whose seed is printed when the case
// fails.
func (f fixture[S]) random() *rand.Rand {
	seed := rand.Uint64()
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("the seed was %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
