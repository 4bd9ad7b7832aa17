package bypass

import (
	"cmp"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
)

// WatchFor is how long a device is watched after its lock was removed. A lock
// that comes on later is a new one.
const WatchFor = 30 * 24 * time.Hour

// Aftermath is what became of a device whose lock was removed: that Apple said so
// does not prove it, and the lock comes back when Find My is opened.
type Aftermath string

const (
	// NotUnlocked: the action is not done.
	NotUnlocked Aftermath = ""
	// Unverified: nobody said anything of the lock since.
	Unverified Aftermath = "unverified"
	// Verified: later evidence says that the lock is off, or that Apple found it
	// so when it locked the device for the organization.
	Verified Aftermath = "verified"
	// MaybeRelocked: a source says that the lock is on, so soon that it may still
	// tell the state of before; see [activationlock.AppleLag].
	MaybeRelocked Aftermath = "maybeRelocked"
	// Relocked: the lock came on again. Unlock it again, and erase it at once or
	// have Find My turned off.
	Relocked Aftermath = "relocked"
)

// Aftermath derives what became of the lock from the evidence about the device,
// in any order. The latest evidence within [WatchFor] decides; of one moment, that
// the lock is on.
func (a *Action) Aftermath(evidence []activationlock.Evidence) Aftermath {
	opened := a.Opened()
	if opened == nil {
		return NotUnlocked
	}
	became := Unverified
	for _, e := range slices.SortedFunc(slices.Values(evidence), byTime) {
		since := e.At.Sub(opened.AnsweredAt)
		switch {
		case since <= 0 || since > WatchFor || e.Source == activationlock.SourceLostMode || e.Source == activationlock.SourceUnlockCall:
		case e.State == activationlock.Off:
			became = Verified
		case e.State != activationlock.On:
		case e.Source == activationlock.SourceLockCall && e.Kind == activationlock.OrganizationLinked:
			return Verified // what comes from here on is our own lock
		case since < activationlock.AppleLag && e.Source != activationlock.SourceLockCall:
			became = MaybeRelocked
		default:
			became = Relocked
		}
	}
	return became
}

// byTime is one fixed order, so that the one given makes no difference. Of one
// moment, what says most clearly that the lock is on comes last.
func byTime(a, b activationlock.Evidence) int {
	rank := func(e activationlock.Evidence) int {
		switch {
		case e.State != activationlock.On:
			return 0
		case e.Source != activationlock.SourceLockCall:
			return 1
		}
		return 2
	}
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a), rank(b)))
}
