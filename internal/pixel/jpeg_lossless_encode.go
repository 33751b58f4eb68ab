package pixel

import (
	"context"
	"encoding/binary"
	"math/bits"
)

// encodeLossless encodes interleaved samples of so many bits with the lossless
// process, selection value 1 (ISO/IEC 10918-1 Annex H), all components in one
// scan with one Huffman table made for them.
func encodeLossless(ctx context.Context, img Image, precision int) ([]byte, error) {
	samples := img.words(precision)
	stride := img.Columns * img.Samples
	diffs := make([]uint16, stride)
	var counts [18]int
	counts[17] = 1 // no code may be all ones (§K.2)
	for y := range img.Rows {
		if y%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		differences(diffs, samples, y, stride, img.Samples, precision)
		for _, d := range diffs {
			counts[category(d)]++
		}
	}
	lengths, values := huffmanCode(counts)
	out := losslessHeader(img, precision, lengths, values)
	w := bitWriter{out: out}
	codes := assignCodes(lengths, values)
	for y := range img.Rows {
		if y%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		differences(diffs, samples, y, stride, img.Samples, precision)
		for _, d := range diffs {
			n := category(d)
			c := codes[n]
			v := uint64(c.code)
			length := c.length
			if n > 0 && n < 16 {
				extra := d
				if d>>15 != 0 { // negative
					extra--
				}
				v, length = v<<n|uint64(extra&(1<<n-1)), length+n
			}
			w.write(v, length)
		}
	}
	w.flush()
	out = append(w.out, 0xFF, markEOI)
	if len(out)%2 != 0 { // fill before the marker keeps it last
		out = append(out[:len(out)-2], 0xFF, 0xFF, markEOI)
	}
	return out, nil
}

// words returns the samples in words of their own, cut to so many bits.
func (img Image) words(precision int) []uint16 {
	mask := uint16(1<<precision - 1)
	if img.BitsAllocated == 8 {
		out := make([]uint16, len(img.Data))
		for i, v := range img.Data {
			out[i] = uint16(v) & mask
		}
		return out
	}
	out := make([]uint16, len(img.Data)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(img.Data[2*i:]) & mask
	}
	return out
}

// differences of the samples of line y to their predictions, modulo 2^16: the
// sample to the left, or above at the beginning of a line.
func differences(dst, samples []uint16, y, stride, n, precision int) {
	line := samples[y*stride : (y+1)*stride]
	for c := range n {
		p := uint16(1) << (precision - 1)
		if y > 0 {
			p = samples[(y-1)*stride+c]
		}
		dst[c] = line[c] - p
	}
	if n == 1 {
		p := line[0]
		for i, v := range line[1:] {
			dst[i+1] = v - p
			p = v
		}
		return
	}
	for i := n; i < len(line); i++ {
		dst[i] = line[i] - line[i-n]
	}
}

// category returns the number of bits of a difference (ISO/IEC 10918-1 Table H.2).
func category(d uint16) int {
	v := int32(int16(d))
	if v < 0 {
		v = -v
	}
	return bits.Len32(uint32(v))
}

// huffmanCode returns a code of at most 16 bits for symbols by how often they
// occur: how many codes of each length, and the symbols by length (§K.2).
func huffmanCode(counts [18]int) (lengths [16]byte, values []byte) {
	var size, next [18]int
	freq := counts
	for i := range next {
		next[i] = -1
	}
	for {
		a, b := -1, -1 // the two rarest, of equals the later
		for i, n := range freq {
			switch {
			case n == 0:
			case a < 0 || n <= freq[a]:
				a, b = i, a
			case b < 0 || n <= freq[b]:
				b = i
			}
		}
		if b < 0 {
			break
		}
		freq[a], freq[b] = freq[a]+freq[b], 0
		for i := a; ; i = next[i] {
			size[i]++
			if next[i] < 0 {
				next[i] = b
				break
			}
		}
		for i := b; i >= 0; i = next[i] {
			size[i]++
		}
	}
	var of [33]int
	for _, n := range size {
		of[n]++
	}
	for i := 32; i > 16; i-- { // no more than 16 bits
		for of[i] > 0 {
			j := i - 2
			for of[j] == 0 {
				j--
			}
			of[i], of[i-1] = of[i]-2, of[i-1]+1
			of[j+1], of[j] = of[j+1]+2, of[j]-1
		}
	}
	longest := 16
	for of[longest] == 0 {
		longest--
	}
	of[longest]-- // that of the symbol that no one uses
	for n := 1; n <= 16; n++ {
		lengths[n-1] = byte(of[n])
	}
	for n := 1; n <= 32; n++ {
		for s := range 17 {
			if size[s] == n {
				values = append(values, byte(s))
			}
		}
	}
	return lengths, values
}

type huffmanWord struct {
	code   uint32
	length int
}

// assignCodes numbers the codes (ISO/IEC 10918-1 §C.2).
func assignCodes(lengths [16]byte, values []byte) (codes [17]huffmanWord) {
	code, at := uint32(0), 0
	for n, count := range lengths {
		for range count {
			codes[values[at]] = huffmanWord{code, n + 1}
			code, at = code+1, at+1
		}
		code <<= 1
	}
	return codes
}

// losslessHeader returns all that comes before the entropy-coded segment.
func losslessHeader(img Image, precision int, lengths [16]byte, values []byte) []byte {
	n := img.Samples
	// Lossless coding seldom makes less than half.
	out := make([]byte, 0, len(img.Data)/2+1024)
	out = append(out, 0xFF, markSOI, 0xFF, markSOF3, 0, byte(8+3*n), byte(precision),
		byte(img.Rows>>8), byte(img.Rows), byte(img.Columns>>8), byte(img.Columns), byte(n))
	for c := range n {
		out = append(out, byte(c+1), 0x11, 0)
	}
	out = append(out, 0xFF, markDHT, 0, byte(19+len(values)), 0)
	out = append(append(out, lengths[:]...), values...)
	out = append(out, 0xFF, markSOS, 0, byte(6+2*n), byte(n))
	for c := range n {
		out = append(out, byte(c+1), 0)
	}
	return append(out, 1, 0, 0)
}

// bitWriter writes an entropy-coded segment.
type bitWriter struct {
	out []byte
	acc uint64
	n   int // bits in acc, lowest; less than 32 between calls
}

// write appends up to 32 bits.
func (w *bitWriter) write(v uint64, n int) {
	w.acc, w.n = w.acc<<n|v, w.n+n
	if w.n < 32 {
		return
	}
	w.n -= 32
	word := uint32(w.acc >> w.n)
	if inv := ^word; (inv-0x01010101)&^inv&0x80808080 == 0 {
		w.out = binary.BigEndian.AppendUint32(w.out, word)
		return
	}
	for s := 24; s >= 0; s -= 8 {
		w.byte(byte(word >> s))
	}
}

func (w *bitWriter) byte(b byte) {
	if w.out = append(w.out, b); b == 0xFF {
		w.out = append(w.out, 0)
	}
}

// flush fills the last byte with ones.
func (w *bitWriter) flush() {
	for ; w.n >= 8; w.n -= 8 {
		w.byte(byte(w.acc >> (w.n - 8)))
	}
	if w.n > 0 {
		w.byte(byte(w.acc<<(8-w.n)) | byte(1<<(8-w.n)-1))
	}
}
