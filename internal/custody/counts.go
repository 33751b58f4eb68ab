package custody

import (
	"context"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
)

// counts remembers what a tenant's objects are under: to count them is to read
// them all, so a count is good for a while, longer the more work it was.
type counts struct {
	mu   sync.Mutex
	of   map[archive.Tenant]counted
	busy map[archive.Tenant]chan struct{} // being counted; closed at the end
}

type counted struct {
	until       time.Time
	census      keys.Census
	in, missing int64 // of the escrow
}

const (
	rememberFor   = 10 * time.Second
	rememberTimes = 20 // times what counting took
)

// get returns the remembered count, or counts, with one count for all who wait.
func (c *counts) get(ctx context.Context, t archive.Tenant, count func() (counted, error)) (counted, error) {
	for {
		c.mu.Lock()
		if known, ok := c.of[t]; ok && time.Now().Before(known.until) {
			c.mu.Unlock()
			return known, nil
		}
		busy := c.busy[t]
		if busy == nil {
			if c.of == nil {
				c.of, c.busy = map[archive.Tenant]counted{}, map[archive.Tenant]chan struct{}{}
			}
			busy = make(chan struct{})
			c.busy[t] = busy
			c.mu.Unlock()
			return c.fill(t, busy, count)
		}
		c.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return counted{}, ctx.Err()
		}
	}
}

func (c *counts) fill(t archive.Tenant, busy chan struct{}, count func() (counted, error)) (counted, error) {
	began := time.Now()
	out, err := count()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(busy)
	if c.busy[t] == busy { // else what it counted has changed
		delete(c.busy, t)
		if err == nil {
			out.until = time.Now().Add(max(rememberFor, rememberTimes*time.Since(began)))
			remember(c.of, t, out)
		}
	}
	return out, err
}

// forget has the tenant's objects counted anew.
func (c *counts) forget(t archive.Tenant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, t)
	delete(c.busy, t)
}
