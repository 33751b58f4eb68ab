package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// catchUp indexes what a crash left unindexed, and takes stock of the log.
func (a *Archive) catchUp(ctx context.Context) error {
	caught, err := a.Reconcile.Catchup(ctx)
	if err != nil {
		return fmt.Errorf("bringing the index up to the log: %w", err)
	}
	if caught != (reconcile.CaughtUp{}) {
		a.slog.Info("caught up with the log", "indexed", caught.Indexed, "voided", caught.Voided, "uncommitted", caught.Uncommitted)
	}
	if err := a.Reconcile.Checkpoint(ctx); err != nil {
		if !fault.Is(err, fault.Full) {
			return err
		}
		// A full disk must not keep the archive from being read.
		a.slog.Warn("the disk is full: no checkpoint was written", "error", err)
	}
	return nil
}

// background does what an open archive needs done, until it is cut off.
func (a *Archive) background() {
	a.wg.Go(func() { a.reconcile(a.ctx) })
	a.wg.Go(func() { a.follow(a.ctx) })
}

// reconcile indexes what is not, and reaps what is not needed, now and then.
func (a *Archive) reconcile(ctx context.Context) {
	tick := time.NewTicker(a.n.o.ReconcileEvery)
	defer tick.Stop()
	reaped := a.n.o.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := a.Reconcile.Catchup(ctx); err != nil && ctx.Err() == nil {
			a.slog.Error("reconciling failed", "error", err)
		}
		if a.n.o.Now().Sub(reaped) < a.n.o.Grace/4 {
			continue
		}
		reaped = a.n.o.Now()
		if k, err := a.Reconcile.Reap(ctx); err != nil && ctx.Err() == nil {
			a.slog.Error("removing unused packs failed", "error", err)
		} else if k > 0 {
			a.slog.Info("removed packs that nothing names", "packs", k)
		}
	}
}
