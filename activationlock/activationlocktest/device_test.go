package activationlocktest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

const day = 24 * time.Hour

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newDevice(t *testing.T, config activationlocktest.DeviceConfig) *activationlocktest.Device {
	t.Helper()
	if config.SerialNumber == "" {
		config.SerialNumber = "XXFAKE0SER1"
	}
	d, err := activationlocktest.NewDevice(config)
	require.NoError(t, err)
	return d
}

// enrolled returns a device that is enrolled.
func enrolled(t *testing.T, config activationlocktest.DeviceConfig) *activationlocktest.Device {
	t.Helper()
	d := newDevice(t, config)
	enroll(t, d)
	return d
}

func enroll(t *testing.T, d *activationlocktest.Device) {
	t.Helper()
	messages, err := d.Enroll()
	require.NoError(t, err)
	require.Len(t, messages, 2)
}

// answerer is a device or the channel of a user.
type answerer interface {
	Answer([]byte) ([][]byte, error)
}

// ask sends a command and reads the report.
func ask(t *testing.T, d answerer, c mdmcmd.Command) *mdmcmd.Report {
	t.Helper()
	raw, err := mdmcmd.Encode("uuid & <1>", c)
	require.NoError(t, err)
	messages, err := d.Answer(raw)
	require.NoError(t, err)
	require.NotEmpty(t, messages)
	m, err := mdmcmd.Parse(messages[0])
	require.NoError(t, err, "%s", messages[0])
	report := m.(*mdmcmd.Report)
	require.Equal(t, "uuid & <1>", report.CommandUUID)
	return report
}

func askCode(t *testing.T, d answerer) (bypasscode.Text, mdmcmd.BypassCodeResult) {
	t.Helper()
	return ask(t, d, mdmcmd.ActivationLockBypassCode).BypassCodeAnswer()
}

func allow(t *testing.T, d answerer, allowed bool) {
	t.Helper()
	report := ask(t, d, mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: &allowed}})
	require.Equal(t, mdmcmd.Acknowledged, report.SettingsStatus())
}

func facts(t *testing.T, d answerer, queries ...mdmcmd.Query) *mdmcmd.QueryResponses {
	t.Helper()
	report := ask(t, d, mdmcmd.DeviceInformation{Queries: queries})
	require.Equal(t, mdmcmd.Acknowledged, report.Status)
	require.NotNil(t, report.QueryResponses)
	return report.QueryResponses
}

func parse[M mdmcmd.Message](t *testing.T, messages [][]byte, err error) M {
	t.Helper()
	require.NoError(t, err)
	require.Len(t, messages, 1)
	m, err := mdmcmd.Parse(messages[0])
	require.NoError(t, err, "%s", messages[0])
	require.IsType(t, *new(M), m)
	return m.(M)
}

func commands() []mdmcmd.Command {
	yes := true
	return []mdmcmd.Command{
		mdmcmd.ActivationLockBypassCode, mdmcmd.ClearActivationLockBypassCode, mdmcmd.SecurityInfo,
		mdmcmd.DeviceInformation{Queries: mdmcmd.DefaultQueries("")},
		mdmcmd.Settings{MDMOptions: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: &yes}},
		mdmcmd.EnableLostMode{Message: "Lost & found"}, mdmcmd.DeviceLocation, mdmcmd.PlayLostModeSound, mdmcmd.DisableLostMode,
		mdmcmd.DeviceLock{Message: "Locked"}, mdmcmd.ClearPasscode{UnlockToken: mdmcmd.NewSecret([]byte("token"))},
		mdmcmd.DeviceConfigured, mdmcmd.RemoveProfile{Identifier: "com.example.mdm"},
		mdmcmd.EraseDevice{PIN: mdmcmd.NewSecret([]byte("123456"))},
	}
}

