package bypass

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var (
	errStart    = errors.New("subject, actor and reason are required, in at most 255 bytes of UTF-8 each")
	errNoClient = errors.New("a client is required")
	errSlow     = errors.New("the code took too long to open")
)

var (
	// ErrNotInHand means that nobody stated to have the device in hand.
	ErrNotInHand = errors.New("bypass: the device must be in hand")
	// ErrRefused means that Apple refused several calls in a row, most likely
	// because of their client certificate.
	ErrRefused = errors.New("bypass: Apple refused several calls in a row; look at the push certificate")
)

// Config is everything that a Bypass needs. Zero fields mean their defaults.
type Config struct {
	Store  Store          // required: where actions are kept
	Escrow *escrow.Escrow // required: where codes are kept
	Audit  *audit.Log     // required: the one of Escrow

	// Organization is named to Apple, for its audit; required.
	Organization string

	Clock func() time.Time // default time.Now
	// Pause waits; a bulk run needs it. Default: a timer.
	Pause func(context.Context, time.Duration) error
}

// Bypass lifts locks. It is safe for many goroutines, and so are several on one
// store. Use [New].
type Bypass struct{ config Config }

// New returns a Bypass. It starts nothing.
func New(c Config) (*Bypass, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("bypass: Config.Store is required")
	case c.Escrow == nil:
		return nil, errors.New("bypass: Config.Escrow is required")
	case c.Audit == nil:
		return nil, errors.New("bypass: Config.Audit is required")
	case !c.Escrow.AuditedBy(c.Audit):
		return nil, errors.New("bypass: Config.Audit is not the audit of Config.Escrow, without which no code is used")
	case !escrow.ValidIdentifier(c.Organization):
		return nil, errors.New("bypass: Config.Organization is required, in at most 255 bytes of UTF-8")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Pause == nil {
		c.Pause = pauseFor
	}
	return &Bypass{c}, nil
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now is the time, as actions keep it.
func (b *Bypass) now() time.Time { return b.config.Clock().UTC().Truncate(time.Microsecond) }

// Start is somebody's wish to have the lock of a device lifted.
type Start struct {
	// ID names the action; a second Start with the same one is ErrExists. Default:
	// a random one.
	ID string

	Subject escrow.Subject // required: whose codes to try
	escrow.Act
	// InHand states that the device is in the actor's hand; required. A lock that
	// is lifted from afar helps a thief.
	InHand bool

	// Lock is what is known of the lock; it decides which codes come first.
	Lock activationlock.Lock
	// Device is what is known of the device; it says why there can be no code.
	Device activationlock.Device
	// Identity is what Apple is told of the device. What is missing, and what no
	// code could be kept with ([escrow.ValidIdentifier]), comes from the device's
	// codes; the serial number is the Subject's, if that has one. With a code of
	// another UDID, Apple is told what came with that code.
	Identity escrow.Device

	bulkID string
}

// Warning is what to tell the actor.
type Warning string

// WarningRelock: a new lock comes as soon as the device is online while Find My
// is on.
const WarningRelock Warning = "relock"

// Start stores a new action and returns it with the warning to show. Nothing is
// sent yet. An action that cannot work is stored too, and is over: failed, for
// example with [NoCode], or not supported; it has no warning.
//
// The errors are [ErrNotInHand], [ErrOpen], with the action that is not over,
// [ErrExists], with the one that has the ID, those of store and audit, or that
// something required is missing.
func (b *Bypass) Start(ctx context.Context, s Start) (Action, Warning, error) {
	a, err := b.start(ctx, s)
	if err != nil {
		return a, "", fmt.Errorf("bypass: start: %w", err)
	}
	if a.State.Over() {
		return a, "", nil // it failed: the lock is what it was
	}
	return a, WarningRelock, nil
}

func (b *Bypass) start(ctx context.Context, s Start) (Action, error) {
	if !s.InHand {
		return Action{}, ErrNotInHand
	}
	a, err := b.plan(ctx, s)
	if err != nil {
		return Action{}, err
	}
	if other, err := b.existing(ctx, a); err != nil {
		return other, err
	}
	if err := b.note(ctx, audit.UnlockStarted, a.By, &a, "the device is in hand"); err != nil {
		return Action{}, err
	}
	if err := b.config.Store.Create(ctx, a); err != nil {
		// Somebody else may have started one meanwhile.
		if other, is := b.existing(ctx, a); is != nil {
			return other, is
		}
		return Action{}, err
	}
	if !a.State.Over() {
		return a, nil
	}
	return b.conclude(ctx, a)
}

// existing returns the action that keeps a new one from being created.
func (b *Bypass) existing(ctx context.Context, a Action) (Action, error) {
	switch other, err := b.config.Store.Get(ctx, a.ID); {
	case err == nil:
		return other, ErrExists
	case !errors.Is(err, ErrNotFound):
		return Action{}, err
	}
	if a.State.Over() {
		return Action{}, nil
	}
	others, err := b.ofSubject(ctx, a.Subject)
	if err != nil {
		return Action{}, err
	}
	for _, other := range others {
		if !other.State.Over() {
			return other, ErrOpen
		}
	}
	return Action{}, nil
}

// ofSubject returns the actions of a subject; of an enrollment, which the store
// has no list for, only those that are not over.
func (b *Bypass) ofSubject(ctx context.Context, s escrow.Subject) ([]Action, error) {
	if s.SerialNumber != "" {
		return b.config.Store.OfDevice(ctx, s.SerialNumber)
	}
	var found []Action
	for after := ""; ; {
		page, err := b.config.Store.Scan(ctx, after, scanPage, true)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			if after = a.ID; a.Subject == s {
				found = append(found, a)
			}
		}
		if len(page) < scanPage {
			return found, nil
		}
	}
}

