package render

import (
	"context"
	"encoding/binary"
	"image"
	"math"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// rgb renders an image and returns red, green and blue of its pixels.
func rgb(t *testing.T, d *dicom.Dataset, img pixel.Image) []uint8 {
	t.Helper()
	m, err := New(d, nil).Frame(context.Background(), 1, img, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, ok := m.(*image.RGBA)
	if !ok {
		t.Fatalf("a picture of type %T", m)
	}
	var out []uint8
	for i := 0; i < len(c.Pix); i += 4 {
		if c.Pix[i+3] != 255 {
			t.Fatal("a pixel is not opaque")
		}
		out = append(out, c.Pix[i:i+3]...)
	}
	return out
}

func triples(f pixel.Format, data ...byte) pixel.Image {
	f.Rows, f.Samples = 1, 3
	if f.BitsStored == 0 {
		f.BitsStored = f.BitsAllocated
	}
	f.HighBit = f.BitsStored - 1
	f.Columns = len(data) / 3 / (f.BitsAllocated / 8)
	return pixel.Image{Format: f, Data: data}
}

func TestColour(t *testing.T) {
	for _, tt := range []struct {
		name string
		img  pixel.Image
		want []uint8
	}{
		{"bytes", triples(pixel.Format{BitsAllocated: 8, Photometric: pixel.RGB}, 1, 2, 3, 250, 251, 252), []uint8{1, 2, 3, 250, 251, 252}},
		{"planes", triples(pixel.Format{BitsAllocated: 8, Photometric: pixel.RGB, Planar: true}, 1, 4, 2, 5, 3, 6), []uint8{1, 2, 3, 4, 5, 6}},
		{"16 bits", triples(pixel.Format{BitsAllocated: 16, Photometric: pixel.RGB}, 0, 0, 0, 128, 255, 255), []uint8{0, 128, 255}},
		{"12 of 16 bits", triples(pixel.Format{BitsAllocated: 16, BitsStored: 12, Photometric: pixel.RGB}, 0, 0xF0, 0, 8, 255, 15), []uint8{0, 128, 255}},
		{"32 bits", triples(pixel.Format{BitsAllocated: 32, Photometric: pixel.RGB}, 0, 0, 0, 0, 0, 0, 0, 128, 255, 255, 255, 255), []uint8{0, 128, 255}},
		// PS3.3 §C.7.6.3.1.2: red is 76, 85, 255; white 255, 128, 128; black 0, 128, 128.
		{"YBR_FULL", triples(pixel.Format{BitsAllocated: 8, Photometric: pixel.YBRFull}, 76, 85, 255, 255, 128, 128, 0, 128, 128), []uint8{254, 0, 0, 255, 255, 255, 0, 0, 0}},
	} {
		got := rgb(t, set(), tt.img)
		for i := range tt.want {
			if len(got) != len(tt.want) || math.Abs(float64(got[i])-float64(tt.want[i])) > 1 {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
				break
			}
		}
	}
}

// palette makes descriptors and data of three equal tables.
func palette(descriptor []int, data ...int) []dicom.Element {
	var e []dicom.Element
	for i := range dicom.Tag(3) {
		e = append(e, us(redDescriptor+i, descriptor...), word(redData+i, dicom.OW, data...))
	}
	return e
}

func segmented(descriptor []int, vr dicom.VR, data ...int) *dicom.Dataset {
	var e []dicom.Element
	for i := range dicom.Tag(3) {
		el := word(segmentedRedData+i, dicom.OW, data...)
		if vr == dicom.OB {
			b := make([]byte, len(data))
			for j, v := range data {
				b[j] = byte(v)
			}
			el = ob(segmentedRedData+i, b...)
		}
		e = append(e, us(redDescriptor+i, descriptor...), el)
	}
	return set(e...)
}

func TestPalette(t *testing.T) {
	f8 := pixel.Format{BitsAllocated: 8, Photometric: pixel.PaletteColor}
	f16 := pixel.Format{Photometric: pixel.PaletteColor}
	s16 := pixel.Format{Photometric: pixel.PaletteColor, Signed: true}
	colours := set(us(redDescriptor, 2, 5, 8), us(redDescriptor+1, 2, 5, 8), us(redDescriptor+2, 2, 5, 8),
		word(redData, dicom.OW, 10, 20), word(redData+1, dicom.OW, 30, 40), word(redData+2, dicom.OW, 50, 60))
	if got, want := rgb(t, colours, line(f8, 0, 5, 6, 255)), []uint8{10, 30, 50, 10, 30, 50, 20, 40, 60, 20, 40, 60}; !slices.Equal(got, want) {
		t.Errorf("red, green, blue; indices out of range: %v, want %v", got, want)
	}
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		img  pixel.Image
		want []uint8 // red
	}{
		{"16-bit entries", set(palette([]int{3, 0, 16}, 0, 0x8000, 0xFFFF)...), line(f8, 0, 1, 2), []uint8{0, 128, 255}},
		{"8-bit entries, packed", set(palette([]int{4, 0, 8}, 0x0201, 0xFF03)...), line(f8, 0, 1, 2, 3), []uint8{1, 2, 3, 255}},
		{"16 bits said, 8 there", set(palette([]int{3, 0, 16}, 0, 128, 255)...), line(f8, 0, 1, 2), []uint8{0, 128, 255}},
		{"cut short", set(palette([]int{256, 0, 16}, 0, 0xFFFF)...), line(f8, 0, 1, 200), []uint8{0, 255, 255}},
		{"16-bit indices", set(palette([]int{2, 40000, 16}, 0x4040, 0xFFFF)...), line(f16, 0, 40000, 40001, 65535), []uint8{64, 64, 255, 255}},
		{"signed indices", set(palette([]int{2, 65535, 16}, 0x4040, 0xFFFF)...), line(s16, -100, -1, 0, 5), []uint8{64, 64, 255, 255}},
		{"segments: discrete and linear", segmented([]int{6, 0, 16}, dicom.OW, 0, 2, 0, 0x1010, 1, 4, 0x5050), line(f8, 0, 1, 2, 3, 4, 5), []uint8{0, 16, 32, 48, 64, 80}},
		{"segments of bytes", segmented([]int{4, 0, 8}, dicom.OB, 0, 1, 255, 1, 3, 0), line(f8, 0, 1, 2, 3), []uint8{255, 170, 85, 0}},
		{"segments: indirect", segmented([]int{6, 0, 16}, dicom.OW, 0, 1, 0x1111, 1, 2, 0xFFFF, 2, 2, 0, 0), line(f8, 0, 1, 2, 3, 4, 5), []uint8{17, 136, 255, 17, 136, 255}},
	} {
		got := rgb(t, tt.d, tt.img)
		var red []uint8
		for i := 0; i < len(got); i += 3 {
			red = append(red, got[i])
		}
		if !slices.Equal(red, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, red, tt.want)
		}
	}
}

