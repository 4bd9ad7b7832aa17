package inventory

import (
	"cmp"
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/mdmcmd"
)

// Summary is what reports show and filter by. It is computed when a record is
// written, so that a report of a whole fleet reads columns and opens nothing.
type Summary struct {
	Status   activationlock.Status
	LockKind activationlock.LockKind // of a lock that is on
	// Reassign answers whether the device may be given to somebody else.
	Reassign activationlock.Verdict
	// CodeSince is since when a usable code is held, zero if none is. While no lock
	// is on, that is the code of a device that may make one and give it, or one with
	// which the server may have locked the device. A code that something speaks
	// against counts too; see [CodeStale].
	CodeSince time.Time
	// InventoryAt is when the device gave its information last on being asked, if
	// only in an earlier enrollment. An error is no information.
	InventoryAt time.Time
	Findings    []Finding // the worst first
	// DueAt is when the record is to be looked at again; zero is never.
	DueAt time.Time
	At    time.Time // when this was computed
}

// Severity returns that of the worst finding, 0 if there is none.
func (s Summary) Severity() Severity {
	if len(s.Findings) == 0 {
		return 0
	}
	return s.Findings[0].Severity
}

// Summarize computes the summary. Codes are those that escrow holds of the
// device, and due is when something has to be asked next, zero if nothing; the
// record is due when time alone changes the summary, too.
//
// What can have begun unseen is said to be so since it was noticed first, for
// which the record's last summary is looked at.
func (r *Record) Summarize(codes []escrow.Record, due time.Time, l Limits, now time.Time) {
	now = now.UTC().Truncate(time.Microsecond)
	v := view{Record: r, situation: r.Situation(codes, now), codes: codes, limits: l.withDefaults(), now: now}
	f := r.Facts
	v.mayGive = v.situation.Device.Can(activationlock.FetchCode).Verdict != activationlock.No &&
		!is(f.Supervised, false) && !is(f.SharedIPad, true) && !is(f.LockSupported, false) && !is(f.LockManageable, false)
	v.find()
	summary := Summary{
		Status: v.status(), LockKind: v.situation.Lock.Kind, Reassign: v.reassign(), CodeSince: v.codeSince(), InventoryAt: r.Summary.InventoryAt,
		Findings: v.findings, At: now,
	}
	summary.DueAt = earlier(due.UTC().Truncate(time.Microsecond), v.next)
	if x := r.Exchanges[mdmcmd.DeviceInformation{}.RequestType()]; x.Answer == Done {
		summary.InventoryAt = x.AnsweredAt
	}
	r.Summary = summary
}

// status is what it is until the question for the code is overdue.
func (v *view) status() activationlock.Status {
	status, late := activationlock.StatusOf(v.situation), v.situation
	late.Question = activationlock.Overdue
	if activationlock.StatusOf(late) != status {
		v.later(v.Exchanges[mdmcmd.ActivationLockBypassCode.RequestType()].SilentAt)
	}
	return status
}

// reassign is yes until its evidence is too old. Evidence of the future, by a
// clock that is behind, may be none for a while.
func (v *view) reassign() activationlock.Verdict {
	at := func(t time.Time) activationlock.Verdict { return v.careful(v.situation.CanReassign(t)).Verdict }
	verdict := at(v.now)
	for _, t := range []time.Time{v.situation.Lock.At, v.situation.Lock.At.Add(activationlock.EvidenceAge + time.Microsecond)} {
		if at(t) != verdict {
			v.later(t)
		}
	}
	return verdict
}

// codeSince is since when a code is held that opens the lock, or would open the
// one that may come on. A current code counts before older ones.
func (v *view) codeSince() time.Time {
	var current, other time.Time
	for _, c := range v.codes {
		good := c.State == escrow.Current || c.State == escrow.MaybeActive
		opens := good
		switch {
		case v.locked():
			opens = v.situation.Lock.Kind.Opens(c.Kind)
		case c.Kind == bypasscode.Device:
			opens = v.mayGive // else it is of before, and opens no lock that comes now
		}
		switch {
		case !opens || c.State == escrow.Void || c.State == escrow.Purged:
		case good:
			current = earlier(current, c.FirstSeen)
		default:
			other = earlier(other, c.FirstSeen)
		}
	}
	return cmp.Or(current, other)
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// SetGroups sets the groups of the device, in byte order and each once.
func (r *Record) SetGroups(groups ...string) {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	r.Groups = slices.Compact(groups)
}
