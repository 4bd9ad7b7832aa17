package bypass

import (
	"slices"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

const (
	// MaxAttempts is how many codes of a device an action sends at most. Apple
	// publishes no limit; this one is to stay polite.
	MaxAttempts = 4

	// AnswerWithin is how long a call may take. One that has no answer by then
	// counts as lost, and its code may be sent again, with growing pauses.
	AnswerWithin = 2 * time.Minute

	// GiveUpAfter is how long an action tries, from its first call on. It makes the
	// call that it waits for then, and that is the last one without a clear answer.
	GiveUpAfter = 72 * time.Hour

	// MaxPlan is how many codes a plan lists at most: those that cannot be opened
	// do not count as attempts.
	MaxPlan = 16

	firstPause   = time.Minute
	longestPause = time.Hour
	longestWait  = 24 * time.Hour // whatever Apple says
	longestStep  = longestWait + AnswerWithin
)

// State is where an action stands, in the words that administrators know from
// consoles (Microsoft Graph's actionState).
type State string

const (
	// Pending: nothing was sent yet.
	Pending State = "pending"
	// Active: a code was sent, and it is not over.
	Active State = "active"
	// Done: Apple says that it removed the lock. Whether that is so later
	// evidence tells; see [Action.Aftermath].
	Done State = "done"
	// Failed: see [Action].Reason.
	Failed State = "failed"
	// NotSupported: the device can have no lock that a code opens; see
	// [Action].Unsupported.
	NotSupported State = "notSupported"
	// Canceled: somebody canceled it.
	Canceled State = "canceled"
)

// Over reports whether nothing more will be sent.
func (s State) Over() bool { return s != Pending && s != Active }

// Reason is why an action failed. Its label is the sentence to show.
type Reason string

const (
	// NoCode: escrow holds no code of the device.
	NoCode Reason = "noCode"
	// NoSerialNumber and NoProductType: Apple needs both, and neither the host nor
	// the device's codes say it.
	NoSerialNumber Reason = "noSerialNumber"
	NoProductType  Reason = "noProductType"
	// NotOpened: no code could be opened; the key is missing, or the codes are
	// damaged.
	NotOpened Reason = "notOpened"
	// NotAllowed: the host's rule did not let the code be used.
	NotAllowed Reason = "notAllowed"
	// CodesRefused: Apple does not know the device, or none of its codes opens the
	// lock. Perhaps the lock is off: what Apple answers then is not documented.
	CodesRefused Reason = "codesRefused"
	// NotAllOpened: Apple refused those codes that could be opened, and the right
	// one may be among the others.
	NotAllOpened Reason = "notAllOpened"
	// MaybeUnlocked: no code was accepted, but a call without a clear answer may
	// have removed the lock.
	MaybeUnlocked Reason = "maybeUnlocked"
	// OurFault: Apple could not read our request.
	OurFault Reason = "ourFault"
	// AppleRefused: Apple refused the call, most likely its client certificate. The
	// call tried no code.
	AppleRefused Reason = "appleRefused"
	// NoAnswer: Apple gave no clear answer for [GiveUpAfter]. If an Attempt is Lost,
	// the lock may be removed.
	NoAnswer Reason = "noAnswer"
)

// Action is one bypass of a device's lock, as it is stored. It has no code in
// it. Times are in UTC and zero where nothing happened.
type Action struct {
	ID      string
	BulkIDs []string       // the bulk runs that made it or carried it on
	Subject escrow.Subject // whose codes are tried
	By      escrow.Act     // who started it, and why
	Ended   escrow.Act     // who canceled it, and why; zero if nobody did
	Device  escrow.Device  // what Apple is told of it

	State       State
	Reason      Reason                  // why it failed, else ""
	Unsupported []activationlock.Reason // why it is not supported
	Attempts    []Attempt               // the plan, in its order, and what came of it

	StartedAt time.Time
	NextAt    time.Time // nothing is sent before, zero if there is nothing to wait for
	GiveUpAt  time.Time // see [GiveUpAfter]; zero if nothing was sent
	EndedAt   time.Time
	// Noted: escrow and audit were told what came of it.
	Noted bool
}

// Attempt is one code of a plan, and what came of it.
type Attempt struct {
	RecordID string // of the code
	Kind     bypasscode.Kind
	// Tries is how often it was sent, or may have been.
	Tries      int
	SentAt     time.Time // last
	AnsweredAt time.Time // last; zero or before SentAt while there is no answer
	Outcome    apple.Outcome
	StatusCode int
	Detail     string // what Apple wrote, fit to be shown
	// Lost: a try had no answer, so it may have removed the lock.
	Lost bool
	// NotOpened: the code could not be opened, and was not sent.
	NotOpened bool
}

// settled reports whether the attempt is over without having removed the lock.
func (t *Attempt) settled() bool {
	return t.NotOpened || t.Outcome == apple.NotFound || t.Outcome == apple.Malformed
}

// inFlight reports whether the last try has no answer yet.
func (t *Attempt) inFlight() bool { return t.Tries > 0 && t.AnsweredAt.Before(t.SentAt) }

// Do is what is to be done next.
type Do string

const (
	Nothing Do = ""     // it is over
	Send    Do = "send" // the code of Step.Attempt
	Wait    Do = "wait" // until Step.At
	Note    Do = "note" // tell escrow and audit what came of it
	GiveUp  Do = "give up"
)

// Step is what is to be done next with an action.
type Step struct {
	Do      Do
	Attempt int       // with Send: its place in Action.Attempts
	At      time.Time // with Wait
}

// Next says what is to be done next. It depends on the action and the time only.
func (a *Action) Next(now time.Time) Step {
	if a.State.Over() {
		if a.Noted {
			return Step{}
		}
		return Step{Do: Note}
	}
	at := a.current()
	if at < 0 { // of a store that was meddled with
		return Step{Do: GiveUp}
	}
	t, wait := &a.Attempts[at], a.NextAt
	if t.inFlight() {
		// Another server may be waiting for the answer. One that always ends in the
		// middle of the call does not send it every time.
		wait = t.SentAt.Add(max(AnswerWithin, pause(t.Tries)))
	}
	switch {
	case wait.Sub(now) > longestStep: // a clock was wrong
	case now.Before(wait):
		return Step{Do: Wait, Attempt: at, At: wait}
	case t.inFlight() && !now.Before(a.GiveUpAt):
		return Step{Do: GiveUp}
	}
	return Step{Do: Send, Attempt: at}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// current returns the index of the attempt whose turn it is, negative if there is
// none.
func (a *Action) current() int {
	sent := 0
	for i := range a.Attempts {
		t := &a.Attempts[i]
		if t.Tries > 0 { // also if it could not be opened later
			sent++
		}
		switch {
		case t.settled():
		case t.Tries == 0 && sent >= MaxAttempts:
			return -1
		default:
			return i
		}
	}
	return -1
}

// send notes that the code of an attempt goes out now.
func (a *Action) send(at int, now time.Time) {
	t := &a.Attempts[at]
	if t.inFlight() {
		t.Lost = true
	}
	t.Tries++
	// Later than the answer before also if a clock was set back; see inFlight.
	t.SentAt = later(now, t.AnsweredAt.Add(time.Microsecond))
	a.State, a.NextAt = Active, time.Time{}
	if a.GiveUpAt.IsZero() {
		a.GiveUpAt = now.Add(GiveUpAfter)
	}
}

// withhold notes that a code did not go out after all.
func (a *Action) withhold(at, try int) {
	if t := &a.Attempts[at]; t.Tries == try {
		t.Tries--
		t.SentAt = t.AnsweredAt
		if !slices.ContainsFunc(a.Attempts, func(t Attempt) bool { return t.Tries > 0 }) && a.State == Active {
			a.State, a.GiveUpAt = Pending, time.Time{}
		}
	}
}

// notOpened notes that the code of an attempt cannot be had.
func (a *Action) notOpened(at, try int, now time.Time) {
	if t := &a.Attempts[at]; t.Tries == try {
		if a.withhold(at, try); !a.State.Over() {
			t.NotOpened = true
			a.settle(now)
		}
	}
}

// answered notes Apple's answer to a try. That the lock is removed counts
// whenever it comes, any other answer only to the last try.
func (a *Action) answered(c *Call, answer apple.Answer, now time.Time) {
	t := &a.Attempts[c.attempt]
	removed := answer.Outcome == apple.Done
	if a.State == Done || !removed && (a.State.Over() || t.Tries != c.try || !t.inFlight()) {
		return
	}
	before := t.Outcome
	t.AnsweredAt, t.Outcome, t.StatusCode, t.Detail = later(now, t.SentAt), answer.Outcome, answer.StatusCode, answer.Detail
	switch answer.Outcome {
	case apple.Done:
		a.end(Done, "", now)
	case apple.NotFound:
		a.settle(now)
	case apple.Malformed:
		if c.canonical { // device codes may come in another form, which Apple may not read
			a.end(Failed, OurFault, now)
		} else {
			a.settle(now)
		}
	case apple.Later, apple.NoAnswer, apple.Failed:
		// Failed is a success that Apple does not document: the lock may be off.
		t.Lost = t.Lost || answer.Outcome != apple.Later || answer.StatusCode >= 500
		switch {
		case answer.Outcome == apple.Failed && before == apple.Failed: // once more was enough
			a.end(Failed, MaybeUnlocked, now)
		case !now.Before(a.GiveUpAt):
			a.giveUp(now)
		default:
			wait := min(max(answer.RetryAfter, pause(t.Tries)), longestWait)
			a.NextAt = now.Add(wait.Truncate(time.Microsecond))
		}
	default:
		a.end(Failed, AppleRefused, now)
	}
}

// pause grows from a minute to an hour.
func pause(tries int) time.Duration {
	p := firstPause
	for range tries - 1 {
		if p = 2 * p; p >= longestPause {
			return longestPause
		}
	}
	return p
}

// settle ends the action if there is nothing left to try.
func (a *Action) settle(now time.Time) {
	if a.current() < 0 {
		a.end(Failed, a.why(), now)
	}
}

// why says why an action failed that has nothing left to try.
func (a *Action) why() Reason {
	sent, closed := false, false
	for _, t := range a.Attempts {
		if t.Lost {
			return MaybeUnlocked
		}
		sent, closed = sent || t.Tries > 0, closed || t.NotOpened
	}
	switch {
	case sent && closed:
		return NotAllOpened
	case sent:
		return CodesRefused
	case len(a.Attempts) > 0:
		return NotOpened
	}
	return NoCode
}

func (a *Action) giveUp(now time.Time) {
	for i := range a.Attempts {
		if t := &a.Attempts[i]; t.inFlight() {
			t.Lost = true
		}
	}
	reason := NoAnswer
	if a.current() < 0 {
		reason = a.why()
	}
	a.end(Failed, reason, now)
}

func (a *Action) end(s State, r Reason, now time.Time) {
	a.State, a.Reason, a.EndedAt, a.NextAt, a.Noted = s, r, now, time.Time{}, false
}

// Opened returns the attempt whose code removed the lock, nil if none did.
func (a *Action) Opened() *Attempt {
	for i := range a.Attempts {
		if a.Attempts[i].Outcome == apple.Done {
			return &a.Attempts[i]
		}
	}
	return nil
}

// MaybeUnlocked reports whether a call of an action that is over without success
// had no clear answer, so that it may have removed the lock, whatever came after.
func (a *Action) MaybeUnlocked() bool {
	return a.State.Over() && a.Opened() == nil && slices.ContainsFunc(a.Attempts, func(t Attempt) bool { return t.Lost || t.inFlight() })
}

// Evidence is what the action says of the lock; ok is false if it says nothing.
func (a *Action) Evidence() (e activationlock.Evidence, ok bool) {
	if t := a.Opened(); t != nil {
		return activationlock.OfUnlock(apple.Answer{Outcome: t.Outcome}, t.AnsweredAt)
	}
	return activationlock.Evidence{}, false
}

// Clone returns a copy that shares nothing that can change.
func (a *Action) Clone() Action {
	c := *a
	c.Attempts, c.Unsupported, c.BulkIDs = slices.Clone(a.Attempts), slices.Clone(a.Unsupported), slices.Clone(a.BulkIDs)
	return c
}
