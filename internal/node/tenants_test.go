package node

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

func (c *clinic) create(t archive.Tenant) archive.TenantInfo {
	c.t.Helper()
	info, err := c.Tenants().Create(c.t.Context(), t, archive.TenantSettings{State: archive.TenantActive, Title: "T " + string(t)})
	if err != nil {
		c.t.Fatal(err)
	}
	return info
}

func (c *clinic) visit(t archive.Tenant) *Visit {
	c.t.Helper()
	v, err := c.Enter(c.t.Context(), t)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

func TestTenants(t *testing.T) {
	c := newClinic(t)
	ts := c.Tenants()
	info := c.create("north")
	if info.KEK != "kek" || info.State != archive.TenantActive || info.Created.IsZero() {
		t.Errorf("created: %+v", info)
	}
	c.create("able")
	for _, name := range []archive.Tenant{"north", c.Tenant} {
		if _, err := ts.Create(t.Context(), name, archive.TenantSettings{State: archive.TenantActive}); !fault.Is(err, fault.Exists) {
			t.Errorf("creating %s again: %v", name, err)
		}
	}
	if _, err := ts.Create(t.Context(), "No", archive.TenantSettings{State: archive.TenantActive}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is none: %v", err)
	}
	var names []archive.Tenant
	for after := archive.Tenant(""); ; {
		page, err := ts.List(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			names = append(names, i.Tenant)
		}
		after = names[len(names)-1]
	}
	if d := cmp.Diff([]archive.Tenant{"able", "default", "north"}, names); d != "" {
		t.Error(d)
	}
	got, err := ts.Change(t.Context(), "north", func(s *archive.TenantSettings) error { s.Limits.Concurrent = 3; return nil })
	if err != nil || got.Limits.Concurrent != 3 || got.Title != "T north" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ts.Change(t.Context(), "north", func(s *archive.TenantSettings) error { s.Duplicates = "maybe"; return nil }); !fault.Is(err, fault.Invalid) {
		t.Errorf("a policy that is none: %v", err)
	}
	if _, err := ts.Change(t.Context(), "nobody", func(*archive.TenantSettings) error { return nil }); !fault.Is(err, fault.NotFound) {
		t.Errorf("a tenant that is none: %v", err)
	}
}

// TestTenantsAreApart: the same UIDs in two tenants never meet.
func TestTenantsAreApart(t *testing.T) {
	c := newClinic(t)
	c.create("a")
	c.create("b")
	a, b := c.visit("a"), c.visit("b")
	defer a.Leave()
	defer b.Leave()
	u, file := image(1, 1)
	store(t, a.Archive, file)
	if found, err := b.Retrieve.Find(t.Context(), "b", u, retrieve.Files); err != nil || len(found) != 0 {
		t.Errorf("b sees %d instances of a, %v", len(found), err)
	}
	if err := b.Remove.Delete(t.Context(), "b", u); !fault.Is(err, fault.NotFound) {
		t.Errorf("b deletes what is a's: %v", err)
	}
	store(t, b.Archive, file)
	if err := b.Remove.Delete(t.Context(), "b", u); err != nil {
		t.Fatal(err)
	}
	(&place{t: t}).wants(a.Archive, u, file)
}

func TestRevokeAndGrant(t *testing.T) {
	c := newClinic(t)
	ts := c.Tenants()
	c.create("a")
	v := c.visit("a")
	u, file := image(1, 1)
	store(t, v.Archive, file)
	ctx, cancel := v.Within(t.Context())
	defer cancel()
	go func() { // as a request does that is cut off
		<-ctx.Done()
		v.Leave()
	}()
	if err := ts.Revoke(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Error("a visit outlasts the revocation")
	}
	for range 2 { // revoking again is no error
		if _, err := c.Enter(t.Context(), "a"); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("entering: %v", err)
		}
		if err := ts.Revoke(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := ts.Grant(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	w := c.visit("a")
	defer w.Leave()
	(&place{t: t}).wants(w.Archive, u, file)
}

// TestGrantSuspended: what was suspended before the revocation is suspended after the grant.
func TestGrantSuspended(t *testing.T) {
	c := newClinic(t)
	ts := c.Tenants()
	c.create("a")
	_, err := ts.Change(t.Context(), "a", func(s *archive.TenantSettings) error { s.State = archive.TenantSuspended; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Revoke(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := ts.Grant(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if info, err := ts.Get(t.Context(), "a"); err != nil || info.State != archive.TenantSuspended {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := c.Enter(t.Context(), "a"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("entering: %v", err)
	}
}

// TestRebuildTenants: tenants, their settings and a revocation are in the store,
// and survive the loss of the index.
func TestRebuildTenants(t *testing.T) {
	c := newClinic(t)
	c.create("a")
	c.create("b")
	v := c.visit("a")
	u, file := image(1, 1)
	store(t, v.Archive, file)
	v.Leave()
	if err := c.Tenants().Revoke(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	before, err := c.Tenants().List(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	c.end()
	report, err := Rebuild(t.Context(), c.o, nil)
	if err != nil || len(report.Gaps) > 0 || report.Instances != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	n, err := Open(t.Context(), c.o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.WithoutCancel(t.Context()))
	after, err := n.Tenants().List(t.Context(), "", 10)
	if d := cmp.Diff(before, after); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	w, err := n.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Leave()
	(&place{t: t}).wants(w.Archive, u, file)
	if _, err := n.Enter(t.Context(), "b"); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("the revoked tenant: %v", err)
	}
}
