package bypass_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var (
	livesFlag = flag.Int("lives", 50, "number of random lives to play")
	seedFlag  = flag.Uint64("seed", 0, "play only the life of this seed")
)

// Random lives of a simulated device with a server and a simulated Apple. In
// each life one answer is chosen to every question that Apple leaves open.
//
//   - Whenever the true code is among the first four of the plan, the device ends
//     unlocked.
//   - No code that the server took is ever lost.
//   - What is believed to be certain is true, and a device that may be given to
//     somebody else was unlocked when Apple said so.
func TestLives(t *testing.T) {
	t.Parallel()
	var all tally
	play := func(t *testing.T, seed uint64, reading activationlocktest.Reading) {
		l := newLife(t, seed, reading)
		l.play()
		all.add(l)
	}
	if *seedFlag != 0 {
		play(t, *seedFlag, readingOf(*seedFlag))
		t.Log(all.String())
		return
	}
	t.Run("lives", func(t *testing.T) {
		// In a few goroutines, since tens of thousands of subtests take long to print.
		const together = 8
		for part := range uint64(together) {
			t.Run(fmt.Sprintf("part=%d", part), func(t *testing.T) {
				t.Parallel()
				for seed := part; seed < uint64(*livesFlag); seed += together {
					play(t, seed+1, readingOf(seed+1))
				}
			})
		}
	})
	t.Log(all.String())
	if *livesFlag >= 200 {
		// A lock that came on, or a code that was made, since anybody said a word
		// nobody can know. A rule that says yes too easily shows here.
		require.Less(t, 30*all.eraseWrong, all.erase, "yes to an erase that makes a brick")
		require.Len(t, all.readings, len(activationlocktest.Readings()), "each reading is among the lives")
		for what, n := range map[string]int{
			"a lock of a person was opened": all.opened[activationlocktest.UserLinked], "one of the organization": all.opened[activationlocktest.OrganizationLinked],
			"a later code opened": all.laterCode, "a code was refused": all.refused, "a lock came back": all.relocked, "a device stayed locked": all.locked,
			"certain": all.certain, "may be reassigned": all.reassign, "may be erased": all.erase,
		} {
			require.NotZero(t, n, "%s in no life", what)
		}
	}
}

// readingOf returns the reading of a life: first each that differs from the
// likelier one in one answer, then random ones.
func readingOf(seed uint64) activationlocktest.Reading {
	all := activationlocktest.Readings()
	if seed%2 == 0 {
		return all[int(seed/2)%len(all)]
	}
	return activationlocktest.RandomReading(rand.New(rand.NewPCG(seed, 2)))
}

// tally is what happened in all lives.
type tally struct {
	mu                                                                   sync.Mutex
	lives, steps, actions, refused, laterCode, relocked, locked, certain int
	reassign, erase, eraseWrong, outOfReach                              int
	opened                                                               map[activationlocktest.LockKind]int
	readings                                                             map[string]bool
}

func (y *tally) add(l *life) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.readings == nil {
		y.readings, y.opened = map[string]bool{}, map[activationlocktest.LockKind]int{}
	}
	y.lives++
	y.steps += l.steps
	y.actions += l.sum.actions
	y.refused += l.sum.refused
	y.laterCode += l.sum.laterCode
	y.relocked += l.sum.relocked
	y.certain += l.sum.certain
	y.reassign += l.sum.reassign
	y.erase += l.sum.erase
	y.eraseWrong += l.sum.eraseWrong
	y.outOfReach += l.sum.outOfReach
	for kind, n := range l.sum.opened {
		y.opened[kind] += n
	}
	if l.apple.Lock(l.serial).Kind != activationlocktest.NotLocked {
		y.locked++
	}
	for _, r := range activationlocktest.Readings() {
		if r == l.reading {
			y.readings[r.String()] = true
		}
	}
}

