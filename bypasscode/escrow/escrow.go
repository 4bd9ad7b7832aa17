package escrow

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

var (
	// ErrEmpty means that there was no code to keep.
	ErrEmpty = errors.New("escrow: an empty code is not kept")
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("escrow: not found")
	// ErrTooLong means that what a device called its code has more than MaxText
	// bytes.
	ErrTooLong = errors.New("escrow: a code of that length is not kept")
	// ErrQuota means that an enrollment gave more codes than any honest device.
	ErrQuota = errors.New("escrow: too many codes of one enrollment")
)

const (
	// Quota is the number of records of one kind that one enrollment can fill for
	// one subject; disputed ones count apart, so that junk never keeps a code out
	// that was asked for. A device makes a new code when it is erased or Find My
	// comes on.
	Quota = 256

	// MaxText is the size of the longest code that is kept, in bytes. Codes have
	// 31; the rest is for formats that Apple may think of.
	MaxText = 1 << 10
)

// Store keeps entries. It is safe for many goroutines, and a call that returns
// without an error is durable. Nothing that goes in or out shares memory with
// the store.
type Store interface {
	// Update reads the entries of a subject (see Entries) and passes them to
	// change; the entries that change returns are written, by ID, in the same
	// transaction. Two updates of one subject never overlap. Change may be
	// called more than once and only looks at its argument; its error is
	// returned and nothing is written.
	Update(ctx context.Context, subject Subject, change func([]Entry) ([]Entry, error)) error

	// Entries returns what was filed under the subject, and, for a serial
	// number, under the enrollments joined to it, in the order of filing. None
	// is not an error.
	Entries(ctx context.Context, subject Subject) ([]Entry, error)

	// Join makes the entries of an enrollment entries of a serial number too.
	// Joining twice is joining once.
	Join(ctx context.Context, enrollmentID, serialNumber string) error
}

// Escrow applies the rules of the package to a store.
type Escrow struct{ store Store }

// New returns an escrow on a store.
func New(store Store) (*Escrow, error) {
	if store == nil {
		return nil, errors.New("escrow: no store")
	}
	return &Escrow{store}, nil
}

// Capture is a code that has arrived, with everything to keep about it.
type Capture struct {
	Subject      Subject         // required
	Kind         bypasscode.Kind // required
	Text         bypasscode.Text // required, not empty
	Cause        Cause           // required
	EnrollmentID string          // who gave it
	CommandUUID  string
	AskedAt      time.Time // zero if unknown
	ReceivedAt   time.Time // required
	Device       Device
	// Disputed: another live enrollment claims the same serial number.
	Disputed bool
}

// Capture commits a code and returns its record. When it returns without an
// error the code is durable; the same capture again changes nothing, so a
// device may send its report as often as it likes.
func (e *Escrow) Capture(ctx context.Context, c Capture) (Record, error) {
	if c.Text.IsZero() {
		return Record{}, ErrEmpty
	}
	if len(c.Text.Reveal()) > MaxText {
		return Record{}, ErrTooLong
	}
	if !c.Subject.valid() || !c.Kind.Valid() || c.Cause == "" || c.ReceivedAt.IsZero() {
		return Record{}, errors.New("escrow: capture: subject, kind, cause and time are required")
	}
	id := newID()
	var kept Record
	err := e.store.Update(ctx, c.Subject, func(entries []Entry) ([]Entry, error) {
		changed, k, err := capture(entries, c, id)
		kept = k
		return changed, err
	})
	if err != nil {
		return Record{}, fmt.Errorf("escrow: capture: %w", err)
	}
	return kept, nil
}

