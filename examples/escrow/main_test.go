package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/output.txt anew")

func TestOutput(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil && os.Getenv("CI") == "" {
		t.Skip("openssl opens the recovery copy")
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var out bytes.Buffer
	require.NoError(t, play(t.Context(), &out))
	const golden = "testdata/output.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())

	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, left, "keys and codes must not stay")
	before, _, found := strings.Cut(out.String(), "\nReveal")
	require.True(t, found)
	for _, report := range reports {
		require.NotContains(t, before, report.Text.Reveal(), "codes are shown only where that is the point")
	}
}

func TestWithoutOpenSSL(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	require.NoError(t, play(t.Context(), &out))
	require.Contains(t, out.String(), "needs the command openssl")
	require.Contains(t, out.String(), reports[2].Text.Reveal())
}