func (y *tally) String() string {
	return fmt.Sprintf("%d lives of %d steps in all: %d bypasses, which opened %d locks of persons and %d of the organization, %d with a later code of the plan; "+
		"%d found the device locked and no code that opens it among the first four, %d of these with one further down; %d locks came back; %d devices ended locked; "+
		"%d certain beliefs, %d devices might be reassigned, %d erased (%d of these locked and enrolled, with no code at hand)",
		y.lives, y.steps, y.actions, y.opened[activationlocktest.UserLinked], y.opened[activationlocktest.OrganizationLinked], y.laterCode,
		y.refused, y.outOfReach, y.relocked, y.locked, y.certain, y.reassign, y.erase, y.eraseWrong)
}

// life is one device with its server and Apple.
type life struct {
	*testing.T
	ctx     context.Context
	rng     *rand.Rand
	now     time.Time
	reading activationlocktest.Reading
	serial  string
	steps   int
	trace   []string

	device *activationlocktest.Device
	apple  *activationlocktest.Apple
	other  *activationlocktest.Device // somebody else's, which may claim the serial number

	store   *memstore.Store
	escrow  *escrow.Escrow
	engine  *engine.Engine
	bypass  *bypass.Bypass
	log     bytes.Buffer
	session string

	queues   map[string][]engine.Queued
	received map[string]bool // codes that the server took
	texts    map[string]bypasscode.Text
	words    []activationlock.Evidence
	truths   []truth
	sum      struct {
		actions, refused, laterCode, relocked, certain, reassign, erase, eraseWrong, outOfReach int
		opened                                                                                  map[activationlocktest.LockKind]int
	}
}

// truth is how the lock was from a moment on.
type truth struct {
	at   time.Time
	lock activationlocktest.LockKind
}

func newLife(t *testing.T, seed uint64, reading activationlocktest.Reading) *life {
	t.Helper()
	l := &life{
		T: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(seed, 1)), reading: reading,
		now: time.Date(2026, 8, 24, 8, 0, 0, 0, time.UTC), serial: "XXFAKE0SER1",
		store: memstore.New(), queues: map[string][]engine.Queued{}, received: map[string]bool{}, texts: map[string]bypasscode.Text{},
	}
	l.trace = append(l.trace, fmt.Sprintf("seed %d, reading %s", seed, reading))
	l.sum.opened = map[activationlocktest.LockKind]int{}
	clock := func() time.Time { return l.now }

	log, err := audit.New(audit.Config{Store: l.store.Audit()})
	require.NoError(t, err)
	l.escrow, err = escrow.New(escrow.Config{Store: l.store.Escrow(), Sealer: glass{}, Audit: log, Clock: clock})
	require.NoError(t, err)
	l.engine, err = engine.New(engine.Config{
		Escrow: l.escrow, Inventory: l.store.Inventory(), Clock: clock, Logger: slog.New(slog.NewTextHandler(&l.log, nil)),
		Policy: engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}},
	})
	require.NoError(t, err)
	l.bypass, err = bypass.New(bypass.Config{
		Store: l.store.Actions(), Escrow: l.escrow, Audit: log, Organization: "Example School", Clock: clock,
		Pause: func(_ context.Context, d time.Duration) error { l.now = l.now.Add(d); return nil },
	})
	require.NoError(t, err)

	l.apple = activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: reading, Now: clock, Wait: func(d time.Duration) { l.now = l.now.Add(d) }})
	config := activationlocktest.DeviceConfig{
		SerialNumber: l.serial, Supervised: l.chance(0.9), ADE: l.chance(0.7), Reading: reading, Now: clock, Rand: random{l.rng},
		NoDeprecatedQueries: l.chance(0.2), NoCheckOut: l.chance(0.5), SharedIPad: false,
	}
	switch l.rng.IntN(10) {
	case 0, 1:
		config.ProductName = "Mac14,2"
	case 2:
		config.ProductName = "RealityDevice14,1"
	case 3:
		config.ProductName, config.SharedIPad, config.Supervised, config.ADE = "iPad14,3", true, true, true
	case 4, 5:
		config.ProductName, config.OSVersion = "iPad14,3", pick(l.rng, "15.8", "17.2", "18.7")
	default:
		config.ProductName, config.IMEI, config.IMEI2 = "iPhone17,3", "350000000000019", "350000000000027"
	}
	l.device, err = activationlocktest.NewDevice(config)
	require.NoError(t, err)
	require.NoError(t, l.apple.Add(l.device, config.ADE || l.chance(0.3)))
	l.other, err = activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: "XXFAKE0SER2", Supervised: true, Reading: reading, Now: clock, Rand: random{l.rng},
	})
	require.NoError(t, err)
	require.NoError(t, l.apple.Add(l.other, true))
	l.note("%s %s, supervised %t", config.ProductName, config.OSVersion, config.Supervised)
	return l
}

