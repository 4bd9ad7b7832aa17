// Package decorator embeds the engine in NanoMDM.
package decorator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/storage"

	"github.com/activationlock/sdk/activationlock/engine"
)

// Decorator stands around NanoMDM's own service, not beside it in a service/multi:
// that runs all services but the first in goroutines and drops their errors, and a
// code that could not be committed would be lost. Here the error becomes HTTP 500, and
// the device sends its report again.
//
// All fields are required. A Decorator must not be copied.
type Decorator struct {
	service.CheckinAndCommandService // NanoMDM's own
	Engine                           *engine.Engine
	Store                            Store
	Wake                             func(ctx context.Context, id string) error // pushes to a device
	Logger                           *slog.Logger

	bound sync.Map // the hash of the certificate by enrollment ID
}

// Store is what is needed of NanoMDM's storage.
type Store interface {
	storage.CertAuthStore
	storage.CommandEnqueuer
}

func (d *Decorator) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.Authenticate(r, m))
}

func (d *Decorator) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.TokenUpdate(r, m))
}

func (d *Decorator) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	return d.checkin(r, &m.Enrollment, m.Raw, d.CheckinAndCommandService.CheckOut(r, m))
}

// checkin hands a message to the engine after NanoMDM, which drops the device's
// queue at Authenticate: an old permission to lock must not overtake the new code.
func (d *Decorator) checkin(r *mdm.Request, e *mdm.Enrollment, raw []byte, err error) error {
	if err != nil {
		return err
	}
	from, outcome, err := d.handle(r, e, raw, d.Engine.HandleCheckin)
	if len(outcome.Commands) > 0 { // nothing else makes the device ask for them
		if err := d.Wake(r.Context(), from.ID); err != nil {
			d.Logger.ErrorContext(r.Context(), "device not pushed", "enrollment", from.ID, "error", err)
		}
	}
	return err
}

// README nanomdm begin

func (d *Decorator) CommandAndReportResults(r *mdm.Request, results *mdm.CommandResults) (*mdm.Command, error) {
	_, outcome, err := d.handle(r, &results.Enrollment, results.Raw, d.Engine.HandleReport)
	if err != nil {
		return nil, err
	}
	results.Raw = outcome.Redacted // what NanoMDM stores and hands to webhooks
	return d.CheckinAndCommandService.CommandAndReportResults(r, results)
}

// handle hands a message to the engine and puts the commands that come out into
// NanoMDM's queue.
func (d *Decorator) handle(r *mdm.Request, e *mdm.Enrollment, raw []byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) (engine.Enrollment, engine.Outcome, error) {
	from, err := d.sender(r, e)
	if err != nil {
		return engine.Enrollment{}, engine.Outcome{}, err
	}
	outcome, err := handle(r.Context(), from, raw)
	if err := Enqueue(r.Context(), d.Store, from.ID, outcome.Commands); err != nil { // the engine asks again what got lost
		d.Logger.ErrorContext(r.Context(), "command not queued", "enrollment", from.ID, "error", err)
	}
	return from, outcome, err
}

// sender returns who sent a message: the enrollment that it names, if NanoMDM bound
// the certificate to that when it began. What a message says of itself is not
// believed. Whom NanoMDM's own check found is not in the request yet (r.EnrollID is
// nil), so it is asked again: by the primary key, as EnrollmentFromHash goes through
// the whole table, and once for each certificate, since the check in front asks each
// time and refuses one that was exchanged.
func (d *Decorator) sender(r *mdm.Request, e *mdm.Enrollment) (engine.Enrollment, error) {
	named := e.Resolved()
	if named == nil || r.Certificate == nil {
		return engine.Enrollment{}, certauth.ErrNoCertAssoc
	}
	id, hash := named.DeviceChannelID, certauth.HashCert(r.Certificate)
	if known, _ := d.bound.Load(id); known != hash {
		ask := r.WithContext(r.Context()) // a copy
		ask.EnrollID = &mdm.EnrollID{Type: named.Type, ID: id}
		switch bound, err := d.Store.IsCertHashAssociated(ask, hash); {
		case err != nil:
			return engine.Enrollment{}, err
		case !bound:
			return engine.Enrollment{}, certauth.ErrNoCertAssoc
		}
		d.bound.Store(id, hash)
	}
	if named.IsUserChannel {
		return engine.Enrollment{ID: id + ":" + named.UserChannelID, ParentID: id, Channel: engine.UserChannel}, nil
	}
	return engine.Enrollment{ID: id}, nil
}

// README nanomdm end

// Enqueue puts commands into NanoMDM's queue. The first one that cannot be queued is an
// error, and those after it are not.
func Enqueue(ctx context.Context, queue storage.CommandEnqueuer, id string, commands []engine.Queued) error {
	for _, c := range commands {
		command, err := mdm.DecodeCommand(c.Plist)
		if err != nil {
			return fmt.Errorf("%s: %w", c.RequestType, err)
		}
		failed, err := queue.EnqueueCommand(ctx, []string{id}, command)
		for _, why := range failed { // by enrollment, or, in a folder, by command
			err = errors.Join(err, why)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.RequestType, err)
		}
	}
	return nil
}
