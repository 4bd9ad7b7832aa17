package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Engine keeps the Activation Locks of a fleet safe. It is safe for many
// goroutines, and several engines may share the same stores.
type Engine struct {
	config   Config
	bypasses *bypass.Bypass // nil without Config.Actions
	pauses   pauses
	quiet    quiet
}

// New checks the whole configuration and returns an engine. It starts nothing.
func New(c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{config: c}
	if c.Actions != nil {
		e.bypasses, err = bypass.New(bypass.Config{
			Store: c.Actions, Escrow: c.Escrow, Audit: c.Audit, Organization: c.Organization, Clock: c.Clock,
		})
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
	}
	return e, nil
}

// Channel is the side of a device that an enrollment belongs to.
type Channel = mdmcmd.Channel

// The channels.
const (
	DeviceChannel = mdmcmd.DeviceChannel
	UserChannel   = mdmcmd.UserChannel
)

// Enrollment is who sent a message, as the host authenticated it.
type Enrollment struct {
	// ID identifies the enrollment: for a device channel the UDID, or the
	// EnrollmentID of a user enrollment; for a user channel whatever the host
	// uses. Required; see [escrow.ValidIdentifier].
	ID string
	// ParentID is the ID of the device channel; required for a user channel.
	ParentID string
	Channel  Channel // "" means the device channel
}

// deviceID is what the identifiers in the enrollment's messages must be.
func (e Enrollment) deviceID() string {
	if e.Channel == UserChannel {
		return e.ParentID
	}
	return e.ID
}

// Outcome is what came of a message.
type Outcome struct {
	// Commands are to be queued for the enrollment, in this order. After a check-in,
	// push to the device if there are any: nothing else has it ask for them. After a
	// report it asks by itself. They are on record as asked; if they get lost, they are
	// asked again after a while.
	Commands []Queued
	// Redacted is what to store and pass on in place of the message: the same
	// bytes, without the bypass code. It is never nil, and may share the
	// message's memory. In place of a message that cannot be read and may hold a
	// bypass code there is an empty list.
	Redacted []byte
	// Ours reports whether the message answers a command of an engine.
	Ours bool
}

// Queued is one command for the host's queue.
type Queued struct {
	UUID        string
	RequestType string
	Plist       []byte
}

// now is the time, as records keep it.
func (e *Engine) now() time.Time { return e.config.Clock().UTC().Truncate(time.Microsecond) }

// HandleCheckin takes in a check-in message. The error is nil, since a check-in
// has no code that could get lost; unless the bytes are a report, which goes to
// HandleReport. Call it after the host's own handling of the message, which drops the
// queue of a device that begins to enroll, and push if commands come out. The host
// handles the message whatever comes of it here, and answers an error with HTTP 500.
func (e *Engine) HandleCheckin(ctx context.Context, from Enrollment, raw []byte) (Outcome, error) {
	now := e.now()
	out := Outcome{Redacted: redacted(raw)}
	message, ok := e.read(ctx, from, raw)
	if !ok {
		return out, nil
	}
	if _, ok := message.(*mdmcmd.Report); ok {
		return e.HandleReport(ctx, from, raw) // it may have a code
	}
	var serial string
	out.Commands = e.record(ctx, from, message, nil, now, func(r *inventory.Record, _ Policy) {
		switch m := message.(type) {
		case *mdmcmd.Authenticate:
			authenticated(r, m, now)
		case *mdmcmd.TokenUpdate:
			if !r.CheckedOutAt.IsZero() {
				begin(r, earliest(r.CheckedOutAt, now)) // the Authenticate could not be recorded
			}
			r.TokenAt = now
			if m.AwaitingConfiguration != nil {
				r.Facts.AwaitingConfiguration = m.AwaitingConfiguration
			}
		case *mdmcmd.CheckOut:
			r.CheckedOutAt = now
		}
		serial = r.Facts.SerialNumber
	})
	if m, ok := message.(*mdmcmd.Authenticate); ok && from.Channel != UserChannel && !m.IsUserEnrollment() {
		if serial == "" && escrow.ValidIdentifier(m.SerialNumber) {
			serial = m.SerialNumber // the record failed
		}
		e.markStale(ctx, from, serial, now)
	}
	return out, nil
}

