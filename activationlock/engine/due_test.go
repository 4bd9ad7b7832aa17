package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// Nothing is to be asked before a record is due, and something is then; a record
// that is never due has nothing to ask for ever.
func TestDueAt(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func() time.Time {
		if rng.IntN(4) == 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(rng.IntN(20*24*60)-10*24*60) * time.Minute)
	}
	maybe := func() *bool { return []*bool{nil, new(false), new(true)}[rng.IntN(3)] }
	policy := Policy{
		Options:   mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
		Inventory: inventory.Periodic{}.For, AnswerWithin: 24 * time.Hour, CodeEvery: 6 * time.Hour, NotNowAgain: time.Hour,
	}
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	require.NoError(t, err)
	hours := inventory.Periodic{Window: inventory.Window{
		Weekdays: []time.Weekday{time.Monday, time.Wednesday, time.Friday}, From: 8 * time.Hour, To: 17 * time.Hour, Zone: amsterdam,
	}}
	due, never := 0, 0
	for i := range 5000 {
		if policy.Inventory = (inventory.Periodic{}).For; i%2 == 0 {
			policy.Inventory = hours.For
		}
		r := inventory.Record{
			EnrollmentID: "E", Channel: DeviceChannel, AuthenticatedAt: at(), TokenAt: now.Add(-24 * time.Hour), CodeWanted: rng.IntN(3) == 0,
			Facts: inventory.Facts{
				ProductName: []string{"iPhone17,3", "Mac14,2", "AppleTV14,1", ""}[rng.IntN(4)], OSVersion: "15.1",
				Supervised: maybe(), LockAllowed: maybe(), LockManageable: maybe(),
			},
			Exchanges: map[string]inventory.Exchange{}, OptionsSent: policy.Options,
		}
		var codes []escrow.Record
		if rng.IntN(2) == 0 {
			r.CodeID = "C"
			codes = []escrow.Record{{ID: "C", Kind: bypasscode.Device, State: escrow.Current}}
		}
		for _, name := range []string{information, security, bypassCode, options} {
			if rng.IntN(4) > 0 {
				r.Exchanges[name] = inventory.Exchange{
					AskedAt: at(), AnsweredAt: at(), AgainAt: at(), OverdueAt: at(),
					Answer: []inventory.Answer{"", inventory.Done, inventory.Refused, inventory.NoCode}[rng.IntN(4)],
				}
			}
		}
		next := dueAt(&r, codes, policy, now)
		horizon := next
		if next.IsZero() {
			never++
			horizon = now.AddDate(1, 0, 0)
		} else {
			due++
			require.True(t, next.After(now))
			require.NotEmpty(t, plan(&r, codes, policy, true, next), "%+v", r)
		}
		if len(plan(&r, codes, policy, true, now)) > 0 {
			continue // what is to be asked now is asked, and the record is another then
		}
		for range 30 {
			moment := now.Add(time.Duration(rng.Int64N(int64(horizon.Sub(now)))))
			require.Empty(t, plan(&r, codes, policy, true, moment), "at %s of %s: %+v", moment, next, r)
		}
	}
	require.NotZero(t, due)
	require.NotZero(t, never)
}

// What a device's error means is on record, also where only an item of an
// acknowledged report has one.
func TestErrorOf(t *testing.T) {
	t.Parallel()
	chain := mdmcmd.ErrorChain{{ErrorCode: 29000, ErrorDomain: "MCChaperoneErrorDomain"}}
	for _, test := range []struct {
		name   string
		report mdmcmd.Report
		want   mdmcmd.ErrorClass
	}{
		{bypassCode, mdmcmd.Report{Status: mdmcmd.Error, ErrorChain: chain}, mdmcmd.ErrorNotSupervised},
		{options, mdmcmd.Report{Status: mdmcmd.Error, ErrorChain: chain}, mdmcmd.ErrorNotSupervised},
		{options, mdmcmd.Report{Status: mdmcmd.Acknowledged, Settings: []mdmcmd.SettingsItem{{Status: mdmcmd.Acknowledged}, {Status: mdmcmd.Error, ErrorChain: chain}}}, mdmcmd.ErrorNotSupervised},
		{options, mdmcmd.Report{Status: mdmcmd.CommandFormatError}, mdmcmd.ErrorUnknown},
		{information, mdmcmd.Report{Status: mdmcmd.CommandFormatError}, mdmcmd.ErrorNone},
	} {
		require.Equal(t, test.want, errorOf(test.name, &test.report), "%s %+v", test.name, test.report)
	}
}
