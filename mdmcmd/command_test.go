package mdmcmd_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

const head = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">`

const tail = `</plist>`

func pointer[T any](v T) *T { return &v }

type dict = map[string]any

// commands has one of each command, with what it encodes to.
var commands = []struct {
	name    string
	command mdmcmd.Command
	want    dict
	file    string // the same in the fixtures
}{
	{
		"bypass code", mdmcmd.ActivationLockBypassCode,
		dict{"RequestType": "ActivationLockBypassCode"}, "ActivationLockBypassCode.command.plist",
	}, {
		"security information", mdmcmd.SecurityInfo,
		dict{"RequestType": "SecurityInfo"}, "SecurityInfo.command.plist",
	}, {
		"device information", mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{mdmcmd.QueryUDID, "x<&>y"}},
		dict{"RequestType": "DeviceInformation", "Queries": []any{"UDID", "x<&>y"}}, "",
	}, {
		"device information of an iPhone",
		mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{
			mdmcmd.QueryUDID, mdmcmd.QuerySerialNumber, mdmcmd.QueryProductName, mdmcmd.QueryModelName, mdmcmd.QueryOSVersion,
			mdmcmd.QueryBuildVersion, mdmcmd.QueryIsSupervised, mdmcmd.QueryIsMultiUser, mdmcmd.QueryIsDeviceLocatorServiceEnabled,
			mdmcmd.QueryIsActivationLockEnabled, mdmcmd.QueryIsMDMLostModeEnabled, mdmcmd.QueryAwaitingConfiguration,
			mdmcmd.QueryMDMOptions, mdmcmd.QueryServiceSubscriptions,
		}},
		nil, "DeviceInformation.ios.command.plist",
	}, {
		"pointer to device information", &mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{"UDID"}},
		dict{"RequestType": "DeviceInformation", "Queries": []any{"UDID"}}, "",
	}, {
		"allow", mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: pointer(true)}},
		settings(dict{"ActivationLockAllowedWhileSupervised": true}), "Settings.MDMOptions.allow.command.plist",
	}, {
		"forbid", mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: pointer(false)}},
		settings(dict{"ActivationLockAllowedWhileSupervised": false}), "Settings.MDMOptions.forbid.command.plist",
	}, {
		"device information of a Mac",
		mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{
			mdmcmd.QueryUDID, mdmcmd.QueryProvisioningUDID, mdmcmd.QuerySerialNumber, mdmcmd.QueryProductName, mdmcmd.QueryModel,
			mdmcmd.QueryModelName, mdmcmd.QueryOSVersion, mdmcmd.QueryBuildVersion, mdmcmd.QueryIsAppleSilicon,
			mdmcmd.QueryIsSupervised, mdmcmd.QueryIsActivationLockEnabled, mdmcmd.QueryIsActivationLockSupported,
			mdmcmd.QueryAwaitingConfiguration, mdmcmd.QueryMDMOptions, mdmcmd.QueryPINRequiredForEraseDevice,
			"PINRequiredForDeviceLock", mdmcmd.QueryEACSPreflight,
		}},
		nil, "DeviceInformation.macos.command.plist",
	}, {
		"clear the bypass code", mdmcmd.ClearActivationLockBypassCode,
		dict{"RequestType": "ClearActivationLockBypassCode"}, "ClearActivationLockBypassCode.command.plist",
	}, {
		"lost mode off", mdmcmd.DisableLostMode,
		dict{"RequestType": "DisableLostMode"}, "DisableLostMode.command.plist",
	}, {
		"location", mdmcmd.DeviceLocation,
		dict{"RequestType": "DeviceLocation"}, "DeviceLocation.command.plist",
	}, {
		"sound", mdmcmd.PlayLostModeSound,
		dict{"RequestType": "PlayLostModeSound"}, "PlayLostModeSound.command.plist",
	}, {
		"configured", mdmcmd.DeviceConfigured,
		dict{"RequestType": "DeviceConfigured"}, "",
	}, {
		"lost mode on", mdmcmd.EnableLostMode{Message: "Property of Example Org", PhoneNumber: "+15555550100", Footnote: "Example Org"},
		dict{"RequestType": "EnableLostMode", "Message": "Property of Example Org", "PhoneNumber": "+15555550100", "Footnote": "Example Org"},
		"EnableLostMode.command.plist",
	}, {
		"lost mode with a message", mdmcmd.EnableLostMode{Message: "a <b> & \"c\"\r\n\té"},
		dict{"RequestType": "EnableLostMode", "Message": "a <b> & \"c\"\r\n\té"}, "",
	}, {
		"lost mode with a number", mdmcmd.EnableLostMode{PhoneNumber: "112", Footnote: " "},
		dict{"RequestType": "EnableLostMode", "PhoneNumber": "112", "Footnote": " "}, "",
	}, {
		"lock", mdmcmd.DeviceLock{},
		dict{"RequestType": "DeviceLock"}, "",
	}, {
		"lock of a Mac", mdmcmd.DeviceLock{Message: "Please return", PhoneNumber: "+15555550100", PIN: hidden("482913")},
		dict{"RequestType": "DeviceLock", "Message": "Please return", "PhoneNumber": "+15555550100", "PIN": "482913"},
		"DeviceLock.macos.command.plist",
	}, {
		"clear the passcode", mdmcmd.ClearPasscode{UnlockToken: hidden("\x00\xff<token>")},
		dict{"RequestType": "ClearPasscode", "UnlockToken": data("\x00\xff<token>")}, "",
	}, {
		"clear the passcode with a long token", mdmcmd.ClearPasscode{UnlockToken: hidden(strings.Repeat("\xfe", 5000))},
		dict{"RequestType": "ClearPasscode", "UnlockToken": data(strings.Repeat("\xfe", 5000))}, "",
	}, {
		"remove a profile", mdmcmd.RemoveProfile{Identifier: "org.example.<mdm>"},
		dict{"RequestType": "RemoveProfile", "Identifier": "org.example.<mdm>"}, "",
	}, {
		"erase", mdmcmd.EraseDevice{},
		dict{"RequestType": "EraseDevice"}, "",
	}, {
		"erase an iPhone", mdmcmd.EraseDevice{PreserveDataPlan: pointer(true), DisallowProximitySetup: pointer(true)},
		dict{"RequestType": "EraseDevice", "PreserveDataPlan": true, "DisallowProximitySetup": true}, "EraseDevice.ios.command.plist",
	}, {
		"erase a Mac", mdmcmd.EraseDevice{PIN: hidden("482913"), ObliterationBehavior: mdmcmd.DoNotObliterate},
		dict{"RequestType": "EraseDevice", "PIN": "482913", "ObliterationBehavior": "DoNotObliterate"}, "EraseDevice.macos.command.plist",
	}, {
		"erase and return to service",
		mdmcmd.EraseDevice{ReturnToService: &mdmcmd.ReturnToServiceOptions{Enabled: true, WiFiProfileData: hidden("not a real profile")}},
		dict{"RequestType": "EraseDevice", "ReturnToService": dict{"Enabled": true, "WiFiProfileData": data("not a real profile")}},
		"EraseDevice.ReturnToService.command.plist",
	}, {
		"erase with everything",
		&mdmcmd.EraseDevice{
			PreserveDataPlan: pointer(false), DisallowProximitySetup: pointer(false), PIN: hidden("ab-é&<"),
			ObliterationBehavior: mdmcmd.ObliterationDefault,
			ReturnToService: &mdmcmd.ReturnToServiceOptions{
				Enabled: true, WiFiProfileData: hidden("wi-fi"), MDMProfileData: hidden("mdm"), BootstrapToken: hidden("token"),
				ShouldRetryEnrollment: pointer(true),
			},
		},
		dict{
			"RequestType": "EraseDevice", "PreserveDataPlan": false, "DisallowProximitySetup": false, "PIN": "ab-é&<",
			"ObliterationBehavior": "Default",
			"ReturnToService": dict{
				"Enabled": true, "WiFiProfileData": data("wi-fi"), "MDMProfileData": data("mdm"), "BootstrapToken": data("token"),
				"ShouldRetryEnrollment": true,
			},
		}, "",
	}, {
		"erase and do not return to service", mdmcmd.EraseDevice{ReturnToService: &mdmcmd.ReturnToServiceOptions{}},
		dict{"RequestType": "EraseDevice", "ReturnToService": dict{"Enabled": false}}, "",
	},
}

