package seal_test

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

var all = []seal.Suite{seal.X25519, seal.P256, seal.MLKEM768X25519}

var (
	text       = []byte("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17")
	associated = []byte("record 1, device, C02TEST")
)

const (
	publicPrefix  = "activationlock-escrow-public-"
	privatePrefix = "activationlock-escrow-private-"
)

// testRaw is the private key of every suite in testdata. Nobody may ever use it.
const testRaw = "published test key, never use me"

// kems is what the documentation of the format says, apart from the code.
var kems = map[seal.Suite]hpke.KEM{
	seal.X25519:         hpke.DHKEM(ecdh.X25519()),
	seal.P256:           hpke.DHKEM(ecdh.P256()),
	seal.MLKEM768X25519: hpke.MLKEM768X25519(),
}

// line and keyID make key lines by the documentation of the format.
func line(prefix string, suite seal.Suite, raw, public []byte) string {
	id := keyID(suite, public)
	return prefix + string(suite) + ":" + base64.RawURLEncoding.EncodeToString(append(append([]byte{}, raw...), id[:4]...))
}

func keyID(suite seal.Suite, public []byte) seal.KeyID {
	sum := sha256.Sum256([]byte("activationlock-escrow-v1 key\x00" + string(suite) + "\x00" + string(public)))
	return seal.KeyID(sum[:16])
}

func testPublic(tb testing.TB, suite seal.Suite) []byte {
	tb.Helper()
	key, err := kems[suite].NewPrivateKey([]byte(testRaw))
	require.NoError(tb, err)
	return key.PublicKey().Bytes()
}

func testKey(tb testing.TB, suite seal.Suite) seal.PrivateKey {
	tb.Helper()
	key, err := seal.ParsePrivateKey(line(privatePrefix, suite, []byte(testRaw), testPublic(tb, suite)))
	require.NoError(tb, err)
	return key
}

func generate(tb testing.TB, suite seal.Suite) seal.PrivateKey {
	tb.Helper()
	key, err := seal.GenerateKey(suite)
	require.NoError(tb, err)
	return key
}

// ring makes a keyring that opens with the private keys and seals to their public ones.
func ring(tb testing.TB, private ...seal.PrivateKey) *seal.Keyring {
	tb.Helper()
	return ringFor(tb, publics(private...), private...)
}

func ringFor(tb testing.TB, recipients []seal.PublicKey, private ...seal.PrivateKey) *seal.Keyring {
	tb.Helper()
	k, err := seal.NewKeyring(recipients, private...)
	require.NoError(tb, err)
	return k
}

func publics(private ...seal.PrivateKey) (public []seal.PublicKey) {
	for _, p := range private {
		public = append(public, p.Public())
	}
	return public
}

func ids(private ...seal.PrivateKey) (ids []seal.KeyID) {
	for _, p := range private {
		ids = append(ids, p.Public().ID())
	}
	return ids
}

func sealed(tb testing.TB, k *seal.Keyring) []byte {
	tb.Helper()
	s, err := k.Seal(tb.Context(), text, associated)
	require.NoError(tb, err)
	return s
}

func requireOpens(tb testing.TB, k *seal.Keyring, sealed []byte) {
	tb.Helper()
	got, err := k.Open(tb.Context(), sealed, associated)
	require.NoError(tb, err)
	require.Equal(tb, text, got)
}

// requireRefused wants the sentinel itself from Open and from a Rewrap that has to open.
func requireRefused(tb testing.TB, want error, k *seal.Keyring, sealed, associated []byte) {
	tb.Helper()
	got, err := k.Open(tb.Context(), sealed, associated)
	require.Nil(tb, got)
	require.Same(tb, want, err)
}
