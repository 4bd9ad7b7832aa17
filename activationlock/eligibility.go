package activationlock

import (
	"strings"

	"github.com/activationlock/sdk/mdmcmd"
)

// Device is what decides which parts of Activation Lock a device has. Its zero
// value is a device of which nothing is known; absent is never no.
type Device struct {
	ProductName string // "iPhone17,3"
	OSVersion   string // "26.1"

	Supervised *bool
	SharedIPad *bool // IsMultiUser
	// UserEnrollment: the person's own device, of which the server manages a part.
	UserEnrollment bool
	// LockSupported and LockManageable are a Mac's IsActivationLockSupported and
	// IsActivationLockManageable.
	LockSupported, LockManageable *bool
	// InOrganization: the device is in Apple Business or Apple School Manager, and
	// the server's token can reach it.
	InOrganization *bool
}

// Ability is something that a server may be able to do about a device's lock.
type Ability string

// The abilities.
const (
	// FetchCode: ask the device for its bypass code.
	FetchCode Ability = "fetchCode"
	// AllowLock: allow and forbid the lock that a person turns on with Find My.
	AllowLock Ability = "allowLock"
	// UnlockOverNetwork: have Apple remove the lock, with a code.
	UnlockOverNetwork Ability = "unlockOverNetwork"
	// LockForOrganization: turn on a lock of the organization.
	LockForOrganization Ability = "lockForOrganization"
	// AskDevice: ask the device whether its lock is on.
	AskDevice Ability = "askDevice"
	// TypeCode: type a code on the device.
	TypeCode Ability = "typeCode"
)

// Label returns the ability in words. A language without labels gives English.
func (a Ability) Label(l Language) string { return label(abilityLabels, a, l) }

// Can says whether something is possible with the device, and if not, why.
//
// Sources: Apple's schemas of the commands, Platform Deployment ("Activation
// Lock on Apple devices"), and "Creating and using bypass codes". What they
// leave open is unknown, with [ReasonNotDocumented].
func (d Device) Can(a Ability) Answer {
	if d.UserEnrollment {
		return no(ReasonUserEnrollment)
	}
	platform := mdmcmd.PlatformOf(d.ProductName)
	switch platform {
	case "":
		return unknown(ReasonPlatformUnknown)
	case mdmcmd.TvOS:
		return no(ReasonNoLock)
	case mdmcmd.WatchOS:
		if a == AskDevice {
			return yes(ReasonQueryDeprecated)
		}
		return no(ReasonFollowsPhone)
	}
	since, named := abilities[a][platform]
	switch {
	case abilities[a] == nil:
		return unknown(ReasonNotDocumented)
	case platform == mdmcmd.MacOS && d.HasLock() == Off && a == LockForOrganization:
		return no(ReasonNoLock)
	case !named && a == AskDevice:
		return no(ReasonNoQuery)
	case !named:
		return unknown(ReasonNotDocumented)
	}
	switch reached := atLeast(d.OSVersion, since); {
	case reached == Off:
		return no(ReasonVersionTooOld)
	case platform == mdmcmd.MacOS && is(d.LockSupported, false):
		return no(ReasonNoLock)
	case reached == StateUnknown:
		return unknown(ReasonVersionUnknown)
	case platform == mdmcmd.MacOS && d.LockSupported == nil && a != AskDevice:
		return unknown(ReasonChipUnknown)
	}
	switch a {
	case FetchCode, AllowLock:
		return d.canUserLock(a)
	case LockForOrganization:
		return d.inOrganization()
	case UnlockOverNetwork, TypeCode:
		return d.canUseCode()
	case AskDevice:
		switch {
		case is(d.SharedIPad, true):
			return no(ReasonSharedIPad)
		case atLeast(d.OSVersion, deprecated[platform]) == On:
			return yes(ReasonQueryDeprecated)
		}
	}
	return yes()
}

