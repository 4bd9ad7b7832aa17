package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/activationlock/sdk/inventory"
)

// health answers whether the program lives, and whether it can take in events.
type health struct {
	records  inventory.Store
	log      *slog.Logger
	stopping atomic.Bool
}

// probeWithin is how long the database may take to answer a probe.
const probeWithin = 2 * time.Second

func (*health) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Write([]byte("ok\n"))
}

// readyz reads the database: a record that nobody has, since that needs no right
// but those that the work needs.
func (h *health) readyz(w http.ResponseWriter, r *http.Request) {
	if h.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), probeWithin)
	defer cancel()
	if _, err := h.records.Get(ctx, "readyz"); err != nil && !errors.Is(err, inventory.ErrNotFound) {
		h.log.Warn("not ready", "error", err)
		http.Error(w, "the database cannot be read", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok\n"))
}
