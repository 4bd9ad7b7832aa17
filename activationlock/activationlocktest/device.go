package activationlocktest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

var (
	// ErrLocked means that the device stops at the activation screen: it was
	// erased, or never set up, and its lock is on.
	ErrLocked = errors.New("activationlocktest: the device is locked and not activated")
	// ErrNotEnrolled means that the device has no management and reads no
	// commands.
	ErrNotEnrolled = errors.New("activationlocktest: the device is not enrolled")
)

// codeWindow is for how long a device gives its code.
const codeWindow = 15 * 24 * time.Hour

// DeviceConfig describes a simulated device. Only the serial number is required.
type DeviceConfig struct {
	SerialNumber string // required
	// ProductName tells the platform, for example "iPad14,3", "Mac14,2",
	// "RealityDevice14,1", "AppleTV14,1" or "Watch7,1"; "" is "iPhone17,3".
	ProductName string
	// OSVersion is "" for "26.1", whatever the platform.
	OSVersion string
	UDID      string // "" for one made from Rand
	// DeviceName is what its user calls it; "" is "Example".
	DeviceName string

	// Supervised: the device becomes supervised when it enrolls, and stays so
	// until it is erased. User enrollments never are.
	Supervised bool
	// ADE: it enrolls by Automated Device Enrollment.
	ADE bool
	// AwaitConfiguration: after an enrollment by ADE, it waits in Setup Assistant
	// for DeviceConfigured.
	AwaitConfiguration bool
	// SharedIPad: several users share it; there are no user-linked locks.
	SharedIPad bool
	// UserEnrollment: it names itself by an EnrollmentID, another one each time
	// that it enrolls, in place of UDID and serial number. There is no lock that
	// concerns the organization.
	UserEnrollment bool
	// NoT2: a Mac without T2 chip or Apple silicon. It has no Activation Lock.
	NoT2 bool

	// IMEI, IMEI2 and MEID are digits; "" without cellular, or with one SIM.
	// Messages have them with spaces, as real ones do.
	IMEI, IMEI2, MEID string

	// WithheldRights are the access rights that its profile does not give the
	// server: bits as in the profile's key AccessRights.
	WithheldRights int
	// ProfileIdentifier is that of the profile that enrolled it; "" is
	// "com.example.mdm".
	ProfileIdentifier string
	// Topic is the push topic; "" is "com.apple.mgmt.External.example".
	Topic string
	// NoCheckOut: it sends no CheckOut when its profile is removed.
	NoCheckOut bool
	// NoDeprecatedQueries: it leaves IsActivationLockEnabled out where Apple
	// deprecated it: from iOS 16, macOS 13 and watchOS 10 on.
	NoDeprecatedQueries bool
	// PreflightFails: a Mac that can be erased by obliteration only.
	PreflightFails bool

	// Reading answers what Apple does not say.
	Reading Reading
	// Rand gives the bytes of codes, identifiers and tokens. Nil gives bytes that
	// depend on the serial number only.
	Rand io.Reader
	// Now is the device's clock; nil is [time.Now].
	Now func() time.Time
}

// Device is a simulated device. It begins as it comes out of its box: not set
// up, without management or lock.
//
// Methods that make messages return those that reach the server, in their
// order: none while the device is unreachable or when they get lost, two when
// they are sent twice. Each is a whole property list.
//
// A supervised device makes its bypass code when its supervision begins, which
// is with [Device.Enroll], and gives it for 15 days from then on. The lock comes
// on with Find My, on a supervised device only if the server allowed it, and
// is kept by Apple (see [Apple.Add]), or by the device while it has none.
//
// All methods are safe for use by several goroutines.
type Device struct {
	config   DeviceConfig
	platform platform

	mu    sync.Mutex
	apple *Apple

	enrolled, supervised, awaiting, findMy bool
	blank                                  bool // erased or new: activation comes first
	restored                               bool // from its own backup
	since                                  time.Time
	options                                map[string]bool
	enrollmentID                           string
	unlockToken, token                     []byte
	pushMagic                              string

	code           bypasscode.Text
	codes          []bypasscode.Text
	asked, cleared bool // the code
	migrated       bool // supervision begins again when it enrolls

	unreachable, misreports           bool
	notNow, lose, twice, emptyAnswers int
	claimed                           string
}

type platform string

const (
	ios      platform = "iOS"
	macos    platform = "macOS"
	tvos     platform = "tvOS"
	watchos  platform = "watchOS"
	visionos platform = "visionOS"
)

