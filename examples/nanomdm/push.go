package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/storage"

	"github.com/activationlock/sdk/activationlock/engine"
)

// pushTimeout bounds a push: NanoMDM's client has no limit of its own.
const pushTimeout = 20 * time.Second

// deliver queues what the engine planned for a device that is due, and pushes, so
// that the device comes for it. There are no requests to Apple in a batch, since
// the engine has a Doer.
func (h *host) deliver(ctx context.Context, b engine.Batch) error {
	if err := enqueue(ctx, h.store, b.Enrollment.ID, b.Commands); err != nil {
		return err
	}
	return wake(ctx, h.pusher, b.Enrollment.ID)
}

// enqueue puts commands into NanoMDM's queue.
func enqueue(ctx context.Context, queue storage.CommandEnqueuer, id string, commands []engine.Queued) error {
	for _, c := range commands {
		command, err := mdm.DecodeCommand(c.Plist)
		if err != nil {
			return fmt.Errorf("%s: %w", c.RequestType, err)
		}
		failed, err := queue.EnqueueCommand(ctx, []string{id}, command)
		if err = errors.Join(err, failed[id]); err != nil {
			return fmt.Errorf("%s: %w", c.RequestType, err)
		}
	}
	return nil
}

// wake pushes to a device, so that it asks for its commands.
func wake(ctx context.Context, pusher push.Pusher, id string) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	answers, err := pusher.Push(ctx, []string{id})
	if answer := answers[id]; answer != nil {
		err = errors.Join(err, answer.Err)
	}
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return nil
}
