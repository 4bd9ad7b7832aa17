package mdmcmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/activationlock/sdk/mdmcmd"
)

func ExampleEncode() {
	raw, err := mdmcmd.Encode("example-1", mdmcmd.ActivationLockBypassCode)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>ActivationLockBypassCode</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-1</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_securityInfo() {
	raw, err := mdmcmd.Encode("example-2", mdmcmd.SecurityInfo)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>SecurityInfo</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-2</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_deviceInformation() {
	raw, err := mdmcmd.Encode("example-3", mdmcmd.DeviceInformation{
		Queries: []mdmcmd.Query{mdmcmd.QuerySerialNumber, mdmcmd.QueryIsSupervised},
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>Queries</key>
	// 			<array>
	// 				<string>SerialNumber</string>
	// 				<string>IsSupervised</string>
	// 			</array>
	// 			<key>RequestType</key>
	// 			<string>DeviceInformation</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-3</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_settings() {
	allow := true
	raw, err := mdmcmd.Encode("example-4", mdmcmd.Settings{
		MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: &allow},
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>Settings</string>
	// 			<key>Settings</key>
	// 			<array>
	// 				<dict>
	// 					<key>Item</key>
	// 					<string>MDMOptions</string>
	// 					<key>MDMOptions</key>
	// 					<dict>
	// 						<key>ActivationLockAllowedWhileSupervised</key><true/>
	// 					</dict>
	// 				</dict>
	// 			</array>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-4</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_clearActivationLockBypassCode() {
	raw, err := mdmcmd.Encode("example-5", mdmcmd.ClearActivationLockBypassCode)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>ClearActivationLockBypassCode</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-5</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_disableLostMode() {
	raw, err := mdmcmd.Encode("example-6", mdmcmd.DisableLostMode)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>DisableLostMode</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-6</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_deviceLocation() {
	raw, err := mdmcmd.Encode("example-7", mdmcmd.DeviceLocation)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>DeviceLocation</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-7</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_playLostModeSound() {
	raw, err := mdmcmd.Encode("example-8", mdmcmd.PlayLostModeSound)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>PlayLostModeSound</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-8</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEncode_deviceConfigured() {
	raw, err := mdmcmd.Encode("example-9", mdmcmd.DeviceConfigured)
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>DeviceConfigured</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-9</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEnableLostMode() {
	raw, err := mdmcmd.Encode("example-10", mdmcmd.EnableLostMode{
		Message:     "Property of Example Org",
		PhoneNumber: "+31 20 555 0100",
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>Message</key>
	// 			<string>Property of Example Org</string>
	// 			<key>PhoneNumber</key>
	// 			<string>+31 20 555 0100</string>
	// 			<key>RequestType</key>
	// 			<string>EnableLostMode</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-10</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleDeviceLock() {
	raw, err := mdmcmd.Encode("example-11", mdmcmd.DeviceLock{
		Message: "Please return to the front desk",
		PIN:     mdmcmd.NewSecret([]byte("482913")), // Macs only
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>Message</key>
	// 			<string>Please return to the front desk</string>
	// 			<key>PIN</key>
	// 			<string>482913</string>
	// 			<key>RequestType</key>
	// 			<string>DeviceLock</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-11</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleClearPasscode() {
	token := mdmcmd.NewSecret([]byte("from the TokenUpdate that the host kept"))
	raw, err := mdmcmd.Encode("example-12", mdmcmd.ClearPasscode{UnlockToken: token})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>RequestType</key>
	// 			<string>ClearPasscode</string>
	// 			<key>UnlockToken</key>
	// 			<data>ZnJvbSB0aGUgVG9rZW5VcGRhdGUgdGhhdCB0aGUgaG9zdCBrZXB0</data>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-12</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleRemoveProfile() {
	raw, err := mdmcmd.Encode("example-13", mdmcmd.RemoveProfile{Identifier: "org.example.mdm"})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>Identifier</key>
	// 			<string>org.example.mdm</string>
	// 			<key>RequestType</key>
	// 			<string>RemoveProfile</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-13</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleEraseDevice() {
	raw, err := mdmcmd.Encode("example-14", mdmcmd.EraseDevice{
		PIN:                  mdmcmd.NewSecret([]byte("482913")),
		ObliterationBehavior: mdmcmd.DoNotObliterate,
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>ObliterationBehavior</key>
	// 			<string>DoNotObliterate</string>
	// 			<key>PIN</key>
	// 			<string>482913</string>
	// 			<key>RequestType</key>
	// 			<string>EraseDevice</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-14</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleReturnToServiceOptions() {
	keep := true
	raw, err := mdmcmd.Encode("example-15", mdmcmd.EraseDevice{
		PreserveDataPlan: &keep,
		ReturnToService: &mdmcmd.ReturnToServiceOptions{
			Enabled:         true,
			WiFiProfileData: mdmcmd.NewSecret([]byte("a profile with the network's password")),
		},
	})
	fmt.Printf("%s%v\n", raw, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>PreserveDataPlan</key><true/>
	// 			<key>RequestType</key>
	// 			<string>EraseDevice</string>
	// 			<key>ReturnToService</key>
	// 			<dict>
	// 				<key>Enabled</key><true/>
	// 				<key>WiFiProfileData</key>
	// 				<data>YSBwcm9maWxlIHdpdGggdGhlIG5ldHdvcmsncyBwYXNzd29yZA==</data>
	// 			</dict>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>example-15</string>
	// 	</dict>
	// </plist>
	// <nil>
}

func ExampleSecret() {
	pin := mdmcmd.NewSecret([]byte("482913"))
	lock := mdmcmd.DeviceLock{PIN: pin}
	fmt.Printf("%v %+v\n", pin, lock)
	_, err := json.Marshal(lock)
	fmt.Println("stored by accident:", err == nil)
	fmt.Printf("%s\n", pin.Reveal())
	// Output:
	// [redacted] {Message: PhoneNumber: PIN:[redacted]}
	// stored by accident: false
	// 482913
}

func ExampleAvailability() {
	for _, c := range []mdmcmd.Command{mdmcmd.ActivationLockBypassCode, mdmcmd.EraseDevice{}} {
		fmt.Println(c.RequestType(), "needs access right", c.AccessRight())
		for _, a := range c.Availability() {
			fmt.Println("-", a.Platform, a.Since, "supervised only:", a.Supervised)
		}
	}
	// Output:
	// ActivationLockBypassCode needs access right 0
	// - iOS 7.1 supervised only: true
	// - macOS 10.15 supervised only: true
	// - visionOS 2.0 supervised only: true
	// EraseDevice needs access right 8
	// - iOS 4.0 supervised only: false
	// - macOS 10.7 supervised only: false
	// - tvOS 10.2 supervised only: false
	// - visionOS 1.1 supervised only: false
	// - watchOS 10.0 supervised only: false
}

const exampleReport = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0">
<dict>
	<key>ActivationLockBypassCode</key>
	<string>EZ9UX-71EZ5-AQ8J-EXRX-49LZ-19T2</string>
	<key>CommandUUID</key>
	<string>example-1</string>
	<key>Status</key>
	<string>Acknowledged</string>
	<key>UDID</key>
	<string>00008140-000A11112222333C</string>
</dict>
</plist>
`

func ExampleParse() {
	m, err := mdmcmd.Parse([]byte(exampleReport))
	if errors.Is(err, mdmcmd.ErrOtherMessage) {
		return // not for us
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	switch m := m.(type) {
	case *mdmcmd.Authenticate:
		fmt.Println("enrolls:", m.SerialNumber)
	case *mdmcmd.Report:
		fmt.Println(m.DeviceID(), "on", m.CommandUUID+":", m.Status)
	}
	// Output: 00008140-000A11112222333C on example-1: Acknowledged
}

func ExampleReport_BypassCodeAnswer() {
	m, err := mdmcmd.Parse([]byte(exampleReport))
	if err != nil {
		fmt.Println(err)
		return
	}
	report := m.(*mdmcmd.Report)
	switch text, result := report.BypassCodeAnswer(); result {
	case mdmcmd.BypassCodeHeld:
		fmt.Println("store it before anything else:", text, len(text.Reveal()))
	case mdmcmd.BypassCodeEmpty, mdmcmd.BypassCodeMissing:
		fmt.Println("keep the code that you have")
	case mdmcmd.BypassCodeNotNow:
		fmt.Println("ask again")
	default:
		fmt.Println(result, report.ErrorChain)
	}
	// Output: store it before anything else: [redacted] 31
}

func ExampleParse_checkIns() {
	for _, keys := range []string{
		`<key>MessageType</key><string>Authenticate</string><key>SerialNumber</key><string>XXFAKE0SER1</string>`,
		`<key>MessageType</key><string>TokenUpdate</string><key>AwaitingConfiguration</key><true/>`,
		`<key>MessageType</key><string>ReturnToService</string>`,
		`<key>MessageType</key><string>CheckOut</string>`,
	} {
		m, err := mdmcmd.Parse([]byte(`<plist><dict><key>UDID</key><string>00008140-000A11112222333C</string>` + keys + `</dict></plist>`))
		switch m := m.(type) {
		case *mdmcmd.Authenticate:
			fmt.Println(m.DeviceID(), "begins to enroll, serial number", m.SerialNumber)
		case *mdmcmd.TokenUpdate:
			fmt.Println("enrolled, waits in Setup Assistant:", m.AwaitingConfiguration != nil && *m.AwaitingConfiguration)
		case *mdmcmd.ReturnToService:
			fmt.Println("asks how to return to service")
		case *mdmcmd.CheckOut:
			fmt.Println("no longer managed; its codes are kept")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// 00008140-000A11112222333C begins to enroll, serial number XXFAKE0SER1
	// enrolled, waits in Setup Assistant: true
	// asks how to return to service
	// no longer managed; its codes are kept
}

// answer is a report with that status and these keys.
func answer(status mdmcmd.Status, keys string) *mdmcmd.Report {
	m, err := mdmcmd.Parse([]byte(`<plist><dict><key>Status</key><string>` + string(status) + `</string>` + keys + `</dict></plist>`))
	if err != nil {
		panic(err)
	}
	return m.(*mdmcmd.Report)
}

func ExampleQueryResponses() {
	report := answer(mdmcmd.Acknowledged, `<key>QueryResponses</key><dict>
		<key>SerialNumber</key><string>XXFAKE0SER1</string>
		<key>IsSupervised</key><true/>
	</dict>`)
	q := report.QueryResponses
	fmt.Println(q.SerialNumber, *q.IsSupervised)
	if q.IsActivationLockEnabled == nil {
		fmt.Println("nothing said of the lock, which does not mean that it is off")
	}
	// Output:
	// XXFAKE0SER1 true
	// nothing said of the lock, which does not mean that it is off
}

func ExampleManagementStatus() {
	report := answer(mdmcmd.Acknowledged, `<key>SecurityInfo</key><dict><key>ManagementStatus</key><dict>
		<key>EnrolledViaDEP</key><true/>
		<key>IsActivationLockManageable</key><true/>
	</dict></dict>`)
	status := report.SecurityInfo.ManagementStatus
	fmt.Println(*status.EnrolledViaDEP, *status.IsActivationLockManageable, status.IsUserEnrollment == nil)
	// Output: true true true
}

func ExampleReport_SettingsStatus() {
	report := answer(mdmcmd.Acknowledged, `<key>Settings</key><array><dict>
		<key>Item</key><string>MDMOptions</string>
		<key>Status</key><string>Error</string>
	</dict></array>`)
	fmt.Println(report.Status, report.SettingsStatus())
	// Output: Acknowledged Error
}

func ExampleLocation() {
	report := answer(mdmcmd.Acknowledged, `
		<key>Latitude</key><real>52.5</real>
		<key>Longitude</key><real>4.75</real>
		<key>HorizontalAccuracy</key><real>-1</real>
		<key>Timestamp</key><string>2026-11-22T09:41:00Z</string>`)
	if at := report.Location; at != nil {
		known := at.HorizontalAccuracy != nil && *at.HorizontalAccuracy >= 0
		fmt.Println(at.Latitude, at.Longitude, at.Timestamp, "accuracy known:", known)
	}
	// Output: 52.5 4.75 2026-11-22T09:41:00Z accuracy known: false
}

func ExampleReport_deviceLock() {
	report := answer(mdmcmd.Acknowledged, `<key>MessageResult</key><string>NoPasscodeSet</string>`)
	fmt.Println(report.Status, report.MessageResult)
	// Output: Acknowledged NoPasscodeSet
}

func ExampleErrorChain_Class() {
	report := answer(mdmcmd.Error, `<key>ErrorChain</key><array>
		<dict>
			<key>ErrorDomain</key><string>MCMDMErrorDomain</string><key>ErrorCode</key><integer>12010</integer>
			<key>LocalizedDescription</key><string>Er ging iets mis.</string>
		</dict>
		<dict>
			<key>ErrorDomain</key><string>MCChaperoneErrorDomain</string><key>ErrorCode</key><integer>29000</integer>
			<key>LocalizedDescription</key><string>Het apparaat is niet onder supervisie.</string>
		</dict>
	</array>`)
	switch class := report.ErrorChain.Class(); class {
	case mdmcmd.ErrorNone:
		fmt.Println("done")
	case mdmcmd.ErrorNotSupervised, mdmcmd.ErrorNotSupported:
		fmt.Println("asking again is of no use:", class)
	default:
		fmt.Println(class, report.ErrorChain)
	}
	// Output: asking again is of no use: not supervised
}

func ExampleQueryResponses_Cellular() {
	q := mdmcmd.QueryResponses{ServiceSubscriptions: []mdmcmd.ServiceSubscription{
		{Slot: "CTSubscriptionSlotTwo", IMEI: "35 123456 765432 1"},
		{Slot: "CTSubscriptionSlotOne", IMEI: "35 123456 123456 7", MEID: "35123456123456"},
	}}
	fmt.Printf("%+v\n", q.Cellular())
	// Output: {IMEI:351234561234567 IMEI2:351234567654321 MEID:35123456123456}
}

func ExampleRedact() {
	safe, err := mdmcmd.Redact([]byte(exampleReport))
	fmt.Printf("%s%v\n", safe, err)

	_, err = mdmcmd.Redact([]byte("ActivationLockBypassCode=EZ9UX-71EZ5-AQ8J-EXRX-49LZ-19T2"))
	fmt.Println(err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <plist version="1.0">
	// <dict>
	// 	<key>ActivationLockBypassCode</key>
	// 	<string>[redacted]</string>
	// 	<key>CommandUUID</key>
	// 	<string>example-1</string>
	// 	<key>Status</key>
	// 	<string>Acknowledged</string>
	// 	<key>UDID</key>
	// 	<string>00008140-000A11112222333C</string>
	// </dict>
	// </plist>
	// <nil>
	// mdmcmd: redact: plist: no plist element at byte 0
}

func ExampleCheck() {
	fmt.Println(mdmcmd.Check([]byte(exampleReport), 1<<20))
	fmt.Println(mdmcmd.Check([]byte("bplist00"), 1<<20))
	fmt.Println(mdmcmd.Check([]byte(exampleReport), 100))
	fmt.Println(mdmcmd.Check([]byte("<plist>"+strings.Repeat("<array>", 100)), 1<<20))
	// Output:
	// <nil>
	// plist: binary property lists are not read
	// plist: too large
	// plist: nested too deep
}

func ExampleNewUUID() {
	uuid := mdmcmd.NewUUID("example-")
	fmt.Println(uuid[:8], len(uuid))
	// Output: example- 44
}

func ExampleDefaultQueries() {
	for _, q := range mdmcmd.DefaultQueries(mdmcmd.VisionOS) {
		fmt.Println(q)
	}
	// Output:
	// UDID
	// SerialNumber
	// DeviceName
	// ProductName
	// ModelName
	// OSVersion
	// BuildVersion
	// IsSupervised
	// IsActivationLockEnabled
	// AwaitingConfiguration
	// MDMOptions
	// IsDeviceLocatorServiceEnabled
}

func ExamplePlatformOf() {
	fmt.Println(mdmcmd.PlatformOf("iPad14,1"), mdmcmd.PlatformOf("Mac14,2"))
	// Output: iOS macOS
}

func ExampleVerifySignature() {
	body := []byte(exampleReport)
	certificate, err := mdmcmd.VerifySignature("not a signature", body)
	fmt.Println(certificate != nil, err)
	// Output: false mdmcmd: signature: the header is not Base64
}
