package escrow_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var sold = escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: at(9), LockOff: true}

func remove(t *testing.T, e *escrow.Escrow, subject escrow.Subject, hour int) {
	t.Helper()
	require.NoError(t, e.Delete(t.Context(), subject, at(hour)))
}

func TestDelete(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	capture(t, e, asked(code, "1", 1), asked(code2, "2", 2), of(byEnrollment, unasked(asked(code3, "3", 3))))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	server := lock(t, e, 4)
	before := records(t, e, bySerial)
	require.NoError(t, e.Delete(t.Context(), bySerial, at(5).Add(1999).In(time.FixedZone("here", 3600))))
	remove(t, e, bySerial, 6) // the first note stays
	after := records(t, e, bySerial)
	require.Len(t, after, 4)
	for i := range before {
		before[i].DeletedAt = at(5).Add(time.Microsecond)
	}
	require.Equal(t, before, after, "nothing else changes")
	require.Equal(t, at(5).Add(time.Microsecond), records(t, e, byEnrollment)[0].DeletedAt)
	require.Equal(t, []string{
		"server " + reveal(t, e, bySerial, server.ID) + " current", "device " + code2 + " current",
		"device " + code + " superseded", "device " + code3 + " disputed",
	}, summary(t, e, bySerial), "all can be revealed")

	// It does not come back by being talked about, nor by the report sent again.
	capture(t, e, unasked(asked(code2, "x", 7)), disputed(asked(code2, "y", 7)), imported(asked(code2, "", 7)), asked(code2, "2", 7))
	for _, r := range records(t, e, bySerial) {
		require.NotZero(t, r.DeletedAt)
	}
	// It does by a code, the same or another.
	capture(t, e, asked(code2, "4", 8))
	for _, r := range records(t, e, bySerial) {
		require.Zero(t, r.DeletedAt)
	}
	remove(t, e, bySerial, 9)
	capture(t, e, asked("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17", "5", 10))
	for _, r := range records(t, e, bySerial) {
		require.Zero(t, r.DeletedAt)
	}

	require.EqualError(t, e.Delete(t.Context(), bySerial, time.Time{}), "escrow: delete: a time is required")
	require.EqualError(t, e.Delete(t.Context(), escrow.Subject{}, at(1)), "escrow: delete: a serial number or an enrollment ID is required")
	remove(t, e, byAnother, 1) // of nothing
	require.Empty(t, records(t, e, byAnother))
}

func TestPurgeIsRefused(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	capture(t, e, asked(code, "1", 1), of(byEnrollment, asked(code2, "2", 2)))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	refused := func(want error, p escrow.Purge) {
		t.Helper()
		before := scan(t, store)
		require.ErrorIs(t, e.Purge(t.Context(), bySerial, p), want)
		require.Equal(t, before, scan(t, store))
	}
	forced := escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "court order"}, At: at(9), Force: true}
	refused(escrow.ErrNotDeleted, sold)
	refused(escrow.ErrNotDeleted, forced)
	remove(t, e, bySerial, 3)
	refused(escrow.ErrLockMayBeOn, escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "sold"}, At: at(9)})
	for _, p := range []escrow.Purge{
		{At: at(9), LockOff: true},
		{At: at(9), Force: true},
		{Act: act, LockOff: true},
		{Act: escrow.Act{Reason: "sold"}, At: at(9), LockOff: true},
		{Act: escrow.Act{Actor: "tester"}, At: at(9), LockOff: true},
		{Act: escrow.Act{Actor: "tester", Reason: strings.Repeat("x", 256)}, At: at(9), LockOff: true},
		{Act: escrow.Act{Actor: "\xff", Reason: "sold"}, At: at(9), Force: true},
	} {
		before := scan(t, store)
		require.EqualError(t, e.Purge(t.Context(), bySerial, p), "escrow: purge: actor, reason and time are required")
		require.Equal(t, before, scan(t, store))
	}
	// One code that came after the deletion keeps all.
	capture(t, e, unasked(asked(code3, "3", 4)))
	refused(escrow.ErrNotDeleted, sold)
	remove(t, e, bySerial, 5)
	require.NoError(t, e.Purge(t.Context(), bySerial, forced))
	for _, r := range records(t, e, bySerial) {
		require.Equal(t, escrow.Purged, r.State)
		require.Equal(t, "court order", r.StateReason)
	}
	require.EqualError(t, e.Purge(t.Context(), escrow.Subject{}, sold), "escrow: purge: a serial number or an enrollment ID is required")
	require.NoError(t, e.Purge(t.Context(), byAnother, sold), "there is none to purge")
}

