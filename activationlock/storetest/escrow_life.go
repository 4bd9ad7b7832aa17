package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// sealer hides nothing. It only looks like one that does: with a key that can be
// exchanged, and bound to the associated data.
type sealer struct{ key byte }

var errSealed = errors.New("storetest: the sealed code or what it is bound to is not what it was")

func mask(text []byte) []byte {
	text = bytes.Clone(text)
	for i := range text {
		text[i] ^= 0xa5
	}
	return text
}

func (s sealer) Seal(_ context.Context, text, associated []byte) ([]byte, error) {
	sum := sha256.Sum256(append(bytes.Clone(associated), text...))
	return append(append([]byte{s.key}, sum[:]...), mask(text)...), nil
}

func (sealer) Open(_ context.Context, sealed, associated []byte) ([]byte, error) {
	if len(sealed) < 1+sha256.Size {
		return nil, errSealed
	}
	text := mask(sealed[1+sha256.Size:])
	sum := sha256.Sum256(append(bytes.Clone(associated), text...))
	if !bytes.Equal(sum[:], sealed[1:1+sha256.Size]) {
		return nil, errSealed
	}
	return text, nil
}

func (s sealer) Rewrap(ctx context.Context, sealed, associated []byte) ([]byte, bool, error) {
	if _, err := s.Open(ctx, sealed, associated); err != nil {
		return nil, false, err
	}
	rewrapped := bytes.Clone(sealed)
	rewrapped[0] = s.key
	return rewrapped, sealed[0] != s.key, nil
}

// ledger is an audit in memory: the escrow needs one, and this is no test of it.
type ledger struct {
	mu      sync.Mutex
	entries []audit.Entry
}

func (l *ledger) Append(_ context.Context, next func(audit.Entry) ([]audit.Entry, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var last audit.Entry
	if len(l.entries) > 0 {
		last = l.entries[len(l.entries)-1]
	}
	entries, err := next(last)
	if err == nil {
		l.entries = append(l.entries, entries...)
	}
	return err
}

func (l *ledger) Scan(_ context.Context, after int64, limit int) (found []audit.Entry, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.Number > after && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, nil
}

var act = escrow.Act{Actor: "storetest", Reason: "a test of the store"}

func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{Subject: subject, RecordID: recordID, Act: act, Purpose: escrow.ToUnlock}
}

