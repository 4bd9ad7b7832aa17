package secrecy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
)

// secret is what must not get out.
type secret struct {
	name string
	text string
	raw  []byte // nil if the text is all there is
}

func codeSecret(name string, code bypasscode.Code) secret {
	raw := code.RevealBytes()
	return secret{name, code.Reveal(), raw[:]}
}

// spellings returns what a secret is made of before it is encoded, by name.
func (s secret) spellings() map[string][]byte {
	found := map[string][]byte{}
	for name, text := range map[string]string{
		"text": s.text, "text without dashes": strings.ReplaceAll(s.text, "-", ""),
		"lower case": strings.ToLower(s.text), "lower case without dashes": strings.ToLower(strings.ReplaceAll(s.text, "-", "")),
	} {
		found[name] = []byte(text)
		little, big := []byte(nil), []byte(nil)
		for _, unit := range utf16.Encode([]rune(text)) {
			little, big = binary.LittleEndian.AppendUint16(little, unit), binary.BigEndian.AppendUint16(big, unit)
		}
		found[name+" in UTF-16LE"], found[name+" in UTF-16BE"] = little, big
	}
	if s.raw != nil {
		found["bytes"] = s.raw
	}
	return found
}

// encodings are what programs make of bytes.
var encodings = map[string]func([]byte) string{
	"as it is":            func(b []byte) string { return string(b) },
	"hex":                 hex.EncodeToString,
	"HEX":                 func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) },
	"hex with spaces":     func(b []byte) string { return fmt.Sprintf("% x", b) },
	"HEX with spaces":     func(b []byte) string { return fmt.Sprintf("% X", b) },
	"decimal":             func(b []byte) string { return strings.Trim(fmt.Sprint(b), "[]") },
	"decimal with commas": func(b []byte) string { return strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ",") },
	"Go":                  func(b []byte) string { return strings.TrimSuffix(fmt.Sprintf("%#v", b)[len("[]byte{"):], "}") },
	"quoted by Go":        func(b []byte) string { return strings.Trim(strconv.Quote(string(b)), `"`) },
	"quoted by SQL":       func(b []byte) string { return strings.ReplaceAll(string(b), "'", "''") },
	"base64 0":            func(b []byte) string { return inBase64(base64.RawStdEncoding, b, 0) },
	"base64 1":            func(b []byte) string { return inBase64(base64.RawStdEncoding, b, 1) },
	"base64 2":            func(b []byte) string { return inBase64(base64.RawStdEncoding, b, 2) },
	"base64 for URLs 0":   func(b []byte) string { return inBase64(base64.RawURLEncoding, b, 0) },
	"base64 for URLs 1":   func(b []byte) string { return inBase64(base64.RawURLEncoding, b, 1) },
	"base64 for URLs 2":   func(b []byte) string { return inBase64(base64.RawURLEncoding, b, 2) },
}

// inBase64 returns the characters that bytes alone decide, wherever they are in
// a longer text: after a number of bytes that is the remainder of a division by
// three.
func inBase64(e *base64.Encoding, b []byte, after int) string {
	encoded := e.EncodeToString(append(make([]byte, after), b...))
	whole := (after + len(b)) / 3 * 4 // what comes next mixes into the rest
	return encoded[(after*8+5)/6 : min(whole+((after+len(b))%3*8)/6, len(encoded))]
}

// window is what the search looks up; no needle is shorter.
const window = 8

type needle struct {
	secret, form string
	bytes        string
}

// searcher finds many needles in one pass.
type searcher struct {
	byWindow map[uint64][]needle
	known    []bool // hashes of windows
}

func hashOf(w uint64) uint64 { return w * 0x9e3779b97f4a7c15 >> 44 }

