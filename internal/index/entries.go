package index

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

// A settled fact supersedes entries of the log: their objects are doomed, and their numbers count as applied, whether they
// were met before or not, so that nobody looks for them. One that is met later is doomed then. As long as something
// that it states is neither restated nor dropped it stays nevertheless, and goes when that has come.

// live is a live entry in the writer's hands.
type live struct {
	session, n, size int64
	fact             archive.FactID
	key              archive.KeyID
	closed, passed   bool
	packs            []string
}

// putEntry notes a live entry about the study; closed: nobody can read it any more.
func (b *batch) putEntry(t *tenant, s *session, e *archive.Entry, key archive.KeyID, packs []archive.PackPlace, closed bool) error {
	var names driver.Value
	if len(packs) > 0 {
		list := make([]string, len(packs))
		for i := range packs {
			list[i] = packs[i].Object
		}
		names = strings.Join(list, "\n")
	}
	f := e.Fact
	return b.c.exec(`INSERT INTO entries (tenant, study, session, n, kind, size, closed, fact, key, packs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.id, f.Study[:], s.id, int64(e.N), int64(f.Kind), e.Size, closed, f.ID[:], key[:], names)
}

func (b *batch) entriesOf(t *tenant, study archive.Ref) (out []live, err error) {
	err = b.c.query(context.Background(), `SELECT session, n, size, key, packs, closed, passed, fact FROM entries WHERE tenant = ? AND study = ?`, func(v []driver.Value) error {
		e := live{session: integer(v[0]), n: integer(v[1]), size: integer(v[2]), closed: integer(v[5]) != 0, passed: integer(v[6]) != 0}
		copy(e.key[:], blob(v[3]))
		copy(e.fact[:], blob(v[7]))
		if names := text(v[4]); names != "" {
			e.packs = strings.Split(names, "\n")
		}
		out = append(out, e)
		return nil
	}, t.id, study[:])
	return out, err
}

// dropEntry ends a live entry. What becomes of its object is for the caller to say.
func (b *batch) dropEntry(t *tenant, study archive.Ref, e *live, since int64) error {
	if err := b.c.exec(`DELETE FROM entries WHERE tenant = ? AND study = ? AND session = ? AND n = ?`, t.id, study[:], e.session, e.n); err != nil {
		return err
	}
	return b.unrefPacks(t, e, since)
}

func (b *batch) unrefPacks(t *tenant, e *live, since int64) error {
	for _, name := range e.packs {
		if err := b.unrefPack(t, name, since); err != nil {
			return err
		}
	}
	return nil
}

// usePacks counts an entry in for the packs that it names.
func (b *batch) usePacks(t *tenant, f *archive.Fact, packs []archive.PackPlace) error {
	placed := f.ID
	if f.Kind == archive.FactStored {
		placed = archive.FactID{}
	}
	for _, k := range packs {
		if err := b.placePack(t, f.Study, k, placed, 1); err != nil {
			return err
		}
	}
	return nil
}

// bury is for a fact that says nothing any more when it comes: its packs are doomed, unless others name them.
func (b *batch) bury(t *tenant, f *archive.Fact, packs []archive.PackPlace) error {
	if err := b.usePacks(t, f, packs); err != nil {
		return err
	}
	for _, k := range packs {
		if err := b.unrefPack(t, k.Object, b.now); err != nil {
			return err
		}
	}
	return nil
}

// closeEntries notes which entries of the study nobody can read any more. Their objects stay in the log, unless a settled
// fact supersedes them; their packs go. stands are the facts that say where rows of the study lie.
func (b *batch) closeEntries(t *tenant, f *archive.Fact, closed map[archive.KeyID]bool, stands map[archive.FactID]bool) error {
	all, err := b.entriesOf(t, f.Study)
	if err != nil {
		return err
	}
	for i := range all {
		e := &all[i]
		if e.closed || !closed[e.key] || stands[e.fact] {
			continue
		}
		if err := b.c.exec(`UPDATE entries SET closed = TRUE, packs = NULL WHERE tenant = ? AND study = ? AND session = ? AND n = ?`, t.id, f.Study[:], e.session, e.n); err != nil {
			return err
		}
		if err := b.unrefPacks(t, e, f.ID.Time().UnixMilli()); err != nil {
			return err
		}
	}
	return b.release(t, f, all, stands)
}

// release ends entries that were superseded and stayed, as far as no row lies where they say any more.
func (b *batch) release(t *tenant, f *archive.Fact, all []live, stands map[archive.FactID]bool) error {
	since := f.ID.Time().UnixMilli()
	for i := range all {
		e := &all[i]
		if !e.passed || stands[e.fact] {
			continue
		}
		if err := b.dropEntry(t, f.Study, e, since); err != nil {
			return err
		}
		var name string
		if _, err := b.c.one(`SELECT name FROM sessions WHERE id = ?`, func(v []driver.Value) error {
			name = objectName(t, text(v[0]), uint64(e.n))
			return nil
		}, e.session); err != nil {
			return err
		}
		if err := b.doom(t, name, archive.HotTier, e.size, since, false, false); err != nil {
			return err
		}
	}
	return nil
}

// setPassed notes that a live entry was superseded and stays.
func (b *batch) setPassed(t *tenant, study archive.Ref, session, n int64) error {
	return b.c.exec(`UPDATE entries SET passed = TRUE WHERE tenant = ? AND study = ? AND session = ? AND n = ?`, t.id, study[:], session, n)
}

// supersede applies what a settled fact says of entries of the log. stands are the facts that say where rows of the study
// lie: their entries stay, whatever the fact says.
func (b *batch) supersede(t *tenant, e *archive.Entry, stands map[archive.FactID]bool) error {
	f := e.Fact
	all, err := b.entriesOf(t, f.Study)
	if err != nil {
		return err
	}
	type place struct{ session, n int64 }
	at := make(map[place]*live, len(all))
	for i := range all {
		at[place{all[i].session, all[i].n}] = &all[i]
	}
	since := f.ID.Time().UnixMilli()
	var objects []archive.Doomed
	for _, r := range f.Supersedes {
		s, err := b.session(t, r.Session)
		if err != nil {
			return err
		}
		var unmet archive.Range // to be noted; From is 0 when there is none
		for n := r.From; n <= r.To; n++ {
			if r.Session == e.Session && n == e.N {
				continue
			}
			known, err := b.mark(s, n)
			if err != nil {
				return err
			}
			if !known {
				if unmet.From == 0 || unmet.To+1 != n {
					if err := b.pass(s, unmet); err != nil {
						return err
					}
					unmet.From = n
				}
				unmet.To = n
				continue
			}
			old, object := at[place{s.id, int64(n)}], objectName(t, r.Session, n)
			if old == nil {
				continue
			}
			if stands[old.fact] {
				if err := b.setPassed(t, f.Study, s.id, int64(n)); err != nil {
					return err
				}
				continue
			}
			old.passed = false // it is seen to here
			if err := b.dropEntry(t, f.Study, old, since); err != nil {
				return err
			}
			objects = append(objects, archive.Doomed{Object: object, Size: old.size})
		}
		if err := b.pass(s, unmet); err != nil {
			return err
		}
	}
	// After the packs: whoever deletes in this order leaves nothing that no fact names.
	for i := range objects {
		if err := b.doom(t, objects[i].Object, archive.HotTier, objects[i].Size, since, false, false); err != nil {
			return err
		}
	}
	if err := b.release(t, f, all, stands); err != nil {
		return err
	}
	return b.lookAgain(t, f.Study)
}

// objectName is the name of an object of the tenant's log (storage/FORMAT.md).
func objectName(t *tenant, session string, n uint64) string {
	return fmt.Sprintf("%s/log/%s/%016d", t.seal.tenant, session, n)
}

// pass notes numbers that were superseded and not met; none where From is 0.
func (b *batch) pass(s *session, r archive.Range) error {
	if r.From == 0 {
		return nil
	}
	first, last := int64(r.From), int64(r.To)
	before, end, err := b.passed(s, first)
	if err != nil {
		return err
	}
	if end == first-1 && before != 0 {
		if err := b.c.exec(`DELETE FROM passed WHERE session = ? AND first = ?`, s.id, before); err != nil {
			return err
		}
		first = before
	}
	if end, err = b.c.integer(`SELECT last FROM passed WHERE session = ? AND first = ?`, s.id, last+1); err != nil {
		return err
	}
	if end != 0 {
		if err := b.c.exec(`DELETE FROM passed WHERE session = ? AND first = ?`, s.id, last+1); err != nil {
			return err
		}
		last = end
	}
	return b.c.exec(`INSERT INTO passed (session, first, last) VALUES (?, ?, ?)`, s.id, first, last)
}

// passed returns the range that begins at the number or before, zero when there is none.
func (b *batch) passed(s *session, n int64) (first, last int64, err error) {
	_, err = b.c.one(`SELECT first, last FROM passed WHERE session = ? AND first <= ? ORDER BY first DESC LIMIT 1`, func(v []driver.Value) error {
		first, last = integer(v[0]), integer(v[1])
		return nil
	}, s.id, n)
	return first, last, err
}

// meet reports whether the number was superseded and is met only now.
func (b *batch) meet(s *session, number uint64) (bool, error) {
	n := int64(number)
	first, last, err := b.passed(s, n)
	if err != nil || first == 0 || last < n {
		return false, err
	}
	if err := b.c.exec(`DELETE FROM passed WHERE session = ? AND first = ?`, s.id, first); err != nil {
		return false, err
	}
	for _, r := range [...][2]int64{{first, n - 1}, {n + 1, last}} {
		if r[0] <= r[1] {
			if err := b.c.exec(`INSERT INTO passed (session, first, last) VALUES (?, ?, ?)`, s.id, r[0], r[1]); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// superseded applies an entry that was superseded before it came. It reports false where that does
// not hold, since something that the fact states is stated nowhere else.
func (b *batch) superseded(t *tenant, e *archive.Entry) (bool, error) {
	f := e.Fact
	switch f.Kind {
	case archive.FactStored, archive.FactSettled:
		all, err := b.accounted(t, f)
		if err != nil || !all {
			return false, err
		}
		if err := b.bury(t, f, packsOf(e)); err != nil {
			return false, err
		}
		if f.Kind == archive.FactSettled { // what it dropped and superseded stays so
			left := *f
			left.Instances, left.Chunks = nil, nil
			x := &restating{b: b, t: t, f: &left}
			if _, err := x.run(); err != nil {
				return false, err
			}
			if err := b.supersede(t, e, x.stands); err != nil {
				return false, err
			}
		}
	case archive.FactMoved:
		if err := b.moved(t, f); err != nil {
			return false, err
		}
	default:
		return true, nil
	}
	return true, b.doom(t, e.Object, archive.HotTier, e.Size, b.now, false, false)
}

// accounted reports whether everything that a stored or settled fact states is restated, dropped or shredded.
func (b *batch) accounted(t *tenant, f *archive.Fact) (bool, error) {
	have, err := b.restated(t, f)
	if err != nil {
		return false, err
	}
	for i := range f.Instances {
		if _, ok := have[sourceOf(f, i)]; ok {
			continue
		}
		ok, err := b.isClosed(t, keyOf(f, i))
		if err == nil && !ok {
			ok, err = b.isDropped(t, f.Instances[i].Blob)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// sourceOf is what an instance of a stored or settled fact is known by.
func sourceOf(f *archive.Fact, i int) archive.Source {
	in := &f.Instances[i]
	if f.Kind == archive.FactSettled {
		return archive.Source{Fact: in.Stated, Blob: in.Blob}
	}
	return archive.Source{Fact: f.ID, Blob: in.Blob}
}

// restated returns the rows of what the fact states that a settled fact has placed, a later one.
func (b *batch) restated(t *tenant, f *archive.Fact) (map[archive.Source]int64, error) {
	have := map[archive.Source]int64{}
	seen := map[[2]string]bool{}
	for i := range f.Instances {
		in := &f.Instances[i]
		k := [2]string{in.Study, in.UIDs.Series}
		if seen[k] {
			continue
		}
		seen[k] = true
		st, err := b.study(t, t.keys.Ref(in.Study), in.Study, false)
		if err != nil {
			return nil, err
		}
		if st == nil || !st.settled {
			continue
		}
		e, err := b.series(st, t.keys.Ref(in.UIDs.Series), in.UIDs.Series, false)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		err = b.rowsIn(t, e.id, func(r *row) error {
			if r.placed != (archive.FactID{}) && (f.Kind == archive.FactStored || bytes.Compare(r.placed[:], f.ID[:]) > 0) {
				have[r.Source] = r.ID
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return have, nil
}

// Entries returns the live entries of the log about the study, ascending by fact: what a settled fact may supersede. None
// where nothing but moves is left of it.
func (x *Index) Entries(ctx context.Context, name archive.Tenant, study archive.Ref) (out []archive.LogEntry, err error) {
	states := false
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, `SELECT s.name, e.n, e.kind, e.size, e.fact, e.key FROM entries e JOIN sessions s ON s.id = e.session WHERE e.tenant = ? AND e.study = ? AND NOT e.closed`,
			func(v []driver.Value) error {
				e := archive.LogEntry{Session: text(v[0]), N: uint64(integer(v[1])), Kind: archive.FactKind(integer(v[2])), Size: integer(v[3])}
				copy(e.Fact[:], blob(v[4]))
				copy(e.Key[:], blob(v[5]))
				states = states || e.Kind != archive.FactMoved
				out = append(out, e)
				return nil
			}, t.id, study[:])
	})
	if err != nil || !states {
		return nil, err
	}
	slices.SortFunc(out, func(a, b archive.LogEntry) int {
		return cmp.Or(bytes.Compare(a.Fact[:], b.Fact[:]), cmp.Compare(a.Session, b.Session), cmp.Compare(a.N, b.N))
	})
	return out, nil
}
