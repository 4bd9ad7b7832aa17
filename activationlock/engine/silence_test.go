package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// commands ticks, and returns what is asked of devices, by type.
func (f *fuller) commands() (all []engine.Queued) {
	f.t.Helper()
	for _, b := range f.tick() {
		all = append(all, b.Commands...)
	}
	return all
}

// A device with a passcode that nobody types says NotNow for weeks. A server keeps
// what got NotNow and sends it again, so each new question is one more in its queue.
func TestNotNowForWeeks(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	ask := f.enroll(id, serial, locked)
	require.NoError(t, f.inventory.Update(t.Context(), id, func(r *inventory.Record) error {
		r.AddEvidence(activationlock.Evidence{Source: activationlock.SourceApple, State: activationlock.On, Kind: activationlock.UserLinked, At: f.now})
		return nil
	}))
	open, asked, lately := []engine.Queued{ask}, map[string]int{}, 0
	for hour := range 15 * 24 {
		for _, c := range open {
			asked[c.RequestType]++
			if hour >= 14*24 && c.RequestType == "ActivationLockBypassCode" {
				lately++
			}
			require.Empty(t, f.report(id, answer(id, c.UUID, "NotNow", nil)).Commands)
		}
		f.after(time.Hour)
		open = f.commands()
		d := f.device(serial)
		require.Equal(t, activationlock.Unknown, d.Status, "it speaks")
		require.Contains(t, kinds(d.Record), inventory.LockedNoCode)
		require.Zero(t, d.Record.Exchanges["ActivationLockBypassCode"].Unanswered)
	}
	// Five times on the first day, once a day, and more often toward the end.
	require.Greater(t, asked["ActivationLockBypassCode"], 15)
	require.Less(t, asked["ActivationLockBypassCode"], 30)
	require.Greater(t, lately, 3)
	require.LessOrEqual(t, asked["DeviceInformation"], 20)

	t.Log("and then it says nothing more")
	for range 3 * 24 {
		f.after(time.Hour)
		f.commands()
	}
	require.Equal(t, activationlock.EnabledWithoutBypassCodeUnreachable, f.device(serial).Record.Summary.Status)
}

// Who is silent is asked again while the window is open, and at no other time.
func TestAskedAgainInTheWindow(t *testing.T) {
	t.Parallel()
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	require.NoError(t, err)
	hours := inventory.Window{
		Weekdays: []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday},
		From:     8 * time.Hour, To: 17 * time.Hour, Zone: amsterdam,
	}
	f := newFuller(t, func(f *fuller) {
		f.config.Policy = engine.Policy{Inventory: inventory.Periodic{Window: hours}.For}
	})
	adopt(f.engine, t, names(20)...) // on a Sunday
	asked := 0
	for range 40 * 24 * 2 {
		f.after(30 * time.Minute)
		for _, b := range f.tick() {
			for range b.Commands {
				asked++
				require.Equal(t, f.now, hours.Earliest(f.now), "question %d", asked)
			}
		}
	}
	require.Greater(t, asked, 20*5)

	t.Log("but one that enrolled is asked what it is at any time, as its code waits for that")
	for f.now.Weekday() != time.Friday || f.now.Hour() != 20 {
		f.after(time.Hour)
	}
	f.tick()
	f.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
	f.one(f.checkin(id, tokenUpdate(id)), "DeviceInformation")
	f.after(24 * time.Hour)
	again := f.tick()
	require.Len(t, again, 1)
	require.Equal(t, "DeviceInformation", again[0].Commands[0].RequestType)
}

// What it is that an enrollment of before belongs to, nobody knows until it says so: a
// Shared iPad or a watch is not asked for a code meanwhile.
func TestAdoptedIsNotAskedBlindly(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	adopt(f.engine, t, id)
	asked := map[string]int{}
	for range 60 {
		f.after(24 * time.Hour)
		for _, c := range f.commands() {
			asked[c.RequestType]++
		}
	}
	require.Greater(t, asked["DeviceInformation"], 8)
	require.Len(t, asked, 1)
}

// What a server with a wrong clock asked and was told does not count as lately.
func TestClockThatWasAYearAhead(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	ask := f.enroll(id, serial, iPhone)
	f.after(365 * 24 * time.Hour)
	f.report(id, answer(id, ask.UUID, "Acknowledged", nil)) // no code
	f.after(-365 * 24 * time.Hour)
	ask = f.one(f.report(id, idle(id)), "ActivationLockBypassCode")

	t.Log("nor what was asked then")
	f.report(id, answer(id, ask.UUID, "Acknowledged", nil)) // no code
	f.after(365 * 24 * time.Hour)
	require.NotEmpty(t, f.commands())
	f.after(-365 * 24 * time.Hour)
	f.after(6 * time.Hour)
	require.Contains(t, types(f.report(id, idle(id))), "ActivationLockBypassCode")
}

