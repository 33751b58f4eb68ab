package restore

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
	"github.com/strata-pacs/strata/storage/driver"
)

const (
	atOnce    = 16               // requests to stores
	patience  = 20 * time.Second // of one of them; they move no objects
	maxTries  = 5                // that come to nothing
	maxPause  = 5 * time.Minute
	leastTime = 24 * time.Hour // a copy stays at least
)

// place is one pack in the hands of the worker.
type place struct {
	*held
	item *item
	pos  int
}

// look asks the stores for packs that are expected.
func (w *worker) look(ctx context.Context, e edits, now time.Time) {
	var due []place
	for _, h := range w.open {
		for i := range h.Items {
			if it := &h.Items[i]; it.State == asked && !h.blind && !it.Next.After(now) && !w.paused(it.Tier, now) && w.reveal(ctx, h) {
				due = append(due, place{h, it, i})
			}
		}
	}
	slices.SortFunc(due, func(a, b place) int { return a.item.Next.Compare(b.item.Next) })
	w.each(ctx, due, func(ctx context.Context, p place, s Store, tier archive.Tier) func() {
		attrs, err := s.Stat(ctx, p.item.Object)
		if err == nil && attrs.Restore.State == driver.Restored {
			// Before it is noted that the restore is done: who waits for it reads at once.
			if err := w.o.Index.SetRestored(ctx, p.Tenant, p.item.Object, attrs.Restore.Until); err != nil {
				return func() { w.closed(p.Tenant, err, now) }
			}
		}
		return func() { w.seen(e, p, tier, attrs, err) }
	})
}

// seen is what a look at a pack has shown.
func (w *worker) seen(e edits, p place, tier archive.Tier, attrs driver.Attrs, err error) {
	now := w.o.Now()
	edit := func(f func(*item)) { w.edit(e, p, f) }
	switch {
	case fault.Is(err, fault.NotFound):
		edit(fail("an object of the study is not in its tier; run strata verify"))
	case err != nil:
		w.pause(tier.Name, err, now)
		return
	case attrs.Restore.State == driver.Restored, attrs.Restore.State == driver.Online:
		if !p.item.readable(now) { // else it only stays longer
			w.pace.observe(tier.Name, p.item.At, now.Sub(p.item.Asked))
			w.news = true
		}
		until := attrs.Restore.Until
		edit(func(it *item) { it.State, it.Until = in, until })
	case attrs.Restore.State == driver.Archived: // the store forgot it, or its copy went before anybody looked
		if p.item.Tries+1 >= maxTries {
			edit(fail("the store does not restore an object although it was asked to; see its own log"))
			return
		}
		edit(func(it *item) { it.State, it.Tries = waiting, it.Tries+1 })
	default:
		s, _ := cost.Speed(tier, p.item.At)
		next := now.Add(lookIn(now.Sub(p.item.Asked), w.pace.typical(tier.Name, s)))
		edit(func(it *item) { it.Next = next })
	}
	w.answered(tier.Name)
}

// thaw asks the stores for packs that wait, the most urgent first, as many as the limits let.
func (w *worker) thaw(ctx context.Context, e edits, now time.Time) {
	var queue []place
	running := map[archive.TierName]int{}
	for _, h := range w.open {
		for i := range h.Items {
			switch it := &h.Items[i]; {
			case it.State == asked:
				running[it.Tier]++
			case it.State == waiting && !h.Cancelled && !h.blind && !w.paused(it.Tier, now):
				queue = append(queue, place{h, it, i})
			}
		}
	}
	slices.SortFunc(queue, byTurn)
	queue = slices.DeleteFunc(queue, func(p place) bool {
		tier := p.item.Tier
		if running[tier] >= w.o.Running {
			return true
		}
		// The study may have gone while it waited.
		if w.compare(ctx, e, p.held, now); p.blind || p.item.State != waiting || p.item.Tier != tier {
			return true
		}
		if !w.rate(tier).AllowN(now, 1) {
			return true
		}
		running[tier]++
		return false
	})
	w.each(ctx, queue, func(ctx context.Context, p place, s Store, tier archive.Tier) func() {
		speed, ok := cost.Speed(tier, p.item.priority(&p.unit))
		if !ok {
			return func() { w.edit(e, p, fail("the tier has no speeds of restoring; see tiers")) }
		}
		// Whoever worked before may have asked, and not lived to note it.
		attrs, err := s.Stat(ctx, p.item.Object)
		if err == nil && attrs.Restore.State != driver.Restoring && !stays(attrs, p.For, now) {
			err = s.Thaw(ctx, p.item.Object, driver.ThawOptions{For: max(p.For, leastTime), Speed: speed.Word})
		}
		return func() { w.asked(e, p, tier, speed, err) }
	})
}

// stays reports whether a copy is there that stays about as long as it is wanted to.
func stays(a driver.Attrs, keep time.Duration, now time.Time) bool {
	return a.Restore.State == driver.Online || a.Restore.State == driver.Restored && a.Restore.Until.Sub(now) > keep-day
}

