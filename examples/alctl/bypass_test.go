package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
)

// rehearsal is a store with the codes of three locked phones, and a simulated
// Apple. The codes are in the store twice: an older one that opens nothing, and
// the one that the phone gave.
type rehearsal struct {
	apple *simulation
	file  func(string) string
	codes []string // that nobody may see
	how   []string // the flags of programs that call Apple
}

func rehearse(t *testing.T, config activationlocktest.AppleConfig) rehearsal {
	t.Helper()
	r := rehearsal{file: threeCodes(t), codes: []string{
		"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86", "TF27L-31WN1-E6FH-DMAM-52X5-NFV0",
	}}
	var err error
	r.apple, err = simulate(config)
	require.NoError(t, err)
	t.Cleanup(r.apple.server.Close)
	require.NoError(t, r.apple.write(r.file))
	list := "serial,code,product,imei\n"
	for _, serial := range []string{"XXFAKE0SER1", "XXFAKE0SER2", "XXFAKE0SER3"} {
		code, err := r.apple.locked(serial)
		require.NoError(t, err)
		r.codes = append(r.codes, code)
		list += serial + "," + code + ",\"iPhone17,3\",350000000000019\n"
	}
	require.NoError(t, os.WriteFile(r.file("right.csv"), []byte(list), 0o600))
	exit, _, complaint := alctl(t, "\x00", "escrow", "import", "-store", r.file("codes.db"), "-actor", "anna", "-reason", "test",
		"-public", r.file("old.pub"), "-csv", r.file("right.csv"), "-column", "serial=serial", "-column", "device=code",
		"-column", "product=product", "-column", "imei=imei")
	require.Zero(t, exit, complaint)
	require.NoError(t, os.WriteFile(r.file("list.csv"), []byte("XXFAKE0SER1\nXXFAKE0SER2\nXXFAKE0SER3\n"), 0o600))
	r.how = []string{
		"-store", r.file("codes.db"), "-key", r.file("old.key"), "-organization", "School", "-cert", r.file("push.pem"),
		"-cert-key", r.file("push.key"), "-connect", r.apple.server.Listener.Addr().String(), "-ca", r.file("ca.pem"),
	}
	return r
}

// with returns a command line.
func (r rehearsal) with(name string, more ...string) []string {
	return append(append([]string{"bypass", name}, r.how...), more...)
}

var anna = []string{"-actor", "anna", "-reason", "test", "-in-hand"}

// A signal ends a bulk run that waits, with its report; the same again ends it.
func TestBulkInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	r := rehearse(t, activationlocktest.AppleConfig{})
	r.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{}, activationlocktest.Fault{}, activationlocktest.Fault{Status: 429})
	bulk := r.with("bulk", append(anna, "-id", "summer", "-csv", r.file("list.csv"), "-report", r.file("report.csv"), "-pace", "1ms")...)
	c := exec.Command(filepath.Join(built, "alctl"), bulk...)
	var out bytes.Buffer
	c.Stdout = &out
	said, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	hung := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer hung.Stop()
	lines := bufio.NewReader(said)
	var all strings.Builder
	for !strings.Contains(all.String(), "waiting until") {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		require.NoError(t, err, "%s%s", &all, &out)
	}
	require.NoError(t, c.Process.Signal(os.Interrupt))
	_, err = io.Copy(&all, lines)
	require.NoError(t, err)
	require.Error(t, c.Wait())
	require.Equal(t, 1, c.ProcessState.ExitCode(), all.String())
	require.Regexp(t, `(?m)^alctl: interrupted; what is done stays; to go on: the same again, with the same -id$`, all.String())
	require.Contains(t, all.String(), "audit head: ")
	require.Regexp(t, `^devices +3\n`, out.String())
	report, err := os.ReadFile(r.file("report.csv"))
	require.NoError(t, err)
	require.Len(t, strings.Split(string(report), "\r\n"), 5) // a header, three devices, the end
	require.Contains(t, string(report), ",429,")

	// What Apple asked for has passed.
	tried := len(r.apple.CodesTried("XXFAKE0SER1")) + len(r.apple.CodesTried("XXFAKE0SER2")) + len(r.apple.CodesTried("XXFAKE0SER3"))
	passed(t, r.file("codes.db"))
	exit, stdout, stderr := alctl(t, "\x00", bulk...)
	require.Zero(t, exit, stderr)
	require.Regexp(t, `^devices +3\nDone +3\n$`, stdout)
	now := len(r.apple.CodesTried("XXFAKE0SER1")) + len(r.apple.CodesTried("XXFAKE0SER2")) + len(r.apple.CodesTried("XXFAKE0SER3"))
	require.LessOrEqual(t, now-tried, 5)
}

