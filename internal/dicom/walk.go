package dicom

import (
	"bytes"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// sink takes what a walk over a data set meets. Headers have been taken from
// the stream, values have not.
type sink interface {
	// value takes the value of an element: exactly h.length bytes.
	value(h header, sc *scope) error
	// encapsulated takes pixel data of undefined length with its delimiter.
	encapsulated(h header, sc *scope) error
	beginSequence(h header, sc *scope) error
	beginItem(sc *scope) error // sc is the item's
	endItem(sc *scope) error
	endSequence(h header, sc *scope) error
}

// walk reads the data set of a file to its end.
func (d *decoder) walk(to sink, sc *scope) error {
	some := false
	for {
		h, err := d.peek(sc)
		if err != nil {
			return err
		}
		if h.size == 0 {
			if rest := d.s.window(1); len(rest) > 0 && !d.pixels && (!some || len(bytes.Trim(rest, "\x00")) > 0) {
				return fault.New(fault.Invalid, "the file ends within the header of an element: it was cut short")
			}
			break
		}
		if d.trails(h, sc, some) {
			break
		}
		if h.tag>>16 == 0xFFFE {
			d.warn("%s stands outside any sequence", name(h.tag))
			if err := d.count(); err != nil {
				return err
			}
			d.s.take(h.size)
			continue
		}
		if err := d.element(to, h, sc); err != nil {
			return err
		}
		some, d.pixels = true, d.pixels || isPixelData(h.tag)
	}
	if !some {
		return fault.New(fault.Invalid, "the file has no data set: it was cut short")
	}
	return nil
}

// trails reports whether the bytes of h are no element but what some writers
// leave behind the data set: zeros anywhere, anything after pixel data.
func (d *decoder) trails(h header, sc *scope, some bool) bool {
	switch {
	case h.tag == 0:
		return some
	case !d.pixels:
		return false
	case h.tag>>16 == 0xFFFE:
		return true
	case sc.enc.implicit:
		return h.tag <= pixelDataTag
	}
	b := d.s.window(8)
	return vrForm(MakeVR(b[4], b[5])) == unknownForm
}

// isPixelData reports whether the attribute is one of the three kinds of pixel data (PS3.5 §8.2).
func isPixelData(t Tag) bool { return t == pixelDataTag || t == floatPixelTag || t == doublePixelTag }

// element reads one element whose header was peeked.
func (d *decoder) element(to sink, h header, sc *scope) error {
	if err := d.count(); err != nil {
		return err
	}
	d.s.take(h.size)
	start := d.s.offset()
	switch {
	case h.length == undefined:
		return d.undefinedLength(to, h, sc)
	case sc.end >= 0 && start+int64(h.length) > sc.end:
		return fault.New(fault.Invalid, "the length of %s reaches past the end of the item that holds it", name(h.tag))
	case h.vr == SQ && (!sc.enc.implicit || d.itemsFollow(h)):
		return d.sequence(to, h, sc, sc.enc, start+int64(h.length))
	case h.vr == SQ:
		d.warn("%s should be a sequence and is none", name(h.tag))
		h.vr = UN
	}
	return to.value(h, sc)
}

// itemsFollow reports whether the value of an element that the dictionary says is a
// sequence, begins as one.
func (d *decoder) itemsFollow(h header) bool {
	if h.length == 0 {
		return true
	}
	b := d.s.window(4)
	return len(b) >= 4 && h.length >= 8 && tagAt(b, false)>>16 == 0xFFFE
}

// undefinedLength reads a value that a delimiter ends (PS3.5 §7.5).
func (d *decoder) undefinedLength(to sink, h header, sc *scope) error {
	switch {
	case h.tag == pixelDataTag:
		return to.encapsulated(h, sc)
	case h.vr == SQ, sc.enc.implicit:
		return d.sequence(to, h, sc, sc.enc, -1)
	case h.vr == UN:
		// A sequence in Implicit VR Little Endian, whatever surrounds it (PS3.5 §6.2.2, CP-246).
		return d.sequence(to, h, sc, encoding{implicit: true}, -1)
	case h.vr == OB, h.vr == OW, h.vr == OF, h.vr == OD, h.vr == OL, h.vr == OV:
		return to.encapsulated(h, sc)
	}
	return fault.New(fault.Invalid, "%s has no length, which its VR does not allow", name(h.tag))
}

// sequence reads items up to end, or up to the delimiter when end is -1.
func (d *decoder) sequence(to sink, h header, sc *scope, enc encoding, end int64) error {
	if sc.depth >= d.limits.Depth {
		return fault.New(fault.TooLarge, "sequences are nested more than %d deep", d.limits.Depth)
	}
	if err := to.beginSequence(h, sc); err != nil {
		return err
	}
	for end < 0 || d.s.offset() < end {
		it, err := d.item(h.tag, enc.big, end)
		if err != nil {
			return err
		}
		if it.tag == sequenceEnd {
			if end < 0 {
				break
			}
			d.warn("%s has both a length and a delimiter", name(h.tag))
			continue
		}
		if it.tag == itemDelimiter {
			continue
		}
		child := d.child(sc)
		child.enc = enc
		if it.length != undefined {
			child.end = d.s.offset() + int64(it.length)
			if end >= 0 && child.end > end || sc.end >= 0 && child.end > sc.end {
				return fault.New(fault.Invalid, "an item of %s is longer than what holds it", name(h.tag))
			}
		}
		if err := d.dataset(to, h, child); err != nil {
			return err
		}
	}
	return to.endSequence(h, sc)
}

// child returns the scope of an item in a sequence of sc. There is one of each
// depth, used again for every item.
func (d *decoder) child(sc *scope) *scope {
	if len(d.scopes) <= sc.depth {
		d.scopes = append(d.scopes, new(scope))
	}
	c := d.scopes[sc.depth]
	*c = scope{depth: sc.depth + 1, end: -1, signed: sc.signed, charset: sc.charset}
	return c
}

// item reads the 8 bytes that begin an item or end one or a sequence.
func (d *decoder) item(of Tag, big bool, end int64) (header, error) {
	b := d.s.window(8)
	if len(b) < 8 {
		return header{}, d.cut(of)
	}
	h := header{tag: tagAt(b, big), length: uint32At(b[4:], big), size: 8}
	switch {
	case h.tag != itemTag && h.tag != sequenceEnd && h.tag != itemDelimiter:
		return h, fault.New(fault.Invalid, "%s holds something that is not an item", name(of))
	case end >= 0 && d.s.offset()+8 > end:
		return h, fault.New(fault.Invalid, "an item of %s is longer than the sequence", name(of))
	}
	d.s.take(8)
	return h, d.count()
}

// dataset reads the data set of an item of the sequence whose header is given.
func (d *decoder) dataset(to sink, of header, sc *scope) error {
	if of.vr == UN && sc.enc.implicit && sc.end != d.s.offset() {
		// Some writers keep explicit VRs inside.
		if b := d.s.window(8); len(b) >= 8 && vrForm(MakeVR(b[4], b[5])) != unknownForm && looksExplicit(b, false) {
			sc.enc.implicit = false
		}
	}
	if err := to.beginItem(sc); err != nil {
		return err
	}
	for sc.end < 0 || d.s.offset() < sc.end {
		h, err := d.peek(sc)
		switch {
		case err != nil:
			return err
		case h.size == 0:
			return d.cut(of.tag)
		case sc.end >= 0 && d.s.offset()+int64(h.size) > sc.end:
			return fault.New(fault.Invalid, "an item of %s ends within an element", name(of.tag))
		case h.tag == itemDelimiter:
			d.s.take(h.size)
			if sc.end < 0 {
				return to.endItem(sc)
			}
			continue
		case h.tag == sequenceEnd && sc.end < 0:
			d.warn("an item of %s has no delimiter", name(of.tag))
			return to.endItem(sc)
		case h.tag>>16 == 0xFFFE:
			return fault.New(fault.Invalid, "an item of %s holds a delimiter that belongs elsewhere", name(of.tag))
		}
		if err := d.element(to, h, sc); err != nil {
			return err
		}
	}
	return to.endItem(sc)
}

// fragment reads the header of the next fragment of encapsulated pixel data,
// and its first bytes as far as markerSize without taking them. Done is set at
// the delimiter, and at the end of a file that lacks it.
func (d *decoder) fragment(of Tag, sc *scope, first bool) (length uint32, begin []byte, done bool, err error) {
	b := d.s.window(8 + markerSize)
	if len(b) == 0 && d.s.err == io.EOF && sc.depth == 0 && !first {
		d.warn("%s has no delimiter", name(of))
		return 0, nil, true, nil
	}
	if len(b) < 8 {
		return 0, nil, false, d.cut(of)
	}
	tag := tagAt(b, sc.enc.big)
	if length = uint32At(b[4:], sc.enc.big); tag == sequenceEnd {
		d.s.take(8)
		return 0, nil, true, nil
	}
	if tag != itemTag || length == undefined {
		return 0, nil, false, fault.New(fault.Invalid, "%s has no length and holds something that is not a fragment", name(of))
	}
	if d.fragments++; d.fragments > d.limits.Fragments {
		return 0, nil, false, fault.New(fault.TooLarge, "the pixel data has more than %d fragments", d.limits.Fragments)
	}
	d.s.take(8)
	return length, b[8:min(int64(len(b)), 8+int64(length))], false, nil
}

// markerSize is how much of a fragment tells what begins there.
const markerSize = 12
