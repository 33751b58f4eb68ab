package dicom

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// The attributes that describe pixel data (PS3.3 §C.7.6.3).
const (
	samplesPerPixel Tag = 0x00280002
	photometric     Tag = 0x00280004
	numberOfFrames  Tag = 0x00280008
	rows            Tag = 0x00280010
	columns         Tag = 0x00280011
	bitsAllocated   Tag = 0x00280100
)

// newFrames finds the frames of a file.
func newFrames(f *File) Frames {
	var e *Element
	for _, t := range []Tag{pixelDataTag, floatPixelTag, doublePixelTag} {
		if e = f.Data.Lookup(t); e != nil {
			break
		}
	}
	if e == nil {
		return Frames{}
	}
	fr := Frames{Tag: e.Tag, VR: e.VR, Native: e.Fragments == nil, Value: Span{e.Offset, e.Length}, Word: 1}
	n := max(number(f.Data, numberOfFrames, 1), 1)
	if fr.Native {
		fr.native(f, n)
	} else {
		fr.encapsulated(f, e.Fragments, n)
	}
	return fr
}

// native counts the frames that the value has room for.
func (fr *Frames) native(f *File, n int64) {
	d := f.Data
	allocated := number(d, bitsAllocated, 0)
	switch fr.Tag {
	case floatPixelTag:
		allocated = 32
	case doublePixelTag:
		allocated = 64
	}
	if Syntax(f.Syntax).BigEndian {
		// Words of OW are swapped in the width of a pixel cell, as all known writers do.
		if fr.Word = fr.VR.Size(); fr.VR == OW && (allocated == 32 || allocated == 64) {
			fr.Word = int(allocated / 8)
		}
	}
	size, ok := product(number(d, rows, 0), number(d, columns, 0), number(d, samplesPerPixel, 1), allocated)
	if !ok || size == 0 {
		return
	}
	if p := d.Lookup(photometric); p != nil {
		size = subsampled(size, strings.TrimRight(string(p.Value), " \x00"), n, fr.Value.Length)
	}
	fr.frameBits = size
	fr.Count = int(min(n, fr.Value.Length*8/size))
}

// subsampled returns the bits of a frame whose chrominance is subsampled:
// YBR_FULL_422 stores two samples a pixel (PS3.3 §C.7.6.3.1.2), unless the length
// says that the writer stored three.
func subsampled(size int64, photometric string, n, length int64) int64 {
	var part int64
	switch photometric {
	case "YBR_FULL_422", "YBR_PARTIAL_422":
		part = size / 3 * 2
	case "YBR_PARTIAL_420":
		part = size / 2
	default:
		return size
	}
	if full, ok := product(size, n, 1, 1); ok && length*8 >= full {
		return size
	}
	return part
}

// product multiplies non-negative numbers and reports whether the result fits.
func product(a, b, c, d int64) (int64, bool) {
	p := uint64(a)
	for _, v := range []int64{b, c, d} {
		hi, lo := bits.Mul64(p, uint64(v))
		if hi != 0 || lo > 1<<60 {
			return 0, false
		}
		p = lo
	}
	return int64(p), true
}

// number returns the first value of an attribute of VR US or IS, or or when there is none.
func number(d *Dataset, t Tag, or int64) int64 {
	e := d.Lookup(t)
	if e == nil {
		return or
	}
	if e.VR == IS || e.Tag == numberOfFrames {
		s, _, _ := strings.Cut(string(e.Value), "\\")
		if n, err := strconv.ParseInt(strings.Trim(s, " \x00"), 10, 32); err == nil && n >= 0 {
			return n
		}
		return or
	}
	if len(e.Value) < 2 {
		return or
	}
	return int64(d.byteOrder().Uint16(e.Value))
}

