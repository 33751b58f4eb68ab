package node

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Keys shows the keys of tenants and says whether they may be used.
type Keys struct{ n *Node }

// Keys returns the keys of the node's tenants.
func (n *Node) Keys() Keys { return Keys{n} }

// Status says how a tenant's keys stand; see [custody.Custodian.Status].
func (k Keys) Status(ctx context.Context, t archive.Tenant) (archive.KeyStatus, error) {
	return k.n.Custody.Status(ctx, t)
}

// Retire gives up versions of a KEK; see [custody.Custodian.Retire].
func (k Keys) Retire(ctx context.Context, t archive.Tenant, before string) error {
	return k.n.Custody.Retire(ctx, t, before)
}

// Revoke returns when no node hands out anything of the tenant any more. disable
// disables the KEK at its provider as well; should that fail, the revocation holds
// nevertheless and the error says so: fault.Invalid where there is no credential for
// it, fault.Conflict where other tenants would go dark too. Revoking again is no error.
func (k Keys) Revoke(ctx context.Context, t archive.Tenant, disable bool) error {
	if err := k.n.Tenants().Revoke(ctx, t); err != nil || !disable {
		return err
	}
	kek, err := k.n.Custody.KEK(ctx, t)
	if err == nil {
		err = k.alone(ctx, t, kek)
	}
	if err == nil {
		err = keys.Disable(ctx, k.n.o.Wrapper, kek)
	}
	if err != nil {
		return fmt.Errorf("the keys are revoked, but not disabled at their provider: %w", err)
	}
	return nil
}

// alone fails with fault.Conflict where another tenant has the KEK too, or one of a pair.
func (k Keys) alone(ctx context.Context, t archive.Tenant, kek keys.ID) error {
	for after := archive.Tenant(""); ; {
		const page = 100
		list, err := k.n.Tenants().List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, other := range list {
			if after = other.Tenant; after == t {
				continue
			}
			theirs, err := k.n.Custody.KEK(ctx, after)
			if err != nil {
				return err
			}
			if custody.Shares(kek, theirs) {
				return fault.New(fault.Conflict, "the keys are revoked, but not disabled at their provider: tenant %s has the same key and would go dark too", after)
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

// Grant takes a revocation back; enable enables the KEK at its provider first.
// Granting what is not revoked is no error. It leaves a suspended tenant suspended.
func (k Keys) Grant(ctx context.Context, t archive.Tenant, enable bool) error {
	if enable {
		kek, err := k.n.Custody.KEK(ctx, t)
		if err == nil {
			err = keys.Enable(ctx, k.n.o.Wrapper, kek)
		}
		if err != nil {
			return fmt.Errorf("enabling the key at its provider: %w", err)
		}
	}
	return k.n.Tenants().Grant(ctx, t)
}