const scanPage = 256

// Preview returns the action that a Start would store now. It stores nothing,
// and asks for no statement.
func (b *Bypass) Preview(ctx context.Context, s Start) (Action, error) {
	a, err := b.plan(ctx, s)
	if err != nil {
		return Action{}, fmt.Errorf("bypass: preview: %w", err)
	}
	return a, nil
}

// plan makes the action of a Start.
func (b *Bypass) plan(ctx context.Context, s Start) (Action, error) {
	if s.ID == "" {
		s.ID = rand.Text()
	}
	if !escrow.ValidIdentifier(s.ID) || !escrow.ValidIdentifier(s.Actor) || !escrow.ValidIdentifier(s.Act.Reason) ||
		(s.Subject.SerialNumber == "") == (s.Subject.EnrollmentID == "") ||
		!escrow.ValidIdentifier(s.Subject.SerialNumber+s.Subject.EnrollmentID) {
		return Action{}, errStart
	}
	codes, err := b.config.Escrow.Records(ctx, s.Subject)
	if err != nil {
		return Action{}, err
	}
	now := b.now()
	a := Action{
		ID: s.ID, Subject: s.Subject, By: s.Act, State: Pending, StartedAt: now,
		Device: identity(s.Identity, s.Subject, codes),
	}
	if s.bulkID != "" {
		a.BulkIDs = []string{s.bulkID}
	}
	var earlier []Action
	if s.Subject.SerialNumber != "" {
		if earlier, err = b.config.Store.OfDevice(ctx, s.Subject.SerialNumber); err != nil {
			return Action{}, err
		}
	}
	for _, c := range refusedLast(Plan(codes, s.Lock), earlier, a.Device, s.Lock) {
		if len(a.Attempts) < MaxPlan {
			a.Attempts = append(a.Attempts, Attempt{RecordID: c.ID, Kind: c.Kind})
		}
	}
	// Where codes are held, they are tried, whatever is said of the device: it may
	// have been another kind of device when it gave them.
	able := s.Device.Can(activationlock.UnlockOverNetwork)
	switch {
	case len(a.Attempts) == 0 && able.Verdict == activationlock.No:
		a.Unsupported = able.Reasons
		a.end(NotSupported, "", now)
	case len(a.Attempts) == 0:
		a.end(Failed, NoCode, now)
	case a.Device.SerialNumber == "":
		a.end(Failed, NoSerialNumber, now)
	case a.Device.ProductType == "":
		a.end(Failed, NoProductType, now)
	}
	return a, nil
}

