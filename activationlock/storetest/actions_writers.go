package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// changes runs an update among others, which may not fail.
func (k actions) changes(s bypass.Store, id string, edit func(*bypass.Action)) {
	err := s.Update(k.ctx, id, func(a *bypass.Action) error {
		runtime.Gosched() // to whoever should not get in
		edit(a)
		return nil
	})
	if err != nil {
		k.Errorf("updates at the same time all succeed: the error is %v", err)
	}
}

// creators all want the one action that a device can have.
func (k actions) creators() {
	const (
		promise = "of several calls at the same time that create an action of one subject, one succeeds, and the others get ErrOpen"
		over    = "actions that are over can be created at any time"
	)
	var want []bypass.Action
	for round := range 6 {
		subject := []escrow.Subject{serial, enrollment}[round%2]
		id := func(i int) string { return fmt.Sprint(round, " ", i) }
		var created atomic.Int64
		var winner atomic.Value
		k.together(writers, func(i int, s bypass.Store) {
			if i%8 > 5 {
				if err := s.Create(k.ctx, k.action(id(i), subject, bypass.Failed)); err != nil {
					k.Errorf("%s: the error is %v", over, err)
				}
				return
			}
			switch err := s.Create(k.ctx, k.action(id(i), subject, actionStates[i%2])); {
			case err == nil:
				created.Add(1)
				winner.Store(i)
			case !errors.Is(err, bypass.ErrOpen):
				k.Errorf("%s: the error is %v", promise, err)
			}
		})
		if n := created.Load(); n != 1 {
			k.Fatalf("%s: %d succeeded", promise, n)
		}
		i := winner.Load().(int)
		won := k.action(id(i), subject, actionStates[i%2])
		for i := range writers {
			if i%8 > 5 {
				want = append(want, k.action(id(i), subject, bypass.Failed))
			}
		}
		k.holds(promise, k.store, append(want, won)...)
		won.State = bypass.Done
		k.write(k.store, won)
		want = append(want, won)
	}
}

func (k actions) creatorsOfOneID() {
	const promise = "of several calls at the same time that create an action with one ID, one succeeds, and the others get ErrExists"
	var want []bypass.Action
	for round := range 4 {
		of := func(i int) bypass.Action {
			return k.action(fmt.Sprint(round), device(writers*round+i), actionStates[i%6])
		}
		var created atomic.Int64
		var winner atomic.Value
		k.together(writers, func(i int, s bypass.Store) {
			switch err := s.Create(k.ctx, of(i)); {
			case err == nil:
				created.Add(1)
				winner.Store(i)
			case !errors.Is(err, bypass.ErrExists):
				k.Errorf("%s: the error is %v", promise, err)
			}
		})
		if n := created.Load(); n != 1 {
			k.Fatalf("%s: %d succeeded", promise, n)
		}
		want = append(want, of(winner.Load().(int)))
		k.holds(promise, k.store, want...)
	}
}

func (k actions) oneAction() {
	const promise = "two updates of one action never overlap"
	a := k.action("1", serial, bypass.Active)
	a.Attempts[0].Tries = 0
	a.Unsupported = nil
	k.create(k.store, a)
	const each = 3
	k.together(writers, func(i int, s bypass.Store) {
		for range each {
			k.changes(s, "1", func(a *bypass.Action) {
				a.Attempts[0].Tries++
				if i%4 == 3 { // it grows, too
					a.Unsupported = append(a.Unsupported, "x")
				}
			})
		}
	})
	got := k.get(k.store, "1")
	if n := got.Attempts[0].Tries; n != each*writers {
		k.Errorf("%s: of %d changes there are %d", promise, each*writers, n)
	}
	if n := len(got.Unsupported); n != each*writers/4 {
		k.Errorf("%s: of %d changes there are %d", promise, each*writers/4, n)
	}
}

func (k actions) manyActions() {
	const promise = "updates of different actions do not disturb each other"
	const each = 3
	k.together(writers, func(i int, s bypass.Store) {
		id := fmt.Sprint(i)
		a := k.action(id, device(i), bypass.Pending)
		a.Attempts[0].Tries = 0
		if err := s.Create(k.ctx, a); err != nil {
			k.Errorf("calls at the same time that create actions of different subjects all succeed: the error is %v", err)
			return
		}
		for range each {
			k.changes(s, id, func(a *bypass.Action) { a.Attempts[0].Tries++ })
		}
		k.changes(s, id, func(a *bypass.Action) { a.State = actionStates[i%6] })
	})
	var want []bypass.Action
	for i := range writers {
		a := k.action(fmt.Sprint(i), device(i), actionStates[i%6])
		a.Attempts[0].Tries = each
		want = append(want, a)
	}
	k.holds(promise, k.store, want...)
}

