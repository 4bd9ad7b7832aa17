package engine

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// seenEvery is how exactly it is recorded when a device was seen last: that it
// spoke again, and said nothing new, is not written each time. For so long a plan that
// is on record holds, too, without a look at escrow: a device that enrolled while the
// inventory was down has left a mark there.
const seenEvery = 6 * time.Hour

// change is what happened to a record. It depends on its argument only, and may be
// called more than once.
type change func(*inventory.Record)

// nothing is the change of a record that is due.
func nothing(*inventory.Record) {}

// plans is what came of a plan.
type plans struct {
	commands []Queued
	asks     []ask // of Apple
	after    inventory.Record
	was      []inventory.Finding // before
	changed  bool                // though nothing could be planned, the change is on record
}

// record applies an observation to the enrollment's record and returns the
// commands that are planned then. They are on record before they are returned;
// if that fails, there are none. Known is the record if it was read already.
func (e *Engine) record(ctx context.Context, from Enrollment, m mdmcmd.Message, known *inventory.Record, now time.Time, observe func(*inventory.Record, Policy)) []Queued {
	nothingNew := e.config.PolicyFor == nil && e.saysNothing(m)
	if nothingNew && e.quiet.holds(from.ID, now) {
		return nil
	}
	serial := namedSerial(m)
	before, claims, err := e.find(ctx, from.ID, serial, known)
	there := err == nil
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		e.emit(ctx, RecordFailed, from.ID, "", err)
		return nil
	}
	before.EnrollmentID = from.ID
	policy, err := e.policyFor(&before)
	observed := func(r *inventory.Record) {
		r.ParentID, r.Channel = from.ParentID, from.Channel
		if r.Channel == "" {
			r.Channel = DeviceChannel
		}
		r.UserEnrollment = m.From().IsUserEnrollment()
		observe(r, policy)
		if now.Sub(r.LastSeen).Abs() >= seenEvery || !r.CheckedOutAt.IsZero() {
			r.LastSeen = now
		}
	}
	after := before.Clone()
	observed(&after)
	if e.config.PolicyFor != nil {
		policy, err = e.policyFor(&after) // who it is may be known by now
	}
	if err != nil {
		e.emit(ctx, PolicyRefused, from.ID, after.Facts.SerialNumber, err)
	}
	ended := before.CheckedOutAt
	goesOn := !ended.IsZero() && after.CheckedOutAt.IsZero()
	if goesOn {
		// It enrolled again, and says so only by going on: it claims its serial number
		// again, and its code may be another one since.
		serial = cmp.Or(serial, after.Facts.SerialNumber)
		if _, marked := m.(*mdmcmd.Authenticate); !marked && after.Channel == DeviceChannel && !after.UserEnrollment {
			e.markStale(ctx, from, serial, earliest(ended, now))
		}
	}
	if there && serial == "" && upToDate(&before, policy, now) && same(before, after) {
		if nothingNew {
			e.quiet.note(&before)
		}
		return nil
	}
	if !there || after.Subject() != before.Subject() {
		// It is on record first who it is: of two enrollments that claim the same
		// serial number at the same moment, one sees the other then.
		if !e.update(ctx, &after, func(r *inventory.Record) {
			observed(r)
			r.Summary.DueAt = now // until its plan is on record: that may fail, or this server
		}) {
			return nil
		}
		before, observed, claims = after, nothing, nil
	}
	codes, err := e.codes(ctx, &after)
	sure := false // who claims the serial number
	if serial != "" {
		var disputed, joined bool
		claims, disputed, joined, sure = e.claim(ctx, from, serial, &after, claims, codes)
		if joined {
			codes, err = e.codes(ctx, &after)
		}
		if sure { // else it is what it was: that nobody can say is no finding
			was := observed
			observed = func(r *inventory.Record) {
				was(r)
				r.Disputed, r.Joined = disputed, r.Joined || joined
			}
		}
	}
	p, ok := e.settle(ctx, before, observed, codes, err, policy, toDevice, now)
	if ok && e.config.PolicyFor == nil && upToDate(&p.after, policy, now) {
		e.quiet.note(&p.after)
	}
	if ok || p.changed {
		if sure && p.after.Disputed && (!before.Disputed || goesOn) {
			e.emit(ctx, SerialDisputed, from.ID, serial, nil)
		}
		if !sure && p.after.Disputed && !p.after.CheckedOutAt.IsZero() && before.CheckedOutAt.IsZero() {
			claims, sure = e.claimants(ctx, &p.after)
		}
		if sure {
			e.disputeOthers(ctx, &p.after, claims, now)
		}
	}
	return p.commands
}

