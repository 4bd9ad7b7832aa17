package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

const (
	serial     = "XXFAKE0SER1"
	enrollment = "00008120-0011223344556677"
)

var (
	bySerial     = escrow.Subject{SerialNumber: serial}
	byEnrollment = escrow.Subject{EnrollmentID: enrollment}
	noon         = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	errChange    = errors.New("no change")
)

// entry makes an entry whose text is its ID.
func entry(id string, subject escrow.Subject) escrow.Entry {
	return escrow.Entry{Record: escrow.Record{ID: id, Subject: subject, Kind: bypasscode.Device, State: escrow.Current}, Text: bypasscode.NewText(id)}
}

func put(t *testing.T, s escrow.Store, entries ...escrow.Entry) {
	t.Helper()
	for _, e := range entries {
		require.NoError(t, s.Update(t.Context(), e.Subject, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{e}, nil }))
	}
}

// ids lists a subject's entries, by both ways of reading.
func ids(t *testing.T, s escrow.Store, subject escrow.Subject) (found []string) {
	t.Helper()
	entries, err := s.Entries(t.Context(), subject)
	require.NoError(t, err)
	for _, e := range entries {
		require.Equal(t, e.ID, e.Text.Reveal())
		found = append(found, e.ID)
	}
	var passed []string
	require.NoError(t, s.Update(t.Context(), subject, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		for _, e := range entries {
			passed = append(passed, e.ID)
		}
		return nil, nil
	}))
	require.Equal(t, found, passed)
	return found
}

// strange are identifiers that a store might take for the same.
var strange = []string{
	"abc", "ABC", "Abc", "abc ", " abc", "abc\x00", "abc\n", "a", "ab", "abcd", "%", "_", "a%", "*", "'", "",
	"\u00e9", "e\u0301", "\u00c9", "\u00df", "ss", "\u212a", "k", "K", "\uff21", "A", "\xff", "\xfe", "\ufffd", "\U0001F511", "\U0001F513",
	"00008120-0011223344556677", "00008120-0011223344556677 ",
}

func TestEntries(t *testing.T) {
	t.Parallel()
	s := memstore.New().Escrow()
	require.Empty(t, ids(t, s, bySerial), "none is no error")
	put(t, s, entry("1", bySerial), entry("2", bySerial), entry("3", byEnrollment))
	require.Equal(t, []string{"1", "2"}, ids(t, s, bySerial))
	require.Equal(t, []string{"3"}, ids(t, s, byEnrollment))

	// Written again, an entry keeps its place.
	changed := entry("1", bySerial)
	changed.State = escrow.Superseded
	put(t, s, entry("4", bySerial), changed)
	require.Equal(t, []string{"1", "2", "4"}, ids(t, s, bySerial))
	entries, err := s.Entries(t.Context(), bySerial)
	require.NoError(t, err)
	require.Equal(t, changed.Record, entries[0].Record)

	// Several of one update are filed in their order.
	require.NoError(t, s.Update(t.Context(), bySerial, func([]escrow.Entry) ([]escrow.Entry, error) {
		return []escrow.Entry{entry("z", bySerial), changed, entry("a", bySerial), entry("m", bySerial)}, nil
	}))
	require.Equal(t, []string{"1", "2", "4", "z", "a", "m"}, ids(t, s, bySerial))
}

