package activationlock

import (
	"time"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// OfUnlock returns what Apple's answer to an unlock call says of the lock; ok is
// false if it says nothing. A code that Apple refused says nothing: Apple answers
// so for an unknown device, a wrong code, and perhaps for a lock that is off.
func OfUnlock(a apple.Answer, at time.Time) (e Evidence, ok bool) {
	if a.Outcome != apple.Done {
		return Evidence{}, false
	}
	return Evidence{State: Off, Source: SourceUnlockCall, At: at}, true
}

// OfLock returns what Apple's answer to a lock call for a device says of its
// lock; ok is false if it says nothing. An answer that names another device says
// only that the call may have locked this one.
func OfLock(serialNumber string, a apple.LockAnswer, at time.Time) (e Evidence, ok bool) {
	e = Evidence{Source: SourceLockCall, At: at}
	switch {
	case a.MaybeLocked() || !names(a.SerialNumber, serialNumber):
	case a.Outcome == apple.Done:
		e.State, e.Kind = On, OrganizationLinked
	case a.Outcome == apple.AlreadyLocked:
		e.State = On
	default:
		return Evidence{}, false
	}
	return e, true
}

// OfStatus returns what Apple's status of a device says of its lock; ok is false
// if it says nothing, or speaks of another device.
func OfStatus(serialNumber string, a apple.StatusAnswer, at time.Time) (e Evidence, ok bool) {
	if a.Outcome != apple.Done || a.Locked == nil || !names(a.SerialNumber, serialNumber) {
		return Evidence{}, false
	}
	e = Evidence{State: Off, Source: SourceApple, At: at}
	if *a.Locked {
		e.State = On
		e.Kind = map[apple.LockType]LockKind{apple.LockUser: UserLinked, apple.LockMDM: OrganizationLinked}[a.LockType]
	}
	return e, true
}

// names reports whether an answer speaks of a device, or of none.
func names(named, serialNumber string) bool { return named == "" || named == serialNumber }

// OfCode returns what Apple's answer to a lock call says of the code whose hash
// it had, for [escrow.Escrow.Mark]. Before is the code's record as
// [escrow.Escrow.LockCode] returned it, before it was marked for this call. If ok
// is false, there is nothing to mark: it stays as it is, [escrow.MaybeActive].
//
// A refusal says that the code opens nothing only if this was the first call with
// it: DEVICE_ALREADY_LOCKED may be the lock of an earlier call whose answer was
// lost.
func OfCode(before escrow.Record, a apple.LockAnswer, at time.Time) (v escrow.Verdict, ok bool) {
	evidence, said := OfLock(before.Subject.SerialNumber, a, at)
	confirmed := before.State == escrow.Current && !before.StateSince.IsZero() // for an earlier lock
	switch {
	case said && evidence.Kind == OrganizationLinked:
		return escrow.Verdict{State: escrow.Current, At: at}, true
	case said && evidence.State == StateUnknown, before.State == escrow.MaybeActive, confirmed && a.Outcome == apple.AlreadyLocked:
		return escrow.Verdict{}, false
	case confirmed: // this call changed nothing
		return escrow.Verdict{State: escrow.Current, At: at}, true
	}
	return escrow.Verdict{State: escrow.Void, Reason: "Apple did not lock the device: " + string(a.Outcome), At: at}, true
}
