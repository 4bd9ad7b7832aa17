package activationlocktest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

const serial = "XXFAKE0SER1"

// Who locks when Find My comes on, without and with permission.
func TestWhoLocks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config          activationlocktest.DeviceConfig
		without, withIt bool
		opens           bool
	}{
		"supervised iPhone":       {activationlocktest.DeviceConfig{Supervised: true}, false, true, true},
		"unsupervised iPhone":     {activationlocktest.DeviceConfig{}, true, true, false},
		"supervised, iOS 7.0":     {activationlocktest.DeviceConfig{Supervised: true, OSVersion: "7.0"}, false, true, false},
		"iOS 6":                   {activationlocktest.DeviceConfig{OSVersion: "6.1"}, false, false, false},
		"Shared iPad":             {activationlocktest.DeviceConfig{ProductName: "iPad14,3", Supervised: true, SharedIPad: true}, false, false, false},
		"user enrollment":         {activationlocktest.DeviceConfig{UserEnrollment: true}, false, false, false},
		"supervised Mac":          {activationlocktest.DeviceConfig{ProductName: "Mac14,2", Supervised: true}, false, true, true},
		"unsupervised Mac":        {activationlocktest.DeviceConfig{ProductName: "Mac14,2"}, true, true, false},
		"Mac without T2":          {activationlocktest.DeviceConfig{ProductName: "iMac14,2", Supervised: true, NoT2: true}, false, false, false},
		"supervised Vision Pro":   {activationlocktest.DeviceConfig{ProductName: "RealityDevice14,1", Supervised: true}, false, true, true},
		"Watch":                   {activationlocktest.DeviceConfig{ProductName: "Watch7,1", Supervised: true}, true, true, false},
		"supervised, Vision Pro1": {activationlocktest.DeviceConfig{ProductName: "RealityDevice14,1", Supervised: true, OSVersion: "1.1"}, false, false, false},
	} {
		for _, permitted := range []bool{false, true} {
			d := enrolled(t, test.config)
			ask(t, d, mdmcmd.ActivationLockBypassCode)
			yes := true
			if permitted {
				ask(t, d, mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: &yes}})
			}
			require.NoError(t, d.SetFindMy(true))
			require.True(t, d.FindMy())
			locked := d.Lock().Kind == activationlocktest.UserLinked
			if permitted {
				require.Equal(t, test.withIt, locked, name)
				require.Equal(t, test.opens, d.Lock().OpensWith(d.Code()), name)
			} else {
				require.Equal(t, test.without, locked, name)
			}
			require.NoError(t, d.SetFindMy(false))
			require.Equal(t, activationlocktest.NotLocked, d.Lock().Kind, "off with the owner's password")
		}
	}
	require.Error(t, enrolled(t, activationlocktest.DeviceConfig{ProductName: "AppleTV14,1"}).SetFindMy(true))
}

// Permission that comes while Find My is on locks, too; a code that nobody asked
// for before opens nothing, by Apple's word.
func TestOrder(t *testing.T) {
	t.Parallel()
	for _, fetched := range []bool{false, true} {
		for _, r := range []activationlocktest.Reading{{}, {WorksUnfetched: true}} {
			d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: r})
			require.NoError(t, d.SetFindMy(true))
			if fetched {
				askCode(t, d)
			}
			require.Equal(t, activationlocktest.NotLocked, d.Lock().Kind)
			allow(t, d, true)
			require.Equal(t, activationlocktest.UserLinked, d.Lock().Kind)
			code, _ := askCode(t, d)
			require.Equal(t, fetched || r.WorksUnfetched, d.Lock().OpensWith(code), "fetched %t, %v", fetched, r)
		}
	}
}

// A Mac that its user locked before it came under management.
func TestLockedBeforeEnrollment(t *testing.T) {
	t.Parallel()
	d := newDevice(t, activationlocktest.DeviceConfig{ProductName: "Mac14,2", Supervised: true})
	require.NoError(t, d.SetFindMy(true))
	require.Equal(t, activationlocktest.UserLinked, d.Lock().Kind)
	enroll(t, d)
	require.Equal(t, activationlocktest.UserLinked, d.Lock().Kind)
	code, result := askCode(t, d)
	require.Equal(t, mdmcmd.BypassCodeHeld, result)
	require.False(t, d.Lock().OpensWith(code))
}

