package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/appleclient"
	"github.com/activationlock/sdk/inventory"
)

var update = flag.Bool("update", false, "write testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// nowhere is a network without an Apple.
func nowhere(*tls.Certificate) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }}
}

func TestPlay(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var out, complaint bytes.Buffer
	require.Zero(t, run(t.Context(), nil, &out, &complaint, nowhere), complaint.String())
	first, _, _ := strings.Cut(out.String(), "\n")
	require.Equal(t, "No credentials are given: activationlocktest plays Apple, on this machine.", first)
	golden(t, "play.txt", out.String())
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"help"}, {"lock", "-h"}} {
		var out bytes.Buffer
		require.Zero(t, run(t.Context(), args, &out, &out, nowhere))
		golden(t, "help.txt", out.String())
	}
}

// office has the files of somebody with credentials, and an Apple that takes them.
type office struct {
	*activationlocktest.Apple
	t       *testing.T
	dir     string
	key     seal.PrivateKey
	server  *activationlocktest.Server
	secrets []string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), Apple: activationlocktest.NewApple(activationlocktest.AppleConfig{})}
	for _, number := range []string{"XXFAKE0SER1", "XXFAKE0SER2"} {
		phone, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: number, Supervised: true, ADE: true})
		require.NoError(t, err)
		require.NoError(t, o.Add(phone, true))
	}
	var err error
	o.server, err = o.Start()
	require.NoError(t, err)
	t.Cleanup(o.server.Close)

	o.key, err = seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	require.NoError(t, seal.WriteKeyFile(o.file("escrow.key"), o.key))
	push, err := o.server.Client().Transport.(*http.Transport).TLSClientConfig.GetClientCertificate(nil)
	require.NoError(t, err)
	o.write("push.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: push.Certificate[0]})))
	o.writeKey("push.key", push.PrivateKey)
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	o.writeKey("axm.pem", account)
	o.write("token.json", `{"consumer_key": "CK_example", "consumer_secret": "hush-consumer", "access_token": "AT_example", "access_secret": "hush-access"}`)
	o.secrets = append(o.secrets, "hush", "eyJ", o.key.Reveal())
	return o
}

func (o *office) file(name string) string { return filepath.Join(o.dir, name) }

func (o *office) write(name, content string) {
	require.NoError(o.t, os.WriteFile(o.file(name), []byte(content), 0o600))
}

func (o *office) writeKey(name string, key any) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(o.t, err)
	content := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	o.write(name, content)
	o.secrets = append(o.secrets, strings.Split(content, "\n")[1])
}

func (o *office) transport(certificate *tls.Certificate) *http.Transport {
	local := o.server.ClientWith(nil).Transport.(*http.Transport)
	transport := appleclient.Transport(certificate)
	transport.Proxy, transport.DialContext, transport.TLSClientConfig.RootCAs = nil, local.DialContext, local.TLSClientConfig.RootCAs
	return transport
}

// run runs a command line, in which @ stands for the folder, and looks for secrets
// in what it says.
func (o *office) run(line string, more ...string) (exit int, stdout, stderr string) {
	o.t.Helper()
	var out, complaint bytes.Buffer
	args := append(strings.Fields(strings.ReplaceAll(line, "@", o.dir+"/")), more...)
	exit = run(o.t.Context(), args, &out, &complaint, o.transport)
	for _, secret := range o.secrets {
		require.NotContains(o.t, out.String()+complaint.String(), secret)
	}
	return exit, out.String(), complaint.String()
}

const (
	statusLine = "status XXFAKE0SER1 -axm-client-id SCHOOLAPI.example -axm-key-id example -axm-key @axm.pem -axm-scope school.api"
	lockLine   = "lock -ade-token @token.json -store @codes.db -key @escrow.key -actor anna -reason test XXFAKE0SER1"
	unlockLine = "unlock XXFAKE0SER1 -push-cert @push.pem -push-key @push.key -store @codes.db -key @escrow.key -organization School -actor anna -reason test -in-hand"
)

