package database_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Mode()
}

// Not parallel: the umask is the process's.
func TestFilesOfSQLite(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, umask := range []int{0, 0o077} {
		syscall.Umask(umask)
		storage := database.Storage{Dialect: sqlstore.SQLite, Driver: "sqlite", Source: filepath.Join(t.TempDir(), "escrow.db")}
		store, _ := storage.Store(t)
		require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
		for _, suffix := range []string{"", "-wal", "-shm"} {
			require.Equal(t, fs.FileMode(0o600), mode(t, storage.Source+suffix), suffix)
		}
	}
}

func TestSQLitePaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "100%.db", "%3F.db", "a#b.db", "a&b=c.db", "'\";.db", "é🔑.db", "-x.db", "~.db", "x.db;y", "file:x.db"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		storage := database.Storage{Dialect: sqlstore.SQLite, Driver: "sqlite", Source: path}
		store, _ := storage.Store(t)
		require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
		again, _ := storage.Store(t)
		same(t, again.Escrow(), subject, "1")
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, f := range files {
			require.True(t, strings.HasPrefix(f.Name(), name), f.Name())
		}
		require.Positive(t, len(files))
	}
	for _, path := range []string{"", ":memory:", "a?b.db", filepath.Join(t.TempDir(), "?"), "file:x.db", "file::memory:", "a\x00b", filepath.Join(t.TempDir(), "missing", "x.db"), t.TempDir()} {
		_, err := sqlstore.OpenSQLite(t.Context(), "sqlite", path)
		require.Error(t, err, path)
	}
	_, err := sqlstore.OpenSQLite(t.Context(), "no such driver", filepath.Join(t.TempDir(), "x.db"))
	require.ErrorContains(t, err, "no such driver")
}

func TestSQLiteFileOfOthers(t *testing.T) {
	t.Parallel()
	open := func(path string) error {
		db, err := sqlstore.OpenSQLite(t.Context(), "sqlite", path)
		if err == nil {
			err = db.Close()
		}
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		for _, bits := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602} {
			path := filepath.Join(t.TempDir(), "it's.db")
			require.NoError(t, open(path))
			require.NoError(t, os.WriteFile(path+suffix, nil, 0o600))
			require.NoError(t, os.Chmod(path+suffix, bits))
			err := open(path)
			require.ErrorContains(t, err, "chmod 600 ")
			_, line, _ := strings.Cut(err.Error(), "what mends it: ")
			require.NoError(t, exec.Command("sh", "-c", line).Run())
			require.NoError(t, open(path))
		}
	}
	for _, suffix := range []string{"", "-wal"} {
		dir := t.TempDir()
		path, elsewhere := filepath.Join(dir, "escrow.db"), filepath.Join(dir, "elsewhere")
		require.NoError(t, os.WriteFile(elsewhere, nil, 0o600))
		if suffix != "" {
			require.NoError(t, open(path))
		}
		require.NoError(t, os.Symlink(elsewhere, path+suffix))
		require.ErrorContains(t, open(path), "regular")
		require.NoError(t, os.Remove(path+suffix))
		require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), path+suffix))
		require.ErrorContains(t, open(path), "regular")
		require.NoFileExists(t, filepath.Join(dir, "nowhere"))
	}
}

// laxDriver has defaults that no database of codes should have.
type laxDriver struct{ driver.Driver }

func (d laxDriver) Open(name string) (driver.Conn, error) {
	conn, err := d.Driver.Open(name)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(context.Background(), "PRAGMA synchronous = OFF; PRAGMA busy_timeout = 0", nil)
	return conn, err
}

// Every connection of the pool is safe, not only the first.
func TestEachConnectionOfSQLite(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.SQLite)
	_, db := storage.Store(t)
	storage.Driver = "lax " + storage.Source
	sql.Register(storage.Driver, laxDriver{db.Driver()})
	_, db = storage.Store(t)
	for range 4 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		for pragma, want := range map[string]string{"synchronous": "2", "busy_timeout": "5000", "journal_mode": "wal"} {
			var got string
			require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
	}
}

// While another process writes to a file that is no WAL database yet, SQLite
// gives up at once. OpenSQLite does not.
func TestOpenSQLiteWhileAnotherWrites(t *testing.T) {
	t.Parallel()
	storage, on := tapped(t, database.New(t, sqlstore.SQLite))
	require.NoError(t, os.WriteFile(storage.Source, nil, 0o600))
	other, err := sql.Open("sqlite", storage.Source+"?_pragma=journal_mode(DELETE)")
	require.NoError(t, err)
	defer other.Close()
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "CREATE TABLE a (b); BEGIN IMMEDIATE; INSERT INTO a VALUES (1)")
	require.NoError(t, err)
	failures := 0
	on(func(query string, execute func() error) error {
		err := execute()
		if err != nil {
			if failures++; failures == 1 {
				_, err := conn.ExecContext(t.Context(), "COMMIT")
				require.NoError(t, err)
			}
		}
		return err
	})
	store, _ := storage.Store(t)
	on(nil)
	require.Positive(t, failures)
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
}
