package decorator

import (
	"context"
	"errors"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
)

// full is a queue that takes nothing.
type full func(id, commandUUID string) (map[string]error, error)

func (f full) EnqueueCommand(_ context.Context, ids []string, c *mdm.Command) (map[string]error, error) {
	return f(ids[0], c.CommandUUID)
}

// That a command is not queued is an error, in each way in which NanoMDM's storages say so.
func TestNotQueued(t *testing.T) {
	t.Parallel()
	commands := []engine.Queued{{RequestType: "SecurityInfo", Plist: []byte(`<plist><dict><key>CommandUUID</key><string>command</string>
		<key>Command</key><dict><key>RequestType</key><string>SecurityInfo</string></dict></dict></plist>`)}}
	why := errors.New("the disk is full")
	for name, queue := range map[string]full{
		"all":           func(string, string) (map[string]error, error) { return nil, why },
		"by enrollment": func(id, _ string) (map[string]error, error) { return map[string]error{id: why}, nil },
		"by command":    func(_, uuid string) (map[string]error, error) { return map[string]error{uuid: why}, nil },
	} {
		require.ErrorIs(t, Enqueue(t.Context(), queue, "device", commands), why, name)
	}
	queued := full(func(id, _ string) (map[string]error, error) { return map[string]error{id: nil}, nil })
	require.NoError(t, Enqueue(t.Context(), queued, "device", commands))
}
