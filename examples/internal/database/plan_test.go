package database_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// No query goes through a whole table.
func TestPlans(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		for i := range 300 { // so that it pays
			of := escrow.Subject{SerialNumber: fmt.Sprint("serial ", i)}
			if i == 51 {
				// Joined, but nothing is filed under it, as in most fleets: so each
				// enrollment_id is NULL, which must not tell a planner that all are.
				require.NoError(t, store.Escrow().Join(t.Context(), "enrollment 51", of.SerialNumber))
			}
			var entries []escrow.Entry
			for j := range 5 {
				entries = append(entries, entry(fmt.Sprint(i, " ", j), of))
			}
			require.NoError(t, store.Escrow().Update(t.Context(), of, returning(entries...)))
		}
		seen := map[string]bool{}
		on(func(query string, execute func() error) error {
			if strings.Contains(query, "FROM activationlock_") || strings.HasPrefix(query, "UPDATE") {
				seen[query] = true
			}
			return execute()
		})
		s := store.Escrow()
		for _, of := range []escrow.Subject{{SerialNumber: "serial 51"}, {SerialNumber: "serial new"}, {EnrollmentID: "enrollment 51"}} {
			_, err := s.Entries(t.Context(), of)
			require.NoError(t, err)
			require.NoError(t, s.Update(t.Context(), of, func(e []escrow.Entry) ([]escrow.Entry, error) { return e, nil }))
		}
		_, err := s.Scan(t.Context(), "150", 10)
		require.NoError(t, err)
		on(nil)
		require.Greater(t, len(seen), 3)
		analyze := "ANALYZE"
		if storage.Dialect == sqlstore.MySQL {
			analyze = "ANALYZE TABLE activationlock_codes, activationlock_joins, activationlock_locks"
		}
		_, err = db.Exec(analyze)
		require.NoError(t, err)
		if storage.Dialect == sqlstore.SQLite {
			db = storage.Open(t) // a connection that knows what ANALYZE found
		}
		if storage.Dialect == sqlstore.PostgreSQL {
			db = storage.With("enable_seqscan", "off").Open(t) // which is better for small tables
		}
		for _, inner := range map[sqlstore.Dialect][]string{ // what is in functions and procedures
			sqlstore.PostgreSQL: {
				"SELECT j.enrollment_id FROM activationlock_joins AS j WHERE j.serial_number = $1 ORDER BY j.enrollment_id",
				"SELECT c.* FROM activationlock_codes AS c WHERE c.serial_number = $1",
				"SELECT c.* FROM activationlock_codes AS c WHERE c.enrollment_id = $1",
			},
			sqlstore.MySQL: { // besides those that are used outside too
				"SELECT 'enrollment_id', enrollment_id FROM activationlock_joins WHERE serial_number = ? ORDER BY enrollment_id",
				"SELECT * FROM activationlock_codes WHERE serial_number = ?",
				"SELECT 1 FROM activationlock_codes WHERE serial_number = ?",
				"SELECT 1 FROM activationlock_codes WHERE enrollment_id = ?",
			},
		}[storage.Dialect] {
			seen[inner] = true
		}
		for query := range seen {
			if strings.Contains(query, "activationlock_lock_") {
				continue
			}
			plan := explain(t, db, storage.Dialect, query)
			for _, whole := range []string{"SCAN activationlock", "SCAN j", "SCAN c", "Seq Scan", "type: ALL", "type: index,"} {
				require.NotContains(t, plan, whole, query)
			}
		}
	})
}

// explain returns a query's plan.
func explain(t *testing.T, db *sql.DB, d sqlstore.Dialect, query string) string {
	t.Helper()
	var args []any
	switch n := strings.Count(query, "?") + strings.Count(query, "$"); {
	case n == 0: // MySQL's have literals
	case strings.Contains(query, "LIMIT"):
		args = []any{"150", 10}
	case strings.HasPrefix(query, "UPDATE"):
		args = make([]any, n)
		for i := range args {
			args[i] = nil
		}
		args[n-1] = "150 1"
	default:
		for range n {
			args = append(args, "serial 2")
		}
	}
	prefix := "EXPLAIN "
	if d == sqlstore.SQLite {
		prefix = "EXPLAIN QUERY PLAN "
	}
	rows, err := db.QueryContext(t.Context(), prefix+query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var plan strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		for i, v := range values {
			fmt.Fprintf(&plan, "%s: %s, ", columns[i], v.String)
		}
		plan.WriteString("\n")
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, plan.String())
	return plan.String()
}