func platformOf(product string) (platform, bool) {
	family := strings.TrimRight(product, "0123456789,")
	for name, p := range map[string]platform{
		"iPhone": ios, "iPad": ios, "iPod": ios, "Watch": watchos, "AppleTV": tvos, "RealityDevice": visionos,
		"Mac": macos, "MacBook": macos, "MacBookPro": macos, "MacBookAir": macos, "Macmini": macos, "MacPro": macos, "iMac": macos, "iMacPro": macos, "VirtualMac": macos,
	} {
		if family == name {
			return p, true
		}
	}
	return "", false
}

// atLeast compares two versions such as "17.0.3".
func atLeast(version, since string) bool {
	a, b := strings.Split(version, "."), strings.Split(since, ".")
	for i := range b {
		var have int
		if i < len(a) {
			have, _ = strconv.Atoi(a[i])
		}
		if need, _ := strconv.Atoi(b[i]); have != need {
			return have > need
		}
	}
	return true
}

// NewDevice makes a device. A missing serial number, an unknown product name, or
// a kind of enrollment that the platform does not have is an error.
func NewDevice(config DeviceConfig) (*Device, error) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&config.ProductName, "iPhone17,3")
	set(&config.OSVersion, "26.1")
	set(&config.DeviceName, "Example")
	set(&config.ProfileIdentifier, "com.example.mdm")
	set(&config.Topic, "com.apple.mgmt.External.example")
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Rand == nil {
		config.Rand = rand.NewChaCha8(sha256.Sum256([]byte(config.SerialNumber)))
	}
	p, known := platformOf(config.ProductName)
	switch {
	case config.SerialNumber == "":
		return nil, errors.New("activationlocktest: a device needs a serial number")
	case !known:
		return nil, errors.New("activationlocktest: unknown product name")
	case config.SharedIPad && !strings.HasPrefix(config.ProductName, "iPad"):
		return nil, errors.New("activationlocktest: only an iPad can be a Shared iPad")
	case config.UserEnrollment && (config.Supervised || config.ADE || config.SharedIPad || p == tvos || p == watchos):
		return nil, errors.New("activationlocktest: no user enrollment of such a device")
	case config.NoT2 && p != macos:
		return nil, errors.New("activationlocktest: only a Mac can lack a T2")
	}
	d := &Device{config: config, platform: p, blank: true, options: map[string]bool{}}
	if config.UDID == "" {
		d.config.UDID = d.identifier()
	}
	d.apple = NewApple(AppleConfig{Now: config.Now, Reading: config.Reading})
	d.apple.devices[config.SerialNumber] = &record{device: d, history: []Lock{{}}, times: []time.Time{{}}}
	return d, nil
}

// random returns n bytes. A reader that ends is a mistake of the test.
func (d *Device) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(d.config.Rand, b); err != nil {
		panic(fmt.Sprintf("activationlocktest: randomness: %v", err))
	}
	return b
}

func (d *Device) identifier() string {
	h := strings.ToUpper(hex.EncodeToString(d.random(16)))
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// Config returns the configuration with its defaults filled in.
func (d *Device) Config() DeviceConfig { return d.config }

// ID is what names the device in its messages: the UDID, or in user enrollment
// the EnrollmentID, "" before it enrolled.
func (d *Device) ID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.config.UserEnrollment {
		return d.enrollmentID
	}
	return d.config.UDID
}

// Enrolled reports whether the device is managed.
func (d *Device) Enrolled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.enrolled
}

// Activated reports whether the device gets, or got, past the activation screen.
// It does not if it was erased, or never set up, while it is locked.
func (d *Device) Activated() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.activated()
}

func (d *Device) activated() bool { return !d.blank || d.lock().Kind == NotLocked }

// Supervised reports whether the device is supervised now.
func (d *Device) Supervised() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.supervised
}

// FindMy reports whether Find My is on. On an erased device it is as long as the
// user-linked lock is.
func (d *Device) FindMy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.findMy && (!d.blank || d.lock().Kind == UserLinked)
}

// Lock is the true lock of the device, as [Apple.Lock].
func (d *Device) Lock() Lock {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lock()
}

func (d *Device) lock() Lock { return d.apple.Lock(d.config.SerialNumber) }

// Code is the bypass code that the device has now; empty if it has none. Whether
// it opens the lock is another matter: see [Lock.OpensWith].
func (d *Device) Code() bypasscode.Text {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.supervised {
		return noCode // at most in a backup
	}
	return d.code
}

// Codes are all the bypass codes that the device ever made, oldest first.
func (d *Device) Codes() []bypasscode.Text {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.codes)
}
