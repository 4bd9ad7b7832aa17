package inventory

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/mdmcmd"
)

// Record is what is known of one enrollment. Times are zero where nothing
// happened yet.
type Record struct {
	EnrollmentID   string
	ParentID       string // of the device channel, for a user channel
	Channel        mdmcmd.Channel
	UserEnrollment bool

	AuthenticatedAt time.Time // this enrollment began; zero if it was there before us
	TokenAt         time.Time // last TokenUpdate of this enrollment
	CheckedOutAt    time.Time // this enrollment ended
	LastSeen        time.Time // to some hours: that a device spoke is not written each time

	// Ownership and Groups are the host's to say; groups in byte order, each once.
	Ownership Ownership
	Groups    []string

	Facts Facts
	// FindMyWasOn: before this enrollment the device said that Find My is on, and it said
	// nothing of that since. An erase leaves the lock.
	FindMyWasOn bool
	// AllowedSince is when the device first said in this enrollment that the lock
	// is allowed.
	AllowedSince time.Time
	Evidence     []activationlock.Evidence // oldest first, runs of the same shortened

	// Exchanges hold what was asked and answered: by request type, of the device in
	// this enrollment; and by the name of Apple's service, such as [LockCall], of Apple,
	// also in enrollments before.
	Exchanges map[string]Exchange
	// CodeWanted says that something happened for which the bypass code must be
	// asked (again), whatever is known; CodeCause says what.
	CodeWanted bool
	CodeCause  escrow.Cause
	// CodeID is the escrow record of the code that the device gave, on being
	// asked, in this enrollment; "" if it did not. What came before may be
	// stale: the device may have been erased.
	CodeID string
	// OptionsSent are the options of the last Settings command.
	OptionsSent mdmcmd.MDMOptions
	// LockOrder is somebody's wish to have the device locked for the organization,
	// while Apple did not answer it.
	LockOrder LockOrder
	// BypassID is the bypass action that is under way, or whose end is not in the
	// evidence yet; "" if there is none.
	BypassID string

	// Joined: escrow has what came from the enrollment under its serial number.
	Joined bool
	// Disputed: another enrollment that did not end claims the same serial number.
	Disputed bool

	// Summary is what reports show, as it was when the record was written last.
	Summary Summary
}

// LockOrder is a wish to have a device locked for the organization. The zero
// LockOrder is none.
type LockOrder struct {
	By      escrow.Act
	Message string // for the activation screen; "" for none
	At      time.Time
}

// Ownership says whose a device is.
type Ownership string

// The ownerships.
const (
	OwnershipUnknown Ownership = ""
	Company          Ownership = "company"
	Personal         Ownership = "personal"
)

// Facts are what a device said of itself. "" and nil are unknown.
type Facts struct {
	SerialNumber, UDID                                    string
	DeviceName                                            string // as its user calls it
	ProductName, ModelName, OSVersion, BuildVersion       string
	Supervised, SharedIPad, FindMy, AwaitingConfiguration *bool
	LockSupported, LockManageable                         *bool // Macs
	LockAllowed                                           *bool // ActivationLockAllowedWhileSupervised
	LostMode                                              *bool
	Cellular                                              mdmcmd.Cellular
}

// Platform tells the platform from the product name.
func (f Facts) Platform() mdmcmd.Platform { return mdmcmd.PlatformOf(f.ProductName) }

// Exchange is the state of one command, or of one question to Apple: asked,
// answered, and when to ask again.
type Exchange struct {
	UUIDs      []string  // asked and not answered, the last ones, newest last
	AskedAt    time.Time // last
	AnsweredAt time.Time // last; NotNow is no answer
	Answer     Answer
	// Error is what the device's error means, with Refused.
	Error mdmcmd.ErrorClass
	// AgainAt is when the command may be asked again: it was answered, refused,
	// or lost by then.
	AgainAt time.Time
	// OverdueAt is the deadline of the first question since the last answer;
	// zero if there is none.
	OverdueAt time.Time
	// SilentAt is the deadline of the first question since the other side said
	// anything to it, if only NotNow; zero if there is none.
	SilentAt time.Time
	// Unanswered counts the questions in a row of which nothing was heard by their
	// deadline, and NotNows those that could not be answered.
	Unanswered, NotNows int
}

// LockCall is the key in [Record].Exchanges of the call with which Apple locks a device
// for the organization.
const LockCall = "apple lock"

// Answer is what came of a command.
type Answer string

// The answers.
const (
	Done     Answer = "done"
	Refused  Answer = "refused"
	WithCode Answer = "code"
	NoCode   Answer = "no code" // acknowledged without one
)

const (
	keptUUIDs    = 8
	keptEvidence = 16
)

