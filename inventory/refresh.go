package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Refresh has the records of a subject due now, if they are not already: all that
// claim its serial number, or the one of its enrollment ID, also of enrollments that
// ended. Status and findings depend on the codes in escrow, so what changes codes
// there by other ways than an engine (an import, a purge, a state set by hand) calls it
// afterwards, and the next Tick of an engine computes them anew. Now may be of any
// zone, and is kept in UTC and whole microseconds.
//
// A record that is not there is not made, and that none is there is no error. The
// errors are those of the store; with one, some records may be due and others not, and
// it can be called again.
func Refresh(ctx context.Context, s Store, subject escrow.Subject, now time.Time) error {
	if err := refresh(ctx, s, subject, now.UTC().Truncate(time.Microsecond)); err != nil {
		return fmt.Errorf("inventory: refresh: %w", err)
	}
	return nil
}

func refresh(ctx context.Context, s Store, subject escrow.Subject, now time.Time) error {
	var records []Record
	var err error
	if subject.SerialNumber != "" {
		records, err = s.BySerialNumber(ctx, subject.SerialNumber)
	} else if subject.EnrollmentID != "" {
		records = make([]Record, 1)
		if records[0], err = s.Get(ctx, subject.EnrollmentID); errors.Is(err, ErrNotFound) {
			return nil // an update would make it
		}
	}
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := s.Update(ctx, r.EnrollmentID, func(r *Record) error {
			r.Summary.DueAt = earlier(r.Summary.DueAt, now)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