func hidden(s string) mdmcmd.Secret { return mdmcmd.NewSecret([]byte(s)) }

func settings(options dict) dict {
	return dict{"RequestType": "Settings", "Settings": []any{dict{"Item": "MDMOptions", "MDMOptions": options}}}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	for _, test := range commands {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			raw, err := mdmcmd.Encode("a-1<&>\"é", test.command)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(raw), head[:strings.Index(head, "<plist")]))
			require.NoError(t, mdmcmd.Check(raw, len(raw)))
			got := readDictionary(t, raw)
			require.Equal(t, test.command.RequestType(), got["Command"].(dict)["RequestType"])
			if test.want != nil {
				require.Equal(t, dict{"CommandUUID": "a-1<&>\"é", "Command": test.want}, got)
			}
		})
	}
}

func TestEncodeGivesTheFixtures(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "fixtures", "written-from-schema")
	written, err := filepath.Glob(filepath.Join(folder, "*.command.plist"))
	require.NoError(t, err)
	for _, test := range commands {
		if test.file == "" {
			continue
		}
		file := filepath.Join(folder, test.file)
		written = slices.DeleteFunc(written, func(other string) bool { return other == file })
		want := readDictionary(t, readFile(t, file))
		raw, err := mdmcmd.Encode(want["CommandUUID"].(string), test.command)
		require.NoError(t, err)
		require.Equal(t, want, readDictionary(t, raw), test.file)
	}
	require.Empty(t, written, "commands that no test encodes")
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	query := func(q ...mdmcmd.Query) mdmcmd.Command { return mdmcmd.DeviceInformation{Queries: q} }
	for _, test := range []struct {
		name, uuid string
		command    mdmcmd.Command
		want       string
	}{
		{"no command", "1", nil, "mdmcmd: encode: no command"},
		{"nil pointer", "1", (*mdmcmd.Settings)(nil), "mdmcmd: encode: no command"},
		{"nil pointer to a simple command", "1", (*mdmcmd.SimpleCommand)(nil), "mdmcmd: encode: no command"},
		{"empty UUID", "", mdmcmd.SecurityInfo, "encode SecurityInfo: the command UUID is empty, too long or not text"},
		{"long UUID", strings.Repeat("x", 256), mdmcmd.SecurityInfo, "the command UUID is"},
		{"long UUID in bytes", strings.Repeat("é", 128), mdmcmd.SecurityInfo, "the command UUID is"},
		{"NUL in the UUID", "a\x00", mdmcmd.SecurityInfo, "the command UUID is"},
		{"line break in the UUID", "a\nb", mdmcmd.SecurityInfo, "the command UUID is"},
		{"escape in the UUID", "a\x1b[0m", mdmcmd.SecurityInfo, "the command UUID is"},
		{"invalid UTF-8 in the UUID", "a\xff", mdmcmd.SecurityInfo, "the command UUID is"},
		{"noncharacter in the UUID", "a\uFFFE", mdmcmd.SecurityInfo, "the command UUID is"},
		{"no queries", "1", query(), "encode DeviceInformation: no queries"},
		{"empty list of queries", "1", query([]mdmcmd.Query{}...), "encode DeviceInformation: no queries"},
		{"empty query", "1", query("UDID", ""), "encode DeviceInformation: a query is empty or not text"},
		{"control character in a query", "1", query("UDID", "a\x01"), "a query is empty or not text"},
		{"no option", "1", mdmcmd.Settings{}, "encode Settings: no option is set"},
		{"unknown command", "1", mdmcmd.SimpleCommand("EraseDevice"), "encode EraseDevice: not a command without keys"},
		{"command with keys", "1", mdmcmd.SimpleCommand("Settings"), "encode Settings: not a command without keys"},
		{"empty command", "1", mdmcmd.SimpleCommand(""), "not a command without keys"},
		{"command in lower case", "1", mdmcmd.SimpleCommand("securityinfo"), "not a command without keys"},
		{"nil pointer to a command with a secret", "1", (*mdmcmd.EraseDevice)(nil), "mdmcmd: encode: no command"},
		{"no unlock token", "1", mdmcmd.ClearPasscode{}, "encode ClearPasscode: no unlock token"},
		{"empty unlock token", "1", mdmcmd.ClearPasscode{UnlockToken: mdmcmd.NewSecret([]byte{})}, "encode ClearPasscode: no unlock token"},
		{"no identifier", "1", mdmcmd.RemoveProfile{}, "encode RemoveProfile: no profile identifier"},
		{"nothing to show", "1", mdmcmd.EnableLostMode{}, "encode EnableLostMode: neither a message nor a phone number"},
		{"only a footnote", "1", mdmcmd.EnableLostMode{Footnote: "a"}, "encode EnableLostMode: neither a message nor a phone number"},
		{"unknown obliteration", "1", mdmcmd.EraseDevice{ObliterationBehavior: "default"}, "encode EraseDevice: an obliteration behavior that Apple does not know"},
		{"obliteration of its Go name", "1", mdmcmd.EraseDevice{ObliterationBehavior: "ObliterateAlways"}, "encode EraseDevice: an obliteration behavior that Apple does not know"},
		{"short PIN", "1", mdmcmd.EraseDevice{PIN: hidden("12345")}, "encode EraseDevice: a PIN has six characters"},
		{"short PIN of a lock", "1", mdmcmd.DeviceLock{PIN: hidden("12345")}, "encode DeviceLock: a PIN has six characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			raw, err := mdmcmd.Encode(test.uuid, test.command)
			require.ErrorContains(t, err, test.want)
			require.Nil(t, raw)
		})
	}
	_, err := mdmcmd.Encode(strings.Repeat("x", 255), mdmcmd.SecurityInfo)
	require.NoError(t, err)
}

