package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// played is a world whose device is not written down but simulated.
type played struct {
	*world
	device  *activationlocktest.Device
	apple   *activationlocktest.Apple
	policy  engine.Policy
	settled []mdmcmd.MDMOptions // that the engine sent, in order
	truth   []truth
}

// truth is when a device was locked or not from on.
type truth struct {
	at     time.Time
	locked bool
}

func play(t *testing.T, product string, reading activationlocktest.Reading) *played {
	t.Helper()
	p := &played{world: newWorld(t)}
	clock := func() time.Time { return p.now }
	var err error
	p.engine, err = engine.New(engine.Config{
		Escrow: p.escrow, Inventory: p.inventory, Clock: clock,
		PolicyFor: func(*inventory.Record) engine.Policy { return p.policy },
	})
	require.NoError(t, err)
	p.device, err = activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: serial, ProductName: product, Supervised: true, ADE: true, Reading: reading, Now: clock,
	})
	require.NoError(t, err)
	p.apple = activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: reading, Now: clock})
	require.NoError(t, p.apple.Add(p.device, true))
	return p
}

// enroll enrolls the device, and lets it do what it is asked.
func (p *played) enroll() {
	p.t.Helper()
	messages, err := p.device.Enroll()
	require.NoError(p.t, err)
	for _, raw := range messages {
		p.do(p.checkin(p.device.ID(), raw).Commands)
	}
}

// do has the device run commands, and what follows from its answers.
func (p *played) do(commands []engine.Queued) {
	p.t.Helper()
	for len(commands) > 0 {
		c := commands[0]
		if c.RequestType == "Settings" {
			p.settled = append(p.settled, p.options(p.t, c))
		}
		messages, err := p.device.Answer(c.Plist)
		require.NoError(p.t, err)
		p.look()
		commands = commands[1:]
		for _, raw := range messages {
			commands = append(commands, p.report(p.device.ID(), raw).Commands...)
		}
	}
}

// options are those that a command sends.
func (p *played) options(t *testing.T, c engine.Queued) mdmcmd.MDMOptions {
	t.Helper()
	sent := p.record().OptionsSent
	raw, err := mdmcmd.Encode(c.UUID, mdmcmd.Settings{MDMOptions: sent})
	require.NoError(t, err)
	require.Equal(t, string(raw), string(c.Plist), "what is on record is what was sent")
	return sent
}

// wait lets some time go by, in which the device comes once.
func (p *played) wait(d time.Duration) {
	p.t.Helper()
	p.now = p.now.Add(d)
	messages, err := p.device.Idle()
	require.NoError(p.t, err)
	for _, raw := range messages {
		p.do(p.report(p.device.ID(), raw).Commands)
	}
	p.look()
}

// has asks the device itself for its options, without the engine.
func (p *played) has() mdmcmd.MDMOptions {
	p.t.Helper()
	command, err := mdmcmd.Encode("test", mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{mdmcmd.QueryMDMOptions}})
	require.NoError(p.t, err)
	messages, err := p.device.Answer(command)
	require.NoError(p.t, err)
	require.Len(p.t, messages, 1)
	message, err := mdmcmd.Parse(messages[0])
	require.NoError(p.t, err)
	return *message.(*mdmcmd.Report).QueryResponses.MDMOptions
}

// send has the host send options past the engine.
func (p *played) send(o mdmcmd.MDMOptions) {
	p.t.Helper()
	command, err := mdmcmd.Encode("host", mdmcmd.Settings{MDMOptions: o})
	require.NoError(p.t, err)
	_, err = p.device.Answer(command)
	require.NoError(p.t, err)
}

func (p *played) record() inventory.Record {
	p.t.Helper()
	r, err := p.inventory.Get(p.t.Context(), p.device.ID())
	require.NoError(p.t, err)
	return r
}

func (p *played) locked() bool { return p.device.Lock().Kind != activationlocktest.NotLocked }

// look compares what the engine says that it knows with the truth.
func (p *played) look() {
	p.t.Helper()
	locked := p.locked()
	if len(p.truth) == 0 || p.truth[len(p.truth)-1].locked != locked {
		p.truth = append(p.truth, truth{p.now, locked})
	}
	d := p.world.device(serial)
	if d.Lock.State != activationlock.StateUnknown {
		was := false
		for _, truth := range p.truth {
			if !truth.at.After(d.Lock.At) {
				was = truth.locked
			}
		}
		require.Equal(p.t, was, d.Lock.State == activationlock.On, "the engine speaks of %v", d.Lock.At)
	}
	if p.locked() {
		for what, can := range map[string]func() (activationlock.Answer, error){
			"erase":    func() (activationlock.Answer, error) { return p.engine.CanErase(p.t.Context(), serial) },
			"reassign": func() (activationlock.Answer, error) { return p.engine.CanReassign(p.t.Context(), serial) },
		} {
			answer, err := can()
			require.NoError(p.t, err)
			if answer.Yes() {
				require.True(p.t, what == "erase" && p.opens(), "yes to %s a locked device", what)
			}
		}
	}
}