func (l *life) chance(p float64) bool { return l.rng.Float64() < p }

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func (l *life) note(format string, args ...any) {
	l.trace = append(l.trace, fmt.Sprintf("%s  %s", l.now.Format("02 Jan 15:04:05"), fmt.Sprintf(format, args...)))
}

// play plays the life. It tells of one that fails, and keeps nothing of the others.
func (l *life) play() {
	well := false
	defer func() {
		if !well {
			l.Log(strings.Join(l.trace, "\n"))
		}
	}()
	l.look()
	l.enroll(l.device)
	for l.steps = range 30 + l.rng.IntN(50) {
		l.now = l.now.Add(pick(l.rng, time.Minute, 20*time.Minute, 2*time.Hour, 9*time.Hour, 30*time.Hour, 4*24*time.Hour) + time.Duration(l.rng.IntN(60))*time.Second)
		l.step()
		l.look()
		l.check()
	}
	l.tryUnlock(true)
	l.check()
	l.nothingLost()
	well = true
}

func (l *life) step() {
	switch l.rng.IntN(30) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		l.contact(l.device)
	case 8, 9, 10:
		l.note("Find My on: %v", l.device.SetFindMy(true))
	case 11:
		l.note("Find My off: %v", l.device.SetFindMy(false))
	case 12:
		l.note("erased")
		l.device.Erase()
		if l.chance(0.4) {
			own := l.chance(0.5)
			l.note("restored, own backup %t: %v", own, l.device.Restore(own))
		}
		if l.chance(0.5) {
			l.enroll(l.device)
		}
	case 13, 14:
		l.enroll(l.device)
	case 15:
		reachable := l.chance(0.7)
		l.note("reachable %t", reachable)
		l.device.SetReachable(reachable)
	case 16:
		switch l.rng.IntN(5) {
		case 0:
			l.device.NotNow(3)
		case 1:
			l.device.AnswerEmpty(2)
		case 2:
			l.device.Lose(2)
		case 3:
			l.device.SendTwice(3)
		case 4:
			l.device.MisreportLock(l.chance(0.5))
		}
		l.note("it falters")
	case 17:
		l.note("a new code")
		l.device.MakeCode()
	case 18, 19:
		l.askApple()
	case 20, 21:
		l.lockForOrganization()
	case 22:
		switch l.rng.IntN(3) {
		case 0:
			l.note("the owner turns it off: %t", l.apple.OwnerTurnsOff(l.serial))
		case 1:
			l.note("an administrator turns it off: %t", l.apple.AdministratorTurnsOff(l.serial))
		case 2:
			if l.chance(0.2) {
				fails := l.chance(0.3)
				l.note("migrated, fails %t", fails)
				l.apple.Migrate(l.serial, fails)
			}
		}
	case 23, 24:
		l.tryUnlock(false)
	case 25:
		if l.chance(0.3) {
			l.note("another device claims the serial number")
			l.other.ClaimSerialNumber(l.serial)
		} else {
			l.other.ClaimSerialNumber("")
		}
		l.enroll(l.other)
		l.contact(l.other)
	default:
		l.now = l.now.Add(24 * time.Hour)
		l.contact(l.device)
	}
}

// enroll enrolls a device, and has it ask for commands.
func (l *life) enroll(d *activationlocktest.Device) {
	messages, err := d.Enroll()
	l.note("enrolls: %d messages, %v", len(messages), err)
	if len(messages) > 0 {
		delete(l.queues, d.ID()) // as servers do
	}
	l.deliver(d, messages, l.engine.HandleCheckin)
	l.contact(d)
}

