package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/inventory"
)

const (
	// claimFor is how long a record belongs to the server that claimed it.
	claimFor = 10 * time.Minute
	// claimLeft is how much of that has to be left to begin with a record: clocks
	// differ, and work takes its time.
	claimLeft = 3 * time.Minute
	// appleFor is how long a Tick calls Apple: it begins with no other device after
	// that, since what devices are to be sent waits to be delivered.
	appleFor = time.Minute
)

// Batch is what a due enrollment is to be sent.
type Batch struct {
	Enrollment Enrollment // zero for requests that belong to none
	// Commands are to be queued for the enrollment, in this order, and the device is
	// to be pushed, so that it comes for them.
	Commands []Queued
	// Requests are to be sent to Apple at once, and their answers given to
	// [Engine.HandleAnswer]; see [Request]. There are none with [Config].Doer.
	Requests []Request
}

// Tick works off up to limit enrollments that are due, and returns what is to be
// sent, a batch for each that has something. With [Config].Doer, it calls Apple
// itself, for about a minute, once all is planned that devices are to be sent; the
// rest is for the next Tick. Call it every minute or so, on as many servers as you
// like: each due enrollment is claimed by one. One that could not be worked off is
// due again after ten minutes.
//
// A service of Apple's that gives no answer, or refuses whoever calls, is left alone
// for a while, from under a minute to three quarters of an hour; then one call finds
// out whether it is back. Bypass and LockForOrganization do not wait for that.
//
// The batches count also with an error, which is of the inventory, of
// [Config].Actions or of the context; everything else is an [Event]. What a batch has
// is on record as asked: if it gets lost, it is asked again.
func (e *Engine) Tick(ctx context.Context, limit int) ([]Batch, error) {
	batches, _, err := e.tick(ctx, limit)
	if err != nil {
		return batches, fmt.Errorf("engine: tick: %w", err)
	}
	return batches, nil
}

// waiting is a claimed record of which Apple is to be asked.
type waiting struct {
	claim  inventory.Claim
	record inventory.Record
}

// ordered reports whether a person ordered what Apple is to be asked.
func (w waiting) ordered() bool { return w.record.BypassID != "" || !w.record.LockOrder.At.IsZero() }

// tick also says whether there may be more that is due.
func (e *Engine) tick(ctx context.Context, limit int) (batches []Batch, more bool, err error) {
	now := e.now()
	until := now.Add(claimFor)
	claims, err := e.config.Inventory.Claim(ctx, now, until, limit)
	if err != nil {
		return nil, false, err
	}
	to := toDevice | toApple
	if e.config.Doer != nil {
		to = toDevice // no device waits for a call
	}
	var forApple []waiting
	for _, c := range claims {
		if err := ctx.Err(); err != nil {
			return batches, false, err
		}
		if until.Sub(e.now()) >= claimLeft {
			done := e.took(StepTick)
			batch, r, ok := e.work(ctx, c.EnrollmentID, to)
			done()
			if len(batch.Commands)+len(batch.Requests) > 0 {
				batches = append(batches, batch)
			}
			if !ok {
				continue // it is due again when the claim is over, and not sooner
			}
			if due := r.Summary.DueAt; to&toApple == 0 && !due.IsZero() && !due.After(e.now()) {
				forApple = append(forApple, waiting{c, r})
				continue
			}
		}
		e.release(ctx, c)
	}
	deadline := e.now().Add(appleFor)
	orphans, err := e.workOrphans(ctx, deadline)
	left, ended := e.askApple(ctx, forApple, deadline)
	return append(batches, orphans...), left || len(claims) >= limit, cmp.Or(err, ended)
}

// askApple makes the calls that records wait for, those first that a person ordered,
// and says whether some are left. Its error is the context's.
func (e *Engine) askApple(ctx context.Context, all []waiting, deadline time.Time) (left bool, err error) {
	slices.SortStableFunc(all, func(a, b waiting) int {
		switch {
		case a.ordered() == b.ordered():
			return 0
		case a.ordered():
			return -1
		}
		return 1
	})
	for _, w := range all {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		ok := false
		if now := e.now(); now.Before(deadline) {
			_, _, ok = e.work(ctx, w.claim.EnrollmentID, toApple)
		} else {
			// Nothing is on record as asked. It goes behind all that is due by now, whose
			// devices would wait for Apple else.
			left = true
			ok = e.update(ctx, &w.record, func(r *inventory.Record) {
				if due := r.Summary.DueAt; !due.IsZero() && due.Before(now) {
					r.Summary.DueAt = now
				}
			})
		}
		if ok {
			e.release(ctx, w.claim)
		}
	}
	return left, nil
}

// release ends a claim. That it is over already is no matter.
func (e *Engine) release(ctx context.Context, c inventory.Claim) {
	if err := e.config.Inventory.Release(ctx, c); err != nil && !errors.Is(err, inventory.ErrNotClaimed) {
		e.emit(ctx, RecordFailed, c.EnrollmentID, "", err)
	}
}

