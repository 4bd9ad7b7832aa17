package engine_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

var (
	livesFlag = flag.Int("lives", 300, "number of random lives to play")
	seedFlag  = flag.Uint64("seed", 0, "play only the life of this seed")
)

const (
	askCode     = "ActivationLockBypassCode"
	askFacts    = "DeviceInformation"
	askSecurity = "SecurityInfo"
	askSettings = "Settings"
)

// Random lives of a device, its host and its enemies. What must always hold is
// checked after every step, and what must come true in the end, once all is
// well for some days, at the end.
func TestLives(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		playLife(t, *seedFlag)
		return
	}
	for seed := range uint64(*livesFlag) {
		t.Run(fmt.Sprintf("seed=%d", seed+1), func(t *testing.T) {
			t.Parallel()
			playLife(t, seed+1)
		})
	}
}

// lifeDevice is a device as it truly is, and its queue at the host.
type lifeDevice struct {
	id, serial, product, version                        string
	enrolled, supervised, findMy, allowed, locked, awry bool
	code                                                string
	since                                               time.Time // supervision began
	away                                                int       // steps for which it cannot be reached

	queue, notNow []engine.Queued
	again         []wire // refused by the server: sent again
}

func (d *lifeDevice) givesCode(now time.Time) bool {
	return d.supervised && now.Before(d.since.Add(activationlock.CodeWindow))
}

// wire is a message on its way.
type wire struct {
	from           engine.Enrollment
	raw            []byte
	checkin        string // the type of a check-in
	uuid, code     string
	authenticFacts bool // says that Find My is on
	made           time.Time
	believable     bool
}

// life is one life.
type life struct {
	t        *testing.T
	rng      *rand.Rand
	ctx      context.Context
	now      time.Time
	seed     uint64
	trace    []string
	engines  []*engine.Engine
	store    *memstore.Store
	escrow   *escrow.Escrow // without faults
	records  inventory.Store
	log      bytes.Buffer
	events   []engine.Event
	victim   *lifeDevice
	forger   *lifeDevice
	late     []wire
	commands int

	// What kind of life.
	rerolls     bool // a new code when Find My comes on
	hostClears  bool // the host drops its queue when a device enrolls
	hostKeeps   bool // the host sends what a device answered with NotNow again
	checksOut   bool
	pLate, pDup float64
	pLost, pNot float64
	pOut        float64

	// Faults of now.
	escrowFault, inventoryFault, pRace float64

	// The call that is being made.
	depth                       int
	speaker                     string
	open                        []wire // messages of the calls that are being made
	escrowFailed, began, marked bool

	// What was seen to be committed.
	entries  map[string]escrow.Entry
	epoch    map[string]int             // enrollments begun, by enrollment
	askedIn  map[string]int             // epoch of a question for the code, by UUID
	given    map[string]map[string]bool // codes given on being asked, by enrollment and epoch
	mustHold map[string]int             // codes of which the device believes that they arrived, by step
	given256 map[string]map[string]bool // different codes by enrollment
	all      []string                   // every code that there ever was
	perDay   map[string]int

	changedAt time.Time // the code changed
	unseen    bool      // and nothing told the engine
	missed    bool      // nobody could record that it enrolled
}

func (l *life) chance(p float64) bool { return l.rng.Float64() < p }

func (l *life) pick(n int) int { return l.rng.IntN(n) }

func (l *life) note(format string, args ...any) {
	l.trace = append(l.trace, l.now.Format("01-02 15:04:05 ")+strings.Repeat("  ", l.depth)+fmt.Sprintf(format, args...))
}

func (l *life) fail(format string, args ...any) {
	l.t.Helper()
	tail := l.trace[max(0, len(l.trace)-80):]
	l.t.Fatalf("life %d (go test ./activationlock/engine -run TestLives -seed=%d):\n%s\n\n%s",
		l.seed, l.seed, strings.Join(tail, "\n"), fmt.Sprintf(format, args...))
}

// newCode makes a code; in some lives one that does not parse.
func (l *life) newCode() string {
	raw := make([]byte, 16)
	for i := range raw {
		raw[i] = byte(l.pick(256))
	}
	code, err := bypasscode.FromBytes(raw)
	require.NoError(l.t, err)
	text := code.Reveal()
	if l.seed%4 == 0 {
		text = strings.ToLower(text)
	}
	l.all = append(l.all, text)
	return text
}

