package custody

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

// Status says how a tenant's keys stand. It works while they are revoked too, and
// when no provider answers: it reads objects and opens none. Counts may be some seconds old.
func (c *Custodian) Status(ctx context.Context, t archive.Tenant) (archive.KeyStatus, error) {
	info, err := c.o.Tenants.Get(ctx, t)
	if err != nil {
		return archive.KeyStatus{}, err
	}
	kek, err := c.kek(ctx, t, info.TenantSettings)
	if err != nil {
		return archive.KeyStatus{}, err
	}
	out := archive.KeyStatus{State: info.State, KEK: string(kek)}
	recovery, hasRecovery, err := recoveryOf(info.Recovery)
	if err != nil {
		return archive.KeyStatus{}, err
	}
	now, err := c.counts.get(ctx, t, func() (n counted, err error) {
		if n.census, err = keys.TakeCensus(ctx, c.o.Bucket, t); err == nil && hasRecovery {
			n.in, n.missing, err = keys.CountEscrow(ctx, c.o.Bucket, t, recovery.kek)
		}
		return n, err
	})
	if err != nil {
		return archive.KeyStatus{}, err
	}
	ask := info.State != archive.TenantSuspended // whose keys are not asked for
	out.Versions = c.versions(ctx, kek, now.census.Keys, ask)
	out.Proofs = c.prove(ctx, t, kek, ask)
	for _, lane := range []Lane{LaneEscrow, LaneRewrap} {
		j, open, err := c.o.Jobs.Open(ctx, t, lane)
		if err != nil {
			return archive.KeyStatus{}, err
		}
		if open {
			out.Job = &j
		}
	}
	if hasRecovery {
		out.Escrow = &archive.EscrowStatus{KEK: info.Recovery.KEK, Fingerprint: recovery.fingerprint,
			At: moment(info.Recovery.Since), Objects: now.in, Missing: now.missing, Drilled: moment(info.Recovery.Drilled)}
	}
	return out, nil
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// versions lists the versions that objects are under, and the one that wraps:
// those of the tenant's KEK before others, the newest first.
func (c *Custodian) versions(ctx context.Context, kek keys.ID, under map[keys.Version]int64, ask bool) []archive.KeyVersion {
	var out []archive.KeyVersion
	for v, n := range under {
		out = append(out, archive.KeyVersion{KEK: string(v.KEK), Version: v.Version, Objects: n})
	}
	described := map[keys.ID]keys.Description{}
	describe := func(kek keys.ID) {
		if _, known := described[kek]; known || !ask || len(described) > maxDescribed {
			return
		}
		within, cancel := context.WithTimeout(ctx, tryWithin)
		defer cancel()
		described[kek], _ = keys.Describe(within, c.o.Wrapper, kek) // where it does not tell, less is shown
	}
	describe(kek)
	if d := described[kek]; d.Newest != "" && under[keys.Version{KEK: kek, Version: d.Newest}] == 0 {
		out = append(out, archive.KeyVersion{KEK: string(kek), Version: d.Newest})
	}
	order := map[keys.Version]int{}
	for i := range out {
		v := &out[i]
		describe(keys.ID(v.KEK))
		d := described[keys.ID(v.KEK)]
		at := slices.IndexFunc(d.Versions, func(i keys.VersionInfo) bool { return i.Version == v.Version })
		order[keys.Version{KEK: keys.ID(v.KEK), Version: v.Version}] = at
		v.Current = v.KEK == string(kek) && v.Version == d.Newest
		v.Retired = len(d.Versions) > 0 && at < 0
	}
	other := func(v archive.KeyVersion) int {
		if v.KEK == string(kek) {
			return 0
		}
		return 1
	}
	slices.SortFunc(out, func(a, b archive.KeyVersion) int {
		return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a.KEK, b.KEK),
			cmp.Compare(order[keys.Version{KEK: keys.ID(b.KEK), Version: b.Version}], order[keys.Version{KEK: keys.ID(a.KEK), Version: a.Version}]),
			cmp.Compare(b.Version, a.Version))
	})
	return out
}

// maxDescribed bounds of how many KEKs a status asks for their versions.
const maxDescribed = 16

// recovery is a tenant's recovery key.
type recovery struct {
	kek         keys.ID
	public      *quorum.Public // nil: it is at a provider
	fingerprint string         // of a public key
}

// recoveryOf reads the settings; ok is false where there is no recovery key.
func recoveryOf(s archive.TenantRecovery) (r recovery, ok bool, err error) {
	if s.PublicKey == "" {
		return recovery{kek: keys.ID(s.KEK)}, s.KEK != "", nil
	}
	b, err := base64.StdEncoding.DecodeString(s.PublicKey)
	if err != nil {
		return r, false, fault.Wrap(fault.Corrupt, err, "the recovery key in the tenant's settings cannot be read; name it again (strata keys escrow)")
	}
	if r.public, err = quorum.ParsePublic(b); err != nil {
		return r, false, fault.Wrap(fault.Corrupt, err, "the recovery key in the tenant's settings cannot be read; name it again (strata keys escrow)")
	}
	r.kek, r.fingerprint = r.public.ID(), r.public.Fingerprint()
	return r, true, nil
}

// wrapper is what wraps for the recovery key.
func (c *Custodian) wrapper(r recovery) keys.Wrapper {
	if r.public != nil {
		return r.public
	}
	return c.o.Wrapper
}
