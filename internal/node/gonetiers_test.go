package node

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestGoneTier: a tier that holds objects and is not configured any more is told of at the start, by readiness and by
// plans, where it is no part of the hot tier.
func TestGoneTier(t *testing.T) {
	r := newRuled(t)
	r.stores("1.2.1", "CT", 10)
	r.stores("1.2.2", "CT", 10)
	r.stores("1.2.3", "MR", 10)
	r.rules(`{"rules":[{"name":"away","action":"move","to":"cold"}]}`)
	r.passes(2 * 3600e9)
	for _, uid := range []string{"1.2.1", "1.2.2"} {
		ref := refOf(t, r.a, uid)
		if _, err := r.a.Settle.Settle(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if _, err := r.a.Move.Move(t.Context(), r.a.Tenant, ref, "cold"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.host.lookForGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if wrong := r.host.Impaired(t.Context()); wrong != nil {
		t.Errorf("nothing is wrong yet: %v", wrong)
	}
	r.close(r.a)
	tiers := r.o.Tiers
	defer func() { r.o.Tiers = tiers }()
	var log bytes.Buffer
	r.o.Tiers, r.o.Slog = tiers[:1], slog.New(slog.NewTextHandler(&log, nil))
	r.a = r.open()
	if err := r.host.lookForGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.host.lookForGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if wrong := r.host.Impaired(t.Context()); !slices.Equal(wrong, []string{"tiers.cold: it is not configured and holds objects: 2"}) {
		t.Errorf("%v", wrong)
	}
	if err := r.host.Ready(t.Context()); err != nil {
		t.Errorf("the rest is served: %v", err)
	}
	p, err := r.host.Lifecycle().Plan(t.Context(), r.a.Tenant, archive.LifecycleQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Tiers {
		if p.Tiers[i].Bytes == 0 || p.Tiers[i].Bytes != p.Tiers[i].BytesAfter {
			t.Errorf("%+v", p.Tiers[i])
		}
		p.Tiers[i].Bytes, p.Tiers[i].BytesAfter, p.Tiers[i].Month, p.Tiers[i].MonthAfter = 0, 0, 0, 0
	}
	if diff := cmp.Diff([]archive.PlannedTier{{Name: "hot", Studies: 1, StudiesAfter: 1}, {Name: "cold", Studies: 2, StudiesAfter: 2, Gone: true}}, p.Tiers); diff != "" {
		t.Errorf("tiers of the plan (-want +got):\n%s", diff)
	}
	if last := p.Forecast.Points[len(p.Forecast.Points)-1]; len(last.Bytes) != 1 || last.Once != 0 {
		t.Errorf("a move that fails is in the forecast: %+v", last)
	}
	r.close(r.a)
	if n := strings.Count(log.String(), "a tier is not configured and holds objects"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
	r.o.Tiers = tiers
	r.a = r.open()
}
