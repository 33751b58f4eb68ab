package index

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Watch returns a channel that is closed when the tenant's feed next grows, on whichever node,
// or when it may have. Take it before reading the feed, so that nothing is missed.
func (x *Index) Watch(name archive.Tenant) <-chan struct{} {
	any := x.tenants.watch()
	t, err := x.tenants.get(context.Background(), name)
	if err != nil || t == nil {
		return any // closed when there is a new tenant
	}
	return t.watch()
}

func (ts *tenants) watch() <-chan struct{} {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.watched = true
	return ts.wake
}

// tell wakes those that wait for a tenant; the caller has the lock.
func (ts *tenants) tell(newest int64) {
	close(ts.wake)
	ts.wake, ts.watched = make(chan struct{}), false
	ts.newest = max(ts.newest, newest)
}

func (t *tenant) watch() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched = true
	if t.gone.Load() {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return t.wake
}

// woke tells those that wait for the feed. writes is the tenant's count of them, 0 when there is none.
func (t *tenant) woke(writes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.wake)
	t.wake, t.watched = make(chan struct{}), false
	t.seen = max(t.seen, writes)
}

// poller notices what other nodes write. It asks for the counts of writes of all
// tenants, one small query, while somebody waits: LISTEN and NOTIFY would put all
// commits of the database one after another, and do not go through poolers.
type poller struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (p *poller) start(x *Index, every time.Duration) {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	if !x.shared {
		return
	}
	p.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if x.tenants.awaited() {
				_ = x.look(ctx) // the next tick tries again
			}
		}
	})
}

func (p *poller) stop() {
	p.cancel()
	p.wg.Wait()
}

// awaited reports whether somebody waits for a tenant or a feed.
func (ts *tenants) awaited() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.watched {
		return true
	}
	for _, t := range ts.byName {
		t.mu.Lock()
		watched := t.watched
		t.mu.Unlock()
		if watched {
			return true
		}
	}
	return false
}

// look wakes those whose tenant was written to since they were told last.
func (x *Index) look(ctx context.Context) error {
	writes := map[int64]int64{}
	newest := int64(0)
	err := x.readers.with(ctx, nil, func(c *conn) error {
		return c.query(ctx, `SELECT id, writes FROM tenants`, func(v []driver.Value) error {
			writes[integer(v[0])] = integer(v[1])
			newest = max(newest, integer(v[0]))
			return nil
		})
	})
	if err != nil {
		return err
	}
	ts := &x.tenants
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.watched && newest > ts.newest {
		ts.tell(newest)
	}
	for _, t := range ts.byName {
		if n := writes[t.id]; t.behind(n) {
			t.woke(n)
		}
	}
	return nil
}

func (t *tenant) behind(writes int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watched && writes > t.seen
}
