package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// attempts is how often a transaction is tried that the database gives up for
// another's sake.
const attempts = 5

// patience is how long the end of a failed transaction may take. Its caller's
// context may be over, which must not leave it open.
const patience = 10 * time.Second

// transaction is a transaction on a connection of its own.
type transaction struct {
	querier
	conn             *sql.Conn
	commit, rollback func(context.Context) error
}

// begin begins a transaction of package database/sql.
func (t *transaction) begin(ctx context.Context, options *sql.TxOptions) (*sql.Tx, error) {
	t.rollback = func(context.Context) error { return errNotBegun }
	tx, err := t.conn.BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	t.querier = tx
	t.commit = func(context.Context) error { return tx.Commit() }
	t.rollback = func(context.Context) error { return tx.Rollback() }
	return tx, nil
}

// errNotBegun leaves open how far a connection is.
var errNotBegun = errors.New("not begun")

// end ends a transaction that is not committed, and gives the connection back;
// not to the pool, unless it is known to be clean.
func (t *transaction) end() {
	if t.rollback != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.rollback(ctx) != nil {
			discard(t.conn)
		}
	}
	t.conn.Close() // an error says that it is closed
}

// discard closes a connection for good.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// transact runs a change in a transaction. If the database gives that up, it is
// tried again; after a COMMIT never, since it may have succeeded.
func (s *Store) transact(ctx context.Context, change func(querier) error) error {
	if err := s.dialect.prepare(ctx); err != nil {
		return s.explain(ctx, err)
	}
	for attempt := 1; ; attempt++ {
		err := s.run(ctx, func(t *transaction) error {
			if err := s.dialect.begin(ctx, t); err != nil {
				return failedFirst("begin", err)
			}
			return change(t)
		})
		if f, ok := err.(*failure); !ok || !f.again || attempt == attempts || ctx.Err() != nil {
			return s.explain(ctx, err)
		}
	}
}

// run runs what begins a transaction, and commits it.
func (s *Store) run(ctx context.Context, do func(*transaction) error) error {
	leave, err := s.dialect.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return &failure{doing: "connect", err: err, clean: true}
	}
	t := &transaction{conn: conn}
	defer t.end() // also if do panics
	if err := do(t); err != nil {
		return err
	}
	if err := t.commit(ctx); err != nil {
		return &failure{doing: "commit", err: err}
	}
	t.rollback = nil
	return nil
}