// abilities say since which version each works; where a platform is missing,
// Apple documents nothing, or nothing to ask.
var abilities = map[Ability]map[mdmcmd.Platform]string{
	FetchCode: {mdmcmd.IOS: "7.1", mdmcmd.MacOS: "10.15", mdmcmd.VisionOS: "2.0"},
	AllowLock: {mdmcmd.IOS: "7.0", mdmcmd.MacOS: "10.15", mdmcmd.VisionOS: "2.0"},
	// Without a code there is nothing to unlock with.
	UnlockOverNetwork: {mdmcmd.IOS: "7.1", mdmcmd.MacOS: "10.15"},
	TypeCode:          {mdmcmd.IOS: "7.1", mdmcmd.MacOS: "10.15"},
	// Macs and Vision Pro: unconfirmed.
	LockForOrganization: {mdmcmd.IOS: "9.3"},
	AskDevice:           {mdmcmd.IOS: "7.0", mdmcmd.MacOS: "10.15"},
}

// deprecated says since when the query for the lock's state is.
var deprecated = map[mdmcmd.Platform]string{mdmcmd.IOS: "16.0", mdmcmd.MacOS: "13.0"}

// canUserLock answers for what concerns the lock that a person turns on.
func (d Device) canUserLock(a Ability) Answer {
	var caveats []Reason
	if a == FetchCode {
		caveats = append(caveats, ReasonWindow)
	}
	switch {
	case is(d.SharedIPad, true):
		return no(ReasonSharedIPad)
	case is(d.Supervised, false):
		return no(ReasonNotSupervised)
	case is(d.LockManageable, false):
		return no(ReasonNotManageable)
	case d.Supervised == nil:
		return unknown(ReasonSupervisionUnknown)
	case d.LockManageable == nil && mdmcmd.PlatformOf(d.ProductName) == mdmcmd.MacOS:
		return unknown(ReasonManageableUnknown)
	case d.mayBeShared():
		return unknown(ReasonSharedIPadUnknown)
	}
	return yes(caveats...)
}

// canUseCode answers for unlocking with a code that is held. A device that makes
// none for the server can still have a lock of the organization.
func (d Device) canUseCode() Answer {
	if !is(d.Supervised, false) && !is(d.SharedIPad, true) {
		return yes()
	}
	reason := ReasonSharedIPad
	if is(d.Supervised, false) {
		reason = ReasonNotSupervised
	}
	switch d.Can(LockForOrganization).Verdict {
	case No:
		return no(reason)
	case Yes:
		return yes(ReasonServerCodeOnly)
	}
	return unknown(reason, ReasonServerCodeOnly)
}

func (d Device) inOrganization() Answer {
	switch {
	case is(d.InOrganization, false):
		return no(ReasonNotInOrganization)
	case d.InOrganization == nil:
		return unknown(ReasonOrganizationUnknown)
	}
	return yes()
}

// mayBeShared reports whether nobody knows if an iPad is a Shared iPad.
func (d Device) mayBeShared() bool {
	return d.SharedIPad == nil && strings.HasPrefix(d.ProductName, "iPad") && atLeast(d.OSVersion, "9.3") == On
}

func is(fact *bool, value bool) bool { return fact != nil && *fact == value }

// HasLock says whether the device can have an Activation Lock that its
// management has to do with: On, Off, or unknown.
//
// Off are iOS below 7.1 (where there is a lock, but no code), macOS below
// 10.15, a Mac that says it has none (no T2 chip, no Apple silicon), and tvOS.
func (d Device) HasLock() State {
	switch platform := mdmcmd.PlatformOf(d.ProductName); platform {
	case mdmcmd.IOS:
		return atLeast(d.OSVersion, "7.1")
	case mdmcmd.MacOS:
		if is(d.LockSupported, false) {
			return Off
		}
		if since := atLeast(d.OSVersion, "10.15"); since != On || d.LockSupported != nil {
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