func TestActivation(t *testing.T) {
	t.Parallel()
	d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true})
	code, _ := askCode(t, d)
	allow(t, d, true)
	require.NoError(t, d.SetFindMy(true))
	require.False(t, d.TypeCode(code), "there is no such screen on an iPhone in use")
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.EraseDevice{}).Status)
	require.False(t, d.Activated())
	require.False(t, d.Enrolled())
	_, err := d.Enroll()
	require.ErrorIs(t, err, activationlocktest.ErrLocked)
	require.ErrorIs(t, d.SetFindMy(true), activationlocktest.ErrLocked)
	require.ErrorIs(t, d.SetFindMy(false), activationlocktest.ErrLocked)
	require.False(t, d.TypeCode(bypasscode.New().Text()))
	require.False(t, d.TypeCode(bypasscode.NewText("")))
	require.True(t, d.TypeCode(code))
	require.True(t, d.Activated())
	enroll(t, d)
	require.False(t, d.FindMy())
	require.Equal(t, activationlocktest.NotLocked, d.Lock().Kind)
	require.False(t, d.Code().Equal(code))
}

func TestNoCodeReadings(t *testing.T) {
	t.Parallel()
	want := map[activationlocktest.NoCodeAnswer]mdmcmd.BypassCodeResult{
		activationlocktest.EmptyCode:   mdmcmd.BypassCodeEmpty,
		activationlocktest.MissingCode: mdmcmd.BypassCodeMissing,
		activationlocktest.CodeError:   mdmcmd.BypassCodeError,
	}
	for how, result := range want {
		c := newClock()
		r := activationlocktest.Reading{WithoutCode: how, ClearIsFinal: true}
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Now: c.Now, Reading: r})
		ask(t, d, mdmcmd.ClearActivationLockBypassCode)
		_, got := askCode(t, d)
		require.Equal(t, result, got)

		r = activationlocktest.Reading{WindowOver: how}
		d = enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Now: c.Now, Reading: r})
		c.advance(16 * day)
		_, got = askCode(t, d)
		require.Equal(t, result, got)
	}
	for _, endless := range []bool{false, true} {
		c := newClock()
		mac := enrolled(t, activationlocktest.DeviceConfig{ProductName: "Mac14,2", Supervised: true, Now: c.Now, Reading: activationlocktest.Reading{NoWindowOnMacs: endless}})
		c.advance(100 * day)
		_, got := askCode(t, mac)
		require.Equal(t, endless, got == mdmcmd.BypassCodeHeld)
	}
}

// The report on iOS 11: fetch, clear, allow, Find My; the fetched code does not
// work, one fetched afterwards does. It holds by each reading.
func TestReport2017(t *testing.T) {
	t.Parallel()
	for _, r := range []activationlocktest.Reading{{}, {NewCodeWithFindMy: true}, {ClearIsFinal: true, NewCodeWithFindMy: true}} {
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: r})
		first, _ := askCode(t, d)
		ask(t, d, mdmcmd.ClearActivationLockBypassCode)
		require.True(t, d.Code().IsZero())
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		require.False(t, d.Lock().OpensWith(first), r)
		second, result := askCode(t, d)
		require.Equal(t, mdmcmd.BypassCodeHeld, result)
		require.True(t, d.Lock().OpensWith(second), r)
	}
	// Without a Clear it depends.
	for _, anew := range []bool{false, true} {
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{NewCodeWithFindMy: anew}})
		first, _ := askCode(t, d)
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		require.Equal(t, !anew, d.Lock().OpensWith(first))
		second, _ := askCode(t, d)
		require.True(t, d.Lock().OpensWith(second))
	}
}

func TestClearReadings(t *testing.T) {
	t.Parallel()
	for _, voids := range []bool{false, true} {
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{ClearVoids: voids}})
		code, _ := askCode(t, d)
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		ask(t, d, mdmcmd.ClearActivationLockBypassCode)
		require.Equal(t, activationlocktest.UserLinked, d.Lock().Kind, "it lifts nothing")
		require.Equal(t, !voids, d.Lock().OpensWith(code))
	}
	for _, final := range []bool{false, true} {
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{ClearIsFinal: final}})
		first := d.Code()
		ask(t, d, mdmcmd.ClearActivationLockBypassCode)
		code, _ := askCode(t, d)
		require.Equal(t, final, code.IsZero())
		require.False(t, code.Equal(first))
	}
}

func TestOptionReadings(t *testing.T) {
	t.Parallel()
	yes := true
	for _, value := range []bool{false, true} {
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{ForbidLifts: value}})
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		allow(t, d, false)
		require.Equal(t, value, d.Lock().Kind == activationlocktest.NotLocked)

		d = enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{OptionsReset: value}})
		allow(t, d, true)
		ask(t, d, mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{IdleRebootAllowed: &yes}})
		options := facts(t, d, mdmcmd.QueryMDMOptions).MDMOptions
		require.Equal(t, !value, *options.ActivationLockAllowedWhileSupervised)
		require.True(t, *options.IdleRebootAllowed)

		d = enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: activationlocktest.Reading{LostModeRefuses: value}})
		ask(t, d, mdmcmd.EnableLostMode{Message: "x"})
		require.Equal(t, value, ask(t, d, mdmcmd.ActivationLockBypassCode).ErrorChain.Class() == mdmcmd.ErrorInLostMode)
		require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.SecurityInfo).Status)
	}
}

