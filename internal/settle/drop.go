package settle

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// margin is added to the hold window before anything is dropped, but at most as much again: clocks of nodes differ.
const margin = time.Hour

// askAgain is when it is asked again whether what is held may be dropped.
const askAgain = 24 * time.Hour

// drop takes out the deleted blobs that nobody can bring back any more.
func (s *Settler) drop(ctx context.Context, v *view, deleted []bool) error {
	since, deletions, err := s.deletions(ctx, v.uid)
	if err != nil {
		return err
	}
	if s.o.Held != nil {
		held, err := s.o.Held(ctx, v.study)
		if err != nil {
			return fmt.Errorf("asking whether a study is held: %w", err)
		}
		if held {
			v.next = s.o.Now().Add(askAgain)
			return nil
		}
	}
	w, err := s.windows(ctx, since, deletions)
	if err != nil {
		return err
	}
	n := 0
	for i := range v.instances {
		in := v.instances[i]
		if _, ok := since[in.Blob]; ok && deleted[i] {
			left := w.left(in.Blob)
			if left <= 0 {
				v.dropped = append(v.dropped, in)
				v.deleted = append(v.deleted, deletions[in.Blob])
				continue
			}
			if next := w.now.Add(left); v.next.IsZero() || next.Before(v.next) {
				v.next = next
			}
		}
		v.instances[n], v.texts[n], v.series[n] = in, v.texts[i], v.series[i]
		n++
	}
	v.instances, v.texts, v.series = v.instances[:n], v.texts[:n], v.series[:n]
	return nil
}

// deletions returns of each deleted blob of a study when the last of the deletions that hold it was stated.
func (s *Settler) deletions(ctx context.Context, uid string) (map[archive.BlobID]time.Time, map[archive.BlobID]archive.Deletion, error) {
	list, err := s.o.Index.Deletions(ctx, s.o.Tenant, archive.UIDs{Study: uid})
	if err != nil {
		return nil, nil, fmt.Errorf("asking what is deleted of a study: %w", err)
	}
	since, by := map[archive.BlobID]time.Time{}, map[archive.BlobID]archive.Deletion{}
	for _, d := range list {
		for _, f := range d.By {
			if at := f.Time(); at.After(since[d.Blob]) {
				since[d.Blob] = at
			}
		}
		by[d.Blob] = d
	}
	return since, by, nil
}

// windows tells how long deletions can still be undone.
type windows struct {
	hold   time.Duration // with the margin
	now    time.Time     // this node's
	stated map[archive.BlobID]time.Time
	// Where the node's clock says that any window has ended, the store is asked: its time, and since when at the latest it has had the deletions.
	store time.Time
	kept  map[archive.BlobID]time.Time
}

func (w *windows) left(b archive.BlobID) time.Duration {
	left := w.stated[b].Add(w.hold).Sub(w.now)
	if left > 0 {
		return left
	}
	since := w.stated[b]
	if at := w.kept[b]; at.After(since) {
		since = at
	}
	return since.Add(w.hold).Sub(w.store)
}

func (s *Settler) windows(ctx context.Context, stated map[archive.BlobID]time.Time, deletions map[archive.BlobID]archive.Deletion) (*windows, error) {
	w := &windows{hold: s.o.Hold + min(margin, s.o.Hold), now: s.o.Now(), stated: stated, kept: map[archive.BlobID]time.Time{}}
	w.store = w.now
	facts := map[archive.FactID]time.Time{}
	var ask []archive.FactID
	var ended []archive.BlobID
	for blob, at := range stated {
		if at.Add(w.hold).After(w.now) {
			continue
		}
		ended = append(ended, blob)
		for _, f := range deletions[blob].By {
			if _, ok := facts[f]; !ok {
				facts[f] = time.Time{}
				ask = append(ask, f)
			}
		}
	}
	if len(ended) == 0 {
		return w, nil
	}
	if s.o.Fresh != nil {
		if err := s.o.Fresh(ctx); err != nil {
			return nil, fmt.Errorf("bringing the index up to the log before anything is dropped: %w", err)
		}
	}
	if s.o.StoreTime == nil {
		return w, nil
	}
	var err error
	if w.store, err = s.o.StoreTime(ctx); err != nil {
		return nil, fmt.Errorf("asking how long ago something was deleted: %w", err)
	}
	places, err := s.o.Index.DeletedAt(ctx, s.o.Tenant, ask...)
	if err != nil {
		return nil, fmt.Errorf("asking where deletions are in the log: %w", err)
	}
	for f, p := range places {
		a, err := s.o.Bucket.Stat(ctx, ledger.ObjectName(s.o.Tenant, p.Session, p.N))
		if err != nil {
			return nil, fmt.Errorf("asking since when a deletion is in the log: %w", err)
		}
		facts[f] = a.Modified
	}
	for _, blob := range ended {
		for _, f := range deletions[blob].By {
			if at := facts[f]; at.After(w.kept[blob]) {
				w.kept[blob] = at
			}
		}
	}
	return w, nil
}
