package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strconv"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

type sqlite struct {
	*statements
	*prepared
	// turn holds one token. SQLite has one writer at a time and lets the others
	// poll, so those of one process line up here, in the order in which they came
	// and without a connection.
	turn chan struct{}
}

// joinSQLite and settingsSQLite are prepared too.
const (
	joinSQLite     = "INSERT INTO activationlock_joins (serial_number, enrollment_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
	settingsSQLite = `SELECT (SELECT journal_mode FROM pragma_journal_mode), (SELECT encoding FROM pragma_encoding),
		(SELECT synchronous FROM pragma_synchronous), (SELECT timeout FROM pragma_busy_timeout),
		(SELECT fullfsync FROM pragma_fullfsync)`
)

func newSQLite(db *sql.DB) *sqlite {
	s := newStatements(func(int) string { return "?" })
	return &sqlite{s, newPrepared(db, append(s.all(), joinSQLite, settingsSQLite)), make(chan struct{}, 1)}
}

func (d *sqlite) enter(ctx context.Context) (leave func(), err error) {
	select {
	case d.turn <- struct{}{}:
		return func() { <-d.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin locks the database, and with it every subject.
func (d *sqlite) begin(ctx context.Context, t *transaction) error {
	tx, err := d.immediate(ctx, t)
	if err != nil {
		return err
	}
	t.querier = preparedQuerier{tx, d.ready, tx}
	return d.check(ctx, t)
}

// immediate begins a transaction that writes. That of package database/sql would
// begin by reading, and fail where another one has written since; but it has our
// prepared statements.
func (d *sqlite) immediate(ctx context.Context, t *transaction) (*sql.Tx, error) {
	tx, err := t.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, "ROLLBACK; BEGIN IMMEDIATE")
	return tx, err
}

// check refuses a connection whose commits may be lost.
func (d *sqlite) check(ctx context.Context, in querier) error {
	var s sqliteSettings
	if err := one(ctx, in, settingsSQLite, &s.journal, &s.encoding, &s.synchronous, &s.timeout, &s.fullfsync); err != nil {
		return err
	}
	return s.check(runtime.GOOS)
}

// sqliteSettings are those of a connection.
type sqliteSettings struct {
	journal, encoding    string
	synchronous, timeout int
	fullfsync            bool
}

func (s sqliteSettings) check(goos string) error {
	const all = ", on each connection (OpenSQLite does it)"
	switch {
	case s.journal != "wal":
		return &UnsafeError{"journal_mode", s.journal, "PRAGMA journal_mode = WAL" + all}
	case s.synchronous < 2: // FULL; 3 is EXTRA
		return &UnsafeError{"synchronous", strconv.Itoa(s.synchronous), "PRAGMA synchronous = FULL" + all}
	case s.timeout <= 0:
		return &UnsafeError{"busy_timeout", strconv.Itoa(s.timeout), fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()) + all}
	case s.encoding != "UTF-8":
		return &UnsafeError{"encoding", s.encoding, `PRAGMA encoding = 'UTF-8', in a new database`}
	case !s.fullfsync && goos == "darwin": // which leaves what is synced in the drive
		return &UnsafeError{"fullfsync", "0", "PRAGMA fullfsync = ON" + all}
	}
	return nil
}

func (d *sqlite) lock(_ context.Context, _ querier, subject escrow.Subject) (query string, args []any, err error) {
	query, args = d.of(subject)
	return query, args, nil
}

// lockRow need not: the database is locked.
func (d *sqlite) lockRow(context.Context, querier, string, string) error { return nil }

func (d *sqlite) join(ctx context.Context, in querier, enrollmentID, serialNumber string) error {
	_, err := in.ExecContext(ctx, joinSQLite, serialNumber, enrollmentID)
	return err
}

func (d *sqlite) lockAction() string { return d.action }

func (d *sqlite) insertAction(ctx context.Context, in querier, values []any) (inserted bool, err error) {
	return insertUnlessThere(ctx, in, d.statements.insertAction, values)
}

func (d *sqlite) migrate(ctx context.Context, t *transaction) error {
	if _, err := d.immediate(ctx, t); err != nil {
		return err
	}
	if err := d.check(ctx, t); err != nil {
		return err
	}
	return apply(ctx, t, SQLite, "", "INSERT INTO activationlock_migrations (version, name) VALUES (?, ?)")
}
