package node

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retention"
)

// kept reports whether nothing of a study may be let go of, deleted or not: it is held, or its period goes on.
func (a *Archive) kept(ctx context.Context, study archive.Ref) (bool, error) {
	reason, err := a.Keep.Held(ctx, a.Tenant, study)
	return reason != "", err
}

// LockPacks has the stores that lock objects keep the packs of a study, each where it lies, as long as the study must be
// kept by what is known of it now. It is for after a study was settled or moved, and for whenever it may have to be kept longer than
// before; again does no harm.
//
// A legal hold is no lock of the store. S3 has one without an end, but it is of one version of one object: what a hold is of is merged into other
// objects by settling and copied by moves, and may be of a patient and so of studies to come. A superseded pack would be kept under
// it with nothing in the index naming it, to be found again in every tier on the day that two persons lift the hold, or it would stay for ever. So a
// hold is a fact, which Strata asks before it lets go of anything.
func (a *Archive) LockPacks(ctx context.Context, study archive.Ref) error {
	until, err := a.Keep.LockUntil(ctx, a.Tenant, study)
	if err != nil || until.IsZero() {
		return err
	}
	packs, err := a.Index.Packs(ctx, a.Tenant, study)
	if err != nil {
		return fmt.Errorf("looking up packs to lock: %w", err)
	}
	for _, p := range packs {
		b, _, ok := a.n.tiers.Tier(p.Tier)
		if !ok {
			return fault.New(fault.Invalid, "tier %s is not configured: its packs cannot be locked", string(p.Tier))
		}
		if err := b.Lock(ctx, p.Object, until); err != nil {
			return fmt.Errorf("locking a study's packs: %w", err)
		}
	}
	return nil
}

// locks reports whether any store was told to lock objects.
func (n *Node) locks() bool {
	for _, t := range n.tiers.All() {
		if b, _, ok := n.tiers.Tier(t.Name); ok && b.Locks() {
			return true
		}
	}
	return false
}

// lockOthers has the lifecycle look at the other studies of the patients of one that is new, or has more than before: they may have to be kept longer
// since, so what is locked of them has to be locked longer. It is for before the study is settled, so that it is done again until that is.
func (a *Archive) lockOthers(ctx context.Context, study archive.Ref) error {
	others, err := a.Keep.Others(ctx, study)
	if err != nil {
		return err
	}
	now := a.n.o.Now()
	for _, ref := range others {
		l, ok, err := a.Index.Life(ctx, a.Tenant, ref)
		if err == nil && ok && !l.Outdated && (l.Due.IsZero() || l.Due.After(now)) {
			err = a.Index.SetDue(ctx, a.Tenant, l.Next(now))
		}
		if err != nil {
			return fmt.Errorf("having a patient's other studies looked at: %w", err)
		}
	}
	return nil
}

// Retention shows and changes what must be kept, of any tenant.
type Retention struct{ n *Node }

// Retention returns what keeps.
func (n *Node) Retention() Retention { return Retention{n} }

// Policy returns what holds for a tenant now; see [retention.Keeper.Policy].
func (r Retention) Policy(ctx context.Context, t archive.Tenant) (p retention.Policy, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { p, err = a.Keep.Policy(ctx); return err })
	return p, err
}

// SetRules states a tenant's rules; see [retention.Keeper.SetRules].
func (r Retention) SetRules(ctx context.Context, t archive.Tenant, document []byte, by string) (p retention.Policy, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { p, err = a.Keep.SetRules(ctx, document, by); return err })
	return p, err
}

// Check looks at a study; see [retention.Keeper.Check].
func (r Retention) Check(ctx context.Context, t archive.Tenant, study string) (c retention.Check, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { c, err = a.Keep.Check(ctx, a.ring.Ref(study)); return err })
	return c, err
}

// Report returns a page of a report; see [retention.Keeper.Report].
func (r Retention) Report(ctx context.Context, t archive.Tenant, ask retention.Report) (p retention.Page, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { p, err = a.Keep.Report(ctx, ask); return err })
	return p, err
}

// Hold states a hold; see [retention.Keeper.Hold].
func (r Retention) Hold(ctx context.Context, t archive.Tenant, target retention.HoldTarget, reason, by string) (h archive.Held, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { h, err = a.Keep.Hold(ctx, target, reason, by); return err })
	return h, err
}

// Release states that a person lets go of a hold; see [retention.Keeper.Release].
func (r Retention) Release(ctx context.Context, t archive.Tenant, id archive.FactID, reason, by string) (h archive.Held, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { h, err = a.Keep.Release(ctx, id, reason, by); return err })
	return h, err
}

// Holds returns holds; see [retention.Keeper.Holds].
func (r Retention) Holds(ctx context.Context, t archive.Tenant, after archive.FactID, limit int) (hs []archive.Held, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { hs, err = a.Keep.Holds(ctx, after, limit); return err })
	return hs, err
}
