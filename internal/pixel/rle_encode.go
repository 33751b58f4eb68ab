package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
)

func (rle) Encodes(f Format) error {
	if f.Samples*f.sampleBytes() > rleSegments {
		return refuse("run-length coding has no room for samples of %d bits", f.BitsAllocated)
	}
	return nil
}

func (rle) Encode(ctx context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	img = img.Interleaved()
	size := img.sampleBytes()
	segments := img.Samples * size
	plane := len(img.Data) / segments
	row := plane / img.Rows
	if img.BitsAllocated == 1 { // rows need not begin with a byte
		row = plane
	}
	// At worst a byte more for each 128 and row, and one of padding for each segment.
	out := make([]byte, rleHeader, rleHeader+len(img.Data)+len(img.Data)/128+segments*(img.Rows+2))
	binary.LittleEndian.PutUint32(out, uint32(segments))
	p := img.Data
	if segments > 1 {
		p = make([]byte, plane)
	}
	for i := range segments {
		if err := ctx.Err(); err != nil {
			return nil, Format{}, err
		}
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		if segments > 1 {
			// Of each sample the most significant byte first.
			takePlane(p, img.Data, i/size*size+size-1-i%size, segments)
		}
		for from := 0; from < plane; from += row { // runs end with a row (PS3.5 §G.3.1)
			out = pack(out, p[from:min(from+row, plane)])
		}
		if len(out)%2 != 0 {
			out = append(out, 0)
		}
	}
	if cap(out) > 2*len(out) { // what was reserved is not kept
		out = bytes.Clone(out)
	}
	return out, img.Format, nil
}

// takePlane copies every stride-th byte of src, beginning at from.
func takePlane(dst, src []byte, from, stride int) {
	i := 0
	if stride == 2 {
		for ; i+8 <= len(dst); i += 8 {
			s := src[2*i : 2*i+16 : 2*i+16]
			a, b := binary.LittleEndian.Uint64(s)>>(8*from), binary.LittleEndian.Uint64(s[8:])>>(8*from)
			binary.LittleEndian.PutUint64(dst[i:], uint64(gather(a))|uint64(gather(b))<<32)
		}
	}
	for j := from + i*stride; i < len(dst); i, j = i+1, j+stride {
		dst[i] = src[j]
	}
}

// pack appends the bytes of a row run-length coded: runs of three and more, up
// to 128, and what is between them as it is.
func pack(out, row []byte) []byte {
	for len(row) > 0 {
		literal := row[:nextRun(row)]
		row = row[len(literal):]
		for len(literal) > 0 {
			n := min(len(literal), 128)
			out = append(out, byte(n-1))
			out = append(out, literal[:n]...)
			literal = literal[n:]
		}
		for run := runLength(row); run > 0; {
			n := min(run, 128)
			out = append(out, byte(257-n), row[0]) // of a single byte 0 and the byte: a literal
			row, run = row[n:], run-n
		}
	}
	return out
}

// nextRun returns where the next three equal bytes begin, or the length.
func nextRun(row []byte) int {
	i := 0
	for ; i+10 <= len(row); i += 8 {
		a, b, c := binary.LittleEndian.Uint64(row[i:]), binary.LittleEndian.Uint64(row[i+1:]), binary.LittleEndian.Uint64(row[i+2:])
		x := (a ^ b) | (b ^ c)
		// The lowest byte of x that is 0 is found exactly; higher ones may not be.
		if zero := (x - 0x0101010101010101) &^ x & 0x8080808080808080; zero != 0 {
			return i + bits.TrailingZeros64(zero)/8
		}
	}
	for ; i+3 <= len(row); i++ {
		if row[i] == row[i+1] && row[i] == row[i+2] {
			return i
		}
	}
	return len(row)
}

// runLength returns how many bytes at the beginning are the same.
func runLength(row []byte) int {
	if len(row) == 0 {
		return 0
	}
	i, w := 1, uint64(row[0])*0x0101010101010101
	for ; i+8 <= len(row); i += 8 {
		if x := binary.LittleEndian.Uint64(row[i:]) ^ w; x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < len(row) && row[i] == row[0] {
		i++
	}
	return i
}
