package database_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var enginesSeed = flag.Uint64("enginesseed", rand.Uint64(), "what chance begins with in TestEngines")

const (
	day = 24 * time.Hour

	enginesStorm, enginesPeace = 6 * day, 8 * day
	betweenInventories         = 2 * day
	longestStep                = 12 * time.Hour // in which a device is not in touch, nor an engine looks at what is due
)

// Three engines on one database, each with a handle of its own, and some devices, for
// two weeks. Each message comes to two of the engines at once, as with a proxy
// that gives up too soon, sometimes while the third looks at what is due; that all do
// at once, too. In the first days commands and reports get lost, devices are away,
// put off what they are asked, enroll again or are erased, and servers stop and start.
//
// At each moment: nothing is asked of a device that is on its way already; the
// permission to lock is planned only where the code that the device has now is
// committed; the inventory of a device that can be reached is not older than its
// schedule and what got lost allow. In the end each device's code is in escrow, and
// opens its lock, which is allowed.
func TestEngines(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d (go test ./examples/internal/database -run TestEngines -enginesseed %d)", *enginesSeed, *enginesSeed)
	each(t, func(t *testing.T, storage database.Storage) {
		s := &site{T: t, storage: storage, rng: rand.New(rand.NewPCG(*enginesSeed, 1)), now: noon, members: map[string]*siteMember{}}
		for range 3 {
			server := &siteServer{site: s}
			server.start()
			s.servers = append(s.servers, server)
		}
		for n := range enginesDevices {
			s.add(n)
		}
		for s.now.Before(noon.Add(enginesStorm)) {
			s.pass(3*time.Hour, 10*time.Hour)
			for _, id := range s.order {
				s.live(s.members[id])
			}
			for _, id := range s.order {
				s.touch(s.members[id], 0.7)
			}
		}
		s.peace = true
		for _, m := range s.members {
			m.device.SetReachable(true)
			m.device.Lose(0)
			m.device.NotNow(0)
		}
		for end := s.now.Add(enginesPeace); s.now.Before(end); {
			s.pass(longestStep/2, longestStep)
			for _, id := range s.order {
				s.touch(s.members[id], 1)
			}
		}
		s.checkEnd()
		t.Logf("%d messages, %d commands, %d of them lost, %d enrollments, %d permissions to lock, %d starts of servers; inventory seen %d times, the oldest %.1f days",
			s.messages, s.commands, s.lost, s.enrollments, s.allowed, s.starts, s.seen, s.oldest.Hours()/24)
	})
}

// site is a database with the engines on it and the devices. Its clock moves, and
// chance is asked, only while no engine is at work.
type site struct {
	*testing.T
	storage database.Storage
	rng     *rand.Rand
	now     time.Time
	servers []*siteServer
	members map[string]*siteMember
	order   []string
	peace   bool

	messages, commands, lost, enrollments, allowed, starts, seen int
	oldest                                                       time.Duration
}

// siteServer is one of the servers.
type siteServer struct {
	*site
	db      interface{ Close() error }
	escrow  escrow.Store
	records inventory.Store
	engine  *engine.Engine

	mu     sync.Mutex
	failed []string
}

// siteMember is a device, and its queue at the host.
type siteMember struct {
	device    *activationlocktest.Device
	asleep    bool // comes only when it is pushed
	queue     []engine.Queued
	askedTill map[string]time.Time // by type, of commands that are on their way
	enrolled  time.Time
	away      time.Time // until then
	informed  time.Time
	unheard   int       // questions for information since then
	calm      time.Time // since then nothing that got lost counts any more
	disturbed bool
}

// start starts a server, which knows what is in the database.
func (s *siteServer) start() {
	store, db := s.storage.Store(s)
	s.starts++
	s.db, s.escrow, s.records = db, store.Escrow(), store.Inventory()
	clock := func() time.Time { return s.now }
	codes, err := escrow.New(escrow.Config{Store: s.escrow, Sealer: sealer{}, Clock: clock})
	require.NoError(s, err)
	s.engine, err = engine.New(engine.Config{
		Escrow: codes, Inventory: permitting{s.records, s}, Clock: clock,
		Policy: engine.Policy{
			Options:   mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
			Inventory: inventory.Periodic{Every: betweenInventories}.For,
		},
		OnEvent: func(_ context.Context, e engine.Event) {
			if e.Err != nil {
				s.fail("%s: %v", e.Type, e.Err)
			}
		},
	})
	require.NoError(s, err)
}

// fail keeps what went wrong while engines were at work, until they are done.
func (s *siteServer) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Sprintf(format, args...))
}

// permitting is the inventory of a server, which sees the permission to lock in the
// transaction that plans it: the code must be committed before.
type permitting struct {
	inventory.Store
	s *siteServer
}

