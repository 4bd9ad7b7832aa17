package metrics_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/metrics"
)

func Example() {
	registry := prometheus.NewRegistry()
	observer, err := metrics.NewObserver(registry)
	if err != nil {
		panic(err)
	}
	stores := memstore.New()
	if err := metrics.RegisterFleet(registry, metrics.Fleet{Store: stores.Inventory()}); err != nil {
		panic(err)
	}
	locks, err := newEngine(stores, observer)
	if err != nil {
		panic(err)
	}

	// A device reports that it is there, and the engine asks what it is.
	idle := []byte(`<plist><dict><key>Status</key><string>Idle</string><key>UDID</key><string>UDID-1</string></dict></plist>`)
	if _, err := locks.HandleReport(context.Background(), engine.Enrollment{ID: "UDID-1"}, idle); err != nil {
		panic(err)
	}

	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "activationlock_") && !strings.Contains(line, "_step_") {
			fmt.Println(line)
		}
	}
	// Output:
	// activationlock_code_coverage_ratio 0
	// activationlock_commands_total{request_type="DeviceInformation"} 1
	// activationlock_devices{status="enabledWithBypassCode"} 0
	// activationlock_devices{status="enabledWithoutBypassCodeNotProvided"} 0
	// activationlock_devices{status="enabledWithoutBypassCodeNotSupervised"} 0
	// activationlock_devices{status="enabledWithoutBypassCodeUnreachable"} 0
	// activationlock_devices{status="notApplicable"} 0
	// activationlock_devices{status="notEnabled"} 0
	// activationlock_devices{status="unknown"} 1
	// activationlock_devices_overdue 0
	// activationlock_devices_reassignable 0
	// activationlock_devices_severity{severity="critical"} 0
	// activationlock_devices_severity{severity="none"} 1
	// activationlock_devices_severity{severity="notice"} 0
	// activationlock_devices_severity{severity="warning"} 0
	// activationlock_inventory_up 1
}

func newEngine(stores *memstore.Store, observer engine.Observer) (*engine.Engine, error) {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		return nil, err
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	if err != nil {
		return nil, err
	}
	codes, err := escrow.New(escrow.Config{Store: stores.Escrow(), Sealer: keys})
	if err != nil {
		return nil, err
	}
	return engine.New(engine.Config{Escrow: codes, Inventory: stores.Inventory(), Observer: observer})
}
