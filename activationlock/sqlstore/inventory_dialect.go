package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
)

// lockRecord has SQLite's whole database locked already.
func (d *sqlite) lockRecord() string { return devices + "enrollment_id = ?" }

// ifFree need not: whoever changes something has the database to himself.
func (d *sqlite) ifFree(_ *arguments, update, _ string) string { return update }

func (d *sqlite) markUnchanged(context.Context, querier, string) error { return nil }
func (d *sqlite) taken(error) bool                                     { return false }
func (d *sqlite) unprepared(of querier) querier                        { return of }
func (d *sqlite) upsertMarks() string                                  { return upsertMarks }

const (
	upsertMarks  = " ON CONFLICT (enrollment_id, kind, name) DO UPDATE SET is_set = excluded.is_set"
	dueSQLite    = "SELECT enrollment_id FROM activationlock_devices WHERE available_at <= ? ORDER BY available_at, enrollment_id LIMIT ?"
	claimSQLite  = "UPDATE activationlock_devices SET lease_until = ?, lease_token = ? WHERE enrollment_id IN (" + dueSQLite + ")"
	releaseClaim = "UPDATE activationlock_devices SET lease_until = NULL, lease_token = NULL WHERE enrollment_id = ? AND lease_token = ?"
)

// claim asks twice, since RETURNING has no order. Nobody comes in between.
func (d *sqlite) claim(ctx context.Context, in querier, now, until, limit int64, token string) ([]string, error) {
	ids, err := texts(ctx, in, dueSQLite, now, limit)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	_, err = in.ExecContext(ctx, claimSQLite, until, token, now, limit)
	return ids, err
}

func (d *sqlite) release(ctx context.Context, in querier, enrollmentID, token string) (bool, error) {
	return changed(in.ExecContext(ctx, releaseClaim, enrollmentID, token))
}

func (d *sqlite) after(a *arguments, column, comparison string, value any, id string) string {
	return afterRow(a, column, comparison, value, id)
}

// afterRow compares rows of values, of which databases know that an index has
// them in this order; but for MySQL.
func afterRow(a *arguments, column, comparison string, value any, id string) string {
	return "(d." + column + ", d.enrollment_id) " + comparison + " (" + a.add(value) + ", " + a.add(id) + ")"
}

// changed reports whether a statement changed something.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// texts reads rows of one text.
func texts(ctx context.Context, in querier, query string, args ...any) (list []string, err error) {
	rows, err := in.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t text
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		list = append(list, string(t))
	}
	if rows.Err() != nil {
		return nil, rows.Err()
	}
	return list, rows.Close() // after the answer to a CALL, too
}

func (d *postgreSQL) lockRecord() string {
	return "SELECT " + deviceNames("body") + " FROM activationlock_lock_record($1)"
}

// ifFree does what activationlock_lock does, but for waiting. Who changes a record
// holds the lock from before reading it until the commit.
func (d *postgreSQL) ifFree(a *arguments, update, enrollmentID string) string {
	return update + " AND (SELECT pg_try_advisory_xact_lock(hashtextextended('activationlock record ' || " + a.add(enrollmentID) + "::text, 0))" +
		" AND (current_setting('synchronous_commit') <> 'off' OR set_config('synchronous_commit', 'on', true) = 'on'))"
}

// markUnchanged need not: only what is on the disk is shown.
func (d *postgreSQL) markUnchanged(context.Context, querier, string) error { return nil }
func (d *postgreSQL) taken(error) bool                                     { return false }
func (d *postgreSQL) unprepared(of querier) querier                        { return of }
func (d *postgreSQL) upsertMarks() string                                  { return upsertMarks }

func (d *postgreSQL) after(a *arguments, column, comparison string, value any, id string) string {
	return afterRow(a, column, comparison, value, id)
}

