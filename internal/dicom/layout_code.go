package dicom

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
)

// layoutVersion is the first byte of an encoded layout.
const layoutVersion = 1

// Flags of an encoded layout.
const (
	layoutBig      = 1 << iota // BigEndian
	layoutDeflated             // Deflated
	layoutFrames               // there is pixel data
	layoutNative               // Frames.Native
	layoutUnknown              // Frames.unknown
	layoutEach                 // each frame has one fragment
)

// AppendBinary appends the layout's encoding to b: nothing for the zero value;
// about three bytes a frame of encapsulated pixel data, some 40 for a native
// image whatever its frames.
//
// The encoding is a version, flags, the bulk values and the frames. Integers
// are unsigned varints; offsets are told as the distance from where the span
// before ended, zigzag coded.
func (l *Layout) AppendBinary(b []byte) []byte {
	f := &l.Frames
	if len(l.Bulk) == 0 && f.Tag == 0 {
		return b
	}
	b = append(b, layoutVersion, flag(l.BigEndian, layoutBig)|flag(l.Deflated, layoutDeflated)|
		flag(f.Tag != 0, layoutFrames)|flag(f.Native, layoutNative)|flag(f.unknown, layoutUnknown)|
		flag(f.first == nil, layoutEach))
	at := int64(0)
	b = binary.AppendUvarint(b, uint64(len(l.Bulk)))
	for i := range l.Bulk {
		v := &l.Bulk[i]
		b = appendPath(b, v.Path)
		b = binary.BigEndian.AppendUint16(b, uint16(v.VR))
		b, at = appendSpan(b, v.Span, at)
	}
	if f.Tag == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(f.Tag))
	b = binary.BigEndian.AppendUint16(b, uint16(f.VR))
	b = binary.AppendUvarint(b, uint64(f.Count))
	b, _ = appendSpan(b, f.Value, at)
	if f.Native {
		b = append(b, byte(f.Word))
		return binary.AppendUvarint(b, uint64(f.frameBits))
	}
	return f.appendFragments(b)
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func (f *Frames) appendFragments(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(f.fragments)))
	at := f.Value.Offset
	for _, s := range f.fragments {
		// Nearly always the next fragment stands right behind its header.
		gap := s.Offset - at - 8
		if gap == 0 {
			b = binary.AppendUvarint(b, uint64(s.Length)<<1)
		} else {
			b = binary.AppendUvarint(b, uint64(s.Length)<<1|1)
			b = binary.AppendVarint(b, gap)
		}
		at = s.Offset + s.Length
	}
	for i := 1; i < len(f.first); i++ {
		b = binary.AppendUvarint(b, uint64(f.first[i]-f.first[i-1]))
	}
	return b
}

func appendSpan(b []byte, s Span, at int64) ([]byte, int64) {
	b = binary.AppendVarint(b, s.Offset-at)
	return binary.AppendUvarint(b, uint64(s.Length)), s.Offset + s.Length
}

