package escrow

import "context"

// Entry is a record with its sealed code, as stores keep it. All of it may be
// shown to whoever may see the record: there is no code in it that could be read
// without a private key.
type Entry struct {
	Record
	// Sealed is the code as the [Sealer] sealed it, with its record's identity;
	// empty once it is purged.
	Sealed []byte
	// Digest finds the same code again: lower-case hexadecimal digits of a
	// SHA-256 over kind and code, "" for a text that does not parse.
	Digest string
	// RecoveryCopy is the code as CMS EnvelopedData (DER) for the holders of the
	// recovery certificates, empty if there are none.
	RecoveryCopy []byte
}

// Store keeps entries. It is safe for many goroutines, and for many servers if
// it says so; a call that returns without an error is durable. Nothing that goes
// in or out shares memory with the store.
//
// A call whose context is over returns the context's error and changes nothing;
// one whose context ends meanwhile changes everything or nothing. Calls at the
// same time all succeed: a store that has to give one up tries it again.
//
// Identifiers (Record.ID, serial numbers, enrollment IDs) have at most
// [MaxIdentifier] bytes of UTF-8 without NUL and are compared byte by byte. So
// are bounded: all other strings of a record, by [MaxIdentifier]; sealed code
// and recovery copy by [MaxSealed]. Times come in UTC (time.UTC) and whole
// microseconds, of the years 1582 to 9999, and are returned so; the zero time is
// returned as the zero time.
//
// Package storetest tests a store against these promises.
type Store interface {
	// Update reads the entries of a subject (see Entries) and passes them to
	// change; the entries that change returns are written, by ID, in the same
	// transaction: new ones are filed in their order, those that are there keep
	// their place. New ones have the subject of the update, and an ID that no
	// entry of another subject has; else there is an error and nothing is written.
	// Nobody sees half of an update, and updates of subjects that share entries
	// never overlap: those of the same one, and of a serial number and an
	// enrollment joined to it. Change may be called more than once and only looks
	// at its argument; its error is returned as it is, or wrapped, and nothing is
	// written, and neither is if it panics.
	//
	// Of an entry that is there ID, Subject, Kind and FirstSeen never change; a
	// store need not write them again.
	Update(ctx context.Context, subject Subject, change func([]Entry) ([]Entry, error)) error

	// Entries returns what was filed under the subject, and, for a serial
	// number, under the enrollments joined to it, in the order of filing. None
	// is not an error, nor is a subject that nothing can be filed under. What it
	// returns may not be durable yet; what an update was passed is, once that
	// returns.
	Entries(ctx context.Context, subject Subject) ([]Entry, error)

	// Join makes the entries of an enrollment entries of a serial number too,
	// also those that are still to come. Joining twice is joining once. An
	// enrollment can be joined to several serial numbers.
	Join(ctx context.Context, enrollmentID, serialNumber string) error

	// Joined returns the serial numbers that an enrollment is joined to, in byte
	// order. None is not an error.
	Joined(ctx context.Context, enrollmentID string) ([]string, error)

	// Scan returns up to limit entries of all subjects in the byte order of
	// their IDs, those whose ID is greater than after; fewer than limit only if
	// there are no more, and none for a limit below 1. An entry that is there all
	// the time is seen by a walk from "" to the end.
	Scan(ctx context.Context, after string, limit int) ([]Entry, error)
}

// Sealer makes text unreadable for the store. Package seal has one.
type Sealer interface {
	// Seal seals the text, bound to the associated data: opening it takes the
	// same. It keeps neither slice.
	Seal(ctx context.Context, text, associated []byte) ([]byte, error)
}

// Opener is a Sealer that can read what it sealed. A server that only collects
// codes has none.
type Opener interface {
	Open(ctx context.Context, sealed, associated []byte) ([]byte, error)
}

// Rewrapper is a Sealer whose keys can be exchanged (see [Escrow.Rotate]).
type Rewrapper interface {
	// Rewrap returns what was sealed, sealed to the keys of now. If it is so
	// already, it returns its argument's bytes and false.
	Rewrap(ctx context.Context, sealed, associated []byte) (rewrapped []byte, changed bool, err error)
}
