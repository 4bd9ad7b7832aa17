package benchmark

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// managed is an engine on a database, with the devices that it manages. Its clock
// stands still until a benchmark moves it.
type managed struct {
	*engine.Engine
	store *sqlstore.Store
	db    *sql.DB
	now   time.Time
	split split
}

// split is how long the steps of an engine took.
type split struct {
	mu    sync.Mutex
	spent map[engine.Step]time.Duration
}

func (s *split) Counted(engine.Counter, string, int) {}

func (s *split) Took(step engine.Step, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent[step] += d
}

func (s *split) clear() { clear(s.spent) }

// report reports the steps of a number of operations.
func (s *split) report(b *testing.B, operations int) {
	for _, step := range slices.Sorted(maps.Keys(s.spent)) {
		b.ReportMetric(float64(s.spent[step])/float64(operations), "ns-"+string(step))
	}
}

// never is a schedule for which facts do not get old: what the devices are asked is
// up to the benchmark.
type never struct{}

func (never) Next(time.Time) time.Time { return time.Date(9000, time.January, 1, 0, 0, 0, 0, time.UTC) }

// allow is what devices are told: that their lock may come on.
var allow = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}

func newManaged(b *testing.B, store *sqlstore.Store, db *sql.DB, schedule func(string) inventory.Schedule) *managed {
	b.Helper()
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16) // or each turn would connect anew
	m := &managed{store: store, db: db, now: noon, split: split{spent: map[engine.Step]time.Duration{}}}
	clock := func() time.Time { return m.now }
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: newKeyring(b, newKey(b)), Clock: clock})
	require.NoError(b, err)
	m.Engine, err = engine.New(engine.Config{
		Escrow: codes, Inventory: store.Inventory(), Clock: clock, Observer: &m.split,
		Policy: engine.Policy{Options: allow, Inventory: schedule},
		OnEvent: func(_ context.Context, e engine.Event) {
			if e.Err != nil {
				b.Errorf("%s: %v", e.Type, e.Err)
			}
		},
	})
	require.NoError(b, err)
	return m
}

// enroll returns devices that have answered everything.
func (m *managed) enroll(b *testing.B, prefix string, devices int) (list []*activationlocktest.Device) {
	b.Helper()
	for i := range devices {
		d, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{
			SerialNumber: fmt.Sprintf("XX%s%05d", prefix, i), ProductName: "iPad14,8", Supervised: true, Now: func() time.Time { return m.now },
		})
		require.NoError(b, err)
		from := engine.Enrollment{ID: d.ID()}
		messages, err := d.Enroll()
		require.NoError(b, err)
		var queue []engine.Queued
		take := func(handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) {
			for _, raw := range messages {
				out, err := handle(b.Context(), from, raw)
				require.NoError(b, err)
				queue = append(queue, out.Commands...)
			}
		}
		for take(m.HandleCheckin); len(queue) > 0; take(m.HandleReport) {
			messages, err = d.Answer(queue[0].Plist)
			require.NoError(b, err)
			queue = queue[1:]
		}
		list = append(list, d)
	}
	return list
}

// ask has it on record that the engine asked a device for something, and returns
// the device's answer.
func (m *managed) ask(b *testing.B, d *activationlocktest.Device, c mdmcmd.Command) []byte {
	b.Helper()
	uuid := mdmcmd.NewUUID("activationlock-")
	require.NoError(b, m.store.Inventory().Update(b.Context(), d.ID(), func(r *inventory.Record) error {
		name := c.RequestType()
		r.Exchanges[name] = r.Exchanges[name].Ask(uuid, m.now, m.now.Add(24*time.Hour))
		return nil
	}))
	return answer(b, d, uuid, c)
}

// answer returns a device's answer to a command that nobody asks to remember.
func answer(b *testing.B, d *activationlocktest.Device, uuid string, c mdmcmd.Command) []byte {
	b.Helper()
	command, err := mdmcmd.Encode(uuid, c)
	require.NoError(b, err)
	messages, err := d.Answer(command)
	require.NoError(b, err)
	require.Len(b, messages, 1)
	return messages[0]
}

