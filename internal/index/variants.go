package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// attrSet is the attributes that a study or series shows: those of its
// visible instance of the smallest source. Nearly always all instances agree and
// one set is all there is; where they do not, the sets are rows of variants with the
// number of visible instances that have each.
type attrSet struct {
	attrs    []byte // encoded, of the set shown
	winner   uint64 // number of the set shown
	sets     uint64 // distinct sets seen
	live     uint64 // of these, how many some visible instance has; kept when sets > 1
	min      archive.Source
	minValid bool // min is known: it is looked for only when needed
}

func (s *attrSet) append(b []byte) []byte {
	b = binary.AppendUvarint(b, s.winner)
	b = binary.AppendUvarint(b, s.sets)
	b = binary.AppendUvarint(b, s.live)
	if s.minValid {
		b = appendSource(append(b, 1), s.min)
	} else {
		b = append(b, 0)
	}
	return appendString(b, s.attrs)
}

func (s *attrSet) decode(d *decoder) {
	s.winner, s.sets, s.live = d.uint(), d.uint(), d.uint()
	if s.minValid = d.uint() == 1; s.minValid {
		s.min = d.source()
	}
	s.attrs = d.bytes()
}

// conflicts is the number of sets that differ from the one shown.
func (s *attrSet) conflicts() int {
	if s.sets < 2 || s.live == 0 {
		return 0
	}
	return int(s.live - 1)
}

// get returns the value of a tag of the set shown.
func (s *attrSet) get(t dicom.Tag) string {
	d := decoder{b: s.attrs}
	for n := d.count(7); n > 0 && !d.bad; n-- {
		h := d.take(6)
		v := d.string()
		if h != nil && dicom.Tag(binary.BigEndian.Uint32(h)) == t {
			return v
		}
	}
	return ""
}

// differing returns the tags whose values differ between the set shown and a.
func (s *attrSet) differing(a archive.Attrs) (tags []dicom.Tag) {
	d := decoder{b: s.attrs}
	have := d.attrs()
	for i, j := 0, 0; i < len(have) || j < len(a); {
		switch {
		case j == len(a) || i < len(have) && have[i].Tag < a[j].Tag:
			tags = append(tags, have[i].Tag)
			i++
		case i == len(have) || a[j].Tag < have[i].Tag:
			tags = append(tags, a[j].Tag)
			j++
		default:
			if have[i].Value != a[j].Value {
				tags = append(tags, a[j].Tag)
			}
			i++
			j++
		}
	}
	return tags
}

// variant returns the number of the encoded set among those of the owner, and whether it
// is new. visible is how many instances are visible.
func (b *batch) variant(t *tenant, owner int64, s *attrSet, visible int64, attrs []byte) (no uint64, fresh bool, err error) {
	switch {
	case s.sets == 0:
		s.sets, s.attrs = 1, bytes.Clone(attrs)
		return 0, true, nil
	case s.sets == 1 && bytes.Equal(s.attrs, attrs):
		return 0, false, nil
	case s.sets == 1:
		if err := b.addVariant(t, owner, 0, s.attrs, visible); err != nil {
			return 0, false, err
		}
		s.live = uint64(min(visible, 1))
	default:
		var hash [16]byte
		t.hash(hash[:], tokenAttrs, 0, string(attrs))
		found, err := b.c.one(`SELECT no FROM variants WHERE owner = ? AND hash = ?`, func(v []driver.Value) error {
			no = uint64(integer(v[0]))
			return nil
		}, owner, hash[:])
		if err != nil || found {
			return no, false, err
		}
	}
	no = s.sets
	s.sets++
	return no, true, b.addVariant(t, owner, no, attrs, 0)
}

func (b *batch) addVariant(t *tenant, owner int64, no uint64, attrs []byte, n int64) error {
	var hash [16]byte
	t.hash(hash[:], tokenAttrs, 0, string(attrs))
	// The row's identity in the associated data: owner and number are mixed, the value is what its hash says.
	sealed, err := t.seal.seal(nil, attrs, inVariants, owner<<20^int64(no))
	if err != nil {
		return err
	}
	return b.c.exec(`INSERT INTO variants (owner, no, hash, n, sealed) VALUES (?, ?, ?, ?, ?)`, owner, int64(no), hash[:], n, sealed)
}

