package mdmcmd_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

// Identifiers of the messages in testdata.
const (
	phone    = "00008140-000A11112222333C"
	pad      = "00008110-000B44445555666D"
	mac      = "6B1F0C9E-57A2-5D43-9C18-2E7A90B4D611"
	user     = "0E1D2C3B-4A59-4687-9A0B-1C2D3E4F5061"
	enrolled = "9C8B7A69-5847-4362-8150-4F3E2D1C0B0A"
	topic    = "com.apple.mgmt.External.0f1e2d3c-4b5a-4697-8877-665544332211"
	uuid     = "41a7c1de-0000-4b00-8c00-00000000000"

	everyPupil = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
)

func TestParseCheckIns(t *testing.T) {
	t.Parallel()
	device := mdmcmd.Enrollment{UDID: phone}
	for _, test := range []struct {
		file string
		want mdmcmd.Message
	}{
		{"authenticate-iphone", &mdmcmd.Authenticate{
			Enrollment: device, Topic: topic, SerialNumber: "XXFAKE0SER1", ProductName: "iPhone17,3", Model: "MYAP3",
			ModelName: "iPhone", DeviceName: "front desk", OSVersion: "26.1", BuildVersion: "23B85",
			IMEI: "351234561234567", MEID: "35123456123456",
		}},
		{"authenticate-mac", &mdmcmd.Authenticate{
			Enrollment: mdmcmd.Enrollment{UDID: mac}, Topic: topic, SerialNumber: "XXFAKEMAC01", ProductName: "Mac14,2",
			Model: "Mac14,2", ModelName: "MacBook Air", DeviceName: "Anna & Bob’s <Mac>", OSVersion: "15.1", BuildVersion: "24B83",
		}},
		{"authenticate-user-enrollment", &mdmcmd.Authenticate{
			Enrollment: mdmcmd.Enrollment{EnrollmentID: enrolled}, Topic: topic, ProductName: "iPhone15,2", Model: "MQ0G3",
			ModelName: "iPhone", DeviceName: "private phone", OSVersion: "26.1", BuildVersion: "23B85",
		}},
		{"token-update", &mdmcmd.TokenUpdate{Enrollment: device, Topic: topic, AwaitingConfiguration: pointer(true)}},
		{"token-update-not-awaiting", &mdmcmd.TokenUpdate{Enrollment: device, Topic: topic, AwaitingConfiguration: pointer(false)}},
		{"token-update-mac-user", &mdmcmd.TokenUpdate{Topic: topic, Enrollment: mdmcmd.Enrollment{
			UDID: mac, UserID: user, UserShortName: "anna", UserLongName: "Anna Example", NotOnConsole: pointer(false),
		}}},
		{"token-update-enrollment-user", &mdmcmd.TokenUpdate{Topic: topic, Enrollment: mdmcmd.Enrollment{
			EnrollmentID: enrolled, EnrollmentUserID: user,
		}}},
		{"check-out", &mdmcmd.CheckOut{Enrollment: device, Topic: topic}},
		{"return-to-service", &mdmcmd.ReturnToService{Enrollment: device}},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			got, err := mdmcmd.Parse(sent(t, test.file))
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestParseOtherMessages(t *testing.T) {
	t.Parallel()
	got, err := mdmcmd.Parse(sent(t, "declarative-management"))
	require.ErrorIs(t, err, mdmcmd.ErrOtherMessage)
	require.Nil(t, got)
	for _, other := range []string{"GetToken", "SetBootstrapToken", "UserAuthenticate", "authenticate", "CheckOut ", "x"} {
		_, err := mdmcmd.Parse(list(`<key>MessageType</key><string>` + other + `</string><key>Status</key><string>Idle</string>`))
		require.ErrorIs(t, err, mdmcmd.ErrOtherMessage, other)
	}
	for _, body := range []string{``, `<key>UDID</key><string>x</string>`, `<key>Status</key><string/>`, `<key>MessageType</key><string/>`} {
		_, err := mdmcmd.Parse(list(body))
		require.EqualError(t, err, "mdmcmd: parse: neither a check-in nor a report")
		require.NotErrorIs(t, err, mdmcmd.ErrOtherMessage)
	}
}

// list is a message with that dictionary.
func list(body string) []byte { return []byte(head + `<dict>` + body + `</dict>` + tail) }

func TestEnrollment(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		enrollment     mdmcmd.Enrollment
		channel        mdmcmd.Channel
		id             string
		userEnrollment bool
	}{
		{mdmcmd.Enrollment{}, mdmcmd.DeviceChannel, "", false},
		{mdmcmd.Enrollment{UDID: mac}, mdmcmd.DeviceChannel, mac, false},
		{mdmcmd.Enrollment{EnrollmentID: enrolled}, mdmcmd.DeviceChannel, enrolled, true},
		{mdmcmd.Enrollment{UDID: mac, EnrollmentID: enrolled}, mdmcmd.DeviceChannel, mac, false},
		{mdmcmd.Enrollment{UDID: mac, UserShortName: "anna", NotOnConsole: pointer(true)}, mdmcmd.DeviceChannel, mac, false},
		{mdmcmd.Enrollment{UDID: mac, UserID: user}, mdmcmd.UserChannel, mac, false},
		{mdmcmd.Enrollment{EnrollmentID: enrolled, EnrollmentUserID: user}, mdmcmd.UserChannel, enrolled, true},
	} {
		require.Equal(t, test.channel, test.enrollment.Channel())
		require.Equal(t, test.id, test.enrollment.DeviceID())
		require.Equal(t, test.userEnrollment, test.enrollment.IsUserEnrollment())
		require.Equal(t, test.enrollment, (&mdmcmd.Report{Enrollment: test.enrollment}).From())
	}
}

// recorder is a testing.T that keeps what it is told.
type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.Buffer, format, args...) }

