package transfer

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var (
	// ErrNotBundle means that the file is something else, or of an unknown version.
	ErrNotBundle = errors.New("transfer: not a bundle of a known version")
	// ErrDamaged means that the bundle was changed, reordered or spoilt, or that
	// something follows it.
	ErrDamaged = errors.New("transfer: the bundle is damaged")
	// ErrTruncated means that the end of the bundle is missing. A changed length
	// can look so too.
	ErrTruncated = errors.New("transfer: the end of the bundle is missing")
)

// A bundle of version 1 is
//
//	activationlock-bundle-1 LF
//	the sealed key, in base64 (URL alphabet, without padding) LF
//	frames
//
// The key is 32 random bytes, sealed by the writer's Sealer with the associated
// data keyContext. A frame is
//
//	4 bytes   length of the rest, big-endian, at most maxFrame
//	12 bytes  random nonce
//	          AES-256-GCM under the key, with its tag of 16 bytes at the end
//
// The associated data of a frame are 9 bytes: its number, from 0 and big-endian,
// and 1 for the last frame, 0 for all others. The last frame holds the number of
// rows (type trailer), each other one a row (type row), as JSON in UTF-8. Nothing
// follows the last frame.
//
// So a frame that is changed, missing, doubled, moved or of another bundle does
// not open, and neither does a bundle end early. (The nonce is random, and the
// number is not in it, since FIPS 140 wants it so. A bundle has fewer than 2^32
// frames.)
const (
	magic      = "activationlock-bundle-1"
	keyContext = "activationlock bundle 1 key"
	maxFrame   = 64 << 10
	maxRows    = 1<<32 - 2
)

var (
	encoding = base64.RawURLEncoding
	maxLine  = encoding.EncodedLen(escrow.MaxSealed)
)

var (
	errTooLarge = errors.New("transfer: the row is too large for a bundle")
	errRow      = errors.New("transfer: the row cannot be written into a bundle")
)

// row is a record with its code as a frame holds it. Its keys never change.
type row struct {
	ID           string     `json:"id"`
	SerialNumber string     `json:"serialNumber,omitempty"`
	EnrollmentID string     `json:"enrollmentID,omitempty"`
	Kind         string     `json:"kind"`
	State        string     `json:"state"`
	StateSince   *time.Time `json:"stateSince,omitempty"`
	StateReason  string     `json:"stateReason,omitempty"`
	Cause        string     `json:"cause"`
	GivenBy      string     `json:"givenBy,omitempty"`
	CommandUUID  string     `json:"commandUUID,omitempty"`
	AskedAt      *time.Time `json:"askedAt,omitempty"`
	ReceivedAt   *time.Time `json:"receivedAt,omitempty"`
	FirstSeen    *time.Time `json:"firstSeen,omitempty"`
	LastSeen     *time.Time `json:"lastSeen,omitempty"`
	StaleSince   *time.Time `json:"staleSince,omitempty"`
	StaleReason  string     `json:"staleReason,omitempty"`
	DeletedAt    *time.Time `json:"deletedAt,omitempty"`
	Device       *device    `json:"device,omitempty"`
	Hash         string     `json:"hash,omitempty"`
	JoinedTo     []string   `json:"joinedTo,omitempty"`
	Code         string     `json:"code,omitempty"`
	CodeBase64   string     `json:"codeBase64,omitempty"` // in place of Code, for bytes that are no text
}

type device struct {
	SerialNumber string `json:"serialNumber,omitempty"`
	UDID         string `json:"udid,omitempty"`
	ProductType  string `json:"productType,omitempty"`
	IMEI         string `json:"imei,omitempty"`
	IMEI2        string `json:"imei2,omitempty"`
	MEID         string `json:"meid,omitempty"`
}

type trailer struct {
	Rows int64 `json:"rows"`
}

// Written counts what a writer wrote.
type Written struct {
	Rows   int64 // codes in the bundle or file
	Failed int64 // rows left out, since they came with an error or could not be written
}

