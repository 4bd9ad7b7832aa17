// Nanomdm is NanoMDM with the engine inside: a device management server that
// gets hold of every bypass code before it allows the lock.
//
//	go run ./examples/nanomdm -ca authority.pem
//
// It keeps codes in memory only, so it is for looking, not for real devices.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/micromdm/nanolib/log/stdlogfmt"
	"github.com/micromdm/nanomdm/certverify"
	"github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/storage/diskv"
	"github.com/micromdm/nanomdm/storage/inmem"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/mdmcmd"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on")
	authority := flag.String("ca", "", "PEM file with the authority of the devices' certificates (required)")
	folder := flag.String("storage", "", "folder for NanoMDM's storage; empty: in memory")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: nanomdm -ca authority.pem [-listen address] [-storage folder]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *authority == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *authority, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "nanomdm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, authority, folder string) error {
	pem, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	verifier, err := certverify.NewPoolVerifier(pem, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return fmt.Errorf("read the authority: %w", err)
	}
	var store storage.AllStorage = inmem.New()
	if folder != "" {
		store = diskv.New(folder)
	}
	stores := memstore.New()
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		return err
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys})
	if err != nil {
		return err
	}
	e, err := engine.New(engine.Config{
		Escrow:    codes,
		Inventory: stores.Inventory(),
		Policy: engine.Policy{
			Options: mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)},
		},
		Logger: slog.Default(),
	})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/mdm", newHandler(store, e, verifier, stdlogfmt.New()))
	server := &http.Server{Addr: listen, Handler: mux, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	go func() {
		<-ctx.Done()
		server.Shutdown(context.Background())
	}()
	fmt.Printf("Devices check in and report at http://%s/mdm. Codes are kept in memory: not for real devices.\n", listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
