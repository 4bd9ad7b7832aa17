package database_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// A device in an engine whose records are in a database, from its enrollment to
// the report, with a clock that is neither in UTC nor in whole microseconds, and a
// schedule in a zone of its own.
func TestEngine(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, _ := storage.Store(t)
		key, err := seal.GenerateKey(seal.X25519)
		require.NoError(t, err)
		keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
		require.NoError(t, err)
		now := noon.In(time.FixedZone("", 2*60*60)).Add(123 * time.Nanosecond)
		clock := func() time.Time { return now }
		codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Clock: clock})
		require.NoError(t, err)
		var failed []string
		locks, err := engine.New(engine.Config{
			Escrow: codes, Inventory: store.Inventory(), Clock: clock,
			Policy: engine.Policy{
				Options:   mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
				Inventory: inventory.Periodic{Window: inventory.Window{Zone: time.FixedZone("CET", 60*60)}}.For,
			},
			OnEvent: func(_ context.Context, e engine.Event) {
				if e.Err != nil {
					failed = append(failed, e.Err.Error())
				}
			},
		})
		require.NoError(t, err)
		device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true, Now: clock})
		require.NoError(t, err)

		var queue []engine.Queued
		take := func(messages [][]byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) {
			for _, raw := range messages {
				out, err := handle(t.Context(), engine.Enrollment{ID: device.ID()}, raw)
				require.NoError(t, err)
				queue = append(queue, out.Commands...)
			}
		}
		messages, err := device.Enroll()
		require.NoError(t, err)
		take(messages, locks.HandleCheckin)
		for len(queue) > 0 {
			now = now.Add(time.Second)
			messages, err := device.Answer(queue[0].Plist)
			require.NoError(t, err)
			queue = queue[1:]
			take(messages, locks.HandleReport)
		}
		require.Empty(t, failed)

		var csv strings.Builder
		n, err := inventory.WriteCSV(&csv, inventory.Rows(t.Context(), store.Inventory(), inventory.Query{Filter: inventory.Filter{Live: true}}), activationlock.Dutch)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Contains(t, csv.String(), "XXFAKE0SER1")
		require.Contains(t, csv.String(), activationlock.NotEnabled.Label(activationlock.Dutch))
		r, err := store.Inventory().Get(t.Context(), device.ID())
		require.NoError(t, err)
		require.Empty(t, r.Summary.Findings, "all is well")
		require.False(t, r.Summary.CodeSince.IsZero())

		// It is due when its facts get old, for one server.
		require.True(t, r.Summary.DueAt.After(now))
		claims, err := store.Inventory().Claim(t.Context(), r.Summary.DueAt.Add(-time.Microsecond), r.Summary.DueAt.Add(time.Hour), 9)
		require.NoError(t, err)
		require.Empty(t, claims)
		claims, err = store.Inventory().Claim(t.Context(), r.Summary.DueAt, r.Summary.DueAt.Add(time.Hour), 9)
		require.NoError(t, err)
		require.Len(t, claims, 1)
		require.Equal(t, device.ID(), claims[0].EnrollmentID)

		// What it refuses is asked again, by the schedule.
		now = r.Summary.DueAt.Add(2 * time.Hour)
		batches, err := locks.Tick(t.Context(), 9)
		require.NoError(t, err)
		require.Len(t, batches, 1)
		asked := batches[0].Commands[0]
		_, err = locks.HandleReport(t.Context(), engine.Enrollment{ID: device.ID()}, []byte(`<plist version="1.0"><dict>
			<key>UDID</key><string>`+device.ID()+`</string><key>CommandUUID</key><string>`+asked.UUID+`</string>
			<key>Status</key><string>Error</string></dict></plist>`))
		require.NoError(t, err)
		require.Empty(t, failed)
		r, err = store.Inventory().Get(t.Context(), device.ID())
		require.NoError(t, err)
		require.Equal(t, inventory.Refused, r.Exchanges[asked.RequestType].Answer)
		require.True(t, r.Exchanges[asked.RequestType].AgainAt.After(now))
	})
}
