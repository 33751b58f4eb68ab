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

// maxOrphans bounds what one Reap looks at closely; the next goes on.
const maxOrphans = 10_000

// Reap removes packs that no fact names and that are older than the grace
// period, in the stores of all tiers, each by its own clock.
//
// A pack is written before its fact, and a writer gives up after half the grace:
// a pack older than the grace whose fact is not in the log by now will never
// have one. Catchup runs between the listing and the decision, so that facts that were
// not indexed yet count. One that was in use until lately is left to whoever reads it for another grace period.
//
// Facts that Catchup could not index keep what they may name, see [doubts], and nothing else. A
// store that does not answer keeps what is in it; the others are seen to, and the error tells.
func (r *Reconciler) Reap(ctx context.Context) (done Reaped, err error) {
	var orphans []orphan
	var errs []error
	for _, s := range r.stores() {
		found, err := r.orphans(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		orphans = append(orphans, found...)
	}
	if len(orphans) == 0 || ctx.Err() != nil {
		return done, errors.Join(errs...)
	}
	unread := newDoubts()
	if _, err := r.catchUp(ctx, unread); err != nil {
		return done, fmt.Errorf("catching up before removing anything: %w", err)
	}
	for _, o := range orphans {
		if err := r.reap(ctx, o, unread, &done); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return done, errors.Join(errs...)
}

// store is one in which packs lie.
type store struct {
	*storage.Bucket
	tiers []archive.TierName // that are in it
	own   bool               // the hot one: nobody else writes below the tenant's name
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
	now   time.Time // by the store's clock, when it was listed
}

// orphans lists those of a store.
func (r *Reconciler) orphans(ctx context.Context, s *store) (found []orphan, err error) {
	var now time.Time
	for o, err := range s.All(ctx, string(r.o.Tenant)+"/pack/", "") {
		if err == nil && now.IsZero() {
			now, err = r.storeTime(ctx, s.Bucket)
		}
		if err != nil {
			return nil, fmt.Errorf("listing the packs: %w", err)
		}
		if now.Sub(o.Modified) <= r.o.Grace {
			continue
		}
		used, err := r.o.Index.Referenced(ctx, r.o.Tenant, o.Key)
		if err != nil {
			return nil, fmt.Errorf("asking whether a pack is in use: %w", err)
		}
		if used {
			continue
		}
		if found = append(found, orphan{s, o.Key, now}); len(found) == maxOrphans {
			break
		}
	}
	return found, nil
}

// reap removes one, if it is still one and not needed.
func (r *Reconciler) reap(ctx context.Context, o orphan, unread *doubts, done *Reaped) error {
	used, err := r.o.Index.Referenced(ctx, r.o.Tenant, o.key)
	if err != nil || used {
		return wrap(err, "asking whether a pack is in use")
	}
	doomed, err := r.o.Index.DoomedCopies(ctx, r.o.Tenant, o.key)
	if err != nil {
		return wrap(err, "asking since when a pack is not in use")
	}
	if slices.ContainsFunc(doomed, func(d archive.Doomed) bool { return o.now.Sub(d.Since) <= r.o.Grace }) {
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
	clocks := string(r.o.Tenant) + "/clock/"
	// A name of its own each time: nothing is ever rewritten.
	key := fmt.Sprintf("%s%s-%d", clocks, r.o.Log.Session(), r.clocks.Add(1))
	attrs, err := b.Put(ctx, key, []byte{0}, storage.CreateOptions{IfAbsent: true, Reserved: true})
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the store for its time: %w", err)
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
