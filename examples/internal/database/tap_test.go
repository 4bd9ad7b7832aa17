package database_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/examples/internal/database"
)

// hook is called with each statement before it is executed, and with what is to
// execute it. Its error is what the driver returns.
type hook func(query string, execute func() error) error

// tapped returns the storage, with a driver that calls a hook. The hook may be
// exchanged.
func tapped(t *testing.T, s database.Storage) (database.Storage, func(hook)) {
	t.Helper()
	db, err := sql.Open(s.Driver, s.Source)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	var mu sync.Mutex
	var current hook
	name := "tapped " + s.Source
	sql.Register(name, tapDriver{db.Driver(), func(query string, execute func() error) error {
		mu.Lock()
		h := current
		mu.Unlock()
		if h == nil {
			return execute()
		}
		return h(query, execute)
	}})
	s.Driver = name
	return s, func(h hook) {
		mu.Lock()
		defer mu.Unlock()
		current = h
	}
}

type tapDriver struct {
	driver.Driver
	hook hook
}

func (d tapDriver) Open(name string) (driver.Conn, error) {
	conn, err := d.Driver.Open(name)
	return &tapConn{conn, d.hook}, err
}

type tapConn struct {
	driver.Conn
	hook hook
}

func (c *tapConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	if len(args) > 0 {
		return nil, driver.ErrSkip // prepared, then
	}
	err = c.hook(query, func() (err error) {
		r, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *tapConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	if len(args) > 0 {
		return nil, driver.ErrSkip // prepared, then
	}
	err = c.hook(query, func() (err error) {
		r, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return err
	})
	return closed(r, err)
}

// closed closes the rows that nobody will see.
func closed(r driver.Rows, err error) (driver.Rows, error) {
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}

func (c *tapConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &tapStmt{s, query, c.hook}, nil
}

func (c *tapConn) BeginTx(ctx context.Context, options driver.TxOptions) (tx driver.Tx, err error) {
	err = c.hook("BEGIN", func() (err error) {
		tx, err = c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
		return err
	})
	return tapTx{tx, c.hook}, err
}

func (c *tapConn) ResetSession(ctx context.Context) error {
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

func (c *tapConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c *tapConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type tapTx struct {
	driver.Tx
	hook hook
}

func (t tapTx) Commit() error   { return t.hook("COMMIT", t.Tx.Commit) }
func (t tapTx) Rollback() error { return t.hook("ROLLBACK", t.Tx.Rollback) }

type tapStmt struct {
	driver.Stmt
	query string
	hook  hook
}

func (s *tapStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.hook(s.query, func() (err error) {
		r, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return r, err
}

func (s *tapStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.hook(s.query, func() (err error) {
		r, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return err
	})
	return closed(r, err)
}
