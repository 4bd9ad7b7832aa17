package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
)

const week = 7 * 24 * time.Hour

// udids makes the IDs of a fleet.
func udids(rng *rand.Rand, n int) (ids []string) {
	for range n {
		ids = append(ids, fmt.Sprintf("%08X-%016X", 0x00008120, rng.Uint64()))
	}
	return ids
}

// The first questions of a fleet are spread evenly over the time that the policy
// gives, and no device waits longer than that.
func TestAdoptedFleetIsAskedEvenly(t *testing.T) {
	t.Parallel()
	const seed, devices, parts = 20261122, 1000, 10
	t.Logf("seed %d", seed)
	for _, within := range []time.Duration{time.Hour, 24 * time.Hour, 72 * time.Hour} {
		f := newFuller(t, func(f *fuller) { f.config.Policy.AdoptWithin, f.config.Policy.AnswerWithin = within, week })
		adopt(f.engine, t, udids(rand.New(rand.NewPCG(seed, 1)), devices)...)
		require.Empty(t, f.tick())
		all := 0
		for range parts {
			f.after(within / parts)
			n := 0
			for {
				batches, err := f.engine.Tick(t.Context(), devices)
				require.NoError(t, err)
				if len(batches) == 0 {
					break
				}
				n += len(batches)
			}
			// Of an even spread, the deviation is less than ten, and five times that is
			// once in a million.
			require.InDelta(t, devices/parts, n, 50, "%v", within)
			all += n
		}
		require.Equal(t, devices, all)
	}
}

// What stands in the fleet beside enrollments of devices.
func TestAdoptCountsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	f.settled(id, serial, iPhone)
	before := f.record(id)
	fleet := []engine.Enrollment{
		{ID: "A"}, {ID: "B", Channel: engine.DeviceChannel}, {ID: "B:anna", ParentID: "B", Channel: engine.UserChannel},
		{ID: id}, {ID: "A"},
		{}, {ID: "a\x00"}, {ID: "\xff"}, {ID: strings.Repeat("x", 256)}, {ID: "U", Channel: engine.UserChannel}, {ID: "C", ParentID: "B", Channel: "another"},
		{ID: "U", ParentID: "\xff", Channel: engine.UserChannel},
	}
	result, err := f.engine.Adopt(t.Context(), func(yield func(engine.Enrollment) bool) {
		for _, from := range fleet {
			if !yield(from) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, engine.AdoptResult{Adopted: 3, Known: 2, Invalid: 7}, result)
	require.Equal(t, before, f.record(id), "what is known stays as it is")

	r := f.record("A")
	require.Equal(t, engine.DeviceChannel, r.Channel)
	require.Equal(t, f.now, r.TokenAt)
	require.Zero(t, r.AuthenticatedAt)
	require.True(t, r.Live())
	user := f.record("B:anna")
	require.Equal(t, "B", user.ParentID)
	require.Equal(t, engine.UserChannel, user.Channel)
	require.Zero(t, user.Summary.DueAt)
	for range 40 {
		f.after(24 * time.Hour)
		for _, b := range f.tick() {
			require.Contains(t, []string{"A", "B", id}, b.Enrollment.ID, "a user channel is asked nothing")
		}
	}
}

// Since when an adopted device is supervised nobody knows: no window is open, none
// is over, and it is asked for its code at once and then with each inventory.
func TestAdoptedDeviceHasNoWindow(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) { f.config.Policy.AdoptWithin = 48 * time.Hour })
	adopt(f.engine, t, id)
	require.Empty(t, f.kinds(id))
	f.after(time.Hour)
	require.True(t, f.now.Before(f.record(id).Summary.DueAt))

	t.Log("it speaks before it is due, and is asked then")
	info := f.one(f.report(id, idle(id)), "DeviceInformation")
	ask := f.one(f.report(id, informationAnswer(id, info.UUID, iPhone)), "ActivationLockBypassCode")
	require.Empty(t, f.report(id, codeAnswer(id, ask.UUID, "")).Commands)
	asked := 0
	for day := range 28 {
		for _, k := range f.kinds(id) {
			require.NotContains(t, []inventory.FindingKind{inventory.WindowCloses, inventory.WindowOver}, k, "day %d", day)
		}
		for range 24 {
			f.after(time.Hour)
			for _, b := range f.tick() {
				for _, c := range b.Commands {
					if c.RequestType == "ActivationLockBypassCode" {
						asked++
						f.report(id, codeAnswer(id, c.UUID, ""))
					} else {
						f.report(id, informationAnswer(id, c.UUID, iPhone))
					}
				}
			}
		}
	}
	require.Equal(t, 4, asked, "weekly")
}

