package index

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Keys that key-closed facts name stay known for ever: what they sealed counts as never stored, in whatever
// order facts come, and a key object that an old backup brings back is destroyed again.

// isClosed reports whether a key-closed fact names the key.
func (b *batch) isClosed(t *tenant, id archive.KeyID) (bool, error) {
	if b.w.known[t.id].closed == 0 || b.fresh.keys[id] {
		return false, nil
	}
	n, err := b.c.integer(`SELECT 1 FROM closed_keys WHERE tenant = ? AND key = ?`, t.id, id[:])
	return n != 0, err
}

// anyClosed reports whether a stored fact has instances under a key that is closed.
func (b *batch) anyClosed(t *tenant, f *archive.Fact) (bool, error) {
	if b.w.known[t.id].closed == 0 {
		return false, nil
	}
	last, closed := archive.KeyID{}, false
	for i := range f.Instances {
		id := keyOf(f, i)
		if id == last {
			continue
		}
		var err error
		if closed, err = b.isClosed(t, id); err != nil || closed {
			return closed, err
		}
		last = id
	}
	return false, nil
}

// keyOf returns the key of an instance of a stored fact.
func keyOf(f *archive.Fact, i int) archive.KeyID {
	if id := f.Instances[i].Key; id != (archive.KeyID{}) {
		return id
	}
	return f.Key
}

// remember notes the keys that the fact names.
func (b *batch) remember(t *tenant, f *archive.Fact) error {
	k := b.w.known[t.id]
	b.fresh.keys = nil
	for i := range f.Closed {
		id := f.Closed[i]
		var fact []byte
		found, err := b.c.one(`SELECT fact FROM closed_keys WHERE tenant = ? AND key = ?`, func(v []driver.Value) error {
			fact = bytes.Clone(blob(v[0]))
			return nil
		}, t.id, id[:])
		if err != nil {
			return err
		}
		s, until := &f.Closing, max(0, f.Until.UnixMilli())
		switch {
		case !found:
			k.closed++
			b.w.closings[t.id] = k.losses()
			err = b.c.exec(`INSERT INTO closed_keys (tenant, key, seq, fact, study, patient, issued, instances, until, purged) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE)`,
				t.id, id[:], k.closed, f.ID[:], f.Study[:], s.Patient[:], s.Issued[:], int64(s.Instances), until)
		case bytes.Compare(f.ID[:], fact) < 0:
			err = b.c.exec(`UPDATE closed_keys SET fact = ?, study = ?, patient = ?, issued = ?, instances = ?, until = CASE WHEN until < ? THEN ? ELSE until END
				WHERE tenant = ? AND key = ?`, f.ID[:], f.Study[:], s.Patient[:], s.Issued[:], int64(s.Instances), until, until, t.id, id[:])
		default:
			err = b.c.exec(`UPDATE closed_keys SET until = ? WHERE tenant = ? AND key = ? AND until < ?`, until, t.id, id[:], until)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const selectClosed = `SELECT key, seq, fact, study, patient, issued, instances, until, purged FROM closed_keys WHERE tenant = ? AND `

func scanClosed(v []driver.Value) (k archive.ClosedKey) {
	copy(k.ID[:], blob(v[0]))
	k.Sequence = integer(v[1])
	copy(k.Fact[:], blob(v[2]))
	copy(k.Study[:], blob(v[3]))
	copy(k.Closing.Patient[:], blob(v[4]))
	copy(k.Closing.Issued[:], blob(v[5]))
	k.Closing.Instances = int(integer(v[6]))
	k.Until = time.UnixMilli(integer(v[7])).UTC()
	k.Purged = integer(v[8]) != 0
	return k
}

// ClosedKeys returns up to limit keys that key-closed facts name, in the order in which the index learnt of
// them, after a sequence number.
func (x *Index) ClosedKeys(ctx context.Context, name archive.Tenant, after int64, limit int) ([]archive.ClosedKey, error) {
	return x.listClosed(ctx, name, selectClosed+`seq > ? ORDER BY seq LIMIT (?+0)`, after, int64(limit))
}

// UnpurgedKeys returns up to limit closed keys of which it is not known that every copy was destroyed.
func (x *Index) UnpurgedKeys(ctx context.Context, name archive.Tenant, limit int) ([]archive.ClosedKey, error) {
	return x.listClosed(ctx, name, selectClosed+`NOT purged ORDER BY seq LIMIT (?+0)`, int64(limit))
}

func (x *Index) listClosed(ctx context.Context, name archive.Tenant, query string, args ...driver.Value) (out []archive.ClosedKey, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, query, func(v []driver.Value) error {
			out = append(out, scanClosed(v))
			return nil
		}, append([]driver.Value{t.id}, args...)...)
	})
	return out, err
}

// ForgetWords drops the words of a tenant that this process holds in memory, when another one shredded.
func (x *Index) ForgetWords(name archive.Tenant) {
	if t := x.tenants.have(name); t != nil {
		x.pages.drop(t.id)
	}
}

