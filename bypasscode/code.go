package bypasscode

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
)

// Size is the length of a raw code in bytes.
const Size = 16

// Code is a bypass code whose 16 raw bytes are known: made by a server, typed
// by a person, or decoded from a device's [Text].
//
// The zero Code holds no code: IsZero reports true, Reveal returns "", Hash
// returns an error.
type Code struct {
	redacted
	raw func() [Size]byte // a closure, where no printer can follow
}

func newCode(raw [Size]byte) Code {
	return Code{raw: func() [Size]byte { return raw }}
}

// New makes a code from 16 bytes of crypto/rand.
func New() Code {
	var raw [Size]byte
	rand.Read(raw[:]) // never fails: it ends the program instead
	return newCode(raw)
}

// NewFrom makes a code from the next 16 bytes of r. A reader that ends early
// is an error; there is no code from half the randomness.
func NewFrom(r io.Reader) (Code, error) {
	var raw [Size]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return Code{}, fmt.Errorf("bypasscode: read %d random bytes: %w", Size, err)
	}
	return newCode(raw), nil
}

// FromBytes makes a code from a copy of exactly 16 raw bytes; any other length
// is an error.
func FromBytes(b []byte) (Code, error) {
	if len(b) != Size {
		return Code{}, fmt.Errorf("bypasscode: a raw code has %d bytes, got %d", Size, len(b))
	}
	return newCode([Size]byte(b)), nil
}

// IsZero reports whether c holds no code.
func (c Code) IsZero() bool { return c.raw == nil }

// Reveal returns the 31 characters of the code, as people type them and as
// Apple's unlock call takes them, for example 00000-00000-0000-0000-0000-0000.
// The zero Code gives "".
func (c Code) Reveal() string {
	if c.raw == nil {
		return ""
	}
	return format(c.raw())
}

// RevealBytes returns the 16 raw bytes. It panics on the zero Code, since
// sixteen zero bytes are a valid code that nobody has.
func (c Code) RevealBytes() [Size]byte {
	if c.raw == nil {
		panic("bypasscode: RevealBytes of the zero Code")
	}
	return c.raw()
}

// Text returns the code's canonical text.
func (c Code) Text() Text { return NewText(c.Reveal()) }

// Equal reports in constant time whether both hold the same code. Two zero
// Codes are equal; a zero Code equals no other.
func (c Code) Equal(other Code) bool {
	if c.raw == nil || other.raw == nil {
		return c.raw == nil && other.raw == nil
	}
	a, b := c.raw(), other.raw()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
