package mdmcmd_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/mdmcmd"
)

// values has one value of each type; those that hold text hold the code.
var values = map[string]string{
	"string": `<string>` + code + `</string>`, "boolean": `<true/>`, "integer": `<integer>` + code + `</integer>`, "real": `<real>` + code + `</real>`,
	"data": `<data>` + code + `</data>`, "date": `<date>` + code + `</date>`,
	"array": `<array/>`, "dictionary": `<dict><key>` + code + `</key><string>` + code + `</string></dict>`,
}

// keys are all keys that Parse reads, by type; "[]" is a member of an array.
var keys = map[string]string{
	"string": `UDID EnrollmentID UserID UserShortName UserLongName EnrollmentUserID MessageType Topic SerialNumber ProductName Model
		ModelName DeviceName OSVersion BuildVersion IMEI MEID Status CommandUUID RequestType ActivationLockBypassCode
		ErrorChain.[].ErrorDomain ErrorChain.[].LocalizedDescription ErrorChain.[].USEnglishDescription
		QueryResponses.UDID QueryResponses.SerialNumber QueryResponses.ProductName QueryResponses.Model QueryResponses.ModelName
		QueryResponses.ModelNumber QueryResponses.OSVersion QueryResponses.BuildVersion QueryResponses.SupplementalBuildVersion
		QueryResponses.ProvisioningUDID QueryResponses.EACSPreflight QueryResponses.IMEI QueryResponses.MEID
		QueryResponses.ServiceSubscriptions.[].Slot QueryResponses.ServiceSubscriptions.[].IMEI QueryResponses.ServiceSubscriptions.[].MEID`,
	"boolean": `NotOnConsole AwaitingConfiguration QueryResponses.IsSupervised QueryResponses.IsMultiUser
		QueryResponses.IsDeviceLocatorServiceEnabled QueryResponses.IsActivationLockEnabled QueryResponses.IsActivationLockSupported
		QueryResponses.IsMDMLostModeEnabled QueryResponses.AwaitingConfiguration QueryResponses.IsAppleSilicon
		QueryResponses.PINRequiredForEraseDevice QueryResponses.MDMOptions.ActivationLockAllowedWhileSupervised
		QueryResponses.MDMOptions.BootstrapTokenAllowed QueryResponses.MDMOptions.PromptUserToAllowBootstrapTokenForAuthentication
		QueryResponses.MDMOptions.IdleRebootAllowed SecurityInfo.ManagementStatus.EnrolledViaDEP
		SecurityInfo.ManagementStatus.UserApprovedEnrollment SecurityInfo.ManagementStatus.IsUserEnrollment
		SecurityInfo.ManagementStatus.IsActivationLockManageable`,
	"integer":    `ErrorChain.[].ErrorCode`,
	"array":      `ErrorChain QueryResponses.ServiceSubscriptions`,
	"dictionary": `ErrorChain.[] QueryResponses QueryResponses.MDMOptions QueryResponses.ServiceSubscriptions.[] SecurityInfo SecurityInfo.ManagementStatus`,
}

// at is a message with value at that path.
func at(path []string, value string) []byte {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == "[]" {
			value = `<array><dict/>` + value + `</array>`
		} else {
			value = `<dict><key>` + path[i] + `</key>` + value + `</dict>`
		}
	}
	return []byte(head + value + tail)
}

func TestParseRefusesTypes(t *testing.T) {
	t.Parallel()
	for want, paths := range keys {
		for _, key := range strings.Fields(paths) {
			path := strings.Split(key, ".")
			name := strings.ReplaceAll(key, ".[]", "")
			for got, value := range values {
				m, err := mdmcmd.Parse(at(path, value))
				switch {
				case got == want && got == "integer": // which is the code, and no number
					require.EqualError(t, err, "mdmcmd: parse: plist: key "+name+" has an invalid integer")
				case got == want:
					if err != nil { // a list that is neither a report nor a check-in
						require.NotContains(t, err.Error(), "key", name)
						require.NotContains(t, err.Error(), code)
					}
					continue
				default:
					require.EqualError(t, err, "mdmcmd: parse: plist: key "+name+" has type "+got+", want "+want)
				}
				require.Nil(t, m)
			}
		}
	}
	for _, integer := range []string{"", "0x10", "1.5", "9223372036854775808", "-9223372036854775809", "18446744073709551615"} {
		_, err := mdmcmd.Parse(at([]string{"ErrorChain", "[]", "ErrorCode"}, `<integer>`+integer+`</integer>`))
		require.EqualError(t, err, "mdmcmd: parse: plist: key ErrorChain.ErrorCode has an invalid integer")
	}
	for got, value := range values {
		if got != "dictionary" {
			_, err := mdmcmd.Parse(at(nil, value))
			require.EqualError(t, err, "mdmcmd: parse: plist: the list has type "+got+", want dictionary")
		}
	}
}