// markStale marks the code of a device that enrolled. If the enrollment could
// not be recorded, the mark is all that keeps the plan from relying on a code
// of before.
func (e *Engine) markStale(ctx context.Context, from Enrollment, serial string, now time.Time) {
	if disputed, err := e.disputed(ctx, from, serial); disputed && err == nil {
		return // it may be another device's code
	}
	if err := e.config.Escrow.MarkStale(ctx, escrow.SubjectOf(serial, from.ID), "the device enrolled again", now); err != nil {
		e.emit(ctx, EscrowFailed, from.ID, serial, err)
	}
}

// begin notes that an enrollment began.
func begin(r *inventory.Record, now time.Time) {
	r.AuthenticatedAt, r.TokenAt, r.CheckedOutAt = now, time.Time{}, time.Time{}
	// What was asked before is gone: servers drop the queue of a device that
	// enrolls, and a late answer may be older than an erase.
	maps.DeleteFunc(r.Exchanges, func(name string, _ inventory.Exchange) bool { return !askedOfApple(name) })
	r.OptionsSent, r.CodeID = mdmcmd.MDMOptions{}, ""
	r.CodeWanted, r.CodeCause = true, escrow.CauseEnrollment
	// What an erase changes is unknown now.
	f := &r.Facts
	r.FindMyWasOn = r.FindMyWasOn || f.FindMy != nil && *f.FindMy
	f.Supervised, f.SharedIPad, f.FindMy, f.LockAllowed, f.LockManageable, f.LostMode = nil, nil, nil, nil, nil, nil
	r.AllowedSince = time.Time{}
}

// authenticated notes an Authenticate.
func authenticated(r *inventory.Record, m *mdmcmd.Authenticate, now time.Time) {
	begin(r, now)
	f := &r.Facts
	setSerial(f, m.SerialNumber)
	setText(&f.UDID, m.UDID)
	setText(&f.ProductName, m.ProductName)
	setText(&f.DeviceName, m.DeviceName)
	setText(&f.ModelName, m.ModelName)
	setText(&f.OSVersion, m.OSVersion)
	setText(&f.BuildVersion, m.BuildVersion)
	setText(&f.Cellular.IMEI, m.IMEI)
	setText(&f.Cellular.MEID, m.MEID)
}

// HandleReport takes in the report of a command, or an Idle. An error means
// that the report has a bypass code which could not be committed: the host must
// answer with HTTP 500, so that the device sends it again, and keep nothing of
// the message but Outcome.Redacted.
func (e *Engine) HandleReport(ctx context.Context, from Enrollment, raw []byte) (Outcome, error) {
	now := e.now()
	out := Outcome{Redacted: redacted(raw)}
	message, ok := e.read(ctx, from, raw)
	if !ok {
		return out, nil
	}
	report, ok := message.(*mdmcmd.Report)
	if !ok {
		e.emit(ctx, Unreadable, from.ID, "", errors.New("engine: a check-in where a report belongs"))
		return out, nil
	}
	out.Ours = strings.HasPrefix(report.CommandUUID, e.config.UUIDPrefix)
	code, result := report.BypassCodeAnswer()
	if result == mdmcmd.BypassCodeRedacted {
		e.emit(ctx, AlreadyRedacted, from.ID, "", nil)
		return out, nil
	}
	codeID := ""
	var known *inventory.Record
	if result == mdmcmd.BypassCodeHeld {
		kept, serial := false, ""
		var err error
		if codeID, kept, known, err = e.capture(ctx, from, report, code, now); err != nil {
			return out, err
		}
		if known != nil {
			serial = known.Facts.SerialNumber
		}
		if kept { // which is told when all of it is on record
			defer func() { e.emit(ctx, CodeCaptured, from.ID, serial, nil) }()
		}
	}
	out.Commands = e.record(ctx, from, message, known, now, func(r *inventory.Record, p Policy) {
		if observe(r, report, codeID, p, now) {
			out.Ours = true
		}
	})
	return out, nil
}