// WriteBundle writes rows into a bundle that is sealed by to: a keyring whose
// recipients may read it. Rows that came with an error are left out, and so are
// those that no bundle can hold (of more than 64 KiB, or with a time that RFC 3339
// does not have); failed, unless nil, is told of each, with its Err.
//
// An error, of the rows, of to, of w or of the context, leaves a bundle that
// nobody can take for a whole one. What was written of it can be read.
func WriteBundle(ctx context.Context, w io.Writer, to escrow.Sealer, rows iter.Seq2[escrow.Portable, error], failed func(escrow.Portable)) (Written, error) {
	var n Written
	if err := writeBundle(ctx, w, to, rows, failed, &n); err != nil {
		return n, fmt.Errorf("transfer: write bundle: %w", err)
	}
	return n, nil
}

func writeBundle(ctx context.Context, w io.Writer, to escrow.Sealer, rows iter.Seq2[escrow.Portable, error], failed func(escrow.Portable), n *Written) error {
	key := make([]byte, 32)
	rand.Read(key) // never fails: it ends the program instead
	sealed, err := to.Seal(ctx, key, []byte(keyContext))
	if err != nil {
		return err
	}
	if len(sealed) > escrow.MaxSealed {
		return errors.New("the sealed key is too long")
	}
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, maxFrame)
	fmt.Fprintf(out, "%s\n%s\n", magic, encoding.EncodeToString(sealed)) // its error stays, and Flush returns it
	var frame []byte
	write := func(plain []byte, last byte) error {
		frame = binary.BigEndian.AppendUint32(frame[:0], uint32(len(plain)+aead.Overhead()))
		frame = aead.Seal(frame, nil, plain, frameData(n.Rows, last))
		_, err := out.Write(frame)
		return err
	}
	for p, err := range rows {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Rows == maxRows {
			return errors.New("more rows than a bundle can hold")
		}
		var plain []byte
		if p.Err == nil {
			plain, p.Err = encode(p, maxFrame-aead.Overhead())
		}
		if p.Err != nil {
			n.Failed++
			if failed != nil {
				failed(p)
			}
			continue
		}
		if err := write(plain, 0); err != nil {
			return err
		}
		n.Rows++
	}
	plain, err := json.Marshal(trailer{n.Rows})
	if err != nil {
		return err
	}
	if err := write(plain, 1); err != nil {
		return err
	}
	return out.Flush()
}

// encode returns a row as a frame holds it.
func encode(p escrow.Portable, limit int) ([]byte, error) {
	plain, err := json.Marshal(rowOf(p))
	if err != nil {
		return nil, errRow // the cause may quote it
	}
	if len(plain) > limit {
		return nil, errTooLarge
	}
	return plain, nil
}

// ReadBundle reads the rows of a bundle, with a keyring that has the key of one
// of its recipients. Row counts them from 1. A row that makes no sense has an Err,
// and stops nothing. No more than one row is in memory.
//
// An error ends it: [ErrNotBundle], [ErrDamaged], [ErrTruncated], one of the
// reader, the context or the keyring (seal.ErrNoKey, and seal.ErrDamaged or
// seal.ErrVersion if the sealed key was changed). The rows that came before it are
// as they were written, in the order and from the beginning.
func ReadBundle(ctx context.Context, r io.Reader, keys escrow.Opener) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		if err := readBundle(ctx, r, keys, yield); err != nil {
			yield(escrow.Portable{}, err)
		}
	}
}

func readBundle(ctx context.Context, r io.Reader, keys escrow.Opener, yield func(escrow.Portable, error) bool) error {
	in := bufio.NewReaderSize(r, maxLine+1)
	first, err := in.Peek(len(magic) + 1)
	if string(first) != magic+"\n" {
		return orReadError(err, ErrNotBundle)
	}
	in.Discard(len(first))
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return ErrDamaged
	}
	if err != nil {
		return orReadError(err, ErrTruncated)
	}
	line = line[:len(line)-1]
	sealed, err := encoding.DecodeString(string(line))
	if err != nil || encoding.EncodeToString(sealed) != string(line) { // decoders pass over some bytes
		return ErrDamaged
	}
	key, err := keys.Open(ctx, sealed, []byte(keyContext))
	if err != nil {
		return fmt.Errorf("transfer: read bundle: %w", err)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	frame := make([]byte, maxFrame)
	for n := int64(0); ; n++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("transfer: read bundle: %w", err)
		}
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return orReadError(err, ErrTruncated)
		}
		size := binary.BigEndian.Uint32(length[:])
		if size > maxFrame || n > maxRows {
			return ErrDamaged
		}
		if _, err := io.ReadFull(in, frame[:size]); err != nil {
			return orReadError(err, ErrTruncated)
		}
		plain, err := aead.Open(nil, nil, frame[:size], frameData(n, 0))
		if err != nil {
			if plain, err = aead.Open(nil, nil, frame[:size], frameData(n, 1)); err != nil {
				return ErrDamaged
			}
			var t trailer
			if json.Unmarshal(plain, &t) != nil || t.Rows != n {
				return ErrDamaged
			}
			if _, err = in.ReadByte(); err == nil {
				return ErrDamaged
			}
			return orReadError(err, nil)
		}
		var r row
		if json.Unmarshal(plain, &r) != nil {
			return ErrDamaged
		}
		p := r.portable()
		p.Row = int(n) + 1
		if !yield(p, nil) {
			return nil
		}
	}
}

