package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/internal/cursor"
	"github.com/activationlock/sdk/inventory"
)

// Inventory returns the store of records. What it cannot keep, an update refuses:
// longer text, a time that is not in UTC, or a record of more than 1 MiB in JSON.
func (s *Store) Inventory() inventory.Store { return inventoryStore{s} }

type inventoryStore struct{ *Store }

// maxRecord is the size in bytes of the longest body of a record.
const maxRecord = 1 << 20

var (
	errRecord      = errors.New("sqlstore: the record has something in it that cannot be kept: text that is no UTF-8 or too long, a time that is not in UTC, or too much")
	errNewerRecord = errors.New("sqlstore: the record has something in it that a newer version of this library wrote; update it there")
)

// records is what each kind of database does in its own way.
type records interface {
	// lockRecord is the query that reads a record, and has nobody else change it
	// until the transaction ends.
	lockRecord() string
	// ifFree returns an UPDATE of a record, by itself, that does nothing or fails where
	// somebody else is changing it, rather than wait for that: the caller may be gone
	// meanwhile. It does nothing if it would not be committed.
	ifFree(a *arguments, update, enrollmentID string) string
	// markUnchanged has the commit of an update that writes nothing wait for what
	// it has read to be on the disk, if commits show what is not there yet.
	markUnchanged(ctx context.Context, in querier, enrollmentID string) error
	// taken reports whether an error says that another update has made the record
	// since it was looked for.
	taken(error) bool
	// claim claims what is due and not claimed, and returns it in order.
	claim(ctx context.Context, in querier, now, until, limit int64, token string) ([]string, error)
	// release ends a claim, and reports whether it was there.
	release(ctx context.Context, in querier, enrollmentID, token string) (bool, error)
	// unprepared returns the querier for statements that are not prepared.
	unprepared(of querier) querier
	// after is the condition that a row comes after a place, of a column and an
	// enrollment ID, that an index can find.
	after(a *arguments, column, comparison string, value any, id string) string
	upsertMarks() string
}

// arguments are those of a statement that is put together.
type arguments struct {
	kind Dialect
	list []any
}

// add adds an argument, and returns its placeholder.
func (a *arguments) add(arg any) string {
	a.list = append(a.list, arg)
	if a.kind == PostgreSQL {
		return "$" + strconv.Itoa(len(a.list))
	}
	return "?"
}

// oneOf is the condition that a column is one of some values. It is not possible
// if no column can have one of them.
func oneOf[S ~string](a *arguments, values []S) (condition string, possible bool) {
	var placeholders []string
	for _, v := range values {
		if v == "" || escrow.ValidIdentifier(string(v)) { // others are nowhere
			placeholders = append(placeholders, a.add(string(v)))
		}
	}
	return " IN (" + strings.Join(placeholders, ", ") + ")", len(placeholders) > 0
}

// isKept is what is read of a record.
type isKept struct {
	inventory.Record
	body           text
	newer, damaged bool
}

func readRecords(ctx context.Context, in querier, query string, args ...any) (found []isKept, err error) {
	rows, err := in.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failedFirst("read records", err)
	}
	err = scanDevices(rows, true, func(d *device) {
		record, newer, damaged := d.record()
		found = append(found, isKept{record, d.body, newer, damaged})
	})
	if err != nil {
		return nil, failed("read records", err, false)
	}
	return found, nil
}

