package mdmcmd

import (
	"errors"
	"unicode/utf8"
)

// EraseDevice erases a device at once and without asking. It does not turn
// Activation Lock off: a locked device asks for its owner, or for the bypass
// code, after the erase. The device answers once and does not try again; the
// answer does not prove that the erase has finished, and with
// [ObliterationDefault] an error does not prove that it did not happen.
//
// Zero fields are left out. Which platforms know a field is said beside it.
type EraseDevice struct {
	PreserveDataPlan       *bool // iOS 11.0: keep the eSIM plan
	DisallowProximitySetup *bool // iOS 11.3, not Shared iPad; before iOS 14 with no other option
	// PIN has six characters: macOS 10.8, where PINRequiredForEraseDevice is true.
	PIN                  Secret
	ObliterationBehavior ObliterationBehavior    // macOS 12.0
	ReturnToService      *ReturnToServiceOptions // iOS 17.0, tvOS 18.0, visionOS 26.0
}

// ObliterationBehavior says what a Mac does when it cannot erase all content
// and settings. It has no effect on Macs without T2 chip or Apple silicon.
type ObliterationBehavior string

const (
	// ObliterationDefault: if the check before fails, the Mac answers Error and
	// still erases itself.
	ObliterationDefault ObliterationBehavior = "Default"
	// DoNotObliterate: if the check before fails, the Mac answers Error and does
	// not erase itself.
	DoNotObliterate ObliterationBehavior = "DoNotObliterate"
	// ObliterateWithWarning: if the check before fails, the Mac answers
	// Acknowledged and erases itself.
	ObliterateWithWarning ObliterationBehavior = "ObliterateWithWarning"
	// ObliterateAlways: the Mac does not try the gentle way.
	ObliterateAlways ObliterationBehavior = "Always"
)

// ReturnToServiceOptions let an erased device enroll again by itself. All
// activation locks must be off first, or it stops at the activation screen.
type ReturnToServiceOptions struct {
	Enabled bool // always sent
	// WiFiProfileData is needed without Ethernet and cellular.
	WiFiProfileData Secret
	// MDMProfileData is required for unsupervised devices, and for supervised
	// ones that did not enroll through Automated Device Enrollment.
	MDMProfileData        Secret
	BootstrapToken        Secret // iOS 26.0, visionOS 26.0: for app preservation
	ShouldRetryEnrollment *bool  // iOS 27.0
}

// RequestType returns "EraseDevice".
func (EraseDevice) RequestType() string { return "EraseDevice" }

func (c EraseDevice) payload() (any, error) {
	switch c.ObliterationBehavior {
	case "", ObliterationDefault, DoNotObliterate, ObliterateWithWarning, ObliterateAlways:
	default:
		return nil, errors.New("an obliteration behavior that Apple does not know")
	}
	if err := checkPIN(c.PIN); err != nil {
		return nil, err
	}
	type returnToService struct {
		Enabled               bool
		WiFiProfileData       []byte `plist:",omitempty"`
		MDMProfileData        []byte `plist:",omitempty"`
		BootstrapToken        []byte `plist:",omitempty"`
		ShouldRetryEnrollment *bool  `plist:",omitempty"`
	}
	var again *returnToService
	if r := c.ReturnToService; r != nil {
		again = &returnToService{
			r.Enabled, r.WiFiProfileData.Reveal(), r.MDMProfileData.Reveal(), r.BootstrapToken.Reveal(), r.ShouldRetryEnrollment,
		}
	}
	return struct {
		RequestType            string
		PreserveDataPlan       *bool                `plist:",omitempty"`
		DisallowProximitySetup *bool                `plist:",omitempty"`
		PIN                    string               `plist:",omitempty"`
		ObliterationBehavior   ObliterationBehavior `plist:",omitempty"`
		ReturnToService        *returnToService     `plist:",omitempty"`
	}{c.RequestType(), c.PreserveDataPlan, c.DisallowProximitySetup, string(c.PIN.Reveal()), c.ObliterationBehavior, again}, nil
}

// checkPIN accepts no PIN, or one of six characters.
func checkPIN(s Secret) error {
	pin := string(s.Reveal())
	if err := checkTexts(pin); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(pin); n != 0 && n != 6 {
		return errors.New("a PIN has six characters")
	}
	return nil
}