// contact has a device ask for commands until there are none.
func (l *life) contact(d *activationlocktest.Device) {
	messages, err := d.Idle()
	for range 20 {
		if err != nil || len(messages) == 0 {
			return
		}
		l.deliver(d, messages, l.engine.HandleReport)
		queue := l.queues[d.ID()]
		if len(queue) == 0 {
			return
		}
		l.queues[d.ID()] = queue[1:]
		l.now = l.now.Add(time.Second)
		messages, err = d.Answer(queue[0].Plist)
		l.look()
	}
}

type handler = func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)

// deliver hands messages to the server.
func (l *life) deliver(d *activationlocktest.Device, messages [][]byte, handle handler) {
	for _, raw := range messages {
		id := d.ID()
		if code := codeIn(raw); code != "" {
			l.received[code] = true
		}
		handleNow := handle
		if bytes.Contains(raw, []byte("MessageType")) {
			handleNow = l.engine.HandleCheckin
		}
		out, err := handleNow(l.ctx, engine.Enrollment{ID: id}, raw)
		require.NoError(l, err)
		l.queues[id] = append(l.queues[id], out.Commands...)
		for _, c := range out.Commands {
			l.note("asks %s", c.RequestType)
		}
	}
}

// codeIn returns the code that a report has, "" if it has none.
func codeIn(raw []byte) string {
	_, after, found := strings.Cut(string(raw), "<key>ActivationLockBypassCode</key>")
	if !found {
		return ""
	}
	_, after, _ = strings.Cut(after, "<string>")
	code, _, found := strings.Cut(after, "</string>")
	if !found || !strings.Contains(string(raw), "<string>Acknowledged</string>") {
		return ""
	}
	return code
}

// look writes down the truth.
func (l *life) look() {
	l.truths = append(l.truths, truth{l.now, l.apple.Lock(l.serial).Kind})
}

// truthAt returns how the lock was at a moment, and whether it changed in it.
func (l *life) truthAt(at time.Time) (kinds []activationlocktest.LockKind) {
	for _, t := range l.truths {
		if t.at.Equal(at) {
			kinds = append(kinds, t.lock)
		} else if t.at.Before(at) {
			kinds = []activationlocktest.LockKind{t.lock}
		}
	}
	return kinds
}

func (l *life) subject() escrow.Subject { return escrow.Subject{SerialNumber: l.serial} }

// record returns what the server knows of the device.
func (l *life) record() inventory.Record {
	var last inventory.Record
	for _, d := range []*activationlocktest.Device{l.device} {
		if r, err := l.store.Inventory().Get(l.ctx, d.ID()); err == nil && !r.LastSeen.Before(last.LastSeen) {
			last = r
		}
	}
	return last
}

func (l *life) situation() activationlock.Situation {
	r := l.record()
	for _, e := range l.words {
		r.AddEvidence(e)
	}
	codes, err := l.escrow.Records(l.ctx, l.subject())
	require.NoError(l, err)
	return r.Situation(codes, l.now)
}

// check compares what is believed with the truth.
func (l *life) check() {
	s := l.situation()
	if s.Lock.Confidence == activationlock.Certain {
		l.sum.certain++
		at := l.truthAt(s.Lock.At)
		on := slices.ContainsFunc(at, func(k activationlocktest.LockKind) bool { return k != activationlocktest.NotLocked })
		off := slices.Contains(at, activationlocktest.NotLocked)
		if s.Lock.State == activationlock.On {
			require.True(l, on, "certain, and not so: %+v", s.Lock)
		} else if l.reading.Relock != activationlocktest.RelockAtOnce {
			require.True(l, off, "certain, and not so: %+v", s.Lock)
		}
		if slices.Contains(l.words, activationlock.Evidence{
			State: activationlock.On, Kind: activationlock.OrganizationLinked, Source: activationlock.SourceLockCall, At: s.Lock.At,
		}) {
			require.Equal(l, activationlock.OrganizationLinked, s.Lock.Kind)
			require.Contains(l, at, activationlocktest.OrganizationLinked, "%+v", s.Lock)
		}
	}
	if a := s.CanReassign(l.now); a.Yes() && s.Device.HasLock() != activationlock.Off {
		l.sum.reassign++
		delayed := s.Lock.Source == activationlock.SourceApple && l.reading.StatusDelay > 0
		atOnce := s.Lock.Source == activationlock.SourceUnlockCall && l.reading.Relock == activationlocktest.RelockAtOnce
		if !delayed && !atOnce {
			require.Contains(l, l.truthAt(s.Lock.At), activationlocktest.NotLocked, "may be reassigned: %+v", s.Lock)
		}
	}
	if s.CanErase(l.now).Yes() && s.Device.HasLock() != activationlock.Off {
		l.sum.erase++
		if lock := l.apple.Lock(l.serial); lock.Kind != activationlocktest.NotLocked && l.device.Enrolled() && !l.opens(lock) {
			l.sum.eraseWrong++
			l.note("might be erased, and must not: %+v", s)
		}
	}
}

