package api

import (
	"context"
	"encoding/json"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func (s *server) GetLifecycle(ctx context.Context, r GetLifecycleRequestObject) (GetLifecycleResponseObject, error) {
	a, err := s.lifecycleState(ctx, r.Tenant)
	return GetLifecycle200JSONResponse{a}, err
}

func (s *server) lifecycleState(ctx context.Context, tenant string) (LifecycleAnswerJSONResponse, error) {
	l, err := s.o.Lifecycle.State(ctx, archive.Tenant(tenant))
	if err != nil {
		return LifecycleAnswerJSONResponse{}, err
	}
	a := LifecycleAnswerJSONResponse{Paused: l.Paused, Rules: l.Rules, By: some(l.By), Stated: moment(l.Stated), PausedBy: some(l.PausedBy), PausedAt: moment(l.PausedAt),
		Pending: l.Pending, Failing: some(l.Failing), Retry: moment(l.Retry)}
	if f := l.Failure; !f.At.IsZero() {
		a.Failure = &LifecycleFailure{At: f.At, Why: f.Why}
	}
	if r := l.Round; !r.At.IsZero() {
		a.Round = &LifecycleRound{At: r.At, Done: doneOf(r.Done), Error: some(r.Error)}
	}
	return a, nil
}

func (s *server) GetLifecycleRules(ctx context.Context, r GetLifecycleRulesRequestObject) (GetLifecycleRulesResponseObject, error) {
	document, err := s.o.Lifecycle.Rules(ctx, archive.Tenant(r.Tenant))
	if err != nil {
		return nil, err
	}
	var rules LifecycleRules
	if err := json.Unmarshal(document, &rules); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "writing the lifecycle rules as the contract has them")
	}
	return GetLifecycleRules200JSONResponse(rules), nil
}

// document is what the contract lets through, for whoever reads rules.
func (r *LifecycleRules) document() ([]byte, error) {
	b, err := json.Marshal(r)
	return b, fault.Wrap(fault.Internal, err, "reading the lifecycle rules")
}

func (s *server) SetLifecycleRules(ctx context.Context, r SetLifecycleRulesRequestObject) (SetLifecycleRulesResponseObject, error) {
	document, err := r.Body.document()
	if err == nil {
		err = s.o.Lifecycle.SetRules(ctx, archive.Tenant(r.Tenant), document, person(ctx))
	}
	if err != nil {
		return nil, err
	}
	a, err := s.lifecycleState(ctx, r.Tenant)
	return SetLifecycleRules200JSONResponse{a}, err
}

func (s *server) CheckLifecycleRules(ctx context.Context, r CheckLifecycleRulesRequestObject) (CheckLifecycleRulesResponseObject, error) {
	document, err := r.Body.document()
	if err == nil {
		err = s.o.Lifecycle.CheckRules(ctx, archive.Tenant(r.Tenant), document)
	}
	return CheckLifecycleRules204Response{}, err
}

func (s *server) PauseLifecycle(ctx context.Context, r PauseLifecycleRequestObject) (PauseLifecycleResponseObject, error) {
	if err := s.o.Lifecycle.Pause(ctx, archive.Tenant(r.Tenant), true, person(ctx)); err != nil {
		return nil, err
	}
	a, err := s.lifecycleState(ctx, r.Tenant)
	return PauseLifecycle200JSONResponse{a}, err
}

func (s *server) ResumeLifecycle(ctx context.Context, r ResumeLifecycleRequestObject) (ResumeLifecycleResponseObject, error) {
	if err := s.o.Lifecycle.Pause(ctx, archive.Tenant(r.Tenant), false, person(ctx)); err != nil {
		return nil, err
	}
	a, err := s.lifecycleState(ctx, r.Tenant)
	return ResumeLifecycle200JSONResponse{a}, err
}

func (s *server) ApplyLifecycle(ctx context.Context, r ApplyLifecycleRequestObject) (ApplyLifecycleResponseObject, error) {
	d, err := s.o.Lifecycle.Apply(ctx, archive.Tenant(r.Tenant))
	return ApplyLifecycle200JSONResponse(doneOf(d)), err
}

func doneOf(d archive.LifecycleDone) LifecycleDone {
	return LifecycleDone{Paused: d.Paused, More: d.More, Looked: d.Looked, Settled: d.Settled, Moved: d.Moved, Bytes: d.Bytes, Deleted: d.Deleted, Waiting: d.Waiting, Failed: d.Failed,
		Dropped: d.Dropped, DroppedBytes: d.DroppedBytes, Removed: d.Removed, RemovedBytes: d.RemovedBytes}
}

func (s *server) TagStudy(ctx context.Context, r TagStudyRequestObject) (TagStudyResponseObject, error) {
	tags, err := s.o.Lifecycle.Tag(ctx, archive.Tenant(r.Tenant), r.Body.Study, or(r.Body.Add, nil), or(r.Body.Remove, nil))
	if err != nil {
		return nil, err
	}
	return TagStudy200JSONResponse{Tags: append(Tags{}, tags...)}, nil
}

func (s *server) PlanLifecycle(ctx context.Context, r PlanLifecycleRequestObject) (PlanLifecycleResponseObject, error) {
	var q archive.LifecycleQuestion
	if r.Body != nil {
		q.Years, q.Growth = or(r.Body.Years, 0), r.Body.Growth
		if r.Body.Rules != nil {
			document, err := r.Body.Rules.document()
			if err != nil {
				return nil, err
			}
			q.Rules = document
		}
	}
	p, err := s.o.Lifecycle.Plan(ctx, archive.Tenant(r.Tenant), q)
	if err != nil {
		return nil, err
	}
	var circles *[]LifecycleCircle
	if len(p.Circles) > 0 {
		all := each(p.Circles, func(c archive.PlannedCircle) LifecycleCircle {
			return LifecycleCircle{Studies: c.Studies, Moves: c.Moves, Back: c.Back}
		})
		circles = &all
	}
	f := LifecycleForecast{Growth: p.Forecast.Growth, GrowthYears: p.Forecast.GrowthYears, YearBytes: p.Forecast.YearBytes,
		Tiers: each(p.Forecast.Tiers, func(t archive.TierName) string { return string(t) }),
		Points: each(p.Forecast.Points, func(p archive.ForecastPoint) LifecyclePoint {
			return LifecyclePoint{At: p.At, Bytes: p.Bytes, Studies: p.Studies, Month: p.Month, Once: p.Once, Without: p.Without}
		})}
	return PlanLifecycle200JSONResponse{At: p.At, Currency: p.Currency, Studies: p.Studies, Bytes: p.Bytes, Circular: p.Circular, Circles: circles, Sampled: some(p.Sampled), Forecast: f,
		Steps: each(p.Steps, stepOf), Tiers: each(p.Tiers, func(t archive.PlannedTier) LifecycleTier {
			return LifecycleTier{Name: string(t.Name), Studies: t.Studies, Bytes: t.Bytes, Month: t.Month,
				StudiesAfter: t.StudiesAfter, BytesAfter: t.BytesAfter, MonthAfter: t.MonthAfter, Gone: some(t.Gone)}
		})}, nil
}

func stepOf(p archive.PlannedStep) LifecycleStep {
	return LifecycleStep{Rule: some(p.Rule), Action: p.Action, From: string(p.From), To: some(string(p.To)), Studies: p.Studies, Bytes: p.Bytes,
		Once: p.Once, Before: p.Before, After: p.After, Waits: moment(p.First)}
}
