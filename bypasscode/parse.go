package bypasscode

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	alphabet = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
	symbols  = 26
	length   = symbols + 5 // with dashes

	// A person's text with every symbol apart and quoted is far below this;
	// nothing longer is worth reading.
	maxTyped = 1 << 10
)

// offset gives the place of each symbol in the canonical text.
var offset = [symbols]uint8{
	0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15,
	17, 18, 19, 20, 22, 23, 24, 25, 27, 28, 29, 30,
}

const noSymbol = 0xFF

// value gives the five bits that a byte stands for, or noSymbol.
var value = func() (v [256]byte) {
	for i := range v {
		v[i] = noSymbol
	}
	for i := range len(alphabet) {
		v[alphabet[i]] = byte(i)
	}
	return v
}()

// A SyntaxError says why a text is not a code. It never quotes the text.
type SyntaxError struct {
	// Symbol is the place of the symbol that is wrong, counted from 1 to 26
	// without dashes; 0 if the text as a whole is wrong.
	Symbol int
	// Reason completes the sentence "symbol 3 …" or "the text …".
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Symbol == 0 {
		return "bypasscode: the text " + e.Reason
	}
	return "bypasscode: symbol " + strconv.Itoa(e.Symbol) + " " + e.Reason
}

const (
	reasonLast  = "ends the code and must be a digit from 0 to 7"
	reasonDash  = "must be followed by a dash"
	reasonNever = "is one of the letters B, I, O, S, which no code has"
	reasonLower = "is in lower case"
	reasonOther = "is not in the alphabet of codes"
)

// Parse decodes a canonical code: 31 characters, upper case, a dash after the
// symbols 5, 10, 14, 18 and 22, the last symbol from 0 to 7. What it accepts,
// [Code.Reveal] prints back to the same characters. Errors are of type
// [*SyntaxError].
//
// Use it for what a program wrote; [ParseLenient] is for what people type.
func Parse(s string) (Code, error) {
	if len(s) != length {
		return Code{}, &SyntaxError{0, "has " + strconv.Itoa(len(s)) + " bytes, a code with its dashes has 31"}
	}
	var raw [Size]byte
	var bits uint64 // at most 12 of them in use
	have, out := 0, 0
	for i := range symbols {
		v := value[s[offset[i]]]
		if v == noSymbol {
			return Code{}, symbolError(i, s[offset[i]:])
		}
		width := 5
		if i == symbols-1 {
			if width = 3; v > 7 {
				return Code{}, &SyntaxError{symbols, reasonLast}
			}
		} else if offset[i+1]-offset[i] == 2 && s[offset[i]+1] != '-' {
			return Code{}, &SyntaxError{i + 1, reasonDash}
		}
		bits, have = bits<<width|uint64(v), have+width
		if have >= 8 {
			have -= 8
			raw[out] = byte(bits >> have)
			out++
		}
	}
	return newCode(raw), nil
}

// ParseLenient decodes what a person typed: white space, dashes and the
// Unicode dashes that text programs substitute are left out, letters are
// upper-cased. With lookalikes, O, I, S and B are read as 0, 1, 5 and 8; no
// code has these letters, so the reading is not ambiguous. Anything else is an
// error, and so is a count other than 26 symbols or a last symbol above 7.
// Errors are of type [*SyntaxError].
//
// An error is a reason to warn a person, not to refuse an unlock: Apple
// publishes no rule for typed codes.
func ParseLenient(s string, lookalikes bool) (Code, error) {
	if len(s) > maxTyped {
		return Code{}, &SyntaxError{0, "is too long"}
	}
	var typed [symbols]byte
	n := 0
	for i, r := range s {
		if unicode.IsSpace(r) || isDash(r) {
			continue
		}
		c := byte(noSymbol)
		if r < utf8.RuneSelf {
			c = byte(unicode.ToUpper(r))
		}
		if lookalikes {
			if at := strings.IndexByte("OISB", c); at >= 0 {
				c = "0158"[at]
			}
		}
		if value[c] == noSymbol {
			return Code{}, symbolError(n, strings.ToUpper(s[i:i+1]))
		}
		if n < symbols {
			typed[n] = c
		}
		n++
	}
	if n != symbols {
		return Code{}, &SyntaxError{0, "has " + strconv.Itoa(n) + " symbols, a code has 26"}
	}
	var canonical [length]byte
	for i := range canonical {
		canonical[i] = '-'
	}
	for i, c := range typed {
		canonical[offset[i]] = c
	}
	return Parse(string(canonical[:]))
}

func isDash(r rune) bool {
	return r == '-' || r >= '\u2010' && r <= '\u2015' || r == '\u2212'
}

// symbolError names what is wrong with symbol i, which rest begins with.
func symbolError(i int, rest string) *SyntaxError {
	reason := reasonOther
	switch c := rest[0]; {
	case strings.IndexByte("BIOS", c) >= 0:
		reason = reasonNever
	case 'a' <= c && c <= 'z':
		reason = reasonLower
	}
	return &SyntaxError{i + 1, reason}
}

func format(raw [Size]byte) string {
	hi, lo := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	out := [length]byte{5: '-', 11: '-', 16: '-', 21: '-', 26: '-'}
	for i := range 12 { // 60 bits
		out[offset[i]] = alphabet[hi>>(59-5*i)&31]
	}
	out[offset[12]] = alphabet[(hi<<1|lo>>63)&31]
	for i := range 12 { // 60 bits after the first
		out[offset[13+i]] = alphabet[lo>>(58-5*i)&31]
	}
	out[length-1] = alphabet[lo&7]
	return string(out[:])
}
