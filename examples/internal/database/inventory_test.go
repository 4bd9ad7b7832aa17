package database_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/activationlock/storetest"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestInventory(t *testing.T) {
	t.Parallel()
	for _, d := range database.Dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storetest.Inventory(t, func(t *testing.T, _ func() time.Time) func(*testing.T) inventory.Store {
				storage := database.New(t, d)
				return func(t *testing.T) inventory.Store {
					store, _ := storage.Store(t)
					return store.Inventory()
				}
			})
		})
	}
}

// due returns a change that makes a record due.
func due(i int) func(*inventory.Record) error {
	return func(r *inventory.Record) error {
		r.Facts.SerialNumber, r.Facts.DeviceName = fmt.Sprint("serial ", i), fmt.Sprint("name ", i)
		r.LastSeen = noon.Add(time.Duration(i) * time.Second)
		r.Summary.DueAt = noon.Add(time.Duration(i) * time.Second)
		r.Summary.Status = activationlock.NotEnabled
		if i%100 == 0 {
			r.SetGroups("few")
			r.Summary.Findings = []inventory.Finding{{Kind: inventory.MayLock, Severity: inventory.Critical, Since: noon}}
		}
		return nil
	}
}

// No query goes through a whole table, or sorts one.
func TestPlansOfInventory(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		s := store.Inventory()
		const n = 3000
		database.Fill(t, db, storage.Dialect, n, due(1))
		seen := map[string]bool{} // and whether it may begin at the beginning
		first := false
		on(func(query string, execute func() error) error {
			for _, begin := range []string{"SELECT", "UPDATE"} {
				if strings.HasPrefix(query, begin) && strings.Contains(query, " activationlock_devices ") {
					seen[query] = seen[query] || first
				}
			}
			return execute()
		})
		require.NoError(t, s.Update(t.Context(), "device 0000051", due(51)))
		require.NoError(t, s.Update(t.Context(), "device 0000051", due(52)))
		require.NoError(t, s.Update(t.Context(), "device 0000051", func(*inventory.Record) error { return nil }))
		_, err := s.Get(t.Context(), "device 0000051")
		require.NoError(t, err)
		list, err := s.BySerialNumber(t.Context(), "serial 60")
		require.NoError(t, err)
		require.Len(t, list, 1)
		claims, err := s.Claim(t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, claims, 10)
		require.NoError(t, s.Release(t.Context(), claims[3]))
		for _, sort := range []inventory.Column{
			inventory.ByEnrollmentID, inventory.BySerialNumber, inventory.ByDeviceName, inventory.ByLastSeen, inventory.BySeverity,
		} {
			for _, descending := range []bool{false, true} {
				q := inventory.Query{Sort: sort, Descending: descending, Limit: 100}
				first = true
				rows, err := s.List(t.Context(), q)
				require.NoError(t, err)
				require.Len(t, rows, 100)
				first = false
				q.After = rows[99].Cursor
				rows, err = s.List(t.Context(), q)
				require.NoError(t, err)
				require.Len(t, rows, 100)
			}
		}
		on(nil)
		require.Greater(t, len(seen), 20)
		switch storage.Dialect { // what is in functions and procedures
		case sqlstore.PostgreSQL:
			seen["SELECT d.* FROM activationlock_devices AS d WHERE d.enrollment_id = $1"] = false
			seen[`WITH due AS (
				SELECT d.enrollment_id AS id, d.available_at FROM activationlock_devices AS d WHERE d.available_at <= $1
				ORDER BY d.available_at, d.enrollment_id LIMIT 10 FOR UPDATE SKIP LOCKED
			) UPDATE activationlock_devices AS d SET lease_until = $2, lease_token = $3 FROM due
			WHERE d.enrollment_id = due.id RETURNING due.id, due.available_at`] = false
			seen["UPDATE activationlock_devices AS d SET lease_until = NULL WHERE d.enrollment_id = $1 AND d.lease_token = $2"] = false
		case sqlstore.MySQL:
			seen["SELECT * FROM activationlock_devices WHERE enrollment_id = 'device 0000051' FOR UPDATE"] = false
			seen[`SELECT enrollment_id FROM activationlock_devices FORCE INDEX (activationlock_devices_available_at)
				WHERE available_at <= 10000000000000000 ORDER BY available_at, enrollment_id LIMIT 10 FOR UPDATE SKIP LOCKED`] = false
		}
		for query, first := range seen {
			plan := planOf(t, storage, query)
			bad := []string{"TEMP B-TREE", "Sort", "filesort", "Seq Scan on activationlock", "type: ALL", "temporary"}
			if !first {
				bad = append(bad, "SCAN ", "type: index,")
			}
			for _, bad := range bad {
				require.NotContains(t, plan, bad, query)
			}
		}

		// What few devices have is found by it, where the database can choose.
		if storage.Dialect != sqlstore.SQLite {
			on(func(query string, execute func() error) error {
				if strings.Contains(query, "EXISTS") {
					plan := planOf(t, storage, query)
					require.Contains(t, plan, "activationlock_marks_name", query)
				}
				return execute()
			})
			for _, f := range []inventory.Filter{{Groups: []string{"few"}}, {Findings: []inventory.FindingKind{inventory.MayLock}}} {
				rows, err := s.List(t.Context(), inventory.Query{Filter: f, Limit: 100})
				require.NoError(t, err)
				require.Len(t, rows, n/100)
			}
			on(nil)
		}
	})
}

