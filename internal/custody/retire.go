package custody

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Retire gives up the versions of a tenant's KEK that are older than before; empty
// is the current one. fault.Conflict, saying how many, while key objects of any
// tenant, or what they have in escrow, are under one of them; none is retired then. fault.Invalid for a
// version that there is not, and where the provider cannot retire.
//
// Unless this node saw a rewrap to that version come to its end, it waits for
// [keys.Settle] and counts once more: what is under way under an older version is durable then.
func (c *Custodian) Retire(ctx context.Context, t archive.Tenant, before string) error {
	info, err := c.o.Tenants.Get(ctx, t)
	if err != nil {
		return err
	}
	if err := c.free(ctx, t, LaneRewrap); err != nil {
		return err
	}
	kek, err := c.kek(ctx, t, info.TenantSettings)
	if err != nil {
		return err
	}
	d, err := keys.Describe(ctx, c.o.Wrapper, kek)
	if err != nil {
		return err
	}
	if before == "" {
		before = d.Newest
	}
	if !d.Has(before) {
		return fault.New(fault.Invalid, "the key has no such version; strata keys status shows those that there are")
	}
	ending, err := c.ending(ctx, kek, before)
	if err != nil {
		return err
	}
	if err := c.unused(ctx, t, ending); err != nil {
		return err
	}
	if !c.hasSettled(kek, before, d) {
		if err := sleep(ctx, c.o.Settle); err != nil {
			return err
		}
		if err := c.unused(ctx, t, ending); err != nil {
			return err
		}
	}
	defer c.counts.forget(t)
	if err := keys.Retire(ctx, c.o.Wrapper, kek, before); err != nil {
		return fmt.Errorf("retiring versions of the key: %w", err)
	}
	return nil
}

// hasSettled reports whether it is known here that nothing older than the version appears any more.
func (c *Custodian) hasSettled(kek keys.ID, before string, d keys.Description) bool {
	c.mu.Lock()
	version, ok := c.settled[kek]
	c.mu.Unlock()
	at := func(v string) int {
		return slices.IndexFunc(d.Versions, func(i keys.VersionInfo) bool { return i.Version == v })
	}
	return ok && at(version) >= 0 && at(before) <= at(version)
}

// versions are some of the versions of single KEKs.
type versions map[keys.Version]bool

// ending returns the versions that end with a retirement: of a pair, those of either.
func (c *Custodian) ending(ctx context.Context, kek keys.ID, before string) (versions, error) {
	out := versions{}
	for _, single := range singles(keys.Version{KEK: kek, Version: before}) {
		d, err := keys.Describe(ctx, c.o.Wrapper, single.KEK)
		if err != nil {
			return nil, err
		}
		for _, v := range d.Versions { // the oldest first
			if v.Version == single.Version {
				break
			}
			out[keys.Version{KEK: keyOf(single.KEK), Version: v.Version}] = true
		}
	}
	return out, nil
}

// holds reports whether something under the version needs one of them.
func (vs versions) holds(v keys.Version) bool {
	return slices.ContainsFunc(singles(v), func(single keys.Version) bool {
		return vs[keys.Version{KEK: keyOf(single.KEK), Version: single.Version}]
	})
}

// keyOf is a KEK's name without its provider's: two providers may lead to one key.
// Where they do not, a retirement is refused that could be allowed.
func keyOf(kek keys.ID) keys.ID {
	if _, key, ok := strings.Cut(string(kek), "/"); ok {
		return keys.ID(key)
	}
	return kek
}

// singles takes a version of a pair of KEKs apart.
func singles(v keys.Version) []keys.Version {
	k1, k2, ok1 := keys.SplitPair(v.KEK)
	v1, v2, ok2 := keys.SplitPair(v.Version)
	if !ok1 || !ok2 {
		return []keys.Version{v}
	}
	return append(singles(keys.Version{KEK: k1, Version: v1}), singles(keys.Version{KEK: k2, Version: v2})...)
}

// unused fails with fault.Conflict while anything of a tenant is under one of the
// versions. All tenants are looked at: a KEK may be that of several.
func (c *Custodian) unused(ctx context.Context, t archive.Tenant, ending versions) error {
	if len(ending) == 0 {
		return nil
	}
	var mine, others int64
	var who []string
	look := func(t archive.Tenant) (n int64, err error) {
		census, err := keys.TakeCensus(ctx, c.o.Bucket, t)
		for _, under := range []map[keys.Version]int64{census.Keys, census.Escrow} {
			for v, k := range under {
				if ending.holds(v) {
					n += k
				}
			}
		}
		return n, err
	}
	mine, err := look(t)
	if err != nil {
		return err
	}
	err = c.each(ctx, func(info archive.TenantInfo) error {
		if info.Tenant == t {
			return nil
		}
		n, err := look(info.Tenant)
		if n > 0 && len(who) < 5 {
			who = append(who, string(info.Tenant))
		}
		others += n
		return err
	})
	switch {
	case err != nil:
		return err
	case mine > 0:
		return fault.New(fault.Conflict, "%d key objects are under an older version; rotate first (strata keys rotate)", mine)
	case others > 0:
		return fault.New(fault.Conflict, "%d key objects of other tenants (%s) are under an older version of this key; move those to its newest version first (strata keys move TENANT PROVIDER/KEY)",
			others, strings.Join(who, ", "))
	}
	return nil
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
