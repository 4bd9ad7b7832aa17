package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Actions returns the store of bypass actions. One that a newer version of this
// library wrote, with more in it than this one knows, is shown without that, and
// not updated, so that nothing gets lost. Text in an action is UTF-8, and all of it
// has at most 256 KiB in JSON.
func (s *Store) Actions() bypass.Store { return actionStore{s} }

type actionStore struct{ *Store }

// maxBody is the size in bytes of the longest body. Those of a [bypass.Bypass]
// have a quarter of it at most.
const maxBody = 256 << 10

func encodeAction(a *bypass.Action) (string, error) { return encode(a, maxBody) }

func decodeAction(body []byte) (a bypass.Action, whole bool, err error) {
	return decode[bypass.Action](body)
}

var errNewerAction = errors.New("sqlstore: the action has something in it that a newer version of this library wrote; update it there")

// actionColumns are what is read, or written first. Those that never change come
// first.
const actionColumns = "id, serial_number, enrollment_id, is_open, state, started_at, next_at, ended_at, body"

// fixedOfAction is the number of columns that never change.
const fixedOfAction = 3

func actionValues(a *bypass.Action) ([]any, error) {
	if !escrow.ValidIdentifier(a.ID) || !fileable(a.Subject) {
		return nil, errors.New("sqlstore: an action needs an ID, and a serial number or an enrollment ID")
	}
	body, err := encodeAction(a)
	if err != nil {
		return nil, errAction
	}
	state, err := text(a.State).Value()
	if err != nil {
		return nil, errAction
	}
	var open any
	if !a.State.Over() {
		open = int64(1)
	}
	values := []any{a.ID, nil, nil, open, state, a.StartedAt.UnixMicro(), nil, nil, body}
	for i, f := range map[int]field{
		1: (*identifier)(&a.Subject.SerialNumber), 2: (*identifier)(&a.Subject.EnrollmentID),
		6: (*instant)(&a.NextAt), 7: (*instant)(&a.EndedAt),
	} {
		if values[i], err = f.Value(); err != nil {
			return nil, errAction
		}
	}
	return values, nil
}

var errAction = errors.New("sqlstore: the action has something in it that cannot be kept: text that is no UTF-8, a time that is not in UTC, or too much")

// storedAction is an action as it was read.
type storedAction struct {
	bypass.Action
	newer bool // there is more in it
}

// scanActions reads rows of the columns of an action. Where a body was damaged, it
// returns what the other columns say: the device must not be kept from another
// action for ever, nor others from being found.
func scanActions(rows *sql.Rows) (found []storedAction, err error) {
	defer rows.Close()
	for rows.Next() {
		var c bypass.Action
		var open, started sql.NullInt64
		var body text
		if err := rows.Scan(
			(*text)(&c.ID), (*identifier)(&c.Subject.SerialNumber), (*identifier)(&c.Subject.EnrollmentID), &open,
			(*detail)(&c.State), &started, (*instant)(&c.NextAt), (*instant)(&c.EndedAt), &body,
		); err != nil {
			return nil, err
		}
		a, whole, err := decodeAction([]byte(body))
		if damaged := err != nil; damaged {
			c.StartedAt = time.UnixMicro(started.Int64).UTC()
			a, whole = c, true
		}
		a.ID, a.Subject = c.ID, c.Subject // by which it was found, and has to be again
		found = append(found, storedAction{a, !whole})
	}
	if rows.Err() != nil {
		return nil, rows.Err()
	}
	return found, rows.Close() // after the answer to a CALL, too
}

func readActions(ctx context.Context, in querier, query string, args ...any) ([]storedAction, error) {
	rows, err := in.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failedFirst("read actions", err)
	}
	found, err := scanActions(rows)
	if err != nil {
		return nil, failed("read actions", err, false)
	}
	return found, nil
}

