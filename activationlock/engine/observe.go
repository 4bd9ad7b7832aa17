package engine

import (
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// latest is how late a report comes at most that was made before a CheckOut.
const latest = 24 * time.Hour

// observe notes in the record what a report says, and reports whether it
// answers a command of ours. CodeID is the escrow record of the report's code,
// "" if it has none or none to rely on. Observe depends on its arguments only.
func observe(r *inventory.Record, report *mdmcmd.Report, codeID string, p Policy, now time.Time) (ours bool) {
	switch {
	case r.TokenAt.IsZero() && r.CheckedOutAt.IsZero():
		// It reports, so it is enrolled: since before we were there, or its
		// TokenUpdate could not be recorded or came before an Authenticate that
		// came twice. It may never send another.
		r.TokenAt = now
	case !r.CheckedOutAt.IsZero() && now.Sub(r.CheckedOutAt).Abs() >= latest:
		// It enrolled again, and that could not be recorded; or a clock was wrong. When
		// it did nobody knows, so its 15 days count from the first moment possible.
		begin(r, earliest(r.CheckedOutAt, now))
		r.TokenAt = now
	}
	if q := report.QueryResponses; q != nil {
		learn(r, q, p, now)
	}
	if s := report.SecurityInfo; s != nil && s.ManagementStatus != nil {
		set(&r.Facts.LockManageable, s.ManagementStatus.IsActivationLockManageable)
	}
	for name, x := range r.Exchanges {
		if !x.Asked(report.CommandUUID) || askedOfApple(name) {
			continue
		}
		switch {
		case report.Status == mdmcmd.NotNow:
			// Not run and not kept. It is no answer: the question stays open.
			x = x.Later(notNowAgain(r, name, p, now))
		case name == options && report.CommandUUID != x.UUIDs[len(x.UUIDs)-1]:
			// An answer to options that are no longer the ones wanted.
		default:
			answer, again := answerOf(r, name, report, codeID != "", p, now)
			x = answeredBy(x, report.CommandUUID, answer, now, again)
			if answer == inventory.Refused {
				x.Error = errorOf(name, report)
			}
			if name == bypassCode && codeID != "" {
				r.CodeWanted, r.CodeID = false, codeID
			}
			if name == options && answer == inventory.Done {
				took(r, now)
			}
		}
		r.Exchanges[name] = x
		return true
	}
	return false
}

// answeredBy notes the answer to a command that was asked.
func answeredBy(x inventory.Exchange, uuid string, answer inventory.Answer, now, again time.Time) inventory.Exchange {
	earlier := slices.Index(x.UUIDs, uuid)
	x = x.Answered(uuid, answer, now, again)
	// What was asked earlier is answered too: should its answer come yet, it may be older
	// than this one.
	x.UUIDs = x.UUIDs[earlier:]
	return x
}

// answerOf says what a report answers to a command, and until when to let the
// question rest even if there is need; relied means that it has a code that can
// be relied on. Without a rest, a device whose answer
// does not satisfy the plan would be asked again with every answer.
func answerOf(r *inventory.Record, name string, report *mdmcmd.Report, relied bool, p Policy, now time.Time) (inventory.Answer, time.Time) {
	status := report.Status
	switch name {
	case bypassCode:
		again := codeAgain(r, p, now)
		switch _, result := report.BypassCodeAnswer(); result {
		case mdmcmd.BypassCodeHeld:
			if relied {
				again = now.Add(p.NotNowAgain)
			}
			return inventory.WithCode, again
		case mdmcmd.BypassCodeError:
			return inventory.Refused, again
		}
		return inventory.NoCode, again
	case options:
		status = report.SettingsStatus()
	}
	if status == mdmcmd.Acknowledged {
		return inventory.Done, now.Add(p.NotNowAgain)
	}
	return inventory.Refused, inventoryAfter(r, p, now)
}

// took notes that the device took the options that it was sent last.
func took(r *inventory.Record, now time.Time) {
	allowed := r.OptionsSent.ActivationLockAllowedWhileSupervised
	if allowed == nil {
		return
	}
	if r.CodeID != "" {
		// It was in escrow before the permission was planned, whatever the clocks of two
		// servers say.
		now = later(now, r.Exchanges[bypassCode].AnsweredAt)
	}
	allows(r, *allowed, now)
}

// allows notes whether the device says that the lock is allowed.
func allows(r *inventory.Record, allowed bool, now time.Time) {
	r.Facts.LockAllowed = &allowed
	if !allowed {
		r.AllowedSince = time.Time{}
	} else if r.AllowedSince.IsZero() {
		r.AllowedSince = now
	}
}

// errorOf says what the error in an answer means.
func errorOf(name string, report *mdmcmd.Report) mdmcmd.ErrorClass {
	if class := report.ErrorChain.Class(); class != mdmcmd.ErrorNone || name != options {
		return class
	}
	for _, item := range report.Settings { // the report can be acknowledged and an item not
		if class := item.ErrorChain.Class(); class != mdmcmd.ErrorNone {
			return class
		}
	}
	return mdmcmd.ErrorUnknown
}

// wantCode notes that something happened after which the device may have made
// another code.
func wantCode(r *inventory.Record, cause escrow.Cause, p Policy) {
	x, asked := r.Exchanges[bypassCode]
	var again time.Time // the question need not rest
	if asked && r.CodeCause == cause {
		again = x.AskedAt.Add(p.NotNowAgain) // but a device can turn things on and off in a circle
	}
	if !r.CodeWanted || asked { // else the first reason holds
		r.CodeWanted, r.CodeCause = true, cause
	}
	if asked {
		// An answer that is on its way may be from before. Its code is kept, but
		// answers nothing.
		x.UUIDs = nil
		if again.Before(x.AgainAt) {
			x.AgainAt = again
		}
		r.Exchanges[bypassCode] = x
	}
}

// learn takes in the facts of an answer. What it does not name stays as it was.
func learn(r *inventory.Record, q *mdmcmd.QueryResponses, p Policy, now time.Time) {
	f := &r.Facts
	setSerial(f, q.SerialNumber)
	setText(&f.UDID, q.UDID)
	setText(&f.DeviceName, q.DeviceName)
	setText(&f.ProductName, q.ProductName)
	setText(&f.ModelName, q.ModelName)
	setText(&f.OSVersion, q.OSVersion)
	setText(&f.BuildVersion, q.BuildVersion)
	cellular := q.Cellular()
	setText(&f.Cellular.IMEI, cellular.IMEI)
	setText(&f.Cellular.IMEI2, cellular.IMEI2)
	setText(&f.Cellular.MEID, cellular.MEID)
	set(&f.Supervised, q.IsSupervised)
	set(&f.SharedIPad, q.IsMultiUser)
	set(&f.AwaitingConfiguration, q.AwaitingConfiguration)
	set(&f.LockSupported, q.IsActivationLockSupported)
	set(&f.LostMode, q.IsMDMLostModeEnabled)
	if lost := q.IsMDMLostModeEnabled; lost != nil {
		r.AddEvidence(activationlock.Evidence{State: state(*lost), Source: activationlock.SourceLostMode, At: now})
	}
	if q.MDMOptions != nil {
		if allowed := q.MDMOptions.ActivationLockAllowedWhileSupervised; allowed != nil {
			allows(r, *allowed, now)
		}
		if sent := r.OptionsSent.ActivationLockAllowedWhileSupervised; f.LockAllowed != nil && sent != nil && *sent && !*f.LockAllowed &&
			r.Exchanges[options].Answer == inventory.Done {
			// It was allowed and is not any more, as after an erase: what the device
			// said of its code is old.
			x := r.Exchanges[bypassCode]
			x.AnsweredAt = time.Time{}
			r.Exchanges[bypassCode] = x
		}
	}

	// When Find My or the lock comes on, the device may have made another code.
	cameOn := turnedOn(f.FindMy, q.IsDeviceLocatorServiceEnabled)
	if set(&f.FindMy, q.IsDeviceLocatorServiceEnabled); f.FindMy != nil {
		r.FindMyWasOn = false // what it says now counts
	}
	if lock := q.IsActivationLockEnabled; lock != nil {
		// Apple may have said so first, or the word that it was off was not believed: to
		// the device it came on all the same.
		was := activationlock.On
		for _, e := range r.Evidence {
			if e.Source == activationlock.SourceDevice {
				was = e.State
			}
		}
		cameOn = cameOn || *lock && (was != activationlock.On || lockOf(r).State != activationlock.On)
		r.AddEvidence(activationlock.Evidence{State: state(*lock), Source: activationlock.SourceDevice, At: now})
	}
	if cameOn {
		wantCode(r, escrow.CauseLockOn, p)
	}
}

func state(on bool) activationlock.State {
	if on {
		return activationlock.On
	}
	return activationlock.Off
}

func turnedOn(before, now *bool) bool {
	return now != nil && *now && (before == nil || !*before)
}

func set(fact *(*bool), reported *bool) {
	if reported != nil {
		*fact = new(*reported)
	}
}

// setSerial keeps to the first serial number: hardware does not change its own,
// and codes are filed by it.
func setSerial(f *inventory.Facts, reported string) {
	if f.SerialNumber == "" {
		setText(&f.SerialNumber, reported)
	}
}

// setText sets a fact, unless it is missing or no store could keep it.
func setText(fact *string, reported string) {
	if escrow.ValidIdentifier(reported) {
		*fact = reported
	}
}
