package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

var (
	// ErrNoBypass means that the engine has no [Config].Actions.
	ErrNoBypass = errors.New("engine: no place to keep bypass actions")
	// ErrNoAudit means that the engine has no [Config].Audit.
	ErrNoAudit = errors.New("engine: no audit")
	// ErrDisputed means that several enrollments that did not end claim one serial number, or one
	// has the serial number of another for its ID, so that nobody knows which device is
	// meant.
	ErrDisputed = errors.New("engine: the serial number is disputed")
	// ErrNotPossible means that the device cannot be locked for the organization.
	ErrNotPossible = errors.New("engine: the device cannot be locked for the organization")
	// ErrNoCode means that no code of the device is held.
	ErrNoCode = errors.New("engine: no code is held")
)

// Details is what is known of a device.
type Details struct {
	// Record is zero for a device of which only codes are known, as after an import.
	// Its Summary has the findings, as they were when it was written.
	Record inventory.Record
	Lock   activationlock.Lock
	Status activationlock.Status
	Codes  []escrow.Record // without the codes; see [Engine.Reveal]
	// LastBypass is the bypass action that was started last, nil if there is none.
	LastBypass *bypass.Action
}

// Device returns what is known of a device by serial number or enrollment ID.
// A serial number is what an enrollment says of itself. If several say the same one,
// it takes one that did not end, and of several the one seen last, which is known to six
// hours; [SerialDisputed] told of them. If one device's enrollment ID is another's serial
// number, it takes the one with the serial number. The errors are
// [inventory.ErrNotFound] and those of the stores.
func (e *Engine) Device(ctx context.Context, serialOrID string) (Details, error) {
	d, err := e.device(ctx, serialOrID)
	if err != nil {
		return Details{}, fmt.Errorf("engine: device: %w", err)
	}
	return d.Details, nil
}

// found is a device that somebody asked for.
type found struct {
	Details
	subject escrow.Subject
	others  bool // that did not end claim its serial number
	// ambiguous: the enrollment ID of one device is the serial number of another one.
	ambiguous bool
	// refused is when Apple said last that a code, by its record's ID, opens nothing.
	refused map[string]time.Time
}

func (e *Engine) device(ctx context.Context, serialOrID string) (d found, err error) {
	records, err := e.recordsOf(ctx, serialOrID, serialOrID)
	if err != nil {
		return d, err
	}
	// Of a device without a record, codes may be filed in either way.
	subjects := []escrow.Subject{{SerialNumber: serialOrID}, {EnrollmentID: serialOrID}}
	if len(records) > 0 {
		d.Record = records[0]
		subjects = []escrow.Subject{d.Record.Subject()}
		// A device that names itself like another's serial number must not be taken for it.
		if named := d.Record.Facts.SerialNumber; d.Record.EnrollmentID == serialOrID && named != serialOrID {
			if err := e.preferSerialNumber(ctx, serialOrID, &d, &subjects); err != nil {
				return d, err
			}
		}
	}
	for _, d.subject = range subjects {
		if d.Codes, err = e.config.Escrow.Records(ctx, d.subject); err != nil || len(d.Codes) > 0 {
			break
		}
	}
	if err != nil {
		return d, err
	}
	if len(records) == 0 && len(d.Codes) == 0 {
		return d, inventory.ErrNotFound
	}
	if d.others, err = e.claimed(ctx, &d.Record); err != nil {
		return d, err
	}
	d.others = d.others || d.ambiguous
	if e.bypasses != nil && d.subject.SerialNumber != "" {
		actions, err := e.config.Actions.OfDevice(ctx, d.subject.SerialNumber)
		if err != nil {
			return d, err
		}
		if len(actions) > 0 {
			d.LastBypass = &actions[len(actions)-1]
		}
		d.refused = map[string]time.Time{}
		for _, a := range actions {
			for _, t := range a.Attempts {
				if t.Outcome == apple.NotFound {
					d.refused[t.RecordID] = later(d.refused[t.RecordID], t.AnsweredAt)
				}
			}
		}
	}
	d.Lock, d.Status = lockOf(&d.Record), d.Record.Status(d.Codes, e.now())
	return d, nil
}