func TestLive(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	exit, out, complaint := o.run(statusLine)
	require.Zero(t, exit, complaint)
	require.Contains(t, out, "Apple says: not locked\n")

	exit, _, complaint = o.run(lockLine)
	require.Equal(t, 1, exit)
	require.Equal(t, "apple: the store does not know the device: say with -product what it is, such as iPhone17,3\n", complaint)
	exit, out, complaint = o.run(lockLine+" -product iPhone17,3 -message", "Property of School")
	require.Zero(t, exit, complaint)
	require.Contains(t, out, "engine: locked for the organization\n")
	require.Contains(t, out, "a code of kind server, sealed, current\n")
	require.Equal(t, activationlocktest.OrganizationLinked, o.Lock("XXFAKE0SER1").Kind)
	require.Equal(t, "Property of School", o.Lock("XXFAKE0SER1").Message)
	code := o.codes("XXFAKE0SER1")
	require.Len(t, code, 1)
	require.True(t, o.Lock("XXFAKE0SER1").OpensWith(code[0]), "what was committed opens it")
	o.secrets = append(o.secrets, code[0].Reveal())

	exit, out, complaint = o.run(statusLine)
	require.Zero(t, exit, complaint)
	require.Contains(t, out, "Apple says: locked for the organization")

	exit, out, complaint = o.run(unlockLine)
	require.Zero(t, exit, complaint)
	require.Regexp(t, `(?m)^  POST https://deviceservices-external\.apple\.com/deviceservicesworkers/escrowKeyUnlock: 200$`, out)
	require.Contains(t, out, "engine: unlocked\n")
	require.Contains(t, out, "\nWhere to look: go run ./examples/alctl status -store ")
	require.Equal(t, activationlocktest.NotLocked, o.Lock("XXFAKE0SER1").Kind)
}

// codes reads the codes of a device in the store.
func (o *office) codes(serial string) (codes []bypasscode.Text) {
	t := o.t
	d := &desk{}
	closeStore, err := d.open(t.Context(), o.file("codes.db"), o.key, audit.Key{})
	require.NoError(t, err)
	defer closeStore()
	records, err := d.codes.Records(t.Context(), escrow.Subject{SerialNumber: serial})
	require.NoError(t, err)
	for _, r := range records {
		text, err := d.codes.Reveal(t.Context(), escrow.Reveal{
			Subject: r.Subject, RecordID: r.ID, Purpose: escrow.ToUnlock, Act: escrow.Act{Actor: "test", Reason: "test"},
		})
		require.NoError(t, err)
		codes = append(codes, text)
	}
	return codes
}

// When Apple does not do it, that is said in a sentence. Who wants the same again
// gets it at once, with the same code, unless that was refused for good.
func TestAppleDoesNot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault activationlocktest.Fault
		want  string
	}{
		{activationlocktest.Fault{Status: 403, Body: `"T_C_NOT_SIGNED"`}, "an administrator has to accept Apple's new terms in the portal first"},
		{activationlocktest.Fault{Status: 401}, "Apple refuses the server token (-ade-token): it may be over, or the portal gave a newer one"},
		{activationlocktest.Fault{Status: 429, RetryAfter: time.Hour}, "Apple asks to wait, for "},
		{activationlocktest.Fault{Status: 400}, "Apple does not do it: malformed"},
		{activationlocktest.Fault{Drop: true}, "Apple gave no answer; whether the device is locked is not known, and its code is kept."},
	} {
		o := newOffice(t)
		o.Script(activationlocktest.LockService, test.fault)
		exit, out, complaint := o.run(lockLine + " -product iPhone17,3")
		require.Equal(t, 1, exit, out)
		require.Contains(t, complaint, test.want)
		require.NotContains(t, out, "It is locked")
		require.Len(t, o.codes("XXFAKE0SER1"), 1)
		exit, _, complaint = o.run(lockLine)
		require.Zero(t, exit, complaint)
		codes := 1
		if test.fault.Status == http.StatusBadRequest { // which ends the order, and voids the code
			codes = 2
		}
		require.Len(t, o.codes("XXFAKE0SER1"), codes)
	}
	for status, want := range map[int]string{
		401: "Apple refuses the API account: check -axm-client-id, -axm-key-id, -axm-key and -axm-scope",
		400: "Apple refuses the API account: check -axm-client-id, -axm-key-id, -axm-key and -axm-scope",
		429: "Apple asks to wait, for 1m0s",
	} {
		o := newOffice(t)
		o.Script(activationlocktest.StatusService, activationlocktest.Fault{Status: status, RetryAfter: time.Minute})
		exit, _, complaint := o.run(statusLine)
		require.Equal(t, 1, exit)
		require.Equal(t, "apple: "+want+"\n", complaint)
	}
	o := newOffice(t)
	exit, _, complaint := o.run(strings.Replace(statusLine, "SER1", "SER9", 1))
	require.Equal(t, 1, exit)
	require.Equal(t, "apple: the organization has no device with this serial number\n", complaint)
	exit, _, complaint = o.run(unlockLine)
	require.Equal(t, 1, exit)
	require.Equal(t, "apple: the store holds no code of the device\n", complaint)

	exit, _, complaint = o.run(lockLine + " -product iPhone17,3")
	require.Zero(t, exit, complaint)
	o.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 503})
	exit, _, complaint = o.run(unlockLine)
	require.Equal(t, 1, exit)
	require.Regexp(t, `^apple: not done yet, Apple is to be asked again from .*: go run \./examples/alctl bypass run -action [0-9A-Z]{26}\n$`, complaint)
	exit, _, complaint = o.run(unlockLine)
	require.Equal(t, 1, exit)
	require.Regexp(t, `^apple: a bypass of the device is under way; to go on: go run \./examples/alctl bypass run -action [0-9A-Z]{26}\n$`, complaint)
}

