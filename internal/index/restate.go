package index

import (
	"bytes"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// A settled fact restates instances: what their rows say of places (object, layout, DICOM JSON) is that of the settled
// fact with the greatest identity. Rows keep their identity and their source, the fact that first stated
// them. What no row is there for gets one, as if its stored fact had come.

// settled applies a settled fact.
func (b *batch) settled(t *tenant, s *session, e *archive.Entry) ([]Placed, error) {
	f := e.Fact
	if f.Key != (archive.KeyID{}) {
		closed, err := b.isClosed(t, f.Key)
		if err != nil {
			return nil, err
		}
		if closed { // what it supersedes is explained nevertheless
			if err := b.putEntry(t, s, e, f.Key, nil, true); err != nil {
				return nil, err
			}
			if err := b.bury(t, f, f.Packs); err != nil {
				return nil, err
			}
			placed := make([]Placed, len(f.Instances))
			for i := range placed {
				placed[i].Outcome = Shredded
			}
			return placed, b.supersede(t, e, nil)
		}
	}
	if err := b.usePacks(t, f, f.Packs); err != nil {
		return nil, err
	}
	if err := b.putEntry(t, s, e, f.Key, f.Packs, false); err != nil {
		return nil, err
	}
	x := &restating{b: b, t: t, f: f}
	placed, err := x.run()
	if err != nil {
		return nil, err
	}
	return placed, b.supersede(t, e, x.stands)
}

// restating is the study of a settled fact in hand, whole.
type restating struct {
	b *batch
	t *tenant
	f *archive.Fact

	st     *study
	rows   []lying
	stands map[archive.FactID]bool // that say where rows lie
	chunk  []int64                 // identities of the fact's chunks, 0 where none is needed yet
	used   map[int64]bool          // chunks that stay
	old    map[int64]bool          // chunks that may not
}

// lying is a row in its series.
type lying struct {
	e *series
	r *row
}

func (x *restating) run() (placed []Placed, err error) {
	b, t, f := x.b, x.t, x.f
	ref, uid := f.Study, ""
	if len(f.Instances) > 0 {
		uid = f.Instances[0].Study
		if ref = t.keys.Ref(uid); ref != f.Study {
			return nil, fault.New(fault.Corrupt, "a settled fact names another study than its instances; check the store with strata verify")
		}
	}
	if err := b.dropBlobs(t, f); err != nil {
		return nil, err
	}
	states := false // something that no fact drops
	placed = make([]Placed, len(f.Instances))
	for i := range f.Instances {
		dropped, err := b.isDropped(t, f.Instances[i].Blob)
		if err != nil {
			return nil, err
		}
		if states = states || !dropped; dropped {
			placed[i].Outcome = Deleted
		}
	}
	if x.st, err = b.study(t, ref, uid, states); err != nil || x.st == nil {
		return placed, err
	}
	if err := x.load(); err != nil {
		return nil, err
	}
	if again, err := x.purge(); err != nil {
		return nil, err
	} else if again {
		if x.st, err = b.study(t, ref, uid, states); err != nil || x.st == nil {
			return placed, err
		}
		if err := x.load(); err != nil {
			return nil, err
		}
	}
	if len(f.Instances) > 0 {
		if err := x.place(placed); err != nil {
			return nil, err
		}
	}
	return placed, x.finish()
}

// dropBlobs notes what the fact drops.
func (b *batch) dropBlobs(t *tenant, f *archive.Fact) error {
	if len(f.Dropped) == 0 {
		return nil
	}
	k := b.w.known[t.id]
	k.tombstones = true
	k.dropped++
	b.w.closings[t.id] = k.losses()
	for i := range f.Dropped {
		delete(b.fresh.blobs, f.Dropped[i])
		err := b.c.exec(`INSERT INTO dropped (tenant, blob, seq) VALUES (?, ?, ?) ON CONFLICT (tenant, blob) DO UPDATE SET seq = excluded.seq`, t.id, f.Dropped[i][:], k.dropped)
		if err != nil {
			return err
		}
	}
	return nil
}

// isDropped reports whether a settled fact drops the blob.
func (b *batch) isDropped(t *tenant, id archive.BlobID) (bool, error) {
	if !b.w.known[t.id].tombstones || b.fresh.blobs[id] {
		return false, nil
	}
	n, err := b.c.integer(`SELECT 1 FROM dropped WHERE tenant = ? AND blob = ?`, t.id, id[:])
	return n != 0, err
}

// load reads every row of the study, as far as they are in the database.
func (x *restating) load() error {
	x.rows, x.stands = nil, map[archive.FactID]bool{}
	all, err := x.b.allSeries(x.st)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *series) int { return int(a.id - b.id) })
	for _, e := range all {
		err := x.b.rowsIn(x.t, e.id, func(r *row) (err error) {
			if r.At.Object, err = x.b.object(r); err != nil {
				return err
			}
			r.prefix = 0
			x.rows = append(x.rows, lying{e, r})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// purge takes out rows of blobs that the fact drops. Where something of the study is said by them alone, all of it is
// taken out and what is left put in again; then rows are to be loaded again.
func (x *restating) purge() (again bool, err error) {
	if len(x.f.Dropped) == 0 {
		return false, nil
	}
	drop := make(map[archive.BlobID]bool, len(x.f.Dropped))
	for _, id := range x.f.Dropped {
		drop[id] = true
	}
	type level struct {
		e   *series
		set uint64
	}
	said := map[level]bool{} // by rows that stay
	var stay, leave []lying
	for _, l := range x.rows {
		if drop[l.r.Blob] {
			leave = append(leave, l)
			continue
		}
		stay = append(stay, l)
		said[level{nil, l.r.sv}], said[level{l.e, l.r.ev}] = true, true
	}
	if len(leave) == 0 {
		return false, nil
	}
	for _, l := range leave {
		if said[level{nil, l.r.sv}] && said[level{l.e, l.r.ev}] {
			continue
		}
		cut := &excision{b: x.b, t: x.t, st: x.st, gone: func(r *row) bool { return drop[r.Blob] }}
		return true, cut.run()
	}
	x.old = map[int64]bool{}
	for _, l := range leave {
		if err := x.remove(l); err != nil {
			return false, err
		}
	}
	x.rows = stay
	st := x.st
	st.received, st.updated, st.key, st.settled, st.dirty = int64(^uint64(0)>>1), 0, archive.KeyID{}, false, true
	for _, l := range stay {
		st.counts(l.r)
	}
	return false, nil
}

// remove deletes a row, whose chunk may go with it.
func (x *restating) remove(l lying) error {
	b := x.b
	shown := l.r.state == StateVisible
	if shown {
		if err := b.vanish(l.e, l.r); err != nil {
			return err
		}
	}
	if err := b.c.exec(`DELETE FROM instances WHERE id = ?`, l.r.ID); err != nil {
		return err
	}
	life := &l.e.st.life
	if life.stored -= l.r.At.Length; l.r.state == StateDeleted {
		life.gone--
	}
	l.e.st.dirty = true
	if x.old[l.r.ChunkID] = true; !shown || b.bulk {
		return nil
	}
	return b.regroup(l.e, l.r.UIDs.Instance, actionReplace)
}

// place moves rows to where the fact says that they lie, and makes those that are not there: but for what is dropped.
func (x *restating) place(placed []Placed) error {
	f := x.f
	by := make(map[archive.Source][]lying, len(x.rows))
	for _, l := range x.rows {
		by[l.r.Source] = append(by[l.r.Source], l)
	}
	x.chunk, x.used = make([]int64, len(f.Chunks)), map[int64]bool{}
	if x.old == nil {
		x.old = map[int64]bool{}
	}
	to := map[*row]*archive.Instance{}
	var made []int // instances that need a row
	for i := range f.Instances {
		in := &f.Instances[i]
		source := archive.Source{Fact: in.Stated, Blob: in.Blob}
		if placed[i].Outcome == Deleted { // dropped
			continue
		}
		same := by[source]
		if len(same) == 0 {
			made = append(made, i)
			by[source] = []lying{{}} // once
			continue
		}
		l := same[0]
		if l.r == nil {
			placed[i].Outcome = SameDigest
			continue
		}
		for _, o := range same[1:] { // one fact written twice: its places are one now
			if o.r.state < l.r.state {
				l, o = o, l
			}
			if err := x.remove(o); err != nil {
				return err
			}
			o.r.ID = 0
		}
		by[source] = []lying{l}
		placed[i].ID, placed[i].Outcome = l.r.ID, outcomeOf[l.r.state]
		if to[l.r] == nil && bytes.Compare(f.ID[:], l.r.placed[:]) > 0 {
			to[l.r] = in
		}
	}
	x.rows = slices.DeleteFunc(x.rows, func(l lying) bool { return l.r.ID == 0 })
	for _, l := range x.rows {
		if to[l.r] == nil || len(f.Chunks) == 0 {
			x.used[l.r.ChunkID] = true
		}
	}
	if err := x.chunksOf(to); err != nil {
		return err
	}
	for _, l := range x.rows {
		if in := to[l.r]; in != nil {
			if err := x.relocate(l.r, in); err != nil {
				return err
			}
		}
	}
	return x.make(made, placed)
}

var outcomeOf = [...]archive.Outcome{StateVisible: Visible, StateHidden: HiddenVersion, StateDeleted: Deleted}

// chunksOf puts the chunks of rows that are moved.
func (x *restating) chunksOf(to map[*row]*archive.Instance) error {
	if len(x.f.Chunks) == 0 {
		return nil
	}
	for _, l := range x.rows {
		in := to[l.r]
		if in == nil {
			continue
		}
		x.old[l.r.ChunkID] = true
		if _, err := x.chunkOf(l.e, in); err != nil {
			return err
		}
	}
	return nil
}

// chunkOf returns the identity of the chunk that holds the instance's JSON, and puts the chunk when it is first asked
// for. It takes a number of the series as a row would: an identity is never given to another chunk, so that
// whoever holds one in memory, or is about to read it, can tell.
func (x *restating) chunkOf(e *series, in *archive.Instance) (int64, error) {
	at := &x.chunk[in.JSON.Chunk]
	if *at != 0 {
		return *at, nil
	}
	if e.next > ordinalMask {
		return 0, errTooMany
	}
	*at = e.id<<ordinalBits | e.next
	e.next++
	x.b.unsettle(e)
	x.used[*at] = true
	return *at, x.b.putChunk(x.t, *at, &x.f.Chunks[in.JSON.Chunk])
}

// relocate has a row say where the instance lies now.
func (x *restating) relocate(r *row, in *archive.Instance) error {
	x.st.settled, x.st.dirty = true, true
	r.At, r.Layout, r.placed = in.At, in.Layout, x.f.ID
	if len(x.chunk) > 0 {
		r.JSON, r.ChunkID = in.JSON, x.chunk[in.JSON.Chunk]
	}
	return x.b.rewrite(x.t, r)
}

// make makes rows for instances that have none.
func (x *restating) make(made []int, placed []Placed) error {
	b, t, f := x.b, x.t, x.f
	for _, i := range made {
		in := &f.Instances[i]
		e, err := b.series(x.st, t.keys.Ref(in.UIDs.Series), in.UIDs.Series, true)
		if err != nil {
			return err
		}
		r := &row{placed: f.ID}
		r.Instance = *in
		if len(x.chunk) > 0 {
			if r.ChunkID, err = x.chunkOf(e, in); err != nil {
				return err
			}
		}
		if e.next > ordinalMask {
			return errTooMany
		}
		r.ID, r.SeriesID, r.StudyID = e.id<<ordinalBits|e.next, e.id, x.st.id
		r.Source = archive.Source{Fact: in.Stated, Blob: in.Blob}
		if placed[i], err = b.place(e, r); err != nil {
			return err
		}
		x.rows = append(x.rows, lying{e, r})
	}
	return nil
}

// finish takes out chunks that no row names any more, and notes what the rows lie in now.
func (x *restating) finish() error {
	if x.used == nil { // nothing was restated
		x.used = map[int64]bool{}
		for _, l := range x.rows {
			x.used[l.r.ChunkID] = true
		}
	}
	for id := range x.old {
		if id != 0 && !x.used[id] {
			if err := x.b.c.exec(`DELETE FROM chunks WHERE id = ?`, id); err != nil {
				return err
			}
		}
	}
	for _, l := range x.rows {
		x.stands[l.r.statedBy()] = true
	}
	return x.b.recount(x.rows)
}
