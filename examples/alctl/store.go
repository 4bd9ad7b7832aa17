package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/inventory"
)

// dsnVariable is the environment variable with the address of a database.
const dsnVariable = "ALCTL_DSN"

// storeUsage is how the usage line of a program says where the store is.
const storeUsage = "-store FILE|-dsn-file FILE"

// access is what the programs have in common that work on the escrow of a
// server: the flags with which they get at it.
type access struct {
	*flags
	console                     *console
	file, dsnFile, auditKeyFile string
	by                          *escrow.Act // nil for a program that names nobody
	create, dryRun              bool
	writes                      bool // although it names nobody
}

// access adds the flags of a program that works on an escrow.
func (c *console) access(f *flags) *access {
	a := &access{flags: f, console: c}
	f.text(&a.file, "store", "SQLite `FILE` with the codes; it must exist")
	f.text(&a.dsnFile, "dsn-file", "`FILE` that only you can read, with the address of a database in place of -store; without both, the environment variable "+dsnVariable+" has it")
	return a
}

// audited adds the flags of a program that the audit is told of.
func (a *access) audited() {
	a.by = new(escrow.Act)
	a.text(&a.by.Actor, "actor", "`NAME` of the person who does this; goes into the audit")
	a.text(&a.by.Reason, "reason", "`TEXT` why; goes into the audit")
	a.withAuditKey()
}

func (a *access) withAuditKey() {
	a.text(&a.auditKeyFile, "audit-key", "`FILE` that only you can read, with the audit's key if it has one: 64 hexadecimal digits, as \"openssl rand -hex 32\" prints them")
}

// parse reads the arguments and checks those of access.
func (a *access) parse(args []string, maxOperands int) error {
	if err := a.flags.parse(a.console, args, maxOperands); err != nil {
		return err
	}
	return a.check()
}

// check checks the flags of access.
func (a *access) check() error {
	switch {
	case a.file != "" && a.dsnFile != "":
		return usageError("want either -store or -dsn-file")
	case a.file == "" && a.dsnFile == "" && os.Getenv(dsnVariable) == "":
		return usageError("want -store, -dsn-file or the environment variable " + dsnVariable)
	case a.by == nil:
		return nil
	case a.by.Actor == "" || a.by.Reason == "":
		return usageError("-actor and -reason are required")
	case !escrow.ValidIdentifier(a.by.Actor) || !escrow.ValidIdentifier(a.by.Reason):
		return usageError("-actor and -reason have at most 255 bytes of text each")
	case operator.HoldsCode(a.by.Actor) || operator.HoldsCode(a.by.Reason):
		return usageError("-actor or -reason holds a code; they go into the audit, where everybody reads them")
	}
	return nil
}

// opened is an escrow that is open.
type opened struct {
	*escrow.Escrow
	audit   *audit.Log
	actions bypass.Store
	records inventory.Store // nil if there is no table of them
	console *console
	db      *sql.DB // nil for one in memory
	dialect sqlstore.Dialect
	head    audit.Head
}

// open opens the escrow and its audit.
func (a *access) open(ctx context.Context, sealer escrow.Sealer, config escrow.Config) (*opened, error) {
	var key audit.Key
	if a.auditKeyFile != "" {
		var err error
		if key, err = operator.ReadAuditKey(a.auditKeyFile); err != nil {
			return nil, fmt.Errorf("read -audit-key: %w", err)
		}
	}
	o := &opened{console: a.console}
	codes, entries, err := a.stores(ctx, o)
	if err == nil {
		o.audit, err = audit.New(audit.Config{Store: entries, Key: key, OnHead: func(_ context.Context, head audit.Head) { o.head = head }})
	}
	if err == nil {
		config.Store, config.Sealer, config.Audit = codes, sealer, o.audit
		o.Escrow, err = escrow.New(config)
	}
	if err != nil {
		o.close()
		return nil, explained(ctx, err)
	}
	return o, nil
}

// stores opens the database.
func (a *access) stores(ctx context.Context, o *opened) (escrow.Store, audit.Store, error) {
	var err error
	if a.file != "" {
		o.dialect = sqlstore.SQLite
		_, unfound := os.Stat(a.file)
		switch missing := errors.Is(unfound, fs.ErrNotExist); {
		case missing && a.create && a.dryRun: // an empty one that is not made
			memory := memstore.New()
			return memory.Escrow(), memory.Audit(), nil
		case missing && a.create:
		default: // nothing is done to a file that has no codes in it
			if err := a.checkFile(ctx); err != nil {
				return nil, nil, err
			}
		}
		if o.db, err = sqlstore.OpenSQLite(ctx, "sqlite", a.file); err != nil {
			return nil, nil, fmt.Errorf("open -store: %w", reason(err))
		}
	} else if tables, err := a.connect(ctx, o); err != nil {
		return nil, nil, err
	} else if tables == 0 && a.dryRun {
		memory := memstore.New()
		return memory.Escrow(), memory.Audit(), nil
	}
	store, err := sqlstore.New(o.db, o.dialect)
	if err != nil {
		return nil, nil, err
	}
	o.actions, o.records = store.Actions(), store.Inventory()
	if (a.by != nil || a.writes) && !a.dryRun { // who only reads may have no leave to write
		err = store.Migrate(ctx)
	} else { // of a version before
		if !o.hasTable(ctx, "activationlock_actions") {
			o.actions = noActions{}
		}
		if !o.hasTable(ctx, "activationlock_devices") {
			o.records = nil
		}
	}
	if o.records == nil {
		return store.Escrow(), store.Audit(), err
	}
	return refreshing{store.Escrow(), o.records, a.console}, store.Audit(), err
}

