package lifecycle

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

const (
	// maxSweeps bounds how often a round sweeps before it looks at studies again.
	maxSweeps = 16
	// A study that fails is tried again after so long, twice as long each time, up to the most.
	firstRetry, mostRetry = 10 * time.Minute, 24 * time.Hour
	// watchEvery is how soon a move that is under way learns that nothing more is to be done.
	watchEvery = time.Second
)

// tally counts what is done by several at once.
type tally struct {
	looked, settled, moved, bytes, deleted, waiting, failed atomic.Int64
	dropped, droppedBytes, removed, removedBytes            atomic.Int64
	unmoved                                                 atomic.Int64 // moves that failed

	stated archive.FactID // of the rules that the round carries out

	mu sync.Mutex
	by map[string]int64 // studies that were deleted, by the name of the rule

	// ended ends when nothing new is to be begun, halted when what takes its time is to be broken off too. Both tell why as their cause.
	ended, halted context.Context
	end, halt     context.CancelCauseFunc
}

func newTally(stated archive.FactID) *tally {
	t := &tally{stated: stated, by: map[string]int64{}}
	t.halted, t.halt = context.WithCancelCause(context.Background())
	t.ended, t.end = context.WithCancelCause(t.halted)
	return t
}

// deletedBy counts a study that a rule deleted.
func (t *tally) deletedBy(rule string) {
	t.deleted.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[rule]++
}

// over returns why nothing new is to be begun, nil while something is.
func (t *tally) over() error { return context.Cause(t.ended) }

// breakable returns a context that ends with another one, too: with ended or halted.
func breakable(ctx, by context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(by, func() { cancel(context.Cause(by)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (t *tally) done() archive.LifecycleDone {
	return archive.LifecycleDone{Looked: t.looked.Load(), Settled: t.settled.Load(), Moved: t.moved.Load(), Bytes: t.bytes.Load(),
		Deleted: t.deleted.Load(), Waiting: t.waiting.Load(), Failed: t.failed.Load(),
		Dropped: t.dropped.Load(), DroppedBytes: t.droppedBytes.Load(), Removed: t.removed.Load(), RemovedBytes: t.removedBytes.Load()}
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
	errPaused   = errors.New("paused")
	errRestated = errors.New("other rules were stated")
	errOver     = errors.New("the time is over")
)

// still returns the rules that hold if they are those that the round carries out, and errPaused or errRestated where they
// are not any more: who says that nothing is to be done means from now on.
func (k *Keeper) still(ctx context.Context, t *tally) (rule.Set, error) {
	d, stated, err := k.current(ctx)
	switch {
	case err == nil && d.Paused:
		return d.Rules, errPaused
	case stated != t.stated && (err == nil || fault.Is(err, fault.Conflict)): // the next round says if they cannot be read
		return d.Rules, errRestated
	}
	return d.Rules, err
}

// round does a round, until it is over.
func (k *Keeper) round(ctx context.Context, over <-chan time.Time) (done archive.LifecycleDone, err error) {
	if k.o.Whole != nil && !k.o.Whole() {
		return done, fault.New(fault.Unavailable, "the index is being filled; what rules want done is known when it is whole: try again later")
	}
	d, stated, err := k.current(ctx)
	if err != nil {
		return done, err
	}
	if d.Paused {
		return archive.LifecycleDone{Paused: true}, nil
	}
	t := newTally(stated)
	defer t.halt(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { k.watch(watching, over, t) })
	err = k.pages(ctx, t)
	done = t.done()
	switch {
	case errors.Is(err, errPaused):
		done.Paused, err = true, nil
	case errors.Is(err, errOver), errors.Is(err, errRestated):
		done.More, err = true, nil
	}
	k.o.Record.ended(k.o.Now(), done, err)
	k.tell(done, t.by)
	return done, err
}

// tell logs what a round did to studies.
func (k *Keeper) tell(done archive.LifecycleDone, by map[string]int64) {
	if done.Settled+done.Moved+done.Deleted+done.Dropped+done.Removed > 0 {
		k.o.Slog.Info("carried out lifecycle rules", "looked", done.Looked, "settled", done.Settled, "moved", done.Moved, "bytes", done.Bytes, "deleted", done.Deleted,
			"dropped", done.Dropped, "droppedBytes", done.DroppedBytes, "removed", done.Removed, "removedBytes", done.RemovedBytes)
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		k.o.Slog.Info("a lifecycle rule deleted studies", "rule", name, "studies", by[name])
	}
}

// watch ends the round when its time is over, and halts it when an operator pauses it or states other rules, on
// whichever node, until the context ends.
func (k *Keeper) watch(ctx context.Context, over <-chan time.Time, t *tally) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-over: // never, without one
			t.end(errOver)
			over = nil
		case <-tick.C:
			if _, err := k.still(ctx, t); errors.Is(err, errPaused) || errors.Is(err, errRestated) {
				t.halt(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
