package move

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// StrayIndex is what looking for strays needs of the index.
type StrayIndex interface {
	// Where returns the tier whose copy of a pack counts, false for one that the index does not know.
	Where(ctx context.Context, t archive.Tenant, object string) (archive.TierName, bool, error)
	// DoomedCopies returns the copies of an object that are to be deleted.
	DoomedCopies(ctx context.Context, t archive.Tenant, object string) ([]archive.Doomed, error)
}

// AllTiers knows every tier and its store.
type AllTiers interface {
	Tiers
	All() []archive.Tier
}

// StrayOptions are the parts of a look for strays. Index, Tiers and Alone are required.
type StrayOptions struct {
	Index StrayIndex
	Tiers AllTiers
	// Alone runs f while nothing of the tenant is moved: a move may be about to use what one before left.
	Alone func(ctx context.Context, f func(context.Context) error) error
	// Grace is how long ago a copy must have been written, by its store's clock; 24 h when 0. A
	// move that takes longer between a copy and its fact would lose its copy.
	Grace time.Duration
	Now   func() time.Time // time.Now when nil

	apart *storage.Apart
}

// Strays are copies that moves left which never ended, and that nothing else would
// remove: the pack is in use, so the reaper spares it, and no fact has let go of this copy, so
// the sweeper does not know it. They only cost money.
type Strays struct {
	Copies int // removed
	Bytes  int64
}

// maxFound is how many copies are looked at more closely, and removed, at once: moves wait for it.
const maxFound = 100

// RemoveStrays removes them. Stores are listed beside everything else; only what that finds is looked at again, and
// removed, while nothing is moved. A copy goes only if the one that counts is in another store, and whole in size.
func RemoveStrays(ctx context.Context, t archive.Tenant, o StrayOptions) (done Strays, err error) {
	if o.Grace == 0 {
		o.Grace = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.apart = &storage.Apart{}
	seen := map[string]bool{}
	for _, tier := range o.Tiers.All() {
		if seen[tier.Store] {
			continue
		}
		seen[tier.Store] = true
		if err := o.in(ctx, t, tier, &done); err != nil {
			return done, fmt.Errorf("looking for copies in tier %s that nobody counts on: %w", tier.Name, err)
		}
	}
	return done, nil
}

// in removes the strays of the store of a tier.
func (o StrayOptions) in(ctx context.Context, t archive.Tenant, tier archive.Tier, done *Strays) error {
	b, _, _ := o.Tiers.Tier(tier.Name)
	var found []string
	for object, err := range b.All(ctx, string(t)+"/pack/", "") {
		if err != nil {
			return err
		}
		if !o.old(object.Modified) {
			continue
		}
		switch _, stray, err := o.stray(ctx, t, object.Key, tier); {
		case err != nil:
			return err
		case stray:
			found = append(found, object.Key)
		}
		if len(found) == maxFound {
			if err := o.remove(ctx, t, tier, b, found, done); err != nil {
				return err
			}
			found = found[:0]
		}
	}
	if err := o.remove(ctx, t, tier, b, found, done); err != nil {
		return err
	}
	return RemoveProbes(ctx, t, b, o.Now().Add(-o.Grace))
}

// old reports whether what was written then may be removed.
func (o StrayOptions) old(modified time.Time) bool { return o.Now().Sub(modified) >= o.Grace }

// RemoveProbes removes from a store what those wrote before a moment who told stores apart and
// could not remove it again, being killed. A reconciler does that in the store of its log only.
func RemoveProbes(ctx context.Context, t archive.Tenant, b *storage.Bucket, before time.Time) error {
	for object, err := range b.All(ctx, archive.Clocks(t), "") {
		if err != nil {
			return err
		}
		if !object.Modified.Before(before) {
			continue
		}
		if err := b.Delete(ctx, object.Key); err != nil {
			return err
		}
	}
	return nil
}

// stray reports whether the copy of a pack in the store of the tier is one, and returns the store whose copy counts. What a fact let go
// of is none: for that there is the sweeper, and a hold.
func (o StrayOptions) stray(ctx context.Context, t archive.Tenant, object string, tier archive.Tier) (*storage.Bucket, bool, error) {
	at, known, err := o.Index.Where(ctx, t, object)
	if err != nil || !known {
		return nil, false, err
	}
	b, counts, ok := o.Tiers.Tier(at)
	if !ok || counts.Store == tier.Store {
		return nil, false, nil
	}
	doomed, err := o.Index.DoomedCopies(ctx, t, object)
	if err != nil {
		return nil, false, fmt.Errorf("asking which copies are to be removed: %w", err)
	}
	for _, d := range doomed {
		if _, of, ok := o.Tiers.Tier(d.Tier); ok && of.Store == tier.Store {
			return nil, false, nil
		}
	}
	return b, true, nil
}

// remove removes those of the objects that are strays still when nothing is moved.
func (o StrayOptions) remove(ctx context.Context, t archive.Tenant, tier archive.Tier, b *storage.Bucket, found []string, done *Strays) error {
	if len(found) == 0 {
		return nil
	}
	return o.Alone(ctx, func(ctx context.Context) error {
		var damaged []error
		for _, object := range found {
			err := o.removeOne(ctx, t, tier, b, object, done)
			if err != nil && !fault.Is(err, fault.Corrupt) {
				return err
			}
			damaged = append(damaged, err)
		}
		return errors.Join(damaged...)
	})
}

// removeOne removes a copy if it is a stray still. fault.Corrupt: it is needed.
func (o StrayOptions) removeOne(ctx context.Context, t archive.Tenant, tier archive.Tier, b *storage.Bucket, object string, done *Strays) error {
	counts, stray, err := o.stray(ctx, t, object, tier)
	if err != nil || !stray {
		return err
	}
	it, err := b.Stat(ctx, object)
	if fault.Is(err, fault.NotFound) || err == nil && !o.old(it.Modified) {
		return nil // it went, or somebody wrote it anew
	}
	if err != nil {
		return err
	}
	switch a, err := counts.Stat(ctx, object); {
	case fault.Is(err, fault.NotFound) || err == nil && a.Size != it.Size:
		return fault.New(fault.Corrupt, "a pack is not whole in its tier; the copy of it in tier %s is kept: check the store with strata verify", string(tier.Name))
	case err != nil:
		return err
	}
	if err := o.apart.Check(ctx, b, counts, archive.Clocks(t)); err != nil {
		return err
	}
	if err := b.Delete(ctx, object); err != nil {
		return err
	}
	done.Copies, done.Bytes = done.Copies+1, done.Bytes+it.Size
	return nil
}
