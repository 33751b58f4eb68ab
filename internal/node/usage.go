package node

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/usage"
)

// Usage tells what tiers hold of any tenant. No archive is opened for it, and no key is needed.
type Usage struct {
	n *Node
	u usage.Teller
}

// Usage returns what tells of it.
func (n *Node) Usage() Usage {
	return Usage{n, usage.Teller{Index: n.Index, Tiers: n.tiers, Currency: n.o.Lifecycle.Currency}}
}

// Of is [usage.Teller.Of]; fault.NotFound where there is no such tenant.
func (u Usage) Of(ctx context.Context, t archive.Tenant) (archive.Usage, error) {
	if _, err := u.n.settings(ctx, t); err != nil {
		return archive.Usage{}, err
	}
	return u.u.Of(ctx, t)
}

// Recount is [usage.Teller.Recount]; fault.NotFound where there is no such tenant.
func (u Usage) Recount(ctx context.Context, t archive.Tenant) (archive.Recount, error) {
	if _, err := u.n.settings(ctx, t); err != nil {
		return archive.Recount{}, err
	}
	return u.u.Recount(ctx, t)
}

// List tells of up to limit tenants with names after the given one, ascending.
func (u Usage) List(ctx context.Context, after archive.Tenant, limit int) ([]archive.Usage, error) {
	return u.list(ctx, after, limit, u.u.Of)
}

// Held tells of them as [usage.Teller.Held] does.
func (u Usage) Held(ctx context.Context, after archive.Tenant, limit int) ([]archive.Usage, error) {
	return u.list(ctx, after, limit, u.u.Held)
}

// Pending reports whether the tenant's lifecycle has something to look at or to remove.
func (u Usage) Pending(ctx context.Context, t archive.Tenant) (bool, error) {
	return u.n.pending(ctx, t)
}

// Paused tells whether tenants' lifecycles are paused; see [Node.LifecyclesPaused].
func (u Usage) Paused() map[archive.Tenant]bool { return u.n.LifecyclesPaused() }

func (u Usage) list(ctx context.Context, after archive.Tenant, limit int, of func(context.Context, archive.Tenant) (archive.Usage, error)) ([]archive.Usage, error) {
	list, err := u.n.Tenants().List(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]archive.Usage, len(list))
	for i, info := range list {
		if out[i], err = of(ctx, info.Tenant); err != nil {
			return nil, err
		}
	}
	return out, nil
}
