package database_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
)

// damaged is text that is none, and what is seen of it.
func damaged(d sqlstore.Dialect) (literal string) {
	if d == sqlstore.MySQL {
		return "X'ff33'"
	}
	return "CAST(X'ff33' AS TEXT)"
}

// A field that was damaged on the disk does not keep a device's new code out, nor
// anything else that changes its record. PostgreSQL itself keeps what is no UTF-8
// out of the table.
func TestDamagedText(t *testing.T) {
	t.Parallel()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.MySQL} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			storage := database.New(t, d)
			store, db := storage.Store(t)
			codes := escrowOn(t, store.Escrow())
			noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			capture := func(of escrow.Subject, hour int) escrow.Record {
				at := noon.Add(time.Duration(hour) * time.Hour)
				r, err := codes.Capture(t.Context(), escrow.Capture{
					Subject: of, Kind: bypasscode.Device, Text: bypasscode.NewText(bypasscode.New().Reveal()),
					Cause: escrow.CauseSchedule, CommandUUID: fmt.Sprint(hour), ReceivedAt: at, Device: escrow.Device{UDID: "udid"},
				})
				require.NoError(t, err)
				return r
			}
			for i, column := range []string{
				"state_reason", "cause", "given_by", "command_uuid", "stale_reason", "device_serial_number", "device_udid",
				"device_product_type", "device_imei", "device_imei2", "device_meid", "hash", "digest",
			} {
				of := escrow.Subject{SerialNumber: fmt.Sprint("serial ", i)}
				old := capture(of, 1)
				_, err := db.Exec("UPDATE activationlock_codes SET "+column+" = "+damaged(d)+" WHERE id = ?", old.ID)
				require.NoError(t, err)
				require.NoError(t, codes.MarkStale(t.Context(), of, "erased", noon.Add(90*time.Minute)), column)
				fresh := capture(of, 2)
				records, err := codes.Records(t.Context(), of)
				require.NoError(t, err, column)
				require.Len(t, records, 2, column)
				require.Equal(t, fresh, records[0], column)
				require.Equal(t, escrow.Superseded, records[1].State, column)
				_, err = codes.Mark(t.Context(), of, old.ID, escrow.Verdict{State: escrow.Void, Reason: "404", At: noon})
				require.NoError(t, err, column)
				require.NoError(t, codes.Delete(t.Context(), of, noon), column)
			}
		})
	}
}

// A walk goes on after an ID that was damaged.
func TestDamagedID(t *testing.T) {
	t.Parallel()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.MySQL} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			store, db := database.New(t, d).Store(t)
			var entries []escrow.Entry
			for i := range 20 {
				entries = append(entries, entry(fmt.Sprintf("%02d", i), subject))
			}
			require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entries...)))
			_, err := db.Exec("UPDATE activationlock_codes SET id = " + damaged(d) + " WHERE id = '07'")
			require.NoError(t, err)
			seen, after := 0, ""
			for {
				page, err := store.Escrow().Scan(t.Context(), after, 1)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				seen, after = seen+1, page[0].ID
			}
			require.Equal(t, 20, seen)
		})
	}
}

// Tables in another schema than the first of the path must not be hidden behind
// new ones: all codes would seem to be gone.
func TestOtherSchemaFirst(t *testing.T) {
	t.Parallel()
	theirs, first := database.New(t, sqlstore.PostgreSQL), database.New(t, sqlstore.PostgreSQL)
	store, _ := theirs.Store(t)
	require.NoError(t, store.Escrow().Update(t.Context(), subject, returning(entry("1", subject))))
	schema := func(s database.Storage) (name string) {
		require.NoError(t, s.Open(t).QueryRow("SELECT current_schema()").Scan(&name))
		return name
	}
	db, err := sql.Open(first.Driver, first.Source+","+schema(theirs))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	both, err := sqlstore.New(db, sqlstore.PostgreSQL)
	require.NoError(t, err)
	require.ErrorContains(t, both.Migrate(t.Context()), "another schema")

	db, err = sql.Open(first.Driver, theirs.Source+","+schema(first)) // the other way round is well
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	both, err = sqlstore.New(db, sqlstore.PostgreSQL)
	require.NoError(t, err)
	require.NoError(t, both.Migrate(t.Context()))
	same(t, both.Escrow(), subject, "1")
}
