package activationlock

import (
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
// decides.
func AfterUnlock(removed time.Time, evidence []Evidence) Aftermath {
	became := Unverified
	for _, e := range slices.SortedStableFunc(slices.Values(evidence), func(a, b Evidence) int { return a.At.Compare(b.At) }) {
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

// What a report says where a device has no action.
var (
	notInHandLabel = texts{
		English: "Nobody stated to have the device in hand.",
		Dutch:   "Niemand heeft verklaard het apparaat in handen te hebben.",
	}
	startLabel = texts{
		English: "A serial number or enrollment ID, who asks, and the reason are required, in at most 255 bytes each.",
		Dutch:   "Een serienummer of inschrijvings-ID, de aanvrager en de reden zijn verplicht, elk in hoogstens 255 bytes.",
	}
	notBegunLabel = texts{
		English: "The run ended before this device.",
		Dutch:   "De reeks eindigde voor dit apparaat.",
	}
)
