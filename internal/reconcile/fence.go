package reconcile

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Fence decides what is at a number of a session, this process's or another's, that lives or is over: a void, unless something
// is there. When it returns, that is in the index, and nothing else will ever be there.
func (r *Reconciler) Fence(ctx context.Context, session string, n uint64) error {
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return fmt.Errorf("asking the index how far it is: %w", err)
	}
	if p := progress[session]; !p.Has(n) { // else it is decided, and may be superseded and gone
		if err := r.fence(ctx, session, n); err != nil {
			return err
		}
	}
	// Asked after the void is there: who finds the session over later lists it later, and closes the holes itself.
	if !r.o.Over(ctx, session) {
		return nil
	}
	if progress, err = r.o.Index.Progress(ctx, r.o.Tenant); err != nil {
		return fmt.Errorf("asking the index how far it is: %w", err)
	}
	for p, below := progress[session], uint64(1); below < n; below++ {
		if !p.Has(below) {
			if err := r.fence(ctx, session, below); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reconciler) fence(ctx context.Context, session string, n uint64) error {
	if err := r.o.Log.Void(ctx, session, n); err != nil && !fault.Is(err, fault.Exists) {
		return fmt.Errorf("voiding a number of the log: %w", err)
	}
	return r.one(ctx, session, n)
}

// one indexes what is at a place of the log, if it counts.
func (r *Reconciler) one(ctx context.Context, session string, n uint64) error {
	a, err := r.o.Bucket.Stat(ctx, ledger.ObjectName(r.o.Tenant, session, n))
	if fault.Is(err, fault.NotFound) {
		return nil // it was superseded, and has gone since
	}
	if err != nil {
		return fmt.Errorf("looking for fact %d: %w", n, err)
	}
	entry, counts, err := r.entry(ctx, ledger.Place{Session: session, N: n, Size: a.Size}, nil)
	if err != nil || !counts {
		return err
	}
	if err := ledger.Apply(ctx, r.o.Index, r.o.Tenant, entry); err != nil {
		return fmt.Errorf("indexing fact %d: %w", n, err)
	}
	return nil
}
