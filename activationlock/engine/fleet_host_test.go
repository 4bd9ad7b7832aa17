package engine_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// How often things go wrong.
const (
	pStoreFails  = 0.002 // in each call of a store
	pEscrowFails = 0.03  // in each that writes a code, of which there are fewer
	pServerDies  = 0.0005
	pOthersFirst = 0.01 // another server does something between two steps of a call
	pCommandLost = 0.02
	pPushLost    = 0.2
	pLate        = 0.01
	pTwice       = 0.02
	pAppleFails  = 0.05
)

// fleetServer is one of the servers: an engine on the stores of all.
type fleetServer struct {
	f      *fleet
	name   int
	skew   time.Duration
	engine *engine.Engine
	busy   bool
	log    bytes.Buffer
	events []engine.Event
	// The call that is being made.
	faulty  bool
	planned []string // enrollments for which something was planned
}

// begin starts the server, which knows nothing but what is in the stores.
func (s *fleetServer) begin() {
	f := s.f
	clock := func() time.Time { return f.now.Add(s.skew) }
	log, err := audit.New(audit.Config{Store: fleetAudit{f.store.Audit(), s}})
	require.NoError(f, err)
	codes, err := escrow.New(escrow.Config{Store: fleetEscrow{f.store.Escrow(), s}, Sealer: clear{}, Audit: log, Clock: clock})
	require.NoError(f, err)
	s.engine, err = engine.New(engine.Config{
		Escrow: codes, Inventory: fleetInventory{f.store.Inventory(), s}, Audit: log, Actions: fleetActions{f.store.Actions(), s},
		Organization: "Example School", Doer: s, StatusAPI: apple.SchoolAPI, Clock: clock,
		Policy: policies[anywhere],
		PolicyFor: func(r *inventory.Record) engine.Policy {
			if m := f.byID[r.EnrollmentID]; m != nil {
				return policies[m.group]
			}
			return policies[anywhere]
		},
		NewUUID: func() string {
			f.commands++
			return fmt.Sprintf("activationlock-%d", f.commands)
		},
		Logger:  slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e engine.Event) { s.events = append(s.events, e) },
	})
	require.NoError(f, err)
}

// death is the end of a server in the middle of a call.
type death struct{ *fleetServer }

// call makes a call of one of the servers that are not in the middle of another;
// alive says that it came to its end.
func (f *fleet) call(s *fleetServer, do func(*fleetServer)) (alive bool) {
	for s == nil || s.busy {
		s = f.servers[f.rng.IntN(len(f.servers))]
	}
	s.busy, s.faulty, s.planned = true, false, nil
	defer func() {
		s.busy = false
		broken := recover()
		if died, is := broken.(death); is && died.fleetServer == s {
			f.sum.crashes++
			// What it had planned is on record and never comes out.
			for _, id := range s.planned {
				f.disturb(id, "")
			}
			s.begin()
		} else if broken != nil {
			panic(broken)
		}
		f.checkSecrets(s)
	}()
	do(s)
	return true
}

// step is a step of a call, which goes through a store: another server may be
// faster; the store may fail before it or, worse, after it; and the server may die
// there.
func (s *fleetServer) step(id, serial string, down time.Time, do func() error) error {
	f := s.f
	f.meanwhile()
	fails, dies := f.stormy(pStoreFails) || f.now.Before(down), f.stormy(pServerDies)
	if !fails && !dies {
		return do()
	}
	s.faulty = true
	f.sum.faults++
	err := errDown
	if f.chance(0.5) {
		if done := do(); done != nil {
			err = done
		}
	}
	// Only now: what was asked in a write that failed after its commit is on record, and
	// never comes out, and its deadline is that of one question more.
	f.disturb(id, serial)
	if dies {
		panic(death{s})
	}
	return err
}

// meanwhile is something that happens between two steps of a call.
func (f *fleet) meanwhile() {
	if f.nested > 0 || !f.stormy(pOthersFirst) {
		return
	}
	f.nested++
	defer func() { f.nested-- }()
	f.sum.races++
	if f.chance(0.5) {
		f.tick(nil)
		return
	}
	f.session(f.members[f.rng.IntN(len(f.members))])
}

// disturb notes that something went wrong with the devices that an enrollment or a
// serial number is of.
func (f *fleet) disturb(id, serial string) {
	if m := f.byID[id]; m != nil {
		m.disturb(0)
	}
	if m := f.bySerial[serial]; m != nil {
		m.disturb(0)
		for _, forger := range f.forgers[m] {
			forger.disturb(0)
		}
	}
}

type fleetInventory struct {
	inventory.Store
	s *fleetServer
}

