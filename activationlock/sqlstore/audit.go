package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
)

// Audit returns the store of the audit.
func (s *Store) Audit() audit.Store { return auditStore{s} }

type auditStore struct{ *Store }

func (s auditStore) Append(ctx context.Context, next func(last audit.Entry) ([]audit.Entry, error)) error {
	return s.transact(ctx, func(in querier) error {
		if err := s.dialect.lockRow(ctx, in, "audit", ""); err != nil {
			return failedFirst("lock the audit", err)
		}
		var last audit.Entry
		found, err := readAudit(ctx, in, s.dialect.queries().lastAudit)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			last = found[0]
		}
		entries, err := next(last)
		if err != nil {
			return err
		}
		for _, e := range entries {
			args := []any{e.Number, e.At.UnixMicro()}
			for _, s := range []string{string(e.Act), e.Actor, e.Reason, e.SerialNumber, e.EnrollmentID, e.RecordID, e.Detail, e.Digest.String()} {
				v, err := text(s).Value()
				if err != nil {
					return fmt.Errorf("sqlstore: append to the audit: %w", err)
				}
				args = append(args, v)
			}
			if _, err := in.ExecContext(ctx, s.dialect.queries().insertAudit, args...); err != nil {
				return failed("append to the audit", err, false)
			}
		}
		return nil
	})
}

func (s auditStore) Scan(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	if err := s.dialect.prepare(ctx); err != nil {
		return nil, s.explain(ctx, err)
	}
	found, err := readAudit(ctx, s.dialect.reader(), s.dialect.queries().scanAudit, after, int64(limit))
	if again := s.dialect.queries().scanAuditAgain; again != "" && err == nil && gap(after, found) {
		found, err = readAudit(ctx, s.dialect.reader(), again, after, int64(limit))
	}
	return found, s.explain(ctx, err)
}

// gap reports whether numbers are missing before one of the entries.
func gap(after int64, entries []audit.Entry) bool {
	last := max(after, 0)
	for _, e := range entries {
		if e.Number != last+1 {
			return true
		}
		last = e.Number
	}
	return false
}

func readAudit(ctx context.Context, in querier, query string, args ...any) (entries []audit.Entry, err error) {
	rows, err := in.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failed("read the audit", err, false)
	}
	if entries, err = scanAudit(rows); err != nil {
		return nil, failed("read the audit", err, false)
	}
	return entries, nil
}

func scanAudit(rows *sql.Rows) (entries []audit.Entry, err error) {
	defer rows.Close()
	for rows.Next() {
		var e audit.Entry
		var at int64
		var act, actor, reason, serialNumber, enrollmentID, recordID, detail, digest text
		if err := rows.Scan(&e.Number, &at, &act, &actor, &reason, &serialNumber, &enrollmentID, &recordID, &detail, &digest); err != nil {
			return nil, err
		}
		if n, err := hex.Decode(e.Digest[:], []byte(digest)); err != nil || n != len(e.Digest) {
			return nil, errColumn
		}
		e.Event = audit.Event{
			Act: audit.Act(act), At: time.UnixMicro(at).UTC(), Actor: string(actor), Reason: string(reason),
			SerialNumber: string(serialNumber), EnrollmentID: string(enrollmentID), RecordID: string(recordID), Detail: string(detail),
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
