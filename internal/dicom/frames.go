package dicom

import (
	"github.com/strata-pacs/strata/internal/fault"
)

// Frames says where the frames of an instance's pixel data lie.
type Frames struct {
	Tag Tag // Pixel Data, Float Pixel Data or Double Float Pixel Data; 0 when there is none
	VR  VR
	// Count of frames that [Frames.Spans] answers for, 0 when the pixel data has
	// fewer bytes than one. A video stream counts as one.
	Count  int
	Native bool // not encapsulated (PS3.5 §8.2)
	// Value is the whole value field.
	Value Span
	// Word is the number of bytes whose order is to be reversed for little
	// endian; 1 where nothing is.
	Word int

	frameBits int64  // native: bits of a frame
	fragments []Span // encapsulated: without the Basic Offset Table
	first     []int  // encapsulated: a frame's first fragment, and one more; nil when each has one
	unknown   bool   // encapsulated: which fragments make a frame cannot be told
}

// Spans returns where the payload of frame i lies, counted from 0: one run of
// native pixel data, or the fragments in order. Offsets are those of the
// file, inflated when it is deflated. Where a native frame does not begin or end
// with a byte, or with a word of a big endian file, the span is the wider one:
// see [Frames.Bits].
//
// The error is fault.NotFound when there is no frame i, and fault.NotAcceptable
// when the file does not tell where its frames begin.
func (f *Frames) Spans(i int) ([]Span, error) {
	switch {
	case f.Tag == 0:
		return nil, fault.New(fault.NotFound, "this instance has no pixel data")
	case f.unknown:
		return nil, fault.New(fault.NotAcceptable, "this instance does not tell where its frames begin; retrieve it as application/dicom")
	case i < 0 || i >= f.Count:
		return nil, fault.New(fault.NotFound, "this instance has no frame %d; it has %d", i+1, f.Count)
	case f.Native:
		from, to := f.bytesOf(i)
		return []Span{{f.Value.Offset + from, to - from}}, nil
	case f.first == nil:
		return f.fragments[i : i+1 : i+1], nil
	}
	from, to := f.first[i], f.first[i+1]
	return f.fragments[from:to:to], nil
}

// Fragments returns the fragments of encapsulated pixel data in order, without
// the Basic Offset Table: for a video, the stream.
func (f *Frames) Fragments() []Span { return f.fragments }

// Bits says which bits of the bytes of [Frames.Spans] are native frame i: how
// many to pass over, from the least significant of the first byte and after
// bytes are brought to little endian, and how many there are (PS3.5 §8.1.1).
func (f *Frames) Bits(i int) (bitOffset, bitLength int64) {
	if !f.Native {
		return 0, 0
	}
	from, _ := f.bytesOf(i)
	return int64(i)*f.frameBits - 8*from, f.frameBits
}

// bytesOf returns the bytes of the value that hold native frame i.
func (f *Frames) bytesOf(i int) (from, to int64) {
	word := 8 * int64(f.Word)
	from = int64(i) * f.frameBits / word * word / 8
	to = (int64(i+1)*f.frameBits + word - 1) / word * word / 8
	return from, min(to, f.Value.Length)
}

// Whole reports whether the bytes of [Frames.Spans] are frame i as it is, and
// need no [Frames.LittleEndian].
func (f *Frames) Whole(i int) bool {
	if !f.Native {
		return true
	}
	from, to := f.bytesOf(i)
	return f.Word == 1 && 8*from == int64(i)*f.frameBits && 8*(to-from) == f.frameBits
}
