package storetest_test

import (
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// In a test of your own, with your own store in the place of memstore:
//
//	func TestEscrow(t *testing.T) { storetest.Escrow(t, freshEscrow) }
//	func TestAudit(t *testing.T) { storetest.Audit(t, freshAudit) }
//	func TestActions(t *testing.T) { storetest.Actions(t, freshActions) }
//	func TestInventory(t *testing.T) { storetest.Inventory(t, freshInventory) }
func Example() {
	freshEscrow := func(t *testing.T, clock func() time.Time) func(t *testing.T) escrow.Store {
		database := memstore.New() // an empty database, gone with t.Cleanup
		return func(t *testing.T) escrow.Store {
			return database.Escrow() // a connection of its own, closed with t.Cleanup
		}
	}
	freshAudit := func(t *testing.T, clock func() time.Time) func(t *testing.T) audit.Store {
		database := memstore.New()
		return func(t *testing.T) audit.Store {
			return database.Audit()
		}
	}
	freshActions := func(t *testing.T, clock func() time.Time) func(t *testing.T) bypass.Store {
		database := memstore.New()
		return func(t *testing.T) bypass.Store {
			return database.Actions()
		}
	}
	freshInventory := func(t *testing.T, clock func() time.Time) func(t *testing.T) inventory.Store {
		database := memstore.New()
		return func(t *testing.T) inventory.Store {
			return database.Inventory()
		}
	}
	_ = func(t *testing.T) {
		t.Run("Escrow", func(t *testing.T) { storetest.Escrow(t, freshEscrow) })
		t.Run("Audit", func(t *testing.T) { storetest.Audit(t, freshAudit) })
		t.Run("Actions", func(t *testing.T) { storetest.Actions(t, freshActions) })
		t.Run("Inventory", func(t *testing.T) { storetest.Inventory(t, freshInventory) })
	}
	// Output:
}
