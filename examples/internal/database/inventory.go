package database

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/inventory"
)

// Fill makes n records quickly, besides that of "device": each is a copy of what the
// store writes, with other names and times, and a serial number of its own in place
// of XXFAKE0SER1. They are due one second after another, one of a hundred is in the
// group "few" and has a finding, and all are in "many".
func Fill(tb testing.TB, db *sql.DB, d sqlstore.Dialect, n int, first func(*inventory.Record) error) {
	tb.Helper()
	store, err := sqlstore.New(db, d)
	require.NoError(tb, err)
	require.NoError(tb, store.Inventory().Update(tb.Context(), "device", first))
	columns := "serial_number, device_name, model_name, product_name, platform, os_version, ownership, group_names, supervised, live, last_seen, " +
		"status, lock_kind, reassign, code_since, inventory_at, findings, summary_at, due_at, severity, searchable, body"
	number := map[sqlstore.Dialect]string{
		sqlstore.SQLite: "printf('%07d', n.i)", sqlstore.PostgreSQL: "lpad(n.i::text, 7, '0')", sqlstore.MySQL: "lpad(n.i, 7, '0')",
	}[d]
	join := map[sqlstore.Dialect]string{
		sqlstore.SQLite: "'%s' || %s", sqlstore.PostgreSQL: "'%s' || %s", sqlstore.MySQL: "CONCAT('%s', %s)",
	}[d]
	text := "body"
	if d == sqlstore.MySQL {
		text = "CAST(body AS CHAR)"
	}
	values := strings.NewReplacer(
		"serial_number", fmt.Sprintf(join, "serial ", "n.i"), "device_name", fmt.Sprintf(join, "name ", "n.i * 7919 % 100003"),
		"body", fmt.Sprintf("REPLACE(%s, 'XXFAKE0SER1', %s)", text, fmt.Sprintf(join, "serial ", "n.i")),
		"last_seen", "last_seen + n.i * 1000003 % 1000000007", "due_at", "due_at + n.i * 1000000", "severity", "CASE WHEN n.i % 100 = 0 THEN 3 ELSE 0 END",
	).Replace(columns)
	numbers := fmt.Sprintf("(WITH RECURSIVE r (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM r WHERE i < %d) SELECT i FROM r)", n)
	if d == sqlstore.MySQL { // whose recursion has a limit
		numbers = fmt.Sprintf("(SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_%d)", n)
	}
	insert := func(into, values, from string) {
		tb.Helper()
		_, err := db.Exec("INSERT INTO " + into + " SELECT " + values + " FROM " + numbers + " AS n" + from)
		require.NoError(tb, err)
	}
	insert("activationlock_devices (enrollment_id, "+columns+")", fmt.Sprintf(join, "device ", number)+", "+values, ", activationlock_devices WHERE enrollment_id = 'device'")
	for _, mark := range []string{"'group', 'few', 1", "'finding', 'mayLock', 1"} {
		insert("activationlock_marks (enrollment_id, kind, name, is_set)", fmt.Sprintf(join, "device ", number)+", "+mark, " WHERE n.i % 100 = 0")
	}
	insert("activationlock_marks (enrollment_id, kind, name, is_set)", fmt.Sprintf(join, "device ", number)+", 'group', 'many', 1", "")
	_, err = db.Exec(map[sqlstore.Dialect]string{ // as databases do by themselves, later
		sqlstore.SQLite: "ANALYZE", sqlstore.PostgreSQL: "VACUUM ANALYZE activationlock_devices, activationlock_marks",
		sqlstore.MySQL: "ANALYZE TABLE activationlock_devices, activationlock_marks",
	}[d])
	require.NoError(tb, err)
}