func (s inventoryStore) Update(ctx context.Context, enrollmentID string, change func(*inventory.Record) error) error {
	if !escrow.ValidIdentifier(enrollmentID) {
		return overOr(ctx, errors.New("sqlstore: an enrollment ID is required"))
	}
	if done, err := s.updateAtOnce(ctx, enrollmentID, change); done || err != nil {
		return s.explain(ctx, err)
	}
	return s.transact(ctx, func(in querier) error {
		there, err := readRecords(ctx, in, s.dialect.lockRecord(), enrollmentID)
		if err != nil {
			return err
		}
		before := isKept{Record: inventory.Record{EnrollmentID: enrollmentID}}
		if len(there) > 0 {
			before = there[0]
		}
		if before.newer {
			return errNewerRecord
		}
		after := before.Clone()
		if err := change(&after); err != nil {
			return err
		}
		switch {
		case after.EnrollmentID != enrollmentID:
			return errors.New("sqlstore: a record keeps its enrollment ID")
		case len(there) > 0 && !before.damaged && reflect.DeepEqual(before.Record, after):
			if err := s.dialect.markUnchanged(ctx, in, enrollmentID); err != nil {
				return failed("update a record", err, false)
			}
			return nil
		}
		return s.write(ctx, in, &before, &after, len(there) > 0)
	})
}

// updateAtOnce writes a record that was read before in a statement by itself, if it is
// still what was read: one question, where a transaction has several. If it is not done,
// nothing is written, and a transaction has to do it: where the record was not read or
// is another by now, another one is changing it, or there is more to write than that.
//
// SQLite asks nobody anyway, and does it in a transaction each time.
func (s inventoryStore) updateAtOnce(ctx context.Context, enrollmentID string, change func(*inventory.Record) error) (done bool, err error) {
	before, there := s.recent.take(enrollmentID)
	if !there {
		return false, nil
	}
	after := before.Clone()
	if change(&after) != nil || after.EnrollmentID != enrollmentID || // which may be so of what it was, and no more
		reflect.DeepEqual(before.Record, after) || !maps.Equal(marksOf(&before.Record), marksOf(&after)) {
		return false, nil
	}
	values, err := deviceValues(&after)
	if err != nil {
		return false, nil
	}
	a := arguments{kind: s.kind}
	query := s.dialect.ifFree(&a, updateDevice(&a, values)+" AND body = "+a.add(string(before.body)), enrollmentID)
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return false, &failure{doing: "connect", err: err, clean: true}
	}
	defer conn.Close()
	// Nobody would know whether one that is interrupted succeeds.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	done, err = changed(s.dialect.unprepared(conn).ExecContext(ctx, query, a.list...))
	if err != nil && !lostTurn(err) && !errors.Is(err, driver.ErrBadConn) { // nothing was written then
		return false, failed("write a record", err, false)
	}
	return done, nil
}

// recent has records as they were read last: who reads one often changes it soon. What
// it has may be out of date.
type recent struct {
	mu      sync.Mutex
	records map[string]isKept
}

// They take some megabytes at most: usual records have one or two kilobytes.
const (
	mostRecent    = 256
	longestRecent = 16 << 10
)

func (r *recent) note(k isKept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.newer || k.damaged || len(k.body) > longestRecent {
		delete(r.records, k.EnrollmentID) // it was something else before
		return
	}
	k.Record = k.Clone()
	if r.records == nil || len(r.records) >= mostRecent {
		r.records = map[string]isKept{}
	}
	r.records[k.EnrollmentID] = k
}

// read notes what an update may begin from.
func (s inventoryStore) read(k isKept) {
	if s.kind != SQLite {
		s.recent.note(k)
	}
}

func (r *recent) take(enrollmentID string) (k isKept, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, there = r.records[enrollmentID]
	delete(r.records, enrollmentID)
	return k, there
}

// overOr returns the context's error if it is over, and else another.
func overOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// write writes a record, and what marks it for filters.
func (s inventoryStore) write(ctx context.Context, in querier, before *isKept, after *inventory.Record, there bool) error {
	values, err := deviceValues(after)
	if err != nil {
		return err
	}
	a := arguments{kind: s.kind}
	var statement strings.Builder
	if there {
		statement.WriteString(updateDevice(&a, values))
	} else {
		statement.WriteString("INSERT INTO activationlock_devices (")
		placeholders := make([]string, len(values))
		for i, c := range deviceColumns {
			if i > 0 {
				statement.WriteString(", ")
			}
			statement.WriteString(c.name)
			placeholders[i] = a.add(values[i])
		}
		statement.WriteString(") VALUES (" + strings.Join(placeholders, ", ") + ")")
	}
	if _, err := in.ExecContext(ctx, statement.String(), a.list...); err != nil {
		return failed("write a record", err, s.dialect.taken(err))
	}
	if err := s.mark(ctx, in, before, after); err != nil {
		return failed("mark a record", err, false)
	}
	return nil
}

