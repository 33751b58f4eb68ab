package restore

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/storage/driver"
)

const (
	recallAgain = 10 * time.Second // a viewer that asks for each image of a series counts once in that time
	maxRecalls  = 10_000           // that are remembered
)

// recall is what was asked for; not the UIDs, which must not stay in memory when the tenant's keys have left it.
type recall struct {
	tenant archive.Tenant
	sum    uint64
}

// recent is a recall that was answered lately.
type recent struct {
	id string
	at time.Time
}

// Recall has the study restored of which somebody wants to see the selection, at the default
// priority and with what is selected first; see [Restorer.Ask].
func (r *Restorer) Recall(ctx context.Context, t archive.Tenant, sel archive.UIDs) (archive.RestoreStatus, error) {
	key := recall{t, maphash.Comparable(r.seed, archive.UIDs{Study: sel.Study, Series: sel.Series})}
	now := r.o.Now()
	r.mu.Lock()
	last, ok := r.recent[key]
	r.mu.Unlock()
	if ok && now.Sub(last.at) < recallAgain {
		if st, err := r.Status(ctx, t, last.id); err == nil && !st.State.Ended() {
			return st, nil
		}
	}
	q := archive.RestoreRequest{Studies: []string{sel.Study}, First: sel, By: "a viewer"}
	st, kept, err := r.ask(ctx, t, q)
	if err == nil && st.ID == "" && st.Packs > 0 && !kept {
		// Somebody could not read what the index says can be read.
		if err = r.recount(ctx, t, q); err == nil {
			st, err = r.Ask(ctx, t, q)
		}
	}
	if err != nil || st.ID == "" {
		return st, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) >= maxRecalls {
		clear(r.recent)
	}
	r.recent[key] = recent{st.ID, now}
	return st, nil
}

// recount asks the stores whether the copies are there that the index knows of, and has it
// know better: a provider may end them early, or somebody by hand.
func (r *Restorer) recount(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) error {
	list, err := r.find(ctx, t, q)
	if err != nil {
		return err
	}
	for _, study := range list {
		packs, err := r.o.Index.Packs(ctx, t, study.Ref)
		if err != nil {
			return err
		}
		for _, p := range packs {
			s, tier, ok := r.o.Tiers.Tier(p.Tier)
			if !ok || !tier.Restore || p.Restored.IsZero() {
				continue
			}
			attrs, err := s.Stat(ctx, p.Object)
			if err != nil {
				return err
			}
			if attrs.Restore.State == driver.Archived || attrs.Restore.State == driver.Restoring {
				left, err := r.o.Index.Keep(ctx, t, p, p.Restored)
				if err != nil {
					return err
				}
				if !left.IsZero() {
					continue // another copy is what the index knows of
				}
				if err := r.o.Index.SetRestored(ctx, t, p.Object, time.Time{}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
