package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

type mySQL struct {
	*statements
	*prepared
}

// The row of a subject is locked by changing it, whether it is there or not; what
// LAST_INSERT_ID was given comes with the answer, 0 if the row is new. The change
// counts for another reason too: InnoDB shows what is committed before the disk
// has it, so a transaction that finds nothing to change has to write something
// after it, and wait for that.
const (
	lockMySQL = `INSERT INTO activationlock_locks (kind, id) VALUES (?, ?)
		ON DUPLICATE KEY UPDATE updates = updates + 1, joined = LAST_INSERT_ID(joined)`
	lockJoinMySQL = `INSERT INTO activationlock_locks (kind, id, joined) VALUES ('serial_number', ?, 1)
		ON DUPLICATE KEY UPDATE updates = updates + 1, joined = 1`
	lockJoinedMySQL = `INSERT INTO activationlock_locks (kind, id)
		SELECT 'enrollment_id', enrollment_id FROM activationlock_joins WHERE serial_number = ? ORDER BY enrollment_id
		ON DUPLICATE KEY UPDATE updates = updates + 1`
	joinMySQL = `INSERT INTO activationlock_joins (serial_number, enrollment_id) VALUES (?, ?)
		ON DUPLICATE KEY UPDATE enrollment_id = VALUES(enrollment_id)`
)

func newMySQL(db *sql.DB) *mySQL {
	s := newStatements(func(int) string { return "?" })
	return &mySQL{s, &prepared{db: db, list: append(s.all(), lockMySQL, lockJoinMySQL, lockJoinedMySQL, joinMySQL)}}
}

func (d *mySQL) enter(context.Context) (leave func(), _ error) { return func() {}, nil }

// begin has each statement see what was committed before that began.
func (d *mySQL) begin(ctx context.Context, t *transaction) error {
	tx, err := t.begin(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	t.session = preparedSession{d.ready, tx}
	return nil
}

func (d *mySQL) lock(ctx context.Context, in session, subject escrow.Subject) (query string, args []any, err error) {
	query, args = d.of(subject)
	if subject.SerialNumber == "" {
		_, err := in.ExecContext(ctx, lockMySQL, "enrollment_id", subject.EnrollmentID)
		return query, args, err
	}
	result, err := in.ExecContext(ctx, lockMySQL, "serial_number", subject.SerialNumber)
	if err != nil {
		return "", nil, err
	}
	joined, err := result.LastInsertId()
	if err != nil {
		return "", nil, err
	}
	if joined == 0 {
		return d.ofSerialNumberAlone, args[:1], nil
	}
	_, err = in.ExecContext(ctx, lockJoinedMySQL, subject.SerialNumber)
	return query, args, err
}

func (d *mySQL) join(ctx context.Context, in session, enrollmentID, serialNumber string) error {
	if _, err := in.ExecContext(ctx, lockJoinMySQL, serialNumber); err != nil {
		return err
	}
	if _, err := in.ExecContext(ctx, lockMySQL, "enrollment_id", enrollmentID); err != nil {
		return err
	}
	_, err := in.ExecContext(ctx, joinMySQL, serialNumber, enrollmentID)
	return err
}

// migrate holds a lock of the server's, since each statement on a table commits.
// What a crash left half done is done again.
func (d *mySQL) migrate(ctx context.Context, t *transaction) error {
	const name = "CONCAT('activationlock ', SHA1(DATABASE()))" // names are the server's, and have up to 64 characters
	t.session = t.conn
	t.commit = func(ctx context.Context) error {
		_, err := t.conn.ExecContext(ctx, "DO RELEASE_LOCK("+name+")")
		return err
	}
	t.rollback = t.commit
	for locked := (sql.NullBool{}); !locked.Bool; {
		if err := one(ctx, t, "SELECT GET_LOCK("+name+", 5)", &locked); err != nil {
			return err
		}
		if !locked.Valid {
			return &failure{doing: "lock", err: errors.New("the connection is to no database of the server"), clean: true}
		}
	}
	if err := d.check(ctx, t); err != nil {
		return err
	}
	if err := apply(ctx, t, MySQL, " ENGINE = InnoDB", "INSERT INTO activationlock_migrations (version, name) VALUES (?, ?)"); err != nil {
		return err
	}
	engines, err := pairs(ctx, t, `SELECT table_name, engine FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name LIKE 'activationlock\_%'`)
	if err != nil {
		return err
	}
	for table, engine := range engines {
		if engine != "InnoDB" {
			return &UnsafeError{"the engine of " + table, engine, "ALTER TABLE " + table + " ENGINE = InnoDB"}
		}
	}
	return nil
}

// check refuses a server whose commits may be lost.
func (d *mySQL) check(ctx context.Context, in session) error {
	settings, err := pairs(ctx, in, `SHOW VARIABLES WHERE variable_name IN ('innodb_flush_log_at_trx_commit',
		'innodb_doublewrite', 'log_bin', 'sync_binlog', 'sql_mode', 'tx_isolation', 'transaction_isolation')`)
	if err != nil {
		return err
	}
	const restart = " in the server's configuration, and a restart"
	unsafe := func(name, mend string) error { return &UnsafeError{name, settings[name], mend} }
	if flush := settings["innodb_flush_log_at_trx_commit"]; flush != "1" && flush != "3" { // 3 is MariaDB's
		return unsafe("innodb_flush_log_at_trx_commit", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	}
	switch settings["innodb_doublewrite"] {
	case "OFF", "0", "DETECT_ONLY":
		return unsafe("innodb_doublewrite", "innodb_doublewrite = ON"+restart)
	}
	if settings["log_bin"] == "ON" && settings["sync_binlog"] != "1" {
		return unsafe("sync_binlog", "SET GLOBAL sync_binlog = 1")
	}
	if mode := settings["sql_mode"]; !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES") {
		settings["sql_mode"] = fmt.Sprintf("%q", mode)
		return unsafe("sql_mode", "SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',STRICT_TRANS_TABLES'), and no other in the connection string")
	}
	for _, name := range []string{"tx_isolation", "transaction_isolation"} {
		if settings[name] == "READ-UNCOMMITTED" {
			return unsafe(name, "SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED, and no other in the connection string")
		}
	}
	return nil
}
