package custody

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	maxJobs  = 4                // that a node works on at once
	keepEach = time.Second      // how often a job says how far it is
	retryIn  = 10 * time.Second // after something did not answer
	lastWord = 5 * time.Second  // for what is written when a job or the node ends
)

// Run works on jobs and has new keys follow into escrow until the context ends;
// it returns when all that has stopped. What is unfinished is given back.
func (c *Custodian) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.follow(ctx) })
	places := make(chan struct{}, maxJobs)
	tick := time.NewTicker(c.o.Poll)
	defer tick.Stop()
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		claim, ok, err := c.o.Jobs.Claim(ctx, c.o.Holder, c.o.Lease)
		if err != nil && ctx.Err() == nil {
			c.o.Slog.Warn("the table of jobs cannot be read", "error", err)
		}
		if ok {
			wg.Go(func() {
				defer func() { <-places }()
				c.work(ctx, claim)
			})
			continue
		}
		<-places
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// run is a job under way.
type run struct {
	Claim
	done, total atomic.Int64
	until       atomic.Int64 // when the claim ends, in ns since begin
	begin       time.Time
	stop        context.CancelCauseFunc
	ctx         context.Context
}

var errLost = errors.New("another node has taken the job")

// allowed fails once the claim has ended, or the keys may not be used any more: a
// process that slept learns of it before it writes.
func (r *run) allowed() error {
	if time.Since(r.begin) >= time.Duration(r.until.Load()) {
		r.stop(errLost)
	}
	return context.Cause(r.ctx)
}

// work does a job and says what became of it.
func (c *Custodian) work(ctx context.Context, claim Claim) {
	r := &run{Claim: claim, begin: time.Now()}
	r.until.Store(int64(c.o.Lease))
	r.ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		c.keep(r)
	}()
	err := c.do(r)
	if cause := context.Cause(r.ctx); cause != nil {
		err = cause
	}
	r.stop(errEnded)
	<-kept
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	log := c.o.Slog.With("job", r.ID, "kind", string(r.Kind), "tenant", string(r.Tenant))
	r.Job.Done, r.Job.Total = r.done.Load(), r.total.Load()
	c.counts.forget(r.Tenant)
	var noted error
	switch kind := fault.KindOf(err); {
	case errors.Is(err, errLost):
		log.Warn("a job went on elsewhere")
	case ctx.Err() != nil:
		noted = c.o.Jobs.Return(end, r.Claim, 0)
	case err == nil:
		r.State, r.Finished = archive.JobDone, c.o.Now()
		noted = c.o.Jobs.End(end, r.Claim)
		log.Info("a job is done", "objects", r.Job.Done)
	case kind == fault.KeyUnreachable || kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Busy:
		log.Warn("a job waits for what does not answer", "error", err)
		r.Failure = fault.Message(err)
		noted = c.o.Jobs.Return(end, r.Claim, min(retryIn, c.o.Lease))
	default:
		log.Error("a job failed", "error", err)
		r.State, r.Finished, r.Failure = archive.JobFailed, c.o.Now(), fault.Message(err)
		noted = c.o.Jobs.End(end, r.Claim)
	}
	if noted != nil {
		log.Warn("the end of a job could not be noted; it will be looked at again", "error", noted)
	}
}

var errEnded = errors.New("the job has ended")

func (c *Custodian) do(r *run) error {
	if r.Kind == archive.JobEscrow {
		return c.escrow(r)
	}
	return c.rewrap(r)
}

// keep renews the claim, and ends the job when that is lost or the keys may no longer be used.
func (c *Custodian) keep(r *run) {
	tick := time.NewTicker(min(keepEach, c.o.Lease/3))
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		if r.allowed() != nil {
			return
		}
		if _, err := c.usable(r.ctx, r.Tenant); fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			r.stop(err)
			return
		}
		claim, asked := r.Claim, time.Since(r.begin)
		claim.Done, claim.Total = r.done.Load(), r.total.Load()
		err := c.o.Jobs.Keep(r.ctx, claim, c.o.Lease)
		switch {
		case err == nil:
			r.until.Store(int64(asked + c.o.Lease))
		case fault.Is(err, fault.Conflict):
			r.stop(errLost)
			return
		}
	}
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
