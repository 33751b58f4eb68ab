package dicom

import (
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// undefinedLength reads a value that a delimiter ends (PS3.5 §7.5).
func (r *reader) undefinedLength(e *Element, sc *scope) error {
	switch {
	case e.Tag == pixelDataTag:
		return r.encapsulated(e, sc)
	case e.VR == SQ, sc.enc.implicit:
		return r.sequence(e, sc, sc.enc, -1)
	case e.VR == UN:
		// A sequence in Implicit VR Little Endian, whatever surrounds it (PS3.5 §6.2.2, CP-246).
		return r.sequence(e, sc, encoding{implicit: true}, -1)
	case e.VR == OB, e.VR == OW, e.VR == OF, e.VR == OD, e.VR == OL, e.VR == OV:
		return r.encapsulated(e, sc)
	}
	return fault.New(fault.Invalid, "%s has no length, which its VR does not allow", name(e.Tag))
}

// sequence reads items up to end, or up to the delimiter when end is -1.
func (r *reader) sequence(e *Element, sc *scope, enc encoding, end int64) error {
	if sc.depth >= r.limits.Depth {
		return fault.New(fault.TooLarge, "sequences are nested more than %d deep", r.limits.Depth)
	}
	base := len(r.nested)
	for end < 0 || r.s.offset() < end {
		it, err := r.item(e.Tag, enc.big, end)
		if err != nil {
			return err
		}
		if it.tag == sequenceEnd {
			if end >= 0 {
				r.warn("%s has both a length and a delimiter", name(e.Tag))
				continue
			}
			break
		}
		if it.tag == itemDelimiter {
			continue
		}
		child := scope{enc: enc, depth: sc.depth + 1, end: -1, signed: sc.signed, charset: sc.charset}
		if it.length != undefined {
			child.end = r.s.offset() + int64(it.length)
			if sc.end >= 0 && child.end > sc.end {
				return fault.New(fault.Invalid, "an item of %s is longer than what holds the sequence", name(e.Tag))
			}
			if end >= 0 && child.end > end {
				r.warn("an item of %s is longer than the sequence", name(e.Tag)) // DICOMDIRs in the field
			}
		}
		d, err := r.dataset(e.Tag, &child, e.VR == UN)
		if err != nil {
			return err
		}
		r.nested = append(r.nested, d)
	}
	done := r.nested[base:]
	e.Items = r.itemSlab.take(len(done), 8, 1024)
	copy(e.Items, done)
	clear(done)
	r.nested = r.nested[:base]
	e.Length = r.s.offset() - e.Offset
	return nil
}

// item reads the 8 bytes that begin an item or end one or a sequence.
func (d *decoder) item(of Tag, big bool, end int64) (header, error) {
	b := d.s.window(8)
	if len(b) < 8 {
		return header{}, d.cut(of)
	}
	h := header{tag: Tag(uint16At(b, big))<<16 | Tag(uint16At(b[2:], big)), length: uint32At(b[4:], big), size: 8}
	switch {
	case h.tag != itemTag && h.tag != sequenceEnd && h.tag != itemDelimiter:
		return h, fault.New(fault.Invalid, "%s holds something that is not an item", name(of))
	case end >= 0 && d.s.offset()+8 > end:
		return h, fault.New(fault.Invalid, "an item of %s is longer than the sequence", name(of))
	}
	d.s.take(8)
	return h, d.count()
}

// dataset reads the data set of an item. Unknown says that the sequence has VR UN.
func (r *reader) dataset(of Tag, sc *scope, unknown bool) (*Dataset, error) {
	if unknown && sc.enc.implicit && sc.end != r.s.offset() {
		// Some writers keep explicit VRs inside.
		if b := r.s.window(8); len(b) >= 8 && vrForm(MakeVR(b[4], b[5])) != unknownForm && looksExplicit(b, false) {
			sc.enc.implicit = false
		}
	}
	base := len(r.stack)
	for sc.end < 0 || r.s.offset() < sc.end {
		h, err := r.peek(sc)
		switch {
		case err != nil:
			return nil, err
		case h.size == 0:
			return nil, r.cut(of)
		case sc.end >= 0 && r.s.offset()+int64(h.size) > sc.end:
			return nil, fault.New(fault.Invalid, "an item of %s ends within an element", name(of))
		case h.tag == itemDelimiter:
			r.s.take(h.size)
			if sc.end < 0 {
				return r.finishDataset(base, sc), nil
			}
			continue
		case h.tag == sequenceEnd && sc.end < 0:
			r.warn("an item of %s has no delimiter", name(of))
			return r.finishDataset(base, sc), nil
		case h.tag>>16 == 0xFFFE:
			return nil, fault.New(fault.Invalid, "an item of %s holds a delimiter that belongs elsewhere", name(of))
		}
		if err := r.element(h, sc, false); err != nil {
			return nil, err
		}
	}
	return r.finishDataset(base, sc), nil
}

// encapsulated reads the fragments of pixel data, hopping from header to header (PS3.5 §A.4).
func (r *reader) encapsulated(e *Element, sc *scope) error {
	own := sc.depth == 0 && e.Tag == pixelDataTag
	e.Bulk = true
	for {
		b := r.s.window(8 + markerSize)
		if len(b) == 0 && r.s.err == io.EOF && sc.depth == 0 && len(e.Fragments) > 0 {
			r.warn("%s has no delimiter", name(e.Tag))
			break
		}
		if len(b) < 8 {
			return r.cut(e.Tag)
		}
		tag := Tag(uint16At(b, sc.enc.big))<<16 | Tag(uint16At(b[2:], sc.enc.big))
		length := uint32At(b[4:], sc.enc.big)
		if tag == sequenceEnd {
			r.s.take(8)
			break
		}
		if tag != itemTag || length == undefined {
			return fault.New(fault.Invalid, "%s has no length and holds something that is not a fragment", name(e.Tag))
		}
		if r.fragments++; r.fragments > r.limits.Fragments {
			return fault.New(fault.TooLarge, "the pixel data has more than %d fragments", r.limits.Fragments)
		}
		if n := len(e.Fragments); own && beginsStream(b[8:min(len(b), 8+int(min(length, markerSize)))]) {
			for len(r.starts) <= n/64 {
				r.starts = append(r.starts, 0)
			}
			r.starts[n/64] |= 1 << (n % 64)
		}
		r.s.take(8)
		e.Fragments = append(e.Fragments, Span{r.s.offset(), int64(length)})
		if err := r.fragment(e, own, int64(length)); err != nil {
			return err
		}
	}
	if e.Fragments == nil {
		e.Fragments = []Span{}
	}
	r.pixels = r.pixels || own
	e.Length = r.s.offset() - e.Offset
	return nil
}

// fragment passes over the newest fragment of e, and keeps a Basic Offset Table.
func (r *reader) fragment(e *Element, own bool, length int64) error {
	if own && len(e.Fragments) == 1 && length <= 4*int64(r.limits.Fragments) {
		var ok bool
		if r.offsets, ok = r.hold(length); !ok {
			return r.cut(e.Tag)
		}
		return nil
	}
	if !r.s.skip(length) {
		return r.cut(e.Tag)
	}
	return nil
}

// markerSize is how much of a fragment tells what begins there.
const markerSize = 12

// beginsStream reports whether a compressed image begins with b: JPEG and
// JPEG-LS, JPEG 2000, JPEG XL, and the header of RLE (PS3.5 §G.5).
func beginsStream(b []byte) bool {
	switch {
	case len(b) < 3:
		return false
	case b[0] == 0xFF && b[1] == 0xD8 && b[2] == 0xFF:
		return true
	case b[0] == 0xFF && b[1] == 0x4F && b[2] == 0xFF:
		return true
	case b[0] == 0xFF && b[1] == 0x0A:
		return true
	case len(b) < 8:
		return false
	case b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] == 12:
		return string(b[4:8]) == "jP  " || string(b[4:8]) == "JXL "
	}
	return b[0] > 0 && b[0] <= 15 && b[1] == 0 && b[2] == 0 && b[3] == 0 && b[4] == 64 && b[5] == 0 && b[6] == 0 && b[7] == 0
}