func TestPIN(t *testing.T) {
	t.Parallel()
	for pin, want := range map[string]string{
		"": "", "123456": "", "ABCdef": "", "éééééé": "", "🔒🔒🔒🔒🔒🔒": "", "12 \"&<": "",
		"1": "six", "12345": "six", "1234567": "six", "ééé": "six", "ééééé": "six", "ééééééé": "six", "123456 ": "six",
		strings.Repeat("1", 1000): "six",
		"12345\xff":               "hold", "12345\x00": "hold", "\x1b23456": "hold", "12345\uFFFE": "hold", "\xff": "hold",
	} {
		for name, c := range map[string]mdmcmd.Command{
			"EraseDevice": mdmcmd.EraseDevice{PIN: hidden(pin)}, "DeviceLock": mdmcmd.DeviceLock{PIN: hidden(pin)},
		} {
			raw, err := mdmcmd.Encode("1", c)
			switch want {
			case "":
				require.NoError(t, err)
				command := dict{"RequestType": name}
				if pin != "" {
					command["PIN"] = pin
				}
				require.Equal(t, dict{"CommandUUID": "1", "Command": command}, readDictionary(t, raw))
			case "six":
				require.EqualError(t, err, "mdmcmd: encode "+name+": a PIN has six characters")
			default:
				require.EqualError(t, err, "mdmcmd: encode "+name+": a text has characters that a property list cannot hold")
			}
			require.Equal(t, err != nil, raw == nil)
		}
	}
}

