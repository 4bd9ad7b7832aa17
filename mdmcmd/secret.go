package mdmcmd

import (
	"bytes"

	"github.com/activationlock/sdk/internal/secret"
)

type redacted = secret.Redacted

// Secret is a field of a command that must not be printed or stored: a PIN, an
// unlock token, a Wi-Fi profile. It prints as "[redacted]"; encoding it is an
// error, except by [Encode]. The zero Secret is absent.
type Secret struct {
	redacted
	data func() []byte
}

// NewSecret wraps a copy of data; empty data gives the zero Secret.
func NewSecret(data []byte) Secret {
	if len(data) == 0 {
		return Secret{}
	}
	data = bytes.Clone(data)
	return Secret{data: func() []byte { return bytes.Clone(data) }}
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.data == nil }

// Reveal returns a copy of the secret, nil if there is none.
func (s Secret) Reveal() []byte {
	if s.data == nil {
		return nil
	}
	return s.data()
}