// planOf returns the plan of a query, whatever its arguments are.
func planOf(t *testing.T, storage database.Storage, query string) string {
	t.Helper()
	if storage.Dialect != sqlstore.PostgreSQL {
		db := storage.Open(t) // a connection that knows what ANALYZE found
		prefix := "EXPLAIN "
		if storage.Dialect == sqlstore.SQLite {
			prefix = "EXPLAIN QUERY PLAN "
		}
		return planOn(t, db, prefix+query, make([]any, strings.Count(query, "?"))...)
	}
	db := storage.With("plan_cache_mode", "force_generic_plan").With("enable_seqscan", "off").Open(t)
	db.SetMaxOpenConns(1)
	_, err := db.Exec("PREPARE planned AS " + query)
	require.NoError(t, err)
	n := 0
	for strings.Contains(query, fmt.Sprint("$", n+1)) {
		n++
	}
	execute := "EXPLAIN EXECUTE planned"
	if n > 0 {
		execute += "(" + strings.TrimPrefix(strings.Repeat(", NULL", n), ", ") + ")"
	}
	return planOn(t, db, execute)
}

func planOn(t *testing.T, db *sql.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
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

// An update that changes nothing writes nothing; but for MySQL, which shows what is
// not on the disk yet.
func TestUnchangedRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, _ := tap.Store(t)
		s := store.Inventory()
		require.NoError(t, s.Update(t.Context(), "device", due(100)))
		var written []string
		on(func(query string, execute func() error) error {
			if strings.HasPrefix(query, "UPDATE") || strings.HasPrefix(query, "INSERT") {
				written = append(written, query)
			}
			return execute()
		})
		require.NoError(t, s.Update(t.Context(), "device", func(*inventory.Record) error { return nil }))
		require.NoError(t, s.Update(t.Context(), "device", due(100)))
		if storage.Dialect == sqlstore.MySQL {
			require.Len(t, written, 2)
			require.Contains(t, written[0], "SET unchanged = unchanged + 1 WHERE")
		} else {
			require.Empty(t, written)
		}
		written = nil
		require.NoError(t, s.Update(t.Context(), "device", due(200)))
		require.Len(t, written, 1, "groups and findings are the same")
		require.NoError(t, s.Update(t.Context(), "device", func(r *inventory.Record) error { r.Groups = nil; return nil }))
		require.Len(t, written, 3)
	})
}

