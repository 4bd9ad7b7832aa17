package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var (
	ctx    = context.Background()
	device = escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	noon   = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)
)

// newKeyring makes a key and a keyring that seals to it and opens with it. Keep
// the key: seal.WriteKeyFile.
func newKeyring() (*seal.Keyring, seal.PrivateKey) {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		log.Fatal(err)
	}
	return keys, key
}

// exampleEscrow is an escrow in memory.
func exampleEscrow() *escrow.Escrow {
	keys, _ := newKeyring()
	codes, err := escrow.New(escrow.Config{Store: memstore.New().Escrow(), Sealer: keys})
	if err != nil {
		log.Fatal(err)
	}
	return codes
}

// A server that only collects codes has public keys only: whoever breaks into it
// finds nothing to open them with.
func ExampleNew() {
	key, err := seal.GenerateKey(seal.X25519) // elsewhere, on a computer that is safe
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	if err != nil {
		fmt.Println(err)
		return
	}
	codes, err := escrow.New(escrow.Config{Store: memstore.New().Escrow(), Sealer: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := codes.Capture(ctx, escrow.Capture{
		Subject: device, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: noon,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = codes.Reveal(ctx, device, record.ID)
	fmt.Println(errors.Is(err, seal.ErrNoKey))
	// Output: true
}

// A device gave a code, and after it was erased another.
func ExampleEscrow_Capture() {
	codes := exampleEscrow()
	for day, code := range []string{"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"} {
		record, err := codes.Capture(ctx, escrow.Capture{
			Subject:    device,
			Kind:       bypasscode.Device,
			Text:       bypasscode.NewText(code),
			Cause:      escrow.CauseEnrollment,
			ReceivedAt: noon.AddDate(0, 0, day),
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
	codes := exampleEscrow()
	for hour, c := range []escrow.Capture{
		{Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"), Cause: escrow.CauseEnrollment},
		{Text: bypasscode.NewText("8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"), Cause: escrow.CauseLockOn},
		{Text: bypasscode.NewText("TF27L-31WN1-E6FH-DMAM-52X5-NFV0"), Cause: escrow.CauseUnasked},
	} {
		c.Subject, c.Kind, c.ReceivedAt = device, bypasscode.Device, noon.Add(time.Duration(hour)*time.Hour)
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
	// 13:00:00 current because of: lock on
	// 12:00:00 superseded because of: enrollment
	// 14:00:00 disputed because of: unasked
}

func ExampleEscrow_Reveal() {
	codes := exampleEscrow()
	record, err := codes.Capture(ctx, escrow.Capture{
		Subject: device, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: noon,
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

// The organization locks a device. Apple's answer got lost, so the call is made
// again, with the same code.
func ExampleEscrow_LockCode() {
	codes := exampleEscrow()
	lock := escrow.Lock{SerialNumber: "XXFAKE0SER1", At: noon}
	first, err := codes.LockCode(ctx, lock)
	if err != nil {
		fmt.Println(err) // there is no code in escrow: lock nothing
		return
	}
	// ... the lock call with first.Hash, and no answer
	if _, err := codes.Mark(ctx, device, first.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "no answer", At: noon}); err != nil {
		fmt.Println(err)
		return
	}
	again, err := codes.LockCode(ctx, lock)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Hash == first.Hash)
	confirmed, err := codes.Mark(ctx, device, again.ID, escrow.Verdict{State: escrow.Current, At: noon})
	fmt.Println(confirmed.Kind, confirmed.State, err)
	// Output:
	// true
	// server current <nil>
}

// A device was sold. Its codes outlive the device's row in the host, until
// somebody destroys them on purpose.
func ExampleEscrow_Purge() {
	codes := exampleEscrow()
	record, err := codes.LockCode(ctx, escrow.Lock{SerialNumber: "XXFAKE0SER1", At: noon})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := codes.Delete(ctx, device, noon); err != nil {
		fmt.Println(err)
		return
	}
	_, err = codes.Reveal(ctx, device, record.ID)
	fmt.Println("after Delete:", err)
	fmt.Println(codes.Purge(ctx, device, escrow.Purge{Reason: "sold", At: noon}))
	fmt.Println(codes.Purge(ctx, device, escrow.Purge{Reason: "sold, unlocked at the counter", At: noon, LockOff: true}))
	_, err = codes.Reveal(ctx, device, record.ID)
	fmt.Println("after Purge:", err)
	// Output:
	// after Delete: <nil>
	// escrow: not purged, since the lock may be on
	// <nil>
	// after Purge: escrow: reveal: escrow: the code was purged
}

// A key is exchanged: from then on only the new one opens codes.
func ExampleEscrow_Rotate() {
	store := memstore.New().Escrow()
	oldKeys, oldKey := newKeyring()
	codes, err := escrow.New(escrow.Config{Store: store, Sealer: oldKeys})
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := codes.LockCode(ctx, escrow.Lock{SerialNumber: "XXFAKE0SER1", At: noon})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, newKey := newKeyring()
	both, err := seal.NewKeyring([]seal.PublicKey{newKey.Public()}, newKey, oldKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	codes, err = escrow.New(escrow.Config{Store: store, Sealer: both})
	if err != nil {
		fmt.Println(err)
		return
	}
	done, err := codes.Rotate(ctx, "", nil)
	fmt.Println(done.Rewrapped, "of", done.Seen, "failed:", done.Failed, err)

	codes, err = escrow.New(escrow.Config{Store: store, Sealer: oldKeys})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = codes.Reveal(ctx, device, record.ID)
	fmt.Println("the old key alone:", err)
	// Output:
	// 1 of 1 failed: 0 <nil>
	// the old key alone: escrow: reveal: seal: not sealed to any private key at hand
}