// byTurn orders packs: by priority, then what somebody waits for, then what is needed first, then what was asked for first.
func byTurn(a, b place) int {
	late := func(p place) int64 {
		if p.Deadline.IsZero() {
			return 1<<63 - 1
		}
		return p.Deadline.UnixNano()
	}
	return cmp.Or(cmp.Compare(a.item.priority(&a.unit).Rank(), b.item.priority(&b.unit).Rank()), -cmp.Compare(rankOf(a.item.Wanted), rankOf(b.item.Wanted)),
		cmp.Compare(late(a), late(b)), a.unit.Asked.Compare(b.unit.Asked), cmp.Compare(a.ID, b.ID), cmp.Compare(a.pos, b.pos))
}

func rankOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// asked is what a store has answered to a restore.
func (w *worker) asked(e edits, p place, tier archive.Tier, speed archive.RestoreSpeed, err error) {
	now := w.o.Now()
	edit := func(f func(*item)) { w.edit(e, p, f) }
	slower, more := slowerThan(tier, speed.Priority)
	switch {
	case err == nil:
		next := now.Add(soonestLook)
		if p.item.Until.After(now) { // there is a copy whose time is extended at once
			next = now
		}
		edit(func(it *item) { it.State, it.At, it.Asked, it.Next = asked, speed.Priority, now, next })
		w.answered(tier.Name)
	case fault.Is(err, fault.NotFound):
		edit(fail("an object of the study is not in its tier; run strata verify"))
	case fault.Is(err, fault.Unavailable), fault.Is(err, fault.Timeout), fault.Is(err, fault.Canceled), fault.Is(err, fault.Busy) && !more:
		w.pause(tier.Name, err, now)
	case more: // no capacity at this speed, or none at all for this class
		w.o.Slog.Warn("the store does not restore at this priority; the next slower one is taken", "tier", string(tier.Name), "priority", string(speed.Priority), "error", err)
		edit(func(it *item) {
			it.Least = slower
			it.Why = string(speed.Priority) + " restores are not available now; it is restored at priority " + string(slower)
		})
	default:
		w.o.Slog.Error("the store refuses to restore", "tier", string(tier.Name), "error", err)
		edit(fail("the store refuses to restore: " + fault.Message(err)))
	}
}

// edit changes the pack in memory at once, and its row at the end of the pass.
func (w *worker) edit(e edits, p place, f func(*item)) {
	f(p.item)
	e.add(p.ID, p.item.N, f)
}

func fail(why string) func(*item) {
	return func(it *item) { it.State, it.Why = failed, why }
}

// slowerThan is the next slower priority that the tier has.
func slowerThan(tier archive.Tier, p archive.Priority) (archive.Priority, bool) {
	for _, s := range tier.Speeds {
		if s.Priority.Rank() > p.Rank() {
			return s.Priority, true
		}
	}
	return "", false
}

// each calls f for the packs, several at once, and what it returns one after the other. A
// tier that does not answer is left alone for the rest of the pass.
func (w *worker) each(ctx context.Context, list []place, f func(context.Context, place, Store, archive.Tier) func()) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	var mu sync.Mutex
	for _, p := range list {
		s, tier, ok := w.o.Tiers.Tier(p.item.Tier)
		if !ok || ctx.Err() != nil {
			continue
		}
		g.Go(func() error {
			mu.Lock()
			silent := w.paused(tier.Name, w.o.Now())
			mu.Unlock()
			if silent {
				return nil
			}
			call, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			done := f(call, p, s, tier)
			if ctx.Err() != nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			done()
			return nil
		})
	}
	_ = g.Wait() // none fails
}

func (w *worker) rate(t archive.TierName) *rate.Limiter {
	if w.rates[t] == nil {
		w.rates[t] = rate.NewLimiter(rate.Limit(w.o.Rate), max(1, int(w.o.Rate)))
	}
	return w.rates[t]
}

func (w *worker) paused(t archive.TierName, now time.Time) bool { return w.pauses[t].until.After(now) }

// pause leaves a tier alone for a while, the longer the more often it does not answer.
func (w *worker) pause(t archive.TierName, err error, now time.Time) {
	p := w.pauses[t]
	if p.until.After(now) {
		return
	}
	p.until = now.Add(min(time.Second<<min(p.times, 10), maxPause))
	p.times++
	p.why = "waiting: " + fault.Message(err)
	w.pauses[t] = p
	w.news = true
	w.o.Slog.Warn("a tier does not restore now; it is tried again", "tier", string(t), "error", err)
}

// answered ends a tier's pauses.
func (w *worker) answered(t archive.TierName) {
	if _, ok := w.pauses[t]; ok {
		delete(w.pauses, t)
		w.news = true
	}
}

func refOf(key string) (ref archive.Ref, err error) {
	if n, err := hex.Decode(ref[:], []byte(key)); err != nil || n != len(ref) {
		return ref, fault.New(fault.Internal, "the key of a restore is not a study's reference")
	}
	return ref, nil
}
