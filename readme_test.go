package sdk_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

// quickStart is the README's code with what a host has around it. The comment
// lines mark where it begins and ends.
func quickStart(ctx context.Context, publicKey, udid string, body []byte, queue func(string, string, []byte), keep func(string, []byte), push func(string) error) error {
	// README begin
	store := memstore.New() // forgets everything: your own database in production

	recipient, err := seal.ParsePublicKey(publicKey)
	if err != nil {
		return err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{recipient})
	if err != nil {
		return err
	}
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys})
	if err != nil {
		return err
	}
	locks, err := engine.New(engine.Config{
		Escrow:    codes,
		Inventory: store.Inventory(),
		Policy: engine.Policy{Options: mdmcmd.MDMOptions{
			ActivationLockAllowedWhileSupervised: new(true),
		}},
	})
	if err != nil {
		return err
	}
	out, err := locks.HandleReport(ctx, engine.Enrollment{ID: udid}, body)
	if err != nil {
		return err // answer with HTTP 500: the device sends its report again
	}
	for _, c := range out.Commands {
		queue(udid, c.UUID, c.Plist)
	}
	keep(udid, out.Redacted) // the report, without the code in it

	// In a goroutine of its own: what is due, such as the weekly inventory.
	return locks.Run(ctx, time.Minute, 1000, func(_ context.Context, b engine.Batch) error {
		for _, c := range b.Commands {
			queue(b.Enrollment.ID, c.UUID, c.Plist)
		}
		return push(b.Enrollment.ID)
	})
	// README end
}

func TestReadmeQuickStart(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	_, code, _ := strings.Cut(string(source), "\t// README begin\n")
	code, _, _ = strings.Cut(code, "\t// README end\n")
	code = regexp.MustCompile(`(?m)^\t`).ReplaceAllString(code, "")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```go\n"+code+"```\n")

	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	var queued, kept []byte
	ctx, stop := context.WithCancel(t.Context())
	body := []byte(`<plist><dict><key>Status</key><string>Idle</string><key>UDID</key><string>U</string></dict></plist>`)
	require.ErrorIs(t, quickStart(ctx, key.Public().String(), "U", body,
		func(_, _ string, raw []byte) { queued = raw }, func(_ string, raw []byte) { kept = raw; stop() }, func(string) error { return nil }),
		context.Canceled)
	require.Contains(t, string(queued), "DeviceInformation")
	require.Equal(t, body, kept)
}
