package engine

import (
	"context"
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
// questions are spread over [Policy].AdoptWithin, by Tick; who speaks before is
// asked then. Since when the devices are supervised nobody knows, so none of them
// has a window that is known to be open: each is asked for its code once, and again
// with every inventory until it gave one.
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
		known := false
		err := e.config.Inventory.Update(ctx, from.ID, func(r *inventory.Record) error {
			if known = r.Channel != ""; known {
				return nil
			}
			r.ParentID, r.Channel = from.ParentID, from.Channel
			if r.Channel == "" {
				r.Channel = DeviceChannel
			}
			r.TokenAt = now
			policy, _ := e.policyFor(r)
			due := time.Time{} // a user channel is never asked
			if r.Channel == DeviceChannel {
				due = inventory.Periodic{Every: policy.AdoptWithin}.For(r.EnrollmentID).Next(now)
			}
			r.Summarize(nil, due, policy.Limits, now)
			return nil
		})
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
