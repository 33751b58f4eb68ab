package node

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestClockBehind: what a node states whose clock is behind holds, in the place of what one stated before whose clock is ahead.
func TestClockBehind(t *testing.T) {
	t.Parallel()
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

// TestChangesAtOnce: of what two nodes state at once nothing is lost.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one, _ := h.open(t)
	two, _ := h.open(t)
	ctx, tenant := t.Context(), one.Tenant
	done := make(chan error, 1)
	// wait lets the other one go as far as it can.
	wait := func(what string) {
		select {
		case err := <-done:
			t.Errorf("%s did not wait: %v", what, err)
			done <- err
		case <-time.After(4 * turnEvery):
		}
	}
	if err := one.inTurn(ctx, "rules/"+string(tenant), func(context.Context) error {
		go func() { done <- two.Lifecycle().Pause(ctx, tenant, true, "alice") }()
		wait("a pause")
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if state, err := one.Lifecycle().State(ctx, tenant); err != nil || !state.Paused {
		t.Errorf("%+v, %v", state, err)
	}
	_, err := one.Tenants().Change(ctx, tenant, func(s *archive.TenantSettings) error {
		go func() { done <- two.Tenants().Revoke(ctx, tenant) }()
		wait("a revocation")
		s.Title = "clinic"
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if info, err := one.Tenants().Get(ctx, tenant); err != nil || info.State != archive.TenantRevoked || info.Title != "clinic" {
		t.Errorf("%+v, %v", info, err)
	}
	// Who is so slow that others may begin is told so; it is not the client that waited too short.
	lease := one.o.NodeLease
	one.o.NodeLease = 2 * turnEvery
	err = one.inTurn(ctx, "it", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if one.o.NodeLease = lease; !fault.Is(err, fault.Unavailable) {
		t.Errorf("slow: %v", err)
	}
	// Who has come late does not wait for ever.
	late, cancel := context.WithTimeout(ctx, 3*turnEvery)
	defer cancel()
	err = one.inTurn(ctx, "it", func(context.Context) error {
		return two.inTurn(late, "it", func(context.Context) error { t.Error("two at once"); return nil })
	})
	if late.Err() == nil || err == nil {
		t.Errorf("it did not wait: %v", err)
	}
}
