package index

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle"
)

// swept has nothing to settle or to sweep.
type swept struct{}

func (swept) Settle(context.Context, archive.Ref) (time.Time, error) { return time.Time{}, nil }
func (swept) Sweep(context.Context) (bool, error)                    { return false, nil }

// BenchmarkLifecycleRound looks at every study after a change of rules: reads it, evaluates, and notes when it is next due.
// Nothing is to be done to any.
func BenchmarkLifecycleRound(b *testing.B) {
	x := benchIndex(b, studyCount())
	now := time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC)
	apply(b, x, rules(1<<40, archive.RulesLifecycle, `{"rules":[
		{"name":"teaching","when":{"tag":["teaching"]},"action":"move","to":"hot"},
		{"name":"back","when":{"tier":["cold"],"accessed":{"under":"30d"}},"action":"move","to":"hot"},
		{"name":"old","when":{"any":[{"age":{"over":"90y"}},{"all":[{"size":{"over":"900TB"}},{"age":{"over":"1y"}}]}],"not":{"modality":["MG"]}},"action":"move","to":"cold"},
		{"name":"others","action":"keep"}]}`))
	k := lifecycle.New(lifecycle.Options{Tenant: hospital, Index: x, Settler: swept{}, Tiers: []archive.Tier{{Name: "hot"}, {Name: "cold"}}, Now: func() time.Time { return now }})
	ctx := context.Background()
	looked := int64(0)
	for b.Loop() {
		if err := x.AllDue(ctx, hospital); err != nil {
			b.Fatal(err)
		}
		done, err := k.Round(ctx)
		if err != nil || done.Looked < int64(studyCount()) {
			b.Fatalf("%+v, %v", done, err)
		}
		looked += done.Looked
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(looked), "ns/study")
}

// BenchmarkLifecyclePlan plans for every study, with the forecast.
func BenchmarkLifecyclePlan(b *testing.B) {
	x := benchIndex(b, studyCount())
	k := lifecycle.New(lifecycle.Options{Tenant: hospital, Index: x, Settler: swept{}, Tiers: []archive.Tier{{Name: "hot"}, {Name: "cold", Store: "s3://b"}},
		Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	ask := archive.LifecycleQuestion{Rules: []byte(`{"rules":[{"when":{"age":{"over":"1y"},"not":{"modality":["MG"]}},"action":"move","to":"cold"}]}`)}
	for b.Loop() {
		p, err := k.Plan(context.Background(), ask)
		if err != nil || p.Studies < int64(studyCount()) {
			b.Fatalf("%d studies, %v", p.Studies, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(studyCount()), "ns/study")
}
