package custody

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"time"

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
	for _, lock := range locksOf(keys.ID(to.KEK)) {
		if slices.Contains(locksOf(kek), lock) {
			return fault.New(fault.Invalid, "kek: the recovery key must be another one than that of the tenant")
		}
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

// Drill opens keys in escrow with the recovery key and compares them with those in
// use. No key is written, nor anything else but, of a drill that succeeded, when it was. The private key is
// wiped. fault.Conflict when nothing was escrowed or the keys are revoked, fault.Invalid when a private key is
// needed, or is not needed, or is another one.
func (c *Custodian) Drill(ctx context.Context, t archive.Tenant, d archive.Drill) (archive.DrillReport, error) {
	defer clear(d.PrivateKey)
	s, err := c.usable(ctx, t)
	if err != nil {
		return archive.DrillReport{}, err
	}
	key, ok, err := recoveryOf(s.Recovery)
	if err != nil {
		return archive.DrillReport{}, err
	}
	if !ok {
		return archive.DrillReport{}, fault.New(fault.Conflict, "nothing of this tenant is in escrow; begin with strata keys escrow")
	}
	from, wipe, err := c.opener(key, d.PrivateKey)
	if err != nil {
		return archive.DrillReport{}, err
	}
	defer wipe()
	report := archive.DrillReport{At: c.o.Now()}
	report.Tried, report.Opened, err = keys.Drill(ctx, keys.DrillOptions{Bucket: c.o.Bucket, Wrapper: c.o.Wrapper, Tenant: t, From: from, KEK: key.kek,
		Sample: d.Sample, Parallel: c.o.Parallel})
	if err != nil {
		return archive.DrillReport{}, err
	}
	if report.Failed = report.Tried - report.Opened; report.Failed == 0 && report.Tried > 0 {
		c.noteDrill(ctx, t, s.Recovery, report.At)
	}
	return report, nil
}

// opener is what opens keys in escrow, until it is wiped.
func (c *Custodian) opener(key recovery, private []byte) (from keys.Wrapper, wipe func(), err error) {
	switch {
	case key.public == nil && len(private) > 0:
		return nil, nil, fault.New(fault.Invalid, "the recovery key is at a provider: no private key is needed")
	case key.public == nil:
		return c.o.Wrapper, func() {}, nil
	case len(private) == 0:
		return nil, nil, fault.New(fault.Invalid, "the recovery key is in shares: give as many as recover it")
	}
	p, err := quorum.ParsePrivate(private)
	if err != nil {
		return nil, nil, err
	}
	if p.Fingerprint() != key.fingerprint {
		p.Wipe()
		return nil, nil, fault.New(fault.Invalid, "this is recovery key %s; the keys are in escrow for %s", p.Fingerprint(), key.fingerprint)
	}
	return p, p.Wipe, nil
}

// noteDrill notes when a drill succeeded. Should that fail, the drill has succeeded all the same.
func (c *Custodian) noteDrill(ctx context.Context, t archive.Tenant, of archive.TenantRecovery, at time.Time) {
	_, err := c.o.Tenants.Change(ctx, t, func(s *archive.TenantSettings) error {
		if s.Recovery.KEK == of.KEK && s.Recovery.PublicKey == of.PublicKey {
			s.Recovery.Drilled = at.UnixMilli()
		}
		return nil
	})
	if err != nil {
		c.o.Slog.Warn("the time of the drill could not be noted", "tenant", string(t), "error", err)
	}
}
