package database_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

func action(id, serialNumber string) bypass.Action {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return bypass.Action{
		ID: id, Subject: escrow.Subject{SerialNumber: serialNumber}, By: escrow.Act{Actor: "tester", Reason: "test"}, State: bypass.Pending,
		Attempts: []bypass.Attempt{{RecordID: "1", Kind: bypasscode.Device, Outcome: apple.NotFound}}, StartedAt: noon,
	}
}

// sameActions checks the IDs of all actions.
func sameActions(t *testing.T, s bypass.Store, want ...string) {
	t.Helper()
	list, err := s.Scan(t.Context(), "", 1000, false)
	require.NoError(t, err)
	got := []string{}
	for _, a := range list {
		got = append(got, a.ID)
	}
	require.ElementsMatch(t, want, got)
}

func noChange(*bypass.Action) error { return nil }

// Each statement fails, before it is executed or after. The call gives an error
// then, is done or is not, and leaves nothing behind.
func TestFaultAtEachStatementOfActions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		plain, _ := storage.Store(t)
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		counted := action("count", "counts")
		require.NoError(t, store.Actions().Create(t.Context(), counted))
		there, tries := []string{"count"}, 0
		for _, after := range []bool{false, true} {
			for _, kind := range []string{"create", "update", "open"} {
				for at := 1; ; at++ {
					name := fmt.Sprint(kind, " after ", after, ", statement ", at)
					n, failed := 0, ""
					on(func(query string, execute func() error) error {
						if n++; n != at {
							return execute()
						}
						failed = query
						if after {
							if err := execute(); err != nil {
								require.Equal(t, "open", kind, err)
							}
						}
						return errDriver
					})
					a := action(name, name)
					var err error
					switch kind {
					case "create":
						err = store.Actions().Create(t.Context(), a)
					case "update":
						err = store.Actions().Update(t.Context(), "count", func(a *bypass.Action) error { a.Attempts[0].Tries++; return nil })
					case "open":
						a.Subject.SerialNumber = "counts"
						err = store.Actions().Create(t.Context(), a)
					}
					on(nil)
					givenBack(t, db)
					done := failed == "" || after && strings.Contains(failed, "COMMIT")
					if done && kind == "create" {
						there = append(there, name)
					}
					if done && kind == "update" {
						tries++
					}
					if failed == "" {
						if kind == "open" {
							require.ErrorIs(t, err, bypass.ErrOpen)
						} else {
							require.NoError(t, err, name)
						}
						require.Greater(t, at, 2)
					} else {
						require.Error(t, err, "%s: %s", name, failed)
						if storage.Dialect != sqlstore.SQLite {
							require.NotContains(t, err.Error(), serial, failed)
						}
					}
					sameActions(t, store.Actions(), there...)
					got, err := plain.Actions().Get(t.Context(), "count")
					require.NoError(t, err)
					require.Equal(t, tries, got.Attempts[0].Tries, name)
					require.NoError(t, plain.Actions().Update(t.Context(), "count", noChange), "nothing is locked")
					if failed == "" {
						break
					}
				}
			}
		}
	})
}

// A transaction that the database gives up is tried again, and what was refused
// is not.
func TestTurnLostOfActions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, _ := tap.Store(t)
		lose := func(prefix string, times int) *int {
			n := 0
			on(func(q string, execute func() error) error {
				if strings.HasPrefix(q, prefix) {
					if n++; n <= times {
						return turnLost{storage.Dialect}
					}
				}
				return execute()
			})
			return &n
		}
		inserts := lose("INSERT INTO activationlock_actions", 4)
		require.NoError(t, store.Actions().Create(t.Context(), action("1", serial)))
		require.Equal(t, 5, *inserts)
		*inserts = 4
		require.ErrorIs(t, store.Actions().Create(t.Context(), action("2", serial)), bypass.ErrOpen)
		require.Equal(t, 5, *inserts)
		inserts = lose("INSERT INTO activationlock_actions", 5)
		require.Error(t, store.Actions().Create(t.Context(), action("3", "another")))
		require.Equal(t, 5, *inserts)

		updates, calls := lose("UPDATE activationlock_actions", 4), 0
		require.NoError(t, store.Actions().Update(t.Context(), "1", func(a *bypass.Action) error {
			calls++
			a.Attempts[0].Tries++
			return nil
		}))
		require.Equal(t, []int{5, 5}, []int{*updates, calls})
		a, err := store.Actions().Get(t.Context(), "1")
		require.NoError(t, err)
		require.Equal(t, 1, a.Attempts[0].Tries, "each call has what is stored")
		on(nil)
		sameActions(t, store.Actions(), "1")
	})
}

