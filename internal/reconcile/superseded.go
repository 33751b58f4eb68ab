package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// supersede notes which numbers of the log a settled fact explains: their objects may be gone.
func (v *check) supersede(f *archive.Fact) {
	if len(f.Supersedes) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range f.Supersedes {
		v.passed[r.Session] = append(v.passed[r.Session], r.Range)
	}
}

// explained returns the numbers of a session that settled facts explain, ascending and disjoint. It is for when all
// facts have been read.
func (v *check) explained(session string) []archive.Range {
	all := v.passed[session]
	slices.SortFunc(all, func(a, b archive.Range) int { return cmp.Compare(a.From, b.From) })
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && r.From <= out[n-1].To+1 {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	v.passed[session] = out
	return out
}

// isSuperseded reports whether a settled fact explains the entry.
func (v *check) isSuperseded(p ledger.Place) bool {
	return slices.ContainsFunc(v.passed[p.Session], func(r archive.Range) bool { return p.N >= r.From && p.N <= r.To })
}

// holes calls f with the runs of numbers from one to another, both included, that nothing explains.
func holes(explained []archive.Range, from, to uint64, f func(from, to uint64)) {
	for _, r := range explained {
		if r.To < from {
			continue
		}
		if r.From > to {
			break
		}
		if r.From > from {
			f(from, r.From-1)
		}
		from = r.To + 1
	}
	if from <= to {
		f(from, to)
	}
}

// later reads the settled facts that were written since the log was listed, when something that was listed is gone:
// they may say why.
func (v *check) later(ctx context.Context, places [][]ledger.Place) error {
	seen := map[string]map[uint64]bool{}
	for _, of := range places {
		for _, p := range of {
			if seen[p.Session] == nil {
				seen[p.Session] = map[uint64]bool{}
			}
			seen[p.Session][p.N] = true
		}
	}
	sessions, err := ledger.Sessions(ctx, v.r.o.Bucket, v.r.o.Tenant)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		for p, err := range ledger.Numbers(ctx, v.r.o.Bucket, v.r.o.Tenant, s, 0) {
			if err != nil {
				return err
			}
			if seen[s][p.N] {
				continue
			}
			e, err := ledger.ReadPlace(ctx, v.r.o.Bucket, v.r.o.Tenant, p, v.r.o.Keys.Secret, ledger.Index)
			switch {
			case err == nil && e.Fact.Kind == archive.FactSettled:
				v.supersede(e.Fact)
			case ctx.Err() != nil:
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// Present has the index forget copies that are to be deleted and are gone: one that was made anew learns of all that
// there ever were.
func (r *Reconciler) Present(ctx context.Context) error {
	const page = 500
	for _, moved := range []bool{false, true} {
		for after, n := int64(0), page; n == page; {
			list, err := r.o.Index.Doomed(ctx, r.o.Tenant, r.o.Now().Add(lateFor), moved, after, page)
			if err != nil {
				return fmt.Errorf("listing what is to be deleted: %w", err)
			}
			if n = len(list); n > 0 {
				after = list[n-1].ID
			}
			there := make([]bool, n)
			looks, within := errgroup.WithContext(ctx)
			looks.SetLimit(refillers)
			for i := range list {
				looks.Go(func() (err error) {
					there[i], err = r.there(within, &list[i])
					return err
				})
			}
			if err := looks.Wait(); err != nil {
				return fmt.Errorf("looking for what is to be deleted: %w", err)
			}
			var gone []int64
			for i := range list {
				if !there[i] {
					gone = append(gone, list[i].ID)
				}
			}
			if err := r.o.Index.Undoom(ctx, r.o.Tenant, gone...); err != nil {
				return fmt.Errorf("noting what was deleted: %w", err)
			}
		}
	}
	return nil
}

// there reports whether the copy can be seen. What is in a tier that is not configured any more may be there.
func (r *Reconciler) there(ctx context.Context, d *archive.Doomed) (bool, error) {
	bucket := r.o.Bucket
	if r.o.Tier != nil {
		var ok bool
		if bucket, _, ok = r.o.Tier(d.Tier); !ok {
			return true, nil
		}
	} else if d.Tier != archive.HotTier {
		return true, nil
	}
	_, err := bucket.Stat(ctx, d.Object)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}
