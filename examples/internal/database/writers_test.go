package database_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
)

// escrowOn returns an escrow that seals to a key of its own.
func escrowOn(t *testing.T, store escrow.Store) *escrow.Escrow {
	t.Helper()
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(t, err)
	keyring, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Store: store, Sealer: keyring})
	require.NoError(t, err)
	return e
}

func TestWriters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) { writers(t, storage, 32) })
}

// writers has n codes arrive at once on one serial number, at two servers and
// each twice, half of them from enrollments that are joined to it.
func writers(t *testing.T, storage database.Storage, n int) {
	a, aDB := storage.Store(t)
	b, bDB := storage.Store(t)
	one := escrowOn(t, a.Escrow())
	two, err := escrow.New(escrow.Config{Store: b.Escrow(), Sealer: sealer{}})
	require.NoError(t, err)
	servers := []*escrow.Escrow{one, two}
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var want []string
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		want = append(want, fmt.Sprint(i))
		c := escrow.Capture{
			Subject: subject, Kind: bypasscode.Device, Text: bypasscode.NewText(bypasscode.New().Reveal()), Cause: escrow.CauseImport,
			CommandUUID: fmt.Sprint(i), ReceivedAt: noon, EnrollmentID: fmt.Sprint("enrollment ", i),
		}
		for j := range 2 {
			if i%4 == 1 { // at one server under the enrollment, at the other one under the serial number
				all.Go(func() {
					<-start
					if err := servers[j].Join(t.Context(), c.EnrollmentID, serial); err != nil {
						t.Errorf("join: %v", err)
					}
				})
			}
			all.Go(func() {
				<-start
				if _, err := servers[(i+j)%2].Capture(t.Context(), c); err != nil {
					t.Errorf("capture: %v", err)
				}
			})
		}
	}
	close(start)
	all.Wait()
	records, err := one.Records(t.Context(), subject)
	require.NoError(t, err)
	var got []string
	for _, r := range records {
		got = append(got, r.CommandUUID)
	}
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(t, want, got)
	givenBack(t, aDB)
	givenBack(t, bDB)
}

// sealer hides nothing.
type sealer struct{}

func (sealer) Seal(_ context.Context, text, _ []byte) ([]byte, error) {
	return append([]byte("sealed "), text...), nil
}
