package render

import (
	"encoding/binary"
	"image"
	"io"
	"math/bits"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
)

// fineQuality is from where on colour is not subsampled.
const fineQuality = 90

// encoder writes baseline JPEG (ITU-T T.81). That of the standard library takes
// several times as long for pictures in grey.
type encoder struct {
	w       io.Writer
	err     error
	out     []byte
	acc     uint64 // bits to be written, from the top
	n       uint   // how many
	tables  [4]huffman
	factors [2][64]float32
	block   [64]float32
}

var encoders = sync.Pool{New: func() any {
	return &encoder{tables: huffmans(), out: make([]byte, 0, 32<<10)}
}}

// encodeJPEG writes the picture, which is *image.Gray or *image.RGBA.
func encodeJPEG(w io.Writer, img image.Image, quality int, icc []byte) error {
	size := img.Bounds().Size()
	if size.X < 1 || size.Y < 1 || size.X > 65535 || size.Y > 65535 {
		return fault.New(fault.NotAcceptable, "a JPEG cannot have %d by %d pixels", size.X, size.Y)
	}
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.w, e.err, e.out, e.acc, e.n = w, nil, e.out[:0], 0, 0
	defer func() { e.w = nil }()
	q := [2][64]uint8{quantization(0, quality), quantization(1, quality)}
	e.factors = [2][64]float32{factors(q[0]), factors(q[1])}
	e.out = append(e.out, 0xFF, 0xD8, // SOI; APP0: JFIF 1.02, square pixels
		0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 2, 0, 0, 1, 0, 1, 0, 0)
	e.profile(icc)
	switch m := img.(type) {
	case *image.Gray:
		e.header(size, q[:1], []byte{1, 0x11, 0})
		e.grey(m)
	case *image.RGBA:
		if quality >= fineQuality {
			e.header(size, q[:], []byte{1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1})
			e.colour(m, 8)
		} else {
			e.header(size, q[:], []byte{1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1})
			e.colour(m, 16)
		}
	default:
		return fault.New(fault.Internal, "a picture of another type")
	}
	e.align()
	e.out = append(e.out, 0xFF, 0xD9)
	e.flush()
	return e.err
}

// profile appends the ICC profile in segments of APP2 (ICC.1 §B.4).
func (e *encoder) profile(icc []byte) {
	const most = 65535 - 2 - 14
	if len(icc) > 255*most {
		return
	}
	count := (len(icc) + most - 1) / most
	for i := range count {
		part := icc[i*most : min((i+1)*most, len(icc))]
		e.marker(0xE2, 14+len(part))
		e.out = append(e.out, "ICC_PROFILE\x00"...)
		e.out = append(e.out, byte(i+1), byte(count))
		e.out = append(e.out, part...)
	}
}

func (e *encoder) marker(code byte, length int) {
	e.out = append(e.out, 0xFF, code)
	e.out = binary.BigEndian.AppendUint16(e.out, uint16(length+2))
}

// header appends tables, frame and scan headers for components of three bytes
// each: identifier, sampling factors, table.
func (e *encoder) header(size image.Point, q [][64]uint8, components []byte) {
	e.marker(0xDB, 65*len(q))
	for i, t := range q {
		e.out = append(e.out, byte(i))
		for _, z := range zigzag {
			e.out = append(e.out, t[z])
		}
	}
	n := len(components) / 3
	e.marker(0xC0, 6+len(components))
	e.out = append(e.out, 8, byte(size.Y>>8), byte(size.Y), byte(size.X>>8), byte(size.X), byte(n))
	e.out = append(e.out, components...)
	for i, s := range huffmanSpecs[:2*len(q)] {
		e.marker(0xC4, 17+len(s.values))
		e.out = append(e.out, byte(i&1<<4|i>>1))
		e.out = append(e.out, s.count[:]...)
		e.out = append(e.out, s.values...)
	}
	e.marker(0xDA, 4+2*n)
	e.out = append(e.out, byte(n))
	for i := range n {
		e.out = append(e.out, components[3*i], components[3*i+2]*0x11)
	}
	e.out = append(e.out, 0, 63, 0)
}

// grey codes a picture of one component.
func (e *encoder) grey(m *image.Gray) {
	size := m.Rect.Size()
	dc := int32(0)
	for y := 0; y < size.Y; y += 8 {
		for x := 0; x < size.X; x += 8 {
			if x+8 <= size.X && y+8 <= size.Y {
				// Much of a medical image is background.
				if v, ok := even(m.Pix[y*m.Stride+x:], m.Stride); ok {
					dc = e.even(dc, v)
					continue
				}
				for r := range 8 {
					src := m.Pix[(y+r)*m.Stride+x:][:8]
					dst := e.block[8*r:][:8]
					for c := range dst {
						dst[c] = float32(src[c])
					}
				}
			} else { // the last row and column go on
				for i := range e.block {
					row, column := min(y+i>>3, size.Y-1), min(x+i&7, size.X-1)
					e.block[i] = float32(m.Pix[row*m.Stride+column])
				}
			}
			dc = e.code(dc, 0, 128*64)
		}
		if !e.enough() {
			return
		}
	}
}