func (i fleetInventory) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return i.s.step(id, "", i.s.f.recordsDown, func() error {
		var before, after inventory.Record
		err := i.Store.Update(ctx, id, func(r *inventory.Record) error {
			before = r.Clone()
			err := change(r)
			after = r.Clone()
			return err
		})
		if err == nil {
			i.s.recorded(&before, &after)
		}
		return err
	})
}

func (i fleetInventory) Get(ctx context.Context, id string) (r inventory.Record, err error) {
	err = i.s.step(id, "", i.s.f.recordsDown, func() error {
		r, err = i.Store.Get(ctx, id)
		return err
	})
	return r, err
}

func (i fleetInventory) BySerialNumber(ctx context.Context, serial string) (found []inventory.Record, err error) {
	err = i.s.step("", serial, i.s.f.recordsDown, func() error {
		found, err = i.Store.BySerialNumber(ctx, serial)
		return err
	})
	return found, err
}

func (i fleetInventory) Claim(ctx context.Context, now, until time.Time, limit int) (claims []inventory.Claim, err error) {
	err = i.s.step("", "", i.s.f.recordsDown, func() error {
		claims, err = i.Store.Claim(ctx, now, until, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

func (i fleetInventory) Release(ctx context.Context, c inventory.Claim) error {
	return i.s.step(c.EnrollmentID, "", i.s.f.recordsDown, func() error { return i.Store.Release(ctx, c) })
}

type fleetEscrow struct {
	escrow.Store
	s *fleetServer
}

func (e fleetEscrow) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	down := e.s.f.escrowDown
	if e.s.f.stormy(pEscrowFails) {
		down = e.s.f.now.Add(time.Second)
	}
	return e.s.step(subject.EnrollmentID, subject.SerialNumber, down, func() error {
		var before, after []escrow.Entry
		err := e.Store.Update(ctx, subject, func(entries []escrow.Entry) (_ []escrow.Entry, err error) {
			before = slices.Clone(entries)
			after, err = change(entries)
			return after, err
		})
		if err == nil {
			e.s.f.marked(before, after)
		}
		return err
	})
}

func (e fleetEscrow) Entries(ctx context.Context, subject escrow.Subject) (entries []escrow.Entry, err error) {
	err = e.s.step(subject.EnrollmentID, subject.SerialNumber, e.s.f.escrowDown, func() error {
		entries, err = e.Store.Entries(ctx, subject)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

func (e fleetEscrow) Join(ctx context.Context, id, serial string) error {
	return e.s.step(id, serial, e.s.f.escrowDown, func() error { return e.Store.Join(ctx, id, serial) })
}

type fleetActions struct {
	bypass.Store
	s *fleetServer
}

func (a fleetActions) Create(ctx context.Context, action bypass.Action) error {
	return a.s.step("", action.Subject.SerialNumber, a.s.f.recordsDown, func() error { return a.Store.Create(ctx, action) })
}

func (a fleetActions) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	return a.s.step("", "", a.s.f.recordsDown, func() error { return a.Store.Update(ctx, id, change) })
}

func (a fleetActions) Get(ctx context.Context, id string) (action bypass.Action, err error) {
	err = a.s.step("", "", a.s.f.recordsDown, func() error {
		action, err = a.Store.Get(ctx, id)
		return err
	})
	return action, err
}

type fleetAudit struct {
	audit.Store
	s *fleetServer
}

func (a fleetAudit) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	return a.s.step("", "", a.s.f.recordsDown, func() error {
		var told []audit.Entry
		err := a.Store.Append(ctx, func(last audit.Entry) (_ []audit.Entry, err error) {
			told, err = next(last)
			return told, err
		})
		if err == nil {
			a.s.f.audited(told)
		}
		return err
	})
}

// Do sends a request to the Apple that knows the device.
func (s *fleetServer) Do(req *http.Request) (resp *http.Response, err error) {
	f := s.f
	body, err := io.ReadAll(cmp.Or[io.Reader](req.Body, http.NoBody))
	require.NoError(f, err)
	serial := serialIn.FindString(req.URL.String() + " " + string(body))
	m := f.bySerial[serial]
	require.NotNil(f, m, "a request to Apple names no device")
	service := activationlocktest.StatusService
	switch req.URL.Host {
	case "mdmenrollment.apple.com":
		service = activationlocktest.LockService
		req.Header.Set(apple.SessionHeader, m.apple.NewSession())
	case "api-school.apple.com":
		req.Header.Set("Authorization", "Bearer example")
	default:
		service = activationlocktest.UnlockService
	}
	key := string(service) + serial
	require.False(f, f.asking[key], "two servers ask Apple the same at the same time: %s of %s", service, serial)
	f.asking[key] = true
	defer delete(f.asking, key)
	f.sum.requests[service]++
	f.meanwhile()
	if f.stormy(pAppleFails) {
		m.apple.Script(service, []activationlocktest.Fault{
			{Drop: true}, {Drop: true, Processed: true}, {Status: 500}, {Status: 500, Processed: true},
			{Status: 429, RetryAfter: time.Minute}, {Status: 503, Body: "<html>busy</html>"},
		}[f.rng.IntN(6)])
		f.sum.appleFaults++
	}
	defer func() {
		if broken := recover(); broken == http.ErrAbortHandler {
			resp, err = nil, io.ErrUnexpectedEOF
		} else if broken != nil {
			panic(broken)
		}
	}()
	recorder := httptest.NewRecorder()
	sent := httptest.NewRequest(req.Method, req.URL.String(), bytes.NewReader(body))
	sent.Header = req.Header.Clone()
	m.apple.ServeHTTP(recorder, sent)
	f.now = f.now.Add(300 * time.Millisecond)
	resp = recorder.Result()
	resp.Request = req
	if f.stormy(pServerDies) {
		s.f.disturb("", serial)
		panic(death{s})
	}
	return resp, nil
}

// tick has a server work off what is due, and pushes to the devices for which there
// are commands.
func (f *fleet) tick(s *fleetServer) {
	var batches []engine.Batch
	f.call(s, func(s *fleetServer) {
		var err error
		batches, err = s.engine.Tick(f.ctx, 200)
		f.sum.ticks++
		if err != nil {
			require.ErrorIs(f, err, errDown)
		}
		f.checkCommands(s, batches)
	})
	for _, b := range batches {
		m := f.byID[b.Enrollment.ID]
		require.Empty(f, b.Requests)
		if m == nil || m.device.ID() != b.Enrollment.ID {
			continue
		}
		f.queue(m, b.Commands)
		if f.stormy(pPushLost) {
			f.sum.lostPushes++
			continue
		}
		f.in(f.between(time.Second, time.Minute), func() { f.session(m) })
	}
}

// queue is the host's queue, on the way to which commands get lost, or are doubled.
func (f *fleet) queue(m *member, commands []engine.Queued) {
	for _, c := range commands {
		if f.stormy(pCommandLost) {
			f.sum.lostCommands++
			m.disturb(0)
			continue
		}
		m.queue = append(m.queue, c)
		if f.stormy(pTwice) {
			m.queue = append(m.queue, c)
		}
	}
	f.sum.longestQueue = max(f.sum.longestQueue, len(m.queue))
}

// session is a device that asks for commands until there are none.
func (f *fleet) session(m *member) {
	if m.away || !m.device.Enrolled() || m.talking {
		return
	}
	m.talking = true
	defer func() { m.talking = false }()
	f.sum.sessions++
	m.disturbed = false
	again := m.again
	m.again = nil
	for i, l := range again {
		if !f.send(m, l) {
			m.again = append(m.again, again[i+1:]...)
			return
		}
	}
	messages, err := m.device.Idle()
	request := ""
	var later []engine.Queued
	for range 100 {
		require.NoError(f, err)
		if len(messages) == 0 {
			f.sum.lostMessages++
			m.disturb(0)
			break
		}
		for _, raw := range messages {
			if !f.send(m, letter{id: m.device.ID(), raw: raw, enrollment: m.enrollments, made: f.now, request: request}) {
				m.queue = append(m.queue, later...)
				return
			}
		}
		if len(m.queue) == 0 {
			m.queue = append(m.queue, later...)
			if len(later) == 0 && !m.disturbed {
				f.checkSession(m)
			}
			return
		}
		c := m.queue[0]
		m.queue = m.queue[1:]
		f.now = f.now.Add(time.Second)
		request = c.RequestType
		messages, err = m.device.Answer(c.Plist)
		if len(messages) > 0 && statusIs(messages[0], "NotNow") {
			f.sum.notNows++
			m.disturb(0)
			if f.chance(0.5) { // some servers send it again
				later = append(later, c)
			}
		}
	}
	m.queue = append(m.queue, later...)
}

func statusIs(raw []byte, status string) bool {
	return bytes.Contains(raw, []byte("<string>"+status+"</string>"))
}

// send is a message on its way, which may come late: the device got its answer, and
// the host has not handed the message on yet.
func (f *fleet) send(m *member, l letter) bool {
	if f.stormy(pLate) {
		f.sum.late++
		m.disturb(0)
		f.in(f.between(time.Minute, 2*time.Hour), func() {
			if m.device.ID() == l.id {
				m.disturb(0)
				f.deliver(m, l)
				m.disturb(0)
			}
		})
		return true
	}
	return f.deliver(m, l)
}

// deliver hands a message to a server, and says whether it took it.
func (f *fleet) deliver(m *member, l letter) bool {
	f.sum.messages++
	f.now = f.now.Add(time.Duration(f.rng.IntN(1000)) * time.Millisecond)
	checkIn, _ := textAfter(l.raw, "<key>MessageType</key>")
	code := ""
	if statusIs(l.raw, "Acknowledged") {
		code, _ = textAfter(l.raw, "<key>ActivationLockBypassCode</key>")
	}
	fresh := l.enrollment == m.enrollments && l.id == m.device.ID()
	if checkIn == "Authenticate" {
		m.queue = nil // as servers do
		if fresh {
			m.calm, m.calmFacts, m.blind, m.missed = f.now, f.now, false, false
		}
		defer func(talking bool) { m.talking = talking }(m.talking)
		m.talking = true // it waits for the answer
	}
	if fresh && code != "" {
		m.given[code] = true
	}
	if fresh && l.request == askCode && code == "" {
		m.disturb(0)
	}
	f.answered(m, l)
	m.began, m.marked, m.heard = false, false, l.made
	var out engine.Outcome
	var err error
	faulty := false
	alive := f.call(nil, func(s *fleetServer) {
		handle := s.engine.HandleReport
		if checkIn != "" {
			handle = s.engine.HandleCheckin
		}
		out, err = handle(f.ctx, engine.Enrollment{ID: l.id}, l.raw)
		faulty = s.faulty
		f.checkMessage(s, m, l, code, checkIn, out, err)
	})
	m.note("%s%s, code %q, fresh %t: taken %t, faulty %t", checkIn, l.request, code, fresh, alive && err == nil, faulty)
	if checkIn == "Authenticate" && fresh && alive {
		f.enrolled(m)
	}
	f.putOff(m, l, alive && err == nil && !faulty)
	if !alive || err != nil {
		f.sum.refused++
		if fresh {
			m.again = append(m.again, l)
		}
		m.disturb(0)
		return false
	}
	if code != "" {
		f.sum.codes++
		m.taken[code] = true
		if fresh && !faulty && !f.disputed(m) { // one that is disputed is kept, and not relied on
			m.noted = code
		}
		if !f.inEscrow(l.id, code) {
			f.fail(m, "a code was taken, and is not in escrow")
		}
	}
	if (fresh || m.missed) && l.request == askFacts && statusIs(l.raw, "Acknowledged") {
		m.informedAt = f.now
	}
	f.queue(m, out.Commands)
	if f.stormy(pTwice) && l.request != "" { // a report that comes again
		f.sum.twice++
		f.call(nil, func(s *fleetServer) {
			out, err := s.engine.HandleReport(f.ctx, engine.Enrollment{ID: l.id}, l.raw)
			f.checkMessage(s, m, l, code, checkIn, out, err)
			f.queue(m, out.Commands)
		})
	}
	return true
}

// textAfter returns the string after a key.
func textAfter(raw []byte, key string) (string, bool) {
	_, after, found := strings.Cut(string(raw), key)
	_, after, _ = strings.Cut(after, "<string>")
	text, _, _ := strings.Cut(after, "</string>")
	if !found {
		return "", false
	}
	return text, true
}

// lift begins a bypass, as far as it can begin.
func (f *fleet) lift(m *member) (began bool) {
	codes, err := f.escrow.Records(f.ctx, escrow.Subject{SerialNumber: m.serial})
	require.NoError(f, err)
	record := f.stored(m.device.ID())
	plan := bypass.Plan(codes, lockOfRecord(&record))
	opens := f.opens(m, plan[:min(len(plan), bypass.MaxAttempts)])
	at := f.now
	f.call(nil, func(s *fleetServer) {
		a, warning, err := s.engine.Bypass(f.ctx, m.serial, engine.Unlock{
			Act: escrow.Act{Actor: "jane.admin@example.org", Reason: "left the school"}, InHand: true,
		})
		switch {
		case err == nil:
			require.Equal(f, a.State.Over() && a.State != bypass.Done, warning == "")
			f.sum.bypasses++
			m.bypass, began = &lift{id: a.ID, at: at, opens: opens}, true
		case errors.Is(err, inventory.ErrNotFound), errors.Is(err, engine.ErrDisputed), errors.Is(err, bypass.ErrOpen), s.faulty:
		default:
			f.refusedLift(m, err)
		}
	})
	return began
}

// order is somebody who has a device locked for the organization, and, some days
// later, unlocked.
func (f *fleet) order(m *member) {
	f.call(nil, func(s *fleetServer) {
		err := s.engine.LockForOrganization(f.ctx, m.serial, escrow.Act{Actor: "jane.admin@example.org", Reason: "lost"}, "Please return")
		if err == nil {
			f.sum.orders++
			return
		}
		expected := []error{inventory.ErrNotFound, engine.ErrDisputed, engine.ErrNotPossible}
		require.True(f, s.faulty || slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }), "%v", err)
	})
	f.in(f.between(day, 6*day), func() {
		if f.lift(m) {
			f.in(f.between(time.Hour, day), func() { f.checkLift(m) })
		}
	})
}
