package database_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// unsafe opens a database with a store that must refuse to migrate.
func unsafe(t *testing.T, storage database.Storage, setting, mend string) {
	t.Helper()
	db, err := sql.Open(storage.Driver, storage.Source)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	store, err := sqlstore.New(db, storage.Dialect)
	require.NoError(t, err)
	err = store.Migrate(t.Context())
	var unsafe *sqlstore.UnsafeError
	require.ErrorAs(t, err, &unsafe)
	require.Equal(t, setting, unsafe.Setting)
	require.Contains(t, unsafe.Mend, mend)
	require.Contains(t, err.Error(), mend)
	givenBack(t, db)
}

func pragmas(list ...string) string { return "?_pragma=" + strings.Join(list, "&_pragma=") }

var safePragmas = []string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(FULL)", "fullfsync(ON)"}

func TestUnsafeSQLite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pragmas       []string
		setting, mend string
	}{
		{[]string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(NORMAL)"}, "synchronous", "PRAGMA synchronous = FULL"},
		{[]string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(OFF)"}, "synchronous", "PRAGMA synchronous = FULL"},
		{[]string{"busy_timeout(1000)", "journal_mode(MEMORY)", "synchronous(FULL)"}, "journal_mode", "PRAGMA journal_mode = WAL"},
		{[]string{"busy_timeout(1000)", "journal_mode(OFF)", "synchronous(EXTRA)"}, "journal_mode", "PRAGMA journal_mode = WAL"},
		// The end of a commit, that the journal is gone, may be lost.
		{[]string{"busy_timeout(1000)", "journal_mode(DELETE)", "synchronous(FULL)"}, "journal_mode", "PRAGMA journal_mode = WAL"},
		{[]string{"busy_timeout(0)", "journal_mode(WAL)", "synchronous(FULL)"}, "busy_timeout", "PRAGMA busy_timeout = 5000"},
		{[]string{"encoding('UTF-16le')", "busy_timeout(1000)", "journal_mode(WAL)", "synchronous(FULL)"}, "encoding", "PRAGMA encoding = 'UTF-8'"},
	} {
		path := filepath.Join(t.TempDir(), "escrow.db")
		unsafe(t, database.Storage{Dialect: sqlstore.SQLite, Driver: "sqlite", Source: path + pragmas(c.pragmas...)}, c.setting, c.mend)
	}
	unsafe(t, database.Storage{Dialect: sqlstore.SQLite, Driver: "sqlite", Source: ":memory:" + pragmas(safePragmas...)}, "journal_mode", "PRAGMA journal_mode = WAL")
}

// The settings of SQLite are the connection's, and the pool makes others later.
func TestUnsafeSQLiteLater(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "escrow.db")+pragmas(safePragmas...))
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
	_, err = db.Exec("PRAGMA synchronous = NORMAL")
	require.NoError(t, err)
	var unsafe *sqlstore.UnsafeError
	require.ErrorAs(t, store.Escrow().Update(t.Context(), subject, returning(entry("2", subject))), &unsafe)
	require.ErrorAs(t, store.Escrow().Join(t.Context(), enrollment, serial), &unsafe)
	same(t, store.Escrow(), subject, "1")
	_, err = db.Exec("PRAGMA synchronous = EXTRA")
	require.NoError(t, err)
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("2", subject))))
}

func TestUnsafePostgreSQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.PostgreSQL)
	off := storage.With("synchronous_commit", "off")
	unsafe(t, off, "synchronous_commit", "SET synchronous_commit = on")

	// Another one of the pool's connections.
	_, db := storage.Store(t)
	for _, statement := range []string{
		"CREATE TABLE seen (setting TEXT)",
		`CREATE FUNCTION see() RETURNS TRIGGER LANGUAGE plpgsql AS $$
			BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$`,
		"CREATE TRIGGER see BEFORE INSERT OR UPDATE ON activationlock_codes FOR EACH ROW EXECUTE FUNCTION see()",
		"CREATE TRIGGER see BEFORE INSERT ON activationlock_joins FOR EACH ROW EXECUTE FUNCTION see()",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	for _, setting := range []string{"off", "local"} { // local waits for this server's disk
		open := storage.With("synchronous_commit", setting).Open(t)
		store, err := sqlstore.New(open, sqlstore.PostgreSQL)
		require.NoError(t, err)
		of := escrow.Subject{EnrollmentID: setting}
		require.NoError(t, store.Escrow().Update(t.Context(), of, returning(entry(setting, of))))
		require.NoError(t, store.Escrow().Update(t.Context(), of, returning(entry(setting, of))))
		require.NoError(t, store.Escrow().Join(t.Context(), setting, serial))
		want := map[string]string{"off": "on", "local": "local"}[setting]
		var different, all int
		require.NoError(t, db.QueryRow("SELECT COUNT(*) FILTER (WHERE setting <> $1), COUNT(*) FROM seen", want).Scan(&different, &all))
		require.Equal(t, []int{0, 3}, []int{different, all})
		_, err = db.Exec("DELETE FROM seen")
		require.NoError(t, err)
	}
}

// Whatever the isolation of the session is, updates see what was committed
// before them.
func TestIsolationOfSession(t *testing.T) {
	t.Parallel()
	for d, levels := range map[sqlstore.Dialect][]string{
		sqlstore.PostgreSQL: {"serializable", "repeatable read"},
		sqlstore.MySQL:      {"'SERIALIZABLE'", "'REPEATABLE-READ'"},
	} {
		for _, level := range levels {
			t.Run(fmt.Sprint(d, level), func(t *testing.T) {
				t.Parallel()
				storage := database.New(t, d)
				if d == sqlstore.PostgreSQL {
					storage = storage.With("default_transaction_isolation", level)
				} else {
					storage = storage.With("tx_isolation", level)
				}
				writers(t, storage, 8)
			})
		}
	}
}

func TestUnsafeMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	unsafe(t, storage.With("sql_mode", "''"), "sql_mode", "SET GLOBAL sql_mode")
	unsafe(t, storage.With("sql_mode", "'NO_ENGINE_SUBSTITUTION'"), "sql_mode", "STRICT_TRANS_TABLES")
	unsafe(t, storage.With("tx_isolation", "'READ-UNCOMMITTED'"), "tx_isolation", "READ COMMITTED")

	store, db := storage.With("sql_mode", "'STRICT_ALL_TABLES'").Store(t)
	_, err := db.Exec("ALTER TABLE activationlock_joins ENGINE = Aria")
	require.NoError(t, err)
	err = store.Migrate(t.Context())
	var unsafe *sqlstore.UnsafeError
	require.ErrorAs(t, err, &unsafe)
	require.Equal(t, "ALTER TABLE activationlock_joins ENGINE = InnoDB", unsafe.Mend)
	_, err = db.Exec(unsafe.Mend)
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
}

// What the connection's characters and modes are makes no difference to bytes.
func TestConnectionsOfMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	plain, _ := storage.Store(t)
	const key = "\U0001F511 \u00e9\\'\"%_ "
	of := escrow.Subject{SerialNumber: key}
	e := entry(key, of)
	e.StateReason, e.Sealed = key, []byte("\x00\xff\\'\"\U0001F511")
	want := []escrow.Entry{e}
	for i, s := range []database.Storage{
		storage.With("charset", "latin1"), storage.With("charset", "utf8mb3"), storage.With("charset", "ascii"),
		storage.With("interpolateParams", "true"), storage.With("parseTime", "true"), storage.With("clientFoundRows", "true"),
		storage.With("sql_mode", "'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT'"), storage.With("multiStatements", "true"),
		storage.With("sql_mode", "''"),
	} {
		db := s.Open(t)
		store, err := sqlstore.New(db, sqlstore.MySQL)
		require.NoError(t, err)
		e.ID = fmt.Sprint(key, i)
		want = append(want, e)
		if i == 0 {
			require.NoError(t, plain.Escrow().Update(t.Context(), of, returning(want[0])))
		}
		require.NoError(t, store.Escrow().Update(t.Context(), of, returning(e)))
		for _, reader := range []*sqlstore.Store{plain, store} {
			got, err := reader.Escrow().Entries(t.Context(), of)
			require.NoError(t, err)
			require.Equal(t, want, got, s.Source)
		}
	}
}
