package lifecycle

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// basis is what the studies of a page are judged by.
type basis struct {
	rules rule.Set
	env   rule.Environment

	mu     sync.Mutex
	leaves int64 // bytes that leave the hot tier, of studies that were moved since env was asked for, or are being moved
}

// decide judges a study by the rules, and by the room that there will be when what was decided has been done: else all
// studies of a page would be moved where two make room enough. Of one that is in several tiers all counts as being in the hot one:
// rather too little is moved than too much. undo is for when it is not done.
func (b *basis) decide(j *judged, now time.Time) (undo func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	env := b.env
	env.Free += b.leaves
	j.decision = b.rules.Evaluate(&j.study, now, env)
	if j.decision.Action != rule.Move || !j.inHot() {
		return func() {}
	}
	n := j.study.Bytes
	b.leaves += n
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.leaves -= n
	}
}

// workOn does to studies what is to be done. Without an error it was done to all of them, or they were put off.
func (k *Keeper) workOn(ctx context.Context, work []judged, b *basis, t *tally) error {
	all := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(k.o.AtOnce)
	var logged sync.Once // a page of failures is one line
	for _, j := range work {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if t.over() != nil {
				return nil // what others are at comes to its end
			}
			return k.outcome(ctx, j, k.tend(ctx, j, b, t), t, &logged)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if all.Err() != nil {
		return all.Err()
	}
	return t.over()
}

// outcome puts a study off that could not be worked on, or returns what concerns all: then, too, the
// study is put off, so that it is not the first one to be met again, should it be about that study after all.
func (k *Keeper) outcome(ctx context.Context, j judged, err error, t *tally, logged *sync.Once) error {
	var l later
	switch {
	case err == nil:
		k.o.Record.succeeded(j.life.Study)
		return nil
	case errors.Is(err, errPaused), errors.Is(err, errRestated):
		t.halt(err)
		return nil // the study stays due
	case errors.As(err, &l):
		k.o.Record.succeeded(j.life.Study)
		t.waiting.Add(1)
		return k.putOff(ctx, j, l.at)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	t.failed.Add(1)
	k.o.Counters.Failed.Add(1)
	after := k.o.Record.failed(j.life.Study, k.o.Now(), err)
	if concernsAll(err) {
		// What ends the round tells more than what may become of this.
		_ = k.putOff(context.WithoutCancel(ctx), j, k.o.Now().Add(after))
		return err
	}
	logged.Do(func() {
		k.o.Slog.Warn("the lifecycle of a study failed; it is tried again, others of this page may have failed too", "error", err, "after", after)
	})
	return k.putOff(ctx, j, k.o.Now().Add(after))
}

// putOff notes when to look at a study again, as it is now.
func (k *Keeper) putOff(ctx context.Context, j judged, at time.Time) error {
	l, ok, err := k.life(ctx, &j)
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
