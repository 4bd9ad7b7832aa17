package escrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
)

// Delete notes that a device was deleted. It takes nothing away: its codes stay
// and can be revealed, since the hardware may turn up locked years later. If the
// device comes back, the note is lifted: when it gives a code on being asked, or
// by [Escrow.LockCode].
func (e *Escrow) Delete(ctx context.Context, subject Subject, at time.Time) error {
	if at.IsZero() {
		return errors.New("escrow: delete: a time is required")
	}
	return e.update(ctx, "delete", subject, func(entries []Entry) ([]Entry, error) {
		after := slices.Clone(entries)
		for i := range after {
			if r := &after[i].Record; r.State != Purged && r.DeletedAt.IsZero() {
				r.DeletedAt = stored(at)
			}
		}
		return changes(entries, after), nil
	})
}

// Purge destroys the codes of a device that was deleted before, for good.
type Purge struct {
	Act           // required; the reason is kept with the record
	At  time.Time // required
	// LockOff says that somebody knows that the lock is off. False is refused
	// with [ErrLockMayBeOn], unless Force is set.
	LockOff bool
	Force   bool
}

// Purge destroys the codes of a subject, those of joined enrollments too: what
// was sealed, its digest, its hash, its recovery copy, the device's identity and
// who gave it. The records stay under their Subject, without all this, and say
// when and why; so does the audit, before anything is destroyed. A device that was
// not deleted gives [ErrNotDeleted]; a subject without codes is none to purge and
// gives no error.
//
// Copies of the database still have the codes, and so do recovery copies that were
// taken out; the database's own files may, until they are vacuumed. All of them
// are sealed or encrypted.
func (e *Escrow) Purge(ctx context.Context, subject Subject, p Purge) error {
	if p.check() != nil || p.At.IsZero() {
		return errors.New("escrow: purge: actor, reason and time are required")
	}
	if !p.LockOff && !p.Force {
		return ErrLockMayBeOn
	}
	if !subject.valid() {
		return errSubject("purge")
	}
	entries, err := e.store.Entries(ctx, subject)
	if err != nil {
		return fmt.Errorf("escrow: purge: %w", err)
	}
	codes := 0
	for _, entry := range entries {
		if entry.State == Purged {
			continue
		}
		if entry.DeletedAt.IsZero() {
			return fmt.Errorf("escrow: purge: %w", ErrNotDeleted)
		}
		codes++
	}
	if codes == 0 {
		return nil
	}
	detail := fmt.Sprintf("%d codes", codes)
	if !p.LockOff {
		detail += ", forced: the lock may be on"
	}
	if err := e.note(ctx, audit.Purged, p.Act, subject, "", detail); err != nil {
		return fmt.Errorf("escrow: purge: %w", err)
	}
	return e.update(ctx, "purge", subject, func(entries []Entry) ([]Entry, error) {
		after := slices.Clone(entries)
		for i := range after {
			entry := &after[i]
			if entry.State == Purged {
				continue
			}
			if entry.DeletedAt.IsZero() {
				return nil, ErrNotDeleted
			}
			entry.enter(Purged, stored(p.At), p.Reason)
			entry.Sealed, entry.Digest, entry.RecoveryCopy = nil, "", nil
			entry.EnrollmentID, entry.Device, entry.Hash = "", Device{}, bypasscode.Hash{}
		}
		return changes(entries, after), nil
	})
}
