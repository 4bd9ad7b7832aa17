package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/micromdm/nanolib/log"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"

	"github.com/activationlock/sdk/examples/nanomdm/decorator"
	"github.com/activationlock/sdk/mdmcmd"
)

// serve serves devices and administrators, and works off what is due at an
// interval, until the context ends; then it waits for what is under way.
func (h *host) serve(ctx context.Context, listener net.Listener, every time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		// Its error is the context's; what fails on the way is an event.
		_ = h.engine.Run(ctx, every, dueAtOnce, h.deliver)
	})

	// An unlock makes up to four calls to Apple.
	server := &http.Server{Handler: h.handler, ReadTimeout: time.Minute, WriteTimeout: 3 * time.Minute, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(patient); err != nil {
		return fmt.Errorf("stop, with requests under way: %w", err)
	}
	return nil
}

const (
	// dueAtOnce is how many devices that are due one look works off.
	dueAtOnce = 100
	// shutdownTimeout is how long requests that are under way have to end. An unlock
	// that is cut off goes on after the next start.
	shutdownTimeout = 45 * time.Second
)

// devices is NanoMDM's handler for devices with the engine inside.
func (h *host) devices(verifier httpmdm.CertVerifier, logger log.Logger) http.Handler {
	var inner service.CheckinAndCommandService = nanomdm.New(h.store, nanomdm.WithLogger(logger),
		nanomdm.WithUserAuthenticate(nanomdm.NewUAService(h.store, false)))
	inner = h.around(inner)
	inner = certauth.New(inner, h.store, certauth.WithLogger(logger)) // outermost: who is it?

	var handler http.Handler = httpmdm.CheckinAndCommandHandler(inner, logger)
	handler = httpmdm.CertVerifyMiddleware(handler, verifier, logger)
	handler = httpmdm.CertExtractMdmSignatureMiddleware(handler,
		httpmdm.MdmSignatureVerifierFunc(mdmcmd.VerifySignature), httpmdm.SigLogWithLogger(logger))
	return guard(handler)
}

// around is the engine around NanoMDM's own service.
func (h *host) around(inner service.CheckinAndCommandService) *decorator.Decorator {
	return &decorator.Decorator{CheckinAndCommandService: inner, Engine: h.engine, Store: h.store, Wake: h.wake, Logger: h.logger}
}

// maxBody is the largest body that is read. Reports of large application lists
// have some megabytes.
const maxBody = 16 << 20

// guard stands before NanoMDM's own property list parser, which has no limits:
// 43 bytes end its process. It answers 400, or 413 to what is too large, never
// 401 or 403, which can make a device give up its enrollment. No honest device
// sends what it refuses.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			http.Error(w, http.StatusText(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil || len(body) > 0 && mdmcmd.Check(body, maxBody) != nil {
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// discreet is a logger that keeps messages out of the log: NanoMDM logs the
// whole content of what it cannot parse, by itself or in an error, and a code or
// another secret may be in there.
type discreet struct{ log.Logger }

func (d discreet) Info(args ...any)  { d.Logger.Info(withoutContent(args)...) }
func (d discreet) Debug(args ...any) { d.Logger.Debug(withoutContent(args)...) }
func (d discreet) With(args ...any) log.Logger {
	return discreet{d.Logger.With(withoutContent(args)...)}
}

func withoutContent(args []any) []any {
	kept := make([]any, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		value := args[i+1]
		if err, ok := value.(error); ok {
			if _, quotes := errors.AsType[*mdm.ParseError](err); quotes {
				value = "not readable"
			}
		}
		if args[i] != "content" {
			kept = append(kept, args[i], value)
		}
	}
	return kept
}
