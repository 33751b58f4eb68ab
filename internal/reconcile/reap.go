package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/storage"
)

// Reap removes packs that no fact names and that are older than the grace
// period by the store's own clock. It returns how many it removed.
//
// A pack is written before its fact, and a writer gives up after half the grace:
// a pack older than the grace whose fact is not in the log by now will never
// have one. Catchup runs between the listing and the decision, so that facts that were
// not indexed yet count. One that was in use until lately is left to whoever reads it for another grace period.
func (r *Reconciler) Reap(ctx context.Context) (int, error) {
	now, err := r.StoreTime(ctx)
	if err != nil {
		return 0, err
	}
	var old []string
	for o, err := range r.o.Bucket.All(ctx, string(r.o.Tenant)+"/pack/", "") {
		if err != nil {
			return 0, fmt.Errorf("listing the packs: %w", err)
		}
		if now.Sub(o.Modified) > r.o.Grace {
			old = append(old, o.Key)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	caught, err := r.Catchup(ctx)
	if err != nil {
		return 0, fmt.Errorf("catching up before removing anything: %w", err)
	}
	if caught.Uncommitted > 0 {
		// A fact without its key may name one of these packs; better keep them all.
		return 0, nil
	}
	removed := 0
	for _, key := range old {
		used, err := r.o.Index.Referenced(ctx, r.o.Tenant, key)
		if err != nil {
			return removed, fmt.Errorf("asking whether a pack is in use: %w", err)
		}
		if used {
			continue
		}
		doomed, err := r.o.Index.DoomedCopies(ctx, r.o.Tenant, key)
		if err != nil {
			return removed, fmt.Errorf("asking since when a pack is not in use: %w", err)
		}
		if slices.ContainsFunc(doomed, func(d archive.Doomed) bool { return now.Sub(d.Since) <= r.o.Grace }) {
			continue
		}
		if err := r.o.Bucket.Delete(ctx, key); err != nil {
			return removed, fmt.Errorf("removing a pack that nothing names: %w", err)
		}
		if err := r.forget(ctx, doomed); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// forget has the index not wait any more for what was removed. What lies in a tier that is not configured was not.
func (r *Reconciler) forget(ctx context.Context, doomed []archive.Doomed) error {
	var ids []int64
	for _, d := range doomed {
		ok := d.Tier == archive.HotTier
		if r.o.Tier != nil {
			_, _, ok = r.o.Tier(d.Tier)
		}
		if ok {
			ids = append(ids, d.ID)
		}
	}
	if err := r.o.Index.Undoom(ctx, r.o.Tenant, ids...); err != nil {
		return fmt.Errorf("noting that a pack was removed: %w", err)
	}
	return nil
}

// StoreTime asks the store what time it is, by writing something. What could
// not be removed again, by whichever session, goes after the grace period.
func (r *Reconciler) StoreTime(ctx context.Context) (time.Time, error) {
	clocks := string(r.o.Tenant) + "/clock/"
	// A name of its own each time: nothing is ever rewritten.
	key := fmt.Sprintf("%s%s-%d", clocks, r.o.Log.Session(), r.clocks.Add(1))
	attrs, err := r.o.Bucket.Put(ctx, key, []byte{0}, storage.CreateOptions{IfAbsent: true, Reserved: true})
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the store for its time: %w", err)
	}
	for o, err := range r.o.Bucket.All(ctx, clocks, "") {
		if err == nil && (o.Key == key || attrs.Modified.Sub(o.Modified) > r.o.Grace) {
			err = r.o.Bucket.Delete(ctx, o.Key)
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("removing what was written to learn the store's time: %w", err)
		}
	}
	return attrs.Modified, nil
}
