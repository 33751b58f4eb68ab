package api

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func (s *server) Shred(ctx context.Context, r ShredRequestObject) (ShredResponseObject, error) {
	if err := confirmed(r.Tenant, r.Body.Confirm); err != nil {
		return nil, err
	}
	target := archive.ShredTarget{Study: or(r.Body.Study, ""), PatientID: or(r.Body.PatientId, ""), Issuer: or(r.Body.IssuerOfPatientId, "")}
	if (target.Study == "") == (target.PatientID == "") || target.Study != "" && target.Issuer != "" {
		return nil, fault.New(fault.Invalid, "name either a study, or a patientId with or without issuerOfPatientId")
	}
	status, err := s.o.Shredder.Shred(ctx, archive.Tenant(r.Tenant), target)
	if err != nil {
		return nil, err
	}
	out := Shred200JSONResponse{State: ShredStatusStateDone, Studies: status.Studies, Instances: status.Instances, Keys: status.Keys,
		Closed: status.Closed, PendingUntil: moment(status.PendingUntil)}
	if status.PendingUntil.After(s.o.Now()) {
		out.State = ShredStatusStatePending
	}
	return out, nil
}
