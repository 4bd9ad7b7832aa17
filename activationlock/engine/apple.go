package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Service is one of Apple's services.
type Service string

// The services. The values are also the keys of Record.Exchanges, beside request
// types.
const (
	UnlockService Service = "apple unlock"
	LockService   Service = inventory.LockCall
	StatusService Service = "apple status"
)

func askedOfApple(name string) bool {
	switch Service(name) {
	case UnlockService, LockService, StatusService:
		return true
	}
	return false
}

// Request is a call to Apple for the host to make: with its push certificate
// (UnlockService), with a session (LockService) or with an access token
// (StatusService). Send it once and at once, follow no redirects, and give what came
// of it to [Engine.HandleAnswer]. A request to the unlock service has a code in its
// body, so keep no dump of it.
type Request struct {
	Service      Service
	EnrollmentID string // whose record it belongs to; "" if there is none
	SerialNumber string
	HTTP         *http.Request

	uuid   string
	code   escrow.Record // LockService: the code before this call
	unlock *bypass.Call
}

// ask is something that is to be asked of Apple, and on record as asked.
type ask struct{ name, uuid string }

const (
	// answerWithin is how long a call to Apple may take, at most.
	answerWithin = 10 * time.Minute
	appleTimeout = 30 * time.Second
	// firstPause and longestPause are how long a service is left alone after calls in
	// vain. A bypass that fails rests a little longer (see [bypass.Action.Next]), and
	// so does a question (see putOff): if only one device's calls fail, another one's
	// comes first.
	firstPause   = 45 * time.Second
	longestPause = 45 * time.Minute
	// unknownAgain is when to ask again about a device that the organization does
	// not have.
	unknownAgain = 30 * 24 * time.Hour
)

// planApple decides what to ask Apple now. It depends on its arguments only.
func (s *step) planApple(r *inventory.Record, now time.Time) (asks []string) {
	if r.BypassID != "" && s.bypasses && s.mayAsk(r, UnlockService, now) {
		asks = append(asks, string(UnlockService))
	}
	if r.Channel == mdmcmd.UserChannel || r.UserEnrollment || r.Facts.SerialNumber == "" {
		return asks
	}
	if s.wantsLock(r, now) && s.mayAsk(r, LockService, now) {
		asks = append(asks, string(LockService))
	}
	if at := s.statusDueAt(r, now); !at.IsZero() && !now.Before(at) && s.mayAsk(r, StatusService, now) {
		asks = append(asks, string(StatusService))
	}
	return asks
}

// mayAsk reports whether Apple was not asked so lately that it should rest, and
// the service is not left alone.
func (s *step) mayAsk(r *inventory.Record, service Service, now time.Time) bool {
	return mayAsk(r, string(service), now) && !now.Before(s.pauses[service])
}

// appleDueAt returns when there is something to ask Apple next, if nothing
// happens; zero if never, or now.
func (s *step) appleDueAt(r *inventory.Record) (first time.Time) {
	moments := []time.Time{s.statusDueAt(r, s.now), r.Exchanges[information].OverdueAt}
	for _, service := range []Service{UnlockService, LockService, StatusService} {
		moments = append(moments, r.Exchanges[string(service)].AgainAt, s.pauses[service])
	}
	for _, at := range moments {
		if at.After(s.now) && len(s.planApple(r, at)) > 0 {
			first = earliest(first, at)
		}
	}
	return first
}

// wantsLock reports whether the device should be locked for the organization:
// somebody ordered it, or the policy does, once in an enrollment.
func (s *step) wantsLock(r *inventory.Record, now time.Time) bool {
	if !r.LockOrder.At.IsZero() {
		return true
	}
	x, lock := r.Exchanges[string(LockService)], lockOf(r)
	return s.policy.LockForOrganization && r.Live() && !r.Disputed && known(r, information, now) && r.Facts.Platform() == mdmcmd.IOS &&
		r.Device().Can(activationlock.LockForOrganization).Verdict != activationlock.No && lock.State != activationlock.On &&
		(x.AnsweredAt.IsZero() || x.Answer == inventory.Refused || x.AnsweredAt.Before(r.AuthenticatedAt)) &&
		!unlockedAt(r).After(r.AuthenticatedAt)
}

// unlockedAt returns when the lock was removed last by a call, zero if never.
func unlockedAt(r *inventory.Record) (at time.Time) {
	for _, e := range r.Evidence {
		if e.Source == activationlock.SourceUnlockCall && e.State == activationlock.Off && e.At.After(at) {
			at = e.At
		}
	}
	return at
}

