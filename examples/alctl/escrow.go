package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
)

var escrowPrograms = []program{
	{"keygen", "make a key pair: servers seal codes to its public key", runEscrowKeygen},
	{"list", "list the codes of a store, without the codes themselves", runEscrowList},
	{"reveal", "show the codes of a device", runEscrowReveal},
	{"export", "write all codes into a sealed bundle, or into a CSV file", runEscrowExport},
	{"import", "take in the codes of a bundle, or of a CSV file", runEscrowImport},
	{"rotate", "seal all codes to other keys", runEscrowRotate},
	{"verify-audit", "verify and list the audit: who did what with codes", runEscrowVerifyAudit},
	{"recover", "read codes when there is no server any more", runEscrowRecover},
	{"copies", "write the recovery copies of a store into files", runEscrowCopies},
}

func runEscrow(c *console, args []string) error {
	return c.dispatch("alctl escrow", args, escrowPrograms, func(w io.Writer) {
		fmt.Fprint(w, "Usage: alctl escrow COMMAND [flags]\n\nCommands:\n")
		listPrograms(w, escrowPrograms)
		fmt.Fprint(w, `
A store is a SQLite file (-store) or a database that several servers share, whose
address is in a file (-dsn-file) or in the environment variable ALCTL_DSN:
  postgres://user:password@host/database
  mysql://user:password@tcp(host)/database

Example:
  alctl escrow keygen -out escrow.key
`)
	})
}

func runEscrowKeygen(c *console, args []string) error {
	f := newFlags("alctl escrow keygen", "-out FILE [-suite NAME]", `Makes a key pair, writes the private key into a new file that only you can read,
and prints the public key. Give the public key to the servers that collect codes.
Keep the private key where only those have it who may read codes, and a second
one offline: without one of them nobody ever reads a code again.`, "-out escrow.key")
	var out string
	suite := string(seal.X25519)
	f.text(&out, "out", "`FILE` to write the private key to; it must not exist")
	f.text(&suite, "suite", "`NAME` of the algorithms: x25519, p256 (FIPS mode) or mlkem768-x25519 (post-quantum); default x25519")
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	if out == "" {
		return usageError("-out is required")
	}
	switch seal.Suite(suite) {
	case seal.X25519, seal.P256, seal.MLKEM768X25519:
	default:
		return usageError("-suite is none of x25519, p256 and mlkem768-x25519")
	}
	key, err := seal.GenerateKey(seal.Suite(suite))
	if err != nil {
		return err
	}
	if err := seal.WriteKeyFile(out, key); err != nil {
		return fmt.Errorf("write -out: %w", reason(err))
	}
	fmt.Fprintln(&c.out, key.Public())
	return nil
}

// openEscrow opens the escrow of a SQLite file to read it. The file is not
// changed: nothing is made, migrated or checked in, and one that others can read
// is read too, since a backup is often like that.
func openEscrow(ctx context.Context, path string, sealer escrow.Sealer) (*escrow.Escrow, io.Closer, error) {
	source, err := readOnly(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read -store: %w", err)
	}
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, nil, err
	}
	codes, err := escrowOf(ctx, db, sealer)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return codes, db, nil
}

func escrowOf(ctx context.Context, db *sql.DB, sealer escrow.Sealer) (*escrow.Escrow, error) {
	var tables int
	if err := db.QueryRowContext(ctx, tablesOfCodes[sqlstore.SQLite]).Scan(&tables); err != nil {
		return nil, fmt.Errorf("read -store: %w", err)
	}
	if tables == 0 {
		return nil, errors.New("read -store: it has no table of codes (which may be in a file that belongs beside it, with -wal at the end of its name)")
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	log, err := audit.New(audit.Config{Store: memstore.New().Audit()}) // nothing is written into this store
	if err != nil {
		return nil, err
	}
	return escrow.New(escrow.Config{
		Store: store.Escrow(), Sealer: sealer, Audit: log,
		Allow: func(context.Context, escrow.Reveal, escrow.Record) error { return nil },
	})
}

// readOnly returns the URI with which SQLite reads a file.
func readOnly(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", reason(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	// With a file beside it, a server has the store open, or had it when it
	// stopped. A store that is alone is read as it is; SQLite would make files
	// beside it, which a backup's medium may not allow.
	query := "mode=ro&immutable=1"
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			query = "mode=ro"
		}
	}
	if path = filepath.ToSlash(path); !strings.HasPrefix(path, "/") {
		path = "/" + path // of a drive
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String(), nil
}

// noSealer is for reading what is not sealed to a key of ours.
type noSealer struct{}

func (noSealer) Seal(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.New("nothing is sealed here")
}

// nameOf tells one record from the others.
func nameOf(r escrow.Record) string {
	device := r.Subject.SerialNumber
	if device == "" {
		device = "enrollment " + r.Subject.EnrollmentID
	}
	return printable(device + ", record " + r.ID)
}
