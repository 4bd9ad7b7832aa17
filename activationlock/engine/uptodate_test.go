package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/mdmcmd"
)

// What a device says that is not new, not long after it was last planned for, takes
// nothing but its record: escrow is not read. Six hours later, or when the record is
// due, it is.
func TestPlanThatHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowed(id, w.enroll(id, serial, iPhone), code)
	w.escrowDown, w.events = true, nil
	failed := func(raw []byte) bool {
		w.events = nil
		require.Empty(t, w.report(id, raw).Commands)
		return len(w.events) > 0
	}
	theirs := list(dict{"Status": "Acknowledged", "UDID": id, "CommandUUID": "theirs"})
	w.now = w.now.Add(6*time.Hour - time.Minute)
	require.False(t, failed(idle(id)))
	require.False(t, failed(theirs))
	w.now = w.now.Add(time.Minute)
	require.True(t, failed(theirs))
	require.Equal(t, []engine.EventType{engine.EscrowFailed}, w.eventTypes())
	require.True(t, failed(idle(id)), "it is due since escrow could not be read")
	w.escrowDown = false
	require.False(t, failed(idle(id)))
	w.escrowDown = true
	require.False(t, failed(idle(id)))

	// Other options are sent at once, if the device may be asked. What is due is asked at once, and so is
	// what a device could not take, though it took what it was told before.
	w.escrowDown = false
	stricter := weekly(mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false)})
	stricter.NotNowAgain = 10 * time.Minute
	e, err := engine.New(engine.Config{Escrow: w.escrow, Inventory: w.inventory, Policy: stricter, Clock: func() time.Time { return w.now }})
	require.NoError(t, err)
	say := func(raw []byte) engine.Outcome {
		out, err := e.HandleReport(t.Context(), engine.Enrollment{ID: id}, raw)
		require.NoError(t, err)
		return out
	}
	settings := w.one(say(idle(id)), "Settings")
	require.Empty(t, say(answer(id, settings.UUID, "NotNow", nil)).Commands)
	w.now = w.now.Add(10*time.Minute - time.Microsecond)
	require.Empty(t, say(idle(id)).Commands)
	w.now = w.now.Add(time.Microsecond)
	w.one(say(idle(id)), "Settings")
}

// A device of which nobody heard that it finished to enroll is asked when it had time
// to, and no longer than its code can be had.
func TestTokenUpdateThatNeverCame(t *testing.T) {
	t.Parallel()
	for after, asked := range map[time.Duration]int{
		24*time.Hour - time.Microsecond: 0, 24 * time.Hour: 1, 15*24*time.Hour - time.Microsecond: 1, 15 * 24 * time.Hour: 0,
	} {
		w := newWorld(t)
		w.checkin(id, authenticate(id, serial, "iPhone17,3", "26.1"))
		w.now = w.now.Add(after)
		batches, err := w.engine.Tick(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, batches, asked, "%s", after)
	}
}
