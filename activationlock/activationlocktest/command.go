package activationlocktest

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

const (
	model        = "A0000"
	buildVersion = "23B85"

	mdmDomain        = "MCMDMErrorDomain"
	chaperoneDomain  = "MCChaperoneErrorDomain"
	settingsDomain   = "MCSettingsErrorDomain"
	notAuthorized    = 12007
	malformedRequest = 12008
	inconsistency    = 12010
	invalidRequest   = 12021
	notInLostMode    = 12067
	inLostMode       = 12078
	notSupervised    = 29000
	unknownItem      = 28000
)

// failure is the answer of a device that cannot do it.
func failure(domain string, code int) dict {
	return dict{"Status": "Error", "ErrorChain": array{dict{
		"ErrorDomain": domain, "ErrorCode": code,
		"LocalizedDescription": "The command failed & nothing was done.", "USEnglishDescription": "The command failed & nothing was done.",
	}}}
}

func acknowledged(more dict) dict {
	answer := dict{"Status": "Acknowledged"}
	maps.Copy(answer, more)
	return answer
}

// malformed is the answer to a command that lacks a required key.
func malformed() dict { return dict{"Status": "CommandFormatError"} }

// rule says where a command works.
type rule struct {
	since          map[platform]string
	supervised     bool
	sharedIPad     bool
	userEnrollment []platform
	right          int
	lock           bool // one of those that Lost Mode may refuse
	run            func(*Device, dict) dict
}

var (
	all       = map[platform]string{ios: "0", macos: "0", tvos: "0", watchos: "0", visionos: "0"}
	byod      = []platform{ios, macos, visionos}
	codeSince = map[platform]string{ios: "7.1", macos: "10.15", visionos: "2.0"}
	lostSince = map[platform]string{ios: "9.3"}
)

// rules of all commands but DeviceInformation and SecurityInfo, which depend on
// the channel.
var rules = map[string]rule{
	"ActivationLockBypassCode": {since: codeSince, supervised: true, lock: true, run: (*Device).bypassCode},
	"ClearActivationLockBypassCode": {since: codeSince, supervised: true, lock: true,
		run: (*Device).clearBypassCode},
	"Settings":          {since: all, sharedIPad: true, userEnrollment: byod, right: 2048, lock: true, run: (*Device).settings},
	"EnableLostMode":    {since: lostSince, supervised: true, sharedIPad: true, run: (*Device).enableLostMode},
	"DisableLostMode":   {since: lostSince, supervised: true, sharedIPad: true, run: (*Device).disableLostMode},
	"DeviceLocation":    {since: lostSince, supervised: true, sharedIPad: true, run: (*Device).location},
	"PlayLostModeSound": {since: map[platform]string{ios: "10.3"}, supervised: true, sharedIPad: true, run: (*Device).lostModeSound},
	"DeviceLock": {since: map[platform]string{ios: "4.0", macos: "10.7", visionos: "2.0", watchos: "10.0"},
		sharedIPad: true, userEnrollment: []platform{ios, visionos}, right: 4, run: (*Device).lockScreen},
	"ClearPasscode": {since: map[platform]string{ios: "4.0", visionos: "1.1", watchos: "10.0"}, right: 4, run: (*Device).clearPasscode},
	"EraseDevice": {since: map[platform]string{ios: "4.0", macos: "10.7", tvos: "10.2", visionos: "1.1", watchos: "10.0"},
		sharedIPad: true, right: 8, run: (*Device).eraseDevice},
	"RemoveProfile":    {since: all, sharedIPad: true, userEnrollment: byod, right: 2, run: (*Device).removeProfile},
	"DeviceConfigured": {since: map[platform]string{ios: "9.0", macos: "10.11", tvos: "10.2", visionos: "2.0"}, sharedIPad: true, run: (*Device).configured},
}

