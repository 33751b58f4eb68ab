package api

import (
	"cmp"
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Restores restores what lies in an archive tier, of any tenant. fault.NotFound for a tenant or a
// restore that there is not.
type Restores interface {
	// Ask starts a restore or joins one. Without an ID in its answer nothing had to be restored.
	// fault.Invalid for a request that names nothing or too much, fault.NotFound for a study that is not there.
	Ask(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreStatus, error)
	Estimate(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreEstimate, error)
	Prefetch(ctx context.Context, t archive.Tenant, list []archive.Appointment, by, webhook string) (archive.Prefetch, error)
	Status(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error)
	// List returns up to limit restores with IDs after the given one, the oldest first.
	List(ctx context.Context, t archive.Tenant, after string, limit int, open bool) ([]archive.RestoreStatus, error)
	// Cancel cancels what has not begun; fault.Conflict when the restore is over.
	Cancel(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error)
	// Watch calls f now and then with how far the restore is, until f fails, the
	// context ends, the tenant's keys are taken away or the server stops.
	Watch(ctx context.Context, t archive.Tenant, id string, f func(archive.RestoreStatus) error) error
}

// asker is who asks for a restore by the API.
func asker(ctx context.Context) string { return cmp.Or(person(ctx), nobody) }

func requestOf(ctx context.Context, b *RestoreRequest) archive.RestoreRequest {
	q := archive.RestoreRequest{Studies: or(b.Studies, nil), PatientID: or(b.PatientId, ""), Issuer: or(b.IssuerOfPatientId, ""), Query: or(b.Query, ""),
		Priority: archive.Priority(or(b.Priority, "")), For: time.Duration(or(b.Days, 0)) * 24 * time.Hour, By: asker(ctx), Webhook: or(b.Webhook, "")}
	q.First.Series = or(b.Series, "")
	return q
}

// asking is what the body asks for.
func asking(ctx context.Context, b *RestoreRequest) (archive.RestoreRequest, error) {
	q := requestOf(ctx, b)
	if q.First.Series != "" && len(q.Studies) != 1 {
		return q, fault.New(fault.Invalid, "a series goes with one study")
	}
	return q, nil
}

func (s *server) StartRestore(ctx context.Context, r StartRestoreRequestObject) (StartRestoreResponseObject, error) {
	q, err := asking(ctx, r.Body)
	if err != nil {
		return nil, err
	}
	st, err := s.o.Restores.Ask(ctx, archive.Tenant(r.Tenant), q)
	if err != nil {
		return nil, err
	}
	if st.ID == "" {
		return StartRestore200JSONResponse(s.restoreOf(st)), nil
	}
	return StartRestore202JSONResponse{RestoreStartedJSONResponse{Body: s.restoreOf(st), Headers: RestoreStartedResponseHeaders{Location: restorePath(r.Tenant, st.ID)}}}, nil
}

func restorePath(tenant, id string) string { return Root + "/tenants/" + tenant + "/restores/" + id }

func (s *server) EstimateRestore(ctx context.Context, r EstimateRestoreRequestObject) (EstimateRestoreResponseObject, error) {
	q, err := asking(ctx, r.Body)
	if err != nil {
		return nil, err
	}
	e, err := s.o.Restores.Estimate(ctx, archive.Tenant(r.Tenant), q)
	if err != nil {
		return nil, err
	}
	return EstimateRestore200JSONResponse{Studies: e.Studies, Objects: e.Packs, Bytes: e.Bytes, Currency: e.Currency, Choices: each(e.Choices, func(c archive.RestoreChoice) RestoreChoice {
		return RestoreChoice{Priority: string(c.Priority), TypicalSeconds: int64(c.Typical / time.Second), LongestSeconds: int64(c.Longest / time.Second), Cost: c.Cost}
	})}, nil
}

func (s *server) ListRestores(ctx context.Context, r ListRestoresRequestObject) (ListRestoresResponseObject, error) {
	limit := or(r.Params.Limit, defaultPage)
	list, err := s.o.Restores.List(ctx, archive.Tenant(r.Tenant), or(r.Params.After, ""), limit+1, or(r.Params.Open, false))
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, func(st archive.RestoreStatus) string { return st.ID })
	return ListRestores200JSONResponse{Restores: each(list, s.restoreOf), Next: next}, nil
}

func (s *server) GetRestore(ctx context.Context, r GetRestoreRequestObject) (GetRestoreResponseObject, error) {
	st, err := s.o.Restores.Status(ctx, archive.Tenant(r.Tenant), r.Restore)
	if err != nil {
		return nil, err
	}
	return GetRestore200JSONResponse{RestoreAnswerJSONResponse(s.restoreOf(st))}, nil
}

func (s *server) CancelRestore(ctx context.Context, r CancelRestoreRequestObject) (CancelRestoreResponseObject, error) {
	st, err := s.o.Restores.Cancel(ctx, archive.Tenant(r.Tenant), r.Restore)
	if err != nil {
		return nil, err
	}
	return CancelRestore200JSONResponse{RestoreAnswerJSONResponse(s.restoreOf(st))}, nil
}

func (s *server) Prefetch(ctx context.Context, r PrefetchRequestObject) (PrefetchResponseObject, error) {
	list := each(r.Body.Appointments, func(a Appointment) archive.Appointment {
		return archive.Appointment{PatientID: a.PatientId, Issuer: or(a.IssuerOfPatientId, ""), At: a.At, Modality: or(a.Modality, ""), BodyPart: or(a.BodyPart, ""), Priors: or(a.Priors, 0)}
	})
	p, err := s.o.Restores.Prefetch(ctx, archive.Tenant(r.Tenant), list, asker(ctx), or(r.Body.Webhook, ""))
	if err != nil {
		return nil, err
	}
	out := Prefetch{Restore: s.restoreOf(p.Restore), Priors: p.Priors, Readable: p.Readable, Late: p.Late, Past: p.Past}
	if p.Restore.ID == "" {
		return Prefetch200JSONResponse(out), nil
	}
	return Prefetch202JSONResponse{Body: out, Headers: Prefetch202ResponseHeaders{Location: restorePath(r.Tenant, p.Restore.ID)}}, nil
}

func (s *server) restoreOf(st archive.RestoreStatus) Restore {
	return Restore{Id: some(st.ID), State: RestoreState(st.State), Priority: string(st.Priority), Studies: st.Studies, Objects: st.Packs, ObjectsReady: st.PacksIn,
		Bytes: st.Bytes, BytesReady: st.BytesIn, Asked: st.Asked.UTC(), Ready: moment(st.Ready.UTC()), Until: moment(st.Until.UTC()), Cost: st.Cost, Currency: some(s.o.Currency), Failure: some(st.Failure), Requests: st.Requests}
}
