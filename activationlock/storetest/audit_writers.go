package storetest

import (
	"crypto/sha256"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
)

// follows returns a next that appends n entries, each of which names the one
// before.
func (k chain) follows(actor string, n int) next {
	return func(last audit.Entry) (entries []audit.Entry, _ error) {
		runtime.Gosched() // to whoever should not get in
		for range n {
			e := k.row(last.Number + 1)
			e.Actor, e.Detail = actor, last.Digest.String()
			e.Digest = sha256.Sum256(fmt.Append(last.Digest[:], actor, e.Number))
			entries = append(entries, e)
			last = e
		}
		return entries, nil
	}
}

// linked checks that entries are all there, and that each was appended by a call
// that was passed the one before.
func (k chain) linked(promise string, entries []audit.Entry, want int) {
	k.Helper()
	if len(entries) != want {
		k.Fatalf("%s: of %d entries there are %d", promise, want, len(entries))
	}
	var last audit.Entry
	for i, e := range entries {
		if e.Number != int64(i+1) {
			k.Fatalf("%s: entry %d has the number %d", promise, i+1, e.Number)
		}
		if e.Detail != last.Digest.String() {
			k.Fatalf("%s: entry %d does not follow the one before", promise, i+1)
		}
		last = e
	}
}

// append runs an append among others, which may not fail.
func (k chain) append(s audit.Store, next next) {
	if err := s.Append(k.ctx, next); err != nil {
		k.Errorf("appends at the same time all succeed: the error is %v", err)
	}
}

func (k chain) writers() {
	const (
		promise  = "appends at the same time never overlap: each is passed the last entry of the one before"
		together = "entries of one append have no others between them"
	)
	k.together(writers, func(i int, s audit.Store) { k.append(s, k.follows(fmt.Sprint(i), 1)) })
	k.linked(promise, k.all(k.store, 1000), writers)
	k.together(writers, func(i int, s audit.Store) { k.append(s, k.follows(fmt.Sprint(i), 3)) })
	entries := k.all(k.open(), 7)
	k.linked(promise, entries, 4*writers)
	alone, three := map[string]int{}, map[string]int{}
	for i, e := range entries {
		if i < writers {
			alone[e.Actor]++
			continue
		}
		three[e.Actor]++
		if first := entries[i-(i-writers)%3]; e.Actor != first.Actor {
			k.Fatalf("%s: entry %d is of another than entry %d", together, e.Number, first.Number)
		}
	}
	for i := range writers {
		if actor := fmt.Sprint(i); alone[actor] != 1 || three[actor] != 3 {
			k.Errorf("an append is written once: of an append of 1 there are %d entries, and of one of 3 %d", alone[actor], three[actor])
		}
	}
}

// halfAnAppend has readers look while appends of three come.
func (k chain) halfAnAppend() {
	const promise = "what an append writes is seen together or not at all"
	k.together(writers, func(i int, s audit.Store) {
		if i%4 < 2 {
			for range 4 {
				k.append(s, k.follows(fmt.Sprint(i), 3))
			}
			return
		}
		for seen := 0; seen < 8; seen++ {
			entries, err := s.Scan(k.ctx, math.MinInt64, 10_000)
			if err != nil {
				k.Errorf("scans and appends at the same time all succeed: the error is %v", err)
				return
			}
			if n := len(entries); n%3 != 0 || n > 0 && entries[n-1].Number != int64(n) {
				k.Errorf("%s: a reader saw half of one", promise)
				return
			}
		}
	})
	k.linked(promise, k.all(k.store, 1000), writers/2*4*3)
}

// log has the logs of two servers write one chain.
func (k chain) log() {
	const (
		what  = "an audit.Log"
		whole = "an audit.Log on this store keeps every event, in a chain that it verifies"
	)
	key, err := audit.NewKey([]byte(strings.Repeat("k", audit.KeySize)))
	k.works(what, "NewKey", err)
	open := func(s audit.Store) *audit.Log {
		k.Helper()
		log, err := audit.New(audit.Config{Store: s, Key: key})
		k.works(what, "New", err)
		return log
	}
	event := func(i int) audit.Event {
		e := k.row(1).Event
		e.Detail = fmt.Sprint(i)
		// A time that is not kept as it is.
		e.At = noon.AddDate(200*(i%30)-2000, 0, 0).Add(time.Duration(i) * time.Nanosecond).In(time.FixedZone("CET", 3600))
		return e
	}

	var logs [2]*audit.Log // of the handles
	var mu sync.Mutex
	heads := map[int64]audit.Head{}
	k.together(writers, func(i int, s audit.Store) {
		mu.Lock()
		if logs[i%2] == nil {
			logs[i%2] = open(s)
		}
		log := logs[i%2]
		mu.Unlock()
		events := []audit.Event{event(i)}
		if i%8 > 5 {
			events = append(events, event(writers+i))
		}
		head, err := log.Append(k.ctx, events...)
		if err != nil {
			k.Errorf("appends at the same time all succeed: the error is %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		heads[head.Number] = head
	})
	if k.Failed() {
		return
	}
	if len(heads) != writers {
		k.Fatalf("%s: of the heads of %d appends there are %d", whole, writers, len(heads))
	}
	log := open(k.open())
	for _, head := range heads {
		last, err := log.Verify(k.ctx, head)
		k.works(what, "Verify", err)
		if want := int64(writers + writers/4); last.Number != want {
			k.Fatalf("%s: of %d events there are %d", whole, want, last.Number)
		}
	}
	seen := map[string]int{}
	for e, err := range log.Entries(k.ctx) {
		k.works(what, "Entries", err)
		seen[e.Detail]++
	}
	for i := range 2 * writers {
		want := 1
		if i >= writers && i%8 <= 5 {
			want = 0
		}
		if n := seen[fmt.Sprint(i)]; n != want {
			k.Errorf("%s: an event that was appended %d times is there %d times", whole, want, n)
		}
	}
}