// count adds d to the visible instances that have the set.
func (b *batch) countVariant(owner int64, s *attrSet, no uint64, d int64) error {
	if s.sets < 2 {
		return nil
	}
	n, err := b.c.integer(`SELECT n FROM variants WHERE owner = ? AND no = ?`, owner, int64(no))
	if err != nil {
		return err
	}
	if n == 0 {
		s.live++
	}
	if n+d == 0 {
		s.live--
	}
	return b.c.exec(`UPDATE variants SET n = ? WHERE owner = ? AND no = ?`, n+d, owner, int64(no))
}

// show notes that an instance with the set became visible, of `before` until then.
// It reports whether another set is shown now.
func (b *batch) show(t *tenant, owner int64, s *attrSet, before int64, no uint64, src archive.Source) (bool, error) {
	if err := b.countVariant(owner, s, no, +1); err != nil {
		return false, err
	}
	if before > 0 && (!s.minValid || s.min.Compare(src) <= 0) {
		return false, nil
	}
	s.min, s.minValid = src, true
	return b.choose(t, owner, s, no)
}

// hide notes that an instance with the set is visible no longer.
func (b *batch) hide(owner int64, s *attrSet, no uint64, src archive.Source) error {
	if s.minValid && s.min == src {
		s.minValid = false
	}
	return b.countVariant(owner, s, no, -1)
}

// choose makes the set the one that is shown.
func (b *batch) choose(t *tenant, owner int64, s *attrSet, no uint64) (bool, error) {
	if s.winner == no {
		return false, nil
	}
	_, err := b.c.one(`SELECT sealed FROM variants WHERE owner = ? AND no = ?`, func(v []driver.Value) (err error) {
		s.attrs, err = t.seal.open(blob(v[0]), inVariants, owner<<20^int64(no))
		return err
	}, owner, int64(no))
	s.winner = no
	if err == nil && owner&1 == 0 && b.w.known[t.id].closed > 0 {
		// Its words may have gone with a study that was shredded, as nobody showed them then.
		d := decoder{b: s.attrs}
		b.learn(t, d.attrs())
		err = d.err()
	}
	return true, err
}

// smallest finds the visible instance of the smallest source in the series, or
// in all series of the study when series is 0.
func (b *batch) smallest(t *tenant, study, series int64) (src archive.Source, sv, ev uint64, err error) {
	found := false
	look := func(series int64) error {
		return b.c.query(context.Background(), `SELECT id, sealed FROM instances WHERE id BETWEEN ? AND ? AND state = 0`, func(v []driver.Value) error {
			r, err := t.openInstance(integer(v[0]), StateVisible, blob(v[1]))
			if err != nil {
				return err
			}
			if !found || r.Source.Compare(src) < 0 {
				found, src, sv, ev = true, r.Source, r.sv, r.ev
			}
			return nil
		}, series<<ordinalBits, series<<ordinalBits|ordinalMask)
	}
	if series != 0 {
		return src, sv, ev, look(series)
	}
	ids, err := b.seriesIDs(study)
	if err != nil {
		return src, 0, 0, err
	}
	for _, id := range ids {
		if err := look(id); err != nil {
			return src, 0, 0, err
		}
	}
	return src, sv, ev, nil
}

// settleStudy finds the set to show where the smallest source is gone.
func (b *batch) settleStudy(s *study) error {
	if s.set.sets < 2 || s.set.minValid || s.instances == 0 {
		return nil
	}
	src, no, _, err := b.smallest(s.t, s.id, 0)
	if err != nil {
		return err
	}
	s.set.min, s.set.minValid = src, true
	changed, err := b.choose(s.t, s.owner(), &s.set, no)
	s.terms = s.terms || changed
	return err
}

func (b *batch) settleSeries(e *series) error {
	if e.set.sets < 2 || e.set.minValid || e.instances == 0 {
		return nil
	}
	src, _, no, err := b.smallest(e.st.t, 0, e.id)
	if err != nil {
		return err
	}
	e.set.min, e.set.minValid = src, true
	_, err = b.choose(e.st.t, e.owner(), &e.set, no)
	return err
}

func (s *study) owner() int64  { return s.id << 1 }
func (e *series) owner() int64 { return e.id<<1 | 1 }