// Devices refuse a command exactly where the other package says that it does not
// work: two transcriptions of the same tables.
func TestAvailability(t *testing.T) {
	t.Parallel()
	// Versions from the platform's first management on.
	products := map[string][]string{
		"iPhone17,3":        {"4.0", "6.1.6", "7.0", "7.1", "9.2", "9.3", "10.2", "10.3", "26.1"},
		"iPad14,3":          {"7.0.6", "7.1", "9.3", "27"},
		"Mac14,2":           {"10.7", "10.10", "10.11", "10.14.6", "10.15", "26.1"},
		"MacBookPro17,1":    {"11.5"},
		"AppleTV14,1":       {"9.0", "10.1", "10.2", "26.1"},
		"Watch7,1":          {"10.0", "26.1"},
		"RealityDevice14,1": {"1.1", "1.3", "2.0", "26.1"},
	}
	compared := 0
	for product, versions := range products {
		for _, version := range versions {
			for kind := range 16 {
				config := activationlocktest.DeviceConfig{
					SerialNumber: "XXFAKE0SER1", ProductName: product, OSVersion: version,
					Supervised: kind&1 != 0, ADE: kind&2 != 0, SharedIPad: kind&4 != 0, UserEnrollment: kind&8 != 0,
				}
				if _, err := activationlocktest.NewDevice(config); err != nil {
					continue // there is no such device
				}
				for _, c := range commands() {
					for _, user := range []bool{false, true} {
						d := enrolled(t, config)
						on := answerer(d)
						if user {
							u := d.User("user", "jane")
							if u == nil {
								continue
							}
							on = u
						}
						works := worksOn(c, config, user)
						class := ask(t, on, c).ErrorChain.Class()
						if c.RequestType() == "Settings" && !user {
							if report := ask(t, on, c); report.SettingsStatus() == mdmcmd.Error {
								class = report.Settings[0].ErrorChain.Class()
							}
						}
						refused := class == mdmcmd.ErrorNotSupported || class == mdmcmd.ErrorNotSupervised || class == mdmcmd.ErrorUnknownSetting
						require.Equal(t, works, !refused, "%s on %s %s, %+v, user channel %t: %s", c.RequestType(), product, version, config, user, class)
						compared++
					}
				}
			}
		}
	}
	require.Greater(t, compared, 2500)
}

// worksOn says what package mdmcmd thinks.
func worksOn(c mdmcmd.Command, config activationlocktest.DeviceConfig, user bool) bool {
	platform := mdmcmd.PlatformOf(config.ProductName)
	for _, a := range c.Availability() {
		reached, known := a.Reached(config.OSVersion)
		if a.Platform != platform || !known {
			continue
		}
		return reached && (!a.Supervised || config.Supervised) && (!a.ADE || config.ADE) &&
			(!config.SharedIPad || a.SharedIPad) && (!config.UserEnrollment || a.UserEnrollment) && (!user || a.UserChannel)
	}
	return false
}

func TestEnroll(t *testing.T) {
	t.Parallel()
	d := newDevice(t, activationlocktest.DeviceConfig{
		Supervised: true, ADE: true, AwaitConfiguration: true, IMEI: "350000000000019", MEID: "35000000000001",
	})
	_, err := d.Idle()
	require.ErrorIs(t, err, activationlocktest.ErrNotEnrolled)
	require.False(t, d.Enrolled())
	messages, err := d.Enroll()
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.True(t, d.Enrolled())
	a := parse[*mdmcmd.Authenticate](t, messages[:1], nil)
	require.Equal(t, d.ID(), a.UDID)
	require.Equal(t, "XXFAKE0SER1", a.SerialNumber)
	require.Equal(t, "iPhone17,3", a.ProductName)
	require.Equal(t, "26.1", a.OSVersion)
	require.Equal(t, "350000000000019", a.IMEI)
	require.Equal(t, "iPhone & iPad", a.ModelName)
	require.Equal(t, "Example", a.DeviceName)
	u := parse[*mdmcmd.TokenUpdate](t, messages[1:], nil)
	require.True(t, *u.AwaitingConfiguration)
	require.Equal(t, a.Topic, u.Topic)

	require.Error(t, d.SetFindMy(true), "it waits in Setup Assistant")
	require.True(t, *facts(t, d, mdmcmd.QueryAwaitingConfiguration).AwaitingConfiguration)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.DeviceConfigured).Status)
	require.NoError(t, d.SetFindMy(true))
	messages, err = d.TokenUpdate()
	require.False(t, *parse[*mdmcmd.TokenUpdate](t, messages, err).AwaitingConfiguration)

	messages, err = d.Idle()
	require.Equal(t, mdmcmd.Idle, parse[*mdmcmd.Report](t, messages, err).Status)
	messages, err = d.CheckOut()
	require.Equal(t, d.ID(), parse[*mdmcmd.CheckOut](t, messages, err).UDID)
	require.False(t, d.Enrolled())
	_, err = d.CheckOut()
	require.ErrorIs(t, err, activationlocktest.ErrNotEnrolled)
}

