package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
)

// Retention says what must be kept. All of it fails with fault.NotFound when there is no such tenant.
type Retention interface {
	Policy(ctx context.Context, t archive.Tenant) (retention.Policy, error)
	// SetRules is fault.Invalid for a document that is none.
	SetRules(ctx context.Context, t archive.Tenant, document []byte, by string) (retention.Policy, error)
	// Check looks at a study, by its UID; fault.NotFound.
	Check(ctx context.Context, t archive.Tenant, study string) (retention.Check, error)
	Report(ctx context.Context, t archive.Tenant, ask retention.Report) (retention.Page, error)
	Hold(ctx context.Context, t archive.Tenant, target retention.HoldTarget, reason, by string) (archive.Held, error)
	// Release is fault.Forbidden where by is empty, fault.Conflict for the second word of the same person.
	Release(ctx context.Context, t archive.Tenant, id archive.FactID, reason, by string) (archive.Held, error)
	// Holds returns up to limit holds after one, ascending.
	Holds(ctx context.Context, t archive.Tenant, after archive.FactID, limit int) ([]archive.Held, error)
}

// Rewinder brings back what there was at a moment.
type Rewinder interface {
	// Rewind does a part of the work; see [remove.Remover.Rewind].
	Rewind(ctx context.Context, t archive.Tenant, w remove.Rewind) (remove.Rewound, error)
}

// nobody is who orders a hold with a token that has no name.
const nobody = "an operator without a name"

func (s *server) ListRetentionSets(context.Context, ListRetentionSetsRequestObject) (ListRetentionSetsResponseObject, error) {
	return ListRetentionSets200JSONResponse{Sets: each(retention.Sets(), setOf)}, nil
}

func (s *server) GetRetention(ctx context.Context, r GetRetentionRequestObject) (GetRetentionResponseObject, error) {
	p, err := s.o.Retention.Policy(ctx, archive.Tenant(r.Tenant))
	return GetRetention200JSONResponse{RetentionAnswerJSONResponse(policyOf(p))}, err
}

func (s *server) SetRetention(ctx context.Context, r SetRetentionRequestObject) (SetRetentionResponseObject, error) {
	document, err := json.Marshal(r.Body)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encoding rules")
	}
	p, err := s.o.Retention.SetRules(ctx, archive.Tenant(r.Tenant), document, person(ctx))
	return SetRetention200JSONResponse{RetentionAnswerJSONResponse(policyOf(p))}, err
}

func (s *server) CheckRetention(ctx context.Context, r CheckRetentionRequestObject) (CheckRetentionResponseObject, error) {
	c, err := s.o.Retention.Check(ctx, archive.Tenant(r.Tenant), r.Body.Study)
	return CheckRetention200JSONResponse(retainedOf(c)), err
}

// dayOrMoment reads a day, which stands for its beginning in UTC, or a moment; nothing is the zero time.
func dayOrMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, fault.Wrap(fault.Invalid, err, "before is not of its form: a day such as 2030-01-01, or a moment such as 2030-01-01T12:00:00Z")
}

func (s *server) ReportRetention(ctx context.Context, r ReportRetentionRequestObject) (ReportRetentionResponseObject, error) {
	before, err := dayOrMoment(or(r.Params.Before, ""))
	if err != nil {
		return nil, err
	}
	ask := retention.Report{Before: before, Held: or(r.Params.Held, false), Limit: or(r.Params.Limit, defaultPage)}
	after, _ := archive.ParseFactID(or(r.Params.After, "")) // the contract has its form
	ask.After = archive.Ref(after)
	page, err := s.o.Retention.Report(ctx, archive.Tenant(r.Tenant), ask)
	if err != nil {
		return nil, err
	}
	out := ReportRetention200JSONResponse{Studies: each(page.Studies, retainedOf)}
	if page.Next != (archive.Ref{}) {
		out.Next = some(page.Next.String())
	}
	return out, nil
}

func (s *server) ListHolds(ctx context.Context, r ListHoldsRequestObject) (ListHoldsResponseObject, error) {
	limit := or(r.Params.Limit, defaultPage)
	after, _ := archive.ParseFactID(or(r.Params.After, ""))
	list, err := s.o.Retention.Holds(ctx, archive.Tenant(r.Tenant), after, limit+1)
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, func(h archive.Held) string { return h.ID.String() })
	return ListHolds200JSONResponse{Holds: each(list, holdOf), Next: next}, nil
}

