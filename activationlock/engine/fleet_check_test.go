package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	fleetSkew = 2 * time.Minute // of two clocks, and what a call takes
	// A question for the code is repeated no sooner than this, which is what it takes
	// in the last hours of its window; any other after a day. After NotNow, after an
	// hour.
	codeRest, otherRest, notNowRest = 30 * time.Minute, day, time.Hour

	mostADay  = 54       // of a command: once an hour, and what enrollments begin anew
	mostBytes = 12 << 10 // of a record in JSON
	// Commands of a device that is off for all of the 90 days: each of three questions
	// after a day, two, four and then every week, and the one for the code every day
	// while its window is open, nine times toward its end, and then every week.
	mostQueued  = 3*(4+13) + 15 + 9 + 11
	mostUUIDs   = 8
	mostWords   = 16 // of evidence
	mostAskings = 7  // four commands and three services of Apple
)

// figures are what happened.
type figures struct {
	events, ticks, sessions, messages, commands, codes           int
	crashes, faults, outages, races, refused                     int
	lostCommands, lostPushes, lostMessages, notNows, late, twice int
	adopted, enrollments, stopped, erased, forged, unrecorded    int
	orders, bypasses, unlocked, liftsFailed, appleFaults         int
	liftsMisnamed                                                int // Apple was told of a forger
	requests                                                     map[activationlocktest.Service]int
	told                                                         map[engine.EventType]int

	checkedCodes, checkedFacts, allowed, overridden int
	askedAgain                                      int
	erase, eraseLate, eraseFirst, eraseUnseen       int
	reassign, reassignLate                          int
	oldest                                          [groups]time.Duration
	oldestLoss                                      time.Duration
	longestQueue, largestRecord, heap               int
	reachable, withCode, held, unlucky              int
	notHeld                                         map[string]int
	allowedAtEnd                                    int
}

func (y *figures) noted(e engine.Event) {
	if y.told == nil {
		y.told = map[engine.EventType]int{}
	}
	y.told[e.Type]++
}

func (y *figures) String(f *fleet) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\n  "+format, args...) }
	line("%d devices (%d adopted), %d forgers, %d enrollments, %d erases, %d stops at the activation screen", f.honest(), y.adopted, y.forged, y.enrollments, y.erased, y.stopped)
	line("%d messages in %d sessions, %d ticks, %d commands, %d codes taken", y.messages, y.sessions, y.ticks, y.commands, y.codes)
	line("%d servers died, %d faults of stores, %d outages, %d races, %d messages refused, %d enrollments that nobody could record", y.crashes, y.faults, y.outages, y.races, y.refused, y.unrecorded)
	line("lost: %d commands, %d pushes, %d messages; %d came late, %d twice, %d NotNow", y.lostCommands, y.lostPushes, y.lostMessages, y.late, y.twice, y.notNows)
	line("Apple: %v requests, %d faults; %d bypasses unlocked %d, %d could not, %d of these for a forger; %d locks ordered", y.requests, y.appleFaults, y.bypasses, y.unlocked, y.liftsFailed, y.liftsMisnamed, y.orders)
	line("code in escrow in time: %d times, %d of these to be asked for again; permissions to lock: %d, without a code %d", y.checkedCodes, y.askedAgain, y.allowed, y.overridden)
	line("inventory young enough: %d times; the oldest %.1f days, in the window of a school %.1f, with a daily inventory %.1f; soon after a loss %.1f", y.checkedFacts,
		max(y.oldest[anywhere], y.oldest[organization], y.oldest[forbidden], y.oldest[lab]).Hours()/24, y.oldest[school].Hours()/24, y.oldest[daily].Hours()/24, y.oldestLoss.Hours()/24)
	line("may be erased: %d, of which %d locked since, %d locked before their code was asked for and %d with a lock that came again unseen; may be reassigned: %d, of which %d locked since", y.erase, y.eraseLate, y.eraseFirst, y.eraseUnseen, y.reassign, y.reassignLate)
	line("the largest record has %d bytes, the longest queue %d commands; heap %d KiB per device, test and all", y.largestRecord, y.longestQueue, y.heap/1024/len(f.members))
	line("at the end: %d devices can be reached, %d have a code, %d of these are in escrow; not: %v; %d may lock", y.reachable, y.withCode, y.held, y.notHeld, y.allowedAtEnd)
	line("events: %v", y.told)
	return b.String()
}

