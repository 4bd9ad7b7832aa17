package seal_test

import (
	"crypto/ecdh"
	"crypto/fips140"
	"crypto/rand"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

// The test runs itself in a process that refuses what FIPS 140-3 does not allow.
func TestFIPSOnly(t *testing.T) {
	t.Parallel()
	if os.Getenv("SEAL_FIPS_CHILD") != "1" {
		command := exec.Command(os.Args[0], "-test.run=^TestFIPSOnly$", "-test.v")
		command.Env = append(os.Environ(), "GODEBUG=fips140=only", "SEAL_FIPS_CHILD=1")
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestFIPSOnly")
		return
	}
	_, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.Error(t, err, "the enforcement is on")

	for _, suite := range []seal.Suite{seal.P256, seal.MLKEM768X25519} {
		key, next := generate(t, suite), generate(t, suite)
		parsed, err := seal.ParsePublicKey(key.Public().String())
		require.NoError(t, err)
		require.Equal(t, key.Public(), parsed)
		k := ring(t, key)
		requireOpens(t, k, sealed(t, k))
		out, changed, err := ringFor(t, publics(next), key).Rewrap(t.Context(), sealed(t, k), associated)
		require.NoError(t, err)
		require.True(t, changed)
		requireOpens(t, ring(t, next), out)
	}
	for _, name := range []string{"p256.txt", "mlkem768-x25519.txt"} {
		v := readVector(t, name)
		key, err := seal.ParsePrivateKey(v.private[0])
		require.NoError(t, err)
		requireOpens(t, ring(t, key), v.sealed)
	}
	// A row that is sealed to x25519 too opens with the other key.
	both := readVector(t, "x25519-and-p256.txt")
	key, err := seal.ParsePrivateKey(both.private[1])
	require.NoError(t, err)
	requireOpens(t, ring(t, key), both.sealed)

	const refused = "seal: suite x25519 is not allowed in FIPS 140-only mode, use p256 or mlkem768-x25519"
	_, err = seal.GenerateKey(seal.X25519)
	require.EqualError(t, err, refused)
	_, err = seal.ParsePrivateKey(both.private[0])
	require.EqualError(t, err, refused)
	var old seal.PrivateKey
	fips140.WithoutEnforcement(func() { old, err = seal.ParsePrivateKey(both.private[0]) })
	require.NoError(t, err)
	_, err = seal.ParsePublicKey(old.Public().String())
	require.EqualError(t, err, refused)
	_, err = seal.NewKeyring(publics(key, old))
	require.EqualError(t, err, refused)
	_, err = seal.NewKeyring(publics(key), key, old)
	require.EqualError(t, err, refused)
}