// updateDevice returns the statement that writes the columns of a record which is
// there.
func updateDevice(a *arguments, values []any) string {
	var set []string
	for i, c := range deviceColumns[1:] {
		set = append(set, c.name+" = "+a.add(values[i+1]))
	}
	return "UPDATE activationlock_devices SET " + strings.Join(set, ", ") + " WHERE enrollment_id = " + a.add(values[0])
}

// mark is what filters find a record by.
type mark struct{ kind, name string }

func marksOf(r *inventory.Record) map[mark]bool {
	marks := map[mark]bool{}
	for _, g := range r.Groups {
		marks[mark{"group", g}] = true
	}
	for _, f := range r.Summary.Findings {
		marks[mark{"finding", string(f.Kind)}] = true
	}
	return marks
}

// marksAtOnce is how many marks a statement writes at most.
const marksAtOnce = 200

// mark writes the marks that have changed.
func (s inventoryStore) mark(ctx context.Context, in querier, before *isKept, after *inventory.Record) error {
	old, marks := marksOf(&before.Record), marksOf(after)
	if before.damaged { // and so may its marks be
		old = nil
		a := arguments{kind: s.kind}
		query := "UPDATE activationlock_marks SET is_set = 0 WHERE enrollment_id = " + a.add(after.EnrollmentID)
		if _, err := in.ExecContext(ctx, query, a.list...); err != nil {
			return err
		}
	}
	for m := range old {
		if marks[m] {
			delete(marks, m)
		} else {
			marks[m] = false
		}
	}
	order := func(a, b mark) int { return strings.Compare(a.kind+a.name, b.kind+b.name) }
	for some := range slices.Chunk(slices.SortedFunc(maps.Keys(marks), order), marksAtOnce) {
		a := arguments{kind: s.kind}
		var rows []string
		for _, m := range some {
			set := int64(0)
			if marks[m] {
				set = 1
			}
			rows = append(rows, "("+a.add(after.EnrollmentID)+", "+a.add(m.kind)+", "+a.add(m.name)+", "+a.add(set)+")")
		}
		query := "INSERT INTO activationlock_marks (enrollment_id, kind, name, is_set) VALUES " + strings.Join(rows, ", ") + s.dialect.upsertMarks()
		if _, err := in.ExecContext(ctx, query, a.list...); err != nil {
			return err
		}
	}
	return nil
}

// devices begins the queries that read records.
var devices = "SELECT " + deviceNames("body") + " FROM activationlock_devices WHERE "

func (s inventoryStore) Get(ctx context.Context, enrollmentID string) (inventory.Record, error) {
	if !escrow.ValidIdentifier(enrollmentID) {
		return inventory.Record{}, overOr(ctx, inventory.ErrNotFound)
	}
	a := arguments{kind: s.kind}
	found, err := readRecords(ctx, s.dialect.unprepared(s.db), devices+"enrollment_id = "+a.add(enrollmentID), a.list...)
	if err != nil {
		return inventory.Record{}, s.explain(ctx, err)
	}
	if len(found) == 0 {
		return inventory.Record{}, inventory.ErrNotFound
	}
	s.read(found[0])
	return found[0].Record, nil
}

func (s inventoryStore) BySerialNumber(ctx context.Context, serialNumber string) (list []inventory.Record, err error) {
	if !escrow.ValidIdentifier(serialNumber) {
		return nil, ctx.Err() // there can be none
	}
	a := arguments{kind: s.kind}
	query := devices + "serial_number = " + a.add(serialNumber) + " ORDER BY enrollment_id"
	found, err := readRecords(ctx, s.dialect.unprepared(s.db), query, a.list...)
	for _, f := range found {
		s.read(f)
		list = append(list, f.Record)
	}
	return list, s.explain(ctx, err)
}

