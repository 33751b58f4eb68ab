package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

// row is an instance row.
type row struct {
	archive.InstanceRow
	state  State
	sv, ev uint64         // numbers of its sets of study and series attributes
	prefix int64          // of the object's name, whose rest is in At.Object until resolved
	placed archive.FactID // the settled fact that says where it lies; zero: the one that stored it
}

// statedBy returns the fact that says where the row's blob lies.
func (r *row) statedBy() archive.FactID {
	if r.placed != (archive.FactID{}) {
		return r.placed
	}
	return r.Source.Fact
}

const (
	hasChunk = 1 << iota
	hasReplaces
	hasPlaced
)

// appendInstance encodes an instance row. object is the end of the object's name.
func appendInstance(b []byte, r *row, prefix int64, object string) []byte {
	in := &r.Instance
	var flags byte
	if r.ChunkID != 0 {
		flags |= hasChunk
	}
	if len(in.Replaces) > 0 {
		flags |= hasReplaces
	}
	if r.placed != (archive.FactID{}) {
		flags |= hasPlaced
	}
	b = append(b, recVersion, flags, byte(in.Coding), in.SegmentBits)
	b = appendSource(b, r.Source)
	b = append(b, in.Key[:]...)
	b = append(b, in.Digest[:]...)
	for _, v := range [...]uint64{uint64(in.Size), uint64(prefix), uint64(in.At.Offset), uint64(in.At.Length), r.sv, r.ev} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendString(b, object)
	if r.ChunkID != 0 {
		b = binary.AppendVarint(b, r.ID-r.ChunkID)
		b = binary.AppendUvarint(b, uint64(in.JSON.Offset))
		b = binary.AppendUvarint(b, uint64(in.JSON.Length))
	}
	if len(in.Replaces) > 0 {
		b = binary.AppendUvarint(b, uint64(len(in.Replaces)))
		for i := range in.Replaces {
			b = append(b, in.Replaces[i][:]...)
		}
	}
	if r.placed != (archive.FactID{}) {
		b = append(b, r.placed[:]...)
	}
	b = appendString(b, in.UIDs.Instance)
	b = appendString(b, in.SOPClass)
	b = appendString(b, in.Syntax)
	b = appendString(b, in.Layout)
	return appendAttrs(b, in.Attrs)
}

// openInstance unseals an instance row. Study and Series UIDs and the
// beginning of the object's name are for the caller to fill in.
func (t *tenant) openInstance(id int64, state State, sealed []byte) (*row, error) {
	plain, err := t.seal.open(sealed, inInstances, id)
	if err != nil {
		return nil, err
	}
	return decodeInstance(id, state, plain)
}

func decodeInstance(id int64, state State, plain []byte) (*row, error) {
	d := decoder{b: plain}
	h := d.take(4)
	if h == nil || h[0] != recVersion {
		return nil, errRow
	}
	r := &row{state: state}
	in := &r.Instance
	r.ID, r.SeriesID, r.Tier = id, id>>ordinalBits, archive.Online
	in.Coding, in.SegmentBits = archive.Coding(h[2]), h[3]
	r.Source = d.source()
	in.Blob = r.Source.Blob
	r.Received = r.Source.Fact.Time()
	d.fixed(in.Key[:])
	d.fixed(in.Digest[:])
	in.Size, r.prefix, in.At.Offset, in.At.Length, r.sv, r.ev = d.int(), d.int(), d.int(), d.int(), d.uint(), d.uint()
	in.At.Object = d.string()
	if h[1]&hasChunk != 0 {
		v, n := binary.Varint(d.b)
		if n <= 0 {
			return nil, errRow
		}
		d.b = d.b[n:]
		r.ChunkID = id - v
		in.JSON.Offset, in.JSON.Length = int(d.uint()), int(d.uint())
	}
	if h[1]&hasReplaces != 0 {
		in.Replaces = make([]archive.BlobID, d.count(32))
		for i := range in.Replaces {
			d.fixed(in.Replaces[i][:])
		}
	}
	if h[1]&hasPlaced != 0 {
		d.fixed(r.placed[:])
	}
	in.UIDs.Instance, in.SOPClass, in.Syntax = d.string(), d.string(), d.string()
	if l := d.bytes(); len(l) > 0 {
		in.Layout = append([]byte(nil), l...)
	}
	in.Attrs = d.attrs()
	return r, d.err()
}

// insert writes a new instance row.
func (b *batch) insert(t *tenant, r *row, sop int64) error {
	if err := b.sealRow(t, r); err != nil {
		return err
	}
	delete(b.fresh.sops, sop)
	return b.c.many(&intoInstances, r.ID, sop, int64(r.state), b.sealed)
}

// rewrite writes a row again whose object's name is whole.
func (b *batch) rewrite(t *tenant, r *row) error {
	if err := b.sealRow(t, r); err != nil {
		return err
	}
	return b.c.exec(`UPDATE instances SET sealed = ? WHERE id = ?`, b.sealed, r.ID)
}