// That a device took the permission counts from then on, not only when it says so with
// its next inventory.
func TestPermissionThatTheDeviceTook(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { f.config.Policy.AllowWithoutCode = by })
	out := f.enrollWith(id, serial, iPhone)
	require.Equal(t, []string{"ActivationLockBypassCode", "Settings"}, types(out))
	ask, settings := out.Commands[0], out.Commands[1]
	f.report(id, answer(id, ask.UUID, "Acknowledged", nil)) // no code
	require.Nil(t, f.record(id).Facts.LockAllowed)
	f.after(time.Minute)
	f.report(id, answer(id, settings.UUID, "Acknowledged", nil))
	r := f.record(id)
	require.Equal(t, new(true), r.Facts.LockAllowed)
	require.Equal(t, f.now, r.AllowedSince)
	require.Contains(t, kinds(r), inventory.MayLock)

	t.Log("its code comes later: it may not open the lock")
	f.after(6 * time.Hour)
	again := f.one(f.report(id, idle(id)), "ActivationLockBypassCode")
	f.report(id, codeAnswer(id, again.UUID, code))
	r = f.record(id)
	require.NotContains(t, kinds(r), inventory.MayLock)
	require.Contains(t, kinds(r), inventory.AllowedFirst)

	t.Log("where the code comes first, as it should, nothing is wrong, whatever the clocks of two servers say")
	f = newFuller(t, nil)
	ask = f.enroll(id, serial, iPhone)
	f.after(time.Minute)
	settings = f.one(f.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	f.after(-time.Minute)
	f.report(id, answer(id, settings.UUID, "Acknowledged", nil))
	require.Equal(t, new(true), f.record(id).Facts.LockAllowed)
	require.Empty(t, kinds(f.record(id)))
}

func kinds(r inventory.Record) (all []inventory.FindingKind) {
	for _, f := range r.Summary.Findings {
		all = append(all, f.Kind)
	}
	return all
}

// A device that gives no code gets the options that have nothing to do with the lock.
func TestOtherOptionsWithoutACode(t *testing.T) {
	t.Parallel()
	wanted := mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true), IdleRebootAllowed: new(true)}
	rest := mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false), IdleRebootAllowed: new(true)}
	f := newFuller(t, func(f *fuller) { f.config.Policy.Options = wanted })
	out := f.enrollWith(id, serial, iPhone.with(dict{"IsSupervised": false}))
	settings := f.one(out, "Settings")
	require.Equal(t, rest, f.record(id).OptionsSent)
	f.report(id, answer(id, settings.UUID, "Acknowledged", nil))
	for range 30 {
		f.after(24 * time.Hour)
		for _, c := range f.commands() {
			require.NotEqual(t, "Settings", c.RequestType, "once")
		}
	}

	t.Log("one that has a code waits for it, and gets them all at once")
	f = newFuller(t, func(f *fuller) { f.config.Policy.Options = wanted })
	ask := f.enroll(id, serial, iPhone)
	f.one(f.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Equal(t, wanted, f.record(id).OptionsSent)

	t.Log("one that gives it later gets the others first, and all of them then")
	f = newFuller(t, func(f *fuller) { f.config.Policy.Options = wanted })
	ask = f.enroll(id, serial, iPhone)
	settings = f.one(f.report(id, answer(id, ask.UUID, "Acknowledged", nil)), "Settings")
	require.Equal(t, rest, f.record(id).OptionsSent)
	f.report(id, answer(id, settings.UUID, "Acknowledged", nil))
	require.Equal(t, new(false), f.record(id).Facts.LockAllowed)
	f.after(6 * time.Hour)
	ask = f.one(f.report(id, idle(id)), "ActivationLockBypassCode")
	f.one(f.report(id, codeAnswer(id, ask.UUID, code)), "Settings")
	require.Equal(t, wanted, f.record(id).OptionsSent)

	t.Log("nothing takes the permission back that was given")
	f.after(40 * 24 * time.Hour)
	f.report(id, idle(id))
	require.Equal(t, wanted, f.record(id).OptionsSent)
}