// newSearcher returns a searcher for every form of secrets.
func newSearcher(tb testing.TB, secrets []secret) *searcher {
	tb.Helper()
	s := &searcher{map[uint64][]needle{}, make([]bool, 1<<20)}
	seen := map[string]bool{}
	for _, secret := range secrets {
		forms := secret.forms()
		for _, form := range slices.Sorted(maps.Keys(forms)) { // those that are alike have the simplest name
			bytes := forms[form]
			require.GreaterOrEqual(tb, len(bytes), 2*window, "%s of %s is too short to mean anything", form, secret.name)
			if seen[bytes] {
				continue
			}
			seen[bytes] = true
			w := binary.LittleEndian.Uint64([]byte(bytes))
			s.byWindow[w] = append(s.byWindow[w], needle{secret.name, form, bytes})
			s.known[hashOf(w)] = true
		}
	}
	return s
}

// forms returns every spelling in every encoding.
func (s secret) forms() map[string]string {
	forms := map[string]string{}
	for spelling, b := range s.spellings() {
		for encoding, encode := range encodings {
			forms[spelling+", "+encoding] = encode(b)
		}
	}
	return forms
}

// find returns the forms that are there, by secret.
func (s *searcher) find(in []byte) map[string][]needle {
	found := map[string][]needle{}
	seen := map[needle]bool{}
	for i := 0; i+window <= len(in); i++ {
		w := binary.LittleEndian.Uint64(in[i:])
		if !s.known[hashOf(w)] {
			continue
		}
		for _, n := range s.byWindow[w] {
			if len(in)-i >= len(n.bytes) && string(in[i:i+len(n.bytes)]) == n.bytes && !seen[n] {
				seen[n] = true
				found[n.secret] = append(found[n.secret], n)
			}
		}
	}
	return found
}

// planted is what the search must find. It has bytes that programs quote.
var planted = func() secret {
	code, err := bypasscode.FromBytes([]byte{'p', 'l', 'a', 0x00, '\'', '\\', 0xff, 0x1a, '\n', '"', 0x80, 'n', 't', 0xfb, 0xff, 0xbe})
	if err != nil {
		panic(err) // never
	}
	return codeSecret("planted", code)
}()

// The searcher finds each form of a code wherever it is, and no other code.
func TestSearcher(t *testing.T) {
	t.Parallel()
	s := newSearcher(t, []secret{planted, codeSecret("another", bypasscode.New())})
	noise := bytes.Repeat([]byte("00000-00000-0000-0000-0000-000"), 100)
	require.Empty(t, s.find(noise))
	require.Empty(t, s.find(nil))
	forms := planted.forms()
	require.Len(t, forms, 13*len(encodings))
	for _, name := range slices.Sorted(maps.Keys(forms)) {
		for _, at := range []int{0, 1, 1001, len(noise)} {
			found := s.find(slices.Concat(noise[:at], []byte(forms[name]), noise[at:]))
			require.NotEmpty(t, found["planted"], "%s at %d", name, at)
			require.Empty(t, found["another"])
		}
		require.Empty(t, s.find([]byte(forms[name])[1:])["planted"], "%s without its first byte", name)
	}
}

// Those that do the encoding are others than those that look for it.
func TestSearcherKnowsOtherEncoders(t *testing.T) {
	t.Parallel()
	s := newSearcher(t, []secret{planted})
	for before := range 4 {
		for after := range 4 {
			for _, b := range planted.spellings() {
				within := slices.Concat(bytes.Repeat([]byte{0xa5}, before), b, bytes.Repeat([]byte{0x5a}, after))
				for name, out := range map[string]string{
					"%s": string(within), "%x": fmt.Sprintf("%x", within), "%X": fmt.Sprintf("%X", within), "% x": fmt.Sprintf("% x", within),
					"%v": fmt.Sprint(within), "%#v": fmt.Sprintf("%#v", within),
					"StdEncoding": base64.StdEncoding.EncodeToString(within), "RawStdEncoding": base64.RawStdEncoding.EncodeToString(within),
					"URLEncoding": base64.URLEncoding.EncodeToString(within), "RawURLEncoding": base64.RawURLEncoding.EncodeToString(within),
				} {
					require.NotEmpty(t, s.find([]byte(out))["planted"], "%s of %q", name, within)
				}
			}
		}
	}
}
