package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// canceler is an interrupt: it ends a context when a text is written to it.
type canceler struct {
	bytes.Buffer
	on     string
	cancel context.CancelFunc
}

func (c *canceler) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.on)) {
		c.cancel()
	}
	return c.Buffer.Write(p)
}

// alctl runs a command line that is interrupted when it writes a text to
// standard error.
func alctl(t *testing.T, interruptOn string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, complaint := &bytes.Buffer{}, &canceler{on: interruptOn, cancel: cancel}
	exit = run(ctx, args, &bytes.Buffer{}, out, complaint)
	return exit, out.String(), complaint.String()
}

// threeCodes makes a store in a folder of its own.
func threeCodes(t *testing.T) (file func(string) string) {
	t.Helper()
	dir := t.TempDir()
	file = func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"old", "new"} {
		exit, public, complaint := alctl(t, "\x00", "escrow", "keygen", "-out", file(name+".key"))
		require.Zero(t, exit, complaint)
		require.NoError(t, os.WriteFile(file(name+".pub"), []byte(public), 0o600))
	}
	require.NoError(t, os.WriteFile(file("codes.csv"), []byte(`s,d
XXFAKE0SER1,3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
XXFAKE0SER2,8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86
XXFAKE0SER3,TF27L-31WN1-E6FH-DMAM-52X5-NFV0
`), 0o600))
	exit, _, complaint := alctl(t, "\x00", "escrow", "import", "-store", file("codes.db"), "-create", "-actor", "anna", "-reason", "test",
		"-public", file("old.pub"), "-csv", file("codes.csv"), "-column", "serial=s", "-column", "device=d")
	require.Zero(t, exit, complaint)
	lineEvery = 1
	t.Cleanup(func() { lineEvery = 1000 })
	return file
}

func TestRotateInterrupted(t *testing.T) {
	file := threeCodes(t)
	rotate := []string{"escrow", "rotate", "-store", file("codes.db"), "-actor", "anna", "-reason", "test", "-key", file("old.key"), "-to", file("new.pub")}
	exit, stdout, stderr := alctl(t, "1 of 3 codes\n", rotate...)
	require.Equal(t, 1, exit)
	require.Equal(t, "1 codes seen, 1 sealed anew, 0 recovery copies made, 0 failed\n", stdout)
	resume := regexp.MustCompile(`(?m)^alctl: interrupted; to go on: the same with -after ([0-9A-Z]+)$`).FindStringSubmatch(stderr)
	require.NotNil(t, resume, stderr)
	require.Contains(t, stderr, "audit head: 3:")

	exit, stdout, stderr = alctl(t, "\x00", append(rotate, "-after", resume[1])...)
	require.Zero(t, exit, stderr)
	require.Equal(t, "2 codes seen, 2 sealed anew, 0 recovery copies made, 0 failed\n", stdout)
	require.Regexp(t, `^1 of 2 codes\n2 of 2 codes\nalctl: now run it once more without -after, before you retire the old key\naudit head: 4:`, stderr)
}

func TestExportInterrupted(t *testing.T) {
	file := threeCodes(t)
	export := []string{"escrow", "export", "-store", file("codes.db"), "-actor", "anna", "-reason", "test", "-key", file("old.key"), "-out", file("out")}
	for _, form := range [][]string{{"-csv"}, {"-to", file("new.pub")}} {
		exit, stdout, stderr := alctl(t, "1 of 3 codes\n", append(export, form...)...)
		require.Equal(t, 1, exit)
		require.Empty(t, stdout)
		require.Regexp(t, `(?m)^alctl: interrupted$`, stderr)
		require.NoFileExists(t, file("out"))
	}
}

// A report that is interrupted on its way says so, and a file is none then.
func TestReportInterrupted(t *testing.T) {
	store := filepath.Join(t.TempDir(), "codes.db")
	require.NoError(t, enrollFleet(store, 40))
	for _, program := range [][]string{{"report", "-format", "csv"}, {"report", "-format", "json"}, {"report", "-format", "jsonl"}, {"findings", "-json"}} {
		ctx, cancel := context.WithCancel(t.Context())
		out, complaint := &canceler{on: "", cancel: cancel}, &bytes.Buffer{}
		require.Equal(t, 1, run(ctx, append(program, "-store", store), &bytes.Buffer{}, out, complaint))
		require.Equal(t, "alctl: interrupted\n", complaint.String())
		require.NotEmpty(t, out.String())
		require.NotContains(t, out.String(), "XXFAKE0SER3") // nor the end
		require.NotRegexp(t, `\]\n$`, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, program := range [][]string{{"report", "-out", store + ".csv"}, {"report", "-totals"}, {"findings"}, {"due"}} {
		out, complaint := &bytes.Buffer{}, &bytes.Buffer{}
		require.Equal(t, 1, run(ctx, append(program, "-store", store), &bytes.Buffer{}, out, complaint))
		require.Equal(t, "alctl: interrupted\n", complaint.String())
		require.Empty(t, out.String())
		require.NoFileExists(t, store+".csv")
	}
}
