package escrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// Lock is a device that the organization is about to lock.
type Lock struct {
	SerialNumber string    // required: Apple locks by serial number
	At           time.Time // required
	Device       Device
}

// LockCode commits a server code for a lock of the organization and returns its
// record, whose Hash goes into the lock call. There is no other way to the hash
// of a code that is made here, so no device is ever locked with a code that is
// not safe.
//
// Until one is void, worked or superseded, a retry gets the same code: the
// first call may have succeeded although its answer was lost.
//
// [Escrow.Mark] the record [MaybeActive] before the call goes out: the server may
// end before the answer comes. Then mark it [Current] if Apple confirmed the lock.
// Mark it [Void] only if Apple refused, and this was the first call with it (it
// was not MaybeActive when LockCode returned it). A refusal of a later call says
// nothing of an earlier one: DEVICE_ALREADY_LOCKED may be your own lock, so leave
// it MaybeActive.
func (e *Escrow) LockCode(ctx context.Context, l Lock) (Record, error) {
	kept, err := e.lockCode(ctx, l)
	if err != nil {
		return Record{}, fmt.Errorf("escrow: lock code: %w", err)
	}
	return kept, nil
}

func (e *Escrow) lockCode(ctx context.Context, l Lock) (kept Record, err error) {
	c := Capture{Subject: Subject{SerialNumber: l.SerialNumber}, Kind: bypasscode.Server, ReceivedAt: l.At, Device: l.Device}
	if !c.Subject.valid() || l.At.IsZero() {
		return Record{}, errors.New("serial number and time are required")
	}
	c.bound()
	entries, err := e.store.Entries(ctx, c.Subject)
	if err != nil {
		return Record{}, err
	}
	var fresh Entry // made only if it is needed, and before the update, since it takes its time
	for found := lockable(entries) >= 0; ; found = false {
		if !found {
			if fresh, err = e.lockEntry(ctx, c); err != nil {
				return Record{}, err
			}
		}
		gone := false // somebody else marked the code that was there
		// Also where nothing is to be changed: what can be read may not be on the
		// disk yet, and an update waits for it.
		err := e.store.Update(ctx, c.Subject, func(entries []Entry) ([]Entry, error) {
			after := slices.Clone(entries)
			at := lockable(after)
			if gone = at < 0 && found; gone {
				return nil, nil
			}
			if at < 0 {
				if filled(after, c) >= Quota {
					return nil, ErrQuota
				}
				at, after = len(after), append(after, fresh)
				supersede(after, bypasscode.Server, fresh.ID) // one of elsewhere
			}
			for i := range after {
				after[i].DeletedAt = time.Time{}
			}
			kept = after[at].Record
			return changes(entries, after), nil
		})
		if err != nil {
			return Record{}, err
		}
		if !gone {
			return kept, nil
		}
	}
}

// lockEntry makes a code for a lock.
func (e *Escrow) lockEntry(ctx context.Context, c Capture) (Entry, error) {
	code := bypasscode.New()
	hash, err := code.Hash()
	if err != nil {
		return Entry{}, err
	}
	return e.entry(ctx, Record{
		ID: newID(), Subject: c.Subject, Kind: bypasscode.Server, State: Current, Cause: CauseOrganizationLock,
		ReceivedAt: c.ReceivedAt, FirstSeen: c.ReceivedAt, LastSeen: c.ReceivedAt, Device: c.Device, Hash: hash,
	}, bypasscode.NewText(code.Reveal()))
}

// lockable returns the index of the code to lock with, negative if one must be
// made. One that may be active comes first: it was sent already. Codes of
// elsewhere have no hash, since it takes a private key and time to get it.
func lockable(entries []Entry) int {
	found := -1
	for i, e := range entries {
		if e.Kind != bypasscode.Server || e.Hash == (bypasscode.Hash{}) {
			continue
		}
		if e.State == MaybeActive || e.State == Current && (found < 0 || entries[found].State == Current) {
			found = i
		}
	}
	return found
}

// Verdict is what became of using a code.
type Verdict struct {
	// State is [Worked] after an unlock with the code, [Void] if it is known not
	// to open the lock; for a server code also [MaybeActive] after a lock call
	// without a clear answer, and [Current] after a confirmed one.
	State  State
	Reason string    // required, except for Current; without secrets
	At     time.Time // required
}

// Mark notes what became of using a code and returns its record. The same state
// again changes nothing. It is [ErrNotFound] or [ErrPurged] where there is no
// code.
func (e *Escrow) Mark(ctx context.Context, subject Subject, recordID string, v Verdict) (Record, error) {
	server := v.State == MaybeActive || v.State == Current
	if !server && v.State != Worked && v.State != Void || v.At.IsZero() ||
		v.Reason == "" && v.State != Current || v.Reason != "" && !ValidIdentifier(v.Reason) {
		return Record{}, errors.New("escrow: mark: state, reason and time are required")
	}
	var kept Record
	err := e.update(ctx, "mark", subject, func(entries []Entry) ([]Entry, error) {
		after := slices.Clone(entries)
		at := slices.IndexFunc(after, func(e Entry) bool { return e.ID == recordID })
		switch {
		case at < 0:
			return nil, ErrNotFound
		case after[at].State == Purged:
			return nil, ErrPurged
		case server && after[at].Kind != bypasscode.Server:
			return nil, errors.New("only the device says that its code is current")
		}
		r := &after[at].Record
		if r.State != v.State {
			r.enter(v.State, stored(v.At), v.Reason)
		}
		if v.State == Current {
			// The lock has this code now. Whatever may have been active is not.
			for i := range after {
				if e := &after[i]; i != at && e.Kind == bypasscode.Server && (e.State == Current || e.State == MaybeActive) {
					e.enter(Superseded, time.Time{}, "")
				}
			}
		}
		kept = *r
		return changes(entries, after), nil
	})
	if err != nil {
		return Record{}, err
	}
	return kept, nil
}
