package transcode

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

func text(t dicom.Tag, vr dicom.VR, v string) dicom.Element {
	return dicom.Element{Tag: t, VR: vr, Value: []byte(v), Length: int64(len(v))}
}

func number(t dicom.Tag, v uint16) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.US, Value: binary.LittleEndian.AppendUint16(nil, v), Length: 2}
}

func dataset(e ...dicom.Element) *dicom.Dataset {
	return &dicom.Dataset{Order: binary.LittleEndian, Elements: e}
}

// describe writes an edit as text: what is set, then what is removed, but for
// the offset tables, which always are.
func describe(e dicom.Edit) string {
	slices.SortFunc(e.Set, func(a, b dicom.Element) int { return int(a.Tag) - int(b.Tag) })
	var b strings.Builder
	for i := range e.Set {
		fmt.Fprintf(&b, "%s=%s ", e.Set[i].Tag, dataset().TextOf(&e.Set[i]))
	}
	for _, t := range e.Remove {
		if t != extendedOffsets && t != extendedLengths {
			fmt.Fprintf(&b, "-%s ", t)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestChange(t *testing.T) {
	grey := pixel.Format{Rows: 2, Columns: 2, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	greys := []dicom.Element{number(samplesPerPixel, 1), text(photometric, dicom.CS, "MONOCHROME2 "), number(bitsAllocated, 16), number(bitsStored, 12), number(highBit, 11), number(pixelRepresentation, 0)}
	colour := pixel.Format{Rows: 2, Columns: 2, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.RGB}
	colours := func(p string, more ...dicom.Element) []dicom.Element {
		return append([]dicom.Element{number(samplesPerPixel, 3), text(photometric, dicom.CS, p), number(planarConfiguration, 0), number(bitsAllocated, 8), number(bitsStored, 8), number(highBit, 7), number(pixelRepresentation, 0)}, more...)
	}
	rct, signed, planar := colour, grey, colour
	rct.Photometric = pixel.YBRRCT
	signed.Signed = true
	planar.Planar = true
	const ei = dicom.ExplicitVRLittleEndian
	for _, c := range []struct {
		name string
		c    Change
		d    []dicom.Element
		want string
	}{
		{"nothing to say", Change{From: dicom.JPEG2000Lossless, To: ei, Now: grey}, greys, ""},
		{"lossless to lossless", Change{From: dicom.JPEG2000Lossless, To: dicom.JPEGLSLossless, Now: grey, Is: 3}, greys, ""},
		{"what was missing", Change{From: ei, To: dicom.RLELossless, Now: grey}, greys[:2], "00280100=16 00280101=12 00280102=11 00280103=0"},
		{"bits and sign", Change{From: ei, To: dicom.RLELossless, Now: signed}, append(slices.Clone(greys[:3]), number(bitsStored, 16), number(highBit, 15), number(pixelRepresentation, 0)),
			"00280101=12 00280102=11 00280103=1"},
		{"no planes of one sample", Change{From: ei, To: dicom.RLELossless, Now: grey}, append(slices.Clone(greys), number(planarConfiguration, 0)), "-00280006"},
		{"RGB to JPEG 2000", Change{From: ei, To: dicom.JPEG2000Lossless, Now: rct}, colours("RGB "), "00280004=YBR_RCT"},
		{"and back", Change{From: dicom.JPEG2000Lossless, To: ei, Now: colour}, colours("YBR_RCT "), "00280004=RGB"},
		{"planes", Change{From: ei, To: dicom.RLELossless, Now: planar}, colours("RGB "), "00280006=1"},
		{"lossy, and it says so", Change{From: dicom.JPEGBaseline8Bit, To: ei, Now: colour, Was: 8}, colours("YBR_FULL_422", text(lossyCompression, dicom.CS, "01"), text(lossyRatio, dicom.DS, "7.5 "), text(lossyMethod, dicom.CS, "ISO_10918_1 ")), "00280004=RGB"},
		{"lossy, and it does not", Change{From: dicom.JPEGBaseline8Bit, To: ei, Now: colour, Was: 8.456}, colours("RGB "), "00282110=01 00282112=8.46 00282114=ISO_10918_1"},
		{"lossy, and it says otherwise", Change{From: dicom.JPEGExtended12Bit, To: dicom.JPEG2000Lossless, Now: grey, Was: 4}, append(slices.Clone(greys), text(lossyCompression, dicom.CS, "00")), "00282110=01 00282112=4.00 00282114=ISO_10918_1"},
		{"lossy flagged, method elsewhere", Change{From: dicom.JPEGBaseline8Bit, To: ei, Now: colour, Was: 8}, colours("RGB ", text(lossyMethod, dicom.CS, "ISO_10918_1 ")), "00282110=01"},
		{"lossless though it need not be", Change{From: dicom.JPEG2000, To: ei, Now: grey, Was: 2}, append(slices.Clone(greys), text(lossyCompression, dicom.CS, "00")), ""},
		{"JPEG 2000 that does not tell", Change{From: dicom.JPEG2000, To: ei, Now: grey, Was: 20}, greys, "00282110=01 00282112=20.00 00282114=ISO_15444_1"},
		{"near-lossless", Change{From: dicom.JPEGLSNearLossless, To: ei, Now: grey, Was: 6}, greys, "00282110=01 00282112=6.00 00282114=ISO_14495_1"},
		{"HTJ2K", Change{From: dicom.HTJ2K, To: ei, Now: grey, Was: 6}, greys, "00282110=01 00282112=6.00 00282114=ISO_15444_15"},
		{"to JPEG", Change{From: ei, To: dicom.JPEGBaseline8Bit, Now: colour, Is: 12}, colours("RGB "), "00282110=01 00282112=12.00 00282114=ISO_10918_1"},
		{"to JPEG once more", Change{From: dicom.JPEG2000, To: dicom.JPEGBaseline8Bit, Now: colour, Is: 12}, colours("RGB ", text(lossyCompression, dicom.CS, "01"), text(lossyRatio, dicom.DS, "20"), text(lossyMethod, dicom.CS, "ISO_15444_1 ")),
			`00282112=20\12.00 00282114=ISO_15444_1\ISO_10918_1`},
		{"to JPEG from one that does not tell", Change{From: dicom.JPEG2000, To: dicom.JPEGBaseline8Bit, Now: colour, Was: 20, Is: 12}, colours("RGB "),
			`00282110=01 00282112=20.00\12.00 00282114=ISO_15444_1\ISO_10918_1`},
		{"to JPEG, a method short", Change{From: ei, To: dicom.JPEGBaseline8Bit, Now: colour, Is: 12}, colours("RGB ", text(lossyCompression, dicom.CS, "01"), text(lossyRatio, dicom.DS, `20\2 `)),
			`00282112=20\2\12.00 00282114=\\ISO_10918_1`},
		{"to JPEG, a ratio short", Change{From: ei, To: dicom.JPEGBaseline8Bit, Now: colour, Is: 12}, colours("RGB ", text(lossyCompression, dicom.CS, "01"), text(lossyMethod, dicom.CS, "ISO_15444_1 ")),
			`00282112=\12.00 00282114=ISO_15444_1\ISO_10918_1`},
		{"no ratio to tell", Change{From: dicom.JPEGBaseline8Bit, To: ei, Now: colour}, colours("RGB "), "00282110=01 00282112=1 00282114=ISO_10918_1"},
	} {
		d := dataset(c.d...)
		e := c.c.Edit(d)
		if got := describe(e); got != c.want {
			t.Errorf("%s: %q instead of %q", c.name, got, c.want)
		}
		if !slices.Contains(e.Remove, extendedOffsets) || !slices.Contains(e.Remove, extendedLengths) {
			t.Errorf("%s: offset tables stay", c.name)
		}
		for _, s := range e.Set {
			if s.VR == dicom.DS && len(s.Value) > 16*len(strings.Split(string(s.Value), `\`)) {
				t.Errorf("%s: %s is too long", c.name, s.Value)
			}
		}
	}
}

func TestPixelVR(t *testing.T) {
	for _, c := range []struct {
		syntax string
		bits   int
		vr     dicom.VR
		word   int
	}{
		{dicom.ExplicitVRLittleEndian, 8, dicom.OB, 1},
		{dicom.ExplicitVRLittleEndian, 1, dicom.OB, 1},
		{dicom.ExplicitVRLittleEndian, 16, dicom.OW, 2},
		{dicom.DeflatedExplicitVRLittleEndian, 8, dicom.OB, 1},
		{dicom.ImplicitVRLittleEndian, 8, dicom.OW, 1},
		{dicom.ExplicitVRBigEndian, 8, dicom.OB, 1},
		{dicom.ExplicitVRBigEndian, 32, dicom.OW, 4},
		{dicom.RLELossless, 16, dicom.OB, 1},
		{dicom.EncapsulatedUncompressed, 16, dicom.OB, 1},
	} {
		if vr, word := PixelVR(c.syntax, pixel.Format{BitsAllocated: c.bits}); vr != c.vr || word != c.word {
			t.Errorf("%s, %d bits: %s, %d", c.syntax, c.bits, vr, word)
		}
	}
}

// ctx is one that is not cancelled.
var ctx = context.Background()
