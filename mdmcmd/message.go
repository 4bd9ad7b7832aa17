package mdmcmd

import (
	"errors"
	"fmt"

	"github.com/activationlock/sdk/internal/plist"
)

// Errors of [Parse], [Redact] and [Check] that a caller may tell apart. Other
// errors mean a malformed message.
var (
	// ErrTooLarge means more bytes than allowed.
	ErrTooLarge = plist.ErrTooLarge
	// ErrBinary means a binary property list, which is not read.
	ErrBinary = plist.ErrBinary
	// ErrTooDeep means dictionaries and arrays nested more than 32 deep.
	ErrTooDeep = plist.ErrTooDeep
	// ErrOtherMessage means a well-formed message of a type that has nothing to
	// do with Activation Lock, such as DeclarativeManagement.
	ErrOtherMessage = errors.New("mdmcmd: a message of another type")
)

// Message is what a device sends: [*Authenticate], [*TokenUpdate],
// [*CheckOut], [*ReturnToService] or [*Report].
type Message interface {
	// From tells who the message says it is from. That is a claim; only the
	// host's authentication says who it is.
	From() Enrollment
}

// Channel is the side of a device that a message comes from.
type Channel string

// The channels. Activation Lock belongs to the device channel.
const (
	DeviceChannel Channel = "device"
	UserChannel   Channel = "user"
)

// Enrollment are the identifiers in a message. Which are there depends on the
// type of enrollment; "" is absent.
type Enrollment struct {
	UDID             string // device enrollment
	EnrollmentID     string // user enrollment, in place of UDID
	UserID           string // user channel; FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF on Shared iPad
	UserShortName    string // user channel
	UserLongName     string // user channel
	EnrollmentUserID string // user channel of a user enrollment
	NotOnConsole     *bool  // user channel on macOS
}

// From returns e.
func (e Enrollment) From() Enrollment { return e }

// DeviceID is what identifies the device channel: the UDID, or the
// EnrollmentID of a user enrollment; "" if the message has neither.
func (e Enrollment) DeviceID() string {
	if e.UDID != "" {
		return e.UDID
	}
	return e.EnrollmentID
}

// IsUserEnrollment reports whether the message names an EnrollmentID and no
// UDID. Such enrollments have nothing to do with bypass codes.
func (e Enrollment) IsUserEnrollment() bool { return e.UDID == "" && e.EnrollmentID != "" }

// Channel tells the channel from the identifiers.
func (e Enrollment) Channel() Channel {
	if e.UserID != "" || e.EnrollmentUserID != "" {
		return UserChannel
	}
	return DeviceChannel
}

// Authenticate begins an enrollment. The device is not enrolled before its
// first TokenUpdate. Everything but the identifiers may be absent ("").
type Authenticate struct {
	Enrollment
	Topic        string
	SerialNumber string // not in user enrollment
	ProductName  string // "iPhone17,3"
	Model        string
	ModelName    string
	DeviceName   string
	OSVersion    string
	BuildVersion string
	IMEI         string // digits only; not in user enrollment
	MEID         string // not in user enrollment
}

// TokenUpdate completes an enrollment, and comes again at any later time.
type TokenUpdate struct {
	Enrollment
	Topic string
	// AwaitingConfiguration is true while a device from Automated Device
	// Enrollment waits in Setup Assistant.
	AwaitingConfiguration *bool
}

// CheckOut says that the management profile was removed. Best effort: it may
// never come.
type CheckOut struct {
	Enrollment
	Topic string
}

// ReturnToService asks for the return-to-service configuration (iOS 26).
type ReturnToService struct{ Enrollment }

// message is every key of every message that is read, decoded in one go.
type message struct {
	Enrollment

	// Check-ins.
	MessageType, Topic                              string
	SerialNumber, ProductName, Model, ModelName     string
	DeviceName, OSVersion, BuildVersion, IMEI, MEID string
	AwaitingConfiguration                           *bool

	// Reports.
	Status                   Status
	CommandUUID, RequestType string
	ErrorChain               ErrorChain

	// Answers.
	ActivationLockBypassCode *string
	QueryResponses           *QueryResponses
	SecurityInfo             *SecurityInfoResponse
	Settings                 plist.OneOrMore[SettingsItem] // an array in Apple's examples, a dictionary in Apple's schema
	MessageResult            string                        // DeviceLock
	location
}

// Parse reads one message of at most 1 MiB. Errors never quote it. A message
// of a type that is of no concern here gives [ErrOtherMessage].
//
// A well-formed report with a bypass code is read even if it is larger, or
// another of its keys has a wrong type: then it has the status, the identifiers
// and the code, and nothing else. A code must not get lost for such a reason.
func Parse(raw []byte) (Message, error) {
	m, err := plist.Unmarshal[message](raw)
	if err != nil {
		if report := codeReport(raw); report != nil {
			return report, nil
		}
		return nil, fmt.Errorf("mdmcmd: parse: %w", err)
	}
	switch m.MessageType {
	case "":
		if m.Status == "" {
			return nil, errors.New("mdmcmd: parse: neither a check-in nor a report")
		}
		return m.report(), nil
	case "Authenticate":
		return &Authenticate{
			Enrollment: m.Enrollment, Topic: m.Topic,
			SerialNumber: m.SerialNumber, ProductName: m.ProductName, Model: m.Model, ModelName: m.ModelName,
			DeviceName: m.DeviceName, OSVersion: m.OSVersion, BuildVersion: m.BuildVersion,
			IMEI: digits(m.IMEI), MEID: m.MEID,
		}, nil
	case "TokenUpdate":
		return &TokenUpdate{m.Enrollment, m.Topic, m.AwaitingConfiguration}, nil
	case "CheckOut":
		return &CheckOut{m.Enrollment, m.Topic}, nil
	case "ReturnToService":
		return &ReturnToService{m.Enrollment}, nil
	}
	return nil, ErrOtherMessage
}

// Check reports whether raw is a plain property list: XML, at most maxSize
// bytes, at most 32 deep, and without the structures that are known to harm
// parsers or to be read differently by two of them. Put it in front of parsers
// that have no limits of their own; 43 bytes end a process that hands them to
// one.
func Check(raw []byte, maxSize int) error { return plist.Check(raw, maxSize) }
