package mdmcmd_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
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
		ModelName DeviceName OSVersion BuildVersion IMEI MEID Status CommandUUID RequestType ActivationLockBypassCode MessageResult Timestamp
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
	"real":       `Latitude Longitude HorizontalAccuracy VerticalAccuracy Altitude Speed Course`,
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
				case got == want && (got == "integer" || got == "real"): // which is the code, and no number
					require.EqualError(t, err, "mdmcmd: parse: plist: key "+name+" has an invalid "+got)
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
	alone(t, attacks, func(t *testing.T, name string, raw []byte) {
		allowed := uint64(16 << 20)
		if strings.HasPrefix(name, wellFormed) {
			allowed += 16 * uint64(len(raw))
		}
		for entry, call := range entries {
			var out []byte
			var err error
			if allocated := allocates(func() { out, err = call(raw) }); allocated > allowed {
				t.Errorf("%s: allocated %d bytes for %d", entry, allocated, len(raw))
			}
			if err == nil && !strings.HasPrefix(name, wellFormed) {
				t.Errorf("%s: no error", entry)
			}
			if err != nil && out != nil {
				t.Errorf("%s: an error and a result", entry)
			}
		}
	})
}

// alone calls attack for each of the inputs in a process of its own, with a
// small stack and a limit on its memory.
func alone(t *testing.T, inputs map[string]func() []byte, attack func(t *testing.T, name string, raw []byte)) {
	if name := os.Getenv(attackVariable); name != "" {
		raw := inputs[name]()
		debug.SetMaxStack(1 << 20)
		require.NoError(t, reference.LimitMemory(512<<20))
		attack(t, name, raw)
		return
	}
	t.Parallel()
	test := t.Name()
	for name := range inputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout=20s", "-test.v")
			child.Env = append(os.Environ(), attackVariable+"="+name)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%.2000s", out)
			require.Contains(t, string(out), "--- PASS: "+test)
		})
	}
}

// allocates tells how many bytes call allocates.
func allocates(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// signatureAttacks are messages that end a process, or make it panic, in the
// hands of a CMS library without limits.
var signatureAttacks = map[string]func() []byte{
	"nothing":                     fromHex(""),
	"long length without a byte":  fromHex("3084"),
	"length without its byte":     fromHex("3081"),
	"endless tag, no length":      fromHex("1f80"),
	"endless tag, empty":          fromHex("1f8100"),
	"endless tag":                 fromHex("1fffffff"),
	"open sequence":               fromHex("3080"),
	"open sequences, 31":          openSequences(31),
	"open sequences, 32":          openSequences(32),
	"open sequences, 1000":        openSequences(1000),
	"open sequences, 64 KiB":      openSequences(64 << 10 / 2),
	"open sequences, 64 KiB and":  openSequences(64<<10/2 + 1),
	"open sequences, 200 kB":      openSequences(100_000),
	"open sequences, 8 MB":        openSequences(4 << 20),
	"closed sequences, 32":        closedSequences(32),
	"closed sequences, 33":        closedSequences(33),
	"closed sequences, 64 KiB":    closedSequences(16 << 10),
	"length of 2^32":              fromHex("3084ffffffff"),
	"length of 2^64":              fromHex("3088ffffffffffffffff"),
	"length of 127 bytes":         func() []byte { return append([]byte{0x30, 0xff}, make([]byte, 1000)...) },
	"empty members, 64 KiB":       func() []byte { return append([]byte{0x30, 0x80}, bytes.Repeat([]byte{5, 0}, 32<<10-2)...) },
	"deep empty members, 64 KiB":  func() []byte { return append(openSequences(30)(), bytes.Repeat([]byte{0x31, 0}, 32<<10-30)...) },
	"zeros, 64 KiB":               func() []byte { return make([]byte, 64<<10) },
	"zeros, 8 MB":                 func() []byte { return make([]byte, 8<<20) },
	"ciphertext of half a block":  fromHex(encryptedData("4f", "42", "40", "3b", "800f") + strings.Repeat("00", 15)),
	"ciphertext of one block":     fromHex(encryptedData("50", "43", "41", "3c", "8010") + strings.Repeat("00", 16)),
	"signature of the first type": fromHex("300f06092a864886f70d010702a0023000"),
}

// encryptedData is CMS that makes libraries panic when they decrypt it.
func encryptedData(all, content, data, encrypted, tag string) string {
	return "30" + all + "06092a864886f70d010706a0" + content + "30" + data + "02010030" + encrypted +
		"06092a864886f70d010701301d060960864801650304012a041000000000000000000000000000000000" + tag
}

func openSequences(n int) func() []byte {
	return func() []byte { return bytes.Repeat([]byte{0x30, 0x80}, n) }
}

func closedSequences(n int) func() []byte {
	return func() []byte { return append(openSequences(n)(), make([]byte, 2*n)...) }
}

// signatureErrors are the reasons to refuse some of the attacks.
var signatureErrors = map[string]string{
	"open sequences, 31":         "cms: malformed message",
	"open sequences, 32":         "cms: message nested too deeply",
	"open sequences, 64 KiB":     "cms: message nested too deeply",
	"open sequences, 64 KiB and": "cms: message larger than 64 KiB",
	"open sequences, 8 MB":       "cms: message larger than 64 KiB",
	"closed sequences, 32":       "cms: malformed message",
	"closed sequences, 33":       "cms: message nested too deeply",
	"closed sequences, 64 KiB":   "cms: message nested too deeply",
	"zeros, 8 MB":                "cms: message larger than 64 KiB",
}

// The header comes before anything is known of the device, so that it must
// not cost more than a few megabytes.
func TestSignatureAttacks(t *testing.T) {
	alone(t, signatureAttacks, func(t *testing.T, name string, raw []byte) {
		body := list(acknowledged)
		forms := map[string]string{
			"Base64": base64.StdEncoding.EncodeToString(raw), "bytes": string(raw), "hex": hex.EncodeToString(raw),
			"lines": strings.Repeat(base64.StdEncoding.EncodeToString(raw)+"\r\n", 2), "line breaks": strings.Repeat("\n", 2*len(raw)),
		}
		for form, header := range forms {
			for _, body := range [][]byte{body, nil} {
				certificate, err := (*x509.Certificate)(nil), error(nil)
				if allocated := allocates(func() { certificate, err = mdmcmd.VerifySignature(header, body) }); allocated > 16<<20 {
					t.Errorf("%s: allocated %d bytes for %d", form, allocated, len(raw))
				}
				if err == nil || certificate != nil {
					t.Errorf("%s: certificate %t, error %v", form, certificate != nil, err)
				} else if text := err.Error(); !strings.HasPrefix(text, "mdmcmd: signature: ") || len(text) > 120 {
					t.Errorf("%s: error %.200s", form, text)
				} else if want := signatureErrors[name]; form == "Base64" && !strings.HasSuffix(text, want) {
					t.Errorf("error %s, want %s", text, want)
				}
			}
		}
	})
}
