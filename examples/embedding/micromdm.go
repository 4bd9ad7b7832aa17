package embedding

import (
	"context"

	"github.com/activationlock/sdk/activationlock/engine"
)

// acknowledgeEvent and checkinEvent have the fields of MicroMDM's events of the same
// names that are needed: who sent it, and the bytes.
type acknowledgeEvent struct {
	Response struct{ UDID string }
	Raw      []byte
}

type checkinEvent struct {
	Command struct{ UDID string }
	Raw     []byte
}

// micromdm is MicroMDM's mdm.Service.
type micromdm interface {
	Checkin(ctx context.Context, event checkinEvent) (payload []byte, err error)
	Acknowledge(ctx context.Context, event acknowledgeEvent) (payload []byte, err error)
}

// README micromdm begin

// intoMicroMDM is one of MicroMDM's middlewares: put it inside of the one that checks
// the device's certificate against its UDID.
type intoMicroMDM struct {
	next  micromdm
	locks *engine.Engine
	queue func(ctx context.Context, udid string, commands []engine.Queued) error
}

func (m intoMicroMDM) Checkin(ctx context.Context, e checkinEvent) ([]byte, error) {
	payload, err := m.next.Checkin(ctx, e)
	if err != nil {
		return nil, err
	}
	out, err := m.locks.HandleCheckin(ctx, engine.Enrollment{ID: e.Command.UDID}, e.Raw)
	if err != nil {
		return nil, err // the device sends it again
	}
	if err := m.queue(ctx, e.Command.UDID, out.Commands); err != nil {
		logError(ctx, "commands not queued", e.Command.UDID, err)
	}
	return payload, nil
}

func (m intoMicroMDM) Acknowledge(ctx context.Context, e acknowledgeEvent) ([]byte, error) {
	out, err := m.locks.HandleReport(ctx, engine.Enrollment{ID: e.Response.UDID}, e.Raw)
	if err != nil {
		return nil, err // the device sends it again
	}
	e.Raw = out.Redacted // what MicroMDM publishes to its webhook
	if err := m.queue(ctx, e.Response.UDID, out.Commands); err != nil {
		logError(ctx, "commands not queued", e.Response.UDID, err)
	}
	return m.next.Acknowledge(ctx, e)
}

// README micromdm end
