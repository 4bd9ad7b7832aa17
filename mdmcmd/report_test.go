package mdmcmd_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/internal/hostile"
	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

// code is the one in testdata; no device has it.
const code = hostile.Code

func parseReport(tb testing.TB, raw []byte) *mdmcmd.Report {
	tb.Helper()
	m, err := mdmcmd.Parse(raw)
	require.NoError(tb, err)
	require.IsType(tb, &mdmcmd.Report{}, m)
	return m.(*mdmcmd.Report)
}

func TestParseReports(t *testing.T) {
	t.Parallel()
	onPhone, onPad, onMac := mdmcmd.Enrollment{UDID: phone}, mdmcmd.Enrollment{UDID: pad}, mdmcmd.Enrollment{UDID: mac}
	yes, no := pointer(true), pointer(false)
	for _, test := range []struct {
		file string
		want mdmcmd.Report
	}{
		{"idle", mdmcmd.Report{Enrollment: onPhone, Status: mdmcmd.Idle}},
		{"idle-shared-ipad-user", mdmcmd.Report{Status: mdmcmd.Idle, Enrollment: mdmcmd.Enrollment{
			UDID: pad, UserID: everyPupil, UserShortName: "pupil@example.org", UserLongName: "Pupil Example",
		}}},
		{"not-now", mdmcmd.Report{Enrollment: onPhone, Status: mdmcmd.NotNow, CommandUUID: uuid + "1"}},
		{"command-format-error", mdmcmd.Report{Enrollment: onPhone, Status: mdmcmd.CommandFormatError, CommandUUID: uuid + "2"}},
		{"error", mdmcmd.Report{
			Enrollment: onMac, Status: mdmcmd.Error, CommandUUID: uuid + "2", RequestType: "DeviceInformation",
			ErrorChain: []mdmcmd.ErrorChainItem{
				{12021, "MCMDMErrorDomain", "Uitgevonden: onbekend verzoek <buiten>", "Invented: unknown request"},
				{-909, "NSOSStatusErrorDomain", " <NSOSStatusErrorDomain:-909>", ""},
			},
		}},
		{"device-information-iphone", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "3",
			QueryResponses: &mdmcmd.QueryResponses{
				UDID: phone, SerialNumber: "XXFAKE0SER1", ProductName: "iPhone17,3", Model: "MYAP3", ModelName: "iPhone", DeviceName: "front desk",
				ModelNumber: "MYAP3ZD/A", OSVersion: "26.1", BuildVersion: "23B85", SupplementalBuildVersion: "23B85",
				IsSupervised: yes, IsMultiUser: no, IsDeviceLocatorServiceEnabled: yes, IsActivationLockEnabled: yes,
				IsMDMLostModeEnabled: no, AwaitingConfiguration: no,
				MDMOptions: &mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: yes, IdleRebootAllowed: no},
				ServiceSubscriptions: []mdmcmd.ServiceSubscription{
					{Slot: "CTSubscriptionSlotTwo", IMEI: "35 123456 765432 1", MEID: "35123456765432"},
					{Slot: "CTSubscriptionSlotOne", IMEI: "35 123456 123456 7", MEID: " 35123456123456 "},
				},
			},
		}},
		{"device-information-ipad", mdmcmd.Report{
			Enrollment: onPad, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "3",
			QueryResponses: &mdmcmd.QueryResponses{
				UDID: pad, SerialNumber: "XXFAKE0SER2", ProductName: "iPad14,1", ModelName: "iPad", OSVersion: "18.1", BuildVersion: "22B83",
				IsSupervised: yes, IsMultiUser: no, IsDeviceLocatorServiceEnabled: no, IsActivationLockEnabled: no,
				IsMDMLostModeEnabled: yes, AwaitingConfiguration: yes, MDMOptions: &mdmcmd.MDMOptions{},
			},
		}},
		{"device-information-mac", mdmcmd.Report{
			Enrollment: onMac, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "4", RequestType: "DeviceInformation",
			QueryResponses: &mdmcmd.QueryResponses{
				UDID: mac, ProvisioningUDID: "00008112-000E77778888999F", SerialNumber: "XXFAKEMAC01", ProductName: "Mac14,2", Model: "Mac14,2",
				ModelName: "MacBook Air", OSVersion: "15.1", BuildVersion: "24B83", EACSPreflight: "not supported",
				IsSupervised: yes, IsAppleSilicon: yes, IsActivationLockEnabled: no, IsActivationLockSupported: yes,
				AwaitingConfiguration: no, PINRequiredForEraseDevice: no,
				MDMOptions: &mdmcmd.MDMOptions{BootstrapTokenAllowed: yes, PromptUserToAllowBootstrapTokenForAuthentication: no},
			},
		}},
		{"device-information-shared-ipad", mdmcmd.Report{
			Enrollment: onPad, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "3",
			QueryResponses: &mdmcmd.QueryResponses{
				UDID: pad, SerialNumber: "XXFAKE0SER3", ProductName: "iPad13,1", OSVersion: "18.1", IsSupervised: yes, IsMultiUser: yes,
			},
		}},
		{"device-information-user-enrollment", mdmcmd.Report{
			Enrollment: mdmcmd.Enrollment{EnrollmentID: enrolled}, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "3",
			QueryResponses: &mdmcmd.QueryResponses{
				ProductName: "iPhone15,2", OSVersion: "26.1", BuildVersion: "23B85", ModelName: "iPhone", DeviceName: "private phone", IsSupervised: no,
			},
		}},
		{"security-info-mac", mdmcmd.Report{
			Enrollment: onMac, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "5", RequestType: "SecurityInfo",
			SecurityInfo: &mdmcmd.SecurityInfoResponse{ManagementStatus: &mdmcmd.ManagementStatus{
				EnrolledViaDEP: yes, UserApprovedEnrollment: yes, IsUserEnrollment: no, IsActivationLockManageable: no,
			}},
		}},
		{"security-info-ios", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "5",
			SecurityInfo: &mdmcmd.SecurityInfoResponse{ManagementStatus: &mdmcmd.ManagementStatus{IsUserEnrollment: no}},
		}},
		{"settings-array", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "6",
			Settings: []mdmcmd.SettingsItem{{Item: "MDMOptions", Status: mdmcmd.Acknowledged}},
		}},
		{"settings-dictionary", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "6",
			Settings: []mdmcmd.SettingsItem{{Status: mdmcmd.Acknowledged}},
		}},
		{"settings-missing", mdmcmd.Report{Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "6"}},
		{"settings-item-error", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "6",
			Settings: []mdmcmd.SettingsItem{
				{Item: "DeviceName", Status: mdmcmd.Acknowledged},
				{Item: "MDMOptions", Status: mdmcmd.Error, ErrorChain: []mdmcmd.ErrorChainItem{
					{28000, "MCSettingsErrorDomain", "Invented: unknown item", ""},
				}},
			},
		}},
		{"device-location", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "7",
			Location: &mdmcmd.Location{
				Latitude: -12.0625, Longitude: 96.828125, HorizontalAccuracy: pointer(8.75), VerticalAccuracy: pointer(-1.0),
				Altitude: pointer(-3.25), Speed: pointer(-1.0), Course: pointer(271.5), Timestamp: "2026-11-22T09:41:00Z",
			},
		}},
		{"device-location-old", mdmcmd.Report{
			Enrollment: onPad, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "7", Location: &mdmcmd.Location{},
		}},
		{"device-lock", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Acknowledged, CommandUUID: uuid + "8", MessageResult: "NoPasscodeSet",
		}},
		{"error-not-supervised", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Error, CommandUUID: uuid + "9",
			ErrorChain: mdmcmd.ErrorChain{
				{12010, "MCMDMErrorDomain", "Uitgevonden: er ging iets mis <MCMDMErrorDomain:12078>", ""},
				{29000, "MCChaperoneErrorDomain", "Uitgevonden: geen supervisie", ""},
			},
		}},
		{"error-in-lost-mode", mdmcmd.Report{
			Enrollment: onPhone, Status: mdmcmd.Error, CommandUUID: uuid + "9",
			ErrorChain: mdmcmd.ErrorChain{{12078, "MCMDMErrorDomain", "Uitgevonden: niet in de verliesmodus", ""}},
		}},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			got := parseReport(t, sent(t, test.file))
			require.Equal(t, &test.want, got)
			require.Nil(t, got.BypassCode)
		})
	}
}

