package mdmcmd

import (
	"strconv"
	"strings"
)

// Availability says on which devices of one platform a command works. A device
// where it does not work answers with an error.
type Availability struct {
	Platform   Platform
	Since      string // first version of the platform's system, for example "7.1"
	Supervised bool   // supervised devices only
	ADE        bool   // devices from Automated Device Enrollment only
	SharedIPad bool   // iOS: also on a Shared iPad
	// UserEnrollment: also in a user enrollment.
	UserEnrollment bool
	// UserChannel: also on the user channel, of a Mac or a Shared iPad.
	UserChannel bool
}

// Reached reports whether a version such as "17.0.3" is Since or later; known
// is false if it is no version.
func (a Availability) Reached(osVersion string) (reached, known bool) {
	have, ok := version(osVersion)
	if !ok {
		return false, false
	}
	since, _ := version(a.Since)
	return have[0] > since[0] || have[0] == since[0] && have[1] >= since[1], true
}

// version reads the first two numbers of a version; a missing second is 0.
func version(s string) (numbers [2]uint64, ok bool) {
	major, rest, more := strings.Cut(s, ".")
	minor := "0"
	if more {
		minor, _, _ = strings.Cut(rest, ".")
	}
	for i, part := range [2]string{major, minor} {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return numbers, false
		}
		numbers[i] = n
	}
	return numbers, true
}

// AccessRight is a right that the management profile must give the server for
// a command: one bit of its key AccessRights, or none. A profile update cannot
// add a right. User enrollments ignore them.
type AccessRight int

// The rights that commands of this package need.
const (
	NoRight                AccessRight = 0
	RightProfiles          AccessRight = 2    // install and remove profiles
	RightLockAndPasscode   AccessRight = 4    // lock devices, remove passcodes
	RightErase             AccessRight = 8    // erase devices
	RightDeviceInformation AccessRight = 16   // most queries of DeviceInformation
	RightNetwork           AccessRight = 32   // QueryServiceSubscriptions
	RightSecurity          AccessRight = 1024 // SecurityInfo
	RightSettings          AccessRight = 2048 // Settings
)

// commands says of every request type what Apple's schemas say.
var commands = map[string]struct {
	right AccessRight
	where []Availability
}{
	string(ActivationLockBypassCode):      {NoRight, codeOnly},
	string(ClearActivationLockBypassCode): {NoRight, codeOnly},
	"DeviceInformation": {RightDeviceInformation, []Availability{
		{Platform: IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true, UserChannel: true},
		{Platform: MacOS, Since: "10.7", UserEnrollment: true, UserChannel: true},
		{Platform: TvOS, Since: "9.0"},
		{Platform: VisionOS, Since: "1.1", UserEnrollment: true},
		{Platform: WatchOS, Since: "10.0"},
	}},
	string(SecurityInfo): {RightSecurity, []Availability{
		{Platform: IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true},
		{Platform: MacOS, Since: "10.7", UserEnrollment: true, UserChannel: true},
		{Platform: TvOS, Since: "9.0"},
		{Platform: VisionOS, Since: "1.1", UserEnrollment: true},
		{Platform: WatchOS, Since: "10.0"},
	}},
	"Settings": {RightSettings, []Availability{ // of the item MDMOptions
		{Platform: IOS, Since: "7.0", SharedIPad: true, UserEnrollment: true},
		{Platform: MacOS, Since: "10.15"},
		{Platform: VisionOS, Since: "2.0", UserEnrollment: true},
	}},
	"EraseDevice": {RightErase, []Availability{
		{Platform: IOS, Since: "4.0", SharedIPad: true},
		{Platform: MacOS, Since: "10.7"},
		{Platform: TvOS, Since: "10.2"},
		{Platform: VisionOS, Since: "1.1"},
		{Platform: WatchOS, Since: "10.0"},
	}},
	"EnableLostMode":          {NoRight, lostMode("9.3")},
	string(DisableLostMode):   {NoRight, lostMode("9.3")},
	string(DeviceLocation):    {NoRight, lostMode("9.3")},
	string(PlayLostModeSound): {NoRight, lostMode("10.3")},
	"DeviceLock": {RightLockAndPasscode, []Availability{
		{Platform: IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true},
		{Platform: MacOS, Since: "10.7"},
		{Platform: VisionOS, Since: "2.0", UserEnrollment: true},
		{Platform: WatchOS, Since: "10.0"},
	}},
	"ClearPasscode": {RightLockAndPasscode, []Availability{
		{Platform: IOS, Since: "4.0"},
		{Platform: VisionOS, Since: "1.1"},
		{Platform: WatchOS, Since: "10.0"},
	}},
	"RemoveProfile": {RightProfiles, []Availability{
		{Platform: IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true, UserChannel: true},
		{Platform: MacOS, Since: "10.7", UserEnrollment: true, UserChannel: true},
		{Platform: TvOS, Since: "9.0"},
		{Platform: VisionOS, Since: "1.1", UserEnrollment: true},
		{Platform: WatchOS, Since: "10.0"},
	}},
	string(DeviceConfigured): {NoRight, []Availability{
		{Platform: IOS, Since: "9.0", Supervised: true, ADE: true, SharedIPad: true},
		{Platform: MacOS, Since: "10.11", ADE: true},
		{Platform: TvOS, Since: "10.2", Supervised: true},
		{Platform: VisionOS, Since: "2.0", Supervised: true, ADE: true},
	}},
}

var codeOnly = []Availability{
	{Platform: IOS, Since: "7.1", Supervised: true},
	{Platform: MacOS, Since: "10.15", Supervised: true},
	{Platform: VisionOS, Since: "2.0", Supervised: true},
}

func lostMode(since string) []Availability {
	return []Availability{{Platform: IOS, Since: since, Supervised: true, SharedIPad: true}}
}

func availability(c Command) []Availability {
	return append([]Availability(nil), commands[c.RequestType()].where...)
}

func accessRight(c Command) AccessRight { return commands[c.RequestType()].right }

// Availability says where the command works.
func (c SimpleCommand) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c SimpleCommand) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c DeviceInformation) Availability() []Availability { return availability(c) }

// AccessRight is the right that most queries need; some need none, and
// QueryServiceSubscriptions needs RightNetwork.
func (c DeviceInformation) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the item MDMOptions works.
func (c Settings) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c Settings) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c EraseDevice) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c EraseDevice) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c EnableLostMode) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c EnableLostMode) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c DeviceLock) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c DeviceLock) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c ClearPasscode) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c ClearPasscode) AccessRight() AccessRight { return accessRight(c) }

// Availability says where the command works.
func (c RemoveProfile) Availability() []Availability { return availability(c) }

// AccessRight is the right that the command needs.
func (c RemoveProfile) AccessRight() AccessRight { return accessRight(c) }