// capture decides what a code changes among the entries of its subject.
func capture(entries []Entry, c Capture, id string) (changed []Entry, kept Record, err error) {
	trusted := !c.Disputed && c.Cause != CauseUnasked
	state := Disputed
	if trusted {
		state = Current
	}
	for _, e := range entries {
		if e.Kind != c.Kind || !e.Text.Equal(c.Text) {
			continue
		}
		replayed := e.CommandUUID != "" && e.CommandUUID == c.CommandUUID && e.EnrollmentID == c.EnrollmentID
		if replayed && (e.State != Disputed || !trusted) {
			return nil, e.Record, nil
		}
		if e.LastSeen.Before(c.ReceivedAt) {
			e.LastSeen = c.ReceivedAt
		}
		if trusted {
			e.State = Current
			if !e.StaleSince.After(c.ReceivedAt) { // else it came before what the mark is about
				e.StaleSince, e.StaleReason = time.Time{}, ""
			}
			e.Cause, e.EnrollmentID, e.CommandUUID, e.AskedAt, e.Device = c.Cause, c.EnrollmentID, c.CommandUUID, c.AskedAt, c.Device
			changed = supersede(entries, c.Kind, e.ID)
		}
		return append(changed, e), e.Record, nil
	}
	filled := 0 // of the same trust: junk must not keep an asked code out
	for _, e := range entries {
		if e.Kind == c.Kind && e.EnrollmentID == c.EnrollmentID && (e.State == Disputed) == !trusted {
			filled++
		}
	}
	if filled >= Quota {
		return nil, Record{}, ErrQuota
	}
	if trusted {
		changed = supersede(entries, c.Kind, id)
	}
	kept = Record{
		ID: id, Subject: c.Subject, Kind: c.Kind, State: state, Cause: c.Cause,
		EnrollmentID: c.EnrollmentID, CommandUUID: c.CommandUUID,
		AskedAt: c.AskedAt, FirstSeen: c.ReceivedAt, LastSeen: c.ReceivedAt, Device: c.Device,
	}
	return append(changed, Entry{kept, c.Text}), kept, nil
}

// supersede returns the current entries of a kind, except one, as superseded.
func supersede(entries []Entry, kind bypasscode.Kind, except string) (changed []Entry) {
	for _, e := range entries {
		if e.Kind == kind && e.State == Current && e.ID != except {
			e.State = Superseded
			changed = append(changed, e)
		}
	}
	return changed
}

// MarkStale notes on the current device code of a subject that the device may
// have made another one since. The code stays current: an erase followed by a
// restore of the device's own backup keeps it. A mark that is there stays.
func (e *Escrow) MarkStale(ctx context.Context, subject Subject, reason string, since time.Time) error {
	err := e.store.Update(ctx, subject, func(entries []Entry) (changed []Entry, _ error) {
		for _, entry := range entries {
			if entry.Kind == bypasscode.Device && entry.State == Current && entry.StaleSince.IsZero() && !entry.LastSeen.After(since) {
				entry.StaleSince, entry.StaleReason = since, reason
				changed = append(changed, entry)
			}
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("escrow: mark stale: %w", err)
	}
	return nil
}

// Join files what came from an enrollment under a serial number too. If the
// serial number has a current code already, a different one of the enrollment
// becomes disputed.
func (e *Escrow) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if enrollmentID == "" || serialNumber == "" {
		return errors.New("escrow: join: enrollment ID and serial number are required")
	}
	if err := e.store.Join(ctx, enrollmentID, serialNumber); err != nil {
		return fmt.Errorf("escrow: join: %w", err)
	}
	err := e.store.Update(ctx, Subject{SerialNumber: serialNumber}, func(entries []Entry) (changed []Entry, _ error) {
		own := func(e Entry) bool { return e.State == Current && e.Subject.SerialNumber == serialNumber }
		for _, entry := range entries {
			if entry.State != Current || entry.Subject.EnrollmentID != enrollmentID {
				continue
			}
			if slices.ContainsFunc(entries, func(e Entry) bool { return own(e) && e.Kind == entry.Kind && !e.Text.Equal(entry.Text) }) {
				entry.State = Disputed
				changed = append(changed, entry)
			}
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("escrow: join: %w", err)
	}
	return nil
}

// Records returns what is known of a subject's codes: current ones first, then
// superseded ones, disputed ones last; within each, those seen last first. None
// is not an error.
func (e *Escrow) Records(ctx context.Context, subject Subject) ([]Record, error) {
	entries, err := e.store.Entries(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("escrow: records: %w", err)
	}
	records := make([]Record, 0, len(entries))
	for _, entry := range slices.Backward(entries) { // of the same moment, the later filed first
		records = append(records, entry.Record)
	}
	rank := map[State]int{Current: 0, Superseded: 1, Disputed: 2}
	slices.SortStableFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), b.LastSeen.Compare(a.LastSeen))
	})
	return records, nil
}

// Reveal returns the code of one record of a subject, or [ErrNotFound]. Who
// may see it is for the caller to decide.
func (e *Escrow) Reveal(ctx context.Context, subject Subject, recordID string) (bypasscode.Text, error) {
	entries, err := e.store.Entries(ctx, subject)
	if err != nil {
		return bypasscode.Text{}, fmt.Errorf("escrow: reveal: %w", err)
	}
	for _, entry := range entries {
		if entry.ID == recordID {
			return entry.Text, nil
		}
	}
	return bypasscode.Text{}, ErrNotFound
}

func newID() string { return rand.Text() }
