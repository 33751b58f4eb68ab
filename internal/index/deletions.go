package index

import (
	"context"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
)

// A deletion names blobs, and so does an undeletion with the deletions that no
// longer hold. A blob is deleted when some deletion names it for which no
// undeletion says otherwise. Rows of tombstones say so for each pair of blob and
// deletion, whichever of deletion, undeletion and blob comes first.

// isDeleted reports whether a deletion holds for the blob.
func (b *batch) isDeleted(t *tenant, id archive.BlobID) (bool, error) {
	n, err := b.c.integer(`SELECT 1 FROM tombstones WHERE tenant = ? AND blob = ? AND NOT void LIMIT 1`, t.id, id[:])
	return n != 0, err
}

func (b *batch) deleted(t *tenant, f *archive.Fact) error {
	ref := f.Study
	if f.Scope.Study != "" {
		ref = t.keys.Ref(f.Scope.Study)
	}
	b.entomb(t)
	left := make(map[archive.BlobID]bool, len(f.Blobs))
	for i := range f.Blobs {
		id := f.Blobs[i]
		err := b.c.exec(`INSERT INTO tombstones (tenant, blob, fact, void, study) VALUES (?, ?, ?, FALSE, ?)
			ON CONFLICT (tenant, blob, fact) DO UPDATE SET study = excluded.study`, t.id, id[:], f.ID[:], ref[:])
		if err != nil {
			return err
		}
		left[id] = true
	}
	st, err := b.study(t, ref, "", false)
	if err != nil || st == nil {
		return err
	}
	st.lookAt(f.ID)
	// Look where the scope says, and where it does not say enough, in the whole study.
	var in []*series
	if f.Scope.Series != "" {
		e, err := b.series(st, t.keys.Ref(f.Scope.Series), "", false)
		if err != nil {
			return err
		}
		if e != nil {
			in = append(in, e)
			if err := b.deleteIn(e, f, left); err != nil {
				return err
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	all, err := b.allSeries(st)
	if err != nil {
		return err
	}
	for _, e := range all {
		if len(in) == 1 && in[0] == e {
			continue
		}
		if err := b.deleteIn(e, f, left); err != nil {
			return err
		}
	}
	return nil
}

// deleteIn hides what the deletion names of a series and takes it out of left.
func (b *batch) deleteIn(e *series, f *archive.Fact, left map[archive.BlobID]bool) error {
	t := e.st.t
	names := make(map[archive.BlobID]bool, len(left))
	for id := range left {
		names[id] = true
	}
	hit := func(r *row) error {
		if !names[r.Blob] {
			return nil
		}
		delete(left, r.Blob)
		if r.state == StateDeleted {
			return nil
		}
		if !b.bulk {
			return b.regroup(e, r.UIDs.Instance, actionCreate)
		}
		gone, err := b.isDeleted(t, r.Blob)
		if err != nil || !gone {
			return err
		}
		was := r.state
		if err := b.setState(e, r, StateDeleted); err != nil || was != StateVisible {
			return err
		}
		return b.change(t, actionDelete, r.ID)
	}
	if f.Scope.Instance == "" || b.bulk {
		return b.rowsIn(t, e.id, hit)
	}
	rows, _, err := b.siblings(e, t.sop(f.Scope.Instance), f.Scope.Instance)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := hit(r); err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	return b.rowsIn(t, e.id, hit)
}

func (b *batch) undeleted(t *tenant, f *archive.Fact) error {
	names := make(map[archive.BlobID]bool, len(f.Blobs))
	studies := map[archive.Ref]bool{}
	if f.Study != (archive.Ref{}) {
		studies[f.Study] = true
	}
	b.entomb(t)
	var none archive.Ref
	for i := range f.Blobs {
		id := f.Blobs[i]
		names[id] = true
		for j := range f.Undoes {
			fact := f.Undoes[j]
			if _, err := b.c.one(`SELECT study FROM tombstones WHERE tenant = ? AND blob = ? AND fact = ?`, func(v []driver.Value) error {
				if ref := archive.Ref(blob(v[0])); ref != none {
					studies[ref] = true
				}
				return nil
			}, t.id, id[:], fact[:]); err != nil {
				return err
			}
			if err := b.c.exec(`INSERT INTO tombstones (tenant, blob, fact, void, study) VALUES (?, ?, ?, TRUE, ?)
				ON CONFLICT (tenant, blob, fact) DO UPDATE SET void = TRUE`, t.id, id[:], fact[:], none[:]); err != nil {
				return err
			}
		}
	}
	for ref := range studies {
		st, err := b.study(t, ref, "", false)
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		st.lookAt(f.ID)
		all, err := b.allSeries(st)
		if err != nil {
			return err
		}
		for _, e := range all {
			if err := b.undeleteIn(e, names); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) undeleteIn(e *series, names map[archive.BlobID]bool) error {
	t := e.st.t
	return b.rowsIn(t, e.id, func(r *row) error {
		if r.state != StateDeleted || !names[r.Blob] {
			return nil
		}
		if !b.bulk {
			return b.regroup(e, r.UIDs.Instance, actionUndelete)
		}
		gone, err := b.isDeleted(t, r.Blob)
		if err != nil || gone {
			return err
		}
		if err := b.setState(e, r, StateVisible); err != nil {
			return err
		}
		return b.change(t, actionUndelete, r.ID)
	})
}

// Deletions returns every deleted blob below sel: what an undeletion of sel has to name.
func (x *Index) Deletions(ctx context.Context, name archive.Tenant, sel archive.UIDs) (out []Deletion, err error) {
	var ids []archive.BlobID
	err = x.below(ctx, name, sel, func(r *row) {
		if r.state == StateDeleted {
			ids = append(ids, r.Blob)
		}
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		for _, id := range unique(ids) {
			d := Deletion{Blob: id}
			err := c.query(context.Background(), `SELECT fact FROM tombstones WHERE tenant = ? AND blob = ? AND NOT void`, func(v []driver.Value) error {
				d.By = append(d.By, archive.FactID(blob(v[0])))
				return nil
			}, t.id, id[:])
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

// Blobs returns every live blob below sel, hidden versions included: what a deletion of sel has to name.
func (x *Index) Blobs(ctx context.Context, name archive.Tenant, sel archive.UIDs) (ids []archive.BlobID, err error) {
	err = x.below(ctx, name, sel, func(r *row) {
		if r.state != StateDeleted {
			ids = append(ids, r.Blob)
		}
	})
	return unique(ids), err
}

func unique(ids []archive.BlobID) []archive.BlobID {
	seen := make(map[archive.BlobID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