// statusDueAt returns when Apple's status of the lock is to be asked, zero if
// never. The lock of a watch is its phone's. Of a device that left it is asked as long as a lock is watched.
func (s *step) statusDueAt(r *inventory.Record, now time.Time) time.Time {
	left := r.CheckedOutAt
	switch {
	case !s.api, r.Facts.Platform() == mdmcmd.WatchOS, r.TokenAt.IsZero() && left.IsZero(), r.Device().HasLock() == activationlock.Off:
		return time.Time{}
	case !left.IsZero() && now.Sub(left) > activationlock.WatchFor:
		return time.Time{}
	}
	answered := r.Exchanges[string(StatusService)].AnsweredAt
	if answered.IsZero() {
		return earliest(r.TokenAt, left)
	}
	due := s.policy.LockStatus(r.EnrollmentID).Next(answered)
	// After an unlock only this tells whether the lock stays off.
	if removed := unlockedAt(r); !removed.IsZero() && now.Sub(removed) < activationlock.WatchFor {
		switch activationlock.AfterUnlock(removed, r.Evidence) {
		case activationlock.Unverified, activationlock.MaybeRelocked:
			due = earliest(due, later(answered, removed).Add(activationlock.AppleLag))
		}
	}
	return due
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ask notes that Apple is asked. A lock call before, of which no answer came, may
// have locked the device.
func (s *step) ask(r *inventory.Record, a ask) {
	exchange(r, a.name, func(x inventory.Exchange) inventory.Exchange {
		if a.name == string(LockService) && x.Open() {
			r.AddEvidence(activationlock.Evidence{State: activationlock.StateUnknown, Source: activationlock.SourceLockCall, At: x.AskedAt})
		}
		wait := max(answerWithin, inventory.Backoff(r.EnrollmentID, x.Unanswered, answerWithin, 24*time.Hour))
		return x.Ask(a.uuid, s.now, s.now.Add(wait))
	})
}

// requests makes the requests for what is to be asked. What cannot be made is an
// event, and asked again after its deadline.
func (e *Engine) requests(ctx context.Context, r *inventory.Record, p Policy, asks []ask) (list []Request) {
	for _, a := range asks {
		request, err := e.request(ctx, r, p, a)
		if err != nil {
			e.emit(ctx, AppleFailed, r.EnrollmentID, r.Facts.SerialNumber, err)
			e.update(ctx, r, func(r *inventory.Record) { // that no call is under way
				exchange(r, a.name, func(x inventory.Exchange) inventory.Exchange { return without(x, a.uuid) })
			})
		} else if request.HTTP != nil {
			e.pauses.asked(request.Service, e.now())
			list = append(list, request)
		}
	}
	return list
}

func (e *Engine) request(ctx context.Context, r *inventory.Record, p Policy, a ask) (request Request, err error) {
	serial := r.Facts.SerialNumber
	request = Request{Service: Service(a.name), EnrollmentID: r.EnrollmentID, SerialNumber: serial, uuid: a.uuid}
	switch request.Service {
	case StatusService:
		request.HTTP, err = apple.StatusRequest(e.config.StatusAPI, serial)
	case LockService:
		request.code, request.HTTP, err = e.lockRequest(ctx, r, p)
	case UnlockService:
		var action bypass.Action
		if e.config.Doer != nil {
			action, err = e.bypasses.Run(ctx, r.BypassID, unlocker{e})
		} else if request.unlock, action, err = e.bypasses.Next(ctx, r.BypassID); request.unlock != nil {
			request.HTTP = request.unlock.Request
			break
		}
		if action.ID != "" || errors.Is(err, bypass.ErrNotFound) {
			err = errors.Join(err, e.noteBypass(ctx, r.EnrollmentID, r.BypassID, action))
		}
	}
	return request, err
}

// lockRequest has the code in escrow, and marked as perhaps active, before there
// is a request that could be sent.
func (e *Engine) lockRequest(ctx context.Context, r *inventory.Record, p Policy) (escrow.Record, *http.Request, error) {
	now, f := e.now(), r.Facts
	code, err := e.config.Escrow.LockCode(ctx, escrow.Lock{SerialNumber: f.SerialNumber, At: now, Device: deviceOf(r)})
	if err != nil {
		return code, nil, err
	}
	if _, err := e.config.Escrow.Mark(ctx, code.Subject, code.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "a lock call is under way", At: now}); err != nil {
		return code, nil, err
	}
	message := p.LostMessage
	if !r.LockOrder.At.IsZero() {
		message = r.LockOrder.Message
	}
	request, err := apple.LockRequest(apple.Lock{SerialNumber: f.SerialNumber, Hash: code.Hash, LostMessage: message})
	return code, request, err
}

