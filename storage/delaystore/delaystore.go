// Package delaystore wraps a driver so that it answers as late as one far away
// does: each request waits before it begins, and all streams share a line of so
// many bytes a second. It is for tests and benchmarks; it also counts requests.
//
// What is a request follows object stores: Open, Stat, List, Delete, Purge and a
// writer's Commit, but not Create, which only stages. Inside a testing/synctest
// bubble the time that passes, divided by the delay, is the number of
// requests that had to follow one another.
package delaystore

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/storage/driver"
)

// Options say how far away the store is. The zero value adds nothing.
type Options struct {
	// Delay passes before each request is begun.
	Delay time.Duration
	// Rate is what the line carries in bytes per second, reads and writes apart;
	// 0 is without bound.
	Rate int64
}

// Store is the wrapper. It is safe for concurrent use.
type Store struct {
	driver.Driver // with the optional interfaces that the wrapped driver has
	s             *store
}

// New returns d at a distance. The Driver of the result is what to hand on: it
// is a driver.Purger where d is. It is no driver.Mapper, as nothing far away is.
func New(d driver.Driver, o Options) *Store {
	s := &store{d: d, o: o, down: line{rate: o.Rate}, up: line{rate: o.Rate}}
	inner := driver.OptionalOf(d)
	optional := driver.Optional{Classer: inner.Classer, Thawer: inner.Thawer, Locker: inner.Locker}
	if inner.Folders != nil {
		optional.Folders = folders{s, inner.Folders}
	}
	if inner.Purger != nil {
		optional.Purger = purger{s, inner.Purger}
	}
	return &Store{Driver: driver.Join(s, optional), s: s}
}

// Requests returns how many requests there were.
func (s *Store) Requests() int64 { return s.s.requests.Load() }

type store struct {
	d        driver.Driver
	o        Options
	requests atomic.Int64
	down, up line
}

// request waits as long as a request takes to get there and back.
func (s *store) request(ctx context.Context) error {
	s.requests.Add(1)
	return sleep(ctx, s.o.Delay)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := s.d.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	return &writer{w, s, ctx}, nil
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := s.request(ctx); err != nil {
		return nil, err
	}
	r, err := s.d.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	return &reader{r, s, ctx}, nil
}

func (s *store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	if err := s.request(ctx); err != nil {
		return driver.Attrs{}, err
	}
	return s.d.Stat(ctx, key)
}

func (s *store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	if err := s.request(ctx); err != nil {
		return driver.Page{}, err
	}
	return s.d.List(ctx, prefix, after, limit)
}

func (s *store) Delete(ctx context.Context, key string) error {
	if err := s.request(ctx); err != nil {
		return err
	}
	return s.d.Delete(ctx, key)
}

type folders struct {
	s *store
	f driver.Folders
}

func (f folders) Folders(ctx context.Context, folder, after string, limit int) ([]string, bool, error) {
	if err := f.s.request(ctx); err != nil {
		return nil, false, err
	}
	return f.f.Folders(ctx, folder, after, limit)
}

type purger struct {
	s *store
	p driver.Purger
}

func (p purger) Purge(ctx context.Context, key string) error {
	if err := p.s.request(ctx); err != nil {
		return err
	}
	return p.p.Purge(ctx, key)
}

type writer struct {
	driver.Writer
	s   *store
	ctx context.Context // of Create
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.s.up.carry(w.ctx, len(p)); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	if err := w.s.request(ctx); err != nil {
		w.Abort()
		return driver.Attrs{}, err
	}
	return w.Writer.Commit(ctx)
}

type reader struct {
	io.ReadCloser
	s   *store
	ctx context.Context // of Open
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if late := r.s.down.carry(r.ctx, n); late != nil {
		return 0, late
	}
	return n, err
}

// line is what all streams of a direction share.
type line struct {
	rate int64
	mu   sync.Mutex
	free time.Time // when it has carried what it was given
}

// carry waits until n bytes have passed.
func (l *line) carry(ctx context.Context, n int) error {
	if l.rate <= 0 || n <= 0 {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	d := l.free.Sub(now)
	l.mu.Unlock()
	return sleep(ctx, d)
}
