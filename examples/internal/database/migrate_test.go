package database_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
)

func TestMigrateAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
		require.NoError(t, store.Actions().Create(t.Context(), action("1", serial)))
		require.NoError(t, store.Migrate(t.Context()))
		again, _ := storage.Store(t)
		same(t, again.Escrow(), subject, "1")
		sameActions(t, again.Actions(), "1")
		var versions, first int
		require.NoError(t, db.QueryRow("SELECT COUNT(*), MIN(version) FROM activationlock_migrations").Scan(&versions, &first))
		require.Equal(t, []int{4, 1}, []int{versions, first})
		givenBack(t, db)
	})
}

func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		var servers sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			servers.Go(func() {
				<-start
				db := storage.Open(t) // a new SQLite file too
				for range 4 {
					servers.Go(func() {
						store, err := sqlstore.New(db, storage.Dialect)
						if err == nil {
							err = store.Migrate(t.Context())
						}
						if err != nil {
							t.Errorf("migrate: %v", err)
						}
					})
				}
			})
		}
		close(start)
		servers.Wait()
		store, _ := storage.Store(t)
		require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
		same(t, store.Escrow(), subject, "1")
	})
}

func TestMigrateNewer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		_, err := db.Exec("INSERT INTO activationlock_migrations (version, name) VALUES (9999, 'of the future')")
		require.NoError(t, err)
		require.ErrorIs(t, store.Migrate(t.Context()), sqlstore.ErrNewer)
		_, err = db.Exec("DELETE FROM activationlock_migrations WHERE version = 9999")
		require.NoError(t, err)
		require.NoError(t, store.Migrate(t.Context()), "nothing is locked, nothing was done")
	})
}

// A server dies at each statement of a migration, before it is executed or after.
func TestMigrateInterrupted(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			for _, after := range []bool{false, true} {
				for at, finished := 1, false; !finished; at++ {
					t.Run(fmt.Sprint(after, " ", at), func(t *testing.T) { // with its own connections
						storage := database.New(t, d)
						tap, on := tapped(t, storage)
						db := tap.Open(t)
						n := 0
						on(func(query string, execute func() error) error {
							if n++; n != at {
								return execute()
							}
							if after {
								require.NoError(t, execute())
							}
							return errDriver
						})
						store, err := sqlstore.New(db, d)
						require.NoError(t, err)
						err = store.Migrate(t.Context())
						on(nil)
						if finished = n < at; finished {
							require.NoError(t, err)
							require.Greater(t, at, 3)
						} else {
							require.Error(t, err, "statement %d", at)
						}
						givenBack(t, db)
						second, _ := storage.Store(t) // another server
						require.NoError(t, second.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
						require.NoError(t, second.Escrow().Join(t.Context(), enrollment, serial))
						require.NoError(t, second.Actions().Create(t.Context(), action("1", serial)))
						require.ErrorIs(t, second.Actions().Create(t.Context(), action("2", serial)), bypass.ErrOpen)
						require.NoError(t, second.Inventory().Update(t.Context(), enrollment, due(100)))
						same(t, second.Escrow(), subject, "1")
					})
				}
			}
		})
	}
}

// MySQL commits each statement by itself, so any beginning of the file may be
// there already.
func TestMigrateWhatIsHalfThere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../activationlock/sqlstore/migrations/mysql/*.sql")
	require.NoError(t, err)
	var statements []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		statements = append(statements, strings.SplitAfter(strings.TrimSpace(string(content)), ";\n")...)
	}
	require.Greater(t, len(statements), 3)
	for n := range len(statements) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			storage := database.New(t, sqlstore.MySQL)
			db := storage.Open(t)
			for _, statement := range statements[:n] {
				_, err := db.Exec(statement)
				require.NoError(t, err)
			}
			store, _ := storage.Store(t)
			require.NoError(t, store.Escrow().Join(t.Context(), enrollment, serial))
			require.NoError(t, store.Actions().Create(t.Context(), action("1", serial)))
			require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
			same(t, store.Escrow(), subject, "1")
		})
	}
}
