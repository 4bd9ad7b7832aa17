package mdmcmd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/activationlock/sdk/internal/plist"
)

// Redacted is the text that [Redact] leaves in place of a code.
const Redacted = "[redacted]"

// MaxRedact is the largest message that [Redact] reads: 16 MiB. It is above
// the limit of [Parse], since it needs little memory and its result goes on to
// a host that reads larger messages.
const MaxRedact = 16 << 20

const bypassCodeKey = "ActivationLockBypassCode"

var errNotRedacted = errors.New("mdmcmd: redact: the code could not be taken out")

// Redact returns the same bytes with the text of every bypass code replaced by
// [Redacted]: the value of each key ActivationLockBypassCode, and wherever
// else that text stands (another key, a comment, base64 data, other case,
// without its dashes). A message without such a key comes back as it is; the
// result may share raw's memory.
//
// It fails closed: a message that cannot be read, or from which the code
// cannot be taken, gives an error and no bytes.
func Redact(raw []byte) ([]byte, error) {
	secrets, err := codesIn(raw)
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return raw, nil
	}
	var out bytes.Buffer
	at := 0
	isValue := valueTracker(raw)
	err = plist.Walk(raw, func(t plist.Token) error {
		replacement := Redacted
		switch {
		case isValue(t) && t.Text(raw) != "":
		case !secrets.in(raw, t):
			return nil
		case t.Kind == plist.Comment:
			replacement = "<!-- " + Redacted + " -->"
		case t.Kind == plist.Data, t.Kind == plist.True, t.Kind == plist.False:
			replacement = ""
		case t.Kind != plist.String && t.Kind != plist.Key, t.Text(raw) == bypassCodeKey:
			return errNotRedacted // a number, a date or our own key cannot become another text
		}
		out.Write(raw[at:t.Start])
		out.WriteString(replacement)
		at = t.End
		return nil
	})
	if err != nil {
		return nil, errNotRedacted
	}
	out.Write(raw[at:])
	if !secrets.goneFrom(out.Bytes()) {
		return nil, errNotRedacted
	}
	return out.Bytes(), nil
}

// codesIn returns the texts of all bypass codes in raw that are to be taken
// out; none if there is nothing to do.
func codesIn(raw []byte) (codes, error) {
	if len(raw) > MaxRedact {
		return nil, fmt.Errorf("mdmcmd: redact: %w", ErrTooLarge)
	}
	var found codes
	isValue := valueTracker(raw)
	err := plist.Walk(raw, func(t plist.Token) error {
		if !isValue(t) {
			return nil
		}
		if t.Kind != plist.String {
			return errNotRedacted
		}
		return found.add(t.Text(raw))
	})
	switch {
	case errors.Is(err, errNotRedacted):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("mdmcmd: redact: %w", err)
	}
	return found, nil
}

// valueTracker returns a function that says of each token of a walk whether it
// is the value of a key ActivationLockBypassCode.
func valueTracker(raw []byte) func(plist.Token) bool {
	next := false
	return func(t plist.Token) bool {
		switch t.Kind {
		case plist.Comment:
			return false
		case plist.Key:
			next = t.Text(raw) == bypassCodeKey
			return false
		}
		is := next
		next = false
		return is
	}
}

const (
	// minSearched is the shortest code that is searched for inside of longer
	// texts. A device that calls "a" its code must not get its whole report
	// redacted.
	minSearched = 8

	// maxCodes bounds the different codes of one message, and with them the
	// time that searching takes. Devices send one.
	maxCodes = 16
)

// codes are the texts to take out.
type codes []struct {
	text   string
	simple string // "" if too short
}

func (c *codes) add(text string) error {
	if text == "" || text == Redacted {
		return nil
	}
	for _, known := range *c {
		if known.text == text {
			return nil
		}
	}
	if len(*c) == maxCodes {
		return errNotRedacted
	}
	simple := simplify(text)
	if len(simple) < minSearched {
		simple = ""
	}
	*c = append(*c, struct{ text, simple string }{text, simple})
	return nil
}

// in reports whether a code stands in the content of t, as it reads or as it
// is written: a comment inside a string is no part of its text. Data that
// cannot be decoded may hold one.
func (c codes) in(raw []byte, t plist.Token) bool {
	if t.Start == t.End {
		return false
	}
	written := string(raw[t.Start:t.End])
	if c.within(written) {
		return true
	}
	if t.Kind == plist.Comment {
		return false
	}
	text := t.Text(raw)
	if t.Kind == plist.Data {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		return err != nil || c.within(string(decoded)) || c.within(text)
	}
	return text != written && c.within(text)
}

func (c codes) within(text string) bool {
	plain := ""
	for _, code := range c {
		if text == code.text {
			return true
		}
		if code.simple == "" {
			continue
		}
		if plain == "" {
			plain = simplify(text)
		}
		if strings.Contains(plain, code.simple) {
			return true
		}
	}
	return false
}

var simplifier = strings.NewReplacer("-", "", " ", "", "\t", "", "\r", "", "\n", "")

func simplify(s string) string { return simplifier.Replace(strings.ToUpper(s)) }

// goneFrom reports whether redacted is well-formed and free of the codes, also
// in places that a walk does not visit.
func (c codes) goneFrom(redacted []byte) bool {
	if c.within(string(redacted)) {
		return false
	}
	isValue := valueTracker(redacted)
	return plist.Walk(redacted, func(t plist.Token) error {
		value := isValue(t) && t.Text(redacted) != "" && t.Text(redacted) != Redacted
		if value || c.in(redacted, t) {
			return errNotRedacted
		}
		return nil
	}) == nil
}
