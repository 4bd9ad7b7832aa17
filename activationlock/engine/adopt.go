package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// AdoptResult says what became of the enrollments of a fleet.
type AdoptResult struct {
	Adopted int // are on record now
	Known   int // were on record before
	Invalid int // have no ID, or one that cannot be kept, or a user channel without its device, or no such channel
}

// Adopt takes in a fleet that was enrolled before the engine was there. Their first
// questions are spread over [Policy].AdoptWithin, and come later where the window of
// [Policy].Inventory is closed, by Tick; who speaks before is asked then. Since when
// the devices are supervised nobody knows, so none of them has a time to give its code
// that is known to be open: each is asked for its code once, when it is known what it
// is, and again with every inventory until it gave one.
//
// It can be stopped and called again with the same enrollments. An error, which is
// of the inventory or the context, ends it; the result says how far it came.
func (e *Engine) Adopt(ctx context.Context, fleet iter.Seq[Enrollment]) (result AdoptResult, err error) {
	now := e.now()
	for from := range fleet {
		if err := ctx.Err(); err != nil {
			return result, fmt.Errorf("engine: adopt: %w", err)
		}
		device := from.Channel == "" || from.Channel == DeviceChannel
		if !escrow.ValidIdentifier(from.ID) || !device && (from.Channel != UserChannel || !escrow.ValidIdentifier(from.ParentID)) {
			result.Invalid++
			continue
		}
		known, err := e.adopt(ctx, from, now)
		if err != nil {
			return result, fmt.Errorf("engine: adopt: %w", err)
		}
		if known {
			result.Known++
		} else {
			result.Adopted++
		}
	}
	return result, nil
}

// adopt takes in one enrollment, unless it is known.
func (e *Engine) adopt(ctx context.Context, from Enrollment, now time.Time) (known bool, err error) {
	r, err := e.config.Inventory.Get(ctx, from.ID)
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		return false, err
	}
	if r.Channel != "" {
		return true, nil
	}
	taken := func(r *inventory.Record) {
		r.EnrollmentID, r.ParentID, r.Channel, r.TokenAt = from.ID, from.ParentID, cmp.Or(from.Channel, DeviceChannel), now
	}
	taken(&r) // the host may have said something of it before
	policy, err := e.policyFor(&r)
	if err != nil {
		e.emit(ctx, PolicyRefused, from.ID, "", err)
	}
	due := time.Time{} // a user channel is never asked
	if r.Channel == DeviceChannel {
		due = inventory.Periodic{Every: policy.AdoptWithin}.For(from.ID).Next(now)
		due = inventory.Earliest(policy.Inventory(from.ID), due)
	}
	err = e.config.Inventory.Update(ctx, from.ID, func(r *inventory.Record) error {
		if known = r.Channel != ""; !known {
			taken(r)
			r.Summarize(nil, due, policy.Limits, now)
		}
		return nil
	})
	return known, err
}
