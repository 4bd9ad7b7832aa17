package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var long = strings.Repeat("x", 256)

func never(string) inventory.Schedule { return nil }

// Every mistake is found when the engine is made, and said so that it can be mended.
func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := newFuller(t, nil).config
	for want, spoil := range map[string]func(*engine.Config){
		"Config.Escrow is required":                    func(c *engine.Config) { c.Escrow = nil },
		"Config.Inventory is required":                 func(c *engine.Config) { c.Inventory = nil },
		"Config.Audit is required with Config.Actions": func(c *engine.Config) { c.Audit = nil },
		"engine: Config.Audit is not the audit of Config.Escrow": func(c *engine.Config) {
			c.Audit, _ = audit.New(audit.Config{Store: memstore.New().Audit()})
		},
		"is not the audit": func(c *engine.Config) {
			c.Escrow, _ = escrow.New(escrow.Config{Store: memstore.New().Escrow(), Sealer: clear{}})
		},
		"Config.Organization is required with":      func(c *engine.Config) { c.Organization = "" },
		"in at most 255 bytes":                      func(c *engine.Config) { c.Organization = long },
		"of no use without Config.Actions":          func(c *engine.Config) { c.Actions = nil },
		"Config.StatusAPI is no https address":      func(c *engine.Config) { c.StatusAPI = "http://api-school.apple.com" },
		"Config.UUIDPrefix has more than 64":        func(c *engine.Config) { c.UUIDPrefix = strings.Repeat("x", 65) },
		"Config.UUIDPrefix has other characters":    func(c *engine.Config) { c.UUIDPrefix = "ü" },
		"Policy.AnswerWithin is less than a second": func(c *engine.Config) { c.Policy.AnswerWithin = 24 },
		"Policy.CodeEvery is less than a":           func(c *engine.Config) { c.Policy.CodeEvery = 6 },
		"Policy.NotNowAgain is less than a":         func(c *engine.Config) { c.Policy.NotNowAgain = -1 },
		"Policy.AdoptWithin is less than a":         func(c *engine.Config) { c.Policy.AdoptWithin = -1 },
		"Config.NewUUID makes the same twice":       func(c *engine.Config) { c.NewUUID = func() string { return "activationlock-1" } },
		"or without Config.UUIDPrefix":              func(c *engine.Config) { c.NewUUID = func() string { return mdmcmd.NewUUID("host-") } },
		"makes what cannot be a command UUID": func(c *engine.Config) {
			c.NewUUID = func() string { return mdmcmd.NewUUID("activationlock-") + "\x00" }
		},
		"Policy.AdoptWithin is not from an hour":        func(c *engine.Config) { c.Policy.AdoptWithin = time.Hour - time.Second },
		"to 366 days":                                   func(c *engine.Config) { c.Policy.AdoptWithin = 367 * 24 * time.Hour },
		"in whole seconds":                              func(c *engine.Config) { c.Policy.AdoptWithin = time.Hour + 1 },
		"Policy.LostMessage has more than 255 bytes":    func(c *engine.Config) { c.Policy.LostMessage = long },
		"or is not UTF-8":                               func(c *engine.Config) { c.Policy.LostMessage = "\xff" },
		"Policy.Inventory is never due":                 func(c *engine.Config) { c.Policy.Inventory = never },
		"Policy.LockStatus is never due":                func(c *engine.Config) { c.Policy.LockStatus = inventory.Periodic{Every: 1}.For },
		"AllowWithoutCode needs an actor and a reason,": func(c *engine.Config) { c.Policy.AllowWithoutCode.Actor = "anna" },
		"AllowWithoutCode needs an actor and a reason":  func(c *engine.Config) { c.Policy.AllowWithoutCode.Reason = "a test" },
		"an actor and a reason, in at most 255 bytes":   func(c *engine.Config) { c.Policy.AllowWithoutCode = escrow.Act{Actor: long, Reason: "a test"} },
		"Config.Audit is required with Policy.AllowWit": func(c *engine.Config) {
			c.Audit, c.Actions, c.Organization, c.Policy.AllowWithoutCode = nil, nil, "", by
		},
	} {
		c := good
		spoil(&c)
		e, err := engine.New(c)
		require.ErrorContains(t, err, want)
		require.Nil(t, e)
	}
	for name, change := range map[string]func(*engine.Config){
		"nothing else": func(c *engine.Config) { *c = engine.Config{Escrow: c.Escrow, Inventory: c.Inventory} },
		"all of it": func(c *engine.Config) {
			c.Policy.AllowWithoutCode, c.Policy.LostMessage = by, strings.Repeat("x", 255)
			c.StatusAPI, c.UUIDPrefix, c.NewUUID = apple.SchoolAPI, strings.Repeat("~", 64), nil
			c.Policy.AdoptWithin = 366 * 24 * time.Hour
		},
	} {
		c := good
		change(&c)
		_, err := engine.New(c)
		require.NoError(t, err, name)
	}
}

