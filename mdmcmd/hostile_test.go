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

	"github.com/activationlock/sdk/internal/hostile"
	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

func TestParseRefusesTypes(t *testing.T) {
	t.Parallel()
	for want, paths := range hostile.Keys {
		for _, key := range strings.Fields(paths) {
			path := strings.Split(key, ".")
			name := strings.ReplaceAll(key, ".[]", "")
			for got, value := range hostile.Values {
				m, err := mdmcmd.Parse(hostile.At(path, value, ""))
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
		_, err := mdmcmd.Parse(hostile.At([]string{"ErrorChain", "[]", "ErrorCode"}, `<integer>`+integer+`</integer>`, ""))
		require.EqualError(t, err, "mdmcmd: parse: plist: key ErrorChain.ErrorCode has an invalid integer")
	}
	for got, value := range hostile.Values {
		if got != "dictionary" {
			_, err := mdmcmd.Parse(hostile.At(nil, value, ""))
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
		for got, value := range hostile.Values {
			if strings.Contains(test.wanted, got) {
				continue
			}
			m, err := mdmcmd.Parse(hostile.At(strings.Split(test.path, "."), value, ""))
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
	reasons := map[string]error{"binary": mdmcmd.ErrBinary, "too deep": mdmcmd.ErrTooDeep} // of others, any
	for name, raw := range hostile.Malformed("") {
		for entry, call := range entries {
			out, err := call(raw)
			require.Error(t, err, "%s: %s", entry, name)
			require.Nil(t, out, "%s: %s", entry, name)
			for _, spelling := range spellings(t) {
				require.NotContains(t, err.Error(), spelling, "%s: %s", entry, name)
			}
			if reasons[name] != nil {
				require.ErrorIs(t, err, reasons[name], "%s: %s", entry, name)
			}
		}
	}
	for entry, call := range entries {
		_, err := call(hostile.Deep(31, ""))
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

const attackVariable = "MDMCMD_TEST_ATTACK"

// Each attack runs in a process of its own, which fails when it allocates more
// than it may, needs a deep stack, or does not end.
func TestAttacks(t *testing.T) {
	alone(t, hostile.Attacks, func(t *testing.T, name string, raw []byte) {
		allowed := uint64(16 << 20)
		if strings.HasPrefix(name, hostile.WellFormed) {
			allowed += 16 * uint64(len(raw))
		}
		for entry, call := range entries {
			var out []byte
			var err error
			if allocated := allocates(func() { out, err = call(raw) }); allocated > allowed {
				t.Errorf("%s: allocated %d bytes for %d", entry, allocated, len(raw))
			}
			if err == nil && !strings.HasPrefix(name, hostile.WellFormed) {
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
	"nothing":                     hostile.FromHex(""),
	"long length without a byte":  hostile.FromHex("3084"),
	"length without its byte":     hostile.FromHex("3081"),
	"endless tag, no length":      hostile.FromHex("1f80"),
	"endless tag, empty":          hostile.FromHex("1f8100"),
	"endless tag":                 hostile.FromHex("1fffffff"),
	"open sequence":               hostile.FromHex("3080"),
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
	"length of 2^32":              hostile.FromHex("3084ffffffff"),
	"length of 2^64":              hostile.FromHex("3088ffffffffffffffff"),
	"length of 127 bytes":         func() []byte { return append([]byte{0x30, 0xff}, make([]byte, 1000)...) },
	"empty members, 64 KiB":       func() []byte { return append([]byte{0x30, 0x80}, bytes.Repeat([]byte{5, 0}, 32<<10-2)...) },
	"deep empty members, 64 KiB":  func() []byte { return append(openSequences(30)(), bytes.Repeat([]byte{0x31, 0}, 32<<10-30)...) },
	"zeros, 64 KiB":               func() []byte { return make([]byte, 64<<10) },
	"zeros, 8 MB":                 func() []byte { return make([]byte, 8<<20) },
	"ciphertext of half a block":  hostile.FromHex(encryptedData("4f", "42", "40", "3b", "800f") + strings.Repeat("00", 15)),
	"ciphertext of one block":     hostile.FromHex(encryptedData("50", "43", "41", "3c", "8010") + strings.Repeat("00", 16)),
	"signature of the first type": hostile.FromHex("300f06092a864886f70d010702a0023000"),
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
