package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

// spellings of the test key that would give it away.
func spellings(key seal.PrivateKey) []string {
	raw := []byte(testRaw)
	half := raw[:16] // a line of a hex dump
	_, encoded, _ := strings.Cut(key.Reveal(), ":")
	return []string{
		encoded[:40], // up to the checksum, which is public
		string(half),
		hex.EncodeToString(half),
		fmt.Sprintf("%d", raw),
		fmt.Sprintf("%#v", raw)[len("[]byte{"):],
		base64.StdEncoding.EncodeToString(raw),
		hex.EncodeToString([]byte(key.Reveal())),
	}
}

func requireNoLeak(t *testing.T, spellings []string, out, how string) {
	t.Helper()
	low := strings.ToLower(strings.ReplaceAll(out, " ", ""))
	for _, s := range spellings {
		if strings.Contains(low, strings.ToLower(strings.ReplaceAll(s, " ", ""))) {
			t.Fatalf("%s shows the key: %q", how, out)
		}
	}
}

// The places where a secret sits when somebody prints or encodes a value.
func places(key seal.PrivateKey, ring *seal.Keyring) map[string]any {
	type exported struct {
		Key  seal.PrivateKey
		Ring *seal.Keyring
	}
	type unexported struct {
		key  seal.PrivateKey
		ring *seal.Keyring
	}
	return map[string]any{
		"key":               key,
		"keyring":           ring,
		"pointer to key":    &key,
		"keyring by value":  *ring,
		"exported fields":   exported{key, ring},
		"unexported fields": unexported{key, ring},
		"pointer to struct": &unexported{key, ring},
		"slice of keys":     []seal.PrivateKey{key},
		"slice of keyrings": []*seal.Keyring{ring},
		"map":               map[string]any{"key": key, "ring": ring},
		"interface slice":   []any{key, ring},
		"nested unexported": struct{ inner unexported }{unexported{key, ring}},
	}
}

func TestNothingPrintsAPrivateKey(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		key := testKey(t, suite)
		other := generate(t, suite)
		secrets := spellings(key)
		for name, v := range places(key, ring(t, key)) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%c", "%U", "%e", "%t", "%p", "%10.3v", "%T"} {
				requireNoLeak(t, secrets, fmt.Sprintf(verb, v), name+" with "+verb)
			}
			requireNoLeak(t, secrets, fmt.Sprint(v)+fmt.Sprintln(v), name+" with Sprint")

			for kind, handler := range map[string]func(io.Writer) slog.Handler{
				"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
				"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
			} {
				var out bytes.Buffer
				slog.New(handler(&out)).Info("m", "v", v, slog.Group("g", "v", v))
				require.NotEmpty(t, out.String())
				requireNoLeak(t, secrets, out.String(), name+" with slog "+kind)
			}

			var out bytes.Buffer
			_ = texttemplate.Must(texttemplate.New("").Parse("{{.}}")).Execute(&out, v)
			_ = template.Must(template.New("").Parse("<p title='{{.}}'>{{.}}<script>x = {{.}}</script>")).Execute(&out, v)
			requireNoLeak(t, secrets, out.String(), name+" with templates")

			// testify's diff follows pointers and unexported fields with unsafe.
			for _, compare := range []func(assert.TestingT) bool{
				func(t assert.TestingT) bool { return assert.Equal(t, v, "other") },
				func(at assert.TestingT) bool { return assert.Equal(at, places(other, ring(t, other))[name], v) },
				func(t assert.TestingT) bool { return assert.Nil(t, v) },
				func(t assert.TestingT) bool { return assert.Empty(t, v) },
			} {
				var log recorder
				require.False(t, compare(&log), name)
				require.NotEmpty(t, log.String())
				requireNoLeak(t, secrets, log.String(), name+" in a test diff")
			}
		}
	}
	key := testKey(t, seal.X25519)
	for _, verb := range []string{"%v", "%#v", "%s"} {
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, key))
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, ring(t, key)))
	}
	require.Equal(t, key.Public().String(), fmt.Sprint(key.Public()))
}

// recorder is a testing.T that keeps what it is told.
type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.Buffer, format, args...) }

// An encoder must fail: a stored "[redacted]" is a lost key.
func TestEncodingIsAnError(t *testing.T) {
	t.Parallel()
	key := testKey(t, seal.X25519)
	k := ring(t, key)
	type exported struct{ Key seal.PrivateKey }
	encoders := map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		},
	}
	for name, encode := range encoders {
		for _, v := range []any{key, &key, k, exported{key}, []seal.PrivateKey{key}} {
			out, err := encode(v)
			require.ErrorIs(t, err, seal.ErrSecret, "%s of %T", name, v)
			requireNoLeak(t, spellings(key), string(out)+err.Error(), name)
		}
	}
	for name, encode := range map[string]func() error{
		"text":   func() error { _, err := key.MarshalText(); return err },
		"binary": func() error { _, err := key.MarshalBinary(); return err },
		"sql":    func() error { _, err := key.Value(); return err },
		"ring":   func() error { _, err := k.MarshalText(); return err },
	} {
		require.ErrorIs(t, encode(), seal.ErrSecret, name)
	}
}

func TestErrorsDoNotQuoteKeys(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		key := testKey(t, suite)
		line := key.Reveal()
		for _, bad := range []string{line + "x", line[:len(line)-1], " " + line, line + "\n\n", strings.Replace(line, ":", "!", 1)} {
			path := filepath.Join(t.TempDir(), "key")
			require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
			_, fileErr := seal.ReadKeyFile(path)
			_, publicErr := seal.ParsePublicKey(bad)
			_, privateErr := seal.ParsePrivateKey(bad)
			for _, err := range []error{fileErr, publicErr, privateErr} {
				require.Error(t, err)
				requireNoLeak(t, spellings(key), err.Error(), "error")
			}
		}
	}
}