func TestPurge(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: clear{}, Recovery: certificates("a")})
	require.NoError(t, err)
	c := asked(code, "1", 1)
	c.Device = escrow.Device{SerialNumber: serial, UDID: "the-udid", ProductType: "iPhone17,3", IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "A0000000000001"}
	capture(t, e, c, asked("no code", "2", 2))
	joined := of(byEnrollment, from("somebody", asked(code2, "3", 3)))
	joined.Device = c.Device
	capture(t, e, joined)
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	made := lock(t, e, 4)
	texts := []string{code, code2, "no code", reveal(t, e, bySerial, made.ID)}
	remove(t, e, bySerial, 5)
	before := map[string]escrow.Entry{}
	for _, entry := range scan(t, store) {
		before[entry.ID] = entry
	}

	p := sold
	p.At = at(9).Add(1999).In(time.FixedZone("here", 3600))
	require.NoError(t, e.Purge(t.Context(), bySerial, p))
	after := scan(t, store)
	require.Len(t, after, 4)
	for _, entry := range after {
		was := before[entry.ID]
		var kept bytes.Buffer
		require.NoError(t, gob.NewEncoder(&kept).Encode(entry))
		for _, secret := range append(texts, string(was.Sealed), string(was.RecoveryCopy), was.Digest, "the-udid", "iPhone17,3", "350000000000019", "350000000000027", "A0000000000001", "somebody") {
			if secret != "" {
				require.NotContains(t, kept.String(), secret)
			}
		}
		require.NotEmpty(t, was.RecoveryCopy)
		want := was.Record
		want.State, want.StateSince, want.StateReason = escrow.Purged, at(9).Add(time.Microsecond), "sold"
		want.Device, want.EnrollmentID, want.Hash = escrow.Device{}, "", bypasscode.Hash{}
		require.Equal(t, escrow.Entry{Record: want}, entry)
		for _, subject := range []escrow.Subject{bySerial, entry.Subject} {
			text, err := e.Reveal(t.Context(), wish(subject, entry.ID))
			require.ErrorIs(t, err, escrow.ErrPurged)
			require.True(t, text.IsZero())
			_, err = e.RecoveryCopy(t.Context(), subject, entry.ID)
			require.ErrorIs(t, err, escrow.ErrNotFound)
		}
	}
	// Once more changes nothing, and no note is made on what is gone.
	remove(t, e, bySerial, 10)
	require.NoError(t, e.Purge(t.Context(), bySerial, escrow.Purge{Act: escrow.Act{Actor: "tester", Reason: "again"}, At: at(11), Force: true}))
	require.Equal(t, after, scan(t, store))

	// The device is back: its code is a new record.
	again := capture(t, e, asked(code, "1", 12))
	require.NotContains(t, before, again.ID)
	require.Equal(t, escrow.Current, again.State)
	require.Equal(t, at(12), again.FirstSeen)
	require.Equal(t, code, reveal(t, e, bySerial, again.ID))
	require.Len(t, records(t, e, bySerial), 5)
	require.Equal(t, again, records(t, e, bySerial)[0], "what is purged comes last")
	require.NotEqual(t, made.ID, lock(t, e, 13).ID)
	remove(t, e, bySerial, 14)
	for id := range before {
		require.Zero(t, find(t, e, bySerial, id).DeletedAt, "what is purged is not deleted again")
	}
}

// A row that says it was purged is not the place for a code that comes again,
// whatever is left in it.
func TestPlantedPurge(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	capture(t, e, asked(code, "1", 1))
	planted := scan(t, store)[0]
	planted.State, planted.Sealed = escrow.Purged, nil
	write(t, store, planted)
	r := capture(t, e, asked(code, "2", 2))
	require.NotEqual(t, planted.ID, r.ID)
	require.Equal(t, code, reveal(t, e, bySerial, r.ID))
}