// oneAfterAnother has an action of one device end and the next one come.
func (k actions) oneAfterAnother() {
	var created atomic.Int64
	k.together(writers/2, func(i int, s bypass.Store) {
		for n := range 6 {
			a := k.action(fmt.Sprint(i, " ", n), serial, bypass.Pending)
			switch err := s.Create(k.ctx, a); {
			case errors.Is(err, bypass.ErrOpen):
			case err != nil:
				k.Errorf("creating actions and ending them at the same time gives no error but ErrOpen: it is %v", err)
			default:
				created.Add(1)
				k.changes(s, a.ID, func(a *bypass.Action) { a.State = bypass.Active })
				k.changes(s, a.ID, func(a *bypass.Action) { a.State = bypass.Done })
			}
		}
	})
	list := k.all(k.store, 1000, false)
	if n := created.Load(); n < 1 || int(n) != len(list) {
		k.Errorf("an action is there if it was created, and else is not: of %d there are %d", n, len(list))
	}
	for _, a := range list {
		if a.State != bypass.Done {
			k.Errorf("an update at the same time as others is written: one is not")
		}
	}
}

// halfAnUpdate has readers look at two fields that every update changes together.
func (k actions) halfAnUpdate() {
	const promise = "what an update writes is seen together or not at all"
	a := k.action("1", serial, bypass.Active)
	a.Device.UDID = a.Attempts[0].Detail
	k.create(k.store, a)
	k.together(writers/2, func(i int, s bypass.Store) {
		if i%4 < 2 {
			for n := range 6 {
				k.changes(s, "1", func(a *bypass.Action) {
					a.Device.UDID = fmt.Sprint(i, " ", n)
					a.Attempts[0].Detail = a.Device.UDID
				})
			}
			return
		}
		for n := range 12 {
			var list []bypass.Action
			var err error
			switch n % 4 {
			case 0:
				list, err = s.OfDevice(k.ctx, serial.SerialNumber)
			case 1:
				list, err = s.Scan(k.ctx, "", 10, n%8 == 1)
			default:
				var a bypass.Action
				a, err = s.Get(k.ctx, "1")
				list = []bypass.Action{a}
			}
			if err != nil {
				k.Errorf("reads and updates at the same time all succeed: the error is %v", err)
			} else if len(list) != 1 || len(list[0].Attempts) != 2 || list[0].Device.UDID != list[0].Attempts[0].Detail {
				k.Errorf("%s: a reader saw half of one", promise)
			}
		}
	})
}

func (k actions) scanMeanwhile() {
	const promise = "a walk sees each action that is there all the time once, whatever is written meanwhile"
	random := k.random()
	var there, leaving []bypass.Action
	for i := range 45 {
		a := k.action(fmt.Sprintf("%08x %d", random.Uint32(), i), device(i), bypass.Active)
		if i%3 == 2 {
			leaving = append(leaving, a)
		} else {
			there = append(there, a)
		}
	}
	k.create(k.store, append(slices.Clone(leaving), there...)...)
	k.together(8, func(i int, s bypass.Store) {
		if i < 4 {
			for n, a := range leaving {
				if n%4 == i {
					k.changes(s, there[n].ID, func(a *bypass.Action) { a.Device.UDID = fmt.Sprint(n) })
					k.changes(s, a.ID, func(a *bypass.Action) { a.State = bypass.Canceled })
					if err := s.Create(k.ctx, k.action(fmt.Sprintf("%08x new", n<<27), a.Subject, bypass.Pending)); err != nil {
						k.Errorf("updates and calls that create at the same time all succeed: the error is %v", err)
					}
				}
			}
			return
		}
		seen, after := map[string]int{}, ""
		for {
			page, err := s.Scan(k.ctx, after, i, i%2 == 0)
			if err != nil {
				k.Errorf("scans and updates at the same time all succeed: the error is %v", err)
				return
			}
			for _, a := range page {
				seen[a.ID]++
				after = a.ID
			}
			if len(page) < i {
				break
			}
		}
		for _, a := range there {
			if seen[a.ID] != 1 {
				k.Errorf("%s: it saw %+q %d times", promise, a.ID, seen[a.ID])
			}
		}
	})
}
