package inventory

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("inventory: not found")
	// ErrNotClaimed means that a claim is over, or was never there.
	ErrNotClaimed = errors.New("inventory: not claimed")
)

// Claim is a due record, claimed for one server.
type Claim struct {
	EnrollmentID string
	// Token proves the claim; see [Store.Release].
	Token string
}

// Store keeps records. It is safe for many goroutines, and for many servers if
// it says so; a call that returns without an error is durable. Nothing that goes
// in or out shares memory with the store. A call whose context is over returns
// the context's error and changes nothing.
//
// Strings have at most [escrow.MaxIdentifier] bytes of UTF-8 without NUL, and are
// compared byte by byte. Times come in UTC and whole microseconds, of the years
// 1582 to 9999, and are returned so; the zero time is returned as the zero time. A
// record has at most 1 MiB in JSON. What is read may have nil for lists and maps
// that are empty.
//
// Package storetest tests a store against these promises.
type Store interface {
	// Update reads a record, or makes an empty one with the enrollment ID,
	// passes it to change and writes it in the same transaction. Two updates of
	// one record never overlap. Change may be called more than once and only
	// looks at its argument, of which EnrollmentID stays as it is; its error is
	// returned as it is, or wrapped, and nothing is written, and neither is if it
	// panics. A claim stays.
	Update(ctx context.Context, enrollmentID string, change func(*Record) error) error

	// Get returns a record or ErrNotFound.
	Get(ctx context.Context, enrollmentID string) (Record, error)

	// BySerialNumber returns the records that claim a serial number, by
	// enrollment ID. None is not an error; "" is claimed by none.
	BySerialNumber(ctx context.Context, serialNumber string) ([]Record, error)

	// Claim claims up to limit records that are due (Summary.DueAt is not after
	// now, nor zero) and not claimed, until a moment. They come in the order in
	// which they became due, and of the same moment by enrollment ID. What was
	// claimed and not released became due when that claim ended, so a record that
	// no server survives does not keep coming first.
	//
	// Of several servers at the same time, no two get the same record. One that is
	// being written may be left out, so fewer than limit does not mean that no
	// more are due. A limit below 1 claims none.
	//
	// A claim is over when its time is reached. The times are the callers': one
	// whose clock is ahead claims early, and one that is behind late, by the
	// difference. So a claim holds for its time less the skew of the clocks; let
	// it be longer than the work by more than that.
	Claim(ctx context.Context, now, until time.Time, limit int) ([]Claim, error)

	// Release ends a claim; whether the record is due, DueAt says again. It is
	// ErrNotClaimed if another one has taken its place, or none is there. One whose
	// time is over, and that nobody has taken since, is released like any other.
	Release(ctx context.Context, c Claim) error

	// List returns a page of rows in the order of the query. Descending is the
	// reverse of ascending, also for rows of the same value; the zero time and ""
	// come before all others. A limit below 1 gives none, and one above MaxPage is
	// MaxPage. It is ErrCursor for an After that is no cursor, or one of another
	// order; the filter may be another. The page may be in the memory of Query.Into.
	List(ctx context.Context, q Query) ([]Row, error)

	// Totals counts the records that fit a filter, in one query. Overdue are those that
	// were due before now, which may be a moment in the past.
	Totals(ctx context.Context, f Filter, now time.Time) (Totals, error)
}