// preferSerialNumber takes the device with a serial number, of which only codes may be
// known, in place of one with that enrollment ID, if there is such a device.
func (e *Engine) preferSerialNumber(ctx context.Context, serialNumber string, d *found, subjects *[]escrow.Subject) error {
	subject := escrow.Subject{SerialNumber: serialNumber}
	records, err := e.recordsOf(ctx, serialNumber, "")
	if err != nil {
		return err
	}
	if len(records) == 0 {
		if codes, err := e.config.Escrow.Records(ctx, subject); err != nil || len(codes) == 0 {
			return err
		}
		records = []inventory.Record{{}}
	}
	d.Record, *subjects, d.ambiguous = records[0], []escrow.Subject{subject}, true
	return nil
}

// recordsOf returns the records with an enrollment ID, or else with a serial
// number: those that did not end first, and of each kind the one seen last.
func (e *Engine) recordsOf(ctx context.Context, serialNumber, enrollmentID string) ([]inventory.Record, error) {
	if enrollmentID != "" {
		r, err := e.config.Inventory.Get(ctx, enrollmentID)
		if err == nil {
			return []inventory.Record{r}, nil
		}
		if !errors.Is(err, inventory.ErrNotFound) {
			return nil, err
		}
	}
	records, err := e.config.Inventory.BySerialNumber(ctx, serialNumber)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r inventory.Record) bool { return r.Channel == UserChannel })
	slices.SortStableFunc(records, func(a, b inventory.Record) int {
		switch ended := !a.CheckedOutAt.IsZero(); {
		case ended == !b.CheckedOutAt.IsZero():
			return b.LastSeen.Compare(a.LastSeen)
		case ended:
			return 1
		}
		return -1
	})
	return records, nil
}

// claimed reports whether another enrollment that did not end, though it may be just
// beginning, claims a record's serial number.
func (e *Engine) claimed(ctx context.Context, r *inventory.Record) (bool, error) {
	if r.Facts.SerialNumber == "" {
		return false, nil
	}
	records, err := e.config.Inventory.BySerialNumber(ctx, r.Facts.SerialNumber)
	return slices.ContainsFunc(records, func(other inventory.Record) bool {
		return other.EnrollmentID != r.EnrollmentID && other.Channel != UserChannel && other.CheckedOutAt.IsZero()
	}), err
}

// CanErase answers whether a device may be erased without making a brick, as
// [inventory.Record.CanErase] does: where others claim its serial number, or a lock of
// the organization is ordered or its call has no answer yet, it is never yes. A code
// that Apple refused since the device gave it last, and since the lock came on, is not
// relied on. The errors are [inventory.ErrNotFound] and those of the stores.
func (e *Engine) CanErase(ctx context.Context, serialOrID string) (activationlock.Answer, error) {
	return e.can(ctx, serialOrID, (*inventory.Record).CanErase)
}

// CanReassign answers whether a device may be given to somebody else, with the
// same caution as CanErase, and the same errors.
func (e *Engine) CanReassign(ctx context.Context, serialOrID string) (activationlock.Answer, error) {
	return e.can(ctx, serialOrID, (*inventory.Record).CanReassign)
}

func (e *Engine) can(ctx context.Context, serialOrID string, ask func(*inventory.Record, []escrow.Record, time.Time) activationlock.Answer) (activationlock.Answer, error) {
	d, err := e.device(ctx, serialOrID)
	if err != nil {
		return activationlock.Answer{}, fmt.Errorf("engine: %w", err)
	}
	d.Record.Disputed = d.others
	for i, c := range d.Codes {
		// A refusal may mean that there was no lock, but it speaks for no code.
		if at := d.refused[c.ID]; at.After(c.LastSeen) && !d.Lock.Since.After(at) {
			d.Codes[i].StaleSince = later(c.StaleSince, at)
		}
	}
	return ask(&d.Record, d.Codes, e.now()), nil
}