// opens reports whether any code in escrow opens a lock.
func (l *life) opens(lock activationlocktest.Lock) bool {
	codes, err := l.escrow.Records(l.ctx, l.subject())
	require.NoError(l, err)
	return slices.ContainsFunc(codes, func(c escrow.Record) bool { return l.key(lock, c) })
}

// key reports whether a code opens a lock. Opening a server's code takes its time,
// and it opens locks of its hash only.
func (l *life) key(lock activationlocktest.Lock, c escrow.Record) bool {
	if c.Kind == bypasscode.Server {
		return lock.Kind == activationlocktest.OrganizationLinked && lock.Hash == c.Hash
	}
	return lock.Kind == activationlocktest.UserLinked && lock.OpensWith(l.text(c))
}

// askApple asks for Apple's status.
func (l *life) askApple() {
	req, err := apple.StatusRequest(apple.SchoolAPI, l.serial)
	require.NoError(l, err)
	req.Header.Set("Authorization", "Bearer example")
	l.now = l.now.Add(time.Second)
	l.look()
	answer := apple.ReadStatus(l.Do(req))
	l.note("Apple's status: %s %s", answer.Outcome, answer.LockType)
	if e, ok := activationlock.OfStatus(l.serial, answer, l.now); ok {
		l.words = append(l.words, e)
	}
}

// lockForOrganization locks the device as the documentation says.
func (l *life) lockForOrganization() {
	code, err := l.escrow.LockCode(l.ctx, escrow.Lock{SerialNumber: l.serial, At: l.now, Device: escrow.Device{ProductType: l.device.Config().ProductName}})
	require.NoError(l, err)
	_, err = l.escrow.Mark(l.ctx, l.subject(), code.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "a lock call goes out", At: l.now})
	require.NoError(l, err)
	if l.session == "" {
		req, err := http.NewRequest(http.MethodGet, "https://mdmenrollment.apple.com/session", nil)
		require.NoError(l, err)
		req.Header.Set("Authorization", "OAuth example")
		req.Header.Set("User-Agent", "example")
		resp, err := l.Do(req)
		require.NoError(l, err)
		var session struct {
			Token string `json:"auth_session_token"`
		}
		require.NoError(l, json.NewDecoder(resp.Body).Decode(&session))
		l.session = session.Token
	}
	if l.chance(0.3) {
		l.apple.Script(activationlocktest.LockService, l.fault())
	}
	req, err := apple.LockRequest(apple.Lock{SerialNumber: l.serial, Hash: code.Hash})
	require.NoError(l, err)
	req.Header.Set(apple.SessionHeader, l.session)
	l.now = l.now.Add(time.Second)
	resp, err := l.Do(req)
	if resp != nil {
		l.session = cmp.Or(resp.Header.Get(apple.SessionHeader), l.session)
	}
	answer := apple.ReadLock(resp, err)
	l.look()
	l.note("lock call with %s code: %s %s", code.State, answer.Outcome, answer.ResponseStatus)
	if e, ok := activationlock.OfLock(l.serial, answer, l.now); ok {
		l.words = append(l.words, e)
	}
	if v, ok := activationlock.OfCode(code, answer, l.now); ok {
		_, err := l.escrow.Mark(l.ctx, l.subject(), code.ID, v)
		require.NoError(l, err)
	}
}

