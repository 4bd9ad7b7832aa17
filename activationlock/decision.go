package activationlock

import (
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	// EvidenceAge is how old evidence of a lock that is off may be for a device to
	// be given to somebody else: a weekly inventory and a day.
	EvidenceAge = 8 * 24 * time.Hour
	// EraseEvidenceAge is how old it may be for an erase, which cannot be taken
	// back, if no code is held should the lock have come on since.
	EraseEvidenceAge = 24 * time.Hour
)

// relockAge takes its place while Find My is on, since the device may lock itself
// again: time enough to erase. No source says how fast that goes.
const relockAge = time.Hour

// CanReassign answers whether the device may be given to somebody else: only if
// its lock is known to be off, and Find My is not known to be on, with which it
// would come back. What only the device says is not known, since it can be wrong;
// ask Apple's status, or unlock it.
func (s Situation) CanReassign(now time.Time) Answer {
	off := s.off(now, EvidenceAge)
	if off.Yes() && !s.lockless() && is(s.FindMy, true) {
		return unknown(ReasonFindMyOn)
	}
	return off
}

// CanErase answers whether the device may be erased without making a brick: if
// its lock is known to be off, or if a code is held that opens it. Erasing a
// locked device without one makes the brick, since an erase leaves the lock as
// it is.
func (s Situation) CanErase(now time.Time) Answer {
	off, opens := s.off(now, EraseEvidenceAge), s.opens()
	switch {
	case s.Device.UserEnrollment || off.Yes():
		return off
	case opens.Yes() && s.Lock.State == On:
		return yes(s.caveats(ReasonUnlockFirst)...)
	case opens.Yes() && s.Lock.State == Off && is(s.FindMy, false) && now.Sub(s.Lock.At) <= EraseEvidenceAge:
		return yes(append([]Reason{ReasonCodeHeld}, off.Reasons...)...) // both would have to be wrong
	case opens.Yes():
		return unknown(append(off.Reasons, ReasonCodeHeld)...)
	case s.Lock.State == On:
		return opens
	case s.Usable():
		return unknown(append(off.Reasons, opens.Reasons...)...)
	}
	return off
}

// off answers whether the lock is known to be off, by evidence no older than that.
func (s Situation) off(now time.Time, oldest time.Duration) Answer {
	age, limit := now.Sub(s.Lock.At), oldest
	if is(s.FindMy, true) {
		limit = relockAge
	}
	switch {
	case s.Device.UserEnrollment:
		return no(ReasonUserEnrollment) // Apple allows neither, and the device is the user's
	case s.Lock.State == On:
		return no(ReasonLockOn)
	case s.mayBeLocked():
		return unknown(ReasonMayBeLocked)
	case s.lockless():
		return yes(ReasonNotApplicable)
	case s.Lock.State != Off:
		return unknown(ReasonLockUnknown)
	case len(s.Lock.Conflicts) > 0 || s.Lock.Confidence == Doubted:
		return unknown(ReasonConflict)
	case s.Lock.Confidence != Stated && s.Lock.Confidence != Certain:
		return unknown(ReasonOnlyDeviceSays)
	case age > oldest:
		return unknown(ReasonEvidenceOld)
	case age < -relockAge: // a clock was wrong, and nobody knows how old this is
		return unknown(ReasonLockUnknown)
	case age > limit, is(s.FindMy, true) && s.Lock.Source != SourceUnlockCall:
		// The lock may have come with Find My, and Apple's status lags behind.
		return unknown(ReasonFindMyOn)
	}
	return yes(s.caveats(ReasonLockOff)...)
}

// lockless reports whether the device can have no lock at all; iOS 7.0 has one,
// only no code for it.
func (s Situation) lockless() bool {
	locks70 := mdmcmd.PlatformOf(s.Device.ProductName) == mdmcmd.IOS && atLeast(s.Device.OSVersion, "7.0") == On
	return s.Device.HasLock() == Off && !locks70
}

// mayBeLocked reports whether a lock call of ours had no answer since the lock
// was off.
func (s Situation) mayBeLocked() bool {
	return s.Lock.State != On && s.Lock.Source == SourceLockCall
}

// opens answers whether a code that is held opens the lock, if it is on.
func (s Situation) opens() Answer {
	platform := mdmcmd.PlatformOf(s.Device.ProductName)
	switch {
	case !s.Usable() && s.kind() == OrganizationLinked:
		return no(ReasonOrganizationNoCode)
	case !s.Usable():
		return no(ReasonLockOnNoCode)
	case platform == "":
		return unknown(ReasonPlatformUnknown)
	case platform == mdmcmd.WatchOS:
		return no(ReasonFollowsPhone)
	case platform != mdmcmd.IOS && platform != mdmcmd.MacOS:
		return unknown(ReasonNotDocumented)
	case s.sure():
		return yes()
	case s.kind() == KindUnknown && (s.good(bypasscode.Device) || s.good(bypasscode.Server)):
		return unknown(ReasonKindUnknown)
	}
	return unknown(ReasonCodeDoubtful)
}