func (p permitting) Update(ctx context.Context, id string, change func(*inventory.Record) error) error {
	return p.Store.Update(ctx, id, func(r *inventory.Record) error {
		before := len(r.Exchanges[mdmcmd.Settings{}.RequestType()].UUIDs)
		if err := change(r); err != nil {
			return err
		}
		if len(r.Exchanges[mdmcmd.Settings{}.RequestType()].UUIDs) > before && !p.s.holds(ctx, p.s.members[id].device) {
			p.s.fail("the lock of %s is allowed before its code is in escrow", id)
		}
		return nil
	})
}

// holds reports whether the code that a device has now is in escrow, and current.
func (s *siteServer) holds(ctx context.Context, d *activationlocktest.Device) bool {
	entries, err := s.escrow.Entries(ctx, escrow.Subject{SerialNumber: d.Config().SerialNumber})
	if err != nil {
		s.fail("escrow: %v", err)
	}
	code := []byte(d.Code().Reveal()) // which sealer does not hide
	return slices.ContainsFunc(entries, func(e escrow.Entry) bool {
		return e.Kind == bypasscode.Device && e.State == escrow.Current && e.StaleSince.IsZero() && bytes.Contains(e.Sealed, code)
	})
}

func (s *site) chance(p float64) bool { return s.rng.Float64() < p }

func (s *site) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// some returns servers at random.
func (s *site) some(n int) (servers []*siteServer) {
	for _, i := range s.rng.Perm(len(s.servers))[:n] {
		servers = append(servers, s.servers[i])
	}
	return servers
}

func (s *site) add(n int) {
	config := activationlocktest.DeviceConfig{
		SerialNumber: fmt.Sprintf("XXFAKE%06d", n), Supervised: true, Now: func() time.Time { return s.now },
		ProductName: []string{"iPhone17,3", "iPad14,3", "Mac14,2"}[n%3],
	}
	device, err := activationlocktest.NewDevice(config)
	require.NoError(s, err)
	m := &siteMember{device: device, asleep: n%2 == 0}
	s.members[device.ID()], s.order = m, append(s.order, device.ID())
	s.enroll(m)
}

// pass lets time go by: servers may start anew, and all look at once at what is due.
func (s *site) pass(least, most time.Duration) {
	s.now = s.now.Add(s.between(least, most))
	for _, server := range s.servers {
		if !s.peace && s.chance(0.2) {
			require.NoError(s, server.db.Close())
			server.start()
		}
	}
	s.atOnce(nil, s.servers, "", nil)
}

// atOnce has some servers take a message in and others look at what is due, all at
// once, and checks and queues what they plan.
func (s *site) atOnce(takers, tickers []*siteServer, id string, raw []byte) {
	batches := make([][]engine.Batch, len(takers)+len(tickers))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, server := range takers {
		handle := server.engine.HandleReport
		if bytes.Contains(raw, []byte("<key>MessageType</key>")) {
			handle = server.engine.HandleCheckin
		}
		all.Go(func() {
			<-start
			from := engine.Enrollment{ID: id}
			out, err := handle(s.Context(), from, raw)
			if err != nil {
				server.fail("%v", err)
			}
			batches[i] = []engine.Batch{{Enrollment: from, Commands: out.Commands}}
		})
	}
	for i, server := range tickers {
		all.Go(func() {
			<-start
			due, err := server.engine.Tick(s.Context(), 9)
			if err != nil {
				server.fail("%v", err)
			}
			batches[len(takers)+i] = due
		})
	}
	close(start)
	all.Wait()
	for _, server := range s.servers {
		require.Empty(s, server.failed, "seed %d", *enginesSeed)
	}
	for _, b := range slices.Concat(batches...) {
		for _, c := range b.Commands {
			s.planned(s.members[b.Enrollment.ID], c)
		}
	}
}

// planned checks a command that came out of an engine, and puts it into the queue, on
// the way to which it may get lost.
func (s *site) planned(m *siteMember, c engine.Queued) {
	till, asked := m.askedTill[c.RequestType]
	require.False(s, asked && s.now.Before(till), "seed %d: %s of %s is asked at %s while it is on its way until %s",
		*enginesSeed, c.RequestType, m.device.ID(), s.now, till)
	m.askedTill[c.RequestType] = s.now.Add(day)
	switch left := m.enrolled.Add(activationlock.CodeWindow).Sub(s.now); c.RequestType {
	case mdmcmd.ActivationLockBypassCode.RequestType():
		m.askedTill[c.RequestType] = s.now.Add(min(day, max(left/2, 30*time.Minute)))
	case mdmcmd.DeviceInformation{}.RequestType():
		m.unheard++
	case mdmcmd.Settings{}.RequestType():
		s.allowed++
	}
	s.commands++
	if !s.peace && s.chance(0.1) {
		s.lost++
		m.disturb(s.now)
		return
	}
	m.queue = append(m.queue, c)
}

// disturb notes that something got lost. What was asked is asked again after a day, or
// where that was not the first time, after more.
func (m *siteMember) disturb(now time.Time) {
	m.disturbed = true
	if calm := now.Add(min(7*day, day<<min(max(m.unheard-1, 0), 3)) + longestStep); calm.After(m.calm) {
		m.calm = calm
	}
}

