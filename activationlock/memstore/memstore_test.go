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
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
)

const (
	serial     = "XXFAKE0SER1"
	enrollment = "00008120-0011223344556677"
)

var (
	noon      = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	errChange = errors.New("no change")
)

func TestEscrow(t *testing.T) {
	t.Parallel()
	storetest.Escrow(t, func(t *testing.T, _ func() time.Time) func(*testing.T) escrow.Store {
		t.Parallel()
		s := memstore.New()
		return func(*testing.T) escrow.Store { return s.Escrow() }
	})
}

func TestAudit(t *testing.T) {
	t.Parallel()
	storetest.Audit(t, func(t *testing.T, _ func() time.Time) func(*testing.T) audit.Store {
		t.Parallel()
		s := memstore.New()
		return func(*testing.T) audit.Store { return s.Audit() }
	})
}

func TestActions(t *testing.T) {
	t.Parallel()
	storetest.Actions(t, func(t *testing.T, _ func() time.Time) func(*testing.T) bypass.Store {
		t.Parallel()
		s := memstore.New()
		return func(*testing.T) bypass.Store { return s.Actions() }
	})
}

// strange are identifiers that a store might take for the same.
var strange = []string{
	"abc", "ABC", "Abc", "abc ", " abc", "abc\x00", "abc\n", "a", "ab", "abcd", "%", "_", "a%", "*", "'", "",
	"\u00e9", "e\u0301", "\u00c9", "\u00df", "ss", "\u212a", "k", "K", "\uff21", "A", "\xff", "\xfe", "\ufffd", "\U0001F511", "\U0001F513",
	"00008120-0011223344556677", "00008120-0011223344556677 ",
}

func TestIdentifiersCompareByteByByte(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	for i, id := range strange {
		require.NoError(t, s.Update(t.Context(), id, func(r *inventory.Record) error {
			require.Equal(t, inventory.Record{EnrollmentID: id}, *r, "%q is new", id)
			r.Facts.SerialNumber, r.ParentID = id, fmt.Sprint(i)
			return nil
		}))
	}
	for i, id := range strange {
		r, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), r.ParentID)
		found, err := s.BySerialNumber(t.Context(), id)
		require.NoError(t, err)
		if id == "" {
			require.Empty(t, found, "nobody claims the empty serial number")
			continue
		}
		require.Len(t, found, 1, "%q", id)
		require.Equal(t, id, found[0].EnrollmentID)
	}
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
	s := memstore.New().Inventory()
	for range 2 {
		err := s.Update(t.Context(), enrollment, func(r *inventory.Record) error {
			require.Equal(t, inventory.Record{EnrollmentID: enrollment}, *r)
			r.Facts.SerialNumber, r.Exchanges = serial, map[string]inventory.Exchange{"x": {}}
			return errChange
		})
		require.Equal(t, errChange, err)
		_, err = s.Get(t.Context(), enrollment)
		require.ErrorIs(t, err, inventory.ErrNotFound)
	}

	full := record()
	require.NoError(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error { *r = record(); return nil }))
	require.ErrorIs(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error { spoil(r); return errChange }), errChange)
	r, err := s.Get(t.Context(), enrollment)
	require.NoError(t, err)
	require.Equal(t, full, r)
}

// A change that panics leaves the store usable.
func TestChangePanics(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	require.Panics(t, func() {
		_ = s.Update(t.Context(), enrollment, func(*inventory.Record) error { panic("x") })
	})
	_, err := s.Get(t.Context(), enrollment)
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
}

func TestContextIsOver(t *testing.T) {
	t.Parallel()
	s := memstore.New().Inventory()
	require.NoError(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error { *r = record(); return nil }))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		never := func(*inventory.Record) error { t.Error("change was called"); return nil }
		require.ErrorIs(t, s.Update(ctx, enrollment, never), want)
		r, err := s.Get(ctx, enrollment)
		require.ErrorIs(t, err, want)
		require.Zero(t, r)
		found, err := s.BySerialNumber(ctx, serial)
		require.ErrorIs(t, err, want)
		require.Empty(t, found)
	}
}

// Updates never overlap: each sees what all before it wrote.
func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	const writers, each = 32, 10
	s := memstore.New().Inventory()
	var wait sync.WaitGroup
	var inside, most int // written inside updates only; the race detector watches
	for range writers {
		wait.Go(func() {
			for range each {
				assert.NoError(t, s.Update(t.Context(), enrollment, func(r *inventory.Record) error {
					inside++
					most = max(most, inside)
					r.ParentID += "x"
					r.AddEvidence(activationlock.Evidence{State: activationlock.On, At: noon})
					inside--
					return nil
				}))
				_, err := s.Get(t.Context(), enrollment)
				assert.NoError(t, err)
				_, err = s.BySerialNumber(t.Context(), serial)
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
	r, err := s.Get(t.Context(), enrollment)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", writers*each), r.ParentID)
	require.Equal(t, 1, most)
}

// The interfaces of one store look at the same memory; two stores do not.
func TestOneStore(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	e := escrow.Entry{Record: escrow.Record{ID: "1", Subject: escrow.Subject{SerialNumber: serial}}}
	require.NoError(t, s.Escrow().Update(t.Context(), e.Subject, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{e}, nil }))
	require.NoError(t, s.Escrow().Join(t.Context(), enrollment, serial))
	require.NoError(t, s.Audit().Append(t.Context(), func(audit.Entry) ([]audit.Entry, error) { return []audit.Entry{{Number: 1}}, nil }))
	for store, want := range map[*memstore.Store]int{s: 1, memstore.New(): 0} {
		entries, err := store.Escrow().Entries(t.Context(), e.Subject)
		require.NoError(t, err)
		require.Len(t, entries, want)
		serials, err := store.Escrow().Joined(t.Context(), enrollment)
		require.NoError(t, err)
		require.Len(t, serials, want)
		acts, err := store.Audit().Scan(t.Context(), -1, 10)
		require.NoError(t, err)
		require.Len(t, acts, want)
	}
}

// An update costs what its subject has, however many others there are.
func BenchmarkUpdate(b *testing.B) {
	for _, devices := range []int{100, 10_000} {
		b.Run(fmt.Sprint(devices, " devices"), func(b *testing.B) {
			s := memstore.New().Escrow()
			update := func(i int) {
				subject := escrow.Subject{SerialNumber: fmt.Sprint(i % devices)}
				e := escrow.Entry{Record: escrow.Record{ID: subject.SerialNumber, Subject: subject}}
				require.NoError(b, s.Update(b.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) { return []escrow.Entry{e}, nil }))
			}
			for i := range devices {
				update(i)
			}
			for i := 0; b.Loop(); i++ {
				update(i)
			}
		})
	}
}
