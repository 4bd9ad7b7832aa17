package seal

import (
	"crypto/ecdh"
	"crypto/fips140"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activationlock/sdk/internal/secret"
)

// Suite names how data keys are wrapped: the key encapsulation of HPKE, always
// with HKDF-SHA256 and AES-256-GCM.
type Suite string

const (
	// X25519 is DHKEM(X25519, HKDF-SHA256), the default choice. It is refused
	// under GODEBUG=fips140=only.
	X25519 Suite = "x25519"
	// P256 is DHKEM(P-256, HKDF-SHA256), for FIPS mode.
	P256 Suite = "p256"
	// MLKEM768X25519 is the hybrid of ML-KEM-768 and X25519 (X-Wing), also
	// against quantum computers. A recipient takes 1187 bytes of each row.
	MLKEM768X25519 Suite = "mlkem768-x25519"
)

// The codes are what sealed text has in place of names; none is ever used again.
var suites = map[Suite]struct {
	code byte
	kem  hpke.KEM
}{
	X25519:         {1, hpke.DHKEM(ecdh.X25519())},
	P256:           {2, hpke.DHKEM(ecdh.P256())},
	MLKEM768X25519: {3, hpke.MLKEM768X25519()},
}

const (
	publicPrefix  = "activationlock-escrow-public-"
	privatePrefix = "activationlock-escrow-private-"
	maxLine       = 4 << 10
	checkSize     = 4
)

// ErrSecret is returned by everything that tries to encode a [PrivateKey] or a
// [Keyring]. Call Reveal where that is meant.
var ErrSecret = secret.Err

var (
	errSuite   = errors.New("seal: unknown suite")
	errFIPS    = errors.New("seal: suite x25519 is not allowed in FIPS 140-only mode, use p256 or mlkem768-x25519")
	errNoKey   = errors.New("seal: no key")
	errLine    = errors.New("seal: malformed or damaged key line")
	errPrivate = errors.New("seal: want a public key, this is a private one")
	errPublic  = errors.New("seal: want a private key, this is a public one")
)

// kem says here, and not at the first code, when a suite can't be used.
func (s Suite) kem() (hpke.KEM, error) {
	suite, known := suites[s]
	if !known {
		return nil, errSuite
	}
	if s == X25519 && fips140.Enforced() {
		return nil, errFIPS
	}
	return suite.kem, nil
}

// KeyID identifies a key pair by a digest of suite and public key. It prints,
// and encodes as text, as 32 lower-case hexadecimal digits.
type KeyID [16]byte

// String returns 32 lower-case hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the digits of String.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// PublicKey is what codes are sealed to. It is no secret, can be compared with
// ==, and prints as its line of text. The zero PublicKey is no key.
type PublicKey struct {
	suite Suite
	raw   string // as HPKE serializes it
}

// ParsePublicKey reads the line that [PublicKey.String] prints; one newline may
// follow it. Nothing else is read, and no error quotes the line.
func ParsePublicKey(line string) (PublicKey, error) {
	line, suite, raw, err := parseLine(line, publicPrefix)
	if err != nil {
		return PublicKey{}, err
	}
	k := PublicKey{suite, string(raw)}
	if k.String() != line {
		return PublicKey{}, errLine
	}
	if _, err := k.hpke(); err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

// hpke fails on what is no key, and on a key to which nothing can be sealed.
func (k PublicKey) hpke() (hpke.PublicKey, error) {
	kem, err := k.suite.kem()
	if err != nil {
		return nil, err
	}
	public, err := kem.NewPublicKey([]byte(k.raw))
	if err != nil {
		return nil, errLine
	}
	// A point of low order on X25519 is found when it is used, not before.
	if _, _, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), nil); err != nil {
		return nil, errLine
	}
	return public, nil
}

// Suite returns the suite that the key is of.
func (k PublicKey) Suite() Suite { return k.suite }

// ID returns the key's ID; the zero PublicKey has the zero KeyID.
func (k PublicKey) ID() KeyID {
	if k == (PublicKey{}) {
		return KeyID{}
	}
	sum := sha256.Sum256([]byte("activationlock-escrow-v1 key\x00" + string(k.suite) + "\x00" + k.raw))
	return KeyID(sum[:])
}

// Equal reports whether both are the same key of the same suite.
func (k PublicKey) Equal(other PublicKey) bool { return k == other }