func TestJoin(t *testing.T) {
	t.Parallel()
	s := memstore.New().Escrow()
	put(t, s, entry("1", byEnrollment), entry("2", bySerial), entry("3", escrow.Subject{EnrollmentID: "other"}), entry("4", byEnrollment))
	for range 2 {
		require.NoError(t, s.Join(t.Context(), enrollment, serial))
		require.Equal(t, []string{"1", "2", "4"}, ids(t, s, bySerial), "in the order of filing")
		require.Equal(t, []string{"1", "4"}, ids(t, s, byEnrollment), "in one direction")
	}
	require.NoError(t, s.Join(t.Context(), "other", serial))
	put(t, s, entry("5", escrow.Subject{EnrollmentID: "other"}))
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, ids(t, s, bySerial))

	// The serial number of one is never the enrollment ID of another.
	require.Empty(t, ids(t, s, escrow.Subject{EnrollmentID: serial}))
	require.Empty(t, ids(t, s, escrow.Subject{SerialNumber: enrollment}))

	// An enrollment can claim two serial numbers.
	require.NoError(t, s.Join(t.Context(), enrollment, "second"))
	require.Equal(t, []string{"1", "4"}, ids(t, s, escrow.Subject{SerialNumber: "second"}))

	// What was joined through an entry can be written through it.
	changed := entry("1", byEnrollment)
	changed.State = escrow.Disputed
	require.NoError(t, s.Update(t.Context(), bySerial, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{changed}, nil }))
	entries, err := s.Entries(t.Context(), byEnrollment)
	require.NoError(t, err)
	require.Equal(t, changed.Record, entries[0].Record)

	// No enrollment joined is not every device that has a serial number.
	require.NoError(t, s.Join(t.Context(), "", "third"))
	require.Empty(t, ids(t, s, escrow.Subject{SerialNumber: "third"}))
}

func TestIdentifiersCompareByteByByte(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for i, id := range strange {
		put(t, s.Escrow(), entry(fmt.Sprint("serial ", i), escrow.Subject{SerialNumber: id}))
		if id != "" {
			put(t, s.Escrow(), entry(fmt.Sprint("enrollment ", i), escrow.Subject{EnrollmentID: id}))
		}
		require.NoError(t, s.Inventory().Update(t.Context(), id, func(r *inventory.Record) error {
			require.Equal(t, inventory.Record{EnrollmentID: id}, *r, "%q is new", id)
			r.Facts.SerialNumber, r.ParentID = id, fmt.Sprint(i)
			return nil
		}))
	}
	for i, id := range strange {
		require.Equal(t, []string{fmt.Sprint("serial ", i)}, ids(t, s.Escrow(), escrow.Subject{SerialNumber: id}), "%q", id)
		if id != "" {
			require.Equal(t, []string{fmt.Sprint("enrollment ", i)}, ids(t, s.Escrow(), escrow.Subject{EnrollmentID: id}), "%q", id)
		}
		r, err := s.Inventory().Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), r.ParentID)
		found, err := s.Inventory().BySerialNumber(t.Context(), id)
		require.NoError(t, err)
		if id == "" {
			require.Empty(t, found, "nobody claims the empty serial number")
			continue
		}
		require.Len(t, found, 1, "%q", id)
		require.Equal(t, id, found[0].EnrollmentID)
	}
	// Joins too.
	require.NoError(t, s.Escrow().Join(t.Context(), "abc", "joined"))
	require.Equal(t, []string{"enrollment 0"}, ids(t, s.Escrow(), escrow.Subject{SerialNumber: "joined"}))
	require.Empty(t, ids(t, s.Escrow(), escrow.Subject{SerialNumber: "Joined"}))
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	r, err := s.Get(t.Context(), enrollment)
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Zero(t, r)
	found, err := s.BySerialNumber(t.Context(), serial)
	require.NoError(t, err)
	require.Empty(t, found)
	// To look is not to make.
	_, err = s.Get(t.Context(), enrollment)
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func TestBySerialNumber(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	claim := func(id, serial string) {
		require.NoError(t, s.Update(t.Context(), id, func(r *inventory.Record) error { r.Facts.SerialNumber = serial; return nil }))
	}
	claim("b", serial)
	claim("a", serial)
	claim("c", "another")
	claim("B", serial)
	claim("d", "")
	names := func(serial string) (names []string) {
		found, err := s.BySerialNumber(t.Context(), serial)
		require.NoError(t, err)
		for _, r := range found {
			names = append(names, r.EnrollmentID)
		}
		return names
	}
	require.Equal(t, []string{"B", "a", "b"}, names(serial))
	claim("a", "another")
	require.Equal(t, []string{"B", "b"}, names(serial))
	require.Equal(t, []string{"a", "c"}, names("another"))
}

