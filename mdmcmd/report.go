package mdmcmd

import (
	"math"
	"strings"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/internal/plist"
)

// Status is what a device says of a command.
type Status string

// The statuses of a report.
const (
	Idle               Status = "Idle"               // nothing to report: give me a command
	Acknowledged       Status = "Acknowledged"       // done
	Error              Status = "Error"              // failed, see the error chain
	CommandFormatError Status = "CommandFormatError" // the command was malformed
	NotNow             Status = "NotNow"             // not run and not kept: send it again
)

// Report is the state of a device or the result of a command. The answers to
// commands are nil unless the report has them.
type Report struct {
	Enrollment
	Status      Status
	CommandUUID string // "" with Idle
	RequestType string // only macOS adds it (observed)
	ErrorChain  ErrorChain

	QueryResponses *QueryResponses       // answer to DeviceInformation
	SecurityInfo   *SecurityInfoResponse // answer to SecurityInfo
	Settings       []SettingsItem        // answer to Settings, in the order of the request
	Location       *Location             // answer to DeviceLocation
	// MessageResult is the answer to DeviceLock with a message or phone number:
	// Success, DeviceInLostMode, NoPasscodeSet or Unknown; "" without one.
	MessageResult string
	// BypassCode is the answer to ActivationLockBypassCode as it came: nil
	// without the key, a zero Text if it is empty. See BypassCodeAnswer.
	BypassCode *bypasscode.Text
}

// QueryResponses are the facts of a [DeviceInformation] answer, named as their
// queries. Whatever the device left out is "" or nil, which is not false.
type QueryResponses struct {
	UDID, SerialNumber, ProductName, Model, ModelName, ModelNumber string
	DeviceName                                                     string // as its user calls it
	OSVersion, BuildVersion, SupplementalBuildVersion              string
	ProvisioningUDID, EACSPreflight                                string
	IsSupervised                                                   *bool
	IsMultiUser                                                    *bool // Shared iPad
	IsDeviceLocatorServiceEnabled                                  *bool // Find My
	IsActivationLockEnabled                                        *bool // can be wrong both ways, says Apple
	IsActivationLockSupported                                      *bool // macOS
	IsMDMLostModeEnabled                                           *bool
	AwaitingConfiguration                                          *bool
	IsAppleSilicon                                                 *bool
	PINRequiredForEraseDevice                                      *bool
	MDMOptions                                                     *MDMOptions
	ServiceSubscriptions                                           []ServiceSubscription

	// IMEI and MEID were removed in iOS 26; see [QueryResponses.Cellular].
	IMEI, MEID string
}

// ServiceSubscription is one SIM. The order of subscriptions means nothing.
type ServiceSubscription struct {
	Slot       string // CTSubscriptionSlotOne or CTSubscriptionSlotTwo
	IMEI, MEID string
}

// Cellular are the identifiers that Apple's unlock call wants, digits only
// (IMEI) and by slot; "" if the device has none.
type Cellular struct {
	IMEI  string // slot one
	IMEI2 string // slot two
	MEID  string // slot one
}

// Cellular picks the identifiers by slot. Devices before iOS 12 have them at
// the top level, which counts as slot one.
func (q *QueryResponses) Cellular() Cellular {
	c := Cellular{IMEI: digits(q.IMEI), MEID: strings.TrimSpace(q.MEID)}
	for _, s := range q.ServiceSubscriptions {
		switch s.Slot {
		case "CTSubscriptionSlotOne":
			if s.IMEI != "" {
				c.IMEI = digits(s.IMEI)
			}
			if s.MEID != "" {
				c.MEID = strings.TrimSpace(s.MEID)
			}
		case "CTSubscriptionSlotTwo":
			c.IMEI2 = digits(s.IMEI)
		}
	}
	return c
}

// digits drops what is not a digit: IMEIs come with spaces (observed).
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// SecurityInfoResponse is what matters of a [SecurityInfo] answer.
type SecurityInfoResponse struct {
	ManagementStatus *ManagementStatus
}

// ManagementStatus says how a device is managed.
type ManagementStatus struct {
	EnrolledViaDEP         *bool // macOS
	UserApprovedEnrollment *bool // macOS
	IsUserEnrollment       *bool
	// IsActivationLockManageable: macOS 10.15 only. The enrollment lets the
	// server manage Activation Lock.
	IsActivationLockManageable *bool
}

// SettingsItem is the result of one item of [Settings].
type SettingsItem struct {
	Item       string // absent in older answers
	Status     Status // Acknowledged or Error, whatever the report's status is
	ErrorChain ErrorChain
}

// Location is where a device in Managed Lost Mode is. What is nil the device
// did not say; a negative accuracy, altitude, speed or course is unknown.
type Location struct {
	Latitude, Longitude                  float64  // degrees
	HorizontalAccuracy, VerticalAccuracy *float64 // meters; iOS 10.3
	Altitude                             *float64 // meters; iOS 10.3
	Speed                                *float64 // meters per second; iOS 10.3
	Course                               *float64 // degrees; iOS 10.3
	Timestamp                            string   // RFC 3339; iOS 10.3; "" if absent
}

