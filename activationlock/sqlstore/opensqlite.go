package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// busyTimeout is how long a connection waits for the writer of another process.
const busyTimeout = 5 * time.Second

// OpenSQLite opens a SQLite database in a file, with the settings that [SQLite]
// wants on each connection. The driver is a name that is registered with package
// database/sql: "sqlite" of modernc.org/sqlite, "sqlite3" of
// github.com/mattn/go-sqlite3. The driver's own parameters cannot be given.
//
// A file that is not there is made, for its owner only (0600), and so are those
// that SQLite puts beside it. One that is there must be a regular file, and
// nobody else may read or write it. The folder must be there; with it, too, be
// careful: who can write it can put another file in the database's place.
func OpenSQLite(ctx context.Context, driverName, path string) (*sql.DB, error) {
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") {
		return nil, errors.New("sqlstore: open: want the path of a file")
	}
	path, err := filepath.Abs(path) // so that no driver takes it for anything else
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	if strings.ContainsAny(path, "?\x00") {
		return nil, errors.New("sqlstore: open: drivers do not take a path with a question mark or NUL for a path")
	}
	unopened, err := sql.Open(driverName, path)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	defer unopened.Close()
	c, err := newConnector(unopened.Driver(), path)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	if err := makePrivate(path); err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	db := sql.OpenDB(c)
	connections := max(4, runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlstore: open: %w", err), db.Close())
	}
	return db, nil
}

// makePrivate makes a database's file, or checks the one that is there and those
// that belong to it.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		// Or the file's name may be gone after a loss of power, with all that was
		// committed to it.
		return errors.Join(file.Sync(), file.Close(), syncDir(filepath.Dir(path)))
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		info, err := os.Lstat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix != "":
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", path+suffix)
		case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
			return fmt.Errorf("others can open the file; what mends it: chmod 600 %s", quoted(path+suffix))
		}
	}
	return nil
}

// quoted quotes a string for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func syncDir(path string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// connector makes connections with the settings that are safe. Drivers have
// parameters for them, each another.
type connector struct {
	driver.Connector
}

func newConnector(d driver.Driver, name string) (driver.Connector, error) {
	if of, ok := d.(driver.DriverContext); ok {
		c, err := of.OpenConnector(name)
		return connector{c}, err
	}
	return connector{named{d, name}}, nil
}

// named is the connector of a driver that has none.
type named struct {
	of   driver.Driver
	name string
}

func (n named) Driver() driver.Driver                        { return n.of }
func (n named) Connect(context.Context) (driver.Conn, error) { return n.of.Open(n.name) }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []string{
		fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()),
		"PRAGMA synchronous = FULL",
		// Or macOS leaves what is synced in the drive. Elsewhere they mean nothing.
		"PRAGMA fullfsync = ON",
		"PRAGMA checkpoint_fullfsync = ON",
		"PRAGMA journal_mode = WAL",
	} {
		if err := execute(ctx, conn, pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", pragma, err), conn.Close())
		}
	}
	return conn, nil
}

// execute executes a statement on a connection that is not the pool's yet. It
// waits by itself while another process makes the file a WAL database, since
// SQLite does not.
func execute(ctx context.Context, conn driver.Conn, query string) error {
	on, ok := conn.(driver.ExecerContext)
	if !ok {
		return errors.New("the driver is too old")
	}
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		_, err := on.ExecContext(ctx, query, nil)
		if err == nil || !lostTurn(err) {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