func TestEncodeRefusesTexts(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"\x00", "shown\x1b[0m", "shown\xff", "shown\uFFFE", "\uFFFF", "a\x0bshown", "\xed\xa0\x80"} {
		for _, c := range []mdmcmd.Command{
			mdmcmd.DeviceLock{Message: bad}, mdmcmd.DeviceLock{PhoneNumber: bad},
			mdmcmd.EnableLostMode{Message: bad}, mdmcmd.EnableLostMode{PhoneNumber: bad},
			mdmcmd.EnableLostMode{Message: "a", Footnote: bad}, mdmcmd.EnableLostMode{Message: "a", PhoneNumber: bad},
			mdmcmd.RemoveProfile{Identifier: bad},
		} {
			raw, err := mdmcmd.Encode("1", c)
			require.EqualError(t, err, "mdmcmd: encode "+c.RequestType()+": a text has characters that a property list cannot hold")
			require.Nil(t, raw)
		}
	}
}

// Absent, false and true are three things.
func TestEraseDeviceTriStates(t *testing.T) {
	t.Parallel()
	states := []*bool{nil, pointer(false), pointer(true)}
	for n := range 27 {
		plan, proximity, retry := states[n%3], states[n/3%3], states[n/9]
		raw, err := mdmcmd.Encode("1", mdmcmd.EraseDevice{
			PreserveDataPlan: plan, DisallowProximitySetup: proximity,
			ReturnToService: &mdmcmd.ReturnToServiceOptions{ShouldRetryEnrollment: retry},
		})
		require.NoError(t, err)
		again := dict{"Enabled": false}
		want := dict{"RequestType": "EraseDevice", "ReturnToService": again}
		for _, option := range []struct {
			in   dict
			key  string
			says *bool
		}{{want, "PreserveDataPlan", plan}, {want, "DisallowProximitySetup", proximity}, {again, "ShouldRetryEnrollment", retry}} {
			if option.says != nil {
				option.in[option.key] = *option.says
			}
		}
		require.Equal(t, dict{"CommandUUID": "1", "Command": want}, readDictionary(t, raw))
	}
}