func (s actionStore) Create(ctx context.Context, a bypass.Action) error {
	values, err := actionValues(&a)
	if err != nil {
		return err
	}
	return s.transact(ctx, func(in querier) error {
		// Where many wait for one to end, databases would have them in each other's
		// way. The lock is that of the subject's codes.
		if err := s.dialect.lockRow(ctx, in, kindOf(a.Subject), a.Subject.SerialNumber+a.Subject.EnrollmentID); err != nil {
			return failedFirst("lock", err)
		}
		inserted, err := s.dialect.insertAction(ctx, in, values)
		if err != nil {
			return failed("create an action", err, false)
		}
		if inserted {
			return nil
		}
		there, err := readActions(ctx, in, s.dialect.queries().actionMeanwhile, a.ID)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			return bypass.ErrExists
		}
		return bypass.ErrOpen
	})
}

func kindOf(s escrow.Subject) string {
	if s.SerialNumber != "" {
		return "serial_number"
	}
	return "enrollment_id"
}

func (s actionStore) Update(ctx context.Context, id string, change func(*bypass.Action) error) error {
	if !escrow.ValidIdentifier(id) {
		return notFound(ctx)
	}
	return s.transact(ctx, func(in querier) error {
		there, err := readActions(ctx, in, s.dialect.lockAction(), id)
		if err != nil {
			return err
		}
		if len(there) == 0 {
			return bypass.ErrNotFound
		}
		if there[0].newer {
			return errNewerAction
		}
		before := there[0].Action
		after := before
		if err := change(&after); err != nil {
			return err
		}
		switch {
		case after.ID != before.ID || after.Subject != before.Subject:
			return errors.New("sqlstore: an action keeps its ID and its subject")
		case before.State.Over() && !after.State.Over():
			return errors.New("sqlstore: an action that is over stays over")
		}
		values, err := actionValues(&after)
		if err != nil {
			return err
		}
		if _, err := in.ExecContext(ctx, s.dialect.queries().updateAction, append(values[fixedOfAction:], id)...); err != nil {
			return failed("change an action", err, false)
		}
		return nil
	})
}

func notFound(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return bypass.ErrNotFound
}

func (s actionStore) Get(ctx context.Context, id string) (bypass.Action, error) {
	if !escrow.ValidIdentifier(id) {
		return bypass.Action{}, notFound(ctx)
	}
	found, err := s.actions(ctx, s.dialect.queries().action, id)
	if err != nil {
		return bypass.Action{}, err
	}
	if len(found) == 0 {
		return bypass.Action{}, bypass.ErrNotFound
	}
	return found[0], nil
}

func (s actionStore) OfDevice(ctx context.Context, serialNumber string) ([]bypass.Action, error) {
	if !escrow.ValidIdentifier(serialNumber) {
		return nil, ctx.Err() // there can be none
	}
	return s.actions(ctx, s.dialect.queries().actionsOfDevice, serialNumber)
}

func (s actionStore) Scan(ctx context.Context, after string, limit int, open bool) ([]bypass.Action, error) {
	// The others also go on after an ID that was damaged.
	if s.kind == PostgreSQL && (!utf8.ValidString(after) || strings.ContainsRune(after, 0)) {
		return nil, errors.New("sqlstore: scan: IDs are UTF-8 without NUL")
	}
	if limit <= 0 {
		return nil, ctx.Err()
	}
	query := s.dialect.queries().scanActions
	if open {
		query = s.dialect.queries().scanOpenActions
	}
	return s.actions(ctx, query, after, int64(limit))
}

// actions reads outside of a transaction.
func (s actionStore) actions(ctx context.Context, query string, args ...any) (actions []bypass.Action, err error) {
	if err := s.dialect.prepare(ctx); err != nil {
		return nil, s.explain(ctx, err)
	}
	found, err := readActions(ctx, s.dialect.reader(), query, args...)
	for _, f := range found {
		actions = append(actions, f.Action)
	}
	return actions, s.explain(ctx, err)
}
