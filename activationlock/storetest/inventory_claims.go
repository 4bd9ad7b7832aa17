package storetest

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/activationlock/sdk/inventory"
)

const lease = time.Hour

// dueAt returns a record that is due at a moment.
func (k records) dueAt(enrollmentID string, at time.Time) inventory.Record {
	k.Helper()
	r := k.record(enrollmentID)
	r.Summary.DueAt = at
	return r
}

// claims has a handle claim records, and compares them with those that are wanted,
// in order.
func (k records) claims(promise string, s inventory.Store, now time.Time, limit int, want ...string) []inventory.Claim {
	k.Helper()
	claims := k.claim(s, now, now.Add(lease), limit)
	k.sameIDs(promise, "claims", idsOfClaims(claims), want)
	return claims
}

func (k records) due() {
	const (
		order = "records are claimed in the order in which they became due, and of the same moment by enrollment ID"
		never = "a record whose DueAt is zero is never due"
		early = "a record is due when its DueAt is not after now"
		none  = "a Claim with a limit below 1 claims none"
		twice = "what is claimed is not claimed again"
	)
	random := k.random()
	var all []inventory.Record
	for i, id := range []string{"e", "B", "d", "c", "a", "f", "\u00e9", "0"} {
		all = append(all, k.dueAt(id, noon.Add(time.Duration(i/3-2)*time.Microsecond)))
	}
	all = append(all, k.dueAt("old", time.Date(1582, 10, 10, 1, 2, 3, 4000, time.UTC)), k.dueAt("1969", time.Unix(-1, 0).UTC()),
		k.dueAt("never", time.Time{}), k.dueAt("never 2", time.Time{}), k.dueAt("far", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)),
		k.dueAt("next", noon.Add(time.Microsecond)))
	for _, i := range random.Perm(len(all)) {
		k.write(k.store, all[i])
	}
	for _, limit := range []int{0, -1, math.MinInt} {
		if claims, err := k.store.Claim(k.ctx, noon, noon.Add(lease), limit); err != nil || len(claims) > 0 {
			k.Errorf("%s: with %d it claims %d, with the error %v", none, limit, len(claims), err)
		}
	}
	k.claims(order, k.store, noon, 1, "old")
	k.claims(order, k.store, noon, 3, "1969", "B", "d")
	other := k.open()
	k.claims(order, other, noon, 2, "e", "a")
	k.claims(early, k.store, noon, math.MaxInt32, "c", "f", "0", "\u00e9")
	for _, s := range []inventory.Store{k.store, other} {
		k.claims(twice, s, noon, 100)
	}
	k.claims(early, other, noon.Add(time.Microsecond), 100, "next")
	k.claims(never, k.store, noon.Add(lease-time.Microsecond), 100)
	k.holds("a claim changes no record", k.store, all...)
	k.claims(never, k.store, time.Date(9999, 12, 31, 1, 0, 0, 0, time.UTC), 100,
		"0", "1969", "B", "a", "c", "d", "e", "f", "old", "\u00e9", "next", "far")

	// More than a statement may have parameters for.
	var many []string
	for i := range 1201 {
		r := inventory.Record{EnrollmentID: fmt.Sprintf("many %04d", i)}
		r.Summary.DueAt = noon
		k.write(k.store, r)
		many = append(many, r.EnrollmentID)
	}
	k.claims(order, k.store, noon, 1200, many[:1200]...)
	k.claims(twice, k.store, noon, 1200, many[1200:]...)
}

func (k records) release() {
	const (
		promise = "what is released can be claimed again"
		token   = "it is ErrNotClaimed if another claim has taken its place, or none is there"
	)
	k.write(k.store, k.dueAt("a", noon.Add(-2*time.Microsecond)), k.dueAt("b", noon.Add(-1*time.Microsecond)), k.dueAt("c", noon))
	other := k.open()
	first := k.claims("a record that is due is claimed", k.store, noon, 2, "a", "b")
	bad := []inventory.Claim{
		{EnrollmentID: "a", Token: first[0].Token + "x"}, {EnrollmentID: "a"}, {EnrollmentID: "c", Token: first[0].Token}, {EnrollmentID: "c"},
		{EnrollmentID: "A", Token: first[0].Token}, {Token: first[0].Token}, {EnrollmentID: "d", Token: first[0].Token}, {},
	}
	for _, c := range bad {
		k.fails(token, k.store.Release(k.ctx, c), inventory.ErrNotClaimed)
	}
	k.claims("what is not released stays claimed", other, noon, 10, "c")
	k.noError("Release", other.Release(k.ctx, first[0]))
	k.fails(token, k.store.Release(k.ctx, first[0]), inventory.ErrNotClaimed)
	second := k.claims(promise, other, noon, 10, "a")
	if second[0].Token == first[0].Token {
		k.Errorf("each claim of a record has a token of its own: two have the same")
	}
	k.fails(token, k.store.Release(k.ctx, first[0]), inventory.ErrNotClaimed)
	k.claims("a claim whose place another has taken ends nothing", k.store, noon, 10)
	k.noError("Release", k.store.Release(k.ctx, second[0]))
	k.noError("Release", k.store.Release(k.ctx, first[1]))
	k.claims("what is released is due since its DueAt again", k.store, noon, 10, "a", "b")
}