func (s *server) AddHold(ctx context.Context, r AddHoldRequestObject) (AddHoldResponseObject, error) {
	by := person(ctx)
	if by == "" {
		by = nobody
	}
	target := retention.HoldTarget{Study: or(r.Body.Study, ""), PatientID: or(r.Body.PatientId, ""), Issuer: or(r.Body.IssuerOfPatientId, "")}
	h, err := s.o.Retention.Hold(ctx, archive.Tenant(r.Tenant), target, r.Body.Reason, by)
	return AddHold201JSONResponse(holdOf(h)), err
}

func (s *server) ReleaseHold(ctx context.Context, r ReleaseHoldRequestObject) (ReleaseHoldResponseObject, error) {
	id, ok := archive.ParseFactID(r.Hold)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no such hold")
	}
	h, err := s.o.Retention.Release(ctx, archive.Tenant(r.Tenant), id, r.Body.Reason, person(ctx))
	return ReleaseHold200JSONResponse(holdOf(h)), err
}

func (s *server) Undelete(ctx context.Context, r UndeleteRequestObject) (UndeleteResponseObject, error) {
	if r.Body.AsOf.After(s.o.Now()) {
		return nil, fault.New(fault.Invalid, "asOf must be in the past")
	}
	w := remove.Rewind{At: r.Body.AsOf, Study: or(r.Body.Study, ""), DryRun: or(r.Body.DryRun, false), After: or(r.Body.After, "")}
	done, err := s.o.Rewinder.Rewind(ctx, archive.Tenant(r.Tenant), w)
	if err != nil {
		return nil, err
	}
	out := Undelete200JSONResponse{Deletions: done.Deletions, Instances: done.Instances, Versions: done.Versions, Next: some(done.Next)}
	if done.TooLate > 0 {
		out.TooLate = &done.TooLate
	}
	if w.After == "" && w.Study == "" {
		out.StoredSince = &done.StoredSince
	}
	return out, nil
}

func setOf(s retention.Set) RetentionSet {
	return RetentionSet{Name: s.Name, Title: s.Title, Since: some(s.Since), Notes: some(s.Notes), Rules: each(s.Rules, ruleOf)}
}

func ruleOf(r retention.Rule) RetentionRule {
	out := RetentionRule{Name: r.Name, Text: some(r.Text), Source: some(r.Source), Years: number(r.Years), YearsIfLater: number(r.YearsIfLater),
		Age: number(r.Age), Under: number(r.Under)}
	if len(r.Modalities) > 0 {
		out.Modalities = &r.Modalities
	}
	return out
}

// number leaves a zero out.
func number(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func policyOf(p retention.Policy) RetentionPolicy {
	out := RetentionPolicy{Set: setOf(p.Set), Default: p.Default, Rules: each(p.Rules, ruleOf), By: some(p.By)}
	if p.Stated != (archive.FactID{}) {
		out.Stated = moment(p.Stated.Time())
	}
	return out
}

func retainedOf(c retention.Check) RetainedStudy {
	v, s := &c.Verdict, &c.Study
	out := RetainedStudy{Study: s.UID, Instances: s.Instances, Bytes: s.Bytes, Modalities: append([]string{}, s.Modalities...), Received: s.Received,
		Set: some(v.Set), Rule: some(v.Rule), Why: some(v.Why), Free: moment(v.Free()),
		Holds: each(c.Holds, func(h archive.Held) string { return h.ID.String() })}
	if !v.Until.IsZero() {
		out.Until = some(v.Until.Format(time.DateOnly))
	}
	return out
}

func holdOf(h archive.Held) Hold {
	out := Hold{Id: h.ID.String(), Of: HoldOfStudy, Reference: h.Study.String(), By: h.By, At: h.ID.Time(), Reason: h.Reason, Lifted: h.Lifted, Studies: h.Studies,
		Releases: each(h.Releases, func(r archive.Released) Release { return Release{By: r.By, At: r.Fact.Time(), Reason: r.Reason} })}
	if h.Patient != (archive.Ref{}) {
		out.Of, out.Reference = HoldOfPatient, h.Patient.String()
	}
	return out
}
