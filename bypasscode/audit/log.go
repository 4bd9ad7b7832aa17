package audit

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync/atomic"
)

// Store keeps the entries of one chain. It is safe for many goroutines, and for
// many servers if it says so; a call that returns without an error is durable.
// Nothing that goes in or out shares memory with the store.
//
// A call whose context is over returns the context's error and changes nothing;
// one whose context ends meanwhile changes everything or nothing. Calls at the
// same time all succeed: a store that has to give one up tries it again.
//
// Entries come with numbers from 1, each greater than all that are there, with
// strings as those of an [Event], and with times in UTC (time.UTC) and whole
// microseconds, of the years 1 to 9999; all of it is returned as it came, byte by
// byte. No two have the same number: to append one whose number is there is an
// error, and nothing is written.
//
// Package storetest tests a store against these promises.
type Store interface {
	// Append passes the entry with the greatest number (the zero Entry if there is
	// none) to next and writes what next returns, all or nothing, in the same
	// transaction. Two calls never overlap, and nobody sees half of one. Next may be
	// called more than once: what it returned last is written; nothing is if that
	// is no entry. Its error is returned as it is, or wrapped, and nothing is
	// written, and neither is if it panics.
	Append(ctx context.Context, next func(last Entry) ([]Entry, error)) error

	// Scan returns up to limit entries with a greater number than after, in the
	// order of their numbers; fewer than limit only if there are no more, none if
	// limit is below 1. After is negative for the first page, so that a number that
	// no log writes is seen.
	Scan(ctx context.Context, after int64, limit int) ([]Entry, error)
}

// Config is what a log needs.
type Config struct {
	Store Store // required
	// Key stays the same for the life of the chain; the zero Key is none. The table
	// in the package's documentation says what it is good for.
	Key Key
	// OnHead is told the head after each Append that wrote and returns without an
	// error, before it returns and with its context: keep it outside of the
	// database. Calls can overlap and be out of order; the head with the greatest
	// number is the latest. Default: nobody is told.
	OnHead func(context.Context, Head)
}

// Log appends to a chain and verifies it. It is safe for many goroutines, and
// several logs may share a store if they have the same key. It prints as
// "[redacted]". Use [New].
type Log struct {
	redacted
	store  Store
	key    Key
	onHead func(context.Context, Head)
	known  *atomic.Bool // the key was seen to be that of the chain
}

// New checks the configuration and returns a log.
func New(c Config) (*Log, error) {
	if c.Store == nil {
		return nil, errors.New("audit: Config.Store is required")
	}
	if c.OnHead == nil {
		c.OnHead = func(context.Context, Head) {}
	}
	return &Log{store: c.Store, key: c.Key, onHead: c.OnHead, known: new(atomic.Bool)}, nil
}

// Append commits events, all or nothing, and returns the head. Whoever acts
// appends first: without an error the events are durable. With one of the store
// they may be, as after a connection that was lost at the wrong moment. Without
// events it returns the head, and writes nothing.
//
// A log with another key than that of the first entry would break the chain for
// ever; so it is a [*BrokenError], and nothing is written. So it is if that entry
// was changed: move the entries away as they are then, and begin a new chain.
func (l *Log) Append(ctx context.Context, events ...Event) (Head, error) {
	stored := make([]Event, 0, len(events))
	for _, e := range events {
		e, err := e.stored()
		if err != nil {
			return Head{}, err
		}
		stored = append(stored, e)
	}
	if err := l.checkKey(ctx); err != nil {
		return Head{}, err
	}
	var head Head
	err := l.store.Append(ctx, func(last Entry) ([]Entry, error) {
		head = Head{last.Number, last.Digest}
		if !head.valid() || head.Number > math.MaxInt64-int64(len(stored)) {
			return nil, &BrokenError{last.Number, "nothing can follow it"}
		}
		entries := make([]Entry, 0, len(stored))
		for _, e := range stored {
			head = Head{head.Number + 1, digest(l.key, head, e)}
			entries = append(entries, Entry{head.Number, e, head.Digest})
		}
		return entries, nil
	})
	if broken, ok := errors.AsType[*BrokenError](err); ok {
		return Head{}, broken
	}
	if err != nil {
		return Head{}, fmt.Errorf("audit: append: %w", err)
	}
	if len(events) > 0 {
		l.onHead(ctx, head)
	}
	return head, nil
}

// checkKey compares the key with the first entry, until that fits once.
func (l *Log) checkKey(ctx context.Context) error {
	if l.known.Load() {
		return nil
	}
	first, err := l.store.Scan(ctx, math.MinInt64, 1)
	if err != nil {
		return fmt.Errorf("audit: scan: %w", err)
	}
	if len(first) == 0 {
		return nil
	}
	if _, err := l.follow(Head{}, first[0]); err != nil {
		return err
	}
	l.known.Store(true)
	return nil
}

// page is the number of entries that a walk reads at once.
const page = 512

// Entries returns the entries as they are in the store, not verified, in the
// order of their numbers and with times in UTC. An error ends it.
func (l *Log) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for after := int64(math.MinInt64); ; {
			entries, err := l.store.Scan(ctx, after, page)
			if err != nil {
				yield(Entry{}, fmt.Errorf("audit: scan: %w", err))
				return
			}
			if len(entries) == 0 { // a store may have smaller pages of its own
				return
			}
			for _, e := range entries {
				if e.Number <= after { // or the walk may never end
					yield(Entry{}, &BrokenError{e.Number, "it is there twice, or out of order"})
					return
				}
				after = e.Number
				e.At = e.At.UTC()
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Verify walks through the whole chain and returns its head. If an entry does
// not follow from the one before, or if the chain does not lead through the head
// that was kept (the zero Head if none was), the error is a [*BrokenError]. The
// table in the package's documentation says what cannot be found.
func (l *Log) Verify(ctx context.Context, kept Head) (Head, error) {
	if !kept.valid() {
		return Head{}, errHead
	}
	var head Head
	for e, err := range l.Entries(ctx) {
		if err != nil {
			return Head{}, err
		}
		if head, err = l.follow(head, e); err != nil {
			return Head{}, err
		}
		if head.Number == kept.Number && head != kept {
			return Head{}, &BrokenError{head.Number, "it is not the entry of the head that was kept"}
		}
	}
	if head.Number < kept.Number {
		return Head{}, &BrokenError{head.Number + 1, "it is missing, and the head that was kept is of it or later"}
	}
	return head, nil
}

// follow returns the head after an entry, if the entry may follow the head.
func (l *Log) follow(head Head, e Entry) (Head, error) {
	want := head.Number + 1
	switch {
	case e.Number < want:
		return Head{}, &BrokenError{e.Number, "the first entry has the number 1"}
	case e.Number > want:
		return Head{}, &BrokenError{want, "it is missing"}
	}
	stored, err := e.stored()
	if err != nil || !stored.At.Equal(e.At) {
		return Head{}, &BrokenError{want, "it holds what no log writes"}
	}
	next := Head{want, digest(l.key, head, stored)}
	if !hmac.Equal(next.Digest[:], e.Digest[:]) {
		return Head{}, &BrokenError{want, "its digest is not that of what it says and of all before, or is of another key"}
	}
	return next, nil
}
