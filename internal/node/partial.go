package node

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
)

// partial says that the index of an archive lacks much of what is in the log, and
// is being filled while it is in use: the database is new, or another.
type partial struct {
	is          atomic.Bool
	done, total atomic.Int64 // facts; of the node that fills it
}

// fillKind is the kind of the job that is open while a tenant's index is filled.
func fillKind(t archive.Tenant) string { return "fill/" + string(t) }

// Partial reports whether searches may miss what is in the archive, since its
// index is being filled.
func (a *Archive) Partial() bool { return a.partial.is.Load() }

// beginPartial makes the archive one whose index is being filled, if it lacks much, or is being filled already by
// whichever node. It indexes first what says who may see what and what must be kept, so that the archive can be
// entered meanwhile. missing are facts that the index lacks, asked for before.
func (a *Archive) beginPartial(ctx context.Context, missing int) (bool, error) {
	open, err := a.filling(ctx)
	if err != nil {
		return false, err
	}
	if !open {
		if missing < a.n.o.LongLog {
			return false, nil
		}
		if _, err := a.Index.Jobs().Enqueue(ctx, a.Tenant, fillKind(a.Tenant), "index", nil, time.UnixMilli(1)); err != nil {
			return false, fmt.Errorf("noting that the index is being filled: %w", err)
		}
	}
	a.partial.is.Store(true)
	a.slog.Warn("the index has not got all of the log: searches are incomplete until it is filled, the newest first")
	return true, a.Reconcile.Controls(ctx)
}

// filling reports whether the index is being filled, by whichever node.
func (a *Archive) filling(ctx context.Context) (bool, error) {
	jobs, err := a.Index.Jobs().List(ctx, index.JobFilter{Tenant: a.Tenant, Kind: fillKind(a.Tenant), Limit: 1})
	if err != nil {
		return false, fmt.Errorf("asking whether the index is being filled: %w", err)
	}
	return len(jobs) > 0, nil
}

// fill fills the index, and reports whether it is whole.
func (a *Archive) fill(ctx context.Context) bool {
	start := a.n.o.Now()
	err := a.Reconcile.Refill(ctx, func(done, total int) {
		a.partial.done.Store(int64(done))
		a.partial.total.Store(int64(total))
	})
	if err == nil {
		err = a.catchUp(ctx)
	}
	if err == nil {
		err = a.filled(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			a.slog.Error("filling the index failed; it is tried again", "error", err)
		}
		return false
	}
	if err := a.Reconcile.Present(ctx); err != nil && ctx.Err() == nil {
		a.slog.Warn("copies that are gone may still be counted; the next removals find out", "error", err)
	}
	a.slog.Info("the index is filled", "facts", a.partial.total.Load(), "seconds", int(a.n.o.Now().Sub(start).Seconds()))
	return true
}

// filled notes that the index is whole.
func (a *Archive) filled(ctx context.Context) error {
	jobs := a.Index.Jobs()
	const most = 16 // nodes that found at the same time that it had to be filled
	claimed, err := jobs.Claim(ctx, []string{fillKind(a.Tenant)}, newID(a.n.o.Now()), time.Minute, most)
	for _, j := range claimed {
		if err == nil {
			if err = jobs.Finish(ctx, j); fault.Is(err, fault.Conflict) {
				err = nil // another node has noted it
			}
		}
	}
	if err != nil {
		return fmt.Errorf("noting that the index is filled: %w", err)
	}
	a.partial.is.Store(false)
	return nil
}

// untilWhole waits until the index is filled, and reports whether it is.
func (a *Archive) untilWhole(ctx context.Context) bool {
	for a.Partial() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Second):
		}
	}
	return ctx.Err() == nil
}

// watchPartial learns when another node has filled the index.
func (a *Archive) watchPartial(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for a.Partial() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if open, err := a.filling(ctx); err == nil && !open {
			a.partial.is.Store(false)
		}
	}
}