// orReadError returns the reader's own error, or what its end means.
func orReadError(err, end error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return end
	}
	return fmt.Errorf("transfer: read: %w", err)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, ErrDamaged
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("transfer: bundle key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("transfer: bundle key: %w", err)
	}
	return aead, nil
}

// frameData is what a frame is bound to.
func frameData(frame int64, last byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(frame)), last)
}

func rowOf(p escrow.Portable) row {
	r := p.Record
	out := row{
		ID: r.ID, SerialNumber: r.Subject.SerialNumber, EnrollmentID: r.Subject.EnrollmentID, Kind: string(r.Kind),
		State: string(r.State), StateSince: orNil(r.StateSince), StateReason: r.StateReason,
		Cause: string(r.Cause), GivenBy: r.EnrollmentID, CommandUUID: r.CommandUUID,
		AskedAt: orNil(r.AskedAt), ReceivedAt: orNil(r.ReceivedAt), FirstSeen: orNil(r.FirstSeen), LastSeen: orNil(r.LastSeen),
		StaleSince: orNil(r.StaleSince), StaleReason: r.StaleReason, DeletedAt: orNil(r.DeletedAt),
		JoinedTo: p.JoinedTo, Code: p.Text.Reveal(),
	}
	if r.Device != (escrow.Device{}) {
		d := device(r.Device)
		out.Device = &d
	}
	if r.Hash != (bypasscode.Hash{}) {
		out.Hash = r.Hash.String()
	}
	if !utf8.ValidString(out.Code) {
		out.Code, out.CodeBase64 = "", base64.StdEncoding.EncodeToString([]byte(out.Code))
	}
	return out
}

// portable returns what a row holds, with an error if it makes no sense.
func (r row) portable() escrow.Portable {
	p := escrow.Portable{Record: escrow.Record{
		ID: r.ID, Subject: escrow.Subject{SerialNumber: r.SerialNumber, EnrollmentID: r.EnrollmentID}, Kind: bypasscode.Kind(r.Kind),
		State: escrow.State(r.State), StateSince: orZero(r.StateSince), StateReason: r.StateReason,
		Cause: escrow.Cause(r.Cause), EnrollmentID: r.GivenBy, CommandUUID: r.CommandUUID,
		AskedAt: orZero(r.AskedAt), ReceivedAt: orZero(r.ReceivedAt), FirstSeen: orZero(r.FirstSeen), LastSeen: orZero(r.LastSeen),
		StaleSince: orZero(r.StaleSince), StaleReason: r.StaleReason, DeletedAt: orZero(r.DeletedAt),
	}, JoinedTo: r.JoinedTo}
	if r.Device != nil {
		p.Record.Device = escrow.Device(*r.Device)
	}
	if r.Hash != "" {
		var err error
		if p.Record.Hash, err = bypasscode.ParseHash(r.Hash); err != nil {
			p.Err = errors.New("transfer: the hash is none")
			return p
		}
	}
	code := []byte(r.Code)
	if r.CodeBase64 != "" {
		var err error
		if code, err = base64.StdEncoding.DecodeString(r.CodeBase64); err != nil {
			p.Err = errors.New("transfer: the code is not readable")
			return p
		}
	}
	p.Text = bypasscode.NewText(string(code))
	return p
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
