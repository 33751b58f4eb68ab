package custody

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

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
