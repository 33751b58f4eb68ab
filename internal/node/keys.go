package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Keys shows the keys of tenants and says whether they may be used: what the
// custodian knows of them, and what the node makes come true.
type Keys struct {
	*custody.Custodian
	n *Node
}

// Keys returns the keys of the node's tenants.
func (n *Node) Keys() Keys { return Keys{n.Custody, n} }

// revokeTimeout bounds a revocation, which goes on when who asked for it goes away.
const revokeTimeout = time.Minute

// Revoke takes the tenant's keys away. It returns when no node hands out
// anything of the tenant any more. disable disables the KEK at its provider as well; should
// that fail, the revocation holds nevertheless, and the error says so: fault.Invalid
// where there is no credential for it, fault.Conflict where other tenants would go dark too.
func (k Keys) Revoke(ctx context.Context, t archive.Tenant, disable bool) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := k.n.Tenants().Revoke(ctx, t); err != nil {
		return err
	}
	if !disable {
		return nil
	}
	kek, err := k.KEK(ctx, t)
	if err == nil {
		err = k.alone(ctx, t, kek)
	}
	if err == nil {
		err = keys.Disable(ctx, k.n.o.Wrapper, kek)
	}
	if err != nil {
		return fmt.Errorf("the keys are revoked here, but the key was not disabled at its provider: %w", err)
	}
	return nil
}

// Grant takes a revocation back. enable enables the KEK at its provider first.
func (k Keys) Grant(ctx context.Context, t archive.Tenant, enable bool) error {
	if enable {
		kek, err := k.KEK(ctx, t)
		if err == nil {
			err = keys.Enable(ctx, k.n.o.Wrapper, kek)
		}
		if err != nil {
			return fmt.Errorf("enabling the key at its provider: %w", err)
		}
	}
	return k.n.Tenants().Grant(ctx, t)
}

// alone fails with fault.Conflict where another tenant has the KEK too, or one of a pair.
func (k Keys) alone(ctx context.Context, t archive.Tenant, kek keys.ID) error {
	const page = 100
	for after := archive.Tenant(""); ; {
		list, err := k.n.Tenants().List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, other := range list {
			if after = other.Tenant; after == t {
				continue
			}
			theirs, err := k.KEK(ctx, after)
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