// A record whose body was damaged is what the other columns say, and is mended by
// the next update.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		s := store.Inventory()
		for _, body := range []string{"", "{", "null and void", `{"Facts":1}`} {
			require.NoError(t, s.Update(t.Context(), "device", func(r *inventory.Record) error {
				r.TokenAt, r.CodeID = noon, "code"
				r.Facts.Supervised = new(true)
				return due(100)(r)
			}))
			rows, err := s.List(t.Context(), inventory.Query{Limit: 10})
			require.NoError(t, err)
			_, err = db.Exec("UPDATE activationlock_devices SET body = '" + body + "'")
			require.NoError(t, err)
			_, err = db.Exec("INSERT INTO activationlock_marks (enrollment_id, kind, name, is_set) VALUES ('device', 'group', 'damaged " + body + "', 1)")
			require.NoError(t, err)
			got, err := s.Get(t.Context(), "device")
			require.NoError(t, err)
			want := inventory.RowOf(&got)
			want.Cursor = rows[0].Cursor
			require.Equal(t, want, rows[0], body)
			require.True(t, got.Live())
			list, err := s.BySerialNumber(t.Context(), "serial 100")
			require.NoError(t, err)
			require.Equal(t, []inventory.Record{got}, list)
			require.NoError(t, s.Update(t.Context(), "device", func(r *inventory.Record) error {
				require.Equal(t, got, *r)
				return nil
			}))
			again, err := s.Get(t.Context(), "device")
			require.NoError(t, err)
			require.Equal(t, got, again)
			for group, n := range map[string]int{"damaged " + body: 0, "few": 1} {
				rows, err := s.List(t.Context(), inventory.Query{Filter: inventory.Filter{Groups: []string{group}}, Limit: 10})
				require.NoError(t, err)
				require.Len(t, rows, n)
			}
		}
		for _, column := range []string{"findings", "group_names"} {
			for _, value := range []string{"x", "9:few", "-1:few", "3 x 1 7:mayLock", "3 1", "99999999999999999999:a"} {
				_, err := db.Exec("UPDATE activationlock_devices SET " + column + " = '" + value + "'")
				require.NoError(t, err)
				rows, err := s.List(t.Context(), inventory.Query{Limit: 10})
				require.NoError(t, err)
				require.Len(t, rows, 1)
			}
		}
	})
}

// What a newer version wrote is read, and not overwritten.
func TestNewerRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		s := store.Inventory()
		require.NoError(t, s.Update(t.Context(), "device", due(1)))
		want, err := s.Get(t.Context(), "device")
		require.NoError(t, err)
		concat := "'{\"Later\":[1],' || substr(body, 2)"
		if storage.Dialect == sqlstore.MySQL {
			concat = "CONCAT('{\"Later\":[1],', substr(body, 2))"
		}
		_, err = db.Exec("UPDATE activationlock_devices SET body = " + concat)
		require.NoError(t, err)
		got, err := s.Get(t.Context(), "device")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.ErrorContains(t, s.Update(t.Context(), "device", func(*inventory.Record) error {
			t.Error("called")
			return nil
		}), "a newer version of this library")
		claims, err := s.Claim(t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, claims, 1)
		require.NoError(t, s.Release(t.Context(), claims[0]))
	})
}

// What cannot be kept is refused, and no error quotes it.
func TestUnkeepableRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, _ := storage.Store(t)
		s := store.Inventory()
		require.Error(t, s.Update(t.Context(), "", due(1)))
		require.Error(t, s.Update(t.Context(), "\xff", due(1)))
		long := strings.Repeat("secret", 100)
		for i, edit := range []func(*inventory.Record){
			func(r *inventory.Record) { r.Facts.DeviceName = "secret\xff" },
			func(r *inventory.Record) { r.Facts.DeviceName = "secret\x00" },
			func(r *inventory.Record) { r.Facts.DeviceName = long },
			func(r *inventory.Record) { r.ParentID = "secret\xff" },
			func(r *inventory.Record) { r.Groups = []string{"secret\xff"} },
			func(r *inventory.Record) { r.Groups = []string{long} },
			func(r *inventory.Record) {
				r.Summary.Findings = []inventory.Finding{{Kind: inventory.FindingKind(long)}}
			},
			func(r *inventory.Record) { r.LastSeen = noon.In(time.FixedZone("secret", 3600)) },
			func(r *inventory.Record) { r.LastSeen = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC) },
			func(r *inventory.Record) { r.ParentID = strings.Repeat("secret", 200_000) },
		} {
			err := s.Update(t.Context(), "device", func(r *inventory.Record) error { edit(r); return nil })
			require.ErrorContains(t, err, "cannot be kept", i)
			require.NotContains(t, err.Error(), "secret")
			_, err = s.Get(t.Context(), "device")
			require.ErrorIs(t, err, inventory.ErrNotFound)
		}
	})
}

