package api

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// defaultPage is the size of a page whose request names none; the contract says the same.
const defaultPage = 100

// page cuts a list that was asked for with one entry more than the page has.
func page[T any](list []T, limit int, key func(T) string) ([]T, *string) {
	if len(list) <= limit {
		return list, nil
	}
	next := key(list[limit-1])
	return list[:limit], &next
}

func (s *server) ListTenants(ctx context.Context, r ListTenantsRequestObject) (ListTenantsResponseObject, error) {
	limit := or(r.Params.Limit, defaultPage)
	list, err := s.o.Tenants.List(ctx, archive.Tenant(or(r.Params.After, "")), limit+1)
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, func(i archive.TenantInfo) string { return string(i.Tenant) })
	return ListTenants200JSONResponse{Tenants: each(list, tenantOf), Next: next}, nil
}

func (s *server) CreateTenant(ctx context.Context, r CreateTenantRequestObject) (CreateTenantResponseObject, error) {
	settings := archive.TenantSettings{State: archive.TenantActive, KEK: or(r.Body.Kek, "")}
	merge(&settings, r.Body.Title, r.Body.Duplicates, r.Body.Limits)
	info, err := s.o.Tenants.Create(ctx, archive.Tenant(r.Body.Name), settings)
	if err != nil {
		return nil, err
	}
	return CreateTenant201JSONResponse{Body: tenantOf(info),
		Headers: CreateTenant201ResponseHeaders{Location: Root + "/tenants/" + r.Body.Name}}, nil
}

func (s *server) GetTenant(ctx context.Context, r GetTenantRequestObject) (GetTenantResponseObject, error) {
	info, err := s.o.Tenants.Get(ctx, archive.Tenant(r.Tenant))
	if err != nil {
		return nil, err
	}
	return GetTenant200JSONResponse{TenantAnswerJSONResponse(tenantOf(info))}, nil
}

func (s *server) ChangeTenant(ctx context.Context, r ChangeTenantRequestObject) (ChangeTenantResponseObject, error) {
	info, err := s.o.Tenants.Change(ctx, archive.Tenant(r.Tenant), func(settings *archive.TenantSettings) error {
		merge(settings, r.Body.Title, r.Body.Duplicates, r.Body.Limits)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ChangeTenant200JSONResponse{TenantAnswerJSONResponse(tenantOf(info))}, nil
}

func (s *server) SuspendTenant(ctx context.Context, r SuspendTenantRequestObject) (SuspendTenantResponseObject, error) {
	t, err := s.setState(ctx, r.Tenant, archive.TenantSuspended)
	return SuspendTenant200JSONResponse{t}, err
}

func (s *server) ResumeTenant(ctx context.Context, r ResumeTenantRequestObject) (ResumeTenantResponseObject, error) {
	t, err := s.setState(ctx, r.Tenant, archive.TenantActive)
	return ResumeTenant200JSONResponse{t}, err
}

// setState goes from suspended to active or back. A revocation is stronger than both.
func (s *server) setState(ctx context.Context, name string, to archive.TenantState) (TenantAnswerJSONResponse, error) {
	info, err := s.o.Tenants.Change(ctx, archive.Tenant(name), func(settings *archive.TenantSettings) error {
		if settings.State == archive.TenantRevoked {
			return fault.New(fault.Conflict, "the tenant's key is revoked and nothing of it is served; grant it first (strata keys grant)")
		}
		settings.State = to
		return nil
	})
	return TenantAnswerJSONResponse(tenantOf(info)), err
}

// merge changes the settings that are given (RFC 7396).
func merge(s *archive.TenantSettings, title, duplicates *string, limits *Limits) {
	s.Title, s.Duplicates = or(title, s.Title), or(duplicates, s.Duplicates)
	if l := limits; l != nil {
		s.Limits = archive.TenantLimits{RequestsPerSecond: or(l.RequestsPerSecond, s.Limits.RequestsPerSecond),
			Concurrent: or(l.Concurrent, s.Limits.Concurrent), BytesPerSecond: or(l.BytesPerSecond, s.Limits.BytesPerSecond)}
	}
}

func tenantOf(i archive.TenantInfo) Tenant {
	return Tenant{Name: string(i.Tenant), Title: i.Title, State: State(i.State), Kek: i.KEK, Duplicates: i.Duplicates,
		Limits:  Limits{RequestsPerSecond: &i.Limits.RequestsPerSecond, Concurrent: &i.Limits.Concurrent, BytesPerSecond: &i.Limits.BytesPerSecond},
		Created: i.Created, Changed: i.Changed}
}

// or is what p points to, or else.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// some points to v, or is nil for the zero value: such members are left out.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// each converts a list; it is never null in JSON.
func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, convert(a))
	}
	return out
}
