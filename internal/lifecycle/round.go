package lifecycle

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	// maxSweeps bounds how often a round sweeps before it looks at studies again.
	maxSweeps = 16
	// A study that fails is tried again after so long, twice as long each time, up to the most.
	firstRetry, mostRetry = 10 * time.Minute, 24 * time.Hour
	// maxRetries bounds the studies whose failures are counted.
	maxRetries = 10_000
)

// tally counts what is done by several at once.
type tally struct {
	looked, settled, moved, bytes, deleted, waiting, failed atomic.Int64
	unmoved                                                 atomic.Int64 // moves that failed

	ended chan struct{} // closed when nothing new is to be begun
}

// over returns errOver when nothing new is to be begun.
func (t *tally) over() error {
	select {
	case <-t.ended:
		return errOver
	default:
		return nil
	}
}

func (t *tally) done() archive.LifecycleDone {
	return archive.LifecycleDone{Looked: t.looked.Load(), Settled: t.settled.Load(), Moved: t.moved.Load(), Bytes: t.bytes.Load(),
		Deleted: t.deleted.Load(), Waiting: t.waiting.Load(), Failed: t.failed.Load()}
}

// Round looks at every study that is due, does what is to be done, and removes
// what was let go of. A study that fails is put off and counted; what concerns all (a
// store or a database that does not answer, keys that may not be used) ends the round.
func (k *Keeper) Round(ctx context.Context) (done archive.LifecycleDone, err error) {
	err = k.Alone(ctx, func(ctx context.Context) error {
		done, err = k.round(ctx, nil)
		return err
	})
	return done, err
}

// Apply is a Round that begins nothing new when the time is over; then there is more. While
// another round is under way, here or on another node, it waits for that, and no longer.
func (k *Keeper) Apply(ctx context.Context, most time.Duration) (done archive.LifecycleDone, err error) {
	over := time.NewTimer(most)
	defer over.Stop()
	err = k.alone(ctx, over.C, func(ctx context.Context) error {
		done, err = k.round(ctx, over.C)
		return err
	})
	if errors.Is(err, errRound) {
		return archive.LifecycleDone{More: true}, nil
	}
	return done, err
}

// Alone runs f while no round is under way, here or on another node, whoever asked for it.
func (k *Keeper) Alone(ctx context.Context, f func(context.Context) error) error {
	return k.alone(ctx, nil, f)
}

// errRound says that another round was under way for too long.
var errRound = errors.New("another round is under way")

func (k *Keeper) alone(ctx context.Context, until <-chan time.Time, f func(context.Context) error) error {
	select {
	case k.rounds <- struct{}{}:
	case <-until:
		return errRound
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.rounds }()
	began := false
	err := k.o.Alone(ctx, until, func(ctx context.Context) error {
		began = true
		return f(ctx)
	})
	if !began && fault.Is(err, fault.Busy) {
		return errRound
	}
	return err
}

var (
	errPaused = errors.New("paused")
	errOver   = errors.New("the time is over")
)

// round does a round, until it is over.
func (k *Keeper) round(ctx context.Context, over <-chan time.Time) (archive.LifecycleDone, error) {
	if k.o.Whole != nil && !k.o.Whole() {
		return archive.LifecycleDone{}, fault.New(fault.Unavailable, "the index is being filled; what rules want done is known when it is whole: try again later")
	}
	t := tally{ended: make(chan struct{})}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		select {
		case <-over: // never, without one
			close(t.ended)
		case <-stop:
		}
	})
	err := k.pages(ctx, &t)
	done := t.done()
	switch {
	case errors.Is(err, errPaused):
		done.Paused, err = true, nil
	case errors.Is(err, errOver):
		done.More, err = true, nil
	}
	return done, err
}

// outcome puts a study off that could not be worked on, or returns what concerns all.
func (k *Keeper) outcome(ctx context.Context, j judged, err error, t *tally, logged *sync.Once) error {
	k.mu.Lock()
	tries := k.retries[j.life.Study]
	delete(k.retries, j.life.Study)
	k.mu.Unlock()
	var l later
	switch {
	case err == nil:
		return nil
	case errors.As(err, &l):
		t.waiting.Add(1)
		return k.putOff(ctx, j, l.at)
	case concernsAll(err):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	t.failed.Add(1)
	k.o.Counters.Failed.Add(1)
	after := min(firstRetry<<min(tries, 10), mostRetry)
	k.mu.Lock()
	if len(k.retries) < maxRetries {
		k.retries[j.life.Study] = tries + 1
	}
	k.mu.Unlock()
	logged.Do(func() {
		k.o.Slog.Warn("the lifecycle of a study failed; it is tried again, others of this page may have failed too", "error", err, "after", after)
	})
	return k.putOff(ctx, j, k.o.Now().Add(after))
}

// putOff notes when to look at a study again, as it is now.
func (k *Keeper) putOff(ctx context.Context, j judged, at time.Time) error {
	l, ok, err := k.life(ctx, j)
	if err != nil || !ok {
		return err
	}
	return k.o.Index.SetDue(ctx, k.o.Tenant, l.Next(at))
}

// concernsAll reports whether an error is not about one study. What another tier's store
// refuses is: while that does not answer, studies are settled all the same.
func concernsAll(err error) bool {
	var m moveError
	var l lockError
	if errors.As(err, &m) || errors.As(err, &l) {
		return fault.Is(err, fault.KeyDenied) || fault.Is(err, fault.KeyUnreachable) || fault.Is(err, fault.Canceled)
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Full, fault.KeyDenied, fault.KeyUnreachable, fault.Busy, fault.Canceled, fault.Forbidden:
		return true
	}
	return false
}
