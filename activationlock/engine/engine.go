package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Engine keeps the Activation Locks of a fleet safe. It is safe for many
// goroutines, and several engines may share the same stores.
type Engine struct{ config Config }

// New checks the configuration and returns an engine. It starts nothing.
func New(c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Engine{c}, nil
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
	// Commands are to be queued for the enrollment, in this order. They are on
	// record as asked; if they get lost, they are asked again after a while.
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
// HandleReport. The host passes the message on whatever comes of it, and answers
// an error with HTTP 500.
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
	out.Commands = e.record(ctx, from, message, now, func(r *inventory.Record) {
		switch m := message.(type) {
		case *mdmcmd.Authenticate:
			authenticated(r, m, now)
		case *mdmcmd.TokenUpdate:
			if !r.CheckedOutAt.IsZero() {
				begin(r, now) // the Authenticate could not be recorded
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

// marked returns when the device enrolled after it gave its current code, zero
// if it did not.
func marked(codes []escrow.Record) (since time.Time) {
	for _, c := range codes {
		if c.Kind == bypasscode.Device && c.State == escrow.Current && c.StaleSince.After(since) {
			since = c.StaleSince
		}
	}
	return since
}

// begin notes that an enrollment began.
func begin(r *inventory.Record, now time.Time) {
	r.AuthenticatedAt, r.TokenAt, r.CheckedOutAt = now, time.Time{}, time.Time{}
	// What was asked before is gone: servers drop the queue of a device that
	// enrolls, and a late answer may be older than an erase.
	r.Exchanges, r.OptionsSent, r.CodeID = nil, mdmcmd.MDMOptions{}, ""
	r.CodeWanted, r.CodeCause = true, escrow.CauseEnrollment
	// What an erase changes is unknown now.
	f := &r.Facts
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
	if result == mdmcmd.BypassCodeHeld {
		var err error
		if codeID, err = e.capture(ctx, from, report, code, now); err != nil {
			return out, err
		}
	}
	out.Commands = e.record(ctx, from, message, now, func(r *inventory.Record) {
		if observe(r, report, codeID, e.config.Policy, now) {
			out.Ours = true
		}
	})
	return out, nil
}

// read parses a message and decides whether to believe it.
func (e *Engine) read(ctx context.Context, from Enrollment, raw []byte) (mdmcmd.Message, bool) {
	message, err := mdmcmd.Parse(raw)
	switch {
	case errors.Is(err, mdmcmd.ErrOtherMessage):
		return nil, false
	case err != nil:
		e.emit(ctx, Unreadable, from.ID, "", err)
		return nil, false
	}
	claimed := message.From()
	wantUser := from.Channel == UserChannel
	if !escrow.ValidIdentifier(from.ID) || claimed.DeviceID() == "" || claimed.DeviceID() != from.deviceID() ||
		(claimed.Channel() == UserChannel) != wantUser {
		e.emit(ctx, NotBelieved, from.ID, "", errors.New("engine: the message names another enrollment"))
		return nil, false
	}
	return message, true
}

// capture commits a code and returns its record's ID if it is one to rely on.
// Only a failure to commit is an error.
func (e *Engine) capture(ctx context.Context, from Enrollment, report *mdmcmd.Report, code bypasscode.Text, now time.Time) (id string, err error) {
	r, err := e.config.Inventory.Get(ctx, from.ID)
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
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
	if x := r.Exchanges[bypassCode]; x.Asked(report.CommandUUID) {
		c.Cause, c.AskedAt = r.CodeCause, x.AskedAt
		if c.Cause == "" {
			c.Cause = escrow.CauseSchedule
		}
	}
	kept, err := e.config.Escrow.Capture(ctx, c)
	if errors.Is(err, escrow.ErrQuota) || errors.Is(err, escrow.ErrTooLong) { // sending again would not help
		e.emit(ctx, CodeNotKept, from.ID, f.SerialNumber, err)
		return "", nil
	}
	if err != nil {
		e.emit(ctx, CaptureFailed, from.ID, f.SerialNumber, err)
		return "", fmt.Errorf("engine: a bypass code was not committed: %w", err)
	}
	e.emit(ctx, CodeCaptured, from.ID, f.SerialNumber, nil)
	if c.Disputed || c.Cause == escrow.CauseUnasked || kept.State != escrow.Current {
		return "", nil
	}
	return kept.ID, nil
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
	for _, other := range others {
		if other.EnrollmentID != from.ID && other.EnrollmentID != from.ParentID &&
			other.Channel != UserChannel && other.CheckedOutAt.IsZero() {
			e.emit(ctx, SerialDisputed, from.ID, serial, nil)
			return true, nil
		}
	}
	return false, nil
}

// record applies an observation to the enrollment's record and returns the
// commands that are planned then. They are on record before they are returned;
// if that fails, there are none.
func (e *Engine) record(ctx context.Context, from Enrollment, m mdmcmd.Message, now time.Time, observe func(*inventory.Record)) []Queued {
	var after inventory.Record
	err := e.config.Inventory.Update(ctx, from.ID, func(r *inventory.Record) error {
		r.ParentID, r.Channel = from.ParentID, from.Channel
		if r.Channel == "" {
			r.Channel = DeviceChannel
		}
		r.UserEnrollment = m.From().IsUserEnrollment()
		observe(r)
		r.LastSeen = now
		r.Summary.DueAt = now // until its plan is on record: that may fail, or this server
		after = r.Clone()
		return nil
	})
	if err != nil {
		e.emit(ctx, RecordFailed, from.ID, after.Facts.SerialNumber, err)
		return nil
	}
	switch serial := namedSerial(m); {
	case serial == "":
	case serial != after.Facts.SerialNumber:
		e.emit(ctx, SerialDisputed, from.ID, after.Facts.SerialNumber, errors.New("engine: the enrollment names another serial number than before"))
	default:
		if disputed, err := e.join(ctx, from, serial); err == nil {
			after.Disputed = disputed // else what it was: that nobody can say is no finding
		}
	}
	return e.queue(ctx, &after, now)
}

// join files the enrollment's codes under the serial number that it says it
// has, each time that it says so: it may have failed the last time, or the
// serial number may have been disputed then, when it could be another device's.
func (e *Engine) join(ctx context.Context, from Enrollment, serial string) (disputed bool, err error) {
	if disputed, err = e.disputed(ctx, from, serial); disputed {
		return true, err
	}
	if err := e.config.Escrow.Join(ctx, from.ID, serial); err != nil {
		e.emit(ctx, EscrowFailed, from.ID, serial, err)
	}
	return false, nil
}

// namedSerial returns the serial number that a message names, "" if it names
// none.
func namedSerial(m mdmcmd.Message) string {
	switch m := m.(type) {
	case *mdmcmd.Authenticate:
		return m.SerialNumber
	case *mdmcmd.Report:
		if m.QueryResponses != nil {
			return m.QueryResponses.SerialNumber
		}
	}
	return ""
}

// queue plans for a record and puts what it planned on record.
func (e *Engine) queue(ctx context.Context, r *inventory.Record, now time.Time) []Queued {
	subject, disputed := r.Subject(), r.Disputed
	codes, err := e.config.Escrow.Records(ctx, subject)
	if err != nil {
		// Without escrow nobody knows what may be allowed.
		e.emit(ctx, EscrowFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
		return nil
	}
	var queued []Queued
	err = e.config.Inventory.Update(ctx, r.EnrollmentID, func(r *inventory.Record) error {
		queued = nil
		if r.Subject() != subject {
			return nil // another server learned who it is; these are not its codes
		}
		r.Disputed = disputed
		if since := marked(codes); r.Live() && since.After(r.AuthenticatedAt) {
			token := r.TokenAt
			begin(r, since) // the Authenticate that left the mark could not be recorded
			r.TokenAt = token
		}
		for _, command := range plan(r, codes, e.config.Policy, now) {
			uuid := e.config.NewUUID()
			raw, err := mdmcmd.Encode(uuid, command)
			if err != nil {
				return err
			}
			name := command.RequestType()
			if r.Exchanges == nil {
				r.Exchanges = map[string]inventory.Exchange{}
			}
			r.Exchanges[name] = r.Exchanges[name].Ask(uuid, now, now.Add(e.config.Policy.AnswerWithin))
			if settings, ok := command.(mdmcmd.Settings); ok {
				r.OptionsSent = settings.MDMOptions
			}
			queued = append(queued, Queued{uuid, name, raw})
		}
		r.Summarize(codes, dueAt(r, codes, e.config.Policy, now), e.config.Policy.Limits, now)
		return nil
	})
	if err != nil {
		e.emit(ctx, RecordFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
		return nil
	}
	return queued
}

// Details is what is known of one enrollment.
type Details struct {
	Record inventory.Record
	Status activationlock.Status
	Codes  []escrow.Record // without the codes; see [escrow.Escrow.Reveal]
}

// Device returns what is known of a device by serial number or enrollment ID.
// A serial number is what an enrollment says of itself: of several that say the
// same it takes the one seen last, and [SerialDisputed] told of them. An
// unknown device gives [inventory.ErrNotFound].
func (e *Engine) Device(ctx context.Context, serialOrID string) (Details, error) {
	r, err := e.config.Inventory.Get(ctx, serialOrID)
	if errors.Is(err, inventory.ErrNotFound) {
		found, err := e.config.Inventory.BySerialNumber(ctx, serialOrID)
		if err != nil {
			return Details{}, fmt.Errorf("engine: device: %w", err)
		}
		if len(found) == 0 {
			return Details{}, fmt.Errorf("engine: device: %w", inventory.ErrNotFound)
		}
		r = found[0]
		for _, other := range found[1:] {
			if other.LastSeen.After(r.LastSeen) {
				r = other
			}
		}
	} else if err != nil {
		return Details{}, fmt.Errorf("engine: device: %w", err)
	}
	codes, err := e.config.Escrow.Records(ctx, r.Subject())
	if err != nil {
		return Details{}, fmt.Errorf("engine: device: %w", err)
	}
	return Details{r, r.Status(codes, e.now()), codes}, nil
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
	if out, err := mdmcmd.Redact(raw); err == nil {
		return out
	}
	if mayHoldCode(raw) {
		return bytes.Clone(withheld)
	}
	return append([]byte{}, raw...)
}

// mayHoldCode reports whether a message that cannot be read names a bypass code,
// or has something that the name could hide behind: references, CDATA, comments,
// or the zero bytes of wide characters.
func mayHoldCode(raw []byte) bool {
	for _, sign := range []string{bypassCode, "&#", "<![CDATA[", "<!--", "\x00"} {
		if bytes.Contains(raw, []byte(sign)) {
			return true
		}
	}
	return false
}
