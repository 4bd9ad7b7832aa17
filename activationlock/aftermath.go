package activationlock

import (
	"cmp"
	"slices"
	"time"
)

// WatchFor is how long a device is watched after its lock was removed. A lock
// that comes on later is a new one.
const WatchFor = 30 * 24 * time.Hour

// Aftermath is what became of a device whose lock was removed: that Apple said so
// does not prove it, and the lock comes back when Find My is opened.
type Aftermath string

const (
	// NotUnlocked: the lock was not removed.
	NotUnlocked Aftermath = ""
	// Unverified: nobody said anything of the lock since.
	Unverified Aftermath = "unverified"
	// Verified: later evidence says that the lock is off, or that Apple found it
	// so when it locked the device for the organization.
	Verified Aftermath = "verified"
	// MaybeRelocked: a source says that the lock is on, so soon that it may still
	// tell the state of before; see [AppleLag].
	MaybeRelocked Aftermath = "maybeRelocked"
	// Relocked: the lock came on again. Unlock it again, and erase it at once or
	// have Find My turned off.
	Relocked Aftermath = "relocked"
)

// AfterUnlock derives what became of a lock that was removed at a moment from the
// evidence about the device, in any order. The latest evidence within [WatchFor]
// decides; of one moment, that the lock is on.
func AfterUnlock(removed time.Time, evidence []Evidence) Aftermath {
	became := Unverified
	for _, e := range slices.SortedFunc(slices.Values(evidence), watched) {
		since := e.At.Sub(removed)
		switch {
		case since <= 0 || since > WatchFor || e.Source == SourceLostMode || e.Source == SourceUnlockCall:
		case e.State == Off:
			became = Verified
		case e.State != On:
		case e.Source == SourceLockCall && e.Kind == OrganizationLinked:
			return Verified // what comes from here on is our own lock
		case since < AppleLag && e.Source != SourceLockCall:
			became = MaybeRelocked
		default:
			became = Relocked
		}
	}
	return became
}

// watched is one fixed order, so that the one given makes no difference. Of one
// moment, what says most clearly that the lock is on comes last.
func watched(a, b Evidence) int {
	rank := func(e Evidence) int {
		switch {
		case e.State != On:
			return 0
		case e.Source != SourceLockCall:
			return 1
		}
		return 2
	}
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a), rank(b)))
}

// Label returns what became of it in words. A language without labels gives
// English.
func (a Aftermath) Label(l Language) string { return label(aftermathLabels, a, l) }

var aftermathLabels = map[Aftermath]texts{
	NotUnlocked: {English: "not unlocked", Dutch: "niet ontgrendeld"},
	Unverified:  {English: "not verified yet", Dutch: "nog niet geverifieerd"},
	Verified:    {English: "verified: the lock is off", Dutch: "geverifieerd: het slot is uit"},
	MaybeRelocked: {
		English: "perhaps locked again; Apple and the device may still tell the state of before",
		Dutch:   "mogelijk opnieuw vergrendeld; Apple en het apparaat kunnen nog de toestand van voorheen melden",
	},
	Relocked: {English: "locked again", Dutch: "opnieuw vergrendeld"},
}