// checkFigures sees that all of it happened.
func (f *fleet) checkFigures() {
	y := &f.sum
	for what, n := range map[string]int{
		"crashes": y.crashes, "faults": y.faults, "races": y.races, "refused": y.refused, "lost commands": y.lostCommands, "lost pushes": y.lostPushes,
		"lost messages": y.lostMessages, "NotNow": y.notNows, "late": y.late, "twice": y.twice, "stopped": y.stopped, "forged": y.forged,
		"bypasses": y.unlocked, "orders": y.orders, "Apple's faults": y.appleFaults, "permissions without code": y.overridden,
		"erase": y.erase, "reassign": y.reassign, "disputes": y.told[engine.SerialDisputed], "locks": y.told[engine.Locked],
		"codes checked": y.checkedCodes, "facts checked": y.checkedFacts,
	} {
		require.NotZero(f, n, "%s: none", what)
	}
	require.LessOrEqual(f, 100*y.askedAgain, y.checkedCodes, "few codes are to be asked for again")
	// The checks are of most of the fleet, and not of a few lucky ones.
	require.Greater(f, 2*y.held, y.withCode, "most codes are in escrow")
	require.LessOrEqual(f, 20*y.unlucky, y.withCode, "most of the others are not, for a good reason")
	require.Greater(f, y.erase, 20*y.eraseLate, "yes to an erase that makes a brick")
}

func (f *fleet) fail(m *member, format string, args ...any) {
	f.Helper()
	record, _ := json.Marshal(f.stored(m.device.ID()))
	config := m.device.Config()
	f.Fatalf("%s (seed %d), %s, %s %s, group %d, since %s:\n%s\n%s\n\n%s", f.now.Format("02 Jan 15:04:05"), *fleetSeedFlag, m.serial, config.ProductName, config.OSVersion,
		m.group, m.since.Format("02 Jan 15:04"), strings.Join(m.trace, "\n"), record, fmt.Sprintf(format, args...))
}

// note keeps what happened to a device last, for a test that fails.
func (m *member) note(format string, args ...any) {
	if len(m.trace) >= 80 {
		m.trace = slices.Delete(m.trace, 0, 40)
	}
	m.trace = append(m.trace, m.f.now.Format("02 Jan 15:04:05  ")+fmt.Sprintf(format, args...))
}

// stored is an enrollment's record.
func (f *fleet) stored(id string) inventory.Record {
	r, err := f.store.Inventory().Get(f.ctx, id)
	if err != nil {
		return inventory.Record{EnrollmentID: id}
	}
	return r
}

func lockOfRecord(r *inventory.Record) activationlock.Lock { return activationlock.Derive(r.Evidence) }

// recorded sees what a server committed.
func (s *fleetServer) recorded(before, after *inventory.Record) {
	f, m := s.f, s.f.byID[after.EnrollmentID]
	require.NoError(f, kept(reflect.ValueOf(*after)))
	require.LessOrEqual(f, len(after.Exchanges), mostAskings)
	require.LessOrEqual(f, len(after.Evidence), mostWords)
	for name, x := range after.Exchanges {
		require.LessOrEqual(f, len(x.UUIDs), mostUUIDs)
		if was := before.Exchanges[name]; !x.AskedAt.Equal(was.AskedAt) && !x.AskedAt.IsZero() {
			s.planned = append(s.planned, after.EnrollmentID)
			if m != nil && name == askFacts {
				m.factsAsked++
			}
		}
	}
	if m == nil {
		return
	}
	if x, was := after.Exchanges[askFacts], before.Exchanges[askFacts]; !x.AnsweredAt.Equal(was.AnsweredAt) {
		m.factsAsked = 0
	}
	if !after.AuthenticatedAt.Equal(before.AuthenticatedAt) {
		m.began, m.factsAsked, m.informedAt = true, 0, time.Time{}
		m.given, m.asked, m.noted = map[string]bool{}, map[string]question{}, ""
	}
	on := func(fact *bool) bool { return fact != nil && *fact }
	findMy := on(after.Facts.FindMy) && !on(before.Facts.FindMy)
	if (findMy || saysOn(before, after, activationlock.SourceDevice)) && !m.heard.Before(m.codeMadeAt) {
		m.told()
	}
	// On Apple's word, which may be old, the device is not asked; but that there may be
	// another lock is known.
	if saysOn(before, after, activationlock.SourceApple) && f.now.Add(-m.delay()).After(m.codeMadeAt) {
		m.hidden = false
	}
}