// On servers, a record that was read before is written with one question more, and by
// a transaction if that read is of no use any more: nothing of another server gets lost.
func TestUpdateOfWhatWasRead(t *testing.T) {
	t.Parallel()
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		updatesWhatWasRead(t, sqlstore.PostgreSQL, "pg_try_advisory_xact_lock", "default_transaction_isolation", "serializable")
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		updatesWhatWasRead(t, sqlstore.MySQL, "lock_wait_timeout", "tx_isolation", "'SERIALIZABLE'")
	})
}

// The sign is in statements that do not wait. The usual isolation of a server may be any.
func updatesWhatWasRead(t *testing.T, d sqlstore.Dialect, sign, isolation, strictest string) {
	storage := database.New(t, d)
	tap, on := tapped(t, storage)
	store, db := tap.Store(t)
	s := store.Inventory()
	another, _ := storage.With(isolation, strictest).Store(t)
	other := another.Inventory()
	// A name of its own: the locks of PostgreSQL are those of all schemas.
	id := "device " + rand.Text()
	named := func(name string) func(*inventory.Record) error {
		return func(r *inventory.Record) error { r.Facts.DeviceName += name; return nil }
	}
	var statements []string
	on(func(query string, execute func() error) error {
		statements = append(statements, query)
		return execute()
	})
	updates := func(change func(*inventory.Record) error) (asked int) {
		t.Helper()
		statements = nil
		require.NoError(t, s.Update(t.Context(), id, change))
		return len(statements)
	}
	get := func(s inventory.Store) inventory.Record {
		t.Helper()
		r, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		return r
	}
	transaction := updates(due(1))
	require.Greater(t, transaction, 1, "there is no record")
	require.Equal(t, transaction, updates(named("a")), "it was not read")
	get(s)
	require.Equal(t, 1, updates(named("b")))
	require.Contains(t, statements[0], sign)
	if d == sqlstore.MySQL {
		// MariaDB has words for that. To MySQL they are a comment, and it waits.
		same := regexp.MustCompile(` AND body = \S+`).ReplaceAllString(statements[0], "")
		same = strings.Replace(same, " SET serial_number", " SET unchanged = unchanged + 1, serial_number", 1)
		for _, statement := range []string{same, regexp.MustCompile(`/\*.*?\*/`).ReplaceAllString(same, "")} {
			result, err := db.Exec(statement)
			require.NoError(t, err)
			n, err := result.RowsAffected()
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
		}
	}
	require.Equal(t, transaction, updates(named("c")), "it was not read since")
	_, err := s.BySerialNumber(t.Context(), "serial 1")
	require.NoError(t, err)
	require.Equal(t, 1, updates(named("d")))

	get(s)
	require.NoError(t, other.Update(t.Context(), id, named("e")))
	require.Equal(t, 1+transaction, updates(named("f")))
	require.Equal(t, "name 1abcdef", get(other).Facts.DeviceName)

	// An error of what it was is none of what it is, and neither is that there is nothing
	// to write.
	get(s)
	require.NoError(t, other.Update(t.Context(), id, named("g")))
	require.Equal(t, transaction, updates(func(r *inventory.Record) error {
		if !strings.HasSuffix(r.Facts.DeviceName, "g") {
			return errors.New("the past")
		}
		return named("h")(r)
	}))
	get(s)
	require.NoError(t, other.Update(t.Context(), id, named("i")))
	updates(func(r *inventory.Record) error {
		if strings.HasSuffix(r.Facts.DeviceName, "i") {
			return named("j")(r)
		}
		return nil
	})
	require.Equal(t, "name 1abcdefghij", get(other).Facts.DeviceName)

	// Nothing is written of a change that fails, nor of none.
	get(s)
	require.Error(t, s.Update(t.Context(), id, func(r *inventory.Record) error { return errors.Join(named("x")(r), errors.New("no")) }))
	get(s)
	updates(func(*inventory.Record) error { return nil })
	require.NotContains(t, strings.Join(statements, "\n"), sign)
	require.Equal(t, "name 1abcdefghij", get(other).Facts.DeviceName)

	// What filters find a record by is written with it.
	get(s)
	require.Greater(t, updates(func(r *inventory.Record) error { r.SetGroups("new"); return nil }), transaction)
	rows, err := s.List(t.Context(), inventory.Query{Filter: inventory.Filter{Groups: []string{"new"}}, Limit: 9})
	require.NoError(t, err)
	require.Len(t, rows, 1)

	// It waits while another one changes it, though it is what was read.
	get(s)
	changing, change := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	third, _ := storage.Store(t) // which has read nothing
	go func() {
		done <- third.Inventory().Update(t.Context(), id, func(r *inventory.Record) error {
			close(changing)
			<-change
			return named("k")(r)
		})
	}()
	<-changing
	waits := make(chan struct{})
	on(func(query string, execute func() error) error {
		if strings.Contains(query, "lock_record") {
			close(waits)
		}
		return execute()
	})
	go func() { done <- s.Update(t.Context(), id, named("l")) }()
	<-waits
	close(change)
	require.NoError(t, errors.Join(<-done, <-done))
	on(nil)
	require.Equal(t, "name 1abcdefghijkl", get(s).Facts.DeviceName)

	// A caller that is gone is told so, and nothing is written.
	ctx, cancel := context.WithCancel(t.Context())
	err = s.Update(ctx, id, func(r *inventory.Record) error { cancel(); return named("m")(r) })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "name 1abcdefghijkl", get(other).Facts.DeviceName)

	// Nor does it wait for long, and write then, where there is no connection for it.
	get(s)
	db.SetMaxOpenConns(1)
	only, err := db.Conn(t.Context())
	require.NoError(t, err)
	ctx, cancel = context.WithCancel(t.Context())
	waited := db.Stats().WaitCount
	go func() { done <- s.Update(ctx, id, named("n")) }()
	for db.Stats().WaitCount == waited {
		runtime.Gosched()
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, only.Close())
	db.SetMaxOpenConns(0)
	require.Equal(t, "name 1abcdefghijkl", get(other).Facts.DeviceName)

	// Many read and write at once.
	for i := range 4 {
		go func() {
			s := []inventory.Store{s, other}[i%2]
			for range 25 {
				if _, err := s.Get(t.Context(), id); err != nil {
					done <- err
					return
				}
				if err := s.Update(t.Context(), id, func(r *inventory.Record) error { r.LastSeen = r.LastSeen.Add(time.Second); return nil }); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	before := noon.Add(time.Second)
	require.NoError(t, errors.Join(<-done, <-done, <-done, <-done))
	require.Equal(t, before.Add(100*time.Second), get(s).LastSeen)
}

// A lock on the table is waited for no longer than the caller likes.
func TestUpdateOfLockedTableOnMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	tap, on := tapped(t, storage)
	store, _ := tap.Store(t)
	another, db := storage.Store(t)
	s := store.Inventory()
	require.NoError(t, s.Update(t.Context(), "device", due(1)))
	before, err := s.Get(t.Context(), "device")
	require.NoError(t, err)
	other, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), "LOCK TABLES activationlock_devices WRITE")
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	on(func(query string, execute func() error) error {
		if strings.Contains(query, "lock_record") {
			cancel()
		}
		return execute()
	})
	err = s.Update(ctx, "device", func(r *inventory.Record) error { r.Facts.DeviceName = "late"; return nil })
	require.ErrorIs(t, err, context.Canceled)
	_, err = other.ExecContext(t.Context(), "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	after, err := another.Inventory().Get(t.Context(), "device")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A connection that commits nothing by itself is an error, and nothing gets lost in
// silence.
func TestUpdateWithoutAutocommitOnMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	other, _ := storage.Store(t)
	require.NoError(t, other.Inventory().Update(t.Context(), "device", due(1)))
	before, err := other.Inventory().Get(t.Context(), "device")
	require.NoError(t, err)
	store, db := storage.With("autocommit", "0").Store(t)
	s := store.Inventory()
	_, err = s.Get(t.Context(), "device")
	require.NoError(t, err)
	require.Error(t, s.Update(t.Context(), "device", func(r *inventory.Record) error { r.Facts.DeviceName = "lost"; return nil }))
	require.NoError(t, db.Close())
	after, err := other.Inventory().Get(t.Context(), "device")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// All that writes waits for the disk.
func TestInventoryWaitsForPostgreSQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.PostgreSQL)
	_, db := storage.Store(t)
	for _, statement := range []string{
		"CREATE TABLE seen (setting TEXT)",
		`CREATE FUNCTION see() RETURNS TRIGGER LANGUAGE plpgsql AS $$
			BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$`,
		"CREATE TRIGGER see BEFORE INSERT OR UPDATE ON activationlock_devices FOR EACH ROW EXECUTE FUNCTION see()",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	store, err := sqlstore.New(storage.With("synchronous_commit", "off").Open(t), sqlstore.PostgreSQL)
	require.NoError(t, err)
	s := store.Inventory()
	require.NoError(t, s.Update(t.Context(), "device", due(1)))
	require.NoError(t, s.Update(t.Context(), "device", due(2)))
	_, err = s.Get(t.Context(), "device")
	require.NoError(t, err)
	require.NoError(t, s.Update(t.Context(), "device", due(3))) // which is not in a transaction
	claims, err := s.Claim(t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 10)
	require.NoError(t, err)
	require.NoError(t, s.Release(t.Context(), claims[0]))
	var on, all int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FILTER (WHERE setting = 'on'), COUNT(*) FROM seen").Scan(&on, &all))
	require.Equal(t, []int{5, 5}, []int{on, all})
}

