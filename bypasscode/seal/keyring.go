package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxRecipients is how many keys a text can be sealed to.
	MaxRecipients = 16
	// MaxText is the longest text that is sealed: 8 KiB.
	MaxText = 8 << 10
	// MaxSealed is the longest sealed text that is read: 32 KiB. None that
	// Seal and Rewrap return is longer.
	MaxSealed = 32 << 10
)

var (
	// ErrNoKey is returned where none of the private keys is a recipient.
	ErrNoKey = errors.New("seal: not sealed to any private key at hand")
	// ErrDamaged is returned for what is malformed, was changed, or was sealed
	// with other associated data.
	ErrDamaged = errors.New("seal: damaged, or not sealed with this associated data")
	// ErrVersion is returned for a version of the format that is not known here.
	ErrVersion = errors.New("seal: sealed in an unknown version of the format")
	// ErrTooLarge is returned for a text to seal that is longer than [MaxText].
	ErrTooLarge = errors.New("seal: text longer than 8 KiB")
)

const (
	version   = 1
	textLabel = "activationlock-escrow-v1 text\x00"
	keyLabel  = "activationlock-escrow-v1 data key\x00"

	dataKeySize = 32
	// What AES-GCM adds to the text: the nonce and the tag.
	overhead = 12 + 16
)

// Keyring seals to its recipients, and opens what is sealed to one of its
// private keys. It never changes, is safe for many goroutines, and prints as
// "[redacted]". Use [NewKeyring]: the zero Keyring neither seals nor opens.
type Keyring struct {
	redacted
	recipients []recipient
	private    func(slot) (hpke.PrivateKey, bool) // see PrivateKey.secret
}

type recipient struct {
	slot
	key hpke.PublicKey
}

// slot is how sealed text names a recipient.
type slot struct {
	suite byte
	id    KeyID
}

func slotOf(k PublicKey) slot { return slot{suites[k.suite].code, k.ID()} }

// NewKeyring makes a Keyring that seals to 1 to 16 distinct recipients, in this
// order. The private keys, if any, are those to open with; they need not be of
// recipients, since what was sealed to an old key is still to be opened. A
// private key that is given twice counts once.
//
// A key that can't be used is an error here: the zero key, or one of suite
// [X25519] under GODEBUG=fips140=only.
func NewKeyring(recipients []PublicKey, private ...PrivateKey) (*Keyring, error) {
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return nil, fmt.Errorf("seal: want 1 to %d recipients, got %d", MaxRecipients, len(recipients))
	}
	k := &Keyring{}
	for i, public := range recipients {
		if public == (PublicKey{}) {
			return nil, fmt.Errorf("%w in recipient %d", errNoKey, i+1)
		}
		if slices.Contains(recipients[:i], public) {
			return nil, fmt.Errorf("seal: recipient %d is given twice", i+1)
		}
		key, err := public.hpke()
		if err != nil {
			return nil, err
		}
		k.recipients = append(k.recipients, recipient{slotOf(public), key})
	}
	keys := map[slot]hpke.PrivateKey{}
	for i, p := range private {
		if p.secret == nil {
			return nil, fmt.Errorf("%w in private key %d", errNoKey, i+1)
		}
		if _, err := p.public.suite.kem(); err != nil {
			return nil, err
		}
		keys[slotOf(p.public)] = p.secret().key
	}
	k.private = func(s slot) (hpke.PrivateKey, bool) {
		key, ok := keys[s]
		return key, ok
	}
	return k, nil
}

// Seal seals the text, at most [MaxText], to all recipients and binds it to the
// associated data: opening it takes the same. It does not wait for anything, so
// the context is not looked at, and a code that has come is sealed even when
// the call that brought it is over.
func (k *Keyring) Seal(_ context.Context, text, associated []byte) ([]byte, error) {
	if len(text) > MaxText {
		return nil, ErrTooLarge
	}
	dataKey := make([]byte, dataKeySize)
	rand.Read(dataKey) // never fails: it ends the program instead
	header, err := k.wrap(dataKey)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	return aead.Seal(header, nil, text, textData(associated)), nil
}

// Open returns the text that was sealed. It takes the associated data that it
// was sealed with and one of the private keys that it was sealed to. The error
// is [ErrNoKey], [ErrVersion] or [ErrDamaged]; a text never comes with one. The
// context is not looked at.
func (k *Keyring) Open(_ context.Context, sealed, associated []byte) ([]byte, error) {
	e, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	_, text, err := k.open(e, associated)
	return text, err
}

