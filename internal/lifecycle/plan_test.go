package lifecycle

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

var (
	now = time.Date(2030, 6, 15, 10, 0, 0, 0, time.UTC)
	// Prices that can be reckoned by hand: a cent, a tenth and a hundredth of it for a GB and month.
	tiers = []archive.Tier{
		{Name: "hot", Store: "file:///a", Prices: archive.Prices{GBMonth: 0.01}},
		{Name: "cold", Store: "s3://b", Prices: archive.Prices{GBMonth: 0.001, Write: 1, Read: 0.5}},
		{Name: "ice", Store: "s3://b", Class: "ICE", Restore: true, Prices: archive.Prices{GBMonth: 0.0001, Write: 2, MinDays: 73},
			Speeds: []archive.RestoreSpeed{{Priority: archive.Bulk, GB: 0.01}}},
	}
	env = rule.Environment{Studies: 10, Quiet: 30 * time.Minute, Revisit: day}
)

func rules(t testing.TB, document string) rule.Set {
	t.Helper()
	s, err := rule.Parse([]byte(document), rule.Options{Tiers: []archive.TierName{"hot", "cold", "ice"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// study is one of a GB of so many days ago, settled in the tier.
func study(days int, tier archive.TierName) subject {
	at := now.Add(-time.Duration(days) * day)
	return subject{Study: rule.Study{StudyDate: at.Format("20060102"), Received: at, Changed: at, Accessed: at,
		Modalities: []string{"CT"}, Bytes: 1e9, Tier: tier, Settled: true}}
}

func plan(t testing.TB, o planOptions, studies ...subject) archive.LifecyclePlan {
	t.Helper()
	o.Tiers, o.Now, o.Environment = tiers, now, env
	p, err := newPlanner(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range studies {
		if err := p.Add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	out, err := p.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// kept is the study, that must be kept until then.
func kept(s subject, until time.Time) subject {
	s.Until = func(context.Context) (time.Time, error) { return until, nil }
	return s
}

var near = cmpopts.EquateApprox(0, 1e-9)

func TestPlanSteps(t *testing.T) {
	set := rules(t, `
rules:
  - { name: gone, when: { age: { over: 10y } }, action: delete }
  - { name: old, when: { age: { over: 1y } }, action: move, to: cold }
  - { name: round, when: { modality: [MR], tier: [hot] }, action: move, to: cold }
  - { name: and round, when: { modality: [MR], tier: [cold] }, action: move, to: hot }
`)
	fresh := study(1, "hot")
	fresh.Settled = false
	circular := study(2, "hot")
	circular.Modalities = []string{"MR"}
	deleted := study(3, "hot")
	deleted.Deleted = true
	held := kept(study(5000, "cold"), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	got := plan(t, planOptions{Rules: set, Growth: ptr(0.0)}, fresh, circular, deleted, held,
		study(400, "hot"), study(500, "hot"), study(600, "cold"), study(700, "ice"),
		study(4000, "cold"), kept(study(4100, "hot"), now.Add(300*day)), kept(study(4200, "hot"), now.Add(200*day)), kept(study(4300, "hot"), now.Add(-day)))
	want := []archive.PlannedStep{
		{Rule: "gone", Action: "delete", From: "hot", Studies: 1, Bytes: 1e9, Before: 0.01},
		{Rule: "gone", Action: "delete", From: "hot", Studies: 2, Bytes: 2e9, Before: 0.02, After: 0.02, Waiting: true, First: now.Add(200 * day)},
		{Rule: "gone", Action: "delete", From: "cold", Studies: 1, Bytes: 1e9, Before: 0.001},
		{Rule: "gone", Action: "delete", From: "cold", Studies: 1, Bytes: 1e9, Before: 0.001, After: 0.001, Waiting: true, First: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		// Two objects each are written for 1 and read back for 0.5 a thousand. What must be kept is moved meanwhile.
		{Rule: "old", Action: "move", From: "hot", To: "cold", Studies: 4, Bytes: 4e9, Once: 8 * 1.5e-3, Before: 0.04, After: 0.004},
		// In the same bucket two objects are written; restoring a GB costs 0.01, its copy for a day a cent over 730/24.
		{Rule: "old", Action: "move", From: "ice", To: "cold", Studies: 1, Bytes: 1e9, Once: 2e-3 + 0.01 + 0.01*24/730, Before: 0.0001, After: 0.001},
		{Action: "settle", From: "hot", To: "hot", Studies: 1, Bytes: 1e9, Before: 0.01, After: 0.01},
	}
	if diff := cmp.Diff(want, got.Steps, near); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	wantTiers := []archive.PlannedTier{
		{Name: "hot", Studies: 7, Bytes: 7e9, Month: 0.07, StudiesAfter: 2, BytesAfter: 2e9, MonthAfter: 0.02},
		{Name: "cold", Studies: 3, Bytes: 3e9, Month: 0.003, StudiesAfter: 7, BytesAfter: 7e9, MonthAfter: 0.007},
		{Name: "ice", Studies: 1, Bytes: 1e9, Month: 0.0001},
	}
	if diff := cmp.Diff(wantTiers, got.Tiers, near); diff != "" {
		t.Errorf("tiers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]archive.PlannedCircle{{Studies: 1, Moves: "round", Back: "and round"}}, got.Circles); diff != "" {
		t.Errorf("circles (-want +got):\n%s", diff)
	}
	if got.Sampled != 0 || got.Studies != 11 || got.Bytes != 11e9 || got.Circular != 1 {
		t.Errorf("%d studies, %d bytes, %d in a circle", got.Studies, got.Bytes, got.Circular)
	}
}

// TestPlanAsksABoundedNumber: behind those that were asked about the longest period counts, but not a hold, which is about one study.
func TestPlanAsksABoundedNumber(t *testing.T) {
	set := rules(t, `rules: [{ name: gone, when: { age: { over: 10y } }, action: delete }]`)
	until := now.Add(100 * day)
	all := []subject{kept(study(4000, "cold"), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)), kept(study(4000, "cold"), until)}
	for range maxAsked - 2 {
		all = append(all, kept(study(4000, "cold"), now.Add(-day)))
	}
	behind := kept(study(3900, "cold"), time.Time{}) // what it would say nobody asks for
	got := plan(t, planOptions{Rules: set, Years: 1}, append(all, behind, behind)...)
	want := []archive.PlannedStep{
		{Rule: "gone", Action: "delete", From: "cold", Studies: maxAsked - 2, Bytes: (maxAsked - 2) * 1e9},
		{Rule: "gone", Action: "delete", From: "cold", Studies: 4, Bytes: 4e9, Waiting: true, First: until},
	}
	for i := range got.Steps {
		got.Steps[i].Before, got.Steps[i].After = 0, 0
	}
	if diff := cmp.Diff(want, got.Steps); diff != "" || got.Sampled != maxAsked {
		t.Errorf("sampled %d (-want +got):\n%s", got.Sampled, diff)
	}
	if got := plan(t, planOptions{Rules: set, Years: 1}, all[:maxAsked-1]...); got.Sampled != 0 {
		t.Errorf("all were asked about, and it says %d", got.Sampled)
	}
}

// TestForecastOfHeld: what is to come is not held because something like it is.
func TestForecastOfHeld(t *testing.T) {
	set := rules(t, `rules: [{ when: { age: { over: 1mo } }, action: delete }]`)
	held := kept(study(200, "hot"), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	got := plan(t, planOptions{Rules: set, Years: 3, Growth: ptr(0.0)}, held).Forecast
	if last := got.Points[36]; last.Studies > 2 {
		t.Errorf("after three years there are %d studies, want the held one and the last that came", last.Studies)
	}
}

// TestForecastOfOne follows one study by hand: hot, after a year cold, after two in the
// ice, after three deleted.
func TestForecastOfOne(t *testing.T) {
	set := rules(t, `
rules:
  - { when: { age: { over: 3y } }, action: delete }
  - { when: { age: { over: 2y } }, action: move, to: ice }
  - { when: { age: { over: 1y } }, action: move, to: cold }
`)
	got := plan(t, planOptions{Rules: set, Years: 4, Growth: ptr(-0.5)}, study(366, "hot")).Forecast
	if len(got.Points) != 49 || got.YearBytes != 0 {
		t.Fatalf("%d points, %d bytes a year", len(got.Points), got.YearBytes)
	}
	at := func(month int) string {
		p := got.Points[month]
		return fmt.Sprintf("%v %d %.4f %.4f %.6f", p.Bytes, p.Studies, p.Month, p.Without, p.Once)
	}
	for month, want := range map[int]string{
		0:  "[0 1000000000 0] 1 0.0010 0.0100 0.003000", // it is moved at once: two objects at 1.5 a thousand
		11: "[0 1000000000 0] 1 0.0010 0.0100 0.000000",
		12: "[0 0 1000000000] 1 0.0001 0.0100 0.004000", // two objects at 2 a thousand in the same bucket
		23: "[0 0 1000000000] 1 0.0001 0.0100 0.000000",
		24: "[0 0 0] 0 0.0000 0.0100 0.000000",
		48: "[0 0 0] 0 0.0000 0.0100 0.000000",
	} {
		if got := at(month); got != want {
			t.Errorf("month %d: %s, want %s", month, got, want)
		}
	}
	// A study that must be kept longer goes later.
	got = plan(t, planOptions{Rules: set, Years: 4}, kept(study(366, "hot"), now.AddDate(3, 0, 0))).Forecast
	for month, want := range map[int]string{
		35: "[0 0 1000000000] 1 0.0001 0.0100 0.000000",
		36: "[0 0 0] 0 0.0000 0.0100 0.000000",
	} {
		if got := at(month); got != want {
			t.Errorf("kept: month %d: %s, want %s", month, got, want)
		}
	}
}

// TestForecastGrows holds growth as it is reckoned from the archive's own history, and as it is given.
func TestForecastGrows(t *testing.T) {
	set := rules(t, `rules: [{ when: { age: { over: 1y } }, action: move, to: cold }]`)
	// Twice as much every year, for four whole years and a part of a fifth, on ten days of each.
	var all []subject
	for y, n := range []int{16, 8, 4, 2, 1} {
		for d := range 10 {
			s := study(365*y+20*d+5, "hot")
			s.Bytes = int64(n) * 1e9
			if y < 4 || d < 5 {
				all = append(all, s)
			}
		}
	}
	got := plan(t, planOptions{Rules: set, Years: 3}, all...)
	if f := got.Forecast; f.Growth != 1 || f.GrowthYears != 4 || f.YearBytes != 160e9 {
		t.Errorf("growth %v from %d years, %d bytes a year", f.Growth, f.GrowthYears, f.YearBytes)
	}
	// A year from now everything of now is cold, and twice the last year is hot.
	for i, want := range [][]int64{{160e9, 145e9, 0}, {320e9, 305e9, 0}, {640e9, 625e9, 0}, {1280e9, 1265e9, 0}} {
		if p := got.Forecast.Points[12*i]; !cmp.Equal(p.Bytes, want, cmpopts.EquateApprox(1e-3, 0)) {
			t.Errorf("after %d years: %v, want %v", i, p.Bytes, want)
		}
	}
	got = plan(t, planOptions{Rules: set, Years: 3, Growth: ptr(0.0)}, all...)
	if f, last := got.Forecast, got.Forecast.Points[36].Bytes; f.Growth != 0 || f.GrowthYears != 0 || math.Abs(float64(last[0])-160e9) > 1e9 {
		t.Errorf("growth %v from %d years, at last %v", f.Growth, f.GrowthYears, last)
	}
	// Two months of history are taken to go on, and say nothing about growth.
	got = plan(t, planOptions{Rules: set, Years: 3}, study(60, "hot"), study(45, "hot"), study(30, "hot"), study(15, "hot"))
	if f := got.Forecast; f.Growth != 0 || f.GrowthYears != 0 || f.YearBytes < 23e9 || f.YearBytes > 25e9 {
		t.Errorf("of two months: growth %v from %d years, %d bytes a year", f.Growth, f.GrowthYears, f.YearBytes)
	}
	if hot := got.Forecast.Points[24].Bytes[0]; hot < 22e9 || hot > 26e9 {
		t.Errorf("of two months: %d bytes are hot after two years", hot)
	}
}

func TestPlanOfNothing(t *testing.T) {
	got := plan(t, planOptions{})
	if len(got.Steps) != 0 || len(got.Forecast.Points) != 121 || got.Forecast.Points[120].Month != 0 {
		t.Errorf("%+v", got)
	}
	for _, o := range []planOptions{{Years: -1}, {Years: 31}, {Growth: ptr(2.0)}, {Growth: ptr(math.NaN())}} {
		o.Tiers = tiers
		if _, err := newPlanner(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// BenchmarkPlan says what a study costs in a plan with its forecast.
func BenchmarkPlan(b *testing.B) {
	set := rules(b, `
rules:
  - { name: keep, when: { tag: [teaching] }, action: keep }
  - { name: gone, when: { age: { over: 30y } }, action: delete }
  - { name: ice, when: { age: { over: 5y }, accessed: { over: 90d } }, action: move, to: ice }
  - { name: cold, when: { any: [ { age: { over: 1y } }, { age: { over: 90d }, modality: [CT, MR] } ] }, action: move, to: cold }
`)
	const n = 1 << 16
	all := make([]subject, n)
	for i := range all {
		all[i] = study(i%5000, []archive.TierName{"hot", "cold"}[i%2])
	}
	p, err := newPlanner(planOptions{Rules: set, Tiers: tiers, Environment: env, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if err := p.Add(b.Context(), all[i%n]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	begin := time.Now()
	if _, err := p.Plan(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms/forecast")
}
