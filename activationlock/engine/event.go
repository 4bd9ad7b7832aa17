package engine

import (
	"context"
	"log/slog"
	"time"
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
)

// Event is something that happened. It never holds a secret.
type Event struct {
	Type         EventType
	At           time.Time
	EnrollmentID string // as the host authenticated it
	SerialNumber string // "" if unknown
	Err          error  // what went wrong, if something did
}

// emit tells the host what happened, and the log.
func (e *Engine) emit(ctx context.Context, typ EventType, enrollmentID, serialNumber string, err error) {
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("enrollment", enrollmentID), slog.String("serial", serialNumber)}
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	e.config.Logger.LogAttrs(ctx, level, "activationlock: "+string(typ), attrs...)
	e.config.OnEvent(ctx, Event{typ, e.config.Clock(), enrollmentID, serialNumber, err})
}
