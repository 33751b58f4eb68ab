package pixel

import (
	"context"

	"github.com/strata-pacs/strata/internal/fault"
)

// native is Pixel Data that is not compressed (PS3.5 §8.1.1, §A.4.11).
type native struct{}

func (native) Decode(_ context.Context, f Format, bits []byte) (Image, error) {
	n, err := f.FrameBytes()
	switch {
	case err != nil:
		return Image{}, err
	case int64(len(bits)) >= n: // as it is, and with chrominance of every pixel whatever the name says
		f.Photometric = upsampled(f.Photometric)
		return Image{Format: f, Data: bits[:n:n]}, nil
	case f.Photometric == YBRPartial420:
		return Image{}, refuse("their chrominance is subsampled both ways, for which there is no uncompressed form")
	case f.Photometric != YBRFull422 && f.Photometric != YBRPartial422 || int64(len(bits)) < n/3*2:
		return Image{}, errShort
	case f.Samples != 3 || f.BitsAllocated != 8 && f.BitsAllocated != 16 || f.pixels()%2 != 0:
		return Image{}, refuse("their chrominance is subsampled in a way that is not defined")
	}
	return upsample422(f, bits[:n/3*2], make([]byte, n)), nil
}

// upsampled returns the Photometric Interpretation of a frame that has
// chrominance for every pixel and no transform of its own.
func upsampled(p Photometric) Photometric {
	switch p {
	case YBRFull422, YBRPartial420, YBRPartial422:
		return YBRFull
	case YBRICT, YBRRCT:
		return RGB
	}
	return p
}

// upsample422 gives the two pixels of a pair the chrominance they share: Y1 Y2
// CB CR becomes Y1 CB CR Y2 CB CR (PS3.3 §C.7.6.3.1.2).
func upsample422(f Format, src, dst []byte) Image {
	size := f.sampleBytes()
	for s, d := src, dst; len(s) >= 4*size && len(d) >= 6*size; s, d = s[4*size:], d[6*size:] {
		if size == 1 {
			y1, y2, cb, cr := s[0], s[1], s[2], s[3]
			d[0], d[1], d[2], d[3], d[4], d[5] = y1, cb, cr, y2, cb, cr
			continue
		}
		copy(d[0:2], s[0:2])
		copy(d[2:6], s[4:8])
		copy(d[6:8], s[2:4])
		copy(d[8:12], s[4:8])
	}
	f.Planar = false
	if f.Photometric == YBRPartial422 {
		fullRange(f, dst)
	}
	f.Photometric = YBRFull
	return Image{Format: f, Data: dst}
}

// fullRange stretches samples of the range of video (luminance 16 to 235,
// chrominance 16 to 240 of 255) to the full one: no Photometric Interpretation
// has the former and chrominance for every pixel.
func fullRange(f Format, data []byte) {
	if f.BitsAllocated != 8 {
		return
	}
	var luma, chroma [256]byte
	for i := range 256 {
		luma[i] = clamp8(((i-16)*255*2 + 219) / (2 * 219))
		chroma[i] = clamp8(((i-16)*255*2 + 224) / (2 * 224))
	}
	for i := 0; i+2 < len(data); i += 3 {
		data[i], data[i+1], data[i+2] = luma[data[i]], chroma[data[i+1]], chroma[data[i+2]]
	}
}

func clamp8(v int) byte { return byte(min(max(v, 0), 255)) }

func (native) Encodes(Format) error { return nil }

func (native) Encode(_ context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	return img.Data, img.Format, nil
}

var errShort = fault.New(fault.NotAcceptable, "a frame of this image is cut short or damaged; retrieve it as it is stored")
