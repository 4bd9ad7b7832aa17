package bypasscode

import (
	"crypto/subtle"
	"strings"
)

// Text is a bypass code as a device reported it, byte for byte. Every device
// code seen in public has the format of a [Code], but no source promises it,
// so a Text is stored and sent as it came: never upper-cased, never re-dashed.
//
// The zero Text is empty, which is how some devices may say that they have no
// code to give (unconfirmed).
type Text struct {
	redacted
	text func() string // see Code.raw
}

// NewText wraps what a device reported. The text is copied: it keeps nothing
// of a larger message alive.
func NewText(s string) Text {
	if s == "" {
		return Text{}
	}
	s = strings.Clone(s)
	return Text{text: func() string { return s }}
}

// IsZero reports whether the text is empty.
func (t Text) IsZero() bool { return t.text == nil }

// Reveal returns the text exactly as it came.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return t.text()
}

// Code decodes the text by the strict rules of [Parse]. An error means that
// the text is not canonical, not that it would fail to unlock: send it as it
// is.
func (t Text) Code() (Code, error) { return Parse(t.Reveal()) }

// Equal reports whether both hold the same bytes, in a time that depends on
// their lengths only.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}
