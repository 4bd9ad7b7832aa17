package sqlstore

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrNewer means that a later version of this package has changed the database's
// tables. Its migrations go forward only.
var ErrNewer = errors.New("sqlstore: the tables are of a newer version of this library")

// UnsafeError means that the database is set up in a way that loses codes: what
// it calls committed may be gone after a loss of power.
type UnsafeError struct {
	Setting string // "synchronous"
	Value   string // what it is
	Mend    string // the line that mends it
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("sqlstore: codes are not safe while %s is %s; what mends it: %s", e.Setting, e.Value, e.Mend)
}

// failure is an error of a database. It does not leave the package, since its
// text may have values in it.
type failure struct {
	doing string
	err   error
	again bool // nothing was committed, and trying again may help
	clean bool // no values were sent yet
}

func (f *failure) Error() string { return f.doing }

// failed returns an error of a statement inside a transaction.
func failed(doing string, err error, again bool) error {
	return &failure{doing: doing, err: err, again: again || lostTurn(err)}
}

// failedFirst returns an error of a transaction's first statement. If the driver
// knows that it was not sent, the connection was one that had died in the pool.
func failedFirst(doing string, err error) error {
	return failed(doing, err, errors.Is(err, driver.ErrBadConn))
}

// lostTurn reports whether a database gave up a transaction for another's sake.
func lostTurn(err error) bool {
	switch state := sqlState(err); state {
	case "40001", "40P01": // PostgreSQL: serialization failure, deadlock
		return true
	}
	switch number, _ := mysqlNumber(err); number {
	case "1205", "1213": // MySQL: lock wait timeout, deadlock
		return true
	}
	return strings.Contains(err.Error(), "database is locked") // SQLite
}

// explain returns an error that can leave the package. Errors of change, and of
// contexts, stay what they are.
func (s *Store) explain(ctx context.Context, err error) error {
	f, ok := err.(*failure)
	if !ok {
		return err
	}
	if errors.Is(f.err, ErrNewer) {
		return ErrNewer
	}
	if unsafe := new(UnsafeError); errors.As(f.err, &unsafe) {
		return unsafe
	}
	return fmt.Errorf("sqlstore: %s: %w", f.doing, explain(ctx, f.err, f.clean || s.kind == SQLite))
}

// explain returns the reason of a failure without the values that databases and
// drivers quote: "Key (id)=(…) already exists". SQLite quotes none.
func explain(ctx context.Context, err error, clean bool) error {
	if ctx.Err() != nil {
		return ctx.Err() // drivers have names of their own for it
	}
	// A connection's deadline may fire before its context's, for which it was set.
	network := net.Error(nil)
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) && errors.As(err, &network) && network.Timeout() {
		return context.DeadlineExceeded
	}
	if clean || errors.Is(err, errColumn) || ofConnection(err) {
		return err
	}
	if state := sqlState(err); state != "" {
		if harmless(state) {
			return errors.New(err.Error())
		}
		return fmt.Errorf("SQLSTATE %s", state)
	}
	if number, state := mysqlNumber(err); number != "" {
		// A syntax error, 1064, quotes the statement.
		if harmless(state) && number != "1064" || slices.Contains(harmlessNumbers, number) {
			return errors.New(err.Error())
		}
		return fmt.Errorf("error %s (%s)", number, state)
	}
	return fmt.Errorf("the driver's error, of type %T, is left out, since it may quote a record", err)
}

// ofConnection reports whether an error is about the connection.
func ofConnection(err error) bool {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var (
		network     net.Error
		system      syscall.Errno
		certificate *tls.CertificateVerificationError
	)
	return errors.As(err, &network) || errors.As(err, &system) || errors.As(err, &certificate) ||
		slices.Contains([]string{"invalid connection", "conn closed", "sql: database is closed"}, err.Error())
}

// sqlState returns the SQLSTATE of an error of pgx or lib/pq.
func sqlState(err error) string {
	var e interface {
		error
		SQLState() string
	}
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

var mysqlError = regexp.MustCompile(`^Error ([0-9]+)(?: \(([0-9A-Z]{5})\))?: `)

// mysqlNumber returns number and SQLSTATE of an error of go-sql-driver/mysql.
func mysqlNumber(err error) (number, state string) {
	for ; err != nil; err = errors.Unwrap(err) {
		if m := mysqlError.FindStringSubmatch(err.Error()); m != nil {
			return m[1], m[2]
		}
	}
	return "", ""
}

// harmless reports whether the text of a SQLSTATE is about the server, the
// connection, rights or names, and so has no values in it.
func harmless(state string) bool {
	if len(state) != 5 {
		return false
	}
	return slices.Contains([]string{"08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58"}, state[:2])
}

// harmlessNumbers are errors of MySQL without a SQLSTATE of their own: lock wait
// timeout, read-only server, binary log without rows.
var harmlessNumbers = []string{"1205", "1290", "1665"}
