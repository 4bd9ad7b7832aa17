package bypasscode_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
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

	"github.com/activationlock/sdk/bypasscode"
)

// spellings of the sample code that would give it away.
func spellings(tb testing.TB) []string {
	code, err := bypasscode.Parse(sample)
	require.NoError(tb, err)
	raw := code.RevealBytes()
	return []string{
		sample,
		strings.ReplaceAll(sample, "-", ""),
		string(raw[:]),
		hex.EncodeToString(raw[:]),
		fmt.Sprintf("% x", raw[:]),
		fmt.Sprintf("%d", raw[:]),
		fmt.Sprintf("%#v", raw[:])[len("[]byte{"):],
		hex.EncodeToString([]byte(sample)),
		base64.StdEncoding.EncodeToString(raw[:]),
		base64.StdEncoding.EncodeToString([]byte(sample)),
	}
}

func requireNoLeak(t *testing.T, spellings []string, out, how string) {
	t.Helper()
	low := strings.ToLower(strings.ReplaceAll(out, " ", ""))
	for _, s := range spellings {
		if strings.Contains(low, strings.ToLower(strings.ReplaceAll(s, " ", ""))) {
			t.Fatalf("%s shows the code: %q", how, out)
		}
	}
}

// The places where a secret sits when somebody prints or encodes a value.
func places(code bypasscode.Code, text bypasscode.Text) map[string]any {
	type exported struct {
		Code bypasscode.Code
		Text bypasscode.Text
	}
	type unexported struct {
		code bypasscode.Code
		text bypasscode.Text
	}
	type pointers struct {
		Code *bypasscode.Code
		Text *bypasscode.Text
	}
	return map[string]any{
		"code":              code,
		"text":              text,
		"pointer to code":   &code,
		"pointer to text":   &text,
		"exported fields":   exported{code, text},
		"unexported fields": unexported{code, text},
		"pointer to struct": &unexported{code, text},
		"pointer fields":    pointers{&code, &text},
		"slice of codes":    []bypasscode.Code{code},
		"slice of texts":    []bypasscode.Text{text},
		"map":               map[string]any{"code": code, "text": text},
		"interface slice":   []any{code, &text},
		"array of exported": [1]exported{{code, text}},
		"nested unexported": struct{ inner unexported }{unexported{code, text}},
	}
}

func TestNothingPrintsACode(t *testing.T) {
	t.Parallel()
	code, err := bypasscode.Parse(sample)
	require.NoError(t, err)
	secrets := spellings(t)
	for name, v := range places(code, code.Text()) {
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
			func(t assert.TestingT) bool { return assert.Equal(t, places(bypasscode.New(), code.Text())[name], v) },
			func(t assert.TestingT) bool { return assert.Nil(t, v) },
			func(t assert.TestingT) bool { return assert.Empty(t, v) },
			func(t assert.TestingT) bool { return assert.Contains(t, []any{v}, "other") },
		} {
			var log recorder
			require.False(t, compare(&log), name)
			require.NotEmpty(t, log.String())
			requireNoLeak(t, secrets, log.String(), name+" in a test diff")
		}
	}
	wrapped := fmt.Errorf("lock failed for %v: %w", code, errors.New("x"))
	require.EqualError(t, wrapped, "lock failed for [redacted]: x")
	require.Equal(t, "[redacted]", fmt.Sprintf("%v", code))
	require.Equal(t, "[redacted]", fmt.Sprintf("%#v", code.Text()))
	require.Equal(t, "[redacted]", code.String())
}

// recorder is a testing.T that keeps what it is told.
type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.Buffer, format, args...) }

// An encoder must fail: a stored "[redacted]" is a lost code. Encoders pass
// over unexported fields; those must not leak either.
func TestEncodingIsAnError(t *testing.T) {
	t.Parallel()
	code, err := bypasscode.Parse(sample)
	require.NoError(t, err)
	secrets := spellings(t)
	encoders := map[string]func(any) ([]byte, error){
		"json":  json.Marshal,
		"xml":   func(v any) ([]byte, error) { return xml.Marshal(v) },
		"plist": func(v any) ([]byte, error) { return plist.Marshal(v) },
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		},
	}
	type exported struct{ Code bypasscode.Code }
	type unexported struct {
		Name string
		code bypasscode.Code
	}
	for name, encode := range encoders {
		for _, v := range []any{code, code.Text(), &code, exported{code}, &exported{code}, []bypasscode.Code{code}} {
			out, err := encode(v)
			require.ErrorIs(t, err, bypasscode.ErrSecret, "%s of %T", name, v)
			requireNoLeak(t, secrets, string(out)+err.Error(), name)
		}
		out, err := encode(unexported{"x", code})
		require.NoError(t, err, name)
		requireNoLeak(t, secrets, string(out), name)
	}
	for name, encode := range map[string]func() error{
		"text":   func() error { _, err := code.MarshalText(); return err },
		"binary": func() error { _, err := code.MarshalBinary(); return err },
		"yaml":   func() error { _, err := code.MarshalYAML(); return err },
		"sql":    func() error { _, err := code.Value(); return err },
	} {
		require.ErrorIs(t, encode(), bypasscode.ErrSecret, name)
	}
}
