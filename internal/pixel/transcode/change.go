package transcode

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// The attributes that a transcoding may change (PS3.3 §C.7.6.3, §C.7.6.1.1.5),
// and those that are of encapsulated pixel data alone (PS3.5 §A.4).
const (
	samplesPerPixel     dicom.Tag = 0x00280002
	photometric         dicom.Tag = 0x00280004
	numberOfFrames      dicom.Tag = 0x00280008
	planarConfiguration dicom.Tag = 0x00280006
	bitsAllocated       dicom.Tag = 0x00280100
	bitsStored          dicom.Tag = 0x00280101
	highBit             dicom.Tag = 0x00280102
	pixelRepresentation dicom.Tag = 0x00280103
	lossyCompression    dicom.Tag = 0x00282110
	lossyRatio          dicom.Tag = 0x00282112
	lossyMethod         dicom.Tag = 0x00282114
	extendedOffsets     dicom.Tag = 0x7FE00001
	extendedLengths     dicom.Tag = 0x7FE00002
	pixelData           dicom.Tag = 0x7FE00010
	iconImage           dicom.Tag = 0x00880200
)

// Change is a transcoding of pixel data as its data set has to tell it.
type Change struct {
	From, To string       // transfer syntaxes
	Now      pixel.Format // of the frames written
	// Was is the compression ratio of the frames stored, Is that of those
	// written: bytes of native pixels to one that is coded. They are told of
	// what was compressed with loss, approximately, as PS3.3 §C.7.6.1.1.5.2 has it.
	Was, Is float64
}

// Edit returns what changes in the data set: what describes the pixels is what
// it has to be, and an image that lost something once goes on saying so.
// Attributes that are right stay as they are; minima, maxima and padding of
// pixel values keep theirs, for pixel values do.
func (c Change) Edit(d *dicom.Dataset) dicom.Edit {
	e := editor{d: d, edit: c.describe(d)}
	c.lossy(&e)
	e.edit.Remove = append(e.edit.Remove, extendedOffsets, extendedLengths)
	return e.edit
}

// describe corrects what describes the pixels themselves.
func (c Change) describe(d *dicom.Dataset) dicom.Edit {
	e := editor{d: d}
	f := c.Now
	e.number(samplesPerPixel, f.Samples)
	e.text(photometric, dicom.CS, string(f.Photometric))
	if f.Samples > 1 {
		e.number(planarConfiguration, flag(f.Planar))
	} else if d.Lookup(planarConfiguration) != nil {
		e.edit.Remove = append(e.edit.Remove, planarConfiguration)
	}
	e.number(bitsAllocated, f.BitsAllocated)
	e.number(bitsStored, f.BitsStored)
	e.number(highBit, f.HighBit)
	e.number(pixelRepresentation, flag(f.Signed))
	return e.edit
}

// lossy corrects the Lossy Image Compression attributes (PS3.3 §C.7.6.1.1.5).
func (c Change) lossy(e *editor) {
	flagged, methods, ratios := e.value(lossyCompression), e.values(lossyMethod), e.values(lossyRatio)
	before := len(methods) + len(ratios)
	if m, always := lossyOf(c.From); m != "" && flagged != "01" && (always || flagged == "") {
		// Whoever compressed it did not say so.
		flagged = "01"
		if before == 0 {
			methods, ratios = append(methods, m), append(ratios, ratio(c.Was))
		}
	}
	if m, _ := lossyOf(c.To); m != "" {
		flagged = "01"
		// The values of one attribute are told in the order of the other's.
		for len(methods) < len(ratios) {
			methods = append(methods, "")
		}
		for len(ratios) < len(methods) {
			ratios = append(ratios, "")
		}
		methods, ratios = append(methods, m), append(ratios, ratio(c.Is))
	}
	if flagged != "" {
		e.text(lossyCompression, dicom.CS, flagged)
	}
	if len(methods)+len(ratios) > before {
		e.text(lossyMethod, dicom.CS, strings.Join(methods, `\`))
		e.text(lossyRatio, dicom.DS, strings.Join(ratios, `\`))
	}
}

// lossyOf returns the method of a transfer syntax that may lose something
// (PS3.3 §C.7.6.1.1.5.1), "" for one that does not, and whether it always does.
func lossyOf(syntax string) (method string, always bool) {
	switch {
	case dct(syntax):
		return "ISO_10918_1", true
	case syntax == dicom.JPEGLSNearLossless:
		return "ISO_14495_1", false
	case syntax == dicom.JPEG2000:
		return "ISO_15444_1", false
	case syntax == dicom.HTJ2K:
		return "ISO_15444_15", false
	}
	return "", false
}

// dct reports whether frames are coded by the discrete cosine transform of JPEG.
func dct(syntax string) bool {
	return syntax == dicom.JPEGBaseline8Bit || syntax == dicom.JPEGExtended12Bit
}

// ratio formats a compression ratio as a DS of at most 16 bytes.
func ratio(v float64) string {
	if !(v > 0.01) || v > 1e9 {
		return "1"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// PixelVR returns the VR of Pixel Data in a transfer syntax (PS3.5 §8.2, §A.1
// to §A.4), and the size of the words in it that a big endian file swaps.
func PixelVR(syntax string, f pixel.Format) (v dicom.VR, word int) {
	ts := dicom.Syntax(syntax)
	switch {
	case ts.Encapsulated:
		return dicom.OB, 1
	case f.BitsAllocated > 8:
		return dicom.OW, f.BitsAllocated / 8
	case ts.Implicit:
		return dicom.OW, 1
	}
	return dicom.OB, 1
}

// editor collects what differs from the data set.
type editor struct {
	d    *dicom.Dataset
	edit dicom.Edit
}

func (e *editor) value(t dicom.Tag) string {
	s, _ := e.d.Text(t)
	return strings.TrimSpace(s)
}

func (e *editor) values(t dicom.Tag) []string {
	if s := e.value(t); s != "" {
		return strings.Split(s, `\`)
	}
	return nil
}

// number sets an attribute of VR US.
func (e *editor) number(t dicom.Tag, v int) {
	if e.value(t) != strconv.Itoa(v) {
		e.edit.Set = append(e.edit.Set, dicom.Element{Tag: t, VR: dicom.US, Value: binary.LittleEndian.AppendUint16(nil, uint16(v))})
	}
}

func (e *editor) text(t dicom.Tag, vr dicom.VR, v string) {
	if e.value(t) != v {
		e.edit.Set = append(e.edit.Set, dicom.Element{Tag: t, VR: vr, Value: []byte(v)})
	}
}
