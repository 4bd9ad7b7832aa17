package inventory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

// What is wrong with a device, and what to do about it.
func ExampleRecord_Summarize() {
	enrolled := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	now := enrolled.Add(13 * 24 * time.Hour)
	record := inventory.Record{
		EnrollmentID: "00008120-0011223344556677", AuthenticatedAt: enrolled, TokenAt: enrolled, LastSeen: now,
		Facts: inventory.Facts{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)},
	}
	var codes []escrow.Record // of escrow.Escrow.Records
	record.Summarize(codes, time.Time{}, inventory.Limits{}, now)
	for _, f := range record.Summary.Findings {
		fmt.Println(f.Severity.Label(activationlock.English)+":", f.Label(activationlock.English))
		fmt.Println(f.Advice(activationlock.English))
	}
	fmt.Println("look again at", record.Summary.DueAt)
	// Output:
	// critical: The 15 days in which an iPhone or iPad gives its code end in 2 days, and no code of this enrollment is held.
	// Have the device turned on and online, so that it can answer.
	// look again at 2026-12-06 09:00:00 +0000 UTC
}

// someStore keeps two devices, of which one may lock itself without a code.
func someStore(ctx context.Context) inventory.Store {
	store := memstore.New().Inventory()
	now := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	for id, name := range map[string]string{"1": "Anna", "2": "=cmd()"} {
		err := store.Update(ctx, id, func(r *inventory.Record) error {
			r.TokenAt, r.LastSeen = now, now
			r.Facts = inventory.Facts{
				SerialNumber: "C" + id, DeviceName: name, ModelName: "iPhone 16", ProductName: "iPhone17,3", OSVersion: "26.1",
				Supervised: new(true), LockAllowed: new(id == "2"),
			}
			r.SetGroups("Leiden")
			r.Summarize(nil, time.Time{}, inventory.Limits{}, now)
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
	return store
}

// A report for people, in Dutch, of the devices with a warning or worse.
func ExampleWriteCSV() {
	ctx := context.Background()
	query := inventory.Query{Filter: inventory.Filter{Live: true, Severity: inventory.Warning}, Sort: inventory.BySerialNumber}
	var file strings.Builder
	n, err := inventory.WriteCSV(&file, inventory.Rows(ctx, someStore(ctx), query), activationlock.Dutch)
	if err != nil {
		panic(err)
	}
	fmt.Print(strings.ReplaceAll(file.String(), "\r\n", "\n"))
	fmt.Println(n, "of them")
	// Output:
	// Serienummer,Apparaatnaam,Model,Besturingssysteemversie,Eigendom,Groepen,Onder supervisie,Status van activeringsslot,Soort slot,Code bewaard sinds,Laatste inventarisatie,Laatst gezien,Mag worden doorgegeven,Bevindingen,Berekend op
	// C2,'=cmd(),iPhone 16,26.1,,Leiden,Ja,Onbekend,,,,2026-11-22T09:00:00Z,onbekend,Het slot kan aangaan en er is geen bruikbare code bewaard.,2026-11-22T09:00:00Z
	// 1 of them
}

// What a dashboard shows.
func ExampleTotals() {
	ctx := context.Background()
	store, now := someStore(ctx), time.Date(2026, time.November, 22, 10, 0, 0, 0, time.UTC)
	all, err := store.Totals(ctx, inventory.Filter{Live: true}, now)
	if err != nil {
		panic(err)
	}
	unsafe, err := store.Totals(ctx, inventory.Filter{Live: true, Findings: []inventory.FindingKind{inventory.MayLock}}, now)
	if err != nil {
		panic(err)
	}
	fmt.Println(all.Devices, "devices, of which", all.Severities[inventory.Critical], "critical")
	fmt.Printf("codes of %.0f %%\n", 100*all.Coverage())
	fmt.Println(unsafe.Devices, "may lock without a usable code")
	// Output:
	// 2 devices, of which 1 critical
	// codes of 0 %
	// 1 may lock without a usable code
}

// A report for programs: an object on each line. WriteJSON writes them as one array.
func ExampleWriteJSONLines() {
	ctx := context.Background()
	query := inventory.Query{Filter: inventory.Filter{Live: true, Severity: inventory.Warning}, Sort: inventory.BySerialNumber}
	var file strings.Builder
	n, err := inventory.WriteJSONLines(&file, inventory.Rows(ctx, someStore(ctx), query))
	if err != nil {
		panic(err)
	}
	fmt.Print(file.String())
	fmt.Println(n, "of them")
	// Output:
	// {"enrollmentID":"2","serialNumber":"C2","deviceName":"=cmd()","modelName":"iPhone 16","productName":"iPhone17,3","platform":"iOS","osVersion":"26.1","ownership":"","groups":["Leiden"],"live":true,"supervised":true,"activationLockStatus":"unknown","lockKind":"","mayBeReassigned":"","codeHeldSince":null,"lastInventory":null,"lastSeen":"2026-11-22T09:00:00Z","dueAt":"2026-12-06T09:00:00Z","computedAt":"2026-11-22T09:00:00Z","findings":[{"kind":"mayLock","severity":"critical","since":"2026-11-22T09:00:00Z"}]}
	// 1 of them
}

func ExampleWriteJSON() {
	ctx := context.Background()
	query := inventory.Query{Filter: inventory.Filter{Live: true, Severity: inventory.Warning}}
	var file strings.Builder
	if _, err := inventory.WriteJSON(&file, inventory.Rows(ctx, someStore(ctx), query)); err != nil {
		panic(err)
	}
	var rows []struct {
		SerialNumber string `json:"serialNumber"`
	}
	if err := json.Unmarshal([]byte(file.String()), &rows); err != nil {
		panic(err)
	}
	fmt.Println(rows)
	// Output:
	// [{C2}]
}
