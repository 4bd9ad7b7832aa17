package bypass

import (
	"cmp"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Plan orders a device's codes by how likely they open its lock. What is purged
// is left out.
//
//   - Current codes come before all others, then newer ones before older ones;
//   - the kind that opens the lock comes first, if it is known; else the kinds
//     take turns, the one that was heard of last first;
//   - disputed codes come after all of these, void ones at the very end.
//
// Apple says that a server cannot know which of two codes is the active one, and
// to try the other if one fails. So the best code of the other kind is always
// among the first [MaxAttempts], and so is the best one of a kind that is known
// to be the right one, though it be disputed or void.
func Plan(codes []escrow.Record, lock activationlock.Lock) []escrow.Record {
	first := bypasscode.Device
	switch lock.Kind {
	case activationlock.UserLinked:
	case activationlock.OrganizationLinked:
		first = bypasscode.Server
	default:
		if heard(codes, bypasscode.Server).After(heard(codes, bypasscode.Device)) {
			first = bypasscode.Server
		}
	}
	var plan []escrow.Record
	for tier := range tiers {
		var likely, other []escrow.Record
		for _, c := range codes {
			switch {
			case tierOf(c) != tier || !c.Kind.Valid():
			case c.Kind == first:
				likely = append(likely, c)
			default:
				other = append(other, c)
			}
		}
		sortByWorth(likely)
		sortByWorth(other)
		if lock.Kind == activationlock.KindUnknown {
			plan = append(plan, inTurns(likely, other)...)
		} else {
			plan = append(plan, append(likely, other...)...)
		}
	}
	for _, must := range []func(escrow.Record) bool{
		func(c escrow.Record) bool { return c.Kind != first && tierOf(c) == 0 },
		func(c escrow.Record) bool { return c.Kind == first && lock.Kind != activationlock.KindUnknown },
	} {
		if at := slices.IndexFunc(plan, must); at >= MaxAttempts {
			best := plan[at]
			plan = slices.Insert(slices.Delete(plan, at, at+1), MaxAttempts-1, best)
		}
	}
	return plan
}

// refusedLast puts the codes that Apple refused in earlier actions behind those
// that it did not, or the same four would be tried for ever; but for the first,
// since a refusal may mean that there was no lock, and void ones. A refusal
// counts until the device gives the code again, the lock comes on, or Apple is
// told something else of the device.
func refusedLast(plan []escrow.Record, earlier []Action, device escrow.Device, lock activationlock.Lock) []escrow.Record {
	refused := map[string]time.Time{}
	for _, a := range earlier {
		for _, t := range a.Attempts {
			if t.Outcome == apple.NotFound && a.Device == device {
				refused[t.RecordID] = later(refused[t.RecordID], t.AnsweredAt)
			}
		}
	}
	rank := func(c escrow.Record) int {
		at := refused[c.ID]
		switch {
		case tierOf(c) == tiers-1:
			return 2
		case at.IsZero(), c.LastSeen.After(at), lock.State == activationlock.On && lock.Since.After(at):
			return 0
		}
		return 1
	}
	if len(plan) > 1 {
		slices.SortStableFunc(plan[1:], func(a, b escrow.Record) int { return cmp.Compare(rank(a), rank(b)) })
	}
	return plan
}

const tiers = 3

// tierOf returns the group of codes that one is tried with, negative for those
// that are not tried.
func tierOf(c escrow.Record) int {
	switch c.State {
	case escrow.Purged:
		return -1
	case escrow.Void:
		return 2
	case escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded:
		return 0
	}
	return 1 // disputed, or of a later version
}

// heard is when a kind of lock was heard of last: its code came, or was sent in a
// lock call. That a code worked says that its lock went.
func heard(codes []escrow.Record, k bypasscode.Kind) (last time.Time) {
	for _, c := range codes {
		if c.Kind == k && tierOf(c) == 0 {
			last = later(last, c.LastSeen)
			if c.State != escrow.Worked {
				last = later(last, c.StateSince)
			}
		}
	}
	return last
}

func sortByWorth(codes []escrow.Record) {
	current := func(c escrow.Record) int {
		if c.State == escrow.Current {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(codes, func(a, b escrow.Record) int {
		return cmp.Or(cmp.Compare(current(a), current(b)), b.LastSeen.Compare(a.LastSeen))
	})
}

func inTurns(a, b []escrow.Record) (all []escrow.Record) {
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			all = append(all, a[i])
		}
		if i < len(b) {
			all = append(all, b[i])
		}
	}
	return all
}
