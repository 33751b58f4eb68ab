package node

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/drill"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
)

var errDrillLost = errors.New("another node has taken the drill")

// openDrills removes what drills left that were killed, and carries out those that are asked for until the context ends.
func (n *Node) openDrills(ctx context.Context) error {
	if err := drill.Sweep(n.o.DrillScratch); err != nil {
		return fault.Wrap(fault.Invalid, err, "drill-scratch")
	}
	n.wg.Go(func() { n.whileHeld(ctx, "drills", n.runDrills) })
	return nil
}

func (n *Node) runDrills(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(drillPoll)
	defer tick.Stop()
	holder := newID(n.o.Now())
	for {
		rows, err := n.Index.Jobs().Claim(ctx, []string{drillKind, drillOff}, holder, drillLease, jobPage)
		if err != nil && ctx.Err() == nil {
			n.o.Slog.Warn("the table of drills cannot be read", "error", err)
		}
		for _, row := range rows {
			if row.Kind == drillOff {
				n.callOff(ctx, row)
				continue
			}
			run, err := runOf(row)
			if err != nil {
				n.o.Slog.Error("a drill cannot be read", "tenant", string(row.Tenant), "error", err)
				continue
			}
			w := &drilling{n: n, row: row, run: *run}
			w.ctx, w.cancel = context.WithCancelCause(ctx)
			n.drills.mu.Lock()
			n.drills.running[run.ID] = w.cancel
			n.drills.mu.Unlock()
			wg.Go(w.work)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.drills.wake:
		case <-tick.C:
		}
	}
}

// callOff ends the drill that a row names. The row stays while the drill is not over and does not run here:
// it is about to be taken up.
func (n *Node) callOff(ctx context.Context, row index.Job) {
	n.drills.mu.Lock()
	cancel := n.drills.running[row.Key]
	n.drills.mu.Unlock()
	jobs := n.Index.Jobs()
	var err error
	if cancel != nil {
		cancel(errCalledOff)
		err = jobs.Finish(ctx, row)
	} else {
		var open *archive.DrillRun
		open, err = n.Drills().running(ctx, row.Tenant)
		switch {
		case err != nil:
		case open != nil && open.ID == row.Key:
			err = jobs.Fail(ctx, row, n.o.Now().Add(drillPoll), "")
		default:
			err = jobs.Finish(ctx, row)
		}
	}
	if err != nil && ctx.Err() == nil {
		n.o.Slog.Warn("calling off a drill could not be noted; it is tried again", "error", err)
	}
}

// drilling is a drill that this node carries out.
type drilling struct {
	n      *Node
	row    index.Job
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu  sync.Mutex
	run archive.DrillRun
}

// work carries the drill out and says what became of it.
func (w *drilling) work() {
	defer w.cancel(nil)
	w.note(func(r *archive.DrillRun) { r.State, r.Started, r.Phase = archive.JobRunning, w.n.o.Now(), "" })
	kept := make(chan struct{})
	ended, stop := context.WithCancel(w.ctx)
	go func() {
		defer close(kept)
		w.keep(ended)
	}()
	report, err := w.drill()
	if cause := context.Cause(w.ctx); cause != nil {
		err = cause
	}
	stop()
	<-kept
	w.n.drills.mu.Lock()
	delete(w.n.drills.running, w.run.ID)
	w.n.drills.mu.Unlock()
	log := w.n.o.Slog.With("drill", w.run.ID, "tenant", string(w.run.Tenant))
	end, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), drillLastWord)
	defer cancel()
	jobs := w.n.Index.Jobs()
	if errors.Is(err, errDrillLost) {
		log.Warn("a drill went on elsewhere")
		return
	}
	// The node ends, or lost the lease of drills or its membership.
	if w.ctx.Err() != nil && !errors.Is(err, errCalledOff) || errors.Is(err, errClosing) || errors.Is(err, errNotMember) {
		if err := jobs.Fail(end, w.row, w.n.o.Now().Add(drillPoll), ""); err != nil {
			log.Warn("a drill could not be given back", "error", err)
		}
		return
	}
	w.note(func(r *archive.DrillRun) {
		r.Finished, r.Phase = w.n.o.Now(), ""
		if r.State = archive.JobDone; err != nil {
			r.State, r.Failure = archive.JobFailed, fault.Message(err)
			return
		}
		r.Report = &report
	})
	switch {
	case errors.Is(err, errCalledOff):
		log.Info("a drill was called off")
	case err != nil:
		log.Error("a drill could not be carried out", "error", err)
	case report.Failed():
		log.Error("a drill found what cannot be restored", "failures", len(report.Failures)+report.MoreFailures)
	default:
		log.Info("a drill has ended well", "studies", report.Studies, "instances", report.Instances)
	}
	if err := jobs.Shelve(end, w.noted(), w.run.ID, reasonOf(&w.run), w.n.o.Now().Add(-keepDrills)); err != nil {
		log.Warn("the end of a drill could not be noted", "error", err)
	}
}

// drill carries it out in the tenant's open archive.
func (w *drilling) drill() (archive.RecoveryReport, error) {
	n := w.n
	v, err := n.Enter(w.ctx, w.run.Tenant)
	if err != nil {
		return archive.RecoveryReport{}, err
	}
	defer v.Leave()
	if v.Partial() && !w.run.Asked.FromLog {
		return archive.RecoveryReport{}, fault.New(fault.Unavailable, "the index is being filled; a drill would prove something about a part alone: begin one when it is whole")
	}
	ctx, cancel := v.Within(w.ctx)
	defer cancel()
	o := drill.Options{Tenant: v.Tenant, Index: n.Index, Keys: v.ring, Tiers: n.tiers, Restorer: drillRestorer{n}, Scratch: n.o.DrillScratch, Now: n.o.Now}
	return drill.Run(ctx, o, w.run.Asked, func(done, total int, phase string) {
		w.note(func(r *archive.DrillRun) { r.Done, r.Total, r.Phase = done, total, phase })
	})
}

// drillRestorer restores for drills.
type drillRestorer struct{ n *Node }

// Ask implements [drill.Restorer].
func (r drillRestorer) Ask(ctx context.Context, t archive.Tenant, studies []string, p archive.Priority) (archive.RestoreStatus, error) {
	return r.n.Restores().Ask(ctx, t, archive.RestoreRequest{Studies: studies, Priority: p, For: 24 * time.Hour, By: "a drill"})
}

// Wait implements [drill.Restorer].
func (r drillRestorer) Wait(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	return r.n.Restores().Wait(ctx, t, id)
}

func (w *drilling) note(f func(*archive.DrillRun)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.run)
}

// noted is the row with what there is to tell by now.
func (w *drilling) noted() index.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, err := json.Marshal(w.run); err == nil { // it was read from JSON
		w.row.Payload = b
	}
	return w.row
}

// keep renews the claim, and tells how far the drill is.
func (w *drilling) keep(ctx context.Context) {
	tick := time.NewTicker(drillKeep)
	defer tick.Stop()
	for until := time.Now().Add(drillLease); ; {
		asked := time.Now()
		_, err := w.n.Index.Jobs().Extend(ctx, w.noted(), drillLease)
		switch {
		case err == nil:
			until = asked.Add(drillLease)
		case fault.Is(err, fault.Conflict), time.Now().After(until):
			w.cancel(errDrillLost)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
