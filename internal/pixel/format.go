package pixel

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// MaxFrameBytes is the most bytes that one decoded frame may have: those of an
// image of a hundred megapixels of 16 bits.
const MaxFrameBytes = 192 << 20

// MaxEncodedBytes is the most bytes of a frame that is encoded by more than
// run lengths or deflate: with the stream, and the frame decoded again to
// compare, one such request stays within 256 MiB and a few seconds.
const MaxEncodedBytes = 64 << 20

// Photometric is a Photometric Interpretation (PS3.3 §C.7.6.3.1.2).
type Photometric string

// The Photometric Interpretations that are not retired, and YBR_PARTIAL_422,
// which is.
const (
	Monochrome1   Photometric = "MONOCHROME1"
	Monochrome2   Photometric = "MONOCHROME2"
	PaletteColor  Photometric = "PALETTE COLOR"
	RGB           Photometric = "RGB"
	YBRFull       Photometric = "YBR_FULL"
	YBRFull422    Photometric = "YBR_FULL_422"
	YBRPartial422 Photometric = "YBR_PARTIAL_422"
	YBRPartial420 Photometric = "YBR_PARTIAL_420"
	YBRICT        Photometric = "YBR_ICT"
	YBRRCT        Photometric = "YBR_RCT"
)

// IsYBR reports whether samples are luminance and two of chrominance.
func (p Photometric) IsYBR() bool { return strings.HasPrefix(string(p), "YBR_") }

// Format describes the pixels of a frame as the attributes of the Image Pixel
// module do (PS3.3 §C.7.6.3).
type Format struct {
	Rows, Columns int // 1 to 65535
	Samples       int // Samples per Pixel: 1, 3 or, retired, 4
	BitsAllocated int // of a sample: 1, 8, 16, 32 or 64
	BitsStored    int // 1 to BitsAllocated
	HighBit       int // BitsStored-1 to BitsAllocated-1
	Signed        bool
	Float         bool // IEEE 754 numbers of 32 or 64 bits (PS3.3 §C.7.6.24, §C.7.6.25)
	Planar        bool // R1 R2 … G1 G2 … B1 B2 … instead of R1 G1 B1 R2 …
	Photometric   Photometric
}

// The attributes of the Image Pixel module.
const (
	samplesPerPixel     dicom.Tag = 0x00280002
	photometricTag      dicom.Tag = 0x00280004
	planarConfiguration dicom.Tag = 0x00280006
	rowsTag             dicom.Tag = 0x00280010
	columnsTag          dicom.Tag = 0x00280011
	bitsAllocatedTag    dicom.Tag = 0x00280100
	bitsStoredTag       dicom.Tag = 0x00280101
	highBitTag          dicom.Tag = 0x00280102
	pixelRepresentation dicom.Tag = 0x00280103
	floatPixelData      dicom.Tag = 0x7FE00008
	doublePixelData     dicom.Tag = 0x7FE00009
)

// FormatOf returns the format of the frames in the attribute of the tag: Pixel
// Data, Float Pixel Data or Double Float Pixel Data. What a data set may leave
// out follows from the rest. The error is fault.NotAcceptable when attributes
// are missing or contradict each other.
func FormatOf(d *dicom.Dataset, pixelTag dicom.Tag) (Format, error) {
	f := Format{
		Rows:          number(d, rowsTag, 0),
		Columns:       number(d, columnsTag, 0),
		BitsAllocated: number(d, bitsAllocatedTag, 0),
		Signed:        number(d, pixelRepresentation, 0) == 1,
		Planar:        number(d, planarConfiguration, 0) == 1,
	}
	f.Photometric = photometric(d)
	f.Samples = number(d, samplesPerPixel, implied(f.Photometric))
	if f.Photometric == "" {
		f.Photometric = Monochrome2
		if f.Samples == 3 {
			f.Photometric = RGB
		}
	}
	switch pixelTag {
	case floatPixelData:
		f.Float, f.Signed, f.BitsAllocated = true, true, 32
	case doublePixelData:
		f.Float, f.Signed, f.BitsAllocated = true, true, 64
	}
	f.BitsStored, f.HighBit = f.BitsAllocated, f.BitsAllocated-1
	if !f.Float {
		f.BitsStored = number(d, bitsStoredTag, f.BitsAllocated)
		f.HighBit = number(d, highBitTag, f.BitsStored-1)
	}
	if f.Samples == 1 {
		f.Planar = false
	}
	return f, f.Validate()
}