// Each group has its own policy.
func TestPolicyForGroups(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		f.config.PolicyFor = func(r *inventory.Record) engine.Policy {
			defer func() { // it is a copy
				delete(r.Exchanges, "DeviceInformation")
				*r = inventory.Record{}
			}()
			if slices.Contains(r.Groups, "teachers") {
				return engine.Policy{Options: allow()}
			}
			return engine.Policy{Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false)}}
		}
	})
	require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error { r.SetGroups("teachers"); return nil }))
	for enrollment, want := range map[string]string{id: "<true/>", other: "<false/>"} {
		name := "XXFAKE" + enrollment[len(enrollment)-4:]
		f.checkin(enrollment, authenticate(enrollment, name, "iPhone17,3", "26.1"))
		info := f.one(f.checkin(enrollment, tokenUpdate(enrollment)), "DeviceInformation")
		out := f.report(enrollment, informationAnswer(enrollment, info.UUID, iPhone.with(dict{"UDID": enrollment, "SerialNumber": name})))
		var settings engine.Queued
		for _, c := range out.Commands {
			if c.RequestType == "Settings" {
				settings = c
			} else {
				for _, c := range f.report(enrollment, codeAnswer(enrollment, c.UUID, code)).Commands {
					settings = c
				}
			}
		}
		require.Contains(t, strings.Join(strings.Fields(string(settings.Plist)), ""), "<key>ActivationLockAllowedWhileSupervised</key>"+want)
	}
	require.Equal(t, []string{"teachers"}, f.record(id).Groups)
}

// A device whose record begins with what it says has the policy of who it turns out
// to be.
func TestPolicyForOfWhoItTurnsOutToBe(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		f.config.PolicyFor = func(r *inventory.Record) engine.Policy {
			if r.Facts.SerialNumber == serial {
				return engine.Policy{Options: allow()}
			}
			return engine.Policy{Options: allow(), AllowWithoutCode: by}
		}
	})
	ask := f.one(f.report(id, idle(id)), "DeviceInformation")
	for _, c := range f.report(id, informationAnswer(id, ask.UUID, iPhone.with(dict{"SerialNumber": serial}))).Commands {
		require.NotEqual(t, "Settings", c.RequestType)
	}
	require.Empty(t, f.overridden())
}

// A policy that cannot be is an event, and that of the configuration holds.
func TestPolicyForThatIsRefused(t *testing.T) {
	t.Parallel()
	bad := engine.Policy{CodeEvery: -1}
	f := newFuller(t, func(f *fuller) { f.config.PolicyFor = func(*inventory.Record) engine.Policy { return bad } })
	f.settled(id, serial, iPhone) // with the permission of the configuration
	f.checkin(id, tokenUpdate(id))
	require.Equal(t, []engine.EventType{engine.PolicyRefused}, f.told(engine.PolicyRefused))
	require.ErrorContains(t, f.events[0].Err, "Policy.CodeEvery is less than a")
	require.Equal(t, serial, f.events[0].SerialNumber)
	f.events = nil
	f.after(14 * 24 * time.Hour)
	require.Len(t, f.tick(), 1)
	require.Equal(t, []engine.EventType{engine.PolicyRefused}, f.told(engine.PolicyRefused))
}

func brickable(f *fuller) { f.config.Policy.AllowWithoutCode = by }

// overridden returns the audit's entries of permissions without a code.
func (f *fuller) overridden() (found []audit.Entry) {
	f.t.Helper()
	entries, err := f.stores.Audit().Scan(f.t.Context(), -1, 1000)
	require.NoError(f.t, err)
	for _, e := range entries {
		if e.Act == audit.Overridden {
			found = append(found, e)
		}
	}
	return found
}

// The permission without a code is in the audit before it is returned, and the code
// is asked for all the same.
func TestAllowWithoutCode(t *testing.T) {
	t.Parallel()
	f := newFuller(t, brickable)
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	require.Empty(t, f.overridden(), "not before it is known what the device is")
	out := f.report(id, informationAnswer(id, info.UUID, iPhone))
	require.Equal(t, []string{"ActivationLockBypassCode", "Settings"}, types(out))
	require.Contains(t, string(out.Commands[1].Plist), "<true/>")
	acts := f.overridden()
	require.Len(t, acts, 1)
	require.Equal(t, []string{by.Actor, by.Reason, serial}, []string{acts[0].Actor, acts[0].Reason, acts[0].SerialNumber})
	require.Equal(t, []engine.EventType{engine.AllowedWithoutCode}, f.told(engine.AllowedWithoutCode))

	f.report(id, answer(id, out.Commands[1].UUID, "Acknowledged", nil))
	require.Empty(t, f.report(id, codeAnswer(id, out.Commands[0].UUID, "")).Commands)
	f.after(6 * time.Hour)
	f.one(f.report(id, idle(id)), "ActivationLockBypassCode")
	require.Len(t, f.overridden(), 1, "it has the permission")

	t.Log("a device whose code is held needs no rule set aside")
	f = newFuller(t, brickable)
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	f.config.Policy.AllowWithoutCode = escrow.Act{}
	careful := f.another()
	info = f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	out, err := careful.HandleReport(t.Context(), engine.Enrollment{ID: id}, informationAnswer(id, info.UUID, iPhone))
	require.NoError(t, err)
	f.one(f.report(id, codeAnswer(id, f.one(out, "ActivationLockBypassCode").UUID, code)), "Settings")
	require.Empty(t, f.overridden())
	require.Empty(t, f.told(engine.AllowedWithoutCode))
}

