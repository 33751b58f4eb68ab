package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

const (
	// refillers read facts side by side: as many as a store far away needs to keep the index busy.
	refillers = 16
	// maxControl is the size up to which an object of the log may be a fact that is
	// not about instances: the largest are deletions and rules.
	maxControl = 384 << 10
)

// Controls indexes the facts of the log that say who may see what: the tenant's
// settings, deletions, destroyed keys, holds, rules. An index that has them may be searched while
// [Reconciler.Refill] fills it. They have sessions of their own; where a session is mixed they
// are found by being small and sealed under the tenant's root.
func (r *Reconciler) Controls(ctx context.Context) error {
	if err := r.refill(ctx, true, nil); err != nil {
		return fmt.Errorf("indexing what the log says about the tenant: %w", err)
	}
	return nil
}

// errPassed is why a fact about instances is not opened.
var errPassed = errors.New("a fact about instances")

// Refill indexes what is in the log and not in the index, the newest session first
// and in it the newest fact, while the index is in use. What cannot be indexed at once is
// left to [Reconciler.Catchup], which has to follow: it also knows what is missing.
func (r *Reconciler) Refill(ctx context.Context, progress func(done, total int)) error {
	if err := r.refill(ctx, false, progress); err != nil {
		return fmt.Errorf("filling the index: %w", err)
	}
	return nil
}

func (r *Reconciler) refill(ctx context.Context, controls bool, progress func(done, total int)) error {
	secrets := ledger.Secrets(r.o.Keys.Secret)
	if controls {
		secrets = func(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
			if id != (archive.KeyID{}) {
				return archive.Secret{}, errPassed
			}
			return r.o.Keys.Secret(ctx, id)
		}
	}
	places, err := r.newest(ctx, controls)
	if err != nil {
		return err
	}
	return r.fetch(ctx, places, secrets, progress)
}

// fetch reads the facts at the places side by side, and indexes those that can be.
func (r *Reconciler) fetch(ctx context.Context, places []ledger.Place, secrets ledger.Secrets, progress func(done, total int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo, read := make(chan ledger.Place), make(chan *archive.Entry, refillers)
	var reading sync.WaitGroup
	for range refillers {
		reading.Go(func() {
			for p := range todo {
				e, err := r.readable(ctx, p, secrets)
				if err != nil {
					cancel(err)
				}
				select {
				case read <- e:
				case <-ctx.Done():
				}
			}
		})
	}
	reading.Go(func() {
		defer close(todo)
		for _, p := range places {
			select {
			case todo <- p:
			case <-ctx.Done():
				return
			}
		}
	})
	defer reading.Wait()
	defer cancel(nil)
	return r.o.Index.Fill(ctx, r.o.Tenant, func(add func(archive.Entry) error) error {
		for done := range places {
			select {
			case e := <-read:
				if e != nil {
					if err := add(*e); err != nil {
						return err
					}
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if progress != nil {
				progress(done+1, len(places))
			}
		}
		return nil
	})
}

// newest lists the objects of the log, or those alone that may be controls, that are
// not in the index, the newest first.
func (r *Reconciler) newest(ctx context.Context, controls bool) (places []ledger.Place, err error) {
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return nil, fmt.Errorf("asking the index how far it is: %w", err)
	}
	sessions, err := ledger.Sessions(ctx, r.o.Bucket, r.o.Tenant)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		p, limit := progress[s], int64(math.MaxInt64)
		if settled(p) {
			continue
		}
		if controls {
			switch ledger.ContentOf(s) {
			case ledger.Instances:
				continue
			case ledger.Mixed:
				limit = maxControl
			}
		}
		for place, err := range ledger.Numbers(ctx, r.o.Bucket, r.o.Tenant, s, contiguous(p)) {
			if err != nil {
				return nil, err
			}
			if !p.Has(place.N) && place.Size <= limit {
				places = append(places, place)
			}
		}
	}
	slices.Reverse(places)
	return places, nil
}

// readable reads a fact that can be indexed as it is; nil where it cannot.
func (r *Reconciler) readable(ctx context.Context, p ledger.Place, secrets ledger.Secrets) (*archive.Entry, error) {
	e, err := ledger.ReadPlace(ctx, r.o.Bucket, r.o.Tenant, p, secrets, ledger.All)
	if _, ok := keyless(err); ok || errors.Is(err, errPassed) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a fact: %w", err)
	}
	if ok, err := r.committed(ctx, &e, nil); err != nil || !ok {
		return nil, err
	}
	return &e, nil
}