// What was not known of a device when its code came first is filled in.
func TestDeviceIsFilledIn(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	c := of(byEnrollment, asked(code, "1", 1))
	c.Device = escrow.Device{}
	capture(t, e, c)
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	c = asked(code, "2", 2)
	// Not by what nobody asked for.
	require.Zero(t, capture(t, e, unasked(c)).Device)
	require.Zero(t, capture(t, e, disputed(c)).Device)
	require.Equal(t, c.Device, capture(t, e, c).Device)
	// Serial number and UDID are sealed, so they stay.
	c.CommandUUID, c.Device.UDID, c.Device.IMEI = "3", "other", "1"
	r := capture(t, e, c)
	require.Equal(t, enrollment, r.Device.UDID)
	require.Equal(t, "1", r.Device.IMEI)
	require.Equal(t, code, reveal(t, e, bySerial, r.ID))
}

func TestPurgeAndQuota(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	for i := range escrow.Quota {
		capture(t, e, asked(numbered(i), fmt.Sprint(i), 1))
	}
	remove(t, e, bySerial, 2)
	require.NoError(t, e.Purge(t.Context(), bySerial, sold))
	capture(t, e, asked(code, "x", 3))
}

// A code that comes between keeps a purge from destroying it.
func TestPurgeRace(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	capture(t, e, asked(code, "1", 1))
	remove(t, e, bySerial, 2)
	late := with(t, hooked{Store: store, before: func(string) error {
		capture(t, e, asked(code2, "2", 3))
		return nil
	}})
	require.ErrorIs(t, late.Purge(t.Context(), bySerial, sold), escrow.ErrNotDeleted)
	require.Equal(t, []string{"device " + code2 + " current", "device " + code + " superseded"}, summary(t, e, bySerial))
}

// Imports and what people type in.
func TestToldCodes(t *testing.T) {
	t.Parallel()
	for _, cause := range []escrow.Cause{escrow.CauseImport, escrow.CauseManual} {
		told := func(text string, hour int) escrow.Capture {
			c := imported(asked(text, "", hour))
			c.Cause = cause
			return c
		}
		e := newEscrow(t)
		alone := capture(t, e, told(code, 1))
		require.Equal(t, escrow.Current, alone.State)
		require.Equal(t, cause, alone.Cause)
		require.Equal(t, at(1), alone.FirstSeen)

		capture(t, e, told(code2, 2))
		require.Equal(t, []string{"device " + code2 + " current", "device " + code + " superseded"}, summary(t, e, bySerial), "of those that were told the one seen last")
		require.Equal(t, escrow.Current, capture(t, e, server(told(code2, 2))).State, "kinds do not touch")

		// What the device gives counts for more, whatever comes after it.
		given := capture(t, e, asked(code3, "1", 3))
		capture(t, e, told("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17", 4), told(code, 5))
		require.Equal(t, []string{
			"device " + code3 + " current", "server " + code2 + " current",
			"device " + code + " superseded", "device J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17 superseded", "device " + code2 + " superseded",
		}, summary(t, e, bySerial))

		// The same again was seen again, and replaces nothing of what the device
		// said.
		c := told(code3, 6)
		c.FirstSeen = at(0)
		c.Device = escrow.Device{UDID: "other", ProductType: "other", IMEI: "1", IMEI2: "2", MEID: "3"}
		given.Device.IMEI2, given.Device.MEID = "2", "3" // it was seen before
		require.Equal(t, given, capture(t, e, c))

		// Void stays void.
		mark(t, e, given.ID, escrow.Void, 7)
		require.Equal(t, escrow.Void, capture(t, e, told(code3, 8)).State)
		// The device says otherwise.
		require.Equal(t, escrow.Current, capture(t, e, asked(code, "9", 9)).State)
		require.Equal(t, escrow.CauseSchedule, find(t, e, bySerial, alone.ID).Cause)

		// A dispute is one, whoever tells.
		require.Equal(t, escrow.Disputed, capture(t, newEscrow(t), disputed(told(code, 1))).State)
	}
	_, err := newEscrow(t).Capture(t.Context(), escrow.Capture{
		Subject: bySerial, Kind: bypasscode.Server, Text: bypasscode.NewText(code), Cause: escrow.CauseOrganizationLock, ReceivedAt: at(1),
	})
	require.EqualError(t, err, "escrow: capture: subject, kind, cause and time are required")
}