// While the audit is down there is no permission; an hour later Tick tries again.
func TestAllowWithoutCodeWhileTheAuditIsDown(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	trail := &down{Store: f.stores.Audit(), down: true}
	f.auditedIn(trail)
	brickable(f)
	f.engine = f.another()
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	info := f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	f.one(f.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
	require.Equal(t, []engine.EventType{engine.AuditFailed}, f.told(engine.AuditFailed, engine.AllowedWithoutCode))
	due := f.record(id).Summary.DueAt
	require.True(t, due.After(f.now) && !due.After(f.now.Add(time.Hour)), "%v", due)
	f.now = due
	for _, b := range f.tick() {
		require.NotContains(t, types(engine.Outcome{Commands: b.Commands}), "Settings")
	}
	require.Len(t, f.told(engine.AuditFailed), 2)
	trail.down = false
	f.after(time.Hour)
	batches := f.tick()
	require.Len(t, batches, 1)
	require.Contains(t, types(engine.Outcome{Commands: batches[0].Commands}), "Settings")
	require.Len(t, f.overridden(), 1)
	require.Len(t, f.told(engine.AllowedWithoutCode), 1)
}

// down is an audit that can fail.
type down struct {
	audit.Store
	down bool
}

func (d *down) Append(ctx context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	if d.down {
		return errDown
	}
	return d.Store.Append(ctx, next)
}

// numbers is an observer that counts.
type numbers struct {
	mu      sync.Mutex
	counted map[engine.Counter]map[string]int
	took    map[engine.Step]int
}

func (n *numbers) Counted(what engine.Counter, label string, more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counted[what] == nil {
		n.counted[what] = map[string]int{}
	}
	n.counted[what][label] += more
}

func (n *numbers) Took(step engine.Step, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.took[step]++; d < 0 {
		panic("a step took less than no time")
	}
}

// The observer is told of every counter and every step, and no label holds what a
// device or Apple said.
func TestObserver(t *testing.T) {
	t.Parallel()
	n := &numbers{counted: map[engine.Counter]map[string]int{}, took: map[engine.Step]int{}}
	f := newFuller(t, func(f *fuller) { withDoer(f); withStatus(f); f.config.Observer = n })
	f.known(serial)
	f.settled(id, serial, iPhone)
	f.report(id, []byte("hello"))
	f.tick()
	f.order()
	f.apple.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 503, Body: "a word of Apple"})
	_, _, err := f.engine.Bypass(t.Context(), serial, engine.Unlock{Act: by, InHand: true})
	require.NoError(t, err)
	f.after(time.Hour)
	f.tick()
	require.Equal(t, map[string]int{"status: done": 1, "lock: done": 1, "unlock: later": 1, "unlock: done": 1}, n.counted[engine.AppleCalls])
	require.Equal(t, map[string]int{"DeviceInformation": 1, "ActivationLockBypassCode": 1, "Settings": 1}, n.counted[engine.Commands])
	events := n.counted[engine.Events]
	for _, typ := range []engine.EventType{engine.CodeCaptured, engine.Unreadable, engine.Locked, engine.Unlocked} {
		require.Equal(t, 1, events[string(typ)], typ)
	}
	for _, step := range []engine.Step{engine.StepParse, engine.StepEscrow, engine.StepPlan, engine.StepRecord, engine.StepApple, engine.StepTick} {
		require.NotZero(t, n.took[step], step)
	}
	require.Equal(t, 4, n.took[engine.StepApple])
	for _, labels := range n.counted {
		for label := range labels {
			for _, said := range []string{id, serial, code, "iPhone", "Apple", "hello"} {
				require.NotContains(t, label, said)
			}
		}
	}
}

// What begins and ends with a device is told once.
func TestFindingsAreTold(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	told := func() (all []string) {
		for _, e := range f.events {
			if e.Type == engine.FindingBegan || e.Type == engine.FindingEnded {
				require.Equal(t, []string{id, serial}, []string{e.EnrollmentID, e.SerialNumber})
				all = append(all, string(e.Type)+": "+string(e.Finding.Kind))
			}
		}
		f.events = nil
		return all
	}
	f.after(14 * 24 * time.Hour)
	f.tick()
	require.Equal(t, []string{"finding began: notSeen"}, told())
	f.after(time.Hour)
	f.tick()
	require.Empty(t, told())
	f.report(id, idle(id))
	require.Equal(t, []string{"finding ended: notSeen"}, told())
	f.report(id, informationAnswer(id, "host", dict{"IsActivationLockEnabled": true, "IsSupervised": false}))
	require.NotContains(t, f.kinds(id), inventory.LockedNotSupervised, "its code is held")
	f.events = nil

	f.after(time.Hour)
	f.inventoryDown = true
	f.report(id, informationAnswer(id, "host", dict{"IsActivationLockEnabled": false}))
	require.Empty(t, told(), "nothing is told that is not on record")
}
