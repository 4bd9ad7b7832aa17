package database_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/mdmcmd"
)

// How often a database is asked for a report: of most reports, which say nothing new,
// not at all for some hours.
func TestRoundTripsOfReports(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, _ := tap.Store(t)
		key, err := seal.GenerateKey(seal.X25519)
		require.NoError(t, err)
		keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
		require.NoError(t, err)
		now := noon
		clock := func() time.Time { return now }
		codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Clock: clock})
		require.NoError(t, err)
		locks, err := engine.New(engine.Config{Escrow: codes, Inventory: store.Inventory(), Clock: clock})
		require.NoError(t, err)
		device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: serial, Supervised: true, Now: clock})
		require.NoError(t, err)

		asks := func(messages [][]byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) (list []string, commands []engine.Queued) {
			on(func(query string, execute func() error) error {
				list = append(list, query)
				return execute()
			})
			defer on(nil)
			for _, raw := range messages {
				out, err := handle(t.Context(), engine.Enrollment{ID: device.ID()}, raw)
				require.NoError(t, err)
				commands = append(commands, out.Commands...)
			}
			return list, commands
		}
		messages, err := device.Enroll()
		require.NoError(t, err)
		_, queue := asks(messages, locks.HandleCheckin)
		for len(queue) > 0 {
			messages, err = device.Answer(queue[0].Plist)
			require.NoError(t, err)
			_, queue = asks(messages, locks.HandleReport)
		}
		most := map[sqlstore.Dialect][]int{sqlstore.SQLite: {8, 8}, sqlstore.PostgreSQL: {3, 3}, sqlstore.MySQL: {3, 3}}[storage.Dialect]
		idle, err := device.Idle()
		require.NoError(t, err)
		list, _ := asks(idle, locks.HandleReport)
		require.Empty(t, list)
		command, err := mdmcmd.Encode("host-1", mdmcmd.DeviceConfigured)
		require.NoError(t, err)
		messages, err = device.Answer(command)
		require.NoError(t, err)
		list, _ = asks(messages, locks.HandleReport)
		require.Empty(t, list)
		now = now.Add(6*time.Hour - time.Second)
		list, _ = asks(idle, locks.HandleReport)
		require.Empty(t, list)
		now = now.Add(time.Second) // it is noted that the device is there
		list, _ = asks(idle, locks.HandleReport)
		require.Equal(t, most[0], len(list), list)

		now = noon.AddDate(0, 0, 8)
		_, queue = asks(idle, locks.HandleReport)
		require.Len(t, queue, 1)
		require.Equal(t, "DeviceInformation", queue[0].RequestType)
		messages, err = device.Answer(queue[0].Plist)
		require.NoError(t, err)
		list, _ = asks(messages, locks.HandleReport)
		require.Equal(t, most[1], len(list), list)
	})
}