// What an adopted device is called, its Authenticate told another server. It is asked,
// and again with each inventory, since people rename devices.
func TestNameOfAnAdoptedDevice(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{
		SerialNumber: serial, UDID: id, DeviceName: "front desk", Supervised: true, Now: f.config.Clock,
	})
	require.NoError(t, err)
	_, err = device.Enroll()
	require.NoError(t, err)
	adopt(f.engine, t, id)
	require.Empty(t, f.record(id).Facts.DeviceName)

	info := f.one(f.report(id, idle(id)), "DeviceInformation")
	answers, err := device.Answer(info.Plist)
	require.NoError(t, err)
	f.report(id, answers[0])
	require.Equal(t, "front desk", f.record(id).Facts.DeviceName)

	// One without the access right leaves it out.
	for _, more := range []dict{{"DeviceName": "Anna’s iPhone"}, {}} {
		f.after(week)
		info := f.report(id, idle(id)).Commands[0]
		require.Equal(t, "DeviceInformation", info.RequestType)
		f.report(id, informationAnswer(id, info.UUID, iPhone.with(more)))
		require.Equal(t, "Anna’s iPhone", f.record(id).Facts.DeviceName)
	}
}

// An error, or the end of the context, loses nothing: the same call again goes on.
func TestAdoptGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	f := newFuller(t, nil)
	ids := names(20)
	fleet := func(yield func(engine.Enrollment) bool) {
		for _, id := range ids {
			if !yield(engine.Enrollment{ID: id}) {
				return
			}
		}
	}
	f.fate.strikes(16, "before") // the second call for the eighth
	result, err := f.engine.Adopt(t.Context(), fleet)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, engine.AdoptResult{Adopted: 7}, result)

	f.fate.strikes(13, "after") // one call for each that is known
	result, err = f.engine.Adopt(t.Context(), fleet)
	require.ErrorIs(t, err, errDown)
	require.Equal(t, engine.AdoptResult{Adopted: 2, Known: 7}, result, "the tenth is on record, and counted the next time")

	ctx, cancel := context.WithCancel(t.Context())
	result, err = f.engine.Adopt(ctx, func(yield func(engine.Enrollment) bool) {
		for i, id := range ids {
			if i == 12 {
				cancel()
			}
			if !yield(engine.Enrollment{ID: id}) {
				return
			}
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, engine.AdoptResult{Adopted: 2, Known: 10}, result)
	first := f.record(ids[0])
	f.after(time.Hour)
	result, err = f.engine.Adopt(t.Context(), fleet)
	require.NoError(t, err)
	require.Equal(t, engine.AdoptResult{Adopted: 8, Known: 12}, result)
	require.Equal(t, first, f.record(ids[0]))
}

// Groups may have their own time.
func TestAdoptByPolicyOfTheEnrollment(t *testing.T) {
	t.Parallel()
	f := newFuller(t, func(f *fuller) {
		f.config.PolicyFor = func(r *inventory.Record) engine.Policy {
			if strings.HasPrefix(r.EnrollmentID, "UDID-00") {
				return engine.Policy{AdoptWithin: time.Hour}
			}
			return engine.Policy{AdoptWithin: 300 * 24 * time.Hour}
		}
	})
	adopt(f.engine, t, names(20)...)
	f.after(time.Hour)
	require.GreaterOrEqual(t, len(f.tick()), 10)
	f.after(time.Minute)
	require.Empty(t, f.tick())
}
