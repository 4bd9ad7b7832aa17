package mdmcmd_test

import (
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
