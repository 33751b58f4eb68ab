package index

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func settingsEntry(n uint64, state archive.TenantState) archive.Entry {
	return archive.Entry{Session: fmt.Sprint("S", n), N: 1, Object: "o", Fact: &archive.Fact{ID: factID(n), Kind: archive.FactTenant,
		Settings: &archive.TenantSettings{Title: fmt.Sprint("title ", n), State: state, KEK: "vault/k"}}}
}

// TestTenantSettings: the newest fact holds, in whatever order they come, and
// the settings are read without the tenant's keys.
func TestTenantSettings(t *testing.T) {
	facts := []archive.Entry{settingsEntry(1, archive.TenantActive), settingsEntry(2, archive.TenantSuspended), settingsEntry(3, archive.TenantRevoked)}
	want := archive.TenantInfo{Tenant: hospital, TenantSettings: *facts[2].Fact.Settings, Created: factID(1).Time(), Changed: factID(3).Time(), Stated: factID(3)}
	both(t, func(t *testing.T, on engine) {
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}} {
			testTenantSettings(t, openTest(t, on), facts, order, want)
		}
	})
}

func testTenantSettings(t *testing.T, x *Index, facts []archive.Entry, order []int, want archive.TenantInfo) {
	t.Helper()
	if _, err := x.Tenant(t.Context(), hospital); !fault.Is(err, fault.NotFound) {
		t.Fatalf("before: %v", err)
	}
	for _, i := range order {
		if _, err := x.Apply(t.Context(), hospital, facts[i]); err != nil {
			t.Fatal(err)
		}
	}
	x.keys = func(context.Context, archive.Tenant) (Keys, error) { return nil, fault.New(fault.KeyDenied, "revoked") }
	got, err := x.Tenant(t.Context(), hospital)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("order %v: %v\n%s", order, err, d)
	}
}

func TestTenantsArePaged(t *testing.T) { both(t, testTenantsArePaged) }

func testTenantsArePaged(t *testing.T, on engine) {
	x := openTest(t, on)
	for i, name := range []archive.Tenant{"c", "a", "b"} {
		if _, err := x.Apply(t.Context(), name, settingsEntry(uint64(i+1), archive.TenantActive)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Apply(t.Context(), "d", archive.Entry{Session: "S", N: 1, Fact: &archive.Fact{ID: factID(9), Kind: archive.FactVoid}}); err != nil {
		t.Fatal(err) // a tenant without a tenant fact is not listed
	}
	var names []archive.Tenant
	for after := archive.Tenant(""); ; {
		page, err := x.Tenants(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			names = append(names, info.Tenant)
		}
		after = names[len(names)-1]
	}
	if d := cmp.Diff([]archive.Tenant{"a", "b", "c"}, names); d != "" {
		t.Error(d)
	}
}

func TestTenantFactWithoutSettings(t *testing.T) {
	x := openTest(t, onSQLite)
	e := settingsEntry(1, archive.TenantActive)
	e.Fact.Settings = nil
	if _, err := x.Apply(t.Context(), hospital, e); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
