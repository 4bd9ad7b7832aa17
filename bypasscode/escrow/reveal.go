package escrow

import (
	"context"
	"errors"
	"fmt"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
)

// Purpose is what a code is wanted for.
type Purpose string

const (
	// ToShow is to show it to a person.
	ToShow Purpose = ""
	// ToUnlock is to send it to Apple; no person sees it.
	ToUnlock Purpose = "unlock"
	// ToExport is to write it into a bundle or a file; see [Escrow.Export].
	ToExport Purpose = "export"
)

// Reveal is somebody's wish to have a code.
type Reveal struct {
	Subject  Subject // required
	RecordID string  // required
	Act              // required
	Purpose  Purpose
	// What the host knows of the device; nil where it does not know.
	CompanyOwned *bool
	LockOn       *bool
}

// Allow is the rule of who may have a code, unless Config.Allow is another: an
// unlock and an export may; a person may see the codes of devices that are known
// to be the company's and locked.
func Allow(_ context.Context, r Reveal, _ Record) error {
	yes := func(known *bool) bool { return known != nil && *known }
	switch {
	case r.Purpose == ToUnlock, r.Purpose == ToExport, yes(r.CompanyOwned) && yes(r.LockOn):
		return nil
	case !yes(r.CompanyOwned):
		return errors.New("the device is not known to be the company's")
	}
	return errors.New("the device's lock is not known to be on")
}

// Reveal returns the code of one record of a subject. Config.Allow, which sees
// the record, may refuse it, and nothing is returned before the audit entry is
// committed, of the code's being revealed or of its being refused, with what
// the wish claims of the device. A code that was allowed and cannot be opened is
// in the audit as refused. If Config.Allow panics, so does Reveal.
//
// The errors are [ErrNotFound], [ErrPurged], [ErrRefused], [ErrNoAudit],
// [ErrNoOpener], [ErrMoved], those of the Sealer (seal.ErrNoKey,
// seal.ErrDamaged), or those of store and audit. Those of the code concern this
// record only: others of the subject may still come.
func (e *Escrow) Reveal(ctx context.Context, r Reveal) (bypasscode.Text, error) {
	text, err := e.reveal(ctx, r)
	if err != nil {
		return bypasscode.Text{}, fmt.Errorf("escrow: reveal: %w", err)
	}
	return text, nil
}

func (e *Escrow) reveal(ctx context.Context, r Reveal) (bypasscode.Text, error) {
	if r.Purpose != ToShow && r.Purpose != ToUnlock {
		return bypasscode.Text{}, errors.New("the purpose is unknown")
	}
	if err := r.check(); err != nil {
		return bypasscode.Text{}, err
	}
	if e.audit == nil {
		return bypasscode.Text{}, ErrNoAudit
	}
	entry, err := e.find(ctx, r.Subject, r.RecordID)
	if err != nil {
		return bypasscode.Text{}, err
	}
	if refused := e.allow(ctx, r, entry.Record); refused != nil {
		if err := e.note(ctx, audit.Refused, r.Act, r.Subject, r.RecordID, r.claims()); err != nil {
			return bypasscode.Text{}, fmt.Errorf("%w, and the audit could not be told: %w", ErrRefused, err)
		}
		return bypasscode.Text{}, fmt.Errorf("%w: %w", ErrRefused, refused)
	}
	text, err := e.open(ctx, r.Subject, entry)
	if err != nil {
		return bypasscode.Text{}, errors.Join(err, e.note(ctx, audit.Refused, r.Act, r.Subject, r.RecordID, r.claims()+"; it could not be opened"))
	}
	act := audit.Revealed
	if r.Purpose == ToUnlock {
		act = audit.UsedUnlock
	}
	if err := e.note(ctx, act, r.Act, r.Subject, r.RecordID, r.claims()); err != nil {
		return bypasscode.Text{}, err
	}
	return text, nil
}

// claims is what a wish says of the device, for the audit: it may be what opened
// the code.
func (r Reveal) claims() string {
	if r.Purpose == ToUnlock {
		return "to unlock"
	}
	word := func(known *bool) string {
		switch {
		case known == nil:
			return "unknown"
		case *known:
			return "yes"
		}
		return "no"
	}
	return "to show; company-owned: " + word(r.CompanyOwned) + ", lock on: " + word(r.LockOn)
}

// Act is who does something, and why. Both are required, in 1 to 255 bytes of
// UTF-8 without NUL.
type Act struct {
	Actor  string // as the host authenticated them
	Reason string // as they say
}

func (a Act) check() error {
	if !ValidIdentifier(a.Actor) || !ValidIdentifier(a.Reason) {
		return errors.New("actor and reason are required")
	}
	return nil
}

// note commits an entry of the audit.
func (e *Escrow) note(ctx context.Context, act audit.Act, by Act, s Subject, recordID, detail string) error {
	if err := by.check(); err != nil {
		return err
	}
	if e.audit == nil {
		return ErrNoAudit
	}
	_, err := e.audit.Append(ctx, e.event(act, by, s, recordID, detail))
	return err
}

func (e *Escrow) event(act audit.Act, by Act, s Subject, recordID, detail string) audit.Event {
	return audit.Event{
		Act: act, At: e.clock(), Actor: by.Actor, Reason: by.Reason,
		SerialNumber: s.SerialNumber, EnrollmentID: s.EnrollmentID, RecordID: recordID, Detail: detail,
	}
}
