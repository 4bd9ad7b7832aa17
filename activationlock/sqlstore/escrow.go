package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

type escrowStore struct{ *Store }

// statements are those that differ in their placeholders only.
type statements struct {
	ofSerialNumber                                            string // and what is joined to it
	ofSerialNumberAlone, ofEnrollmentID, scan, insert, update string
	joined                                                    string
	lastAudit, scanAudit, insertAudit                         string
	scanAuditAgain                                            string // where a gap may be the reader's, else ""
	action, actionsOfDevice, scanActions, scanOpenActions     string
	insertAction, updateAction                                string
	actionMeanwhile                                           string // one that came after the lock
}

// of returns the query for a subject's entries.
func (s *statements) of(subject escrow.Subject) (query string, args []any) {
	if subject.SerialNumber != "" {
		return s.ofSerialNumber, []any{subject.SerialNumber, subject.SerialNumber}
	}
	return s.ofEnrollmentID, []any{subject.EnrollmentID}
}

func (s *statements) queries() *statements { return s }

// all are those of codes. Those of audit and actions are not among them, since
// what is prepared has to be there, and codes come out of older databases too.
func (s *statements) all() []string {
	return []string{
		s.ofSerialNumber, s.ofEnrollmentID, s.scan, s.insert, s.update, s.joined,
	}
}

func newStatements(placeholder func(n int) string) *statements {
	const from = " FROM activationlock_codes WHERE "
	all := make([]string, len(columns))
	set := make([]string, len(columns)-fixed)
	for i, c := range columns {
		all[i] = placeholder(i + 1)
		if i >= fixed {
			set[i-fixed] = c.name + " = " + placeholder(i-fixed+1)
		}
	}
	const audit = "number, at, act, actor, reason, serial_number, enrollment_id, record_id, detail, digest"
	const actions = "SELECT " + actionColumns + " FROM activationlock_actions WHERE "
	alone := "SELECT seq, " + names("") + from + "serial_number = " + placeholder(1)
	// Sorting is left to us: databases copy what they sort, and a subject has few.
	return &statements{
		ofSerialNumberAlone: alone,
		ofSerialNumber: alone +
			" UNION ALL SELECT c.seq, " + names("c.") + " FROM activationlock_joins AS j" +
			" JOIN activationlock_codes AS c ON c.enrollment_id = j.enrollment_id WHERE j.serial_number = " + placeholder(2),
		ofEnrollmentID: "SELECT seq, " + names("") + from + "enrollment_id = " + placeholder(1),
		scan:           "SELECT seq, " + names("") + from + "id > " + placeholder(1) + " ORDER BY id LIMIT " + placeholder(2),
		insert:         "INSERT INTO activationlock_codes (" + names("") + ") VALUES (" + strings.Join(all, ", ") + ")",
		update:         "UPDATE activationlock_codes SET " + strings.Join(set, ", ") + " WHERE id = " + placeholder(len(set)+1),
		joined:         "SELECT serial_number FROM activationlock_joins WHERE enrollment_id = " + placeholder(1) + " ORDER BY serial_number",
		lastAudit:      "SELECT " + audit + " FROM activationlock_audit ORDER BY number DESC LIMIT 1",
		scanAudit:      "SELECT " + audit + " FROM activationlock_audit WHERE number > " + placeholder(1) + " ORDER BY number LIMIT " + placeholder(2),
		insertAudit:    "INSERT INTO activationlock_audit (" + audit + ") VALUES (" + strings.Join(all[:10], ", ") + ")",

		action:          actions + "id = " + placeholder(1),
		actionMeanwhile: actions + "id = " + placeholder(1),
		actionsOfDevice: actions + "serial_number = " + placeholder(1) + " ORDER BY started_at, id",
		scanActions:     actions + "id > " + placeholder(1) + " ORDER BY id LIMIT " + placeholder(2),
		scanOpenActions: actions + "is_open = 1 AND id > " + placeholder(1) + " ORDER BY id LIMIT " + placeholder(2),
		insertAction:    "INSERT INTO activationlock_actions (" + actionColumns + ") VALUES (" + strings.Join(all[:9], ", ") + ")",
		updateAction: "UPDATE activationlock_actions SET is_open = " + placeholder(1) + ", state = " + placeholder(2) +
			", started_at = " + placeholder(3) + ", next_at = " + placeholder(4) + ", ended_at = " + placeholder(5) +
			", body = " + placeholder(6) + " WHERE id = " + placeholder(7),
	}
}

