package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
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
// that fail, the revocation holds nevertheless, and the error says so.
func (k Keys) Revoke(ctx context.Context, t archive.Tenant, disable bool) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := k.n.Tenants().Revoke(ctx, t); err != nil {
		return err
	}
	if !disable {
		return nil
	}
	kek, err := k.kek(ctx, t)
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
		kek, err := k.kek(ctx, t)
		if err == nil {
			err = keys.Enable(ctx, k.n.o.Wrapper, kek)
		}
		if err != nil {
			return fmt.Errorf("enabling the key at its provider: %w", err)
		}
	}
	return k.n.Tenants().Grant(ctx, t)
}

func (k Keys) kek(ctx context.Context, t archive.Tenant) (keys.ID, error) {
	info, err := k.n.Tenants().Get(ctx, t)
	if err != nil || info.KEK != "" {
		return keys.ID(info.KEK), err
	}
	return keys.KEKOf(ctx, k.n.Bucket, t)
}
