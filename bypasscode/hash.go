package bypasscode

import (
	"context"
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Hash is what Apple gets when a server locks a device (escrow_key): PBKDF2
// of the 16 raw bytes. It prints, and encodes as text, as 64 lower-case
// hexadecimal digits. It is not the code and never unlocks anything.
type Hash [sha256.Size]byte

// Apple's parameters ("Creating and using bypass codes").
const hashRounds = 50_000

var hashSalt = make([]byte, 4)

// ErrNoCode is returned where the zero [Code] has no hash.
var ErrNoCode = errors.New("bypasscode: no code")

// Hash derives the code's hash with Apple's parameters: PBKDF2 with
// HMAC-SHA-256 over the 16 raw bytes, a salt of four zero bytes, 50,000
// rounds. It takes some milliseconds of computing, so keep the result. The
// zero Code gives [ErrNoCode].
//
// It also works under GODEBUG=fips140=only, whose rule on salts Apple's salt
// breaks: the enforcement is suspended for this one derivation.
func (c Code) Hash() (Hash, error) {
	if c.raw == nil {
		return Hash{}, ErrNoCode
	}
	raw := c.raw()
	var key []byte
	var err error
	fips140.WithoutEnforcement(func() {
		key, err = pbkdf2.Key(sha256.New, string(raw[:]), hashSalt, hashRounds, sha256.Size)
	})
	if err != nil {
		return Hash{}, fmt.Errorf("bypasscode: hash: %w", err)
	}
	return Hash(key), nil
}

// HashAll hashes the codes of a fleet on all processors that the Go scheduler
// may use (GOMAXPROCS). The result has the order of codes.
//
// Progress, unless nil, is called after each hash with the number done so far,
// counting up by one, never twice at once; a slow one slows the work. When ctx
// ends, HashAll returns its error within the time of one hash. A zero Code
// gives [ErrNoCode] with its index, before any work is done.
func HashAll(ctx context.Context, codes []Code, progress func(done int)) ([]Hash, error) {
	for i, c := range codes {
		if c.IsZero() {
			return nil, fmt.Errorf("%w at index %d", ErrNoCode, i)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	hashes := make([]Hash, len(codes))
	var next atomic.Int64
	var reporting sync.Mutex
	done := 0
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(codes) {
				return
			}
			h, err := codes[i].Hash()
			if err != nil {
				cancel(err)
				return
			}
			hashes[i] = h
			if progress != nil {
				reporting.Lock()
				done++
				progress(done)
				reporting.Unlock()
			}
		}
	}
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(codes)) {
		workers.Go(work)
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return hashes, nil
}

// ParseHash reads 64 hexadecimal digits of either case; other systems print
// them in upper case.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("bypasscode: a hash has %d hexadecimal digits, got %d bytes", hex.EncodedLen(len(h)), len(s))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, errors.New("bypasscode: a hash has hexadecimal digits only")
	}
	return h, nil
}

// String returns 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the digits of String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what [ParseHash] reads.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}
