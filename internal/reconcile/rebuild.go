package reconcile

import (
	"context"
	"fmt"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Rebuild fills an empty index from the log alone; no pixel is read. The report
// names what is missing; instances of facts that are there are all indexed.
func (r *Reconciler) Rebuild(ctx context.Context, progress func(done, total int)) (Report, error) {
	v := r.check()
	var adding sync.Mutex // facts are read side by side, and added one at a time
	err := r.o.Index.Bulk(ctx, r.o.Tenant, func(add func(archive.Entry) error) error {
		put := func(e archive.Entry) error {
			adding.Lock()
			defer adding.Unlock()
			return add(e)
		}
		return v.run(ctx, 2, progress, func(e archive.Entry) error {
			if v.judging { // a pack of it is missing, and need not be there
				return put(e)
			}
			ok, err := r.committed(ctx, &e)
			if err != nil {
				return err
			}
			if !ok {
				left := archive.Entry{Session: e.Session, N: e.N, Object: e.Object, Size: e.Size,
					Fact: &archive.Fact{ID: e.Fact.ID, Kind: e.Fact.Kind, Study: e.Fact.Study, Key: e.Fact.Key, Packs: e.Fact.Packs, Supersedes: e.Fact.Supersedes}}
				v.suspect(e.Fact.Key, ledger.Place{Session: e.Session, N: e.N}, &left, &e, "the pack of a fact is missing: what it stored is lost, or was never acknowledged", e.Object)
				return nil
			}
			return put(e)
		})
	})
	if err != nil {
		return v.report, fmt.Errorf("rebuilding the index: %w", err)
	}
	if err := r.Present(ctx); err != nil {
		return v.report, err
	}
	return v.report, nil
}
