package benchmark

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
)

// claimed is the number of records that are due.
const claimed = 1000

// dueAt is when that many are.
var dueAt = noon.Add((claimed - 1) * time.Second)

// fleet is an inventory of a number of devices.
type fleet struct {
	storage database.Storage
	store   inventory.Store
	db      *sql.DB
	devices int // and one
}

func newFleet(b *testing.B, d sqlstore.Dialect, devices int, and ...func(*inventory.Record)) *fleet {
	b.Helper()
	storage := database.New(b, d)
	opened, db := storage.Store(b)
	db.SetMaxIdleConns(8) // or each turn would connect anew
	database.Fill(b, db, d, devices, func(r *inventory.Record) error {
		r.Facts.SerialNumber, r.Facts.DeviceName, r.Facts.Supervised = "XXFAKE0SER1", "iPad of Anna", new(true)
		r.Facts.ProductName, r.Facts.ModelName, r.Facts.OSVersion = "iPad14,8", "iPad Air 11-inch (M2)", "26.1"
		r.Ownership, r.TokenAt, r.LastSeen = inventory.Company, noon, noon
		r.SetGroups("many")
		r.Summary = inventory.Summary{
			Status: activationlock.NotEnabled, Reassign: activationlock.VerdictUnknown, CodeSince: noon, InventoryAt: noon, DueAt: noon, At: noon,
			Findings: []inventory.Finding{{Kind: inventory.NotSeen, Severity: inventory.Warning, Since: noon, Days: 14}},
		}
		for _, change := range and {
			change(r)
		}
		return nil
	})
	return &fleet{storage, opened.Inventory(), db, devices}
}

// claim claims what is due. The claims are over at once.
func (f *fleet) claim(b *testing.B) {
	claims, err := f.store.Claim(b.Context(), dueAt, dueAt, claimed)
	if err != nil || len(claims) != claimed {
		b.Fatal(len(claims), err)
	}
}

func (f *fleet) claimAndRelease(b *testing.B) {
	claims, err := f.store.Claim(b.Context(), dueAt, dueAt.Add(time.Hour), 1)
	if err != nil || len(claims) != 1 {
		b.Fatal(len(claims), err)
	}
	if err := f.store.Release(b.Context(), claims[0]); err != nil {
		b.Fatal(err)
	}
}