func TestUserEnrollment(t *testing.T) {
	t.Parallel()
	d := newDevice(t, activationlocktest.DeviceConfig{ProductName: "Mac14,2", UserEnrollment: true})
	require.Empty(t, d.ID())
	messages, err := d.Enroll()
	require.NoError(t, err)
	a := parse[*mdmcmd.Authenticate](t, messages[:1], nil)
	require.True(t, a.IsUserEnrollment())
	require.Equal(t, d.ID(), a.EnrollmentID)
	require.Empty(t, a.SerialNumber)
	require.NotContains(t, string(slices.Concat(messages...)), "XXFAKE0SER1")
	require.NoError(t, d.SetFindMy(true))
	require.Equal(t, activationlocktest.NotLocked, d.Lock().Kind)
	got := facts(t, d, mdmcmd.DefaultQueries("")...)
	require.Empty(t, got.SerialNumber+got.UDID)
	require.Nil(t, got.IsActivationLockEnabled)
	require.NotNil(t, got.IsSupervised)
	require.Equal(t, "Example", got.DeviceName, "no schema forbids it")

	first := d.ID()
	enroll(t, d)
	require.NotEqual(t, first, d.ID())

	u := d.User("user-1", "jane")
	messages, err = u.TokenUpdate()
	m := parse[*mdmcmd.TokenUpdate](t, messages, err)
	require.Equal(t, mdmcmd.UserChannel, m.Channel())
	require.Equal(t, "user-1", m.EnrollmentUserID)
}

