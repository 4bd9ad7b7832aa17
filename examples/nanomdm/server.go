package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/micromdm/nanolib/log"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/mdmcmd"
)

// newHandler builds NanoMDM's handler for devices with the engine inside.
func newHandler(store storage.AllStorage, e *engine.Engine, verifier httpmdm.CertVerifier, logger log.Logger) http.Handler {
	logger = discreet{logger}
	var mdm service.CheckinAndCommandService = nanomdm.New(store, nanomdm.WithLogger(logger))
	mdm = &decorator{mdm, e, store}
	mdm = certauth.New(mdm, store, certauth.WithLogger(logger)) // outermost: who is it?

	var h http.Handler = httpmdm.CheckinAndCommandHandler(mdm, logger)
	h = httpmdm.CertVerifyMiddleware(h, verifier, logger)
	h = httpmdm.CertExtractMdmSignatureMiddleware(h,
		httpmdm.MdmSignatureVerifierFunc(mdmcmd.VerifySignature), httpmdm.SigLogWithLogger(logger))
	return guard(h)
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
// whole content of what it cannot parse, and a code may be in there.
type discreet struct{ log.Logger }

func (d discreet) Info(args ...any)  { d.Logger.Info(withoutContent(args)...) }
func (d discreet) Debug(args ...any) { d.Logger.Debug(withoutContent(args)...) }
func (d discreet) With(args ...any) log.Logger {
	return discreet{d.Logger.With(withoutContent(args)...)}
}

func withoutContent(args []any) []any {
	kept := make([]any, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] != "content" {
			kept = append(kept, args[i], args[i+1])
		}
	}
	return kept
}
