package pixel

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// jpegFamily is every process of ISO/IEC 10918-1: which one a frame uses, its
// stream tells more reliably than the transfer syntax. Sequential DCT of 8 bits
// and the usual lossless streams are decoded in Go, all else in the sandbox.
type jpegFamily struct {
	pool     *sandbox.Pool
	lossless bool // what Encode makes: lossless SV1 or baseline
}

func (c jpegFamily) Decode(ctx context.Context, f Format, bits []byte) (Image, error) {
	h, err := readJPEG(bits)
	if err != nil {
		return Image{}, err
	}
	if err := h.check(f); err != nil {
		return Image{}, err
	}
	switch {
	case h.sof == markSOF55:
		return jpegLS{c.pool}.Decode(ctx, f, bits)
	case h.losslessScan():
		return decodeLossless(ctx, f, &h, bits)
	case h.precision == 8 && h.sof <= markSOF1: // progressive ones take too much memory here
		img, err := decodeDCT8(f, &h, bits)
		if u := jpeg.UnsupportedError(""); !errors.As(err, &u) {
			return img, err
		}
	}
	return c.sandboxed(ctx, f, &h, bits)
}

// decodeDCT8 decodes an 8-bit DCT stream. The error is a jpeg.UnsupportedError
// when the stream may be good all the same.
func decodeDCT8(f Format, h *jpegHeader, bits []byte) (Image, error) {
	if len(bits)*256 < f.pixels() { // two bits at the least for 64 pixels
		return Image{}, errShort
	}
	if h.end == 0 { // the decoder needs it, and complains when it comes before the last block
		bits = append(bits[:len(bits):len(bits)], 0xFF, markEOI)
	} else {
		bits = bits[:h.end]
	}
	m, err := jpeg.Decode(bytes.NewReader(bits))
	if u := jpeg.UnsupportedError(""); errors.As(err, &u) {
		return Image{}, err
	} else if err != nil {
		return Image{}, errShort
	}
	if b := m.Bounds(); b.Dx() != f.Columns || b.Dy() != f.Rows {
		return Image{}, errShort
	}
	n := f.pixels() * f.Samples
	data := make([]byte, n)
	switch m := m.(type) {
	case *image.Gray:
		for y := range f.Rows {
			copy(data[y*f.Columns:][:f.Columns], m.Pix[y*m.Stride:])
		}
	case *image.YCbCr:
		joinYCbCr(data, m)
	case *image.RGBA:
		for y := range f.Rows {
			d := data[3*y*f.Columns:][:3*f.Columns]
			s := m.Pix[y*m.Stride:][:4*f.Columns]
			for ; len(d) > 0; d, s = d[3:], s[4:] {
				d[0], d[1], d[2] = s[0], s[1], s[2]
			}
		}
	default:
		return Image{}, jpeg.UnsupportedError("kind of image")
	}
	f.Planar, f.Photometric = false, h.photometric(f.Photometric)
	return settle(Image{Format: f, Data: data}, 8, false), nil
}

// joinYCbCr writes the samples of m side by side, chrominance interpolated as
// the Independent JPEG Group's decoder does, which everyone compares with.
func joinYCbCr(dst []byte, m *image.YCbCr) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	row := [2][]byte{make([]byte, w+2), make([]byte, w+2)}
	for y := range h {
		upsampleRow(row[0], m, m.Cb, y, w, h)
		upsampleRow(row[1], m, m.Cr, y, w, h)
		luma, cb, cr, d := m.Y[y*m.YStride:][:w], row[0][:w], row[1][:w], dst[3*w*y:][:3*w]
		for x := range luma {
			t := d[3*x : 3*x+3 : 3*x+3]
			t[0], t[1], t[2] = luma[x], cb[x], cr[x]
		}
	}
}

// upsampleRow writes line y of a plane of chrominance at full resolution.
func upsampleRow(dst []byte, m *image.YCbCr, plane []byte, y, w, h int) {
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio444:
		copy(dst[:w], plane[y*m.CStride:])
	case image.YCbCrSubsampleRatio422:
		c := plane[y*m.CStride:][:(w+1)/2]
		if len(c) <= 2 {
			replicate(dst[:w], c, 2)
			return
		}
		last := len(c) - 1
		dst[0], dst[1] = c[0], byte((int(c[0])*3+int(c[1])+2)>>2)
		for i := 1; i < last; i++ {
			v := int(c[i]) * 3
			dst[2*i], dst[2*i+1] = byte((v+int(c[i-1])+1)>>2), byte((v+int(c[i+1])+2)>>2)
		}
		dst[2*last], dst[2*last+1] = byte((int(c[last])*3+int(c[last-1])+1)>>2), c[last]
	case image.YCbCrSubsampleRatio420:
		cw, ch := (w+1)/2, (h+1)/2
		near := plane[y/2*m.CStride:][:cw]
		if cw <= 2 {
			replicate(dst[:w], near, 2)
			return
		}
		other := min(max(y/2-1+y%2*2, 0), ch-1)
		far := plane[other*m.CStride:][:cw]
		this, next, prev := int(near[0])*3+int(far[0]), int(near[1])*3+int(far[1]), 0
		dst[0], dst[1] = byte((this*4+8)>>4), byte((this*3+next+7)>>4)
		for i := 1; i < cw-1; i++ {
			prev, this, next = this, next, int(near[i+1])*3+int(far[i+1])
			dst[2*i], dst[2*i+1] = byte((this*3+prev+8)>>4), byte((this*3+next+7)>>4)
		}
		prev, this = this, next
		dst[2*cw-2], dst[2*cw-1] = byte((this*3+prev+8)>>4), byte((this*4+7)>>4)
	case image.YCbCrSubsampleRatio440:
		copy(dst[:w], plane[y/2*m.CStride:])
	case image.YCbCrSubsampleRatio411:
		replicate(dst[:w], plane[y*m.CStride:], 4)
	case image.YCbCrSubsampleRatio410:
		replicate(dst[:w], plane[y/2*m.CStride:], 4)
	}
}

// replicate writes every byte of src so many times.
func replicate(dst, src []byte, times int) {
	for x := range dst {
		dst[x] = src[x/times]
	}
}
