// Package sqlstore keeps codes, their audit, bypass actions and the inventory in a
// database: SQLite in a file, PostgreSQL, MySQL or MariaDB. It imports no driver;
// bring your own.
//
//	db, err := sqlstore.OpenSQLite(ctx, "sqlite", "/var/lib/mdm/escrow.db")
//	store, err := sqlstore.New(db, sqlstore.SQLite)
//	err = store.Migrate(ctx) // at each start
//	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), …})
//
// One process with SQLite serves a school. Several servers share one PostgreSQL,
// MySQL or MariaDB.
//
// # Safety
//
// What is committed must outlive a loss of power, so [Store.Migrate] refuses a
// database that is set up otherwise, and says which line mends it:
//
//   - SQLite: journal_mode WAL, synchronous FULL or EXTRA, a busy_timeout,
//     encoding UTF-8, on macOS fullfsync. They belong to the connection, so they are looked at again
//     in each transaction that writes; [OpenSQLite] sets them.
//   - PostgreSQL: fsync and full_page_writes on, server_encoding UTF8, and
//     synchronous_commit, which transactions that write turn on where it is off.
//   - MySQL: innodb_flush_log_at_trx_commit 1, innodb_doublewrite on, sync_binlog
//     1 if there is a binary log, a strict sql_mode, no READ UNCOMMITTED, and
//     InnoDB for all tables.
//
// Nothing here sees a disk that lies, or what a failover to a replica loses.
//
// # Tables
//
// All have names that begin with activationlock_, in the schema of the
// connection; the files of folder migrations explain their columns. Whoever
// reads them sees whose codes there are and what became of them, but no codes:
// those are sealed.
//
// # Rights
//
// On MySQL the user needs CREATE, SELECT, INSERT, UPDATE, EXECUTE and, where
// procedures are missing, CREATE ROUTINE, all on the connection's database. Codes
// are locked and read by procedures, which run with the rights of their caller.
// mysqldump leaves procedures out unless it is told --routines; [Store.Migrate]
// makes those that are missing, and until then each update fails.
//
// # Errors
//
// No error quotes a record. Where a database or a driver may, only the number of
// its error stays.
package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Store keeps codes in a database. It is safe for many goroutines, and for many
// servers on the same database; with SQLite, for several processes of one
// machine.
type Store struct {
	db      *sql.DB
	kind    Dialect
	dialect dialect
	recent  recent
}

// New returns a store on a database whose driver fits the dialect. It reads and
// writes nothing: call [Store.Migrate] before its first use. The database stays
// the caller's, to configure and to close.
func New(db *sql.DB, d Dialect) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: a database is required")
	}
	s := &Store{db: db, kind: d}
	switch d {
	case SQLite:
		s.dialect = newSQLite(db)
	case PostgreSQL:
		s.dialect = newPostgreSQL(db)
	case MySQL:
		s.dialect = newMySQL(db)
	default:
		return nil, fmt.Errorf("sqlstore: unknown dialect, want %s, %s or %s", SQLite, PostgreSQL, MySQL)
	}
	return s, nil
}

// Escrow returns the store of codes.
func (s *Store) Escrow() escrow.Store { return escrowStore{s} }
