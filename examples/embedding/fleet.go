package embedding

import (
	"context"

	"github.com/activationlock/sdk/activationlock/engine"
)

// results are what Fleet gives to a handler of command results.
type results interface {
	HostUUID() string
	Raw() []byte
}

// fleet is the part of a Fleet fork that is needed: its check-in and command service,
// and its commander.
type fleet interface {
	RegisterResultsHandler(requestType string, handler func(context.Context, results) error)
	EnqueueCommand(ctx context.Context, hostUUIDs []string, rawCommand string) error
}

// README fleet begin

// intoFleet has the engine see every answer that concerns it. The error of a handler
// becomes HTTP 500, and the device sends its report again.
func intoFleet(f fleet, locks *engine.Engine) {
	for _, requestType := range []string{"DeviceInformation", "SecurityInfo", "ActivationLockBypassCode", "Settings"} {
		f.RegisterResultsHandler(requestType, func(ctx context.Context, r results) error {
			host := r.HostUUID() // as Fleet authenticated it
			out, err := locks.HandleReport(ctx, engine.Enrollment{ID: host}, r.Raw())
			if err != nil {
				return err
			}
			return queueInFleet(ctx, f, host, out.Commands)
		})
	}
}

// queueInFleet is also what Run delivers batches with. A command that gets lost is
// asked again, so its error is for the log only.
func queueInFleet(ctx context.Context, f fleet, host string, commands []engine.Queued) error {
	for _, c := range commands {
		if err := f.EnqueueCommand(ctx, []string{host}, string(c.Plist)); err != nil {
			logError(ctx, "command not queued", host, err)
		}
	}
	return nil
}

// README fleet end
