package remove

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// History is what going back to a moment needs of the index.
type History interface {
	// DeletionsSince returns deletions after a moment with what they hide of what was there, of a
	// study alone where ref is not zero, behind a fact; next is zero at the end.
	DeletionsSince(ctx context.Context, t archive.Tenant, at time.Time, ref archive.Ref, after archive.FactID, limit int) (list []archive.DeletedSince, next archive.FactID, err error)
	Changes(ctx context.Context, t archive.Tenant, q archive.ChangeQuery) ([]archive.Change, error)
	// Versions returns the versions of an instance that are not deleted, the one shown first.
	Versions(ctx context.Context, t archive.Tenant, u archive.UIDs) (rows []archive.InstanceRow, elsewhere bool, err error)
	// CreatedSince counts the instances that appeared after a moment.
	CreatedSince(ctx context.Context, t archive.Tenant, at time.Time) (int64, error)
}

// Rewind says how an archive goes back to a moment.
type Rewind struct {
	At    time.Time
	Study string // Study Instance UID; empty: the whole tenant
	// DryRun counts what would be done.
	DryRun bool
	// After continues behind an earlier call's Next. A call that is made again does nothing twice.
	After string
}

// Rewound is what a call of Rewind did.
type Rewound struct {
	Deletions int // that no longer hold
	Instances int // that come back, versions of the same UIDs counted each
	Versions  int // instances of which an earlier version is shown again, in place of one that replaced it
	// TooLate are deletions longer ago than they can be undone, of studies that need not be kept. They stay.
	TooLate int
	// StoredSince is how many instances appeared in the archive after the moment, the returned ones not among them. They stay. Only in the
	// answer to the call that begins a rewind of a whole tenant.
	StoredSince int64
	Next        string // continues; empty: done
}

const (
	rewindBlobs    = 2000 // looked at in a call, about
	rewindReplaced = 500  // entries of the change feed
	rewindAtOnce   = 8    // facts written at once
)

// The two halves of a rewind, as Next names them.
const (
	halfDeletions = "d"
	halfVersions  = "v"
)

// Rewind brings back, a page at a time, what was there at the moment: what was deleted since is shown again,
// and so is each version that was replaced since; the newer one is deleted, as any deletion
// is, and can be brought back like one. What was stored since stays. The age of a deletion and of a store is the
// time in their facts, by the clock of the node that stated them.
func (r *Remover) Rewind(ctx context.Context, h History, t archive.Tenant, w Rewind) (out Rewound, err error) {
	half, at, _ := strings.Cut(w.After, ":")
	switch half {
	case "":
		if w.Study == "" {
			if out.StoredSince, err = h.CreatedSince(ctx, t, w.At); err != nil {
				return out, fmt.Errorf("counting what was stored since: %w", err)
			}
		}
		return out, r.rewindDeletions(ctx, h, t, w, archive.FactID{}, &out)
	case halfDeletions:
		after, ok := archive.ParseFactID(at)
		if !ok {
			return out, errPlace
		}
		return out, r.rewindDeletions(ctx, h, t, w, after, &out)
	case halfVersions:
		after, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return out, errPlace
		}
		return out, r.rewindVersions(ctx, h, t, w, after, &out)
	}
	return out, errPlace
}

var errPlace = fault.New(fault.Invalid, "after must be what an earlier answer gave as next")

// rewindDeletions undoes deletions.
func (r *Remover) rewindDeletions(ctx context.Context, h History, t archive.Tenant, w Rewind, after archive.FactID, out *Rewound) error {
	var ref archive.Ref
	if w.Study != "" {
		ref = r.refs.Ref(w.Study)
	}
	list, next, err := h.DeletionsSince(ctx, t, w.At, ref, after, rewindBlobs)
	if err != nil {
		return fmt.Errorf("looking up what was deleted: %w", err)
	}
	facts := make([]*archive.Fact, 0, len(list))
	for _, d := range list {
		ok, err := r.undoes(ctx, t, d.Study, d.Fact.Time())
		if err != nil {
			return err
		}
		if !ok {
			out.TooLate++
			continue
		}
		out.Deletions++
		out.Instances += len(d.Blobs)
		facts = append(facts, &archive.Fact{Kind: archive.FactUndeleted, Study: d.Study, Blobs: d.Blobs, Undoes: []archive.FactID{d.Fact}})
	}
	if !w.DryRun {
		err := r.stateAll(ctx, t, facts)
		if err == nil && len(facts) > 0 {
			err = r.protect(ctx, ref)
		}
		if err != nil {
			return fmt.Errorf("bringing back what was deleted: %w", err)
		}
	}
	out.Next = halfVersions + ":0"
	if next != (archive.FactID{}) {
		out.Next = halfDeletions + ":" + next.String()
	}
	return nil
}

// rewindVersions hides versions that replaced one since.
func (r *Remover) rewindVersions(ctx context.Context, h History, t archive.Tenant, w Rewind, after int64, out *Rewound) error {
	list, err := h.Changes(ctx, t, archive.ChangeQuery{After: after, From: w.At.Add(time.Millisecond), Actions: []string{"replace"}, Limit: rewindReplaced})
	if err != nil {
		return fmt.Errorf("looking up what was replaced: %w", err)
	}
	var facts []*archive.Fact
	seen := map[archive.UIDs]bool{}
	for _, c := range list {
		if seen[c.UIDs] || w.Study != "" && c.Study != w.Study {
			continue
		}
		seen[c.UIDs] = true
		rows, _, err := h.Versions(ctx, t, c.UIDs)
		if err != nil {
			return fmt.Errorf("looking up versions of what was replaced: %w", err)
		}
		if newer := replacedSince(rows, w.At); len(newer) > 0 {
			out.Versions++
			facts = append(facts, &archive.Fact{Kind: archive.FactDeleted, Study: r.refs.Ref(c.Study), Scope: c.UIDs, Blobs: newer})
		}
	}
	if !w.DryRun {
		if err := r.stateAll(ctx, t, facts); err != nil {
			return fmt.Errorf("showing earlier versions: %w", err)
		}
	}
	if len(list) == rewindReplaced {
		out.Next = halfVersions + ":" + strconv.FormatInt(list[len(list)-1].Sequence, 10)
	}
	return nil
}

// replacedSince returns the versions that were stored after the moment to replace others, if one of them is shown and
// something is left to show.
func replacedSince(rows []archive.InstanceRow, at time.Time) (newer []archive.BlobID) {
	older := false
	for i := range rows {
		since := rows[i].Source.Fact.Time().After(at)
		switch {
		case since && len(rows[i].Replaces) > 0:
			newer = append(newer, rows[i].Blob)
		case i == 0:
			return nil // what is shown was there, or replaced nothing
		}
		older = older || !since
	}
	if !older {
		return nil
	}
	return newer
}

// stateAll makes facts durable, some at a time, then visible together.
func (r *Remover) stateAll(ctx context.Context, t archive.Tenant, facts []*archive.Fact) error {
	entries := make([]archive.Entry, len(facts))
	g, writing := errgroup.WithContext(ctx)
	g.SetLimit(rewindAtOnce)
	for i, f := range facts {
		f.ID = r.log.NewFactID()
		g.Go(func() (err error) {
			entries[i], err = r.log.Append(writing, f, nil)
			return err
		})
	}
	failed := g.Wait()
	var written []archive.Entry
	for _, e := range entries {
		if e.Fact != nil {
			written = append(written, e)
		}
	}
	if len(written) == 0 {
		return failed
	}
	err := ledger.Apply(ctx, r.index, t, written...)
	if failed != nil {
		return failed
	}
	return err
}