// How often a database is asked.
func TestRoundTripsOfActions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, _ := tap.Store(t)
		s := store.Actions()
		_, err := s.Get(t.Context(), "1") // prepares
		require.ErrorIs(t, err, bypass.ErrNotFound)
		asks := func(do func() error, want error) int {
			var list []string
			on(func(query string, execute func() error) error {
				list = append(list, query)
				return execute()
			})
			defer on(nil)
			require.ErrorIs(t, do(), want)
			t.Log(len(list), list)
			return len(list)
		}
		most := map[sqlstore.Dialect][]int{sqlstore.SQLite: {5, 6, 6}, sqlstore.PostgreSQL: {4, 5, 4}, sqlstore.MySQL: {3, 4, 3}}[storage.Dialect]
		require.LessOrEqual(t, asks(func() error { return s.Create(t.Context(), action("1", serial)) }, nil), most[0])
		require.LessOrEqual(t, asks(func() error { return s.Create(t.Context(), action("2", serial)) }, bypass.ErrOpen), most[1])
		require.LessOrEqual(t, asks(func() error { return s.Update(t.Context(), "1", noChange) }, nil), most[2])
	})
}

// What an update may not do is an error, and changes nothing.
func TestUpdatesThatAreRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		s := store.Actions()
		a := action("1", serial)
		a.State = bypass.Done
		require.NoError(t, s.Create(t.Context(), a))
		for _, change := range []func(*bypass.Action){
			func(a *bypass.Action) { a.ID = "2" },
			func(a *bypass.Action) { a.Subject.SerialNumber = "another" },
			func(a *bypass.Action) { a.Subject = escrow.Subject{EnrollmentID: enrollment} },
			func(a *bypass.Action) { a.State = bypass.Active },
			func(a *bypass.Action) { a.By.Reason = "\xff" },
		} {
			err := s.Update(t.Context(), "1", func(a *bypass.Action) error { change(a); return nil })
			require.Error(t, err)
			require.NotContains(t, err.Error(), serial)
			givenBack(t, db)
			got, err := s.Get(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, a, got)
		}
	})
}

// The body was damaged on the disk. That keeps nobody from other actions, nor the
// device from another one once the action is ended.
func TestDamagedBody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		s := store.Actions()
		for i, body := range []string{"", "{", "secret", `{"ID":7}`, `{"ID":"secret"`} {
			id, of := fmt.Sprint(i), fmt.Sprint("serial ", i)
			require.NoError(t, s.Create(t.Context(), action(id, of)))
			_, err := db.Exec("UPDATE activationlock_actions SET body = '" + body + "' WHERE id = '" + id + "'")
			require.NoError(t, err)
			a, err := s.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, bypass.Action{ID: id, Subject: escrow.Subject{SerialNumber: of}, State: bypass.Pending, StartedAt: action(id, of).StartedAt}, a)
			list, err := s.OfDevice(t.Context(), of)
			require.NoError(t, err)
			require.Equal(t, []bypass.Action{a}, list)
			list, err = s.Scan(t.Context(), "", 10, true)
			require.NoError(t, err)
			require.Equal(t, []bypass.Action{a}, list)
			require.ErrorIs(t, s.Create(t.Context(), action("next", of)), bypass.ErrOpen)
			require.Equal(t, bypass.GiveUp, a.Next(time.Now()).Do)
			require.NoError(t, s.Update(t.Context(), id, func(a *bypass.Action) error { a.State = bypass.Failed; return nil }))
			require.NoError(t, s.Create(t.Context(), action("after "+id, of)))
			require.NoError(t, s.Update(t.Context(), "after "+id, func(a *bypass.Action) error { a.State = bypass.Done; return nil }))
		}
	})
}

// A newer version's action is shown, and not written: that would lose what it has
// more.
func TestNewerBody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		store, db := storage.Store(t)
		s := store.Actions()
		for i, at := range []string{`{"ID"`, `{"RecordID"`} {
			a := action(fmt.Sprint(i), fmt.Sprint(i))
			require.NoError(t, s.Create(t.Context(), a))
			text := "body"
			if storage.Dialect == sqlstore.MySQL {
				text = "CAST(body AS CHAR)"
			}
			_, err := db.Exec("UPDATE activationlock_actions SET body = REPLACE(" + text + ", '" + at + `', '{"Newer":"secret",` + at[1:] + "') WHERE id = '" + a.ID + "'")
			require.NoError(t, err)
			got, err := s.Get(t.Context(), a.ID)
			require.NoError(t, err)
			require.Equal(t, a, got)
			list, err := s.Scan(t.Context(), "", 10, true)
			require.NoError(t, err)
			require.Len(t, list, i+1)
			err = s.Update(t.Context(), a.ID, func(*bypass.Action) error { t.Error("changed"); return nil })
			require.ErrorContains(t, err, "newer version")
			require.NotContains(t, err.Error(), "secret")
			var body string
			require.NoError(t, db.QueryRow("SELECT body FROM activationlock_actions WHERE id = '"+a.ID+"'").Scan(&body))
			require.Contains(t, body, "secret")
		}
	})
}