// The stores, with faults before a change and, worse, after it; between the
// steps of one call the other server may be faster.

func (l *life) fault(p float64, do func() error) (failed bool, err error) {
	if !l.chance(p) {
		return false, do()
	}
	if l.chance(0.7) {
		return true, errDown
	}
	if err := do(); err != nil {
		return true, err
	}
	return true, errDown
}

// rehearse runs a change in vain before it counts, now and then: a transaction
// that has to begin anew, or one that cannot be committed.
func (l *life) rehearse(p float64, do func(abort error) error) (failed bool, err error) {
	if l.chance(p) {
		if err := do(errDown); err != errDown {
			return true, err
		}
		if l.chance(0.5) {
			return true, errDown
		}
	}
	return false, do(nil)
}

type lifeEscrow struct {
	escrow.Store
	l *life
}

func (s lifeEscrow) faulty(do func() error) error {
	s.l.meanwhile()
	failed, err := s.l.fault(s.l.escrowFault, do)
	s.l.escrowFailed = s.l.escrowFailed || failed
	return err
}

func (s lifeEscrow) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	return s.faulty(func() error {
		var changed []escrow.Entry
		failed, err := s.l.rehearse(s.l.escrowFault, func(abort error) error {
			return s.Store.Update(ctx, subject, func(entries []escrow.Entry) (_ []escrow.Entry, err error) {
				if changed, err = change(entries); err == nil {
					err = abort
				}
				return changed, err
			})
		})
		s.l.escrowFailed = s.l.escrowFailed || failed
		if err == nil {
			for _, e := range changed {
				s.l.committed(e)
			}
		}
		return err
	})
}

func (s lifeEscrow) Entries(ctx context.Context, subject escrow.Subject) (entries []escrow.Entry, err error) {
	err = s.faulty(func() error {
		entries, err = s.Store.Entries(ctx, subject)
		return err
	})
	return entries, err
}

func (s lifeEscrow) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	return s.faulty(func() error { return s.Store.Join(ctx, enrollmentID, serialNumber) })
}

type lifeInventory struct {
	inventory.Store
	l *life
}

func (s lifeInventory) faulty(do func() error) error {
	s.l.meanwhile()
	_, err := s.l.fault(s.l.inventoryFault, do)
	return err
}

func (s lifeInventory) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return s.faulty(func() error {
		var before, after inventory.Record
		_, err := s.l.rehearse(s.l.inventoryFault, func(abort error) error {
			return s.Store.Update(ctx, id, func(r *inventory.Record) error {
				before = r.Clone()
				if err := change(r); err != nil {
					return err
				}
				after = r.Clone()
				return abort
			})
		})
		if err == nil && !before.AuthenticatedAt.Equal(after.AuthenticatedAt) {
			s.l.epoch[id]++
			s.l.began = true
		}
		return err
	})
}

func (s lifeInventory) Get(ctx context.Context, id string) (r inventory.Record, err error) {
	err = s.faulty(func() error {
		r, err = s.Store.Get(ctx, id)
		return err
	})
	return r, err
}

func (s lifeInventory) BySerialNumber(ctx context.Context, serial string) (found []inventory.Record, err error) {
	err = s.faulty(func() error {
		found, err = s.Store.BySerialNumber(ctx, serial)
		return err
	})
	return found, err
}

// committed sees what escrow keeps.
func (l *life) committed(e escrow.Entry) {
	before, there := l.entries[e.ID]
	if there && !bytes.Equal(before.Sealed, e.Sealed) {
		l.fail("the text of record %s changed", e.ID)
	}
	if there && before.StaleSince.IsZero() && !e.StaleSince.IsZero() {
		l.marked = true
	}
	if there && before.State == escrow.Current && e.State != escrow.Current &&
		before.EnrollmentID == l.victim.id && l.forger != nil && l.speaker == l.forger.id {
		l.fail("the forger made the victim's code %s", e.State)
	}
	l.entries[e.ID] = e
}

// meanwhile lets something else happen in the middle of a call, on another
// server.
func (l *life) meanwhile() {
	if l.depth != 1 || !l.chance(l.pRace) {
		return
	}
	if len(l.late) > 0 && l.chance(0.5) {
		l.deliverLate()
		return
	}
	if d := l.victim; d.enrolled && l.chance(0.8) {
		l.deliver(d, l.report(d, "", idle(d.id)))
	}
}

