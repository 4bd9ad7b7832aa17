package engine

import (
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Request types, the keys of Record.Exchanges.
var (
	information = mdmcmd.DeviceInformation{}.RequestType()
	security    = mdmcmd.SecurityInfo.RequestType()
	bypassCode  = mdmcmd.ActivationLockBypassCode.RequestType()
	options     = mdmcmd.Settings{}.RequestType()
)

// plan decides which commands should be queued now for an enrollment. It
// depends on its arguments only. Overridden: the audit knows that the lock is
// allowed without a code, if the policy wants it.
func plan(r *inventory.Record, codes []escrow.Record, p Policy, overridden bool, now time.Time) []mdmcmd.Command {
	if !mayBeEnrolled(r, p, now) || r.Channel != mdmcmd.DeviceChannel || r.UserEnrollment {
		return nil
	}
	var commands []mdmcmd.Command
	mac := r.Facts.Platform() == mdmcmd.MacOS

	if aged(r, information, p, now) {
		commands = append(commands, mdmcmd.DeviceInformation{Queries: mdmcmd.DefaultQueries(r.Facts.Platform())})
	}
	if mac && aged(r, security, p, now) {
		commands = append(commands, mdmcmd.SecurityInfo)
	}
	if !known(r, information, now) || mac && !known(r, security, now) || !canHaveCode(r) {
		if canHaveCode(r) && holdsCode(r, codes) {
			return commands // the permission follows, so it is not taken first
		}
		return append(commands, planOptions(r, nil, p, false, now)...)
	}
	if wantsCode(r, codes, p, now) {
		commands = append(commands, mdmcmd.ActivationLockBypassCode)
	}
	return append(commands, planOptions(r, codes, p, overridden, now)...)
}

// mayBeEnrolled reports whether the device is enrolled, or may be: the message that says so
// may have been lost, and a device that nobody asks anything may never send another.
func mayBeEnrolled(r *inventory.Record, p Policy, now time.Time) bool {
	began := !r.AuthenticatedAt.IsZero() && r.CheckedOutAt.IsZero()
	return r.Live() || began && !now.Before(r.AuthenticatedAt.Add(p.AnswerWithin)) && windowLeft(r, now) > 0
}

// wantsOverride reports whether the policy's permission without a code would be
// planned now.
func wantsOverride(r *inventory.Record, codes []escrow.Record, p Policy, now time.Time) bool {
	return p.AllowWithoutCode != escrow.Act{} && len(plan(r, codes, p, true, now)) > len(plan(r, codes, p, false, now))
}

// dueAt returns when the plan for a record has something to ask next if nothing
// happens, zero if never. The plan changes by time alone only at the moments that
// the record names.
func dueAt(r *inventory.Record, codes []escrow.Record, p Policy, now time.Time) time.Time {
	moments := []time.Time{r.AuthenticatedAt.Add(p.AnswerWithin)}
	for name, x := range r.Exchanges {
		moments = append(moments, x.AgainAt, x.OverdueAt)
		if !x.AnsweredAt.IsZero() {
			moments = append(moments, x.AnsweredAt.Add(p.AnswerWithin))
		}
		if name == information || name == security {
			schedule := p.Inventory(r.EnrollmentID)
			starts := []time.Time{now}
			if !x.AnsweredAt.IsZero() {
				starts = append(starts, later(schedule.Next(x.AnsweredAt), now))
			}
			for _, next := range starts {
				moments = append(moments, next, inventory.Earliest(schedule, next), inventory.Earliest(schedule, later(next, x.AgainAt)))
			}
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	for _, at := range moments {
		if at.After(now) && len(plan(r, codes, p, true, at)) > 0 {
			return at
		}
	}
	return time.Time{}
}

// deadline is until when a device has to answer a command that is asked now.
func deadline(r *inventory.Record, requestType string, p Policy, now time.Time) time.Time {
	x := r.Exchanges[requestType]
	missed := x.Unanswered
	if x.Silent(now) {
		missed++
	}
	if left := windowLeft(r, now); requestType == bypassCode && left > 0 {
		return now.Add(closer(p.AnswerWithin, left)) // what is not asked in time is gone
	}
	return now.Add(max(p.AnswerWithin, inventory.Backoff(r.EnrollmentID, missed, 2*p.AnswerWithin, week)))
}

// windowLeft is for how long the device is known to give its code still; none if it
// is not known.
func windowLeft(r *inventory.Record, now time.Time) time.Duration {
	if r.AuthenticatedAt.IsZero() {
		return 0
	}
	return max(0, r.AuthenticatedAt.Add(activationlock.CodeWindow).Sub(now))
}

// closer is how long to wait until the code is asked again: usually so long, and
// toward the end of the window half of what is left, as long as a device that is
// awake can answer.
func closer(usually, left time.Duration) time.Duration {
	return min(usually, max(left/2, 30*time.Minute))
}

// mayAsk reports whether no question of that type is on its way, and none was
// answered so lately that it should rest. What is on record from far in the future was
// written by a server whose clock was wrong, and nobody waits for that.
func mayAsk(r *inventory.Record, requestType string, now time.Time) bool {
	x := r.Exchanges[requestType]
	return !now.Before(x.AgainAt) || ahead(x.AskedAt, now) || ahead(x.AnsweredAt, now)
}

// ahead reports whether a time is further in the future than clocks differ that are set
// at all.
func ahead(t, now time.Time) bool { return t.After(now.Add(24 * time.Hour)) }

// notNowAgain is when to ask again what the device could not do: soon at first, and
// then after twice the time each time, for the server sends it again by itself.
func notNowAgain(r *inventory.Record, requestType string, p Policy, now time.Time) time.Time {
	limit := max(p.NotNowAgain, p.AnswerWithin)
	if left := windowLeft(r, now); requestType == bypassCode && left > 0 {
		limit = max(p.NotNowAgain, closer(p.AnswerWithin, left))
	}
	wait := p.NotNowAgain
	for n := r.Exchanges[requestType].NotNows; n > 0 && wait < limit; n-- {
		wait = min(2*wait, limit)
	}
	return now.Add(wait)
}

// aged reports whether facts are missing in this enrollment, or old, and may be asked
// for now: at any time for the first time, and while the device is known to give its
// code, which waits for them; else while the schedule's window is open.
func aged(r *inventory.Record, requestType string, p Policy, now time.Time) bool {
	if !mayAsk(r, requestType, now) {
		return false
	}
	x, schedule := r.Exchanges[requestType], p.Inventory(r.EnrollmentID)
	switch {
	case x.AnsweredAt.IsZero():
		if x.AskedAt.IsZero() || windowLeft(r, now) > 0 {
			return true
		}
	case !ahead(x.AnsweredAt, now):
		if next := schedule.Next(x.AnsweredAt); next.IsZero() || now.Before(next) {
			return false
		}
	}
	return !inventory.Earliest(schedule, now).After(now)
}

// known reports whether a question was answered in this enrollment, if only
// with an error. One past its deadline counts too while the device is known to give
// its code: facts are good to have, but a code must not wait for them until its window
// closes.
func known(r *inventory.Record, requestType string, now time.Time) bool {
	x := r.Exchanges[requestType]
	return !x.AnsweredAt.IsZero() || x.Overdue(now) && windowLeft(r, now) > 0
}

// canHaveCode reports whether the device may make a bypass code. What is not
// known does not speak against it.
func canHaveCode(r *inventory.Record) bool {
	is := func(fact *bool, value bool) bool { return fact != nil && *fact == value }
	f := r.Facts
	return works(codeWorks, f) && !is(f.Supervised, false) && !is(f.SharedIPad, true) &&
		!is(f.LockSupported, false) && !is(f.LockManageable, false)
}

// Where commands work.
var (
	codeWorks    = mdmcmd.ActivationLockBypassCode.Availability()
	optionsWorks = mdmcmd.Settings{}.Availability()
)

// works reports whether a command works on the device's platform and version,
// as far as they are known.
func works(where []mdmcmd.Availability, f inventory.Facts) bool {
	platform := f.Platform()
	if platform == "" {
		return true
	}
	for _, a := range where {
		if a.Platform == platform {
			reached, known := a.Reached(f.OSVersion)
			return reached || !known
		}
	}
	return false
}

// wantsCode reports whether the bypass code should be asked for now: something
// happened since the last answer, there is no code of this enrollment yet, or
// the permission to lock waits for an answer that is not old.
func wantsCode(r *inventory.Record, codes []escrow.Record, p Policy, now time.Time) bool {
	return (r.CodeWanted || !holdsCode(r, codes) || wantsOptions(r, p) && mayAsk(r, options, now) && !answeredLately(r, p, now)) &&
		mayAsk(r, bypassCode, now)
}

// answeredLately reports whether the device answered the question for its code
// a short time ago, if only with "no code": Apple's rule is to keep a code until
// a different one comes. Should an erase have gone unrecorded, because the
// stores were down when the device enrolled again, the answer brings its new
// code before the lock is allowed.
func answeredLately(r *inventory.Record, p Policy, now time.Time) bool {
	x := r.Exchanges[bypassCode]
	return !x.AnsweredAt.IsZero() && now.Sub(x.AnsweredAt) < p.AnswerWithin
}

// holdsCode reports whether escrow has the code that the device gave, on being
// asked, in this enrollment. The record names the code, so no times are compared
// and no clock can be wrong. A mark on the code means an enrollment that could
// not be recorded.
func holdsCode(r *inventory.Record, codes []escrow.Record) bool {
	return slices.ContainsFunc(codes, func(c escrow.Record) bool {
		return c.ID == r.CodeID && c.Kind == bypasscode.Device && c.State == escrow.Current && c.StaleSince.IsZero()
	})
}

// planOptions plans the MDM options; with the permission to lock among them,
// only once the code is in escrow, unless the policy overrides that.
func planOptions(r *inventory.Record, codes []escrow.Record, p Policy, overridden bool, now time.Time) []mdmcmd.Command {
	if !wantsOptions(r, p) || !mayAsk(r, options, now) || !known(r, information, now) {
		return nil
	}
	if allow := p.Options.ActivationLockAllowedWhileSupervised; allow != nil && *allow {
		overrides := p.AllowWithoutCode != escrow.Act{} && canHaveCode(r)
		switch held := holdsCode(r, codes); {
		case held && answeredLately(r, p, now):
		case !held && overrides && overridden:
		case held, overrides: // soon: its code is asked for, or the audit is
			return nil
		default:
			return planOthers(r, p.Options, now)
		}
	}
	return []mdmcmd.Command{mdmcmd.Settings{MDMOptions: p.Options}}
}

// planOthers plans the other options of a set, if there are any, for a device that gives
// no code, or cannot, so that the lock is not allowed to it. One that was not asked for its
// code yet, or was allowed the lock, does not get them by themselves.
func planOthers(r *inventory.Record, set mdmcmd.MDMOptions, now time.Time) []mdmcmd.Command {
	set.ActivationLockAllowedWhileSupervised = nil
	sent, x := r.OptionsSent, r.Exchanges[options]
	allowed := sent.ActivationLockAllowedWhileSupervised
	switch {
	case set.IsZero(), allowed != nil && *allowed, canHaveCode(r) && !known(r, bypassCode, now):
		return nil
	}
	set.ActivationLockAllowedWhileSupervised = new(false)
	if sent.Equal(set) && x.Answer == inventory.Done && x.OverdueAt.IsZero() {
		return nil
	}
	return []mdmcmd.Command{mdmcmd.Settings{MDMOptions: set}}
}

// wantsOptions reports whether the device should get the policy's options: it
// did not take them yet, or says that it has another. That it took others before
// does not mean that it takes these.
func wantsOptions(r *inventory.Record, p Policy) bool {
	if p.Options.IsZero() || !works(optionsWorks, r.Facts) {
		return false
	}
	x := r.Exchanges[options]
	allow, reported := p.Options.ActivationLockAllowedWhileSupervised, r.Facts.LockAllowed
	differs := allow != nil && reported != nil && *allow != *reported &&
		r.Exchanges[information].AnsweredAt.After(x.AnsweredAt)
	return x.Answer != inventory.Done || !x.OverdueAt.IsZero() || !r.OptionsSent.Equal(p.Options) || differs
}

// codeAgain is when to ask a device again of which there is no code, or none
// to rely on, after it answered.
func codeAgain(r *inventory.Record, p Policy, now time.Time) time.Time {
	if left := windowLeft(r, now); left > 0 {
		return now.Add(closer(p.CodeEvery, left))
	}
	return inventoryAfter(r, p, now)
}

// inventoryAfter is when the next inventory is due, or, if there is none, when it
// would be by the default.
func inventoryAfter(r *inventory.Record, p Policy, now time.Time) time.Time {
	if at := p.Inventory(r.EnrollmentID).Next(now); !at.IsZero() {
		return at
	}
	return now.Add(week)
}
