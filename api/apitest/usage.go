package apitest

import (
	"context"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Usage is api.Usage, whose methods are called as others are.
func (m *Memory) Usage() Usage { return Usage{m} }

// Usage is what the tenants of a memory use: each as much, in a tier with a price and one that is not configured
// any more. While the memory is Damaged, an object is missing from the first.
type Usage struct{ m *Memory }

// List is of api.Usage.
func (u Usage) List(_ context.Context, after archive.Tenant, limit int) (out []archive.Usage, err error) {
	unlock, err := u.m.lock()
	defer unlock()
	var names []archive.Tenant
	for t := range u.m.Tenants {
		if t > after {
			names = append(names, t)
		}
	}
	slices.Sort(names)
	for _, t := range names[:min(limit, len(names))] {
		out = append(out, used(t))
	}
	return out, err
}

// Of is of api.Usage.
func (u Usage) Of(_ context.Context, t archive.Tenant) (archive.Usage, error) {
	unlock, err := u.m.lock()
	defer unlock()
	if _, ok := u.m.Tenants[t]; err == nil && !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	return used(t), err
}

func used(t archive.Tenant) archive.Usage {
	return archive.Usage{Tenant: t, Studies: 7, Currency: "EUR", Month: 60, Tiers: []archive.UsedTier{
		{TierUsage: archive.TierUsage{Tier: "hot", Objects: 12, Bytes: 3e12}, Month: 60,
			Removing: archive.TierUsage{Tier: "hot", Objects: 2, Bytes: 5e9}, RemovingMore: true},
		{TierUsage: archive.TierUsage{Tier: "shelf", Objects: 4, Bytes: 1e12}, Gone: true}}}
}

// Recount is of api.Usage.
func (u Usage) Recount(ctx context.Context, t archive.Tenant) (archive.Recount, error) {
	of, err := u.Of(ctx, t)
	if err != nil {
		return archive.Recount{}, err
	}
	counted := archive.TierUsage{Objects: of.Tiers[0].Objects, Bytes: of.Tiers[0].Bytes}
	listed := archive.TierUsage{Objects: counted.Objects + 1, Bytes: counted.Bytes + 100}
	u.m.Do(func() {
		if t == u.m.Away {
			err = fault.New(fault.Unavailable, "the store does not answer")
		}
		if u.m.Damaged {
			listed.Objects, listed.Bytes = listed.Objects-1, listed.Bytes-1000
		}
	})
	if err != nil {
		return archive.Recount{}, err
	}
	return archive.Recount{Tenant: t, Stores: []archive.RecountedStore{{Tiers: []archive.TierName{"hot", "cold"}, Counted: counted, Listed: listed,
		Unnamed: archive.TierUsage{Objects: 1, Bytes: 100}}}}, nil
}