// fault is something that goes wrong between us and Apple.
func (l *life) fault() activationlocktest.Fault {
	return pick(l.rng,
		activationlocktest.Fault{Drop: true},
		activationlocktest.Fault{Drop: true, Processed: true},
		activationlocktest.Fault{Status: 500},
		activationlocktest.Fault{Status: 500, Processed: true},
		activationlocktest.Fault{Status: 429, RetryAfter: time.Minute},
		activationlocktest.Fault{Status: 503, Body: "<html>busy</html>"},
		activationlocktest.Fault{Status: 200, Body: "not what was expected", Processed: true},
	)
}

// tryUnlock has the lock lifted, and sees that it is if it can be.
func (l *life) tryUnlock(atTheEnd bool) {
	s := l.situation()
	codes, err := l.escrow.Records(l.ctx, l.subject())
	require.NoError(l, err)
	lock := l.apple.Lock(l.serial)
	config := l.device.Config()
	mac, vision := strings.HasPrefix(config.ProductName, "Mac"), strings.HasPrefix(config.ProductName, "Reality")
	open := lock.Kind != activationlocktest.NotLocked && !(mac && l.reading.NoUnlockOfMacs) && !(vision && l.reading.NoUnlockOfVisionPro)

	faults := 0
	for l.chance(0.25) && faults < 3 {
		f := l.fault()
		if f.Status == 200 {
			f.Processed = false // what Apple never does is not to be survived twice
			f.Status = 502
		}
		l.apple.Script(activationlocktest.UnlockService, f)
		faults++
	}
	r := l.record()
	identity := escrow.Device{
		SerialNumber: l.serial, ProductType: cmp.Or(r.Facts.ProductName, config.ProductName),
		IMEI: r.Facts.Cellular.IMEI, IMEI2: r.Facts.Cellular.IMEI2, MEID: r.Facts.Cellular.MEID,
	}
	if r.Facts.Cellular == (mdmcmd.Cellular{}) { // as from an inventory of old
		identity.IMEI, identity.IMEI2, identity.MEID = config.IMEI, config.IMEI2, config.MEID
	}
	l.now = l.now.Add(time.Second)
	start := bypass.Start{
		Subject: l.subject(), Act: escrow.Act{Actor: "jane.admin@example.org", Reason: "left the school"}, InHand: true,
		Lock: s.Lock, Device: s.Device, Identity: identity,
	}
	preview, err := l.bypass.Preview(l.ctx, start)
	require.NoError(l, err)
	plan := preview.Attempts
	place := slices.IndexFunc(plan, func(t bypass.Attempt) bool {
		at := slices.IndexFunc(codes, func(c escrow.Record) bool { return c.ID == t.RecordID })
		return l.key(lock, codes[at])
	})
	a, warning, err := l.bypass.Start(l.ctx, start)
	require.NoError(l, err)
	require.Equal(l, !a.State.Over(), warning == bypass.WarningRelock)
	l.note("bypass of a %q lock with %d codes, true code in place %d, %d faults", lock.Kind, len(plan), place, faults)
	tried := len(l.apple.CodesTried(l.serial))
	for !a.State.Over() {
		before := a.State
		a, err = l.bypass.Run(l.ctx, a.ID, l)
		require.NoError(l, err)
		if !a.State.Over() {
			require.True(l, a.NextAt.After(l.now), "%s waits for nothing: %+v", before, a)
			l.now = a.NextAt
		}
	}
	l.look()
	l.sum.actions++
	l.note("bypass: %s %s", a.State, a.Reason)

	different := map[string]bool{}
	for _, text := range l.apple.CodesTried(l.serial)[tried:] {
		different[text.Reveal()] = true
	}
	require.LessOrEqual(l, len(different), bypass.MaxAttempts)
	switch {
	case open && place >= 0 && place < bypass.MaxAttempts:
		removed := a.State == bypass.Done || a.Reason == bypass.MaybeUnlocked
		require.True(l, removed, "the code in place %d opens the lock, and the bypass is %s %s", place, a.State, a.Reason)
		if l.reading.Relock != activationlocktest.RelockAtOnce {
			require.Equal(l, activationlocktest.NotLocked, l.apple.Lock(l.serial).Kind)
		}
		l.sum.opened[lock.Kind]++
		if place > 0 {
			l.sum.laterCode++
		}
	case lock.Kind != activationlocktest.NotLocked:
		require.NotEqual(l, bypass.Done, a.State, "it was not opened")
		l.sum.refused++
		if place >= bypass.MaxAttempts {
			l.sum.outOfReach++
		}
	}
	if e, ok := a.Evidence(); ok {
		l.words = append(l.words, e)
		require.Equal(l, activationlock.Unverified, a.Aftermath(l.words))
	}
	if atTheEnd || a.State != bypass.Done {
		return
	}
	// The watch: the device gets in touch, and Apple is asked when it must know.
	watched := l.now
	l.now = l.now.Add(activationlock.AppleLag + time.Hour)
	l.contact(l.device)
	l.look()
	l.askApple()
	var since []activationlock.Evidence
	for _, e := range append(l.record().Evidence, l.words...) {
		if e.Source == activationlock.SourceApple || e.At.Before(watched) {
			since = append(since, e)
		}
	}
	switch became, is := a.Aftermath(since), l.apple.Lock(l.serial).Kind; became {
	case activationlock.Relocked:
		l.sum.relocked++
		require.NotEqual(l, activationlocktest.NotLocked, is)
	case activationlock.Verified:
		if l.reading.StatusDelay == 0 {
			require.Equal(l, activationlocktest.NotLocked, is)
		}
	}
}

