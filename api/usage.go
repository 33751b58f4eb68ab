package api

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
)

func (s *server) ListUsage(ctx context.Context, r ListUsageRequestObject) (ListUsageResponseObject, error) {
	limit := or(r.Params.Limit, defaultPage)
	list, err := s.o.Usage.List(ctx, archive.Tenant(or(r.Params.After, "")), limit+1)
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, func(u archive.Usage) string { return string(u.Tenant) })
	return ListUsage200JSONResponse{Usage: each(list, usageOf), Next: next}, nil
}

func (s *server) GetUsage(ctx context.Context, r GetUsageRequestObject) (GetUsageResponseObject, error) {
	u, err := s.o.Usage.Of(ctx, archive.Tenant(r.Tenant))
	return GetUsage200JSONResponse(usageOf(u)), err
}

func usageOf(u archive.Usage) TenantUsage {
	return TenantUsage{Tenant: string(u.Tenant), Studies: u.Studies, Currency: u.Currency, Month: u.Month, Tiers: each(u.Tiers, func(t archive.UsedTier) UsedTier {
		return UsedTier{Tier: string(t.Tier), Objects: t.Objects, Bytes: t.Bytes, Month: t.Month, Gone: t.Gone,
			Removing: Removing{Objects: t.Removing.Objects, Bytes: t.Removing.Bytes, More: t.RemovingMore}}
	})}
}

func (s *server) RecountUsage(ctx context.Context, r RecountUsageRequestObject) (RecountUsageResponseObject, error) {
	c, err := s.o.Usage.Recount(ctx, archive.Tenant(r.Tenant))
	if err != nil {
		return nil, err
	}
	return RecountUsage200JSONResponse{Tenant: string(c.Tenant), Equal: c.Equal(), Moving: c.Moving, Stores: each(c.Stores, func(s archive.RecountedStore) RecountedStore {
		return RecountedStore{Tiers: each(s.Tiers, func(t archive.TierName) string { return string(t) }), Equal: s.Equal(),
			Counted: objectsOf(s.Counted), Listed: objectsOf(s.Listed), Unnamed: objectsOf(s.Unnamed)}
	})}, nil
}

func objectsOf(u archive.TierUsage) Objects { return Objects{Objects: u.Objects, Bytes: u.Bytes} }
