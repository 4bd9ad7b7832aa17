package database_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// While one subject is updated, all others can be: those beside it in an index,
// known and new, and joined ones.
func TestOthersDoNotWait(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		if storage.Dialect == sqlstore.SQLite {
			t.Skip("SQLite has one writer")
		}
		one, _ := storage.Store(t)
		two, _ := storage.Store(t)
		id := 0
		update := func(s *sqlstore.Store, of escrow.Subject, meanwhile func()) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // else it is taken for hanging
			defer cancel()
			id++
			e := entry(fmt.Sprint(id), of)
			require.NoError(t, s.Escrow().Update(ctx, of, func([]escrow.Entry) ([]escrow.Entry, error) {
				meanwhile()
				return []escrow.Entry{e}, nil
			}))
		}
		nothing := func() {}
		names := []string{"a", "f", "m", "t", "z"}
		for _, name := range names {
			update(one, escrow.Subject{SerialNumber: name}, nothing)
			require.NoError(t, one.Escrow().Join(t.Context(), "enrollment of "+name, name))
		}
		update(one, escrow.Subject{SerialNumber: "m"}, func() {
			for i, name := range names {
				if name != "m" {
					update(two, escrow.Subject{SerialNumber: name}, nothing)
					update(two, escrow.Subject{EnrollmentID: "enrollment of " + name}, nothing)
				}
				fresh := fmt.Sprint(name, i)
				update(two, escrow.Subject{SerialNumber: fresh}, nothing)
				update(two, escrow.Subject{EnrollmentID: "enrollment of " + fresh}, nothing)
				require.NoError(t, two.Escrow().Join(t.Context(), "enrollment of "+fresh, fresh))
			}
		})
	})
}

// Enrollments that look the same are joined to one serial number.
func TestJoinsThatLookTheSame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, _ := storage.Store(t)
		s := store.Escrow()
		var want []string
		for i, id := range []string{"abc", "ABC", "abc ", "\u00e9", "e\u0301", "e"} {
			of := escrow.Subject{EnrollmentID: id}
			want = append(want, fmt.Sprint(i))
			require.NoError(t, s.Update(t.Context(), of, returning(entry(want[i], of))))
			require.NoError(t, s.Join(t.Context(), id, serial))
		}
		same(t, s, subject, want...)
	})
}

// The last of two entries with one ID is written, one without an ID is not.
func TestEntryTwiceInAnUpdate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, _ := storage.Store(t)
		first, last := entry("1", subject), entry("1", subject)
		last.State = escrow.Void
		require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(first, last)))
		got, err := store.Escrow().Entries(t.Context(), subject)
		require.NoError(t, err)
		require.Equal(t, []escrow.Entry{last}, got)

		require.Error(t, store.Escrow().Update(t.Context(), subject, returning(entry("2", subject), entry("", subject))))
		same(t, store.Escrow(), subject, "1")
	})
}

// InnoDB shows what is committed before the disk has it. An update that changes
// nothing writes all the same, so that its commit waits for the disk.
func TestUpdateOfNothingWrites(t *testing.T) {
	t.Parallel()
	store, db := database.New(t, sqlstore.MySQL).Store(t)
	written := func() (n int) {
		t.Helper()
		require.NoError(t, db.QueryRow("SELECT COALESCE(SUM(updates + 1), 0) FROM activationlock_locks").Scan(&n))
		return n
	}
	before := written()
	for _, of := range []escrow.Subject{subject, {EnrollmentID: enrollment}} {
		for range 3 {
			require.NoError(t, store.Escrow().Update(t.Context(), of, returning()))
			require.Greater(t, written(), before)
			before = written()
		}
	}
}