func TestTimes(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("here", -5*3600)
	odd := func(hour int) time.Time { return at(hour).Add(1999).In(zone) }
	even := func(hour int) time.Time { return at(hour).Add(time.Microsecond) }
	for _, test := range []struct {
		cause       escrow.Cause
		first, want time.Time
	}{
		{escrow.CauseImport, odd(1), even(1)},
		{escrow.CauseManual, odd(1), even(1)},
		{escrow.CauseImport, time.Time{}, even(5)},
		{escrow.CauseImport, odd(6), even(5)},
		{escrow.CauseSchedule, odd(1), even(5)},
		{escrow.CauseUnasked, odd(1), even(5)},
	} {
		e := newEscrow(t)
		c := asked(code, "1", 5)
		c.Cause, c.FirstSeen, c.ReceivedAt, c.AskedAt = test.cause, test.first, odd(5), odd(4)
		r := capture(t, e, c)
		require.Equal(t, test.want, r.FirstSeen)
		last := even(5)
		if test.cause == escrow.CauseImport || test.cause == escrow.CauseManual {
			last = test.want // old codes do not become the newest by being imported
		}
		require.Equal(t, last, r.LastSeen)
		require.Equal(t, even(5), r.ReceivedAt)
		require.Equal(t, even(4), r.AskedAt)
		require.Equal(t, []escrow.Record{r}, records(t, e, bySerial))
	}
	// The monotonic part of a clock is gone, and what is zero stays zero.
	e := newEscrow(t)
	c := asked(code, "1", 5)
	c.ReceivedAt, c.AskedAt = time.Now(), time.Time{}
	r := capture(t, e, c)
	require.Equal(t, c.ReceivedAt.UTC().Truncate(time.Microsecond), r.ReceivedAt)
	require.NotContains(t, r.ReceivedAt.String(), "m=")
	require.NotContains(t, r.LastSeen.String(), "m=")
	require.True(t, r.AskedAt == time.Time{})
	require.NoError(t, e.MarkStale(t.Context(), bySerial, "erased", time.Now().Add(time.Hour)))
	stale := records(t, e, bySerial)[0].StaleSince
	require.NotContains(t, stale.String(), "m=")
	require.Equal(t, stale.UTC().Truncate(time.Microsecond), stale)
}

func TestStringsThatDoNotFit(t *testing.T) {
	t.Parallel()
	fits := strings.Repeat("x", escrow.MaxIdentifier)
	for name, junk := range map[string]string{"long": fits + "x", "not UTF-8": "a\xff", "NUL": "a\x00b"} {
		for _, field := range []func(*escrow.Capture) *string{
			func(c *escrow.Capture) *string { return &c.EnrollmentID },
			func(c *escrow.Capture) *string { return &c.CommandUUID },
			func(c *escrow.Capture) *string { return &c.Device.UDID },
			func(c *escrow.Capture) *string { return &c.Device.ProductType },
			func(c *escrow.Capture) *string { return &c.Device.IMEI },
			func(c *escrow.Capture) *string { return &c.Device.IMEI2 },
			func(c *escrow.Capture) *string { return &c.Device.MEID },
		} {
			e := newEscrow(t)
			c := asked(code, "1", 1)
			*field(&c) = junk
			r := capture(t, e, c)
			require.Equal(t, code, reveal(t, e, bySerial, r.ID), "the code is kept")
			got := escrow.Capture{EnrollmentID: r.EnrollmentID, CommandUUID: r.CommandUUID, Device: r.Device}
			require.Empty(t, *field(&got), name)
			*field(&c) = fits
			r = capture(t, newEscrow(t), c)
			got = escrow.Capture{EnrollmentID: r.EnrollmentID, CommandUUID: r.CommandUUID, Device: r.Device}
			require.Equal(t, fits, *field(&got))
		}
		for _, subject := range []escrow.Subject{{SerialNumber: junk}, {EnrollmentID: junk}} {
			e := newEscrow(t)
			_, err := e.Capture(t.Context(), of(subject, asked(code, "1", 1)))
			require.EqualError(t, err, "escrow: capture: subject, kind, cause and time are required", name)
			require.EqualError(t, e.MarkStale(t.Context(), subject, "erased", at(1)), "escrow: mark stale: a serial number or an enrollment ID is required", name)
		}
		e := newEscrow(t)
		require.EqualError(t, e.MarkStale(t.Context(), bySerial, junk, at(1)), "escrow: mark stale: reason and time are required")
		require.Error(t, e.Join(t.Context(), junk, serial))
		require.Error(t, e.Join(t.Context(), enrollment, junk))
		require.False(t, escrow.ValidIdentifier(junk))

		// A serial number that does not fit is the subject's.
		c := of(byEnrollment, asked(code, "1", 1))
		c.Device.SerialNumber = junk
		require.Empty(t, capture(t, e, c).Device.SerialNumber)
		c.Subject = bySerial
		require.Equal(t, serial, capture(t, e, c).Device.SerialNumber)
	}
	require.True(t, escrow.ValidIdentifier(fits))
	require.False(t, escrow.ValidIdentifier(""))
	require.EqualError(t, newEscrow(t).MarkStale(t.Context(), bySerial, "erased", time.Time{}), "escrow: mark stale: reason and time are required")
}

