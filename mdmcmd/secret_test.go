package mdmcmd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/groob/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	in := []byte("invented")
	s := mdmcmd.NewSecret(in)
	require.False(t, s.IsZero())
	in[0] = 'X' // the caller's slice is not kept
	first := s.Reveal()
	require.Equal(t, "invented", string(first))
	first[0] = 'X' // nor is what it hands out
	_ = append(first[:0], "overwritten"...)
	require.Equal(t, "invented", string(s.Reveal()))
	other := s
	require.Equal(t, "invented", string(other.Reveal()))

	for _, zero := range []mdmcmd.Secret{{}, mdmcmd.NewSecret(nil), mdmcmd.NewSecret([]byte{})} {
		require.True(t, zero.IsZero())
		require.Nil(t, zero.Reveal())
	}
	require.False(t, mdmcmd.NewSecret([]byte{0}).IsZero())
	require.False(t, reflect.TypeFor[mdmcmd.Secret]().Comparable(), "== would compare, and not in constant time")
}

// secretCommands are all places for a secret in a command, by what they hold.
var secretCommands = map[string]func(mdmcmd.Secret) mdmcmd.Command{
	"PIN of a lock":   func(s mdmcmd.Secret) mdmcmd.Command { return mdmcmd.DeviceLock{Message: "a", PIN: s} },
	"PIN of a wipe":   func(s mdmcmd.Secret) mdmcmd.Command { return mdmcmd.EraseDevice{PIN: s} },
	"unlock token":    func(s mdmcmd.Secret) mdmcmd.Command { return mdmcmd.ClearPasscode{UnlockToken: s} },
	"Wi-Fi profile":   again(func(r *mdmcmd.ReturnToServiceOptions, s mdmcmd.Secret) { r.WiFiProfileData = s }),
	"MDM profile":     again(func(r *mdmcmd.ReturnToServiceOptions, s mdmcmd.Secret) { r.MDMProfileData = s }),
	"bootstrap token": again(func(r *mdmcmd.ReturnToServiceOptions, s mdmcmd.Secret) { r.BootstrapToken = s }),
}

func again(set func(*mdmcmd.ReturnToServiceOptions, mdmcmd.Secret)) func(mdmcmd.Secret) mdmcmd.Command {
	return func(s mdmcmd.Secret) mdmcmd.Command {
		r := &mdmcmd.ReturnToServiceOptions{Enabled: true}
		set(r, s)
		return mdmcmd.EraseDevice{ReturnToService: r}
	}
}

// No field that holds a secret is forgotten above.
func TestSecretFields(t *testing.T) {
	t.Parallel()
	var count func(reflect.Type) int
	count = func(typ reflect.Type) (n int) {
		if typ == reflect.TypeFor[mdmcmd.Secret]() {
			return 1
		}
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Struct {
			for field := range typ.Fields() {
				n += count(field.Type)
			}
		}
		return n
	}
	found, seen := 0, map[reflect.Type]bool{}
	for _, test := range commands {
		typ := reflect.TypeOf(test.command)
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if !seen[typ] {
			seen[typ] = true
			found += count(typ)
		}
	}
	require.Len(t, secretCommands, found)
}

const pin = "Zq7#kP"

// shows reports whether a text gives the PIN away in any spelling.
func shows(text string) bool {
	raw := []byte(pin)
	compact := strings.NewReplacer(" ", "", ",", "", "0x", "", "\n", "").Replace
	for _, spelling := range []string{
		pin, hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), strings.Trim(fmt.Sprint(raw), "[]"),
		fmt.Sprint([]rune(pin)), fmt.Sprintf("%#v", raw),
	} {
		if strings.Contains(strings.ToLower(compact(text)), strings.ToLower(strings.Trim(compact(spelling), "[]"))) {
			return true
		}
	}
	return false
}

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	require.True(t, shows(fmt.Sprintf("%#v", []byte(pin))) && shows(fmt.Sprintf("% X", pin)) && shows(fmt.Sprint([]byte(pin))), "the test sees nothing")
	s := mdmcmd.NewSecret([]byte(pin))
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%08.3f", "%-20s|", "%c", "%t"} {
		require.Contains(t, fmt.Sprintf(form, s), "[redacted]", form)
		require.Contains(t, fmt.Sprintf(form, &s), "[redacted]", form)
	}
	require.False(t, shows(printed(t, s)))
	require.Equal(t, "[redacted]", fmt.Sprint(mdmcmd.Secret{}))
	for name, with := range secretCommands {
		c := with(s)
		raw, err := mdmcmd.Encode("1", c)
		require.NoError(t, err, name)
		_, texts, err := read(raw)
		require.NoError(t, err)
		require.Contains(t, texts, pin, "%s is not sent", name)

		forms := []any{c, []mdmcmd.Command{c}, map[string]any{"c": c}, struct{ c mdmcmd.Command }{c}}
		p := reflect.New(reflect.TypeOf(c))
		p.Elem().Set(reflect.ValueOf(c))
		forms = append(forms, p.Interface())
		if erase, ok := c.(mdmcmd.EraseDevice); ok && erase.ReturnToService != nil {
			forms = append(forms, erase.ReturnToService, *erase.ReturnToService)
		}
		for _, form := range forms {
			if shows(printed(t, form)) {
				t.Fatalf("%s shows in a %T", name, form)
			}
			var out strings.Builder
			require.NoError(t, template.Must(template.New("").Parse("{{.}} {{printf \"%#v\" .}}")).Execute(&out, form))
			require.False(t, shows(out.String()), "%s in a template", name)
		}
		// Nor does an error that the secret causes.
		for _, bad := range []string{pin + "\xff", pin + pin} {
			if _, err := mdmcmd.Encode("1", with(hidden(bad))); err != nil {
				require.False(t, shows(err.Error()), name)
			}
		}
	}
}

// A secret that an encoder left out would be a command without it.
func TestSecretsAreNotEncoded(t *testing.T) {
	t.Parallel()
	encoders := map[string]func(any) ([]byte, error){
		"JSON": json.Marshal,
		"XML":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return nil, err
		},
		"plist": func(v any) (out []byte, err error) {
			defer func() {
				if recover() != nil { // the library, on a nil pointer
					err = errors.New("panicked")
				}
			}()
			return plist.Marshal(v)
		},
	}
	s := mdmcmd.NewSecret([]byte(pin))
	for encoder, encode := range encoders {
		_, err := encode(s)
		require.Error(t, err, encoder)
		require.False(t, shows(err.Error()), encoder)
		_, err = encode(&s)
		require.Error(t, err, encoder)
		for name, with := range secretCommands {
			out, err := encode(with(s))
			require.Error(t, err, "%s as %s", name, encoder)
			require.False(t, shows(err.Error()), "%s as %s", name, encoder)
			require.False(t, shows(string(out)), "%s as %s", name, encoder)
			if encoder == "JSON" || encoder == "XML" {
				require.True(t, errors.Is(err, bypasscode.ErrSecret), "%s as %s: %v", name, encoder, err)
			}
		}
	}
	for _, encode := range []func() ([]byte, error){s.MarshalText, s.MarshalBinary} {
		out, err := encode()
		require.ErrorIs(t, err, bypasscode.ErrSecret)
		require.Empty(t, out)
	}
	stored, err := s.Value()
	require.ErrorIs(t, err, bypasscode.ErrSecret)
	require.Nil(t, stored)
}
