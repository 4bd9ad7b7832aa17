package bypass_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
)

// unlocked is an action whose lock Apple removed at noon.
func unlocked() bypass.Action {
	return bypass.Action{State: bypass.Done, Attempts: []bypass.Attempt{{Outcome: apple.NotFound, AnsweredAt: noon.Add(-time.Hour)}, {Outcome: apple.Done, AnsweredAt: noon}}}
}

func TestAftermath(t *testing.T) {
	t.Parallel()
	const (
		hour = time.Hour
		day  = 24 * hour
	)
	says := func(after time.Duration, source activationlock.Source, state activationlock.State, kind ...activationlock.LockKind) activationlock.Evidence {
		e := activationlock.Evidence{At: noon.Add(after), Source: source, State: state}
		if len(kind) > 0 {
			e.Kind = kind[0]
		}
		return e
	}
	const (
		device, api, lock, unlock, lost = activationlock.SourceDevice, activationlock.SourceApple, activationlock.SourceLockCall, activationlock.SourceUnlockCall, activationlock.SourceLostMode
		on, off                         = activationlock.On, activationlock.Off
		ours                            = activationlock.OrganizationLinked
	)
	for name, test := range map[string]struct {
		evidence []activationlock.Evidence
		want     activationlock.Aftermath
	}{
		"nothing":                             {nil, activationlock.Unverified},
		"from before":                         {[]activationlock.Evidence{says(-hour, device, on), says(-2*hour, api, off)}, activationlock.Unverified},
		"from that moment":                    {[]activationlock.Evidence{says(0, api, off)}, activationlock.Unverified},
		"our own unlock call says it anyway":  {[]activationlock.Evidence{says(0, unlock, off), says(hour, unlock, off)}, activationlock.Unverified},
		"lost mode is no lock":                {[]activationlock.Evidence{says(2*day, lost, on)}, activationlock.Unverified},
		"nor is its end a sign":               {[]activationlock.Evidence{says(2*day, lost, off)}, activationlock.Unverified},
		"said, but not what":                  {[]activationlock.Evidence{says(2*day, device, "")}, activationlock.Unverified},
		"off by Apple":                        {[]activationlock.Evidence{says(1, api, off)}, activationlock.Verified},
		"off by the device":                   {[]activationlock.Evidence{says(hour, device, off)}, activationlock.Verified},
		"on, within the lag":                  {[]activationlock.Evidence{says(activationlock.AppleLag-1, api, on)}, activationlock.MaybeRelocked},
		"on, after the lag":                   {[]activationlock.Evidence{says(activationlock.AppleLag, api, on)}, activationlock.Relocked},
		"on by the device, within the lag":    {[]activationlock.Evidence{says(hour, device, on)}, activationlock.MaybeRelocked},
		"on by the device":                    {[]activationlock.Evidence{says(2*day, device, on)}, activationlock.Relocked},
		"on within the lag, then off":         {[]activationlock.Evidence{says(hour, device, on), says(2*hour, api, off)}, activationlock.Verified},
		"off, then on":                        {[]activationlock.Evidence{says(hour, api, off), says(3*day, device, on)}, activationlock.Relocked},
		"on, then off by somebody":            {[]activationlock.Evidence{says(2*day, api, on), says(3*day, api, off)}, activationlock.Verified},
		"at the end of the watch":             {[]activationlock.Evidence{says(activationlock.WatchFor, device, on)}, activationlock.Relocked},
		"after the watch":                     {[]activationlock.Evidence{says(activationlock.WatchFor+1, device, on)}, activationlock.Unverified},
		"off, and on after the watch":         {[]activationlock.Evidence{says(hour, api, off), says(activationlock.WatchFor+1, api, on)}, activationlock.Verified},
		"our own lock":                        {[]activationlock.Evidence{says(hour, lock, on, ours), says(2*day, api, on, ours), says(2*day, device, on)}, activationlock.Verified},
		"our own lock of a relocked one":      {[]activationlock.Evidence{says(2*day, device, on), says(3*day, lock, on, ours)}, activationlock.Verified},
		"it was locked when we wanted to":     {[]activationlock.Evidence{says(hour, lock, on)}, activationlock.Relocked},
		"a lock call without an answer":       {[]activationlock.Evidence{says(hour, lock, "")}, activationlock.Unverified},
		"device and Apple of one moment":      {[]activationlock.Evidence{says(2*day, device, on), says(2*day, api, off)}, activationlock.Relocked},
		"a lock call and Apple of one moment": {[]activationlock.Evidence{says(hour, lock, on), says(hour, api, on), says(hour, device, off)}, activationlock.Relocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := unlocked()
			require.Equal(t, test.want, a.Aftermath(test.evidence))
			rng := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				rng.Shuffle(len(test.evidence), func(i, j int) {
					test.evidence[i], test.evidence[j] = test.evidence[j], test.evidence[i]
				})
				before := append([]activationlock.Evidence{}, test.evidence...)
				require.Equal(t, test.want, a.Aftermath(test.evidence), "the order makes no difference")
				require.ElementsMatch(t, before, test.evidence)
				require.Equal(t, append([]activationlock.Evidence{}, before...), append([]activationlock.Evidence{}, test.evidence...), "and is not changed")
			}
			failed := bypass.Action{State: bypass.Failed, Attempts: []bypass.Attempt{{Outcome: apple.NotFound, AnsweredAt: noon}}}
			require.Equal(t, activationlock.NotUnlocked, failed.Aftermath(test.evidence))
		})
	}
}

// No order of any evidence, also of one moment, makes a difference.
func TestAftermathInAnyOrder(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	sources := []activationlock.Source{activationlock.SourceDevice, activationlock.SourceApple, activationlock.SourceLockCall, activationlock.SourceUnlockCall, activationlock.SourceLostMode}
	states := []activationlock.State{activationlock.On, activationlock.Off, activationlock.StateUnknown}
	a := unlocked()
	for range 3000 {
		var evidence []activationlock.Evidence
		for range 2 + rng.IntN(4) {
			evidence = append(evidence, activationlock.Evidence{
				At: noon.Add(time.Duration(rng.IntN(4)-1) * 20 * time.Hour), Source: sources[rng.IntN(len(sources))], State: states[rng.IntN(3)], Kind: lockKinds[rng.IntN(3)],
			})
		}
		want := a.Aftermath(evidence)
		for range 5 {
			rng.Shuffle(len(evidence), func(i, j int) { evidence[i], evidence[j] = evidence[j], evidence[i] })
			require.Equal(t, want, a.Aftermath(evidence), "%+v", evidence)
		}
	}
}