// opens reports whether escrow holds a code that opens the lock.
func (p *played) opens() bool {
	p.t.Helper()
	for _, r := range p.records(serial) {
		if p.device.Lock().OpensWith(bypasscode.NewText(p.reveal(r))) {
			return true
		}
	}
	return false
}

func eachReading(t *testing.T, test func(*testing.T, string, activationlocktest.Reading)) {
	t.Parallel()
	for _, product := range []string{"iPhone17,3", "Mac14,2"} {
		for _, reading := range []activationlocktest.Reading{
			{}, {ForbidLifts: true}, {OptionsReset: true}, {ForbidLifts: true, OptionsReset: true},
		} {
			t.Run(fmt.Sprint(product, " ", reading), func(t *testing.T) {
				t.Parallel()
				test(t, product, reading)
			})
		}
	}
}

func options(allow, reboot bool) mdmcmd.MDMOptions {
	return mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: &allow, IdleRebootAllowed: &reboot}
}

// Whether options that a command does not name are reset nobody knows (12.10 of the
// open questions). Nothing that the policy wants is lost either way.
func TestOptionsThatAreNotNamed(t *testing.T) {
	eachReading(t, func(t *testing.T, product string, reading activationlocktest.Reading) {
		p := play(t, product, reading)
		p.policy.Options = options(true, true)
		p.enroll()
		require.Equal(t, p.policy.Options, p.has())

		t.Log("one option changes, and all are sent")
		for _, o := range []mdmcmd.MDMOptions{options(true, false), options(false, false), options(false, true), options(true, true)} {
			p.policy.Options = o
			p.wait(2 * time.Hour)
			require.Equal(t, o, p.settled[len(p.settled)-1])
			require.Equal(t, o, p.has())
		}

		t.Log("the readings differ: the host sends one option, which may reset the others")
		p.send(mdmcmd.MDMOptions{BootstrapTokenAllowed: new(true)})
		has := p.has()
		require.Equal(t, reading.OptionsReset, has.IdleRebootAllowed == nil)
		require.Equal(t, reading.OptionsReset, !*has.ActivationLockAllowedWhileSupervised)
		p.wait(8 * 24 * time.Hour)
		p.wait(2 * time.Hour)
		has = p.has()
		require.True(t, *has.ActivationLockAllowedWhileSupervised, "with the next inventory it is noticed, and mended")
		require.True(t, *has.IdleRebootAllowed)
	})
}

// Whether false lifts a lock that is on nobody knows either. The engine sends it,
// and believes neither.
func TestForbiddenWhileLocked(t *testing.T) {
	eachReading(t, func(t *testing.T, product string, reading activationlocktest.Reading) {
		p := play(t, product, reading)
		p.policy.Options = options(true, true)
		p.enroll()
		p.now = p.now.Add(time.Hour)
		require.NoError(t, p.device.SetFindMy(true))
		require.True(t, p.locked())
		p.look()
		p.wait(8 * 24 * time.Hour) // the next inventory
		require.Equal(t, activationlock.EnabledWithBypassCode, p.world.device(serial).Status)
		require.True(t, p.opens())
		before := p.world.device(serial).Lock

		t.Log("the policy forbids the lock")
		p.policy.Options = options(false, true)
		p.wait(2 * time.Hour)
		require.Equal(t, options(false, true), p.settled[len(p.settled)-1])
		require.Equal(t, options(false, true), p.has())
		require.Equal(t, reading.ForbidLifts, !p.locked())
		require.Equal(t, before, p.world.device(serial).Lock, "that it was forbidden says nothing of the lock")

		t.Log("the next inventory says what became of it")
		p.wait(8 * 24 * time.Hour)
		require.Equal(t, p.locked(), p.world.device(serial).Lock.State == activationlock.On)
		want := activationlock.EnabledWithBypassCode
		if reading.ForbidLifts {
			want = activationlock.NotEnabled
		}
		require.Equal(t, want, p.world.device(serial).Status)
		answer, err := p.engine.CanReassign(t.Context(), serial)
		require.NoError(t, err)
		require.False(t, answer.Yes(), "only the device says that it is off")
		sent := len(p.settled)
		p.wait(2 * time.Hour)
		p.wait(8 * 24 * time.Hour)
		require.Len(t, p.settled, sent, "false is not sent again and again")

		t.Log("and allowed again")
		p.policy.Options = options(true, true)
		p.wait(2 * time.Hour)
		require.Equal(t, options(true, true), p.settled[len(p.settled)-1])
		require.True(t, p.locked(), "Find My was on all the while")
		p.wait(8 * 24 * time.Hour)
		require.Equal(t, activationlock.On, p.world.device(serial).Lock.State)
		require.True(t, p.opens())
	})
}
