package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

func TestKeyLines(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			key := generate(t, suite)
			require.Equal(t, suite, key.Public().Suite())
			require.NotEqual(t, key.Public(), generate(t, suite).Public())

			require.True(t, strings.HasPrefix(key.Public().String(), publicPrefix+string(suite)+":"))
			require.True(t, strings.HasPrefix(key.Reveal(), privatePrefix+string(suite)+":"))

			for _, newline := range []string{"", "\n"} {
				public, err := seal.ParsePublicKey(key.Public().String() + newline)
				require.NoError(t, err)
				require.Equal(t, key.Public(), public)
				require.True(t, public.Equal(key.Public()))
				require.Equal(t, key.Public().ID(), public.ID())

				private, err := seal.ParsePrivateKey(key.Reveal() + newline)
				require.NoError(t, err)
				require.Equal(t, key.Reveal(), private.Reveal())
				require.Equal(t, key.Public(), private.Public())
				requireOpens(t, ring(t, private), sealed(t, ring(t, key)))
			}
		})
	}
}

// The lines and the ID are what the documentation says.
func TestKeyFormat(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		public := testPublic(t, suite)
		key := testKey(t, suite)
		require.Equal(t, line(publicPrefix, suite, public, public), key.Public().String())
		require.Equal(t, line(privatePrefix, suite, []byte(testRaw), public), key.Reveal())
		id := keyID(suite, public)
		require.Equal(t, id, key.Public().ID())
		require.Regexp(t, "^[0-9a-f]{32}$", id.String())
		encoded, err := json.Marshal(map[string]any{"id": id})
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"`+id.String()+`"}`, string(encoded))
	}
	// The same bytes in two suites are two keys.
	require.NotEqual(t, keyID(seal.X25519, []byte("k")), keyID(seal.P256, []byte("k")))
}

func TestPublicKeyAsText(t *testing.T) {
	t.Parallel()
	type config struct{ Recipients []seal.PublicKey }
	in := config{publics(generate(t, seal.X25519), generate(t, seal.MLKEM768X25519))}
	encoded, err := json.Marshal(in)
	require.NoError(t, err)
	require.Contains(t, string(encoded), in.Recipients[0].String())
	var out config
	require.NoError(t, json.Unmarshal(encoded, &out))
	require.Equal(t, in, out)

	key := in.Recipients[0]
	for _, bad := range []string{"", "x", in.Recipients[1].String() + " "} {
		require.Error(t, key.UnmarshalText([]byte(bad)))
		require.Equal(t, in.Recipients[0], key, "a failed decode changes nothing")
	}
}

func TestZeroKeys(t *testing.T) {
	t.Parallel()
	var public seal.PublicKey
	require.Empty(t, public.String())
	require.Equal(t, seal.KeyID{}, public.ID())
	require.Equal(t, seal.Suite(""), public.Suite())
	_, err := public.MarshalText()
	require.EqualError(t, err, "seal: no key")
	_, err = seal.NewKeyring([]seal.PublicKey{public})
	require.EqualError(t, err, "seal: no key in recipient 1")

	var private seal.PrivateKey
	require.Empty(t, private.Reveal())
	require.Equal(t, public, private.Public())
	_, err = seal.NewKeyring(publics(generate(t, seal.X25519)), private)
	require.EqualError(t, err, "seal: no key in private key 1")
	require.EqualError(t, seal.WriteKeyFile(t.TempDir()+"/key", private), "seal: no key")
}

func TestGenerateKeyRefusesUnknownSuites(t *testing.T) {
	t.Parallel()
	for _, suite := range []seal.Suite{"", "X25519", "p384", "x25519 "} {
		key, err := seal.GenerateKey(suite)
		require.EqualError(t, err, "seal: unknown suite")
		require.Empty(t, key.Reveal())
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	const (
		malformed = "seal: malformed or damaged key line"
		unknown   = "seal: unknown suite"
		private   = "seal: want a public key, this is a private one"
		public    = "seal: want a private key, this is a public one"
	)
	for _, suite := range all {
		key := testKey(t, suite)
		for prefix, good := range map[string]string{publicPrefix: key.Public().String(), privatePrefix: key.Reveal()} {
			parse := func(line string) error {
				k, err := seal.ParsePublicKey(line)
				require.Zero(t, k)
				return err
			}
			other, crossed := key.Reveal(), private
			if prefix == privatePrefix {
				parse = func(line string) error {
					k, err := seal.ParsePrivateKey(line)
					require.Empty(t, k.Reveal())
					return err
				}
				other, crossed = key.Public().String(), public
			}
			head := prefix + string(suite) + ":"
			data := strings.TrimPrefix(good, head)
			raw, err := base64.RawURLEncoding.DecodeString(data)
			require.NoError(t, err)
			encode := func(raw []byte) string { return head + base64.RawURLEncoding.EncodeToString(raw) }
			flip := func(i int) []byte {
				raw := bytes.Clone(raw)
				raw[i] ^= 1
				return raw
			}
			require.Equal(t, good, encode(raw))

			for name, test := range map[string]struct{ line, want string }{
				"empty":                    {"", malformed},
				"newline":                  {"\n", malformed},
				"text":                     {"hello", malformed},
				"prefix":                   {prefix, malformed},
				"no colon":                 {strings.Replace(good, ":", "-", 1), malformed},
				"no key":                   {head, malformed},
				"the other kind":           {other, crossed},
				"the other kind, newline":  {other + "\n", crossed},
				"two newlines":             {good + "\n\n", malformed},
				"carriage return":          {good + "\r\n", malformed},
				"newline before":           {"\n" + good, malformed},
				"newline in the middle":    {good[:len(good)-8] + "\n" + good[len(good)-8:], malformed},
				"carriage return, middle":  {good[:len(good)-8] + "\r" + good[len(good)-8:], malformed},
				"space before":             {" " + good, malformed},
				"space after":              {good + " ", malformed},
				"two lines":                {good + "\n" + good, malformed},
				"upper case":               {strings.ToUpper(head) + data, malformed},
				"unknown suite":            {prefix + "p384:" + data, unknown},
				"no suite":                 {prefix + ":" + data, unknown},
				"suite in upper case":      {prefix + strings.ToUpper(string(suite)) + ":" + data, unknown},
				"padding":                  {good + "=", malformed},
				"standard alphabet":        {good[:len(good)-8] + "+/" + good[len(good)-6:], malformed},
				"character too few":        {good[:len(good)-1], malformed},
				"character too many":       {good + "A", malformed},
				"three bytes":              {encode(raw[:3]), malformed},
				"checksum only":            {encode(raw[len(raw)-4:]), malformed},
				"without checksum":         {encode(raw[:len(raw)-4]), malformed},
				"byte too few":             {encode(raw[1:]), malformed},
				"byte too many":            {encode(append([]byte{0}, raw...)), malformed},
				"byte after":               {encode(append(bytes.Clone(raw), 0)), malformed},
				"checksum wrong at first":  {encode(flip(len(raw) - 4)), malformed},
				"checksum wrong at last":   {encode(flip(len(raw) - 1)), malformed},
				"key wrong at first":       {encode(flip(0)), malformed},
				"key wrong in the middle":  {encode(flip(len(raw) / 2)), malformed},
				"key wrong at last":        {encode(flip(len(raw) - 5)), malformed},
				"longer than may be":       {head + strings.Repeat("A", 4<<10), malformed},
				"long suite":               {prefix + strings.Repeat("a", 4<<10) + ":" + data, malformed},
				"good, then a lot":         {good + "\n" + strings.Repeat(" ", 4<<10), malformed},
				"bits that are not used":   {good[:len(good)-1] + nextSymbol(good[len(good)-1]), malformed},
				"of another suite's bytes": {prefix + string(another(suite)) + ":" + data, malformed},
			} {
				err := parse(test.line)
				require.EqualError(t, err, test.want, "%s: %s", head, name)
			}
		}
	}
}

func another(suite seal.Suite) seal.Suite {
	if suite == seal.P256 {
		return seal.X25519
	}
	return seal.P256
}

// nextSymbol changes the last bit of a symbol, which base64 may leave unused.
func nextSymbol(symbol byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, symbol)^1])
}

// Their lines are well-formed; nothing can be sealed to them, or their owner has another line.
func TestBadKeysWithGoodChecksums(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 32)
	order8, err := base64.StdEncoding.DecodeString("4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=")
	require.NoError(t, err)
	hybrid := testPublic(t, seal.MLKEM768X25519)
	hybrid = append(hybrid[:len(hybrid)-32:len(hybrid)-32], zeros...)
	for suite, points := range map[seal.Suite][][]byte{
		seal.X25519:         {zeros, order8},
		seal.P256:           {{}, {0}, make([]byte, 65), append([]byte{4}, make([]byte, 64)...), testPublic(t, seal.P256)[:33]},
		seal.MLKEM768X25519: {zeros, hybrid, bytes.Repeat([]byte{0xff}, len(hybrid))},
	} {
		for i, point := range points {
			_, err := seal.ParsePublicKey(line(publicPrefix, suite, point, point))
			require.EqualError(t, err, "seal: malformed or damaged key line", "%s %d", suite, i)
		}
	}

	// X25519 passes over five bits of a private key: it has one line.
	public := testPublic(t, seal.X25519)
	for _, change := range []struct{ at, bit int }{{0, 1}, {0, 4}, {31, 0x80}} {
		raw := []byte(testRaw)
		raw[change.at] ^= byte(change.bit)
		_, err := seal.ParsePrivateKey(line(privatePrefix, seal.X25519, raw, public))
		require.EqualError(t, err, "seal: malformed or damaged key line")
	}
	// Neither zero nor the order of the curve is a private key.
	for _, raw := range [][]byte{zeros, bytes.Repeat([]byte{0xff}, 32)} {
		_, err := seal.ParsePrivateKey(line(privatePrefix, seal.P256, raw, testPublic(t, seal.P256)))
		require.EqualError(t, err, "seal: malformed or damaged key line")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, suite := range all {
		f.Add(testKey(f, suite).Public().String())
		f.Add(testKey(f, suite).Reveal())
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := seal.ParsePublicKey(line)
		if err != nil {
			if key != (seal.PublicKey{}) {
				t.Fatal("a key came with an error")
			}
			return
		}
		if key.String() != strings.TrimSuffix(line, "\n") {
			t.Fatalf("accepted %q, printed %q", line, key)
		}
		if _, err := ringFor(t, []seal.PublicKey{key}).Seal(t.Context(), text, nil); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParsePrivateKey(f *testing.F) {
	for _, suite := range all {
		f.Add(testKey(f, suite).Public().String())
		f.Add(testKey(f, suite).Reveal())
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := seal.ParsePrivateKey(line)
		if err != nil {
			if key.Reveal() != "" {
				t.Fatal("a key came with an error")
			}
			return
		}
		if key.Reveal() != strings.TrimSuffix(line, "\n") {
			t.Fatalf("accepted %q, printed another line", line)
		}
		requireOpens(t, ring(t, key), sealed(t, ring(t, key)))
	})
}
