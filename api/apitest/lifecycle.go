package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Lifecycle is api.Lifecycle, whose methods are called as others are.
func (m *Memory) Lifecycle() Lifecycle { return Lifecycle{m} }

// Lifecycle is the lifecycle of a memory's tenants. It takes all rules but those with a tier "nowhere".
type Lifecycle struct{ m *Memory }

// enter locks the memory and finds the tenant.
func (l Lifecycle) enter(t archive.Tenant) (unlock func(), err error) {
	unlock, err = l.m.lock()
	if _, ok := l.m.Tenants[t]; !ok && err == nil {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	return unlock, err
}

// State is of api.Lifecycle.
func (l Lifecycle) State(_ context.Context, t archive.Tenant) (s archive.LifecycleState, err error) {
	unlock, err := l.enter(t)
	defer unlock()
	s.Paused, s.Pending = l.m.Paused[t], l.m.Due > 0
	if s.Paused {
		s.PausedBy, s.PausedAt = "bob", Noon
	}
	if s.Pending {
		s.Failing, s.Retry = l.m.Due, Noon.Add(time.Hour)
		s.Failure = archive.LifecycleFailure{At: Noon, Why: "the store has no room"}
		s.Round = archive.LifecycleRound{At: Noon, Done: archive.LifecycleDone{Looked: 9, Failed: l.m.Due}, Error: "the store does not answer"}
	}
	if rules := l.m.Rules[t]; rules != nil {
		s.Rules, s.By, s.Stated = strings.Count(string(rules), `"action"`), "alice", Noon
	}
	return s, err
}

// Rules is of api.Lifecycle.
func (l Lifecycle) Rules(_ context.Context, t archive.Tenant) ([]byte, error) {
	unlock, err := l.enter(t)
	defer unlock()
	if rules := l.m.Rules[t]; rules != nil {
		return rules, err
	}
	return []byte(`{"rules":[]}`), err
}

// CheckRules is of api.Lifecycle.
func (l Lifecycle) CheckRules(_ context.Context, t archive.Tenant, rules []byte) error {
	unlock, err := l.enter(t)
	defer unlock()
	if err == nil && strings.Contains(string(rules), `"nowhere"`) {
		err = fault.New(fault.Invalid, "rules[1].to: there is no such tier; write one of: hot, cold")
	}
	return err
}

// SetRules is of api.Lifecycle.
func (l Lifecycle) SetRules(ctx context.Context, t archive.Tenant, rules []byte, _ string) error {
	if err := l.CheckRules(ctx, t, rules); err != nil {
		return err
	}
	l.m.Do(func() { l.m.Rules[t] = rules })
	return nil
}

// Pause is of api.Lifecycle.
func (l Lifecycle) Pause(_ context.Context, t archive.Tenant, paused bool, _ string) error {
	unlock, err := l.enter(t)
	defer unlock()
	if err == nil {
		l.m.Paused[t] = paused
	}
	return err
}

// Tag is of api.Lifecycle. Study 1.2.3 is there, with the tag "kept", and remembers nothing.
func (l Lifecycle) Tag(_ context.Context, t archive.Tenant, study string, add, remove []string) ([]string, error) {
	unlock, err := l.enter(t)
	defer unlock()
	if err == nil && study != "1.2.3" {
		err = fault.New(fault.NotFound, "this study is not in the archive")
	}
	if slices.Contains(remove, "kept") {
		return add, err
	}
	return append([]string{"kept"}, add...), err
}

// Plan is of api.Lifecycle.
func (l Lifecycle) Plan(_ context.Context, t archive.Tenant, q archive.LifecycleQuestion) (archive.LifecyclePlan, error) {
	unlock, err := l.enter(t)
	defer unlock()
	l.m.Question = q
	p := archive.LifecyclePlan{At: Noon, Currency: "EUR", Studies: 7, Bytes: 7e12, Circular: 1, Circles: []archive.PlannedCircle{{Studies: 1, Moves: "old", Back: "new"}}, Sampled: 5,
		Steps: []archive.PlannedStep{
			{Rule: "old", Action: "move", From: "hot", To: "cold", Studies: 3, Bytes: 3e12, Once: 0.5, Before: 30, After: 3},
			{Rule: "gone", Action: "delete", From: "cold", Studies: 1, Bytes: 1e12, Before: 1, After: 1, Waiting: true, First: Noon.Add(time.Hour)},
			{Action: "settle", From: "hot", To: "hot", Studies: 1, Bytes: 1e12, Before: 10, After: 10},
		},
		Tiers: []archive.PlannedTier{{Name: "hot", Studies: 6, Bytes: 6e12, Month: 60, StudiesAfter: 3, BytesAfter: 3e12, MonthAfter: 30},
			{Name: "cold", Studies: 1, Bytes: 1e12, Month: 1, StudiesAfter: 4, BytesAfter: 4e12, MonthAfter: 4}},
		Forecast: archive.Forecast{Growth: 0.1, GrowthYears: 3, YearBytes: 1e12, Tiers: []archive.TierName{"hot", "cold"}}}
	for i := range 121 {
		p.Forecast.Points = append(p.Forecast.Points, archive.ForecastPoint{At: Noon.AddDate(0, i, 0), Bytes: []int64{3e12, int64(4+i) * 1e12}, Studies: int64(7 + i),
			Month: float64(34 + i), Once: 0.5, Without: float64(61 + 10*i)})
	}
	return p, err
}

// Apply is of api.Lifecycle.
func (l Lifecycle) Apply(_ context.Context, t archive.Tenant) (archive.LifecycleDone, error) {
	unlock, err := l.enter(t)
	defer unlock()
	if l.m.Paused[t] {
		return archive.LifecycleDone{Paused: true}, err
	}
	n := min(l.m.Due, 3)
	l.m.Due -= n
	return archive.LifecycleDone{Looked: n, Settled: n, Moved: n, Bytes: n * 1e9, Failed: l.m.FailedStudies, More: l.m.Due > 0}, err
}
