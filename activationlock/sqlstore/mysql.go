package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

type mySQL struct {
	*statements
	*prepared
}

// What locks is in procedures of the database, to ask it once only. Each begins
// the transaction too, and has each statement in it see what was committed before
// that statement began. Under the usual isolation level writers of different
// subjects would wait for each other.
//
// The row of a subject is locked by changing it, whether it is there or not. The
// change counts for another reason too: InnoDB shows what is committed before the
// disk has it, so a transaction that finds nothing to change has to write
// something after it, and wait for that. An action is its own row to lock: whoever
// locks it writes it too.
//
// A procedure never changes once it is released, as migrations do not: another
// one has another name, so that servers with the version before can go on.
const (
	procedureMySQL = `CREATE PROCEDURE IF NOT EXISTS %s(%s) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	START TRANSACTION;
	%s;
END`
	lockMySQL = `INSERT INTO activationlock_locks (kind, id) VALUES (%s, wanted)
		ON DUPLICATE KEY UPDATE updates = updates + 1`
	lockJoinedMySQL = `INSERT INTO activationlock_locks (kind, id)
		SELECT 'enrollment_id', enrollment_id FROM activationlock_joins WHERE serial_number = wanted ORDER BY enrollment_id
		ON DUPLICATE KEY UPDATE updates = updates + 1`
)

// proceduresMySQL returns what makes each procedure, by its name. Names of
// parameters hide those of columns, so they are others.
//
// LAST_INSERT_ID tells whether a locked serial number has joins. No result at all
// is quicker than one without rows, and is usual: most codes are the device's
// first.
func proceduresMySQL() map[string]string {
	inside := newStatements(func(int) string { return "wanted" })
	list := map[string]string{}
	for _, p := range []struct {
		name, parameters string
		statements       []string
	}{
		{"activationlock_lock", "wanted_kind VARBINARY(16), wanted VARBINARY(255)", []string{
			fmt.Sprintf(lockMySQL, "wanted_kind"),
		}},
		{"activationlock_lock_enrollment_id", "wanted VARBINARY(255)", []string{
			fmt.Sprintf(lockMySQL, "'enrollment_id'"),
			"IF EXISTS (SELECT 1 FROM activationlock_codes WHERE enrollment_id = wanted) THEN " + inside.ofEnrollmentID,
			"END IF",
		}},
		{"activationlock_lock_serial_number", "wanted VARBINARY(255)", []string{
			"DO LAST_INSERT_ID(0)",
			fmt.Sprintf(lockMySQL, "'serial_number'") + ", joined = LAST_INSERT_ID(joined)",
			"IF LAST_INSERT_ID() <> 0 THEN " + lockJoinedMySQL,
			inside.ofSerialNumber,
			"ELSEIF EXISTS (SELECT 1 FROM activationlock_codes WHERE serial_number = wanted) THEN " + inside.ofSerialNumberAlone,
			"END IF",
		}},
		{"activationlock_join", "wanted VARBINARY(255), wanted_serial VARBINARY(255)", []string{
			"INSERT INTO activationlock_locks (kind, id, joined) VALUES ('serial_number', wanted_serial, 1)" +
				" ON DUPLICATE KEY UPDATE updates = updates + 1, joined = 1",
			fmt.Sprintf(lockMySQL, "'enrollment_id'"),
			"INSERT INTO activationlock_joins (serial_number, enrollment_id) VALUES (wanted_serial, wanted)" +
				" ON DUPLICATE KEY UPDATE enrollment_id = VALUES(enrollment_id)",
		}},
		{"activationlock_lock_action", "wanted VARBINARY(255)", []string{
			inside.action + " FOR UPDATE",
		}},
		{"activationlock_lock_record", "wanted VARBINARY(255)", []string{
			"SELECT " + deviceNames("body") + " FROM activationlock_devices " + lockRecordMySQL,
		}},
		{"activationlock_claim", "wanted_now BIGINT, wanted_limit BIGINT", []string{claimMySQL}},
	} {
		list[p.name] = fmt.Sprintf(procedureMySQL, p.name, p.parameters, strings.Join(p.statements, ";\n\t"))
	}
	return list
}

func newMySQL(db *sql.DB) *mySQL {
	s := newStatements(func(int) string { return "?" })
	// A reader of MariaDB may see a commit and not the one before it, on which it was
	// built: what was under way is looked up one by one. Seen in 2 of 392,332 reads
	// of MariaDB 10.11, beside sixteen writers. One that locks does not.
	s.scanAuditAgain = s.scanAudit + " LOCK IN SHARE MODE"
	s.lastAudit += " FOR UPDATE"
	// Of those that are over there are many more, in the order of their IDs.
	s.scanOpenActions = strings.Replace(s.scanOpenActions, " WHERE ", " FORCE INDEX (activationlock_actions_open) WHERE ", 1)
	// Or it may not be seen yet. Others whose statement failed share the lock too.
	s.actionMeanwhile += " LOCK IN SHARE MODE"
	return &mySQL{s, newPrepared(db, s.all())}
}