func TestUserChannel(t *testing.T) {
	t.Parallel()
	require.Nil(t, enrolled(t, activationlocktest.DeviceConfig{}).User("x", "x"))
	shared := enrolled(t, activationlocktest.DeviceConfig{ProductName: "iPad14,3", SharedIPad: true, Supervised: true})
	u := shared.User("whatever", "jane")
	messages, err := u.Idle()
	idle := parse[*mdmcmd.Report](t, messages, err)
	require.Equal(t, mdmcmd.UserChannel, idle.Channel())
	require.Equal(t, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", idle.UserID)
	require.True(t, *facts(t, u, mdmcmd.QueryIsMultiUser).IsMultiUser)
	require.Equal(t, mdmcmd.ErrorNotSupported, ask(t, u, mdmcmd.ActivationLockBypassCode).ErrorChain.Class())
	require.Equal(t, mdmcmd.ErrorNotSupported, ask(t, shared, mdmcmd.ActivationLockBypassCode).ErrorChain.Class())
	allow(t, shared, true)
	require.NoError(t, shared.SetFindMy(true))
	require.Equal(t, activationlocktest.NotLocked, shared.Lock().Kind)
}

func TestDeviceInformation(t *testing.T) {
	t.Parallel()
	everything := mdmcmd.DefaultQueries("")
	phone := activationlocktest.DeviceConfig{
		DeviceName: "Anna's iPhone", IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001", Supervised: true,
	}
	d := enrolled(t, phone)
	got := facts(t, d, append(everything, mdmcmd.QueryIMEI, mdmcmd.QueryMEID, "Unknown & more")...)
	require.Equal(t, mdmcmd.Cellular{IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001"}, got.Cellular())
	require.Empty(t, got.IMEI+got.MEID, "removed in 26.0")
	require.Equal(t, d.Config().UDID, got.UDID)
	require.Equal(t, "iPhone17,3", got.ProductName)
	require.Equal(t, "Anna's iPhone", got.DeviceName)
	require.True(t, *got.IsSupervised)
	require.False(t, *got.IsActivationLockEnabled)
	require.False(t, *got.IsDeviceLocatorServiceEnabled)
	require.False(t, *got.IsMDMLostModeEnabled)
	require.False(t, *got.MDMOptions.ActivationLockAllowedWhileSupervised)
	require.Nil(t, got.IsActivationLockSupported)

	require.Zero(t, facts(t, d, mdmcmd.QueryUDID).SerialNumber, "only what was asked")

	phone.OSVersion = "18.0"
	got = facts(t, enrolled(t, phone), mdmcmd.QueryIMEI)
	require.Equal(t, "350000000000019", got.Cellular().IMEI)
	phone.OSVersion, phone.NoDeprecatedQueries = "15.8", true
	require.NotNil(t, facts(t, enrolled(t, phone), everything...).IsActivationLockEnabled)
	phone.OSVersion = "16.0"
	require.Nil(t, facts(t, enrolled(t, phone), everything...).IsActivationLockEnabled)
	phone.OSVersion = "11.4"
	require.Nil(t, facts(t, enrolled(t, phone), everything...).ServiceSubscriptions)

	phone.WithheldRights = 32
	phone.OSVersion = "26.0"
	got = facts(t, enrolled(t, phone), everything...)
	require.Nil(t, got.ServiceSubscriptions)
	require.NotEmpty(t, got.SerialNumber)
	phone.WithheldRights = 16
	got = facts(t, enrolled(t, phone), everything...)
	require.Empty(t, got.SerialNumber+got.DeviceName)
	require.NotEmpty(t, got.UDID)
	require.NotNil(t, got.MDMOptions)

	mac := enrolled(t, activationlocktest.DeviceConfig{ProductName: "Mac14,2", Supervised: true})
	got = facts(t, mac, everything...)
	require.Nil(t, got.IsDeviceLocatorServiceEnabled)
	require.True(t, *got.IsActivationLockSupported)
	require.Equal(t, "success", got.EACSPreflight)
	require.True(t, *ask(t, mac, mdmcmd.SecurityInfo).SecurityInfo.ManagementStatus.IsActivationLockManageable)
	old := enrolled(t, activationlocktest.DeviceConfig{ProductName: "MacBookPro11,1", Supervised: true, NoT2: true, OSVersion: "11.7"})
	require.False(t, *facts(t, old, everything...).IsActivationLockSupported)
	require.False(t, *ask(t, old, mdmcmd.SecurityInfo).SecurityInfo.ManagementStatus.IsActivationLockManageable)

	vision := enrolled(t, activationlocktest.DeviceConfig{ProductName: "RealityDevice14,1", Supervised: true})
	allow(t, vision, true)
	got = facts(t, vision, everything...)
	require.Nil(t, got.IsActivationLockEnabled)
	require.Nil(t, got.MDMOptions.ActivationLockAllowedWhileSupervised, "it can be set there and is not told")
	require.NotNil(t, got.IsDeviceLocatorServiceEnabled)
}

func TestBypassCode(t *testing.T) {
	t.Parallel()
	c := newClock()
	for product, class := range map[string]mdmcmd.ErrorClass{
		"iPhone17,3": mdmcmd.ErrorNotSupervised, "Mac14,2": mdmcmd.ErrorNotSupervised, "RealityDevice14,1": mdmcmd.ErrorNotSupervised,
		"AppleTV14,1": mdmcmd.ErrorNotSupported, "Watch7,1": mdmcmd.ErrorNotSupported,
	} {
		d := enrolled(t, activationlocktest.DeviceConfig{ProductName: product})
		require.Equal(t, class, ask(t, d, mdmcmd.ActivationLockBypassCode).ErrorChain.Class(), product)
		require.True(t, d.Code().IsZero())
	}
	d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true, Now: c.Now})
	code, result := askCode(t, d)
	require.Equal(t, mdmcmd.BypassCodeHeld, result)
	require.True(t, code.Equal(d.Code()))
	_, err := code.Code()
	require.NoError(t, err, "it has the usual format")

	d.AnswerEmpty(1)
	_, result = askCode(t, d)
	require.Equal(t, mdmcmd.BypassCodeEmpty, result)
	again, _ := askCode(t, d)
	require.True(t, again.Equal(code), "the same one each time")

	d.MakeCode()
	other, _ := askCode(t, d)
	require.False(t, other.Equal(code))
	require.Len(t, d.Codes(), 2)

	c.advance(15*day - 1)
	_, result = askCode(t, d)
	require.Equal(t, mdmcmd.BypassCodeHeld, result)
	c.advance(1)
	_, result = askCode(t, d)
	require.Equal(t, mdmcmd.BypassCodeEmpty, result)
}

// Section 3.5: three events make a new code, and the own backup does not.
func TestNewCodes(t *testing.T) {
	t.Parallel()
	d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true})
	first := d.Code()
	enroll(t, d)
	require.True(t, first.Equal(d.Code()), "a new enrollment keeps it")
	require.Error(t, d.Restore(true))

	d.Erase()
	require.True(t, d.Code().IsZero())
	require.NoError(t, d.Restore(true))
	enroll(t, d)
	require.True(t, first.Equal(d.Code()), "so does its own backup")

	d.Erase()
	enroll(t, d)
	second := d.Code()
	require.False(t, first.Equal(second))

	d.Erase()
	require.NoError(t, d.Restore(false))
	enroll(t, d)
	require.False(t, second.Equal(d.Code()))
	require.Len(t, d.Codes(), 3)
}