func TestAnErrorOfChangeWritesNothing(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s.Escrow(), entry("1", bySerial))
	err := s.Escrow().Update(t.Context(), bySerial, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		entries[0].State = escrow.Disputed
		return append(entries, entry("2", bySerial)), errChange
	})
	require.Equal(t, errChange, err, "as it is")
	require.Equal(t, []string{"1"}, ids(t, s.Escrow(), bySerial))
	entries, err := s.Escrow().Entries(t.Context(), bySerial)
	require.NoError(t, err)
	require.Equal(t, escrow.Current, entries[0].State)

	for range 2 {
		err = s.Inventory().Update(t.Context(), enrollment, func(r *inventory.Record) error {
			require.Equal(t, inventory.Record{EnrollmentID: enrollment}, *r)
			r.Facts.SerialNumber, r.Exchanges = serial, map[string]inventory.Exchange{"x": {}}
			return errChange
		})
		require.Equal(t, errChange, err)
		_, err = s.Inventory().Get(t.Context(), enrollment)
		require.ErrorIs(t, err, inventory.ErrNotFound)
	}

	full := record()
	require.NoError(t, s.Inventory().Update(t.Context(), enrollment, func(r *inventory.Record) error { *r = record(); return nil }))
	require.ErrorIs(t, s.Inventory().Update(t.Context(), enrollment, func(r *inventory.Record) error { spoil(r); return errChange }), errChange)
	r, err := s.Inventory().Get(t.Context(), enrollment)
	require.NoError(t, err)
	require.Equal(t, full, r)
}

// A change that panics leaves the store usable.
func TestChangePanics(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	require.Panics(t, func() {
		_ = s.Escrow().Update(t.Context(), bySerial, func([]escrow.Entry) ([]escrow.Entry, error) { panic("x") })
	})
	require.Panics(t, func() {
		_ = s.Inventory().Update(t.Context(), enrollment, func(*inventory.Record) error { panic("x") })
	})
	require.Empty(t, ids(t, s.Escrow(), bySerial))
	_, err := s.Inventory().Get(t.Context(), enrollment)
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

// record is one with memory behind it; spoil writes into all of that.
func record() inventory.Record {
	return inventory.Record{
		EnrollmentID: enrollment, CodeID: "1",
		Facts:     inventory.Facts{SerialNumber: serial, Supervised: new(true)},
		Evidence:  []activationlock.Evidence{{State: activationlock.On, At: noon}},
		Exchanges: map[string]inventory.Exchange{"x": inventory.Exchange{}.Ask("1", noon, noon)},
	}
}

func spoil(r *inventory.Record) {
	*r.Facts.Supervised = false
	r.Evidence[0].State = activationlock.Off
	r.Exchanges["x"].UUIDs[0] = "2"
	r.Exchanges["y"] = inventory.Exchange{}
	r.CodeID = "2"
}

// Nothing that goes in or out shares memory with the store.
func TestAliasing(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	intact := func(when string) {
		t.Helper()
		r, err := s.Get(t.Context(), enrollment)
		require.NoError(t, err)
		require.Equal(t, record(), r, when)
	}
	in := record()
	var kept *inventory.Record
	require.NoError(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error { *r, kept = in, r; return nil }))
	intact("written")
	spoil(&in)
	intact("after a change to what went in")
	*kept = inventory.Record{}
	intact("after a change to what change was given")

	out, err := s.Get(t.Context(), enrollment)
	require.NoError(t, err)
	spoil(&out)
	intact("after a change to what came out")

	found, err := s.BySerialNumber(t.Context(), serial)
	require.NoError(t, err)
	require.Len(t, found, 1)
	spoil(&found[0])
	intact("after a change to what was found")

	require.NoError(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error { kept = r; return nil }))
	spoil(kept)
	intact("after a change to what was read and written back")

	codes := memstore.New().Escrow()
	given := []escrow.Entry{entry("1", bySerial), entry("2", bySerial)}
	require.NoError(t, codes.Update(t.Context(), bySerial, func([]escrow.Entry) ([]escrow.Entry, error) { return given, nil }))
	given[0] = entry("x", bySerial)
	read, err := codes.Entries(t.Context(), bySerial)
	require.NoError(t, err)
	read[1] = entry("y", bySerial)
	require.NoError(t, codes.Update(t.Context(), bySerial, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		entries[0] = entry("z", bySerial)
		return nil, nil
	}))
	require.Equal(t, []string{"1", "2"}, ids(t, codes, bySerial))
}

