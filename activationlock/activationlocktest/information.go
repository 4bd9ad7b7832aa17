package activationlocktest

import (
	"maps"

	"github.com/activationlock/sdk/bypasscode"
)

var noCode bypasscode.Text

// fact is one answer of DeviceInformation and where it is given.
type fact struct {
	since          map[platform]string // "0": always
	noRight        bool                // needs no access right
	right          int                 // 0: 16
	userEnrollment bool
	deviceChannel  bool
	value          func(*Device) any // nil: the device has none
}

func text(value func(*Device) string) func(*Device) any {
	return func(d *Device) any {
		if v := value(d); v != "" {
			return v
		}
		return nil
	}
}

func only(p platform, since string) map[platform]string { return map[platform]string{p: since} }

var facts = map[string]fact{
	"UDID":         {since: all, noRight: true, value: text(func(d *Device) string { return d.config.UDID })},
	"SerialNumber": {since: all, value: text((*Device).serialNumber)},
	"ProductName":  {since: all, userEnrollment: true, value: text(func(d *Device) string { return d.config.ProductName })},
	"DeviceName":   {since: all, userEnrollment: true, value: text(func(d *Device) string { return d.config.DeviceName })},
	"Model": {since: map[platform]string{ios: "0", macos: "0", tvos: "0", watchos: "0"}, userEnrollment: true,
		value: text(func(*Device) string { return model })},
	"ModelName": {since: all, userEnrollment: true, value: text((*Device).modelName)},
	"ModelNumber": {since: map[platform]string{ios: "16.4", macos: "13.3", tvos: "16.4", watchos: "0", visionos: "0"}, userEnrollment: true,
		value: text(func(*Device) string { return model + "LL/A" })},
	"OSVersion":    {since: all, userEnrollment: true, value: text(func(d *Device) string { return d.config.OSVersion })},
	"BuildVersion": {since: all, userEnrollment: true, value: text(func(*Device) string { return buildVersion })},
	"SupplementalBuildVersion": {since: map[platform]string{ios: "16.1", macos: "13.0", tvos: "16.1", watchos: "0", visionos: "0"}, userEnrollment: true,
		value: text(func(*Device) string { return buildVersion })},
	"IsSupervised": {since: map[platform]string{ios: "6.0", macos: "10.15", tvos: "9.0", watchos: "0", visionos: "0"}, userEnrollment: true,
		value: func(d *Device) any { return d.supervised }},
	"IsMultiUser": {since: only(ios, "9.3"), userEnrollment: true, value: func(d *Device) any { return d.config.SharedIPad }},
	"IsDeviceLocatorServiceEnabled": {since: map[platform]string{ios: "7.0", watchos: "0", visionos: "0"}, userEnrollment: true,
		value: func(d *Device) any { return d.findMy }},
	"IsActivationLockEnabled": {since: map[platform]string{ios: "7.0", macos: "10.15", watchos: "0"}, value: (*Device).lockReport},
	"IsActivationLockSupported": {since: only(macos, "10.15"),
		value: func(d *Device) any { return !d.config.NoT2 }},
	"IsMDMLostModeEnabled": {since: map[platform]string{ios: "9.3", watchos: "0"}, value: func(d *Device) any { return d.lock().LostMode }},
	"AwaitingConfiguration": {since: map[platform]string{ios: "9.0", macos: "10.11", tvos: "10.2", watchos: "0", visionos: "2.0"}, noRight: true,
		value: func(d *Device) any { return d.awaiting }},
	"MDMOptions": {since: map[platform]string{ios: "7.0", macos: "11.0", tvos: "9.0", watchos: "10.0", visionos: "0"}, noRight: true, userEnrollment: true,
		value: (*Device).mdmOptions},
	"ProvisioningUDID": {since: only(macos, "11.3"), noRight: true, value: text(func(d *Device) string { return d.config.UDID })},
	"IsAppleSilicon":   {since: only(macos, "12.0"), userEnrollment: true, value: func(d *Device) any { return !d.config.NoT2 }},
	"PINRequiredForEraseDevice": {since: only(macos, "11.0"),
		value: func(d *Device) any { return d.config.NoT2 }},
	"PINRequiredForDeviceLock": {since: only(macos, "11.0"),
		value: func(d *Device) any { return d.config.NoT2 }},
	"EACSPreflight":        {since: only(macos, "13.3"), deviceChannel: true, value: (*Device).preflight},
	"IMEI":                 {since: only(ios, "0"), value: (*Device).oldIMEI},
	"MEID":                 {since: only(ios, "0"), value: (*Device).oldMEID},
	"ServiceSubscriptions": {since: only(ios, "12.0"), right: 32, value: (*Device).subscriptions},
}

