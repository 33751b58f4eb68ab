package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is the server's Prometheus registry. Labels are routes and outcomes,
// never anything of a request.
type metrics struct {
	registry *prometheus.Registry
	seconds  *prometheus.HistogramVec
	received prometheus.Counter
	sent     prometheus.Counter
	stored   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strata_http_request_seconds",
			Help:    "Time from a request's head to the last byte of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"method", "route", "status"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "strata_http_received_bytes_total", Help: "Bytes of request bodies."}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "strata_http_sent_bytes_total", Help: "Bytes of answers' bodies."}),
		stored: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strata_store_instances_total",
			Help: "Instances of store requests by outcome: stored, known (held already), refused."}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.seconds, m.received, m.sent, m.stored,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request implements dicomweb.Metrics.
func (m *metrics) Request(method, route string, status int, d time.Duration, received, sent int64) {
	m.seconds.WithLabelValues(method, route, strconv.Itoa(status)).Observe(d.Seconds())
	m.received.Add(float64(received))
	m.sent.Add(float64(sent))
}

// Stored implements dicomweb.Metrics.
func (m *metrics) Stored(outcome string, instances int) {
	m.stored.WithLabelValues(outcome).Add(float64(instances))
}
