// Package retrystore wraps a driver so that what fails with fault.Unavailable is
// tried again, after pauses that grow and are random (full jitter), until the
// attempts or the caller's context end. Nothing else is tried again. Drivers do
// not retry by themselves, so this is the one place where it happens.
//
// Reads resume where they broke off. A driver that keeps what it sends until the
// store has it (driver.Repeater) sends each piece again by way of this package.
// For others a small object is kept until it is committed, so that its commit
// can be tried again (Options.Replay); whether an earlier attempt did succeed
// after all is then told by comparing bytes, which for sealed objects never
// agree by chance.
//
// There is no limit on how long a thing takes, only on how long it makes no
// progress (Options.Stall). Of reads whose first byte is late a second one may be
// started (Options.Hedge); the slower of the two is cancelled.
package retrystore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Options configure the wrapper. The zero value is useful, for local disks.
type Options struct {
	// Attempts is how often a thing is tried in all; 5 if 0.
	Attempts int
	// First and Longest bound the pauses: the n-th is random in (0, First×2ⁿ],
	// at most Longest. 50 ms and 5 s if 0.
	First, Longest time.Duration
	// Replay is the size in bytes up to which an object is kept until its commit,
	// so that it can be tried again; 0 is never, which suits local disks and
	// drivers that are a driver.Repeater.
	Replay int64
	// Stall is how long an attempt may go on without a byte that moves; it is then
	// ended and counts as fault.Unavailable. 0 is for ever, which suits local
	// disks; 30 s suits stores across a network.
	Stall time.Duration
	// Hedge starts a read a second time when its first byte is later than that of
	// 95 % of recent ones, and than 50 ms, for at most a twentieth of all reads.
	Hedge bool
	// Sleep pauses until d has passed or ctx ends; the real clock's if nil.
	Sleep func(ctx context.Context, d time.Duration) error
	// Random returns a number in [0, 1) and is safe for concurrent use; math/rand's if nil.
	Random func() float64
	// Now is the clock by which progress is measured; time.Now if nil.
	Now func() time.Time
	// AfterFunc calls f after d in a goroutine of its own, unless stop is called
	// before; time.AfterFunc's if nil.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
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
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	s := &store{d: d, o: o, can: driver.OptionalOf(d)}
	var have driver.Optional
	if s.can.Mapper != nil {
		have.Mapper = mapper{s}
	}
	if s.can.Purger != nil {
		have.Purger = purger{s}
	}
	if s.can.Classer != nil {
		have.Classer = classer{s}
	}
	if s.can.Thawer != nil {
		have.Thawer = thawer{s}
	}
	if s.can.Locker != nil {
		have.Locker = locker{s}
	}
	if s.can.Folders != nil {
		have.Folders = folders{s}
	}
	return driver.Join(s, have)
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
	d     driver.Driver
	o     Options
	can   driver.Optional // what d has
	hedge hedge
}

// again tries until it succeeds, each time for as long as there is progress.
func (s *store) again(ctx context.Context, try func(context.Context) error) error {
	return s.retry(ctx, func() error {
		ctx, w := s.watch(ctx)
		defer w.end()
		return w.during(func() error { return try(ctx) })
	})
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
	err = s.again(ctx, func(ctx context.Context) error { a, err = s.d.Stat(ctx, key); return err })
	return a, err
}

func (s *store) List(ctx context.Context, prefix, after string, limit int) (p driver.Page, err error) {
	err = s.again(ctx, func(ctx context.Context) error { p, err = s.d.List(ctx, prefix, after, limit); return err })
	return p, err
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.again(ctx, func(ctx context.Context) error { return s.d.Delete(ctx, key) })
}

type mapper struct{ s *store }

func (m mapper) OpenAt(ctx context.Context, key string) (r driver.ReaderAtCloser, size int64, err error) {
	err = m.s.retry(ctx, func() error { r, size, err = m.s.can.Mapper.OpenAt(ctx, key); return err })
	return r, size, err
}

type purger struct{ s *store }

func (p purger) Purge(ctx context.Context, key string) error {
	return p.s.again(ctx, func(ctx context.Context) error { return p.s.can.Purger.Purge(ctx, key) })
}

type classer struct{ s *store }

func (c classer) SetClass(ctx context.Context, key, class string) error {
	return c.s.again(ctx, func(ctx context.Context) error { return c.s.can.Classer.SetClass(ctx, key, class) })
}

type locker struct{ s *store }

func (l locker) Lock(ctx context.Context, key string, until time.Time) error {
	return l.s.again(ctx, func(ctx context.Context) error { return l.s.can.Locker.Lock(ctx, key, until) })
}

func (l locker) Locks() bool { return l.s.can.Locker.Locks() }

type folders struct{ s *store }

func (f folders) Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error) {
	err = f.s.again(ctx, func(ctx context.Context) error {
		names, more, err = f.s.can.Folders.Folders(ctx, folder, after, limit)
		return err
	})
	return names, more, err
}

type thawer struct{ s *store }

func (t thawer) Thaw(ctx context.Context, key string, o driver.ThawOptions) error {
	return t.s.again(ctx, func(ctx context.Context) error { return t.s.can.Thawer.Thaw(ctx, key, o) })
}
