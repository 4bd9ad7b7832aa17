package benchmark

import (
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
)

var devices = flag.Int("devices", 10_000, "number of devices that have a code, or a record, in each store beforehand")

const (
	writers  = 32
	readable = 500 // devices whose codes can be revealed; the others share one sealed code
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

var act = escrow.Act{Actor: "tester", Reason: "test"}

// wish is for a code that no person is to see.
func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{Subject: subject, RecordID: recordID, Purpose: escrow.ToUnlock, Act: act}
}

// newAudit is an audit that nobody looks at.
func newAudit() *audit.Log {
	log, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	if err != nil {
		panic(err)
	}
	return log
}

// TestMain prints the table of what was measured beside yardsticks.
func TestMain(m *testing.M) {
	if of := os.Getenv(reportOf); of != "" {
		if err := writeReport(context.Background(), of); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	printTable(os.Stdout)
	os.Exit(code)
}

// compared is a row of the table.
type compared struct {
	store, what, yardstick string
	before                 func() // what is not measured, before each turn of ours and theirs; nil for nothing
	ours, theirs           time.Duration
	ratio                  float64
}

var table []compared

func printTable(out io.Writer) {
	if len(table) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nstore\twhat\tyardstick\tours\tyardstick's\tours/yardstick\tours per second\t\n")
	for _, c := range table {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%v\t%.2f\t%.0f\t\n", c.store, c.what, c.yardstick,
			c.ours.Round(100*time.Nanosecond), c.theirs.Round(100*time.Nanosecond), c.ratio, float64(time.Second)/float64(c.ours))
	}
	fmt.Fprintf(w, "\n")
	w.Flush()
}

// beside runs both sides in turns and reports the medians of their turns: a
// checkpoint of the database that falls into one side's turn tells nothing of
// that side. Each turn does a number of operations.
func beside(b *testing.B, c compared, operations int, ours, theirs func()) {
	b.Helper()
	var our, their []time.Duration
	turn := func(spent *[]time.Duration, do func()) {
		start := time.Now()
		do()
		*spent = append(*spent, time.Since(start))
	}
	prepare := func() {
		if c.before != nil {
			b.StopTimer()
			c.before()
			b.StartTimer()
		}
	}
	prepare()
	ours() // connects, and fills caches
	theirs()
	for odd := false; b.Loop(); odd = !odd {
		prepare()
		if odd {
			turn(&their, theirs)
		}
		turn(&our, ours)
		if !odd {
			turn(&their, theirs)
		}
	}
	slices.Sort(our)
	slices.Sort(their)
	c.ours = our[len(our)/2] / time.Duration(operations)
	c.theirs = their[len(their)/2] / time.Duration(operations)
	c.ratio = float64(our[len(our)/2]) / float64(their[len(their)/2])
	table = append(table, c)
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	b.ReportMetric(float64(c.ours), "ns/ours")
	b.ReportMetric(float64(c.theirs), "ns/yardstick")
	b.ReportMetric(c.ratio, "x-yardstick")
}

// times repeats an operation that is too short for the clock.
func times(n int, do func()) func() {
	return func() {
		for range n {
			do()
		}
	}
}

// ready is a Sealer that has sealed already.
type ready []byte

func (r ready) Seal(context.Context, []byte, []byte) ([]byte, error) { return r, nil }

// nowhere is a Store that keeps nothing but what it was given last.
type nowhere struct {
	escrow.Store
	last []escrow.Entry
}

func (n *nowhere) Update(_ context.Context, _ escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) (err error) {
	n.last, err = change(nil)
	return err
}

func newKey(b *testing.B) seal.PrivateKey {
	b.Helper()
	key, err := seal.GenerateKey(seal.X25519)
	require.NoError(b, err)
	return key
}

func newKeyring(b *testing.B, keys ...seal.PrivateKey) *seal.Keyring {
	b.Helper()
	var recipients []seal.PublicKey
	for _, key := range keys {
		recipients = append(recipients, key.Public())
	}
	k, err := seal.NewKeyring(recipients, keys...)
	require.NoError(b, err)
	return k
}

