package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Act is what somebody did.
type Act string

// The acts that the library knows. A host may have others.
const (
	Revealed   Act = "revealed"   // a code was given out to be shown
	Refused    Act = "refused"    // somebody asked for a code and did not get it
	UsedUnlock Act = "unlock"     // a code was given out for an unlock call
	Exported   Act = "exported"   // a code was given out for a bundle or a file
	Imported   Act = "imported"   // codes came in from a bundle or a file
	Purged     Act = "purged"     // the codes of a device were destroyed
	Overridden Act = "overridden" // a rule was set aside
	Rotated    Act = "rotated"    // the keys were exchanged

	UnlockStarted  Act = "unlock started"  // a bypass action was started
	UnlockCanceled Act = "unlock canceled" // and canceled
	UnlockEnded    Act = "unlock ended"    // what came of it

	LockOrdered Act = "lock ordered" // a lock of the organization
)

// MaxText is the size in bytes of the longest string of an event.
const MaxText = 255

// Event is one act. Its strings are UTF-8 without NUL, of at most [MaxText]
// bytes. Never put a code into one.
type Event struct {
	Act    Act       // required
	At     time.Time // required, of the years 1 to 9999; kept in UTC and whole microseconds
	Actor  string    // required: who, as the host says
	Reason string    // required: why, as the actor says
	// SerialNumber or EnrollmentID say whose code it was, and RecordID which; all
	// are "" for an act that concerns many.
	SerialNumber string
	EnrollmentID string
	RecordID     string
	Detail       string // what else there is to say; may be ""
}

var errEvent = errors.New("audit: an event needs act, time, actor and reason, of the years 1 to 9999 and in at most 255 bytes of UTF-8 each")

// stored returns the event as it is kept, if it can be. What it returns is all
// that has an encoding, so that no two events have the same.
func (e Event) stored() (Event, error) {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	year := e.At.Year()
	if e.Act == "" || e.At.IsZero() || year < 1 || year > 9999 || e.Actor == "" || e.Reason == "" {
		return Event{}, errEvent
	}
	for _, s := range e.texts() {
		if len(s) > MaxText || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return Event{}, errEvent
		}
	}
	return e, nil
}

func (e Event) texts() []string {
	return []string{string(e.Act), e.Actor, e.Reason, e.SerialNumber, e.EnrollmentID, e.RecordID, e.Detail}
}

// Digest binds an entry and all before it.
type Digest [sha256.Size]byte

// String returns 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Entry is an event in its place in the chain.
type Entry struct {
	Number int64 // from 1, without gaps
	Event
	Digest Digest
}

// Head names the last entry of a chain, and with it the whole chain. The zero
// Head is that of an empty chain.
type Head struct {
	Number int64
	Digest Digest
}

// String returns the number, a colon and the digest: "17:9f86d0…".
func (h Head) String() string { return strconv.FormatInt(h.Number, 10) + ":" + h.Digest.String() }

var errHead = errors.New("audit: a head is a number, a colon and 64 lower-case hexadecimal digits")

func (h Head) valid() bool { return h.Number > 0 || h == Head{} }

// ParseHead reads what [Head.String] prints of the head of a chain, and nothing
// else.
func ParseHead(s string) (Head, error) {
	number, digits, _ := strings.Cut(s, ":")
	if len(number) > len("9223372036854775807") || len(digits) != hex.EncodedLen(sha256.Size) {
		return Head{}, errHead
	}
	n, _ := strconv.ParseInt(number, 10, 64) // what fails does not print as s
	h := Head{Number: n}
	if _, err := hex.Decode(h.Digest[:], []byte(digits)); err != nil || !h.valid() || h.String() != s {
		return Head{}, errHead
	}
	return h, nil
}

const label = "activationlock audit entry 1"

// digest computes the digest of a stored event after the head before: SHA-256,
// or HMAC-SHA-256 with a key. Every part has a fixed size or its size before it.
func digest(key Key, before Head, e Event) Digest {
	data := binary.BigEndian.AppendUint16(nil, uint16(len(label)))
	data = append(data, label...)
	data = append(data, before.Digest[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(before.Number)+1)
	data = binary.BigEndian.AppendUint64(data, uint64(e.At.UnixMicro()))
	for _, s := range e.texts() {
		data = binary.BigEndian.AppendUint16(data, uint16(len(s)))
		data = append(data, s...)
	}
	if key.secret == nil {
		return sha256.Sum256(data)
	}
	mac := hmac.New(sha256.New, key.secret())
	mac.Write(data)
	return Digest(mac.Sum(nil))
}

// BrokenError says where a chain is broken. What was done to it was done to that
// entry or to one before.
type BrokenError struct {
	// Number is that of the first entry that does not fit, or that is missing.
	Number int64
	// Problem says what is wrong, without quoting an entry.
	Problem string
}

// Error says where and how the chain is broken.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit: the chain is broken at entry %d: %s", e.Number, e.Problem)
}
