package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/drill"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
)

// Drills are the recovery drills of tenants, in the table of deferred work that nodes share. One
// node, by a lease, carries them out. One that is interrupted because the node ends is begun anew, with
// the same seed, by whoever has the lease next.
type Drills struct{ n *Node }

// Drills returns the drills of all tenants.
func (n *Node) Drills() Drills { return Drills{n} }

// drills is what a node has of them in memory.
type drills struct {
	wake chan struct{}

	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by ID
}

const (
	drillKind     = "drill"        // of the rows
	drillOff      = "drill-cancel" // of rows that call one off; the key is its ID
	drillOpen     = "open"         // key of the tenant's drill that has not ended
	drillLease    = 30 * time.Second
	drillPoll     = 2 * time.Second
	drillKeep     = time.Second               // how often it is noted how far one is
	keepDrills    = 10 * 365 * 24 * time.Hour // that are over: they are few, and proof
	drillLastWord = 5 * time.Second
)

var (
	errCalledOff = fault.New(fault.Canceled, "the drill was called off")
	errNoDrill   = fault.New(fault.NotFound, "no drill is running")
)

// Start has a drill begun. fault.Conflict while another of the tenant is under way, fault.Invalid for
// a request that makes no sense, fault.NotFound when there is no such tenant.
func (d Drills) Start(ctx context.Context, t archive.Tenant, q archive.RecoveryDrill) (archive.DrillRun, error) {
	if err := drill.Check(&q); err != nil {
		return archive.DrillRun{}, err
	}
	if _, err := d.n.settings(ctx, t); err != nil {
		return archive.DrillRun{}, err
	}
	if q.Seed == 0 {
		q.Seed = drill.NewSeed()
	}
	now := d.n.o.Now()
	run := archive.DrillRun{ID: newID(now), Tenant: t, State: archive.JobWaiting, Asked: q, Created: now}
	payload, err := json.Marshal(run)
	if err != nil {
		return archive.DrillRun{}, fmt.Errorf("writing a drill down: %w", err)
	}
	added, err := d.n.Index.Jobs().Enqueue(ctx, t, drillKind, drillOpen, payload, time.UnixMilli(1))
	if err == nil && !added {
		err = fault.New(fault.Conflict, "another drill of this tenant is under way; wait for it, or call it off")
	}
	if err != nil {
		return archive.DrillRun{}, err
	}
	select {
	case d.n.drills.wake <- struct{}{}:
	default:
	}
	return run, nil
}

// Status returns the drills of a tenant; fault.NotFound when there is no such tenant.
func (d Drills) Status(ctx context.Context, t archive.Tenant) (s archive.DrillStatus, err error) {
	if _, err := d.n.settings(ctx, t); err != nil {
		return s, err
	}
	if s.Running, err = d.running(ctx, t); err != nil {
		return s, err
	}
	row, ok, err := d.n.Index.Jobs().Shelved(ctx, t, drillKind, false, 0)
	if err == nil && ok {
		s.Last, err = runOf(row)
	}
	if err == nil {
		s.LastSuccess, err = d.success(ctx, t)
	}
	return s, err
}

// running returns the tenant's drill that has not ended, if there is one.
func (d Drills) running(ctx context.Context, t archive.Tenant) (*archive.DrillRun, error) {
	row, ok, err := d.n.Index.Jobs().Keyed(ctx, t, drillKind, drillOpen)
	if err != nil || !ok {
		return nil, err
	}
	return runOf(row)
}

// Successes tells when the last drill of each tenant succeeded.
func (d Drills) Successes(ctx context.Context) (map[archive.Tenant]time.Time, error) {
	out := map[archive.Tenant]time.Time{}
	tenants, err := d.n.Index.Jobs().Tenants(ctx, drillKind)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		run, err := d.success(ctx, t)
		if err != nil {
			return nil, err
		}
		if run != nil {
			out[t] = run.Finished
		}
	}
	return out, nil
}

// success returns the tenant's last drill that succeeded, if there is one. Of those that an older version shelved, the rows alone tell.
func (d Drills) success(ctx context.Context, t archive.Tenant) (*archive.DrillRun, error) {
	for before := int64(0); ; {
		row, ok, err := d.n.Index.Jobs().Shelved(ctx, t, drillKind, true, before)
		if err != nil || !ok {
			return nil, err
		}
		run, err := runOf(row)
		if err != nil || run.Succeeded() {
			return run, err
		}
		before = row.ID
	}
}

// reasonOf is what is beside a drill that is over: nothing, if it succeeded.
func reasonOf(run *archive.DrillRun) string {
	switch {
	case run.Failure != "":
		return run.Failure
	case run.Succeeded():
		return ""
	case run.Report != nil && run.Report.Failed():
		return "something could not be restored"
	}
	return "nothing was tried"
}

func runOf(row index.Job) (*archive.DrillRun, error) {
	run := new(archive.DrillRun)
	if err := json.Unmarshal(row.Payload, run); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "reading a drill")
	}
	return run, nil
}

// Cancel calls the tenant's drill off, on whichever node it runs: it ends within seconds. fault.NotFound when none is under way.
func (d Drills) Cancel(ctx context.Context, t archive.Tenant) error {
	s, err := d.Status(ctx, t)
	if err != nil {
		return err
	}
	if s.Running == nil {
		return errNoDrill
	}
	if _, err := d.n.Index.Jobs().Enqueue(ctx, t, drillOff, s.Running.ID, nil, time.UnixMilli(1)); err != nil {
		return err
	}
	select {
	case d.n.drills.wake <- struct{}{}:
	default:
	}
	return nil
}