func TestLocation(t *testing.T) {
	t.Parallel()
	type reals = map[string]string
	parse := func(found reals, more string) *mdmcmd.Location {
		body := acknowledged + more
		for key, value := range found {
			body += `<key>` + key + `</key><real>` + value + `</real>`
		}
		return parseReport(t, list(body)).Location
	}
	require.Nil(t, parse(nil, ""))
	require.Nil(t, parse(nil, `<key>Timestamp</key><string>2026-11-22T09:41:00Z</string>`))

	// A place has two numbers, and no fewer; zero is one of them.
	require.Nil(t, parse(reals{"Latitude": "1"}, ""))
	require.Nil(t, parse(reals{"Longitude": "1", "Altitude": "1", "Speed": "0"}, ""))
	require.Equal(t, &mdmcmd.Location{}, parse(reals{"Latitude": "0", "Longitude": "0"}, ""))
	require.Equal(t, &mdmcmd.Location{Latitude: -90, Longitude: 1.5e2}, parse(reals{"Latitude": " -90\n", "Longitude": "+1.5E2"}, ""))

	// What is absent is nil, and not zero.
	for key, get := range map[string]func(*mdmcmd.Location) *float64{
		"HorizontalAccuracy": func(l *mdmcmd.Location) *float64 { return l.HorizontalAccuracy },
		"VerticalAccuracy":   func(l *mdmcmd.Location) *float64 { return l.VerticalAccuracy },
		"Altitude":           func(l *mdmcmd.Location) *float64 { return l.Altitude },
		"Speed":              func(l *mdmcmd.Location) *float64 { return l.Speed },
		"Course":             func(l *mdmcmd.Location) *float64 { return l.Course },
	} {
		all := reals{
			"Latitude": "1", "Longitude": "2", "HorizontalAccuracy": "3.5", "VerticalAccuracy": "3.5", "Altitude": "3.5",
			"Speed": "3.5", "Course": "3.5",
		}
		require.Equal(t, pointer(3.5), get(parse(all, "")), key)
		for _, none := range []string{"nan", "NaN", "inf", "-Infinity", "+INF"} {
			all[key] = none
			require.Nil(t, get(parse(all, "")), "%s is %s", key, none)
		}
		all[key] = "-0"
		require.Zero(t, *get(parse(all, "")), key)
		delete(all, key)
		require.Nil(t, get(parse(all, "")), key)
		require.Equal(t, "x", parse(all, `<key>Timestamp</key><string>x</string>`).Timestamp, "kept as it came")
	}

	// No place is not a number; a report with one could not be written as JSON.
	for _, none := range []string{"nan", "inf", "-inf"} {
		require.Nil(t, parse(reals{"Latitude": none, "Longitude": "1"}, ""))
		require.Nil(t, parse(reals{"Latitude": "1", "Longitude": none}, ""))
	}
}

func TestLocationRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"Latitude", "Longitude", "HorizontalAccuracy", "VerticalAccuracy", "Altitude", "Speed", "Course"} {
		for value, want := range map[string]string{
			`<integer>52</integer>`: "has type integer, want real", `<string>52.5</string>`: "has type string, want real",
			`<true/>`: "has type boolean, want real", `<real>52,5</real>`: "has an invalid real",
			`<real>1e999</real>`: "has an invalid real", `<real>52.5 N</real>`: "has an invalid real",
		} {
			m, err := mdmcmd.Parse(list(acknowledged + `<key>` + key + `</key>` + value))
			require.EqualError(t, err, "mdmcmd: parse: plist: key "+key+" "+want)
			require.Nil(t, m)
		}
		for _, nothing := range []string{`<real> </real>`, `<real/>`} {
			_, err := mdmcmd.Parse(list(acknowledged + `<key>` + key + `</key>` + nothing))
			require.ErrorContains(t, err, "a real without a number")
		}
	}
	_, err := mdmcmd.Parse(list(acknowledged + `<key>Timestamp</key><date>2026-11-22T09:41:00Z</date>`))
	require.EqualError(t, err, "mdmcmd: parse: plist: key Timestamp has type date, want string")
}

func TestMessageResult(t *testing.T) {
	t.Parallel()
	for _, result := range []string{"Success", "DeviceInLostMode", "NoPasscodeSet", "Unknown", "Something New", ""} {
		r := parseReport(t, list(acknowledged+`<key>MessageResult</key><string>`+result+`</string>`))
		require.Equal(t, result, r.MessageResult)
		require.Equal(t, mdmcmd.Acknowledged, r.Status)
	}
	require.Empty(t, parseReport(t, list(acknowledged)).MessageResult)
}