// TestSegmentsAreBounded: no input makes more entries than there are, or takes long.
func TestSegmentsAreBounded(t *testing.T) {
	endless := make([]uint16, 0, 1<<15)
	for range 1 << 13 {
		endless = append(endless, 2, 65535, 0, 0) // each expands all that comes before
	}
	empty := make([]uint16, 1<<15) // discrete segments of no entries
	for _, tt := range []struct {
		name string
		in   []uint16
		want int // entries, at most
	}{
		{"indirect to itself", []uint16{2, 65535, 0, 0}, 0},
		{"indirect in indirect", endless, 0},
		{"indirect in indirect, with an entry", append([]uint16{0, 1, 7}, endless...), 65536},
		{"indirect behind the end", []uint16{0, 1, 7, 2, 9, 65535, 65535}, 1},
		{"no progress", empty, 0},
		{"linear of 65535", []uint16{1, 65535, 3, 1, 65535, 9}, 65536},
		{"discrete cut short", []uint16{0, 65535, 1, 2, 3}, 3},
		{"cut in a segment", []uint16{0, 1, 5, 1, 7}, 1},
		{"unknown segment", []uint16{0, 1, 5, 9, 9, 9}, 1},
		{"nothing", nil, 0},
	} {
		if got := expand(tt.in, 65536, false); len(got) > tt.want {
			t.Errorf("%s: %d entries, at most %d", tt.name, len(got), tt.want)
		}
	}
	if got := expand([]uint16{2, 1, 255, 255, 255, 255}, 256, true); len(got) != 0 {
		t.Errorf("an offset of bytes behind the end: %d entries", len(got))
	}
}

// TestSupplementalPalette: colours from where the palette begins, grey below.
func TestSupplementalPalette(t *testing.T) {
	d := set(append(palette([]int{2, 100, 8}, 10, 20), ds(pixelPresentation, "COLOR"), ds(windowCenter, "50"), ds(windowWidth, "101"))...)
	got := rgb(t, d, line(pixel.Format{}, 0, 50, 99, 100, 101, 5000))
	if want := []uint8{1, 1, 1, 129, 129, 129, 254, 254, 254, 10, 10, 10, 20, 20, 20, 20, 20, 20}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestBigEndian: words are in the order of the data set, bytes exchanged in OW.
func TestBigEndian(t *testing.T) {
	be := func(e dicom.Element) dicom.Element {
		b := slices.Clone(e.Value)
		dicom.Swap(b, 2)
		e.Value = b
		return e
	}
	d := set(be(us(lutDescriptor, 4, 0, 8)), be(word(lutData, dicom.OW, 0x0201, 0x0403)))
	d.Order = binary.BigEndian
	desc, ok := descriptorOf(d, lutDescriptor, false)
	if !ok || desc != (descriptor{4, 0, 8}) {
		t.Fatalf("%+v", desc)
	}
	e := d.Lookup(lutData)
	if l := newLUT(desc, e.Value, e.VR, d.Order); !slices.Equal(l.data, []uint16{1, 2, 3, 4}) {
		t.Errorf("bytes: %v", l.data)
	}
	d = set(be(us(lutDescriptor, 2, 0, 16)), be(word(lutData, dicom.US, 0x0201, 0x0403)))
	d.Order = binary.BigEndian
	e = d.Lookup(lutData)
	if l := newLUT(descriptor{2, 0, 16}, e.Value, e.VR, d.Order); !slices.Equal(l.data, []uint16{0x0201, 0x0403}) {
		t.Errorf("words: %v", l.data)
	}
}
