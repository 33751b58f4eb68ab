package node

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/held"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// defaultOpen is how many archives are open at once, unless Options.Open says otherwise.
const defaultOpen = 256

// headroom is how many times Options.CacheBytes the archives of all tenants but
// the default one may remember together.
const headroom = 4

// together is what the archives of a node have in common, so that its memory
// does not grow with the number of tenants.
type together struct {
	shares *retrieve.Shares
	cached *held.Budget // of all but the default tenant
}

func newTogether(o Options) together {
	return together{retrieve.NewShares(), held.NewBudget(headroom * o.CacheBytes)}
}

// cacheBytes is how much decoded metadata the tenant's archive holds in memory,
// and what it shares that with.
func (n *Node) cacheBytes(t archive.Tenant) (int64, *held.Budget) {
	if t == n.Tenant {
		return n.o.CacheBytes, nil
	}
	return max(4<<20, n.o.CacheBytes/8), n.together.cached
}

var errCrowded = fault.New(fault.Busy, "as many archives are in use at once as this server holds open; try again in a moment")

// admit takes a place for an archive that is about to be opened. Where there is
// none left, the archive that nobody has been in for longest is closed;
// fault.Busy when there is somebody in all of them.
func (n *Node) admit(ctx context.Context) error {
	for !n.places.TryAcquire(1) {
		left := n.makeRoom()
		if left == nil {
			if n.places.TryAcquire(1) { // somebody has left in the meantime
				return nil
			}
			return errCrowded
		}
		select {
		case <-left:
		case <-ctx.Done():
			return fault.Wrap(fault.Busy, ctx.Err(), "no other archive could be closed in time; try again in a moment")
		}
	}
	return nil
}

// makeRoom closes the archive that has been idle for longest, and returns what
// is closed when that is done; nil when there is none, nor one that is being closed.
func (n *Node) makeRoom() (left <-chan struct{}) {
	var oldest *gate
	var idle *Archive
	var used time.Time
	for _, g := range n.allGates() {
		g.mu.Lock()
		switch {
		case g.idle() && (oldest == nil || g.used.Before(used)):
			oldest, idle, used = g, g.a, g.used
		case g.leaving:
			left = g.busy
		}
		g.mu.Unlock()
	}
	if oldest != nil {
		if done := oldest.shutIdle(idle); done != nil {
			return done
		}
		// Somebody has entered: look again, at once.
		again := make(chan struct{})
		close(again)
		return again
	}
	return left
}