func TestFixturesOfTheOtherAnswers(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "fixtures", "written-from-schema")
	const device = "00008120-0011223344556677"
	require.Equal(t, &mdmcmd.Location{
		Latitude: 37, Longitude: -122, HorizontalAccuracy: pointer(12.5), VerticalAccuracy: pointer(-1.0), Altitude: pointer(-1.0),
		Speed: pointer(-1.0), Course: pointer(-1.0), Timestamp: "2026-01-15T10:20:30Z",
	}, parseReport(t, readFile(t, folder, "DeviceLocation.ack.plist")).Location)
	lock := parseReport(t, readFile(t, folder, "DeviceLock.ack.plist"))
	require.Equal(t, "Success", lock.MessageResult)
	require.Equal(t, mdmcmd.Enrollment{UDID: device}, lock.From())
	require.Equal(t, &mdmcmd.Report{
		Enrollment: mdmcmd.Enrollment{UDID: device}, Status: mdmcmd.Acknowledged, CommandUUID: "7e0c3a52-0002-4c1a-9d2e-000000000002",
	}, parseReport(t, readFile(t, folder, "ClearActivationLockBypassCode.ack.plist")))
	failed := parseReport(t, readFile(t, folder, "EnableLostMode.error.12066.plist"))
	require.Equal(t, mdmcmd.Error, failed.Status)
	require.Equal(t, "Invented text: could not enable MDM Lost Mode.", failed.ErrorChain[0].LocalizedDescription)
	french := parseReport(t, readFile(t, folder, "ActivationLockBypassCode.error.invalid-request-type.plist"))
	require.Equal(t, mdmcmd.ErrorChain{{
		12021, "MCMDMErrorDomain", "Texte inventé : type de requête non valide.", "Invented text: request type is not valid.",
	}}, french.ErrorChain)
}