// raw is an enrollment's record as stored.
func (l *life) raw(id string) inventory.Record {
	r, err := l.records.Get(l.ctx, id)
	if err != nil {
		return inventory.Record{EnrollmentID: id}
	}
	return r
}

// deliver hands a message to one of the engines and checks what comes of it.
func (l *life) deliver(d *lifeDevice, w wire) (ok bool) {
	l.now = l.now.Add(time.Second + time.Duration(l.pick(1000)))
	l.depth++
	speaker, failed, began, marked := l.speaker, l.escrowFailed, l.began, l.marked
	l.speaker, l.escrowFailed, l.began, l.marked = w.from.ID, false, false, false
	before := l.raw(w.from.ID)
	l.open = append(l.open, w)

	e := l.engines[l.pick(len(l.engines))]
	handle := e.HandleReport
	if w.checkin != "" {
		handle = e.HandleCheckin
	}
	out, err := handle(l.ctx, w.from, w.raw)
	l.note("%s: %s%s uuid=%s code=%s -> %v err=%v", w.from.ID, w.checkin, statusOf(w.raw), w.uuid, w.code, types(out), err)
	l.check(w, out, err)
	l.open = l.open[:len(l.open)-1]

	after := l.raw(w.from.ID)
	if w.from.ID == l.victim.id && w.believable {
		if w.checkin == "Authenticate" && w.made.After(l.victim.since) {
			l.missed = !l.began && !l.marked
		}
		stale := slices.ContainsFunc(l.late, func(w wire) bool { return w.code != "" })
		comesOn := w.authenticFacts && (before.Facts.FindMy == nil || !*before.Facts.FindMy) && after.Facts.FindMy != nil && *after.Facts.FindMy
		if w.made.After(l.changedAt) && (comesOn || w.checkin == "Authenticate" && (l.began || l.marked && !stale)) {
			l.unseen = false
		}
	}
	l.depth--
	l.speaker, l.escrowFailed, l.began, l.marked = speaker, failed, began, marked

	for _, c := range out.Commands {
		switch {
		case l.chance(l.pLost):
		case l.chance(l.pDup):
			d.queue = append(d.queue, c, c)
		default:
			d.queue = append(d.queue, c)
		}
	}
	return err == nil
}

func statusOf(raw []byte) string {
	_, rest, _ := strings.Cut(string(raw), "<key>Status</key><string>")
	status, _, _ := strings.Cut(rest, "<")
	return status
}

// check is what must hold after every call.
func (l *life) check(w wire, out engine.Outcome, err error) {
	id := w.from.ID
	// Errors are for codes and escrow only.
	if err != nil && (w.code == "" || !l.escrowFailed || w.checkin != "") {
		l.fail("an error for no reason: %v", err)
	}
	if out.Redacted == nil {
		l.fail("nothing to keep in place of the message")
	}
	// No secret in anything that gets out.
	texts := []string{string(out.Redacted), l.log.String(), fmt.Sprint(err)}
	for _, event := range l.events {
		texts = append(texts, fmt.Sprintf("%+v", event))
	}
	l.log.Reset()
	l.events = l.events[:0]
	for _, secret := range append([]string{"magic-secret"}, l.all...) {
		for _, text := range texts {
			if strings.Contains(text, secret) && (secret != "magic-secret" || text != string(out.Redacted)) {
				l.fail("a secret is in %q", text)
			}
		}
	}
	// No code gets lost.
	if w.code != "" && w.believable {
		seen := l.given256[id]
		if seen == nil {
			seen = map[string]bool{}
			l.given256[id] = seen
		}
		if _, err := bypasscode.NewText(w.code).Code(); err == nil {
			seen[w.code] = true
		} else { // it cannot be compared, and is kept each time
			seen[fmt.Sprint(w.code, len(seen))] = true
		}
		if err == nil && len(seen) <= escrow.Quota {
			l.mustHold[w.code] = len(l.trace)
		}
	}
	held := map[string]bool{}
	for _, e := range l.entries {
		held[textOf(e)] = true
	}
	for code, step := range l.mustHold {
		if !held[code] {
			l.fail("code %s of step %d is not in escrow", code, step)
		}
	}
	for _, w := range l.open {
		epoch, asked := l.askedIn[w.from.ID+w.uuid]
		if w.code != "" && w.believable && held[w.code] && asked && epoch == l.epoch[w.from.ID] {
			key := fmt.Sprint(w.from.ID, epoch)
			if l.given[key] == nil {
				l.given[key] = map[string]bool{}
			}
			l.given[key][w.code] = true
		}
	}

	record := l.raw(id)
	for _, c := range out.Commands {
		if !w.believable {
			l.fail("a command on a message that is not to be believed")
		}
		x := record.Exchanges[c.RequestType]
		if !x.Asked(c.UUID) || !strings.Contains(string(c.Plist), ">"+c.UUID+"<") || !strings.Contains(string(c.Plist), ">"+c.RequestType+"<") {
			l.fail("%s %s is not on record as asked", c.RequestType, c.UUID)
		}
		if len(x.UUIDs) > 8 || len(record.Exchanges) > 4 {
			l.fail("too much in flight")
		}
		// Once an hour at the most, but for what enrollments begin anew.
		day := fmt.Sprint(id, c.RequestType, l.epoch[id], l.now.Format(time.DateOnly))
		l.perDay[day]++
		if l.perDay[day] > 27 {
			l.fail("%s is asked in a circle", c.RequestType)
		}
		switch {
		case c.RequestType == askCode:
			l.askedIn[id+c.UUID] = l.epoch[id]
		case c.RequestType == askSettings && strings.Contains(string(c.Plist), "<true/>"):
			l.checkAllow(record)
		}
	}
}

