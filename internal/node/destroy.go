package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/intent"
	"github.com/strata-pacs/strata/internal/ledger"
)

// guard has what destroys, stated in a session of the log, and what protects follow one another.
func (a *Archive) guard(log *ledger.Log) *intent.Guard {
	return intent.New(intent.Options{Tenant: a.Tenant, Index: a.Index, Log: log, Fence: a.Reconcile.Fence})
}

// freshFor is how old the index's knowledge of the log may be for what is dropped by it.
const freshFor = time.Minute

// catches is when the index was last brought up to the log so that something could be dropped.
type catches struct {
	mu sync.Mutex
	at time.Time // of this process
}

// fresh brings the index up to the log: the database may have been restored from an older backup, and not know of a hold. Where not
// all of the log can be read nothing is dropped.
func (a *Archive) fresh(ctx context.Context) error {
	a.caught.mu.Lock()
	defer a.caught.mu.Unlock()
	if !a.caught.at.IsZero() && time.Since(a.caught.at) < freshFor {
		return nil
	}
	began := time.Now()
	if _, err := a.Reconcile.Catchup(ctx); err != nil {
		return err
	}
	a.caught.at = began
	return nil
}

// storeClock is what is known of the store's clock.
type storeClock struct {
	mu     sync.Mutex
	store  time.Time // what it said
	asked  time.Time // when, of this process
	node   time.Time // and by the node's clock
	warned bool
}

const (
	// clockFor is how long the store is not asked again for its time.
	clockFor = 10 * time.Minute
	// clockOff is how much the node's clock may differ before somebody is told.
	clockOff = 5 * time.Minute
)

// storeTime returns the time by the store's clock, which it asks again when a while has passed or the node's clock says so. A machine that
// slept may count too little time since, never too much.
func (a *Archive) storeTime(ctx context.Context) (time.Time, error) {
	c := &a.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	now := a.n.o.Now()
	if passed := time.Since(c.asked); !c.asked.IsZero() && passed < clockFor && now.Sub(c.node).Abs() < clockFor {
		return c.store.Add(passed), nil
	}
	at, err := a.Reconcile.StoreTime(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c.store, c.asked, c.node = at, time.Now(), now
	if off := now.Sub(at); off.Abs() > clockOff && !c.warned {
		c.warned = true
		a.slog.Warn("the clock of this node and that of the store differ; nothing is dropped or let go of before both agree that it is time", "by", fmt.Sprint(off.Round(time.Second)))
	}
	return at, nil
}
