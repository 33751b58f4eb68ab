package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// seriesRec is the sealed value of a series row.
type seriesRec struct {
	uid       string
	instances int64  // visible
	next      int64  // ordinal of the next instance row
	counted   string // the modality with which it counts for its study; empty while nothing is visible
	set       attrSet
	body      string // the body part with which it counts; not there in rows of older versions
}

const (
	ordinalBits = 24
	ordinalMask = 1<<ordinalBits - 1
)

var errTooMany = fault.New(fault.TooLarge, "the archive cannot hold more of this: 268 million studies on SQLite or a series' 16 million instances are reached")

func (r *seriesRec) append(b []byte) []byte {
	b = append(b, recVersion)
	b = appendString(b, r.uid)
	b = binary.AppendUvarint(b, uint64(r.instances))
	b = binary.AppendUvarint(b, uint64(r.next))
	b = appendString(b, r.counted)
	b = r.set.append(b)
	return appendString(b, r.body)
}

func (r *seriesRec) decode(b []byte) error {
	d := decoder{b: b}
	if d.uint() != recVersion {
		return errRow
	}
	r.uid, r.instances, r.next, r.counted = d.string(), d.int(), d.int(), d.string()
	r.set.decode(&d)
	if len(d.b) > 0 {
		r.body = d.string()
	}
	return d.err()
}

// openSeries turns a row (id, study, ref, sealed) into what callers see.
func (t *tenant) openSeries(v []driver.Value) (*archive.SeriesRow, error) {
	s := &archive.SeriesRow{ID: integer(v[0]), StudyID: integer(v[1]), Tier: archive.Online}
	plain, err := t.seal.open(blob(v[3]), inSeries, s.ID)
	if err != nil {
		return nil, err
	}
	var r seriesRec
	if err := r.decode(plain); err != nil {
		return nil, err
	}
	copy(s.Ref[:], blob(v[2]))
	s.UID, s.Instances = r.uid, int(r.instances)
	d := decoder{b: r.set.attrs}
	s.Attrs = d.attrs()
	return s, d.err()
}

// series is a series in the writer's hands.
type series struct {
	seriesRec
	st       *study
	id       int64
	ref      archive.Ref
	inserted bool
	dirty    bool
	open     bool // in batch.unsettled
}

const seriesColumns = `id, study, ref, sealed`

// series returns the series of the study, making it when create is set.
func (b *batch) series(st *study, ref archive.Ref, uid string, create bool) (*series, error) {
	if e := st.all[ref]; e != nil {
		return e, nil
	}
	e := &series{st: st, ref: ref}
	found := false
	if st.inserted {
		var err error
		found, err = b.c.one(`SELECT `+seriesColumns+` FROM series WHERE study = ? AND ref = ?`, e.load, st.id, ref[:])
		if err != nil {
			return nil, err
		}
	}
	if !found {
		if !create {
			return nil, nil
		}
		var err error
		if e.id, err = b.id("series"); err != nil {
			return nil, err
		}
		e.uid, e.next = uid, 1
	}
	st.all[ref] = e
	return e, nil
}

func (e *series) load(v []driver.Value) error {
	e.id, e.inserted = integer(v[0]), true
	copy(e.ref[:], blob(v[2]))
	plain, err := e.st.t.seal.open(blob(v[3]), inSeries, e.id)
	if err != nil {
		return err
	}
	return e.decode(plain)
}

// allSeries returns every series of the study, those not yet written included.
func (b *batch) allSeries(st *study) ([]*series, error) {
	if st.inserted {
		err := b.c.query(context.Background(), `SELECT `+seriesColumns+` FROM series WHERE study = ?`, func(v []driver.Value) error {
			if st.all[archive.Ref(blob(v[2]))] != nil {
				return nil
			}
			e := &series{st: st}
			if err := e.load(v); err != nil {
				return err
			}
			st.all[e.ref] = e
			return nil
		}, st.id)
		if err != nil {
			return nil, err
		}
	}
	all := make([]*series, 0, len(st.all))
	for _, e := range st.all {
		all = append(all, e)
	}
	return all, nil
}

// seriesIDs returns the row identities of the study's series.
func (b *batch) seriesIDs(study int64) (ids []int64, err error) {
	seen := map[int64]bool{}
	for _, s := range b.touched {
		if s.id == study {
			for _, e := range s.all {
				seen[e.id] = true
			}
		}
	}
	err = b.c.query(context.Background(), `SELECT id FROM series WHERE study = ?`, func(v []driver.Value) error {
		seen[integer(v[0])] = true
		return nil
	}, study)
	for id := range seen {
		ids = append(ids, id)
	}
	return ids, err
}

func (b *batch) storeSeries(e *series) (err error) {
	if !e.dirty {
		return nil
	}
	b.plain = e.append(b.plain[:0])
	if b.sealed, err = e.st.t.seal.seal(b.sealed[:0], b.plain, inSeries, e.id); err != nil {
		return err
	}
	if e.inserted {
		err = b.c.exec(`UPDATE series SET sealed = ? WHERE id = ?`, b.sealed, e.id)
	} else {
		err = b.c.exec(`INSERT INTO series (id, study, ref, sealed) VALUES (?, ?, ?, ?)`, e.id, e.st.id, e.ref[:], b.sealed)
	}
	e.inserted, e.dirty = true, false
	return err
}

// settle brings series and study in order after an entry: the attributes
// shown, and the modalities of the study.
func (b *batch) settle() error {
	if err := b.storeShown(); err != nil {
		return err
	}
	for _, e := range b.unsettled {
		e.open = false
		if !e.dirty {
			e.dirty = true
			b.changed = append(b.changed, e)
		}
		if err := b.settleSeries(e); err != nil {
			return err
		}
		if body := e.bodyPart(); body != e.body {
			if _, err := b.count(e.st, bodyParts, &e.st.life.bodies, e.body, -1); err != nil {
				return err
			}
			if _, err := b.count(e.st, bodyParts, &e.st.life.bodies, body, +1); err != nil {
				return err
			}
			e.body = body
		}
		want := ""
		if e.instances > 0 {
			want = strings.Trim(e.set.get(tagModality), " ")
		}
		if want == e.counted {
			continue
		}
		lost, err := b.count(e.st, modalities, &e.st.modes, e.counted, -1)
		if err != nil {
			return err
		}
		gained, err := b.count(e.st, modalities, &e.st.modes, want, +1)
		if err != nil {
			return err
		}
		e.counted = want
		e.st.terms = e.st.terms || lost || gained
	}
	for _, e := range b.unsettled {
		if err := b.settleStudy(e.st); err != nil {
			return err
		}
	}
	b.unsettled = b.unsettled[:0]
	return nil
}

func (b *batch) unsettle(e *series) {
	if !e.open {
		e.open = true
		b.unsettled = append(b.unsettled, e)
	}
}

// number is an IS attribute's value for sorting (PS3.5 §6.2); absent or malformed ones come first.
func number(a archive.Attrs, t dicom.Tag) int64 {
	v, ok := a.Get(t)
	if !ok {
		return -1 << 62
	}
	v, _, _ = strings.Cut(v, `\`)
	n, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimSpace(v), "+"), 10, 64)
	if err != nil {
		return -1 << 62
	}
	return n
}

const (
	tagSeriesNumber   dicom.Tag = 0x00200011
	tagInstanceNumber dicom.Tag = 0x00200013
)
