package main

import (
	"context"
	"errors"

	"github.com/micromdm/nanomdm/mdm"

	"github.com/activationlock/sdk/activationlock/engine"
)

// adopt takes in the devices that NanoMDM's storage had before the engine was
// there. Users of a device are not needed: a lock is the device's.
func (h *host) adopt(ctx context.Context) (engine.AdoptResult, error) {
	checkins, read := make(chan any), make(chan error, 1)
	go func() {
		defer close(checkins)
		read <- h.store.RetrieveMigrationCheckins(ctx, checkins)
	}()
	result, err := h.engine.Adopt(ctx, func(yield func(engine.Enrollment) bool) {
		for checkin := range checkins {
			update, ok := checkin.(*mdm.TokenUpdate)
			if !ok {
				continue
			}
			resolved := update.Enrollment.Resolved()
			if resolved != nil && !resolved.IsUserChannel && !yield(engine.Enrollment{ID: resolved.DeviceChannelID}) {
				return
			}
		}
	})
	for range checkins { // NanoMDM does not end before all are read
	}
	return result, errors.Join(err, <-read)
}
