package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/activationlock/sdk/inventory"
)

// EventType says what happened.
type EventType string

// The events.
const (
	// CodeCaptured: a code is in escrow, be it for the first time or again.
	CodeCaptured EventType = "code captured"
	// CodeNotKept: a code was not kept, because its enrollment filled its quota
	// or because of its length.
	CodeNotKept EventType = "code not kept"
	// CaptureFailed: a code could not be committed. The call returned an error,
	// and the device will send the code again.
	CaptureFailed EventType = "capture failed"
	// EscrowFailed: escrow could not be read, or written other than with a code.
	EscrowFailed EventType = "escrow failed"
	// RecordFailed: the inventory could not be read or written. What the message
	// said is lost until the device says it again.
	RecordFailed EventType = "record failed"
	// Unreadable: the message was malformed, too large, or of an unknown form.
	Unreadable EventType = "message unreadable"
	// NotBelieved: the message names another device than the host authenticated.
	NotBelieved EventType = "message not believed"
	// AlreadyRedacted: a report came back whose code was taken out before.
	AlreadyRedacted EventType = "message already redacted"
	// SerialDisputed: two enrollments that did not end claim one serial number,
	// or one of them another than before, which is not followed.
	SerialDisputed EventType = "serial number disputed"
	// FindingBegan and FindingEnded: something is wrong with a device, or is not
	// any more; Event.Finding says what.
	FindingBegan EventType = "finding began"
	FindingEnded EventType = "finding ended"
	// AllowedWithoutCode: the lock is allowed to a device without a code in escrow,
	// by [Policy].AllowWithoutCode.
	AllowedWithoutCode EventType = "allowed without code"
	// Locked: Apple says that it locked the device for the organization.
	Locked EventType = "locked for the organization"
	// LockRefused: Apple did not lock the device, and asking again would not help.
	LockRefused EventType = "lock refused"
	// Unlocked: Apple says that it removed the lock.
	Unlocked EventType = "unlocked"
	// BypassEnded: a bypass is over without that.
	BypassEnded EventType = "bypass ended"
	// AppleFailed: Apple could not be asked, gave no answer to go by, or refused. It
	// is asked again, unless LockRefused follows: then it refused for good.
	AppleFailed EventType = "apple failed"
	// AuditFailed: the audit could not be written, so what it should have been told
	// of was not done.
	AuditFailed EventType = "audit failed"
	// TickFailed and DeliveryFailed: Run could not work off what is due, or not
	// deliver a batch.
	TickFailed     EventType = "tick failed"
	DeliveryFailed EventType = "delivery failed"
	// PolicyRefused: [Config].PolicyFor returned a policy that cannot be.
	PolicyRefused EventType = "policy refused"
)

// Event is something that happened. It never holds a secret.
type Event struct {
	Type         EventType
	At           time.Time
	EnrollmentID string            // as the host authenticated it; "" if it concerns none
	SerialNumber string            // "" if unknown
	Finding      inventory.Finding // with FindingBegan and FindingEnded
	Err          error             // what went wrong, if something did
}

// emit tells the host what happened, and the log.
func (e *Engine) emit(ctx context.Context, typ EventType, enrollmentID, serialNumber string, err error) {
	e.tell(ctx, Event{Type: typ, EnrollmentID: enrollmentID, SerialNumber: serialNumber, Err: err})
}

func (e *Engine) tell(ctx context.Context, event Event) {
	event.At = e.config.Clock()
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("enrollment", event.EnrollmentID), slog.String("serial", event.SerialNumber)}
	if event.Finding.Kind != "" {
		attrs = append(attrs, slog.String("finding", string(event.Finding.Kind)))
	}
	if event.Err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", event.Err.Error()))
	}
	e.config.Logger.LogAttrs(ctx, level, "activationlock: "+string(event.Type), attrs...)
	e.counted(Events, string(event.Type), 1)
	e.config.OnEvent(ctx, event)
}

// tellFindings tells what began and ended with a record's last change.
func (e *Engine) tellFindings(ctx context.Context, before []inventory.Finding, after *inventory.Record) {
	tell := func(typ EventType, of, without []inventory.Finding) {
		for _, f := range of {
			if !contains(without, f.Kind) {
				e.tell(ctx, Event{Type: typ, EnrollmentID: after.EnrollmentID, SerialNumber: after.Facts.SerialNumber, Finding: f})
			}
		}
	}
	tell(FindingBegan, after.Summary.Findings, before)
	tell(FindingEnded, before, after.Summary.Findings)
}

func contains(findings []inventory.Finding, kind inventory.FindingKind) bool {
	for _, f := range findings {
		if f.Kind == kind {
			return true
		}
	}
	return false
}