// encapsulated assigns fragments to n frames, by what says so first: the
// Extended Offset Table, the Basic Offset Table, the fragments themselves.
func (fr *Frames) encapsulated(f *File, all []Span, n int64) {
	fr.Count = 1
	if len(all) > 0 {
		fr.fragments = all[1:]
	}
	frags := len(fr.fragments)
	switch {
	case frags == 0:
		fr.Count = 0
	case Syntax(f.Syntax).Video:
		fr.one()
	case n == 1:
		fr.one()
		fr.trim(f)
	case fr.byOffsets(uint64s(f, extendedOffsets), n):
		fr.trim(f)
	case fr.byOffsets(basicTable(f), n):
	case int64(frags) == n:
		fr.Count = frags
	default:
		fr.byStarts(f, n)
	}
}

// one makes all fragments one frame.
func (fr *Frames) one() {
	fr.Count = 1
	if len(fr.fragments) > 1 {
		fr.first = []int{0, len(fr.fragments)}
	}
}

// byOffsets assigns fragments by a table of where frames begin, counted from
// the header of the first fragment. A table that does not fit is not believed.
func (fr *Frames) byOffsets(table []uint64, n int64) bool {
	if len(table) == 0 || int64(len(table)) < n {
		return false
	}
	first := make([]int, 0, len(table)+1)
	at, start := 0, fr.fragments[0].Offset
	for _, off := range table {
		for at < len(fr.fragments) && uint64(fr.fragments[at].Offset-start) < off {
			at++
		}
		if at == len(fr.fragments) || uint64(fr.fragments[at].Offset-start) != off || len(first) > 0 && first[len(first)-1] == at {
			return false
		}
		first = append(first, at)
	}
	if first[0] != 0 {
		return false
	}
	fr.assign(append(first, len(fr.fragments)), n)
	return true
}

// assign takes the first fragments of at least n frames, with the end after them.
func (fr *Frames) assign(first []int, n int64) {
	fr.Count = int(n)
	first = first[:n+1]
	if first[n] == int(n) { // each has one
		fr.fragments = fr.fragments[:n]
		return
	}
	fr.first = slices.Clip(first)
	fr.fragments = fr.fragments[:first[n]]
}

// byStarts assigns fragments by which of them begin a code stream.
func (fr *Frames) byStarts(f *File, n int64) {
	var first []int
	for i := range fr.fragments {
		if k := i + 1; k/64 < len(f.starts) && f.starts[k/64]>>(k%64)&1 == 1 {
			first = append(first, i)
		}
	}
	switch {
	case len(first) == len(fr.fragments) && int64(len(first)) < n:
		fr.Count = len(first) // cut short, or the number of frames is wrong
	case int64(len(first)) == n && first[0] == 0:
		fr.assign(append(first, len(fr.fragments)), n)
	default:
		fr.unknown = true
		fr.Count = int(n)
	}
}

// basicTable returns the Basic Offset Table (PS3.5 §A.4).
func basicTable(f *File) []uint64 {
	big := Syntax(f.Syntax).BigEndian
	table := make([]uint64, len(f.offsets)/4)
	for i := range table {
		table[i] = uint64(uint32At(f.offsets[4*i:], big))
	}
	return table
}

// uint64s returns the values of the Extended Offset Table, which counts as the
// Basic Offset Table does (PS3.3 §C.7.6.3.1.8), or of its lengths.
func uint64s(f *File, t Tag) []uint64 {
	e := f.Data.Lookup(t)
	if e == nil {
		return nil
	}
	table := make([]uint64, len(e.Value)/8)
	for i := range table {
		table[i] = binary.LittleEndian.Uint64(e.Value[8*i:])
	}
	return table
}

// trim takes off the padding of frames whose length the Extended Offset Table
// Lengths say, where a frame is one fragment, as there it must be.
func (fr *Frames) trim(f *File) {
	lengths := uint64s(f, extendedLengths)
	if fr.first != nil || len(lengths) < fr.Count {
		return
	}
	for i := range fr.fragments {
		if s := &fr.fragments[i]; int64(lengths[i]) == s.Length-1 {
			s.Length--
		}
	}
}
