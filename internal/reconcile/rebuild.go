package reconcile

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Rebuild fills an empty index from the log alone; no pixel is read. The report
// names what is missing; instances of facts that are there are all indexed.
func (r *Reconciler) Rebuild(ctx context.Context, progress func(done, total int)) (Report, error) {
	v := r.check()
	sizes, err := r.packSizes(ctx)
	if err != nil {
		return v.report, err
	}
	// Facts are read side by side, and added one at a time, in their order: searches are answered in it, and so is the change feed.
	err = r.o.Index.Bulk(ctx, r.o.Tenant, func(add func(archive.Entry) error) error {
		return v.run(ctx, refillers, true, progress, func(e archive.Entry) error {
			if v.judging { // a pack of it is missing, and need not be there
				return add(e)
			}
			ok, err := r.committed(ctx, &e, sizes)
			if err != nil {
				return err
			}
			if !ok {
				left := archive.Entry{Session: e.Session, N: e.N, Object: e.Object, Size: e.Size,
					Fact: &archive.Fact{ID: e.Fact.ID, Kind: e.Fact.Kind, Study: e.Fact.Study, Key: e.Fact.Key, Packs: e.Fact.Packs, Supersedes: e.Fact.Supersedes}}
				v.suspect(e.Fact.Key, ledger.Place{Session: e.Session, N: e.N}, &left, &e, "the pack of a fact is missing: what it stored is lost, or was never acknowledged", e.Object)
				return nil
			}
			return add(e)
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

// maxSizes bounds the memory of packSizes, to some 60 MB; those beyond are asked for one by one.
const maxSizes = 1 << 19

// packSizes lists the packs that are there, with their sizes, so that a rebuild need not ask the store for each:
// nothing else is at work meanwhile.
func (r *Reconciler) packSizes(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	for o, err := range r.o.Bucket.All(ctx, string(r.o.Tenant)+"/pack/", "") {
		if err != nil {
			return nil, fmt.Errorf("listing the packs: %w", err)
		}
		if sizes[o.Key] = o.Size; len(sizes) == maxSizes {
			break
		}
	}
	return sizes, nil
}
