package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// patience bounds how long the store and the provider may take to give a key.
const patience = 30 * time.Second

// Secret returns the key of the id, for the caller to wipe; the zero id names
// the key of facts that are not sealed under a study. Errors are fault.Corrupt
// (wrapping ErrAbsent when the object is not there), fault.KeyDenied,
// fault.KeyUnreachable and those of the store.
func (r *Ring) Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	if id == (archive.KeyID{}) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		if r.closed {
			return archive.Secret{}, errClosed
		}
		return r.fact, nil
	}
	if s, ok := r.cache.get(id); ok {
		return s, nil
	}
	c, err := r.join(id)
	if err != nil {
		return archive.Secret{}, err
	}
	defer r.leave(c)
	select {
	case <-ctx.Done():
		return archive.Secret{}, fmt.Errorf("waiting for a key: %w", ctx.Err())
	case <-c.done:
		return c.secret, c.err
	}
}

// call is one fetch of a key that serves all who wait for it. One that goes away
// does not stop it; the last wipes it.
type call struct {
	done    chan struct{}
	secret  archive.Secret // set before done is closed
	err     error
	dropped bool // the key was destroyed meanwhile: it is not kept; guarded by Ring.mu
	holders int  // who wait, and the fetch itself; guarded by Ring.mu
}

// join starts a fetch of the key, or joins the one under way, or the one that ended since the cache was asked.
func (r *Ring) join(id archive.KeyID) (*call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	c := r.calls[id]
	if c == nil {
		c = &call{done: make(chan struct{})}
		if s, ok := r.cache.get(id); ok {
			c.secret = s
			close(c.done)
		} else {
			r.start(id, c)
		}
	}
	c.holders++
	return c, nil
}

// start fetches the key; Ring.mu is held.
func (r *Ring) start(id archive.KeyID, c *call) {
	r.calls[id] = c
	c.holders++
	r.fetch.Go(func() {
		defer r.leave(c)
		ctx, cancel := context.WithTimeout(r.ctx, patience)
		defer cancel()
		c.secret, c.err = r.load(ctx, id)
		if fault.Is(c.err, fault.Timeout) { // nobody who waits was in a hurry
			c.err = fault.Wrap(fault.Unavailable, c.err, "the store does not give a key in time; try again")
		}
		r.mu.Lock()
		if c.err == nil && !c.dropped {
			r.cache.put(id, &c.secret)
		}
		delete(r.calls, id)
		r.mu.Unlock()
		close(c.done)
	})
}

func (r *Ring) leave(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.holders--; c.holders == 0 {
		c.secret.Wipe()
	}
}

func (r *Ring) load(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	o, err := r.object(ctx, id)
	if err != nil {
		return archive.Secret{}, err
	}
	s, err := r.unwrap(ctx, o)
	if err != nil {
		return archive.Secret{}, fmt.Errorf("unwrapping a study key: %w", err)
	}
	return s, nil
}