func TestContextIsOver(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s.Escrow(), entry("1", byEnrollment))
	require.NoError(t, s.Inventory().Update(t.Context(), enrollment, func(r *inventory.Record) error { *r = record(); return nil }))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		never := func(*inventory.Record) error { t.Error("change was called"); return nil }
		require.ErrorIs(t, s.Inventory().Update(ctx, enrollment, never), want)
		r, err := s.Inventory().Get(ctx, enrollment)
		require.ErrorIs(t, err, want)
		require.Zero(t, r)
		found, err := s.Inventory().BySerialNumber(ctx, serial)
		require.ErrorIs(t, err, want)
		require.Empty(t, found)

		require.ErrorIs(t, s.Escrow().Update(ctx, bySerial, func([]escrow.Entry) ([]escrow.Entry, error) { t.Error("change was called"); return nil, nil }), want)
		require.ErrorIs(t, s.Escrow().Join(ctx, enrollment, serial), want)
		entries, err := s.Escrow().Entries(ctx, byEnrollment)
		require.ErrorIs(t, err, want)
		require.Empty(t, entries)
	}
	require.Empty(t, ids(t, s.Escrow(), bySerial), "nothing was joined")
}

// Updates never overlap: each sees what all before it wrote.
func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	const writers, each = 32, 10
	s := memstore.New()
	var wait sync.WaitGroup
	var inside, most int // written inside updates only; the race detector watches
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				assert.NoError(t, s.Inventory().Update(t.Context(), enrollment, func(r *inventory.Record) error {
					inside++
					most = max(most, inside)
					r.ParentID += "x"
					r.AddEvidence(activationlock.Evidence{State: activationlock.On, At: noon})
					inside--
					return nil
				}))
				assert.NoError(t, s.Escrow().Update(t.Context(), bySerial, func(entries []escrow.Entry) ([]escrow.Entry, error) {
					e := entry(fmt.Sprint(w, " ", i), bySerial)
					e.CommandUUID = fmt.Sprint(len(entries))
					return []escrow.Entry{e}, nil
				}))
				assert.NoError(t, s.Escrow().Join(t.Context(), fmt.Sprint(w), serial))
				_, err := s.Inventory().Get(t.Context(), enrollment)
				assert.NoError(t, err)
				_, err = s.Inventory().BySerialNumber(t.Context(), serial)
				assert.NoError(t, err)
				_, err = s.Escrow().Entries(t.Context(), bySerial)
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
	r, err := s.Inventory().Get(t.Context(), enrollment)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", writers*each), r.ParentID)
	require.Equal(t, 1, most)
	entries, err := s.Escrow().Entries(t.Context(), bySerial)
	require.NoError(t, err)
	require.Len(t, entries, writers*each)
	for i, e := range entries {
		require.Equal(t, fmt.Sprint(i), e.CommandUUID, "the order is that of filing, and each saw all before it")
	}
}

// The interfaces of one store look at the same memory; two stores do not.
func TestOneStore(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s.Escrow(), entry("1", bySerial))
	require.Equal(t, []string{"1"}, ids(t, s.Escrow(), bySerial))
	require.Empty(t, ids(t, memstore.New().Escrow(), bySerial))
}