// claimants returns the records that claim the serial number of one, if they can be
// read.
func (e *Engine) claimants(ctx context.Context, r *inventory.Record) ([]inventory.Record, bool) {
	claims, err := e.config.Inventory.BySerialNumber(ctx, r.Facts.SerialNumber)
	if err != nil {
		e.emit(ctx, RecordFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
	}
	return claims, err == nil
}

// disputeOthers has on record of the others that claim the serial number of an
// enrollment whether that is disputed, when it began to claim it or ended.
func (e *Engine) disputeOthers(ctx context.Context, r *inventory.Record, claims []inventory.Record, now time.Time) {
	claims = slices.DeleteFunc(slices.Clone(claims), func(c inventory.Record) bool { return c.EnrollmentID == r.EnrollmentID })
	claims = append(claims, *r)
	for _, other := range claims[:len(claims)-1] {
		disputed := disputedBy(other.EnrollmentID, other.ParentID, claims)
		if other.Channel == UserChannel || other.Disputed == disputed {
			continue
		}
		e.update(ctx, &other, func(r *inventory.Record) {
			r.Disputed = disputed
			r.Summary.DueAt = now
		})
	}
}

// claim looks at the serial number that an enrollment names: who claims it, whether
// that are others too, and, if none does, whether its codes were filed under it now.
// Sure says that somebody could say.
func (e *Engine) claim(ctx context.Context, from Enrollment, serial string, r *inventory.Record, claims []inventory.Record, codes []escrow.Record) (_ []inventory.Record, disputed, joined, sure bool) {
	if serial != r.Facts.SerialNumber {
		e.emit(ctx, SerialDisputed, from.ID, r.Facts.SerialNumber, errors.New("engine: the enrollment names another serial number than before"))
		return nil, false, false, false
	}
	if claims == nil {
		if claims, sure = e.claimants(ctx, r); !sure {
			return nil, false, false, false
		}
	}
	if disputedBy(from.ID, from.ParentID, claims) {
		return claims, true, false, true
	}
	if r.Joined && !split(codes, from.ID) {
		return claims, false, false, true
	}
	return claims, false, e.join(ctx, from, serial), true
}

// find returns the record of an enrollment that names a serial number, and, where
// that took no further question, all that claim it. Known is the record if it was read
// already.
func (e *Engine) find(ctx context.Context, enrollmentID, serial string, known *inventory.Record) (r inventory.Record, claims []inventory.Record, err error) {
	if serial == "" && known != nil {
		return *known, nil, nil
	}
	if serial != "" {
		if claims, err = e.config.Inventory.BySerialNumber(ctx, serial); err != nil {
			e.emit(ctx, RecordFailed, enrollmentID, serial, err)
		}
		for _, r := range claims {
			if r.EnrollmentID == enrollmentID {
				return r, claims, nil
			}
		}
	}
	r, err = e.config.Inventory.Get(ctx, enrollmentID)
	return r, nil, err
}

// split reports whether a code of an enrollment is current beside another of the same
// device: it was filed while nobody could say whose it is.
func split(codes []escrow.Record, enrollmentID string) bool {
	return slices.ContainsFunc(codes, func(c escrow.Record) bool {
		return c.State == escrow.Current && c.Subject.EnrollmentID == enrollmentID
	})
}

// upToDate reports whether a plan was made of a record not long ago that still holds:
// by time alone it changes when the record is due, and by the policy where that has
// other options.
func upToDate(r *inventory.Record, p Policy, now time.Time) bool {
	s := r.Summary
	return !wantsOptions(r, p) && now.Sub(s.At).Abs() < seenEvery && (s.DueAt.IsZero() || now.Before(s.DueAt))
}

// update changes the record of an enrollment, and returns it as it is then.
func (e *Engine) update(ctx context.Context, r *inventory.Record, c change) bool {
	defer e.took(StepRecord)()
	defer e.quiet.forget(r.EnrollmentID)
	var after inventory.Record
	err := e.config.Inventory.Update(ctx, r.EnrollmentID, func(r *inventory.Record) error {
		c(r)
		after = r.Clone()
		return nil
	})
	if err != nil {
		e.emit(ctx, RecordFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
		return false
	}
	*r = after
	return true
}

// recipients are whom a plan is for. What others are to be sent is left for Tick.
type recipients int

const (
	toNobody recipients = 0
	toDevice recipients = 1
	toApple  recipients = 2
)

// reconcile applies a change to a record that was read before, plans, and has all
// of it on record; ok says that it is. Where there is nothing to change nothing is
// written.
func (e *Engine) reconcile(ctx context.Context, before inventory.Record, c change, p Policy, to recipients, now time.Time) (out plans, ok bool) {
	expected := before.Clone()
	c(&expected)
	codes, err := e.codes(ctx, &expected)
	return e.settle(ctx, before, c, codes, err, p, to, now)
}

// codes returns what escrow knows of a device's codes.
func (e *Engine) codes(ctx context.Context, r *inventory.Record) ([]escrow.Record, error) {
	defer e.took(StepEscrow)()
	return e.config.Escrow.Records(ctx, r.Subject())
}

// settle is reconcile with the codes that were read, or the reason why they could not
// be.
func (e *Engine) settle(ctx context.Context, before inventory.Record, c change, codes []escrow.Record, err error, p Policy, to recipients, now time.Time) (out plans, ok bool) {
	expected := before.Clone()
	c(&expected)
	if err != nil {
		// Without escrow nobody knows what may be allowed.
		e.emit(ctx, EscrowFailed, expected.EnrollmentID, expected.Facts.SerialNumber, err)
		changed := e.update(ctx, &before, func(r *inventory.Record) {
			c(r)
			r.Summary.DueAt = now
		})
		return plans{after: before, changed: changed}, false
	}
	s := step{codes: codes, policy: p, api: e.config.StatusAPI != "", bypasses: e.bypasses != nil, pauses: e.pauses.all(), to: to, now: now}
	done := e.took(StepPlan)
	catchUp(&expected, codes, p)
	s.overridden = to&toDevice != 0 && wantsOverride(&expected, codes, p, now) && e.override(ctx, &expected, p, now)
	commands, asks := s.plan(&expected)
	if len(commands) == 0 && len(asks) == 0 {
		if s.summarize(&expected); same(before, expected) {
			done()
			return plans{after: before}, true
		}
	}
	done()
	out, err = e.write(ctx, &expected, c, s)
	if err != nil {
		e.emit(ctx, RecordFailed, before.EnrollmentID, before.Facts.SerialNumber, err)
		return plans{}, false
	}
	for _, command := range out.commands {
		e.counted(Commands, command.RequestType, 1)
	}
	if s.overridden && planned(out.commands, options) {
		e.emit(ctx, AllowedWithoutCode, out.after.EnrollmentID, out.after.Facts.SerialNumber, nil)
	}
	e.tellFindings(ctx, out.was, &out.after)
	return out, true
}

func planned(commands []Queued, requestType string) bool {
	for _, c := range commands {
		if c.RequestType == requestType {
			return true
		}
	}
	return false
}

// write changes and plans in one transaction.
func (e *Engine) write(ctx context.Context, expected *inventory.Record, c change, s step) (out plans, err error) {
	defer e.took(StepRecord)()
	defer e.quiet.forget(expected.EnrollmentID)
	err = e.config.Inventory.Update(ctx, expected.EnrollmentID, func(r *inventory.Record) error {
		out = plans{was: slices.Clone(r.Summary.Findings)}
		c(r)
		if r.Subject() != expected.Subject() {
			r.Summary.DueAt = s.now // another server learned who it is; these are not its codes
			out.after = r.Clone()
			return nil
		}
		catchUp(r, s.codes, s.policy)
		commands, asks := s.plan(r)
		for _, command := range commands {
			uuid, name := e.config.NewUUID(), command.RequestType()
			raw, err := mdmcmd.Encode(uuid, command)
			if err != nil {
				return err
			}
			until := deadline(r, name, s.policy, s.now)
			exchange(r, name, func(x inventory.Exchange) inventory.Exchange { return x.Ask(uuid, s.now, until) })
			if settings, is := command.(mdmcmd.Settings); is {
				r.OptionsSent = settings.MDMOptions
			}
			out.commands = append(out.commands, Queued{uuid, name, raw})
		}
		for _, name := range asks {
			a := ask{name, e.config.NewUUID()}
			s.ask(r, a)
			out.asks = append(out.asks, a)
		}
		s.summarize(r)
		out.after = r.Clone()
		return nil
	})
	return out, err
}

// exchange changes one of a record's exchanges.
func exchange(r *inventory.Record, name string, change func(inventory.Exchange) inventory.Exchange) {
	if r.Exchanges == nil {
		r.Exchanges = map[string]inventory.Exchange{}
	}
	r.Exchanges[name] = change(r.Exchanges[name])
}

// same reports whether two records differ only in when they were looked at.
func same(a, b inventory.Record) bool {
	b.Summary.At = a.Summary.At
	return reflect.DeepEqual(normal(a), normal(b))
}

// normal makes empty lists and maps equal to those that are not there.
func normal(r inventory.Record) inventory.Record {
	if len(r.Exchanges) == 0 {
		r.Exchanges = nil
	}
	if len(r.Evidence) == 0 {
		r.Evidence = nil
	}
	if len(r.Groups) == 0 {
		r.Groups = nil
	}
	if len(r.Summary.Findings) == 0 {
		r.Summary.Findings = nil
	}
	return r
}

// step is what a plan depends on beside the record.
type step struct {
	codes      []escrow.Record
	policy     Policy
	overridden bool // the audit knows of a permission without a code
	api        bool // Apple's status can be asked
	bypasses   bool
	pauses     map[Service]time.Time // until when Apple wants to be left alone
	to         recipients
	now        time.Time
}

// plan plans commands, and what to ask Apple.
func (s *step) plan(r *inventory.Record) (commands []mdmcmd.Command, asks []string) {
	if s.to&toDevice != 0 {
		commands = plan(r, s.codes, s.policy, s.overridden, s.now)
	}
	if s.to&toApple != 0 {
		asks = s.planApple(r, s.now)
	}
	return commands, asks
}

// summarize computes what reports show, and when the record is due again.
func (s *step) summarize(r *inventory.Record) {
	due := earliest(dueAt(r, s.codes, s.policy, s.now), s.appleDueAt(r))
	if !s.overridden && wantsOverride(r, s.codes, s.policy, s.now) { // the audit was down, or this is not for the device
		due = earliest(due, s.now.Add(s.policy.NotNowAgain))
	}
	if r.BypassID != "" && !s.bypasses { // another server's business, which must find it
		due = earliest(due, later(r.Exchanges[string(UnlockService)].AgainAt, s.now.Add(claimFor)))
	}
	if s.to&toApple == 0 && len(s.planApple(r, s.now)) > 0 ||
		s.to&toDevice == 0 && len(plan(r, s.codes, s.policy, false, s.now)) > 0 { // which is Tick's to send
		due = s.now
		if was := r.Summary.DueAt; !was.IsZero() && was.Before(due) {
			due = was // it is on record already
		}
	}
	r.Summarize(s.codes, due, s.policy.Limits, s.now)
}

// earliest returns the earliest of times; zero is never.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// catchUp has on record what escrow knows and the inventory could not be told: that the
// device enrolled, of which a mark on its code tells, and that it gave its code, which it
// may not give again.
func catchUp(r *inventory.Record, codes []escrow.Record, p Policy) {
	if since := marked(codes); r.Live() && since.After(r.AuthenticatedAt) {
		token := r.TokenAt
		begin(r, since)
		r.TokenAt = token
	}
	for _, c := range codes {
		if r.Disputed || c.Kind != bypasscode.Device || c.State != escrow.Current || !c.StaleSince.IsZero() || c.Cause == escrow.CauseUnasked ||
			!r.Exchanges[bypassCode].Asked(c.CommandUUID) {
			continue
		}
		exchange(r, bypassCode, func(x inventory.Exchange) inventory.Exchange {
			return answeredBy(x, c.CommandUUID, inventory.WithCode, c.ReceivedAt, c.ReceivedAt.Add(p.NotNowAgain))
		})
		r.CodeWanted, r.CodeID = false, c.ID
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

// override tells the audit that the lock is allowed without a code. Without that
// it is not.
func (e *Engine) override(ctx context.Context, r *inventory.Record, p Policy, now time.Time) bool {
	event := audit.Event{
		Act: audit.Overridden, At: now, Actor: p.AllowWithoutCode.Actor, Reason: p.AllowWithoutCode.Reason,
		Detail: "the lock is allowed without a code in escrow",
	}
	if event.SerialNumber = r.Facts.SerialNumber; event.SerialNumber == "" {
		event.EnrollmentID = r.EnrollmentID
	}
	if _, err := e.config.Audit.Append(ctx, event); err != nil {
		e.emit(ctx, AuditFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
		return false
	}
	return true
}

// join files the enrollment's codes under the serial number that it says it has,
// and reports whether they are: it may have to be done again.
func (e *Engine) join(ctx context.Context, from Enrollment, serial string) bool {
	defer e.took(StepEscrow)()
	if err := e.config.Escrow.Join(ctx, from.ID, serial); err != nil {
		e.emit(ctx, EscrowFailed, from.ID, serial, err)
		return false
	}
	return true
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

// lockOf derives the lock, as far as the record knows.
func lockOf(r *inventory.Record) activationlock.Lock { return activationlock.Derive(r.Evidence) }
