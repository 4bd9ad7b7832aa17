package bypasscode

import (
	"database/sql/driver"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrSecret is returned by everything that tries to encode a [Code] or a
// [Text]. Seal it (package escrow), or call Reveal where that is meant.
var ErrSecret = errors.New("bypasscode: a code is not encoded implicitly; reveal or seal it")

// redacted gives the types that embed it their printed form, and makes
// encoders fail instead of storing that form.
type redacted struct{}

const redactedText = "[redacted]"

// Format prints "[redacted]" for every verb and flag.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, redactedText) }

// String returns "[redacted]".
func (redacted) String() string { return redactedText }

// GoString returns "[redacted]".
func (redacted) GoString() string { return redactedText }

// LogValue returns "[redacted]".
func (redacted) LogValue() slog.Value { return slog.StringValue(redactedText) }

// MarshalText returns [ErrSecret].
func (redacted) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary returns [ErrSecret].
func (redacted) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// MarshalJSON returns [ErrSecret].
func (redacted) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalXML returns [ErrSecret].
func (redacted) MarshalXML(*xml.Encoder, xml.StartElement) error { return ErrSecret }

// MarshalYAML returns [ErrSecret].
func (redacted) MarshalYAML() (any, error) { return nil, ErrSecret }

// MarshalPlist returns [ErrSecret].
func (redacted) MarshalPlist() (any, error) { return nil, ErrSecret }

// GobEncode returns [ErrSecret].
func (redacted) GobEncode() ([]byte, error) { return nil, ErrSecret }

// Value, which database/sql calls on parameters, returns [ErrSecret].
func (redacted) Value() (driver.Value, error) { return nil, ErrSecret }
