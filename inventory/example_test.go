package inventory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

func ExampleRecord_Status() {
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	record := inventory.Record{
		Facts: inventory.Facts{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
	}
	fmt.Println(record.Status(nil, now).Label(activationlock.English))

	record.AddEvidence(activationlock.Evidence{State: activationlock.On, Source: activationlock.SourceDevice, At: now})
	record.Exchanges = map[string]inventory.Exchange{
		"ActivationLockBypassCode": inventory.Exchange{}.Ask("activationlock-1", now, now.Add(24*time.Hour)),
	}
	fmt.Println(record.Status(nil, now.Add(48*time.Hour)).Label(activationlock.English))

	held := []escrow.Record{{Kind: bypasscode.Device, State: escrow.Current}}
	fmt.Println(record.Status(held, now).Label(activationlock.English))
	fmt.Println(record.Status(held, now).Label(activationlock.Dutch))
	// Output:
	// Unknown
	// Enabled without bypass code (device cannot be reached)
	// Enabled with bypass code
	// Ingeschakeld met bypass-code
}

// Codes of a device were imported, on which its status depends.
func ExampleRefresh() {
	ctx, store := context.Background(), memstore.New().Inventory()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	if err := store.Update(ctx, "UDID-1", func(r *inventory.Record) error {
		r.Facts.SerialNumber = "XXFAKE0SER1"
		r.Summary.DueAt = now.Add(7 * 24 * time.Hour)
		return nil
	}); err != nil {
		panic(err)
	}
	if err := inventory.Refresh(ctx, store, escrow.Subject{SerialNumber: "XXFAKE0SER1"}, now); err != nil {
		panic(err)
	}
	r, err := store.Get(ctx, "UDID-1")
	if err != nil {
		panic(err)
	}
	fmt.Println("due", r.Summary.DueAt.Format(time.RFC3339))
	// Output: due 2026-11-30T09:00:00Z
}