// A walk goes on after an ID that was damaged.
func TestDamagedActionID(t *testing.T) {
	t.Parallel()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.MySQL} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			store, db := database.New(t, d).Store(t)
			for i := range 9 {
				require.NoError(t, store.Actions().Create(t.Context(), action(fmt.Sprint(i), fmt.Sprint(i))))
			}
			_, err := db.Exec("UPDATE activationlock_actions SET id = " + damaged(d) + " WHERE id = '7'")
			require.NoError(t, err)
			for _, open := range []bool{false, true} {
				seen, after := 0, ""
				for {
					page, err := store.Actions().Scan(t.Context(), after, 1, open)
					require.NoError(t, err)
					if len(page) == 0 {
						break
					}
					seen, after = seen+1, page[0].ID
				}
				require.Equal(t, 9, seen)
			}
		})
	}
}

// What the connection's characters, modes and isolation are makes no difference.
func TestActionsOnConnectionsOfMySQL(t *testing.T) {
	t.Parallel()
	storage := database.New(t, sqlstore.MySQL)
	plain, _ := storage.Store(t)
	const key = "\U0001F511 \u00e9\\'\"%_ "
	for i, s := range []database.Storage{
		storage.With("charset", "latin1"), storage.With("interpolateParams", "true"), storage.With("parseTime", "true"),
		storage.With("clientFoundRows", "true"), storage.With("sql_mode", "'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT'"),
		storage.With("tx_isolation", "'SERIALIZABLE'"), storage.With("tx_isolation", "'REPEATABLE-READ'"), storage.With("autocommit", "0"),
	} {
		store, err := sqlstore.New(s.Open(t), sqlstore.MySQL)
		require.NoError(t, err)
		a := action(fmt.Sprint(key, i), fmt.Sprint(i, key))
		a.By.Reason = key
		require.NoError(t, store.Actions().Create(t.Context(), a))
		require.ErrorIs(t, store.Actions().Create(t.Context(), a), bypass.ErrExists)
		require.ErrorIs(t, store.Actions().Create(t.Context(), action("second", a.Subject.SerialNumber)), bypass.ErrOpen)
		require.NoError(t, store.Actions().Update(t.Context(), a.ID, noChange))
		for _, reader := range []*sqlstore.Store{plain, store} {
			got, err := reader.Actions().Get(t.Context(), a.ID)
			require.NoError(t, err)
			require.Equal(t, a, got, s.Source)
			list, err := reader.Actions().OfDevice(t.Context(), a.Subject.SerialNumber)
			require.NoError(t, err)
			require.Equal(t, []bypass.Action{a}, list)
		}
	}
}

// While an action is changed, others can be, and codes, and actions be created.
func TestOtherActionsDoNotWait(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		if storage.Dialect == sqlstore.SQLite {
			t.Skip("SQLite has one writer")
		}
		one, _ := storage.Store(t)
		two, _ := storage.Store(t)
		names := []string{"a", "f", "m", "t", "z"}
		for _, name := range names {
			require.NoError(t, one.Actions().Create(t.Context(), action(name, name)))
		}
		var late sync.WaitGroup
		require.NoError(t, one.Actions().Update(t.Context(), "m", func(a *bypass.Action) error {
			for _, name := range names {
				if name != "m" {
					require.NoError(t, two.Actions().Update(t.Context(), name, noChange))
				}
				require.NoError(t, two.Actions().Create(t.Context(), action(name+" 2", name+" 2")))
			}
			of := escrow.Subject{SerialNumber: "m"}
			require.NoError(t, two.Escrow().Update(t.Context(), of, returning(entry("1", of))))
			require.ErrorIs(t, two.Actions().Create(t.Context(), action("m 3", "m")), bypass.ErrOpen)
			late.Go(func() {
				if err := two.Actions().Update(t.Context(), "m", func(b *bypass.Action) error {
					if b.Device.UDID != "first" {
						return errors.New("it did not wait")
					}
					return nil
				}); err != nil {
					t.Errorf("update: %v", err)
				}
			})
			a.Device.UDID = "first"
			return nil
		}))
		late.Wait()
	})
}