// saysOn reports whether a source says that the lock is on, and the last word before,
// of the device, of Apple or of a call, was that it is off: so it came on meanwhile.
func saysOn(before, after *inventory.Record, source activationlock.Source) bool {
	var last, was, is activationlock.Evidence
	for _, e := range before.Evidence {
		if e.Source != activationlock.SourceLostMode {
			last = e
		}
		if e.Source == source {
			was = e
		}
	}
	for _, e := range after.Evidence {
		if e.Source == source {
			is = e
		}
	}
	return is.State == activationlock.On && is.Kind != activationlock.OrganizationLinked && is != was &&
		(last.State == activationlock.Off || source == activationlock.SourceDevice && was.State == activationlock.Off)
}

// told notes that there was word of the device's new code.
func (m *member) told() {
	if m.unseen {
		m.unseen, m.hidden, m.toldAt = false, false, m.f.now
	}
}

// marked sees a mark on a code.
func (f *fleet) marked(before, changed []escrow.Entry) {
	for _, e := range changed {
		was := slices.IndexFunc(before, func(b escrow.Entry) bool { return b.ID == e.ID })
		if m := f.bySerial[e.Subject.SerialNumber]; m != nil && was >= 0 && before[was].StaleSince.IsZero() && !e.StaleSince.IsZero() {
			m.marked = true
		}
	}
}

// enrolled is after a server took an Authenticate.
func (f *fleet) enrolled(m *member) {
	if m.began {
		m.told()
	}
	r := f.stored(m.device.ID())
	// A mark on its code is as good as a record, but not of a device that left before.
	if m.missed = !m.began && !(m.marked && r.Live()); m.missed {
		f.sum.unrecorded++
		m.disturb(0)
	}
}

// checkMessage is what must hold of the answer to a message.
func (f *fleet) checkMessage(s *fleetServer, m *member, l letter, code, checkIn string, out engine.Outcome, err error) {
	if err != nil && (code == "" || checkIn != "" || !s.faulty) {
		f.fail(m, "an error for no reason: %v", err)
	}
	require.NotNil(f, out.Redacted)
	require.False(f, code != "" && strings.Contains(string(out.Redacted), code), "a code is in what to keep")
	f.checkCommands(s, []engine.Batch{{Enrollment: engine.Enrollment{ID: l.id}, Commands: out.Commands}})
}

var codeLike = regexp.MustCompile(`[0-9A-Z]{5}-[0-9A-Z]{5}(-[0-9A-Z]{4}){4}`)

// checkSecrets sees that no code is in what a server says.
func (f *fleet) checkSecrets(s *fleetServer) {
	require.False(f, codeLike.Match(s.log.Bytes()), "a code is in the log")
	s.log.Reset()
	for _, e := range s.events {
		f.sum.noted(e)
		if e.Err != nil {
			require.False(f, codeLike.MatchString(e.Err.Error()), "a code is in an event")
		}
	}
	s.events = s.events[:0]
}

// answered notes what a report says of the question that it answers.
func (f *fleet) answered(m *member, l letter) {
	if l.request == "" || l.enrollment != m.enrollments || statusIs(l.raw, "NotNow") {
		return
	}
	delete(m.asked, l.request)
	if l.request == askFacts {
		delete(m.asked, askCode) // it may say why to ask again
	}
}

// putOff notes that a device could not answer a question now, which a server that
// died, or whose store failed, may have on record.
func (f *fleet) putOff(m *member, l letter, noted bool) {
	if uuid, _ := textAfter(l.raw, "<key>CommandUUID</key>"); !f.stored(l.id).Exchanges[l.request].Asked(uuid) {
		return // it was asked before something happened that makes its answer one of no use
	}
	if q, there := m.asked[l.request]; there && statusIs(l.raw, "NotNow") {
		if q.notNow = true; noted && !f.comesOut(m) {
			q.at = f.now
		}
		m.asked[l.request] = q
	}
}

