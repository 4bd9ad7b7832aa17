//go:build linux && !race

package reference_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
)

var kept []byte

// A limit that nothing hits would prove nothing.
func TestLimitMemoryEndsTheProcess(t *testing.T) {
	if os.Getenv("REFERENCE_TEST_CHILD") != "" {
		require.NoError(t, reference.LimitMemory(512<<20))
		kept = make([]byte, 600<<20)
		for i := range kept {
			kept[i] = 1
		}
		os.Stdout.WriteString("survived")
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestLimitMemoryEndsTheProcess$")
	child.Env = append(os.Environ(), "REFERENCE_TEST_CHILD=1")
	out, err := child.CombinedOutput()
	require.Error(t, err)
	require.NotContains(t, string(out), "survived") // how it ends differs
}