// claim sorts what a function of the database claims, since that has no order.
func (d *postgreSQL) claim(ctx context.Context, in querier, now, until, limit int64, token string) ([]string, error) {
	rows, err := in.QueryContext(ctx, "SELECT claimed, since FROM activationlock_claim($1, $2, $3, $4)", now, until, token, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	type claimed struct {
		id    text
		since int64
	}
	var list []claimed
	for rows.Next() {
		var c claimed
		if err := rows.Scan(&c.id, &c.since); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b claimed) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id)) })
	var ids []string
	for _, c := range list {
		ids = append(ids, string(c.id))
	}
	return ids, rows.Err()
}

func (d *postgreSQL) release(ctx context.Context, in querier, enrollmentID, token string) (there bool, err error) {
	rows, err := in.QueryContext(ctx, "SELECT activationlock_release($1, $2)", enrollmentID, token)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&there); err != nil {
			return false, err
		}
	}
	return there, rows.Err()
}

// What is in the procedures. A claim locks in the order of the index, and waits for
// nobody.
const (
	lockRecordMySQL = "WHERE enrollment_id = wanted FOR UPDATE"
	claimMySQL      = `SELECT enrollment_id FROM activationlock_devices FORCE INDEX (activationlock_devices_available_at)
		WHERE available_at <= wanted_now ORDER BY available_at, enrollment_id LIMIT wanted_limit FOR UPDATE SKIP LOCKED`
)

func (d *mySQL) lockRecord() string { return "CALL activationlock_lock_record(?)" }

// ifFree has locks of others on the row and on the table fail the UPDATE at once. MySQL
// has no words for that, takes them for a comment, and waits.
func (d *mySQL) ifFree(_ *arguments, update, _ string) string {
	return "/*M! SET STATEMENT innodb_lock_wait_timeout = 0, lock_wait_timeout = 0 FOR */ " + update + " AND @@autocommit"
}

// markUnchanged writes something, and waits for that: InnoDB shows what is
// committed before the disk has it.
func (d *mySQL) markUnchanged(ctx context.Context, in querier, enrollmentID string) error {
	_, err := in.ExecContext(ctx, "UPDATE activationlock_devices SET unchanged = unchanged + 1 WHERE enrollment_id = ?", enrollmentID)
	return err
}

// taken is true where two updates at once make one record, since what is not there
// is not locked.
func (d *mySQL) taken(err error) bool {
	number, _ := mysqlNumber(err)
	return number == "1062"
}

func (d *mySQL) unprepared(of querier) querier { return literals{of} }

func (d *mySQL) upsertMarks() string { return " ON DUPLICATE KEY UPDATE is_set = VALUES(is_set)" }

// after is in words that MySQL finds two ranges of an index in.
func (d *mySQL) after(a *arguments, column, comparison string, value any, id string) string {
	column = "d." + column
	return "((" + column + " = " + a.add(value) + " AND d.enrollment_id " + comparison + " " + a.add(id) + ") OR " +
		column + " " + comparison + " " + a.add(value) + ")"
}

// claimedAtOnce is how many records a statement claims at most. From a thousand on
// MariaDB would make a table of them.
const claimedAtOnce = 500

func (d *mySQL) claim(ctx context.Context, in querier, now, until, limit int64, token string) ([]string, error) {
	ids, err := texts(ctx, in, "CALL activationlock_claim(?, ?)", now, limit)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(ids, claimedAtOnce) {
		args := []any{until, token}
		for _, id := range some {
			args = append(args, id)
		}
		query := "UPDATE activationlock_devices SET lease_until = ?, lease_token = ? WHERE enrollment_id IN (?" + strings.Repeat(", ?", len(some)-1) + ")"
		if _, err := in.ExecContext(ctx, query, args...); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// release is a transaction by itself.
func (d *mySQL) release(ctx context.Context, in querier, enrollmentID, token string) (bool, error) {
	return changed(in.ExecContext(ctx, releaseClaim, enrollmentID, token))
}
