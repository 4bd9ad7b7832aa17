package bypasscode_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

// Results that stay, so that the compiler cannot drop the work.
var (
	keptCode bypasscode.Code
	keptText string
)

func TestParseAndRevealAllocateOnce(t *testing.T) {
	code, err := bypasscode.Parse(sample)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { keptCode, _ = bypasscode.Parse(sample) }), 1.0)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { keptText = code.Reveal() }), 1.0)
}
