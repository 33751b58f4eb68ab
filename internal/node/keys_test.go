package node

import (
	"testing"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// What the administration asks for.
var (
	_ api.Tenants = Tenants{}
	_ api.Keys    = Keys{}
	_ api.Jobs    = Jobs{}
	_ api.Rewraps = (*custody.Custodian)(nil)
	_ api.Escrows = (*custody.Custodian)(nil)
)

// TestDisable: a revocation that disables the KEK as well is taken back with it.
func TestDisable(t *testing.T) {
	c := newClinic(t)
	c.enter().Leave()
	k := c.Keys()
	status := func() archive.KeyStatus {
		t.Helper()
		s, err := k.Status(t.Context(), c.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.State != archive.TenantActive || len(s.Proofs) != 1 || s.Proofs[0].Failure != "" || s.Proofs[0].At.IsZero() || len(s.Versions) != 1 {
		t.Errorf("%+v", s)
	}
	for range 2 {
		if err := k.Revoke(t.Context(), c.Tenant, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := keys.Probe(t.Context(), c.provider, "kek"); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("the key is not disabled: %v", err)
	}
	if s := status(); s.State != archive.TenantRevoked || len(s.Versions) != 1 || s.Versions[0].Objects != 1 {
		t.Errorf("%+v", s)
	}
	c.refuses("revoked", fault.KeyDenied)
	if err := k.Grant(t.Context(), c.Tenant, true); err != nil {
		t.Fatal(err)
	}
	c.admits("granted")

	// Not where another tenant would go dark as well.
	c.create("clinic")
	if err := k.Revoke(t.Context(), "clinic", true); !fault.Is(err, fault.Conflict) {
		t.Errorf("disabled a key that others have: %v", err)
	}
	if s, err := k.Status(t.Context(), "clinic"); err != nil || s.State != archive.TenantRevoked {
		t.Errorf("the revocation does not hold: %+v, %v", s, err)
	}
	c.admits("the other tenant")
	if err := k.Grant(t.Context(), "clinic", false); err != nil {
		t.Fatal(err)
	}
	c.visit("clinic").Leave()
	for what, err := range map[string]error{"revoking": k.Revoke(t.Context(), "nobody", true), "granting": k.Grant(t.Context(), "nobody", true), "retiring": k.Retire(t.Context(), "nobody", "")} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s the keys of no tenant: %v", what, err)
		}
	}
}
