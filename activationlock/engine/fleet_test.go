package engine_test

import (
	"container/heap"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var (
	fleetFlag     = flag.Int("fleet", 0, fmt.Sprintf("number of devices in the fleet (default %d, fewer with the race detector)", fleetSize))
	fleetSeedFlag = flag.Uint64("fleetseed", 20261130, "seed of the fleet")
)

const (
	day = 24 * time.Hour

	fleetLasts = 90 * day
	fleetPeace = 9 * day // at the end, in which nothing goes wrong any more
)

// A fleet of simulated devices, three engines on the same stores, whose clocks
// differ by up to a minute, and a simulated Apple, for 90 days in which everything
// goes wrong that can: servers die in the middle of a call, stores fail, commands,
// pushes and messages get lost, come twice or late; devices are off for days, are
// erased, enroll again, or claim the serial number of another.
//
// What must hold at every moment is checked at every moment:
//
//   - A device whose code could be asked in time has it in escrow: see
//     fleet.checkCode for what "in time" is.
//   - The lock is allowed only with a code in escrow which the device gave in this
//     enrollment; or with a word in the audit, where the policy says so.
//   - No two engines have the same question to a device, or to Apple, on its way.
//   - At every moment at which a device can be reached, its inventory is no older
//     than its schedule says and, where a question got lost, the time to ask again.
//   - Records, queues and escrow stay small.
//   - No code that was taken is ever lost.
//   - Yes, a device may be erased or given away, is wrong only of what happened
//     since anybody could know; and a bypass that had a code for the lock opened it.
func TestFleet(t *testing.T) {
	t.Parallel()
	size := *fleetFlag
	if size == 0 {
		size = fleetSize
	}
	t.Logf("seed %d (go test ./activationlock/engine -run TestFleet -fleet %d -fleetseed %d)", *fleetSeedFlag, size, *fleetSeedFlag)
	f := newFleet(t, size, *fleetSeedFlag)
	f.play()
	f.checkEnd()
	t.Log(f.sum.String(f))
	f.checkFigures()
}

// fleet is the devices, the servers and Apple.
type fleet struct {
	*testing.T
	ctx   context.Context
	rng   *rand.Rand
	start time.Time
	now   time.Time

	store    *memstore.Store
	escrow   *escrow.Escrow // without faults
	servers  []*fleetServer
	members  []*member
	byID     map[string]*member
	bySerial map[string]*member
	forgers  map[*member][]*member // by their victims
	events   agenda

	peace                   bool
	escrowDown, recordsDown time.Time // until then
	nested                  int
	commands                int
	asking                  map[string]bool // of Apple, at this moment
	texts                   map[string]string
	overrides               map[escrow.Subject]int // in the audit, and no permission yet
	sum                     figures
}

// member is a device of the fleet, its queue at the host, and the truth.
type member struct {
	f        *fleet
	device   *activationlocktest.Device
	apple    *activationlocktest.Apple
	serial   string
	group    group
	readings activationlocktest.Reading
	away     bool
	lost     bool    // for good
	victim   *member // whose serial number it claims
	leaving  bool

	enrollments int
	since       time.Time // its code's time began
	queue       []engine.Queued
	again       []letter // not taken by the server: sent again

	// Until calm, a question for the code that got lost may not be asked again yet;
	// until calmFacts, one for information.
	calm, calmFacts time.Time
	disturbed       bool // since this was set to false
	blind           bool // nobody knows since when the code's time runs
	missed          bool // nobody could record that it enrolled
	unseen          bool // it made another code and nothing told of it
	hidden          bool // nor that its lock may be another one
	factsAsked      int  // questions for information on record since the last answer
	informedAt      time.Time
	codeMadeAt      time.Time
	toldAt          time.Time // something told of that

	asked  map[string]question // commands that came out and were not answered, by type
	given  map[string]bool     // codes given in this enrollment
	taken  map[string]bool     // codes of which the device knows that they arrived
	noted  string              // the last of these, if nothing went wrong with its record
	bypass *lift

	talking       bool
	began, marked bool // in the call that is being made
	heard         time.Time
	today         string
	perDay        map[string]int
	askable       string
	trace         []string
	victimThen    int // enrollments of the victim when it began
}

// question is a command that came out of an engine.
type question struct {
	at     time.Time
	notNow bool
}

// lift is a bypass that somebody began.
type lift struct {
	id    string
	at    time.Time
	opens bool // a code among the first of the plan opens the lock
}

// letter is a message on its way.
type letter struct {
	id         string // as the host authenticated its sender
	raw        []byte
	enrollment int
	made       time.Time
	request    string // the type of the command that it answers
}

// group is a set of devices with the same policy.
type group int

const (
	anywhere     group = iota // at any time
	school                    // on weekdays from eight to five
	daily                     // every day
	organization              // each is locked for the organization
	forbidden                 // no locks
	lab                       // locks without codes, if need be
	groups
)

var policies = func() (all [groups]engine.Policy) {
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		panic(err)
	}
	hours := inventory.Window{
		Weekdays: []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday},
		From:     8 * time.Hour, To: 17 * time.Hour, Zone: amsterdam,
	}
	for g := range all {
		all[g].Options = allow()
	}
	all[school].Inventory = inventory.Periodic{Window: hours}.For
	all[daily].Inventory = inventory.Periodic{Every: day}.For
	all[organization].LockForOrganization, all[organization].LostMessage = true, "Example School"
	all[forbidden].Options = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false)}
	all[lab].AllowWithoutCode = escrow.Act{Actor: "jane.admin@example.org", Reason: "the lab wants it"}
	return all
}()

