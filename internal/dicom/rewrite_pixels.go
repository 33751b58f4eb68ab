package dicom

import (
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// PixelData is the Pixel Data of a file that is being rewritten: what there is
// is read frame by frame, in order, and what there is to be is written, the one
// as far ahead of the other as its user likes. It is used by one goroutine.
type PixelData struct {
	c  *rewriter
	of Tag
	sc *scope

	// Of what is read.
	native bool
	end    int64 // of the native value
	frags  int   // fragments met, the Basic Offset Table too
	done   bool  // the delimiter was met
	// The last bytes that were read of a native value: where frames do not
	// begin with a byte or word, two of them share some.
	tail []byte

	// Of what is written.
	form pixelForm
	out  io.WriteCloser // native, swapped where the file is big endian
	left int64          // bytes of the native value
	odd  bool
}

type pixelForm uint8

const (
	unwritten pixelForm = iota
	asNative
	asFragments
)

// maxTail is the largest word of native pixel data, in bytes.
const maxTail = 8

// Append reads the bytes of spans, as [Frames.Spans] gives them for the file,
// and returns buf with them appended. Spans ascend, and so do those of one call
// after another; what lies between is passed over. Spans that are not where
// the file has bytes of pixel data are fault.Invalid.
func (p *PixelData) Append(buf []byte, spans []Span) ([]byte, error) {
	for _, s := range spans {
		var err error
		if p.native {
			buf, err = p.appendNative(buf, s)
		} else {
			buf, err = p.appendFragment(buf, s)
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

var errSpans = fault.New(fault.Invalid, "the frames of the pixel data are not where they should be")

func (p *PixelData) appendNative(buf []byte, s Span) ([]byte, error) {
	at := p.c.s.offset()
	if s.Length < 0 || s.Offset+s.Length > p.end || s.Offset < at-int64(len(p.tail)) {
		return buf, errSpans
	}
	start := len(buf)
	if s.Offset < at {
		again := p.tail[int64(len(p.tail))-(at-s.Offset):]
		again = again[:min(int64(len(again)), s.Length)]
		buf = append(buf, again...)
		s.Length -= int64(len(again))
	} else if !p.c.s.skip(s.Offset - at) {
		return buf, p.c.cut(p.of)
	}
	buf, err := p.append(buf, s.Length)
	if read := buf[start:]; len(read) > 0 && s.Length > 0 {
		p.tail = append(p.tail[:0], read[max(0, len(read)-maxTail):]...)
	}
	return buf, err
}

func (p *PixelData) appendFragment(buf []byte, s Span) ([]byte, error) {
	for {
		n, ok, err := p.next()
		switch {
		case err != nil:
			return buf, err
		case !ok || p.c.s.offset() > s.Offset:
			return buf, errSpans
		case p.c.s.offset() < s.Offset:
			if !p.c.s.skip(n) {
				return buf, p.c.cut(p.of)
			}
			continue
		case s.Length > n || s.Length < 0:
			return buf, errSpans
		}
		if buf, err = p.append(buf, s.Length); err == nil && !p.c.s.skip(n-s.Length) {
			err = p.c.cut(p.of)
		}
		return buf, err
	}
}

// next reads the header of the next fragment; ok is false behind the last.
func (p *PixelData) next() (n int64, ok bool, err error) {
	if p.done {
		return 0, false, nil
	}
	length, _, done, err := p.c.fragment(p.of, p.sc, p.frags == 0)
	p.frags++
	p.done = done
	return int64(length), err == nil && !done, err
}

// append reads n bytes.
func (p *PixelData) append(buf []byte, n int64) ([]byte, error) {
	for n > 0 {
		b := p.c.s.window(1)
		if len(b) == 0 {
			return buf, p.c.cut(p.of)
		}
		k := int(min(n, int64(len(b))))
		buf = append(buf, b[:k]...)
		p.c.s.take(k)
		n -= int64(k)
	}
	return buf, nil
}

// rest passes over what was not read.
func (p *PixelData) rest() error {
	if p.native {
		if !p.c.s.skip(p.end - p.c.s.offset()) {
			return p.c.cut(p.of)
		}
		return nil
	}
	for {
		n, ok, err := p.next()
		if err != nil || !ok {
			return err
		}
		if !p.c.s.skip(n) {
			return p.c.cut(p.of)
		}
	}
}

// Native begins a native value of so many bytes, which [PixelData.Write] gets in
// little endian. Word is the size in bytes of what is swapped in a big endian
// file: that of a sample, 1 for OB. fault.NotAcceptable for a value that is
// longer than its length field can say.
func (p *PixelData) Native(v VR, bytes int64, word int) error {
	if bytes < 0 || bytes > undefined-2 {
		return fault.New(fault.NotAcceptable, "uncompressed, the pixel data has more than 4 GiB, which no instance can have; retrieve its frames, or ask for a compressed transfer syntax")
	}
	p.form, p.left, p.odd = asNative, bytes, bytes%2 == 1
	p.c.header(p.of, v, uint32(bytes+bytes%2))
	if !p.c.enc.big {
		word = 1
	}
	p.out = NewSwapper(p.c.w, word)
	return nil
}

// Write writes a part of a native value.
func (p *PixelData) Write(b []byte) (int, error) {
	if p.form != asNative || int64(len(b)) > p.left {
		return 0, errForm
	}
	p.left -= int64(len(b))
	n, err := p.out.Write(b)
	if err != nil {
		err = fmt.Errorf("writing the rewritten file: %w", err)
	}
	return n, err
}

var errForm = fault.New(fault.Internal, "dicom: pixel data is written neither as native of the size announced nor as fragments")

// Fragment writes the next fragment of an encapsulated value: with frames that
// have one each, the next frame. The Basic Offset Table is empty, as there is
// no telling offsets before frames are made (PS3.5 §A.4).
func (p *PixelData) Fragment(b []byte) error {
	switch {
	case p.form == asNative:
		return errForm
	case int64(len(b)) > undefined-2:
		return fault.New(fault.NotAcceptable, "a compressed frame has more than 4 GiB")
	case p.form == unwritten:
		p.form = asFragments
		p.c.header(p.of, OB, undefined)
		p.c.header(itemTag, 0, 0)
	}
	n := uint32(len(b))
	p.c.header(itemTag, 0, n+n&1)
	if _, err := p.c.w.Write(b); err != nil {
		return fmt.Errorf("writing the rewritten file: %w", err)
	}
	p.c.padTo(OB, int64(n))
	return nil
}

// finish ends what was written.
func (p *PixelData) finish() error {
	switch {
	case p.form == asFragments:
		p.c.header(sequenceEnd, 0, 0)
		return nil
	case p.form != asNative || p.left > 0:
		return errForm
	}
	if err := p.out.Close(); err != nil {
		return fmt.Errorf("writing the rewritten file: %w", err)
	}
	if p.odd {
		p.c.w.WriteByte(0)
	}
	return nil
}