// Wish is somebody's wish to see a code.
type Wish struct {
	escrow.Act
	// RecordID says which of the device's codes; "" is the one that would be tried
	// first.
	RecordID string
}

// Reveal returns a code of a device, for a person to type. What is known of the
// device, whether it is the company's and whether its lock is on, goes to the rule
// of the escrow, which decides; see [escrow.Escrow.Reveal], also for the errors.
// Beside those there are [ErrNoCode], [inventory.ErrNotFound], and [ErrDisputed] where
// the enrollment ID of one device is another's serial number.
func (e *Engine) Reveal(ctx context.Context, serialOrID string, w Wish) (bypasscode.Text, error) {
	fail := func(err error) (bypasscode.Text, error) {
		return bypasscode.Text{}, fmt.Errorf("engine: reveal: %w", err)
	}
	d, err := e.device(ctx, serialOrID)
	if err != nil {
		return fail(err)
	}
	if d.ambiguous {
		return fail(ErrDisputed)
	}
	if w.RecordID == "" {
		plan := bypass.Plan(d.Codes, d.Lock)
		if len(plan) == 0 {
			return fail(ErrNoCode)
		}
		w.RecordID = plan[0].ID
	}
	reveal := escrow.Reveal{Subject: d.subject, RecordID: w.RecordID, Act: w.Act}
	if d.Record.Ownership != inventory.OwnershipUnknown {
		reveal.CompanyOwned = new(d.Record.Ownership == inventory.Company)
	}
	if d.Lock.State != activationlock.StateUnknown {
		reveal.LockOn = new(d.Lock.State == activationlock.On)
	}
	text, err := e.config.Escrow.Reveal(ctx, reveal)
	if err != nil {
		return fail(err)
	}
	return text, nil
}

// Unlock is somebody's wish to have the lock of a device removed.
type Unlock struct {
	escrow.Act
	// InHand states that the device is in the actor's hand; required. A lock that
	// is removed from afar helps a thief.
	InHand bool
}

// Bypass has the lock of a device removed, and returns the warning to show. With
// [Config].Doer Apple is called at once; where that has to wait, and without a Doer,
// Tick goes on with it. [Engine.Device] says how it stands. That there is no error does
// not mean that the lock is removed: the action's State says so. One that failed, as it
// does at once without a code, has no warning.
//
// The errors are those of [bypass.Bypass.Start], [inventory.ErrNotFound],
// [ErrDisputed] and [ErrNoBypass]. With [bypass.ErrOpen] comes the action that is
// under way.
func (e *Engine) Bypass(ctx context.Context, serialOrID string, u Unlock) (bypass.Action, bypass.Warning, error) {
	fail := func(a bypass.Action, err error) (bypass.Action, bypass.Warning, error) {
		return a, "", fmt.Errorf("engine: %w", err)
	}
	if e.bypasses == nil {
		return fail(bypass.Action{}, ErrNoBypass)
	}
	d, err := e.device(ctx, serialOrID)
	if err != nil {
		return fail(bypass.Action{}, err)
	}
	if d.others {
		return fail(bypass.Action{}, ErrDisputed)
	}
	e.endBypass(ctx, &d.Record)
	a, warning, err := e.bypasses.Start(ctx, bypass.Start{
		Subject: d.subject, Act: u.Act, InHand: u.InHand, Lock: d.Lock, Device: d.Record.Device(), Identity: deviceOf(&d.Record),
	})
	if err != nil {
		return fail(a, err)
	}
	// From here on the action is stored: what fails is done by Tick.
	e.pauses.lift(UnlockService)
	id := d.Record.EnrollmentID
	if id != "" && !e.adoptBypass(ctx, &d.Record, a.ID) {
		return a, warning, nil
	}
	if now := e.config.Doer != nil && !e.paused(UnlockService); now || a.State.Over() {
		if !a.State.Over() {
			ran, err := e.bypasses.Run(ctx, a.ID, unlocker{e})
			if err != nil {
				e.emit(ctx, AppleFailed, id, d.subject.SerialNumber, err)
			}
			if ran.ID != "" {
				a = ran
			}
		}
		kept, stop := context.WithTimeout(context.WithoutCancel(ctx), appleTimeout)
		defer stop()
		_ = e.noteBypass(kept, id, a.ID, a) // what fails is an event, and Tick's business
	}
	if a.State.Over() && a.State != bypass.Done {
		warning = "" // the lock is what it was
	}
	return a, warning, nil
}