// oldest is how old the inventory of a group's devices gets by its schedule: the
// period, and the time for which its window is closed.
func (g group) oldest() time.Duration {
	switch g {
	case school:
		return week + week - 5*9*time.Hour
	case daily:
		return day
	}
	return week
}

func newFleet(t *testing.T, size int, seed uint64) *fleet {
	f := &fleet{
		T: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(seed, 1)), start: time.Date(2026, 8, 24, 8, 0, 0, 0, time.UTC),
		store: memstore.New(), byID: map[string]*member{}, bySerial: map[string]*member{}, forgers: map[*member][]*member{}, asking: map[string]bool{}, texts: map[string]string{}, overrides: map[escrow.Subject]int{},
	}
	f.sum.requests = map[activationlocktest.Service]int{}
	f.now = f.start
	var err error
	f.escrow, err = escrow.New(escrow.Config{Store: f.store.Escrow(), Sealer: clear{}})
	require.NoError(t, err)
	for n := range 3 {
		s := &fleetServer{f: f, name: n, skew: time.Duration(f.rng.Int64N(int64(time.Minute)))}
		s.begin()
		f.servers = append(f.servers, s)
	}
	// One Apple for each answer to what Apple leaves open.
	var apples []*activationlocktest.Apple
	var readings []activationlocktest.Reading
	for n := range 6 {
		reading := activationlocktest.Reading{}
		if n > 0 {
			reading = activationlocktest.RandomReading(f.rng)
			reading.NewCodeWithFindMy = n < 3
		}
		readings = append(readings, reading)
		apples = append(apples, activationlocktest.NewApple(activationlocktest.AppleConfig{
			Reading: reading, Now: f.clock, Wait: func(d time.Duration) { f.now = f.now.Add(d) }, OneUseSessions: n%2 == 0,
		}))
	}
	for n := range size {
		k := f.rng.IntN(len(apples))
		m := &member{
			f: f, apple: apples[k], readings: readings[k], serial: fmt.Sprintf("XXFAKE%06d", n), blind: true,
			asked: map[string]question{}, given: map[string]bool{}, taken: map[string]bool{},
		}
		m.group = []group{anywhere, anywhere, anywhere, school, school, school, daily, organization, forbidden, lab}[f.rng.IntN(10)]
		config := activationlocktest.DeviceConfig{
			SerialNumber: m.serial, Supervised: true, ADE: f.chance(0.8), Reading: readings[k], Now: f.clock, Rand: randomBytes{f.rng},
			NoDeprecatedQueries: f.chance(0.2), NoCheckOut: f.chance(0.4),
		}
		switch kind := f.rng.IntN(100); {
		case kind < 40:
			config.ProductName = "iPhone17,3"
			if f.chance(0.7) {
				config.IMEI, config.IMEI2 = fmt.Sprintf("35%012d9", n), fmt.Sprintf("36%012d7", n)
			}
		case kind < 58:
			config.ProductName, config.OSVersion = "iPad14,3", []string{"15.8", "17.2", "18.7", "26.1"}[f.rng.IntN(4)]
		case kind < 72:
			config.ProductName, config.NoT2 = "Mac14,2", f.chance(0.2)
		case kind < 76:
			config.ProductName = "RealityDevice14,1"
		case kind < 81:
			config.ProductName, config.SharedIPad, config.ADE = "iPad14,3", true, true
		case kind < 86:
			config.UserEnrollment, config.Supervised, config.ADE = true, false, false
		case kind < 90:
			config.ProductName = "AppleTV14,1"
		case kind < 93:
			config.ProductName = "Watch7,1"
		default:
			config.Supervised = false
		}
		m.device, err = activationlocktest.NewDevice(config)
		require.NoError(t, err)
		require.NoError(t, m.apple.Add(m.device, config.ADE || f.chance(0.3)))
		f.members, f.bySerial[m.serial] = append(f.members, m), m
	}
	return f
}

