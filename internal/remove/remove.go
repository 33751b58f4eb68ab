// Package remove hides studies, series and instances, and shows them again. A
// deletion is a fact that names the blobs it hides; no byte is touched, so an
// undeletion is a fact too. Which instances are visible follows from the set of
// facts, in whatever order they are read.
package remove

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
)

// Index is what removing needs of the index.
type Index interface {
	// Blobs returns every live blob below sel.
	Blobs(ctx context.Context, t archive.Tenant, sel archive.UIDs) ([]archive.BlobID, error)
	// Deletions returns every deleted blob below sel, with the deletions that hold it.
	Deletions(ctx context.Context, t archive.Tenant, sel archive.UIDs) ([]archive.Deletion, error)
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Log is what removing needs of the tenant's log.
type Log interface {
	NewFactID() archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Refs gives the keyed hash of a UID.
type Refs interface{ Ref(uid string) archive.Ref }

// Keeper says what must be kept.
type Keeper interface {
	// Held returns why nothing of a study may be deleted, as a sentence for the user,
	// and "" where it may.
	Held(ctx context.Context, t archive.Tenant, study archive.Ref) (reason string, err error)
}

// Options are the parts of a Remover. Index, Log and Refs are required.
type Options struct {
	Index Index
	Log   Log
	Refs  Refs
	Keep  Keeper // nil where nothing has to be kept
	// Hold is how long a deletion can be undone; 0: for ever. What is older may be about to be
	// dropped with its bytes: who was told that it is back must not lose it to that.
	Hold time.Duration
	// Protect, if set, has what is about to be destroyed of a study, or with a zero reference of any, not be destroyed any more
	// unless it may be: it is called when an undeletion is in the index, before that is acknowledged.
	Protect func(ctx context.Context, study archive.Ref) error
	// StoreTime asks the store for its time; nil: its clock is Now. A deletion can be undone while either clock says so.
	StoreTime func(ctx context.Context) (time.Time, error)
	Now       func() time.Time // time.Now when nil
}

// Remover hides and shows again. It is safe for concurrent use.
type Remover struct {
	index Index
	log   Log
	refs  Refs
	keep  Keeper
	hold  time.Duration
	now   func() time.Time

	protect func(ctx context.Context, study archive.Ref) error
	store   func(ctx context.Context) (time.Time, error)
}

// New returns a Remover.
func New(o Options) *Remover {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Protect == nil {
		o.Protect = func(context.Context, archive.Ref) error { return nil }
	}
	return &Remover{o.Index, o.Log, o.Refs, o.Keep, o.Hold, o.Now, o.Protect, o.StoreTime}
}

// undoes reports whether a deletion of a study at a moment can be undone: not when it was too
// long ago, unless the study must be kept, as nothing of that is dropped.
func (r *Remover) undoes(ctx context.Context, t archive.Tenant, study archive.Ref, at time.Time) (bool, error) {
	if r.hold <= 0 || !at.Before(r.now().Add(-r.hold)) {
		return true, nil
	}
	if r.store != nil {
		if now, err := r.store(ctx); err != nil {
			return false, fmt.Errorf("asking the store how long ago something was deleted: %w", err)
		} else if !at.Before(now.Add(-r.hold)) {
			return true, nil
		}
	}
	reason, err := r.kept(ctx, t, study)
	return reason != "", err
}

// kept returns why nothing of a study may be deleted, or "".
func (r *Remover) kept(ctx context.Context, t archive.Tenant, study archive.Ref) (string, error) {
	if r.keep == nil {
		return "", nil
	}
	reason, err := r.keep.Held(ctx, t, study)
	if err != nil {
		return "", fmt.Errorf("asking whether this has to be kept: %w", err)
	}
	return reason, nil
}

// maxBlobs bounds a fact: a larger deletion becomes several.
const maxBlobs = 10_000

// Delete hides every instance of the scope, all versions of it, durably.
// fault.NotFound when there are none, fault.Conflict, with the reason, for what has to be kept.
func (r *Remover) Delete(ctx context.Context, t archive.Tenant, scope archive.UIDs) error {
	return r.DeleteIf(ctx, t, scope, func(context.Context) error { return nil })
}

// DeleteIf is Delete if sure returns nil, whose error it returns as it is. It is asked once it is known what there is to be
// hidden, and what comes afterwards stays: so who decides by what is there hides nothing that was not looked at.
func (r *Remover) DeleteIf(ctx context.Context, t archive.Tenant, scope archive.UIDs, sure func(context.Context) error) error {
	blobs, err := r.index.Blobs(ctx, t, scope)
	if err != nil {
		return fmt.Errorf("looking up what to delete: %w", err)
	}
	if len(blobs) == 0 {
		return fault.New(fault.NotFound, "there is nothing to delete")
	}
	if reason, err := r.kept(ctx, t, r.refs.Ref(scope.Study)); err != nil {
		return err
	} else if reason != "" {
		return fault.New(fault.Conflict, "%s", reason)
	}
	if err := sure(ctx); err != nil {
		return err
	}
	for rest := blobs; len(rest) > 0; {
		n := min(len(rest), maxBlobs)
		f := &archive.Fact{ID: r.log.NewFactID(), Kind: archive.FactDeleted, Study: r.refs.Ref(scope.Study), Blobs: rest[:n], Scope: scope}
		if err := ledger.State(ctx, r.log, r.index, t, f); err != nil {
			return fmt.Errorf("deleting: %w", err)
		}
		rest = rest[n:]
	}
	return nil
}

// Undelete shows again every deleted instance of the scope. It returns how many
// blobs are shown, fault.NotFound when none was hidden, and fault.Conflict when
// one was longer ago than a deletion can be undone: then nothing is shown. What it counts as shown
// is not dropped any more, whatever was under way.
func (r *Remover) Undelete(ctx context.Context, t archive.Tenant, scope archive.UIDs) (int, error) {
	deletions, err := r.index.Deletions(ctx, t, scope)
	if err != nil {
		return 0, fmt.Errorf("looking up what was deleted: %w", err)
	}
	if len(deletions) == 0 {
		return 0, fault.New(fault.NotFound, "nothing of this was deleted")
	}
	for _, d := range deletions {
		var last time.Time // of those that hold the blob: from then its time is counted
		for _, by := range d.By {
			if at := by.Time(); at.After(last) {
				last = at
			}
		}
		if ok, err := r.undoes(ctx, t, r.refs.Ref(scope.Study), last); err != nil {
			return 0, err
		} else if !ok {
			return 0, errTooLate
		}
	}
	for rest := deletions; len(rest) > 0; {
		n := min(len(rest), maxBlobs)
		f := &archive.Fact{ID: r.log.NewFactID(), Kind: archive.FactUndeleted, Study: r.refs.Ref(scope.Study)}
		undone := map[archive.FactID]bool{}
		for _, d := range rest[:n] {
			f.Blobs = append(f.Blobs, d.Blob)
			for _, by := range d.By {
				if !undone[by] {
					undone[by] = true
					f.Undoes = append(f.Undoes, by)
				}
			}
		}
		if err := ledger.State(ctx, r.log, r.index, t, f); err != nil {
			return len(deletions) - len(rest), fmt.Errorf("undeleting: %w", err)
		}
		rest = rest[n:]
	}
	return r.returned(ctx, t, scope, deletions)
}

var errTooLate = fault.New(fault.Conflict, "this was deleted longer ago than a deletion can be undone (delete-hold)")

// returned keeps what was shown again from being dropped, and counts what is there: some may have been dropped just before.
func (r *Remover) returned(ctx context.Context, t archive.Tenant, scope archive.UIDs, deletions []archive.Deletion) (int, error) {
	if err := r.protect(ctx, r.refs.Ref(scope.Study)); err != nil {
		return 0, fmt.Errorf("undeleting: it is stated, but something may be about to be dropped all the same; undelete again: %w", err)
	}
	live, err := r.index.Blobs(ctx, t, scope)
	if err != nil {
		return 0, fmt.Errorf("looking up what is shown again: %w", err)
	}
	there := make(map[archive.BlobID]bool, len(live))
	for _, b := range live {
		there[b] = true
	}
	n := 0
	for _, d := range deletions {
		if there[d.Blob] {
			n++
		}
	}
	if n == 0 {
		return 0, errTooLate
	}
	return n, nil
}