func TestObliterationBehavior(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[mdmcmd.ObliterationBehavior]string{
		mdmcmd.ObliterationDefault: "Default", mdmcmd.DoNotObliterate: "DoNotObliterate",
		mdmcmd.ObliterateWithWarning: "ObliterateWithWarning", mdmcmd.ObliterateAlways: "Always",
	} {
		raw, err := mdmcmd.Encode("1", mdmcmd.EraseDevice{ObliterationBehavior: behavior})
		require.NoError(t, err)
		require.Equal(t, dict{"RequestType": "EraseDevice", "ObliterationBehavior": want}, readDictionary(t, raw)["Command"])
	}
}

// Encoding changes nothing in a command, so that it can be sent again.
func TestEncodeTwice(t *testing.T) {
	t.Parallel()
	for _, test := range commands {
		first, err := mdmcmd.Encode("1", test.command)
		require.NoError(t, err)
		second, err := mdmcmd.Encode("1", test.command)
		require.NoError(t, err)
		require.Equal(t, first, second, test.name)
	}
}

func TestAvailability(t *testing.T) {
	t.Parallel()
	type where = []mdmcmd.Availability
	lostMode := func(since string) where {
		return where{{Platform: mdmcmd.IOS, Since: since, Supervised: true, SharedIPad: true}}
	}
	code := where{
		{Platform: mdmcmd.IOS, Since: "7.1", Supervised: true},
		{Platform: mdmcmd.MacOS, Since: "10.15", Supervised: true},
		{Platform: mdmcmd.VisionOS, Since: "2.0", Supervised: true},
	}
	everywhere := func(macUserChannel, padUserChannel bool) where {
		return where{
			{Platform: mdmcmd.IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true, UserChannel: padUserChannel},
			{Platform: mdmcmd.MacOS, Since: "10.7", UserEnrollment: true, UserChannel: macUserChannel},
			{Platform: mdmcmd.TvOS, Since: "9.0"},
			{Platform: mdmcmd.VisionOS, Since: "1.1", UserEnrollment: true},
			{Platform: mdmcmd.WatchOS, Since: "10.0"},
		}
	}
	seen := map[string]bool{}
	for _, test := range []struct {
		command mdmcmd.Command
		right   mdmcmd.AccessRight
		want    where
	}{
		{mdmcmd.ActivationLockBypassCode, mdmcmd.NoRight, code},
		{mdmcmd.ClearActivationLockBypassCode, mdmcmd.NoRight, code},
		{mdmcmd.DeviceInformation{}, mdmcmd.RightDeviceInformation, everywhere(true, true)},
		{mdmcmd.SecurityInfo, mdmcmd.RightSecurity, everywhere(true, false)},
		{mdmcmd.RemoveProfile{}, mdmcmd.RightProfiles, everywhere(true, true)},
		{mdmcmd.Settings{}, mdmcmd.RightSettings, where{
			{Platform: mdmcmd.IOS, Since: "7.0", SharedIPad: true, UserEnrollment: true},
			{Platform: mdmcmd.MacOS, Since: "10.15"},
			{Platform: mdmcmd.VisionOS, Since: "2.0", UserEnrollment: true},
		}},
		{mdmcmd.EraseDevice{}, mdmcmd.RightErase, where{
			{Platform: mdmcmd.IOS, Since: "4.0", SharedIPad: true},
			{Platform: mdmcmd.MacOS, Since: "10.7"},
			{Platform: mdmcmd.TvOS, Since: "10.2"},
			{Platform: mdmcmd.VisionOS, Since: "1.1"},
			{Platform: mdmcmd.WatchOS, Since: "10.0"},
		}},
		{mdmcmd.EnableLostMode{}, mdmcmd.NoRight, lostMode("9.3")},
		{mdmcmd.DisableLostMode, mdmcmd.NoRight, lostMode("9.3")},
		{mdmcmd.DeviceLocation, mdmcmd.NoRight, lostMode("9.3")},
		{mdmcmd.PlayLostModeSound, mdmcmd.NoRight, lostMode("10.3")},
		{mdmcmd.DeviceLock{}, mdmcmd.RightLockAndPasscode, where{
			{Platform: mdmcmd.IOS, Since: "4.0", SharedIPad: true, UserEnrollment: true},
			{Platform: mdmcmd.MacOS, Since: "10.7"},
			{Platform: mdmcmd.VisionOS, Since: "2.0", UserEnrollment: true},
			{Platform: mdmcmd.WatchOS, Since: "10.0"},
		}},
		{mdmcmd.ClearPasscode{}, mdmcmd.RightLockAndPasscode, where{
			{Platform: mdmcmd.IOS, Since: "4.0"}, {Platform: mdmcmd.VisionOS, Since: "1.1"}, {Platform: mdmcmd.WatchOS, Since: "10.0"},
		}},
		{mdmcmd.DeviceConfigured, mdmcmd.NoRight, where{
			{Platform: mdmcmd.IOS, Since: "9.0", Supervised: true, ADE: true, SharedIPad: true},
			{Platform: mdmcmd.MacOS, Since: "10.11", ADE: true},
			{Platform: mdmcmd.TvOS, Since: "10.2", Supervised: true},
			{Platform: mdmcmd.VisionOS, Since: "2.0", Supervised: true, ADE: true},
		}},
	} {
		name := test.command.RequestType()
		seen[name] = true
		require.Equal(t, test.right, test.command.AccessRight(), name)
		got := test.command.Availability()
		require.Equal(t, test.want, got, name)

		// A caller may do to its list what it likes.
		got[0].Platform = "mine"
		_ = append(got, mdmcmd.Availability{Platform: "mine"})
		_ = append(got[:1], mdmcmd.Availability{Platform: "mine"})
		require.Equal(t, test.want, test.command.Availability(), name)
	}
	for _, test := range commands {
		require.True(t, seen[test.command.RequestType()], test.name)
	}
	// The availability of a pointer is that of what it points to.
	require.Equal(t, lostMode("9.3"), (&mdmcmd.EnableLostMode{}).Availability())
	unknown := mdmcmd.SimpleCommand("ShutDownDevice")
	require.Empty(t, unknown.Availability())
	require.Equal(t, mdmcmd.NoRight, unknown.AccessRight())

	for right, bit := range map[mdmcmd.AccessRight]int{
		mdmcmd.NoRight: 0, mdmcmd.RightProfiles: 2, mdmcmd.RightLockAndPasscode: 4, mdmcmd.RightErase: 8,
		mdmcmd.RightDeviceInformation: 16, mdmcmd.RightNetwork: 32, mdmcmd.RightSecurity: 1024, mdmcmd.RightSettings: 2048,
	} {
		require.EqualValues(t, bit, right)
	}
}

