package escrow

import (
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// captured reports whether a capture can have the cause.
func (c Cause) captured() bool {
	switch c {
	case CauseEnrollment, CauseLockOn, CauseSchedule, CauseUnasked:
		return true
	}
	return c.told()
}

// told reports whether it was not the device that gave the code.
func (c Cause) told() bool { return c == CauseImport || c == CauseManual }

// given reports whether the device gave the code on being asked, and is what it
// says it is.
func (c Capture) given() bool { return !c.Disputed && !c.Cause.told() && c.Cause != CauseUnasked }

// doubtful reports whether the code may be another device's.
func (c Capture) doubtful() bool { return c.Disputed || c.Cause == CauseUnasked }

// states are all of this version, in the order of their worth.
var states = [...]State{Current, MaybeActive, Worked, Superseded, Disputed, Void, Purged}

// seen returns when the code was seen with its device, as far as is known: an
// import of old codes must not make them the newest ones.
func (c Capture) seen() time.Time {
	if c.Cause.told() {
		return c.FirstSeen
	}
	return c.ReceivedAt
}

// rank orders codes by their worth; a state of a later version comes last.
func (s State) rank() int {
	if at := slices.Index(states[:], s); at >= 0 {
		return at
	}
	return len(states)
}

// behind reports whether a current code counts for less than another current one
// of its kind and subject, as a merge of two servers can leave them: what the
// device gave counts for more than what was told, and then what was seen later.
func (r Record) behind(other Record) bool {
	if r.State != Current || other.State != Current || r.Kind != other.Kind || r.Subject != other.Subject {
		return false
	}
	if r.Cause.told() != other.Cause.told() {
		return r.Cause.told()
	}
	return r.LastSeen.Before(other.LastSeen)
}

// same reports whether two entries are known to hold the same code.
func (e Entry) same(other Entry) bool {
	return e.Kind == other.Kind && e.Digest != "" && e.Digest == other.Digest
}

// answers reports whether an entry came in answer to the same command. A device
// that got no answer to its report sends the same one again.
func (e Entry) answers(c Capture) bool {
	return c.CommandUUID != "" && e.CommandUUID == c.CommandUUID && e.EnrollmentID == c.EnrollmentID
}

// capture applies a code to the entries of its subject. Fresh is its entry
// should it be new.
func capture(entries []Entry, c Capture, fresh Entry) (after []Entry, kept Record, err error) {
	after = slices.Clone(entries)
	at := -1
	for i, e := range after { // a joined enrollment may have given the same code
		if e.State != Purged && e.same(fresh) && (at < 0 || e.answers(c) && !after[at].answers(c)) {
			at = i
		}
	}
	if at >= 0 && after[at].answers(c) && (after[at].State != Disputed || !c.given()) {
		return entries, after[at].Record, nil
	}
	if at < 0 {
		if filled(after, c) >= Quota {
			return nil, Record{}, ErrQuota
		}
		switch {
		case c.doubtful():
			fresh.State = Disputed
		case c.Cause.told() && outranked(after, fresh), fresh.Digest == "" && sentAgain(after, c):
			fresh.State = Superseded // what the device gave, or gave last, counts for more
		}
		at, after = len(after), append(after, fresh)
	} else {
		after[at].again(c)
	}
	if after[at].State == Current && (c.given() || after[at].ID == fresh.ID) {
		supersede(after, c.Kind, after[at].ID)
	}
	if c.given() && after[at].State == Current {
		for i := range after { // the device lives
			after[i].DeletedAt = time.Time{}
		}
	}
	return after, after[at].Record, nil
}

// sentAgain reports whether a text that does not parse may be one of the entries,
// sent again. Nobody can compare it, so it is kept each time that it comes, but
// an old report that comes late must not count for more than newer ones.
func sentAgain(entries []Entry, c Capture) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Kind == c.Kind && e.Digest == "" && e.State != Purged && e.State != Disputed && e.answers(c)
	})
}

// outranked reports whether a told code stands behind a current one: of the
// device, or told and seen later.
func outranked(entries []Entry, told Entry) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Kind == told.Kind && e.State == Current && (!e.Cause.told() || !told.LastSeen.After(e.LastSeen))
	})
}

// again notes that a code came again.
func (r *Record) again(c Capture) {
	if r.LastSeen.Before(c.seen()) {
		r.LastSeen = c.seen()
	}
	if c.doubtful() {
		return
	}
	// Only the device replaces what is known of it. Serial number and UDID are
	// sealed with the code.
	set := fill
	if c.given() {
		set = replace
	}
	d := &r.Device
	fill(&d.SerialNumber, c.Device.SerialNumber)
	fill(&d.UDID, c.Device.UDID)
	set(&d.ProductType, c.Device.ProductType)
	set(&d.IMEI, c.Device.IMEI)
	set(&d.IMEI2, c.Device.IMEI2)
	set(&d.MEID, c.Device.MEID)
	if !c.given() {
		return
	}
	r.enter(Current, time.Time{}, "")
	if !r.StaleSince.After(c.ReceivedAt) { // else it came before what the mark is about
		r.StaleSince, r.StaleReason = time.Time{}, ""
	}
	r.Cause, r.EnrollmentID, r.CommandUUID, r.AskedAt, r.ReceivedAt = c.Cause, c.EnrollmentID, c.CommandUUID, c.AskedAt, c.ReceivedAt
}

func fill(s *string, with string) {
	if *s == "" {
		*s = with
	}
}

func replace(s *string, with string) {
	if with != "" {
		*s = with
	}
}

// filled counts the records that count against the same quota. Void ones do
// not: a lock that Apple refuses every night must not end the next one.
func filled(entries []Entry, c Capture) (n int) {
	for _, e := range entries {
		if e.Kind == c.Kind && e.State != Purged && e.State != Void && e.EnrollmentID == c.EnrollmentID && (e.State == Disputed) == c.doubtful() {
			n++
		}
	}
	return n
}

// supersede makes the current code of a kind, except one, a superseded one.
func supersede(entries []Entry, kind bypasscode.Kind, except string) {
	for i := range entries {
		if e := &entries[i]; e.Kind == kind && e.State == Current && e.ID != except {
			e.enter(Superseded, time.Time{}, "")
		}
	}
}

// enter changes the state, and with it since when and why.
func (r *Record) enter(state State, since time.Time, reason string) {
	r.State, r.StateSince, r.StateReason = state, since, reason
}

// changes returns the entries that are new or whose record changed.
func changes(before, after []Entry) (changed []Entry) {
	for i, e := range after {
		if i >= len(before) || e.Record != before[i].Record {
			changed = append(changed, e)
		}
	}
	return changed
}
