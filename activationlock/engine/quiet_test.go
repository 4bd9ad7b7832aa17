package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/inventory"
)

// watched counts the readings of records.
type watched struct {
	inventory.Store
	reads int
}

func (w *watched) Get(ctx context.Context, id string) (inventory.Record, error) {
	w.reads++
	return w.Store.Get(ctx, id)
}

func (w *watched) BySerialNumber(ctx context.Context, serial string) ([]inventory.Record, error) {
	w.reads++
	return w.Store.BySerialNumber(ctx, serial)
}

// A device that says nothing new again and again costs no look at the store, for six
// hours or until it is due; whatever else it says does.
func TestQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &watched{Store: w.inventory}
	policyFor := func(*inventory.Record) engine.Policy { return weekly(allow()) }
	another := func(policyFor func(*inventory.Record) engine.Policy) *engine.Engine {
		e, err := engine.New(engine.Config{
			Escrow: w.escrow, Inventory: store, Policy: weekly(allow()), PolicyFor: policyFor, Clock: func() time.Time { return w.now },
		})
		require.NoError(t, err)
		return e
	}
	w.engine = another(nil)
	reads := func(raw []byte) int {
		store.reads = 0
		w.report(id, raw)
		return store.reads
	}
	theirs := list(dict{"Status": "Acknowledged", "UDID": id, "CommandUUID": "theirs"})
	settings := w.one(w.report(id, codeAnswer(id, w.enroll(id, serial, iPhone).UUID, code)), "Settings")
	require.Equal(t, 1, reads(idle(id)))
	require.Equal(t, 1, reads(idle(id)), "a question is open, perhaps of a server with another prefix")
	w.report(id, answer(id, settings.UUID, "Acknowledged", nil))

	require.Zero(t, reads(idle(id)), "what was written is known")
	require.Zero(t, reads(idle(id)))
	require.Zero(t, reads(theirs))
	for what, raw := range map[string][]byte{
		"facts": informationAnswer(id, "theirs", iPhone), "maybe an answer": answer(id, "activationlock-9", "Acknowledged", nil),
		"what a Mac says": list(dict{"Status": "Acknowledged", "UDID": id, "CommandUUID": "theirs", "SecurityInfo": dict{}}),
		"a code":          codeAnswer(id, "theirs", code2),
	} {
		w.report(id, idle(id))
		require.Zero(t, reads(theirs), what)
		require.NotZero(t, reads(raw), what)
	}
	w.report(id, idle(id))
	store.reads, w.now = 0, w.now.Add(time.Second)
	w.checkin(id, tokenUpdate(id))
	require.NotZero(t, store.reads, "a check-in")

	// Six hours after it was seen last, it is noted that it is there.
	require.Zero(t, reads(idle(id)), "what was written is known")
	require.Zero(t, reads(idle(id)))
	seen := w.device(id).Record.LastSeen
	w.now = seen.Add(6*time.Hour - time.Microsecond)
	require.Zero(t, reads(idle(id)))
	w.now = seen.Add(6 * time.Hour)
	require.NotZero(t, reads(idle(id)))
	require.Equal(t, w.now, w.device(id).Record.LastSeen)
	require.Zero(t, reads(idle(id)))
	w.now = w.now.Add(-time.Hour)
	require.NotZero(t, reads(idle(id)), "a clock was set back")
	w.now = w.now.Add(time.Hour)

	// When it is due, it is asked.
	due := w.device(id).Record.Summary.DueAt
	for w.now.Before(due.Add(-5 * time.Hour)) {
		w.now = w.now.Add(5 * time.Hour)
		w.report(id, idle(id))
	}
	w.report(id, idle(id))
	w.now = due.Add(-time.Microsecond)
	require.Zero(t, reads(idle(id)))
	w.now = due
	w.one(w.report(id, idle(id)), "DeviceInformation")
	for range 3 {
		require.Equal(t, 1, reads(idle(id)), "a question is open")
	}

	// Of one that checked out, each word is news.
	w.checkin(id, checkOut(id))
	for range 3 {
		w.now = w.now.Add(time.Second)
		require.NotZero(t, reads(idle(id)))
	}
	w.enroll(id, serial, iPhone)

	// A host's function may change its mind any time.
	w.engine = another(policyFor)
	w.report(id, idle(id))
	for range 3 {
		require.NotZero(t, reads(idle(id)))
	}
}
