package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-pacs/strata/internal/archive"
)

// told is what an index tells of many tenants, or why it cannot.
type told struct {
	tenants int
	err     error
	looks   int
}

func (o *told) Held(_ context.Context, after archive.Tenant, limit int) (out []archive.Usage, err error) {
	for i := range o.tenants {
		t := archive.Tenant(fmt.Sprintf("t%03d", i))
		if t > after && len(out) < limit {
			out = append(out, archive.Usage{Tenant: t, Currency: "EUR", Tiers: []archive.UsedTier{
				{TierUsage: archive.TierUsage{Tier: "hot", Objects: 3, Bytes: 5e9}, Month: 0.1},
				{TierUsage: archive.TierUsage{Tier: "shelf", Objects: 1, Bytes: 7}, Gone: true}}})
		}
	}
	return out, o.err
}

func (o *told) Pending(_ context.Context, t archive.Tenant) (bool, error) { return t == "t000", o.err }

func (o *told) Paused() map[archive.Tenant]bool {
	return map[archive.Tenant]bool{"t000": true, "t002": false}
}

func (o *told) Counts(context.Context) (map[archive.RestoreState]int, error) {
	o.looks++
	return map[archive.RestoreState]int{archive.RestoreWaiting: 4, archive.RestoreRunning: 0}, o.err
}

// TestUsageGauges: every tenant is told of, across pages; the database is asked twice a minute, and its silence changes nothing.
func TestUsageGauges(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	o := &told{tenants: usagePage + 50}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&usageGauges{usage: o, restores: o, now: func() time.Time { return now }})
	gather := func() (lines []string) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				line := f.GetName()
				for _, l := range m.GetLabel() {
					line += " " + l.GetValue()
				}
				lines = append(lines, fmt.Sprint(line, " ", m.GetGauge().GetValue()))
			}
		}
		return lines
	}
	first := gather()
	for _, want := range []string{"strata_tier_bytes t000 hot 5e+09", "strata_tier_bytes t249 shelf 7", "strata_tier_objects t249 hot 3", "strata_tier_cost_month EUR t100 hot 0.1",
		"strata_lifecycle_pending t000 1", "strata_lifecycle_pending t001 0", "strata_lifecycle_paused t000 1", "strata_lifecycle_paused t002 0", "strata_restores waiting 4", "strata_restores running 0"} {
		if !slices.Contains(first, want) {
			t.Errorf("no %s", want)
		}
	}
	if len(first) != 250*6+2+2 || slices.ContainsFunc(first, func(l string) bool { return strings.Contains(l, "cost_month") && strings.Contains(l, "shelf") }) {
		t.Errorf("%d series", len(first))
	}
	o.tenants = 1
	if again := gather(); len(again) != len(first) {
		t.Errorf("what was read is not believed: %d series", len(again))
	}
	now = now.Add(usageLook)
	if again := gather(); len(again) != 6+2+2 {
		t.Errorf("%d series of one tenant", len(again))
	}
	o.err, now = errors.New("no database"), now.Add(time.Hour)
	if again := gather(); len(again) != 6+2+2 {
		t.Errorf("%d series while the database is silent", len(again))
	}
	if o.looks != 2 {
		t.Errorf("asked %d times", o.looks)
	}
}