// comesOut reports whether a server that is in the middle of a call has planned
// something for a device, before whatever happens now.
func (f *fleet) comesOut(m *member) bool {
	return slices.ContainsFunc(f.servers, func(s *fleetServer) bool { return s.busy && slices.Contains(s.planned, m.device.ID()) })
}

// checkCommands is what must hold of commands that come out of a server: nothing is
// asked that is on its way already, by whatever server, and nothing in a circle.
func (f *fleet) checkCommands(s *fleetServer, batches []engine.Batch) {
	for _, b := range batches {
		m := f.byID[b.Enrollment.ID]
		for _, c := range b.Commands {
			f.sum.commands++
			require.NotNil(f, m, "a command for nobody")
			if r := f.stored(b.Enrollment.ID); r.UserEnrollment { // of an adopted one nobody knows until it speaks
				f.fail(m, "a command for a device of a user")
			}
			if c.RequestType == askCode {
				config, facts := m.device.Config(), f.stored(b.Enrollment.ID).Facts
				if strings.HasPrefix(config.ProductName, "AppleTV") || strings.HasPrefix(config.ProductName, "Watch") ||
					config.SharedIPad && facts.SharedIPad != nil {
					f.fail(m, "asked for a code that it cannot have")
				}
			}
			q, there := m.asked[c.RequestType]
			rest := otherRest
			switch {
			case q.notNow:
				rest = notNowRest
			case c.RequestType == askCode:
				rest = codeRest
			}
			if there && f.now.Sub(q.at) < rest-fleetSkew {
				f.fail(m, "%s is asked by server %d while it is on its way since %s", c.RequestType, s.name, q.at.Format("02 Jan 15:04:05"))
			}
			m.asked[c.RequestType] = question{at: f.now}
			m.note("server %d asks %s", s.name, c.RequestType)
			if today := f.now.Format(time.DateOnly); m.today != today {
				m.today, m.perDay = today, map[string]int{}
			}
			if m.perDay[c.RequestType]++; m.perDay[c.RequestType] > mostADay {
				f.fail(m, "%s is asked in a circle", c.RequestType)
			}
			if c.RequestType == askSettings && strings.Contains(string(c.Plist), "<key>ActivationLockAllowedWhileSupervised</key><true/>") {
				f.checkAllow(m, b.Enrollment.ID)
			}
		}
	}
}

// checkAllow: the lock is allowed only with a code in escrow that the device gave
// in this enrollment, or with a word in the audit.
func (f *fleet) checkAllow(m *member, id string) {
	r := f.stored(id)
	entries, err := f.store.Escrow().Entries(f.ctx, r.Subject())
	require.NoError(f, err)
	if slices.ContainsFunc(entries, func(e escrow.Entry) bool {
		return e.Kind == bypasscode.Device && e.State == escrow.Current && m.given[textOf(e)]
	}) {
		f.sum.allowed++
		if v := m.victim; v != nil && r.Facts.SerialNumber == v.serial && v.enrollments == m.victimThen {
			if victim := f.stored(v.device.ID()); victim.Live() {
				f.fail(m, "the lock of a forger is allowed")
			}
		}
		return
	}
	if m.group != lab {
		f.fail(m, "the lock is allowed without a code of this enrollment in escrow: %d entries", len(entries))
	}
	if f.overrides[r.Subject()] == 0 {
		f.fail(m, "the lock is allowed without a code, and nothing is in the audit")
	}
	f.overrides[r.Subject()]--
	f.sum.overridden++
}

// audited sees what the audit was told.
func (f *fleet) audited(entries []audit.Entry) {
	for _, e := range entries {
		if e.Act == audit.Overridden {
			f.overrides[escrow.SubjectOf(e.SerialNumber, e.EnrollmentID)]++
		}
	}
}