// promised are the commands to which a platform never answers NotNow.
var promised = map[platform][]string{
	ios:   {"DeviceInformation", "DeviceLock", "EraseDevice", "ClearPasscode"},
	macos: {"ActivationLockBypassCode", "ClearActivationLockBypassCode", "DeviceLock", "EraseDevice"},
}

// run runs a command.
func (d *Device) run(u *UserChannel, name string, c dict) dict {
	if name == "" {
		return malformed()
	}
	if d.notNow > 0 && !slices.Contains(promised[d.platform], name) {
		d.notNow--
		return dict{"Status": "NotNow"}
	}
	withheld := func(right int) bool { return !d.config.UserEnrollment && d.config.WithheldRights&right != 0 }
	switch name {
	case "DeviceInformation":
		return d.information(u, c, withheld)
	case "SecurityInfo":
		if u != nil && d.platform != macos {
			return failure(mdmDomain, invalidRequest)
		}
		if withheld(1024) {
			return failure(mdmDomain, notAuthorized)
		}
		return acknowledged(dict{"SecurityInfo": d.security()})
	}
	if name == "RemoveProfile" && u != nil {
		return failure(mdmDomain, inconsistency) // the user has no profiles
	}
	r, known := rules[name]
	since := r.since[d.platform]
	switch {
	case !known, u != nil, since == "", !d.version(since),
		d.config.SharedIPad && !r.sharedIPad,
		d.config.UserEnrollment && !slices.Contains(r.userEnrollment, d.platform),
		name == "DeviceConfigured" && !d.config.ADE && d.platform != tvos:
		return failure(mdmDomain, invalidRequest)
	case (r.supervised || name == "DeviceConfigured" && d.platform != macos) && !d.supervised:
		return failure(chaperoneDomain, notSupervised)
	case withheld(r.right):
		return failure(mdmDomain, notAuthorized)
	case r.lock && d.config.Reading.LostModeRefuses && d.lock().LostMode:
		return failure(mdmDomain, inLostMode)
	}
	return r.run(d, c)
}

func (d *Device) bypassCode(dict) dict {
	without := func(how NoCodeAnswer) dict {
		switch how {
		case MissingCode:
			return acknowledged(nil)
		case CodeError:
			return failure(mdmDomain, inconsistency)
		}
		return acknowledged(dict{"ActivationLockBypassCode": ""})
	}
	if d.emptyAnswers > 0 {
		d.emptyAnswers--
		return without(EmptyCode)
	}
	endless := d.platform == macos && d.config.Reading.NoWindowOnMacs
	if !endless && !d.config.Now().Before(d.since.Add(codeWindow)) {
		return without(d.config.Reading.WindowOver)
	}
	if d.code.IsZero() && d.cleared && !d.config.Reading.ClearIsFinal {
		d.makeCode()
	}
	if d.code.IsZero() {
		return without(d.config.Reading.WithoutCode)
	}
	d.asked = true
	return acknowledged(dict{"ActivationLockBypassCode": d.code.Reveal()})
}

func (d *Device) clearBypassCode(dict) dict {
	if !d.code.IsZero() {
		if d.config.Reading.ClearVoids {
			d.apple.change(d.config.SerialNumber, func(l *Lock) bool {
				void := l.Kind == UserLinked && l.Code.Equal(d.code)
				if void {
					l.Code = noCode
				}
				return void
			})
		}
		d.code, d.cleared = noCode, true
	}
	return acknowledged(nil)
}

// settings runs each item and answers for each.
func (d *Device) settings(c dict) dict {
	items, is := c["Settings"].(array)
	if !is {
		return malformed()
	}
	answers := array{}
	for _, item := range items {
		fields, _ := item.(dict)
		name, _ := fields["Item"].(string)
		answer := acknowledged(nil)
		if since := map[platform]string{ios: "7.0", macos: "10.15", visionos: "2.0"}[d.platform]; name != "MDMOptions" ||
			since == "" || !d.version(since) || d.platform == macos && d.config.UserEnrollment {
			answer = failure(settingsDomain, unknownItem)
		} else if options, is := fields["MDMOptions"].(dict); !is || !d.setOptions(options) {
			answer = failure(mdmDomain, malformedRequest)
		}
		answer["Item"] = name
		answers = append(answers, answer)
	}
	return acknowledged(dict{"Settings": answers})
}

