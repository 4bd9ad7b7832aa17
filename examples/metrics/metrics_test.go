package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/examples/metrics"
	"github.com/activationlock/sdk/inventory"
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

// compare compares all that is gathered of some metrics.
func compare(t *testing.T, registry *prometheus.Registry, want string, names ...string) {
	t.Helper()
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(want), names...))
}

func newObserver(t *testing.T) (*prometheus.Registry, *metrics.Observer) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	o, err := metrics.NewObserver(registry)
	require.NoError(t, err)
	return registry, o
}

func TestObserver(t *testing.T) {
	t.Parallel()
	registry, o := newObserver(t)
	o.Counted(engine.Events, string(engine.CodeCaptured), 1)
	o.Counted(engine.Events, string(engine.CodeCaptured), 2)
	o.Counted(engine.Events, string(engine.RecordFailed), 1)
	o.Counted(engine.Commands, "DeviceInformation", 4)
	o.Counted(engine.AppleCalls, "status: done", 5)
	o.Counted(engine.AppleCalls, "status: none", 0)
	o.Counted("newer", "label", 1)
	compare(t, registry, `# HELP activationlock_apple_calls_total Calls to Apple, with what came of them.
# TYPE activationlock_apple_calls_total counter
activationlock_apple_calls_total{call="status: done"} 5
# HELP activationlock_commands_total Commands that were planned.
# TYPE activationlock_commands_total counter
activationlock_commands_total{request_type="DeviceInformation"} 4
# HELP activationlock_events_total What happened.
# TYPE activationlock_events_total counter
activationlock_events_total{type="code captured"} 3
activationlock_events_total{type="record failed"} 1
`)
	o.Took(engine.StepParse, 40*time.Microsecond)
	o.Took(engine.StepParse, 41*time.Microsecond)
	o.Took(engine.StepApple, 2500*time.Millisecond)
	compare(t, registry, `# HELP activationlock_step_seconds How long the steps of the work took.
# TYPE activationlock_step_seconds histogram
activationlock_step_seconds_bucket{step="apple",le="5e-05"} 0
activationlock_step_seconds_bucket{step="apple",le="0.0002"} 0
activationlock_step_seconds_bucket{step="apple",le="0.0008"} 0
activationlock_step_seconds_bucket{step="apple",le="0.0032"} 0
activationlock_step_seconds_bucket{step="apple",le="0.0128"} 0
activationlock_step_seconds_bucket{step="apple",le="0.0512"} 0
activationlock_step_seconds_bucket{step="apple",le="0.2048"} 0
activationlock_step_seconds_bucket{step="apple",le="0.8192"} 0
activationlock_step_seconds_bucket{step="apple",le="3.2768"} 1
activationlock_step_seconds_bucket{step="apple",le="13.1072"} 1
activationlock_step_seconds_bucket{step="apple",le="+Inf"} 1
activationlock_step_seconds_sum{step="apple"} 2.5
activationlock_step_seconds_count{step="apple"} 1
activationlock_step_seconds_bucket{step="parse",le="5e-05"} 2
activationlock_step_seconds_bucket{step="parse",le="0.0002"} 2
activationlock_step_seconds_bucket{step="parse",le="0.0008"} 2
activationlock_step_seconds_bucket{step="parse",le="0.0032"} 2
activationlock_step_seconds_bucket{step="parse",le="0.0128"} 2
activationlock_step_seconds_bucket{step="parse",le="0.0512"} 2
activationlock_step_seconds_bucket{step="parse",le="0.2048"} 2
activationlock_step_seconds_bucket{step="parse",le="0.8192"} 2
activationlock_step_seconds_bucket{step="parse",le="3.2768"} 2
activationlock_step_seconds_bucket{step="parse",le="13.1072"} 2
activationlock_step_seconds_bucket{step="parse",le="+Inf"} 2
activationlock_step_seconds_sum{step="parse"} 8.1e-05
activationlock_step_seconds_count{step="parse"} 2
`, "activationlock_step_seconds")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	registry, o := newObserver(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				o.Counted(engine.Commands, fmt.Sprint(i%2), 1)
				o.Took(engine.StepPlan, time.Millisecond)
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	compare(t, registry, `# HELP activationlock_commands_total Commands that were planned.
# TYPE activationlock_commands_total counter
activationlock_commands_total{request_type="0"} 400
activationlock_commands_total{request_type="1"} 400
`, "activationlock_commands_total")
}

// What cannot be registered is an error, and leaves nothing behind.
func TestErrors(t *testing.T) {
	t.Parallel()
	_, err := metrics.NewObserver(nil)
	require.Error(t, err)
	registry, _ := newObserver(t)
	_, err = metrics.NewObserver(registry)
	require.ErrorAs(t, err, new(prometheus.AlreadyRegisteredError))

	other := prometheus.NewRegistry()
	steps := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "activationlock_step_seconds", Help: "How long the steps of the work took."}, []string{"step"})
	require.NoError(t, other.Register(steps))
	_, err = metrics.NewObserver(other)
	require.Error(t, err)
	require.True(t, other.Unregister(steps))
	_, err = metrics.NewObserver(other)
	require.NoError(t, err)

	store := memstore.New().Inventory()
	require.Error(t, metrics.RegisterFleet(nil, metrics.Fleet{Store: store}))
	require.Error(t, metrics.RegisterFleet(registry, metrics.Fleet{}))
	require.Error(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: store, Within: -1}))
	require.NoError(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: store}))
	require.ErrorAs(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: store}), new(prometheus.AlreadyRegisteredError))
	_, err = registry.Gather()
	require.NoError(t, err)
}