func (k records) expiry() {
	const (
		promise = "a claim is over when its time is reached"
		since   = "what was claimed and not released became due when that claim ended"
		taken   = "it is ErrNotClaimed if another claim has taken its place"
	)
	k.write(k.store, k.dueAt("a", noon.Add(-lease)), k.dueAt("b", noon), k.dueAt("c", noon.Add(lease-time.Microsecond)), k.dueAt("d", noon.Add(lease)))
	other := k.open()
	first := k.claims("a record that is due is claimed", k.store, noon, 10, "a", "b")
	k.claims(promise, other, noon.Add(lease-2*time.Microsecond), 10)
	k.claims(promise+"; "+since, other, noon.Add(lease), 2, "c", "a")
	k.fails(taken, k.store.Release(k.ctx, first[0]), inventory.ErrNotClaimed)
	k.noError("Release of a claim whose time is over, and that nobody has taken", k.store.Release(k.ctx, first[1]))
	k.claims("what is released is due since its DueAt again", k.store, noon.Add(lease), 1, "b")
	k.claims(since, k.store, noon.Add(lease), 10, "d")
	// A claim that is over at once is none.
	k.write(k.store, k.dueAt("e", noon.Add(-lease)))
	for _, until := range []time.Time{noon, noon.Add(-lease), noon.Add(-time.Microsecond), time.Unix(0, 0).UTC()} {
		claims := k.claim(k.store, noon, until, 10)
		k.sameIDs(promise, "claims", idsOfClaims(claims), []string{"e"})
	}
	k.claims(promise, other, noon, 10, "e")
	k.claims(promise, k.store, noon, 10)
}

// skew has servers whose clocks are a minute ahead and behind.
func (k records) skew() {
	const promise = "with clocks that differ by a minute, a claim holds for its time less a minute"
	const minute = time.Minute
	var all []inventory.Record
	for i := range 10 {
		all = append(all, k.dueAt(fmt.Sprint(i), noon.Add(time.Duration(i)*time.Microsecond)))
	}
	k.write(k.store, all...)
	behind, right, ahead := k.open(), k.store, k.open()
	k.claims("one whose clock is ahead claims early", ahead, noon.Add(minute), 4, "0", "1", "2", "3")
	k.claims("one whose clock is behind claims late", behind, noon.Add(-minute), 10)
	k.claims(promise, right, noon.Add(time.Second), 4, "4", "5", "6", "7")
	k.claims("one whose clock is behind claims late", behind, noon.Add(5*time.Microsecond), 10)
	k.claims("one whose clock is behind claims late", behind, noon.Add(time.Second), 10, "8", "9")
	// Nobody gets anything until a minute before the end of the first claims.
	for at := 2 * time.Second; at < lease-minute; at += 5 * minute {
		k.claims(promise, right, noon.Add(at), 10)
		k.claims(promise, ahead, noon.Add(at+minute), 10)
		k.claims(promise, behind, noon.Add(at-minute), 10)
	}
	k.claims(promise, ahead, noon.Add(lease), 10)
	k.claims(promise, ahead, noon.Add(lease+time.Second), 10, "4", "5", "6", "7", "8", "9")
	k.claims(promise, behind, noon.Add(lease), 10)
	k.claims(promise, right, noon.Add(lease+minute), 10, "0", "1", "2", "3")
}

