package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/examples/nanomdm/decorator"
)

// pushTimeout bounds a push: NanoMDM's client has no limit of its own.
const pushTimeout = 20 * time.Second

// deliver queues what the engine planned for a device that is due, and pushes, so
// that the device comes for it. There are no requests to Apple in a batch, since
// the engine has a Doer.
func (h *host) deliver(ctx context.Context, b engine.Batch) error {
	if err := decorator.Enqueue(ctx, h.store, b.Enrollment.ID, b.Commands); err != nil {
		return err
	}
	return h.wake(ctx, b.Enrollment.ID)
}

// wake pushes to a device, so that it asks for its commands.
func (h *host) wake(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	answers, err := h.pusher.Push(ctx, []string{id})
	if answer := answers[id]; answer != nil {
		err = errors.Join(err, answer.Err)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // its address has the device's push token
	}
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return nil
}
