// Package database opens databases for tests and benchmarks: for each a storage
// of its own, that is gone afterwards.
package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/activationlock/sdk/activationlock/sqlstore"
)

// Storage is an empty storage of one database.
type Storage struct {
	Dialect sqlstore.Dialect
	// Driver and Source are what sql.Open wants; of SQLite, Source is the path.
	Driver, Source string
}

// Dialects are all that are tested.
var Dialects = []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL}

// New returns a storage, empty and without tables: for SQLite a file, for
// PostgreSQL (127.0.0.1:5432) a schema, for MariaDB (127.0.0.1:3306) a database.
// It skips the test if the server cannot be reached, unless CI is set.
func New(tb testing.TB, d sqlstore.Dialect) Storage {
	tb.Helper()
	name := "activationlock_" + strings.ToLower(rand.Text())
	switch d {
	case sqlstore.SQLite:
		return Storage{d, "sqlite", filepath.Join(tb.TempDir(), "escrow.db")}
	case sqlstore.PostgreSQL:
		server := "postgres://" + postgresUser() + "@127.0.0.1:5432/test?sslmode=disable"
		administer(tb, "pgx", server, "CREATE SCHEMA "+name, "DROP SCHEMA "+name+" CASCADE")
		return Storage{d, "pgx", server + "&search_path=" + name}
	case sqlstore.MySQL:
		const server = "root@tcp(127.0.0.1:3306)/"
		administer(tb, "mysql", server+"test", "CREATE DATABASE "+name, "DROP DATABASE "+name)
		return Storage{d, "mysql", server + name}
	}
	tb.Fatalf("no storage for %s", d)
	return Storage{}
}

func postgresUser() string {
	if user := os.Getenv("PGUSER"); user != "" {
		return url.PathEscape(user)
	}
	return "postgres"
}

// administer makes what is dropped when the test is over.
func administer(tb testing.TB, driver, source, create, drop string) {
	tb.Helper()
	db, err := sql.Open(driver, source)
	require.NoError(tb, err)
	tb.Cleanup(func() { db.Close() })
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatalf("no server: %v", err)
		}
		tb.Skipf("no server: %v", err)
	}
	_, err = db.ExecContext(ctx, create)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), drop); err != nil {
			tb.Errorf("%s: %v", drop, err)
		}
	})
}

// Open opens the storage, each time with a pool of its own, as another server
// does.
func (s Storage) Open(tb testing.TB) *sql.DB {
	tb.Helper()
	var db *sql.DB
	var err error
	if s.Dialect == sqlstore.SQLite {
		db, err = sqlstore.OpenSQLite(tb.Context(), s.Driver, s.Source)
	} else {
		db, err = sql.Open(s.Driver, s.Source)
	}
	require.NoError(tb, err)
	if s.Dialect != sqlstore.SQLite {
		db.SetMaxOpenConns(8) // many tests share a server that has a hundred
	}
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

// With returns the storage with a parameter of its driver.
func (s Storage) With(key, value string) Storage {
	separator := "?"
	if strings.Contains(s.Source, "?") {
		separator = "&"
	}
	s.Source += fmt.Sprintf("%s%s=%s", separator, url.PathEscape(key), url.PathEscape(value))
	return s
}

// Store opens the storage as a store, with its tables.
func (s Storage) Store(tb testing.TB) (*sqlstore.Store, *sql.DB) {
	tb.Helper()
	db := s.Open(tb)
	store, err := sqlstore.New(db, s.Dialect)
	require.NoError(tb, err)
	require.NoError(tb, store.Migrate(tb.Context()))
	return store, db
}
