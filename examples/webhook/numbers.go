package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/activationlock/sdk/examples/metrics"
	"github.com/activationlock/sdk/inventory"
)

// numbers are those of the program; with the engine's and the inventory's they are
// what Prometheus gets. No label holds anything that a device said.
type numbers struct {
	registry          *prometheus.Registry
	engine            *metrics.Observer
	posts, deliveries *prometheus.CounterVec
}

func newNumbers(records inventory.Store) (*numbers, error) {
	n := &numbers{
		registry: prometheus.NewRegistry(),
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "activationlock_webhook_posts_total", Help: "Posts that were answered, by HTTP status.",
		}, []string{"status"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "activationlock_webhook_deliveries_total", Help: "Deliveries of commands to the server, by result.",
		}, []string{"result"}),
	}
	n.registry.MustRegister(n.posts, n.deliveries,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if n.engine, err = metrics.NewObserver(n.registry); err != nil {
		return nil, err
	}
	return n, metrics.RegisterFleet(n.registry, metrics.Fleet{Store: records})
}

func (n *numbers) posted(status int) { n.posts.WithLabelValues(strconv.Itoa(status)).Inc() }

func (n *numbers) delivered(err error) {
	result := "queued and pushed"
	if err != nil {
		result = "failed"
	}
	n.deliveries.WithLabelValues(result).Inc()
}

func (n *numbers) handler() http.Handler {
	return promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{})
}