// deviceOf is the identity of a device, as far as its record knows it.
func deviceOf(r *inventory.Record) escrow.Device {
	f := r.Facts
	return escrow.Device{
		SerialNumber: f.SerialNumber, UDID: f.UDID, ProductType: f.ProductName,
		IMEI: f.Cellular.IMEI, IMEI2: f.Cellular.IMEI2, MEID: f.Cellular.MEID,
	}
}

// HandleAnswer takes in what an HTTP client returned for a request, its error
// included, so that it can take the two results of Do directly; it closes the body.
// An error means that the answer could not be kept: nothing is lost, since Apple is
// asked again.
func (e *Engine) HandleAnswer(ctx context.Context, request Request, resp *http.Response, err error) error {
	switch service := request.Service; {
	case service == StatusService && request.uuid != "":
		return e.statusAnswered(ctx, request, apple.ReadStatus(resp, err))
	case service == LockService && request.uuid != "":
		return e.lockAnswered(ctx, request, apple.ReadLock(resp, err))
	case service == UnlockService && request.unlock != nil && e.bypasses != nil:
		answer := apple.ReadUnlock(resp, err)
		e.heard(service, answer)
		action, err := e.bypasses.Answer(ctx, request.unlock, answer)
		if err != nil {
			return fmt.Errorf("engine: handle answer: %w", err)
		}
		return e.noteBypass(ctx, request.EnrollmentID, action.ID, action)
	}
	if resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	return errors.New("engine: handle answer: not a request of an engine")
}

// heard minds what an answer says of its service, whatever else it says.
func (e *Engine) heard(s Service, answer apple.Answer) {
	e.counted(AppleCalls, strings.TrimPrefix(string(s), "apple ")+": "+string(answer.Outcome), 1)
	e.pauses.heard(s, answer, e.now())
}

// unlocker sends the calls of a bypass, and has the engine know of their answers.
type unlocker struct{ e *Engine }

func (u unlocker) Do(r *http.Request) (*http.Response, error) {
	defer u.e.took(StepApple)()
	u.e.pauses.asked(UnlockService, u.e.now())
	resp, err := u.e.config.Doer.Do(r)
	head := resp
	if resp != nil {
		head = new(*resp)
		head.Body = nil // it is the bypass's to read
	}
	u.e.heard(UnlockService, apple.ReadUnlock(head, err))
	return resp, err
}

func (e *Engine) statusAnswered(ctx context.Context, request Request, answer apple.StatusAnswer) error {
	now := e.now()
	e.heard(StatusService, answer.Answer)
	evidence, says := activationlock.OfStatus(request.SerialNumber, answer, now)
	if answer.Outcome == apple.Done && !says {
		answer.Outcome = apple.Failed // it names another device
	}
	return e.answered(ctx, request, answer.Answer, func(r *inventory.Record, p Policy, x inventory.Exchange) inventory.Exchange {
		if !x.Asked(request.uuid) {
			return x // it was answered: this comes twice, and nobody knows how old it is
		}
		if says {
			r.AddEvidence(evidence)
		}
		switch answer.Outcome {
		case apple.Done:
			return x.Answered(request.uuid, inventory.Done, now, now.Add(time.Hour))
		case apple.NotFound:
			return x.Answered(request.uuid, inventory.Refused, now, now.Add(unknownAgain))
		case apple.Malformed, apple.Refused:
			return x.Answered(request.uuid, inventory.Refused, now, now.Add(24*time.Hour))
		}
		return e.putOff(request, answer.Answer, x, now)
	})
}

