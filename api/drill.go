package api

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
)

func (s *server) StartRecoveryDrill(ctx context.Context, r StartRecoveryDrillRequestObject) (StartRecoveryDrillResponseObject, error) {
	var b RecoveryDrillRequest
	if r.Body != nil {
		b = *r.Body
	}
	run, err := s.o.Drills.Start(ctx, archive.Tenant(r.Tenant), archive.RecoveryDrill{Studies: or(b.Studies, 0), Bytes: or(b.Bytes, 0), Seed: uint64(or(b.Seed, 0)),
		Priority: archive.Priority(or(b.Priority, "")), NoRestore: or(b.NoRestore, false), FromLog: or(b.FromLog, false)})
	return StartRecoveryDrill202JSONResponse{Body: s.drillOf(run), Headers: StartRecoveryDrill202ResponseHeaders{Location: Root + "/tenants/" + r.Tenant + "/drill"}}, err
}

func (s *server) GetRecoveryDrill(ctx context.Context, r GetRecoveryDrillRequestObject) (GetRecoveryDrillResponseObject, error) {
	st, err := s.o.Drills.Status(ctx, archive.Tenant(r.Tenant))
	return GetRecoveryDrill200JSONResponse{Running: maybe(st.Running, s.drillOf), Last: maybe(st.Last, s.drillOf), LastSuccess: maybe(st.LastSuccess, s.drillOf)}, err
}

func (s *server) CancelRecoveryDrill(ctx context.Context, r CancelRecoveryDrillRequestObject) (CancelRecoveryDrillResponseObject, error) {
	return CancelRecoveryDrill202Response{}, s.o.Drills.Cancel(ctx, archive.Tenant(r.Tenant))
}

// maybe translates what may be missing.
func maybe[T, U any](v *T, f func(T) U) *U {
	if v == nil {
		return nil
	}
	u := f(*v)
	return &u
}

func (s *server) drillOf(r archive.DrillRun) RecoveryDrill {
	return RecoveryDrill{Id: r.ID, Tenant: string(r.Tenant), State: string(r.State), Seed: int64(r.Asked.Seed), NoRestore: some(r.Asked.NoRestore), FromLog: some(r.Asked.FromLog),
		Created: r.Created, Started: moment(r.Started), Finished: moment(r.Finished), Done: r.Done, Total: r.Total, Phase: some(r.Phase),
		Failure: some(r.Failure), Report: maybe(r.Report, s.recoveryOf)}
}

func (s *server) recoveryOf(r archive.RecoveryReport) RecoveryReport {
	t := r.Times
	out := RecoveryReport{At: r.At, Seed: int64(r.Seed), Of: RecoveryOf{Studies: r.Of.Studies, Instances: some(r.Of.Instances), Facts: some(r.Of.Facts)},
		Studies: r.Studies, Instances: r.Instances, Facts: r.Facts, Objects: r.Objects, Bytes: r.Bytes, TooLarge: r.TooLarge, Unreadable: r.Unreadable, Changing: r.Changing,
		Failures: each(r.Failures, func(f archive.DrillFailure) RecoveryFailure {
			return RecoveryFailure{What: f.What, Object: some(f.Object)}
		}), MoreFailures: r.MoreFailures,
		Seconds: RecoverySeconds{Drawing: t.Drawing.Seconds(), Waiting: t.Waiting.Seconds(), Reading: t.Reading.Seconds(), Copying: t.Copying.Seconds(), Checking: t.Checking.Seconds()},
		Tiers: each(r.Tiers, func(t archive.DrillTier) RecoveryTier {
			return RecoveryTier{Tier: string(t.Tier), Objects: t.Objects, Bytes: t.Bytes, Restored: t.Restored, Cost: t.Cost}
		}), Cost: r.Cost, Currency: some(s.o.Currency), Whole: forecastOf(r.Whole)}
	if took := (t.Reading + t.Copying).Seconds(); took > 0 {
		out.BytesPerSecond = float64(r.Bytes) / took
	}
	return out
}

func forecastOf(f archive.RecoveryForecast) RecoveryForecast {
	return RecoveryForecast{LeastSeconds: f.Least.Seconds(), MostSeconds: f.Most.Seconds(), Cost: f.Cost, Assumed: each(f.Assumed, func(s string) string { return s }),
		RebuildLeastSeconds: some(f.RebuildLeast.Seconds()), RebuildMostSeconds: some(f.RebuildMost.Seconds()),
		Tiers: each(f.Tiers, func(t archive.TierForecast) TierForecast {
			return TierForecast{Tier: string(t.Tier), Objects: t.Objects, Bytes: t.Bytes, BytesPerSecond: some(t.Throughput),
				LeastSeconds: t.Least.Seconds(), MostSeconds: t.Most.Seconds(), Cost: t.Cost}
		})}
}
