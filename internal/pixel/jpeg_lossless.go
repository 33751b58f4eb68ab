package pixel

import (
	"context"
	"encoding/binary"
)

// losslessScan says whether decodeLossless decodes the stream: one scan, Huffman
// coded, of components that all have the image's size.
func (h *jpegHeader) losslessScan() bool {
	return h.sof == markSOF3 && len(h.inScan) == len(h.components) && !h.subsampled() &&
		h.precision >= 2 && h.precision <= 16 && h.pointTransform < h.precision
}

// decodeLossless decodes a stream of the lossless process (ISO/IEC 10918-1 Annex H).
func decodeLossless(ctx context.Context, f Format, h *jpegHeader, bits []byte) (Image, error) {
	d := lossless{h: h, width: h.columns, n: len(h.components), in: bitReader{b: bits[h.scan:]}}
	tables, ok := huffmanTables(bits)
	if !ok || h.predictor < 1 || h.predictor > 7 {
		return Image{}, errShort
	}
	for i := range d.n {
		t := tables[0][h.tables[i]>>4&3]
		if t == nil || h.inScan[i] != h.components[i].id {
			return Image{}, errShort
		}
		d.tables[i], d.whole[i] = t, t.whole()
	}
	if h.restart > 0 && h.restart%h.columns != 0 { // intervals are whole lines (§H.1.1)
		return Image{}, errShort
	}
	size := 1
	if h.precision > 8 {
		size = 2
	}
	stride := d.width * d.n
	// The least there can be is a bit a sample.
	if int64(len(bits)-h.scan)*8 < int64(stride)*int64(h.rows) {
		return Image{}, errShort
	}
	data := make([]byte, stride*h.rows*size)
	prev, cur := make([]uint16, stride), make([]uint16, stride)
	for y, first := 0, 0; y < h.rows; y++ {
		if y%64 == 0 && ctx.Err() != nil {
			return Image{}, ctx.Err()
		}
		if h.restart > 0 && y > 0 && y*h.columns%h.restart == 0 {
			if !d.in.restart() {
				return Image{}, errShort
			}
			first = y
		}
		if !d.line(cur, prev, y == first) || d.in.short() {
			return Image{}, errShort
		}
		out := data[y*stride*size:]
		if size == 1 {
			for i, v := range cur {
				out[i] = byte(v << h.pointTransform)
			}
		} else {
			for i, v := range cur {
				binary.LittleEndian.PutUint16(out[2*i:], v<<h.pointTransform)
			}
		}
		prev, cur = cur, prev
	}
	f.Planar, f.Photometric = false, upsampled(f.Photometric)
	return settle(Image{Format: f, Data: data}, h.precision, false), nil
}

// lossless decodes lines of samples.
type lossless struct {
	h        *jpegHeader
	in       bitReader
	width, n int // pixels of a line, components
	tables   [4]*huffman
	whole    [4]*[1 << lookBits]uint32
}

// line decodes a line given the one above; first is the first of an interval.
func (d *lossless) line(cur, above []uint16, first bool) bool {
	n := d.n
	predictor := d.h.predictor
	if first {
		predictor = 1
	}
	for c := range n { // the first pixel
		diff, ok := d.next(c)
		if !ok {
			return false
		}
		p := above[c]
		if first {
			p = 1 << (d.h.precision - d.h.pointTransform - 1)
		}
		cur[c] = p + diff
	}
	if predictor == 1 {
		return d.left(cur)
	}
	for i, c := n, 0; i < len(cur); i++ {
		diff, ok := d.next(c)
		if !ok {
			return false
		}
		a, b, ab := int32(cur[i-n]), int32(above[i]), int32(above[i-n])
		switch predictor {
		case 2:
			a = b
		case 3:
			a = ab
		case 4:
			a += b - ab
		case 5:
			a += (b - ab) >> 1
		case 6:
			a = b + (a-ab)>>1
		case 7:
			a = (a + b) >> 1
		}
		cur[i] = uint16(a) + diff
		if c++; c == n {
			c = 0
		}
	}
	return true
}

// left is line for the predictor 1, after the first pixel.
func (d *lossless) left(cur []uint16) bool {
	r, n, c := &d.in, d.n, 0
	for i := n; i < len(cur); i++ {
		if r.n < 32 {
			r.fill()
		}
		var diff uint16
		if e := d.whole[c&3][r.acc>>(64-lookBits)]; e != 0 {
			r.acc <<= e & 63
			r.n -= int(e & 63)
			diff = uint16(e >> 16)
		} else {
			category, ok := r.code(d.tables[c&3])
			if !ok {
				return false
			}
			diff = uint16(r.difference(category))
		}
		cur[i] = cur[i-n] + diff
		if c++; c == n {
			c = 0
		}
	}
	return true
}

// next decodes a difference of component c.
func (d *lossless) next(c int) (uint16, bool) {
	if d.in.n < 32 {
		d.in.fill()
	}
	category, ok := d.in.code(d.tables[c])
	return uint16(d.in.difference(category)), ok
}