// identity is what Apple is told of a device: what the host knows, and for the
// rest what came with its codes, the newest first.
func identity(known escrow.Device, subject escrow.Subject, codes []escrow.Record) escrow.Device {
	codes = slices.Clone(codes)
	slices.SortStableFunc(codes, func(a, b escrow.Record) int { return b.LastSeen.Compare(a.LastSeen) })
	known.SerialNumber = cmp.Or(subject.SerialNumber, known.SerialNumber)
	all := []escrow.Device{known}
	for _, c := range codes {
		if c.State != escrow.Disputed { // it may be another device's
			all = append(all, c.Device)
		}
	}
	var d escrow.Device
	fill := func(s *string, from string) {
		if *s == "" && escrow.ValidIdentifier(from) {
			*s = from
		}
	}
	for _, from := range all {
		if fill(&d.SerialNumber, from.SerialNumber); from.SerialNumber != "" && from.SerialNumber != d.SerialNumber {
			continue // another device
		}
		if d.UDID != "" && from.UDID != "" && from.UDID != d.UDID {
			continue // another device, which once claimed to be this one
		}
		fill(&d.UDID, from.UDID)
		fill(&d.ProductType, from.ProductType)
		if d.IMEI+d.IMEI2+d.MEID == "" { // all three of one source: a SIM may have moved
			fill(&d.IMEI, digits(from.IMEI))
			fill(&d.IMEI2, digits(from.IMEI2))
			fill(&d.MEID, strings.ReplaceAll(from.MEID, " ", ""))
		}
	}
	return d
}

// giver is what Apple is told of the device with one of its codes. Of two that
// claimed one serial number, one after the other, nobody knows which one has it; but
// if a code opens the lock, that is on the device which the code came from or was made
// for.
func giver(known escrow.Device, subject escrow.Subject, recordID string, codes []escrow.Record) escrow.Device {
	at := slices.IndexFunc(codes, func(c escrow.Record) bool { return c.ID == recordID })
	if at < 0 {
		return known
	}
	d := codes[at].Device
	if d.UDID == "" || known.UDID == "" || d.UDID == known.UDID {
		return known
	}
	d.SerialNumber = known.SerialNumber
	if d = identity(d, subject, codes); d.ProductType == "" {
		return known
	}
	return d
}

// digits takes out everything else: IMEIs come with spaces.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// Call is one call to Apple's unlock service.
type Call struct {
	ActionID string
	// Request is to be sent once and at once, with a client that has the host's push
	// certificate for MDM; its answer belongs into [Bypass.Answer] within a minute
	// and a half ([AnswerWithin] began with the call of Next). It has a code in its
	// body, so keep no dump of it.
	Request *http.Request

	attempt, try int
	canonical    bool
}

// Next does what is to be done next with an action, until there is a call for
// the host to make; it returns nil where there is none: the action is over, or
// waits until Action.NextAt or for another server's call.
//
// The code is in the audit as used before the call is returned. If it cannot be
// opened, the next one comes. Other errors, such as of store and audit, leave
// the action as it was.
func (b *Bypass) Next(ctx context.Context, id string) (*Call, Action, error) {
	call, a, err := b.next(ctx, id)
	if err != nil {
		return nil, a, fmt.Errorf("bypass: next: %w", err)
	}
	return call, a, nil
}

func (b *Bypass) next(ctx context.Context, id string) (*Call, Action, error) {
	for {
		now := b.now()
		var step Step
		a, err := b.update(ctx, id, func(a *Action) {
			switch step = a.Next(now); step.Do {
			case Send:
				a.send(step.Attempt, now)
			case GiveUp:
				a.giveUp(now)
			}
		})
		if err != nil {
			return nil, a, err
		}
		switch step.Do {
		case Nothing:
			return nil, a, nil
		case Wait:
			a.NextAt = step.At
			return nil, a, nil
		case Note:
			a, err = b.conclude(ctx, a)
			return nil, a, err
		case Send:
			call, err := b.call(ctx, &a, step.Attempt)
			if call != nil || err != nil {
				return call, a, err
			}
		}
	}
}

