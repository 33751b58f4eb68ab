package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
)

// Jobs is what operators start and look at, in the table of deferred work that
// nodes share. A row of the table is one job for all its life: its key is the
// lane while the job is open, and has the job's id behind it when that is over.
type Jobs struct {
	table index.Jobs
	now   func() time.Time
}

var _ custody.Jobs = Jobs{}

// Jobs returns the jobs of all nodes.
func (n *Node) Jobs() Jobs { return Jobs{n.Index.Jobs(), n.o.Now} }

const (
	jobKind     = "keys"              // of the rows
	keepJobs    = 90 * 24 * time.Hour // how long a job that is over can be looked at
	jobPage     = 1000                // rows read at once
	maxJobPages = 100                 // more than this many pages nobody has started in that time
)

// Add implements [custody.Jobs].
func (j Jobs) Add(ctx context.Context, job archive.Job) error {
	payload, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("writing a job down: %w", err)
	}
	// Due since a while: the database's clock tells when it may be claimed.
	added, err := j.table.Enqueue(ctx, job.Tenant, jobKind, string(custody.LaneOf(job.Kind)), payload, time.UnixMilli(1))
	if err == nil && !added {
		err = fault.New(fault.Conflict, "another job works on these keys already; wait for it")
	}
	return err
}

// Open implements [custody.Jobs].
func (j Jobs) Open(ctx context.Context, t archive.Tenant, lane custody.Lane) (archive.Job, bool, error) {
	rows, err := j.rows(ctx, t, func(r index.Job) bool { return r.Key == string(lane) })
	if err != nil || len(rows) == 0 {
		return archive.Job{}, false, err
	}
	return rows[0], true, nil
}

// Get returns one job; fault.NotFound.
func (j Jobs) Get(ctx context.Context, id string) (archive.Job, error) {
	rows, err := j.rows(ctx, "", nil)
	if err != nil {
		return archive.Job{}, err
	}
	for _, job := range rows {
		if job.ID == id {
			return job, nil
		}
	}
	return archive.Job{}, fault.New(fault.NotFound, "there is no such job; those that are over are kept for 90 days")
}

// List returns up to limit jobs with ids after the given one, ascending, of one
// tenant or, with an empty name, of all.
func (j Jobs) List(ctx context.Context, t archive.Tenant, after string, limit int) ([]archive.Job, error) {
	rows, err := j.rows(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(job archive.Job) bool { return job.ID <= after })
	slices.SortFunc(rows, func(a, b archive.Job) int { return cmp.Compare(a.ID, b.ID) })
	return rows[:min(max(limit, 0), len(rows))], nil
}

// rows reads the jobs of a tenant, or of all, that want takes.
func (j Jobs) rows(ctx context.Context, t archive.Tenant, want func(index.Job) bool) (out []archive.Job, err error) {
	after := int64(0)
	for range maxJobPages {
		page, err := j.table.List(ctx, index.JobFilter{Tenant: t, Kind: jobKind, After: after, Limit: jobPage})
		if err != nil {
			return nil, err
		}
		for _, row := range page {
			after = row.ID
			if want != nil && !want(row) {
				continue
			}
			job, err := j.job(row)
			if err != nil {
				return nil, err
			}
			out = append(out, job)
		}
		if len(page) < jobPage {
			break
		}
	}
	return out, nil
}

// job is what a row says.
func (j Jobs) job(row index.Job) (job archive.Job, err error) {
	if err := json.Unmarshal(row.Payload, &job); err != nil {
		return job, fault.Wrap(fault.Internal, err, "reading a job")
	}
	if job.State.Ended() {
		return job, nil
	}
	job.State = archive.JobWaiting
	if row.Until.After(j.now()) {
		job.State = archive.JobRunning
	} else if row.Reason != "" {
		job.Failure = row.Reason // what it waits for
	}
	return job, nil
}

// token is what is needed of a row to speak for its claim.
type token struct {
	ID, Attempts int64
	Holder       string
}

// Claim implements [custody.Jobs].
func (j Jobs) Claim(ctx context.Context, holder string, ttl time.Duration) (custody.Claim, bool, error) {
	rows, err := j.table.Claim(ctx, []string{jobKind}, holder, ttl, 1)
	if err != nil || len(rows) == 0 {
		return custody.Claim{}, false, err
	}
	row := rows[0]
	job, err := j.job(row)
	if err != nil {
		return custody.Claim{}, false, err
	}
	job.State, job.Failure = archive.JobRunning, ""
	if job.Started.IsZero() {
		job.Started = j.now()
	}
	t, err := json.Marshal(token{row.ID, row.Attempts, row.Holder})
	return custody.Claim{Job: job, Token: string(t)}, err == nil, err
}

// row is the claim's, with the payload that the job has by now.
func row(c custody.Claim) (index.Job, error) {
	var t token
	if err := json.Unmarshal([]byte(c.Token), &t); err != nil {
		return index.Job{}, fault.Wrap(fault.Internal, err, "reading the claim on a job")
	}
	payload, err := json.Marshal(c.Job)
	if err != nil {
		return index.Job{}, fmt.Errorf("writing a job down: %w", err)
	}
	return index.Job{ID: t.ID, Attempts: t.Attempts, Holder: t.Holder, Tenant: c.Tenant, Kind: jobKind, Payload: payload}, nil
}

// Keep implements [custody.Jobs].
func (j Jobs) Keep(ctx context.Context, c custody.Claim, ttl time.Duration) error {
	r, err := row(c)
	if err == nil {
		_, err = j.table.Extend(ctx, r, ttl)
	}
	return err
}

// Return implements [custody.Jobs].
func (j Jobs) Return(ctx context.Context, c custody.Claim, after time.Duration) error {
	r, err := row(c)
	if err == nil {
		err = j.table.Fail(ctx, r, j.now().Add(after), c.Failure)
	}
	return err
}

// End implements [custody.Jobs].
func (j Jobs) End(ctx context.Context, c custody.Claim) error {
	r, err := row(c)
	if err == nil {
		key := strings.Join([]string{string(custody.LaneOf(c.Kind)), c.ID}, "/")
		err = j.table.Shelve(ctx, r, key, c.Failure, j.now().Add(-keepJobs))
	}
	return err
}