func TestFaultsOfTheDevice(t *testing.T) {
	t.Parallel()
	d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true})
	d.NotNow(2)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.DeviceInformation{Queries: []mdmcmd.Query{mdmcmd.QueryUDID}}).Status, "as promised")
	for range 2 {
		require.Equal(t, mdmcmd.NotNow, ask(t, d, mdmcmd.ActivationLockBypassCode).Status)
	}
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.ActivationLockBypassCode).Status)

	d.SendTwice(1)
	messages, err := d.Idle()
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Equal(t, messages[0], messages[1])

	erase, err := mdmcmd.Encode("1", mdmcmd.EraseDevice{})
	require.NoError(t, err)
	d.SetReachable(false)
	messages, err = d.Answer(erase)
	require.NoError(t, err)
	require.Empty(t, messages)
	require.True(t, d.Enrolled(), "it read nothing")
	messages, err = d.Enroll()
	require.NoError(t, err)
	require.Empty(t, messages)
	d.SetReachable(true)
	d.Lose(1)
	messages, err = d.Answer(erase)
	require.NoError(t, err)
	require.Empty(t, messages)
	require.False(t, d.Enrolled(), "it did what it was told")

	d.ClaimSerialNumber("XXFAKE0SER9")
	messages, err = d.Enroll()
	require.NoError(t, err)
	require.Equal(t, "XXFAKE0SER9", parse[*mdmcmd.Authenticate](t, messages[:1], nil).SerialNumber)
	require.Equal(t, "XXFAKE0SER9", facts(t, d, mdmcmd.QuerySerialNumber).SerialNumber)
	d.MisreportLock(true)
	require.True(t, *facts(t, d, mdmcmd.QueryIsActivationLockEnabled).IsActivationLockEnabled)
	require.NoError(t, d.SetFindMy(true))
	allow(t, d, true)
	require.Equal(t, activationlocktest.UserLinked, d.Lock().Kind)
	require.False(t, *facts(t, d, mdmcmd.QueryIsActivationLockEnabled).IsActivationLockEnabled)
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	d := enrolled(t, activationlocktest.DeviceConfig{Supervised: true})
	require.Equal(t, mdmcmd.ErrorNotInLostMode, ask(t, d, mdmcmd.DeviceLocation).ErrorChain.Class())
	require.Equal(t, mdmcmd.ErrorNotInLostMode, ask(t, d, mdmcmd.DisableLostMode).ErrorChain.Class())
	require.Equal(t, "Success", ask(t, d, mdmcmd.DeviceLock{Message: "x"}).MessageResult)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.EnableLostMode{Message: "x"}).Status)
	require.True(t, d.Lock().LostMode)
	require.NotEmpty(t, ask(t, d, mdmcmd.DeviceLocation).Location.Timestamp)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.PlayLostModeSound).Status)
	require.Equal(t, "DeviceInLostMode", ask(t, d, mdmcmd.DeviceLock{Message: "x"}).MessageResult)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.ActivationLockBypassCode).Status)
	require.Equal(t, mdmcmd.Acknowledged, ask(t, d, mdmcmd.DisableLostMode).Status)
	require.False(t, d.Lock().LostMode)
	require.Equal(t, mdmcmd.ErrorNotAuthorized, ask(t, d, mdmcmd.ClearPasscode{UnlockToken: mdmcmd.NewSecret([]byte("wrong"))}).ErrorChain.Class())

	messages, err := d.Answer([]byte(`<plist version="1.0"><dict><key>CommandUUID</key><string>1</string><key>Command</key><dict><key>RequestType</key><string>DanceCommand</string></dict></dict></plist>`))
	require.Equal(t, mdmcmd.ErrorNotSupported, parse[*mdmcmd.Report](t, messages, err).ErrorChain.Class())
	messages, err = d.Answer([]byte(`<plist version="1.0"><dict><key>CommandUUID</key><string>1</string><key>Command</key><dict><key>RequestType</key><string>EnableLostMode</string></dict></dict></plist>`))
	require.Equal(t, mdmcmd.CommandFormatError, parse[*mdmcmd.Report](t, messages, err).Status)
	messages, err = d.Answer(nil)
	require.NoError(t, err)
	require.Empty(t, messages)
	for _, wrong := range []string{"x", "<plist><dict>", "<plist><array/></plist>", "<dict/>", "<plist><dict/></plist>", "<plist><dict/></plist><plist/>", "<plist><dict><key>a</key></dict></plist>"} {
		_, err = d.Answer([]byte(wrong))
		require.Error(t, err, wrong)
	}

	remove, err := mdmcmd.Encode("1", mdmcmd.RemoveProfile{Identifier: "com.example.mdm"})
	require.NoError(t, err)
	require.Equal(t, mdmcmd.Error, ask(t, d, mdmcmd.RemoveProfile{Identifier: "com.example.other"}).Status)
	messages, err = d.Answer(remove)
	require.NoError(t, err)
	require.Len(t, messages, 2)
	parse[*mdmcmd.CheckOut](t, messages[1:], nil)
	require.False(t, d.Enrolled())
	require.True(t, d.Supervised())

	for behavior, want := range map[mdmcmd.ObliterationBehavior]struct {
		status mdmcmd.Status
		erased bool
	}{
		mdmcmd.ObliterationDefault:   {mdmcmd.Error, true},
		mdmcmd.DoNotObliterate:       {mdmcmd.Error, false},
		mdmcmd.ObliterateWithWarning: {mdmcmd.Acknowledged, true},
		mdmcmd.ObliterateAlways:      {mdmcmd.Acknowledged, true},
		"":                           {mdmcmd.Error, true},
	} {
		mac := enrolled(t, activationlocktest.DeviceConfig{ProductName: "Mac14,2", PreflightFails: true})
		require.Equal(t, want.status, ask(t, mac, mdmcmd.EraseDevice{ObliterationBehavior: behavior}).Status, behavior)
		require.Equal(t, want.erased, !mac.Enrolled(), behavior)
	}
}

