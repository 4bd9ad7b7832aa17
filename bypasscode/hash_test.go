package bypasscode_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

// The hash of the 31 characters instead of the 16 bytes is the mistake that
// implementers make.
func TestHashIsOverRawBytes(t *testing.T) {
	t.Parallel()
	code, err := bypasscode.Parse(sample)
	require.NoError(t, err)
	hash, err := code.Hash()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash.String(), "6ab40d5e"))
	require.NotEqual(t, "99cacb48362f98705dfeeb951f7e4ad71302dd26ede08a3fb04597ab3d3d4d5a", hash.String())
}

func TestHashText(t *testing.T) {
	t.Parallel()
	lower := vectors(t)[1].hash
	hash, err := bypasscode.ParseHash(strings.ToUpper(lower))
	require.NoError(t, err)
	require.Equal(t, lower, hash.String())

	encoded, err := json.Marshal(hash)
	require.NoError(t, err)
	require.Equal(t, `"`+lower+`"`, string(encoded))
	var decoded bypasscode.Hash
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	require.Equal(t, hash, decoded)

	for _, s := range []string{"", lower[:63], lower + "0", "x" + lower[1:], sample} {
		_, err := bypasscode.ParseHash(s)
		require.Error(t, err)
		if s != "" {
			require.NotContains(t, err.Error(), s)
		}
		require.Error(t, decoded.UnmarshalText([]byte(s)))
	}
	require.Equal(t, hash, decoded, "a failed decode changes nothing")
}

// The test runs itself in a process that refuses what FIPS 140-3 does not
// allow, and there checks that the enforcement is on.
func TestHashUnderFIPSOnly(t *testing.T) {
	t.Parallel()
	if os.Getenv("BYPASSCODE_FIPS_CHILD") == "1" {
		require.Error(t, applesDerivation(), "the enforcement is on")
		code := fromHex(t, vectors(t)[1].raw)
		hash, err := code.Hash()
		require.NoError(t, err)
		require.Equal(t, vectors(t)[1].hash, hash.String())
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestHashUnderFIPSOnly$", "-test.v")
	child.Env = append(os.Environ(), "GODEBUG=fips140=only", "BYPASSCODE_FIPS_CHILD=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestHashUnderFIPSOnly")
}

func TestHashAll(t *testing.T) {
	t.Parallel()
	all := vectors(t)
	codes := make([]bypasscode.Code, len(all))
	for i, v := range all {
		codes[i] = fromHex(t, v.raw)
	}
	var progress []int
	hashes, err := bypasscode.HashAll(t.Context(), codes, func(done int) { progress = append(progress, done) })
	require.NoError(t, err)
	require.Len(t, hashes, len(all))
	for i, v := range all {
		require.Equal(t, v.hash, hashes[i].String())
		require.Equal(t, i+1, progress[i])
	}

	hashes, err = bypasscode.HashAll(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Empty(t, hashes)

	codes[7] = bypasscode.Code{}
	_, err = bypasscode.HashAll(t.Context(), codes, func(int) { t.Error("work began") })
	require.ErrorIs(t, err, bypasscode.ErrNoCode)
	require.ErrorContains(t, err, "index 7")
}

func TestHashAllStops(t *testing.T) {
	t.Parallel()
	codes := make([]bypasscode.Code, 10_000) // a minute and more, if it did not stop
	for i := range codes {
		codes[i] = bypasscode.New()
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	last := 0
	_, err := bypasscode.HashAll(ctx, codes, func(done int) {
		last = done
		cancel(stop)
	})
	require.ErrorIs(t, err, stop)
	require.Less(t, last, 1000)
}

// applesDerivation is the derivation without the exemption that Hash makes.
func applesDerivation() error {
	_, err := pbkdf2.Key(sha256.New, "0123456789abcdef", make([]byte, 4), 50_000, 32)
	return err
}
