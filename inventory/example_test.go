package inventory_test

import (
	"fmt"
	"time"

	"github.com/activationlock/sdk/activationlock"
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
