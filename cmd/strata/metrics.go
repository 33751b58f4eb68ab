package main

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/strata-pacs/strata/internal/lifecycle"
	"github.com/strata-pacs/strata/internal/node"
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

// watch adds what the node tells of itself.
func (m *metrics) watch(n *node.Node) {
	gauge := func(name, help string, value func(node.Condition) int64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(n.Condition())) }))
	}
	counter := func(name, help string, value func(node.Condition) int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(value(n.Condition())) }))
	}
	gauge("strata_archives_open", "Tenants whose keys are in memory.", func(c node.Condition) int64 { return int64(c.Open) })
	counter("strata_archives_dark_total", "How often an archive was closed because its key was refused or its provider silent.", func(c node.Condition) int64 { return c.Dark })
	gauge("strata_read_cache_bytes", "Bytes of the read cache.", func(c node.Condition) int64 { return c.Cache.Bytes })
	counter("strata_read_cache_hits_total", "Blocks that were found in the read cache.", func(c node.Condition) int64 { return c.Cache.Hits })
	counter("strata_read_cache_misses_total", "Blocks that were fetched from the store.", func(c node.Condition) int64 { return c.Cache.Misses })
	counter("strata_tier_wrong_hints_total", "Packs that were in another tier than the index said.", func(c node.Condition) int64 { return c.WrongHints })
	counter("strata_reaped_packs_total", "Copies of packs that no fact named and that were removed, in all tiers.", func(c node.Condition) int64 { return c.Reaped })
	counter("strata_reaped_bytes_total", "Bytes of the copies of packs that no fact named and that were removed.", func(c node.Condition) int64 { return c.ReapedBytes })
	gauge("strata_reap_kept_packs", "Packs that no readable fact names and that are kept, since they may be needed.", func(c node.Condition) int64 { return c.Kept })
	gauge("strata_log_unread_facts", "Facts of the log that count as never written: their key or a pack of theirs is not there.", func(c node.Condition) int64 { return c.Unread })
	m.watchLifecycle(n.LifecycleCounters())
	m.registry.MustRegister(&drillAges{drills: n.Drills(), now: time.Now}, &usageGauges{usage: n.Usage(), restores: n.Restores(), now: time.Now})
	counter("strata_read_cache_evictions_total", "Blocks that made room in the read cache.", func(c node.Condition) int64 { return c.Cache.Evictions })
}

// watchLifecycle adds what lifecycle rules did.
func (m *metrics) watchLifecycle(c *lifecycle.Counters) {
	for _, x := range []struct {
		name, help string
		n          *atomic.Int64
	}{
		{"strata_lifecycle_looked_total", "Studies that were due and looked at by lifecycle rules.", &c.Looked},
		{"strata_lifecycle_settled_total", "Studies that were settled: something was merged or dropped.", &c.Settled},
		{"strata_lifecycle_moved_total", "Studies that were moved to another tier.", &c.Moved},
		{"strata_lifecycle_moved_bytes_total", "Bytes of packs that were moved to another tier.", &c.MovedBytes},
		{"strata_lifecycle_deleted_total", "Studies that rules deleted.", &c.Deleted},
		{"strata_lifecycle_dropped_total", "Deleted instances that are gone for good.", &c.Dropped},
		{"strata_lifecycle_dropped_bytes_total", "Bytes of deleted instances that are gone for good.", &c.DroppedBytes},
		{"strata_lifecycle_removed_total", "Objects and copies that were let go of and removed.", &c.Removed},
		{"strata_lifecycle_removed_bytes_total", "Bytes of objects and copies that were let go of and removed.", &c.RemovedBytes},
		{"strata_lifecycle_failed_total", "Studies whose lifecycle failed and is tried again.", &c.Failed},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: x.name, Help: x.help}, func() float64 { return float64(x.n.Load()) }))
	}
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