// A capture that names another serial number than its subject opens all the
// same.
func TestSubjectAndDeviceDiffer(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e, err := escrow.New(sealing(store))
	require.NoError(t, err)
	for _, said := range []string{"", "XXFAKE0SER9"} {
		c := asked(code, "1", 1)
		c.Device.SerialNumber = said
		r := capture(t, e, of(escrow.Subject{SerialNumber: "subject " + said}, c))
		require.Equal(t, "subject "+said, r.Device.SerialNumber)
		require.Equal(t, code, reveal(t, e, r.Subject, r.ID))
	}
}

// What is filed under an enrollment and under its serial number before the two
// are joined is there twice; a report of either that comes late is known.
func TestSameCodeTwice(t *testing.T) {
	t.Parallel()
	e := newEscrow(t)
	capture(t, e, asked(code, "1", 1), of(byEnrollment, asked(code, "2", 2)))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	capture(t, e, asked(code2, "3", 3))
	want := records(t, e, bySerial)
	for _, uuid := range []string{"1", "2", "3"} {
		text := code
		if uuid == "3" {
			text = code2
		}
		capture(t, e, asked(text, uuid, 4))
		require.Equal(t, want, records(t, e, bySerial), uuid)
	}
	// Given on being asked it is the first of them.
	capture(t, e, asked(code, "4", 5))
	require.Equal(t, []string{"device " + code + " current", "device " + code2 + " superseded", "device " + code + " superseded"}, summary(t, e, bySerial))
}

// Texts that do not parse cannot be compared.
func TestTextsThatDoNotParse(t *testing.T) {
	t.Parallel()
	store := memstore.New().Escrow()
	e := with(t, store)
	first := capture(t, e, asked("no code", "1", 1))
	require.Equal(t, escrow.Current, first.State)
	again := capture(t, e, asked("no code", "1", 2))
	require.NotEqual(t, first.ID, again.ID, "kept each time")
	require.Equal(t, escrow.Superseded, again.State, "but not as the last one")
	newer := capture(t, e, asked("no code either", "2", 3))
	require.Equal(t, escrow.Superseded, capture(t, e, asked("no code", "1", 4)).State)
	require.Equal(t, newer, find(t, e, bySerial, newer.ID))
	require.Equal(t, escrow.Current, capture(t, e, from(another, asked("no code", "1", 5))).State, "of another enrollment it is another report")
	require.Equal(t, escrow.Current, capture(t, e, server(asked("no code", "1", 6))).State)
	capture(t, e, asked("no code", "", 7))
	require.Equal(t, escrow.Current, capture(t, e, asked("no code", "", 8)).State, "without a command UUID it is another report")
	parses := asked(code, "9", 9)
	capture(t, e, parses)
	for _, entry := range scan(t, store) {
		parsed := reveal(t, e, bySerial, entry.ID) == code
		require.Equal(t, parsed, entry.Digest != "")
		if parsed {
			require.Regexp(t, "^[0-9a-f]{64}$", entry.Digest)
		}
	}
	require.Len(t, scan(t, store), 9)

	// A purged or disputed one says nothing of what comes again.
	for _, id := range []string{enrollment, ""} {
		e = newEscrow(t)
		capture(t, e, from(id, unasked(asked("no code", "1", 1))))
		require.Equal(t, escrow.Current, capture(t, e, from(id, asked("no code", "1", 2))).State)
		remove(t, e, bySerial, 3)
		require.NoError(t, e.Purge(t.Context(), bySerial, sold))
		require.Equal(t, escrow.Current, capture(t, e, from(id, asked("no code", "1", 4))).State)
	}
	// Nor is a code that parses one of them.
	require.Equal(t, escrow.Current, capture(t, e, from("", asked(code, "1", 5))).State)
}

