package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/storage/driver"
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

// catchUpFirst compares the index with the log before anybody enters, and brings it up to that: a crash
// may have left facts unindexed, and a database that was lost, or restored from a backup, knows nothing of what was
// deleted, held or revoked since. Where it lacks much, only what says such things is indexed first, and
// the rest in the background.
func (a *Archive) catchUpFirst(ctx context.Context) error {
	missing, err := a.Reconcile.Missing(ctx, a.n.o.LongLog)
	if err != nil {
		return err
	}
	partial, err := a.beginPartial(ctx, len(missing))
	if err != nil {
		return err
	}
	if !partial {
		if len(missing) == 0 && a.n.shared() {
			return nil
		}
		if err := a.bringUp(ctx, missing); err != nil {
			return err
		}
	}
	return a.prove(ctx) // the log may have told what the index did not know
}

// bringUp indexes the facts that the index lacks. Where other nodes are at work the rest of
// catching up is left to the background, unless the index has nothing of the tenant.
func (a *Archive) bringUp(ctx context.Context, missing []ledger.Place) error {
	if len(missing) > 0 {
		progress, err := a.Index.Progress(ctx, a.Tenant)
		if err != nil {
			return fmt.Errorf("asking the index how far it is: %w", err)
		}
		if len(progress) > 0 {
			a.slog.Info("the index lacks facts of the log; they are indexed first", "facts", len(missing))
			if err := a.Reconcile.Fetch(ctx, missing); err != nil || a.n.shared() {
				return err
			}
		}
	}
	return a.catchUp(ctx)
}

// background does what an open archive needs done, until it is cut off.
func (a *Archive) background(g *gate) {
	a.wg.Go(func() {
		a.n.whileHeld(a.ctx, "reconcile/"+string(a.Tenant), func(ctx context.Context) { a.reconcile(ctx, g) })
	})
	if a.Partial() {
		a.wg.Go(func() { a.watchPartial(a.ctx) })
	}
	a.wg.Go(func() { a.n.whileHeld(a.ctx, "keys/"+string(a.Tenant), a.sweepKeys) })
	if a.n.o.Lifecycle.On {
		a.wg.Go(func() { a.n.whileHeld(a.ctx, "lifecycle/"+string(a.Tenant), a.carryOut) })
	}
	a.wg.Go(func() { a.n.whileHeld(a.ctx, "thumbnails/"+string(a.Tenant), a.follow) })
}

// reconcile indexes what is not, and reaps what is not needed, now and then.
func (a *Archive) reconcile(ctx context.Context, g *gate) {
	tick := time.NewTicker(a.n.o.ReconcileEvery)
	defer tick.Stop()
	for a.Partial() && !a.fill(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	if a.n.shared() {
		a.recover(ctx, g) // what a node left that died
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.recover(ctx, g)
		if !g.reaps(a.n.o.Now()) {
			continue
		}
		a.reap(ctx, g)
	}
}

// reap removes packs that nothing names, and counts them.
func (a *Archive) reap(ctx context.Context, g *gate) {
	done, err := a.Reconcile.Reap(ctx)
	a.n.reaped.packs.Add(int64(done.Packs))
	a.n.reaped.bytes.Add(done.Bytes)
	if done.Packs > 0 {
		a.slog.Info("removed packs that nothing names", "packs", done.Packs, "bytes", done.Bytes)
	}
	if err != nil {
		if ctx.Err() == nil {
			a.slog.Error("removing unused packs failed", "error", err)
		}
		return
	}
	if done.Kept > 0 {
		a.slog.Warn("packs that no readable fact names are kept, since they may be needed: see strata verify, and whether another archive uses the store", "packs", done.Kept)
	}
	g.kept.Store(int64(done.Kept))
}

// recover indexes what is in the log and not in the index.
func (a *Archive) recover(ctx context.Context, g *gate) {
	caught, err := a.Reconcile.Catchup(ctx)
	if err == nil {
		g.unread.Store(int64(caught.Uncommitted))
	}
	if err == nil && a.n.shared() && caught != (reconcile.CaughtUp{}) {
		a.slog.Info("caught up with the log", "indexed", caught.Indexed, "voided", caught.Voided, "uncommitted", caught.Uncommitted)
		if err = a.n.writes(a.log.Session()); err == nil {
			err = a.Reconcile.Checkpoint(ctx) // so that nobody looks for more in what is over
		}
	}
	if err != nil && ctx.Err() == nil {
		a.slog.Error("reconciling failed", "error", err)
	}
}

// reaps reports whether it is time to look for unused packs: a fourth of the
// grace after the last time, or after this process began, however often the archive was
// closed and opened meanwhile.
func (g *gate) reaps(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reaped.IsZero() {
		g.reaped = now
	}
	if now.Sub(g.reaped) < g.n.o.Grace/4 {
		return false
	}
	g.reaped = now
	return true
}

// upkeep is what some stores need done once a day: what crashes left of uploads
// that were never finished is removed.
func (n *Node) upkeep(ctx context.Context) {
	const every, most = 24 * time.Hour, 10_000
	stores := map[string]driver.Driver{"sweep/store": n.o.Remote, "sweep/key-store": n.o.RemoteKeys}
	for _, t := range n.o.Tiers {
		if t.Store != "" { // where tiers share one, either of them sweeps it
			stores["sweep/tiers."+string(t.Name)] = n.o.TierStores[t.Store]
		}
	}
	for name, d := range stores {
		s, ok := d.(interface {
			Sweep(ctx context.Context, limit int) (removed int, err error)
		})
		if !ok {
			continue
		}
		n.wg.Go(func() {
			n.whileHeld(ctx, name, func(ctx context.Context) {
				tick := time.NewTicker(every)
				defer tick.Stop()
				for ctx.Err() == nil {
					if k, err := s.Sweep(ctx, most); err != nil && ctx.Err() == nil {
						n.o.Slog.Error("removing unfinished uploads failed", "error", err)
					} else if k > 0 {
						n.o.Slog.Info("removed unfinished uploads", "uploads", k)
					}
					select {
					case <-ctx.Done():
					case <-tick.C:
					}
				}
			})
		})
	}
}