// read parses a message and decides whether to believe it.
func (e *Engine) read(ctx context.Context, from Enrollment, raw []byte) (mdmcmd.Message, bool) {
	done := e.took(StepParse)
	message, err := mdmcmd.Parse(raw)
	done()
	switch {
	case errors.Is(err, mdmcmd.ErrOtherMessage):
		return nil, false
	case err != nil:
		e.emit(ctx, Unreadable, from.ID, "", err)
		return nil, false
	}
	claimed := message.From()
	wantUser := from.Channel == UserChannel
	if !wantUser && from.Channel != "" && from.Channel != DeviceChannel {
		e.emit(ctx, NotBelieved, from.ID, "", errors.New("engine: Enrollment.Channel is no channel"))
		return nil, false
	}
	if !escrow.ValidIdentifier(from.ID) || claimed.DeviceID() == "" || claimed.DeviceID() != from.deviceID() ||
		(claimed.Channel() == UserChannel) != wantUser {
		e.emit(ctx, NotBelieved, from.ID, "", errors.New("engine: the message names another enrollment"))
		return nil, false
	}
	return message, true
}

// capture commits a code and returns its record's ID if it is one to rely on, whether it
// is kept, and the enrollment's record if it could be read. Only a failure to commit is
// an error.
func (e *Engine) capture(ctx context.Context, from Enrollment, report *mdmcmd.Report, code bypasscode.Text, now time.Time) (id string, isKept bool, known *inventory.Record, err error) {
	r, err := e.config.Inventory.Get(ctx, from.ID)
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		// Once more: only the record says that the code was asked for, and there may be no
		// time to ask again.
		r, err = e.config.Inventory.Get(ctx, from.ID)
	}
	if err == nil {
		known = new(r.Clone())
	} else if !errors.Is(err, inventory.ErrNotFound) {
		// The code matters more than whom it is filed under.
		e.emit(ctx, RecordFailed, from.ID, "", err)
		r = inventory.Record{}
	}
	r.EnrollmentID = from.ID
	f := r.Facts
	c := escrow.Capture{
		Subject: r.Subject(), Kind: bypasscode.Device, Text: code,
		Cause: escrow.CauseUnasked, EnrollmentID: from.ID, CommandUUID: report.CommandUUID, ReceivedAt: now,
		Device: escrow.Device{
			SerialNumber: f.SerialNumber, UDID: report.UDID, ProductType: f.ProductName,
			IMEI: f.Cellular.IMEI, IMEI2: f.Cellular.IMEI2, MEID: f.Cellular.MEID,
		},
	}
	c.Disputed, _ = e.disputed(ctx, from, f.SerialNumber)
	if x := r.Exchanges[bypassCode]; x.Asked(report.CommandUUID) && report.Status != mdmcmd.NotNow {
		c.Cause, c.AskedAt = r.CodeCause, x.AskedAt
		if c.Cause == "" {
			c.Cause = escrow.CauseSchedule
		}
		// It was asked in this enrollment, so it came after that began, whatever the
		// clocks of two servers say: else it would keep the mark of it.
		c.ReceivedAt = later(c.ReceivedAt, r.AuthenticatedAt)
	}
	done := e.took(StepEscrow)
	kept, err := e.config.Escrow.Capture(ctx, c)
	done()
	if errors.Is(err, escrow.ErrQuota) || errors.Is(err, escrow.ErrTooLong) { // sending again would not help
		e.emit(ctx, CodeNotKept, from.ID, f.SerialNumber, err)
		return "", false, known, nil
	}
	if err != nil {
		e.emit(ctx, CaptureFailed, from.ID, f.SerialNumber, err)
		return "", false, nil, fmt.Errorf("engine: a bypass code was not committed: %w", err)
	}
	if c.Disputed || c.Cause == escrow.CauseUnasked || kept.State != escrow.Current {
		return "", true, known, nil
	}
	return kept.ID, true, known, nil
}