// An order that Apple did not answer goes on with the same code: the lock may be the
// one that the first call made.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var out bytes.Buffer
	d := &desk{out: &out, clock: time.Now}
	given := options{adeToken: o.file("token.json")}
	require.NoError(t, given.route(d, o.transport))
	closeStore, err := d.open(t.Context(), o.file("codes.db"), o.key, audit.Key{})
	require.NoError(t, err)
	require.NoError(t, d.know(t.Context(), "XXFAKE0SER1", inventory.Facts{ProductName: "iPhone17,3"}))
	o.Script(activationlocktest.LockService, activationlocktest.Fault{}, activationlocktest.Fault{Drop: true})
	by := escrow.Act{Actor: "anna", Reason: "test"}
	require.ErrorContains(t, d.lock(t.Context(), "XXFAKE0SER1", by, ""), "Apple gave no answer")
	require.NoError(t, d.lock(t.Context(), "XXFAKE0SER1", by, ""))
	require.NoError(t, closeStore())
	codes := o.codes("XXFAKE0SER1")
	require.Len(t, codes, 1)
	require.True(t, o.Lock("XXFAKE0SER1").OpensWith(codes[0]))
}

// Who has not the key of the store's audit can do nothing: the audit would be broken.
func TestAuditKey(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.write("audit.key", strings.Repeat("05", 32))
	o.secrets = append(o.secrets, strings.Repeat("05", 32))
	exit, _, complaint := o.run(lockLine + " -product iPhone17,3 -audit-key @audit.key")
	require.Zero(t, exit, complaint)
	asked := len(o.Requests())
	exit, _, complaint = o.run(unlockLine)
	require.Equal(t, 1, exit)
	require.Contains(t, complaint, "audit")
	require.Len(t, o.Requests(), asked)
	exit, _, complaint = o.run(unlockLine + " -audit-key @audit.key")
	require.Zero(t, exit, complaint)
}

// A certificate that is not the organization's is refused before a code goes out.
func TestWrongPushCertificate(t *testing.T) {
	t.Parallel()
	o, other := newOffice(t), newOffice(t)
	exit, _, complaint := o.run(lockLine + " -product iPhone17,3")
	require.Zero(t, exit, complaint)
	exit, out, complaint := o.run(strings.NewReplacer("@push.pem", other.file("push.pem"), "@push.key", other.file("push.key")).Replace(unlockLine))
	require.Equal(t, 1, exit, out)
	require.Contains(t, out, "escrowKeyUnlock: no answer: remote error: tls: ")
	require.NotEmpty(t, complaint)
	require.Empty(t, o.CodesTried("XXFAKE0SER1"))
	require.Equal(t, activationlocktest.OrganizationLinked, o.Lock("XXFAKE0SER1").Kind)
}