// tablesOfCodes say how many tables of codes there are.
var tablesOfCodes = map[sqlstore.Dialect]string{
	sqlstore.SQLite:     "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'activationlock_codes'",
	sqlstore.PostgreSQL: "SELECT COUNT(to_regclass('activationlock_codes'))",
	sqlstore.MySQL:      "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'activationlock_codes'",
}

// hasTable reports whether there is a table.
func (o *opened) hasTable(ctx context.Context, name string) bool {
	query := strings.ReplaceAll(tablesOfCodes[o.dialect], "activationlock_codes", name)
	var tables int
	return o.db.QueryRowContext(ctx, query).Scan(&tables) != nil || tables > 0 // else let the store say what is wrong
}

// checkFile refuses a file that is no store.
func (a *access) checkFile(ctx context.Context) error {
	_, db, err := openEscrow(ctx, a.file, noSealer{})
	if err != nil {
		return err
	}
	return db.Close()
}

// connect connects to a database server. What goes wrong is told without the
// address, which may have a password in it.
func (a *access) connect(ctx context.Context, o *opened) (tables int, err error) {
	what, dsn := dsnVariable, os.Getenv(dsnVariable)
	if a.dsnFile != "" {
		what = "-dsn-file"
		content, err := operator.ReadPrivate(a.dsnFile)
		if err != nil {
			return 0, fmt.Errorf("read -dsn-file: %w", err)
		}
		dsn = strings.TrimSpace(content)
	}
	if o.db, o.dialect, err = operator.OpenDatabase(ctx, dsn); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if err := o.db.QueryRowContext(ctx, tablesOfCodes[o.dialect]).Scan(&tables); err != nil {
		return 0, fmt.Errorf("%s: the database cannot be read: %w", what, operator.Unconnected(err))
	}
	if tables == 0 && !a.create {
		return 0, fmt.Errorf("%s: the database has no table of codes", what)
	}
	return tables, nil
}

// count returns the number of records after an ID, -1 if it cannot be had.
func (o *opened) count(ctx context.Context, after string) int64 {
	query := "SELECT COUNT(*) FROM activationlock_codes WHERE id > ?"
	if o.dialect == sqlstore.PostgreSQL {
		query = "SELECT COUNT(*) FROM activationlock_codes WHERE id > $1"
	}
	var n int64
	if o.db.QueryRowContext(ctx, query, after).Scan(&n) != nil {
		return -1
	}
	return n
}

// close closes the escrow, and prints the head of the audit if that has grown.
func (o *opened) close() {
	if o.db != nil {
		if err := o.db.Close(); err != nil {
			o.console.warn("close the store", err)
		}
	}
	if o.head != (audit.Head{}) {
		o.console.line("audit head: %s", o.head)
	}
}

// publicKeys is a flag with public keys: lines as keygen prints them, or files
// with such lines.
func (f *flags) publicKeys(to *[]string, name, usage string) {
	f.texts(to, name, usage+": a `KEY` as keygen prints it, or a file with such lines; may be given more than once")
}

// readPublicKeys reads what was given as public keys.
func (c *console) readPublicKeys(flag string, given []string) ([]seal.PublicKey, error) {
	var keys []seal.PublicKey
	for _, g := range given {
		content := g
		switch {
		case strings.HasPrefix(g, "activationlock-escrow-private-"):
			return nil, usageError("-" + flag + " takes public keys; a private one is no argument: every process of the machine can see it")
		case !strings.HasPrefix(g, "activationlock-escrow-public-"):
			read, err := c.read(g)
			if err != nil {
				return nil, fmt.Errorf("read -%s: %w", flag, err)
			}
			content = string(read)
		}
		before := len(keys)
		for line := range strings.Lines(content) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			key, err := seal.ParsePublicKey(line)
			if err != nil {
				return nil, fmt.Errorf("read -%s: %w", flag, err)
			}
			keys = append(keys, key)
		}
		if len(keys) == before {
			return nil, fmt.Errorf("read -%s: it has no public key", flag)
		}
	}
	return keys, nil
}
