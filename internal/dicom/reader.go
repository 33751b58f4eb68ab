package dicom

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
)

// reader builds data sets from a stream.
type reader struct {
	decoder
	inflate     *inflater // nil unless deflated; its raw source is the file
	held        int64
	valueSlab   arena[byte]
	elementSlab arena[Element]
	datasetSlab arena[Dataset]
	itemSlab    arena[*Dataset]
	*scratch

	pixels  bool     // the data set's own pixel data was met
	offsets []byte   // see File
	starts  []uint64 // see File
}

// scratch holds what is being built, from the outermost data set inwards.
type scratch struct {
	stack  []Element
	nested []*Dataset
}

var scratches = sync.Pool{New: func() any { return &scratch{} }}

func newReader(ctx context.Context, r io.Reader, l Limits) *reader {
	return &reader{
		decoder: decoder{s: newSource(ctx, r, 0), limits: l.withDefaults()},
		scratch: scratches.Get().(*scratch),
	}
}

// maxScratch is the largest stack kept for another file, in elements.
const maxScratch = 4096

func (r *reader) release() {
	r.s.release()
	if r.inflate != nil {
		r.inflate.raw.release()
		r.inflate.release()
	}
	if cap(r.stack) <= maxScratch && cap(r.nested) <= maxScratch {
		clear(r.stack)
		clear(r.nested)
		r.stack, r.nested = r.stack[:0], r.nested[:0]
		scratches.Put(r.scratch)
	}
	r.scratch = nil
}

// finishDataset makes a data set of the elements on the stack from base on.
func (r *reader) finishDataset(base int, sc *scope) *Dataset {
	done := r.stack[base:]
	d := &r.datasetSlab.take(1, 1, 256)[0]
	d.Elements = r.elementSlab.take(len(done), 16, 512)
	copy(d.Elements, done)
	clear(done)
	r.stack = r.stack[:base]
	d.Order, d.Charset = sc.enc.order(), sc.charset
	return d
}

// element reads one element, whose header was peeked, onto the stack. With
// keep, its value is held whatever its size.
func (r *reader) element(h header, sc *scope, keep bool) error {
	if err := r.count(); err != nil {
		return err
	}
	r.s.take(h.size)
	e := Element{Tag: h.tag, VR: h.vr, Offset: r.s.offset(), Length: int64(h.length)}
	var err error
	switch {
	case h.length == undefined:
		err = r.undefinedLength(&e, sc)
	case sc.end >= 0 && e.Offset+e.Length > sc.end:
		err = fault.New(fault.Invalid, "the length of %s reaches past the end of the item that holds it", name(e.Tag))
	case h.vr == SQ:
		err = r.sequence(&e, sc, sc.enc, e.Offset+e.Length)
	default:
		err = r.value(&e, sc, keep)
	}
	if err != nil {
		return err
	}
	r.stack = append(r.stack, e)
	return nil
}

// value reads or passes over a value of known length.
func (r *reader) value(e *Element, sc *scope, keep bool) error {
	n := e.Length
	switch {
	case n == 0:
		e.Value = []byte{}
	case keep:
		if n+r.held > r.limits.Held {
			return fault.New(fault.TooLarge, "%s is too large", name(e.Tag))
		}
	case sc.depth == 0 && (e.Tag == extendedOffsets || e.Tag == extendedLengths) && n <= 8*int64(r.limits.Fragments):
		// Held whatever Hold says: the frames are found by them.
	case isPixelData(e.Tag), n > r.limits.Hold, n > smallValue && r.held+n > r.limits.Held:
		e.Bulk = true
		r.pixels = r.pixels || sc.depth == 0 && isPixelData(e.Tag)
		if !r.s.skip(n) {
			return r.cut(e.Tag)
		}
		return nil
	}
	if r.held += n; r.held > 2*r.limits.Held {
		return fault.New(fault.TooLarge, "the values of the file, pixel data apart, take more than %d MiB", r.limits.Held>>20)
	}
	var ok bool
	if e.Value, ok = r.hold(n); !ok {
		return r.cut(e.Tag)
	}
	switch {
	case e.Tag == charsetTag:
		sc.charset = r.charset(e.Value, sc.charset)
	case e.Tag == pixelRepresentation && len(e.Value) >= 2:
		sc.signed = uint16At(e.Value, sc.enc.big) == 1
	}
	return nil
}

// hold reads n bytes to keep. It allocates no more than a window before they have arrived.
func (r *reader) hold(n int64) ([]byte, bool) {
	if n <= windowSize {
		w := r.s.window(int(n))
		if int64(len(w)) < n {
			return nil, false
		}
		b := r.valueSlab.take(int(n), 1<<10, windowSize)
		copy(b, w)
		r.s.take(int(n))
		return b, true
	}
	b := make([]byte, 0, windowSize)
	for int64(len(b)) < n {
		k := int(min(n-int64(len(b)), windowSize))
		w := r.s.window(k)
		if len(w) < k {
			return nil, false
		}
		b = append(b, w[:k]...)
		r.s.take(k)
	}
	return slices.Clip(b), true
}

// charset splits the value of Specific Character Set.
func (r *reader) charset(value []byte, outer []string) []string {
	value = bytes.TrimRight(value, " \x00")
	if len(outer) == 1 && string(value) == outer[0] {
		return outer
	}
	var names []string
	for v := range bytes.SplitSeq(value, []byte{'\\'}) {
		names = append(names, string(bytes.Trim(v, " \x00")))
	}
	return names
}

// isPixelData reports whether the attribute is one of the three kinds of pixel data (PS3.5 §8.2).
func isPixelData(t Tag) bool { return t == pixelDataTag || t == floatPixelTag || t == doublePixelTag }

// root reads the data set of the file.
func (r *reader) root(sc *scope) (*Dataset, error) {
	base := len(r.stack)
	for {
		h, err := r.peek(sc)
		if err != nil {
			return nil, err
		}
		if h.size == 0 {
			if rest := r.s.window(1); len(rest) > 0 && !r.pixels && (len(r.stack) == base || len(bytes.Trim(rest, "\x00")) > 0) {
				return nil, fault.New(fault.Invalid, "the file ends within the header of an element: it was cut short")
			}
			break
		}
		if r.trails(h, sc, len(r.stack) > base) {
			break
		}
		if h.tag>>16 == 0xFFFE {
			r.warn("%s stands outside any sequence", name(h.tag))
			if err := r.count(); err != nil {
				return nil, err
			}
			r.s.take(h.size)
			continue
		}
		if err := r.element(h, sc, false); err != nil {
			return nil, err
		}
	}
	if len(r.stack) == base {
		return nil, fault.New(fault.Invalid, "the file has no data set: it was cut short")
	}
	return r.finishDataset(base, sc), nil
}

// trails reports whether the bytes of h are no element but what some writers
// leave behind the data set: zeros anywhere, anything after pixel data.
func (r *reader) trails(h header, sc *scope, some bool) bool {
	switch {
	case h.tag == 0:
		return some
	case !r.pixels:
		return false
	case h.tag>>16 == 0xFFFE:
		return true
	case h.tag > pixelDataTag && sc.enc.implicit:
		return false
	}
	b := r.s.window(8)
	return sc.enc.implicit || vrForm(MakeVR(b[4], b[5])) == unknownForm
}