func TestCredentialFiles(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, test := range []struct{ line, flag, file string }{
		{statusLine, "-axm-key", "axm.pem"}, {lockLine, "-ade-token", "token.json"}, {lockLine, "-key", "escrow.key"},
		{unlockLine, "-push-key", "push.key"}, {unlockLine, "-push-cert", "push.pem"}, {unlockLine, "-key", "escrow.key"},
	} {
		exit, _, complaint := o.run(strings.Replace(test.line, "@"+test.file, "@missing-hush", 1))
		require.Equal(t, 1, exit)
		require.Contains(t, complaint, "apple: read "+test.flag)
		require.Contains(t, complaint, "no such file or directory")

		content, err := os.ReadFile(o.file(test.file))
		require.NoError(t, err)
		o.write(test.file, "hush")
		exit, _, complaint = o.run(test.line)
		require.Equal(t, 1, exit)
		require.Regexp(t, "^apple: read (-push-cert and )?"+test.flag, complaint)
		o.write(test.file, string(content))

		if runtime.GOOS != "windows" && test.flag != "-push-cert" {
			require.NoError(t, os.Chmod(o.file(test.file), 0o644))
			exit, _, complaint = o.run(test.line)
			require.Equal(t, 1, exit)
			require.Contains(t, complaint, "apple: read "+test.flag)
			require.Contains(t, complaint, "chmod 600")
			require.NoError(t, os.Chmod(o.file(test.file), 0o600))
		}
	}
	o.write("audit.key", strings.Repeat("0", 63))
	exit, _, complaint := o.run(lockLine + " -audit-key @audit.key")
	require.Equal(t, 1, exit)
	require.Equal(t, "apple: read -audit-key: want 64 hexadecimal digits\n", complaint)
	exit, _, complaint = o.run(strings.Replace(lockLine, "@codes.db", "@none/codes.db", 1))
	require.Equal(t, 1, exit)
	require.Contains(t, complaint, "apple: open -store: ")
	require.Empty(t, o.Requests(), "Apple is asked nothing before all is there")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	without := func(line, flag string) string { return regexp.MustCompile(flag+` \S+`).ReplaceAllString(line, "") }
	for line, want := range map[string]string{
		"status":                  "want one serial number",
		"status A B":              "want one serial number",
		"explode XXFAKE0SER1":     "want status, lock or unlock, and a serial number; nothing at all plays with a simulated Apple",
		"-axm-client-id X":        "want status, lock or unlock, and a serial number; nothing at all plays with a simulated Apple",
		"status XXFAKE0SER1":      "status needs -axm-client-id, -axm-key-id, -axm-key",
		"lock XXFAKE0SER1":        "lock needs -ade-token, -store, -key, -actor, -reason",
		"unlock XXFAKE0SER1":      "unlock needs -push-cert, -push-key, -store, -key, -organization, -actor, -reason",
		"lock X -hush":            "a flag is unknown, or has no value",
		"lock X -in-hand=hush":    "a flag is unknown, or has no value",
		"lock X -ade-token":       "a flag is unknown, or has no value",
		without(lockLine, "-key"): "lock needs -key",
		strings.Replace(unlockLine, "-in-hand", "", 1):                                          "-in-hand is required: say so only if you have the device in your hand",
		strings.Replace(statusLine, "school.api", "school", 1):                                  "-axm-scope is business.api or school.api",
		strings.Replace(lockLine, "-reason test", "-reason 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", 1): "a text holds a bypass code; it would be stored where everybody reads it",
		strings.Replace(lockLine, "anna", strings.Repeat("a", 256), 1):                          "a text has more than 255 bytes, or is not UTF-8",
	} {
		exit, out, complaint := o.run(line)
		require.Equal(t, 2, exit, line)
		require.Empty(t, out)
		require.Equal(t, fmt.Sprintf("apple: %s\nRun \"apple -h\" for help.\n", want), complaint)
	}
	exit, _, complaint := o.run(statusLine + " -axm-token-url http://account.apple.com/")
	require.Equal(t, 1, exit)
	require.Contains(t, complaint, "the token URL is no https address")
	require.Empty(t, o.Requests())
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, complaint bytes.Buffer
	require.Equal(t, 1, run(ctx, strings.Fields(strings.ReplaceAll(statusLine, "@", o.dir+"/")), &out, &complaint, o.transport))
	require.Equal(t, "apple: interrupted; what is on record stays, and the same again goes on\n", complaint.String())
}
