package sqlstore

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var dialects = []Dialect{SQLite, PostgreSQL, MySQL}

// fake is a connector of a database that cannot be reached.
type fake struct{ err error }

func (f fake) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f fake) Driver() driver.Driver                        { return nil }

func TestNew(t *testing.T) {
	t.Parallel()
	db := sql.OpenDB(fake{errors.New("no database is opened here")})
	for _, d := range dialects {
		s, err := New(db, d)
		require.NoError(t, err)
		require.NotNil(t, s.Escrow())
		_, err = New(nil, d)
		require.Error(t, err)
	}
	for _, d := range []Dialect{"", "oracle", "SQLite"} {
		_, err := New(db, d)
		require.Error(t, err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	why := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	subject := escrow.Subject{SerialNumber: "XXFAKE0SER1"}
	for _, d := range dialects {
		s, err := New(sql.OpenDB(fake{why}), d)
		require.NoError(t, err)
		_, entries := s.Escrow().Entries(t.Context(), subject)
		_, scan := s.Escrow().Scan(t.Context(), "", 1)
		update := s.Escrow().Update(t.Context(), subject, func([]escrow.Entry) ([]escrow.Entry, error) {
			t.Error("there is nothing to change")
			return nil, nil
		})
		a := goldenAction()
		_, get := s.Actions().Get(t.Context(), a.ID)
		_, ofDevice := s.Actions().OfDevice(t.Context(), a.Subject.SerialNumber)
		_, open := s.Actions().Scan(t.Context(), "", 1, true)
		for _, err := range []error{
			s.Migrate(t.Context()), entries, scan, update, s.Escrow().Join(t.Context(), "a", "b"),
			get, ofDevice, open, s.Actions().Create(t.Context(), a), s.Actions().Update(t.Context(), a.ID, nil),
		} {
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.ErrorContains(t, err, "connection refused")
			require.True(t, strings.HasPrefix(err.Error(), "sqlstore: "), err)
			require.NotContains(t, err.Error(), subject.SerialNumber)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, entries = s.Escrow().Entries(ctx, subject)
		_, scan = s.Escrow().Scan(ctx, "", 1)
		_, none := s.Escrow().Scan(ctx, "", 0)
		_, get = s.Actions().Get(ctx, a.ID)
		_, ofDevice = s.Actions().OfDevice(ctx, "")
		_, open = s.Actions().Scan(ctx, "", 0, true)
		for _, err := range []error{
			s.Migrate(ctx), entries, scan, none, s.Escrow().Join(ctx, "a", "b"),
			get, ofDevice, open, s.Actions().Create(ctx, a), s.Actions().Update(ctx, a.ID, nil), s.Actions().Update(ctx, "", nil),
		} {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
}

func TestWhatCannotBeFiled(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s, err := New(sql.OpenDB(fake{errors.New("not asked")}), d)
		require.NoError(t, err)
		long := strings.Repeat("x", escrow.MaxIdentifier+1)
		for _, subject := range []escrow.Subject{
			{}, {SerialNumber: "a", EnrollmentID: "b"}, {SerialNumber: long}, {EnrollmentID: long}, {SerialNumber: "a\x00"}, {EnrollmentID: "\xff"},
		} {
			entries, err := s.Escrow().Entries(t.Context(), subject)
			require.NoError(t, err)
			require.Empty(t, entries)
			require.Error(t, s.Escrow().Update(t.Context(), subject, nil))
		}
		for _, id := range []string{"", long, "a\x00", "\xff"} {
			require.ErrorContains(t, s.Escrow().Join(t.Context(), id, "a"), "required")
			require.ErrorContains(t, s.Escrow().Join(t.Context(), "a", id), "required")
		}
		for _, after := range []string{"\x00", "\xff"} {
			if _, err := s.Escrow().Scan(t.Context(), after, 1); d == PostgreSQL {
				require.ErrorContains(t, err, "UTF-8")
			} else {
				require.NotContains(t, err.Error(), "UTF-8", "a damaged ID may be there")
			}
		}
		for _, limit := range []int{0, -1} {
			entries, err := s.Escrow().Scan(t.Context(), "", limit)
			require.NoError(t, err)
			require.Empty(t, entries)
		}
	}
	for _, change := range []func(*escrow.Entry){
		func(e *escrow.Entry) { e.StateReason = strings.Repeat("x", escrow.MaxIdentifier+1) },
		func(e *escrow.Entry) { e.Device.UDID = "\x00" },
		func(e *escrow.Entry) { e.Digest = "\xff" },
		func(e *escrow.Entry) { e.Subject.SerialNumber = "\xff" },
		func(e *escrow.Entry) { e.Sealed = make([]byte, escrow.MaxSealed+1) },
		func(e *escrow.Entry) { e.RecoveryCopy = make([]byte, escrow.MaxSealed+1) },
	} {
		e := escrow.Entry{Record: escrow.Record{ID: "1", Subject: escrow.Subject{SerialNumber: "a"}}}
		_, err := values(&e, 0)
		require.NoError(t, err)
		change(&e)
		_, err = values(&e, 0)
		require.ErrorIs(t, err, errBounds)
	}
}

// Each field of an entry has a column of its own.
func TestColumns(t *testing.T) {
	t.Parallel()
	var fields func(reflect.Value) int
	n := 0
	fields = func(v reflect.Value) (count int) {
		switch v.Interface().(type) {
		case time.Time:
			n++
			v.Set(reflect.ValueOf(time.UnixMicro(int64(n)).UTC()))
			return 1
		case bypasscode.Hash:
			n++
			v.Index(n % 32).SetUint(uint64(n))
			return 1
		case []byte:
			n++
			v.SetBytes(fmt.Appendf(nil, "%d", n))
			return 1
		}
		if v.Kind() == reflect.String {
			n++
			v.SetString(fmt.Sprint(n))
			return 1
		}
		require.Equal(t, reflect.Struct, v.Kind(), v.Type())
		for i := range v.NumField() {
			count += fields(v.Field(i))
		}
		return count
	}
	var full, got escrow.Entry
	require.Equal(t, len(columns), fields(reflect.ValueOf(&full).Elem()))
	all, err := values(&full, 0)
	require.NoError(t, err)
	for i, c := range columns {
		require.NoError(t, c.field(&got).Scan(all[i]), c.name)
	}
	require.Equal(t, full, got)
	for i, c := range columns { // as other drivers return it
		if s, ok := all[i].(string); ok {
			require.NoError(t, c.field(&got).Scan([]byte(s)), c.name)
		}
		if n, ok := all[i].(int64); ok {
			require.NoError(t, c.field(&got).Scan(fmt.Appendf(nil, "%d", n)), c.name)
		}
	}
	require.Equal(t, full, got)
	for _, c := range columns { // what somebody planted
		for _, planted := range []any{3.5, true, "not a hash, number or time"} {
			if err := c.field(&got).Scan(planted); err != nil {
				require.Equal(t, errColumn, err)
			}
		}
	}
}

// Migrations never change, and each dialect has the same.
func TestMigrations(t *testing.T) {
	t.Parallel()
	var names []string
	for _, d := range dialects {
		list, err := migrationsOf(d)
		require.NoError(t, err)
		var of []string
		for _, m := range list {
			of = append(of, m.name)
			require.NotEmpty(t, m.statements)
			for _, s := range m.statements {
				if d == MySQL { // a crash may come between any two
					require.Contains(t, s, "IF NOT EXISTS")
					require.NotContains(t, s, ";\n")
					require.Contains(t, s, "ENGINE = InnoDB")
				}
			}
		}
		if names == nil {
			names = of
		}
		require.Equal(t, names, of)
	}
	_, err := migrationsOf("oracle")
	require.Error(t, err)
}

type postgresError struct{ state, text string }

func (e postgresError) Error() string    { return e.text }
func (e postgresError) SQLState() string { return e.state }

func TestErrorsHaveNoValues(t *testing.T) {
	t.Parallel()
	const value = "XXFAKE0SER1"
	s := &Store{kind: PostgreSQL}
	for _, c := range []struct {
		err  error
		want string // "" if the text stays
	}{
		{postgresError{"23505", "ERROR: duplicate key (SQLSTATE 23505) Key (id)=(" + value + ") already exists"}, "SQLSTATE 23505"},
		{postgresError{"22021", "ERROR: invalid byte sequence " + value}, "SQLSTATE 22021"},
		{postgresError{"P0001", value}, "SQLSTATE P0001"},
		{postgresError{"x", value}, "SQLSTATE x"},
		{errors.New("Error 1062 (23000): Duplicate entry '" + value + "' for key 'id'"), "error 1062 (23000)"},
		{errors.New("Error 1366 (HY000): Incorrect string value: '" + value + "'"), "error 1366 (HY000)"},
		{errors.New("Error 1406: Data too long " + value), "error 1406 ()"},
		{errors.New("failed to encode args[0]: " + value), "left out"},
		{fmt.Errorf("a: %w", errors.New(value)), "left out"},
		{postgresError{"42P01", `ERROR: relation "activationlock_codes" does not exist (SQLSTATE 42P01)`}, ""},
		{postgresError{"28P01", "FATAL: password authentication failed (SQLSTATE 28P01)"}, ""},
		{postgresError{"57P01", "FATAL: terminating connection (SQLSTATE 57P01)"}, ""},
		{errors.New("Error 1045 (28000): Access denied"), ""},
		{errors.New("Error 1146 (42S02): Table 'x.activationlock_codes' doesn't exist"), ""},
		{errors.New("Error 1205 (HY000): Lock wait timeout exceeded; try restarting transaction"), ""},
		{errors.New("Error 1290 (HY000): The MySQL server is running with the --read-only option"), ""},
		{fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF), ""},
		{driver.ErrBadConn, ""},
		{errors.New("invalid connection"), ""},
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, ""},
		{fmt.Errorf("scan: %w", errColumn), ""},
	} {
		err := s.explain(t.Context(), failed("file an entry", c.err, false))
		require.NotContains(t, err.Error(), value)
		require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), value)
		require.True(t, strings.HasPrefix(err.Error(), "sqlstore: file an entry: "))
		if c.want == "" {
			c.want = c.err.Error()
		}
		require.ErrorContains(t, err, c.want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.explain(ctx, failed("file an entry", errors.New("interrupted "+value), false))
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), value)
	own := errors.New("of change")
	require.Equal(t, own, s.explain(ctx, own))
	require.NoError(t, s.explain(ctx, nil))
}

