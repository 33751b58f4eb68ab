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
	at, from := 0, 0
	for at < len(dst) {
		if len(src)-from < 2 {
			return false
		}
		c := int(src[from])
		switch d := dst[at:]; {
		case c < 128:
			s := src[from+1:]
			n := c + 1
			if n <= 16 && len(s) >= 16 && len(d) >= 16 { // more than needed, faster than as much as needed
				binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(s))
				binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(s[8:]))
			} else if n = min(n, len(d)); n > len(s) {
				return false
			} else {
				copy(d, s[:n])
			}
			at, from = at+n, from+c+2
		case c > 128:
			n := 257 - c
			w := uint64(src[from+1]) * 0x0101010101010101
			if n <= 16 && len(d) >= 16 {
				binary.LittleEndian.PutUint64(d, w)
				binary.LittleEndian.PutUint64(d[8:], w)
			} else {
				n = min(n, len(d))
				fill(d[:n], w)
			}
			at, from = at+n, from+2
		default:
			from++
		}
	}
	return true
}

// fill sets all of at most 128 bytes to those of the word, which are the same.
func fill(dst []byte, w uint64) {
	if len(dst) < 8 {
		for i := range dst {
			dst[i] = byte(w)
		}
		return
	}
	for d := dst; len(d) >= 8; d = d[8:] {
		binary.LittleEndian.PutUint64(d, w)
	}
	binary.LittleEndian.PutUint64(dst[len(dst)-8:], w)
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