// live is what people and fate do to a device.
func (s *site) live(m *siteMember) {
	if m.away.Before(s.now) {
		m.device.SetReachable(true)
	}
	switch s.rng.IntN(16) {
	case 0:
		m.away = s.now.Add(s.between(4*time.Hour, 40*time.Hour))
		m.device.SetReachable(false)
		m.disturb(m.away)
	case 1:
		m.device.NotNow(1 + s.rng.IntN(2))
	case 2:
		m.device.Lose(1)
	case 3, 4:
		require.NoError(s, m.device.SetFindMy(!m.device.FindMy()))
	case 5:
		s.enroll(m)
	case 6:
		require.NoError(s, m.device.SetFindMy(false)) // or it would stop at the activation screen
		m.device.Erase()
		s.enroll(m)
	}
}

// enroll enrolls a device, again if it is enrolled.
func (s *site) enroll(m *siteMember) {
	m.device.SetReachable(true)
	m.device.Lose(0)
	if s.chance(0.3) {
		m.device.AnswerEmpty(1)
	}
	messages, err := m.device.Enroll()
	require.NoError(s, err)
	require.Len(s, messages, 2)
	m.queue, m.askedTill = nil, map[string]time.Time{} // as servers do
	m.enrolled, m.away = s.now, time.Time{}
	s.enrollments++
	for _, raw := range messages {
		s.give(m, raw)
	}
	s.session(m)
}

// touch has a device get in touch: by itself now and then, or only when it is pushed,
// since there is something in its queue.
func (s *site) touch(m *siteMember, p float64) {
	if len(m.queue) > 0 || !m.asleep && s.chance(p) {
		s.session(m)
	}
}

// session is a device that asks for commands until there are none.
func (s *site) session(m *siteMember) {
	m.disturbed = m.away.After(s.now)
	messages, err := m.device.Idle()
	asked := ""
	for {
		require.NoError(s, err)
		if len(messages) == 0 {
			m.disturb(s.now)
			return
		}
		for _, raw := range messages {
			s.answered(m, raw, asked)
			s.give(m, raw)
		}
		if len(m.queue) == 0 {
			s.checkInventory(m, betweenInventories) // when it is due, it is asked in the session
			return
		}
		c := m.queue[0]
		m.queue = m.queue[1:]
		s.now, asked = s.now.Add(time.Second), c.RequestType
		messages, err = m.device.Answer(c.Plist)
	}
}

// answered notes what a report says of the question that it answers.
func (s *site) answered(m *siteMember, raw []byte, asked string) {
	information, code := mdmcmd.DeviceInformation{}.RequestType(), mdmcmd.ActivationLockBypassCode.RequestType()
	switch {
	case asked == "":
	case strings.Contains(string(raw), "<string>NotNow</string>"):
		m.askedTill[asked] = s.now.Add(time.Hour)
		m.disturb(s.now)
	default:
		delete(m.askedTill, asked)
		if asked == information {
			delete(m.askedTill, code) // it may say why to ask again
			m.informed, m.unheard = s.now, 0
		}
	}
}

// give gives a message to two servers at once.
func (s *site) give(m *siteMember, raw []byte) {
	s.messages++
	servers, tickers := s.some(3), 0
	if s.chance(0.2) {
		tickers = 1
	}
	s.atOnce(servers[:2], servers[2:2+tickers], m.device.ID(), raw)
}

// checkInventory is what must hold of a device that was in touch, and of which nothing
// got lost meanwhile.
func (s *site) checkInventory(m *siteMember, oldest time.Duration) {
	if m.disturbed || s.now.Before(m.calm) {
		return
	}
	age := s.now.Sub(m.informed)
	s.seen++
	s.oldest = max(s.oldest, age)
	require.LessOrEqual(s, age, oldest, "seed %d: the inventory of %s at %s", *enginesSeed, m.device.ID(), s.now)
}

// checkEnd: each code is in escrow, each lock is allowed, and the code opens it.
func (s *site) checkEnd() {
	require.NotZero(s, s.lost)
	require.NotZero(s, s.seen)
	require.Greater(s, s.enrollments, len(s.members))
	require.Greater(s, s.starts, len(s.servers))
	for _, server := range s.servers {
		for id, m := range s.members {
			require.True(s, server.holds(s.Context(), m.device), "seed %d: the code of %s is not in escrow", *enginesSeed, id)
			require.Empty(s, server.failed)
			r, err := server.records.Get(s.Context(), id)
			require.NoError(s, err)
			require.Equal(s, new(true), r.OptionsSent.ActivationLockAllowedWhileSupervised)
			require.Equal(s, inventory.Done, r.Exchanges[mdmcmd.Settings{}.RequestType()].Answer)
		}
	}
	for id, m := range s.members {
		m.disturbed = false
		require.False(s, s.now.Before(m.calm))
		s.checkInventory(m, betweenInventories+longestStep)
		require.NoError(s, m.device.SetFindMy(true))
		require.True(s, m.device.Lock().OpensWith(m.device.Code()), "seed %d: the lock of %s is not allowed, or no code opens it", *enginesSeed, id)
	}
}
