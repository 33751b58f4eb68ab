package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Reaped is what Reap did.
type Reaped struct {
	Packs int   // copies of packs that were removed
	Bytes int64 // their size
	// Kept are copies that no fact names that could be read, and that may be needed nevertheless.
	Kept int
}

const (
	// reapPage is how many packs it is asked of together whether something names them.
	reapPage = 1000
	// maxOrphans bounds what one Reap looks at closely in a store; the next goes on.
	maxOrphans = 10_000
)

// Reap removes packs that no fact names and that are older than the grace
// period, in the stores of all tiers, each by its own clock.
//
// A pack is written before its fact, and a writer gives up after half the grace:
// a pack that is older than the grace when Catchup begins, and whose fact is not in the log by then, will never
// have one. So the stores are asked for their times first; Catchup runs when the first pack is found that seems to be named by nothing,
// and facts that were not indexed yet count. One that was in use until lately is left to whoever reads it for another grace period.
//
// Facts that Catchup could not index keep what they may name, see [doubts], and nothing else. A
// store that does not answer keeps what is in it; the others are seen to, and the error tells.
func (r *Reconciler) Reap(ctx context.Context) (Reaped, error) {
	g := reaping{r: r, stores: r.stores()}
	for _, s := range g.stores {
		if err := g.in(ctx, s); err != nil {
			g.errs = append(g.errs, err)
		}
		if g.failed || ctx.Err() != nil {
			break
		}
	}
	return g.done, errors.Join(g.errs...)
}

// reaping is one Reap.
type reaping struct {
	r      *Reconciler
	stores []*store
	unread *doubts // what Catchup could not index; nil until it was run
	failed bool    // it could not be run
	done   Reaped
	errs   []error
}

// in lists a store, and removes what is to be removed page by page.
func (g *reaping) in(ctx context.Context, s *store) error {
	var page []string // older than the grace
	closely := 0
	look := func() error {
		n, err := g.page(ctx, s, page)
		closely, page = closely+n, page[:0]
		return err
	}
	for o, err := range s.All(ctx, string(g.r.o.Tenant)+"/pack/", "") {
		if err == nil {
			err = g.r.tell(ctx, s)
		}
		if err != nil {
			return fmt.Errorf("listing the packs: %w", err)
		}
		if s.now.Sub(o.Modified) <= g.r.o.Grace {
			continue
		}
		if page = append(page, o.Key); len(page) < reapPage {
			continue
		}
		if err := look(); err != nil || closely >= maxOrphans {
			return err
		}
	}
	return look()
}