func (d *mySQL) enter(context.Context) (leave func(), _ error) { return func() {}, nil }

// begin leaves it to the procedures.
func (d *mySQL) begin(_ context.Context, t *transaction) error {
	t.querier = literals{t.conn}
	t.commit = func(ctx context.Context) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Nobody would know whether one that is interrupted succeeds.
		_, err := t.conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		return err
	}
	t.rollback = func(ctx context.Context) error {
		_, err := t.conn.ExecContext(ctx, "ROLLBACK")
		return err
	}
	return nil
}

// literals executes statements with their arguments in them. To prepare them
// would be a question more for each, and package database/sql has prepared ones for
// transactions only that it began itself, which is a question more too.
type literals struct{ of querier }

func (l literals) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, err := literal(query, args)
	if err != nil {
		return nil, err
	}
	return l.of.ExecContext(ctx, query)
}

func (l literals) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, err := literal(query, args)
	if err != nil {
		return nil, err
	}
	return l.of.QueryContext(ctx, query)
}

// literal replaces each question mark with an argument. Text and bytes become
// hexadecimal digits, which mean the same in all modes and character sets.
func literal(query string, args []any) (string, error) {
	parts := strings.Split(query, "?")
	if len(parts) != len(args)+1 {
		return "", errBounds
	}
	list := []byte(parts[0])
	for i, arg := range args {
		switch arg := arg.(type) {
		case nil:
			list = append(list, "NULL"...)
		case int64:
			list = strconv.AppendInt(list, arg, 10)
		case string:
			list = append(hex.AppendEncode(append(list, "X'"...), []byte(arg)), '\'')
		case []byte:
			list = append(hex.AppendEncode(append(list, "X'"...), arg), '\'')
		default:
			return "", errBounds
		}
		list = append(list, parts[i+1]...)
	}
	return string(list), nil
}

func (d *mySQL) lock(_ context.Context, _ querier, subject escrow.Subject) (query string, args []any, err error) {
	if subject.SerialNumber != "" {
		return "CALL activationlock_lock_serial_number(?)", []any{subject.SerialNumber}, nil
	}
	return "CALL activationlock_lock_enrollment_id(?)", []any{subject.EnrollmentID}, nil
}

func (d *mySQL) lockRow(ctx context.Context, in querier, kind, id string) error {
	_, err := in.ExecContext(ctx, "CALL activationlock_lock(?, ?)", kind, id)
	return err
}

func (d *mySQL) join(ctx context.Context, in querier, enrollmentID, serialNumber string) error {
	_, err := in.ExecContext(ctx, "CALL activationlock_join(?, ?)", enrollmentID, serialNumber)
	return err
}

func (d *mySQL) lockAction() string { return "CALL activationlock_lock_action(?)" }

// insertAction has only its statement undone if there is such an action. To
// IGNORE what is there would ignore more than that.
func (d *mySQL) insertAction(ctx context.Context, in querier, values []any) (inserted bool, err error) {
	_, err = in.ExecContext(ctx, d.statements.insertAction, values...)
	if number, _ := mysqlNumber(err); number == "1062" {
		return false, nil
	}
	return err == nil, err
}

// migrate holds a lock of the server's, since each statement on a table commits.
// What a crash left half done is done again.
func (d *mySQL) migrate(ctx context.Context, t *transaction) error {
	const name = "CONCAT('activationlock ', SHA1(DATABASE()))" // names are the server's, and have up to 64 characters
	t.querier = t.conn
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
			return errors.New("the connection is to no database of the server")
		}
	}
	if err := d.check(ctx, t); err != nil {
		return err
	}
	if err := apply(ctx, t, MySQL, " ENGINE = InnoDB", "INSERT INTO activationlock_migrations (version, name) VALUES (?, ?)"); err != nil {
		return err
	}
	if err := d.makeProcedures(ctx, t); err != nil {
		return err
	}
	engines, err := pairs(ctx, t, `SELECT table_name, engine FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name LIKE 'activationlock%'`)
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

// makeProcedures makes the procedures that are missing, at each start and not as
// a migration: backups leave them out unless told otherwise. Those that are there
// are not touched, since other servers may be using them.
func (d *mySQL) makeProcedures(ctx context.Context, in querier) error {
	there, err := pairs(ctx, in, `SELECT routine_name, routine_type FROM information_schema.routines
		WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE' AND routine_name LIKE 'activationlock%'`)
	if err != nil {
		return err
	}
	for name, create := range proceduresMySQL() {
		if _, ok := there[name]; ok {
			continue
		}
		if _, err := in.ExecContext(ctx, create); err != nil {
			return fmt.Errorf("procedure %s: %w", name, err)
		}
	}
	return nil
}

// check refuses a server whose commits may be lost.
func (d *mySQL) check(ctx context.Context, in querier) error {
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
