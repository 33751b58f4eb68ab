package api

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
)

func (s *server) ListJobs(ctx context.Context, r ListJobsRequestObject) (ListJobsResponseObject, error) {
	limit := or(r.Params.Limit, defaultPage)
	list, err := s.o.Jobs.List(ctx, archive.Tenant(or(r.Params.Tenant, "")), or(r.Params.After, ""), limit+1)
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, func(j archive.Job) string { return j.ID })
	return ListJobs200JSONResponse{Jobs: each(list, jobOf), Next: next}, nil
}

func (s *server) GetJob(ctx context.Context, r GetJobRequestObject) (GetJobResponseObject, error) {
	j, err := s.o.Jobs.Get(ctx, r.Job)
	return GetJob200JSONResponse(jobOf(j)), err
}

// started is the answer to a call that started a job: where to look for it.
func started(j archive.Job) JobAnswerJSONResponse {
	return JobAnswerJSONResponse{Body: jobOf(j), Headers: JobAnswerResponseHeaders{Location: Root + "/jobs/" + j.ID}}
}

func jobOf(j archive.Job) Job {
	return Job{Id: j.ID, Kind: string(j.Kind), Tenant: string(j.Tenant), State: JobState(j.State), Done: j.Done, Total: j.Total,
		Created: j.Created, Started: moment(j.Started), Finished: moment(j.Finished), Failure: some(j.Failure)}
}