func TestNewDevice(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]activationlocktest.DeviceConfig{
		"no serial number":        {},
		"unknown product":         {SerialNumber: "1", ProductName: "Pear1,1"},
		"shared iPhone":           {SerialNumber: "1", SharedIPad: true},
		"supervised user":         {SerialNumber: "1", UserEnrollment: true, Supervised: true},
		"user enrollment of a TV": {SerialNumber: "1", UserEnrollment: true, ProductName: "AppleTV14,1"},
		"iPhone with T2":          {SerialNumber: "1", NoT2: true},
	} {
		_, err := activationlocktest.NewDevice(config)
		require.Error(t, err, name)
	}
}

// The same seed and the same life give the same bytes.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	play := func(seed byte) []byte {
		d := newDevice(t, activationlocktest.DeviceConfig{
			Supervised: true, Rand: rand.NewChaCha8([32]byte{seed}), Now: newClock().Now, IMEI: "350000000000019", IMEI2: "350000000000027",
		})
		var all [][]byte
		keep := func(messages [][]byte, err error) {
			require.NoError(t, err)
			all = append(all, messages...)
		}
		keep(d.Enroll())
		for i, c := range commands() {
			if !d.Enrolled() {
				keep(d.Enroll())
			}
			raw, err := mdmcmd.Encode(fmt.Sprint(i), c)
			require.NoError(t, err)
			keep(d.Answer(raw))
		}
		return bytes.Join(all, nil)
	}
	require.Equal(t, play(1), play(1))
	require.NotEqual(t, play(1), play(2))
}
