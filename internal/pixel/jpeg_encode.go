package pixel

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"

	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

func (c jpegFamily) Encodes(f Format) error {
	switch {
	case c.lossless:
		return codable(f)
	case f.BitsAllocated != 8 || f.BitsStored != 8 || f.Signed:
		return refuse("JPEG baseline has room for unsigned samples of 8 bits, not for those of %d; ask for a lossless transfer syntax", f.BitsStored)
	case f.Samples == 1 && (f.Photometric == Monochrome1 || f.Photometric == Monochrome2):
		return nil
	case f.Samples == 3 && (f.Photometric == RGB || f.Photometric == YBRFull):
		return nil
	}
	return refuse("JPEG baseline would spoil colours other than RGB and YBR_FULL; ask for a lossless transfer syntax")
}

func (c jpegFamily) Encode(ctx context.Context, img Image, o EncodeOptions) ([]byte, Format, error) {
	img = img.Interleaved()
	if c.lossless {
		bits, err := encodeLossless(ctx, img, max(depth(img), 2)) // of 2 bits at the least (ISO/IEC 10918-1 Table B.2)
		return bits, img.Format, err
	}
	quality := o.Quality
	if quality == 0 {
		quality = 90
	}
	f := img.Format
	if f.Samples == 3 {
		f.Photometric = YBRFull422
		bits, err := encode422(img, quality)
		return bits, f, err
	}
	bits, err := encodeGrey(img.Data, img.Columns, img.Rows, quality)
	return bits, f, err
}

func encodeGrey(pix []byte, columns, rows, quality int) ([]byte, error) {
	var out bytes.Buffer
	m := &image.Gray{Pix: pix, Stride: columns, Rect: image.Rect(0, 0, columns, rows)}
	err := jpeg.Encode(&out, m, &jpeg.Options{Quality: quality})
	return out.Bytes(), err
}

// sandboxed decodes what image/jpeg does not: more than 8 bits, lossless,
// arithmetic coding and unusual sampling.
func (c jpegFamily) sandboxed(ctx context.Context, f Format, h *jpegHeader, bits []byte) (Image, error) {
	if !h.complete(bits) {
		return Image{}, errShort
	}
	img, err := decodeJob(ctx, c.pool, sandbox.DecodeJPEG, f, h.precision, false, bits)
	if err == nil && h.sof != markSOF3 {
		img.Photometric = h.photometric(f.Photometric)
	}
	return img, err
}
