// Package usage tells what tiers hold of a tenant and what that costs, from what the index counts, and compares
// that with what the stores have. It needs no keys: tenants whose keys are revoked, or whose archives
// are closed, are told of like others.
//
// What is counted is the log and the packs of a tenant, and of a pack that was moved every copy until it has
// gone. Keys, thumbnails and what a store keeps of unfinished uploads are not.
package usage

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
	"github.com/strata-pacs/strata/storage"
)

// Index is what is needed of the index.
type Index interface {
	// TierUsage returns what tiers hold of the tenant, by name; none where they hold nothing.
	TierUsage(ctx context.Context, t archive.Tenant) ([]archive.TierUsage, error)
	// Removing returns the part of it that is about to be removed; more where that is not all.
	Removing(ctx context.Context, t archive.Tenant) (list []archive.TierUsage, more bool, err error)
	// StudyCount returns how many studies are shown.
	StudyCount(ctx context.Context, t archive.Tenant) (int64, error)
	// Counted returns the tiers for which a copy of the pack is counted.
	Counted(ctx context.Context, t archive.Tenant, object string) ([]archive.TierName, error)
	// Progress tells which objects of the log are counted, by session.
	Progress(ctx context.Context, t archive.Tenant) (map[string]archive.Progress, error)
}

// Tiers knows the tiers of the configuration, the hot one first, and their stores.
type Tiers interface {
	All() []archive.Tier
	Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool)
}

// Teller tells what is used. It is safe for concurrent use.
type Teller struct {
	Index    Index
	Tiers    Tiers
	Currency string // of the prices of tiers
}

// Of tells of one tenant, whether the index knows it or not.
func (u Teller) Of(ctx context.Context, t archive.Tenant) (archive.Usage, error) {
	out, err := u.Held(ctx, t)
	if err != nil {
		return archive.Usage{}, err
	}
	if out.Studies, err = u.Index.StudyCount(ctx, t); err != nil {
		return archive.Usage{}, fmt.Errorf("asking how many studies there are: %w", err)
	}
	going, more, err := u.Index.Removing(ctx, t)
	if err != nil {
		return archive.Usage{}, fmt.Errorf("asking what is about to be removed: %w", err)
	}
	for i := range out.Tiers {
		tier := &out.Tiers[i]
		for _, g := range going {
			if g.Tier == tier.Tier {
				tier.Removing, tier.RemovingMore = g, more
			}
		}
		tier.Removing.Tier = tier.Tier
	}
	return out, nil
}

// Held is Of without the studies, and without what is about to be removed: for who asks often.
func (u Teller) Held(ctx context.Context, t archive.Tenant) (archive.Usage, error) {
	held, err := u.Index.TierUsage(ctx, t)
	if err != nil {
		return archive.Usage{}, fmt.Errorf("asking what tiers hold: %w", err)
	}
	by := make(map[archive.TierName]archive.TierUsage, len(held))
	for _, h := range held {
		by[h.Tier] = h
	}
	out := archive.Usage{Tenant: t, Currency: u.Currency}
	for _, tier := range u.Tiers.All() {
		h, some := by[tier.Name]
		delete(by, tier.Name)
		if some || tier.Name == archive.HotTier {
			h.Tier = tier.Name
			month := cost.Month(tier.Prices, cost.Load{Objects: h.Objects, Bytes: h.Bytes})
			out.Tiers = append(out.Tiers, archive.UsedTier{TierUsage: h, Month: month})
			out.Month += month
		}
	}
	for _, h := range held { // what is left of them, by name
		if _, left := by[h.Tier]; left {
			out.Tiers = append(out.Tiers, archive.UsedTier{TierUsage: h, Gone: true})
		}
	}
	return out, nil
}
