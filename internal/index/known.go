package index

import (
	"context"
	"database/sql/driver"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
)

// known is what a writer knows of a tenant as long as nobody else writes for it.
type known struct {
	writes     int64 // transactions of all nodes, this one's last included; PostgreSQL only
	sequence   int64 // of the change feed
	feedTime   int64 // of its newest entry, ms
	tombstones bool  // there are any, or blobs that were dropped
	loose      int64 // small pages of words
	closed     int64 // closed keys, and the sequence of the latest
	dropped    int64 // the sequence of the blobs dropped last
}

// losses is how often words may have left the vocabulary.
type losses struct{ closed, dropped int64 }

func (k *known) losses() losses { return losses{k.closed, k.dropped} }

// enter prepares the transaction for the tenant. On PostgreSQL it locks the tenant's
// row until the commit; what another node may have changed meanwhile is forgotten.
func (b *batch) enter(t *tenant) error {
	if b.entered[t] {
		return nil
	}
	b.entered[t] = true
	b.c.as(t.id)
	w := b.w
	k := w.known[t.id]
	if k != nil && !w.x.shared {
		return nil
	}
	var writes, tombstones int64
	now := &known{}
	ask := append([]question{},
		lastChange(t.id, &now.sequence, &now.feedTime),
		numberOf(&tombstones, `SELECT 1 FROM tombstones WHERE tenant = ? LIMIT 1`, t.id),
		numberOf(&now.dropped, `SELECT max(seq) FROM dropped WHERE tenant = ?`, t.id),
		numberOf(&now.loose, `SELECT count(*) FROM words WHERE tenant = ? AND tag = 0`, t.id),
		numberOf(&now.closed, `SELECT max(seq) FROM closed_keys WHERE tenant = ?`, t.id))
	if w.x.shared { // the others see what is there once the row is locked, and are cheap where it is known
		ask = slices.Insert(ask, 0, numberOf(&writes, `UPDATE tenants SET writes = writes + 1 WHERE id = ? RETURNING writes`, t.id))
	}
	if err := b.c.together(ask...); err != nil {
		return err
	}
	switch {
	case w.x.shared && writes == 0:
		return errRow
	case k != nil && k.writes+1 != writes:
		w.forgetTenant(t.id)
	}
	if last, ok := w.closings[t.id]; !ok || last != now.losses() {
		// Another node shredded, or dropped what was deleted: words that are remembered may be gone.
		w.recent.forget()
		w.warm = map[int64]bool{}
		w.closings[t.id] = now.losses()
	}
	now.writes, now.tombstones = writes, tombstones+now.dropped != 0
	w.known[t.id] = now
	return nil
}

// entomb notes that the tenant has tombstones.
func (b *batch) entomb(t *tenant) {
	b.w.known[t.id].tombstones = true
	b.fresh.blobs = nil
}

// forget drops what memory holds of the database.
func (w *writer) forget() {
	w.studies, w.sessions = studyCache{}, map[sessionKey]*session{}
	w.prefixes = map[prefixKey]int64{}
	w.recent.forget()
	w.warm = map[int64]bool{}
	w.known = map[int64]*known{}
	w.closings = map[int64]losses{}
	if !w.x.shared {
		w.ids = map[string]*ids{} // a transaction that failed took some; those of sequences are not given out again
	}
}

// forgetTenant drops what another node may have changed. Beginnings of names only ever come to be; of
// words what has gone is nothing that would be written again, but after a shredding, which enter sees.
func (w *writer) forgetTenant(id int64) {
	w.studies.drop(func(s *study) bool { return s.t.id == id })
	for k := range w.sessions {
		if k.tenant == id {
			delete(w.sessions, k)
		}
	}
	delete(w.known, id)
}

// tidy drops what is of a tenant that is forgotten, at once or, where a transaction is under way, at its end.
func (w *writer) tidy() {
	for w.purge.Load() && w.mu.TryLock() {
		w.purge.Store(false)
		w.studies.drop(func(s *study) bool { return s.t.gone.Load() })
		w.recent.forget()
		w.warm = map[int64]bool{}
		w.mu.Unlock()
	}
}

func (w *writer) dropSessions() {
	for k, s := range w.sessions {
		if !s.dirty {
			delete(w.sessions, k)
		}
	}
}

// ids are row identities to give out.
type ids struct{ next, end int64 }