func TestAll(t *testing.T) {
	t.Parallel()
	const n = 2*256 + 3
	store := memstore.New().Escrow()
	e := with(t, store)
	want := map[string]escrow.Record{}
	for i := range n {
		r := capture(t, e, of(escrow.Subject{SerialNumber: fmt.Sprint("serial ", i)}, asked(numbered(i), "1", 1)))
		want[r.ID] = r
	}
	got := map[string]escrow.Record{}
	last := ""
	for r, err := range e.All(t.Context()) {
		require.NoError(t, err)
		require.Greater(t, r.ID, last)
		last = r.ID
		got[r.ID] = r
	}
	require.Equal(t, want, got)

	seen := 0
	for range e.All(t.Context()) {
		if seen++; seen == 257 {
			break
		}
	}
	require.Equal(t, 257, seen)

	// The store fails at the second page.
	calls := 0
	down := with(t, hooked{Store: store, before: func(string) error {
		if calls++; calls == 2 {
			return errDown
		}
		return nil
	}})
	seen, failed := 0, 0
	for r, err := range down.All(t.Context()) {
		if err != nil {
			failed++
			require.EqualError(t, err, "escrow: all: the store is down")
			require.Zero(t, r)
			continue
		}
		seen++
	}
	require.Equal(t, []int{256, 1, 2}, []int{seen, failed, calls})

	ctx, cancel := context.WithCancel(t.Context())
	seen = 0
	for _, err := range e.All(ctx) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		cancel()
		seen++
	}
	cancel()
	require.Equal(t, 256, seen)

	// One page that is just full.
	calls = 0
	full := memstore.New().Escrow()
	write(t, full, scan(t, store)[:256]...)
	for range with(t, hooked{Store: full, before: func(string) error { calls++; return nil }}).All(t.Context()) {
		seen++
	}
	require.Equal(t, []int{512, 2}, []int{seen, calls})
	for range newEscrow(t).All(t.Context()) {
		t.Fatal("there is nothing")
	}
}