// add has a device on record.
func add(t *testing.T, store inventory.Store, id string, s inventory.Summary, ended bool) {
	t.Helper()
	require.NoError(t, store.Update(t.Context(), id, func(r *inventory.Record) error {
		r.Channel, r.TokenAt, r.Summary = engine.DeviceChannel, noon, s
		r.Facts.SerialNumber, r.Facts.DeviceName = "secret "+id, "secret"
		if ended {
			r.CheckedOutAt = noon
		}
		return nil
	}))
}

func TestFleet(t *testing.T) {
	t.Parallel()
	store, now := memstore.New().Inventory(), noon
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: store, Clock: func() time.Time { return now }}))
	worst := func(s inventory.Severity) []inventory.Finding {
		return []inventory.Finding{{Kind: inventory.MayLock, Severity: s, Since: noon}}
	}
	compare(t, registry, `# HELP activationlock_code_coverage_ratio The part of the devices with a lock of which a usable code is held.
# TYPE activationlock_code_coverage_ratio gauge
activationlock_code_coverage_ratio 1
# HELP activationlock_inventory_up Whether the inventory could be asked.
# TYPE activationlock_inventory_up gauge
activationlock_inventory_up 1
`, "activationlock_code_coverage_ratio", "activationlock_inventory_up")

	add(t, store, "1", inventory.Summary{Status: activationlock.NotEnabled, Reassign: activationlock.Yes, CodeSince: noon, DueAt: noon}, false)
	add(t, store, "2", inventory.Summary{Status: activationlock.EnabledWithBypassCode, Reassign: activationlock.No, CodeSince: noon, Findings: worst(inventory.Notice)}, false)
	add(t, store, "3", inventory.Summary{Status: activationlock.EnabledWithoutBypassCodeNotProvided, Findings: worst(inventory.Critical), DueAt: noon.Add(time.Second)}, false)
	add(t, store, "4", inventory.Summary{Status: activationlock.Unknown, Findings: worst(inventory.Warning)}, false)
	add(t, store, "5", inventory.Summary{Status: "secret"}, false)
	add(t, store, "6", inventory.Summary{Status: activationlock.NotApplicable}, false)
	add(t, store, "7", inventory.Summary{Status: activationlock.NotEnabled, DueAt: noon}, true)
	now = noon.Add(10*time.Minute + time.Second)
	want := `# HELP activationlock_code_coverage_ratio The part of the devices with a lock of which a usable code is held.
# TYPE activationlock_code_coverage_ratio gauge
activationlock_code_coverage_ratio 0.4
# HELP activationlock_devices Devices by the status of their lock.
# TYPE activationlock_devices gauge
activationlock_devices{status="enabledWithBypassCode"} 1
activationlock_devices{status="enabledWithoutBypassCodeNotProvided"} 1
activationlock_devices{status="enabledWithoutBypassCodeNotSupervised"} 0
activationlock_devices{status="enabledWithoutBypassCodeUnreachable"} 0
activationlock_devices{status="notApplicable"} 1
activationlock_devices{status="notEnabled"} 1
activationlock_devices{status="unknown"} 2
# HELP activationlock_devices_overdue Devices that are due for ten minutes and longer.
# TYPE activationlock_devices_overdue gauge
activationlock_devices_overdue 1
# HELP activationlock_devices_reassignable Devices that may be given to somebody else.
# TYPE activationlock_devices_reassignable gauge
activationlock_devices_reassignable 1
# HELP activationlock_devices_severity Devices by the severity of their worst finding.
# TYPE activationlock_devices_severity gauge
activationlock_devices_severity{severity="critical"} 1
activationlock_devices_severity{severity="none"} 3
activationlock_devices_severity{severity="notice"} 1
activationlock_devices_severity{severity="warning"} 1
# HELP activationlock_inventory_up Whether the inventory could be asked.
# TYPE activationlock_inventory_up gauge
activationlock_inventory_up 1
`
	compare(t, registry, want)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// unwilling is a store whose totals are what a test says.
