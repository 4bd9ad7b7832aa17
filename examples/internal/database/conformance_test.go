package database_test

import (
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// each runs a test on each database.
func each(t *testing.T, test func(*testing.T, database.Storage)) {
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(t, database.New(t, d))
		})
	}
}

func TestEscrow(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storetest.Escrow(t, func(t *testing.T, _ func() time.Time) func(*testing.T) escrow.Store {
				storage := database.New(t, d)
				return func(t *testing.T) escrow.Store {
					store, _ := storage.Store(t)
					return store.Escrow()
				}
			})
		})
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storetest.Audit(t, func(t *testing.T, _ func() time.Time) func(*testing.T) audit.Store {
				storage := database.New(t, d)
				return func(t *testing.T) audit.Store {
					store, _ := storage.Store(t)
					return store.Audit()
				}
			})
		})
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storetest.Actions(t, func(t *testing.T, _ func() time.Time) func(*testing.T) bypass.Store {
				storage := database.New(t, d)
				return func(t *testing.T) bypass.Store {
					store, _ := storage.Store(t)
					return store.Actions()
				}
			})
		})
	}
}
