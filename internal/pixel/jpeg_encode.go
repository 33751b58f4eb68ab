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
	var out bytes.Buffer
	f, m := img.Format, image.Image(&image.Gray{Pix: img.Data, Stride: img.Columns, Rect: image.Rect(0, 0, img.Columns, img.Rows)})
	if img.Samples == 3 {
		// Chrominance is subsampled both ways, which has no name of its own and
		// goes by this one (PS3.5 §8.2.1).
		f.Photometric = YBRFull422
		m = ybrPlanes(img)
	}
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: quality}); err != nil {
		return nil, Format{}, err
	}
	return out.Bytes(), f, nil
}

// ybrPlanes returns an interleaved image of RGB or YBR_FULL as planes.
func ybrPlanes(img Image) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, img.Columns, img.Rows), image.YCbCrSubsampleRatio444)
	d := img.Data
	for i := range m.Y {
		p := d[3*i : 3*i+3 : 3*i+3]
		m.Y[i], m.Cb[i], m.Cr[i] = p[0], p[1], p[2]
	}
	if img.Photometric == RGB {
		fromRGB(m.Y, m.Cb, m.Cr)
	}
	return m
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
