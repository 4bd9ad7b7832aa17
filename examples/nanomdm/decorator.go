package main

import (
	"context"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"

	"github.com/activationlock/sdk/activationlock/engine"
)

// decorator embeds the engine in NanoMDM. It stands around NanoMDM's own
// service, not beside it in a service/multi: that runs all services but the
// first in goroutines and drops their errors, and a code that could not be
// committed would be lost. Here the error becomes HTTP 500, and the device
// sends its report again.
type decorator struct {
	service.CheckinAndCommandService // NanoMDM's own
	*host
}

func (d *decorator) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.Authenticate(r, m))
}

func (d *decorator) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.TokenUpdate(r, m))
}

func (d *decorator) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.CheckOut(r, m))
}

// checkin hands a message to the engine after NanoMDM, which drops the device's
// queue at Authenticate: an old permission to lock must not overtake the new code.
func (d *decorator) checkin(r *mdm.Request, e *mdm.Enrollment, raw []byte, err error) error {
	if err != nil {
		return err
	}
	from, outcome, err := d.handle(r, e, raw, d.engine.HandleCheckin)
	if len(outcome.Commands) > 0 { // nothing else makes the device ask for them
		if err := wake(r.Context(), d.pusher, from.ID); err != nil {
			d.logger.ErrorContext(r.Context(), "device not pushed", "enrollment", from.ID, "error", err)
		}
	}
	return err
}

// README nanomdm begin

func (d *decorator) CommandAndReportResults(r *mdm.Request, results *mdm.CommandResults) (*mdm.Command, error) {
	_, outcome, err := d.handle(r, &results.Enrollment, results.Raw, d.engine.HandleReport)
	if err != nil {
		return nil, err
	}
	results.Raw = outcome.Redacted // what NanoMDM stores and hands to webhooks
	return d.CheckinAndCommandService.CommandAndReportResults(r, results)
}

// handle hands a message to the engine and puts the commands that come out into
// NanoMDM's queue. Who sent it is told by the certificate that NanoMDM bound to
// an enrollment when that began, not by what the message says of itself.
func (d *decorator) handle(r *mdm.Request, e *mdm.Enrollment, raw []byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) (engine.Enrollment, engine.Outcome, error) {
	ctx := r.Context()
	id, err := d.store.EnrollmentFromHash(ctx, certauth.HashCert(r.Certificate))
	if err != nil {
		return engine.Enrollment{}, engine.Outcome{}, err
	}
	from := engine.Enrollment{ID: id}
	if resolved := e.Resolved(); resolved != nil && resolved.IsUserChannel {
		from = engine.Enrollment{ID: id + ":" + resolved.UserChannelID, ParentID: id, Channel: engine.UserChannel}
	}
	outcome, err := handle(ctx, from, raw)
	if err := enqueue(ctx, d.store, from.ID, outcome.Commands); err != nil { // the engine asks again what got lost
		d.logger.ErrorContext(ctx, "command not queued", "enrollment", from.ID, "error", err)
	}
	return from, outcome, err
}

// README nanomdm end
