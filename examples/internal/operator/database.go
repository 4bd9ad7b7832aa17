package operator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/activationlock/sdk/activationlock/sqlstore"
)

// OpenDatabase connects to a database server. What goes wrong is told without the
// address, which may have a password in it.
func OpenDatabase(ctx context.Context, address string) (*sql.DB, sqlstore.Dialect, error) {
	var db *sql.DB
	var dialect sqlstore.Dialect
	switch scheme, rest, _ := strings.Cut(address, "://"); scheme {
	case "postgres", "postgresql":
		config, err := pgx.ParseConfig(address)
		if err != nil {
			return nil, "", errors.New("it is no address of a PostgreSQL database")
		}
		db, dialect = stdlib.OpenDB(*config), sqlstore.PostgreSQL
	case "mysql":
		config, err := mysql.ParseDSN(rest)
		if err != nil {
			return nil, "", errors.New("it is no address of a MySQL database")
		}
		config.Logger = &mysql.NopLogger{}
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, "", errors.New("it is no address of a MySQL database")
		}
		db, dialect = sql.OpenDB(connector), sqlstore.MySQL
	default:
		return nil, "", errors.New("want postgres://user:password@host/database or mysql://user:password@tcp(host)/database")
	}
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, "", fmt.Errorf("no connection: %w", Unconnected(err))
	}
	return db, dialect, nil
}

// Unconnected returns why there is no connection, without what the address says.
func Unconnected(err error) error {
	if system, ok := errors.AsType[syscall.Errno](err); ok {
		return system
	}
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		switch state.SQLState() {
		case "28000", "28P01":
			return errors.New("the server refuses the user or the password")
		case "3D000":
			return errors.New("the server has no such database")
		}
		return fmt.Errorf("SQLSTATE %s", state.SQLState())
	}
	if server, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch server.Number {
		case 1045, 1698:
			return errors.New("the server refuses the user or the password")
		case 1049:
			return errors.New("the server has no such database")
		}
		return fmt.Errorf("error %d", server.Number)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New("the host is not found")
	}
	return errors.New("the driver's reason is left out, since it may quote the address")
}
