package keys

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Revoked is how long after a revocation a byte may still be served, at most.
// Who cannot ask whether there was one goes on for no longer than that.
const Revoked = 5 * time.Second

// LeaseOptions describe a lease. Prove is required.
type LeaseOptions struct {
	// Prove asks whoever may take the keys away. It returns nil when they may be
	// used on, fault.KeyDenied when they may not, fault.KeyUnreachable when the provider
	// is silent, and fault.Unavailable when it is not known whether Strata itself has revoked them.
	Prove func(ctx context.Context) error
	TTL   time.Duration // how long one answer holds; 0 is 2 s
	// Grace is how long the lease goes on without an answer; 0 is 30 s, less is none.
	Grace time.Duration
	// Timeout bounds one question; 0 is 1 s.
	Timeout time.Duration
	// Pause is how long a refusal is believed before it is asked again; 0 is 500 ms.
	Pause time.Duration
	Now   func() time.Time // nil is time.Now
}

// Lease is the right to use the keys in memory for a short while, renewed on
// demand with one question for all who wait. It is safe for concurrent use.
//
// An explicit denial ends it at once. No answer is not a denial: the lease goes
// on for the grace period after the last good answer, then it fails closed.
type Lease struct {
	o     LeaseOptions
	state atomic.Pointer[leaseState]

	mu   sync.Mutex
	call *leaseCall // under way, or nil
	good time.Time  // when the last good answer was asked for
	wg   sync.WaitGroup
}

type leaseState struct {
	until time.Time // believed before this
	err   error     // nil: the keys may be used
}

type leaseCall struct {
	done chan struct{}
	err  error // set before done is closed
}

// NewLease returns a lease that has been proved at the given time.
func NewLease(o LeaseOptions, proved time.Time) *Lease {
	o.TTL = cmp.Or(o.TTL, 2*time.Second)
	o.Grace = max(0, cmp.Or(o.Grace, 30*time.Second))
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Pause = cmp.Or(o.Pause, 500*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Lease{o: o, good: proved}
	l.state.Store(&leaseState{until: proved.Add(o.TTL)})
	return l
}

// Check returns nil while the keys may be used; it costs nothing between two
// renewals. Errors are fault.KeyDenied, fault.KeyUnreachable (no answer for longer than
// the grace period), and what else Prove fails with.
func (l *Lease) Check(ctx context.Context) error {
	return l.Ahead(ctx, 0)
}

// Ahead is Check, and renews the lease if it runs out within d, so that
// requests need not wait for it.
func (l *Lease) Ahead(ctx context.Context, d time.Duration) error {
	if s := l.state.Load(); l.o.Now().Add(d).Before(s.until) {
		return s.err
	}
	l.mu.Lock()
	if s := l.state.Load(); l.o.Now().Add(d).Before(s.until) { // another was faster
		l.mu.Unlock()
		return s.err
	}
	c := l.call
	if c == nil {
		c = &leaseCall{done: make(chan struct{})}
		l.call = c
		l.wg.Go(func() {
			// It serves others too: one that goes away must not end it.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.o.Timeout)
			defer cancel()
			l.ask(ctx, c)
		})
	}
	l.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Lease) ask(ctx context.Context, c *leaseCall) {
	asked := l.o.Now()
	err := l.o.Prove(ctx)
	if fault.Is(err, fault.Timeout) {
		err = fault.Wrap(fault.KeyUnreachable, err, "the key provider does not answer in time; the archive is closed until it does")
	}
	var grace time.Duration
	switch fault.KindOf(err) {
	case fault.KeyUnreachable:
		grace = l.o.Grace
	case fault.Unavailable:
		grace = min(l.o.Grace, Revoked)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &leaseState{}
	switch silent := asked.Sub(l.good); {
	case err == nil:
		l.good = asked
		s.until = asked.Add(l.o.TTL)
	case silent < grace: // never past its end
		s.until = asked.Add(min(l.o.TTL, grace-silent))
	default:
		s.until, s.err = l.o.Now().Add(l.o.Pause), err
	}
	l.state.Store(s)
	l.call, c.err = nil, s.err
	close(c.done)
}

// Good returns when the last good answer was asked for.
func (l *Lease) Good() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good
}

// Close waits for the question under way.
func (l *Lease) Close() { l.wg.Wait() }