// work does what is due of one enrollment, and returns its record as it is once that
// is planned.
func (e *Engine) work(ctx context.Context, enrollmentID string, to recipients) (batch Batch, planned inventory.Record, ok bool) {
	r, err := e.config.Inventory.Get(ctx, enrollmentID)
	if err != nil {
		e.emit(ctx, RecordFailed, enrollmentID, "", err)
		return Batch{}, r, false
	}
	policy, err := e.policyFor(&r)
	if err != nil {
		e.emit(ctx, PolicyRefused, enrollmentID, r.Facts.SerialNumber, err)
	}
	out, ok := e.reconcile(ctx, r, nothing, policy, to, e.now())
	if !ok {
		return Batch{}, r, false
	}
	batch = Batch{
		Enrollment: Enrollment{ID: r.EnrollmentID, ParentID: r.ParentID, Channel: r.Channel},
		Commands:   out.commands, Requests: e.requests(ctx, &out.after, policy, out.asks),
	}
	if e.config.Doer != nil {
		e.send(ctx, batch.Requests)
		batch.Requests = nil
	}
	return batch, out.after, true
}

// orphansAtOnce is how many bypasses of devices without a record a Tick goes on
// with, and how many it reads at once to find them.
const orphansAtOnce = 64

// workOrphans goes on with bypasses of devices that are in no record, as only their
// codes came from another server; and has those that others began on record. It
// begins with none of them after the deadline.
func (e *Engine) workOrphans(ctx context.Context, deadline time.Time) (batches []Batch, err error) {
	if e.bypasses == nil {
		return nil, nil
	}
	for after, worked := "", 0; worked < orphansAtOnce; {
		actions, err := e.config.Actions.Scan(ctx, after, orphansAtOnce, true)
		if err != nil {
			return batches, err
		}
		for _, a := range actions {
			after = a.ID
		}
		more, n, err := e.workOrphansOf(ctx, actions, deadline)
		batches, worked = append(batches, more...), worked+n
		if err != nil || len(actions) < orphansAtOnce {
			return batches, err
		}
	}
	return batches, nil
}

// workOrphansOf also says how many of the actions were gone on with.
func (e *Engine) workOrphansOf(ctx context.Context, actions []bypass.Action, deadline time.Time) (batches []Batch, worked int, err error) {
	for _, a := range actions {
		if a.Next(e.now()).Do == bypass.Wait {
			continue
		}
		records, err := e.recordsOf(ctx, a.Subject.SerialNumber, a.Subject.EnrollmentID)
		if err != nil {
			return batches, worked, err
		}
		if len(records) > 0 {
			e.adoptBypass(ctx, &records[0], a.ID)
			continue
		}
		if e.paused(UnlockService) || !e.now().Before(deadline) {
			continue
		}
		worked++
		if e.config.Doer != nil {
			if a, err = e.bypasses.Run(ctx, a.ID, unlocker{e}); err == nil {
				err = e.noteBypass(ctx, "", a.ID, a)
			}
		} else {
			var call *bypass.Call
			if call, a, err = e.bypasses.Next(ctx, a.ID); call != nil {
				e.pauses.asked(UnlockService, e.now())
				batches = append(batches, Batch{Requests: []Request{{
					Service: UnlockService, SerialNumber: a.Device.SerialNumber, HTTP: call.Request, unlock: call,
				}}})
			}
		}
		if err != nil {
			e.emit(ctx, AppleFailed, "", a.Device.SerialNumber, err)
		}
	}
	return batches, worked, nil
}

// adoptBypass has on record that a bypass is under way, so that what comes of it
// gets there.
func (e *Engine) adoptBypass(ctx context.Context, r *inventory.Record, actionID string) bool {
	if r.BypassID == actionID {
		return true
	}
	now := e.now()
	return e.update(ctx, r, func(r *inventory.Record) {
		r.BypassID = actionID
		exchange(r, string(UnlockService), func(inventory.Exchange) inventory.Exchange { return inventory.Exchange{} })
		r.Summary.DueAt = now
	})
}

// Run calls Tick with a limit, at once and then at an interval, and delivers the
// batches, until the context ends; its error is the context's, or that an argument
// is missing. Deliver queues a batch's commands and pushes, and sends its requests
// if there are any; its error is an event. While there are more due than the limit,
// it does not wait.
//
// Run starts no goroutine: begin one for it, on each server.
func (e *Engine) Run(ctx context.Context, every time.Duration, limit int, deliver func(context.Context, Batch) error) error {
	if every <= 0 || limit < 1 || deliver == nil {
		return errors.New("engine: run: an interval, a limit and what delivers are required")
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		batches, more, err := e.tick(ctx, limit)
		if err != nil && ctx.Err() == nil {
			e.emit(ctx, TickFailed, "", "", err)
		}
		e.deliver(ctx, batches, deliver)
		wait := every
		if err == nil && more {
			wait = 0
		}
		timer.Reset(wait)
	}
}

// deliver delivers batches, for half a minute also once the context has ended: else what
// they have would be asked again only after its deadline.
func (e *Engine) deliver(ctx context.Context, batches []Batch, deliver func(context.Context, Batch) error) {
	ended := false
	for _, b := range batches {
		if ctx.Err() != nil && !ended {
			ended = true
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), appleTimeout)
			defer stop()
		}
		if err := deliver(ctx, b); err != nil {
			e.emit(ctx, DeliveryFailed, b.Enrollment.ID, "", err)
		}
	}
}