// Ask notes that a command goes out. An answer is expected before the deadline,
// after which the command may be asked again.
func (x Exchange) Ask(uuid string, now, deadline time.Time) Exchange {
	x.UUIDs = append(slices.Clone(x.UUIDs), uuid)
	x.UUIDs = x.UUIDs[max(0, len(x.UUIDs)-keptUUIDs):]
	if x.Silent(now) {
		x.Unanswered++
	}
	deadline = whole(deadline)
	x.AskedAt, x.AgainAt = now, deadline
	if x.SilentAt.IsZero() {
		x.SilentAt = deadline
	}
	if x.OverdueAt.IsZero() {
		x.OverdueAt = deadline
	}
	return x
}

// Asked reports whether a command with that UUID went out and was not answered.
func (x Exchange) Asked(uuid string) bool { return uuid != "" && slices.Contains(x.UUIDs, uuid) }

// Answered notes the answer to one command, and when to ask again if there is
// need; Error is none then. The same answer again is none, and neither is one to a
// command that was not asked.
func (x Exchange) Answered(uuid string, a Answer, now, again time.Time) Exchange {
	if !x.Asked(uuid) {
		return x
	}
	x.UUIDs = slices.DeleteFunc(slices.Clone(x.UUIDs), func(asked string) bool { return asked == uuid })
	x.Answer, x.Error, x.AnsweredAt, x.AgainAt = a, mdmcmd.ErrorNone, now, whole(again)
	x.OverdueAt, x.SilentAt, x.Unanswered, x.NotNows = time.Time{}, time.Time{}, 0, 0
	return x
}

// Later notes that the command could not be run now, and when to ask again. That is
// no answer: the question stays open, and its deadline as it was. But the other side
// is there.
func (x Exchange) Later(again time.Time) Exchange {
	x.AgainAt, x.SilentAt, x.Unanswered = whole(again), time.Time{}, 0
	x.NotNows++
	return x
}

// whole is a moment as stores keep it, whatever a schedule has it in: in UTC, and whole
// microseconds.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Silent reports whether the other side said nothing to a question by its deadline.
func (x Exchange) Silent(now time.Time) bool {
	return !x.SilentAt.IsZero() && !now.Before(x.SilentAt)
}

// Open reports whether the last question was not answered.
func (x Exchange) Open() bool { return len(x.UUIDs) > 0 && x.AskedAt.After(x.AnsweredAt) }

// Overdue reports whether a question is open past its deadline.
func (x Exchange) Overdue(now time.Time) bool {
	return !x.OverdueAt.IsZero() && !now.Before(x.OverdueAt)
}

// Live reports whether the enrollment is complete and did not end.
func (r *Record) Live() bool { return !r.TokenAt.IsZero() && r.CheckedOutAt.IsZero() }

// Device is what decides which parts of Activation Lock the device has.
func (r *Record) Device() activationlock.Device {
	return activationlock.Device{
		ProductName: r.Facts.ProductName, OSVersion: r.Facts.OSVersion, UserEnrollment: r.UserEnrollment,
		Supervised: r.Facts.Supervised, SharedIPad: r.Facts.SharedIPad,
		LockSupported: r.Facts.LockSupported, LockManageable: r.Facts.LockManageable,
	}
}

// Subject is what the enrollment's codes are filed under.
func (r *Record) Subject() escrow.Subject {
	return escrow.SubjectOf(r.Facts.SerialNumber, r.EnrollmentID)
}

// AddEvidence adds evidence in its place, since clocks step and servers race,
// and keeps the list short: of a source that says the same again and again, the
// first and the last, and of the rest the latest, but always the last words of
// each source.
func (r *Record) AddEvidence(e activationlock.Evidence) {
	if !e.At.IsZero() {
		e.At = e.At.UTC().Truncate(time.Microsecond)
	}
	at := len(r.Evidence)
	for at > 0 && r.Evidence[at-1].At.After(e.At) {
		at--
	}
	all := slices.Insert(slices.Clone(r.Evidence), at, e)
	var short []activationlock.Evidence
	for i, e := range all {
		if !repeats(slices.Backward(all[:i]), e) || !repeats(slices.All(all[i+1:]), e) {
			short = append(short, e)
		}
	}
	r.Evidence = latest(short)
}

// repeats reports whether the next evidence of the same source is the same, and
// nothing comes before it that makes a difference: of a device that is asked every
// week, the words of several sources alternate.
func repeats(others iter.Seq2[int, activationlock.Evidence], e activationlock.Evidence) bool {
	for _, other := range others {
		lost := e.Source == activationlock.SourceLostMode || other.Source == activationlock.SourceLostMode
		switch {
		case e.Source == activationlock.SourceApple && other.Source == activationlock.SourceLostMode && other.State == activationlock.On:
			return false // after which Apple's word of the kind means less
		case other.Source == e.Source:
			return other.State == e.State && other.Kind == e.Kind
		case !lost && (other.State != e.State || other.Source != activationlock.SourceDevice && other.Source != activationlock.SourceApple):
			return false
		}
	}
	return false
}

