package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver of OpenSQLite

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/operator"
)

const (
	// startWithin is how long the database may take to answer at the start.
	startWithin = 30 * time.Second
	// stopWithin is how long what is under way may take at the end.
	stopWithin = 20 * time.Second
	// atOnce is how many due devices are claimed at once.
	atOnce = 64
)

// run runs the program until the context ends.
func run(ctx context.Context, c config, out, logTo io.Writer) error {
	log := newLogger(c.logFormat, logTo)
	store, db, err := openStore(ctx, c)
	if err != nil {
		return err
	}
	defer db.Close()
	counted, err := newNumbers(store.Inventory())
	if err != nil {
		return err
	}
	e, err := newEngine(c, store, log, counted.engine)
	if err != nil {
		return err
	}
	if err := adopt(ctx, e, c.adopt, log); err != nil {
		return err
	}
	// Only now, so that an event that comes in finds everything there.
	listener, err := listen(c)
	if err != nil {
		return err
	}
	hook := &webhook{
		engine: e, server: newServer(c),
		hmacKey: c.hmacKey, password: c.password, log: log, numbers: counted,
	}
	probes := &health{records: store.Inventory(), log: log}
	warn(c, log)
	fmt.Fprint(out, greeting(c, listener.Addr().String()))
	return serve(ctx, c, listener, hook, probes)
}

func newLogger(format string, to io.Writer) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(to, nil))
	}
	return slog.New(slog.NewTextHandler(to, nil))
}

func openStore(ctx context.Context, c config) (*sqlstore.Store, *sql.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	var db *sql.DB
	var err error
	dialect, what := sqlstore.SQLite, "-store"
	if c.databaseAddress != "" {
		what = "the database"
		db, dialect, err = operator.OpenDatabase(ctx, c.databaseAddress)
	} else {
		db, err = sqlstore.OpenSQLite(ctx, "sqlite", c.store)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", what, err)
	}
	store, err := sqlstore.New(db, dialect)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("open %s: %w", what, err)
	}
	return store, db, nil
}

func newEngine(c config, store *sqlstore.Store, log *slog.Logger, observer engine.Observer) (*engine.Engine, error) {
	keys, err := seal.NewKeyring(c.sealTo)
	if err != nil {
		return nil, fmt.Errorf("-seal-to: %w", err)
	}
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys})
	if err != nil {
		return nil, err
	}
	return engine.New(engine.Config{
		Escrow: codes, Inventory: store.Inventory(),
		Policy: engine.Policy{
			Options: c.options, AnswerWithin: c.answerWithin,
			NotNowAgain: min(c.answerWithin, time.Hour), // who wants to know soon does not want to rest longer
		},
		Logger: log, Observer: observer,
	})
}

func newServer(c config) server {
	if c.kind == kindMicro {
		return microMDM{newAPI(c.serverURL, "micromdm", c.apiKey)}
	}
	return nanoMDM{newAPI(c.serverURL, "nanomdm", c.apiKey)}
}

// adopt takes in devices that are enrolled already.
func adopt(ctx context.Context, e *engine.Engine, path string, log *slog.Logger) error {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read -adopt: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	result, err := e.Adopt(ctx, func(yield func(engine.Enrollment) bool) {
		for lines.Scan() {
			if id := strings.TrimSpace(lines.Text()); id != "" && !yield(engine.Enrollment{ID: id}) {
				return
			}
		}
	})
	if err == nil {
		err = lines.Err()
	}
	if err != nil {
		return fmt.Errorf("read -adopt: %w", err)
	}
	log.Info("devices adopted", "new", result.Adopted, "known", result.Known, "invalid", result.Invalid)
	return nil
}

func listen(c config) (net.Listener, error) {
	listener, err := net.Listen("tcp", c.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: the port is taken; another -listen?", c.listen)
	}
	if err != nil {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err // the rest repeats the address
		}
		return nil, fmt.Errorf("listen on %s: %w", c.listen, err)
	}
	if c.tlsCert == "" {
		return listener, nil
	}
	pair, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		listener.Close()
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, fmt.Errorf("read -tls-cert and -tls-key: %w", e)
		}
		return nil, errors.New("read -tls-cert and -tls-key: they are no certificate and its key, in PEM")
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

// warn tells of what is insecure and may be meant.
func warn(c config, log *slog.Logger) {
	if c.hmacKey == "" && c.password == "" {
		log.Warn("whoever is on this machine can post events: there is neither -hmac-key-file nor -password-file")
	}
	if c.tlsCert == "" && !loopback(c.listen) {
		log.Warn("events have bypass codes in clear: without -tls-cert, have TLS end on this machine")
	}
	if strings.HasPrefix(c.serverURL, "http:") && !local(c.serverURL) {
		log.Warn("the key of the server's API goes over the network in clear: want https in -server-url")
	}
}

// greeting says what the program does and where to look.
func greeting(c config, address string) string {
	scheme, keptIn, does := "http", "the database", "Codes are collected; the lock is not allowed (-allow-lock does)."
	if c.tlsCert != "" {
		scheme = "https"
	}
	if c.databaseAddress == "" {
		keptIn = c.store
	}
	if c.allowLock {
		does = "The lock is allowed on each supervised device whose code is in escrow."
	}
	option := "-webhook-url"
	if c.kind == kindMicro {
		option = "-command-webhook-url"
	}
	base := scheme + "://" + address
	return fmt.Sprintf(`Events are taken in at %s/webhook: start %s with %s %[1]s/webhook
Commands go to the server at %[4]s.
Codes are kept in %s, sealed to %d key(s). %s
Look at %[1]s/healthz, %[1]s/readyz and %[1]s/metrics. The log goes to standard error.
`, base, c.kind, option, c.serverURL, keptIn, len(c.sealTo), does)
}

// serve takes in events and works off what is due, until the context ends; then it
// finishes what is under way.
func serve(ctx context.Context, c config, listener net.Listener, hook *webhook, probes *health) error {
	mux := http.NewServeMux()
	mux.Handle("/webhook", hook)
	mux.HandleFunc("GET /healthz", probes.healthz)
	mux.HandleFunc("GET /readyz", probes.readyz)
	mux.Handle("GET /metrics", hook.numbers.handler())
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 3 * time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(hook.log.Handler(), slog.LevelWarn),
	}

	// What the schedule claimed is delivered yet, though no longer than stopWithin.
	working, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var work sync.WaitGroup
	work.Go(func() {
		_ = hook.engine.Run(ctx, c.every, atOnce, func(_ context.Context, b engine.Batch) error {
			return hook.deliverBatch(working, b)
		})
	})
	worked := make(chan struct{})
	go func() {
		work.Wait()
		close(worked)
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	hook.log.Info("stopping")
	probes.stopping.Store(true)
	finish, cancel := context.WithTimeout(working, stopWithin)
	defer cancel()
	err := server.Shutdown(finish)
	select {
	case <-worked:
	case <-finish.Done():
		abandon()
		<-worked
	}
	if err != nil {
		return fmt.Errorf("stop: events were still under way after %s", stopWithin)
	}
	return nil
}