func newEscrow(b *testing.B, store escrow.Store, sealer escrow.Sealer, recovery ...*x509.Certificate) *escrow.Escrow {
	b.Helper()
	codes, err := escrow.New(escrow.Config{Audit: newAudit(), Store: store, Sealer: sealer, Recovery: recovery})
	require.NoError(b, err)
	return codes
}

func newCertificate(b *testing.B) *x509.Certificate {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Recovery"},
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(b, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(b, err)
	return certificate
}

// captureOf is what a device gives: a code that nobody has seen.
func captureOf(serialNumber string) escrow.Capture {
	return escrow.Capture{
		Subject: escrow.Subject{SerialNumber: serialNumber}, Kind: bypasscode.Device,
		Text: bypasscode.NewText(bypasscode.New().Reveal()), Cause: escrow.CauseEnrollment,
		EnrollmentID: "00008120-000000000000001E", CommandUUID: rand.Text(), AskedAt: noon, ReceivedAt: noon,
		Device: escrow.Device{
			SerialNumber: serialNumber, UDID: "00008120-000000000000001E", ProductType: "iPhone17,3",
			IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001",
		},
	}
}

func serialNumber(device int) string { return fmt.Sprintf("XXFAKE%06d", device) }

// gather returns an entry of each device.
func gather(b *testing.B, devices int, sealer escrow.Sealer) (entries []escrow.Entry) {
	b.Helper()
	var gathered nowhere
	sealing := newEscrow(b, &gathered, sealer)
	for device := range devices {
		if device == readable {
			sealing = newEscrow(b, &gathered, ready(entries[0].Sealed))
		}
		_, err := sealing.Capture(b.Context(), captureOf(serialNumber(device)))
		require.NoError(b, err)
		entries = append(entries, gathered.last...)
	}
	return entries
}

// file files an entry in a store.
func file(b *testing.B, store escrow.Store, entry escrow.Entry) {
	b.Helper()
	require.NoError(b, store.Update(b.Context(), entry.Subject, func([]escrow.Entry) ([]escrow.Entry, error) {
		return []escrow.Entry{entry}, nil
	}))
}

// yardstick does what must be done, and nothing more.
type yardstick interface {
	fill(b *testing.B, store escrow.Store, entries []escrow.Entry)
	capture(b *testing.B, as, serialNumber string, supersede bool)
	read(b *testing.B, serialNumber string)
}

// BenchmarkEscrow compares stores that hold a code of each device already; with
// more devices than usual:
//
//	go test -bench Escrow ./examples/internal/benchmark -devices 100000
func BenchmarkEscrow(b *testing.B) {
	for _, d := range database.Dialects {
		b.Run(string(d), func(b *testing.B) {
			opened, db := database.New(b, d).Store(b)
			if d != sqlstore.SQLite {
				db.SetMaxOpenConns(writers)
				db.SetMaxIdleConns(writers) // or each turn would connect anew
			}
			compareStore(b, string(d), *devices, opened.Escrow(), newPlainTables(b, db, d))
		})
	}
	b.Run("memory", func(b *testing.B) {
		// It looks at everything each time, and is not for fleets.
		compareStore(b, "memory", min(1000, *devices), memstore.New().Escrow(), &plainMap{rows: map[string][]escrow.Entry{}})
	})
}

func compareStore(b *testing.B, name string, devices int, store escrow.Store, plain yardstick) {
	transaction, query := "transaction, sealed before", "SELECT"
	short := 8
	if name == "memory" {
		transaction, query = "map of slices, sealed before", "map of slices"
		short = 20
	}
	daily, offline := newKey(b), newKey(b)
	keys := newKeyring(b, daily, offline)
	plain.fill(b, store, gather(b, devices, keys))
	sealed, err := keys.Seal(b.Context(), make([]byte, 100), nil)
	require.NoError(b, err)
	next := 0 // devices that nobody has seen
	fresh := func() string {
		next++
		return serialNumber(devices + next)
	}

	captured := func(b *testing.B, codes *escrow.Escrow, serialNumber string) escrow.Record {
		record, err := codes.Capture(b.Context(), captureOf(serialNumber))
		if err != nil {
			b.Fatal(err)
		}
		return record
	}
	for _, c := range []struct {
		name, what string
		codes      *escrow.Escrow
		supersede  bool
	}{
		{"capture", "capture", newEscrow(b, store, ready(sealed)), false},
		{"supersede", "capture, superseding", newEscrow(b, store, ready(sealed)), true},
		{"capture-and-seal", "capture and seal to 2 keys", newEscrow(b, store, keys), false},
		{"capture-and-seal-and-copy", "the same with a recovery copy", newEscrow(b, store, keys, newCertificate(b)), false},
	} {
		if name == "memory" && strings.HasPrefix(c.name, "capture-and-") {
			continue // BenchmarkSeal is about that
		}
		b.Run(c.name, func(b *testing.B) {
			like := captured(b, c.codes, fresh()).ID
			device := 0
			serial := func() string {
				if c.supersede {
					device++
					return serialNumber(device % devices)
				}
				return fresh()
			}
			beside(b, compared{store: name, what: c.what, yardstick: transaction}, 1,
				func() { captured(b, c.codes, serial()) },
				func() { plain.capture(b, like, serial(), c.supersede) })
		})
	}

	b.Run("parallel", func(b *testing.B) {
		codes := newEscrow(b, store, ready(sealed))
		like := captured(b, codes, fresh()).ID
		parallel := func(do func(serialNumber string)) func() {
			return func() {
				var wg sync.WaitGroup
				for range writers {
					serial := fresh()
					wg.Go(func() { do(serial) })
				}
				wg.Wait()
			}
		}
		beside(b, compared{store: name, what: fmt.Sprintf("capture, %d writers", writers), yardstick: transaction}, writers,
			parallel(func(serial string) {
				if _, err := codes.Capture(b.Context(), captureOf(serial)); err != nil {
					b.Error(err)
				}
			}),
			parallel(func(serial string) { plain.capture(b, like, serial, false) }))
	})

	codes := newEscrow(b, store, keys)
	device := 0
	some := func(of int) escrow.Subject { // in no order that a cache likes
		device += 7919
		return escrow.Subject{SerialNumber: serialNumber(device % of)}
	}
	records := func(b *testing.B, subject escrow.Subject) []escrow.Record {
		found, err := codes.Records(b.Context(), subject)
		if err != nil || len(found) == 0 {
			b.Fatal("no records", err)
		}
		return found
	}
	b.Run("records", func(b *testing.B) {
		beside(b, compared{store: name, what: fmt.Sprintf("records, of %d devices", devices), yardstick: query}, short,
			times(short, func() { records(b, some(devices)) }),
			times(short, func() { plain.read(b, some(devices).SerialNumber) }))
	})
	b.Run("reveal", func(b *testing.B) {
		ids := map[escrow.Subject]string{}
		of := min(readable, devices)
		for device := range of {
			subject := escrow.Subject{SerialNumber: serialNumber(device)}
			found := records(b, subject)
			ids[subject] = found[len(found)-1].ID // of fill
		}
		beside(b, compared{store: name, what: "reveal", yardstick: "records"}, short,
			times(short, func() {
				subject := some(of)
				if _, err := codes.Reveal(b.Context(), wish(subject, ids[subject])); err != nil {
					b.Fatal(err)
				}
			}),
			times(short, func() { records(b, some(of)) }))
	})
}

// plainTables are the same tables, used with nothing but database/sql, as fast as
// that goes: all statements are prepared, by the driver of PostgreSQL without
// being told.
type plainTables struct {
	db                    *sql.DB
	dialect               sqlstore.Dialect
	columns               []string
	insert, update, query string
	prepared              map[string]*sql.Stmt
	mu                    sync.Mutex
	rows                  map[string][]any

	id, serial, deviceSerial, digest, sealed int // places of columns
}

func newPlainTables(b *testing.B, db *sql.DB, d sqlstore.Dialect) *plainTables {
	b.Helper()
	p := &plainTables{db: db, dialect: d, rows: map[string][]any{}, prepared: map[string]*sql.Stmt{}}
	rows, err := db.QueryContext(b.Context(), "SELECT * FROM activationlock_codes WHERE 1 = 0")
	require.NoError(b, err)
	all, err := rows.Columns()
	require.NoError(b, err)
	require.NoError(b, rows.Close())
	p.columns = slices.DeleteFunc(all, func(name string) bool { return name == "seq" })
	for name, place := range map[string]*int{
		"id": &p.id, "serial_number": &p.serial, "device_serial_number": &p.deviceSerial, "digest": &p.digest, "sealed": &p.sealed,
	} {
		*place = slices.Index(p.columns, name)
	}
	names, places := strings.Join(p.columns, ", "), make([]string, len(p.columns))
	for i := range places {
		places[i] = p.place(i + 1)
	}
	p.insert = "INSERT INTO activationlock_codes (" + names + ") VALUES (" + strings.Join(places, ", ") + ")"
	p.update = "UPDATE activationlock_codes SET state = 'superseded' WHERE state = 'current' AND serial_number = " + p.place(1)
	p.query = "SELECT seq, " + names + " FROM activationlock_codes WHERE serial_number = " + p.place(1)
	if d != sqlstore.PostgreSQL {
		for _, query := range []string{p.insert, p.update, p.query} {
			statement, err := db.PrepareContext(b.Context(), query)
			require.NoError(b, err)
			b.Cleanup(func() { statement.Close() })
			p.prepared[query] = statement
		}
	}
	return p
}

func (p *plainTables) place(n int) string {
	if p.dialect == sqlstore.PostgreSQL {
		return fmt.Sprintf("$%d", n)
	}
	return "?"
}

// fill files the first entry with the store, and the others in the same form.
func (p *plainTables) fill(b *testing.B, store escrow.Store, entries []escrow.Entry) {
	file(b, store, entries[0])
	require.NoError(b, p.transact(b.Context(), func(exec func(string, ...any) error) error {
		for _, entry := range entries[1:] {
			row := p.row(b, entries[0].ID, entry.Subject.SerialNumber)
			row[p.id], row[p.digest], row[p.sealed] = entry.ID, entry.Digest, entry.Sealed
			if err := exec(p.insert, row...); err != nil {
				return err
			}
		}
		return nil
	}))
	p.analyze(b)
}

// analyze does what servers do by themselves, at some moment in between. SQLite does
// not.
func (p *plainTables) analyze(b *testing.B) {
	analyze := map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "ANALYZE", sqlstore.MySQL: "ANALYZE TABLE activationlock_codes"}
	if statement := analyze[p.dialect]; statement != "" {
		_, err := p.db.ExecContext(b.Context(), statement)
		require.NoError(b, err)
	}
}