// LastClosed returns the highest sequence number of ClosedKeys, 0 when there are none.
func (x *Index) LastClosed(ctx context.Context, name archive.Tenant) (last int64, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		last, err = c.integer(`SELECT max(seq) FROM closed_keys WHERE tenant = ?`, t.id)
		return err
	})
	return last, err
}

// Closed reports whether a key-closed fact names the key.
func (x *Index) Closed(ctx context.Context, name archive.Tenant, id archive.KeyID) (yes bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		n, err := c.integer(`SELECT 1 FROM closed_keys WHERE tenant = ? AND key = ?`, t.id, id[:])
		yes = n != 0
		return err
	})
	return yes, err
}

// ClosedOf returns the closed keys of the study, or of a patient by either keyed
// hash of [archive.Closing]; references that are zero name nothing.
func (x *Index) ClosedOf(ctx context.Context, name archive.Tenant, study, patient, issued archive.Ref) (out []archive.ClosedKey, err error) {
	var none archive.Ref
	add := func(v []driver.Value) error {
		k := scanClosed(v)
		if issued == none || k.Closing.Issued == issued {
			out = append(out, k)
		}
		return nil
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		if study != none {
			return c.query(ctx, selectClosed+`study = ? ORDER BY seq`, add, t.id, study[:])
		}
		if patient != none {
			return c.query(ctx, selectClosed+`patient = ? ORDER BY seq`, add, t.id, patient[:])
		}
		return nil
	})
	return out, err
}

// SetPurged notes that every copy of the keys was destroyed. A rebuild forgets it: then they are destroyed once more.
func (x *Index) SetPurged(ctx context.Context, name archive.Tenant, ids ...archive.KeyID) error {
	return x.change(ctx, name, func(b *batch, t *tenant) error {
		for i := range ids {
			if err := b.c.exec(`UPDATE closed_keys SET purged = TRUE WHERE tenant = ? AND key = ?`, t.id, ids[i][:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Sealed tells what is sealed of a study, whatever is visible of it, and whether the index has any of it.
func (x *Index) Sealed(ctx context.Context, name archive.Tenant, ref archive.Ref) (s archive.Sealed, ok bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		var st study
		ok, err = c.one(`SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref = ?`, func(v []driver.Value) error {
			st.t = t
			return st.load(v)
		}, t.id, ref[:])
		if err != nil || !ok {
			return err
		}
		s.PatientID, s.Issuer = st.set.get(tagPatientID), st.set.get(tagIssuer)
		var series []int64
		err := c.query(ctx, `SELECT id FROM series WHERE study = ?`, func(v []driver.Value) error {
			series = append(series, integer(v[0]))
			return nil
		}, st.id)
		if err != nil {
			return err
		}
		seen := map[archive.KeyID]bool{}
		for _, id := range series {
			err := c.query(ctx, `SELECT id, state, sealed FROM instances WHERE id BETWEEN ? AND ?`, func(v []driver.Value) error {
				r, err := t.openInstance(integer(v[0]), State(integer(v[1])), blob(v[2]))
				if err == nil {
					s.Instances++
					seen[r.Key] = true
				}
				return err
			}, id<<ordinalBits, id<<ordinalBits|ordinalMask)
			if err != nil {
				return err
			}
		}
		for id := range seen {
			s.Keys = append(s.Keys, id)
		}
		slices.SortFunc(s.Keys, compareKeys)
		return nil
	})
	return s, ok, err
}

// StudiesOf returns the studies that show this Patient ID and, unless it is empty, this issuer: the
// visible ones and those of which everything is deleted.
func (x *Index) StudiesOf(ctx context.Context, name archive.Tenant, patientID, issuer string) (refs []archive.Ref, err error) {
	var terms [][]archive.Term
	for _, s := range archive.FoldFull(nil, 0, patientID) {
		terms = append(terms, []archive.Term{{Tag: tagPatientID, Word: s, Full: true}})
	}
	add := func(s *archive.StudyRow) bool {
		id, _ := s.Attrs.Get(tagPatientID)
		by, _ := s.Attrs.Get(tagIssuer)
		if id == patientID && (issuer == "" || by == issuer) {
			refs = append(refs, s.Ref)
		}
		return true
	}
	if err := x.Studies(ctx, name, archive.StudyFilter{All: terms}, add); err != nil {
		return nil, err
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, `SELECT id, ref, sealed FROM studies WHERE tenant = ? AND skey IS NULL`, func(v []driver.Value) error {
			s, err := t.openStudy(integer(v[0]), blob(v[1]), blob(v[2]))
			if err == nil {
				add(s)
			}
			return err
		}, t.id)
	})
	slices.SortFunc(refs, func(a, b archive.Ref) int { return cmp.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(refs), err
}

const (
	tagPatientID = 0x00100020
	tagIssuer    = 0x00100021
)
