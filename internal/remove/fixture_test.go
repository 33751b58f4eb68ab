package remove

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pack"
)

const tenant archive.Tenant = "t"

var noon = time.Date(2030, 6, 15, 12, 0, 0, 0, time.UTC)

// factAt is the identity of a fact of a moment; the later, the larger.
func factAt(at time.Time, n uint16) (id archive.FactID) {
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16)
	binary.BigEndian.PutUint16(id[14:], n)
	return id
}

// world is one study in an index and a log in memory. What the real ones do with deletions is held in package node's tests.
type world struct {
	mu        sync.Mutex
	now       time.Time
	store     time.Time // by the store's clock; zero: it is not asked
	kept      string    // why it must be kept
	blobs     []archive.BlobID
	hidden    map[archive.BlobID][]archive.FactID
	gone      map[archive.BlobID]bool // dropped when it is undeleted
	facts     []*archive.Fact         // in the log
	applied   int                     // of them, in the index
	protected []archive.Ref
	n         uint16

	appendFails func(n int) error // the n-th fact, from 1
	applyFails  func(f *archive.Fact) error
	broken      error // what is asked of the index beside that, and of the keeper
	storeErr    error
	protectErr  error

	since    []archive.DeletedSince
	changes  []archive.Change
	versions map[string][]archive.InstanceRow
	created  int64
}

func newWorld() *world {
	return &world{now: noon, hidden: map[archive.BlobID][]archive.FactID{}, gone: map[archive.BlobID]bool{}, versions: map[string][]archive.InstanceRow{}}
}

func (w *world) remover(o Options) *Remover {
	o.Index, o.Log, o.Refs, o.Keep, o.Protect = w, w, w, w, w.protect
	o.Now = func() time.Time { return w.now }
	if !w.store.IsZero() {
		o.StoreTime = func(context.Context) (time.Time, error) { return w.store, w.storeErr }
	}
	return New(o)
}

// stores adds n blobs to the study.
func (w *world) stores(n int) {
	for range n {
		var id archive.BlobID
		binary.BigEndian.PutUint32(id[:], uint32(len(w.blobs)+1))
		w.blobs = append(w.blobs, id)
	}
}

func (w *world) Ref(uid string) (r archive.Ref) {
	copy(r[:], uid)
	return r
}

func (w *world) Held(context.Context, archive.Tenant, archive.Ref) (string, error) {
	return w.kept, w.broken
}

func (w *world) protect(_ context.Context, study archive.Ref) error {
	w.protected = append(w.protected, study)
	return w.protectErr
}

func (w *world) Blobs(context.Context, archive.Tenant, archive.UIDs) (live []archive.BlobID, err error) {
	for _, b := range w.blobs {
		if len(w.hidden[b]) == 0 {
			live = append(live, b)
		}
	}
	return live, w.broken
}

func (w *world) Deletions(context.Context, archive.Tenant, archive.UIDs) (list []archive.Deletion, err error) {
	for _, b := range w.blobs {
		if by := w.hidden[b]; len(by) > 0 {
			list = append(list, archive.Deletion{Blob: b, By: slices.Clone(by)})
		}
	}
	return list, w.broken
}

func (w *world) NewFactID() archive.FactID {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return factAt(w.now, w.n)
}

func (w *world) Append(ctx context.Context, f *archive.Fact, _ *pack.Body) (archive.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return archive.Entry{}, err
	}
	if w.appendFails != nil {
		if err := w.appendFails(len(w.facts) + 1); err != nil {
			return archive.Entry{}, err
		}
	}
	w.facts = append(w.facts, f)
	return archive.Entry{Fact: f}, nil
}

func (w *world) Apply(ctx context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]archive.Applied, len(entries))
	for i, e := range entries {
		if w.applyFails != nil {
			if out[i].Err = w.applyFails(e.Fact); out[i].Err != nil {
				continue
			}
		}
		w.applied++
		for _, b := range e.Fact.Blobs {
			switch e.Fact.Kind {
			case archive.FactDeleted:
				w.hidden[b] = append(w.hidden[b], e.Fact.ID)
			case archive.FactUndeleted:
				w.hidden[b] = slices.DeleteFunc(w.hidden[b], func(id archive.FactID) bool { return slices.Contains(e.Fact.Undoes, id) })
			}
		}
	}
	w.blobs = slices.DeleteFunc(w.blobs, func(b archive.BlobID) bool { return w.gone[b] })
	return out, nil
}

// shown counts the blobs that are shown, by which any test can tell what was done.
func (w *world) shown(t *testing.T, want int) {
	t.Helper()
	n := 0
	for _, b := range w.blobs {
		if len(w.hidden[b]) == 0 {
			n++
		}
	}
	if n != want {
		t.Errorf("%d are shown, want %d", n, want)
	}
}

// DeletionsSince returns them a page of limit blobs at a time, at least one.
func (w *world) DeletionsSince(_ context.Context, _ archive.Tenant, _ time.Time, ref archive.Ref, after archive.FactID, limit int) (list []archive.DeletedSince, next archive.FactID, err error) {
	n := 0
	for _, d := range w.since {
		if slices.Compare(d.Fact[:], after[:]) <= 0 || ref != (archive.Ref{}) && d.Study != ref {
			continue
		}
		if n >= limit {
			return list, list[len(list)-1].Fact, w.broken
		}
		list, n = append(list, d), n+len(d.Blobs)
	}
	return list, next, w.broken
}

func (w *world) Changes(_ context.Context, _ archive.Tenant, q archive.ChangeQuery) (list []archive.Change, err error) {
	for _, c := range w.changes {
		if c.Sequence > q.After && !c.Time.Before(q.From) && len(list) < q.Limit {
			list = append(list, c)
		}
	}
	return list, w.broken
}

func (w *world) Versions(_ context.Context, _ archive.Tenant, u archive.UIDs) ([]archive.InstanceRow, bool, error) {
	return w.versions[u.Instance], false, w.broken
}

func (w *world) CreatedSince(context.Context, archive.Tenant, time.Time) (int64, error) {
	return w.created, w.broken
}