// The rights that package sqlstore names are enough: nothing is deleted.
func TestInventoryRightsOnMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	db := storage.Open(t)
	name := "user_" + strings.ToLower(rand.Text())[:12]
	var schema string
	require.NoError(t, db.QueryRow("SELECT DATABASE()").Scan(&schema))
	user := "'" + name + "'@'%'"
	_, err := db.Exec("CREATE USER " + user)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec("DROP USER " + user)
		require.NoError(t, err)
	})
	_, err = db.Exec("GRANT CREATE, SELECT, INSERT, UPDATE, EXECUTE, CREATE ROUTINE ON " + schema + ".* TO " + user)
	require.NoError(t, err)
	storage.Source = name + strings.TrimPrefix(storage.Source, "root")
	store, _ := storage.Store(t)
	s := store.Inventory()
	for i := range 3 {
		require.NoError(t, s.Update(t.Context(), "device", due(99+i)))
	}
	claims, err := s.Claim(t.Context(), noon.Add(time.Hour), noon.Add(2*time.Hour), 10)
	require.NoError(t, err)
	require.NoError(t, s.Release(t.Context(), claims[0]))
	_, err = s.Totals(t.Context(), inventory.Filter{}, noon)
	require.NoError(t, err)
}

// Whatever a connection is set to, the store means the same.
func TestInventoryConnectionsOfMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	plain, _ := storage.Store(t)
	for i, s := range []database.Storage{
		storage.With("charset", "latin1"), storage.With("interpolateParams", "true"), storage.With("parseTime", "true"),
		storage.With("clientFoundRows", "true"), storage.With("tx_isolation", "'SERIALIZABLE'"),
		storage.With("sql_mode", "'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT'"),
	} {
		store, err := sqlstore.New(s.Open(t), sqlstore.MySQL)
		require.NoError(t, err)
		id := fmt.Sprint("\U0001F511 \u00e9\\'\"%_ ", i)
		require.NoError(t, store.Inventory().Update(t.Context(), id, func(r *inventory.Record) error {
			r.Facts.DeviceName, r.Summary.DueAt = id+" Name", noon
			return nil
		}), s.Source)
		for _, reader := range []*sqlstore.Store{plain, store} {
			q := inventory.Query{Filter: inventory.Filter{Text: id + " NAME"}, Limit: 10}
			rows, err := reader.Inventory().List(t.Context(), q)
			require.NoError(t, err)
			require.Len(t, rows, 1, s.Source)
			require.Equal(t, id, rows[0].EnrollmentID)
		}
		claims, err := store.Inventory().Claim(t.Context(), noon, noon.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, claims, 1, s.Source)
		c, err := plain.Inventory().Claim(t.Context(), noon, noon.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Empty(t, c, s.Source)
		require.NoError(t, store.Inventory().Release(t.Context(), claims[0]))
		c, err = plain.Inventory().Claim(t.Context(), noon, noon.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, c, 1, s.Source)
	}
}