// page removes those of the packs that nothing names or will, and returns how many it looked at closely. What cannot be removed keeps no
// other from being so.
func (g *reaping) page(ctx context.Context, s *store, packs []string) (closely int, err error) {
	if len(packs) == 0 {
		return 0, nil
	}
	free, err := g.r.o.Index.Unreferenced(ctx, g.r.o.Tenant, packs)
	if err != nil {
		return 0, fmt.Errorf("asking which packs are in use: %w", err)
	}
	if len(free) == 0 {
		return 0, nil
	}
	if err := g.catchUp(ctx); err != nil {
		return 0, err
	}
	for _, key := range free {
		if err := g.r.reap(ctx, s, key, g.unread, &g.done); err != nil {
			g.errs = append(g.errs, err)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	return len(free), nil
}

// catchUp has all facts count that may name packs which are old now. What comes in stores later is young by the times asked here.
func (g *reaping) catchUp(ctx context.Context) error {
	if g.unread != nil {
		return nil
	}
	for _, s := range g.stores {
		if err := g.r.tell(ctx, s); err != nil {
			g.errs = append(g.errs, fmt.Errorf("before removing packs: %w", err)) // nothing in it is old
		}
	}
	unread := newDoubts()
	if _, err := g.r.catchUp(ctx, unread); err != nil {
		g.failed = true
		return fmt.Errorf("catching up before removing anything: %w", err)
	}
	g.unread = unread
	return nil
}

// store is one in which packs lie.
type store struct {
	*storage.Bucket
	tiers []archive.TierName // that are in it
	own   bool               // the hot one: nobody else writes below the tenant's name
	now   time.Time          // by its clock, when it was asked
	told  bool               // it was asked
}

// tell has the store say what time it is, once: packs are as old as they were then.
func (r *Reconciler) tell(ctx context.Context, s *store) (err error) {
	if s.told {
		return nil
	}
	s.told = true
	s.now, err = r.storeTime(ctx, s.Bucket)
	return err
}

// stores are those of the tiers, the hot one first.
func (r *Reconciler) stores() []*store {
	if r.o.Tier == nil {
		return []*store{{Bucket: r.o.Bucket, tiers: []archive.TierName{archive.HotTier}, own: true}}
	}
	var all []*store
	at := map[string]*store{}
	for _, t := range r.o.Tiers() {
		s := at[t.Store]
		if s == nil {
			s = new(store)
			s.Bucket, _, _ = r.o.Tier(t.Name)
			at[t.Store], all = s, append(all, s)
		}
		s.tiers = append(s.tiers, t.Name)
		s.own = s.own || t.Name == archive.HotTier
	}
	return all
}

// orphan is a copy of a pack that is older than the grace period, and that nothing in the index names.
type orphan struct {
	store *store
	key   string
}

// reap removes a copy of a pack, if nothing names it still and it is not needed.
func (r *Reconciler) reap(ctx context.Context, s *store, key string, unread *doubts, done *Reaped) error {
	o := orphan{s, key}
	used, err := r.o.Index.Referenced(ctx, r.o.Tenant, o.key)
	if err != nil || used {
		return wrap(err, "asking whether a pack is in use")
	}
	doomed, err := r.o.Index.DoomedCopies(ctx, r.o.Tenant, o.key)
	if err != nil {
		return wrap(err, "asking since when a pack is not in use")
	}
	if slices.ContainsFunc(doomed, func(d archive.Doomed) bool { return o.store.now.Sub(d.Since) <= r.o.Grace }) {
		return nil
	}
	attrs, err := o.store.Stat(ctx, o.key)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil // the store has another address, too
	case err != nil:
		return wrap(err, "looking for a pack that nothing names")
	}
	needed, err := r.mayBeNeeded(ctx, o, attrs, unread)
	if err != nil {
		return err
	}
	if needed {
		done.Kept++
		return nil
	}
	if err := o.store.Delete(ctx, o.key); err != nil {
		return wrap(err, "removing a pack that nothing names")
	}
	done.Packs, done.Bytes = done.Packs+1, done.Bytes+attrs.Size
	var ids []int64
	for _, d := range doomed {
		if slices.Contains(o.store.tiers, d.Tier) {
			ids = append(ids, d.ID)
		}
	}
	return wrap(r.o.Index.Undoom(ctx, r.o.Tenant, ids...), "noting that a pack was removed")
}

func wrap(err error, what string) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// StoreTime asks the store of the log what time it is.
func (r *Reconciler) StoreTime(ctx context.Context) (time.Time, error) {
	return r.storeTime(ctx, r.o.Bucket)
}

// storeTime asks a store what time it is, by writing something. What could
// not be removed again, by whichever session, goes after the grace period.
func (r *Reconciler) storeTime(ctx context.Context, b *storage.Bucket) (time.Time, error) {
	clocks := archive.Clocks(r.o.Tenant)
	// A name of its own each time: nothing is ever rewritten.
	key := fmt.Sprintf("%s%s-%d", clocks, r.o.Log.Session(), r.clocks.Add(1))
	attrs, err := b.Put(ctx, key, []byte{0}, storage.CreateOptions{IfAbsent: true, Reserved: true})
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the store for its time: %w", err)
	}
	if attrs.Modified.IsZero() { // a store such as S3 tells it only of what is there
		if attrs, err = b.Stat(ctx, key); err != nil {
			return time.Time{}, fmt.Errorf("asking the store for its time: %w", err)
		}
	}
	for o, err := range b.All(ctx, clocks, "") {
		if err == nil && (o.Key == key || attrs.Modified.Sub(o.Modified) > r.o.Grace) {
			err = b.Delete(ctx, o.Key)
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("removing what was written to learn the store's time: %w", err)
		}
	}
	return attrs.Modified, nil
}
