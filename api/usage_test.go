package api

import (
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestUsage(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	u, err := h.client.GetUsageWithResponse(ctx, "alpha")
	if err != nil || u.JSON200 == nil {
		t.Fatalf("%v %s", err, u.Body)
	}
	if g := u.JSON200; g.Tenant != "alpha" || g.Studies != 7 || g.Currency != "EUR" || g.Month != 60 || len(g.Tiers) != 2 || g.Tiers[0].Removing.Bytes != 5e9 ||
		!g.Tiers[0].Removing.More || g.Tiers[0].Gone || !g.Tiers[1].Gone || g.Tiers[1].Bytes != 1e12 {
		t.Errorf("%s", u.Body)
	}
	var names []string
	limit := 2
	p := ListUsageParams{Limit: &limit}
	for range 3 {
		page, err := h.client.ListUsageWithResponse(ctx, &p)
		if err != nil || page.JSON200 == nil || len(page.JSON200.Usage) > limit {
			t.Fatalf("%v %s", err, page.Body)
		}
		for _, u := range page.JSON200.Usage {
			names = append(names, u.Tenant)
		}
		if p.After = page.JSON200.Next; p.After == nil {
			break
		}
	}
	if got := strings.Join(names, " "); got != "alpha beta gamma" {
		t.Errorf("%s", got)
	}
	r, err := h.client.RecountUsageWithResponse(ctx, "beta")
	if err != nil || r.JSON200 == nil || !r.JSON200.Equal || len(r.JSON200.Stores) != 1 || r.JSON200.Stores[0].Unnamed.Objects != 1 || !r.JSON200.Stores[0].Equal {
		t.Errorf("%v %s", err, r.Body)
	}
	h.memory.Do(func() { h.memory.Damaged = true })
	if r, err = h.client.RecountUsageWithResponse(ctx, "beta"); err != nil || r.JSON200 == nil || r.JSON200.Equal || r.JSON200.Stores[0].Equal {
		t.Errorf("%v %s", err, r.Body)
	}
	for _, call := range []string{"GET /tenants/nobody/usage", "POST /tenants/nobody/usage/recount"} {
		method, path, _ := strings.Cut(call, " ")
		wantProblem(t, h.do(method, path, ""), 404, "not-found")
	}
	wantProblem(t, h.do("GET", "/usage?limit=0", ""), 400, "invalid")
	h.memory.Do(func() { h.memory.Fail = fault.New(fault.Unavailable, "the database does not answer") })
	if r := h.do("GET", "/usage", ""); r.StatusCode != 503 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}
