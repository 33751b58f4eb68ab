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
	maxDrillPages = 100
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
	err = d.each(ctx, t, func(run *archive.DrillRun) {
		switch {
		case !run.State.Ended():
			s.Running = run
			return
		case s.Last == nil || run.Finished.After(s.Last.Finished):
			s.Last = run
		}
		if run.Succeeded() && (s.LastSuccess == nil || run.Finished.After(s.LastSuccess.Finished)) {
			s.LastSuccess = run
		}
	})
	return s, err
}

// Successes tells when the last drill of each tenant succeeded.
func (d Drills) Successes(ctx context.Context) (map[archive.Tenant]time.Time, error) {
	out := map[archive.Tenant]time.Time{}
	err := d.each(ctx, "", func(run *archive.DrillRun) {
		if run.Succeeded() && run.Finished.After(out[run.Tenant]) {
			out[run.Tenant] = run.Finished
		}
	})
	return out, err
}

// each calls yield for the drills of a tenant, or of all.
func (d Drills) each(ctx context.Context, t archive.Tenant, yield func(*archive.DrillRun)) error {
	after := int64(0)
	for range maxDrillPages {
		page, err := d.n.Index.Jobs().List(ctx, index.JobFilter{Tenant: t, Kind: drillKind, After: after, Limit: jobPage})
		if err != nil {
			return err
		}
		for _, row := range page {
			after = row.ID
			run, err := runOf(row)
			if err != nil {
				return err
			}
			yield(&run)
		}
		if len(page) < jobPage {
			return nil
		}
	}
	return nil
}

func runOf(row index.Job) (run archive.DrillRun, err error) {
	if err := json.Unmarshal(row.Payload, &run); err != nil {
		return run, fault.Wrap(fault.Internal, err, "reading a drill")
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