// checkSession is what must hold when a device was in touch, took every command and
// gave every answer, and nothing got lost on the way.
func (f *fleet) checkSession(m *member) {
	if m.device.Config().UserEnrollment || m.victim != nil || f.nested > 0 {
		return // in the middle of a call, some commands are not in the queue yet
	}
	age := f.now.Sub(m.informedAt)
	if !f.now.After(m.calmFacts) {
		if !m.informedAt.IsZero() {
			f.sum.oldestLoss = max(f.sum.oldestLoss, age)
		}
	} else {
		f.sum.checkedFacts++
		f.sum.oldest[m.group] = max(f.sum.oldest[m.group], age)
		if age > m.group.oldest()+fleetSkew {
			f.fail(m, "the inventory is %s old", age)
		}
	}
	f.checkCode(m)
}

// checkCode: a device that gives its code still, and was in touch without a loss
// (and so for a day before, since what gets lost is asked again after a day; for a
// week where nobody knows since when its time runs) has its code in escrow.
func (f *fleet) checkCode(m *member) {
	if why := f.notAskable(m); why != "" || !f.now.After(m.calm) || !f.now.Before(m.since.Add(activationlock.CodeWindow)) {
		return
	}
	f.sum.checkedCodes++
	m.askable = m.device.Code().Reveal()
	if state, held := f.holds(m); !held {
		f.fail(m, "its code is not in escrow; calm since %s", m.calm.Format("02 Jan 15:04"))
	} else if state == escrow.Disputed && f.asksAgain(m) {
		f.sum.askedAgain++
	} else if state != escrow.Current && state != escrow.Worked {
		f.fail(m, "its code is %s", state)
	}
}

// asksAgain reports whether a device's code came when the lock had just come on, to a
// question from before: it is kept and not relied on, and asked for again within the
// hour.
func (f *fleet) asksAgain(m *member) bool {
	r := f.stored(m.device.ID())
	x := r.Exchanges[askCode]
	left := x.AgainAt.Sub(f.now)
	return r.CodeWanted && len(x.UUIDs) == 0 && left > -fleetSkew && left < notNowRest+fleetSkew
}

// notAskable says why a device's code cannot be known to anybody.
func (f *fleet) notAskable(m *member) string {
	switch {
	case m.device.Code().IsZero():
		return "no code"
	case m.missed:
		return "its enrollment could not be recorded"
	case m.unseen:
		return "nothing told of its new code"
	case f.disputed(m):
		return "its serial number is disputed"
	}
	return ""
}

// holds reports whether the code that a device has now is in escrow.
func (f *fleet) holds(m *member) (escrow.State, bool) {
	entries, err := f.store.Escrow().Entries(f.ctx, escrow.Subject{SerialNumber: m.serial})
	require.NoError(f, err)
	var state escrow.State
	held := false
	for _, e := range entries { // one that came while nobody could say whose it is, is filed once more
		if textOf(e) == m.device.Code().Reveal() && (!held || e.State == escrow.Current) {
			state, held = e.State, true
		}
	}
	return state, held
}

// inEscrow reports whether a code that an enrollment gave is in escrow.
func (f *fleet) inEscrow(id, code string) bool {
	r := f.stored(id)
	for _, subject := range []escrow.Subject{r.Subject(), {EnrollmentID: id}} {
		entries, err := f.store.Escrow().Entries(f.ctx, subject)
		require.NoError(f, err)
		if slices.ContainsFunc(entries, func(e escrow.Entry) bool { return textOf(e) == code }) {
			return true
		}
	}
	return false
}

// delay is how old Apple's word of a lock may be.
func (m *member) delay() time.Duration { return m.readings.StatusDelay + fleetSkew }

// mayBeErased asks whether a device may be erased, and sees whether that is true.
func (f *fleet) mayBeErased(m *member) (yes bool) {
	f.call(nil, func(s *fleetServer) {
		answer, err := s.engine.CanErase(f.ctx, m.serial)
		if errors.Is(err, inventory.ErrNotFound) {
			yes = true // it was never here
			return
		}
		require.True(f, err == nil || s.faulty, "%v", err)
		yes = err == nil && answer.Yes()
	})
	r := f.stored(m.device.ID())
	lock := m.apple.Lock(m.serial)
	if !yes || r.LastSeen.IsZero() {
		return yes
	}
	f.sum.erase++
	codes, err := f.escrow.Records(f.ctx, escrow.Subject{SerialNumber: m.serial})
	require.NoError(f, err)
	word := lockOfRecord(&r)
	switch {
	case lock.Kind == activationlocktest.NotLocked || f.opens(m, codes):
	case lock.Kind == activationlocktest.UserLinked && lock.Code.IsZero():
		f.sum.eraseFirst++
	case m.hidden:
		// It went and came again, with another code, between two words that it is on:
		// they are the same as if it had stayed. See recorded for what tells of it.
		f.sum.eraseUnseen++
	case !lock.Since.Before(word.At.Add(-m.delay())):
		f.sum.eraseLate++
	default:
		f.fail(m, "it may be erased, with a %s lock on since %s that no code opens; last word %s", lock.Kind, lock.Since.Format("02 Jan 15:04:05"), word.At.Format("02 Jan 15:04:05"))
	}
	return true
}

