package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestClockBehind: what a node states whose clock is behind holds, in the place of what one stated before whose clock is ahead.
func TestClockBehind(t *testing.T) {
	h := newHouse(t)
	h.o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	ahead, _ := h.open(t)
	h.o.Now = nil
	behind, _ := h.open(t)
	ctx, tenant := t.Context(), ahead.Tenant
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(ahead.Lifecycle().SetRules(ctx, tenant, []byte(`{"rules":[{"name":"first","action":"keep"}]}`), "alice"))
	check(behind.Lifecycle().SetRules(ctx, tenant, []byte(`{"rules":[{"name":"second","action":"keep"}]}`), "alice"))
	check(behind.Lifecycle().Pause(ctx, tenant, true, "alice"))
	b, err := ahead.Lifecycle().Rules(ctx, tenant)
	check(err)
	var there struct{ Rules []struct{ Name string } }
	check(json.Unmarshal(b, &there))
	state, err := ahead.Lifecycle().State(ctx, tenant)
	if check(err); len(there.Rules) != 1 || there.Rules[0].Name != "second" || !state.Paused {
		t.Errorf("the rules are %s, paused: %v", b, state.Paused)
	}

	_, err = ahead.Retention().SetRules(ctx, tenant, []byte(`{"set":"us"}`), "alice")
	check(err)
	if p, err := behind.Retention().SetRules(ctx, tenant, []byte(`{"set":"de"}`), "alice"); err != nil || p.Set.Name != "de" {
		t.Errorf("retention: %+v, %v", p.Set, err)
	}

	_, err = ahead.Tenants().Change(ctx, tenant, func(s *archive.TenantSettings) error { s.Title = "first"; return nil })
	check(err)
	check(behind.Tenants().Revoke(ctx, tenant))
	if info, err := ahead.Tenants().Get(ctx, tenant); err != nil || info.State != archive.TenantRevoked || info.Title != "first" {
		t.Errorf("settings: %+v, %v", info, err)
	}
	// And so does that it is taken back.
	check(behind.Tenants().Grant(ctx, tenant))
	if info, err := behind.Tenants().Get(ctx, tenant); err != nil || info.State != archive.TenantActive {
		t.Errorf("settings: %+v, %v", info, err)
	}
}
