package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
)

// An auditor gets the list, the head that was kept elsewhere, and the proof that
// the one leads to the other.
func Example() {
	key, err := audit.NewKey(bytes.Repeat([]byte{7}, audit.KeySize)) // from crypto/rand, kept outside of the database
	if err != nil {
		panic(err)
	}
	var kept string // in your log server
	log, err := audit.New(audit.Config{
		Store:  &table{}, // your database in production
		Key:    key,
		OnHead: func(_ context.Context, head audit.Head) { kept = head.String() },
	})
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	at := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	for _, event := range []audit.Event{
		{Act: audit.Refused, At: at, Actor: "bert", Reason: "curious", SerialNumber: "C02XY"},
		{Act: audit.Revealed, At: at.Add(time.Hour), Actor: "anna", Reason: "owner left", SerialNumber: "C02XY", RecordID: "r1"},
	} {
		if _, err := log.Append(ctx, event); err != nil {
			panic(err) // and whoever asked for the code gets none
		}
	}

	head, err := audit.ParseHead(kept)
	if err != nil {
		panic(err)
	}
	verified, err := log.Verify(ctx, head)
	if err != nil {
		panic(err)
	}
	for entry, err := range log.Entries(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(entry.Number, entry.At.Format(time.DateTime), entry.Actor, entry.Act, entry.SerialNumber, entry.Reason)
	}
	fmt.Println("whole up to entry", verified.Number)
	// Output:
	// 1 2026-03-04 10:00:00 bert refused C02XY curious
	// 2 2026-03-04 11:00:00 anna revealed C02XY owner left
	// whole up to entry 2
}

// What was changed is found by the digests; that the last entries are gone is
// found by a head that was kept.
func ExampleLog_Verify() {
	store := &table{}
	log, err := audit.New(audit.Config{Store: store})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	at := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	kept, err := log.Append(ctx,
		audit.Event{Act: audit.Revealed, At: at, Actor: "anna", Reason: "owner left"},
		audit.Event{Act: audit.Purged, At: at, Actor: "bert", Reason: "sold"},
	)
	if err != nil {
		panic(err)
	}

	store.rows[0].Actor = "carl"
	_, err = log.Verify(ctx, kept)
	fmt.Println(err)

	store.rows[0].Actor = "anna"
	store.rows = store.rows[:1]
	_, err = log.Verify(ctx, audit.Head{})
	fmt.Println("without a head:", err)
	_, err = log.Verify(ctx, kept)
	fmt.Println(err)
	// Output:
	// audit: the chain is broken at entry 1: its digest is not that of what it says and of all before, or is of another key
	// without a head: <nil>
	// audit: the chain is broken at entry 2: it is missing, and the head that was kept is of it or later
}