// printed is all that printers, loggers and test diffs show of v.
func printed(t *testing.T, v any) string {
	t.Helper()
	var out recorder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%p", "%T"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	// A diff of two values of one type follows pointers and unexported fields.
	other := reflect.Zero(reflect.TypeOf(v))
	if other.Kind() == reflect.Pointer {
		other = reflect.New(reflect.TypeOf(v).Elem())
	}
	require.False(t, assert.Equal(&out, other.Interface(), v))
	require.False(t, assert.Nil(&out, v))
	require.False(t, assert.Empty(&out, v))
	require.False(t, assert.Contains(&out, []any{v}, "other"))
	return out.String()
}

func TestParseKeepsNoOtherSecret(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"token-update", "token-update-not-awaiting", "token-update-mac-user", "token-update-enrollment-user"} {
		m, err := mdmcmd.Parse(sent(t, file))
		require.NoError(t, err)
		out := strings.ToLower(printed(t, m))
		require.Contains(t, out, strings.ToLower(topic))
		for _, secret := range []string{
			"PUSHMAGIC-9D1B-4C77", "PushMagic", "Token:", "UnlockToken",
			"invented push token", "aW52ZW50ZWQgcHVzaCB0b2tlbg", fmt.Sprintf("%x", "invented push token"), fmt.Sprint([]byte("invented push token")),
			"invented unlock token", "aW52ZW50ZWQgdW5sb2NrIHRva2Vu", fmt.Sprintf("%x", "invented unlock token"),
		} {
			require.NotContains(t, out, strings.ToLower(secret), file)
		}
	}
}

