package render

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// set makes a little endian data set of elements.
func set(elements ...dicom.Element) *dicom.Dataset {
	return &dicom.Dataset{Order: binary.LittleEndian, Elements: elements}
}

// ds makes an element of text; its VR follows from the dictionary.
func ds(t dicom.Tag, v string) dicom.Element {
	vr := dicom.VROf(t)
	if !vr.IsText() {
		panic("not an attribute of text: " + t.String())
	}
	return dicom.Element{Tag: t, VR: vr, Value: []byte(v), Length: int64(len(v))}
}

// us makes an element of 16-bit words.
func us(t dicom.Tag, v ...int) dicom.Element {
	return word(t, dicom.US, v...)
}

func word(t dicom.Tag, vr dicom.VR, v ...int) dicom.Element {
	var b []byte
	for _, n := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	return dicom.Element{Tag: t, VR: vr, Value: b, Length: int64(len(b))}
}

// ob makes an element of bytes.
func ob(t dicom.Tag, v ...byte) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.OB, Value: v, Length: int64(len(v))}
}

// fl makes an element of 32-bit numbers.
func fl(t dicom.Tag, v ...float32) dicom.Element {
	var b []byte
	for _, n := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(n))
	}
	return dicom.Element{Tag: t, VR: dicom.FL, Value: b, Length: int64(len(b))}
}

// sq makes a sequence.
func sq(t dicom.Tag, items ...*dicom.Dataset) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.SQ, Items: items}
}

// line makes an image of one row of 16-bit values.
func line(f pixel.Format, v ...int) pixel.Image {
	f.Rows, f.Columns, f.Samples = 1, len(v), 1
	if f.BitsAllocated == 0 {
		f.BitsAllocated = 16
	}
	if f.BitsStored == 0 {
		f.BitsStored = f.BitsAllocated
	}
	if f.HighBit == 0 {
		f.HighBit = f.BitsStored - 1
	}
	if f.Photometric == "" {
		f.Photometric = pixel.Monochrome2
	}
	img := pixel.Image{Format: f}
	for _, n := range v {
		switch f.BitsAllocated {
		case 8:
			img.Data = append(img.Data, byte(n))
		case 16:
			img.Data = binary.LittleEndian.AppendUint16(img.Data, uint16(n))
		case 32:
			img.Data = binary.LittleEndian.AppendUint32(img.Data, uint32(n))
		}
	}
	return img
}

// gradient makes an 8-bit image whose pixel x, y is f(x, y).
func gradient(columns, rows int, f func(x, y int) int) pixel.Image {
	img := pixel.Image{Format: pixel.Format{Rows: rows, Columns: columns, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7,
		Photometric: pixel.Monochrome2}, Data: make([]byte, rows*columns)}
	for i := range img.Data {
		img.Data[i] = byte(f(i%columns, i/columns))
	}
	return img
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
