package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

// Fleet says what to report an inventory by. Zero fields mean their defaults.
type Fleet struct {
	Store inventory.Store // required
	// Within is how long the inventory may take to answer. Default three seconds:
	// Prometheus waits for ten.
	Within time.Duration
	Clock  func() time.Time // default time.Now
}

// overdue is how long a record may be due: that long it can belong to a server.
const overdue = 10 * time.Minute

// RegisterFleet registers a collector that asks the inventory with each query of
// Prometheus, once. Of a fleet so large that this is too often, the host queries a
// registry of its own less often.
func RegisterFleet(r prometheus.Registerer, f Fleet) error {
	switch {
	case r == nil || f.Store == nil:
		return errors.New("metrics: a registerer and a store are required")
	case f.Within < 0:
		return errors.New("metrics: Fleet.Within is negative")
	case f.Within == 0:
		f.Within = 3 * time.Second
	}
	if f.Clock == nil {
		f.Clock = time.Now
	}
	return r.Register(collector{f})
}

// collector is a [prometheus.Collector] that keeps nothing.
type collector struct{ Fleet }

var (
	up           = prometheus.NewDesc("activationlock_inventory_up", "Whether the inventory could be asked.", nil, nil)
	byStatus     = prometheus.NewDesc("activationlock_devices", "Devices by the status of their lock.", []string{"status"}, nil)
	bySeverity   = prometheus.NewDesc("activationlock_devices_severity", "Devices by the severity of their worst finding.", []string{"severity"}, nil)
	reassignable = prometheus.NewDesc("activationlock_devices_reassignable", "Devices that may be given to somebody else.", nil, nil)
	late         = prometheus.NewDesc("activationlock_devices_overdue", "Devices that are due for ten minutes and longer.", nil, nil)
	coverage     = prometheus.NewDesc("activationlock_code_coverage_ratio", "The part of the devices with a lock of which a usable code is held.", nil, nil)
)

// statuses are reported also where no device has them. What is none of them, as a
// later version may have written it, counts as unknown, too.
var statuses = []activationlock.Status{
	activationlock.NotApplicable, activationlock.NotEnabled, activationlock.EnabledWithBypassCode,
	activationlock.EnabledWithoutBypassCodeNotSupervised, activationlock.EnabledWithoutBypassCodeUnreachable,
	activationlock.EnabledWithoutBypassCodeNotProvided,
}

var severities = map[inventory.Severity]string{
	0: "none", inventory.Notice: "notice", inventory.Warning: "warning", inventory.Critical: "critical",
}

func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{up, byStatus, bySeverity, reassignable, late, coverage} {
		to <- d
	}
}

// Collect reports an inventory that cannot be asked as down: an error would take the
// metrics of others with it, and may say more than a metric should.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Within)
	defer cancel()
	totals, err := c.Store.Totals(ctx, inventory.Filter{Live: true}, c.Clock().Add(-overdue))
	if err != nil {
		gauge(up, 0)
		return
	}
	gauge(up, 1)
	unknown := totals.Devices
	for _, s := range statuses {
		gauge(byStatus, float64(totals.Statuses[s]), string(s))
		unknown -= totals.Statuses[s]
	}
	gauge(byStatus, float64(unknown), string(activationlock.Unknown))
	for s, name := range severities {
		gauge(bySeverity, float64(totals.Severities[s]), name)
	}
	gauge(reassignable, float64(totals.Reassignable))
	gauge(late, float64(totals.Overdue))
	gauge(coverage, totals.Coverage())
}