// No query goes through a whole table, nor through all that are over.
func TestPlansOfActions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, db := tap.Store(t)
		s := store.Actions()
		for i := range 400 { // so that it pays
			a := action(fmt.Sprint(i), fmt.Sprint("serial ", i/2))
			if a.State = bypass.Done; i%100 == 51 {
				a.State = bypass.Active
			}
			require.NoError(t, s.Create(t.Context(), a))
		}
		seen := map[string]bool{}
		on(func(query string, execute func() error) error {
			if strings.Contains(query, "FROM activationlock_actions") || strings.HasPrefix(query, "UPDATE") {
				seen[query] = true
			}
			return execute()
		})
		_, err := s.Get(t.Context(), "150")
		require.NoError(t, err)
		_, err = s.OfDevice(t.Context(), "serial 2")
		require.NoError(t, err)
		for _, open := range []bool{false, true} {
			_, err = s.Scan(t.Context(), "150", 10, open)
			require.NoError(t, err)
		}
		require.NoError(t, s.Update(t.Context(), "150", noChange))
		require.ErrorIs(t, s.Create(t.Context(), action("150", "serial 2")), bypass.ErrExists)
		on(nil)
		require.GreaterOrEqual(t, len(seen), 5)
		seen["SELECT * FROM activationlock_actions WHERE id = "+map[sqlstore.Dialect]string{
			sqlstore.SQLite: "?", sqlstore.PostgreSQL: "$1", sqlstore.MySQL: "? FOR UPDATE", // in a function or procedure
		}[storage.Dialect]] = true
		analyze := "ANALYZE"
		if storage.Dialect == sqlstore.MySQL {
			analyze = "ANALYZE TABLE activationlock_actions"
		}
		_, err = db.Exec(analyze)
		require.NoError(t, err)
		if storage.Dialect == sqlstore.SQLite {
			db = storage.Open(t) // a connection that knows what ANALYZE found
		}
		if storage.Dialect == sqlstore.PostgreSQL {
			db = storage.With("enable_seqscan", "off").Open(t) // which is better for small tables
		}
		for query := range seen {
			plan := explain(t, db, storage.Dialect, query)
			for _, whole := range []string{"SCAN activationlock", "Seq Scan", "type: ALL", "type: index,", "TEMP B-TREE", "filesort"} {
				require.NotContains(t, plan, whole, query)
			}
			if strings.Contains(query, "is_open = 1") {
				require.Contains(t, plan, "activationlock_actions_open", query)
			}
			if strings.Contains(query, "serial_number = ") && !strings.HasPrefix(query, "UPDATE") {
				require.Contains(t, plan, "activationlock_actions_serial_number", query)
			}
		}
	})
}

// Where numbers are missing, MariaDB is asked again, in a way that waits: a reader
// of it may see a commit and not the one before.
func TestAuditIsReadAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, storage database.Storage) {
		tap, on := tapped(t, storage)
		store, _ := tap.Store(t)
		appends := func(number int64) {
			require.NoError(t, store.Audit().Append(t.Context(), func(audit.Entry) ([]audit.Entry, error) {
				return []audit.Entry{{Number: number}}, nil
			}))
		}
		asks := func(after int64) (asked int) {
			on(func(query string, execute func() error) error {
				asked++
				return execute()
			})
			defer on(nil)
			_, err := store.Audit().Scan(t.Context(), after, 10)
			require.NoError(t, err)
			return asked
		}
		again := 1
		if storage.Dialect == sqlstore.MySQL {
			again = 2
		}
		require.Equal(t, 1, asks(-1))
		appends(1)
		appends(2)
		require.Equal(t, 1, asks(-1))
		require.Equal(t, 1, asks(2))
		appends(4)
		require.Equal(t, again, asks(-1))
		require.Equal(t, 1, asks(3))
	})
}

// Whatever the database's own collation is, identifiers of PostgreSQL are compared
// byte by byte, and sorted so.
func TestCollations(t *testing.T) {
	t.Parallel()
	_, db := database.New(t, sqlstore.PostgreSQL).Store(t)
	rows, err := db.Query(`SELECT c.relname || '.' || a.attname, l.collname FROM pg_attribute AS a
		JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_collation AS l ON l.oid = a.attcollation
		WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname IN ('activationlock_codes', 'activationlock_joins', 'activationlock_actions')
			AND a.attname IN ('id', 'serial_number', 'enrollment_id')`)
	require.NoError(t, err)
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var column, collation string
		require.NoError(t, rows.Scan(&column, &collation))
		require.Equal(t, "C", collation, column)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, 8, n)
}
