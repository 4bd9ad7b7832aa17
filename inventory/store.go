package inventory

import (
	"context"
	"errors"
)

// ErrNotFound means that there is no such record.
var ErrNotFound = errors.New("inventory: not found")

// Store keeps records. It is safe for many goroutines, and a call that returns
// without an error is durable. Nothing that goes in or out shares memory with
// the store.
type Store interface {
	// Update reads a record, or makes an empty one with the enrollment ID,
	// passes it to change and writes it in the same transaction. Two updates of
	// one record never overlap. Change may be called more than once and only
	// looks at its argument; its error is returned and nothing is written.
	Update(ctx context.Context, enrollmentID string, change func(*Record) error) error

	// Get returns a record or ErrNotFound.
	Get(ctx context.Context, enrollmentID string) (Record, error)

	// BySerialNumber returns the records that claim a serial number, by
	// enrollment ID. None is not an error; "" is claimed by none.
	BySerialNumber(ctx context.Context, serialNumber string) ([]Record, error)
}
