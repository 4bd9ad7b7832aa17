package activationlock

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// State says whether something is on. The zero State is [StateUnknown].
type State string

// The states of a lock.
const (
	StateUnknown State = ""
	On           State = "on"
	Off          State = "off"
)

// LockKind says how a lock came on, and with that which code opens it. The
// zero LockKind is unknown.
type LockKind string

const (
	// KindUnknown: nobody said.
	KindUnknown LockKind = ""
	// UserLinked: a person turned Find My on. The device's code opens it.
	UserLinked LockKind = "user"
	// OrganizationLinked: the server asked Apple for it. The server's code opens it.
	OrganizationLinked LockKind = "organization"
)

// Opens reports whether a code of kind k opens a lock of this kind; any kind
// may open a lock of unknown kind.
func (l LockKind) Opens(k bypasscode.Kind) bool {
	switch l {
	case UserLinked:
		return k == bypasscode.Device
	case OrganizationLinked:
		return k == bypasscode.Server
	}
	return k.Valid()
}

// Source says who gave a piece of evidence.
type Source string

// The sources, from the weakest to the strongest.
const (
	// SourceDevice is the device's own report (IsActivationLockEnabled). Apple
	// says that it can be wrong both ways, and it is deprecated since iOS 16 and
	// macOS 13. A lock that was set at Apple the device may not know.
	SourceDevice Source = "device"
	// SourceApple is the Activation Lock status of the Apple Business or Apple
	// School Manager API. It may lag behind; nobody published by how much.
	SourceApple Source = "apple"
	// SourceLockCall is Apple's answer to a lock call of ours: State On and
	// OrganizationLinked after a success, On of unknown kind if somebody had
	// locked the device before, and StateUnknown if the answer was lost, since the
	// lock may be on then.
	SourceLockCall Source = "lock call"
	// SourceUnlockCall is Apple's answer to an unlock call of ours: State Off
	// after a success. No other answer says anything of the lock.
	SourceUnlockCall Source = "unlock call"
	// SourceLostMode says whether the device is in Managed Lost Mode. That is no
	// Activation Lock, but Apple shows it as one of the organization.
	SourceLostMode Source = "lost mode"
)

// AppleLag is how long after a change Apple's status may still tell the state
// before it. Apple publishes no figure; this one is ours. Words of two sources
// that lie further apart do not contradict each other: the lock changed between.
const AppleLag = 24 * time.Hour

// Evidence is what one source said of a lock at one time. A source that said
// nothing gives no evidence: absent is not off.
type Evidence struct {
	State  State
	Kind   LockKind // of a lock that is on
	Source Source
	At     time.Time
}

// Confidence says how far a [Lock] can be relied on. It speaks of the moment
// Lock.At; a lock can change the moment after.
type Confidence string

const (
	// Unfounded: the state is unknown.
	Unfounded Confidence = ""
	// Doubted: a source says otherwise; see Lock.Conflicts.
	Doubted Confidence = "doubted"
	// Reported: only the device says so, which can be wrong.
	Reported Confidence = "reported"
	// Stated: Apple's status says so, which may lag behind.
	Stated Confidence = "stated"
	// Certain: Apple answered a call of ours that made it so.
	Certain Confidence = "certain"
)

// Lock is what all the evidence comes to. The zero Lock is unknown.
type Lock struct {
	State State
	Kind  LockKind
	// Source is the one that decided: of those that say so, the strongest, and
	// At is when it said so last. A lock that may have been made by a call without
	// an answer is unknown by SourceLockCall.
	Source     Source
	At         time.Time
	Since      time.Time // of the earliest evidence of this state without another between
	Confidence Confidence
	// Conflicts are the last words of sources that say otherwise, of the state or
	// of the kind, unless they are older by [AppleLag] than what was believed last;
	// oldest first. The one that decided can be among them, if it spoke again.
	Conflicts []Evidence
}

// Derive makes a Lock of the evidence about one device, in any order.
//
// The latest evidence decides, with these exceptions, all to the safe side:
//
//   - that a lock is on is believed of every source; of different ones of the
//     same moment, it is on;
//   - that it is off is believed of the device only if the device saw this lock
//     before: one that was set at Apple may be hidden from it;
//   - that it is off is believed of Apple's status only after [AppleLag] from a
//     lock call of ours, and from when the lock came on, if the status did not
//     show that;
//   - a lock call without an answer makes a lock that was off unknown, and only
//     an unlock, or Apple's status after [AppleLag], says that it is off again.
//
// So it is with the kind: what Apple's status says soon after our own call may be
// of the lock before, and what it calls a lock of the organization may be Managed
// Lost Mode, and is then one of unknown kind.
func Derive(evidence []Evidence) Lock {
	v := view{said: map[Source]Evidence{}, saw: map[Source]bool{}}
	for _, e := range slices.SortedFunc(slices.Values(evidence), order) {
		v.look(e)
	}
	v.lock.Confidence = v.confidence()
	if len(v.lock.Conflicts) == 0 {
		v.lock.Conflicts = nil // so that equal locks look it
	}
	return v.lock
}

// order is one fixed order, so that the one given makes no difference. Of one
// moment, on comes last, and a lock call without an answer after off.
func order(a, b Evidence) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.State, b.State),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source))
}

func (e Evidence) rank() int {
	switch e.State {
	case On:
		return 2
	case StateUnknown:
		return 1
	}
	return 0
}

