package index

import (
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// batch is one transaction of the writer.
type batch struct {
	w    *writer
	c    *conn
	now  int64 // ms
	at   int64 // ms, of the feed entries to come: now, in a rebuild when the fact was stated
	bulk bool  // a rebuild on SQLite: versions of the same UIDs and postings are left to its end
	late bool  // a rebuild: feed entries have the time of the fact

	touched   []*study  // studies that the transaction has in hand
	unsettled []*series // series that the entry changed
	changed   []*series // series whose rows are to be written
	entered   map[*tenant]bool
	grew      map[*tenant]bool  // their change feeds
	studies   map[*tenant]int64 // of them, how many are visible more
	words     map[*tenant][]word
	posts     []posting
	lost      []lost    // words of studies that were taken out
	struck    []*tenant // whose pages of words were written anew without some
	cuts      bool      // rows were deleted whose identities may be the highest

	// What instances of an entry share.
	patient, shared encoded

	fresh fresh
	usage map[usageKey]tally // what tiers hold more, or less
	shown map[inPack]int64   // how many rows more, or fewer, the entry shows

	plain, sealed []byte // scratch
}

// encoded is a set of attributes with its encoding: instances of a fact share them.
type encoded struct {
	of    archive.Attrs
	bytes []byte
}

func (e *encoded) encode(a archive.Attrs) []byte {
	if len(e.bytes) > 0 && len(a) == len(e.of) && (len(a) == 0 || &a[0] == &e.of[0]) {
		return e.bytes
	}
	e.of, e.bytes = a, appendAttrs(e.bytes[:0], a)
	return e.bytes
}

// check refuses an entry that cannot be applied before anything is touched.
func check(e *archive.Entry) error {
	switch {
	case e.Fact == nil:
		return fault.New(fault.Invalid, "a log entry without a fact cannot be indexed")
	case e.Session == "" || e.N == 0 || e.N > 1<<62:
		return fault.New(fault.Invalid, "a log entry without its place in the log cannot be indexed")
	}
	switch k := e.Fact.Kind; k {
	case archive.FactStored:
		return checkInstances(e.Fact)
	case archive.FactDeleted, archive.FactUndeleted, archive.FactVoid, archive.FactCheckpoint:
	case archive.FactSettled, archive.FactMoved:
		return checkPlaces(e.Fact)
	case archive.FactKeyClosed:
		if e.Fact.Study == (archive.Ref{}) || len(e.Fact.Closed) == 0 {
			return fault.New(fault.Invalid, "a key-closed fact without a study or a key cannot be indexed")
		}
	case archive.FactTagged:
		if e.Fact.Study == (archive.Ref{}) || !archive.ValidTags(e.Fact.Tags) {
			return fault.New(fault.Invalid, "a tagged fact without a study, or with tags that none may have, cannot be indexed")
		}
	case archive.FactHeld, archive.FactReleased, archive.FactRule:
		return checkOrdered(e.Fact)
	case archive.FactTenant:
		if e.Fact.Settings == nil {
			return fault.New(fault.Invalid, "a tenant fact without settings cannot be indexed")
		}
	default:
		return fault.New(fault.Conflict, "the log has a fact of kind %d, which this version of Strata does not know; use a newer one", k)
	}
	return nil
}

func checkInstances(f *archive.Fact) error {
	for i := range f.Instances {
		in := &f.Instances[i]
		if in.Study == "" || in.UIDs.Series == "" || in.UIDs.Instance == "" {
			return fault.New(fault.Invalid, "a stored instance without its three UIDs cannot be indexed")
		}
		if n := len(f.Chunks); n > 0 && (in.JSON.Chunk < 0 || in.JSON.Chunk >= n) {
			return fault.New(fault.Invalid, "a stored instance names a chunk of metadata that its fact does not have")
		}
		if in.Size < 0 || in.At.Offset < 0 || in.At.Length < 0 || in.JSON.Offset < 0 || in.JSON.Length < 0 {
			return fault.New(fault.Invalid, "a stored instance has a negative size or offset")
		}
	}
	return nil
}

// maxSuperseded bounds the entries of the log that one fact supersedes, as storage/FORMAT.md does.
const maxSuperseded = 1 << 20

// checkPlaces is check of a settled or moved fact.
func checkPlaces(f *archive.Fact) error {
	if f.Study == (archive.Ref{}) {
		return fault.New(fault.Invalid, "a settled or moved fact without a study cannot be indexed")
	}
	named := make(map[string]bool, len(f.Packs))
	for i := range f.Packs {
		if k := &f.Packs[i]; k.Object == "" || k.Size < 0 || !k.Tier.Valid() || k.From != "" && !k.From.Valid() {
			return fault.New(fault.Invalid, "a pack without a place cannot be indexed")
		}
		named[f.Packs[i].Object] = true
	}
	for i := range f.Instances {
		in := &f.Instances[i]
		if in.Key != f.Key || in.Key == (archive.KeyID{}) || in.Stated == (archive.FactID{}) || !named[in.At.Object] {
			return fault.New(fault.Invalid, "a settled instance under another key than its fact, that no fact has stated, or in no pack of its fact cannot be indexed")
		}
	}
	left := uint64(maxSuperseded)
	for _, r := range f.Supersedes {
		if r.Session == "" || r.From == 0 || r.To < r.From || r.To > 1<<62 || r.To-r.From >= left {
			return fault.New(fault.Invalid, "a settled fact that supersedes what is no place of the log, or too much, cannot be indexed")
		}
		left -= r.To - r.From + 1
	}
	return checkInstances(f)
}

// apply applies one entry. After an error the transaction is to be rolled back.
func (b *batch) apply(t *tenant, e *archive.Entry) (Applied, error) {
	s, err := b.session(t, e.Session)
	if err != nil {
		return Applied{}, err
	}
	known, err := b.mark(s, e.N)
	if err != nil {
		return Applied{}, err
	}
	b.at = b.now
	if b.late {
		b.at = min(b.now, e.Fact.ID.Time().UnixMilli())
	}
	b.patient, b.shared = encoded{bytes: b.patient.bytes[:0]}, encoded{bytes: b.shared.bytes[:0]}
	var unmet bool // it was superseded before it came
	if known {
		if unmet, err = b.meet(s, e.N); err == nil && unmet {
			b.tally(t, archive.HotTier, 1, e.Size)
			if known, err = b.superseded(t, e); err == nil && known {
				err = b.settle()
			}
		}
	} else {
		b.tally(t, archive.HotTier, 1, e.Size)
	}
	if err != nil || known {
		out := Applied{Known: known}
		if err == nil && e.Fact.Kind == archive.FactStored {
			out.Instances, err = b.shredded(t, e.Fact)
		}
		return out, err
	}
	var out Applied
	switch e.Fact.Kind {
	case archive.FactStored:
		out.Instances, err = b.stored(t, s, e)
	case archive.FactSettled:
		out.Instances, err = b.settled(t, s, e)
	case archive.FactMoved:
		if err = b.putEntry(t, s, e, archive.KeyID{}, nil, false); err == nil {
			err = b.moved(t, e.Fact)
		}
	case archive.FactDeleted:
		if err = b.deletedAt(t, e); err == nil {
			err = b.deleted(t, e.Fact)
		}
	case archive.FactUndeleted:
		err = b.undeleted(t, e.Fact)
	case archive.FactCheckpoint:
		err = b.checkpoint(t, e.Fact)
	case archive.FactTenant:
		err = b.settings(t, e.Fact)
	case archive.FactKeyClosed:
		err = b.keyClosed(t, e.Fact)
	case archive.FactTagged:
		err = b.tagged(t, e.Fact)
	case archive.FactHeld, archive.FactReleased, archive.FactRule:
		err = b.ordered(t, e.Fact)
	}
	if err == nil && unmet {
		err = b.setPassed(t, e.Fact.Study, s.id, int64(e.N))
	}
	if err != nil {
		return Applied{}, err
	}
	return out, b.settle()
}

// shredded tells of a stored fact that was applied before which of its instances count as never stored; nil when none do.
func (b *batch) shredded(t *tenant, f *archive.Fact) ([]Placed, error) {
	if any, err := b.anyClosed(t, f); err != nil || !any {
		return nil, err
	}
	placed := make([]Placed, len(f.Instances))
	for i := range placed {
		closed, err := b.isClosed(t, keyOf(f, i))
		if err != nil {
			return nil, err
		}
		if closed {
			placed[i].Outcome = Shredded
		}
	}
	return placed, nil
}

func (b *batch) stored(t *tenant, s *session, e *archive.Entry) ([]Placed, error) {
	f := e.Fact
	closed, err := b.shredded(t, f)
	if err != nil {
		return nil, err
	}
	packs := packsOf(e)
	if allShredded(f, closed) {
		if err := b.putEntry(t, s, e, f.Key, nil, true); err != nil {
			return nil, err
		}
		return closed, b.bury(t, f, packs)
	}
	if err := b.usePacks(t, f, packs); err != nil {
		return nil, err
	}
	if err := b.putEntry(t, s, e, keyOf(f, 0), packs, false); err != nil {
		return nil, err
	}
	var have map[archive.Source]int64
	placed := make([]Placed, len(f.Instances))
	chunks := make([]int64, len(f.Chunks))
	var st *study
	var se *series
	for i := range f.Instances {
		in := &f.Instances[i]
		if closed != nil && closed[i].Outcome == Shredded {
			placed[i].Outcome = Shredded
			continue
		}
		if dropped, err := b.isDropped(t, in.Blob); err != nil {
			return nil, err
		} else if dropped { // before its study, of which it may be all there is
			placed[i].Outcome = Deleted
			continue
		}
		var err error
		if st == nil || st.uid != in.Study {
			se = nil
			if st, err = b.study(t, t.keys.Ref(in.Study), in.Study, true); err != nil {
				return nil, err
			}
		}
		if se == nil || se.uid != in.UIDs.Series {
			if se, err = b.series(st, t.keys.Ref(in.UIDs.Series), in.UIDs.Series, true); err != nil {
				return nil, err
			}
		}
		if se.next > ordinalMask {
			return nil, errTooMany
		}
		if st.settled && have == nil {
			if have, err = b.restated(t, f); err != nil {
				return nil, err
			}
		}
		if id, ok := have[archive.Source{Fact: f.ID, Blob: in.Blob}]; ok { // it was written twice, and restated
			placed[i] = Placed{ID: id, Outcome: SameDigest}
			continue
		}
		r := &row{}
		r.Instance = *in
		r.ID, r.SeriesID, r.StudyID = se.id<<ordinalBits|se.next, se.id, st.id
		r.Source = archive.Source{Fact: f.ID, Blob: in.Blob}
		r.Key = keyOf(f, i)
		if r.At.Object == "" {
			r.At.Object = e.Object
		}
		if len(chunks) > 0 {
			at := &chunks[in.JSON.Chunk]
			if *at == 0 {
				*at = r.ID
				if err := b.putChunk(t, r.ID, &f.Chunks[in.JSON.Chunk]); err != nil {
					return nil, err
				}
			}
			r.ChunkID = *at
		}
		if placed[i], err = b.place(se, r); err != nil {
			return nil, err
		}
	}
	if st != nil {
		st.life.loose++
		st.life.moved = st.life.moved || len(packs) > 0
		st.dirty = true
	} else if err := b.lookAgain(t, f.Study); err != nil {
		return nil, err
	}
	return placed, nil
}

// allShredded reports whether a stored fact counts as never stored; so does one that nobody could open.
func allShredded(f *archive.Fact, closed []Placed) bool {
	return len(f.Instances) == 0 || closed != nil && !slices.ContainsFunc(closed, func(p Placed) bool { return p.Outcome != Shredded })
}

// place inserts a row and decides which version of its UIDs is shown.
func (b *batch) place(e *series, r *row) (p Placed, err error) {
	st, t := e.st, e.st.t
	e.next++
	b.unsettle(e)
	st.counts(r)
	st.life.stored += r.At.Length

	p.ID = r.ID
	if p.Conflicts, err = b.attributes(e, r); err != nil {
		return p, err
	}
	gone := false
	if b.w.known[t.id].tombstones && !b.fresh.blobs[r.Blob] {
		if gone, err = b.isDeleted(t, r.Blob); err != nil {
			return p, err
		}
	}
	sop := t.sop(r.UIDs.Instance)
	var others []*row
	if !b.bulk {
		if others, p.Elsewhere, err = b.siblings(e, sop, r.UIDs.Instance); err != nil {
			return p, err
		}
	}
	switch {
	case gone:
		r.state, p.Outcome = StateDeleted, Deleted
		st.life.gone++
	case len(others) > 0:
		r.state = StateHidden
	}
	if err := b.insert(t, r, sop); err != nil || gone {
		return p, err
	}
	if len(others) == 0 {
		if err := b.appear(e, r); err != nil {
			return p, err
		}
		return p, b.change(t, actionCreate, r.ID)
	}
	var before *row
	for _, o := range others {
		if o.state == StateVisible {
			before = o
		}
	}
	shown, err := b.resolve(e, append(others, r), before, actionCreate)
	if err == nil && r.state != StateVisible {
		p.Outcome = HiddenVersion
		if shown != nil && shown.Digest == r.Digest {
			p.Outcome = SameDigest
		}
	}
	return p, err
}

// attributes gives the row the numbers of its sets and returns how they differ from those shown.
func (b *batch) attributes(e *series, r *row) (conflicts []dicom.Tag, err error) {
	st, t := e.st, e.st.t
	enc := b.patient.encode(r.Patient)
	var fresh bool
	r.sv, fresh, err = b.variant(t, st.owner(), &st.set, st.instances, enc)
	if err != nil {
		return nil, err
	}
	if fresh {
		b.learn(t, r.Patient)
		st.terms = st.terms || r.sv == st.set.winner
	}
	if r.sv != st.set.winner && st.instances > 0 {
		conflicts = st.set.differing(r.Patient)
	}
	enc = b.shared.encode(r.Instance.Series)
	if r.ev, _, err = b.variant(t, e.owner(), &e.set, e.instances, enc); err != nil {
		return nil, err
	}
	if r.ev != e.set.winner && e.instances > 0 {
		conflicts = append(conflicts, e.set.differing(r.Instance.Series)...)
	}
	return conflicts, nil
}

func compareKeys(a, b archive.KeyID) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}
