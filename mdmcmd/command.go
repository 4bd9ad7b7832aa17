package mdmcmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/activationlock/sdk/internal/plist"
)

// Command is one MDM command with its keys: a [SimpleCommand] or one of the
// structs of this package.
type Command interface {
	// RequestType is the command's name in the protocol.
	RequestType() string
	// Availability says on which platforms the command works.
	Availability() []Availability
	// AccessRight is the right that the server needs for it.
	AccessRight() AccessRight
	// payload returns the keys to encode, as a struct (plist.Marshal does not
	// follow a pointer in an interface), or says which one is missing.
	payload() (any, error)
}

// SimpleCommand is a command without keys of its own.
type SimpleCommand string

const (
	// ActivationLockBypassCode asks for the code that the device made, which an iPhone
	// or iPad gives for 15 days after its supervision began; for other devices Apple
	// names no time.
	ActivationLockBypassCode SimpleCommand = "ActivationLockBypassCode"

	// ClearActivationLockBypassCode removes the code from the device. It does not
	// lift a lock and clears nothing at Apple; what the device does with a later
	// question for its code is not documented. A server that keeps codes has no
	// need of it.
	ClearActivationLockBypassCode SimpleCommand = "ClearActivationLockBypassCode"

	// SecurityInfo asks for the security state; on a Mac it says whether the
	// server may manage Activation Lock.
	SecurityInfo SimpleCommand = "SecurityInfo"

	// DisableLostMode ends Managed Lost Mode.
	DisableLostMode SimpleCommand = "DisableLostMode"

	// DeviceLocation asks where a device in Managed Lost Mode is.
	DeviceLocation SimpleCommand = "DeviceLocation"

	// PlayLostModeSound makes a device in Managed Lost Mode play a sound.
	PlayLostModeSound SimpleCommand = "PlayLostModeSound"

	// DeviceConfigured lets Setup Assistant go on after
	// await_device_configured: after it, the user may turn Find My on.
	DeviceConfigured SimpleCommand = "DeviceConfigured"
)

// RequestType returns the command's name.
func (c SimpleCommand) RequestType() string { return string(c) }

func (c SimpleCommand) payload() (any, error) {
	switch c {
	case ActivationLockBypassCode, ClearActivationLockBypassCode, SecurityInfo,
		DisableLostMode, DeviceLocation, PlayLostModeSound, DeviceConfigured:
		return struct{ RequestType string }{string(c)}, nil
	}
	return nil, errors.New("not a command without keys")
}

// DeviceInformation asks for facts. What a device does not know or the server
// may not ask is left out of the answer without an error.
type DeviceInformation struct {
	Queries []Query // required; see [DefaultQueries]
}

// RequestType returns "DeviceInformation".
func (DeviceInformation) RequestType() string { return "DeviceInformation" }

func (c DeviceInformation) payload() (any, error) {
	if len(c.Queries) == 0 {
		return nil, errors.New("no queries")
	}
	for _, q := range c.Queries {
		if q == "" || !plist.ValidText(string(q)) {
			return nil, errors.New("a query is empty or not text")
		}
	}
	return struct {
		RequestType string
		Queries     []Query
	}{c.RequestType(), c.Queries}, nil
}

// Settings changes the options of device management: it sends the one item
// MDMOptions.
type Settings struct {
	// MDMOptions is the whole set to send. Name every option that must hold:
	// whether a device resets the ones left out is not documented.
	MDMOptions MDMOptions // required: at least one option
}

// MDMOptions are the options of the Settings item of that name, and of the
// answer to [QueryMDMOptions]. Nil means absent, which is not false.
type MDMOptions struct {
	// ActivationLockAllowedWhileSupervised lets a supervised device turn
	// Activation Lock on together with Find My. No effect on unsupervised ones.
	ActivationLockAllowedWhileSupervised *bool `plist:",omitempty"`
	// BootstrapTokenAllowed: macOS 10.15, deprecated in 11.
	BootstrapTokenAllowed *bool `plist:",omitempty"`
	// PromptUserToAllowBootstrapTokenForAuthentication: macOS 11, Apple silicon.
	PromptUserToAllowBootstrapTokenForAuthentication *bool `plist:",omitempty"`
	// IdleRebootAllowed: iOS 18.4.
	IdleRebootAllowed *bool `plist:",omitempty"`
}

// IsZero reports whether no option is named.
func (o MDMOptions) IsZero() bool { return o == MDMOptions{} }

// Equal reports whether both name the same options with the same values.
func (o MDMOptions) Equal(other MDMOptions) bool {
	same := func(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }
	return same(o.ActivationLockAllowedWhileSupervised, other.ActivationLockAllowedWhileSupervised) &&
		same(o.BootstrapTokenAllowed, other.BootstrapTokenAllowed) &&
		same(o.PromptUserToAllowBootstrapTokenForAuthentication, other.PromptUserToAllowBootstrapTokenForAuthentication) &&
		same(o.IdleRebootAllowed, other.IdleRebootAllowed)
}

// RequestType returns "Settings".
func (Settings) RequestType() string { return "Settings" }

func (c Settings) payload() (any, error) {
	if c.MDMOptions.IsZero() {
		return nil, errors.New("no option is set")
	}
	type item struct {
		Item       string
		MDMOptions MDMOptions
	}
	return struct {
		RequestType string
		Settings    []item
	}{c.RequestType(), []item{{itemMDMOptions, c.MDMOptions}}}, nil
}

const itemMDMOptions = "MDMOptions"

// maxUUID bounds command UUIDs; hosts keep them in indexed columns.
const maxUUID = 255

// Encode returns the command as an XML property list. The UUID comes back in
// the device's report: any unique text of at most 255 bytes without control
// characters; see [NewUUID]. A missing required key is an error that names it.
func Encode(uuid string, c Command) ([]byte, error) {
	if v := reflect.ValueOf(c); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("mdmcmd: encode: no command")
	}
	if uuid == "" || len(uuid) > maxUUID || !plist.ValidText(uuid) || strings.ContainsFunc(uuid, unicode.IsControl) {
		return nil, fmt.Errorf("mdmcmd: encode %s: the command UUID is empty, too long or not text", c.RequestType())
	}
	payload, err := c.payload()
	if err != nil {
		return nil, fmt.Errorf("mdmcmd: encode %s: %w", c.RequestType(), err)
	}
	raw, err := plist.Marshal(&struct {
		CommandUUID string
		Command     any
	}{uuid, payload})
	if err != nil {
		return nil, fmt.Errorf("mdmcmd: encode %s: %w", c.RequestType(), err)
	}
	return raw, nil
}

// NewUUID makes a random command UUID (RFC 9562, version 4) behind a prefix. A
// prefix lets a host tell its own commands from those of others in the same
// queue.
func NewUUID(prefix string) string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%s%x-%x-%x-%x-%x", prefix, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
