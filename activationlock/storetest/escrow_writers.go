package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// writers is how many goroutines write at once.
const writers = 32

// numbered returns a change that files an entry whose CommandUUID is the number
// of entries that it saw, and adds one to the StateReason of the entry called
// "count", if there is one.
func (k codes) numbered(id string, subject escrow.Subject) change {
	return func(entries []escrow.Entry) ([]escrow.Entry, error) {
		runtime.Gosched() // to whoever should not get in
		e := k.entry(id, subject)
		e.CommandUUID = strconv.Itoa(len(entries))
		changed := []escrow.Entry{e}
		for _, e := range entries {
			if e.ID == "count" {
				n, err := strconv.Atoi(e.StateReason)
				if err != nil {
					return nil, err
				}
				e.StateReason = strconv.Itoa(n + 1)
				changed = append(changed, e)
			}
		}
		return changed, nil
	}
}

// write runs an update among others, which may not fail.
func (k codes) write(s escrow.Store, subject escrow.Subject, change change) {
	if err := s.Update(k.ctx, subject, change); err != nil {
		k.Errorf("updates at the same time all succeed: the error is %v", err)
	}
}

// consecutive checks that entries are all there, and that each was filed by an
// update that had seen all before it.
func (k codes) consecutive(promise string, entries []escrow.Entry, want int) {
	k.Helper()
	if len(entries) != want {
		k.Errorf("%s: of %d entries there are %d", promise, want, len(entries))
		return
	}
	for i, e := range entries {
		if e.ID != "count" && e.CommandUUID != strconv.Itoa(i) {
			k.Errorf("%s: entry %d was filed by an update that had seen %s", promise, i, e.CommandUUID)
			return
		}
	}
}

// count returns an entry that counts updates.
func (k codes) count(subject escrow.Subject) escrow.Entry {
	e := k.entry("count", subject)
	e.StateReason = "0"
	return e
}

// counted checks that no update overwrote the count of another.
func (k codes) counted(promise string, entries []escrow.Entry, want int) {
	k.Helper()
	i := slices.IndexFunc(entries, func(e escrow.Entry) bool { return e.ID == "count" })
	if i < 0 {
		k.Errorf("%s: an entry is gone", promise)
	} else if entries[i].StateReason != strconv.Itoa(want) {
		k.Errorf("%s: of %d changes to one entry there are %s", promise, want, entries[i].StateReason)
	}
}

// filed returns the entries that were filed under a subject.
func filed(entries []escrow.Entry, subject escrow.Subject) []escrow.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e escrow.Entry) bool { return e.Subject != subject })
}

func (k codes) oneSubject() {
	const promise = "updates of one subject never overlap"
	for round, subject := range []escrow.Subject{serial, enrollment} {
		if round == 1 { // one that begins with an entry, one without
			k.file(k.store, k.count(subject))
		}
		k.together(writers, func(i int, s escrow.Store) {
			k.write(s, subject, k.numbered(fmt.Sprintf("%s %d", subject, i), subject))
		})
		entries := k.read(k.store, subject)
		k.consecutive(promise, entries, writers+round)
		if round == 1 {
			k.counted(promise, entries, writers)
		}
	}
}

func (k codes) manySubjects() {
	const promise = "updates of different subjects do not disturb each other"
	subject := func(i int) escrow.Subject {
		if i%4 < 2 {
			return escrow.Subject{SerialNumber: fmt.Sprint(i)}
		}
		return escrow.Subject{EnrollmentID: fmt.Sprint(i)}
	}
	const each = 4
	k.together(writers, func(i int, s escrow.Store) {
		for n := range each {
			k.write(s, subject(i), k.numbered(fmt.Sprint(i, " ", n), subject(i)))
		}
	})
	for i := range writers {
		k.consecutive(promise, k.read(k.store, subject(i)), each)
	}
	if n := len(k.all(k.store, 100)); n != writers*each {
		k.Errorf("%s: of %d entries there are %d", promise, writers*each, n)
	}
}

func (k codes) joinedSubjects() {
	const promise = "updates of a serial number and of an enrollment joined to it never overlap"
	k.joins(k.store, enrollment, serial)
	k.file(k.store, k.count(enrollment))
	k.together(writers, func(i int, s escrow.Store) {
		subject := []escrow.Subject{serial, enrollment}[i/2%2]
		k.write(s, subject, k.numbered(fmt.Sprint(i), subject))
	})
	entries := k.read(k.store, serial)
	k.counted(promise, entries, writers)
	if len(entries) != writers+1 {
		k.Errorf("%s: of %d entries there are %d", promise, writers+1, len(entries))
	}
	for i, e := range entries {
		if e.Subject == serial && e.CommandUUID != strconv.Itoa(i) {
			k.Errorf("%s: entry %d was filed by an update that had seen %s", promise, i, e.CommandUUID)
			break
		}
	}
	k.consecutive(promise, k.read(k.store, enrollment), writers/2+1)
}