// call makes the call for an attempt that is stored as sent. It is nil if the
// attempt came to nothing.
func (b *Bypass) call(ctx context.Context, a *Action, at int) (*Call, error) {
	t := &a.Attempts[at]
	codes, err := b.config.Escrow.Records(ctx, a.Subject)
	var text bypasscode.Text
	if err == nil {
		text, err = b.config.Escrow.Reveal(ctx, escrow.Reveal{
			Subject: a.Subject, RecordID: t.RecordID, Act: a.By, Purpose: escrow.ToUnlock,
		})
	}
	var change func(*Action)
	if err == nil && b.now().Sub(t.SentAt) > AnswerWithin/4 {
		err = errSlow // another server must not take this call for lost and send it too
	}
	switch {
	case ctx.Err() != nil: // the rule that refused may have had no time to ask
		return nil, errors.Join(cmp.Or(err, ctx.Err()), b.recall(ctx, a, at))
	case err == nil:
	case errors.Is(err, escrow.ErrRefused):
		change = func(a *Action) {
			if a.withhold(at, t.Tries); !a.State.Over() {
				a.end(Failed, NotAllowed, b.now())
			}
		}
	case notOpened(err):
		change = func(a *Action) { a.notOpened(at, t.Tries, b.now()) }
	default:
		return nil, errors.Join(err, b.recall(ctx, a, at))
	}
	if err == nil {
		var req *http.Request
		d := giver(a.Device, a.Subject, t.RecordID, codes)
		req, err = apple.UnlockRequest(apple.Unlock{
			SerialNumber: d.SerialNumber, ProductType: d.ProductType, IMEI: d.IMEI, IMEI2: d.IMEI2, MEID: d.MEID,
			Code: text, Organization: b.config.Organization, RequestedBy: a.By.Actor,
		})
		if err == nil {
			_, noCode := text.Code()
			return &Call{a.ID, req, at, t.Tries, noCode == nil}, nil
		}
		change = func(a *Action) {
			if a.withhold(at, t.Tries); !a.State.Over() {
				a.end(Failed, OurFault, b.now())
			}
		}
	}
	changed, err := b.store(ctx, a.ID, change)
	if err == nil {
		*a = changed
	}
	return nil, err
}

// recall stores that a code did not go out, of which nothing is known: the next
// call tries it again at once.
func (b *Bypass) recall(ctx context.Context, a *Action, at int) error {
	try := a.Attempts[at].Tries
	changed, err := b.store(ctx, a.ID, func(a *Action) { a.withhold(at, try) })
	if err == nil {
		*a = changed
	}
	return err
}