func TestCellular(t *testing.T) {
	t.Parallel()
	const one, two = "CTSubscriptionSlotOne", "CTSubscriptionSlotTwo"
	for _, test := range []struct {
		name string
		q    mdmcmd.QueryResponses
		want mdmcmd.Cellular
	}{
		{"none", mdmcmd.QueryResponses{}, mdmcmd.Cellular{}},
		{"before iOS 12", mdmcmd.QueryResponses{IMEI: "35 123456 123456 7", MEID: "35123456123456\n"}, mdmcmd.Cellular{IMEI: "351234561234567", MEID: "35123456123456"}},
		{"both forms", mdmcmd.QueryResponses{IMEI: "1", MEID: "2", ServiceSubscriptions: []mdmcmd.ServiceSubscription{{one, "3", "4"}}}, mdmcmd.Cellular{IMEI: "3", MEID: "4"}},
		{"empty slot", mdmcmd.QueryResponses{IMEI: "1", MEID: "2", ServiceSubscriptions: []mdmcmd.ServiceSubscription{{Slot: one}}}, mdmcmd.Cellular{IMEI: "1", MEID: "2"}},
		{"out of order", mdmcmd.QueryResponses{ServiceSubscriptions: []mdmcmd.ServiceSubscription{{two, "2", "x"}, {one, "1 ", " y "}}}, mdmcmd.Cellular{IMEI: "1", IMEI2: "2", MEID: "y"}},
		{"only slot two", mdmcmd.QueryResponses{ServiceSubscriptions: []mdmcmd.ServiceSubscription{{two, "2", "x"}}}, mdmcmd.Cellular{IMEI2: "2"}},
		{"unknown slot", mdmcmd.QueryResponses{IMEI: "1", ServiceSubscriptions: []mdmcmd.ServiceSubscription{{"CTSubscriptionSlotThree", "3", "x"}, {"", "4", ""}}}, mdmcmd.Cellular{IMEI: "1"}},
		{"other digits", mdmcmd.QueryResponses{IMEI: "３5-1/2 a"}, mdmcmd.Cellular{IMEI: "512"}},
	} {
		require.Equal(t, test.want, test.q.Cellular(), test.name)
	}
	require.Equal(t, mdmcmd.Cellular{IMEI: "351234561234567", IMEI2: "351234567654321", MEID: "35123456123456"},
		parseReport(t, sent(t, "device-information-iphone")).QueryResponses.Cellular())
	require.Zero(t, parseReport(t, sent(t, "device-information-ipad")).QueryResponses.Cellular())
}

func TestSettingsStatus(t *testing.T) {
	t.Parallel()
	item := func(name string, status mdmcmd.Status) mdmcmd.SettingsItem {
		return mdmcmd.SettingsItem{Item: name, Status: status}
	}
	for _, test := range []struct {
		name   string
		report mdmcmd.Report
		want   mdmcmd.Status
	}{
		{"no items", mdmcmd.Report{Status: mdmcmd.Acknowledged}, mdmcmd.Acknowledged},
		{"not now", mdmcmd.Report{Status: mdmcmd.NotNow}, mdmcmd.NotNow},
		{"item", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("MDMOptions", mdmcmd.Error)}}, mdmcmd.Error},
		{"item without a name", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("", mdmcmd.Error)}}, mdmcmd.Error},
		{"item without a status", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("MDMOptions", "")}}, mdmcmd.Acknowledged},
		{"another item", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("DeviceName", mdmcmd.Error)}}, mdmcmd.Acknowledged},
		{"two without names", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("", mdmcmd.Error), item("", mdmcmd.Error)}}, mdmcmd.Acknowledged},
		{"second item", mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{item("DeviceName", mdmcmd.Acknowledged), item("MDMOptions", mdmcmd.Error)}}, mdmcmd.Error},
	} {
		require.Equal(t, test.want, test.report.SettingsStatus(), test.name)
	}
	for file, want := range map[string]mdmcmd.Status{
		"settings-array": mdmcmd.Acknowledged, "settings-dictionary": mdmcmd.Acknowledged, "settings-missing": mdmcmd.Acknowledged,
		"settings-item-error": mdmcmd.Error, "error": mdmcmd.Error, "not-now": mdmcmd.NotNow,
	} {
		require.Equal(t, want, parseReport(t, sent(t, file)).SettingsStatus(), file)
	}
}

func TestBypassCodeAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		file string
		has  bool
		text string
		want mdmcmd.BypassCodeResult
	}{
		{"bypass-code", true, code, mdmcmd.BypassCodeHeld},
		{"bypass-code-mac", true, code, mdmcmd.BypassCodeHeld},
		{"bypass-code-beside-error", true, code, mdmcmd.BypassCodeHeld},
		{"bypass-code-empty", true, "", mdmcmd.BypassCodeEmpty},
		{"bypass-code-missing", false, "", mdmcmd.BypassCodeMissing},
		{"bypass-code-not-now", false, "", mdmcmd.BypassCodeNotNow},
		{"bypass-code-error", false, "", mdmcmd.BypassCodeError},
		{"command-format-error", false, "", mdmcmd.BypassCodeError},
		{"bypass-code-redacted", true, "", mdmcmd.BypassCodeRedacted},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			r := parseReport(t, sent(t, test.file))
			require.Equal(t, test.has, r.BypassCode != nil)
			text, got := r.BypassCodeAnswer()
			require.Equal(t, test.want, got)
			require.Equal(t, test.text, text.Reveal())
			require.Equal(t, test.text == "", text.IsZero())
		})
	}
}

// A code is kept byte for byte, whatever the device calls one and whatever
// its report says besides.
func TestBypassCodeAnswerKeepsTheText(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"Acknowledged", "Error", "NotNow", "Idle", "CommandFormatError", "New"} {
		for written, want := range map[string]string{
			code: code, strings.ToLower(code): strings.ToLower(code), " " + code + "\n": " " + code + "\n", "a": "a",
			"&lt;&#x41;<!-- x --><![CDATA[&amp;]]>": "<A&amp;", "[Redacted]": "[Redacted]",
		} {
			r := parseReport(t, list(`<key>Status</key><string>`+status+`</string><key>ActivationLockBypassCode</key><string>`+written+`</string>`))
			text, got := r.BypassCodeAnswer()
			require.Equal(t, mdmcmd.BypassCodeHeld, got)
			require.Equal(t, want, text.Reveal())
		}
		for _, written := range []string{`<string/>`, `<string></string>`, `<string><!-- ` + code + ` --></string>`, `<string><![CDATA[]]></string>`, "<string> \n\t</string>"} {
			r := parseReport(t, list(`<key>Status</key><string>`+status+`</string><key>ActivationLockBypassCode</key>`+written))
			text, got := r.BypassCodeAnswer()
			require.NotEqual(t, mdmcmd.BypassCodeHeld, got)
			require.Equal(t, status == "Acknowledged", got == mdmcmd.BypassCodeEmpty, status)
			require.True(t, text.IsZero())
			require.NotNil(t, r.BypassCode)
		}
	}
}

// spellings of the code that would give it away.
func spellings(tb testing.TB) []string {
	parsed, err := bypasscode.Parse(code)
	require.NoError(tb, err)
	raw := parsed.RevealBytes()
	return []string{
		code, strings.ReplaceAll(code, "-", ""), code[:11],
		hex.EncodeToString(raw[:]), hex.EncodeToString([]byte(code)),
		base64.StdEncoding.EncodeToString([]byte(code)), base64.StdEncoding.EncodeToString(raw[:]),
	}
}

func TestNothingPrintsTheCodeOfAReport(t *testing.T) {
	t.Parallel()
	r := parseReport(t, sent(t, "bypass-code"))
	text, _ := r.BypassCodeAnswer()
	encoded, err := json.Marshal(r)
	require.ErrorIs(t, err, bypasscode.ErrSecret, "encoded without its code, the report would look as if it had none")
	for name, out := range map[string]string{
		"pointer": printed(t, r), "value": printed(t, *r), "map": printed(t, map[string]any{"r": r}),
		"message": printed(t, []mdmcmd.Message{r}), "text": printed(t, text), "json": string(encoded),
	} {
		low := strings.ToLower(strings.ReplaceAll(out, " ", ""))
		for _, spelling := range spellings(t) {
			if strings.Contains(low, strings.ToLower(spelling)) {
				t.Fatalf("%s shows the code", name)
			}
		}
	}
	_, err = json.Marshal(map[string]any{"code": text})
	require.ErrorIs(t, err, bypasscode.ErrSecret)
	require.NotContains(t, err.Error(), code)
}
