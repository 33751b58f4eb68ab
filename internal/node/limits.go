package node

import (
	"cmp"
	"context"
	"sync"

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
	now      int // requests at once
}

// burstSeconds is for how long an idle tenant may exceed its rates.
const burstSeconds = 2

func newLimiter(l archive.TenantLimits) *limiter {
	x := &limiter{requests: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, 1)}
	x.set(l)
	return x
}

func (x *limiter) set(l archive.TenantLimits) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.limits = l
	set(x.requests, l.RequestsPerSecond)
	set(x.bytes, float64(l.BytesPerSecond))
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

// pace waits until n more bytes may move.
func (x *limiter) pace(ctx context.Context, n int) error {
	for n > 0 && x.bytes.Limit() != rate.Inf {
		k := min(n, max(1, x.bytes.Burst()))
		if err := x.bytes.WaitN(ctx, k); err != nil {
			// The limit may have been lowered since, or the wait would outlast the deadline.
			return cmp.Or(ctx.Err(), fault.Wrap(fault.TooMany, err, "the transfer would take longer than it may"))
		}
		n -= k
	}
	return nil
}
