package activationlock

import (
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// Status is the value of the column "Activation Lock Status" of a report.
type Status string

const (
	// NotApplicable: iOS below 7.1, or a platform or Mac without Activation
	// Lock. Shown blank.
	NotApplicable Status = "notApplicable"

	// NotEnabled: the lock is off.
	NotEnabled Status = "notEnabled"

	// EnabledWithBypassCode: the lock is on, and a code that opens it is held.
	EnabledWithBypassCode Status = "enabledWithBypassCode"

	// EnabledWithoutBypassCodeNotSupervised: the lock is on, no usable code is
	// held, and the device is known to be unsupervised.
	EnabledWithoutBypassCodeNotSupervised Status = "enabledWithoutBypassCodeNotSupervised"

	// EnabledWithoutBypassCodeUnreachable: the lock is on, no usable code is
	// held, and our question went unanswered past its deadline.
	EnabledWithoutBypassCodeUnreachable Status = "enabledWithoutBypassCodeUnreachable"

	// EnabledWithoutBypassCodeNotProvided: the lock is on, no usable code is
	// held, and the device's answer had none that opens the lock.
	EnabledWithoutBypassCodeNotProvided Status = "enabledWithoutBypassCodeNotProvided"

	// Unknown: there is no evidence yet, of the lock, of supervision, or of
	// what the device answers to our question.
	Unknown Status = "unknown"
)

// CodeWindow is how long after supervision began a device gives its bypass
// code: 15 days (Apple's schema of the command; for Macs no source says so).
const CodeWindow = 15 * 24 * time.Hour

// Question says what became of asking the device for its code.
type Question string

const (
	// NotAsked: nobody asked yet, or the time to answer is not over.
	NotAsked Question = ""
	// Overdue: the device did not answer before the deadline.
	Overdue Question = "overdue"
	// Answered: the device answered, with or without a code.
	Answered Question = "answered"
)

// HeldCode is one code in escrow, without the code.
type HeldCode struct {
	Kind bypasscode.Kind
	Void bool // known not to open the lock any more
	// Doubtful: the device may have made another code since, or it may be
	// another device's.
	Doubtful bool
}

// Situation is everything that a Status depends on. Its zero value is a device
// of which nothing is known.
type Situation struct {
	Device   Device
	Lock     Lock
	FindMy   *bool // nil: unknown
	Codes    []HeldCode
	Question Question
}

// Usable reports whether a code is held that opens the lock: of a kind that
// does, any kind while the lock's kind is unknown, and not void.
func (s Situation) Usable() bool {
	for _, c := range s.Codes {
		if !c.Void && s.Lock.Kind.Opens(c.Kind) {
			return true
		}
	}
	return false
}

// StatusOf derives the status. It is total: every situation has exactly one.
// The cases are tried in the order of the constants.
func StatusOf(s Situation) Status {
	switch {
	case s.Device.HasLock() == Off:
		return NotApplicable
	case s.Lock.State == Off:
		return NotEnabled
	case s.Lock.State != On:
		return Unknown
	case s.Usable():
		return EnabledWithBypassCode
	case is(s.Device.Supervised, false):
		return EnabledWithoutBypassCodeNotSupervised
	case s.Question == Overdue:
		return EnabledWithoutBypassCodeUnreachable
	case s.Question == Answered:
		return EnabledWithoutBypassCodeNotProvided
	}
	return Unknown
}
