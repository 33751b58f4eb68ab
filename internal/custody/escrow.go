package custody

import (
	"context"
	"encoding/base64"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

// Escrow names a tenant's recovery key and starts the job that wraps all keys for
// it; keys that are made later follow within [Options.Follow]. Another recovery
// key than before takes its place: what was wrapped for that one is destroyed when the job is done.
// fault.Invalid for a recovery key that cannot be used, fault.Conflict while
// another escrow of the tenant runs or its keys are revoked.
func (c *Custodian) Escrow(ctx context.Context, t archive.Tenant, to archive.Recovery) (archive.Job, error) {
	s, err := c.usable(ctx, t)
	if err != nil {
		return archive.Job{}, err
	}
	if err := c.free(ctx, t, LaneEscrow); err != nil {
		return archive.Job{}, err
	}
	next := archive.TenantRecovery{KEK: to.KEK, Since: c.o.Now().UnixMilli()}
	if len(to.PublicKey) > 0 {
		next.PublicKey = base64.StdEncoding.EncodeToString(to.PublicKey)
	}
	if err := c.acceptable(ctx, t, s, to); err != nil {
		return archive.Job{}, err
	}
	_, err = c.o.Tenants.Change(ctx, t, func(s *archive.TenantSettings) error {
		if now := s.Recovery; now.KEK == next.KEK && now.PublicKey == next.PublicKey {
			next.Since, next.Drilled = now.Since, now.Drilled
		}
		s.Recovery = next
		return nil
	})
	if err != nil {
		return archive.Job{}, err
	}
	return c.start(ctx, archive.JobEscrow, t)
}

// acceptable refuses what is no recovery key.
func (c *Custodian) acceptable(ctx context.Context, t archive.Tenant, s archive.TenantSettings, to archive.Recovery) error {
	if (to.KEK == "") == (len(to.PublicKey) == 0) {
		return fault.New(fault.Invalid, "a recovery key is a public key or one at a provider: give one of them")
	}
	if to.KEK == "" {
		_, err := quorum.ParsePublic(to.PublicKey)
		return err
	}
	kek, err := c.kek(ctx, t, s)
	if err != nil {
		return err
	}
	if err := apart(kek, keys.ID(to.KEK)); err != nil {
		return err
	}
	return c.try(ctx, keys.ID(to.KEK))
}

// escrow wraps all keys for the recovery key, until nothing is missing.
func (c *Custodian) escrow(r *run) error {
	for {
		s, err := c.usable(r.ctx, r.Tenant)
		if err != nil {
			return err
		}
		to, ok, err := recoveryOf(s.Recovery)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Conflict, "the tenant has no recovery key any more")
		}
		total, err := keys.Count(r.ctx, c.o.Bucket, r.Tenant)
		if err != nil {
			return err
		}
		r.total.Store(total)
		p, err := keys.Escrow(r.ctx, keys.EscrowOptions{Bucket: c.o.Bucket, Wrapper: c.o.Wrapper, Tenant: r.Tenant, To: c.wrapper(to), KEK: to.kek,
			Renew: true, Parallel: c.o.Parallel, Allowed: r.allowed, Progress: func(p keys.EscrowPass) {
				r.done.Store(p.Seen)
				r.total.Store(max(total, p.Seen))
			}})
		switch {
		case err != nil:
			return err
		case p.Made > 0: // some may have been made meanwhile
			continue
		case p.Damaged > 0:
			return fault.New(fault.Corrupt, "%d key objects are damaged and could not be wrapped for the recovery key; restore them from a copy of the store", p.Damaged)
		}
		r.total.Store(p.Seen)
		return keys.PurgeOtherEscrow(r.ctx, c.o.Bucket, r.Tenant, to.kek)
	}
}
