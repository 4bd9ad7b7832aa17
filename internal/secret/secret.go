// Package secret makes types that hold a secret safe to print and impossible to
// encode by accident.
package secret

import (
	"database/sql/driver"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Err is returned by everything that tries to encode a secret.
var Err = errors.New("a secret is not encoded implicitly; reveal it where that is meant")

// Redacted gives the types that embed it their printed form, and makes
// encoders fail instead of storing that form. The secret itself belongs into a
// closure beside it: a func is the one place that reflection cannot read, so
// fmt, encoders and the diffs of test libraries (which follow pointers and
// unexported fields) all stop there. It also makes == a compile error.
type Redacted struct{}

const text = "[redacted]"

// Format prints "[redacted]" for every verb and flag.
func (Redacted) Format(f fmt.State, _ rune) { io.WriteString(f, text) }

// String returns "[redacted]".
func (Redacted) String() string { return text }

// GoString returns "[redacted]".
func (Redacted) GoString() string { return text }

// LogValue returns "[redacted]".
func (Redacted) LogValue() slog.Value { return slog.StringValue(text) }

// MarshalText returns [Err].
func (Redacted) MarshalText() ([]byte, error) { return nil, Err }

// MarshalBinary returns [Err].
func (Redacted) MarshalBinary() ([]byte, error) { return nil, Err }

// MarshalJSON returns [Err].
func (Redacted) MarshalJSON() ([]byte, error) { return nil, Err }

// MarshalXML returns [Err].
func (Redacted) MarshalXML(*xml.Encoder, xml.StartElement) error { return Err }

// MarshalYAML returns [Err].
func (Redacted) MarshalYAML() (any, error) { return nil, Err }

// MarshalPlist returns [Err].
func (Redacted) MarshalPlist() (any, error) { return nil, Err }

// GobEncode returns [Err].
func (Redacted) GobEncode() ([]byte, error) { return nil, Err }

// Value, which database/sql calls on parameters, returns [Err].
func (Redacted) Value() (driver.Value, error) { return nil, Err }
