package settle

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Bounds of a sweep.
const (
	sweepPage = 256
	// MaxSwept is how many objects one Sweep looks at, when nothing else is asked.
	MaxSwept = 10_000
	// maxFailures ends a sweep: a store that refuses so often is asked again later.
	maxFailures = 16
)

// Swept is what a sweep did.
type Swept struct {
	Objects int   // removed
	Bytes   int64 // of them
	Kept    int   // still named, or of a tier that is not configured: looked at again
	More    bool  // there is more to look at
}

// Sweep removes the objects that were let go of long enough ago, at most limit of
// them ([MaxSwept] when 0). It may be called again at any time, also beside
// itself: an object is forgotten only when it is gone. What a store refuses to
// delete is passed over; the first such error is returned at the end, beside what was done. One that
// stops short is gone on with by the next one, so that what stays or cannot be removed hides nothing behind it. When the
// context ends it stops at the object that it is at, with the context's cause, and what it removed is noted.
func (s *Settler) Sweep(ctx context.Context, limit int) (Swept, error) {
	w := sweep{s: s, left: cmp.Or(max(limit, 0), MaxSwept)}
	now := s.o.Now()
	err := w.pages(ctx, now.Add(-s.o.ReadGrace), false)
	if err == nil {
		err = w.pages(ctx, now.Add(-s.o.MoveHold), true)
	}
	if err == nil {
		err = w.first
	}
	if err != nil {
		return w.done, fmt.Errorf("sweeping: %w", err)
	}
	return w.done, nil
}

type sweep struct {
	s     *Settler
	left  int // objects that may still be looked at
	done  Swept
	first error // of those that stores gave
}

// from is where a sweep of one sort of objects begins, and to where the next one does.
func (s *Settler) from(moved bool) (after int64, to func(int64)) {
	i := 0
	if moved {
		i = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind[i], func(id int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.behind[i] = id
	}
}

// pages looks at what was let go of before a time, a page after the other.
func (w *sweep) pages(ctx context.Context, before time.Time, moved bool) error {
	after, to := w.s.from(moved)
	for failures := 0; ; {
		if w.left == 0 || failures >= maxFailures {
			w.done.More = true
			to(after)
			return nil
		}
		n := min(w.left, sweepPage)
		page, err := w.s.o.Index.Doomed(ctx, w.s.o.Tenant, before, moved, after, n)
		if err != nil {
			return fmt.Errorf("asking which objects are to be removed: %w", err)
		}
		var gone []int64
		for _, d := range page {
			ok, err := w.one(ctx, d)
			if ctx.Err() != nil {
				break
			}
			after, w.left = d.ID, w.left-1
			if err != nil {
				failures++
				w.first = cmp.Or(w.first, err)
				if failures == maxFailures {
					break
				}
			}
			if ok {
				gone = append(gone, d.ID)
			}
		}
		if err := w.forget(ctx, gone); err != nil {
			return err
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(page) < n && failures < maxFailures:
			to(0)
			return nil
		}
	}
}

// forget notes which objects are gone, also where the sweep is broken off.
func (w *sweep) forget(ctx context.Context, gone []int64) error {
	if len(gone) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := w.s.o.Index.Undoom(ctx, w.s.o.Tenant, gone...); err != nil {
		return fmt.Errorf("taking note of removed objects: %w", err)
	}
	return nil
}

// one removes an object, if it may go, and reports whether it is to be forgotten.
func (w *sweep) one(ctx context.Context, d archive.Doomed) (forget bool, err error) {
	b, ok := w.s.tier(d.Tier)
	if !ok {
		w.done.Kept++
		return false, nil
	}
	free := w.s.unnamed
	if d.Moved {
		free = w.s.elsewhere
	}
	verdict, err := free(ctx, d)
	if err != nil {
		return false, err
	}
	switch verdict {
	case stays:
		w.done.Kept++
		return false, nil
	case counts:
		return true, nil
	}
	if err := b.Delete(ctx, d.Object); err != nil {
		return false, fmt.Errorf("removing an object: %w", err)
	}
	w.done.Objects, w.done.Bytes = w.done.Objects+1, w.done.Bytes+d.Size
	return true, nil
}

// verdict is what becomes of a doomed object.
type verdict int

const (
	goes   verdict = iota
	stays          // for now
	counts         // for good: it came back to where it was
)

// unnamed judges an object that was let go of: something may name it again, or
// still, such as the fact of a settler that was slower.
func (s *Settler) unnamed(ctx context.Context, d archive.Doomed) (verdict, error) {
	named, err := s.o.Index.Referenced(ctx, s.o.Tenant, d.Object)
	if err != nil {
		return stays, fmt.Errorf("asking whether an object is in use: %w", err)
	}
	if named {
		return stays, nil
	}
	return goes, nil
}

// elsewhere judges a copy of a pack that was moved: the one that counts must be
// in another store, which is not the same under another address, and there, and whole.
func (s *Settler) elsewhere(ctx context.Context, d archive.Doomed) (verdict, error) {
	at, known, err := s.o.Index.Where(ctx, s.o.Tenant, d.Object)
	if err != nil {
		return stays, fmt.Errorf("asking where a pack is: %w", err)
	}
	if !known {
		return s.unnamed(ctx, d)
	}
	b, ok := s.tier(at)
	if !ok {
		return stays, nil
	}
	if s.store(at) == s.store(d.Tier) {
		return counts, nil
	}
	switch a, err := b.Stat(ctx, d.Object); {
	case fault.Is(err, fault.NotFound):
		return stays, fault.New(fault.Corrupt, "a pack is not in the tier that it was moved to; its copy is kept: check the store with strata verify")
	case err != nil:
		return stays, err
	case a.Size != d.Size:
		return stays, fault.New(fault.Corrupt, "a pack has another size in the tier that it was moved to; its copy is kept: check the store with strata verify")
	}
	from, _ := s.tier(d.Tier) // there is one: see one
	if err := s.apart.Check(ctx, from, b, archive.Clocks(s.o.Tenant)); err != nil {
		return stays, err
	}
	return goes, nil
}

// tier returns the store of a tier.
func (s *Settler) tier(name archive.TierName) (*storage.Bucket, bool) {
	if s.o.Tiers == nil {
		return s.o.Bucket, name == archive.HotTier
	}
	b, _, ok := s.o.Tiers.Tier(name)
	return b, ok
}

// store returns the address of a tier's store.
func (s *Settler) store(name archive.TierName) string {
	if s.o.Tiers == nil {
		return ""
	}
	_, t, _ := s.o.Tiers.Tier(name)
	return t.Store
}