// Absent is not false, and false is not absent, for every boolean of every message.
func TestAbsentIsNotFalse(t *testing.T) {
	t.Parallel()
	report := func(t *testing.T, m mdmcmd.Message) *mdmcmd.Report {
		require.IsType(t, &mdmcmd.Report{}, m)
		return m.(*mdmcmd.Report)
	}
	status := `<key>Status</key><string>Acknowledged</string>`
	inQueries := func(key string) string {
		return status + `<key>QueryResponses</key><dict>` + key + `</dict>`
	}
	inOptions := func(key string) string {
		return inQueries(`<key>MDMOptions</key><dict>` + key + `</dict>`)
	}
	inManagement := func(key string) string {
		return status + `<key>SecurityInfo</key><dict><key>ManagementStatus</key><dict>` + key + `</dict></dict>`
	}
	query := func(get func(*mdmcmd.QueryResponses) *bool) func(*testing.T, mdmcmd.Message) *bool {
		return func(t *testing.T, m mdmcmd.Message) *bool { return get(report(t, m).QueryResponses) }
	}
	option := func(get func(*mdmcmd.MDMOptions) *bool) func(*testing.T, mdmcmd.Message) *bool {
		return func(t *testing.T, m mdmcmd.Message) *bool { return get(report(t, m).QueryResponses.MDMOptions) }
	}
	management := func(get func(*mdmcmd.ManagementStatus) *bool) func(*testing.T, mdmcmd.Message) *bool {
		return func(t *testing.T, m mdmcmd.Message) *bool { return get(report(t, m).SecurityInfo.ManagementStatus) }
	}
	for _, test := range []struct {
		key    string
		around func(string) string
		get    func(*testing.T, mdmcmd.Message) *bool
	}{
		{"NotOnConsole", func(key string) string { return status + key },
			func(_ *testing.T, m mdmcmd.Message) *bool { return m.From().NotOnConsole }},
		{"AwaitingConfiguration", func(key string) string { return `<key>MessageType</key><string>TokenUpdate</string>` + key },
			func(_ *testing.T, m mdmcmd.Message) *bool { return m.(*mdmcmd.TokenUpdate).AwaitingConfiguration }},
		{"IsSupervised", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsSupervised })},
		{"IsMultiUser", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsMultiUser })},
		{"IsDeviceLocatorServiceEnabled", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsDeviceLocatorServiceEnabled })},
		{"IsActivationLockEnabled", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsActivationLockEnabled })},
		{"IsActivationLockSupported", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsActivationLockSupported })},
		{"IsMDMLostModeEnabled", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsMDMLostModeEnabled })},
		{"AwaitingConfiguration", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.AwaitingConfiguration })},
		{"IsAppleSilicon", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.IsAppleSilicon })},
		{"PINRequiredForEraseDevice", inQueries, query(func(q *mdmcmd.QueryResponses) *bool { return q.PINRequiredForEraseDevice })},
		{"ActivationLockAllowedWhileSupervised", inOptions, option(func(o *mdmcmd.MDMOptions) *bool { return o.ActivationLockAllowedWhileSupervised })},
		{"BootstrapTokenAllowed", inOptions, option(func(o *mdmcmd.MDMOptions) *bool { return o.BootstrapTokenAllowed })},
		{"PromptUserToAllowBootstrapTokenForAuthentication", inOptions, option(func(o *mdmcmd.MDMOptions) *bool { return o.PromptUserToAllowBootstrapTokenForAuthentication })},
		{"IdleRebootAllowed", inOptions, option(func(o *mdmcmd.MDMOptions) *bool { return o.IdleRebootAllowed })},
		{"EnrolledViaDEP", inManagement, management(func(s *mdmcmd.ManagementStatus) *bool { return s.EnrolledViaDEP })},
		{"UserApprovedEnrollment", inManagement, management(func(s *mdmcmd.ManagementStatus) *bool { return s.UserApprovedEnrollment })},
		{"IsUserEnrollment", inManagement, management(func(s *mdmcmd.ManagementStatus) *bool { return s.IsUserEnrollment })},
		{"IsActivationLockManageable", inManagement, management(func(s *mdmcmd.ManagementStatus) *bool { return s.IsActivationLockManageable })},
	} {
		for value, want := range map[string]*bool{
			"": nil, "<false/>": pointer(false), "<true/>": pointer(true), "<true> </true>": pointer(true), "<false></false>": pointer(false),
		} {
			key := ""
			if value != "" {
				key = `<key>` + test.key + `</key>` + value
			}
			m, err := mdmcmd.Parse(list(test.around(key)))
			require.NoError(t, err)
			require.Equal(t, want, test.get(t, m), "%s %s", test.key, value)
		}
	}
}

