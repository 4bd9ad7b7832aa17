package storetest_test

import (
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// In a test of your own, with your own store in the place of memstore:
//
//	func TestEscrow(t *testing.T) { storetest.Escrow(t, freshEscrow) }
func ExampleEscrow() {
	freshEscrow := func(t *testing.T, clock func() time.Time) func(t *testing.T) escrow.Store {
		database := memstore.New() // an empty database, gone with t.Cleanup
		return func(t *testing.T) escrow.Store {
			return database.Escrow() // a connection of its own, closed with t.Cleanup
		}
	}
	_ = func(t *testing.T) { storetest.Escrow(t, freshEscrow) }
	// Output:
}