// optionNames are the options in the order of the fields of MDMOptions.
var optionNames = []string{
	"ActivationLockAllowedWhileSupervised", "BootstrapTokenAllowed",
	"PromptUserToAllowBootstrapTokenForAuthentication", "IdleRebootAllowed",
}

// options makes one of the 81 combinations of absent, false and true.
func options(n int) (mdmcmd.MDMOptions, dict) {
	var o mdmcmd.MDMOptions
	want := dict{}
	for i, field := range []**bool{
		&o.ActivationLockAllowedWhileSupervised, &o.BootstrapTokenAllowed,
		&o.PromptUserToAllowBootstrapTokenForAuthentication, &o.IdleRebootAllowed,
	} {
		if state := n % 3; state > 0 {
			*field = pointer(state == 2)
			want[optionNames[i]] = state == 2
		}
		n /= 3
	}
	return o, want
}

func TestMDMOptions(t *testing.T) {
	t.Parallel()
	for n := range 81 {
		o, want := options(n)
		require.Equal(t, n == 0, o.IsZero())
		raw, err := mdmcmd.Encode("1", mdmcmd.Settings{MDMOptions: o})
		if n == 0 {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, dict{"CommandUUID": "1", "Command": settings(want)}, readDictionary(t, raw))
		for other := range 81 {
			o2, _ := options(other)
			require.Equal(t, n == other, o.Equal(o2), "%d and %d", n, other)
		}
	}
}