// code transforms, quantizes and codes the block with the tables of luminance (0)
// or chrominance (1); shift is what to take off the DC coefficient. It returns
// the coefficient.
func (e *encoder) code(dc int32, table int, shift float32) int32 {
	b := &e.block
	dct(b)
	b[0] -= shift
	f := &e.factors[table]
	var q [64]int32
	var set uint64
	for i, z := range zigzag {
		v := b[z&63] * f[i&63]
		// Rounded to nearest, and without a branch for the sign.
		r := int32(v+16384.5) - 16384
		q[i&63] = r
		bit := uint64(0)
		if r != 0 {
			bit = 1
		}
		set |= bit << (i & 63)
	}
	h := &e.tables[2*table]
	length, value := magnitude(q[0] - dc)
	e.put(h[length&255], length, value)
	h = &e.tables[2*table+1]
	for last := uint(0); ; {
		rest := set &^ (2<<last - 1)
		if rest == 0 {
			if last < 63 {
				e.put(h[0], 0, 0) // end of block
			}
			return q[0]
		}
		next := uint(bits.TrailingZeros64(rest))
		run := next - last - 1
		for ; run > 15; run -= 16 {
			e.put(h[0xF0], 0, 0)
		}
		if length, value = magnitude(q[next&63]); length > 10 { // more than baseline has codes for
			length, value = magnitude(min(max(q[next&63], -1023), 1023))
		}
		e.put(h[(uint32(run)<<4|length)&255], length, value)
		last = next
	}
}

// even reports whether the block that begins with pix has one value, and which.
func even(pix []uint8, stride int) (v uint8, ok bool) {
	first := binary.LittleEndian.Uint64(pix)
	if first != uint64(uint8(first))*0x0101010101010101 {
		return 0, false
	}
	for r := 1; r < 8; r++ {
		if binary.LittleEndian.Uint64(pix[r*stride:]) != first {
			return 0, false
		}
	}
	return uint8(first), true
}

// even codes a block of one value of luminance.
func (e *encoder) even(dc int32, v uint8) int32 {
	q := int32((float32(v)-128)*64*e.factors[0][0]+16384.5) - 16384
	length, value := magnitude(q - dc)
	e.put(e.tables[0][length&255], length, value)
	e.put(e.tables[1][0], 0, 0)
	return q
}

// magnitude returns a coefficient's category and the bits that tell it within.
func magnitude(v int32) (length, value uint32) {
	sign := v >> 31
	length = uint32(bits.Len32(uint32((v ^ sign) - sign)))
	return length, uint32(v+sign) & (1<<length - 1)
}

// put writes a Huffman code and so many bits after it: 27 at most.
func (e *encoder) put(code, length, value uint32) {
	n := uint(code&0xFF) + uint(length)
	e.n += n
	e.acc |= (uint64(code>>8)<<length | uint64(value)) << ((64 - e.n) & 63)
	if e.n >= 32 {
		e.word()
	}
}

// word writes the first 32 bits; an octet FF is followed by 0.
func (e *encoder) word() {
	w := uint32(e.acc >> 32)
	e.acc <<= 32
	e.n -= 32
	if inv := ^w; (inv-0x01010101)&w&0x80808080 == 0 { // no octet of inv is 0
		e.out = binary.BigEndian.AppendUint32(e.out, w)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		e.octet(byte(w >> shift))
	}
}

func (e *encoder) octet(b byte) {
	e.out = append(e.out, b)
	if b == 0xFF {
		e.out = append(e.out, 0)
	}
}

// align fills the last octet with ones.
func (e *encoder) align() {
	if e.n%8 != 0 {
		pad := 8 - e.n%8
		e.n += pad
		e.acc |= (1<<pad - 1) << (64 - e.n)
	}
	for ; e.n > 0; e.n -= 8 {
		e.octet(byte(e.acc >> 56))
		e.acc <<= 8
	}
}

// enough hands over what is coded when it is worth it, and reports whether to go on.
func (e *encoder) enough() bool {
	if len(e.out) > 24<<10 {
		e.flush()
	}
	return e.err == nil
}

// flush hands over what is coded.
func (e *encoder) flush() {
	if e.err == nil && len(e.out) > 0 {
		_, e.err = e.w.Write(e.out)
	}
	e.out = e.out[:0]
}
