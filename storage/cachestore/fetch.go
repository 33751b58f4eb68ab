package cachestore

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/strata-pacs/strata/internal/fault"
)

// runBytes is the most that one request fetches: enough to be worth a request,
// little enough that several share the line.
const runBytes = 4 << 20

// flight is a block on its way into the folder.
type flight struct {
	id    id
	fetch *fetch
	done  chan struct{}
	// Set before done is closed.
	err  error
	kept bool // it is in the folder
	// stale means that nobody finds it any more: it is not kept. Guarded by cache.mu.
	stale bool
}

// fetch is one request for neighbouring blocks.
type fetch struct {
	key     string
	flights []*flight
	cancel  context.CancelFunc
	holders int // of its flights; guarded by cache.mu. Without any it is cancelled
}

var (
	errClosed = fault.New(fault.Unavailable, "the read cache is being closed; try again")
	errEnd    = fault.New(fault.RangeInvalid, "the range starts after the object's end")
)

// hold returns the flights of those of the blocks n to end of an object that are
// not in the folder, having started what was not on its way, unless nothing can
// be written. The caller has to release each.
func (c *cache) hold(key string, tenant, object name, n, end int64) []*flight {
	var held []*flight
	var run []*flight // neighbours that are to be fetched
	now := c.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	writable := !c.closed && !now.Before(c.resume)
	send := func() {
		if len(run) > 0 {
			c.send(key, run)
			run = nil
		}
	}
	for ; n < end; n++ {
		b := id{tenant, object, n}
		if c.entries[b] != nil {
			send()
			continue
		}
		f := c.flights[b]
		if f != nil {
			send()
			f.fetch.holders++
		} else if !writable {
			continue
		} else {
			f = &flight{id: b, done: make(chan struct{})}
			c.flights[b] = f
			if run = append(run, f); int64(len(run))*c.block >= runBytes {
				send()
			}
		}
		held = append(held, f)
	}
	send()
	return held
}

// send starts a fetch, its flights held once each. The caller holds mu.
func (c *cache) send(key string, run []*flight) {
	ctx, cancel := context.WithCancel(c.ctx)
	f := &fetch{key: key, flights: run, cancel: cancel, holders: len(run)}
	for _, x := range run {
		x.fetch = f
	}
	c.misses.Add(int64(len(run)))
	c.wg.Go(func() {
		defer cancel()
		c.run(ctx, f)
	})
}

// release lets go of a flight. What nobody waits for is cancelled, and who comes
// then starts anew.
func (c *cache) release(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.fetch.holders--; f.fetch.holders > 0 {
		return
	}
	for _, x := range f.fetch.flights {
		c.abandon(x.id, x)
	}
	f.fetch.cancel()
}

// abandon lets nobody find a flight any more. The caller holds mu.
func (c *cache) abandon(b id, f *flight) {
	f.stale = true
	if c.flights[b] == f {
		delete(c.flights, b)
	}
}

// land ends a flight.
func (c *cache) land(f *flight, kept bool, err error) {
	c.mu.Lock()
	f.kept, f.err = kept, err
	if c.flights[f.id] == f {
		delete(c.flights, f.id)
	}
	c.mu.Unlock()
	close(f.done)
}

// run fetches the blocks one after another into one buffer.
func (c *cache) run(ctx context.Context, f *fetch) {
	rest := f.flights
	err := func() error {
		var buf []byte
		select {
		case buf = <-c.buffers:
		case <-ctx.Done():
			return ctx.Err()
		}
		if buf == nil {
			buf = make([]byte, c.block)
		}
		defer func() { c.buffers <- buf }()
		c.requests.Add(1)
		body, err := c.d.Open(ctx, f.key, rest[0].id.n*c.block, int64(len(rest))*c.block)
		if err != nil {
			return err
		}
		defer body.Close()
		for len(rest) > 0 {
			n, err := io.ReadFull(body, buf)
			c.fetched.Add(int64(n))
			if err != nil && !ends(err) {
				return err
			}
			c.land(rest[0], c.keep(rest[0], buf[:n]), nil)
			if rest = rest[1:]; err != nil {
				return errEnd
			}
		}
		return nil
	}()
	if err != nil && c.ctx.Err() != nil {
		err = errClosed
	}
	for _, x := range rest {
		c.land(x, false, err)
	}
}

// ends reports whether err says that the object ends; a stream that broke off has
// a kind, whatever it wraps.
func ends(err error) bool {
	return (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && fault.KindOf(err) == fault.Internal
}

// keep writes a block into the folder and reports whether it is there. What the
// bounds push out is removed.
func (c *cache) keep(f *flight, data []byte) bool {
	if !c.writable() {
		return false
	}
	now := c.o.Now()
	temp, err := c.write(f.id, data, now)
	if err != nil {
		c.broken(err)
		return false
	}
	out, err := c.place(f, temp, &entry{f.id, fileBytes(c.block, len(data)), now})
	if err != nil {
		c.broken(err)
	}
	if out == nil {
		_ = os.Remove(temp) // or it goes at the next start
		return false
	}
	c.works()
	c.evict(*out)
	return true
}

// place puts a written block where it is found, unless it is stale: then it
// returns nil, else what has to go for it.
func (c *cache) place(f *flight, temp string, e *entry) (*[]id, error) {
	c.moving.RLock()
	defer c.moving.RUnlock()
	c.mu.Lock()
	stale := f.stale
	c.mu.Unlock()
	if stale {
		return nil, nil
	}
	to := c.path(f.id)
	err := os.Rename(temp, to)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(c.dir(f.id.tenant), 0o700); err == nil {
			err = os.Rename(temp, to)
		}
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.add(e)
	return &out, nil
}