func (s escrowStore) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	if !fileable(subject) {
		return errors.New("sqlstore: a serial number or an enrollment ID is required")
	}
	return s.transact(ctx, func(in querier) error {
		query, args, err := s.dialect.lock(ctx, in, subject)
		if err != nil {
			return failedFirst("lock", err)
		}
		entries, err := entries(ctx, in, query, args)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, e := range entries {
			there[e.ID] = true
		}
		changed, err := change(entries)
		if err != nil {
			return err
		}
		for _, e := range changed {
			if !there[e.ID] && e.Subject != subject {
				return errors.New("sqlstore: a new entry has the subject of its update")
			}
			if err := s.write(ctx, in, &e, there[e.ID]); err != nil {
				return err
			}
			there[e.ID] = true
		}
		return nil
	})
}

// write files an entry, or changes one that is there.
func (s escrowStore) write(ctx context.Context, in querier, e *escrow.Entry, there bool) error {
	if !there {
		if !escrow.ValidIdentifier(e.ID) {
			return errors.New("sqlstore: a new entry needs an ID")
		}
		args, err := values(e, 0)
		if err != nil {
			return err
		}
		if _, err = in.ExecContext(ctx, s.dialect.queries().insert, args...); err != nil {
			return failed("file an entry", err, false)
		}
		return nil
	}
	args, err := values(e, fixed)
	if err != nil {
		return err
	}
	if _, err = in.ExecContext(ctx, s.dialect.queries().update, append(args, e.ID)...); err != nil {
		return failed("change an entry", err, false)
	}
	return nil
}

func (s escrowStore) Entries(ctx context.Context, subject escrow.Subject) ([]escrow.Entry, error) {
	if !fileable(subject) {
		return nil, ctx.Err() // nothing can be filed under it
	}
	if err := s.dialect.prepare(ctx); err != nil {
		return nil, s.explain(ctx, err)
	}
	query, args := s.dialect.queries().of(subject)
	entries, err := entries(ctx, s.dialect.reader(), query, args)
	return entries, s.explain(ctx, err)
}

// entries reads the entries of a subject in the order of filing.
func entries(ctx context.Context, in querier, query string, args []any) ([]escrow.Entry, error) {
	found, err := read(ctx, in, query, args...)
	slices.SortFunc(found, func(a, b filed) int { return cmp.Compare(a.seq, b.seq) })
	return entriesOf(found), err
}

func read(ctx context.Context, in querier, query string, args ...any) ([]filed, error) {
	rows, err := in.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failedFirst("read entries", err)
	}
	found, err := scan(rows)
	if err != nil {
		return nil, failed("read entries", err, false)
	}
	return found, nil
}

func (s escrowStore) Join(ctx context.Context, enrollmentID, serialNumber string) error {
	if !escrow.ValidIdentifier(enrollmentID) || !escrow.ValidIdentifier(serialNumber) {
		return errors.New("sqlstore: join: an enrollment ID and a serial number are required")
	}
	return s.transact(ctx, func(in querier) error {
		if err := s.dialect.join(ctx, in, enrollmentID, serialNumber); err != nil {
			return failedFirst("join", err)
		}
		return nil
	})
}

func (s escrowStore) Joined(ctx context.Context, enrollmentID string) ([]string, error) {
	if !escrow.ValidIdentifier(enrollmentID) {
		return nil, ctx.Err()
	}
	if err := s.dialect.prepare(ctx); err != nil {
		return nil, s.explain(ctx, err)
	}
	found, err := s.joined(ctx, enrollmentID)
	if err != nil {
		return nil, s.explain(ctx, failed("read joins", err, false))
	}
	return found, nil
}

func (s escrowStore) joined(ctx context.Context, enrollmentID string) (found []string, err error) {
	rows, err := s.dialect.reader().QueryContext(ctx, s.dialect.queries().joined, enrollmentID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var serialNumber text
		if err := rows.Scan(&serialNumber); err != nil {
			return nil, err
		}
		found = append(found, string(serialNumber))
	}
	return found, rows.Err()
}

func (s escrowStore) Scan(ctx context.Context, after string, limit int) ([]escrow.Entry, error) {
	// The others also go on after an ID that was damaged.
	if s.kind == PostgreSQL && (!utf8.ValidString(after) || strings.ContainsRune(after, 0)) {
		return nil, errors.New("sqlstore: scan: IDs are UTF-8 without NUL")
	}
	if limit <= 0 {
		return nil, ctx.Err()
	}
	if err := s.dialect.prepare(ctx); err != nil {
		return nil, s.explain(ctx, err)
	}
	found, err := read(ctx, s.dialect.reader(), s.dialect.queries().scan, after, int64(limit))
	return entriesOf(found), s.explain(ctx, err)
}

// fileable reports whether an entry can be filed under a subject.
func fileable(s escrow.Subject) bool {
	return (s.SerialNumber == "") != (s.EnrollmentID == "") && escrow.ValidIdentifier(s.SerialNumber+s.EnrollmentID)
}
