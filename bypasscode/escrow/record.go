package escrow

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
)

// Subject is what a code is filed under: a serial number, or an enrollment ID
// while no serial number is known. Exactly one of the two is set. It is 1 to
// [MaxIdentifier] bytes of UTF-8 without NUL, and compared byte by byte.
type Subject struct {
	SerialNumber string
	EnrollmentID string
}

// SubjectOf returns the subject for a device whose serial number may be
// unknown ("").
func SubjectOf(serialNumber, enrollmentID string) Subject {
	if serialNumber != "" {
		return Subject{SerialNumber: serialNumber}
	}
	return Subject{EnrollmentID: enrollmentID}
}

func (s Subject) valid() bool {
	return (s.SerialNumber == "") != (s.EnrollmentID == "") && ValidIdentifier(s.SerialNumber+s.EnrollmentID)
}

// ValidIdentifier reports whether a serial number or enrollment ID can be kept:
// it has 1 to [MaxIdentifier] bytes of UTF-8 and no NUL.
func ValidIdentifier(id string) bool {
	return id != "" && len(id) <= MaxIdentifier && utf8.ValidString(id) && !strings.ContainsRune(id, 0)
}

// Device is the identity of a device when its code arrived. The unlock call
// needs it when the device cannot answer any more.
type Device struct {
	SerialNumber string
	UDID         string
	ProductType  string // "iPhone17,3"
	IMEI         string // digits; slot one
	IMEI2        string // digits; slot two
	MEID         string // slot one
}

// State is what is known of a code's worth.
type State string

const (
	// Current is the code that the device gave last, or the one of the
	// organization's lock. A device code can be perhaps stale on top of it; see
	// Record.StaleSince. After [Escrow.Import] there can be several: those of
	// different escrows.
	Current State = "current"
	// MaybeActive is a server code whose hash went out in a lock call without a
	// clear answer: it may be the one that opens the lock.
	MaybeActive State = "maybe active"
	// Worked is a code with which an unlock succeeded. A lock that comes on later
	// may have another.
	Worked State = "worked"
	// Superseded is a code after which another came. A restored backup can bring
	// it back.
	Superseded State = "superseded"
	// Disputed is a code that nobody asked for, or that came from an enrollment
	// whose serial number another one claims too. It is tried late.
	Disputed State = "disputed"
	// Void is a code that is known not to open the lock. It is kept, since what
	// is known may be wrong, and tried last.
	Void State = "void"
	// Purged is a record whose code was destroyed on purpose.
	Purged State = "purged"
)

// Cause is why a code came.
type Cause string

const (
	// CauseEnrollment: the device enrolled.
	CauseEnrollment Cause = "enrollment"
	// CauseLockOn: Find My or Activation Lock was turned on.
	CauseLockOn Cause = "lock on"
	// CauseSchedule: it was time to ask again.
	CauseSchedule Cause = "schedule"
	// CauseOrganizationLock: the server made it for a lock of the organization.
	CauseOrganizationLock Cause = "organization lock"
	// CauseImport: another system held it.
	CauseImport Cause = "import"
	// CauseManual: a person typed it.
	CauseManual Cause = "manual"
	// CauseUnasked: nobody asked, as far as is known.
	CauseUnasked Cause = "unasked"
)

// Record is everything about one code but the code. Times are in UTC, to the
// microsecond, and zero where nothing happened.
type Record struct {
	ID      string          // never changes
	Subject Subject         // as first filed; never changes
	Kind    bypasscode.Kind // never changes

	State       State
	StateSince  time.Time // when [Escrow.Mark] or [Escrow.Purge] gave it this state, zero if neither did
	StateReason string    // what they were told, "" if neither did

	Cause        Cause
	EnrollmentID string // who gave it; "" if no device did
	CommandUUID  string // of the last answer on being asked, or of the first at all
	AskedAt      time.Time
	ReceivedAt   time.Time // when that answer came
	FirstSeen    time.Time // here, or by the system that it was imported from
	LastSeen     time.Time

	// StaleSince is when something happened after which the device may have
	// made another code, zero if nothing did; StaleReason says what.
	StaleSince  time.Time
	StaleReason string
	// DeletedAt is when the device was deleted (see [Escrow.Delete]). Its codes
	// stay.
	DeletedAt time.Time

	Device Device
	// Hash is what Apple is given of a server code that [Escrow.LockCode] made;
	// zero for all others.
	Hash bypasscode.Hash
}
