package custody

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Rotate makes a new version of a tenant's KEK and starts the job that wraps every
// key object under it. fault.Conflict while another rewrap of the tenant runs or
// its keys are revoked, fault.Invalid where the provider makes no versions.
//
// Of a KEK that other tenants are under too, theirs stay under the older version
// until they are moved to it: Move to the KEK that a tenant has goes over to its newest version.
func (c *Custodian) Rotate(ctx context.Context, t archive.Tenant) (archive.Job, error) {
	s, err := c.usable(ctx, t)
	if err != nil {
		return archive.Job{}, err
	}
	if err := c.free(ctx, t, LaneRewrap); err != nil {
		return archive.Job{}, err
	}
	kek, err := c.kek(ctx, t, s)
	if err != nil {
		return archive.Job{}, err
	}
	// Should the job not come about, there is a version that new keys are under; no more.
	if _, err := keys.Rotate(ctx, c.o.Wrapper, kek); err != nil {
		return archive.Job{}, fmt.Errorf("making a new version of the key: %w", err)
	}
	return c.start(ctx, archive.JobRotate, t)
}

// Move has a tenant's new keys wrapped under another KEK and starts the job that
// wraps those that are there under it. fault.Conflict as Rotate; fault.Invalid for a KEK
// that cannot be used.
func (c *Custodian) Move(ctx context.Context, t archive.Tenant, kek string) (archive.Job, error) {
	if _, err := c.usable(ctx, t); err != nil {
		return archive.Job{}, err
	}
	if err := c.free(ctx, t, LaneRewrap); err != nil {
		return archive.Job{}, err
	}
	if err := c.try(ctx, keys.ID(kek)); err != nil {
		return archive.Job{}, err
	}
	_, err := c.o.Tenants.Change(ctx, t, func(s *archive.TenantSettings) error {
		if s.State == archive.TenantRevoked {
			return fault.New(fault.Conflict, "the keys of this tenant have just been revoked")
		}
		s.KEK = kek
		return nil
	})
	if err != nil {
		return archive.Job{}, err
	}
	return c.start(ctx, archive.JobMove, t)
}

// try fails with fault.Invalid when a KEK that somebody names cannot be used.
func (c *Custodian) try(ctx context.Context, kek keys.ID) error {
	if kek == "" {
		return fault.New(fault.Invalid, `kek: must name a key as "provider/key"`)
	}
	_, err := keys.Probe(ctx, c.o.Wrapper, kek)
	if fault.Is(err, fault.KeyDenied) {
		return fault.Wrap(fault.Invalid, err, "kek: this key cannot be used: %s", fault.Message(err))
	}
	return err
}

// rewrap makes passes until a whole one, begun late enough, finds nothing to do.
func (c *Custodian) rewrap(r *run) error {
	total, err := keys.Count(r.ctx, c.o.Bucket, r.Tenant)
	if err != nil {
		return err
	}
	r.total.Store(total)
	var target keys.Version
	var since time.Time // the target was known to wrap
	for {
		s, err := c.usable(r.ctx, r.Tenant)
		if err != nil {
			return err
		}
		kek, err := c.kek(r.ctx, r.Tenant, s)
		if err != nil {
			return err
		}
		began := time.Now()
		p, err := keys.Rewrap(r.ctx, keys.RewrapOptions{Bucket: c.o.Bucket, Wrapper: c.o.Wrapper, Tenant: r.Tenant, KEK: kek,
			Parallel: c.o.Parallel, Rate: c.o.Rate, Allowed: r.allowed, Progress: func(p keys.Pass) {
				r.done.Store(p.Seen)
				r.total.Store(max(total, p.Seen))
			}})
		if err != nil {
			return err
		}
		switch {
		case p.Target != target:
			target, since = p.Target, time.Now()
		case p.Changed == 0 && began.Sub(since) >= c.o.Settle:
			r.total.Store(p.Seen)
			c.mu.Lock()
			remember(c.settled, target.KEK, target.Version)
			c.mu.Unlock()
			if p.Damaged > 0 {
				return fault.New(fault.Corrupt, "%d key objects are damaged and stay under the older version; restore them from a copy of the store", p.Damaged)
			}
			return nil
		}
		if err := sleep(r.ctx, c.o.Settle-time.Since(since)); err != nil {
			return err
		}
	}
}