// life has two servers keep the codes of a device for as long as it lives.
func (k codes) life() {
	acts, err := audit.New(audit.Config{Store: new(ledger)})
	k.works("an escrow", "New", err)
	server := func(store escrow.Store, key byte) *escrow.Escrow {
		e, err := escrow.New(escrow.Config{Store: store, Sealer: sealer{key}, Audit: acts})
		k.works("an escrow", "New", err)
		return e
	}
	first, second := server(k.store, 1), server(k.open(), 2)
	device := escrow.Device{SerialNumber: serial.SerialNumber, UDID: enrollment.EnrollmentID, ProductType: "iPhone17,3", IMEI: "350000000000001"}
	at := func(hours int) time.Time { return clock().Add(time.Duration(hours) * time.Hour) }
	capture := func(e *escrow.Escrow, subject escrow.Subject, hours int, text bypasscode.Text) escrow.Record {
		k.Helper()
		r, err := e.Capture(k.ctx, escrow.Capture{
			Subject: subject, Kind: bypasscode.Device, Text: text, Cause: escrow.CauseEnrollment, EnrollmentID: enrollment.EnrollmentID,
			CommandUUID: fmt.Sprint(hours), AskedAt: at(hours - 1), ReceivedAt: at(hours), Device: device,
		})
		k.works("an escrow", "Capture", err)
		return r
	}
	reveals := func(e *escrow.Escrow, subject escrow.Subject, id string, want bypasscode.Text) {
		k.Helper()
		text, err := e.Reveal(k.ctx, wish(subject, id))
		k.works("an escrow", "Reveal", err)
		if !text.Equal(want) {
			k.Errorf("an escrow on this store reveals each code that it captured: one is another")
		}
	}
	state := func(e *escrow.Escrow, subject escrow.Subject, id string, want escrow.State) {
		k.Helper()
		records, err := e.Records(k.ctx, subject)
		k.works("an escrow", "Records", err)
		for _, r := range records {
			if r.ID == id {
				if r.State != want {
					k.Errorf("an escrow on this store keeps the state of each code: one is %q, and should be %q", r.State, want)
				}
				return
			}
		}
		k.Errorf("an escrow on this store keeps every code: one is gone")
	}
	newText := func() bypasscode.Text { return bypasscode.NewText(bypasscode.New().Reveal()) }

	// Two codes, before the serial number is known; then one more, as text that no
	// code looks like.
	a, b, c := newText(), newText(), bypasscode.NewText("caf\u00e9 \U0001F511\x00\xff")
	ra := capture(first, enrollment, 0, a)
	if again := capture(second, enrollment, 0, a); again != ra {
		k.Errorf("an escrow on this store takes the same capture again for the same record: it is another")
	}
	rb := capture(second, enrollment, 1, b)
	rc := capture(first, serial, 2, c)
	state(first, enrollment, ra.ID, escrow.Superseded)
	state(first, enrollment, rb.ID, escrow.Current)
	k.works("an escrow", "Join", first.Join(k.ctx, enrollment.EnrollmentID, serial.SerialNumber))
	for id, text := range map[string]bypasscode.Text{ra.ID: a, rb.ID: b, rc.ID: c} {
		reveals(second, serial, id, text)
	}
	state(second, serial, rc.ID, escrow.Current)

	// A lock of the organization, twice, since the answer was lost.
	lock := escrow.Lock{SerialNumber: serial.SerialNumber, At: at(3), Device: device}
	rd, err := first.LockCode(k.ctx, lock)
	k.works("an escrow", "LockCode", err)
	again, err := second.LockCode(k.ctx, lock)
	k.works("an escrow", "LockCode", err)
	if rd != again {
		k.Errorf("an escrow on this store locks again with the same code: it is another")
	}
	_, err = second.Mark(k.ctx, serial, rd.ID, escrow.Verdict{State: escrow.MaybeActive, Reason: "no answer", At: at(4)})
	k.works("an escrow", "Mark", err)
	state(first, serial, rd.ID, escrow.MaybeActive)
	k.works("an escrow", "MarkStale", first.MarkStale(k.ctx, serial, "erased", at(5)))

	// Another device, and other keys.
	other := escrow.Subject{SerialNumber: "XXFAKE0SER2"}
	device = escrow.Device{SerialNumber: other.SerialNumber}
	e := newText()
	re := capture(second, other, 6, e)
	rotated, err := second.Rotate(k.ctx, act, "", nil)
	k.works("an escrow", "Rotate", err)
	if rotated.Seen != 5 || rotated.Rewrapped != 3 || rotated.Failed != 0 {
		k.Errorf("an escrow on this store exchanges its keys: of 5 codes, 3 with old ones, it saw %d, exchanged %d and failed with %d", rotated.Seen, rotated.Rewrapped, rotated.Failed)
	}
	rotated, err = second.Rotate(k.ctx, act, "", nil)
	k.works("an escrow", "Rotate", err)
	if rotated.Seen != 5 || rotated.Rewrapped != 0 || rotated.Failed != 0 {
		k.Errorf("an escrow on this store has exchanged its keys: of 5 codes it saw %d, exchanged %d again, and failed with %d", rotated.Seen, rotated.Rewrapped, rotated.Failed)
	}
	for id, text := range map[string]bypasscode.Text{ra.ID: a, rb.ID: b, rc.ID: c} {
		reveals(first, serial, id, text)
	}

	// The end of the first device.
	k.works("an escrow", "Delete", second.Delete(k.ctx, serial, at(7)))
	reveals(first, serial, ra.ID, a)
	k.works("an escrow", "Purge", first.Purge(k.ctx, serial, escrow.Purge{Act: act, At: at(8), LockOff: true}))
	for _, r := range []escrow.Record{ra, rb, rc, rd} {
		if _, err := second.Reveal(k.ctx, wish(serial, r.ID)); !errors.Is(err, escrow.ErrPurged) {
			k.Errorf("an escrow on this store purges codes: the error is %v", err)
		}
		state(second, serial, r.ID, escrow.Purged)
	}
	for entry, err := range second.All(k.ctx) {
		k.works("an escrow", "All", err)
		if purged := entry.State == escrow.Purged; purged == (entry.ID == re.ID) {
			k.Errorf("an escrow on this store purges the codes of one device: it is another's")
		}
	}
	for _, entry := range k.all(k.store, 10) {
		if entry.State == escrow.Purged && (len(entry.Sealed) > 0 || len(entry.RecoveryCopy) > 0 || entry.Digest != "" || entry.Device != escrow.Device{}) {
			k.Errorf("an escrow on this store leaves nothing of a code that it purged: there is something")
		}
	}
	reveals(first, other, re.ID, e)
}
