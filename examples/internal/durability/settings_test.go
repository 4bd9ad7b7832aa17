package durability_test

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// safe are the values of each setting with which a commit outlives a loss of
// power.
var safe = map[sqlstore.Dialect]map[string][]string{
	sqlstore.SQLite: {"journal_mode": {"wal"}, "synchronous": {"2", "3"}},
	sqlstore.PostgreSQL: {
		"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
	},
	sqlstore.MySQL: {"innodb_flush_log_at_trx_commit": {"1", "3"}, "innodb_doublewrite": {"1", "ON"}},
}

// unsafe returns the settings that lose codes, and those of which nothing is
// known.
func unsafe(d sqlstore.Dialect, settings map[string]string) (names []string) {
	for name, values := range safe[d] {
		if !slices.Contains(values, settings[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// observe makes the database note its settings in each transaction that files a
// code. SQLite has them on the connection instead.
var observe = map[sqlstore.Dialect][]string{
	sqlstore.PostgreSQL: {
		"CREATE TABLE seen (name TEXT, value TEXT)",
		`CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO seen SELECT name, setting FROM pg_settings
				WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit');
			RETURN NULL;
		END $$`,
		"CREATE TRIGGER note AFTER INSERT ON activationlock_codes FOR EACH ROW EXECUTE FUNCTION note()",
		"CREATE TRIGGER note AFTER INSERT OR UPDATE ON activationlock_actions FOR EACH ROW EXECUTE FUNCTION note()",
	},
	sqlstore.MySQL: {
		"CREATE TABLE seen (name VARCHAR(64), value VARCHAR(64))",
		`CREATE TRIGGER note AFTER INSERT ON activationlock_codes FOR EACH ROW INSERT INTO seen VALUES
			('innodb_flush_log_at_trx_commit', @@innodb_flush_log_at_trx_commit), ('innodb_doublewrite', @@innodb_doublewrite)`,
	},
}

// seen returns the settings of the transaction that filed a code last.
func seen(tb testing.TB, db *sql.DB) map[string]string {
	tb.Helper()
	rows, err := db.Query("SELECT name, value FROM seen")
	require.NoError(tb, err)
	defer rows.Close()
	settings := map[string]string{}
	for rows.Next() {
		var name, value string
		require.NoError(tb, rows.Scan(&name, &value))
		settings[name] = value
	}
	require.NoError(tb, rows.Err())
	_, err = db.Exec("DELETE FROM seen")
	require.NoError(tb, err)
	return settings
}

// pragmas returns the settings of one connection of SQLite.
func pragmas(tb testing.TB, conn *sql.Conn) map[string]string {
	tb.Helper()
	settings := map[string]string{}
	for name := range safe[sqlstore.SQLite] {
		var value string
		require.NoError(tb, conn.QueryRowContext(tb.Context(), "PRAGMA "+name).Scan(&value))
		settings[name] = value
	}
	return settings
}

// file files a code through escrow.
func file(tb testing.TB, t task, db *sql.DB, number int) error {
	tb.Helper()
	store, err := sqlstore.New(db, t.Storage.Dialect)
	require.NoError(tb, err)
	collect, _, err := t.keyrings()
	require.NoError(tb, err)
	codes, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store.Escrow(), Sealer: collect})
	require.NoError(tb, err)
	_, err = codes.Capture(tb.Context(), captureOf(t, escrow.Subject{SerialNumber: "SERIAL"}, number, 0))
	return err
}

// What is looked at are the connections that the store writes on.
func TestSettingsSQLite(t *testing.T) {
	t.Parallel()
	s := database.New(t, sqlstore.SQLite)
	task := newTask(t, s, steady)
	_, db := s.Store(t)
	var all []*sql.Conn // at once, so each is another
	for range db.Stats().MaxOpenConnections {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		require.Empty(t, unsafe(s.Dialect, pragmas(t, conn)))
		all = append(all, conn)
	}
	require.NotEmpty(t, all)
	for _, conn := range all {
		require.NoError(t, conn.Close())
	}

	db.SetMaxOpenConns(1)
	require.NoError(t, file(t, task, db, 1))
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	require.Empty(t, unsafe(s.Dialect, pragmas(t, conn)))

	_, err = conn.ExecContext(t.Context(), "PRAGMA synchronous = OFF")
	require.NoError(t, err)
	require.Equal(t, []string{"synchronous"}, unsafe(s.Dialect, pragmas(t, conn)), "the check finds nothing")
	require.NoError(t, conn.Close())
	require.ErrorAs(t, file(t, task, db, 2), new(*sqlstore.UnsafeError))
}

// Also where the connection string says otherwise, after Migrate has looked at
// another.
func TestSettingsPostgreSQL(t *testing.T) {
	t.Parallel()
	s := database.New(t, sqlstore.PostgreSQL)
	task := newTask(t, s, steady)
	_, db := s.Store(t)
	for _, statement := range observe[s.Dialect] {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	require.NoError(t, file(t, task, db, 1))
	require.Empty(t, unsafe(s.Dialect, seen(t, db)))

	careless := s.With("synchronous_commit", "off").Open(t)
	require.NoError(t, file(t, task, careless, 2))
	require.Empty(t, unsafe(s.Dialect, seen(t, db)))

	store, err := sqlstore.New(careless, s.Dialect)
	require.NoError(t, err)
	require.NoError(t, store.Actions().Create(t.Context(), bypass.Action{ID: "1", Subject: escrow.Subject{SerialNumber: "SERIAL"}}))
	require.Empty(t, unsafe(s.Dialect, seen(t, db)))
	require.NoError(t, store.Actions().Update(t.Context(), "1", func(*bypass.Action) error { return nil }))
	require.Empty(t, unsafe(s.Dialect, seen(t, db)))

	past(t, careless)
	require.Equal(t, []string{"synchronous_commit"}, unsafe(s.Dialect, seen(t, db)), "the check finds nothing")
}

func TestSettingsMySQL(t *testing.T) {
	t.Parallel()
	s := database.New(t, sqlstore.MySQL)
	task := newTask(t, s, steady)
	_, db := s.Store(t)
	for _, statement := range observe[s.Dialect] {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	require.NoError(t, file(t, task, db, 1))
	settings := seen(t, db)
	require.Empty(t, unsafe(s.Dialect, settings))

	settings["innodb_flush_log_at_trx_commit"] = "2" // is the server's, and others use it
	require.Equal(t, []string{"innodb_flush_log_at_trx_commit"}, unsafe(s.Dialect, settings), "the check finds nothing")
}

// past files a row past the store.
func past(tb testing.TB, db *sql.DB) {
	tb.Helper()
	columns := []string{"id", "serial_number"}
	rows, err := db.Query(`SELECT column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name = 'activationlock_codes' AND is_nullable = 'NO' AND column_name NOT IN ('id', 'seq')`)
	require.NoError(tb, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(tb, rows.Scan(&name))
		columns = append(columns, name)
	}
	require.NoError(tb, rows.Err())
	_, err = db.Exec("INSERT INTO activationlock_codes (" + strings.Join(columns, ", ") + ") VALUES ('x'" + strings.Repeat(", 'x'", len(columns)-1) + ")")
	require.NoError(tb, err)
}

// Each commit asks the operating system to bring the log of SQLite to the disk,
// before Capture returns.
func TestFsync(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil || runtime.GOOS != "linux" {
		if os.Getenv("CI") != "" {
			t.Fatal("strace is not installed")
		}
		t.Skip("strace is not installed")
	}
	if err := exec.Command(strace, "-o", os.DevNull, "true").Run(); err != nil {
		t.Skipf("strace cannot trace here: %v", err)
	}
	const commits = 10
	syncs := func(m mode) (after []int) {
		s := database.New(t, sqlstore.SQLite)
		calls := filepath.Join(t.TempDir(), "calls")
		c := start(t, newTask(t, s, m), strace, "-f", "-y", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", calls)
		for range commits {
			c.send(t, struct{}{})
			c.next(t, 1)
			traced, err := os.ReadFile(calls)
			require.NoError(t, err)
			after = append(after, strings.Count(string(traced), s.Source+"-wal>"))
		}
		require.Empty(t, c.end(t))
		return after
	}
	for before, after := 0, syncs(single); len(after) > 0; after = after[1:] {
		require.Greater(t, after[0], before, "a commit without fsync")
		before = after[0]
	}
	careless := syncs(careless)
	require.Equal(t, careless[0], careless[commits-1], "the check finds nothing: with synchronous NORMAL, commits do not wait")
}
