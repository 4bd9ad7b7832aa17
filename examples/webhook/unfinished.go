package main

import (
	"context"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
)

// repairUnfinished pushes, now and then at an interval, until the context ends,
// the devices of which an Authenticate came and no TokenUpdate. Nothing is due of
// them, since they may never have finished; but MicroMDM drops what it cannot post,
// and NanoMDM may post the two in the wrong order. Who finished comes when it is
// pushed, and the engine knows by that.
func (h *webhook) repairUnfinished(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := h.pushUnfinished(ctx, time.Now(), every); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "unfinished enrollments not looked at", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pushUnfinished pushes those that began longer ago than after, and not so long ago
// that their codes are out of reach.
func (h *webhook) pushUnfinished(ctx context.Context, now time.Time, after time.Duration) error {
	for row, err := range inventory.Rows(ctx, h.records, inventory.Query{Limit: inventory.MaxPage}) {
		if err != nil {
			return err
		}
		if row.Live {
			continue
		}
		r, err := h.records.Get(ctx, row.EnrollmentID)
		if err != nil {
			return err
		}
		age := now.Sub(r.AuthenticatedAt)
		if r.Channel != engine.DeviceChannel || !r.CheckedOutAt.IsZero() || age < after || age > activationlock.CodeWindow {
			continue
		}
		if err := h.server.push(ctx, r.EnrollmentID); err != nil {
			h.log.WarnContext(ctx, "not pushed", "enrollment", r.EnrollmentID, "error", err)
		}
	}
	return nil
}