// String returns the key as one line of text, without a newline, for example
// activationlock-escrow-public-x25519:5QWf… The zero PublicKey gives "".
func (k PublicKey) String() string {
	if k == (PublicKey{}) {
		return ""
	}
	return formatLine(publicPrefix, k, []byte(k.raw))
}

// MarshalText returns the line of String. The zero PublicKey is an error.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k == (PublicKey{}) {
		return nil, errNoKey
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads what [ParsePublicKey] reads.
func (k *PublicKey) UnmarshalText(text []byte) error {
	parsed, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// redacted is embedded under a name that stays inside the package.
type redacted = secret.Redacted

// PrivateKey opens what is sealed to its [PublicKey]. It prints as "[redacted]",
// and encoding it is an error: Reveal is the only way to the secret. The zero
// PrivateKey is no key.
type PrivateKey struct {
	redacted
	public PublicKey
	secret func() secretKey // a closure, where no printer can follow
}

type secretKey struct {
	key hpke.PrivateKey
	raw []byte // as HPKE serializes it
}

// GenerateKey makes a key from crypto/rand. [X25519] is an error under
// GODEBUG=fips140=only.
func GenerateKey(suite Suite) (PrivateKey, error) {
	kem, err := suite.kem()
	if err != nil {
		return PrivateKey{}, err
	}
	key, err := kem.GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: generate key: %w", err)
	}
	return newPrivateKey(suite, key)
}

func newPrivateKey(suite Suite, key hpke.PrivateKey) (PrivateKey, error) {
	raw, err := key.Bytes()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: serialize key: %w", err)
	}
	public := PublicKey{suite, string(key.PublicKey().Bytes())}
	return PrivateKey{public: public, secret: func() secretKey { return secretKey{key, raw} }}, nil
}

// ParsePrivateKey reads the line that [PrivateKey.Reveal] gives; one newline may
// follow it. Nothing else is read, and no error quotes the line.
func ParsePrivateKey(line string) (PrivateKey, error) {
	line, suite, raw, err := parseLine(line, privatePrefix)
	if err != nil {
		return PrivateKey{}, err
	}
	kem, err := suite.kem()
	if err != nil {
		return PrivateKey{}, err
	}
	key, err := kem.NewPrivateKey(raw)
	if err != nil {
		return PrivateKey{}, errLine
	}
	k, err := newPrivateKey(suite, key)
	if err != nil || k.Reveal() != line {
		return PrivateKey{}, errLine
	}
	return k, nil
}

// Public returns the key that others seal to.
func (k PrivateKey) Public() PublicKey { return k.public }

// Reveal returns the key as one line of text, without a newline. Whoever has it
// reads every code that is sealed to this key. The zero PrivateKey gives "".
func (k PrivateKey) Reveal() string {
	if k.secret == nil {
		return ""
	}
	return formatLine(privatePrefix, k.public, k.secret().raw)
}

func formatLine(prefix string, public PublicKey, raw []byte) string {
	id := public.ID()
	return prefix + string(public.suite) + ":" +
		base64.RawURLEncoding.EncodeToString(slices.Concat(raw, id[:checkSize]))
}

// parseLine takes a line apart. Its callers print what they made of it and
// compare: that finds a wrong checksum and every other spelling, such as the
// newlines and unused bits that decoders of base64 pass over.
func parseLine(text, prefix string) (line string, suite Suite, raw []byte, err error) {
	if len(text) > maxLine {
		return "", "", nil, errLine
	}
	line = strings.TrimSuffix(text, "\n")
	rest, ok := strings.CutPrefix(line, prefix)
	switch {
	case ok:
	case strings.HasPrefix(line, privatePrefix):
		return "", "", nil, errPrivate
	case strings.HasPrefix(line, publicPrefix):
		return "", "", nil, errPublic
	default:
		return "", "", nil, errLine
	}
	name, encoded, ok := strings.Cut(rest, ":")
	if !ok {
		return "", "", nil, errLine
	}
	suite = Suite(name)
	if _, err := suite.kem(); err != nil {
		return "", "", nil, err
	}
	raw, err = base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(raw) < checkSize {
		return "", "", nil, errLine
	}
	return line, suite, raw[:len(raw)-checkSize], nil
}
