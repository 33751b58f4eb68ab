package custody

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// follow has what was made since wrapped for recovery keys too, every now and then.
// Nodes do it at times of their own; that two do it at once harms nothing.
func (c *Custodian) follow(ctx context.Context) {
	for {
		pause := c.o.Follow/2 + rand.N(c.o.Follow)
		if sleep(ctx, pause) != nil {
			return
		}
		err := c.each(ctx, func(info archive.TenantInfo) error {
			if err := c.followOne(ctx, info); err != nil && ctx.Err() == nil {
				c.o.Slog.Warn("new keys could not be wrapped for the recovery key; it is tried again", "tenant", string(info.Tenant), "error", err)
			}
			return ctx.Err()
		})
		if err != nil && ctx.Err() == nil {
			c.o.Slog.Warn("the tenants could not be listed", "error", err)
		}
	}
}

func (c *Custodian) followOne(ctx context.Context, info archive.TenantInfo) error {
	to, ok, err := recoveryOf(info.Recovery)
	if err != nil || !ok || info.State != archive.TenantActive {
		return err
	}
	if _, busy, err := c.o.Jobs.Open(ctx, info.Tenant, LaneEscrow); err != nil || busy {
		return err
	}
	asked := time.Now()
	p, err := keys.Escrow(ctx, keys.EscrowOptions{Bucket: c.o.Bucket, Wrapper: c.o.Wrapper, Tenant: info.Tenant, To: c.wrapper(to), KEK: to.kek,
		Parallel: c.o.Parallel, Allowed: func() error {
			if time.Since(asked) < keepEach {
				return nil
			}
			// What was revoked or named anew meanwhile is noticed within a second.
			now, err := c.usable(ctx, info.Tenant)
			if err == nil && (now.Recovery.KEK != info.Recovery.KEK || now.Recovery.PublicKey != info.Recovery.PublicKey) {
				err = fault.New(fault.Conflict, "the tenant has another recovery key now")
			}
			return err
		}})
	if p.Made > 0 {
		c.counts.forget(info.Tenant)
	}
	return err
}

// each calls f with every tenant.
func (c *Custodian) each(ctx context.Context, f func(archive.TenantInfo) error) error {
	const page = 100
	for after := archive.Tenant(""); ; {
		list, err := c.o.Tenants.List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, info := range list {
			if err := f(info); err != nil {
				return err
			}
			after = info.Tenant
		}
		if len(list) < page {
			return nil
		}
	}
}