// endBypass has the end of the bypass before on record, before another one takes its
// place there.
func (e *Engine) endBypass(ctx context.Context, r *inventory.Record) {
	if r.BypassID == "" {
		return
	}
	if a, err := e.config.Actions.Get(ctx, r.BypassID); err != nil || !a.State.Over() {
		return
	}
	if _, a, err := e.bypasses.Next(ctx, r.BypassID); err == nil {
		_ = e.noteBypass(ctx, r.EnrollmentID, r.BypassID, a) // what fails is an event, and Tick's business
	}
}

// LockForOrganization orders a lock of the organization for a device, for example
// one that was lost; message is what its activation screen shows, in at most 255
// bytes of UTF-8, "" for none. The order is in the audit before it is on record.
// With [Config].Doer, Apple is called at once; if that fails, and without a Doer,
// Tick goes on with it. Events and [Engine.Device] say what came of it.
//
// The code is in escrow before Apple is called. Ordering it again has Apple asked at
// once, with the same code, unless Apple refused that for good. The errors are
// [inventory.ErrNotFound], [ErrDisputed], [ErrNotPossible], [ErrNoAudit], those of the
// stores, or that actor or reason is missing or a text too long.
func (e *Engine) LockForOrganization(ctx context.Context, serialOrID string, by escrow.Act, message string) error {
	if err := e.lockForOrganization(ctx, serialOrID, by, message); err != nil {
		return fmt.Errorf("engine: lock for the organization: %w", err)
	}
	return nil
}

func (e *Engine) lockForOrganization(ctx context.Context, serialOrID string, by escrow.Act, message string) error {
	switch {
	case e.config.Audit == nil:
		return ErrNoAudit
	case !escrow.ValidIdentifier(by.Actor) || !escrow.ValidIdentifier(by.Reason) || message != "" && !escrow.ValidIdentifier(message):
		return errors.New("an actor and a reason are required, and no text may have more than 255 bytes of UTF-8")
	}
	d, err := e.device(ctx, serialOrID)
	switch {
	case err != nil:
		return err
	case d.Record.EnrollmentID == "":
		return inventory.ErrNotFound
	case d.others:
		return ErrDisputed
	case d.Record.Facts.SerialNumber == "" || d.Record.Device().Can(activationlock.LockForOrganization).Verdict == activationlock.No:
		return ErrNotPossible
	}
	now := e.now()
	if _, err := e.config.Audit.Append(ctx, audit.Event{
		Act: audit.LockOrdered, At: now, Actor: by.Actor, Reason: by.Reason, SerialNumber: d.Record.Facts.SerialNumber,
	}); err != nil {
		return err
	}
	e.pauses.lift(LockService)
	if !e.update(ctx, &d.Record, func(r *inventory.Record) {
		r.LockOrder = inventory.LockOrder{By: by, Message: message, At: now}
		exchange(r, string(LockService), func(x inventory.Exchange) inventory.Exchange {
			if !x.Open() {
				x.AgainAt = time.Time{} // a person wants it now
			}
			return x
		})
		r.Summary.DueAt = now
	}) {
		return errNotRecorded
	}
	if e.config.Doer != nil {
		e.work(ctx, d.Record.EnrollmentID, toApple)
	}
	return nil
}
