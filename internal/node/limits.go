package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// limiter keeps one tenant within its limits, so that it cannot starve others.
type limiter struct {
	mu       sync.Mutex
	limits   archive.TenantLimits
	requests *rate.Limiter
	bytes    *rate.Limiter
	now      int           // requests at once
	changed  chan struct{} // closed when the limits change
}

// burstSeconds is for how long an idle tenant may exceed its rates.
const burstSeconds = 2

func newLimiter(l archive.TenantLimits) *limiter {
	x := &limiter{requests: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, 1), changed: make(chan struct{})}
	x.set(l)
	return x
}

func (x *limiter) set(l archive.TenantLimits) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.limits = l
	set(x.requests, l.RequestsPerSecond)
	set(x.bytes, float64(l.BytesPerSecond))
	close(x.changed)
	x.changed = make(chan struct{})
}

func set(r *rate.Limiter, perSecond float64) {
	if perSecond <= 0 {
		r.SetLimit(rate.Inf)
		return
	}
	r.SetLimit(rate.Limit(perSecond))
	r.SetBurst(max(1, int(burstSeconds*perSecond)))
}

var errLimit = fault.New(fault.TooMany, "this archive gets more requests than its operator allows; slow down")

// Begin takes a request of the tenant in, or refuses it with fault.TooMany; the
// function it returns ends the request.
func (a *Archive) Begin() (end func(), err error) { return a.limits.begin() }

// begin takes a request in, or refuses it with fault.TooMany; the function it
// returns ends the request.
func (x *limiter) begin() (end func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.limits.Concurrent > 0 && x.now >= x.limits.Concurrent || !x.requests.Allow() {
		return nil, errLimit
	}
	x.now++
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.now--
	}, nil
}

// pace waits until n more bytes may move. Whoever waits when the limits change
// waits by the new ones.
func (x *limiter) pace(ctx context.Context, n int) error {
	for n > 0 {
		k, turn, changed := x.reserve(n)
		if turn == nil {
			return nil
		}
		if err := await(ctx, turn.Delay(), changed); err == nil {
			n -= k
		} else if turn.Cancel(); err != errChanged {
			return err
		}
	}
	return nil
}

// reserve takes a place in the row of those whose bytes are to move, for at most
// n of them; none is needed where there is no limit.
func (x *limiter) reserve(n int) (k int, turn *rate.Reservation, changed chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes.Limit() == rate.Inf {
		return n, nil, nil
	}
	k = min(n, max(1, x.bytes.Burst()))
	return k, x.bytes.ReserveN(time.Now(), k), x.changed
}

var errChanged = errors.New("the limits have changed")

// await waits for so long; errChanged when the limits change before.
func await(ctx context.Context, d time.Duration, changed chan struct{}) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-changed:
		return errChanged
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