// fillAll files an entry with the store, and the same for the serial number of each
// record.
func (p *plainTables) fillAll(b *testing.B, store escrow.Store, entry escrow.Entry) {
	file(b, store, entry)
	values := slices.Clone(p.columns)
	values[p.serial], values[p.deviceSerial], values[p.id] = "d.serial_number", "d.serial_number", "d.enrollment_id"
	for i, name := range p.columns {
		if values[i] == name {
			values[i] = "c." + name
		}
	}
	_, err := p.db.ExecContext(b.Context(), "INSERT INTO activationlock_codes ("+strings.Join(p.columns, ", ")+") SELECT "+strings.Join(values, ", ")+
		" FROM activationlock_devices AS d, activationlock_codes AS c WHERE c.serial_number = '"+entry.Subject.SerialNumber+"'")
	require.NoError(b, err)
	p.analyze(b)
}

// row returns the row of a record, as it is given to another device.
func (p *plainTables) row(b *testing.B, as, serialNumber string) []any {
	p.mu.Lock()
	defer p.mu.Unlock()
	row := p.rows[as]
	if row == nil {
		row = make([]any, len(p.columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		query := "SELECT " + strings.Join(p.columns, ", ") + " FROM activationlock_codes WHERE id = " + p.place(1)
		require.NoError(b, p.db.QueryRowContext(b.Context(), query, as).Scan(into...))
		p.rows[as] = row
	}
	row = slices.Clone(row)
	row[p.id], row[p.serial], row[p.deviceSerial] = rand.Text(), serialNumber, serialNumber
	return row
}

func (p *plainTables) capture(b *testing.B, as, serialNumber string, supersede bool) {
	row := p.row(b, as, serialNumber)
	if err := p.transact(b.Context(), func(exec func(string, ...any) error) error {
		if supersede {
			if err := exec(p.update, serialNumber); err != nil {
				return err
			}
		}
		return exec(p.insert, row...)
	}); err != nil {
		b.Error(err)
	}
}

// transact runs a transaction; on SQLite one that is immediate, as it must be,
// and that package database/sql cannot begin by itself.
func (p *plainTables) transact(ctx context.Context, do func(exec func(string, ...any) error) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if p.dialect == sqlstore.SQLite {
		if _, err := tx.ExecContext(ctx, "ROLLBACK; BEGIN IMMEDIATE"); err != nil {
			return err
		}
	}
	if err := do(func(query string, args ...any) (err error) {
		if statement := p.prepared[query]; statement != nil {
			_, err = tx.StmtContext(ctx, statement).ExecContext(ctx, args...)
		} else {
			_, err = tx.ExecContext(ctx, query, args...)
		}
		return err
	}); err != nil {
		return err
	}
	return tx.Commit()
}

func (p *plainTables) read(b *testing.B, serialNumber string) {
	var rows *sql.Rows
	var err error
	if statement := p.prepared[p.query]; statement != nil {
		rows, err = statement.QueryContext(b.Context(), serialNumber)
	} else {
		rows, err = p.db.QueryContext(b.Context(), p.query, serialNumber)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	found := make([]any, len(p.columns)+1)
	into := make([]any, len(found))
	for i := range found {
		into[i] = &found[i]
	}
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			b.Fatal(err)
		}
	}
	if rows.Err() != nil || n == 0 {
		b.Fatal("no rows", rows.Err())
	}
}

// plainMap keeps entries in memory, by serial number.
type plainMap struct {
	mu   sync.Mutex
	rows map[string][]escrow.Entry
}

func (p *plainMap) fill(b *testing.B, store escrow.Store, entries []escrow.Entry) {
	for _, entry := range entries {
		file(b, store, entry)
		p.rows[entry.Subject.SerialNumber] = []escrow.Entry{entry}
	}
}

func (p *plainMap) capture(b *testing.B, as, serialNumber string, supersede bool) {
	entry := escrow.Entry{Record: escrow.Record{
		ID: rand.Text(), Subject: escrow.Subject{SerialNumber: serialNumber}, State: escrow.Current, LastSeen: noon,
	}, Sealed: make([]byte, 300)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if supersede {
		for i := range p.rows[serialNumber] {
			p.rows[serialNumber][i].State = escrow.Superseded
		}
	}
	p.rows[serialNumber] = append(p.rows[serialNumber], entry)
}

func (p *plainMap) read(b *testing.B, serialNumber string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keptEntries = slices.Clone(p.rows[serialNumber])
}

var keptEntries []escrow.Entry

// BenchmarkSeal captures into a store that keeps nothing.
func BenchmarkSeal(b *testing.B) {
	certificate := newCertificate(b)
	for _, recipients := range []int{1, 2} {
		for _, copied := range []bool{false, true} {
			name := fmt.Sprintf("seal to %d keys", recipients)
			yardstick := fmt.Sprintf("crypto/hpke %d times", recipients)
			var recovery []*x509.Certificate
			if copied {
				name += " and a recovery copy"
				yardstick += ", RSA"
				recovery = append(recovery, certificate)
			}
			b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
				var keys []seal.PrivateKey
				var theirs []hpke.PublicKey
				for range recipients {
					keys = append(keys, newKey(b))
					key, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
					require.NoError(b, err)
					theirs = append(theirs, key.PublicKey())
				}
				codes := newEscrow(b, new(nowhere), newKeyring(b, keys...), recovery...)
				c := captureOf("XXFAKE0SER1")
				text := make([]byte, 100)
				beside(b, compared{store: "none", what: name, yardstick: yardstick}, 4,
					times(4, func() {
						if _, err := codes.Capture(b.Context(), c); err != nil {
							b.Fatal(err)
						}
					}),
					times(4, func() {
						for _, key := range theirs {
							if _, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, text); err != nil {
								b.Fatal(err)
							}
						}
						if copied {
							if _, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, certificate.PublicKey.(*rsa.PublicKey), text[:32], nil); err != nil {
								b.Fatal(err)
							}
						}
					}))
			})
		}
	}
}