// checkAllow: the lock is allowed only if a code that this very enrollment gave,
// on being asked, is in escrow.
func (l *life) checkAllow(r inventory.Record) {
	entries, err := l.store.Escrow().Entries(l.ctx, r.Subject())
	require.NoError(l.t, err)
	given := l.given[fmt.Sprint(r.EnrollmentID, l.epoch[r.EnrollmentID])]
	if !slices.ContainsFunc(entries, func(e escrow.Entry) bool {
		return e.Kind == bypasscode.Device && e.State == escrow.Current && given[textOf(e)]
	}) {
		l.fail("the lock is allowed without a code of enrollment %d of %s", l.epoch[r.EnrollmentID], r.EnrollmentID)
	}
	if l.forger != nil && r.EnrollmentID == l.forger.id && r.Facts.SerialNumber == l.victim.serial {
		l.fail("the lock of the forger is allowed")
	}
}

// report is a report of a device as it is now.
func (l *life) report(d *lifeDevice, uuid string, raw []byte) wire {
	return wire{from: engine.Enrollment{ID: d.id}, raw: raw, uuid: uuid, made: l.now, believable: true}
}

// send brings a report to the server, sooner or later, once or twice.
func (l *life) send(d *lifeDevice, w wire) {
	if l.chance(l.pLate) {
		l.late = append(l.late, w)
		return
	}
	if l.chance(l.pDup) {
		l.late = append(l.late, w)
	}
	if !l.deliver(d, w) {
		d.again = append(d.again, w)
	}
}

func (l *life) deliverLate() {
	i := l.pick(len(l.late))
	w := l.late[i]
	l.late = slices.Delete(l.late, i, i+1)
	d := l.victim
	if l.forger != nil && w.from.ID == l.forger.id {
		d = l.forger
	}
	l.note("late:")
	if !l.deliver(d, w) {
		l.late = append(l.late, w)
	}
}

// connect is a device that asks for work until there is none.
func (l *life) connect(d *lifeDevice) {
	if !d.enrolled {
		return
	}
	again := d.again
	d.again = nil
	for _, w := range again {
		l.send(d, w)
	}
	if l.hostKeeps {
		d.queue = append(d.notNow, d.queue...)
	}
	d.notNow = nil
	l.send(d, l.report(d, "", idle(d.id)))
	for range 12 {
		if len(d.queue) == 0 {
			return
		}
		i := 0
		if l.chance(l.pDup) {
			i = l.pick(len(d.queue))
		}
		c := d.queue[i]
		d.queue = slices.Delete(d.queue, i, i+1)
		if c.RequestType != askFacts && l.chance(l.pNot) {
			d.notNow = append(d.notNow, c)
			l.send(d, l.report(d, c.UUID, answer(d.id, c.UUID, "NotNow", nil)))
			continue
		}
		l.send(d, l.answer(d, c))
		if d.awry { // more than was asked
			d.findMy = !d.findMy
			l.send(d, l.facts(d, fmt.Sprintf("host-%d", l.pick(3))))
		}
	}
}