type unwilling struct {
	inventory.Store
	totals func(context.Context) error
}

func (u unwilling) Totals(ctx context.Context, _ inventory.Filter, _ time.Time) (inventory.Totals, error) {
	return inventory.Totals{}, u.totals(ctx)
}

// An inventory that fails, or does not answer, is down, and takes no other metrics
// with it.
func TestFleetIsDown(t *testing.T) {
	t.Parallel()
	for name, totals := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("secret") },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry, o := newObserver(t)
			o.Counted(engine.Events, "type", 1)
			require.NoError(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: unwilling{nil, totals}, Within: time.Millisecond}))
			compare(t, registry, `# HELP activationlock_events_total What happened.
# TYPE activationlock_events_total counter
activationlock_events_total{type="type"} 1
# HELP activationlock_inventory_up Whether the inventory could be asked.
# TYPE activationlock_inventory_up gauge
activationlock_inventory_up 0
`)
		})
	}
	var left time.Duration
	registry := prometheus.NewRegistry()
	require.NoError(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: unwilling{nil, func(ctx context.Context) error {
		until, _ := ctx.Deadline()
		left = time.Until(until)
		return nil
	}}}))
	_, err := registry.Gather()
	require.NoError(t, err)
	require.Positive(t, left, "by default there is an end, too")
	require.LessOrEqual(t, left, 3*time.Second)
}

// A device that says whatever it likes, and its code, are in no metric.
func TestNothingThatADeviceSaid(t *testing.T) {
	t.Parallel()
	registry, o := newObserver(t)
	stores := memstore.New()
	require.NoError(t, metrics.RegisterFleet(registry, metrics.Fleet{Store: stores.Inventory()}))
	locks, err := newEngine(stores, o)
	require.NoError(t, err)
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXSECRET", UDID: "udid-secret", OSVersion: "26.1", Supervised: true})
	require.NoError(t, err)
	from := engine.Enrollment{ID: device.ID()}
	var queue []engine.Queued
	take := func(messages [][]byte, handle func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error)) {
		for _, raw := range messages {
			out, err := handle(t.Context(), from, raw)
			require.NoError(t, err)
			queue = append(queue, out.Commands...)
		}
	}
	messages, err := device.Enroll()
	require.NoError(t, err)
	for take(messages, locks.HandleCheckin); len(queue) > 0; take(messages, locks.HandleReport) {
		messages, err = device.Answer(queue[0].Plist)
		require.NoError(t, err)
		queue = queue[1:]
	}
	for _, said := range []string{
		`<plist><dict><key>MessageType</key><string>secret</string><key>UDID</key><string>udid-secret</string></dict></plist>`,
		`<plist><dict><key>Status</key><string>secret</string><key>UDID</key><string>udid-secret</string><key>CommandUUID</key><string>secret</string></dict></plist>`,
		`<plist><dict><key>Status</key><string>Idle</string><key>UDID</key><string>another secret</string></dict></plist>`,
		`<plist>secret`, "secret",
	} {
		take([][]byte{[]byte(said)}, locks.HandleReport)
		take([][]byte{[]byte(said)}, locks.HandleCheckin)
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	var text bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&text, f)
		require.NoError(t, err)
	}
	require.Contains(t, text.String(), `activationlock_events_total{type="code captured"} 1`)
	require.Contains(t, text.String(), `activationlock_events_total{type="message not believed"}`)
	require.Contains(t, text.String(), `activationlock_commands_total{request_type="ActivationLockBypassCode"} 1`)
	require.Contains(t, text.String(), `activationlock_step_seconds_count{step="escrow"}`)
	require.NotContains(t, strings.ToLower(text.String()), "secret")
	require.NotContains(t, text.String(), device.Code().Reveal())
}
