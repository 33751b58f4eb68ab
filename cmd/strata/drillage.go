package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-pacs/strata/internal/archive"
)

// drillAges measures how long ago the last drill of each tenant succeeded. A tenant without one is left out, since
// any number would be wrong: alert on what is absent, too.
type drillAges struct {
	drills interface {
		Successes(ctx context.Context) (map[archive.Tenant]time.Time, error)
	}
	now func() time.Time

	mu     sync.Mutex
	known  map[archive.Tenant]time.Time
	looked time.Time
}

const (
	drillLook    = time.Minute // how long what was read is believed
	drillTimeout = 2 * time.Second
)

var drillAge = prometheus.NewDesc("strata_drill_success_age_seconds", "Seconds since the last recovery drill of a tenant that found everything as it should be.", []string{"tenant"}, nil)

// Describe implements prometheus.Collector.
func (d *drillAges) Describe(ch chan<- *prometheus.Desc) { ch <- drillAge }

// Collect implements prometheus.Collector. While the database does not answer, what was known before holds.
func (d *drillAges) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if d.looked.IsZero() || now.Sub(d.looked) >= drillLook {
		ctx, cancel := context.WithTimeout(context.Background(), drillTimeout)
		if known, err := d.drills.Successes(ctx); err == nil {
			d.known, d.looked = known, now
		}
		cancel()
	}
	for t, at := range d.known {
		ch <- prometheus.MustNewConstMetric(drillAge, prometheus.GaugeValue, now.Sub(at).Seconds(), string(t))
	}
}