func (f *fleet) clock() time.Time { return f.now }

func (f *fleet) chance(p float64) bool { return f.rng.Float64() < p }

// stormy is chance while things go wrong.
func (f *fleet) stormy(p float64) bool { return f.chance(p) && !f.peace }

// between returns a time between two, at random.
func (f *fleet) between(least, most time.Duration) time.Duration {
	return least + time.Duration(f.rng.Int64N(int64(most-least)))
}

// event is something that is to happen.
type event struct {
	at    time.Time
	order int
	do    func()
}

// agenda is what is to happen, the next thing first.
type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if c := a[i].at.Compare(a[j].at); c != 0 {
		return c < 0
	}
	return a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(e any)   { *a = append(*a, e.(event)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (f *fleet) in(d time.Duration, do func()) {
	f.sum.events++
	heap.Push(&f.events, event{f.now.Add(d), f.sum.events, do})
}

// play lets the 90 days go by.
func (f *fleet) play() {
	end := f.start.Add(fleetLasts)
	f.before()
	for n, s := range f.servers {
		f.in(time.Duration(n)*5*time.Minute, func() { f.tickOn(s) })
	}
	for _, m := range f.members {
		f.in(f.between(0, 2*day), func() { f.pollOn(m) })
		f.in(f.between(day, 14*day), func() { f.liveOn(m) })
	}
	f.in(f.between(0, 5*day), f.outage)
	f.in(0, f.measureOn)
	f.in(fleetLasts-fleetPeace, f.makePeace)
	for len(f.events) > 0 && f.now.Before(end) {
		e := heap.Pop(&f.events).(event)
		if e.at.After(f.now) {
			f.now = e.at
		}
		e.do()
	}
}

// before is the time before the first day: a third of the fleet was enrolled with
// these servers, and the engine was not there yet. The others enroll in the first
// weeks.
func (f *fleet) before() {
	var there []engine.Enrollment
	for _, m := range f.members {
		if !f.chance(1. / 3) {
			f.in(f.between(0, 20*day), func() { f.enroll(m) })
			continue
		}
		f.now = f.start.Add(-f.between(time.Hour, 30*day))
		_, err := m.device.Enroll()
		require.NoError(f, err)
		m.enrollments, m.since = 1, f.now
		if f.chance(0.5) { // as it should have been
			for _, c := range []mdmcmd.Command{mdmcmd.ActivationLockBypassCode, mdmcmd.Settings{MDMOptions: allow()}} {
				raw, err := mdmcmd.Encode("before", c)
				require.NoError(f, err)
				_, err = m.device.Answer(raw)
				require.NoError(f, err)
			}
			if f.chance(0.5) {
				m.setFindMy(true)
			}
		}
		f.byID[m.device.ID()] = m
		there = append(there, engine.Enrollment{ID: m.device.ID()})
	}
	f.now = f.start
	for done := false; !done; { // again, from the beginning, until it went through
		f.call(nil, func(s *fleetServer) {
			result, err := s.engine.Adopt(f.ctx, slices.Values(there))
			f.sum.adopted = result.Adopted + result.Known
			done = err == nil
		})
	}
	require.Equal(f, len(there), f.sum.adopted)
}

// tickOn has a server work off what is due, about every hour.
func (f *fleet) tickOn(s *fleetServer) {
	f.in(f.between(50*time.Minute, 70*time.Minute), func() { f.tickOn(s) })
	f.tick(s)
}

// pollOn is a device that gets in touch by itself.
func (f *fleet) pollOn(m *member) {
	f.in(f.between(12*time.Hour, 60*time.Hour), func() { f.pollOn(m) })
	f.session(m)
}

// outage is a database that is down for some time.
func (f *fleet) outage() {
	f.in(f.between(day, 8*day), f.outage)
	if f.peace {
		return
	}
	until := f.now.Add(f.between(time.Minute, 3*time.Hour))
	switch f.rng.IntN(3) {
	case 0:
		f.escrowDown = until
	case 1:
		f.recordsDown = until
	default:
		f.escrowDown, f.recordsDown = until, until
	}
	f.sum.outages++
}

// makePeace ends the storm. A few devices are gone for good.
func (f *fleet) makePeace() {
	f.peace, f.escrowDown, f.recordsDown = true, time.Time{}, time.Time{}
	for _, m := range f.members {
		m.device.Lose(0)
		if m.victim != nil {
			f.unmask(m)
		}
		if m.away = f.chance(0.03); m.away {
			m.lost = true
		}
		m.device.SetReachable(!m.away)
	}
}

// liveOn is what people and fate do to a device.
func (f *fleet) liveOn(m *member) {
	if f.peace {
		return
	}
	f.in(f.between(day, 12*day), func() { f.liveOn(m) })
	d := m.device
	what := f.rng.IntN(24)
	m.note("life %d", what)
	switch what {
	case 0, 1, 2, 3, 4:
		m.setFindMy(true)
	case 5, 6:
		m.setFindMy(false)
	case 7, 8, 9:
		m.away = true
		d.SetReachable(false)
		f.in(f.between(day, 20*day), func() {
			if !m.lost {
				m.away = false
				d.SetReachable(true)
				f.session(m)
			}
		})
	case 10:
		d.NotNow(1 + f.rng.IntN(4))
		if f.chance(0.1) { // its passcode is typed by nobody for weeks
			d.NotNow(20 + f.rng.IntN(40))
		}
	case 11:
		d.Lose(1 + f.rng.IntN(3))
	case 12:
		d.SendTwice(1 + f.rng.IntN(4))
	case 13:
		d.AnswerEmpty(1 + f.rng.IntN(2))
	case 14:
		f.enroll(m)
	case 15, 16:
		f.erase(m)
	case 17:
		f.checkOut(m)
	case 18, 19:
		f.leave(m)
	case 20:
		f.order(m)
	case 21:
		f.mayBeErased(m)
		f.mayBeReassigned(m)
	case 22:
		if f.chance(0.5) {
			m.apple.OwnerTurnsOff(m.serial)
		} else {
			m.apple.AdministratorTurnsOff(m.serial)
		}
	case 23:
		f.claim(m)
	}
}

func (m *member) setFindMy(on bool) {
	codes := len(m.device.Codes())
	_ = m.device.SetFindMy(on) // what has none, or stops at the activation screen, does not
	if len(m.device.Codes()) > codes {
		m.unseen, m.hidden, m.codeMadeAt = true, true, m.f.now
	}
	m.note("Find My %t, code %s", on, m.device.Code().Reveal())
	m.disturb(0)
}

// enroll enrolls a device, again if it is enrolled. One that stops at the activation
// screen cannot, until its owner comes.
func (f *fleet) enroll(m *member) {
	if m.away {
		return
	}
	m.device.Lose(0) // whose Authenticate gets lost does not enroll
	supervised, codes := m.device.Supervised(), len(m.device.Codes())
	messages, err := m.device.Enroll()
	if errors.Is(err, activationlocktest.ErrLocked) {
		f.sum.stopped++
		f.in(f.between(day, 3*day), func() {
			m.apple.OwnerTurnsOff(m.serial)
			m.apple.AdministratorTurnsOff(m.serial)
			f.enroll(m)
		})
		return
	}
	require.NoError(f, err)
	if !supervised && m.device.Supervised() {
		m.since, m.toldAt = f.now, time.Time{}
	}
	if len(m.device.Codes()) > codes {
		m.codeMadeAt = f.now
	}
	if f.chance(0.6) { // people sign in once they have a device
		f.in(f.between(time.Hour, 8*day), func() { m.setFindMy(true) })
	}
	f.sum.enrollments++
	m.note("enrolls, code %s", m.device.Code().Reveal())
	m.enrollments++
	m.again, m.queue = nil, nil
	f.byID[m.device.ID()] = m
	arrived := true
	for _, raw := range messages {
		arrived = f.send(m, letter{id: m.device.ID(), raw: raw, enrollment: m.enrollments, made: f.now}) && arrived
	}
	if !arrived || len(messages) < 2 {
		m.disturb(0)
		return
	}
	f.session(m)
}

// erase is a person who erases a device, if only a careless one where it must not
// be erased.
func (f *fleet) erase(m *member) {
	if !f.mayBeErased(m) && !f.chance(0.1) {
		return
	}
	m.device.Erase()
	f.sum.erased++
	if f.chance(0.3) {
		require.NoError(f, m.device.Restore(f.chance(0.6)))
	}
	f.in(f.between(time.Minute, 2*day), func() { f.enroll(m) })
}

func (f *fleet) checkOut(m *member) {
	id := m.device.ID()
	messages, err := m.device.CheckOut()
	if err != nil {
		return
	}
	for _, raw := range messages {
		f.send(m, letter{id: id, raw: raw, enrollment: m.enrollments, made: f.now})
	}
	f.in(f.between(time.Hour, 5*day), func() { f.enroll(m) })
}

// leave is a person who leaves: the lock is lifted, the device erased and given to
// somebody else.
func (f *fleet) leave(m *member) {
	if m.leaving || m.apple.Lock(m.serial).Kind == activationlocktest.NotLocked && f.chance(0.7) || !f.lift(m) {
		return
	}
	m.leaving = true
	f.in(f.between(time.Hour, 2*day), func() {
		m.leaving = false
		f.checkLift(m)
		f.mayBeReassigned(m)
		f.erase(m)
	})
}

// claim has a device enroll as another one, for some days.
func (f *fleet) claim(m *member) {
	config := m.device.Config()
	other := f.members[f.rng.IntN(len(f.members))]
	if m.victim != nil || config.UserEnrollment || m.away || other == m || other.victim != nil || m.leaving || !f.chance(0.4) {
		return
	}
	if r, err := f.store.Inventory().Get(f.ctx, other.device.ID()); err != nil || r.Facts.SerialNumber != other.serial || !r.Live() || other.device.Config().UserEnrollment {
		return // nobody can know yet whose the serial number is
	}
	// Hardware keeps its serial number, so the forger comes with an ID of its own:
	// one that nobody saw before.
	config.SerialNumber, config.UDID, config.Now, config.Rand = m.serial+"F"+fmt.Sprint(f.sum.forged), "", f.clock, randomBytes{f.rng}
	config.Reading = m.readings
	device, err := activationlocktest.NewDevice(config)
	require.NoError(f, err)
	require.NoError(f, m.apple.Add(device, false))
	forger := &member{
		f: f, device: device, apple: m.apple, readings: m.readings, serial: config.SerialNumber, group: m.group, victim: other, victimThen: other.enrollments, blind: true,
		asked: map[string]question{}, given: map[string]bool{}, taken: map[string]bool{},
	}
	f.sum.forged++
	f.members = append(f.members, forger)
	f.bySerial[forger.serial] = forger
	f.forgers[other] = append(f.forgers[other], forger)
	device.ClaimSerialNumber(other.serial)
	other.disturb(0)
	f.enroll(forger)
	f.in(f.between(time.Hour, 20*day), func() { f.pollOn(forger) })
	f.in(f.between(day, 10*day), func() { f.unmask(forger) })
}

// unmask ends a forgery: the host throws the device out.
func (f *fleet) unmask(m *member) {
	if m.victim == nil || !m.device.Enrolled() {
		return
	}
	raw := checkOut(m.device.ID())
	for !f.deliver(m, letter{id: m.device.ID(), raw: raw, enrollment: m.enrollments, made: f.now}) || !f.checkedOut(m) {
		f.now = f.now.Add(time.Hour) // until somebody records it
	}
	_, _ = m.device.CheckOut()
	m.victim.disturb(0)
	m.lost, m.away = true, true
}

func (f *fleet) checkedOut(m *member) bool {
	r, err := f.store.Inventory().Get(f.ctx, m.device.ID())
	return err == nil && !r.CheckedOutAt.IsZero()
}

// randomBytes gives the bytes of a source.
type randomBytes struct{ *rand.Rand }

func (r randomBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

var serialIn = regexp.MustCompile(`XXFAKE[0-9]{6}(F[0-9]+)?`)

// disputed reports whether a device's serial number is claimed by another one.
func (f *fleet) disputed(m *member) bool {
	return m.victim != nil || slices.ContainsFunc(f.forgers[m], func(o *member) bool { return o.device.Enrolled() })
}

// honest is the number of devices that are who they say.
func (f *fleet) honest() int { return len(f.members) - f.sum.forged }

// disturb notes that something went wrong with a device, which may have its effect
// for some time: a question that got lost is asked again after a day, and one for
// information, after more and more, up to a week, while the window is open. For the
// code that holds too where nobody knows since when the device is supervised.
func (m *member) disturb(more time.Duration) {
	const skew = 2 * time.Minute
	facts := min(week, day<<max(0, min(m.factsAsked-1, 3)))
	code := day
	if m.blind || m.missed {
		code = week
	}
	if m.missed {
		facts = week
	}
	m.disturbed = true
	m.calm = latest(m.calm, m.f.now.Add(max(code, more)+time.Hour+skew))
	m.calmFacts = latest(m.calmFacts, m.opens(m.f.now.Add(max(facts, more)+skew)).Add(time.Hour))
	if m.blind { // whose code waits for the facts
		m.calm = latest(m.calm, m.calmFacts)
	}
}

// opens returns when the window of the device's group is open, from a moment on.
func (m *member) opens(t time.Time) time.Time {
	if schedule := policies[m.group].Inventory; schedule != nil {
		return inventory.Earliest(schedule(m.serial), t)
	}
	return t
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// opens reports whether any of some codes opens the lock of a device.
func (f *fleet) opens(m *member, codes []escrow.Record) bool {
	lock := m.apple.Lock(m.serial)
	return slices.ContainsFunc(codes, func(c escrow.Record) bool {
		if c.Kind == bypasscode.Server {
			return lock.Kind == activationlocktest.OrganizationLinked && lock.Hash == c.Hash
		}
		return lock.Kind == activationlocktest.UserLinked && f.text(c.Subject, c.ID) == lock.Code.Reveal()
	})
}

// text returns a code, as it is in escrow.
func (f *fleet) text(subject escrow.Subject, recordID string) string {
	if text, known := f.texts[recordID]; known {
		return text
	}
	entries, err := f.store.Escrow().Entries(f.ctx, subject)
	require.NoError(f, err)
	for _, e := range entries {
		f.texts[e.ID] = textOf(e)
	}
	return f.texts[recordID]
}