func TestNewUUID(t *testing.T) {
	t.Parallel()
	format := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 2000 {
		uuid := mdmcmd.NewUUID("")
		require.Regexp(t, format, uuid)
		require.False(t, seen[uuid])
		seen[uuid] = true
	}
	uuid, found := strings.CutPrefix(mdmcmd.NewUUID("al-%d-"), "al-%d-")
	require.True(t, found)
	require.Regexp(t, format, uuid)
}

func TestDefaultQueries(t *testing.T) {
	t.Parallel()
	const phone, mac = mdmcmd.QueryServiceSubscriptions, mdmcmd.QueryIsActivationLockSupported
	for _, test := range []struct {
		platform      mdmcmd.Platform
		with, without []mdmcmd.Query
	}{
		{mdmcmd.IOS, []mdmcmd.Query{phone, mdmcmd.QueryIsMultiUser, mdmcmd.QueryIMEI, mdmcmd.QueryIsMDMLostModeEnabled, mdmcmd.QueryIsDeviceLocatorServiceEnabled}, []mdmcmd.Query{mac}},
		{mdmcmd.MacOS, []mdmcmd.Query{mac, mdmcmd.QueryIsAppleSilicon, mdmcmd.QueryProvisioningUDID, mdmcmd.QueryPINRequiredForEraseDevice}, []mdmcmd.Query{phone, mdmcmd.QueryIsDeviceLocatorServiceEnabled}},
		{mdmcmd.VisionOS, []mdmcmd.Query{mdmcmd.QueryIsDeviceLocatorServiceEnabled}, []mdmcmd.Query{phone, mac}},
		{mdmcmd.TvOS, nil, []mdmcmd.Query{phone, mac, mdmcmd.QueryIsDeviceLocatorServiceEnabled}},
		{mdmcmd.WatchOS, nil, []mdmcmd.Query{phone, mac}},
		{"", []mdmcmd.Query{phone, mac}, nil},
		{"newOS", []mdmcmd.Query{phone, mac}, nil},
	} {
		got := mdmcmd.DefaultQueries(test.platform)
		require.Subset(t, got, append([]mdmcmd.Query{
			mdmcmd.QueryUDID, mdmcmd.QuerySerialNumber, mdmcmd.QueryProductName, mdmcmd.QueryOSVersion,
			mdmcmd.QueryIsSupervised, mdmcmd.QueryIsActivationLockEnabled, mdmcmd.QueryMDMOptions,
		}, test.with...), test.platform)
		for _, q := range test.without {
			require.NotContains(t, got, q, test.platform)
		}
		unique := slices.Clone(got)
		slices.Sort(unique)
		require.Len(t, slices.Compact(unique), len(got), "duplicates for %q", test.platform)

		// A caller may do to its list what it likes.
		want := slices.Clone(got)
		_ = append(got[:1], "mine", "mine")
		_ = append(got, "mine")
		require.Equal(t, want, mdmcmd.DefaultQueries(test.platform))
		other := append(mdmcmd.DefaultQueries(test.platform), "a")
		_ = append(mdmcmd.DefaultQueries(test.platform), "b")
		require.Equal(t, mdmcmd.Query("a"), other[len(other)-1])
		_, err := mdmcmd.Encode("1", mdmcmd.DeviceInformation{Queries: want})
		require.NoError(t, err)
	}
}

