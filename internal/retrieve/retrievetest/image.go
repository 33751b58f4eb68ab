package retrievetest

import (
	"encoding/binary"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Image describes a synthetic image for [Part10].
type Image struct {
	archive.UIDs
	Syntax        string // default Explicit VR Little Endian
	Rows, Columns int
	Bits          int // allocated; default 16
	Frames        int // default 1
	// Pixels is the native value, by default a pattern; Fragments, when set, are
	// the items of encapsulated Pixel Data, the Basic Offset Table not among them.
	Pixels    []byte
	Fragments [][]byte
	Name      string // patient's
	PatientID string // (0010,0020); absent when empty, as is its issuer
	Issuer    string
	Number    int    // Instance Number (0020,0013); 0 is absent
	Modality  string // default OT
	StudyDate string // (0008,0020); absent when empty, as is the next
	BirthDate string // (0010,0030)
}

// Pattern returns n bytes in which every place looks different.
func Pattern(n int) []byte {
	b := make([]byte, n+8)
	x := uint64(88172645463325252)
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b[:n]
}

// Part10 encodes an image in a little endian syntax that is not deflated.
func Part10(im Image) []byte {
	if im.Syntax == "" {
		im.Syntax = dicom.ExplicitVRLittleEndian
	}
	if im.Bits == 0 {
		im.Bits = 16
	}
	if im.Frames == 0 {
		im.Frames = 1
	}
	if im.Modality == "" {
		im.Modality = "OT"
	}
	if im.Pixels == nil && im.Fragments == nil {
		im.Pixels = Pattern((im.Rows*im.Columns*im.Frames*im.Bits + 7) / 8)
	}
	explicit := func(b []byte, tag uint32, vr, value string) []byte {
		if len(value)%2 == 1 {
			if vr == "UI" {
				value += "\x00"
			} else {
				value += " "
			}
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(tag>>16))
		b = binary.LittleEndian.AppendUint16(b, uint16(tag))
		b = append(b, vr...)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		return append(b, value...)
	}
	element := func(b []byte, tag uint32, vr, value string) []byte {
		if im.Syntax != dicom.ImplicitVRLittleEndian {
			return explicit(b, tag, vr, value)
		}
		b = explicit(b, tag, vr, value)
		copy(b[len(b)-len(value)-len(value)%2-4:], binary.LittleEndian.AppendUint32(nil, uint32(len(value)+len(value)%2)))
		return b
	}
	us := func(n int) string { return string([]byte{byte(n), byte(n >> 8)}) }
	meta := explicit(nil, 0x00020002, "UI", "1.2.840.10008.5.1.4.1.1.7")
	meta = explicit(meta, 0x00020003, "UI", im.Instance)
	meta = explicit(meta, 0x00020010, "UI", im.Syntax)
	b := append(make([]byte, 128), "DICM"...)
	b = explicit(b, 0x00020000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta)))))
	b = append(b, meta...)
	b = element(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7")
	b = element(b, 0x00080018, "UI", im.Instance)
	if im.StudyDate != "" {
		b = element(b, 0x00080020, "DA", im.StudyDate)
	}
	b = element(b, 0x00080060, "CS", im.Modality)
	b = element(b, 0x00100010, "PN", im.Name)
	if im.PatientID != "" {
		b = element(b, 0x00100020, "LO", im.PatientID)
	}
	if im.Issuer != "" {
		b = element(b, 0x00100021, "LO", im.Issuer)
	}
	if im.BirthDate != "" {
		b = element(b, 0x00100030, "DA", im.BirthDate)
	}
	b = element(b, 0x0020000D, "UI", im.Study)
	b = element(b, 0x0020000E, "UI", im.Series)
	if im.Number > 0 {
		b = element(b, 0x00200013, "IS", fmt.Sprint(im.Number))
	}
	b = element(b, 0x00280002, "US", us(1))
	b = element(b, 0x00280004, "CS", "MONOCHROME2")
	b = element(b, 0x00280008, "IS", fmt.Sprint(im.Frames))
	b = element(b, 0x00280010, "US", us(im.Rows))
	b = element(b, 0x00280011, "US", us(im.Columns))
	b = element(b, 0x00280100, "US", us(im.Bits))
	b = append(b, 0xE0, 0x7F, 0x10, 0x00)
	if im.Fragments == nil {
		if im.Syntax != dicom.ImplicitVRLittleEndian {
			b = append(b, 'O', 'W', 0, 0)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(im.Pixels)+len(im.Pixels)%2))
		return append(append(b, im.Pixels...), make([]byte, len(im.Pixels)%2)...)
	}
	b = append(b, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	for _, f := range append([][]byte{nil}, im.Fragments...) {
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)+len(f)%2))
		b = append(append(b, f...), make([]byte, len(f)%2)...)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}