// A kind is a kind of report. Make makes one before the clock runs.
type kind struct {
	name, what string
	changes    bool // the record
	make       func(b *testing.B, m *managed, d *activationlocktest.Device) []byte
}

var (
	idle = kind{"idle", "Idle", false, func(b *testing.B, _ *managed, d *activationlocktest.Device) []byte {
		messages, err := d.Idle()
		require.NoError(b, err)
		return messages[0]
	}}
	other = kind{"other", "answer to the host's own command", false, func(b *testing.B, _ *managed, d *activationlocktest.Device) []byte {
		return answer(b, d, mdmcmd.NewUUID("host-"), mdmcmd.DeviceConfigured)
	}}
	information = kind{"information", "DeviceInformation", true, func(b *testing.B, m *managed, d *activationlocktest.Device) []byte {
		return m.ask(b, d, mdmcmd.DeviceInformation{Queries: mdmcmd.DefaultQueries(mdmcmd.IOS)})
	}}
	// The device has a code that nobody has seen, and escrow has none of it.
	code = kind{"code", "ActivationLockBypassCode", true, func(b *testing.B, m *managed, d *activationlocktest.Device) []byte {
		_, err := m.db.ExecContext(b.Context(), "DELETE FROM activationlock_codes WHERE serial_number = '"+d.Config().SerialNumber+"'")
		require.NoError(b, err)
		raw := m.ask(b, d, mdmcmd.ActivationLockBypassCode)
		was := []byte(d.Code().Reveal())
		require.True(b, bytes.Contains(raw, was))
		return bytes.Replace(raw, was, []byte(bypasscode.New().Reveal()), 1)
	}}
)

// plainRow returns a function that does with a row, with nothing but database/sql,
// what a report that changes something must do at least: a durable UPDATE; or, if it
// changes nothing, a SELECT.
func (f *fleet) plainRow(b *testing.B, changes bool) func(enrollmentID string, i int) {
	if changes {
		return f.plainUpdate(b, noon, noon.Add(time.Second))
	}
	query := "SELECT body FROM activationlock_devices WHERE enrollment_id = ?"
	if f.storage.Dialect == sqlstore.PostgreSQL {
		query = "SELECT body FROM activationlock_devices WHERE enrollment_id = $1"
	}
	statement, err := f.db.PrepareContext(b.Context(), query)
	require.NoError(b, err)
	b.Cleanup(func() { statement.Close() })
	return func(enrollmentID string, _ int) {
		var body string
		if err := statement.QueryRowContext(b.Context(), enrollmentID).Scan(&body); err != nil {
			b.Error(err)
		}
	}
}

