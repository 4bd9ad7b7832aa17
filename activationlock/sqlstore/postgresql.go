package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

type postgreSQL struct {
	db *sql.DB
	*statements
}

func newPostgreSQL(db *sql.DB) *postgreSQL {
	return &postgreSQL{db, newStatements(func(n int) string { return fmt.Sprintf("$%d", n) })}
}

// The driver prepares by itself, if it may: a pooler between may not like it.
func (d *postgreSQL) prepare(context.Context) error                 { return nil }
func (d *postgreSQL) reader() querier                               { return d.db }
func (d *postgreSQL) enter(context.Context) (leave func(), _ error) { return func() {}, nil }

// begin has each statement see what was committed before that began.
func (d *postgreSQL) begin(ctx context.Context, t *transaction) error {
	_, err := t.begin(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	return err
}

// lock leaves it to functions of the database, to ask it once only.
func (d *postgreSQL) lock(_ context.Context, _ querier, subject escrow.Subject) (query string, args []any, err error) {
	query = "SELECT seq, " + names("") + " FROM activationlock_lock_"
	if subject.SerialNumber != "" {
		return query + "serial_number($1)", []any{subject.SerialNumber}, nil
	}
	return query + "enrollment_id($1)", []any{subject.EnrollmentID}, nil
}

func (d *postgreSQL) lockRow(ctx context.Context, in querier, kind, id string) error {
	_, err := in.ExecContext(ctx, "SELECT activationlock_lock($1, $2)", kind, id)
	return err
}

func (d *postgreSQL) join(ctx context.Context, in querier, enrollmentID, serialNumber string) error {
	_, err := in.ExecContext(ctx, "SELECT activationlock_join($1, $2)", enrollmentID, serialNumber)
	return err
}

func (d *postgreSQL) lockAction() string {
	return "SELECT " + actionColumns + " FROM activationlock_lock_action($1)"
}

func (d *postgreSQL) insertAction(ctx context.Context, in querier, values []any) (inserted bool, err error) {
	return insertUnlessThere(ctx, in, d.statements.insertAction, values)
}

func (d *postgreSQL) migrate(ctx context.Context, t *transaction) error {
	if err := d.check(ctx, t.conn); err != nil {
		return err
	}
	if err := d.begin(ctx, t); err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('activationlock migration', 0))"); err != nil {
		return err
	}
	return apply(ctx, t, PostgreSQL, "", "INSERT INTO activationlock_migrations (version, name) VALUES ($1, $2)")
}

// check refuses a server whose commits may be lost.
func (d *postgreSQL) check(ctx context.Context, in querier) error {
	settings, err := pairs(ctx, in, `SELECT name, setting FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_encoding')
		UNION ALL SELECT 'source', source FROM pg_settings WHERE name = 'synchronous_commit'`)
	if err != nil {
		return err
	}
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if settings[name] != "off" {
			continue
		}
		mend := fmt.Sprintf("ALTER SYSTEM SET %s = on; SELECT pg_reload_conf();", name)
		if name == "synchronous_commit" {
			switch settings["source"] {
			case "client", "session":
				mend = "SET synchronous_commit = on, or another connection string"
			case "user", "database", "database user":
				mend = "ALTER ROLE … RESET synchronous_commit, or ALTER DATABASE … RESET synchronous_commit"
			}
		}
		return &UnsafeError{name, "off", mend}
	}
	if settings["server_encoding"] != "UTF8" {
		return &UnsafeError{"server_encoding", settings["server_encoding"], "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"}
	}
	return nil
}