func TestRelock(t *testing.T) {
	t.Parallel()
	for _, relock := range []activationlocktest.Relock{activationlocktest.RelockAtNextMessage, activationlocktest.RelockAtOnce, activationlocktest.RelockWithFindMy} {
		r := activationlocktest.Reading{Relock: relock}
		a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: r})
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Reading: r})
		require.NoError(t, a.Add(d, true))
		code, _ := askCode(t, d)
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		require.Equal(t, 200, unlock(t, a, d, code).Code)
		locked := func() bool { return a.Lock(serial).Kind == activationlocktest.UserLinked }
		require.Equal(t, relock == activationlocktest.RelockAtOnce, locked())
		_, err := d.Idle()
		require.NoError(t, err)
		require.Equal(t, relock != activationlocktest.RelockWithFindMy, locked())
		require.NoError(t, d.SetFindMy(false))
		require.False(t, locked())
		require.NoError(t, d.SetFindMy(true))
		require.True(t, locked())

		// Erased after the unlock, it stays open.
		require.Equal(t, 200, unlock(t, a, d, code).Code)
		if relock == activationlocktest.RelockAtOnce {
			continue
		}
		d.Erase()
		enroll(t, d)
		require.False(t, locked())
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, ADE: true, AwaitConfiguration: true})
		require.NoError(t, a.Add(d, true))
		ask(t, d, mdmcmd.DeviceConfigured)
		code, _ := askCode(t, d)
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		a.Migrate(serial, fails)
		require.False(t, d.Enrolled())
		require.Equal(t, 404, unlock(t, a, d, code).Code, "all codes are void")
		if fails {
			require.Equal(t, activationlocktest.CreatorLinked, a.Lock(serial).Kind)
			require.True(t, a.AdministratorTurnsOff(serial))
			continue
		}
		require.Equal(t, activationlocktest.NotLocked, a.Lock(serial).Kind)
		messages, err := d.Enroll()
		require.NoError(t, err)
		require.True(t, *parse[*mdmcmd.TokenUpdate](t, messages[1:], nil).AwaitingConfiguration)
		require.Equal(t, activationlocktest.NotLocked, a.Lock(serial).Kind, "the new service decides")
		ask(t, d, mdmcmd.DeviceConfigured)
		other, _ := askCode(t, d)
		require.False(t, other.IsZero())
		require.False(t, other.Equal(code))
		allow(t, d, true)
		require.True(t, a.Lock(serial).OpensWith(other))
		require.False(t, a.Lock(serial).OpensWith(code))
	}
}

func TestPeopleTurnOff(t *testing.T) {
	t.Parallel()
	for _, opens := range []bool{false, true} {
		c := newClock()
		a := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: c.Now, Reading: activationlocktest.Reading{PortalOpensUserLocks: opens}})
		d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Now: c.Now})
		allow(t, d, true)
		require.NoError(t, d.SetFindMy(true))
		require.NoError(t, a.Add(d, true))
		require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind, "the lock that it had")
		require.Equal(t, c.Now(), a.Lock(serial).Since)
		require.Equal(t, opens, a.AdministratorTurnsOff(serial))
		_, err := d.Idle()
		require.NoError(t, err)
		require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
		c.advance(time.Hour)
		require.True(t, a.OwnerTurnsOff(serial))
		require.Equal(t, c.Now(), a.Lock(serial).Since)
		require.False(t, d.FindMy())
		require.False(t, a.OwnerTurnsOff(serial))

		ask(t, d, mdmcmd.EnableLostMode{Message: "x"})
		require.True(t, a.AdministratorTurnsOff(serial))
		require.False(t, *facts(t, d, mdmcmd.QueryIsMDMLostModeEnabled).IsMDMLostModeEnabled)
		require.False(t, a.AdministratorTurnsOff(serial))
	}
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	require.Zero(t, a.Lock("unknown"))
	require.Panics(t, func() { a.OwnerTurnsOff("unknown") })
	d := enrolled(t, activationlocktest.DeviceConfig{})
	require.NoError(t, a.Add(d, false))
	require.Error(t, a.Add(newDevice(t, activationlocktest.DeviceConfig{}), false))
	require.False(t, a.AdministratorTurnsOff(serial), "of another organization")
}
