package mdmcmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
			"UDID", "SerialNumber", "ProductName", "ModelName", "OSVersion", "BuildVersion", "IsSupervised", "IsMultiUser",
			"IsDeviceLocatorServiceEnabled", "IsActivationLockEnabled", "IsMDMLostModeEnabled", "AwaitingConfiguration",
			"MDMOptions", "ServiceSubscriptions",
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
	},
}

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
	folder := fixtures(t, "fixtures", "written-from-schema")
	for _, test := range commands {
		if test.file == "" {
			continue
		}
		want := readDictionary(t, readFile(t, folder, test.file))
		raw, err := mdmcmd.Encode(want["CommandUUID"].(string), test.command)
		require.NoError(t, err)
		require.Equal(t, want, readDictionary(t, raw), test.file)
	}
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

// Another implementation reads what Encode writes.
func TestPythonReadsCommands(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	var files []string
	var want []any
	for _, test := range commands {
		raw, err := mdmcmd.Encode("1-"+test.name, test.command)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "command.plist")
		require.NoError(t, os.WriteFile(file, raw, 0o600))
		files = append(files, file)
		want = append(want, readDictionary(t, raw))
	}
	const script = "import json, plistlib, sys; print(json.dumps([plistlib.load(open(f, 'rb')) for f in sys.argv[1:]]))"
	var stderr bytes.Buffer
	command := exec.Command(python, append([]string{"-c", script}, files...)...)
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, stderr.String())
	var got []any
	require.NoError(t, json.Unmarshal(out, &got))
	require.Equal(t, want, got)
}
