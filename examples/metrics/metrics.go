// Package metrics gives the numbers of an engine and of its inventory to Prometheus.
//
//	observer, err := metrics.NewObserver(registry)
//	…
//	locks, err := engine.New(engine.Config{Observer: observer, …})
//	…
//	err = metrics.RegisterFleet(registry, metrics.Fleet{Store: records})
//
// An engine has counters and a histogram:
//
//	activationlock_events_total{type}            what happened, such as "code captured"
//	activationlock_commands_total{request_type}  commands that were planned
//	activationlock_apple_calls_total{call}       calls to Apple, such as "status: done"
//	activationlock_step_seconds{step}            how long the steps of the work took
//
// Several engines of one process share an Observer. The inventory has gauges, of the
// devices whose enrollment is complete and did not end, with each query:
//
//	activationlock_inventory_up                   1 if it could be asked; else the others are missing
//	activationlock_devices{status}                by the status of their lock
//	activationlock_devices_severity{severity}     by the severity of their worst finding
//	activationlock_devices_reassignable           that may be given to somebody else
//	activationlock_devices_overdue                that are due for ten minutes and longer
//	activationlock_code_coverage_ratio            the part of which a usable code is held
//
// No label holds anything that a device said.
//
// What to be woken for: a code that could not be kept, a device that is or soon will
// be a brick, and work that nobody does.
//
//	increase(activationlock_events_total{type="capture failed"}[10m]) > 0
//	activationlock_devices_severity{severity="critical"} > 0
//	min_over_time(activationlock_devices_overdue[10m]) > 0
package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/activationlock/sdk/activationlock/engine"
)

// Observer is an [engine.Observer] and a [prometheus.Collector]. It is safe for many
// goroutines.
type Observer struct {
	counters map[engine.Counter]*prometheus.CounterVec
	steps    *prometheus.HistogramVec
}

// NewObserver returns an observer that is registered.
func NewObserver(r prometheus.Registerer) (*Observer, error) {
	if r == nil {
		return nil, errors.New("metrics: a registerer is required")
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	o := &Observer{
		counters: map[engine.Counter]*prometheus.CounterVec{
			engine.Events:     counter("activationlock_events_total", "What happened.", "type"),
			engine.Commands:   counter("activationlock_commands_total", "Commands that were planned.", "request_type"),
			engine.AppleCalls: counter("activationlock_apple_calls_total", "Calls to Apple, with what came of them.", "call"),
		},
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "activationlock_step_seconds", Help: "How long the steps of the work took.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 10), // to 13 seconds, since Apple may take its time
		}, []string{"step"}),
	}
	if err := r.Register(o); err != nil {
		return nil, err
	}
	return o, nil
}

// Counted counts. What a later engine may count besides is left out.
func (o *Observer) Counted(what engine.Counter, label string, n int) {
	if counter, known := o.counters[what]; known && n > 0 {
		counter.WithLabelValues(label).Add(float64(n))
	}
}

// Took notes how long a step took.
func (o *Observer) Took(step engine.Step, d time.Duration) {
	o.steps.WithLabelValues(string(step)).Observe(d.Seconds())
}

// Describe describes the metrics.
func (o *Observer) Describe(to chan<- *prometheus.Desc) {
	o.each(func(c prometheus.Collector) { c.Describe(to) })
}

// Collect collects the metrics.
func (o *Observer) Collect(to chan<- prometheus.Metric) {
	o.each(func(c prometheus.Collector) { c.Collect(to) })
}

func (o *Observer) each(do func(prometheus.Collector)) {
	for _, c := range o.counters {
		do(c)
	}
	do(o.steps)
}