func TestParseFixtures(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "fixtures")
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.plist"))
	require.NoError(t, err)
	parsed := map[string]mdmcmd.Message{}
	for _, file := range files {
		if strings.HasSuffix(file, ".command.plist") {
			continue
		}
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		m, err := mdmcmd.Parse(raw)
		require.NoError(t, err, file)
		name, err := filepath.Rel(folder, file)
		require.NoError(t, err)
		parsed[filepath.ToSlash(name)] = m

		redacted, err := mdmcmd.Redact(raw)
		require.NoError(t, err, file)
		if r, ok := m.(*mdmcmd.Report); !ok || r.BypassCode == nil {
			require.Equal(t, raw, redacted, file)
		}
	}
	require.Greater(t, len(parsed), 45)

	report := func(name string) *mdmcmd.Report {
		require.IsType(t, &mdmcmd.Report{}, parsed[name], name)
		return parsed[name].(*mdmcmd.Report)
	}
	responses := func(name string) *mdmcmd.QueryResponses {
		require.NotNil(t, report(name).QueryResponses, name)
		return report(name).QueryResponses
	}
	management := func(name string) mdmcmd.ManagementStatus { return *report(name).SecurityInfo.ManagementStatus }

	require.Equal(t, "10.12.6", parsed["nanomdm/Authenticate.2.plist"].(*mdmcmd.Authenticate).OSVersion)
	require.Equal(t, "350000000000019", parsed["written-from-schema/Authenticate.ios26.plist"].(*mdmcmd.Authenticate).IMEI)
	require.True(t, parsed["written-from-schema/Authenticate.user-enrollment.plist"].From().IsUserEnrollment())
	require.Equal(t, mdmcmd.UserChannel, parsed["written-from-schema/Idle.macos-user-channel.plist"].From().Channel())
	require.Equal(t, "DeviceInformation", report("nanomdm/DeviceInformation.1.plist").RequestType)
	require.Equal(t, mdmcmd.Cellular{IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001"},
		responses("written-from-schema/DeviceInformation.ack.ios26-dual-sim.plist").Cellular())
	require.Equal(t, pointer(true), responses("zentral/device_information.plist").IsActivationLockSupported)
	require.Equal(t, &mdmcmd.MDMOptions{}, responses("zentral/device_information.plist").MDMOptions)
	require.Equal(t, "Yolo", responses("zentral/device_information.plist").DeviceName)
	require.Equal(t, "My iPhone", responses("nanocmd/engine-devinfo.plist").DeviceName)
	require.Equal(t, pointer(false), management("nanocmd/inventory-secinfo.plist").IsActivationLockManageable)
	require.Equal(t, mdmcmd.ManagementStatus{
		EnrolledViaDEP: pointer(false), UserApprovedEnrollment: pointer(true), IsUserEnrollment: pointer(false),
		IsActivationLockManageable: pointer(true),
	}, management("zentral/security_info.plist"))
	require.Equal(t, mdmcmd.ManagementStatus{IsUserEnrollment: pointer(false)}, management("zentral/security_info_ios.plist"))
	require.EqualValues(t, -909, report("written-from-schema/AnyCommand.error.negative-code.macos.plist").ErrorChain[0].ErrorCode)
	require.Equal(t, mdmcmd.Error, report("written-from-schema/Settings.ack.item-error.plist").SettingsStatus())
	require.Equal(t, []mdmcmd.SettingsItem{{Item: "DeviceName", Status: mdmcmd.Acknowledged}}, report("apple-examples/Settings.response.plist").Settings)
	for name, want := range map[string]struct {
		code   string
		result mdmcmd.BypassCodeResult
	}{
		"written-from-schema/ActivationLockBypassCode.ack.ios.plist":              {"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17", mdmcmd.BypassCodeHeld},
		"written-from-schema/ActivationLockBypassCode.ack.macos.plist":            {"D08HY-EJDEX-X91Q-8YYA-25YD-K857", mdmcmd.BypassCodeHeld},
		"written-from-schema/ActivationLockBypassCode.ack.empty-code.plist":       {"", mdmcmd.BypassCodeEmpty},
		"written-from-schema/ActivationLockBypassCode.ack.missing-code.plist":     {"", mdmcmd.BypassCodeMissing},
		"written-from-schema/ActivationLockBypassCode.notnow.plist":               {"", mdmcmd.BypassCodeNotNow},
		"written-from-schema/ActivationLockBypassCode.error.not-supervised.plist": {"", mdmcmd.BypassCodeError},
	} {
		text, result := report(name).BypassCodeAnswer()
		require.Equal(t, want.result, result, name)
		require.Equal(t, want.code, text.Reveal(), name)
	}
}

// Whatever else is odd about a report, the code in it is read.
func TestParseReadsACodeBesideOddKeys(t *testing.T) {
	t.Parallel()
	report := `<key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>U-1</string>` +
		`<key>UDID</key><string>D-1</string><key>ActivationLockBypassCode</key><string>` + code + `</string>`
	for _, odd := range []string{
		`<key>RequestType</key><integer>1</integer>`, `<key>NotOnConsole</key><string>no</string>`, `<key>ErrorChain</key><string/>`,
		`<key>Latitude</key><string>x</string>`, `<key>Settings</key><true/>`, `<key>QueryResponses</key><dict><key>IsSupervised</key><integer>1</integer></dict>`,
		`<key>SecurityInfo</key><array><dict><key>Status</key><string>deep</string></dict></array>`,
		`<key>Padding</key><string>` + strings.Repeat("x", 2<<20) + `</string>`,
	} {
		m, err := mdmcmd.Parse(list(report + odd))
		require.NoError(t, err)
		r, ok := m.(*mdmcmd.Report)
		require.True(t, ok)
		text, result := r.BypassCodeAnswer()
		require.Equal(t, mdmcmd.BypassCodeHeld, result)
		require.Equal(t, code, text.Reveal())
		require.Equal(t, []string{"D-1", "U-1", "Acknowledged"}, []string{r.UDID, r.CommandUUID, string(r.Status)})

		_, err = mdmcmd.Parse(list(strings.Replace(report, code, "", 1) + odd))
		require.Error(t, err, "without a code there is nothing to lose")
		_, err = mdmcmd.Parse(list(`<key>MessageType</key><string>TokenUpdate</string>` + report + odd))
		require.Error(t, err, "a check-in has no code")
		_, err = mdmcmd.Parse(list(report + odd)[:300])
		require.Error(t, err)
	}
	_, err := mdmcmd.Parse(list(report + `<key>Status</key><string>Idle</string>`))
	require.Error(t, err, "two readers could differ")
}
