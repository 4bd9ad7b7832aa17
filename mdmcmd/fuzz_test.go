package mdmcmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/mdmcmd"
)

// addMessages seeds a target with testdata and some odd messages.
func addMessages(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.plist"))
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(raw)
	}
	for _, body := range []string{
		withCode + `<key>k</key><string>` + lower + `</string><!-- ` + code + ` --><key>` + dashless + `</key><data>RVo5VVgtNzFFWjUtQVE4Si1FWFJYLTQ5TFotMTlUMg==</data>`,
		acknowledged + `<key>ActivationLockBypassCode</key><string>&#69;Z<!-- x -->9<![CDATA[UX-71EZ5-AQ8J-EXRX-49LZ-19T2]]></string><key>a</key><true><!-- b --></true>`,
		acknowledged + `<key>CommandUUID</key><integer>` + code + `</integer>`,
		acknowledged + `<key>ActivationLockBypassCode</key><data>` + code + `</data>`,
		acknowledged + `<key>Settings</key><dict><key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>-1</integer></dict></array></dict>`,
		withCode + `<key>a</key><dict><key>ActivationLockBypassCode</key><string>a</string><key>b</key><string>a</string></dict>`,
	} {
		f.Add(list(body))
	}
	f.Add([]byte("bplist00"))
}

// FuzzParse: what Parse understood is what another reader finds, and no error
// quotes the message.
func FuzzParse(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := mdmcmd.Parse(raw)
		if err != nil {
			if m != nil {
				t.Fatal("a message and an error")
			}
			for _, secret := range []string{code, code[:11], dashless, lower} {
				if strings.Contains(err.Error(), secret) {
					t.Fatal("the error quotes the message")
				}
			}
			return
		}
		want := readDictionary(t, raw)
		same := func(key, got string) {
			if text, _ := want[key].(string); text != got {
				t.Fatalf("%s is %q, want %q", key, got, text)
			}
		}
		same("UDID", m.From().UDID)
		same("EnrollmentID", m.From().EnrollmentID)
		switch m := m.(type) {
		case *mdmcmd.Authenticate:
			same("SerialNumber", m.SerialNumber)
			same("ProductName", m.ProductName)
		case *mdmcmd.Report:
			same("Status", string(m.Status))
			same("CommandUUID", m.CommandUUID)
			same("MessageResult", m.MessageResult)
			if m.Location != nil {
				same("Timestamp", m.Location.Timestamp)
				for key, got := range map[string]float64{"Latitude": m.Location.Latitude, "Longitude": m.Location.Longitude} {
					text, _ := want[key].(number)
					if number, err := strconv.ParseFloat(string(text), 64); err != nil || number != got {
						t.Fatalf("%s is %v, want %q", key, got, text)
					}
				}
			}
			_, result := m.BypassCodeAnswer()
			reported, has := want["ActivationLockBypassCode"].(string)
			if has != (m.BypassCode != nil) || (result == mdmcmd.BypassCodeRedacted) != (reported == mdmcmd.Redacted) {
				t.Fatalf("has %t, result %q", m.BypassCode != nil, result)
			}
			if has {
				same("ActivationLockBypassCode", m.BypassCode.Reveal())
			}
			if q, _ := want["QueryResponses"].(dict); m.QueryResponses != nil {
				serial, _ := q["SerialNumber"].(string)
				if supervised, has := q["IsSupervised"].(bool); m.QueryResponses.SerialNumber != serial ||
					has != (m.QueryResponses.IsSupervised != nil) || has && supervised != *m.QueryResponses.IsSupervised {
					t.Fatal("other query responses")
				}
			}
		}
	})
}

// codesOf are the codes in a list, at any depth.
func codesOf(value any) (codes []string) {
	switch value := value.(type) {
	case dict:
		for key, member := range value {
			if text, ok := member.(string); ok && key == "ActivationLockBypassCode" && text != "" && text != mdmcmd.Redacted {
				codes = append(codes, text)
			}
			codes = append(codes, codesOf(member)...)
		}
	case []any:
		for _, member := range value {
			codes = append(codes, codesOf(member)...)
		}
	}
	return codes
}

// FuzzRedact: a result is free of the codes that another reader finds, and an
// error comes without bytes.
func FuzzRedact(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		out, err := mdmcmd.Redact(raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if out != nil || strings.Contains(err.Error(), code) || strings.Contains(err.Error(), dashless) {
				t.Fatal("bytes with the error, or an error that quotes the message")
			}
			return
		}
		root, _, err := read(raw)
		require.NoError(t, err)
		codes := codesOf(root)
		if len(codes) == 0 && !bytes.Equal(raw, out) {
			t.Fatal("changed without a reason")
		}
		for _, secret := range codes {
			if len(squeezed(secret)) >= 8 {
				requireGone(t, out, secret)
			}
		}
		if root, _, err = read(out); err != nil || len(codesOf(root)) > 0 {
			t.Fatalf("not redacted, error %v", err)
		}
		if again, err := mdmcmd.Redact(out); err != nil || !bytes.Equal(out, again) {
			t.Fatalf("not idempotent, error %v", err)
		}
		if m, err := mdmcmd.Parse(out); err == nil {
			if r, ok := m.(*mdmcmd.Report); ok {
				if _, result := r.BypassCodeAnswer(); result == mdmcmd.BypassCodeHeld {
					t.Fatal("Parse finds a code")
				}
			}
		}
	})
}

// FuzzVerifySignature: nothing panics, and a certificate or an error comes back.
func FuzzVerifySignature(f *testing.F) {
	body := list(acknowledged)
	_, header := signed(f, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), body)
	f.Add(header, body)
	f.Add(header[:len(header)/2], body)
	f.Add("MIAGCSqGSIb3DQEHAqCAMIACAQExCzAJBgUrDgMCGgUAMIAGCSqGSIb3DQEHAQ==", []byte{})
	f.Add("", []byte(nil))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		certificate, err := mdmcmd.VerifySignature(header, body)
		if (certificate == nil) == (err == nil) {
			t.Fatalf("certificate %t, error %v", certificate != nil, err)
		}
		if err != nil && len(header) > 8 && strings.Contains(err.Error(), header) {
			t.Fatal("the error quotes the header")
		}
	})
}
