package bypass

import (
	"context"
	"errors"
)

var (
	// ErrNotFound means that there is no such action.
	ErrNotFound = errors.New("bypass: not found")
	// ErrOpen means that the device has an action that is not over.
	ErrOpen = errors.New("bypass: the device has an action that is not over")
	// ErrExists means that there is an action with that ID.
	ErrExists = errors.New("bypass: there is an action with that ID")
)

// Store keeps actions. It is safe for many goroutines, and for many servers if
// it says so; a call that returns without an error is durable. Nothing that goes
// in or out shares memory with the store. A call whose context is over returns
// the context's error and changes nothing.
//
// IDs and serial numbers have at most [escrow.MaxIdentifier] bytes of UTF-8
// without NUL and are compared byte by byte. Times come in UTC and whole
// microseconds, and are returned so; the zero time is returned as the zero time.
//
// Package storetest tests a store against these promises.
type Store interface {
	// Create files a new action. It is ErrExists if there is one with its ID, and
	// else ErrOpen if it is not over and its subject has one that is not over
	// either: of two calls at the same time, one gets ErrOpen.
	Create(ctx context.Context, a Action) error

	// Update reads an action, passes it to change and writes it in the same
	// transaction. Two updates of one action never overlap. Change may be called
	// more than once and only looks at its argument, of which ID and Subject stay
	// as they are; an action that is over stays over. Its error is returned as it
	// is, or wrapped, and nothing is written, and neither is if it panics. It is
	// ErrNotFound if there is none.
	Update(ctx context.Context, id string, change func(*Action) error) error

	// Get returns an action or ErrNotFound.
	Get(ctx context.Context, id string) (Action, error)

	// OfDevice returns the actions of a serial number in the order of their start,
	// and of the same moment in the byte order of their IDs. None is not an error.
	OfDevice(ctx context.Context, serialNumber string) ([]Action, error)

	// Scan returns up to limit actions in the byte order of their IDs, those whose
	// ID is greater than after: all, or only those that are not over; fewer than
	// limit only if there are no more, and none for a limit below 1.
	Scan(ctx context.Context, after string, limit int, open bool) ([]Action, error)
}