// text returns a code, without the rules for people.
func (l *life) text(c escrow.Record) bypasscode.Text {
	if known, ok := l.texts[c.ID]; ok { // opening a server's code takes its time
		return known
	}
	text, err := l.escrow.Reveal(l.ctx, escrow.Reveal{
		Subject: l.subject(), RecordID: c.ID, Act: escrow.Act{Actor: "test", Reason: "test"}, Purpose: escrow.ToUnlock,
	})
	require.NoError(l, err)
	l.texts[c.ID] = text
	return text
}

// nothingLost sees that every code that came is there.
func (l *life) nothingLost() {
	held := map[string]bool{}
	for record, err := range l.escrow.All(l.ctx) {
		require.NoError(l, err)
		if record.Kind == bypasscode.Server {
			continue // the server's own
		}
		text, err := l.escrow.Reveal(l.ctx, escrow.Reveal{
			Subject: record.Subject, RecordID: record.ID, Act: escrow.Act{Actor: "test", Reason: "test"}, Purpose: escrow.ToUnlock,
		})
		require.NoError(l, err)
		held[text.Reveal()] = true
		require.NotContains(l, l.log.String(), text.Reveal())
	}
	for code := range l.received {
		require.True(l, held[code], "a code that was received is gone")
	}
}

// Do sends a request to the simulated Apple.
func (l *life) Do(req *http.Request) (resp *http.Response, err error) {
	defer func() {
		if broken := recover(); broken == http.ErrAbortHandler {
			resp, err = nil, io.ErrUnexpectedEOF
		} else if broken != nil {
			panic(broken)
		}
	}()
	recorder := httptest.NewRecorder()
	body, err := io.ReadAll(cmp.Or[io.Reader](req.Body, http.NoBody))
	if err != nil {
		return nil, err
	}
	sent := httptest.NewRequest(req.Method, req.URL.String(), bytes.NewReader(body))
	sent.Header = req.Header.Clone()
	l.apple.ServeHTTP(recorder, sent)
	resp = recorder.Result()
	resp.Request = req
	return resp, nil
}

// glass is a sealer that hides nothing: these lives are about order.
type glass struct{}

func (glass) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return bytes.Clone(text), nil }

func (glass) Open(_ context.Context, sealed, _ []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errors.New("empty")
	}
	return bytes.Clone(sealed), nil
}

// random gives the bytes of a source.
type random struct{ *rand.Rand }

func (r random) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}