// view is what the evidence up to one moment comes to.
type view struct {
	lock   Lock
	kindAt time.Time           // when the kind was said
	said   map[Source]Evidence // the last words of each
	saw    map[Source]bool     // who said so since it is so, and since the last lock call without an answer
	open   bool                // a lock call had no answer, so there may be a lock that nobody saw
	called time.Time           // the last lock call after which there is or may be a lock
	made   bool                // the lock, by that call

	lost      bool      // in Managed Lost Mode
	lostUntil time.Time // when it was first said not to be any more
}

func (v *view) look(e Evidence) {
	switch {
	case e.Source == SourceLostMode:
		v.lookLost(e)
	case e.Source == SourceLockCall && e.State != On:
		if e.State == StateUnknown {
			v.mayBeLocked(e)
		}
	case e.State == On && v.mayBeBefore(e), e.State == Off && !v.knowsOff(e):
		v.said[e.Source] = e
		v.doubt(e)
	case e.State == On, e.State == Off:
		v.said[e.Source] = e
		v.believe(e)
	}
}

// lookLost forgets a kind that Apple's status may have told because of Managed
// Lost Mode: nobody knows since when that was on.
func (v *view) lookLost(e Evidence) {
	switch {
	case e.State == On:
		if v.lock.Kind == OrganizationLinked && !v.made {
			v.lock.Kind, v.kindAt = KindUnknown, time.Time{}
		}
		v.lost = true
	case e.State == Off && v.lost:
		v.lost, v.lostUntil = false, e.At
	}
}

// mayBeLocked takes in a lock call without an answer.
func (v *view) mayBeLocked(e Evidence) {
	if v.lock.State != On {
		since := e.At
		if v.open {
			since = v.lock.Since
		}
		v.lock, v.made = Lock{Source: e.Source, At: e.At, Since: since}, false
	}
	v.saw, v.open, v.called = map[Source]bool{}, true, e.At
}

// knowsOff reports whether a source can know that the lock is off.
func (v *view) knowsOff(e Evidence) bool {
	on, saw := v.lock.State == On, v.saw[e.Source]
	switch e.Source {
	case SourceUnlockCall:
		return true
	case SourceApple:
		return !soon(v.called, e.At) && (!on || saw || !soon(v.lock.Since, e.At))
	}
	return !v.open && (!on || saw)
}

// mayBeBefore reports whether Apple's status may still show the lock before the
// one that our call made: Apple locks a device only once.
func (v *view) mayBeBefore(e Evidence) bool {
	return v.made && e.Source == SourceApple && e.Kind == UserLinked && soon(v.called, e.At)
}

// soon reports whether Apple's status may not show yet what happened at a time.
func soon(happened, at time.Time) bool {
	return !happened.IsZero() && at.Sub(happened) < AppleLag
}

func (v *view) believe(e Evidence) {
	// Apple locks a device once: a call that succeeded found no lock before it.
	made := e.State == On && e.Source == SourceLockCall && e.Kind == OrganizationLinked
	if e.State != v.lock.State || made {
		v.begin(e)
	}
	v.saw[e.Source] = true
	switch e.Source {
	case SourceLockCall:
		v.open, v.called, v.made = false, e.At, v.made || made
	case SourceUnlockCall:
		v.called = time.Time{}
	}
	if e.State == On {
		v.learnKind(e)
	}
	if e.Source.strength() >= v.lock.Source.strength() {
		v.lock.Source, v.lock.At = e.Source, e.At
	}
	v.lock.Conflicts = slices.DeleteFunc(v.lock.Conflicts, func(c Evidence) bool { return c.Source == e.Source || !soon(c.At, e.At) })
}

// begin starts another state. Those who said otherwise a short time ago
// contradict it, but for Apple's answer to a call.
func (v *view) begin(e Evidence) {
	v.lock, v.kindAt, v.saw, v.made = Lock{State: e.State, Since: e.At}, time.Time{}, map[Source]bool{}, false
	if e.State == Off {
		v.open = false
	}
	if e.Source == SourceLockCall || e.Source == SourceUnlockCall {
		return
	}
	for _, said := range slices.SortedFunc(maps.Values(v.said), order) {
		if said.State != e.State {
			v.doubt(said)
		}
	}
}

func (v *view) learnKind(e Evidence) {
	switch {
	case e.Kind == KindUnknown:
	case e.Source == SourceApple && e.Kind == OrganizationLinked && (v.lost || soon(v.lostUntil, e.At)):
	case !v.kindAt.IsZero() && e.At.Equal(v.kindAt) && e.Kind != v.lock.Kind:
		v.lock.Kind = KindUnknown // and stays so, of this moment
	default:
		v.lock.Kind, v.kindAt, v.made = e.Kind, e.At, v.made && e.Kind == OrganizationLinked
	}
}

// doubt lists what is not believed, unless it adds nothing: that the lock is off
// when it is, from one who cannot know.
func (v *view) doubt(e Evidence) {
	v.lock.Conflicts = slices.DeleteFunc(v.lock.Conflicts, func(c Evidence) bool { return c.Source == e.Source })
	if e.State == On || e.State != v.lock.State {
		v.lock.Conflicts = append(v.lock.Conflicts, e)
	}
}

func (v *view) confidence() Confidence {
	switch {
	case v.lock.State == StateUnknown:
		return Unfounded
	case len(v.lock.Conflicts) > 0:
		return Doubted
	case v.lock.Source == SourceApple:
		return Stated
	case v.lock.Source.strength() == strongest:
		return Certain
	}
	return Reported
}

// strongest is what speaks for Apple: its answers to our calls, and its status.
// Of these the last one counts.
const strongest = 2

func (s Source) strength() int {
	switch s {
	case SourceApple, SourceLockCall, SourceUnlockCall:
		return strongest
	case "":
		return 0
	}
	return 1
}
