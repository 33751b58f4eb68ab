package render

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
)

// The attributes of the pipeline (PS3.6), in the order of their tags.
const (
	sopClassUID            dicom.Tag = 0x00080016
	studyDate              dicom.Tag = 0x00080020
	modality               dicom.Tag = 0x00080060
	seriesDescription      dicom.Tag = 0x0008103E
	recommendedFrameRate   dicom.Tag = 0x00082144
	pixelPresentation      dicom.Tag = 0x00089205
	patientName            dicom.Tag = 0x00100010
	patientID              dicom.Tag = 0x00100020
	patientBirthDate       dicom.Tag = 0x00100030
	patientSex             dicom.Tag = 0x00100040
	sliceThickness         dicom.Tag = 0x00180050
	kvp                    dicom.Tag = 0x00180060
	cineRate               dicom.Tag = 0x00180040
	frameTime              dicom.Tag = 0x00181063
	frameTimeVector        dicom.Tag = 0x00181065
	exposureTime           dicom.Tag = 0x00181150
	tubeCurrent            dicom.Tag = 0x00181151
	exposure               dicom.Tag = 0x00181152
	imagerPixelSpacing     dicom.Tag = 0x00181164
	nominalPixelSpacing    dicom.Tag = 0x00182010
	seriesNumber           dicom.Tag = 0x00200011
	instanceNumber         dicom.Tag = 0x00200013
	sliceLocation          dicom.Tag = 0x00201041
	pixelSpacing           dicom.Tag = 0x00280030
	pixelAspectRatio       dicom.Tag = 0x00280034
	pixelPaddingValue      dicom.Tag = 0x00280120
	pixelPaddingLimit      dicom.Tag = 0x00280121
	floatPaddingValue      dicom.Tag = 0x00280122
	doublePaddingValue     dicom.Tag = 0x00280123
	floatPaddingLimit      dicom.Tag = 0x00280124
	doublePaddingLimit     dicom.Tag = 0x00280125
	pixelIntensityRelation dicom.Tag = 0x00281040
	windowCenter           dicom.Tag = 0x00281050
	windowWidth            dicom.Tag = 0x00281051
	rescaleIntercept       dicom.Tag = 0x00281052
	rescaleSlope           dicom.Tag = 0x00281053
	voiLUTFunction         dicom.Tag = 0x00281056
	redDescriptor          dicom.Tag = 0x00281101
	redData                dicom.Tag = 0x00281201
	segmentedRedData       dicom.Tag = 0x00281221
	iccProfile             dicom.Tag = 0x00282000
	modalityLUTSequence    dicom.Tag = 0x00283000
	lutDescriptor          dicom.Tag = 0x00283002
	lutData                dicom.Tag = 0x00283006
	voiLUTSequence         dicom.Tag = 0x00283010
	pixelMeasures          dicom.Tag = 0x00289110
	frameVOILUT            dicom.Tag = 0x00289132
	pixelTransformation    dicom.Tag = 0x00289145
	opticalPath            dicom.Tag = 0x00480105
	segmentationType       dicom.Tag = 0x00620001
	maximumFractional      dicom.Tag = 0x0062000E
	presentationLUTShape   dicom.Tag = 0x20500020
	doseGridScaling        dicom.Tag = 0x3004000E
	sharedGroups           dicom.Tag = 0x52009229
	perFrameGroups         dicom.Tag = 0x52009230
	overlayRows            dicom.Tag = 0x60000010
	overlayColumns         dicom.Tag = 0x60000011
	overlayFrames          dicom.Tag = 0x60000015
	overlayType            dicom.Tag = 0x60000040
	overlayOrigin          dicom.Tag = 0x60000050
	overlayFrameOrigin     dicom.Tag = 0x60000051
	overlayBitsAllocated   dicom.Tag = 0x60000100
	overlayBitPosition     dicom.Tag = 0x60000102
	overlayData            dicom.Tag = 0x60003000
)

// group returns the item of a functional group for frame n, counted from 1: the
// frame's own, or the shared one (PS3.3 §C.7.6.16.1.1), or nil.
func (x *Renderer) group(n int, sequence dicom.Tag) *dicom.Dataset {
	if e := x.data.Lookup(perFrameGroups); e != nil && n >= 1 && n <= len(e.Items) {
		if g := item(e.Items[n-1], sequence); g != nil {
			return g
		}
	}
	return item(item(x.data, sharedGroups), sequence)
}

// with returns the data set that has one of the attributes for frame n: the
// item of the functional group, or the instance's.
func (x *Renderer) with(n int, sequence dicom.Tag, tags ...dicom.Tag) *dicom.Dataset {
	if g := x.group(n, sequence); g != nil {
		for _, t := range tags {
			if g.Lookup(t) != nil {
				return g
			}
		}
	}
	return x.data
}

// item returns the first item of a sequence, or nil.
func item(d *dicom.Dataset, sequence dicom.Tag) *dicom.Dataset {
	if e := d.Lookup(sequence); e != nil && len(e.Items) > 0 {
		return e.Items[0]
	}
	return nil
}

// text returns the first value of an attribute, in capitals as codes are written.
func text(d *dicom.Dataset, t dicom.Tag) string {
	s, _ := d.Text(t)
	s, _, _ = strings.Cut(s, `\`)
	return strings.ToUpper(strings.TrimSpace(s))
}

// value returns value i of an attribute, counted from 0, as a finite number.
func value(d *dicom.Dataset, t dicom.Tag, i int) (float64, bool) {
	s, ok := d.Text(t)
	if !ok {
		return 0, false
	}
	for ; i > 0; i-- {
		if _, s, ok = strings.Cut(s, `\`); !ok {
			return 0, false
		}
	}
	s, _, _ = strings.Cut(s, `\`)
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return v, err == nil && finite(v)
}

// whole returns the first value of an attribute as a whole number within
// ±2^31, or or.
func whole(d *dicom.Dataset, t dicom.Tag, or int) int {
	v, ok := value(d, t, 0)
	if !ok || v != math.Trunc(v) || math.Abs(v) > 1<<31 {
		return or
	}
	return int(v)
}

// maxValue is the largest value that is read for the pipeline, in bytes: more
// than the overlays of an animation have.
const maxValue = 64 << 20

// bytes returns the encoded value of an element: as held, or read; nil when there is none.
func (x *Renderer) bytes(ctx context.Context, e *dicom.Element) ([]byte, error) {
	switch {
	case e == nil || e.Length > maxValue:
		return nil, nil
	case e.Value != nil:
		return e.Value, nil
	case x.value == nil || e.Length <= 0 || e.Items != nil || e.Fragments != nil:
		return nil, nil
	}
	return x.value(ctx, e)
}

// words returns the value as 16-bit numbers.
func words(b []byte, order binary.ByteOrder) []uint16 {
	if order == nil {
		order = binary.LittleEndian
	}
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = order.Uint16(b[2*i:])
	}
	return out
}

// octets returns the bytes of a value of 8-bit entries, which a big endian OW
// has in exchanged pairs (PS3.5 §8.1.1).
func octets(b []byte, vr dicom.VR, order binary.ByteOrder) []byte {
	if order != binary.ByteOrder(binary.BigEndian) || vr == dicom.OB || vr == dicom.UN {
		return b
	}
	out := make([]byte, len(b))
	copy(out, b)
	dicom.Swap(out[:len(out)&^1], 2)
	return out
}