// latest leaves out the oldest evidence of a list that is too long, but for the
// last words of each source: a lock that was made years ago may still be on.
func latest(evidence []activationlock.Evidence) []activationlock.Evidence {
	for i := 0; i < len(evidence) && len(evidence) > keptEvidence; {
		if slices.ContainsFunc(evidence[i+1:], func(e activationlock.Evidence) bool { return e.Source == evidence[i].Source }) {
			evidence = slices.Delete(evidence, i, i+1)
		} else {
			i++
		}
	}
	return evidence
}

// Clone returns a copy that shares nothing that can change.
func (r *Record) Clone() Record {
	c := *r
	c.Evidence, c.Groups = slices.Clone(r.Evidence), slices.Clone(r.Groups)
	c.Summary.Findings = slices.Clone(r.Summary.Findings)
	c.Exchanges = maps.Clone(r.Exchanges)
	for k, x := range c.Exchanges {
		x.UUIDs = slices.Clone(x.UUIDs)
		c.Exchanges[k] = x
	}
	for _, p := range []**bool{
		&c.Facts.Supervised, &c.Facts.SharedIPad, &c.Facts.FindMy, &c.Facts.AwaitingConfiguration,
		&c.Facts.LockSupported, &c.Facts.LockManageable, &c.Facts.LockAllowed, &c.Facts.LostMode,
		&c.OptionsSent.ActivationLockAllowedWhileSupervised, &c.OptionsSent.BootstrapTokenAllowed,
		&c.OptionsSent.PromptUserToAllowBootstrapTokenForAuthentication, &c.OptionsSent.IdleRebootAllowed,
	} {
		if *p != nil {
			*p = new(**p)
		}
	}
	return c
}

// Situation is what the lock's status depends on.
func (r *Record) Situation(codes []escrow.Record, now time.Time) activationlock.Situation {
	s := activationlock.Situation{Device: r.Device(), Lock: activationlock.Derive(r.Evidence), FindMy: r.Facts.FindMy}
	if s.FindMy == nil && r.FindMyWasOn {
		s.FindMy = new(true)
	}
	for _, c := range codes {
		if c.State == escrow.Purged {
			continue
		}
		s.Codes = append(s.Codes, activationlock.HeldCode{
			Kind: c.Kind, Void: c.State == escrow.Void,
			Doubtful: c.State != escrow.Current && c.State != escrow.MaybeActive || !c.StaleSince.IsZero() ||
				c.Kind == bypasscode.Device && (r.CodeWanted || r.unproven(c, s.Lock)) ||
				c.Cause == escrow.CauseOrganizationLock && c.StateSince.IsZero(), // its hash never went out
		})
	}
	switch asked := r.Exchanges[mdmcmd.ActivationLockBypassCode.RequestType()]; {
	case asked.Silent(now):
		s.Question = activationlock.Overdue
	case !asked.AnsweredAt.IsZero(): // also while it is asked again
		s.Question = activationlock.Answered
	}
	return s
}

// unproven reports whether a device's code may not open the lock that is on:
// Apple says that it must be asked for before the lock comes on, and one report
// that the device makes another one then, so it must have been asked since, too.
func (r *Record) unproven(c escrow.Record, lock activationlock.Lock) bool {
	if lock.State != activationlock.On || lock.Kind == activationlock.OrganizationLinked {
		return false
	}
	return c.FirstSeen.After(lock.Since) || r.Exchanges[mdmcmd.ActivationLockBypassCode.RequestType()].AnsweredAt.Before(r.cameOn(lock))
}

// cameOn returns when a lock came on that is on. If a word that it was off was true,
// though it was not believed, the next that it is on is of another lock.
func (r *Record) cameOn(lock activationlock.Lock) time.Time {
	since, off := lock.Since, false
	for _, e := range r.Evidence {
		switch {
		case e.Source == activationlock.SourceLostMode || e.State == activationlock.StateUnknown:
		case e.State == activationlock.Off:
			off = true
		case off:
			off = false
			if e.At.After(since) {
				since = e.At
			}
		}
	}
	return since
}

// CanErase answers whether the device may be erased without making a brick; see
// [activationlock.Situation]. Where another enrollment claims its serial number, or a
// lock of the organization is ordered or on its way, it is never yes.
func (r *Record) CanErase(codes []escrow.Record, now time.Time) activationlock.Answer {
	return r.careful(r.Situation(codes, now).CanErase(now))
}

// CanReassign answers whether the device may be given to somebody else, with the same
// caution as CanErase.
func (r *Record) CanReassign(codes []escrow.Record, now time.Time) activationlock.Answer {
	return r.careful(r.Situation(codes, now).CanReassign(now))
}

func (r *Record) careful(a activationlock.Answer) activationlock.Answer {
	switch {
	case !a.Yes():
	case r.Disputed:
		return activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonConflict}}
	case !r.LockOrder.At.IsZero() || r.Exchanges[LockCall].Open():
		return activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonMayBeLocked}}
	}
	return a
}

// Status is the value of the report's column "Activation Lock Status".
func (r *Record) Status(codes []escrow.Record, now time.Time) activationlock.Status {
	return activationlock.StatusOf(r.Situation(codes, now))
}