// passed makes all waiting over.
func passed(t *testing.T, store string) {
	t.Helper()
	db, err := sqlstore.OpenSQLite(t.Context(), "sqlite", store)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE activationlock_actions SET next_at = 1700000000000000, body = json_set(body, '$.NextAt', '2023-11-14T22:13:20Z') WHERE is_open = 1`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// An interrupt before or during a call: the action is kept, and how to go on is
// said.
func TestStartInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	r := rehearse(t, activationlocktest.AppleConfig{Wait: func(time.Duration) { interrupt(); time.Sleep(100 * time.Millisecond) }})
	r.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Wait: time.Second})
	var out, said bytes.Buffer
	require.Equal(t, 1, run(ctx, r.with("start", append(anna, "-serial", "XXFAKE0SER2")...), &bytes.Buffer{}, &out, &said))
	require.Regexp(t, `(?m)^state +Active$`, out.String())
	require.Regexp(t, `interrupted; to go on: alctl bypass run -action [0-9A-Z]{26}\n$`, said.String())
	require.NotContains(t, said.String(), "no answer of Apple")
	require.Regexp(t, `(?m)^Warning: `, said.String())

	err := (&console{}).after(ctx, nil, "XXFAKE", bypass.Action{}, ctx.Err(), activationlock.English) // it could not be read again
	require.EqualError(t, err, "interrupted; to go on: alctl bypass run -action XXFAKE")
}

// No program shows a code, whatever comes of it, in either language.
func TestBypassShowsNoCode(t *testing.T) {
	r := rehearse(t, activationlocktest.AppleConfig{})
	require.NoError(t, os.WriteFile(r.file("token"), []byte("hush-hush"), 0o600))
	var printed strings.Builder
	run := func(args ...string) {
		for _, l := range []string{"en", "nl"} {
			exit, stdout, stderr := alctl(t, "\x00", append(args, "-language", l)...)
			require.NotEqual(t, 2, exit, stderr)
			printed.WriteString(stdout + stderr)
		}
	}
	status := []string{"status", "-store", r.file("codes.db"), "-serial", "XXFAKE0SER1", "-product", "iPhone17,3", "-os", "26.1",
		"-api", "school", "-token-file", r.file("token"), "-connect", r.apple.server.Listener.Addr().String(), "-ca", r.file("ca.pem")}
	store := []string{"-store", r.file("codes.db")}
	run(append([]string{"bypass", "plan", "-serial", "XXFAKE0SER1"}, store...)...)
	run(append([]string{"bypass", "plan", "-json", "-serial", "XXFAKE0SER1"}, store...)...)
	for _, fault := range []activationlocktest.Fault{
		{Drop: true}, {Status: 400, Body: r.codes[0]}, {Status: 403, Body: "no " + r.codes[3]}, {Status: 404, Body: r.codes[3]}, {Status: 200, Body: r.codes[3]},
	} {
		r.apple.Script(activationlocktest.UnlockService, fault)
		run(r.with("start", append(anna, "-serial", "XXFAKE0SER1")...)...)
		passed(t, r.file("codes.db"))
		run(r.with("run", "-pace", "1ms")...)
	}
	run(r.with("bulk", append(anna, "-id", "b", "-csv", r.file("list.csv"), "-report", r.file("report.csv"), "-pace", "1ms")...)...)
	run(append([]string{"bypass", "show", "-serial", "XXFAKE0SER1"}, store...)...)
	run(append([]string{"bypass", "show", "-json", "-serial", "XXFAKE0SER1"}, store...)...)
	run(status...)
	run(append(status, "-json")...)
	report, err := os.ReadFile(r.file("report.csv"))
	require.NoError(t, err)
	printed.Write(report)
	require.NotContains(t, printed.String(), "hush-hush")
	for _, code := range r.codes {
		parsed, err := bypasscode.Parse(code)
		require.NoError(t, err)
		raw := parsed.RevealBytes()
		for _, form := range []string{code, strings.ReplaceAll(code, "-", ""), hex.EncodeToString(raw[:])} {
			require.NotContains(t, strings.ToLower(printed.String()), strings.ToLower(form))
		}
	}

	// What looks for codes finds them where they are.
	exit, stdout, stderr := alctl(t, "\x00", "escrow", "reveal", "-store", r.file("codes.db"), "-serial", "XXFAKE0SER1", "-actor", "anna",
		"-reason", "test", "-key", r.file("old.key"), "-company-owned", "-lock-on")
	require.Zero(t, exit, stderr)
	require.Contains(t, stdout, r.codes[3])
}