func (b *batch) sealRow(t *tenant, r *row) error {
	dir, name := "", r.At.Object
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, name = name[:i+1], name[i+1:]
	}
	prefix, err := b.prefix(t, dir)
	if err != nil {
		return err
	}
	b.plain = appendInstance(b.plain[:0], r, prefix, name)
	b.sealed, err = t.seal.seal(b.sealed[:0], b.plain, inInstances, r.ID)
	return err
}

// object returns the name of the object that the row's blob lies in.
func (b *batch) object(r *row) (name string, err error) {
	if r.prefix == 0 {
		return r.At.Object, nil // not inserted by an earlier entry
	}
	_, err = b.c.one(`SELECT text FROM prefixes WHERE id = ?`, func(v []driver.Value) error {
		name = text(v[0]) + r.At.Object
		return nil
	}, r.prefix)
	return name, err
}

// siblings returns the rows with the same SOP Instance UID in the series, and
// whether the UID is also elsewhere in the tenant.
func (b *batch) siblings(e *series, sop int64, uid string) (rows []*row, elsewhere bool, err error) {
	if b.fresh.sops[sop] {
		return nil, false, nil
	}
	var others []int64
	err = b.c.query(context.Background(), `SELECT id, state, sealed FROM instances WHERE sop = ? ORDER BY id`, func(v []driver.Value) error {
		id := integer(v[0])
		if id>>ordinalBits != e.id {
			if State(integer(v[1])) != StateDeleted {
				others = append(others, id>>ordinalBits)
			}
			return nil
		}
		r, err := e.st.t.openInstance(id, State(integer(v[1])), blob(v[2]))
		if err != nil {
			return err
		}
		if r.UIDs.Instance == uid {
			rows = append(rows, r)
		}
		return nil
	}, sop)
	if err != nil {
		return nil, false, err
	}
	for _, id := range others {
		if elsewhere, err = b.isSeriesOf(e.st.t, id); err != nil || elsewhere {
			return rows, elsewhere, err
		}
	}
	return rows, false, nil
}

func (b *batch) isSeriesOf(t *tenant, series int64) (bool, error) {
	for _, s := range b.touched {
		for _, e := range s.all {
			if e.id == series {
				return s.t == t, nil
			}
		}
	}
	n, err := b.c.integer(`SELECT s.tenant FROM series e JOIN studies s ON s.id = e.study WHERE e.id = ?`, series)
	return n == t.id, err
}

// rowsIn calls f, which may write, with each instance row of the series in their order.
func (b *batch) rowsIn(t *tenant, series int64, f func(*row) error) error {
	const page = 256
	rows := make([]*row, 0, page)
	for after := series << ordinalBits; ; after = rows[len(rows)-1].ID {
		rows = rows[:0]
		err := b.c.query(context.Background(), `SELECT id, state, sealed FROM instances WHERE id > ? AND id <= ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
			r, err := t.openInstance(integer(v[0]), State(integer(v[1])), blob(v[2]))
			rows = append(rows, r)
			return err
		}, after, series<<ordinalBits|ordinalMask, int64(page))
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := f(r); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

// setState changes what a row counts as, and the counts with it.
func (b *batch) setState(e *series, r *row, s State) error {
	if r.state == s {
		return nil
	}
	if err := b.c.exec(`UPDATE instances SET state = ? WHERE id = ?`, int64(s), r.ID); err != nil {
		return err
	}
	was := r.state
	r.state = s
	switch StateDeleted {
	case s:
		e.st.life.gone++
	case was:
		e.st.life.gone--
	}
	e.st.dirty = true
	switch {
	case s == StateVisible:
		return b.appear(e, r)
	case was == StateVisible:
		return b.vanish(e, r)
	}
	return nil
}

// appear counts a row that became visible.
func (b *batch) appear(e *series, r *row) error {
	st := e.st
	changed, err := b.show(st.t, st.owner(), &st.set, st.instances, r.sv, r.Source)
	if err != nil {
		return err
	}
	st.terms = st.terms || changed
	if _, err := b.show(st.t, e.owner(), &e.set, e.instances, r.ev, r.Source); err != nil {
		return err
	}
	if _, err := b.count(st, sopClasses, &st.classes, r.SOPClass, +1); err != nil {
		return err
	}
	if e.instances == 0 {
		st.series++
	}
	e.instances++
	st.instances++
	st.bytes += r.Size
	st.dirty = true
	b.unsettle(e)
	return b.shows(e, r, +1)
}

// vanish counts a row that is visible no longer.
func (b *batch) vanish(e *series, r *row) error {
	st := e.st
	if err := b.hide(st.owner(), &st.set, r.sv, r.Source); err != nil {
		return err
	}
	if err := b.hide(e.owner(), &e.set, r.ev, r.Source); err != nil {
		return err
	}
	if _, err := b.count(st, sopClasses, &st.classes, r.SOPClass, -1); err != nil {
		return err
	}
	e.instances--
	if e.instances == 0 {
		st.series--
	}
	st.instances--
	st.bytes -= r.Size
	st.dirty = true
	b.unsettle(e)
	return b.shows(e, r, -1)
}
