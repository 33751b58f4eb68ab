package custody

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Lane is what only one job of a tenant may do at a time.
type Lane string

// The lanes.
const (
	LaneRewrap Lane = "rewrap" // rotate and move
	LaneEscrow Lane = "escrow"
)

// LaneOf returns the lane of a kind of job.
func LaneOf(k archive.JobKind) Lane {
	if k == archive.JobEscrow {
		return LaneEscrow
	}
	return LaneRewrap
}

// Jobs is a durable table of jobs that nodes share. Times of claims are the table's.
type Jobs interface {
	// Add adds a job that waits. fault.Conflict while another of the tenant's in its lane has not ended.
	Add(ctx context.Context, j archive.Job) error
	// Open returns the tenant's job in the lane that has not ended.
	Open(ctx context.Context, t archive.Tenant, lane Lane) (j archive.Job, ok bool, err error)
	// Claim takes a job that waits, or whose claim has ended without a word, for the
	// time. Its state becomes running.
	Claim(ctx context.Context, holder string, ttl time.Duration) (c Claim, ok bool, err error)
	// Keep makes the claim last for the time from now, and notes what the job says of
	// itself. fault.Conflict when the claim has ended.
	Keep(ctx context.Context, c Claim, ttl time.Duration) error
	// Return gives the claim back: whoever comes goes on, but not before the time has passed.
	Return(ctx context.Context, c Claim, after time.Duration) error
	// End notes the outcome: the state, done or failed, and why. The job is kept to be
	// looked at for a while. fault.Conflict when the claim has ended.
	End(ctx context.Context, c Claim) error
}

// Claim is a job that this node works on.
type Claim struct {
	archive.Job
	Token string // the table's own word for this claim
}

// start adds a job, and has a node look for it at once.
func (c *Custodian) start(ctx context.Context, kind archive.JobKind, t archive.Tenant) (archive.Job, error) {
	now := c.o.Now()
	j := archive.Job{ID: ulid.MustNew(ulid.Timestamp(now), rand.Reader).String(), Kind: kind, Tenant: t, State: archive.JobWaiting, Created: now}
	if err := c.o.Jobs.Add(ctx, j); err != nil {
		return archive.Job{}, err
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return j, nil
}

// free fails with fault.Conflict while a job of the tenant is in the lane.
func (c *Custodian) free(ctx context.Context, t archive.Tenant, lane Lane) error {
	j, open, err := c.o.Jobs.Open(ctx, t, lane)
	if err == nil && open {
		err = fault.New(fault.Conflict, "job %s works on these keys already; wait for it", j.ID)
	}
	return err
}