// setOptions sets all options or none.
func (d *Device) setOptions(options dict) bool {
	next := maps.Clone(d.options)
	if d.config.Reading.OptionsReset {
		next = map[string]bool{}
	}
	for key, value := range options {
		on, is := value.(bool)
		if !is {
			return false
		}
		next[key] = on
	}
	if named, is := options[allowed].(bool); is && !named && d.supervised && d.config.Reading.ForbidLifts {
		d.apple.turnOff(d.config.SerialNumber, func(l Lock) bool { return l.Kind == UserLinked })
	}
	turnedOn := next[allowed] && !d.options[allowed]
	d.options = next
	if turnedOn {
		d.lockIfAllowed()
	}
	return true
}

func (d *Device) enableLostMode(c dict) dict {
	message, _ := c["Message"].(string)
	phone, _ := c["PhoneNumber"].(string)
	if message == "" && phone == "" {
		return malformed()
	}
	d.setLostMode(true)
	return acknowledged(nil)
}

func (d *Device) disableLostMode(dict) dict {
	if !d.lock().LostMode {
		return failure(mdmDomain, notInLostMode)
	}
	d.setLostMode(false)
	return acknowledged(nil)
}

func (d *Device) location(dict) dict {
	if !d.lock().LostMode {
		return failure(mdmDomain, notInLostMode)
	}
	where := dict{"Latitude": 52.0907, "Longitude": 5.1214}
	if d.version("10.3") {
		maps.Copy(where, dict{
			"HorizontalAccuracy": 12.5, "VerticalAccuracy": -1.0, "Altitude": 0.0, "Speed": -1.0, "Course": -1.0,
			"Timestamp": d.config.Now().UTC().Format(time.RFC3339),
		})
	}
	return acknowledged(where)
}

func (d *Device) lostModeSound(dict) dict {
	if !d.lock().LostMode {
		return failure(mdmDomain, notInLostMode)
	}
	return acknowledged(nil)
}

func (d *Device) lockScreen(c dict) dict {
	if c["Message"] == nil && c["PhoneNumber"] == nil || d.config.SharedIPad {
		return acknowledged(nil)
	}
	if d.lock().LostMode {
		return acknowledged(dict{"MessageResult": "DeviceInLostMode"})
	}
	return acknowledged(dict{"MessageResult": "Success"})
}

func (d *Device) clearPasscode(c dict) dict {
	token, is := c["UnlockToken"].([]byte)
	switch {
	case !is:
		return malformed()
	case !bytes.Equal(token, d.unlockToken):
		return failure(mdmDomain, notAuthorized)
	}
	return acknowledged(nil)
}

func (d *Device) eraseDevice(c dict) dict {
	if _, is := c["PIN"].(string); d.config.NoT2 && !is {
		return failure(mdmDomain, malformedRequest)
	}
	answer := acknowledged(nil)
	if d.platform == macos && d.config.PreflightFails && !d.config.NoT2 && d.version("12.0") {
		switch c["ObliterationBehavior"] {
		case "DoNotObliterate":
			return failure(mdmDomain, inconsistency)
		case "ObliterateWithWarning", "Always":
		default:
			answer = failure(mdmDomain, inconsistency)
		}
	}
	d.erase()
	return answer
}

func (d *Device) removeProfile(c dict) dict {
	identifier, is := c["Identifier"].(string)
	switch {
	case !is:
		return malformed()
	case identifier != d.config.ProfileIdentifier:
		return failure(mdmDomain, inconsistency)
	}
	d.unmanage()
	return acknowledged(nil)
}

func (d *Device) configured(dict) dict {
	d.awaiting = false
	return acknowledged(nil)
}
