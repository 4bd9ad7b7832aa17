package activationlock

import (
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
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
}

// Situation is everything that a Status depends on. Its zero value is a device
// of which nothing is known.
type Situation struct {
	Applicable State // On: the device can have a lock; Off: it can't; see [Applicability]
	Lock       Lock
	Supervised *bool // nil: unknown
	Codes      []HeldCode
	Question   Question
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
	case s.Applicable == Off:
		return NotApplicable
	case s.Lock.State == Off:
		return NotEnabled
	case s.Lock.State != On:
		return Unknown
	case s.Usable():
		return EnabledWithBypassCode
	case s.Supervised != nil && !*s.Supervised:
		return EnabledWithoutBypassCodeNotSupervised
	case s.Question == Overdue:
		return EnabledWithoutBypassCodeUnreachable
	case s.Question == Answered:
		return EnabledWithoutBypassCodeNotProvided
	}
	return Unknown
}

// Applicability says whether a device can have an Activation Lock that its
// management has to do with: On, Off, or unknown while product name or version
// are. Supported is a Mac's answer to IsActivationLockSupported.
//
// Off are iOS below 7.1 (where there is a lock, but no code), macOS below
// 10.15, a Mac that says it has none (no T2 chip, no Apple silicon), and tvOS.
func Applicability(productName, osVersion string, supported *bool) State {
	switch platform := mdmcmd.PlatformOf(productName); platform {
	case mdmcmd.IOS:
		return atLeast(osVersion, "7.1")
	case mdmcmd.MacOS:
		if supported != nil && !*supported {
			return Off
		}
		if since := atLeast(osVersion, "10.15"); since != On || supported != nil {
			return since
		}
		return StateUnknown // an Intel Mac may lack the chip
	case mdmcmd.TvOS:
		return Off
	case mdmcmd.VisionOS, mdmcmd.WatchOS:
		return On
	}
	return StateUnknown
}

// atLeast compares a version such as "7.0.4"; what is no version is unknown.
func atLeast(version, since string) State {
	switch reached, known := (mdmcmd.Availability{Since: since}).Reached(version); {
	case !known:
		return StateUnknown
	case reached:
		return On
	}
	return Off
}