func TestPlatformOf(t *testing.T) {
	t.Parallel()
	for product, want := range map[string]mdmcmd.Platform{
		"iPhone17,3": mdmcmd.IOS, "iPad14,1": mdmcmd.IOS, "iPod9,1": mdmcmd.IOS,
		"Mac14,2": mdmcmd.MacOS, "MacBookPro17,1": mdmcmd.MacOS, "Macmini9,1": mdmcmd.MacOS,
		"iMac21,1": mdmcmd.MacOS, "iMacPro1,1": mdmcmd.MacOS, "VirtualMac2,1": mdmcmd.MacOS, "Xserve3,1": mdmcmd.MacOS,
		"AppleTV14,1": mdmcmd.TvOS, "AudioAccessory6,1": mdmcmd.TvOS,
		"Watch7,1": mdmcmd.WatchOS, "RealityDevice14,1": mdmcmd.VisionOS,
		"": "", "iphone17,3": "", " iPhone17,3": "", "Pencil1,1": "",
	} {
		require.Equal(t, want, mdmcmd.PlatformOf(product), product)
	}
}

func TestReached(t *testing.T) {
	t.Parallel()
	since := mdmcmd.Availability{Since: "7.1"}
	for version, want := range map[string][2]bool{
		"7.0": {false, true}, "7.0.6": {false, true}, "7.1": {true, true}, "7.1.2": {true, true}, "7.10": {true, true},
		"8": {true, true}, "6": {false, true}, "26.1": {true, true}, "7": {false, true},
		"": {}, "x": {}, "7.x": {}, "-7.1": {}, "7 .1": {}, "99999999999999999999": {},
	} {
		reached, known := since.Reached(version)
		require.Equal(t, want, [2]bool{reached, known}, version)
	}
}