// mayBeReassigned does the same for giving it to somebody else.
func (f *fleet) mayBeReassigned(m *member) {
	yes := false
	f.call(nil, func(s *fleetServer) {
		answer, err := s.engine.CanReassign(f.ctx, m.serial)
		require.True(f, err == nil || s.faulty || errors.Is(err, inventory.ErrNotFound), "%v", err)
		yes = err == nil && answer.Yes()
	})
	r := f.stored(m.device.ID())
	lock := m.apple.Lock(m.serial)
	if !yes || r.Device().HasLock() == activationlock.Off {
		return
	}
	f.sum.reassign++
	if lock.Kind == activationlocktest.NotLocked {
		return
	}
	f.sum.reassignLate++
	if word := lockOfRecord(&r); lock.Since.Before(word.At.Add(-m.delay())) {
		f.fail(m, "it may be reassigned, with a %s lock on since %s; last word %s", lock.Kind, lock.Since.Format("02 Jan 15:04:05"), word.At.Format("02 Jan 15:04:05"))
	}
}

func (f *fleet) refusedLift(m *member, err error) { f.fail(m, "the bypass cannot begin: %v", err) }

// checkLift sees what came of a bypass.
func (f *fleet) checkLift(m *member) {
	a, err := f.store.Actions().Get(f.ctx, m.bypass.id)
	require.NoError(f, err)
	lock := m.apple.Lock(m.serial)
	opened := lock.Kind == activationlocktest.NotLocked || !lock.Since.Before(m.bypass.at) // opened, and back
	if !a.State.Over() {
		return // Apple's faults, or ours; see checkEnd
	}
	if a.State == bypass.Done {
		f.sum.unlocked++
	} else {
		f.sum.liftsFailed++
	}
	config := m.device.Config()
	refuses := m.readings.NoUnlockOfMacs && strings.HasPrefix(config.ProductName, "Mac") ||
		m.readings.NoUnlockOfVisionPro && strings.HasPrefix(config.ProductName, "Reality")
	if m.bypass.opens && !refuses && !opened && a.State != bypass.Done && f.madeForAnother(m) {
		f.sum.liftsMisnamed++
		return
	}
	if a.State == bypass.Done && !opened || m.bypass.opens && !refuses && !opened {
		f.fail(m, "bypass %+v, and the lock is %s since %s; a code opens it: %t", a, lock.Kind, lock.Since.Format("02 Jan 15:04:05"), m.bypass.opens)
	}
}

// madeForAnother reports whether the organization's lock of a device was ordered while
// nobody but a forger claimed its serial number: its code goes to Apple with what is
// known of the forger, which does not fit.
func (f *fleet) madeForAnother(m *member) bool {
	entries, err := f.store.Escrow().Entries(f.ctx, escrow.Subject{SerialNumber: m.serial})
	require.NoError(f, err)
	return slices.ContainsFunc(entries, func(e escrow.Entry) bool {
		return e.Kind == bypasscode.Server && e.Device.UDID != m.device.Config().UDID && f.opens(m, []escrow.Record{e.Record})
	})
}

// measureOn sees, every few days, that nothing grows.
func (f *fleet) measureOn() {
	f.in(5*day, f.measureOn)
	for id := range f.byID {
		raw, err := json.Marshal(f.stored(id))
		require.NoError(f, err)
		f.sum.largestRecord = max(f.sum.largestRecord, len(raw))
	}
	require.LessOrEqual(f, f.sum.largestRecord, mostBytes)
	require.LessOrEqual(f, f.sum.longestQueue, mostQueued)
	require.LessOrEqual(f, f.sum.liftsMisnamed, 1+f.sum.bypasses/100)
}

