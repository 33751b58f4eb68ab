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
	// Doomed returns objects that are to be deleted, let go of before a time, ascending by identity.
	Doomed(ctx context.Context, t archive.Tenant, before time.Time, moved bool, after int64, limit int) ([]archive.Doomed, error)
}

// AllTiers knows every tier and its store.
type AllTiers interface {
	Tiers
	All() []archive.Tier
}

// StrayOptions are the parts of a look for strays. Index and Tiers are required.
type StrayOptions struct {
	Index StrayIndex
	Tiers AllTiers
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

// RemoveStrays removes them. It must not run beside moves of the tenant: hold what
// they hold. A copy goes only if the one that counts is in another store, and whole in size.
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
	const batch = 1000
	b, _, _ := o.Tiers.Tier(tier.Name)
	var found []storage.Object
	for object, err := range b.All(ctx, string(t)+"/pack/", "") {
		if err != nil {
			return err
		}
		if o.Now().Sub(object.Modified) < o.Grace {
			continue
		}
		if _, other, err := o.elsewhere(ctx, t, object.Key, tier); err != nil {
			return err
		} else if other {
			found = append(found, object)
		}
		if len(found) == batch {
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

// RemoveProbes removes from a store what those wrote before a moment who told stores apart and
// could not remove it again, being killed. A reconciler does that in the store of its log only.
func RemoveProbes(ctx context.Context, t archive.Tenant, b *storage.Bucket, before time.Time) error {
	for object, err := range b.All(ctx, Probes(t), "") {
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

// Probes begins the keys of what is written to tell stores apart, beside what a reconciler writes to
// learn a store's time.
func Probes(t archive.Tenant) string { return string(t) + "/clock/" }

// elsewhere returns the store whose copy of the pack counts, if it is another than that of the tier.
func (o StrayOptions) elsewhere(ctx context.Context, t archive.Tenant, object string, tier archive.Tier) (*storage.Bucket, bool, error) {
	at, known, err := o.Index.Where(ctx, t, object)
	if err != nil || !known {
		return nil, false, err
	}
	b, counts, ok := o.Tiers.Tier(at)
	return b, ok && counts.Store != tier.Store, nil
}

// remove removes those of the objects that no fact has let go of: for these there is the sweeper, and a hold.
func (o StrayOptions) remove(ctx context.Context, t archive.Tenant, tier archive.Tier, b *storage.Bucket, found []storage.Object, done *Strays) error {
	if len(found) == 0 {
		return nil
	}
	doomed, err := o.doomed(ctx, t, tier)
	if err != nil {
		return err
	}
	var errs []error
	for _, object := range found {
		if doomed[object.Key] {
			continue
		}
		counts, other, err := o.elsewhere(ctx, t, object.Key, tier)
		if err != nil {
			return err
		}
		if !other {
			continue
		}
		switch a, err := counts.Stat(ctx, object.Key); {
		case fault.Is(err, fault.NotFound) || err == nil && a.Size != object.Size:
			errs = append(errs, fault.New(fault.Corrupt, "a pack is not whole in its tier; the copy of it in tier %s is kept: check the store with strata verify", string(tier.Name)))
			continue
		case err != nil:
			return err
		}
		if err := o.apart.Check(ctx, b, counts, Probes(t)); err != nil {
			return err
		}
		if err := b.Delete(ctx, object.Key); err != nil {
			return err
		}
		done.Copies, done.Bytes = done.Copies+1, done.Bytes+object.Size
	}
	return errors.Join(errs...)
}

// doomed are the objects whose copy in the store of the tier goes by itself.
func (o StrayOptions) doomed(ctx context.Context, t archive.Tenant, tier archive.Tier) (map[string]bool, error) {
	const page = 1000
	out := map[string]bool{}
	ever := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for after := int64(0); ; {
		list, err := o.Index.Doomed(ctx, t, ever, true, after, page)
		if err != nil {
			return nil, fmt.Errorf("asking which copies are to be removed: %w", err)
		}
		for _, d := range list {
			after = d.ID
			if _, of, ok := o.Tiers.Tier(d.Tier); ok && of.Store == tier.Store {
				out[d.Object] = true
			}
		}
		if len(list) < page {
			return out, nil
		}
	}
}