// photometric returns the Photometric Interpretation as it should have been
// written; YBR_PARTIAL_422 is retired but kept.
func photometric(d *dicom.Dataset) Photometric {
	s, _ := d.Text(photometricTag)
	s, _, _ = strings.Cut(s, `\`)
	return Photometric(strings.ToUpper(strings.TrimSpace(s)))
}

func implied(p Photometric) int {
	if p == RGB || p.IsYBR() {
		return 3
	}
	return 1
}

// number returns the first value of an attribute of VR US, or or when there is none.
func number(d *dicom.Dataset, t dicom.Tag, or int) int {
	s, ok := d.Text(t)
	if !ok {
		return or
	}
	s, _, _ = strings.Cut(s, `\`)
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil {
		return or
	}
	return int(n)
}

// Validate reports, as fault.NotAcceptable, what of the format contradicts
// itself or is nothing that anyone can decode.
func (f Format) Validate() error {
	switch {
	case f.Rows < 1 || f.Columns < 1 || f.Rows > 65535 || f.Columns > 65535:
		return refuse("Rows (0028,0010) and Columns (0028,0011) do not tell the size of its image")
	case f.Samples != 1 && f.Samples != 3 && f.Samples != 4:
		return refuse("Samples per Pixel (0028,0002) is %d, which is not defined", f.Samples)
	case f.BitsAllocated == 0:
		return refuse("Bits Allocated (0028,0100) is missing")
	case f.BitsAllocated != 1 && f.BitsAllocated != 8 && f.BitsAllocated != 16 && f.BitsAllocated != 32 && f.BitsAllocated != 64:
		return refuse("Bits Allocated (0028,0100) is %d; 1, 8, 16, 32 and 64 can be read", f.BitsAllocated)
	case f.Float && f.BitsAllocated < 32:
		return refuse("its floating-point samples have neither 32 nor 64 bits")
	case f.BitsStored < 1 || f.BitsStored > f.BitsAllocated:
		return refuse("Bits Stored (0028,0101) is %d with %d bits allocated", f.BitsStored, f.BitsAllocated)
	case f.HighBit < f.BitsStored-1 || f.HighBit >= f.BitsAllocated:
		return refuse("High Bit (0028,0102) is %d with %d bits stored", f.HighBit, f.BitsStored)
	}
	return nil
}

// FrameBytes returns the bytes of one frame as [Codecs.Decode] returns it, all
// samples of all pixels; samples of one bit are packed, the frame rounded up to
// a byte. The error is fault.NotAcceptable past MaxFrameBytes.
func (f Format) FrameBytes() (int64, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	// At most 2^16 · 2^16 · 2^2 · 2^6 after Validate, but this is not the place to rely on it.
	n := uint64(f.Rows)
	for _, v := range [...]int{f.Columns, f.Samples, f.BitsAllocated} {
		hi, lo := bits.Mul64(n, uint64(v))
		if hi != 0 || lo > 1<<60 {
			return 0, errLarge
		}
		n = lo
	}
	if n = (n + 7) / 8; n > MaxFrameBytes {
		return 0, errLarge
	}
	return int64(n), nil
}

// pixels of a frame, which fit after FrameBytes.
func (f Format) pixels() int { return f.Rows * f.Columns }

// sampleBytes returns the bytes of a sample; of one bit 1.
func (f Format) sampleBytes() int { return (f.BitsAllocated + 7) / 8 }

var errLarge = fault.New(fault.NotAcceptable, "a frame of this image has more than %d MiB; retrieve it as it is stored", MaxFrameBytes>>20)

func refuse(why string, args ...any) error {
	return fault.New(fault.NotAcceptable, "the pixels of this image cannot be read: "+why, args...)
}
