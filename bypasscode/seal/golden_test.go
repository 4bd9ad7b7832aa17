package seal_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

var update = flag.Bool("update", false, "write the golden vectors that are missing; those that are there never change")

// golden is the vectors by their files. Each holds test keys that are published with it.
var golden = map[string][]seal.Suite{
	"x25519.txt":          {seal.X25519},
	"p256.txt":            {seal.P256},
	"mlkem768-x25519.txt": {seal.MLKEM768X25519},
	"x25519-and-p256.txt": {seal.X25519, seal.P256},
}

type vector struct {
	private                  []string
	associated, text, sealed []byte
}

func (v vector) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, "# Sealed text of version 1, to open for ever. The private keys are published: never seal with them.")
	for _, line := range v.private {
		fmt.Fprintln(&b, "private", line)
	}
	fmt.Fprintf(&b, "associated %x\ntext %x\nsealed %x\n", v.associated, v.text, v.sealed)
	return b.String()
}

func readVector(tb testing.TB, name string) (v vector) {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(tb, err)
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		field, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		require.True(tb, ok)
		if field == "private" {
			v.private = append(v.private, value)
			continue
		}
		data, err := hex.DecodeString(value)
		require.NoError(tb, err)
		switch field {
		case "associated":
			v.associated = data
		case "text":
			v.text = data
		case "sealed":
			v.sealed = data
		default:
			tb.Fatalf("%s: unknown field", name)
		}
	}
	return v
}

func addVector(t *testing.T, name string, suites []seal.Suite) {
	path := filepath.Join("testdata", name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
		return
	}
	v := vector{associated: associated, text: text}
	var keys []seal.PrivateKey
	for _, suite := range suites {
		keys = append(keys, testKey(t, suite))
		v.private = append(v.private, testKey(t, suite).Reveal())
	}
	v.sealed = sealed(t, ring(t, keys...))
	require.NoError(t, os.WriteFile(path, []byte(v.String()), 0o644))
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, suites := range golden {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *update {
				addVector(t, name, suites)
			}
			v := readVector(t, name)
			require.Equal(t, text, v.text)
			require.Equal(t, associated, v.associated)
			require.Len(t, v.private, len(suites))
			var keys []seal.PrivateKey
			for i, line := range v.private {
				require.Equal(t, testKey(t, suites[i]).Reveal(), line)
				key, err := seal.ParsePrivateKey(line)
				require.NoError(t, err)
				keys = append(keys, key)
			}
			recipients, err := seal.Recipients(v.sealed)
			require.NoError(t, err)
			require.Equal(t, ids(keys...), recipients)
			stranger := generate(t, seal.P256)
			for _, key := range keys {
				k := ringFor(t, publics(stranger), key)
				requireOpens(t, k, v.sealed)
				rewrapped, changed, err := k.Rewrap(t.Context(), v.sealed, associated)
				require.NoError(t, err)
				require.True(t, changed)
				requireOpens(t, ring(t, stranger), rewrapped)
			}
			requireRefused(t, seal.ErrNoKey, ring(t, stranger), v.sealed, associated)
		})
	}
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, file := range files {
		if !file.IsDir() { // directories are of the fuzz targets
			require.Contains(t, golden, file.Name())
		}
	}
}
