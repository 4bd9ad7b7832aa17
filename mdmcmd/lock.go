package mdmcmd

import (
	"errors"

	"github.com/activationlock/sdk/internal/plist"
)

// DeviceLock locks the screen of a device, or restarts a Mac into a PIN lock.
// That has nothing to do with Activation Lock. Zero fields are left out.
type DeviceLock struct {
	Message     string // iOS 7.0, macOS 10.14; ignored by Shared iPad
	PhoneNumber string // iOS 7.0, macOS 11.5 on Apple silicon; ignored by Shared iPad
	PIN         Secret // macOS 10.8: six characters
}

// RequestType returns "DeviceLock".
func (DeviceLock) RequestType() string { return "DeviceLock" }

func (c DeviceLock) payload() (any, error) {
	if err := checkPIN(c.PIN); err != nil {
		return nil, err
	}
	if err := checkTexts(c.Message, c.PhoneNumber); err != nil {
		return nil, err
	}
	return struct {
		RequestType string
		Message     string `plist:",omitempty"`
		PhoneNumber string `plist:",omitempty"`
		PIN         string `plist:",omitempty"`
	}{c.RequestType(), c.Message, c.PhoneNumber, string(c.PIN.Reveal())}, nil
}

// ClearPasscode removes the passcode of a device.
type ClearPasscode struct {
	// UnlockToken is what the device sent in its TokenUpdate; required. It opens
	// the device, so nothing here keeps it when it comes; the host has it.
	UnlockToken Secret
}

// RequestType returns "ClearPasscode".
func (ClearPasscode) RequestType() string { return "ClearPasscode" }

func (c ClearPasscode) payload() (any, error) {
	if c.UnlockToken.IsZero() {
		return nil, errors.New("no unlock token")
	}
	return struct {
		RequestType string
		UnlockToken []byte
	}{c.RequestType(), c.UnlockToken.Reveal()}, nil
}

// EnableLostMode puts a device in Managed Lost Mode, which Apple's portal shows
// as a lock of the organization. One of Message and PhoneNumber is required;
// zero fields are left out.
type EnableLostMode struct {
	Message     string
	PhoneNumber string
	Footnote    string
}

// RequestType returns "EnableLostMode".
func (EnableLostMode) RequestType() string { return "EnableLostMode" }

func (c EnableLostMode) payload() (any, error) {
	if c.Message == "" && c.PhoneNumber == "" {
		return nil, errors.New("neither a message nor a phone number")
	}
	if err := checkTexts(c.Message, c.PhoneNumber, c.Footnote); err != nil {
		return nil, err
	}
	return struct {
		RequestType string
		Message     string `plist:",omitempty"`
		PhoneNumber string `plist:",omitempty"`
		Footnote    string `plist:",omitempty"`
	}{c.RequestType(), c.Message, c.PhoneNumber, c.Footnote}, nil
}

// RemoveProfile removes a profile that the server installed. Removing the
// profile that enrolled the device ends its management, which consoles call
// to retire it. Bypass codes are to be kept all the same.
type RemoveProfile struct {
	Identifier string // required
}

// RequestType returns "RemoveProfile".
func (RemoveProfile) RequestType() string { return "RemoveProfile" }

func (c RemoveProfile) payload() (any, error) {
	if c.Identifier == "" {
		return nil, errors.New("no profile identifier")
	}
	if err := checkTexts(c.Identifier); err != nil {
		return nil, err
	}
	return struct{ RequestType, Identifier string }{c.RequestType(), c.Identifier}, nil
}

// checkTexts refuses what an XML list cannot hold.
func checkTexts(texts ...string) error {
	for _, s := range texts {
		if !plist.ValidText(s) {
			return errors.New("a text has characters that a property list cannot hold")
		}
	}
	return nil
}