// The answer to Settings has two forms, so that no one type is wanted.
func TestParseRefusesSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ path, wanted string }{
		{"Settings", "array dictionary"}, {"Settings.[]", "dictionary"},
		{"Settings.Item", "string"}, {"Settings.[].Item", "string"}, {"Settings.Status", "string"}, {"Settings.[].Status", "string"},
		{"Settings.ErrorChain", "array"}, {"Settings.[].ErrorChain", "array"}, {"Settings.[].ErrorChain.[]", "dictionary"},
		{"Settings.[].ErrorChain.[].ErrorCode", "-"}, {"Settings.ErrorChain.[].ErrorCode", "-"}, {"Settings.[].ErrorChain.[].ErrorDomain", "string"},
	} {
		for got, value := range values {
			if strings.Contains(test.wanted, got) {
				continue
			}
			m, err := mdmcmd.Parse(at(strings.Split(test.path, "."), value))
			require.Error(t, err, "%s as %s", test.path, got)
			require.NotContains(t, err.Error(), code)
			require.Nil(t, m)
		}
	}
	_, err := mdmcmd.Parse(list(`<key>Status</key><string>Error</string><key>Settings</key><array><dict><key>ErrorChain</key><array><dict>` +
		`<key>ErrorCode</key><integer>18446744073709551615</integer></dict></array></dict></array>`))
	require.Error(t, err)
}

// Keys that Parse does not read may have any type, as long as the value is one.
func TestParseToleratesUnknownKeys(t *testing.T) {
	t.Parallel()
	unknown := `<key>New</key><array><dict><key>Status</key><integer>1</integer></dict><real>1.5</real><date>2026-11-22T10:00:00Z</date>` +
		`<data>aGk=</data></array><key>Enrollment</key><dict><key>UDID</key><integer>1</integer></dict><key>status</key><true/><key/><dict/>`
	for _, test := range []struct{ around, want string }{
		{`<key>Status</key><string>Idle</string>%s`, "Idle"},
		{`%s<key>Status</key><string>Idle</string>`, "Idle"},
		{`<key>Status</key><string>Idle</string><key>QueryResponses</key><dict>%s</dict>`, ""},
		{`<key>Status</key><string>Idle</string><key>SecurityInfo</key><dict>%s</dict>`, ""},
		{`<key>Status</key><string>Idle</string><key>Other</key><dict>%s</dict>`, ""},
	} {
		r := parseReport(t, list(fmt.Sprintf(test.around, unknown)))
		require.Equal(t, mdmcmd.Idle, r.Status)
		require.Zero(t, r.Enrollment)
		if r.QueryResponses != nil {
			require.Zero(t, *r.QueryResponses)
		}
		if r.SecurityInfo != nil {
			require.Zero(t, *r.SecurityInfo)
		}
	}
}

