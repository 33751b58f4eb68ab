package pixel

import (
	"encoding/binary"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// dataset makes a data set of numbers and texts.
func dataset(values map[dicom.Tag]any) *dicom.Dataset {
	d := &dicom.Dataset{Order: binary.LittleEndian}
	for t, v := range values {
		e := dicom.Element{Tag: t, VR: dicom.VROf(t)}
		switch v := v.(type) {
		case int:
			e.VR, e.Value = dicom.US, binary.LittleEndian.AppendUint16(nil, uint16(v))
		case string:
			e.Value = []byte(v)
		}
		d.Elements = append(d.Elements, e)
	}
	return d
}

func TestFormatOf(t *testing.T) {
	const pixelData = 0x7FE00010
	base := func(change map[dicom.Tag]any) *dicom.Dataset {
		v := map[dicom.Tag]any{rowsTag: 4, columnsTag: 5, samplesPerPixel: 1, photometricTag: "MONOCHROME2 ",
			bitsAllocatedTag: 16, bitsStoredTag: 12, highBitTag: 11, pixelRepresentation: 1}
		for t, c := range change {
			if v[t] = c; c == nil {
				delete(v, t)
			}
		}
		return dataset(v)
	}
	grey := Format{Rows: 4, Columns: 5, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Signed: true, Photometric: Monochrome2}
	with := func(change func(*Format)) *Format { f := grey; change(&f); return &f }
	for _, tt := range []struct {
		name   string
		pixels dicom.Tag
		change map[dicom.Tag]any
		want   *Format // nil: refused
	}{
		{"grey", pixelData, nil, &grey},
		{"no samples, no interpretation", pixelData, map[dicom.Tag]any{samplesPerPixel: nil, photometricTag: nil}, &grey},
		{"no bits stored", pixelData, map[dicom.Tag]any{bitsStoredTag: nil, highBitTag: nil}, with(func(f *Format) { f.BitsStored, f.HighBit = 16, 15 })},
		{"planar grey", pixelData, map[dicom.Tag]any{planarConfiguration: 1}, &grey},
		{"colours", pixelData, map[dicom.Tag]any{samplesPerPixel: nil, photometricTag: "rgb", planarConfiguration: 1, pixelRepresentation: 0},
			with(func(f *Format) { f.Samples, f.Photometric, f.Planar, f.Signed = 3, RGB, true, false })},
		{"float", floatPixelData, map[dicom.Tag]any{bitsStoredTag: nil},
			with(func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Float = 32, 32, 31, true })},
		{"double", doublePixelData, map[dicom.Tag]any{bitsAllocatedTag: nil},
			with(func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Float = 64, 64, 63, true })},
		{"no rows", pixelData, map[dicom.Tag]any{rowsTag: nil}, nil},
		{"no columns", pixelData, map[dicom.Tag]any{columnsTag: 0}, nil},
		{"no bits", pixelData, map[dicom.Tag]any{bitsAllocatedTag: nil}, nil},
		{"12 bits allocated", pixelData, map[dicom.Tag]any{bitsAllocatedTag: 12}, nil},
		{"more bits stored than allocated", pixelData, map[dicom.Tag]any{bitsStoredTag: 17}, nil},
		{"high bit too low", pixelData, map[dicom.Tag]any{highBitTag: 10}, nil},
		{"high bit too high", pixelData, map[dicom.Tag]any{highBitTag: 16}, nil},
		{"two samples", pixelData, map[dicom.Tag]any{samplesPerPixel: 2}, nil},
	} {
		got, err := FormatOf(base(tt.change), tt.pixels)
		switch {
		case tt.want == nil && !fault.Is(err, fault.NotAcceptable):
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != nil && (err != nil || got != *tt.want):
			t.Errorf("%s: %+v %v", tt.name, got, err)
		}
	}
}

func TestFrameBytes(t *testing.T) {
	for _, tt := range []struct {
		rows, columns, samples, allocated int
		want                              int64 // 0: refused
	}{
		{1, 1, 1, 1, 1},
		{3, 3, 1, 1, 2},
		{512, 512, 1, 16, 512 * 512 * 2},
		{10000, 10000, 1, 16, 200e6}, // a hundred megapixels
		{8192, 8192, 3, 8, 192 << 20},
		{8193, 8192, 3, 8, 0},
		{65535, 65535, 4, 64, 0},
		{65535, 65535, 1, 1, 0},
		{65536, 1, 1, 8, 0},
		{0, 1, 1, 8, 0},
		{-1, 1, 1, 8, 0},
	} {
		f := Format{Rows: tt.rows, Columns: tt.columns, Samples: tt.samples, BitsAllocated: tt.allocated, BitsStored: tt.allocated, HighBit: tt.allocated - 1}
		n, err := f.FrameBytes()
		if n != tt.want || (tt.want == 0) != fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%+v: %d %v", tt, n, err)
		}
	}
}