func (s inventoryStore) Claim(ctx context.Context, now, until time.Time, limit int) (claims []inventory.Claim, err error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	token := rand.Text()
	err = s.transact(ctx, func(in querier) error {
		claims = nil
		ids, err := s.dialect.claim(ctx, in, now.UnixMicro(), until.UnixMicro(), int64(limit), token)
		for _, id := range ids {
			claims = append(claims, inventory.Claim{EnrollmentID: id, Token: token})
		}
		if err != nil {
			return failedFirst("claim", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

func (s inventoryStore) Release(ctx context.Context, c inventory.Claim) error {
	if !escrow.ValidIdentifier(c.EnrollmentID) || !escrow.ValidIdentifier(c.Token) {
		return overOr(ctx, inventory.ErrNotClaimed)
	}
	return s.transact(ctx, func(in querier) error {
		there, err := s.dialect.release(ctx, in, c.EnrollmentID, c.Token)
		if err != nil {
			return failedFirst("release", err)
		}
		if !there {
			return inventory.ErrNotClaimed
		}
		return nil
	})
}

// sortColumns are the columns that rows are sorted by.
var sortColumns = map[inventory.Column]string{
	inventory.BySerialNumber: "serial_number", inventory.ByDeviceName: "device_name",
	inventory.ByLastSeen: "last_seen", inventory.BySeverity: "severity",
}

func (s inventoryStore) List(ctx context.Context, q inventory.Query) (list []inventory.Row, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	order, err := cursor.OrderOf(q)
	if err != nil {
		return nil, err
	}
	a := &arguments{kind: s.kind}
	where, possible := s.where(a, q.Filter)
	column, comparison, direction := sortColumns[q.Sort], ">", ""
	if q.Descending {
		comparison, direction = "<", " DESC"
	}
	if q.After != "" {
		place, err := order.Parse(q.After)
		if err != nil {
			return nil, err
		}
		value := any(place.Text)
		if q.Sort == inventory.ByLastSeen || q.Sort == inventory.BySeverity {
			value = place.Number
		}
		if column == "" {
			where = append(where, "d.enrollment_id "+comparison+" "+a.add(place.ID))
		} else {
			where = append(where, s.dialect.after(a, column, comparison, value, place.ID))
		}
	}
	if !possible || q.Limit < 1 {
		return nil, nil
	}
	query := "SELECT " + deviceNames() + " FROM activationlock_devices AS d" + conditions(where) + " ORDER BY "
	if column != "" {
		query += "d." + column + direction + ", "
	}
	query += "d.enrollment_id" + direction + " LIMIT " + strconv.Itoa(min(q.Limit, inventory.MaxPage)) // which a plan is made for
	rows, err := s.dialect.unprepared(s.db).QueryContext(ctx, query, a.list...)
	if err != nil {
		return nil, s.explain(ctx, failed("list", err, false))
	}
	list = q.Into[:0]
	if cap(list) == 0 && q.After != "" { // the page before was full, and this one is likely to be
		list = make([]inventory.Row, 0, min(q.Limit, inventory.MaxPage))
	}
	err = scanDevices(rows, false, func(d *device) {
		list = append(list, d.Row)
	})
	if err != nil {
		return nil, s.explain(ctx, failed("list", err, false))
	}
	if len(list) > 0 {
		last := &list[len(list)-1]
		last.Cursor = order.Cursor(last)
	}
	return list, nil
}

func conditions(where []string) string {
	if len(where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(where, " AND ")
}

// where returns the conditions of a filter, and whether a row can fit it.
func (s inventoryStore) where(a *arguments, f inventory.Filter) (where []string, possible bool) {
	possible = true
	among := func(n int, before string, list func() (string, bool), after string) {
		if n == 0 {
			return
		}
		values, some := list()
		possible = possible && some
		where = append(where, before+values+after)
	}
	marked := func(kind string) string {
		return "EXISTS (SELECT 1 FROM activationlock_marks AS m WHERE m.enrollment_id = d.enrollment_id AND m.kind = " + a.add(kind) + " AND m.name"
	}
	among(len(f.Statuses), "d.status", func() (string, bool) { return oneOf(a, f.Statuses) }, "")
	among(len(f.Ownerships), "d.ownership", func() (string, bool) { return oneOf(a, f.Ownerships) }, "")
	among(len(f.Platforms), "d.platform", func() (string, bool) { return oneOf(a, f.Platforms) }, "")
	among(len(f.Reassign), "d.reassign", func() (string, bool) { return oneOf(a, f.Reassign) }, "")
	if len(f.Groups) > 0 {
		among(len(f.Groups), marked("group"), func() (string, bool) { return oneOf(a, f.Groups) }, " AND m.is_set = 1)")
	}
	if len(f.Findings) > 0 {
		among(len(f.Findings), marked("finding"), func() (string, bool) { return oneOf(a, f.Findings) }, " AND m.is_set = 1)")
	}
	if f.Supervised != nil {
		value, _ := flag(*f.Supervised).Value() // it has no error
		where = append(where, "d.supervised = "+a.add(value))
	}
	if f.Severity != 0 {
		where = append(where, "d.severity >= "+a.add(int64(f.Severity)))
	}
	if f.Live {
		where = append(where, "d.live = 1")
	}
	if f.Text != "" {
		possible = possible && escrow.ValidIdentifier(f.Text)
		part := a.add(searched(f.Text))
		if s.kind == PostgreSQL {
			where = append(where, "strpos(d.searchable, "+part+") > 0")
		} else {
			where = append(where, "instr(d.searchable, "+part+") > 0")
		}
	}
	return where, possible
}

func (s inventoryStore) Totals(ctx context.Context, f inventory.Filter, now time.Time) (inventory.Totals, error) {
	if ctx.Err() != nil {
		return inventory.Totals{}, ctx.Err()
	}
	a := &arguments{kind: s.kind}
	query := "SELECT d.status, d.severity, COUNT(*), COUNT(d.code_since)," +
		" COUNT(CASE WHEN d.reassign = " + a.add(string(activationlock.Yes)) + " THEN 1 END)," +
		" COUNT(CASE WHEN d.due_at < " + a.add(now.UnixMicro()) + " THEN 1 END) FROM activationlock_devices AS d"
	where, possible := s.where(a, f)
	totals := inventory.Totals{Statuses: map[activationlock.Status]int{}, Severities: map[inventory.Severity]int{}}
	if !possible {
		return totals, nil
	}
	rows, err := s.dialect.unprepared(s.db).QueryContext(ctx, query+conditions(where)+" GROUP BY d.status, d.severity", a.list...)
	if err == nil {
		err = scanTotals(rows, &totals)
	}
	if err != nil {
		return inventory.Totals{}, s.explain(ctx, failed("count", err, false))
	}
	return totals, nil
}

func scanTotals(rows *sql.Rows, totals *inventory.Totals) error {
	defer rows.Close()
	for rows.Next() {
		var status text
		var severity int64
		var counts [4]int
		if err := rows.Scan(&status, &severity, &counts[0], &counts[1], &counts[2], &counts[3]); err != nil {
			return err
		}
		totals.Devices += counts[0]
		totals.Statuses[activationlock.Status(status)] += counts[0]
		totals.Severities[inventory.Severity(severity)] += counts[0]
		if activationlock.Status(status) != activationlock.NotApplicable {
			totals.WithCode += counts[1]
		}
		totals.Reassignable += counts[2]
		totals.Overdue += counts[3]
	}
	return rows.Err()
}