// Each change that the store cannot commit, or commits without being able to say
// so, is an error; made again, it leaves what it would have left at once.
func TestStoreFailsInEachMethod(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		call func(context.Context, *escrow.Escrow, string) error
		done func(*testing.T, *escrow.Escrow, string)
	}{
		"capture": {func(ctx context.Context, e *escrow.Escrow, _ string) error {
			r, err := e.Capture(ctx, asked(code2, "2", 2))
			if err != nil {
				require.Zero(t, r)
			}
			return err
		}, func(t *testing.T, e *escrow.Escrow, _ string) {
			require.Len(t, records(t, e, bySerial), 2)
			require.Equal(t, "device "+code2+" current", summary(t, e, bySerial)[0])
		}},
		"mark stale": {func(ctx context.Context, e *escrow.Escrow, _ string) error {
			return e.MarkStale(ctx, bySerial, "erased", at(3))
		}, func(t *testing.T, e *escrow.Escrow, id string) {
			require.Equal(t, at(3), find(t, e, bySerial, id).StaleSince)
		}},
		"mark": {func(ctx context.Context, e *escrow.Escrow, id string) error {
			r, err := e.Mark(ctx, bySerial, id, escrow.Verdict{State: escrow.Void, Reason: "404", At: at(3)})
			if err != nil {
				require.Zero(t, r)
			}
			return err
		}, func(t *testing.T, e *escrow.Escrow, id string) {
			require.Equal(t, escrow.Void, find(t, e, bySerial, id).State)
		}},
		"delete": {func(ctx context.Context, e *escrow.Escrow, _ string) error {
			return e.Delete(ctx, bySerial, at(3))
		}, func(t *testing.T, e *escrow.Escrow, id string) {
			require.Equal(t, at(3), find(t, e, bySerial, id).DeletedAt)
		}},
		"purge": {func(ctx context.Context, e *escrow.Escrow, _ string) error {
			return e.Purge(ctx, bySerial, sold)
		}, func(t *testing.T, e *escrow.Escrow, id string) {
			require.Equal(t, escrow.Purged, find(t, e, bySerial, id).State)
		}},
	} {
		store := memstore.New().Escrow()
		e := with(t, store)
		id := capture(t, e, asked(code, "1", 1)).ID
		if name == "purge" {
			remove(t, e, bySerial, 2)
		}
		before := scan(t, store)
		down := func(method string) error {
			if method == "entries" { // of a purge, which looks first
				return nil
			}
			require.Equal(t, "update", method)
			return errDown
		}
		err := test.call(t.Context(), with(t, hooked{Store: store, before: down}), id)
		require.EqualError(t, err, "escrow: "+name+": the store is down")
		require.ErrorIs(t, err, errDown)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, test.call(ctx, e, id), context.Canceled, name)
		require.Equal(t, before, scan(t, store), name)

		require.ErrorIs(t, test.call(t.Context(), with(t, hooked{Store: store, after: down}), id), errDown, name)
		test.done(t, e, id)
		after := scan(t, store)
		require.NoError(t, test.call(t.Context(), e, id), name)
		require.Equal(t, after, scan(t, store), name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := newEscrow(t)
	_, err := e.RecoveryCopy(ctx, bySerial, "x")
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Reveal(ctx, wish(bySerial, "x"))
	require.ErrorIs(t, err, context.Canceled)
}

// twice is a store that calls change once for nothing, as a database does after
// a conflict.
type twice struct {
	escrow.Store
	t *testing.T
}

func (s twice) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	entries, err := s.Entries(ctx, subject)
	require.NoError(s.t, err)
	before := slices.Clone(entries)
	_, _ = change(entries)
	require.Equal(s.t, before, entries, "change only looks at its argument")
	return s.Store.Update(ctx, subject, change)
}

func TestChangesOnlyLook(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	store := twice{memstore.New().Escrow(), t}
	e := withKey(t, store, key, "a")
	capture(t, e, imported(server(asked(code, "", 1))), asked(code, "1", 1), asked(code2, "2", 2), of(byEnrollment, asked(code3, "3", 3)))
	require.NoError(t, e.Join(t.Context(), enrollment, serial))
	r := lock(t, e, 4)
	require.Len(t, scan(t, store), 5)
	require.Equal(t, r, lock(t, e, 5))
	mark(t, e, r.ID, escrow.MaybeActive, 6)
	other := records(t, e, bySerial)[len(records(t, e, bySerial))-1]
	mark(t, e, other.ID, escrow.Void, 7)
	mark(t, e, r.ID, escrow.Current, 8)
	done, err := withKey(t, store, key, "b").Rotate(t.Context(), act, "", nil)
	require.NoError(t, err)
	require.Equal(t, 5, done.Copied)
	remove(t, e, bySerial, 9)
	lock(t, e, 10)
	remove(t, e, bySerial, 11)
	require.NoError(t, e.Purge(t.Context(), bySerial, sold))
	for _, r := range records(t, e, bySerial) {
		require.Equal(t, escrow.Purged, r.State)
	}
}

// A history that is imported in any order is tried from the newest on.
func TestImportedHistories(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{5, 4, 3, 2, 1, 0}, {0, 1, 2, 3, 4, 5}, {3, 0, 5, 1, 4, 2}} {
		e := newEscrow(t)
		for _, year := range order {
			c := imported(asked(numbered(year), "", 100))
			c.FirstSeen = at(year)
			capture(t, e, c)
		}
		var got, want []string
		for i, r := range records(t, e, bySerial) {
			got = append(got, reveal(t, e, bySerial, r.ID))
			want = append(want, numbered(5-i))
			require.Equal(t, i == 0, r.State == escrow.Current)
		}
		require.Equal(t, want, got)
	}
}