// entries are the functions that take a whole message.
var entries = map[string]func([]byte) ([]byte, error){
	"Parse": func(raw []byte) ([]byte, error) {
		m, err := mdmcmd.Parse(raw)
		if m == nil {
			return nil, err
		}
		return raw, err
	},
	"Redact": mdmcmd.Redact,
	"Check":  func(raw []byte) ([]byte, error) { return nil, mdmcmd.Check(raw, len(raw)) },
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	const status = `<key>Status</key><string>Acknowledged</string>`
	const answer = `<key>ActivationLockBypassCode</key><string>` + code + `</string>`
	utf16 := []byte("\xff\xfe")
	for _, c := range head + `<dict>` + answer + `</dict>` + tail {
		utf16 = append(utf16, byte(c), 0)
	}
	deep := func(n int) []byte {
		return list(status + answer + `<key>x</key>` + strings.Repeat(`<array>`, n) + strings.Repeat(`</array>`, n))
	}
	for name, test := range map[string]struct {
		raw  []byte
		want error // may be any
	}{
		"nothing":                {nil, nil},
		"white space":            {[]byte(" \r\n"), nil},
		"code alone":             {[]byte(code), nil},
		"form data":              {[]byte("ActivationLockBypassCode=" + code), nil},
		"JSON":                   {[]byte(`{"Status":"Acknowledged","ActivationLockBypassCode":"` + code + `"}`), nil},
		"binary":                 {[]byte("bplist00" + code), mdmcmd.ErrBinary},
		"too deep":               {deep(32), mdmcmd.ErrTooDeep},
		"UTF-16":                 {utf16, nil},
		"declared UTF-16":        {[]byte(`<?xml version="1.0" encoding="UTF-16"?><plist><dict>` + status + answer + `</dict></plist>`), nil},
		"declared Latin-1":       {[]byte(`<?xml version="1.0" encoding="ISO-8859-1"?><plist><dict>` + status + answer + `</dict></plist>`), nil},
		"invalid UTF-8":          {list(status + answer + "<key>x</key><string>\xc3\x28</string>"), nil},
		"NUL":                    {list(status + answer + "<key>x</key><string>\x00</string>"), nil},
		"duplicate code":         {list(status + answer + answer), nil},
		"duplicate status":       {list(status + answer + status), nil},
		"duplicate by entity":    {list(status + answer + `<key>&#83;tatus</key><string>` + code + `</string>`), nil},
		"duplicate deep down":    {list(status + answer + `<key>x</key><dict><key>a</key><true/><key>a</key><false/></dict>`), nil},
		"custom entity":          {[]byte(`<!DOCTYPE plist [<!ENTITY a "` + code + `">]><plist><dict>` + status + answer + `</dict></plist>`), nil},
		"external entity":        {[]byte(`<!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/passwd">]><plist><dict>` + status + answer + `</dict></plist>`), nil},
		"two lists":              {append(list(status+answer), list(status+answer)...), nil},
		"text after":             {append(list(status+answer), code...), nil},
		"text between":           {list(status + answer + code), nil},
		"attribute":              {list(status + `<key>x</key><string id="` + code + `">x</string>` + answer), nil},
		"name space":             {list(status + `<key>x</key><x:string>` + code + `</x:string>`), nil},
		"unknown element":        {list(status + `<key>x</key><null/>` + answer), nil},
		"element in the code":    {list(status + `<key>ActivationLockBypassCode</key><string>` + code + `<b/></string>`), nil},
		"value without a key":    {list(status + answer + `<string>` + code + `</string>`), nil},
		"key without a value":    {list(status + answer + `<key>` + code + `</key>`), nil},
		"two keys":               {list(status + `<key>` + code + `</key>` + answer), nil},
		"processing instruction": {list(status + answer + `<?` + code + `?>`), nil},
	} {
		for entry, call := range entries {
			out, err := call(test.raw)
			require.Error(t, err, "%s: %s", entry, name)
			require.Nil(t, out, "%s: %s", entry, name)
			for _, spelling := range spellings(t) {
				require.NotContains(t, err.Error(), spelling, "%s: %s", entry, name)
			}
			if test.want != nil {
				require.ErrorIs(t, err, test.want, "%s: %s", entry, name)
			}
		}
	}
	for entry, call := range entries {
		_, err := call(deep(31))
		require.NoError(t, err, entry)
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	whole := []byte(strings.TrimSpace(string(sent(t, "bypass-code-mac"))))
	for n := range whole {
		for entry, call := range entries {
			out, err := call(whole[:n])
			require.Error(t, err, "%s of %d bytes", entry, n)
			require.Nil(t, out)
			require.NotContains(t, err.Error(), code[:5])
		}
	}
	for entry, call := range entries {
		_, err := call(whole)
		require.NoError(t, err, entry)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	message := func(size int) []byte {
		empty := list(`<key>Status</key><string>Idle</string>`)
		return append(empty, strings.Repeat(" ", size-len(empty))...)
	}
	_, err := mdmcmd.Parse(message(1 << 20))
	require.NoError(t, err)
	_, err = mdmcmd.Parse(message(1<<20 + 1))
	require.ErrorIs(t, err, mdmcmd.ErrTooLarge)

	out, err := mdmcmd.Redact(message(mdmcmd.MaxRedact))
	require.NoError(t, err)
	require.Len(t, out, mdmcmd.MaxRedact)
	out, err = mdmcmd.Redact(message(mdmcmd.MaxRedact + 1))
	require.ErrorIs(t, err, mdmcmd.ErrTooLarge)
	require.Nil(t, out)

	require.NoError(t, mdmcmd.Check(message(1000), 1000))
	for _, size := range []int{999, 0, -1} {
		require.ErrorIs(t, mdmcmd.Check(message(1000), size), mdmcmd.ErrTooLarge)
	}
}

// attacks end a process that hands them to a parser without limits, or keep it
// busy for hours. Some are well-formed; those must be read, or refused, in no
// more memory than a small multiple of their size.
var attacks = map[string]func() []byte{
	"array that contains itself":   fromHex("62706c6973743030a10008000000000000010100000000000000010000000000000000000000000000000a"),
	"dictionary that is its value": fromHex("62706c6973743030d101005161080b000000000000010100000000000000020000000000000000000000000000000d"),
	"root is one too far":          fromHex("62706c697374303009080000000000000101000000000000000100000000000000010000000000000009"),
	"reference of nine bytes":      fromHex("62706c6973743030a10008000000000000010900000000000000010000000000000000000000000000000a"),
	"data of 2^63 bytes":           fromHex("62706c69737430304f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"text of 2^63 characters":      fromHex("62706c69737430306f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"array of 2^60 members":        fromHex("62706c6973743030af131000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"open arrays":                  func() []byte { return []byte(head + strings.Repeat("<array>", 1_640_000)) },
	"open arrays with comments":    func() []byte { return []byte(head + strings.Repeat("<array><!-- </array> -->", 400_000)) },
	"open dictionaries":            func() []byte { return []byte(head + strings.Repeat("<dict><key/>", 1_000_000)) },
	"billion laughs": func() []byte {
		return []byte(`<!DOCTYPE plist [<!ENTITY a "ha">` + strings.Repeat(`<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">`, 9) + `]><plist><string>&b;</string></plist>`)
	},
	"endless comment": func() []byte { return []byte(head + "<!-- " + strings.Repeat("<!- ", 4_000_000)) },

	wellFormed + "many codes": func() []byte {
		return arrayOf(150_000, func(i int) string {
			return fmt.Sprintf("<dict><key>ActivationLockBypassCode</key><string>EZ9UX-71EZ5-%08d</string></dict>", i)
		})
	},
	wellFormed + "one code many times": func() []byte {
		return arrayOf(150_000, func(int) string {
			return "<dict><key>ActivationLockBypassCode</key><string>" + code + "</string></dict>"
		})
	},
	wellFormed + "long code": func() []byte {
		return arrayOf(200_000, func(i int) string {
			if i == 0 {
				return "<dict><key>ActivationLockBypassCode</key><string>" + strings.Repeat("9", 6<<20) + "</string></dict>"
			}
			return "<string>99999999999999999999</string>"
		})
	},
	wellFormed + "many comments and entities": func() []byte {
		return arrayOf(100_000, func(i int) string {
			if i == 0 {
				return "<dict><key>ActivationLockBypassCode</key><string>" + code + "</string></dict>"
			}
			return "<!-- x --><string>&amp;<!-- y -->&#x41;<![CDATA[z]]></string><true><!-- --></true><data>aGk=</data>"
		})
	},
}

const wellFormed = "well-formed, "

func arrayOf(n int, member func(int) string) []byte {
	var b strings.Builder
	b.WriteString(head + "<array>")
	for i := range n {
		b.WriteString(member(i))
	}
	b.WriteString("</array>" + tail)
	return []byte(b.String())
}

func fromHex(s string) func() []byte {
	return func() []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
}

const attackVariable = "MDMCMD_TEST_ATTACK"

// Each attack runs in a process of its own, which fails when it allocates more
// than it may, needs a deep stack, or does not end.
func TestAttacks(t *testing.T) {
	if name := os.Getenv(attackVariable); name != "" {
		raw := attacks[name]()
		debug.SetMaxStack(1 << 20)
		allowed := uint64(16 << 20)
		if strings.HasPrefix(name, wellFormed) {
			allowed += 16 * uint64(len(raw))
		}
		for entry, call := range entries {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := call(raw)
			runtime.ReadMemStats(&after)
			if err == nil && !strings.HasPrefix(name, wellFormed) {
				t.Errorf("%s: no error", entry)
			}
			if err != nil && out != nil {
				t.Errorf("%s: an error and a result", entry)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > allowed {
				t.Errorf("%s: allocated %d bytes for %d", entry, allocated, len(raw))
			}
		}
		return
	}
	t.Parallel()
	for name := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestAttacks$", "-test.timeout=20s", "-test.v")
			child.Env = append(os.Environ(), attackVariable+"="+name)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%.2000s", out)
			require.Contains(t, string(out), "--- PASS: TestAttacks")
		})
	}
}
