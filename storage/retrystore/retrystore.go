// Package retrystore wraps a driver so that what fails with fault.Unavailable is
// tried again, after pauses that grow and are random (full jitter), until the
// attempts or the caller's context end. Nothing else is tried again.
//
// Reads resume where they broke off. A small object is kept until it is
// committed, so that its commit can be tried again (Options.Replay); whether an
// earlier attempt did succeed after all is then told by comparing bytes, which
// for sealed objects never agree by chance.
package retrystore

import (
	"context"
	"io"
	"math/rand/v2"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Options configure the wrapper. The zero value is useful.
type Options struct {
	// Attempts is how often a thing is tried in all; 5 if 0.
	Attempts int
	// First and Longest bound the pauses: the n-th is random in (0, First×2ⁿ],
	// at most Longest. 50 ms and 5 s if 0.
	First, Longest time.Duration
	// Replay is the size in bytes up to which an object is kept until its commit,
	// so that it can be tried again; 0 is never, which suits local disks.
	Replay int64
	// Sleep pauses until d has passed or ctx ends; the real clock's if nil.
	Sleep func(ctx context.Context, d time.Duration) error
	// Random returns a number in [0, 1) and is safe for concurrent use; math/rand's if nil.
	Random func() float64
}

// New returns d with retries. It has the optional interfaces that d has.
func New(d driver.Driver, o Options) driver.Driver {
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.First <= 0 {
		o.First = 50 * time.Millisecond
	}
	if o.Longest <= 0 {
		o.Longest = 5 * time.Second
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	s := &store{d: d, o: o}
	var m driver.Mapper
	var p driver.Purger
	if inner, ok := d.(driver.Mapper); ok {
		m = mapper{s, inner}
	}
	if inner, ok := d.(driver.Purger); ok {
		p = purger{s, inner}
	}
	return driver.Join(s, m, p)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type store struct {
	d driver.Driver
	o Options
}

// retry calls try until it succeeds, fails for good, or the attempts are used up.
func (s *store) retry(ctx context.Context, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if err == nil || !fault.Is(err, fault.Unavailable) || n+1 >= s.o.Attempts || ctx.Err() != nil {
			return err
		}
		if s.pause(ctx, n) != nil {
			return err // what failed says more than that the caller went away
		}
	}
}

// pause waits before attempt n+2.
func (s *store) pause(ctx context.Context, n int) error {
	most := s.o.Longest
	if n < 32 && s.o.First<<n > 0 {
		most = min(most, s.o.First<<n)
	}
	return s.o.Sleep(ctx, time.Duration((1-s.o.Random())*float64(most)))
}

func (s *store) Stat(ctx context.Context, key string) (a driver.Attrs, err error) {
	err = s.retry(ctx, func() error { a, err = s.d.Stat(ctx, key); return err })
	return a, err
}

func (s *store) List(ctx context.Context, prefix, after string, limit int) (p driver.Page, err error) {
	err = s.retry(ctx, func() error { p, err = s.d.List(ctx, prefix, after, limit); return err })
	return p, err
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.retry(ctx, func() error { return s.d.Delete(ctx, key) })
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r := &reader{s: s, ctx: ctx, key: key, off: off, n: n}
	if err := s.retry(ctx, r.open); err != nil {
		return nil, err
	}
	return r, nil
}

// reader opens its range anew where a read breaks off.
type reader struct {
	s      *store
	ctx    context.Context
	key    string
	off, n int64 // what is still to be read; n < 0: to the end
	failed int   // attempts since the last byte
	cause  error // why r must be opened anew; nil if it need not
	r      io.ReadCloser
}

func (r *reader) open() (err error) {
	r.r, err = r.s.d.Open(r.ctx, r.key, r.off, r.n)
	return err
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.cause != nil {
			if err := r.reopen(); err != nil {
				return 0, err
			}
		}
		n, err := r.r.Read(p)
		r.off += int64(n)
		if r.n >= 0 {
			r.n -= int64(n)
		}
		if n > 0 {
			r.failed = 0
		}
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return n, err
		}
		r.cause = err
		if n > 0 {
			return n, nil
		}
	}
}

// reopen goes on where the stream broke off. It fails with the cause for good.
func (r *reader) reopen() error {
	if r.failed++; r.failed >= r.s.o.Attempts || r.s.pause(r.ctx, r.failed-1) != nil {
		return r.cause
	}
	_ = r.r.Close()
	if err := r.s.retry(r.ctx, r.open); err != nil {
		r.r, r.cause, r.failed = io.NopCloser(nil), err, r.s.o.Attempts
		return err
	}
	r.cause = nil
	return nil
}

func (r *reader) Close() error { return r.r.Close() }

type mapper struct {
	s *store
	m driver.Mapper
}

func (m mapper) OpenAt(ctx context.Context, key string) (r driver.ReaderAtCloser, size int64, err error) {
	err = m.s.retry(ctx, func() error { r, size, err = m.m.OpenAt(ctx, key); return err })
	return r, size, err
}

type purger struct {
	s *store
	p driver.Purger
}

func (p purger) Purge(ctx context.Context, key string) error {
	return p.s.retry(ctx, func() error { return p.p.Purge(ctx, key) })
}