// A connection's deadline may fire before its context's.
func TestDeadlineOfConnection(t *testing.T) {
	t.Parallel()
	s := &Store{kind: MySQL}
	late := &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	err := s.explain(passed{t.Context()}, failed("connect", late, false))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	require.NotErrorIs(t, s.explain(passed{t.Context()}, failed("connect", refused, false)), context.DeadlineExceeded)
	require.NotErrorIs(t, s.explain(t.Context(), failed("connect", late, false)), context.DeadlineExceeded)
}

// passed is a context whose deadline has passed, but whose timer has not fired.
type passed struct{ context.Context }

func (passed) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// slow is a connector of a server that does not answer.
type slow struct{ asked chan struct{} }

func (s slow) Driver() driver.Driver { return nil }
func (s slow) Connect(ctx context.Context) (driver.Conn, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A context that ends does not wait for somebody else's.
func TestPrepareHeedsContext(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s, err := New(sql.OpenDB(slow{asked}), MySQL)
	require.NoError(t, err)
	patient, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Escrow().Join(patient, "a", "b") }()
	<-asked
	ended, end := context.WithCancel(t.Context())
	end()
	require.ErrorIs(t, s.Escrow().Join(ended, "a", "b"), context.Canceled)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestFullSyncOfSQLite(t *testing.T) {
	t.Parallel()
	settings := sqliteSettings{journal: "wal", encoding: "UTF-8", synchronous: 2, timeout: 1}
	require.NoError(t, settings.check("linux"))
	require.ErrorContains(t, settings.check("darwin"), "PRAGMA fullfsync = ON")
	settings.fullfsync = true
	require.NoError(t, settings.check("darwin"))
}

// Servers of two versions call the same procedure. One that changes gets another
// name, and another digest here.
func TestProceduresNeverChange(t *testing.T) {
	t.Parallel()
	digests := map[string]string{}
	for name, create := range proceduresMySQL() {
		require.Contains(t, create, "CREATE PROCEDURE IF NOT EXISTS "+name+"(")
		require.NotContains(t, create, "?")
		for _, c := range columns {
			require.NotContains(t, []string{"wanted", "wanted_kind", "wanted_serial"}, c.name)
		}
		digests[name] = fmt.Sprintf("%.4x", sha256.Sum256([]byte(create)))
	}
	require.Equal(t, map[string]string{
		"activationlock_lock":               "c2d00ada",
		"activationlock_lock_action":        "6dd83dcb",
		"activationlock_lock_enrollment_id": "8318b7c5",
		"activationlock_lock_serial_number": "67ea531a",
		"activationlock_join":               "c40f29e7",
		"activationlock_lock_record":        "7f606cd1",
		"activationlock_claim":              "72f5d676",
	}, digests)
}

func TestLiteral(t *testing.T) {
	t.Parallel()
	query, err := literal("INSERT INTO a VALUES (?, ?, ?, ?, ?)", []any{nil, int64(-5), "a'\\?", []byte{0, 0xff}, ""})
	require.NoError(t, err)
	require.Equal(t, "INSERT INTO a VALUES (NULL, -5, X'61275c3f', X'00ff', X'')", query)
	for _, args := range [][]any{nil, {1}, {1.5}, {true}, {time.Now()}, {text("a")}, {"a", "b"}} {
		_, err := literal("SELECT ?", args)
		require.Error(t, err)
	}
	for _, d := range dialects { // no question mark is anything else
		s, err := New(sql.OpenDB(fake{}), d)
		require.NoError(t, err)
		require.NotContains(t, strings.Join(s.dialect.queries().all(), ""), "'")
	}
	err = (&Store{kind: MySQL}).explain(t.Context(), failed("file an entry", errors.New("Error 1064 (42000): You have an error near 'X'61''"), false))
	require.NotContains(t, err.Error(), "61")
}
