package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-pacs/strata/internal/archive"
)

// successes are those of drills, or why they cannot be read.
type successes struct {
	of    map[archive.Tenant]time.Time
	err   error
	looks int
}

func (s *successes) Successes(context.Context) (map[archive.Tenant]time.Time, error) {
	s.looks++
	return s.of, s.err
}

// TestDrillAges: who never had a drill has no age, the database is asked once a minute, and its silence changes nothing.
func TestDrillAges(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	s := &successes{}
	d := &drillAges{drills: s, now: func() time.Time { return now }}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(d)
	want := func(age float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if got = m.GetGauge().GetValue(); f.GetName() != "strata_drill_success_age_seconds" || m.GetLabel()[0].GetValue() != "alpha" {
					t.Errorf("%v", m)
				}
			}
		}
		if got != age {
			t.Errorf("age %v, want %v", got, age)
		}
	}
	want(0)
	s.of = map[archive.Tenant]time.Time{"alpha": now.Add(-time.Hour)}
	want(0) // it is believed for a minute
	now = now.Add(time.Minute)
	want(3660)
	s.err, now = errors.New("no database"), now.Add(time.Hour)
	want(7260)
	if s.looks != 3 {
		t.Errorf("asked %d times", s.looks)
	}
}
