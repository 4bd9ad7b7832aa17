package escrow

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/internal/cms"
)

// Rotation is how far an exchange of keys has come.
type Rotation struct {
	Record Record // the last one that was looked at
	Err    error  // why it stays as it was, nil if nothing failed
	// Seen counts the records, Rewrapped those that had to be sealed anew, Copied
	// those that had to get another recovery copy, Failed those for which it did
	// not work and that stay as they were.
	Seen, Rewrapped, Copied, Failed int
}

// Rotate seals every code to the keys of now: the recipients of a Sealer that is
// a [Rewrapper], which also needs a key of before. If there are recovery
// certificates, codes whose copy is not for exactly those get another one, which
// takes an [Opener]. Progress, unless nil, is called after every record; a record
// that fails does not stop the others, and the error is nil then.
//
// Rotate can be stopped anywhere and nothing is lost: each record is written by
// itself. Go on from the ID of the last record if it was stopped; then run it
// again from "", until such a whole run has Rewrapped, Copied and Failed at zero.
// Those that are done take no time. Only then retire the old key. Servers that still run with the old keys seal to
// them, so change those first.
//
// Rotation keeps the data keys. It does not help against somebody who has an old
// copy of the store and an old private key.
//
// The audit is told once, before the first record.
func (e *Escrow) Rotate(ctx context.Context, by Act, after string, progress func(Rotation)) (Rotation, error) {
	rewrapper, ok := e.sealer.(Rewrapper)
	if !ok {
		return Rotation{}, errors.New("escrow: rotate: the Sealer cannot exchange keys")
	}
	if err := e.note(ctx, audit.Rotated, by, Subject{}, "", ""); err != nil {
		return Rotation{}, fmt.Errorf("escrow: rotate: %w", err)
	}
	var r Rotation
	for entry, err := range e.entries(ctx, after) {
		if err != nil {
			return r, fmt.Errorf("escrow: rotate: %w", err)
		}
		rewrapped, copied, err := e.rotate(ctx, rewrapper, entry)
		if ctx.Err() != nil {
			return r, fmt.Errorf("escrow: rotate: %w", ctx.Err())
		}
		r.Record, r.Err = entry.Record, err
		r.Seen++
		switch {
		case err != nil:
			r.Failed++
		case rewrapped:
			r.Rewrapped++
		}
		if err == nil && copied {
			r.Copied++
		}
		if progress != nil {
			progress(r)
		}
	}
	return r, nil
}

// rotate exchanges the keys of one entry.
func (e *Escrow) rotate(ctx context.Context, rewrapper Rewrapper, entry Entry) (rewrapped, copied bool, err error) {
	if entry.State == Purged {
		return false, false, nil
	}
	sealed, rewrapped, err := rewrapper.Rewrap(ctx, entry.Sealed, associated(entry.Record))
	if err != nil {
		return false, false, err
	}
	recoveryCopy := entry.RecoveryCopy
	if len(e.recovery) > 0 && !cms.EncryptedFor(entry.RecoveryCopy, e.recovery) {
		text, err := e.open(ctx, entry.Subject, entry) // as it was: the new key may not be here
		if err != nil {
			return false, false, err
		}
		if recoveryCopy, err = e.copyFor(entry.Record, text); err != nil {
			return false, false, err
		}
		copied = true
	}
	if !rewrapped && !copied {
		return false, false, nil
	}
	err = e.store.Update(ctx, entry.Subject, func(entries []Entry) ([]Entry, error) {
		for _, now := range entries {
			if now.ID == entry.ID && bytes.Equal(now.Sealed, entry.Sealed) { // else somebody else was faster
				now.Sealed = sealed
				if copied {
					now.RecoveryCopy = recoveryCopy
				}
				return []Entry{now}, nil
			}
		}
		return nil, nil
	})
	return rewrapped, copied, err
}
