package audit

import (
	"bytes"
	"errors"

	"github.com/activationlock/sdk/internal/secret"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// ErrSecret is returned by everything that tries to encode a [Key], a [Config]
// with one, or a [Log].
var ErrSecret = secret.Err

// redacted is embedded under a name that stays inside the package.
type redacted = secret.Redacted

// Key makes digests that nobody can make without it. It prints as "[redacted]",
// and encoding it is an error. The zero Key is no key.
type Key struct {
	redacted
	secret func() []byte // a closure, where no printer can follow
}

// NewKey returns a key of [KeySize] random bytes, of which it keeps a copy. Keep
// them outside of the database, and use them for one chain only.
func NewKey(random []byte) (Key, error) {
	if len(random) != KeySize {
		return Key{}, errors.New("audit: a key has 32 bytes")
	}
	random = bytes.Clone(random)
	return Key{secret: func() []byte { return random }}, nil
}
