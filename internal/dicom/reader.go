package dicom

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
)

// reader builds data sets from a stream. It is the sink of its own decoder.
type reader struct {
	decoder
	inflate *inflater // nil unless deflated; its raw source is the file
	held    int64
	keep    bool // hold values of any size

	values   arena[byte]
	elements arena[Element]
	datasets arena[Dataset]
	items    arena[*Dataset]
	*scratch

	offsets []byte   // see File
	starts  []uint64 // see File
}

// scratch holds what is being built, from the outermost data set inwards.
type scratch struct {
	stack  []Element  // elements of data sets that are not complete
	nested []*Dataset // items of sequences that are not complete
	open   []pending  // sequences and items that are not complete
	levels []*scope
}

// pending is a sequence or an item being built.
type pending struct {
	Element     // of a sequence
	base    int // in nested for a sequence, in stack for an item
}

var scratches = sync.Pool{New: func() any { return &scratch{} }}

func newReader(ctx context.Context, r io.Reader, l Limits) *reader {
	rd := &reader{
		decoder: decoder{s: newSource(ctx, r, 0), limits: l.withDefaults()},
		scratch: scratches.Get().(*scratch),
	}
	rd.scopes = rd.levels
	return rd
}

// maxScratch is the largest stack kept for another file, in elements.
const maxScratch = 4096

func (r *reader) release() {
	r.s.release()
	if r.inflate != nil {
		r.inflate.raw.release()
		r.inflate.release()
	}
	if sc := r.scratch; cap(sc.stack) <= maxScratch && cap(sc.nested) <= maxScratch {
		clear(sc.stack)
		clear(sc.nested)
		clear(sc.open)
		for _, l := range r.scopes {
			*l = scope{}
		}
		*sc = scratch{sc.stack[:0], sc.nested[:0], sc.open[:0], r.scopes}
		scratches.Put(sc)
	}
	r.scratch = nil
}

// finishDataset makes a data set of the elements on the stack from base on.
func (r *reader) finishDataset(base int, sc *scope) *Dataset {
	done := r.stack[base:]
	d := &r.datasets.take(1, 1, 256)[0]
	d.Elements = r.elements.take(len(done), 16, 512)
	copy(d.Elements, done)
	clear(done)
	r.stack = r.stack[:base]
	d.Order, d.Charset = sc.enc.order(), sc.charset
	return d
}

// complete makes a data set of the outermost elements that were read whole
// before an error.
func (r *reader) complete(sc *scope) *Dataset {
	if len(r.open) > 1 { // within the first sequence's item
		r.stack = r.stack[:r.open[1].base]
	}
	if n := len(r.stack); n > 0 && r.stack[n-1].Value == nil && r.stack[n-1].Items == nil {
		r.stack = r.stack[:n-1] // the value that broke off
	}
	return r.finishDataset(0, sc)
}

func (r *reader) beginSequence(h header, _ *scope) error {
	r.open = append(r.open, pending{Element{Tag: h.tag, VR: h.vr, Offset: r.s.offset()}, len(r.nested)})
	return nil
}

func (r *reader) beginItem(*scope) error {
	r.open = append(r.open, pending{base: len(r.stack)})
	return nil
}

// pop takes the innermost pending off the stack.
func (r *reader) pop() pending {
	p := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	return p
}

func (r *reader) endItem(sc *scope) error {
	d := r.finishDataset(r.pop().base, sc)
	r.nested = append(r.nested, d)
	return nil
}

func (r *reader) endSequence(header, *scope) error {
	p := r.pop()
	done := r.nested[p.base:]
	if p.Items = []*Dataset{}; len(done) > 0 {
		p.Items = r.items.take(len(done), 8, 1024)
	}
	copy(p.Items, done)
	clear(done)
	r.nested = r.nested[:p.base]
	p.Length = r.s.offset() - p.Offset
	r.stack = append(r.stack, p.Element)
	return nil
}

// value reads or passes over a value of known length.
func (r *reader) value(h header, sc *scope) error {
	n := int64(h.length)
	r.stack = append(r.stack, Element{Tag: h.tag, VR: h.vr, Offset: r.s.offset(), Length: n})
	e := &r.stack[len(r.stack)-1]
	switch {
	case n == 0:
		e.Value = []byte{}
		return nil
	case r.keep:
		if n+r.held > r.limits.Held {
			return fault.New(fault.TooLarge, "%s is too large", name(e.Tag))
		}
	case sc.depth == 0 && (e.Tag == extendedOffsets || e.Tag == extendedLengths) && n <= 8*int64(r.limits.Fragments):
		// Held whatever Hold says: the frames are found by them.
	case isPixelData(e.Tag), n > r.limits.Hold, n > smallValue && r.held+n > r.limits.Held:
		e.Bulk = true
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
		sc.charset = charsets(e.Value, sc.charset)
	case e.Tag == pixelRepresentation && n >= 2:
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
		b := r.values.take(int(n), 1<<10, windowSize)
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

// charsets splits the value of Specific Character Set.
func charsets(value []byte, outer []string) []string {
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

// encapsulated passes over the fragments of pixel data, hopping from header to
// header (PS3.5 §A.4).
func (r *reader) encapsulated(h header, sc *scope) error {
	own := sc.depth == 0 && h.tag == pixelDataTag
	e := Element{Tag: h.tag, VR: OB, Bulk: true, Offset: r.s.offset(), Fragments: []Span{}}
	for {
		length, begin, done, err := r.fragment(h.tag, sc, len(e.Fragments) == 0)
		if err != nil {
			return err
		}
		if done {
			break
		}
		n := len(e.Fragments)
		if own && beginsStream(begin) {
			for len(r.starts) <= n/64 {
				r.starts = append(r.starts, 0)
			}
			r.starts[n/64] |= 1 << (n % 64)
		}
		e.Fragments = append(e.Fragments, Span{r.s.offset(), int64(length)})
		ok := true
		if own && n == 0 && int64(length) <= 4*int64(r.limits.Fragments) {
			r.offsets, ok = r.hold(int64(length))
		} else {
			ok = r.s.skip(int64(length))
		}
		if !ok {
			return r.cut(h.tag)
		}
	}
	e.Length = r.s.offset() - e.Offset
	r.stack = append(r.stack, e)
	return nil
}

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
