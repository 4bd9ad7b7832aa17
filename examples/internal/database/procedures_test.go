package database_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// Backups of MySQL leave procedures out. The next start makes them.
func TestProceduresMissing(t *testing.T) {
	t.Parallel()
	store, db := database.New(t, sqlstore.MySQL).Store(t)
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
	for _, name := range []string{"activationlock_lock", "activationlock_lock_serial_number", "activationlock_lock_enrollment_id", "activationlock_lock_action", "activationlock_join"} {
		_, err := db.Exec("DROP PROCEDURE " + name)
		require.NoError(t, err)
	}
	require.ErrorContains(t, store.Escrow().Update(t.Context(), subject, returning(entry("2", subject))), "does not exist")
	givenBack(t, db)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("2", subject))))
	require.NoError(t, store.Escrow().Join(t.Context(), enrollment, serial))
	same(t, store.Escrow(), subject, "1", "2")
	require.NoError(t, store.Actions().Create(t.Context(), action("1", serial)))
	require.NoError(t, store.Actions().Update(t.Context(), "1", func(*bypass.Action) error { return nil }))
}

// The rights that package sqlstore names are enough.
func TestRightsOnMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	db := storage.Open(t)
	name := "user_" + strings.ToLower(rand.Text())[:12]
	var schema string
	require.NoError(t, db.QueryRow("SELECT DATABASE()").Scan(&schema))
	user := "'" + name + "'@'%'"
	_, err := db.Exec("CREATE USER " + user)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec("DROP USER " + user)
		require.NoError(t, err)
	})
	_, err = db.Exec("GRANT CREATE, SELECT, INSERT, UPDATE, EXECUTE, CREATE ROUTINE ON " + schema + ".* TO " + user)
	require.NoError(t, err)
	storage.Source = name + strings.TrimPrefix(storage.Source, "root")
	use := func() {
		store, _ := storage.Store(t)
		require.NoError(t, store.Escrow().Join(t.Context(), enrollment, serial))
		require.NoError(t, store.Escrow().Update(t.Context(), subject, func(e []escrow.Entry) ([]escrow.Entry, error) {
			return append(e, entry(rand.Text(), subject)), nil
		}))
		a := action(rand.Text(), serial)
		require.NoError(t, store.Actions().Create(t.Context(), a))
		require.NoError(t, store.Actions().Update(t.Context(), a.ID, func(a *bypass.Action) error { a.State = bypass.Done; return nil }))
		require.NoError(t, store.Audit().Append(t.Context(), func(last audit.Entry) ([]audit.Entry, error) {
			return []audit.Entry{{Number: last.Number + 2}}, nil // with a gap, so that it is read again
		}))
		_, err := store.Audit().Scan(t.Context(), -1, 10)
		require.NoError(t, err)
	}
	use()
	_, err = db.Exec("REVOKE CREATE ROUTINE ON " + schema + ".* FROM " + user)
	require.NoError(t, err)
	use()
}

// Those that are there are left alone, since to make them would wait for all
// that use them.
func TestProceduresThere(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	storage.Store(t)
	tap, on := tapped(t, storage)
	on(func(query string, execute func() error) error {
		if strings.Contains(query, "PROCEDURE IF") {
			t.Error("made again")
		}
		return execute()
	})
	tap.Store(t)
}

// What uses a connection after an update has the isolation of its session, and is
// in no transaction.
func TestConnectionAfterUpdate(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	store, db := storage.Store(t)
	other, _ := storage.Store(t)
	db.SetMaxOpenConns(1)
	count := "SELECT COUNT(*) FROM activationlock_codes"
	for i, change := range []func([]escrow.Entry) ([]escrow.Entry, error){
		returning(), returning(entry("1", subject)),
		func([]escrow.Entry) ([]escrow.Entry, error) { return nil, errDriver },
	} {
		if err := store.Escrow().Update(t.Context(), subject, change); err != nil {
			require.ErrorIs(t, err, errDriver)
		}
		var in, before, after int
		require.NoError(t, db.QueryRow("SELECT @@in_transaction").Scan(&in))
		require.Zero(t, in)
		tx, err := db.Begin()
		require.NoError(t, err)
		require.NoError(t, tx.QueryRow(count).Scan(&before))
		require.NoError(t, other.Escrow().Update(t.Context(), subject, returning(entry(fmt.Sprint("other ", i), subject))))
		require.NoError(t, tx.QueryRow(count).Scan(&after))
		require.Equal(t, before, after, "the level is REPEATABLE READ")
		require.NoError(t, tx.Rollback())
	}
}

// The database gives up an update that waits inside a procedure.
func TestDeadlockInProcedure(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	plain, db := storage.Store(t)
	require.NoError(t, plain.Escrow().Join(t.Context(), enrollment, serial))
	tap, on := tapped(t, storage)
	store, _ := tap.Store(t)
	var mu sync.Mutex
	calls, deadlocks := 0, 0
	on(func(query string, execute func() error) error {
		err := execute()
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(query, "CALL") {
			calls++
			if err != nil && strings.Contains(err.Error(), "1213") {
				deadlocks++
			}
		}
		return err
	})

	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for i := range 100 { // the one that wrote less is given up
		_, err := tx.Exec("INSERT INTO activationlock_locks (kind, id) VALUES ('other', ?)", i)
		require.NoError(t, err)
	}
	lock := "SELECT id FROM activationlock_locks WHERE kind = ? AND id = ? FOR UPDATE"
	var id string
	require.NoError(t, tx.QueryRow(lock, "enrollment_id", enrollment).Scan(&id))
	var update sync.WaitGroup
	update.Go(func() {
		if err := store.Escrow().Update(context.Background(), subject, returning(entry("1", subject))); err != nil {
			t.Errorf("update: %v", err)
		}
	})
	for free := true; free; { // until the update has the first of its locks
		free = db.QueryRow(lock+" NOWAIT", "serial_number", serial).Scan(&id) == nil
	}
	require.NoError(t, tx.QueryRow(lock, "serial_number", serial).Scan(&id))
	require.NoError(t, tx.Rollback())
	update.Wait()
	on(nil)
	require.Positive(t, deadlocks)
	require.Greater(t, calls, deadlocks)
	same(t, store.Escrow(), subject, "1")
}
