package main

import (
	"context"
	"log/slog"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/storage"

	"github.com/activationlock/sdk/activationlock/engine"
)

// decorator embeds the engine in NanoMDM. It stands around NanoMDM's own
// service, not beside it in a service/multi: that runs all services but the
// first in goroutines and drops their errors, and a code that could not be
// committed would be lost. Here the error becomes HTTP 500, and the device
// sends its report again.
type decorator struct {
	service.CheckinAndCommandService // NanoMDM's own
	engine                           *engine.Engine
	store                            interface {
		storage.CertAuthRetriever
		storage.CommandEnqueuer
	}
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

func (d *decorator) checkin(r *mdm.Request, e *mdm.Enrollment, raw []byte, err error) error {
	if err == nil {
		_, err = d.handle(r, e, raw, d.engine.HandleCheckin)
	}
	return err
}

func (d *decorator) CommandAndReportResults(r *mdm.Request, results *mdm.CommandResults) (*mdm.Command, error) {
	redacted, err := d.handle(r, &results.Enrollment, results.Raw, d.engine.HandleReport)
	if err != nil {
		return nil, err
	}
	results.Raw = redacted // what NanoMDM stores and hands to webhooks
	return d.CheckinAndCommandService.CommandAndReportResults(r, results)
}

// handle hands a message to the engine and puts the commands that come out into
// NanoMDM's queue. Who sent it is told by the certificate that NanoMDM bound to
// an enrollment when that began, not by what the message says of itself.
func (d *decorator) handle(r *mdm.Request, e *mdm.Enrollment, raw []byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) ([]byte, error) {
	ctx := r.Context()
	id, err := d.store.EnrollmentFromHash(ctx, certauth.HashCert(r.Certificate))
	if err != nil {
		return nil, err
	}
	from := engine.Enrollment{ID: id}
	if resolved := e.Resolved(); resolved != nil && resolved.IsUserChannel {
		from = engine.Enrollment{ID: id + ":" + resolved.UserChannelID, ParentID: id, Channel: engine.UserChannel}
	}
	outcome, err := handle(ctx, from, raw)
	for _, c := range outcome.Commands {
		command, err := mdm.DecodeCommand(c.Plist)
		if err == nil {
			_, err = d.store.EnqueueCommand(ctx, []string{from.ID}, command)
		}
		if err != nil { // the engine asks again what got lost
			slog.ErrorContext(ctx, "command not queued", "enrollment", from.ID, "type", c.RequestType, "error", err)
		}
	}
	return outcome.Redacted, err
}
