package audit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/groob/plist"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

const keyText = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// spellings of the test key that would give it away.
func spellings() []string {
	raw := []byte(keyText)
	half := raw[:16] // a line of a hex dump
	return []string{
		string(half),
		hex.EncodeToString(half),
		fmt.Sprintf("%d", half)[1:40],
		fmt.Sprintf("%#v", half)[len("[]byte{") : len("[]byte{")+40],
		base64.StdEncoding.EncodeToString(raw)[:20],
	}
}

func requireNoLeak(t *testing.T, out, how string) {
	t.Helper()
	low := strings.ToLower(strings.ReplaceAll(out, " ", ""))
	for _, s := range spellings() {
		if strings.Contains(low, strings.ToLower(strings.ReplaceAll(s, " ", ""))) {
			t.Fatalf("%s shows the key: %q", how, out)
		}
	}
}

// The places where a key sits when somebody prints or encodes a value.
func places(t *testing.T, random string) map[string]any {
	key, err := audit.NewKey([]byte(random))
	require.NoError(t, err)
	config := audit.Config{Store: &table{}, Key: key, OnHead: func(context.Context, audit.Head) {}}
	log, err := audit.New(config)
	require.NoError(t, err)
	type exported struct {
		Key    audit.Key
		Config audit.Config
		Log    *audit.Log
	}
	type unexported struct {
		key    audit.Key
		config audit.Config
		log    *audit.Log
	}
	return map[string]any{
		"key":               key,
		"config":            config,
		"log":               log,
		"log by value":      *log,
		"pointer to key":    &key,
		"pointer to config": &config,
		"exported fields":   exported{key, config, log},
		"unexported fields": unexported{key, config, log},
		"pointer to struct": &unexported{key, config, log},
		"slice of keys":     []audit.Key{key},
		"slice of configs":  []audit.Config{config},
		"map":               map[string]any{"key": key, "config": config, "log": log},
		"interface slice":   []any{key, &config, log},
		"nested unexported": struct{ inner unexported }{unexported{key, config, log}},
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	others := places(t, strings.Repeat("y", audit.KeySize))
	for name, v := range places(t, keyText) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%c", "%U", "%e", "%t", "%p", "%10.3v", "%T"} {
			requireNoLeak(t, fmt.Sprintf(verb, v), name+" with "+verb)
		}
		requireNoLeak(t, fmt.Sprint(v)+fmt.Sprintln(v), name+" with Sprint")

		for kind, handler := range map[string]func(io.Writer) slog.Handler{
			"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		} {
			var out bytes.Buffer
			slog.New(handler(&out)).Info("m", "v", v, slog.Group("g", "v", v))
			require.NotEmpty(t, out.String())
			requireNoLeak(t, out.String(), name+" with slog "+kind)
		}

		var out bytes.Buffer
		_ = texttemplate.Must(texttemplate.New("").Parse("{{.}}")).Execute(&out, v)
		_ = template.Must(template.New("").Parse("<p title='{{.}}'>{{.}}<script>x = {{.}}</script>")).Execute(&out, v)
		requireNoLeak(t, out.String(), name+" with templates")

		// testify's diff follows pointers and unexported fields with unsafe.
		for _, compare := range []func(assert.TestingT) bool{
			func(t assert.TestingT) bool { return assert.Equal(t, v, "other") },
			func(t assert.TestingT) bool { return assert.Equal(t, others[name], v) },
			func(t assert.TestingT) bool { return assert.Nil(t, v) },
			func(t assert.TestingT) bool { return assert.Empty(t, v) },
		} {
			var log recorder
			require.False(t, compare(&log), name)
			require.NotEmpty(t, log.String())
			requireNoLeak(t, log.String(), name+" in a test diff")
		}
	}
	all := places(t, keyText)
	for _, verb := range []string{"%v", "%#v", "%s", "%d"} {
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, all["key"]))
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, all["log"]))
	}
}

// recorder is a testing.T that keeps what it is told.
type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.Buffer, format, args...) }

// An encoder must fail: a stored "[redacted]" is a lost key.
func TestEncodingIsAnError(t *testing.T) {
	t.Parallel()
	all := places(t, keyText)
	key := all["key"].(audit.Key)
	type exported struct{ Key audit.Key }
	for name, encode := range map[string]func(any) ([]byte, error){
		"json":  json.Marshal,
		"xml":   xml.Marshal,
		"plist": func(v any) ([]byte, error) { return plist.Marshal(v) },
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		},
	} {
		for _, v := range []any{key, &key, exported{key}, []audit.Key{key}, all["log"]} {
			out, err := encode(v)
			require.ErrorIs(t, err, audit.ErrSecret, "%s of %T", name, v)
			requireNoLeak(t, string(out)+err.Error(), name)
		}
		out, err := encode(all["config"])
		require.Error(t, err, name)
		requireNoLeak(t, string(out)+err.Error(), name)
	}
	for name, encode := range map[string]func() error{
		"text":   func() error { _, err := key.MarshalText(); return err },
		"binary": func() error { _, err := key.MarshalBinary(); return err },
		"yaml":   func() error { _, err := key.MarshalYAML(); return err },
		"sql":    func() error { _, err := key.Value(); return err },
	} {
		require.ErrorIs(t, encode(), audit.ErrSecret, name)
	}
}
