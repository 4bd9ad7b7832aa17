package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Migrations are numbered without gaps, and never change once they are released.
//
//go:embed migrations
var migrations embed.FS

// migration is one file.
type migration struct {
	name       string
	statements []string
}

// migrationsOf returns the migrations of a dialect; the first has version 1.
func migrationsOf(d Dialect) ([]migration, error) {
	dir := path.Join("migrations", string(d))
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return nil, err
	}
	list := make([]migration, len(files))
	for i, file := range files {
		if !strings.HasPrefix(file.Name(), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("sqlstore: migration %s is not number %d", file.Name(), i+1)
		}
		content, err := fs.ReadFile(migrations, path.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		list[i].name = strings.TrimSuffix(file.Name(), ".sql")
		if list[i].statements = []string{string(content)}; d == MySQL { // whose drivers take one at a time
			list[i].statements = strings.Split(strings.TrimSuffix(string(content), ";\n"), ";\n")
		}
	}
	return list, nil
}

// Migrate makes the tables that this version of the package needs. It changes
// nothing if they are there, and may run on several servers at once; call it at
// each start. Its errors are [ErrNewer], an [UnsafeError], or the database's. A
// migration that was interrupted is finished by the next call.
//
// Migrations only add, so servers with the version before can go on meanwhile.
func (s *Store) Migrate(ctx context.Context) error {
	return s.explain(ctx, s.run(ctx, func(t *transaction) error {
		if err := s.dialect.migrate(ctx, t); err != nil {
			return &failure{doing: "migrate", err: err, clean: true}
		}
		return nil
	}))
}

// apply applies the migrations that are missing, in a transaction or with a lock
// that keeps others out. Options are those of a table.
func apply(ctx context.Context, in querier, d Dialect, options, record string) error {
	known, err := migrationsOf(d)
	if err != nil {
		return err
	}
	if d == PostgreSQL {
		if err := onlySchema(ctx, in); err != nil {
			return err
		}
	}
	if _, err := in.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS activationlock_migrations (
		version INTEGER NOT NULL PRIMARY KEY,
		name VARCHAR(255) NOT NULL,
		applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
	)`+options); err != nil {
		return err
	}
	var version sql.NullInt64
	if err := one(ctx, in, "SELECT MAX(version) FROM activationlock_migrations", &version); err != nil {
		return err
	}
	if version.Int64 > int64(len(known)) {
		return ErrNewer
	}
	for i, m := range known[version.Int64:] {
		for _, statement := range m.statements {
			if _, err := in.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		if _, err := in.ExecContext(ctx, record, version.Int64+int64(i)+1, m.name); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// onlySchema refuses to make tables in the first schema of PostgreSQL's search_path
// while those of a later one are seen: new ones would hide all codes.
func onlySchema(ctx context.Context, in querier) error {
	var hidden bool
	err := one(ctx, in, `SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass('activationlock_migrations') AND n.nspname <> current_schema())`, &hidden)
	if err == nil && hidden {
		err = errors.New("the tables are in another schema than the first of search_path; name only theirs in the connection string")
	}
	return err
}

// one reads the only row of a query.
func one(ctx context.Context, in querier, query string, into ...any) error {
	rows, err := in.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if rows.Err() != nil {
			return rows.Err()
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	return rows.Close()
}

// pairs reads rows of a name and a value.
func pairs(ctx context.Context, in querier, query string) (map[string]string, error) {
	rows, err := in.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var name string
		var value sql.NullString
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		found[name] = value.String
	}
	return found, rows.Err()
}
