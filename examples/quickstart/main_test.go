package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
)

var update = flag.Bool("update", false, "write testdata/output.txt anew")

// The output is the same in every run, and no code is in it.
func TestOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := newStage(t.Context(), &out)
	require.NoError(t, err)
	require.NoError(t, s.play())
	for _, d := range s.fleet {
		for _, code := range d.Codes() {
			require.NotContains(t, out.String(), code.Reveal())
			require.NotContains(t, out.String(), strings.ReplaceAll(code.Reveal(), "-", ""))
		}
	}
	require.Len(t, s.iphone.Codes(), 2, "there is something to find")
	require.Equal(t, activationlocktest.NotLocked, s.apple.Lock(s.iphone.serial).Kind)
	require.Equal(t, activationlocktest.UserLinked, s.apple.Lock(s.personal.serial).Kind)
	const golden = "testdata/output.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}
