package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-pacs/strata/internal/archive"
)

// usageGauges measure what tiers hold of each tenant, whether its lifecycle has something to do, and how many restores are
// under way. There are as many series as tenants have tiers. Every node tells the same: it is read from the index.
type usageGauges struct {
	usage interface {
		Held(ctx context.Context, after archive.Tenant, limit int) ([]archive.Usage, error)
		Pending(ctx context.Context, t archive.Tenant) (bool, error)
		Paused() map[archive.Tenant]bool
	}
	restores interface {
		Counts(ctx context.Context) (map[archive.RestoreState]int, error)
	}
	now func() time.Time

	mu      sync.Mutex
	held    []archive.Usage
	pending map[archive.Tenant]bool
	counts  map[archive.RestoreState]int
	looked  time.Time
}

const (
	usageLook    = 30 * time.Second // how long what was read is believed
	usageTimeout = 5 * time.Second
	usagePage    = 200
)

var (
	tierBytes   = prometheus.NewDesc("strata_tier_bytes", "Bytes of a tenant's log and packs in a tier.", []string{"tenant", "tier"}, nil)
	tierObjects = prometheus.NewDesc("strata_tier_objects", "Objects of a tenant's log and packs in a tier.", []string{"tenant", "tier"}, nil)
	tierCost    = prometheus.NewDesc("strata_tier_cost_month", "What a tier costs a month for a tenant as it is, in the currency of the configuration.", []string{"tenant", "tier", "currency"}, nil)
	pendingDesc = prometheus.NewDesc("strata_lifecycle_pending", "1 while lifecycle rules have something to look at or to remove, 0 otherwise.", []string{"tenant"}, nil)
	pausedDesc  = prometheus.NewDesc("strata_lifecycle_paused", "1 while an operator wants nothing done by lifecycle rules, 0 otherwise; of tenants whose archive this node has opened, as it knew last.", []string{"tenant"}, nil)
	restoreDesc = prometheus.NewDesc("strata_restores", "Restores of studies that have not ended, by state.", []string{"state"}, nil)
)

// Describe implements prometheus.Collector.
func (g *usageGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tierBytes, tierObjects, tierCost, pendingDesc, pausedDesc, restoreDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. While the database does not answer, what was known before holds.
func (g *usageGauges) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.now(); g.looked.IsZero() || now.Sub(g.looked) >= usageLook {
		ctx, cancel := context.WithTimeout(context.Background(), usageTimeout)
		if g.look(ctx) == nil {
			g.looked = now
		}
		cancel()
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, u := range g.held {
		for _, t := range u.Tiers {
			gauge(tierBytes, float64(t.Bytes), string(u.Tenant), string(t.Tier))
			gauge(tierObjects, float64(t.Objects), string(u.Tenant), string(t.Tier))
			if !t.Gone {
				gauge(tierCost, t.Month, string(u.Tenant), string(t.Tier), u.Currency)
			}
		}
	}
	for d, which := range map[*prometheus.Desc]map[archive.Tenant]bool{pendingDesc: g.pending, pausedDesc: g.usage.Paused()} {
		for t, is := range which {
			v := 0.0
			if is {
				v = 1
			}
			gauge(d, v, string(t))
		}
	}
	for state, n := range g.counts {
		gauge(restoreDesc, float64(n), string(state))
	}
}

// look reads everything anew, or leaves it as it was.
func (g *usageGauges) look(ctx context.Context) error {
	var held []archive.Usage
	pending := map[archive.Tenant]bool{}
	for after := archive.Tenant(""); ; {
		page, err := g.usage.Held(ctx, after, usagePage)
		if err != nil {
			return err
		}
		for _, u := range page {
			if pending[u.Tenant], err = g.usage.Pending(ctx, u.Tenant); err != nil {
				return err
			}
			after = u.Tenant
		}
		if held = append(held, page...); len(page) < usagePage {
			break
		}
	}
	counts, err := g.restores.Counts(ctx)
	if err == nil {
		g.held, g.pending, g.counts = held, pending, counts
	}
	return err
}