// idBlock is by how much a sequence of PostgreSQL goes on at a time; migrations have it too.
const idBlock = 64

// id returns an identity for a new row of studies, series or words.
func (b *batch) id(table string) (int64, error) {
	n, err := b.identities(table)
	if err != nil {
		return 0, err
	}
	n.next++
	return n.next - 1, nil
}

// identities returns those to give out, of which there is one at least.
func (b *batch) identities(table string) (*ids, error) {
	n := b.w.ids[table]
	if n == nil {
		n = &ids{}
		b.w.ids[table] = n
	}
	if n.next == n.end {
		var err error
		switch {
		case !b.w.x.shared: // the only writer goes on after the highest there is, or was
			n.next, err = b.c.integer(`SELECT max(coalesce((SELECT max(id) + 1 FROM `+table+`), 1),
				coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?), 1))`, nextName(table))
			n.end = 1<<63 - 1
		case table == "studies":
			n.next, err = b.c.integer(`SELECT nextval('study_ids')`)
		default:
			n.next, err = b.c.integer(`SELECT nextval('` + table + `_ids')`)
		}
		if err != nil {
			n.next = n.end
			return nil, err
		}
		if b.w.x.shared {
			n.end = n.next + idBlock
		}
	}
	return n, nil
}

// fresh is what is known not to be in the database as the transaction found it: one query
// on PostgreSQL instead of one for each. nil maps know nothing.
type fresh struct {
	sops    map[int64]bool
	studies map[archive.Ref]bool
	blobs   map[archive.BlobID]bool // that no tombstone names, and that were not dropped
	keys    map[archive.KeyID]bool  // that are not closed
}

// expect looks up everything new that the entries will ask for.
func (b *batch) expect(items []item) error {
	if !b.w.x.shared || len(items) == 0 {
		return nil
	}
	t := items[0].t
	if err := b.enter(t); err != nil {
		return err
	}
	f := fresh{sops: map[int64]bool{}, studies: map[archive.Ref]bool{}, blobs: map[archive.BlobID]bool{}, keys: map[archive.KeyID]bool{}}
	var sops []int64
	var refs, blobs, keys [][]byte
	study := ""
	for _, it := range items {
		for i := range it.e.Fact.Instances {
			in := &it.e.Fact.Instances[i]
			if in.Study != study {
				study = in.Study
				ref := t.keys.Ref(study)
				if b.w.studies.get(studyCacheKey{t.id, ref}) == nil && !f.studies[ref] {
					f.studies[ref] = true
					refs = append(refs, ref[:])
				}
			}
			if sop := t.sop(in.UIDs.Instance); !f.sops[sop] {
				f.sops[sop] = true
				sops = append(sops, sop)
			}
			if b.w.known[t.id].tombstones && !f.blobs[in.Blob] {
				f.blobs[in.Blob] = true
				blobs = append(blobs, in.Blob[:])
			}
			if key := keyOf(it.e.Fact, i); b.w.known[t.id].closed != 0 && !f.keys[key] {
				f.keys[key] = true
				keys = append(keys, key[:])
			}
		}
	}
	if len(sops) == 0 {
		return nil
	}
	b.fresh = f
	return b.c.query(context.Background(), `SELECT 1, sop, NULL::bytea FROM instances WHERE sop = ANY (?::bigint[])
		UNION ALL SELECT 2, 0, ref FROM studies WHERE tenant = ? AND ref = ANY (?::bytea[])
		UNION ALL SELECT 3, 0, blob FROM tombstones WHERE tenant = ? AND blob = ANY (?::bytea[])
		UNION ALL SELECT 3, 0, blob FROM dropped WHERE tenant = ? AND blob = ANY (?::bytea[])
		UNION ALL SELECT 4, 0, key FROM closed_keys WHERE tenant = ? AND key = ANY (?::bytea[])`, func(v []driver.Value) error {
		switch integer(v[0]) {
		case 1:
			delete(f.sops, integer(v[1]))
		case 2:
			delete(f.studies, archive.Ref(blob(v[2])))
		case 3:
			delete(f.blobs, archive.BlobID(blob(v[2])))
		case 4:
			delete(f.keys, archive.KeyID(blob(v[2])))
		}
		return nil
	}, sops, t.id, refs, t.id, blobs, t.id, blobs, t.id, keys)
}