// Rewrap returns the sealed text sealed to the recipients of now. If it is
// sealed to exactly those, it returns a copy and false: that takes no private
// key, and so proves nothing but the form. Otherwise it opens the text first,
// with the errors of Open, so that what is damaged is reported and never
// written again; the text then stays sealed with the same data key, which is
// wrapped anew. The context is not looked at.
func (k *Keyring) Rewrap(_ context.Context, sealed, associated []byte) (rewrapped []byte, changed bool, err error) {
	e, err := parse(sealed)
	if err != nil {
		return nil, false, err
	}
	if k.isFor(e) {
		return bytes.Clone(sealed), false, nil
	}
	dataKey, _, err := k.open(e, associated)
	if err != nil {
		return nil, false, err
	}
	header, err := k.wrap(dataKey)
	if err != nil {
		return nil, false, err
	}
	return append(header, e.ciphertext...), true, nil
}

// Recipients returns the IDs of the keys that a text is sealed to. No key is
// needed to see them, and nothing proves that they are true.
func Recipients(sealed []byte) ([]KeyID, error) {
	e, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	var ids []KeyID
	for _, w := range e.wrapped {
		ids = append(ids, w.id)
	}
	return ids, nil
}

// wrap returns all that precedes the ciphertext.
func (k *Keyring) wrap(dataKey []byte) ([]byte, error) {
	if len(k.recipients) == 0 {
		return nil, errors.New("seal: keyring without recipients")
	}
	header := []byte{version, byte(len(k.recipients))}
	for _, r := range k.recipients {
		wrapped, err := hpke.Seal(r.key, hpke.HKDFSHA256(), hpke.AES256GCM(), keyInfo(r.id), dataKey)
		if err != nil {
			return nil, fmt.Errorf("seal: wrap data key: %w", err)
		}
		header = append(header, r.suite)
		header = append(header, r.id[:]...)
		header = binary.BigEndian.AppendUint16(header, uint16(len(wrapped)))
		header = append(header, wrapped...)
	}
	return header, nil
}

// open tries every private key that is a recipient: the data key may be damaged
// for one of them only.
func (k *Keyring) open(e envelope, associated []byte) (dataKey, text []byte, err error) {
	err = ErrNoKey
	for _, w := range e.wrapped {
		key, ok := k.keyOf(w.slot)
		if !ok {
			continue
		}
		err = ErrDamaged
		dataKey, failed := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), keyInfo(w.id), w.key)
		if failed != nil || len(dataKey) != dataKeySize {
			continue
		}
		aead, failed := newAEAD(dataKey)
		if failed != nil {
			continue
		}
		if text, failed := aead.Open(nil, nil, e.ciphertext, textData(associated)); failed == nil {
			return dataKey, text, nil
		}
	}
	return nil, nil, err
}

func (k *Keyring) keyOf(s slot) (hpke.PrivateKey, bool) {
	if k.private == nil {
		return nil, false
	}
	return k.private(s)
}

// isFor reports whether the recipients are those of the keyring, in any order.
// Both have distinct ones.
func (k *Keyring) isFor(e envelope) bool {
	if len(e.wrapped) != len(k.recipients) {
		return false
	}
	for _, r := range k.recipients {
		if !slices.ContainsFunc(e.wrapped, func(w wrappedKey) bool { return w.slot == r.slot }) {
			return false
		}
	}
	return true
}

// newAEAD has no nonce to choose: it puts a random one before the ciphertext,
// which FIPS mode requires. As a data key seals once, any would do.
func newAEAD(dataKey []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(dataKey)
	if err != nil {
		return nil, fmt.Errorf("seal: data key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: data key: %w", err)
	}
	return aead, nil
}

func textData(associated []byte) []byte { return append([]byte(textLabel), associated...) }

func keyInfo(id KeyID) []byte { return append([]byte(keyLabel), id[:]...) }

// envelope is sealed text taken apart; its slices are parts of it.
type envelope struct {
	wrapped    []wrappedKey
	ciphertext []byte
}

type wrappedKey struct {
	slot
	key []byte
}

func parse(sealed []byte) (envelope, error) {
	if len(sealed) < 2 || len(sealed) > MaxSealed {
		return envelope{}, ErrDamaged
	}
	if sealed[0] != version {
		return envelope{}, ErrVersion
	}
	count, rest := int(sealed[1]), sealed[2:]
	if count == 0 || count > MaxRecipients {
		return envelope{}, ErrDamaged
	}
	var e envelope
	for range count {
		var w wrappedKey
		const fixed = 1 + len(w.id) + 2
		if len(rest) < fixed {
			return envelope{}, ErrDamaged
		}
		w.suite, w.id = rest[0], KeyID(rest[1:])
		length := int(binary.BigEndian.Uint16(rest[fixed-2:]))
		rest = rest[fixed:]
		if length > len(rest) {
			return envelope{}, ErrDamaged
		}
		w.key, rest = rest[:length], rest[length:]
		if slices.ContainsFunc(e.wrapped, func(o wrappedKey) bool { return o.id == w.id }) {
			return envelope{}, ErrDamaged
		}
		e.wrapped = append(e.wrapped, w)
	}
	// No bytes can trail: the tag ends what is left.
	if len(rest) < overhead || len(rest) > overhead+MaxText {
		return envelope{}, ErrDamaged
	}
	e.ciphertext = rest
	return e, nil
}
