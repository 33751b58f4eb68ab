package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Missing returns the objects of the log that the index has not got, the newest first; where there are more,
// any so many of them.
//
// It costs a request for the names of a thousand sessions, and one for each session that is not known to have
// ended: those that are being written, and what crashes left. So it can be asked each time before anybody
// is let in: it shows that a database was restored from a backup.
// What other nodes have written and not indexed yet is among them.
func (r *Reconciler) Missing(ctx context.Context, most int) ([]ledger.Place, error) {
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return nil, fmt.Errorf("asking the index how far it is: %w", err)
	}
	sessions, err := ledger.SessionNames(ctx, r.o.Bucket, r.o.Tenant)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var missing []ledger.Place
	looks, within := errgroup.WithContext(ctx)
	looks.SetLimit(refillers)
	for _, s := range slices.Backward(sessions) {
		p := progress[s]
		if settled(p) {
			continue
		}
		looks.Go(func() error {
			for place, err := range ledger.Numbers(within, r.o.Bucket, r.o.Tenant, s, contiguous(p)) {
				if err != nil {
					return err
				}
				if p.Has(place.N) {
					continue
				}
				mu.Lock()
				full := len(missing) >= most
				if !full {
					missing = append(missing, place)
				}
				mu.Unlock()
				if full {
					return nil
				}
			}
			return nil
		})
	}
	if err := looks.Wait(); err != nil {
		return nil, fmt.Errorf("comparing the index with the log: %w", err)
	}
	if len(missing) == 0 {
		return nil, nil
	}
	// Other nodes go on meanwhile.
	if progress, err = r.o.Index.Progress(ctx, r.o.Tenant); err != nil {
		return nil, fmt.Errorf("asking the index how far it is: %w", err)
	}
	missing = slices.DeleteFunc(missing, func(p ledger.Place) bool { return progress[p.Session].Has(p.N) })
	slices.SortFunc(missing, func(a, b ledger.Place) int { return -comparePlaces(a, b) })
	return missing, nil
}

func comparePlaces(a, b ledger.Place) int {
	return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.N, b.N))
}

// Fetch indexes what is at the places. What cannot be indexed as it is is left to [Reconciler.Catchup].
func (r *Reconciler) Fetch(ctx context.Context, places []ledger.Place) error {
	if err := r.fetch(ctx, places, r.o.Keys.Secret, nil); err != nil {
		return fmt.Errorf("indexing what the index lacks: %w", err)
	}
	return nil
}

// contiguous is the number up to which everything of a session is applied.
func contiguous(p archive.Progress) uint64 {
	if len(p.Applied) > 0 && p.Applied[0].From == 1 {
		return p.Applied[0].To
	}
	return 0
}