func (k codes) joinMeanwhile() {
	const promise = "a join in the middle of updates loses nothing"
	k.together(writers+4, func(i int, s escrow.Store) {
		if i%9 == 8 {
			if err := s.Join(k.ctx, enrollment.EnrollmentID, serial.SerialNumber); err != nil {
				k.Errorf("a join and updates at the same time all succeed: the error is %v", err)
			}
			return
		}
		subject := []escrow.Subject{serial, enrollment}[i/2%2]
		k.write(s, subject, k.numbered(fmt.Sprint(i), subject))
	})
	entries := k.read(k.store, serial)
	if len(entries) != writers {
		k.Errorf("%s: of %d entries there are %d", promise, writers, len(entries))
	}
	own := k.read(k.store, enrollment)
	k.consecutive(promise, own, len(own))
	k.wants(promise, filed(entries, enrollment), own...)
	k.leads(promise, k.store, enrollment, serial.SerialNumber)
}

func (k codes) sharedEnrollment() {
	const promise = "updates of serial numbers that share an enrollment lose nothing"
	subjects := []escrow.Subject{serial, {SerialNumber: "second serial number"}, enrollment}
	for _, s := range subjects[:2] {
		k.joins(k.store, enrollment, s)
	}
	k.file(k.store, k.entry("shared", enrollment))
	const each = 12
	k.together(each*len(subjects), func(i int, s escrow.Store) {
		subject := subjects[i/2%len(subjects)]
		k.write(s, subject, k.numbered(fmt.Sprint(i), subject))
	})
	for _, subject := range subjects {
		entries := k.read(k.store, subject)
		if n := len(filed(entries, enrollment)); n != each+1 {
			k.Errorf("%s: of %d entries of the enrollment there are %d", promise, each+1, n)
		}
		if n := len(filed(entries, subject)); subject != enrollment && n != each {
			k.Errorf("%s: of %d entries of a serial number there are %d", promise, each, n)
		}
	}
}

// halfAnUpdate has readers look at two entries that every update changes
// together.
func (k codes) halfAnUpdate() {
	const promise = "what an update writes is seen together or not at all"
	pair := []escrow.Entry{k.entry("1", serial), k.entry("2", serial)}
	k.file(k.store, pair...)
	k.together(writers, func(i int, s escrow.Store) {
		if i%4 < 2 {
			for n := range 8 {
				k.write(s, serial, func(entries []escrow.Entry) ([]escrow.Entry, error) {
					changed := slices.Clone(entries)
					for j := range changed {
						changed[j].StateReason = fmt.Sprint(i, " ", n)
					}
					return changed, nil
				})
			}
			return
		}
		for range 8 {
			entries, err := s.Entries(k.ctx, serial)
			if err != nil {
				k.Errorf("reads and updates at the same time all succeed: the error is %v", err)
			} else if len(entries) != 2 || entries[0].StateReason != entries[1].StateReason {
				k.Errorf("%s: a reader saw half of one", promise)
			}
		}
	})
}

func (k codes) scanMeanwhile() {
	const promise = "a walk sees each entry that is there all the time once, whatever is written meanwhile"
	random := k.random()
	var there []escrow.Entry
	var added []string
	for i := range 60 {
		id := fmt.Sprintf("%08x %d", random.Uint32(), i)
		if i < 40 {
			there = append(there, k.entry(id, []escrow.Subject{serial, enrollment}[i/20]))
		} else {
			added = append(added, id)
		}
	}
	k.file(k.store, there...)
	k.together(8, func(i int, s escrow.Store) {
		if i < 4 {
			for n, id := range added {
				if n%4 == i {
					k.write(s, serial, k.numbered(id, serial))
					k.write(s, there[n+i].Subject, returning(there[n+i]))
				}
			}
			return
		}
		seen, after := map[string]int{}, ""
		for {
			page, err := s.Scan(k.ctx, after, i)
			if err != nil {
				k.Errorf("scans and updates at the same time all succeed: the error is %v", err)
				return
			}
			for _, e := range page {
				seen[e.ID]++
				after = e.ID
			}
			if len(page) < i {
				break
			}
		}
		for _, e := range there {
			if seen[e.ID] != 1 {
				k.Errorf("%s: it saw %+q %d times", promise, e.ID, seen[e.ID])
			}
		}
	})
}
