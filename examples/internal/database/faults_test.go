package database_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

const (
	serial     = "XXFAKE0SER1"
	enrollment = "00008120-0011223344556677"
)

var subject = escrow.Subject{SerialNumber: serial}

func entry(id string, of escrow.Subject) escrow.Entry {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return escrow.Entry{
		Record: escrow.Record{
			ID: id, Subject: of, Kind: bypasscode.Device, State: escrow.Current, Cause: escrow.CauseEnrollment,
			ReceivedAt: noon, FirstSeen: noon, LastSeen: noon,
		},
		Sealed: []byte("sealed"), Digest: "digest of " + id,
	}
}

func returning(entries ...escrow.Entry) func([]escrow.Entry) ([]escrow.Entry, error) {
	return func([]escrow.Entry) ([]escrow.Entry, error) { return entries, nil }
}

// same checks the IDs of a subject's entries.
func same(t *testing.T, s escrow.Store, of escrow.Subject, want ...string) {
	t.Helper()
	entries, err := s.Entries(t.Context(), of)
	require.NoError(t, err)
	got := []string{}
	for _, e := range entries {
		got = append(got, e.ID)
	}
	require.ElementsMatch(t, want, got)
}

// errDriver is what no database returns, with a value in it.
var errDriver = errors.New("driver fault: Key (id)=(" + serial + ") already exists")

// Each statement of an update and of a join fails, before it is executed or after.
// The update gives an error then, is done or is not, and leaves no connection
// behind that is in use or in a transaction.
func TestFaultAtEachStatement(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		plain, _ := storage.Store(t)
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		require.NoError(t, store.Escrow().Join(t.Context(), enrollment, serial))
		filed := []string{}
		for _, after := range []bool{false, true} {
			for _, join := range []bool{false, true} {
				for at := 1; ; at++ {
					name := fmt.Sprintf("after %v, join %v, statement %d", after, join, at)
					n, failed := 0, ""
					on(func(query string, execute func() error) error {
						if n++; n != at {
							return execute()
						}
						failed = query
						if after {
							require.NoError(t, execute())
						}
						return errDriver
					})
					a, b := fmt.Sprintf("%v-%d-a", after, at), fmt.Sprintf("%v-%d-b", after, at)
					var err error
					if join {
						err = store.Escrow().Join(t.Context(), enrollment, serial+name)
					} else {
						err = store.Escrow().Update(t.Context(), subject, returning(entry(a, subject), entry(b, subject)))
					}
					on(nil)
					givenBack(t, db)
					if failed == "" {
						require.NoError(t, err, name)
						require.Greater(t, at, 2)
						if !join {
							filed = append(filed, a, b)
						}
						break
					}
					require.Error(t, err, "%s: %s", name, failed)
					if storage.Dialect != sqlstore.SQLite {
						require.NotContains(t, err.Error(), serial, failed)
					}
					if after && !join && strings.Contains(failed, "COMMIT") {
						filed = append(filed, a, b)
					}
					same(t, store.Escrow(), subject, filed...)
					// Nothing is locked.
					require.NoError(t, plain.Escrow().Update(t.Context(), subject, returning()), name)
					require.NoError(t, plain.Escrow().Update(t.Context(), escrow.Subject{EnrollmentID: enrollment}, returning()), name)
				}
			}
		}
		same(t, plain.Escrow(), subject, filed...)
	})
}

// turnLost is what a database returns that gives up a transaction.
type turnLost struct{ dialect sqlstore.Dialect }

func (e turnLost) Error() string {
	return map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "database is locked (5) (SQLITE_BUSY)",
		sqlstore.PostgreSQL: "ERROR: deadlock detected",
		sqlstore.MySQL:      "Error 1213 (40001): Deadlock found when trying to get lock",
	}[e.dialect]
}

func (e turnLost) SQLState() string {
	if e.dialect == sqlstore.PostgreSQL {
		return "40P01"
	}
	return ""
}

func TestTurnLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		lost := turnLost{storage.Dialect}
		update := func(query string, times int) (tries, calls int, err error) {
			on(func(q string, execute func() error) error {
				if strings.HasPrefix(q, query) {
					if tries++; tries <= times {
						return lost
					}
				}
				return execute()
			})
			defer on(nil)
			e := entry(fmt.Sprint(query, times), subject)
			err = store.Escrow().Update(t.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) {
				calls++
				return []escrow.Entry{e}, nil
			})
			return tries, calls, err
		}
		tries, calls, err := update("INSERT INTO activationlock_codes", 4)
		require.NoError(t, err)
		require.Equal(t, []int{5, 5}, []int{tries, calls})

		tries, calls, err = update("INSERT INTO activationlock_codes", 5)
		require.Error(t, err)
		require.Equal(t, []int{5, 5}, []int{tries, calls})

		if storage.Dialect != sqlstore.SQLite {
			first := map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "SELECT seq", sqlstore.MySQL: "CALL"}[storage.Dialect]
			tries, calls, err = update(first, 5)
			require.Error(t, err)
			require.Equal(t, []int{5, 0}, []int{tries, calls})
		}

		tries, calls, err = update("COMMIT", 1)
		require.Error(t, err, "nobody knows whether it was committed")
		require.Equal(t, []int{1, 1}, []int{tries, calls})
		same(t, store.Escrow(), subject, "INSERT INTO activationlock_codes4")
		givenBack(t, db)

		// An error of change is its own, whatever it looks like.
		calls = 0
		err = store.Escrow().Update(t.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) {
			calls++
			return nil, lost
		})
		require.ErrorIs(t, err, lost)
		require.Equal(t, 1, calls)
	})
}

// The server ends the connection in the middle of an update.
func TestConnectionKilled(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects[1:] {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storage := database.New(t, d)
			admin := storage.Open(t)
			victim := rand.Text()
			if d == sqlstore.PostgreSQL {
				storage = storage.With("application_name", victim)
			}
			store, db := storage.Store(t)
			err := store.Escrow().Update(t.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) {
				kill(t, d, admin, victim)
				return []escrow.Entry{entry("lost", subject)}, nil
			})
			require.Error(t, err)
			require.NotContains(t, err.Error(), serial)
			givenBack(t, db)
			same(t, store.Escrow(), subject)
			kill(t, d, admin, victim) // idle ones
			require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("kept", subject))))
			same(t, store.Escrow(), subject, "kept")
		})
	}
}

// kill ends all connections to the storage but its own; of PostgreSQL those of an
// application.
func kill(t *testing.T, d sqlstore.Dialect, admin *sql.DB, victim string) {
	t.Helper()
	conn, err := admin.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	if d == sqlstore.PostgreSQL {
		_, err := conn.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1", victim)
		require.NoError(t, err)
		return
	}
	rows, err := conn.QueryContext(t.Context(), `SELECT id FROM information_schema.processlist
		WHERE db = DATABASE() AND id <> CONNECTION_ID()`)
	require.NoError(t, err)
	var ids []int
	for rows.Next() {
		var id int
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	for _, id := range ids {
		_, _ = conn.ExecContext(t.Context(), fmt.Sprint("KILL ", id)) // it may be gone already
	}
}

// Contexts end while updates wait, change and write.
func TestContextsEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		tap, on := tapped(t, storage)
		other, otherDB := tap.Store(t)
		for _, by := range []escrow.Store{store.Escrow(), other.Escrow()} { // one that waits in the process, one in the database
			ctx, cancel := context.WithCancel(t.Context())
			var waiter sync.WaitGroup
			require.NoError(t, store.Escrow().Update(t.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) {
				waits := make(chan struct{})
				on(func(query string, execute func() error) error {
					if strings.Contains(query, "IMMEDIATE") || strings.Contains(query, "lock") {
						select {
						case waits <- struct{}{}:
						default:
						}
					}
					return execute()
				})
				waiter.Go(func() {
					err := by.Update(ctx, subject, returning(entry("canceled", subject)))
					require.ErrorIs(t, err, context.Canceled)
				})
				if by == other.Escrow() {
					<-waits
				}
				cancel()
				waiter.Wait()
				return nil, nil
			}))
			on(nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, store.Escrow().Update(ctx, subject, func([]escrow.Entry) ([]escrow.Entry, error) {
			cancel()
			return []escrow.Entry{entry("canceled", subject)}, nil
		}), context.Canceled)
		givenBack(t, db)
		givenBack(t, otherDB)
		same(t, store.Escrow(), subject)
		require.NoError(t, other.Escrow().Update(t.Context(), subject, returning(entry("kept", subject))))
		same(t, store.Escrow(), subject, "kept")
	})
}

// givenBack checks that no connection stays in use. After a context that ended, the
// driver may still be at it for a moment.
func givenBack(t *testing.T, db *sql.DB) {
	t.Helper()
	require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, time.Minute, time.Millisecond, "connections stay in use")
}
