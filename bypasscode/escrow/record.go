package escrow

import (
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// Subject is what a code is filed under: a serial number, or an enrollment ID
// while no serial number is known. Exactly one of the two is set.
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

func (s Subject) valid() bool { return (s.SerialNumber == "") != (s.EnrollmentID == "") }

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
	// Current is the code that the device gave last.
	Current State = "current"
	// Superseded is a code after which the device gave another.
	Superseded State = "superseded"
	// Disputed is a code that nobody asked for, or that came from an enrollment
	// whose serial number another one claims too. It is tried last.
	Disputed State = "disputed"
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
	// CauseUnasked: nobody asked, as far as is known.
	CauseUnasked Cause = "unasked"
)

// Record is everything about one code but the code.
type Record struct {
	ID           string // never changes
	Subject      Subject
	Kind         bypasscode.Kind
	State        State
	Cause        Cause
	EnrollmentID string // who gave it
	CommandUUID  string // of the last answer on being asked, or of the first at all
	AskedAt      time.Time
	FirstSeen    time.Time
	LastSeen     time.Time
	// StaleSince is when something happened after which the device may have
	// made another code, zero if nothing did; StaleReason says what.
	StaleSince  time.Time
	StaleReason string
	Device      Device
}

// Entry is a record with its code, as stores keep it. Nothing is sealed yet:
// encrypting the text is for the store.
type Entry struct {
	Record
	Text bypasscode.Text
}
