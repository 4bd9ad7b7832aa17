package bypasscode_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/internal/reference"
)

const sample = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		symbol     int
		reason     string
	}{
		{"empty", "", 0, "has 0 bytes"},
		{"no dashes", strings.ReplaceAll(sample, "-", ""), 0, "has 26 bytes"},
		{"25 symbols", sample[:30], 0, "has 30 bytes"},
		{"27 symbols", sample + "4", 0, "has 32 bytes"},
		{"surrounding space", " " + sample, 0, "has 32 bytes"},
		{"last symbol 8", sample[:30] + "8", 26, "0 to 7"},
		{"last symbol A", sample[:30] + "A", 26, "0 to 7"},
		{"last symbol Z", sample[:30] + "Z", 26, "0 to 7"},
		{"letter B", "B" + sample[1:], 1, "B, I, O, S"},
		{"letter I", sample[:6] + "I" + sample[7:], 6, "B, I, O, S"},
		{"letter O", sample[:12] + "O" + sample[13:], 11, "B, I, O, S"},
		{"letter S", sample[:29] + "S4", 25, "B, I, O, S"},
		{"lower case", strings.ToLower(sample), 2, "lower case"},
		{"a dash moved", "3UM43-PUYV-YQYD1-UVCC-HEHJ-FKA4", 10, "alphabet"},
		{"symbol for dash", "3UM430PUYVY-QYD1-UVCC-HEHJ-FKA4", 5, "dash"},
		{"another dash", "3UM43-PUYVY-QYD1-UVCC-HEHJ_FKA4", 22, "dash"},
		{"not ASCII", "3UM43-PUYVY-QYD1-UVCC-HEHJ-FÄ4", 24, "alphabet"},
		{"NUL", "\x00UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", 1, "alphabet"},
		{"invalid UTF-8", "\xffUM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", 1, "alphabet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code, err := bypasscode.Parse(test.text)
			var syntax *bypasscode.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, test.symbol, syntax.Symbol)
			require.Contains(t, err.Error(), test.reason)
			require.True(t, code.IsZero(), "no code comes with an error")
		})
	}
}

// Every text that differs from a code in one byte is refused, or is another
// code and prints as such; there is no byte that Parse skips.
func TestParseReadsEveryByte(t *testing.T) {
	t.Parallel()
	for i := range len(sample) {
		for b := range 256 {
			text := sample[:i] + string([]byte{byte(b)}) + sample[i+1:]
			code, err := bypasscode.Parse(text)
			if err == nil {
				require.Equal(t, text, code.Reveal())
				continue
			}
			require.NotContains(t, err.Error(), sample[:5])
		}
	}
}

func TestParseLenient(t *testing.T) {
	t.Parallel()
	want, err := bypasscode.Parse(sample)
	require.NoError(t, err)
	for _, text := range []string{
		sample,
		strings.ToLower(sample),
		strings.ReplaceAll(sample, "-", ""),
		"  \t\r\n" + sample + "\u00a0\n",
		strings.ReplaceAll(sample, "-", " "),
		strings.ReplaceAll(sample, "-", " - "),
		strings.ReplaceAll(sample, "-", "\u2010"),
		strings.ReplaceAll(sample, "-", "\u2011"),
		strings.ReplaceAll(sample, "-", "\u2012"),
		strings.ReplaceAll(sample, "-", "\u2013"),
		strings.ReplaceAll(sample, "-", "\u2014"),
		strings.ReplaceAll(sample, "-", "\u2015"),
		strings.ReplaceAll(sample, "-", "\u2212"),
		"3UM43-PUYV-YQYD1-UVCC-HEHJ-FKA4",
	} {
		for _, lookalikes := range []bool{false, true} {
			code, err := bypasscode.ParseLenient(text, lookalikes)
			require.NoError(t, err)
			require.True(t, code.Equal(want))
		}
	}
}

func TestParseLenientLookalikes(t *testing.T) {
	t.Parallel()
	want, err := bypasscode.Parse("01580-15801-5801-5801-5801-5801")
	require.NoError(t, err)
	for _, typed := range []string{"OISBO-ISBOI-SBOI-SBOI-SBOI-SBOI", "oisbo-isboi-sboi-sboi-sboi-sboi"} {
		code, err := bypasscode.ParseLenient(typed, true)
		require.NoError(t, err)
		require.True(t, code.Equal(want))

		_, err = bypasscode.ParseLenient(typed, false)
		require.ErrorContains(t, err, "symbol 1 is one of the letters B, I, O, S")
	}
}

func TestParseLenientRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		symbol     int
		reason     string
	}{
		{"empty", "", 0, "has 0 symbols"},
		{"25 symbols", sample[:30], 0, "has 25 symbols"},
		{"27 symbols", sample + "4", 0, "has 27 symbols"},
		{"two codes", sample + " " + sample, 0, "has 52 symbols"},
		{"last symbol 8", sample[:30] + "8", 26, "0 to 7"},
		{"stray text", sample + "!", 27, "alphabet"},
		{"fullwidth digit", "３UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", 1, "alphabet"},
		{"long s, which upper-cases to S", "ſUM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", 1, "alphabet"},
		{"invalid UTF-8", "\xff" + sample, 1, "alphabet"},
		{"endless", strings.Repeat(" ", 1<<20) + sample, 0, "too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code, err := bypasscode.ParseLenient(test.text, true)
			var syntax *bypasscode.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, test.symbol, syntax.Symbol)
			require.Contains(t, err.Error(), test.reason)
			require.True(t, code.IsZero())
		})
	}
}

func TestParseRefusesNoncanonicalFixtures(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(reference.Path(t, "bypass-code-noncanonical.json"))
	require.NoError(t, err)
	var texts []struct{ Code, Why string }
	require.NoError(t, json.Unmarshal(data, &texts))
	require.Len(t, texts, 14)
	for _, text := range texts {
		_, err := bypasscode.Parse(text.Code)
		require.Error(t, err, text.Why)
		if text.Code != "" {
			require.NotContains(t, err.Error(), text.Code)
		}
	}
}

func TestVectorsAgreeWithFixtures(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(reference.Path(t, "bypass-code-vectors.json"))
	require.NoError(t, err)
	var published []struct{ Raw, Code, Hash string }
	require.NoError(t, json.Unmarshal(data, &published))
	ours := vectors(t)
	require.Len(t, published, len(ours))
	for i, p := range published {
		require.Equal(t, ours[i], vector{p.Raw, p.Code, p.Hash})
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.code)
	}
	f.Add(strings.ToLower(sample))
	f.Add(sample[:30] + "8")
	f.Fuzz(func(t *testing.T, text string) {
		code, err := bypasscode.Parse(text)
		if err != nil {
			var syntax *bypasscode.SyntaxError
			if !errors.As(err, &syntax) || syntax.Symbol < 0 || syntax.Symbol > 26 {
				t.Fatalf("error %#v", err)
			}
			if !code.IsZero() {
				t.Fatal("a code came with an error")
			}
			return
		}
		if code.Reveal() != text {
			t.Fatalf("accepted %q, printed %q", text, code.Reveal())
		}
		lenient, err := bypasscode.ParseLenient(text, false)
		if err != nil || !lenient.Equal(code) {
			t.Fatalf("ParseLenient differs from Parse on %q: %v", text, err)
		}
	})
}

func FuzzParseLenient(f *testing.F) {
	f.Add(" 3um43 puyvy qyd1\u2013uvcc-hehj-fka4\n", false)
	f.Add("OISBO-ISBOI-SBOI-SBOI-SBOI-SBOI", true)
	f.Fuzz(func(t *testing.T, text string, lookalikes bool) {
		code, err := bypasscode.ParseLenient(text, lookalikes)
		if err != nil {
			return
		}
		again, err := bypasscode.Parse(code.Reveal())
		if err != nil || !again.Equal(code) {
			t.Fatalf("%q was read as a code that does not print back: %v", text, err)
		}
		if !lookalikes && strings.ContainsAny(strings.ToUpper(text), "BIOS") {
			t.Fatalf("accepted a letter that no code has in %q", text)
		}
	})
}

func FuzzBytes(f *testing.F) {
	for _, v := range vectors(f) {
		raw := fromHex(f, v.raw).RevealBytes()
		f.Add(raw[:])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		code, err := bypasscode.FromBytes(raw)
		if (err == nil) != (len(raw) == bypasscode.Size) {
			t.Fatalf("%d bytes: %v", len(raw), err)
		}
		if err != nil {
			return
		}
		parsed, err := bypasscode.Parse(code.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.RevealBytes(); string(got[:]) != string(raw) {
			t.Fatalf("%x came back as %x", raw, got)
		}
	})
}