// location is a Location as it comes.
type location struct {
	Latitude, Longitude                  *float64
	HorizontalAccuracy, VerticalAccuracy *float64
	Altitude, Speed, Course              *float64
	Timestamp                            string
}

// SettingsStatus is the status of the MDMOptions item in the answer to a
// [Settings] command. An item can fail inside an acknowledged report; without
// items the report's own status holds.
func (r *Report) SettingsStatus() Status {
	for _, item := range r.Settings {
		if (item.Item == itemMDMOptions || item.Item == "" && len(r.Settings) == 1) && item.Status != "" {
			return item.Status
		}
	}
	return r.Status
}

// codeReport reads what must not get lost of a report that is not read
// otherwise: nil if it is malformed or has no bypass code.
func codeReport(raw []byte) *Report {
	if len(raw) > MaxRedact {
		return nil
	}
	texts := map[string]string{}
	key := ""
	err := plist.Walk(raw, func(t plist.Token) error {
		switch {
		case t.Depth != 1:
		case t.Kind == plist.Key:
			key = t.Text(raw)
		case t.Kind == plist.String:
			switch key {
			case "Status", "CommandUUID", "UDID", "EnrollmentID", "UserID", "EnrollmentUserID", "MessageType", bypassCodeKey:
				texts[key] = t.Text(raw)
			}
		}
		return nil
	})
	code := bypasscode.NewText(texts[bypassCodeKey])
	if err != nil || texts["Status"] == "" || texts["MessageType"] != "" || code.IsZero() {
		return nil
	}
	return &Report{
		Enrollment: Enrollment{
			UDID: texts["UDID"], EnrollmentID: texts["EnrollmentID"],
			UserID: texts["UserID"], EnrollmentUserID: texts["EnrollmentUserID"],
		},
		Status: Status(texts["Status"]), CommandUUID: texts["CommandUUID"], BypassCode: &code,
	}
}

func (m *message) report() *Report {
	r := &Report{
		Enrollment: m.Enrollment, Status: m.Status, CommandUUID: m.CommandUUID, RequestType: m.RequestType,
		ErrorChain: m.ErrorChain, QueryResponses: m.QueryResponses, SecurityInfo: m.SecurityInfo,
		Settings: m.Settings, MessageResult: m.MessageResult,
	}
	if latitude, longitude := finite(m.Latitude), finite(m.Longitude); latitude != nil && longitude != nil {
		r.Location = &Location{
			*latitude, *longitude, finite(m.HorizontalAccuracy), finite(m.VerticalAccuracy),
			finite(m.Altitude), finite(m.Speed), finite(m.Course), m.Timestamp,
		}
	}
	if m.ActivationLockBypassCode != nil {
		text := bypasscode.NewText(*m.ActivationLockBypassCode)
		r.BypassCode = &text
	}
	return r
}

// finite takes infinity and what is no number for absent: JSON cannot hold them.
func finite(f *float64) *float64 {
	if f == nil || math.IsNaN(*f) || math.IsInf(*f, 0) {
		return nil
	}
	return f
}

// BypassCodeResult is what came of asking for a bypass code.
type BypassCodeResult string

const (
	// BypassCodeHeld: the device gave a code.
	BypassCodeHeld BypassCodeResult = "code"
	// BypassCodeEmpty: the device gave an empty text, or only white space. Keep
	// the code you have.
	BypassCodeEmpty BypassCodeResult = "empty"
	// BypassCodeMissing: the device acknowledged without a code. Keep yours.
	BypassCodeMissing BypassCodeResult = "missing"
	// BypassCodeNotNow: the device did not run the command. Ask again.
	BypassCodeNotNow BypassCodeResult = "not now"
	// BypassCodeError: the device refused; see the error chain.
	BypassCodeError BypassCodeResult = "error"
	// BypassCodeRedacted: the report went through [Redact] before. It says
	// nothing: neither that there is a code nor that there is none.
	BypassCodeRedacted BypassCodeResult = "redacted"
)

// BypassCodeAnswer reads the report as the answer to
// [ActivationLockBypassCode]. The report does not say which command it
// answers; the caller knows from the command UUID, or by BypassCode not being nil.
// The text is empty unless the result is [BypassCodeHeld].
func (r *Report) BypassCodeAnswer() (bypasscode.Text, BypassCodeResult) {
	switch {
	case r.BypassCode != nil && r.BypassCode.Reveal() == Redacted:
		return bypasscode.Text{}, BypassCodeRedacted
	case r.BypassCode != nil && strings.TrimSpace(r.BypassCode.Reveal()) != "":
		return *r.BypassCode, BypassCodeHeld // whatever the status: nothing is lost
	case r.Status == NotNow:
		return bypasscode.Text{}, BypassCodeNotNow
	case r.Status != Acknowledged:
		return bypasscode.Text{}, BypassCodeError
	case r.BypassCode != nil:
		return bypasscode.Text{}, BypassCodeEmpty
	}
	return bypasscode.Text{}, BypassCodeMissing
}
