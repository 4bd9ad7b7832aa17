package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/micromdm/nanolib/log"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/push/nanopush"
	pushservice "github.com/micromdm/nanomdm/push/service"
	"github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/storage/diskv"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// host is NanoMDM with the engine inside.
type host struct {
	engine  *engine.Engine
	escrow  *escrow.Escrow
	records inventory.Store
	db      *sql.DB

	store   storage.AllStorage // NanoMDM's
	pusher  push.Pusher
	unlock  *unlockClient
	logger  *slog.Logger
	handler http.Handler
}

// outside is what is outside of the host; tests play it.
type outside struct {
	verifier httpmdm.CertVerifier
	logger   *slog.Logger
	nano     log.Logger // NanoMDM's

	clock   func() time.Time                    // default time.Now
	onEvent func(context.Context, engine.Event) // default: nobody is told
	pusher  push.Pusher                         // default: Apple's push service, by NanoMDM
	// transport is what calls to Apple go through; default: the network.
	transport *http.Transport
	// certificates have the push certificate; default: NanoMDM's storage.
	certificates storage.PushCertStore
}

// connections to a database server there are at most.
const connections = 16

// newHost opens files and database, and starts nothing.
func newHost(ctx context.Context, s settings, o outside) (*host, error) {
	if err := makePrivate(s.storage); err != nil {
		return nil, fmt.Errorf("-storage: %w", err)
	}
	nano := discreet{o.nano}
	h := &host{store: &queue{Diskv: diskv.New(s.storage)}, pusher: o.pusher, logger: o.logger}
	if h.pusher == nil {
		h.pusher = pushservice.New(h.store, h.store, nanopush.NewFactory(), nano)
	}
	if o.certificates == nil {
		o.certificates = h.store
	}
	h.unlock = newUnlockClient(o.certificates, s.topic, o.transport)

	password := ""
	if s.apiKey != "" {
		content, err := operator.ReadPrivate(s.apiKey)
		if err != nil {
			return nil, fmt.Errorf("read -api-key: %w", err)
		}
		if password = strings.TrimSpace(content); len(password) < 16 {
			return nil, errors.New("read -api-key: want at least 16 characters; openssl rand -hex 32 makes some")
		}
	}
	if err := h.open(ctx, s, o); err != nil {
		return nil, errors.Join(err, h.close())
	}
	mux := http.NewServeMux()
	mux.Handle("/mdm", h.devices(o.verifier, nano))
	if password != "" {
		mux.Handle("/v1/", h.api(password, nano))
	}
	h.handler = mux
	return h, nil
}

// makePrivate makes a folder that is closed to others, if it is missing: NanoMDM
// does not close its files, of which one is the key of the push certificate.
func makePrivate(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(folder)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		err = fmt.Errorf("others can open the folder; what mends it: chmod 700 %q", folder)
	}
	return err
}

// open opens the database and makes what stands on it.
func (h *host) open(ctx context.Context, s settings, o outside) error {
	key, err := seal.ReadKeyFile(s.key)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read -key: there is no file %q; what makes one: alctl escrow keygen -out %q", s.key, s.key)
	}
	if err != nil {
		return fmt.Errorf("read -key: %w", err)
	}
	keys, err := seal.NewKeyring(append([]seal.PublicKey{key.Public()}, s.recipients...), key)
	if err != nil {
		return err
	}
	var auditKey audit.Key
	if s.auditKey != "" {
		if auditKey, err = operator.ReadAuditKey(s.auditKey); err != nil {
			return fmt.Errorf("read -audit-key: %w", err)
		}
	}
	dialect := sqlstore.SQLite
	if s.db != "" {
		if h.db, err = sqlstore.OpenSQLite(ctx, "sqlite", s.db); err != nil {
			return fmt.Errorf("open -db: %w", err)
		}
	} else {
		what, address := dsnVariable, os.Getenv(dsnVariable)
		if s.dsnFile != "" {
			what = "-dsn-file"
			if address, err = operator.ReadPrivate(s.dsnFile); err != nil {
				return fmt.Errorf("read -dsn-file: %w", err)
			}
		}
		if h.db, dialect, err = operator.OpenDatabase(ctx, strings.TrimSpace(address)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		h.db.SetMaxOpenConns(connections)
	}
	store, err := sqlstore.New(h.db, dialect)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	h.records = store.Inventory()
	acts, err := audit.New(audit.Config{Store: store.Audit(), Key: auditKey, OnHead: h.auditGrew})
	if err != nil {
		return err
	}
	h.escrow, err = escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Audit: acts, Clock: o.clock})
	if err != nil {
		return err
	}
	h.engine, err = engine.New(engine.Config{
		Escrow: h.escrow, Inventory: h.records, Audit: acts,
		Actions: store.Actions(), Organization: s.organization,
		Policy: engine.Policy{
			Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
		},
		Doer: h.unlock, Clock: o.clock, Logger: h.logger, OnEvent: o.onEvent,
	})
	return err
}

// auditGrew has the head of the audit outside of the database, where nobody who
// can write that can change it: send this log to another machine.
func (h *host) auditGrew(ctx context.Context, head audit.Head) {
	h.logger.InfoContext(ctx, "audit", "head", head.String())
}

func (h *host) close() error {
	if h.db == nil {
		return nil
	}
	return h.db.Close()
}