func (l *life) answer(d *lifeDevice, c engine.Queued) wire {
	if d.awry && l.chance(0.3) {
		status := []string{"Error", "CommandFormatError", "Idle", "NotNow", "Acknowledged"}[l.pick(5)]
		return l.report(d, c.UUID, answer(d.id, c.UUID, status, nil))
	}
	switch c.RequestType {
	case askFacts:
		return l.facts(d, c.UUID)
	case askSecurity:
		return l.report(d, c.UUID, answer(d.id, c.UUID, "Acknowledged", dict{"SecurityInfo": dict{"ManagementStatus": dict{"EnrolledViaDEP": true}}}))
	case askSettings:
		d.allowed = d.supervised
		d.locked = d.locked || d.allowed && d.findMy
		return l.report(d, c.UUID, answer(d.id, c.UUID, "Acknowledged", dict{"Settings": []any{dict{"Item": "MDMOptions", "Status": "Acknowledged"}}}))
	}
	if d.awry && l.chance(0.5) {
		d.code = l.newCode()
	}
	none := l.pick(3)
	switch {
	case d.givesCode(l.now) && l.chance(0.9):
		w := l.report(d, c.UUID, codeAnswer(d.id, c.UUID, d.code))
		w.code = d.code
		return w
	case none == 0:
		return l.report(d, c.UUID, codeAnswer(d.id, c.UUID, ""))
	case none == 1:
		return l.report(d, c.UUID, answer(d.id, c.UUID, "Acknowledged", nil))
	}
	return l.report(d, c.UUID, answer(d.id, c.UUID, "Error", deviceError("MCMDMErrorDomain", 12078)))
}

func (l *life) facts(d *lifeDevice, uuid string) wire {
	facts := dict{
		"ProductName": d.product, "OSVersion": d.version, "IsSupervised": d.supervised,
		"IsActivationLockEnabled": d.locked, "MDMOptions": dict{"ActivationLockAllowedWhileSupervised": d.allowed},
		"IsDeviceLocatorServiceEnabled": d.findMy,
	}
	if d.serial != "" {
		facts["SerialNumber"] = d.serial
	}
	if d.awry && l.chance(0.3) {
		facts["IsActivationLockEnabled"] = l.chance(0.5)
		facts["MDMOptions"] = dict{"ActivationLockAllowedWhileSupervised": l.chance(0.5)}
	}
	w := l.report(d, uuid, informationAnswer(d.id, uuid, facts))
	w.authenticFacts = d.findMy
	return w
}

// enroll begins an enrollment; between its messages there is time for trouble.
func (l *life) enroll(d *lifeDevice) {
	if l.hostClears {
		d.queue, d.notNow = nil, nil
	}
	d.again = nil
	fault := l.inventoryFault
	if d == l.victim && l.chance(l.pOut) { // an outage at the worst moment
		l.inventoryFault = 1
	}
	defer func() { l.inventoryFault = fault }()
	for _, name := range []string{"Authenticate", "TokenUpdate"} {
		if l.chance(0.3) {
			l.inventoryFault = fault
		}
		w := l.report(d, "", tokenUpdate(d.id))
		if name == "Authenticate" {
			w.raw = authenticate(d.id, d.serial, d.product, d.version)
			if d.serial == "" {
				w.raw = list(dict{"MessageType": name, "UDID": d.id, "Topic": "t"})
			}
		}
		w.checkin = name
		l.deliver(d, w)
		if l.chance(l.pDup) {
			l.late = append(l.late, w)
		}
		if name == "Authenticate" && l.chance(0.3) {
			l.trouble()
		}
	}
	d.enrolled = true
}

// setUp erases a device and sets it up, as new or from its own backup.
func (l *life) setUp(d *lifeDevice, supervised, asNew bool) {
	d.enrolled, d.findMy, d.allowed, d.locked, d.supervised = false, false, false, false, supervised
	d.since = l.now
	if asNew {
		d.code = l.newCode()
		l.changed(d)
	}
	l.note("%s is set up, as new: %t, code %s", d.id, asNew, d.code)
	l.now = l.now.Add(time.Minute)
}