func (e *Engine) lockAnswered(ctx context.Context, request Request, answer apple.LockAnswer) error {
	now := e.now()
	e.heard(LockService, answer.Answer)
	// The code first: what it opens must not be forgotten. One that will be sent again
	// is not void, or each new try would make another one.
	again := answer.Outcome == apple.TermsNotSigned || answer.Outcome == apple.SessionOver || answer.Outcome == apple.Later
	if v, ok := activationlock.OfCode(request.code, answer, now); ok && (v.State != escrow.Void || !again && e.onlyCall(ctx, request)) {
		if _, err := e.config.Escrow.Mark(ctx, request.code.Subject, request.code.ID, v); err != nil {
			e.emit(ctx, EscrowFailed, request.EnrollmentID, request.SerialNumber, err)
			return fmt.Errorf("engine: handle answer: %w", err)
		}
	}
	evidence, says := activationlock.OfLock(request.SerialNumber, answer, now)
	locked := answer.Outcome == apple.Done || answer.Outcome == apple.AlreadyLocked
	if locked && evidence.State != activationlock.On {
		answer.Outcome = apple.Failed // it names another device
	}
	event := EventType("")
	err := e.answered(ctx, request, answer.Answer, func(r *inventory.Record, p Policy, x inventory.Exchange) inventory.Exchange {
		if event = ""; !x.Asked(request.uuid) {
			return x // it was answered, and there may be another order since
		}
		if says {
			r.AddEvidence(evidence)
		}
		switch answer.Outcome {
		case apple.Done:
			r.LockOrder, event = inventory.LockOrder{}, Locked
			return x.Answered(request.uuid, inventory.Done, now, now.Add(time.Hour))
		case apple.AlreadyLocked, apple.NotPossible, apple.Malformed, apple.Refused:
			r.LockOrder, event = inventory.LockOrder{}, LockRefused
			return x.Answered(request.uuid, inventory.Refused, now, inventoryAfter(r, p, now))
		case apple.TermsNotSigned:
			x = e.putOff(request, answer.Answer, x, now)
			return x.Later(now.Add(24 * time.Hour))
		}
		return e.putOff(request, answer.Answer, x, now)
	})
	if err == nil && event == LockRefused {
		e.emit(ctx, event, request.EnrollmentID, request.SerialNumber, outcomeError(answer.Outcome))
	} else if err == nil && event != "" {
		e.emit(ctx, event, request.EnrollmentID, request.SerialNumber, nil)
	}
	return err
}

// onlyCall reports whether no other call with the same code is under way, which may
// lock the device with it, whatever came of this one.
func (e *Engine) onlyCall(ctx context.Context, request Request) bool {
	r, err := e.config.Inventory.Get(ctx, request.EnrollmentID)
	return err == nil && slices.Equal(r.Exchanges[string(request.Service)].UUIDs, []string{request.uuid})
}

// putOff leaves a question open, and says when to ask again. Its call is over: what
// that may have done is in the evidence.
func (e *Engine) putOff(request Request, answer apple.Answer, x inventory.Exchange, now time.Time) inventory.Exchange {
	wait := max(answer.RetryAfter, inventory.Backoff(request.EnrollmentID, x.Unanswered+1, answerWithin, 24*time.Hour))
	x = without(x, request.uuid)
	x.AgainAt = now.Add(wait).Truncate(time.Microsecond)
	return x
}

// without takes a call that is not under way out of an exchange.
func without(x inventory.Exchange, uuid string) inventory.Exchange {
	x.UUIDs = slices.DeleteFunc(slices.Clone(x.UUIDs), func(asked string) bool { return asked == uuid })
	return x
}

// answered has an answer on record, and what follows from it.
func (e *Engine) answered(ctx context.Context, request Request, answer apple.Answer, change func(*inventory.Record, Policy, inventory.Exchange) inventory.Exchange) error {
	now := e.now()
	switch answer.Outcome {
	case apple.Later, apple.NoAnswer, apple.Failed, apple.SessionOver, apple.TermsNotSigned, apple.Refused, apple.Malformed:
		e.emit(ctx, AppleFailed, request.EnrollmentID, request.SerialNumber, outcomeError(answer.Outcome))
	}
	before, err := e.config.Inventory.Get(ctx, request.EnrollmentID)
	if err == nil {
		policy, _ := e.policyFor(&before)
		out, ok := e.reconcile(ctx, before, func(r *inventory.Record) {
			exchange(r, string(request.Service), func(x inventory.Exchange) inventory.Exchange { return change(r, policy, x) })
		}, policy, toNobody, now)
		if ok || out.changed {
			return nil
		}
		err = errNotRecorded
	} else {
		e.emit(ctx, RecordFailed, request.EnrollmentID, request.SerialNumber, err)
	}
	return fmt.Errorf("engine: handle answer: %w", err)
}

var errNotRecorded = errors.New("the record could not be written")

// outcomeError says what came of a call, without what Apple wrote.
type outcomeError apple.Outcome

func (o outcomeError) Error() string { return "engine: Apple: " + string(o) }