// kind is of the lock that is on, or of the only one that the device can have.
func (s Situation) kind() LockKind {
	switch {
	case s.Lock.State == On && s.Lock.Kind != KindUnknown:
		return s.Lock.Kind
	case is(s.Device.SharedIPad, true):
		return OrganizationLinked
	}
	return KindUnknown
}

// sure reports whether a good code is held of the kind that opens the lock; where
// that is not known, of each kind that may.
func (s Situation) sure() bool {
	// A lock that is on, or may be, on a device that this server never locked is
	// the person's, as far as Find My is on. One that was off and came on since is
	// so in any case: lock calls are evidence.
	persons := !s.holds(bypasscode.Server) && !s.mayBeLocked() && (is(s.FindMy, true) || s.Lock.State == Off)
	switch s.kind() {
	case UserLinked:
		return s.good(bypasscode.Device)
	case OrganizationLinked:
		return s.good(bypasscode.Server)
	}
	return s.good(bypasscode.Device) && (persons || s.good(bypasscode.Server))
}

// good reports whether a code of a kind is held of which nothing speaks against
// its opening a lock.
func (s Situation) good(k bypasscode.Kind) bool {
	if k == bypasscode.Device && (is(s.Device.Supervised, false) || is(s.Device.SharedIPad, true)) {
		return false // it makes none, so this one is of before
	}
	return slices.ContainsFunc(s.Codes, func(c HeldCode) bool { return c.Kind == k && !c.Void && !c.Doubtful })
}

func (s Situation) holds(k bypasscode.Kind) bool {
	return slices.ContainsFunc(s.Codes, func(c HeldCode) bool { return c.Kind == k })
}

// caveats are what a yes has to be taken with.
func (s Situation) caveats(first Reason) []Reason {
	reasons := []Reason{first}
	if s.Lock.State == On && s.Lock.Kind == KindUnknown {
		reasons = append(reasons, ReasonKindUnknown)
	}
	if is(s.FindMy, true) {
		reasons = append(reasons, ReasonFindMyOn)
	}
	return reasons
}

// Step is a step of a plan for people and programs. Its label is the sentence to
// show.
type Step string

// The steps of returning a device to service, in their order.
const (
	// StepReadState: ask the device for its information, and Apple for the lock's
	// status, and plan anew.
	StepReadState Step = "readState"
	// StepUnlock: have Apple remove the lock; see package bypass.
	StepUnlock Step = "unlock"
	// StepErase: erase at once, with the options of Return to Service. While Find
	// My stays on, the lock may come back meanwhile.
	StepErase Step = "erase"
)

// Label returns the sentence to show. A language without labels gives English.
func (s Step) Label(l Language) string { return label(stepLabels, s, l) }

// ReturnToService answers whether the device can return to service by itself, and
// with which steps. All locks must be off before the erase, or it stops at the
// activation screen until a person comes. Without a yes the first step, if there
// is one, is to find out.
//
// Source: Apple, "Returning a managed device to service", and the schema of
// EraseDevice (iOS 17.0, tvOS 18.0, visionOS 26.0).
func (s Situation) ReturnToService(now time.Time) ([]Step, Answer) {
	if s.Device.UserEnrollment {
		return nil, no(ReasonUserEnrollment)
	}
	since, works := map[mdmcmd.Platform]string{mdmcmd.IOS: "17.0", mdmcmd.TvOS: "18.0", mdmcmd.VisionOS: "26.0"}[mdmcmd.PlatformOf(s.Device.ProductName)]
	switch reached := atLeast(s.Device.OSVersion, since); {
	case mdmcmd.PlatformOf(s.Device.ProductName) == "":
		return nil, unknown(ReasonPlatformUnknown)
	case !works:
		return nil, no(ReasonNoReturnToService)
	case reached == Off:
		return nil, no(ReasonVersionTooOld)
	case reached != On:
		return nil, unknown(ReasonVersionUnknown)
	}
	off, opens := s.off(now, EraseEvidenceAge), s.opens()
	switch {
	case off.Yes():
		return []Step{StepErase}, off
	case s.Lock.State == On && opens.Yes():
		return []Step{StepUnlock, StepErase}, yes(s.caveats(ReasonUnlockFirst)...)
	case s.Lock.State == On && opens.Verdict == No:
		return nil, opens
	case s.Lock.State == On:
		return []Step{StepReadState, StepUnlock, StepErase}, opens
	case opens.Yes():
		return []Step{StepReadState, StepUnlock, StepErase}, unknown(off.Reasons...)
	}
	return []Step{StepReadState, StepErase}, unknown(off.Reasons...)
}
