package escrow_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
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
	return open(memstore.New(), keys)
}

// open opens the escrow of a store.
func open(store *memstore.Store, keys *seal.Keyring) *escrow.Escrow {
	acts, err := audit.New(audit.Config{Store: store.Audit()})
	if err != nil {
		log.Fatal(err)
	}
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Audit: acts})
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
	fmt.Println(record.State)
	// Output: current
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

// A code is shown to a person if the device is the company's and locked, unless
// Config.Allow is another rule. Whatever happens is in the audit before.
func ExampleEscrow_Reveal() {
	store := memstore.New()
	keys, _ := newKeyring()
	codes := open(store, keys)
	record, err := codes.Capture(ctx, escrow.Capture{
		Subject: device, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: noon,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	wish := escrow.Reveal{
		Subject: device, RecordID: record.ID,
		Act:          escrow.Act{Actor: "ada@example.com", Reason: "left the company, ticket 4711"},
		CompanyOwned: new(true),
	}
	_, err = codes.Reveal(ctx, wish)
	fmt.Println(err)

	wish.LockOn = new(true)
	text, err := codes.Reveal(ctx, wish)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text)
	fmt.Println(text.Reveal())

	entries, err := store.Audit().Scan(ctx, 0, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Println(e.Number, e.Act, "by", e.Actor, "for:", e.Reason)
	}
	// Output:
	// escrow: reveal: escrow: refused: the device's lock is not known to be on
	// [redacted]
	// 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
	// 1 refused by ada@example.com for: left the company, ticket 4711
	// 2 revealed by ada@example.com for: left the company, ticket 4711
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
	if _, err := codes.Mark(ctx, device, first.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "about to lock", At: noon}); err != nil {
		fmt.Println(err)
		return
	}
	// ... the lock call with first.Hash, and no answer
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
	wish := escrow.Reveal{
		Subject: device, RecordID: record.ID, Purpose: escrow.ToUnlock,
		Act: escrow.Act{Actor: "ada@example.com", Reason: "sold"},
	}
	_, err = codes.Reveal(ctx, wish)
	fmt.Println("after Delete:", err)
	fmt.Println(codes.Purge(ctx, device, escrow.Purge{Act: wish.Act, At: noon}))
	fmt.Println(codes.Purge(ctx, device, escrow.Purge{Act: wish.Act, At: noon, LockOff: true}))
	_, err = codes.Reveal(ctx, wish)
	fmt.Println("after Purge:", err)
	// Output:
	// after Delete: <nil>
	// escrow: not purged, since the lock may be on
	// <nil>
	// after Purge: escrow: reveal: escrow: the code was purged
}

// A key is exchanged: from then on only the new one opens codes.
func ExampleEscrow_Rotate() {
	store := memstore.New()
	oldKeys, oldKey := newKeyring()
	record, err := open(store, oldKeys).LockCode(ctx, escrow.Lock{SerialNumber: "XXFAKE0SER1", At: noon})
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
	act := escrow.Act{Actor: "ada@example.com", Reason: "new key for the new year"}
	done, err := open(store, both).Rotate(ctx, act, "", nil)
	fmt.Println(done.Rewrapped, "of", done.Seen, "failed:", done.Failed, err)

	_, err = open(store, oldKeys).Reveal(ctx, escrow.Reveal{Subject: device, RecordID: record.ID, Purpose: escrow.ToUnlock, Act: act})
	fmt.Println("the old key alone:", err)
	// Output:
	// 1 of 1 failed: 0 <nil>
	// the old key alone: escrow: reveal: seal: not sealed to any private key at hand
}

// A code came before the server knew whose it was.
func ExampleEscrow_Join() {
	codes := exampleEscrow()
	enrollment := escrow.Subject{EnrollmentID: "00008120-0011223344556677"}
	if _, err := codes.Capture(ctx, escrow.Capture{
		Subject: enrollment, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: noon,
	}); err != nil {
		fmt.Println(err)
		return
	}
	if err := codes.Join(ctx, enrollment.EnrollmentID, device.SerialNumber); err != nil {
		fmt.Println(err)
		return
	}
	found, err := codes.Records(ctx, device)
	fmt.Println(len(found), err)
	// Output: 1 <nil>
}

// A device was erased: it may have made another code, or may get its own backup
// back, and the code with it.
func ExampleEscrow_MarkStale() {
	codes := exampleEscrow()
	if _, err := codes.Capture(ctx, escrow.Capture{
		Subject: device, Kind: bypasscode.Device, Text: bypasscode.NewText("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"),
		Cause: escrow.CauseEnrollment, ReceivedAt: noon,
	}); err != nil {
		fmt.Println(err)
		return
	}
	if err := codes.MarkStale(ctx, device, "the device enrolled again", noon.Add(time.Hour)); err != nil {
		fmt.Println(err)
		return
	}
	found, err := codes.Records(ctx, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(found[0].State, "but perhaps stale:", found[0].StaleReason)
	// Output: current but perhaps stale: the device enrolled again
}