// noteBypass has what an action says of the lock on the device's record, and when
// the action is to be looked at again.
func (e *Engine) noteBypass(ctx context.Context, enrollmentID, actionID string, a bypass.Action) error {
	now := e.now()
	evidence, says := a.Evidence()
	over := a.ID == "" || a.State.Over() && a.Noted
	tell := func() {
		switch {
		case a.ID == "" || !over:
		case says:
			e.emit(ctx, Unlocked, enrollmentID, a.Device.SerialNumber, nil)
		default:
			e.emit(ctx, BypassEnded, enrollmentID, a.Device.SerialNumber, bypassError{a.State, a.Reason})
		}
	}
	if enrollmentID == "" {
		tell()
		return nil
	}
	ended := false
	before, err := e.config.Inventory.Get(ctx, enrollmentID)
	if err != nil {
		e.emit(ctx, RecordFailed, enrollmentID, a.Device.SerialNumber, err)
		return fmt.Errorf("engine: bypass: %w", err)
	}
	policy, _ := e.policyFor(&before)
	out, ok := e.reconcile(ctx, before, func(r *inventory.Record) {
		if says {
			r.AddEvidence(evidence)
		}
		if ended = over && r.BypassID == actionID; ended {
			r.BypassID = ""
		}
		exchange(r, string(UnlockService), func(x inventory.Exchange) inventory.Exchange {
			return inventory.Exchange{AgainAt: later(a.NextAt, now)}
		})
	}, policy, toNobody, now)
	if !ok && !out.changed {
		return fmt.Errorf("engine: bypass: %w", errNotRecorded)
	}
	if ended {
		tell()
	}
	return nil
}

// bypassError says why a bypass did not remove the lock.
type bypassError struct {
	state  bypass.State
	reason bypass.Reason
}

func (b bypassError) Error() string {
	if b.reason == "" {
		return "engine: bypass " + string(b.state)
	}
	return "engine: bypass " + string(b.state) + ": " + string(b.reason)
}

// send has the host's client send requests, and takes in what came of them.
func (e *Engine) send(ctx context.Context, requests []Request) {
	for _, request := range requests {
		done := e.took(StepApple)
		bounded, cancel := context.WithTimeout(ctx, appleTimeout)
		resp, err := e.config.Doer.Do(request.HTTP.WithContext(bounded))
		// What came of it is kept even if the context ends now.
		kept, stop := context.WithTimeout(context.WithoutCancel(ctx), appleTimeout)
		_ = e.HandleAnswer(kept, request, resp, err) // what fails is an event, and Apple is asked again
		stop()
		cancel()
		done()
	}
}

// pauses are until when Apple's services are left alone, as far as this engine knows
// of their answers. The zero value leaves none alone.
type pauses struct {
	mu sync.Mutex
	of map[Service]servicePause
}

// servicePause is why a service is left alone. What is over, or never was, is zero or past.
type servicePause struct {
	told  time.Time     // until then Apple wants to be left alone, as it said
	until time.Time     // until then it is, as the last call was in vain
	wait  time.Duration // how long that is; zero after a call that was not in vain
	probe time.Time     // until then the first call after that may be answered
}

// heard minds an answer. Calls in vain are those that another device's would not fare
// better than: without an answer, or refused for who calls. Each of them has the
// service left alone twice as long, until one is not in vain. Later is neither: it may
// be about one device.
func (p *pauses) heard(s Service, answer apple.Answer, now time.Time) {
	p.change(s, func(x *servicePause) {
		x.probe = time.Time{}
		switch answer.Outcome {
		case apple.Later:
			x.told = later(x.told, now.Add(max(answer.RetryAfter, time.Minute)))
		case apple.NoAnswer, apple.SessionOver, apple.TermsNotSigned, apple.Refused:
			if !now.Before(x.until) && !errors.Is(answer.Err, context.Canceled) { // else it was sent before that, or called off
				x.wait = min(max(2*x.wait, firstPause), longestPause)
				x.until = now.Add(x.wait)
			}
		default:
			x.until, x.wait = time.Time{}, 0
		}
	})
}

// asked notes that a call goes out. After a call in vain, others wait for what comes
// of it, for as long as an answer may take.
func (p *pauses) asked(s Service, now time.Time) {
	p.change(s, func(x *servicePause) {
		if x.wait > 0 {
			x.probe = now.Add(2 * appleTimeout)
		}
	})
}

// lift has a service called for a person, who waits, unless Apple said that it wants
// to be left alone: it may be back. If it is not, it is left alone as long as before.
func (p *pauses) lift(s Service) {
	p.change(s, func(x *servicePause) { x.until, x.probe, x.wait = time.Time{}, time.Time{}, x.wait/2 })
}

func (p *pauses) change(s Service, change func(*servicePause)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[Service]servicePause{}
	}
	x := p.of[s]
	change(&x)
	p.of[s] = x
}

// all returns until when each service is left alone.
func (p *pauses) all() map[Service]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	ends := map[Service]time.Time{}
	for s, x := range p.of {
		ends[s] = later(later(x.told, x.until), x.probe)
	}
	return ends
}

// paused reports whether a service is left alone.
func (e *Engine) paused(s Service) bool { return e.now().Before(e.pauses.all()[s]) }