// atOnce does something n times, each time in a goroutine of its own.
func atOnce(n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// BenchmarkHandleReport has reports of an inventory that holds a record of each
// device: such as a fleet sends every minute, which change nothing, and such as
// change a record or bring a code. The metrics besides are the split of one report;
// what is in none of the steps is to read the record and to redact the report.
//
//	go test -run '^$' -bench HandleReport -benchtime 3s -timeout 1h ./examples/internal/benchmark -devices 1000000
func BenchmarkHandleReport(b *testing.B) {
	for _, d := range database.Dialects {
		b.Run(string(d), func(b *testing.B) {
			fleet := newFleet(b, d, *devices)
			store, err := sqlstore.New(fleet.db, d)
			require.NoError(b, err)
			m := newManaged(b, store, fleet.db, func(string) inventory.Schedule { return never{} })
			managed := m.enroll(b, "FAKE", 16)
			for _, c := range []struct {
				kind
				writers int
			}{{idle, 1}, {other, 1}, {information, 1}, {code, 1}, {idle, len(managed)}, {information, len(managed)}, {code, len(managed)}} {
				row := compared{store: string(d), what: "report: " + c.what, yardstick: "SELECT"}
				name, plainAtOnce := c.name, c.writers
				if c.changes {
					row.yardstick = "UPDATE"
				}
				if c.writers > 1 {
					row.what += fmt.Sprintf(", %d at once", c.writers)
					name += "-at-once"
					if d == sqlstore.SQLite && c.changes { // whose writers wait for each other by sleeping
						row.yardstick, plainAtOnce = "UPDATE, one by one", 1
					}
				}
				b.Run(name, func(b *testing.B) {
					plain, turns := fleet.plainRow(b, c.changes), 0
					reports := make([][]byte, c.writers)
					row.before = func() {
						m.now = m.now.Add(time.Second)
						for i := range reports {
							reports[i] = c.make(b, m, managed[i])
						}
						if turns++; turns == 2 { // the first turn is not counted
							m.split.clear()
						}
					}
					beside(b, row, c.writers,
						func() {
							atOnce(c.writers, func(i int) {
								if _, err := m.HandleReport(b.Context(), engine.Enrollment{ID: managed[i].ID()}, reports[i]); err != nil {
									b.Error(err)
								}
							})
						},
						times(c.writers/plainAtOnce, func() {
							atOnce(plainAtOnce, func(i int) { plain(fmt.Sprintf("device %07d", i+1), turns) })
						}))
					m.split.report(b, (turns-1)*c.writers)
				})
			}
		})
	}
}

// weekly are records whose information is four weeks old. The devices have answered
// all else, and gave no code of this enrollment: their codes are from another.
func weekly(r *inventory.Record) {
	r.Channel, r.OptionsSent = mdmcmd.DeviceChannel, allow
	answered := func(a inventory.Answer, again time.Time) inventory.Exchange {
		return inventory.Exchange{AnsweredAt: noon.AddDate(0, 0, -28), Answer: a, AgainAt: again}
	}
	r.Exchanges = map[string]inventory.Exchange{
		mdmcmd.DeviceInformation{}.RequestType():      answered(inventory.Done, time.Time{}),
		mdmcmd.Settings{}.RequestType():               answered(inventory.Done, time.Time{}),
		mdmcmd.ActivationLockBypassCode.RequestType(): answered(inventory.NoCode, never{}.Next(noon)),
	}
}

// newDue returns an engine whose records are all due, with a code of each device.
func newDue(b *testing.B, d sqlstore.Dialect, devices int) *managed {
	b.Helper()
	f := newFleet(b, d, devices, weekly)
	store, err := sqlstore.New(f.db, d)
	require.NoError(b, err)
	m := newManaged(b, store, f.db, nil)
	m.now = dueAt.AddDate(1, 0, 0)
	newPlainTables(b, f.db, d).fillAll(b, store.Escrow(), gather(b, 1, newKeyring(b, newKey(b)))[0])
	return m
}

// tick works off a number of records, of which each has something to be asked.
func (m *managed) tick(b *testing.B, limit int) {
	batches, err := m.Tick(b.Context(), limit)
	if err != nil || len(batches) != limit {
		b.Fatal(len(batches), err)
	}
	for _, batch := range batches {
		if len(batch.Commands) != 1 || batch.Commands[0].RequestType != "DeviceInformation" {
			b.Fatal(batch.Enrollment.ID, len(batch.Commands))
		}
	}
}

// BenchmarkTick works off records that are due, beside the same of a small fleet. It
// takes a thousand at once of a fleet of at least 100,000; with as many devices as a
// large one has:
//
//	go test -run '^$' -bench Tick -benchtime 10x -timeout 2h ./examples/internal/benchmark -devices 1000000
func BenchmarkTick(b *testing.B) {
	for _, d := range database.Dialects {
		b.Run(string(d), func(b *testing.B) {
			few := max(claimed, min(10_000, *devices/10))
			limit := max(10, min(claimed, *devices/100))
			large, small := newDue(b, d, *devices), newDue(b, d, few)
			turns := 0
			beside(b, compared{
				store: string(d), what: fmt.Sprintf("due record, %d of %d devices", limit, *devices), yardstick: fmt.Sprintf("of %d devices", few),
				before: func() { // what was asked and not answered is due again
					large.now, small.now = large.now.AddDate(0, 0, 8), small.now.AddDate(0, 0, 8)
					if turns++; turns == 2 {
						large.split.clear()
					}
				},
			}, limit, func() { large.tick(b, limit) }, func() { small.tick(b, limit) })
			large.split.report(b, (turns-1)*limit)
		})
	}
}
