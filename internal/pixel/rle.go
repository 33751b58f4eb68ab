package pixel

import (
	"context"
	"encoding/binary"
)

// rle is RLE Lossless (PS3.5 Annex G): the bytes of all samples of a frame,
// sorted into segments by their place in the pixel, each run-length coded.
type rle struct{}

// rleHeader is the length of the table of segments before the first.
const (
	rleHeader   = 64
	rleSegments = 15
)

func (rle) Decode(ctx context.Context, f Format, bits []byte) (Image, error) {
	n, err := f.FrameBytes()
	if err != nil {
		return Image{}, err
	}
	size := f.sampleBytes()
	segments, err := rleTable(bits, f.Samples*size)
	if err != nil {
		return Image{}, err
	}
	if int64(len(bits))*64 < n { // two bytes make at most 128
		return Image{}, errShort
	}
	f.Planar, f.Photometric = false, upsampled(f.Photometric)
	img := Image{Format: f, Data: make([]byte, n)}
	if len(segments) == 1 {
		if !unpack(img.Data, segments[0]) {
			return Image{}, errShort
		}
		return img, nil
	}
	plane := len(img.Data) / len(segments)
	planes := make([]byte, len(img.Data))
	for i, s := range segments {
		if err := ctx.Err(); err != nil {
			return Image{}, err
		}
		if !unpack(planes[i*plane:(i+1)*plane], s) {
			return Image{}, errShort
		}
	}
	joinPlanes(img.Data, planes, f.Samples, size)
	return img, nil
}

// rleTable returns the segments that the header tells of, of which there must
// be want.
func rleTable(bits []byte, want int) ([][]byte, error) {
	if len(bits) < rleHeader {
		return nil, errShort
	}
	n := binary.LittleEndian.Uint32(bits)
	if n == 0 || n > rleSegments {
		return nil, refuse("a frame is not run-length coded as its header says")
	}
	if int(n) != want {
		return nil, refuse("a frame has %d segments where its samples need %d", n, want)
	}
	segments := make([][]byte, n)
	for i := range segments {
		from, to := binary.LittleEndian.Uint32(bits[4+4*i:]), uint32(min(len(bits), 1<<32-1))
		if i+1 < len(segments) {
			to = binary.LittleEndian.Uint32(bits[8+4*i:])
		}
		if from < rleHeader || from > to || int64(to) > int64(len(bits)) {
			return nil, errShort
		}
		segments[i] = bits[from:to]
	}
	return segments, nil
}

// unpack fills dst from the coded bytes of a segment and reports whether there
// were enough. What a segment has beyond that is padding.
func unpack(dst, src []byte) bool {
	for len(dst) > 0 {
		if len(src) < 2 {
			return false
		}
		switch c := src[0]; {
		case c < 128:
			n := min(int(c)+1, len(dst))
			if len(src) <= n {
				return false
			}
			copy(dst[:n], src[1:])
			dst, src = dst[n:], src[min(int(c)+2, len(src)):]
		case c > 128:
			n := min(257-int(c), len(dst))
			fill(dst[:n], src[1])
			dst, src = dst[n:], src[2:]
		default:
			src = src[1:]
		}
	}
	return true
}

// fill sets all of at most 128 bytes.
func fill(dst []byte, b byte) {
	if len(dst) >= 8 {
		w := uint64(b) * 0x0101010101010101
		i := 0
		for ; i+8 <= len(dst); i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], w)
		}
		binary.LittleEndian.PutUint64(dst[len(dst)-8:], w)
		return
	}
	for i := range dst {
		dst[i] = b
	}
}

// joinPlanes makes interleaved samples of planes of bytes, of each sample the
// most significant first.
func joinPlanes(dst, planes []byte, samples, size int) {
	n := len(planes) / (samples * size)
	if samples == 1 && size == 2 {
		interleave2(dst, planes[n:], planes[:n])
		return
	}
	if samples == 3 && size == 1 {
		r, g, b := planes[:n], planes[n:2*n], planes[2*n:3*n]
		for i := range r {
			d := dst[3*i : 3*i+3 : 3*i+3]
			d[0], d[1], d[2] = r[i], g[i], b[i]
		}
		return
	}
	stride := samples * size
	for s := range samples {
		for k := range size {
			p := planes[(s*size+k)*n:][:n]
			at := s*size + size - 1 - k
			for i, j := 0, at; i < len(p); i, j = i+1, j+stride {
				dst[j] = p[i]
			}
		}
	}
}

// interleave2 writes lo[0] hi[0] lo[1] hi[1] …
func interleave2(dst, lo, hi []byte) {
	i := 0
	for ; i+8 <= len(hi); i += 8 {
		l, h := binary.LittleEndian.Uint64(lo[i:]), binary.LittleEndian.Uint64(hi[i:])
		d := dst[2*i : 2*i+16 : 2*i+16]
		binary.LittleEndian.PutUint64(d, spread(uint32(l))|spread(uint32(h))<<8)
		binary.LittleEndian.PutUint64(d[8:], spread(uint32(l>>32))|spread(uint32(h>>32))<<8)
	}
	for ; i < len(hi); i++ {
		dst[2*i], dst[2*i+1] = lo[i], hi[i]
	}
}

// spread puts the bytes of v into every other byte.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000FFFF0000FFFF
	return (x | x<<8) & 0x00FF00FF00FF00FF
}

// gather undoes spread, of the even bytes of x.
func gather(x uint64) uint32 {
	x &= 0x00FF00FF00FF00FF
	x = (x | x>>8) & 0x0000FFFF0000FFFF
	return uint32(x | x>>16)
}