func (k records) claimedRecord() {
	const (
		stays   = "a claim stays when its record is updated"
		decides = "once a claim is over or released, DueAt decides"
	)
	later := noon.Add(2 * lease)
	other := k.open()
	claim := func(at time.Time) inventory.Claim {
		k.Helper()
		k.write(k.store, k.dueAt("1", noon))
		c := k.claims("a record that is due is claimed", k.store, noon, 1, "1")[0]
		r := k.dueAt("1", at)
		k.write(other, r)
		k.holds("a record that is claimed can be updated", k.store, r)
		for _, s := range []inventory.Store{k.store, other} {
			k.claims(stays, s, noon.Add(lease-time.Microsecond), 10)
		}
		return c
	}
	for i, at := range []time.Time{noon.Add(-lease), noon, noon.Add(time.Minute), later, {}} {
		// Released.
		c := claim(at)
		k.noError("Release", k.store.Release(k.ctx, c))
		now, want := noon.Add(time.Minute), []string{"1"}
		if i >= 3 {
			want = nil
		}
		for _, c := range k.claims(decides, k.store, now, 10, want...) {
			k.noError("Release", k.store.Release(k.ctx, c))
		}
		// Over.
		c = claim(at)
		for _, c := range k.claims(decides, other, noon.Add(lease), 10, want...) {
			k.noError("Release", other.Release(k.ctx, c))
		}
		if i >= 3 {
			k.noError("Release of a claim that nobody has taken", k.store.Release(k.ctx, c))
		}
	}
	k.write(k.store, k.dueAt("1", later))
	k.claims(decides, k.store, later.Add(-time.Microsecond), 10)
	c := k.claims(decides, k.store, later, 10, "1")[0]
	k.fails("nothing is written when change returns an error", k.store.Update(k.ctx, "1", func(r *inventory.Record) error {
		r.Summary.DueAt = noon
		return errRefused
	}), errRefused)
	k.claims(stays, other, later, 10)
	k.noError("Release", k.store.Release(k.ctx, c))
	k.claims(decides, other, later, 10, "1")
}

// claimers claim as much as they can at once.
func (k records) claimers() {
	const promise = "of several servers that claim at the same time, no two get the same record"
	for round := range 3 {
		var want []string
		for i := range 60 {
			id := fmt.Sprintf("%d %02d", round, i)
			k.write(k.store, k.dueAt(id, noon.Add(time.Duration(i%7-7)*time.Second)))
			want = append(want, id)
		}
		var mu sync.Mutex
		got := map[string]int{}
		take := func(s inventory.Store, limit int) (n int) {
			claims, err := s.Claim(k.ctx, noon, noon.Add(lease), limit)
			if err != nil {
				k.Errorf("claims at the same time all succeed: the error is %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, c := range claims {
				got[c.EnrollmentID]++
			}
			return len(claims)
		}
		k.together(writers/2, func(i int, s inventory.Store) {
			for range 4 {
				take(s, 1+i%4)
			}
		})
		for take(k.store, 100) > 0 { // what claimers left out for others' sake
			continue
		}
		for _, id := range want {
			if n := got[id]; n != 1 {
				k.Fatalf("%s: %d claims of a record that is due, and should be 1", promise, n)
			}
		}
		if len(got) != len(want) {
			k.Fatalf("%s: %d records were claimed, and should be %d", promise, len(got), len(want))
		}
	}
}

// claimersAtWork claim, update and release, as servers do.
func (k records) claimersAtWork() {
	const promise = "while a server has a claim, no other one gets it"
	const times, n = 3, 20
	done := noon.Add(times * time.Minute)
	for i := range n {
		r := k.dueAt(fmt.Sprint(i), noon)
		k.write(k.store, r)
	}
	var mu sync.Mutex
	held := map[string]bool{}
	work := func(i int, s inventory.Store) (left bool) {
		claims, err := s.Claim(k.ctx, done, done.Add(lease), 1+i%3)
		if err != nil {
			k.Errorf("claims, updates and releases at the same time all succeed: the error of Claim is %v", err)
			return false
		}
		for _, c := range claims {
			mu.Lock()
			if held[c.EnrollmentID] {
				k.Errorf("%s: one did", promise)
			}
			held[c.EnrollmentID] = true
			mu.Unlock()
			runtime.Gosched()
			err := s.Update(k.ctx, c.EnrollmentID, func(r *inventory.Record) error {
				r.Exchanges = map[string]inventory.Exchange{"Times": {UUIDs: append(slices.Clone(r.Exchanges["Times"].UUIDs), c.Token)}}
				r.Summary.DueAt = noon.Add(time.Duration(len(r.Exchanges["Times"].UUIDs)) * time.Minute)
				if r.Summary.DueAt.Equal(done) {
					r.Summary.DueAt = time.Time{}
				}
				return nil
			})
			if err != nil {
				k.Errorf("claims, updates and releases at the same time all succeed: the error of Update is %v", err)
			}
			mu.Lock()
			held[c.EnrollmentID] = false
			mu.Unlock()
			if err := s.Release(k.ctx, c); err != nil {
				k.Errorf("claims, updates and releases at the same time all succeed: the error of Release is %v", err)
			}
		}
		return len(claims) > 0
	}
	k.together(12, func(i int, s inventory.Store) {
		for range 8 {
			work(i, s)
		}
	})
	for work(2, k.store) {
		if k.ctx.Err() != nil {
			break
		}
	}
	for i := range n {
		r := k.get(k.store, fmt.Sprint(i))
		if got := len(r.Exchanges["Times"].UUIDs); got != times {
			k.Errorf("each record is claimed each time it is due: one was claimed %d times, and should be %d", got, times)
		}
	}
}