// update has the device be seen once more.
func (f *fleet) update(b *testing.B, seen time.Time) {
	if err := f.store.Update(b.Context(), "device", func(r *inventory.Record) error {
		r.LastSeen = seen
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

// plainUpdate returns a function that does the same of any device, with what the
// store has written before, with nothing but database/sql.
func (f *fleet) plainUpdate(b *testing.B, seen ...time.Time) func(enrollmentID string, i int) {
	query := "UPDATE activationlock_devices SET last_seen = ?, body = ? WHERE enrollment_id = ?"
	if f.storage.Dialect == sqlstore.PostgreSQL {
		query = "UPDATE activationlock_devices SET last_seen = $1, body = $2 WHERE enrollment_id = $3"
	}
	statement, err := f.db.PrepareContext(b.Context(), query)
	require.NoError(b, err)
	b.Cleanup(func() { statement.Close() })
	bodies := make([]string, len(seen))
	for i, at := range seen {
		f.update(b, at)
		require.NoError(b, f.db.QueryRowContext(b.Context(), "SELECT body FROM activationlock_devices WHERE enrollment_id = 'device'").Scan(&bodies[i]))
	}
	return func(enrollmentID string, i int) {
		i %= len(seen)
		if _, err := statement.ExecContext(b.Context(), seen[i].UnixMicro(), bodies[i], enrollmentID); err != nil {
			b.Error(err)
		}
	}
}

// report writes all records as CSV.
func (f *fleet) report(b *testing.B) {
	n, err := inventory.WriteCSV(io.Discard, inventory.Rows(b.Context(), f.store, inventory.Query{}), activationlock.English)
	if err != nil || n != f.devices+1 {
		b.Fatal(n, err)
	}
}

// plainReport writes the columns that a report reads as they are, in its order.
func (f *fleet) plainReport(b *testing.B) {
	rows, err := f.db.QueryContext(b.Context(), `SELECT enrollment_id, serial_number, device_name, model_name, product_name, platform, os_version,
		ownership, group_names, supervised, live, last_seen, status, lock_kind, reassign, code_since, inventory_at, findings, summary_at, due_at
		FROM activationlock_devices ORDER BY enrollment_id`)
	require.NoError(b, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(b, err)
	values := make([]sql.NullString, len(names))
	into, cells := make([]any, len(names)), make([]string, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	out := csv.NewWriter(io.Discard)
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			b.Fatal(err)
		}
		for i := range values {
			cells[i] = values[i].String
		}
		if err := out.Write(cells); err != nil {
			b.Fatal(err)
		}
	}
	out.Flush()
	if err := errors.Join(rows.Err(), out.Error()); err != nil || n != f.devices+1 {
		b.Fatal(n, err)
	}
}

// BenchmarkInventory has an inventory of each device; with as many as a large fleet
// has:
//
//	go test -run '^$' -bench Inventory -benchtime 2x -timeout 1h ./examples/internal/benchmark -devices 1000000
func BenchmarkInventory(b *testing.B) {
	for _, d := range database.Dialects {
		b.Run(string(d), func(b *testing.B) {
			large, small := newFleet(b, d, *devices), newFleet(b, d, max(claimed, min(10_000, *devices/10)))
			row := func(what, yardstick string) compared {
				return compared{store: string(d), what: what, yardstick: yardstick}
			}
			of := func(f *fleet) string { return fmt.Sprintf("of %d devices", f.devices) }
			b.Run("claim", func(b *testing.B) {
				beside(b, row(fmt.Sprintf("claim %d, %s", claimed, of(large)), of(small)), 1,
					func() { large.claim(b) }, func() { small.claim(b) })
			})
			b.Run("claim-and-release", func(b *testing.B) {
				beside(b, row("claim 1 and release it, "+of(large), of(small)), 1,
					func() { large.claimAndRelease(b) }, func() { small.claimAndRelease(b) })
			})
			b.Run("record", func(b *testing.B) {
				seen := []time.Time{noon, noon.Add(time.Second)}
				plain, ours, theirs := large.plainUpdate(b, seen...), 0, 0
				beside(b, row("record, "+of(large), "UPDATE"), 1,
					func() { ours++; large.update(b, noon.Add(time.Duration(ours)*time.Minute)) },
					func() { theirs++; plain("device", theirs) })
			})
			b.Run("report", func(b *testing.B) {
				beside(b, row("row of a CSV report, "+of(large), "SELECT"), large.devices,
					func() { large.report(b) }, func() { large.plainReport(b) })
			})
			b.Run("memory", func(b *testing.B) {
				for b.Loop() {
					b.ReportMetric(resident(b, large), "MB-resident")
					b.ReportMetric(resident(b, small), "MB-resident-of-few")
				}
				b.ReportMetric(0, "ns/op")
			})
		})
	}
}

// reportOf, in the environment of a process, has it write a report.
const reportOf = "ACTIVATIONLOCK_BENCHMARK_REPORT"

// resident returns how many megabytes a process has had in memory at most that has
// written a report and nothing else.
func resident(b *testing.B, f *fleet) float64 {
	b.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip(err)
	}
	command := exec.CommandContext(b.Context(), os.Args[0])
	command.Env = append(os.Environ(), reportOf+"="+strings.Join([]string{string(f.storage.Dialect), f.storage.Driver, f.storage.Source}, "\n"))
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(b, err)
	rows, kilobytes := 0, 0.0
	_, err = fmt.Sscan(string(out), &rows, &kilobytes)
	require.NoError(b, err)
	require.Equal(b, f.devices+1, rows)
	return kilobytes * 1024 / 1e6
}

// writeReport is such a process.
func writeReport(ctx context.Context, of string) error {
	storage := strings.SplitN(of, "\n", 3)
	d := sqlstore.Dialect(storage[0])
	var db *sql.DB
	var err error
	if d == sqlstore.SQLite {
		db, err = sqlstore.OpenSQLite(ctx, storage[1], storage[2])
	} else {
		db, err = sql.Open(storage[1], storage[2])
	}
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.New(db, d)
	if err != nil {
		return err
	}
	n, err := inventory.WriteCSV(io.Discard, inventory.Rows(ctx, store.Inventory(), inventory.Query{}), activationlock.English)
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(peak), " ")
	fmt.Println(n, kilobytes)
	return nil
}
