package activationlocktest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"
)

// A Reading chooses one answer to each question about Activation Lock that no
// public source answers. The zero Reading chooses the likelier ones. Numbers in
// the comments are those of the list of open questions, "12.1" and so on, or
// the section that leaves the question open.
//
// Give a device and the Apple that it is added to the same Reading.
type Reading struct {
	// WithoutCode (12.1) is how a device answers ActivationLockBypassCode when it
	// has no code.
	WithoutCode NoCodeAnswer
	// WindowOver (12.1) is how it answers after the 15 days.
	WindowOver NoCodeAnswer
	// NewCodeWithFindMy (12.2): a supervised device makes a new code when Find My
	// comes on, as one report on iOS 11 says. It opens the lock that follows.
	NewCodeWithFindMy bool
	// WorksUnfetched (3.5): the code opens a lock even if nobody had asked for it
	// before the lock came on. Apple says that it does not.
	WorksUnfetched bool
	// ClearIsFinal (12.3): after ClearActivationLockBypassCode there is no code
	// until the device is erased, unless NewCodeWithFindMy makes one. Else it
	// makes a new one when it is next asked, or when the lock comes on.
	ClearIsFinal bool
	// ClearVoids (12.3): the cleared code opens an existing lock no more.
	ClearVoids bool

	// UnlockedIsDone (12.4): unlocking a device that is not locked gives 200, with
	// any code. Else 404.
	UnlockedIsDone bool
	// EmptyIMEIAccepted (12.4): an empty imei, imei2 or meid counts as left out.
	// Else 400.
	EmptyIMEIAccepted bool
	// SpacedIMEIAccepted (12.4): spaces in them do not matter. Else 404.
	SpacedIMEIAccepted bool
	// IMEIRequired (5.1): a cellular device is not found without its imei, and its
	// imei2 if it has two.
	IMEIRequired bool
	// LooseCodes (12.5): codes without dashes or in lower case are understood.
	LooseCodes bool
	// NoUnlockOfMacs and NoUnlockOfVisionPro (12.9): 404, whatever the code.
	NoUnlockOfMacs      bool
	NoUnlockOfVisionPro bool

	// UpperHashRefused (12.6): an escrow_key with capital digits gives 400.
	UpperHashRefused bool
	// LocksMacs and LocksVisionPro (12.8): the ADE service locks them. Else
	// DEVICE_NOT_SUPPORTED.
	LocksMacs      bool
	LocksVisionPro bool

	// ForbidLifts (12.10): ActivationLockAllowedWhileSupervised false lifts a
	// user-linked lock that is on.
	ForbidLifts bool
	// OptionsReset (12.10): an MDMOptions item resets the options that it does not
	// name.
	OptionsReset bool
	// LostModeRefuses (12.11): in Managed Lost Mode the commands of Activation
	// Lock and Settings fail with 12078.
	LostModeRefuses bool
	// NoWindowOnMacs (12.15): a Mac gives its code for ever.
	NoWindowOnMacs bool
	// Relock (10.2) is when a device that was unlocked while Find My is on locks
	// again.
	Relock Relock

	// StatusDelay (12.13) is how long the AxM API tells the old state.
	StatusDelay time.Duration
	// NoLockType (7.1): the AxM API leaves lockType out of an unlocked device's
	// state, instead of NONE.
	NoLockType bool
	// PortalOpensUserLocks (12.14): the portal turns off user-linked locks of
	// devices that another service manages.
	PortalOpensUserLocks bool
}

// NoCodeAnswer is how a device says that it has no code to give.
type NoCodeAnswer uint8

const (
	EmptyCode   NoCodeAnswer = iota // acknowledged, with an empty text
	MissingCode                     // acknowledged, without the key
	CodeError                       // an error; here 12010, since no source names a code
)

// Relock is when a device locks again after an unlock while Find My stays on.
type Relock uint8

const (
	RelockAtNextMessage Relock = iota // when the device next gets in touch
	RelockAtOnce
	RelockWithFindMy // only when Find My is turned on anew
)

// choices are the values that random readings take.
var choices = map[reflect.Type][]any{
	reflect.TypeFor[bool]():          {false, true},
	reflect.TypeFor[NoCodeAnswer]():  {EmptyCode, MissingCode, CodeError},
	reflect.TypeFor[Relock]():        {RelockAtNextMessage, RelockAtOnce, RelockWithFindMy},
	reflect.TypeFor[time.Duration](): {time.Duration(0), time.Hour, 24 * time.Hour},
}

// RandomReading chooses each field at random.
func RandomReading(r *rand.Rand) Reading {
	var reading Reading
	v := reflect.ValueOf(&reading).Elem()
	for i := range v.NumField() {
		values := choices[v.Field(i).Type()]
		v.Field(i).Set(reflect.ValueOf(values[r.IntN(len(values))]))
	}
	return reading
}

// Readings returns the zero Reading, and one for each other value of each
// field, with all else zero.
func Readings() []Reading {
	all := []Reading{{}}
	for i := range reflect.TypeFor[Reading]().NumField() {
		for _, value := range choices[reflect.TypeFor[Reading]().Field(i).Type][1:] {
			var reading Reading
			reflect.ValueOf(&reading).Elem().Field(i).Set(reflect.ValueOf(value))
			all = append(all, reading)
		}
	}
	return all
}

// String names the fields that are not zero, for example
// "NewCodeWithFindMy=true StatusDelay=1h0m0s"; "likelier" if there is none.
func (r Reading) String() string {
	var parts []string
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			parts = append(parts, fmt.Sprintf("%s=%v", v.Type().Field(i).Name, v.Field(i)))
		}
	}
	if parts == nil {
		return "likelier"
	}
	return strings.Join(parts, " ")
}