// appendPath writes the number of sequences, then each with its item, then the element.
func appendPath(b []byte, path string) []byte {
	b = binary.AppendUvarint(b, uint64(strings.Count(path, "/")/2))
	for i, part := range strings.Split(path, "/") {
		n, _ := strconv.ParseUint(part, 16-6*(i%2), 32) // tags are hexadecimal, items decimal
		if i%2 == 0 {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		} else {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

// ParseLayout reads what [Layout.AppendBinary] has written. No bytes are the
// zero layout. The error is fault.Corrupt.
func ParseLayout(b []byte) (*Layout, error) {
	if len(b) == 0 {
		return &Layout{}, nil
	}
	p := &layoutParser{b: b}
	if v := p.byte(); v != layoutVersion {
		return nil, fault.New(fault.Corrupt, "the layout of this instance has version %d, which this program does not know; upgrade it", v)
	}
	flags := p.byte()
	l := &Layout{BigEndian: flags&layoutBig != 0, Deflated: flags&layoutDeflated != 0}
	at := int64(0)
	if n := p.count(9); n > 0 {
		l.Bulk = make([]BulkValue, 0, n)
		for range n {
			v := BulkValue{Path: p.path(), VR: VR(p.uint16())}
			v.Span, at = p.span(at)
			l.Bulk = append(l.Bulk, v)
		}
	}
	if flags&layoutFrames != 0 {
		p.frames(&l.Frames, flags, at)
	}
	if p.bad || len(p.b) != 0 {
		return nil, fault.New(fault.Corrupt, "the layout of this instance is damaged")
	}
	return l, nil
}

// layoutParser takes values off an encoded layout; bad is set when one is not there.
type layoutParser struct {
	b   []byte
	bad bool
}

// maxOffset bounds every offset and length, so that sums of two cannot overflow.
const maxOffset = 1 << 60

func (p *layoutParser) frames(f *Frames, flags byte, at int64) {
	f.Tag, f.VR = Tag(p.uint32()), VR(p.uint16())
	f.Count = int(p.limited(1 << 40))
	f.Value, _ = p.span(at)
	f.Native, f.unknown, f.Word = flags&layoutNative != 0, flags&layoutUnknown != 0, 1
	if f.Native {
		f.Word = int(p.byte())
		f.frameBits = p.limited(maxOffset)
		if f.Word != 1 && f.Word != 2 && f.Word != 4 && f.Word != 8 || f.frameBits == 0 && f.Count > 0 ||
			f.frameBits > 0 && int64(f.Count) > f.Value.Length*8/f.frameBits {
			p.bad = true
		}
		return
	}
	f.fragments = make([]Span, p.count(1))
	end := f.Value.Offset
	for i := range f.fragments {
		v := p.limited(maxOffset)
		s := Span{end + 8, v >> 1}
		if v&1 != 0 {
			s.Offset += p.delta()
		}
		if s.Offset < 0 || s.Offset > maxOffset {
			p.bad = true
			return
		}
		f.fragments[i], end = s, s.Offset+s.Length
	}
	if flags&layoutEach != 0 {
		p.bad = p.bad || !f.unknown && f.Count != len(f.fragments)
		return
	}
	if f.Count > len(p.b) {
		p.bad = true
		return
	}
	f.first = make([]int, f.Count+1)
	for i := range f.Count {
		f.first[i+1] = f.first[i] + int(p.limited(int64(len(f.fragments))))
	}
	p.bad = p.bad || f.first[f.Count] > len(f.fragments)
}

func (p *layoutParser) path() string {
	n := p.count(5)
	s := make([]byte, 0, 8+n*11)
	for range n {
		s = append(append(s, Tag(p.uint32()).String()...), '/')
		s = append(strconv.AppendUint(s, uint64(p.limited(1<<32)), 10), '/')
	}
	return string(append(s, Tag(p.uint32()).String()...))
}

func (p *layoutParser) span(at int64) (Span, int64) {
	s := Span{at + p.delta(), p.limited(maxOffset)}
	if s.Offset < 0 || s.Offset > maxOffset {
		p.bad = true
		return Span{}, 0
	}
	return s, s.Offset + s.Length
}

// count reads how many things follow, each of at least so many bytes.
func (p *layoutParser) count(size int) int { return int(p.limited(int64(len(p.b) / size))) }

func (p *layoutParser) limited(limit int64) int64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 || v > uint64(limit) {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return int64(v)
}

func (p *layoutParser) delta() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 || v > maxOffset || v < -maxOffset {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *layoutParser) take(n int) []byte {
	if len(p.b) < n {
		p.bad, p.b = true, nil
		return make([]byte, n)
	}
	v := p.b[:n]
	p.b = p.b[n:]
	return v
}

func (p *layoutParser) byte() byte     { return p.take(1)[0] }
func (p *layoutParser) uint16() uint16 { return binary.BigEndian.Uint16(p.take(2)) }
func (p *layoutParser) uint32() uint32 { return binary.BigEndian.Uint32(p.take(4)) }