// notOpened reports whether a code cannot be had, now or later.
func notOpened(err error) bool {
	for _, target := range []error{
		escrow.ErrNotFound, escrow.ErrPurged, escrow.ErrMoved, seal.ErrNoKey, seal.ErrDamaged, seal.ErrVersion,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Answer stores Apple's answer to a call, also if the context is over: what
// Apple answered must not get lost. If it fails, call it again: an answer that is
// stored already changes nothing. Nor does one that comes after the call counted
// as lost, unless it says that the lock is removed.
func (b *Bypass) Answer(ctx context.Context, c *Call, answer apple.Answer) (Action, error) {
	a, err := b.answer(ctx, c, answer)
	if err != nil {
		return a, fmt.Errorf("bypass: answer: %w", err)
	}
	return a, nil
}

func (b *Bypass) answer(ctx context.Context, c *Call, answer apple.Answer) (Action, error) {
	ctx = context.WithoutCancel(ctx)
	a, err := b.update(ctx, c.ActionID, func(a *Action) {
		if c.attempt < len(a.Attempts) {
			a.answered(c, answer, b.now())
		}
	})
	if err == nil && a.State.Over() && !a.Noted {
		a, err = b.conclude(ctx, a)
	}
	return a, err
}

// Cancel ends an action of which nothing more shall be sent. A call that is under
// way cannot be called back; should Apple answer that the lock is removed, the
// action is done. One that is over is returned as it is, without an error. The errors
// are [ErrNotFound], those of store, escrow and audit, or that actor or reason is
// missing.
func (b *Bypass) Cancel(ctx context.Context, id string, by escrow.Act) (Action, error) {
	a, err := b.config.Store.Get(ctx, id)
	if err == nil && !a.State.Over() {
		err = b.note(ctx, audit.UnlockCanceled, by, &a, "")
	}
	if err == nil {
		a, err = b.update(ctx, id, func(a *Action) {
			if !a.State.Over() {
				a.Ended = by
				a.end(Canceled, "", b.now())
			}
		})
	}
	if err == nil && !a.Noted {
		a, err = b.conclude(ctx, a)
	}
	if err != nil {
		return a, fmt.Errorf("bypass: cancel: %w", err)
	}
	return a, nil
}

// conclude tells escrow and audit what came of an action that is over.
func (b *Bypass) conclude(ctx context.Context, a Action) (Action, error) {
	if t := a.Opened(); t != nil {
		_, err := b.config.Escrow.Mark(ctx, a.Subject, t.RecordID, escrow.Verdict{
			State: escrow.Worked, Reason: "Apple removed the lock with it", At: t.AnsweredAt,
		})
		if err != nil && !errors.Is(err, escrow.ErrNotFound) && !errors.Is(err, escrow.ErrPurged) {
			return a, err
		}
	}
	detail := string(a.State)
	if a.Reason != "" {
		detail += ": " + string(a.Reason)
	}
	by := a.By
	if a.State == Canceled {
		by = a.Ended
	}
	if err := b.note(ctx, audit.UnlockEnded, by, &a, detail); err != nil {
		return a, err
	}
	state := a.State
	return b.update(ctx, a.ID, func(a *Action) { a.Noted = a.State == state })
}

func (b *Bypass) note(ctx context.Context, act audit.Act, by escrow.Act, a *Action, detail string) error {
	event := audit.Event{
		Act: act, At: b.now(), Actor: by.Actor, Reason: by.Reason,
		SerialNumber: a.Subject.SerialNumber, EnrollmentID: a.Subject.EnrollmentID, Detail: detail,
	}
	if t := a.Opened(); t != nil {
		event.RecordID = t.RecordID
	}
	_, err := b.config.Audit.Append(ctx, event)
	return err
}

// update changes an action and returns it.
func (b *Bypass) update(ctx context.Context, id string, change func(*Action)) (Action, error) {
	var after Action
	err := b.config.Store.Update(ctx, id, func(a *Action) error {
		change(a)
		after = a.Clone()
		return nil
	})
	return after, err
}

// store is update for what must not get lost with the context.
func (b *Bypass) store(ctx context.Context, id string, change func(*Action)) (Action, error) {
	return b.update(context.WithoutCancel(ctx), id, change)
}

// Doer is a host's HTTP client. It has the host's push certificate for MDM as
// its TLS client certificate and follows no redirects.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Run makes an action's calls until it is over or has to wait. It does not sleep,
// except to give a store that fails time to take an answer; if the action is not
// over, call Run again at Action.NextAt. An action that was stopped at any moment
// goes on where it was.
func (b *Bypass) Run(ctx context.Context, id string, client Doer) (Action, error) {
	if client == nil {
		return Action{}, fmt.Errorf("bypass: run: %w", errNoClient)
	}
	for {
		call, a, err := b.Next(ctx, id)
		if err != nil || call == nil {
			return a, err
		}
		a, err = b.keep(ctx, call, send(ctx, client, call.Request))
		if err == nil && !a.State.Over() {
			err = ctx.Err()
		}
		if err != nil {
			return a, fmt.Errorf("bypass: run: %w", err)
		}
		if a.State.Over() {
			return a, nil
		}
	}
}

// keep stores an answer that nobody else has, if need be with several tries: for
// some seconds, and for two if the context is over.
func (b *Bypass) keep(ctx context.Context, c *Call, answer apple.Answer) (Action, error) {
	for wait := time.Second; ; wait *= 2 {
		a, err := b.answer(ctx, c, answer)
		switch over := ctx.Err() != nil; {
		case err == nil, wait > AnswerWithin/8, over && wait > 2*time.Second:
			return a, err
		case over:
			_ = b.config.Pause(context.WithoutCancel(ctx), time.Second)
		default:
			_ = b.config.Pause(ctx, wait)
		}
	}
}

func send(ctx context.Context, client Doer, req *http.Request) apple.Answer {
	// The answer must be stored before others take it for lost: they do in
	// AnswerWithin, of which a quarter may be gone.
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin/2)
	defer cancel()
	return apple.ReadUnlock(client.Do(req.WithContext(ctx)))
}
