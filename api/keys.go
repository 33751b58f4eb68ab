package api

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// confirmed refuses what cannot be taken back unless the body names the tenant
// that the path does.
func confirmed(tenant, confirm string) error {
	if confirm != tenant {
		return fault.New(fault.Invalid, "confirm: must be the tenant's name, for this cannot be taken back")
	}
	return nil
}

func (s *server) GetKeys(ctx context.Context, r GetKeysRequestObject) (GetKeysResponseObject, error) {
	k, err := s.keys(ctx, r.Tenant)
	return GetKeys200JSONResponse{k}, err
}

// keys is the status that calls about keys answer with.
func (s *server) keys(ctx context.Context, tenant string) (KeysAnswerJSONResponse, error) {
	status, err := s.o.Keys.Status(ctx, archive.Tenant(tenant))
	return KeysAnswerJSONResponse(keyStatusOf(status)), err
}

func (s *server) RetireKeys(ctx context.Context, r RetireKeysRequestObject) (RetireKeysResponseObject, error) {
	if err := confirmed(r.Tenant, r.Body.Confirm); err != nil {
		return nil, err
	}
	if err := s.o.Keys.Retire(ctx, archive.Tenant(r.Tenant), or(r.Body.Before, "")); err != nil {
		return nil, err
	}
	k, err := s.keys(ctx, r.Tenant)
	return RetireKeys200JSONResponse{k}, err
}

func (s *server) RevokeKeys(ctx context.Context, r RevokeKeysRequestObject) (RevokeKeysResponseObject, error) {
	if err := confirmed(r.Tenant, r.Body.Confirm); err != nil {
		return nil, err
	}
	if err := s.o.Keys.Revoke(context.WithoutCancel(ctx), archive.Tenant(r.Tenant), or(r.Body.DisableKey, false)); err != nil {
		return nil, err
	}
	k, err := s.keys(ctx, r.Tenant)
	return RevokeKeys200JSONResponse{k}, err
}

func (s *server) GrantKeys(ctx context.Context, r GrantKeysRequestObject) (GrantKeysResponseObject, error) {
	enable := r.Body != nil && or(r.Body.EnableKey, false)
	if err := s.o.Keys.Grant(ctx, archive.Tenant(r.Tenant), enable); err != nil {
		return nil, err
	}
	k, err := s.keys(ctx, r.Tenant)
	return GrantKeys200JSONResponse{k}, err
}

func (s *server) RotateKeys(ctx context.Context, r RotateKeysRequestObject) (RotateKeysResponseObject, error) {
	j, err := s.o.Rewraps.Rotate(ctx, archive.Tenant(r.Tenant))
	return RotateKeys202JSONResponse{started(j)}, err
}

func (s *server) MoveKeys(ctx context.Context, r MoveKeysRequestObject) (MoveKeysResponseObject, error) {
	j, err := s.o.Rewraps.Move(ctx, archive.Tenant(r.Tenant), r.Body.Kek)
	return MoveKeys202JSONResponse{started(j)}, err
}

func (s *server) EscrowKeys(ctx context.Context, r EscrowKeysRequestObject) (EscrowKeysResponseObject, error) {
	to := archive.Recovery{KEK: or(r.Body.Kek, ""), PublicKey: or(r.Body.PublicKey, nil)}
	j, err := s.o.Escrows.Escrow(ctx, archive.Tenant(r.Tenant), to)
	return EscrowKeys202JSONResponse{started(j)}, err
}

// defaultSample is how many study keys a drill tries; the contract says the same.
const defaultSample = 100

func (s *server) DrillKeys(ctx context.Context, r DrillKeysRequestObject) (DrillKeysResponseObject, error) {
	d := archive.Drill{PrivateKey: or(r.Body.PrivateKey, nil), Sample: or(r.Body.Sample, defaultSample)}
	defer clear(d.PrivateKey)
	report, err := s.o.Escrows.Drill(ctx, archive.Tenant(r.Tenant), d)
	return DrillKeys200JSONResponse{At: report.At, Tried: report.Tried, Opened: report.Opened, Failed: report.Failed}, err
}

func keyStatusOf(k archive.KeyStatus) KeyStatus {
	out := KeyStatus{State: State(k.State), Kek: k.KEK, Versions: each(k.Versions, versionOf), Proofs: each(k.Proofs, proofOf)}
	if k.Job != nil {
		j := jobOf(*k.Job)
		out.Job = &j
	}
	if e := k.Escrow; e != nil {
		out.Escrow = &EscrowStatus{Kek: some(e.KEK), Fingerprint: some(e.Fingerprint), At: e.At, Objects: e.Objects, Missing: e.Missing, Drilled: moment(e.Drilled)}
	}
	return out
}

func versionOf(v archive.KeyVersion) KeyVersion {
	return KeyVersion{Kek: v.KEK, Version: v.Version, Current: v.Current, Retired: v.Retired, Objects: v.Objects}
}

func proofOf(p archive.KeyProof) KeyProof {
	out := KeyProof{Kek: p.KEK, Outcome: Ok, At: moment(p.At), LatencyMs: some(float64(p.Latency) / float64(time.Millisecond))}
	if p.Failure != "" {
		out.Outcome = KeyProofOutcome(p.Failure)
	}
	return out
}

// moment is the time, or nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