// checkEnd is what must be in the end.
func (f *fleet) checkEnd() {
	f.measureOn()
	f.sum.notHeld = map[string]int{}
	for _, m := range f.members[:f.honest()] {
		f.session(m)
	}
	for _, m := range f.members[:f.honest()] {
		f.checkKept(m)
		if m.away || !m.device.Enrolled() {
			continue
		}
		f.sum.reachable++
		if m.device.Code().IsZero() {
			continue
		}
		f.sum.withCode++
		state, held := f.holds(m)
		why := f.notAskable(m)
		switch {
		case held:
			f.sum.held++
		case why != "":
			f.sum.notHeld[why]++
		case m.askable == m.device.Code().Reveal():
			f.fail(m, "the code was in escrow and is not any more")
		case !m.toldAt.Before(m.since.Add(activationlock.CodeWindow)):
			f.sum.notHeld["nothing told of its new code in time"]++
		case m.since.Before(f.start):
			f.sum.notHeld["it was supervised before the engine was there"]++
		default:
			f.sum.unlucky++
			f.sum.notHeld["it was not in touch, without a loss, while it gave its code"]++
		}
		f.checkAllowed(m, held && state == escrow.Current)
	}
	actions, err := f.store.Actions().Scan(f.ctx, "", 1000, true)
	require.NoError(f, err)
	for _, a := range actions {
		require.Less(f, f.now.Sub(a.StartedAt), fleetPeace, "a bypass is never over")
	}
	log, err := audit.New(audit.Config{Store: f.store.Audit()})
	require.NoError(f, err)
	_, err = log.Verify(f.ctx, audit.Head{})
	require.NoError(f, err)
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	f.sum.heap = int(memory.HeapAlloc)
}

// checkKept: every code that was taken is in escrow, once.
func (f *fleet) checkKept(m *member) {
	entries, err := f.store.Escrow().Entries(f.ctx, escrow.Subject{SerialNumber: m.serial})
	require.NoError(f, err)
	type filed struct {
		subject escrow.Subject
		kind    bypasscode.Kind
		code    string
	}
	held, codes := map[filed]bool{}, map[string]bool{}
	for _, e := range entries {
		// Once by the serial number; and once by the enrollment, if it came while
		// nobody could say whose it is.
		place := filed{e.Subject, e.Kind, textOf(e)}
		require.False(f, held[place], "a code is in escrow twice")
		held[place], codes[place.code] = true, true
	}
	for code := range m.taken {
		if !codes[code] {
			f.fail(m, "a code that was taken is gone")
		}
	}
}

// checkAllowed: at last each device with a code in escrow that it gave in this
// enrollment has the options of its policy.
func (f *fleet) checkAllowed(m *member, held bool) {
	vision := strings.HasPrefix(m.device.Config().ProductName, "Reality") // which does not tell
	if !held || vision || !m.given[m.device.Code().Reveal()] || m.noted != m.device.Code().Reveal() || m.missed || f.now.Sub(m.settledAt()) < 2*day {
		return
	}
	raw, err := mdmcmd.Encode("host", mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{"MDMOptions"}})
	require.NoError(f, err)
	may, answered := false, false
	for range 100 { // more often than any says NotNow
		messages, err := m.device.Answer(raw)
		require.NoError(f, err)
		require.NotEmpty(f, messages)
		for _, raw := range messages {
			report, err := mdmcmd.Parse(raw)
			require.NoError(f, err)
			q := report.(*mdmcmd.Report).QueryResponses
			if q == nil {
				continue // NotNow
			}
			answered = true
			if o := q.MDMOptions; o != nil && o.ActivationLockAllowedWhileSupervised != nil {
				may = *o.ActivationLockAllowedWhileSupervised
			}
		}
		if answered {
			break
		}
	}
	require.True(f, answered, "the device says whether the lock is allowed")
	if want := *policies[m.group].Options.ActivationLockAllowedWhileSupervised; may != want {
		f.fail(m, "the lock is allowed: %t", may)
	}
	if may {
		f.sum.allowedAtEnd++
	}
}

// settledAt is since when nothing could go wrong.
func (m *member) settledAt() time.Time { return m.calm.Add(-day) }