// information answers what was asked, as far as the device knows it and the
// server may. Everything else is left out.
func (d *Device) information(u *UserChannel, c dict, withheld func(int) bool) dict {
	queries, is := c["Queries"].(array)
	if !is {
		return malformed()
	}
	responses := dict{}
	for _, query := range queries {
		name, _ := query.(string)
		f, known := facts[name]
		since := f.since[d.platform]
		right := f.right
		if right == 0 && !f.noRight {
			right = 16
		}
		if !known || since == "" || !d.version(since) || withheld(right) ||
			d.config.UserEnrollment && !f.userEnrollment || u != nil && f.deviceChannel {
			continue
		}
		if value := f.value(d); value != nil {
			responses[name] = value
		}
	}
	return acknowledged(dict{"QueryResponses": responses})
}

func (d *Device) modelName() string {
	return map[platform]string{ios: "iPhone & iPad", macos: "Mac", tvos: "Apple TV", watchos: "Apple Watch", visionos: "Apple Vision Pro"}[d.platform]
}

func (d *Device) lockReport() any {
	deprecated := map[platform]string{ios: "16.0", macos: "13.0", watchos: "10.0"}[d.platform]
	if d.config.NoDeprecatedQueries && d.version(deprecated) {
		return nil
	}
	return (d.lock().Kind != NotLocked) != d.misreports
}

// mdmOptions are the options; whether the lock is allowed, only where the
// platform tells it, and by its default.
func (d *Device) mdmOptions() any {
	options := dict{}
	for key, on := range d.options {
		options[key] = on
	}
	delete(options, allowed)
	switch d.platform {
	case ios, macos, tvos:
		options[allowed] = d.options[allowed]
	}
	return options
}

func (d *Device) preflight() any {
	switch {
	case d.config.NoT2:
		return "not supported"
	case d.config.PreflightFails:
		return "unknown failure"
	}
	return "success"
}

func (d *Device) oldIMEI() any {
	if d.config.IMEI == "" || d.version("26.0") {
		return nil
	}
	return spaced(d.config.IMEI)
}

func (d *Device) oldMEID() any {
	if d.config.MEID == "" || d.version("26.0") {
		return nil
	}
	return d.config.MEID
}

// subscriptions are the slots, in no certain order.
func (d *Device) subscriptions() any {
	slots := array{}
	for _, slot := range []struct{ name, imei, meid string }{
		{"CTSubscriptionSlotOne", d.config.IMEI, d.config.MEID}, {"CTSubscriptionSlotTwo", d.config.IMEI2, ""},
	} {
		if slot.imei == "" && slot.meid == "" {
			continue
		}
		item := dict{"Slot": slot.name, "IsDataPreferred": slot.name == "CTSubscriptionSlotOne", "Label": "Work & home"}
		for key, value := range map[string]string{"IMEI": spaced(slot.imei), "MEID": slot.meid} {
			if value != "" {
				item[key] = value
			}
		}
		slots = append(slots, item)
	}
	if len(slots) == 0 {
		return nil
	}
	if len(slots) == 2 && d.random(1)[0]&1 == 1 {
		slots[0], slots[1] = slots[1], slots[0]
	}
	return slots
}

// security answers SecurityInfo.
func (d *Device) security() dict {
	status := dict{}
	if d.platform == macos && d.version("10.13.2") {
		status["EnrolledViaDEP"], status["UserApprovedEnrollment"] = d.config.ADE, !d.config.UserEnrollment
	}
	if d.platform == ios && d.version("13.0") || d.platform == macos && d.version("10.15") {
		status["IsUserEnrollment"] = d.config.UserEnrollment
	}
	if d.platform == macos && d.version("10.15") {
		status["IsActivationLockManageable"] = d.supervised && d.hasCodes()
	}
	info := dict{}
	if len(status) > 0 {
		info["ManagementStatus"] = status
	}
	if d.platform == macos {
		maps.Copy(info, dict{"FDE_Enabled": true, "AllowSignedApp": "unknown key"})
	} else {
		maps.Copy(info, dict{"HardwareEncryptionCaps": 3, "PasscodePresent": true})
	}
	return info
}