// disputed reports whether another enrollment that did not end, though it may
// be just beginning, claims the same serial number. If nobody can say, it is:
// the code is kept either way, and asked for again.
func (e *Engine) disputed(ctx context.Context, from Enrollment, serial string) (bool, error) {
	if serial == "" {
		return false, nil
	}
	others, err := e.config.Inventory.BySerialNumber(ctx, serial)
	if err != nil {
		e.emit(ctx, RecordFailed, from.ID, serial, err)
		return true, err
	}
	return disputedBy(from.ID, from.ParentID, others), nil
}

// disputedBy reports whether one of those that claim a serial number is another
// enrollment that did not end.
func disputedBy(enrollmentID, parentID string, claims []inventory.Record) bool {
	return slices.ContainsFunc(claims, func(other inventory.Record) bool {
		return other.EnrollmentID != enrollmentID && other.EnrollmentID != parentID &&
			other.Channel != UserChannel && other.CheckedOutAt.IsZero()
	})
}

// End notes that an enrollment ended of which no CheckOut will come: the device was
// erased or lost, or the host deleted it. Like after a CheckOut, nothing is asked of it
// any more, its codes stay, and its serial number is free for another enrollment. One
// that ended before stays as it is. Should the device report a day later or more, or
// send a TokenUpdate, an enrollment begins, as after an erase that nobody told of. The
// errors are [inventory.ErrNotFound] and those of the stores.
func (e *Engine) End(ctx context.Context, enrollmentID string) error {
	if err := e.end(ctx, enrollmentID); err != nil {
		return fmt.Errorf("engine: end: %w", err)
	}
	return nil
}

func (e *Engine) end(ctx context.Context, enrollmentID string) error {
	r, err := e.config.Inventory.Get(ctx, enrollmentID)
	if err != nil || !r.CheckedOutAt.IsZero() {
		return err
	}
	now := e.now()
	policy, err := e.policyFor(&r)
	if err != nil {
		e.emit(ctx, PolicyRefused, enrollmentID, r.Facts.SerialNumber, err)
	}
	p, ok := e.reconcile(ctx, r, func(r *inventory.Record) { r.CheckedOutAt = now }, policy, toNobody, now)
	if !ok && !p.changed {
		return errNotRecorded
	}
	if r.Disputed {
		r.CheckedOutAt = now
		if claims, known := e.claimants(ctx, &r); known {
			e.disputeOthers(ctx, &r, claims, now)
		}
	}
	return nil
}

// withheld stands in for a message that cannot be redacted.
var withheld = []byte(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict/>
</plist>
`)

// redacted returns what a host may keep of a message: the message without its
// code, or, if it cannot be read, all of it or nothing of it.
func redacted(raw []byte) []byte {
	switch {
	case raw == nil:
		return []byte{}
	case !mayHoldCode(raw): // as most are, and that is soon seen
		return raw
	}
	if out, err := mdmcmd.Redact(raw); err == nil {
		return out
	}
	return bytes.Clone(withheld)
}

// mayHoldCode reports whether a message names a bypass code, or has something that
// the name could hide behind: references, CDATA, comments, or the zero bytes of wide
// characters.
func mayHoldCode(raw []byte) bool {
	for _, sign := range []string{bypassCode, "&#", "<![CDATA[", "<!--", "\x00"} {
		if bytes.Contains(raw, []byte(sign)) {
			return true
		}
	}
	return false
}
