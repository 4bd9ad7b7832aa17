package escrow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

func ExampleNew() {
	codes, err := escrow.New(memstore.New().Escrow())
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := codes.Records(context.Background(), escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	fmt.Println(len(found), err)
	// Output: 0 <nil>
}

// A device gave a code, and after it was erased another.
func ExampleEscrow_Capture() {
	ctx := context.Background()
	codes, _ := escrow.New(memstore.New().Escrow())
	device := escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	for day, code := range []string{"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"} {
		record, err := codes.Capture(ctx, escrow.Capture{
			Subject:    device,
			Kind:       bypasscode.Device,
			Text:       bypasscode.NewText(code),
			Cause:      escrow.CauseEnrollment,
			ReceivedAt: time.Date(2026, time.November, 22+day, 9, 0, 0, 0, time.UTC),
			Device:     escrow.Device{SerialNumber: "XXFAKE0SER1", ProductType: "iPhone17,3"},
		})
		if err != nil {
			fmt.Println(err) // not durable: answer the device with an error, so that it sends it again
			return
		}
		fmt.Println(record.Kind, record.State)
	}
	_, err := codes.Capture(ctx, escrow.Capture{Subject: device, Kind: bypasscode.Device})
	fmt.Println(err)
	// Output:
	// device current
	// device current
	// escrow: an empty code is not kept
}

func ExampleEscrow_Records() {
	ctx := context.Background()
	codes, _ := escrow.New(memstore.New().Escrow())
	device := escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	for hour, c := range []escrow.Capture{
		{Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"), Cause: escrow.CauseEnrollment},
		{Kind: bypasscode.Device, Text: bypasscode.NewText("8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"), Cause: escrow.CauseLockOn},
		{Kind: bypasscode.Device, Text: bypasscode.NewText("TF27L-31WN1-E6FH-DMAM-52X5-NFV0"), Cause: escrow.CauseUnasked},
	} {
		c.Subject, c.ReceivedAt = device, time.Date(2026, time.November, 22, 9+hour, 0, 0, 0, time.UTC)
		if _, err := codes.Capture(ctx, c); err != nil {
			fmt.Println(err)
			return
		}
	}
	found, err := codes.Records(ctx, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range found {
		fmt.Println(r.LastSeen.Format(time.TimeOnly), r.State, "because of:", r.Cause)
	}
	// Output:
	// 10:00:00 current because of: lock on
	// 09:00:00 superseded because of: enrollment
	// 11:00:00 disputed because of: unasked
}

func ExampleEscrow_Reveal() {
	ctx := context.Background()
	codes, _ := escrow.New(memstore.New().Escrow())
	device := escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	record, err := codes.Capture(ctx, escrow.Capture{
		Subject: device, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := codes.Reveal(ctx, device, record.ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text)
	fmt.Println(text.Reveal())
	// Output:
	// [redacted]
	// 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
}