func (l *life) changed(d *lifeDevice) {
	if d == l.victim {
		l.changedAt, l.unseen = l.now, true
	}
}

// trouble is what others do.
func (l *life) trouble() {
	if l.forger != nil && l.chance(0.7) {
		l.forge()
	} else if len(l.late) > 0 {
		l.deliverLate()
	}
}

// forge is a step of a device that wants to be another. It is enrolled with
// the host, so it can say whatever it likes, but only as itself.
func (l *life) forge() {
	d := l.forger
	if l.raw(l.victim.id).Facts.SerialNumber != l.victim.serial {
		return // nobody can know yet whose the serial number is
	}
	switch l.pick(8) {
	case 0:
		d.serial = []string{"", "XXFAKE0SER2", l.victim.serial}[l.pick(3)]
		l.enroll(d)
	case 1, 2:
		d.serial = l.victim.serial
		l.send(d, l.facts(d, "host"))
	case 3, 4, 5:
		d.since = l.now
		if l.chance(0.5) {
			d.code = l.newCode()
		}
		l.connect(d)
	case 6: // a code that nobody asked for
		uuid := []string{"", "host", "activationlock-1", fmt.Sprintf("activationlock-%d", l.pick(l.commands+1))}[l.pick(4)]
		w := l.report(d, uuid, codeAnswer(d.id, uuid, l.newCode()))
		w.code = l.all[len(l.all)-1]
		l.send(d, w)
	case 7: // in the victim's name
		w := l.report(d, "x", codeAnswer(l.victim.id, "x", l.newCode()))
		w.code, w.believable = l.all[len(l.all)-1], false
		l.send(d, w)
	}
}

// step is one of many things that happen, after a pause; the last chapter of a
// life has others than the first.
func (l *life) step(pause time.Duration, events int) {
	d := l.victim
	if d.away > 0 {
		d.away--
	}
	l.now = l.now.Add(time.Duration(l.rng.Int64N(int64(pause))))
	event := l.pick(events)
	if events == 20 && event < 4 {
		event = 1 // Find My, and no other setting up
	}
	switch event {
	default:
		if d.away == 0 {
			l.connect(d)
		}
	case 0:
		d.away = l.pick(12)
	case 1:
		if d.findMy = !d.findMy; d.findMy {
			d.locked = d.allowed && d.supervised
			if l.rerolls {
				d.code = l.newCode()
				l.changed(d)
			}
		} else {
			d.locked = false
		}
		l.note("Find My is %t, code %s", d.findMy, d.code)
	case 2:
		l.setUp(d, l.chance(0.85), l.chance(0.6))
		if l.chance(0.3) {
			l.trouble()
		}
		l.enroll(d)
	case 3:
		if l.checksOut && d.enrolled {
			w := l.report(d, "", checkOut(d.id))
			w.checkin = "CheckOut"
			l.deliver(d, w)
			d.enrolled, d.allowed = false, false
		} else if !d.enrolled {
			l.enroll(d)
		}
	case 4, 5, 6:
		l.trouble()
	case 7:
		if d.enrolled && d.away == 0 { // the host asks by itself
			l.send(d, l.facts(d, "host"))
		}
	case 8:
		rates := []float64{0, 0, 0.1, 0.5, 1}
		l.escrowFault, l.inventoryFault = rates[l.pick(5)], rates[l.pick(5)]
		l.note("faults: escrow %v, inventory %v", l.escrowFault, l.inventoryFault)
	}
}

