package audit_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

const (
	zeros  = "0000000000000000000000000000000000000000000000000000000000000000"
	digits = "0123456789abcdef00000000000000000000000000000000000000000000ffff"
)

func TestParseHead(t *testing.T) {
	t.Parallel()
	d := audit.Digest{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 30: 0xff, 31: 0xff}
	require.Equal(t, digits, d.String())
	for text, want := range map[string]audit.Head{
		"0:" + zeros:                    {},
		"1:" + zeros:                    {Number: 1},
		"17:" + digits:                  {Number: 17, Digest: d},
		"9223372036854775807:" + digits: {Number: math.MaxInt64, Digest: d},
	} {
		require.Equal(t, text, want.String())
		got, err := audit.ParseHead(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		"", ":", "17", "17:", ":" + digits, "0:" + digits, "-1:" + digits, "-1:" + zeros, "-0:" + zeros, "+17:" + digits, "017:" + digits, " 17:" + digits,
		"17:" + digits + "\n", "17:" + digits + "0", "17:" + digits + "00", "17:" + digits[1:], "17:" + digits[2:], "17:0x" + digits[2:], "17: " + digits[1:], "17:" + digits[:63] + "g",
		"17:" + strings.ToUpper(digits), "17::" + digits[1:], "17 " + digits, "1_7:" + digits, "0x11:" + digits, "1e1:" + digits,
		"9223372036854775808:" + digits, "09223372036854775807:" + digits, "18446744073709551633:" + digits,
		strings.Repeat("0", 1<<20) + "17:" + digits, "17:" + strings.Repeat("a", 1<<20),
	} {
		got, err := audit.ParseHead(text)
		require.EqualError(t, err, "audit: a head is a number, a colon and 64 lower-case hexadecimal digits")
		require.Zero(t, got)
	}
}

// However long the text is, little is made of it.
func TestParseHeadIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("9", 1<<20) + ":" + digits, "1:" + strings.Repeat("a", 1<<20)} {
		require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = audit.ParseHead(text) }))
	}
}

// Whatever parses prints back to the same bytes.
func FuzzParseHead(f *testing.F) {
	for _, seed := range []string{"", "0:" + zeros, "17:" + digits, "017:" + digits, "+1:" + digits, "-1:" + digits, "1:" + strings.ToUpper(digits), "9223372036854775808:" + digits} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		head, err := audit.ParseHead(text)
		if err != nil {
			require.Zero(t, head)
			return
		}
		require.Equal(t, text, head.String())
		require.True(t, head.Number > 0 || head == audit.Head{})
	})
}
