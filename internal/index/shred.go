package index

import (
	"context"
	"database/sql/driver"
	"slices"
	"strconv"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// What a destroyed key sealed counts as never stored. When a key-closed fact comes after what was stored,
// everything of the study is taken out, and what other keys sealed of it is put in again, as if the rest had never come:
// by this, facts commute without a thought for counts, variants and versions. A study with several keys is rare.
// So it is done for what a settled fact drops, where it was all that said something of its series or study.
//
// Rows are deleted, in the search index too, and identities are never given out again. Entries of the change feed
// stay, as times and numbers that lead nowhere: readers pass over them.

// keyClosed applies a key-closed fact.
func (b *batch) keyClosed(t *tenant, f *archive.Fact) error {
	if err := b.remember(t, f); err != nil {
		return err
	}
	st, err := b.study(t, f.Study, "", false)
	if err != nil {
		return err
	}
	closed := make(map[archive.KeyID]bool, len(f.Closed))
	for _, id := range f.Closed {
		closed[id] = true
	}
	x := &excision{b: b, t: t, st: st, gone: func(r *row) bool { return closed[r.Key] }}
	if st != nil {
		if err := x.run(); err != nil {
			return err
		}
	}
	if err := b.closeEntries(t, f, closed, x.stands); err != nil {
		return err
	}
	return b.lookAgain(t, f.Study)
}

// excision takes a study out of the index.
type excision struct {
	b    *batch
	t    *tenant
	st   *study
	gone func(*row) bool // which rows are to go

	all    []*series
	kept   []*row                  // the others, whole
	chunks map[int64]bool          // whether they are kept
	stands map[archive.FactID]bool // that say where rows lie that are kept
	blobs  []archive.BlobID        // that are not
	words  map[word]bool           // of the study's sets of attributes
}

// run takes out rows, if there are such.
func (x *excision) run() error {
	found, err := x.look()
	if err != nil || !found {
		return err
	}
	if err := x.cut(); err != nil {
		return err
	}
	return x.restore()
}

// look finds out what is there; false where none of it is to go.
func (x *excision) look() (found bool, err error) {
	x.chunks, x.stands, x.words = map[int64]bool{}, map[archive.FactID]bool{}, map[word]bool{}
	if x.all, err = x.b.allSeries(x.st); err != nil {
		return false, err
	}
	slices.SortFunc(x.all, func(a, b *series) int { return int(a.id - b.id) })
	sets, err := setsOf(x.b.c, x.t, x.st.owner(), &x.st.set)
	if err != nil {
		return false, err
	}
	for _, as := range sets {
		x.t.eachLearnt(as, func(w word) { x.words[w] = true })
	}
	for _, e := range x.all {
		of, err := setsOf(x.b.c, x.t, e.owner(), &e.set)
		if err != nil {
			return false, err
		}
		err = x.b.rowsIn(x.t, e.id, func(r *row) error {
			if r.At.Object, err = x.b.object(r); err != nil {
				return err
			}
			r.prefix = 0
			kept := !x.gone(r)
			if r.ChunkID != 0 {
				x.chunks[r.ChunkID] = x.chunks[r.ChunkID] || kept
			}
			if !kept {
				found = true
				x.blobs = append(x.blobs, r.Blob)
				return nil
			}
			x.stands[r.statedBy()] = true
			r.Study, r.UIDs.Series = x.st.uid, e.uid
			r.Patient, r.Instance.Series = sets[r.sv], of[r.ev]
			x.kept = append(x.kept, r)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// setsOf returns all sets of attributes of a study or series by their numbers.
func setsOf(c *conn, t *tenant, owner int64, s *attrSet) (map[uint64]archive.Attrs, error) {
	out := map[uint64]archive.Attrs{}
	add := func(no uint64, plain []byte) error {
		d := decoder{b: plain}
		out[no] = d.attrs()
		return d.err()
	}
	if err := add(s.winner, s.attrs); err != nil || s.sets < 2 {
		return out, err
	}
	err := c.query(context.Background(), `SELECT no, sealed FROM variants WHERE owner = ?`, func(v []driver.Value) error {
		plain, err := t.seal.open(blob(v[1]), inVariants, owner<<20^integer(v[0]))
		if err != nil {
			return err
		}
		return add(uint64(integer(v[0])), plain)
	}, owner)
	return out, err
}

// cut deletes every row of the study, and the words that nobody else has at the end of the transaction.
func (x *excision) cut() error {
	b, t, st := x.b, x.t, x.st
	if err := b.keepIdentities(); err != nil {
		return err
	}
	var statements []statement
	do := func(q string, args ...driver.Value) { statements = append(statements, statement{q, args}) }
	for _, e := range x.all {
		do(`DELETE FROM instances WHERE id BETWEEN ? AND ?`, e.id<<ordinalBits, e.id<<ordinalBits|ordinalMask)
		do(`DELETE FROM variants WHERE owner = ?`, e.owner())
		do(`DELETE FROM series WHERE id = ?`, e.id)
		if err := b.forgetShown(e); err != nil {
			return err
		}
		e.dirty, e.open = false, false
	}
	b.unsettled = slices.DeleteFunc(b.unsettled, func(e *series) bool { return e.st == st })
	do(`DELETE FROM variants WHERE owner = ?`, st.owner())
	do(`DELETE FROM facets WHERE study = ?`, st.id)
	do(`DELETE FROM lives WHERE tenant = ? AND id = ?`, t.id, st.id)
	do(`DELETE FROM studies WHERE id = ?`, st.id)
	for id, kept := range x.chunks {
		if !kept {
			do(`DELETE FROM chunks WHERE id = ?`, id)
		}
	}
	if b.w.known[t.id].tombstones {
		for i := range x.blobs {
			do(`DELETE FROM tombstones WHERE tenant = ? AND blob = ?`, t.id, x.blobs[i][:])
		}
	}
	for _, s := range statements {
		if err := b.c.exec(s.q, s.args...); err != nil {
			return err
		}
	}
	if st.skey != 0 && !b.bulk {
		b.posts = append(b.posts, posting{old: st.skey, was: st.posted})
	}
	b.countStudy(t, st.skey, 0)
	st.dirty = false
	b.w.studies.drop(func(s *study) bool { return s == st })
	b.grew[t] = true // who waits for the feed looks again
	b.fresh = fresh{}
	for w := range x.words {
		b.lost = append(b.lost, lost{t, w})
	}
	return nil
}

type statement struct {
	q    string
	args []driver.Value
}

// restore puts in again what is kept.
func (x *excision) restore() error {
	if len(x.kept) == 0 {
		return nil
	}
	b, t := x.b, x.t
	st, err := b.study(t, x.st.ref, x.st.uid, true)
	if err != nil {
		return err
	}
	st.life.moved = true
	for _, r := range x.kept {
		e, err := b.series(st, t.keys.Ref(r.UIDs.Series), r.UIDs.Series, true)
		if err != nil {
			return err
		}
		if e.next > ordinalMask {
			return errTooMany
		}
		r.ID, r.SeriesID, r.StudyID, r.state = e.id<<ordinalBits|e.next, e.id, st.id, StateVisible
		if _, err := b.place(e, r); err != nil {
			return err
		}
	}
	return nil
}

// keepIdentities has SQLite go on after the identities given out so far although the rows that had the highest may
// go: the change feed, and what caches hold, name rows by identity. PostgreSQL has sequences.
func (b *batch) keepIdentities() error {
	if b.w.x.shared {
		return nil
	}
	b.cuts = true
	for _, table := range [...]string{"studies", "series", "words"} {
		if _, err := b.identities(table); err != nil {
			return err
		}
	}
	return nil
}

// storeIdentities does so at the end of the transaction.
func (b *batch) storeIdentities() error {
	if !b.cuts {
		return nil
	}
	for _, table := range [...]string{"studies", "series", "words"} {
		n, err := b.identities(table)
		if err != nil {
			return err
		}
		err = b.c.exec(`INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)`, nextName(table), strconv.FormatInt(n.next, 10))
		if err != nil {
			return err
		}
	}
	return nil
}

func nextName(table string) string { return "next/" + table }

// Whether SQLite overwrites whole pages that it frees too, and not only what it deletes in those that it keeps.
const (
	secureDelete = `PRAGMA secure_delete = ON`
	plainDelete  = `PRAGMA secure_delete = FAST`
)

// scrub has SQLite overwrite what it deletes, and not only take it for free, until the transaction ends.
func (w *writer) scrub(on bool) error {
	if w.x.shared {
		return nil
	}
	if on {
		return w.run1(secureDelete)
	}
	if err := w.run1(plainDelete); err != nil {
		return err
	}
	// What was deleted may also be in the log. Where somebody reads, a later checkpoint takes it.
	err := w.run1(`PRAGMA wal_checkpoint(TRUNCATE)`)
	if fault.Is(err, fault.Busy) || fault.Is(err, fault.Unavailable) {
		return nil
	}
	return err
}