func playLife(t *testing.T, seed uint64) {
	l := &life{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), ctx: t.Context(),
		now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), store: memstore.New(),
		entries: map[string]escrow.Entry{}, epoch: map[string]int{}, askedIn: map[string]int{},
		given: map[string]map[string]bool{}, mustHold: map[string]int{}, given256: map[string]map[string]bool{},
		perDay: map[string]int{},
	}
	l.rerolls, l.hostClears, l.hostKeeps = l.chance(0.5), l.chance(0.5), l.chance(0.5)
	some := func(p float64) float64 { return []float64{0, p / 4, p}[l.pick(3)] }
	l.pLate, l.pDup, l.pLost = some(0.3), some(0.2), some(0.4)
	l.pNot, l.pRace, l.pOut = some(0.5), some(0.1), some(0.3)

	l.victim = &lifeDevice{id: id, serial: serial, product: "iPhone17,3", version: "26.1", supervised: true, awry: l.chance(0.15)}
	if l.chance(0.3) {
		l.victim.product, l.victim.version = "Mac14,2", "15.1"
	}
	if l.chance(0.4) {
		l.forger = &lifeDevice{id: other, product: "iPhone17,3", version: "26.1", supervised: true, awry: l.chance(0.5)}
		l.forger.code = l.newCode()
	}
	// After a check-out the serial number is free for whoever claims it.
	l.checksOut = l.forger == nil

	l.records = l.store.Inventory()
	l.escrow = escrowOn(t, l.store.Escrow())
	codes := escrowOn(t, lifeEscrow{l.store.Escrow(), l})
	for range 2 {
		skew := time.Duration(l.rng.Int64N(int64(time.Minute)))
		e, err := engine.New(engine.Config{
			Escrow: codes, Inventory: lifeInventory{l.records, l}, Policy: weekly(allow()),
			NewUUID: func() string {
				l.commands++
				return fmt.Sprintf("activationlock-%d", l.commands)
			},
			Clock:   func() time.Time { return l.now.Add(skew) },
			Logger:  slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			OnEvent: func(_ context.Context, e engine.Event) { l.events = append(l.events, e) },
		})
		require.NoError(t, err)
		l.engines = append(l.engines, e)
	}

	l.setUp(l.victim, l.chance(0.85), true)
	l.enroll(l.victim)
	for range 20 + l.pick(50) {
		l.step(20*time.Hour, 16)
	}
	// The last chapter is short, so that its window is open at the end.
	l.setUp(l.victim, true, l.chance(0.7))
	l.victim.away = 0
	l.enroll(l.victim)
	for range l.pick(25) {
		l.step(8*time.Hour, 20)
	}
	if l.forger != nil && l.chance(0.05) { // a flood
		l.escrowFault = 0
		for range escrow.Quota + 20 {
			w := l.report(l.forger, "x", codeAnswer(l.forger.id, "x", l.newCode()))
			w.code = l.all[len(l.all)-1]
			l.deliver(l.forger, w)
		}
	}
	if !l.victim.awry {
		l.allIsWell()
	}
}

// allIsWell ends a life with some days of peace, after which the true code is
// in escrow and the lock is allowed.
func (l *life) allIsWell() {
	d := l.victim
	l.note("all is well")
	l.escrowFault, l.inventoryFault, l.pLate, l.pDup, l.pLost, l.pNot, l.pRace, l.pOut = 0, 0, 0, 0, 0, 0, 0, 0
	for len(l.late) > 0 {
		l.deliverLate()
	}
	if f := l.forger; f != nil { // somebody found it out
		w := l.report(f, "", checkOut(f.id))
		w.checkin = "CheckOut"
		l.deliver(f, w)
		l.forger = nil
	}
	l.now = l.now.Add(time.Minute)
	if !d.supervised || !l.now.Add(10*24*time.Hour).Before(d.since.Add(activationlock.CodeWindow)) {
		l.setUp(d, true, l.chance(0.5))
	}
	if !d.enrolled {
		l.enroll(d)
	}
	for end := l.now.Add(9 * 24 * time.Hour); l.now.Before(end); {
		pause := time.Hour
		if end.Sub(l.now) < 7*24*time.Hour {
			pause = 5 * time.Hour
		}
		l.now = l.now.Add(pause)
		l.connect(d)
	}
	if l.missed { // it is asked again, but no sooner than after a week
		return
	}
	if !d.allowed {
		l.fail("the lock is not allowed in the end")
	}
	if l.unseen { // nothing said that there is another code
		return
	}
	records, err := l.escrow.Records(l.ctx, escrow.Subject{SerialNumber: d.serial})
	require.NoError(l.t, err)
	if len(records) == 0 || records[0].State != escrow.Current {
		l.fail("no current code in the end")
	}
	text, err := l.escrow.Reveal(l.ctx, wish(records[0].Subject, records[0].ID))
	require.NoError(l.t, err)
	if text.Reveal() != d.code {
		l.fail("in the end the current code is not %s but %s", d.code, text.Reveal())
	}
	if len(records) > 1 && records[1].State == escrow.Current {
		l.fail("two codes are current")
	}
}
