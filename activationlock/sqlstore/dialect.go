package sqlstore

import (
	"context"
	"database/sql"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Dialect names a kind of database.
type Dialect string

const (
	// SQLite is SQLite 3.37 or later, in a file. Tested with the one in
	// modernc.org/sqlite.
	SQLite Dialect = "sqlite"
	// PostgreSQL is PostgreSQL 12 or later. Tested with 15.
	PostgreSQL Dialect = "postgresql"
	// MySQL is MariaDB 10.6 or later, or MySQL 8.0.29 or later. Tested with MariaDB
	// 10.11; MySQL itself is not tested.
	MySQL Dialect = "mysql"
)

// dialect is what each kind of database does in its own way.
type dialect interface {
	// prepare makes ready what queriers use.
	prepare(context.Context) error
	// reader returns the querier that reads outside of a transaction.
	reader() querier
	// enter waits for its turn among the writers of this process. Leave gives it
	// to the next one.
	enter(context.Context) (leave func(), err error)
	// begin begins a transaction that is safe to commit.
	begin(context.Context, *transaction) error
	// lock locks a subject: a serial number first and then the enrollments that
	// are joined to it, in an order of their own, so that no two transactions wait
	// for each other. The query that it returns reads the subject's entries, or
	// locks and reads; it sees all that was committed before the last lock was held.
	lock(context.Context, querier, escrow.Subject) (query string, args []any, err error)
	// lockRow locks what one row of activationlock_locks stands for until the
	// transaction ends.
	lockRow(ctx context.Context, in querier, kind, id string) error
	// join locks a serial number and then an enrollment, and joins them.
	join(ctx context.Context, in querier, enrollmentID, serialNumber string) error
	// lockAction is the query that reads an action, and has nobody else change it
	// until the transaction ends.
	lockAction() string
	// insertAction writes a new action, unless there is one with its ID, or one that
	// is open as it is: inserted is false then, and the transaction goes on.
	insertAction(ctx context.Context, in querier, values []any) (inserted bool, err error)
	// migrate begins a transaction, or what comes nearest to it, that one server
	// has at a time, and in it applies what is missing.
	migrate(context.Context, *transaction) error
	queries() *statements
	records
}

// querier is where statements are executed.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// insertUnlessThere is insertAction of databases that know ON CONFLICT.
func insertUnlessThere(ctx context.Context, in querier, insert string, values []any) (inserted bool, err error) {
	result, err := in.ExecContext(ctx, insert+" ON CONFLICT DO NOTHING", values...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// prepared are statements that are prepared once for each connection.
type prepared struct {
	db    *sql.DB
	list  []string
	turn  chan struct{} // holds one token, of who prepares
	ready map[string]*sql.Stmt
}

func newPrepared(db *sql.DB, list []string) *prepared {
	return &prepared{db: db, list: list, turn: make(chan struct{}, 1)}
}

func (p *prepared) prepare(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.ready != nil {
		return nil
	}
	ready := map[string]*sql.Stmt{}
	for _, query := range p.list {
		statement, err := p.db.PrepareContext(ctx, query)
		if err != nil {
			for _, s := range ready {
				s.Close()
			}
			return &failure{doing: "prepare", err: err, clean: true}
		}
		ready[query] = statement
	}
	p.ready = ready
	return nil
}

func (p *prepared) reader() querier { return preparedQuerier{p.db, p.ready, nil} }

// preparedQuerier executes statements, prepared ones as such, in a transaction
// unless it is nil.
type preparedQuerier struct {
	querier
	ready map[string]*sql.Stmt
	tx    *sql.Tx
}

func (s preparedQuerier) statement(ctx context.Context, query string) *sql.Stmt {
	statement := s.ready[query]
	if statement != nil && s.tx != nil {
		return s.tx.StmtContext(ctx, statement)
	}
	return statement
}

func (s preparedQuerier) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if statement := s.statement(ctx, query); statement != nil {
		return statement.ExecContext(ctx, args...)
	}
	return s.querier.ExecContext(ctx, query, args...)
}

func (s preparedQuerier) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if statement := s.statement(ctx, query); statement != nil {
		return statement.QueryContext(ctx, args...)
	}
	return s.querier.QueryContext(ctx, query, args...)
}
