package filestore

import (
	"context"
	"sync"
)

// busy serialises what changes a key, and lets readers wait for it: between the
// naming of a file and the sync of its folder the object is not there yet.
type busy struct {
	mu   sync.Mutex
	keys map[string]*claim
}

type claim struct {
	done  chan struct{}
	fresh bool // there was no object under the key
}

// claim waits until nobody else changes key.
func (b *busy) claim(ctx context.Context, key string) (*claim, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.mu.Lock()
		other := b.keys[key]
		if other == nil {
			c := &claim{done: make(chan struct{})}
			b.keys[key] = c
			b.mu.Unlock()
			return c, nil
		}
		b.mu.Unlock()
		if err := other.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (b *busy) release(key string, c *claim) {
	b.mu.Lock()
	delete(b.keys, key)
	b.mu.Unlock()
	close(c.done)
}

// wait returns when no change of key that was under way when it was called still is.
func (b *busy) wait(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	c := b.keys[key]
	b.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.wait(ctx)
}

func (c *claim) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// setFresh says that the object under the claim is new, hence hidden from lists.
func (b *busy) setFresh(c *claim, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.fresh = fresh
}

// hidden reports whether the key is being created and not there yet.
func (b *busy) hidden(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.keys[key]
	return c != nil && c.fresh
}

// drain waits until nothing is under way.
func (b *busy) drain() {
	for {
		var c *claim
		b.mu.Lock()
		for _, c = range b.keys {
			break
		}
		b.mu.Unlock()
		if c == nil {
			return
		}
		<-c.done
	}
}
