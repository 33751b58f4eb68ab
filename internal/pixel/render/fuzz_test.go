package render

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"io"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// FuzzFrame renders images whose attributes and pixels are anything: a picture
// within its bounds or a fault that says why.
func FuzzFrame(f *testing.F) {
	seed := func(d *dicom.Dataset, img pixel.Image) {
		f.Add(attributes(d), uint16(img.Rows), uint16(img.Columns), uint8(img.Samples), uint8(img.BitsAllocated), uint8(img.BitsStored), uint8(img.HighBit),
			img.Signed, img.Float, string(img.Photometric), img.Data, "image/jpeg", uint16(100), uint16(80))
	}
	d, img := slice()
	img.Rows, img.Data = 4, img.Data[:4*2*512]
	seed(d, img)
	seed(set(sq(modalityLUTSequence, lutItem([]int{3, 0, 16}, []int{2, 1, 0})), sq(voiLUTSequence, lutItem([]int{3, 65535, 8}, []int{1, 2, 3}))), line(pixel.Format{}, 1, 2, 3))
	seed(set(palette([]int{2, 5, 8}, 1, 2)...), line(pixel.Format{BitsAllocated: 8, Photometric: pixel.PaletteColor}, 0, 5, 6))
	seed(segmented([]int{0, 0, 16}, dicom.OW, 2, 65535, 0, 0, 1, 65535, 5), line(pixel.Format{BitsAllocated: 8, Photometric: pixel.PaletteColor}, 0, 5, 6))
	seed(set(append(overlayOf(0, 65535, 65535, -5, 32767, 1), ds(pixelAspectRatio, `1\19`), ds(pixelSpacing, `NaN\1e308`))...), line(pixel.Format{}, 1, 2, 3))
	seed(set(ds(windowCenter, "1e308"), ds(windowWidth, "1e-308"), ds(rescaleSlope, "-1e308"), ds(doseGridScaling, "Inf"), us(pixelPaddingValue, 65535)), line(pixel.Format{BitsAllocated: 32}, 1, 2, 3))
	seed(set(ob(iccProfile, spaces["adobergb"].colourICC()...)), triples(pixel.Format{BitsAllocated: 8, Photometric: pixel.RGB}, 1, 2, 3, 4, 5, 6))
	f.Fuzz(func(t *testing.T, b []byte, rows, columns uint16, samples, allocated, stored, high uint8, signed, float bool, photometric string, data []byte, media string, vw, vh uint16) {
		img := pixel.Image{Format: pixel.Format{Rows: int(rows), Columns: int(columns), Samples: int(samples), BitsAllocated: int(allocated), BitsStored: int(stored),
			HighBit: int(high), Signed: signed, Float: float, Photometric: pixel.Photometric(photometric)}, Data: data}
		if n, err := img.FrameBytes(); err != nil || n > 1<<16 || int64(len(data)) < n {
			img.Rows, img.Columns = min(img.Rows, 16), min(img.Columns, 16) // or nearly all is a refusal
			if n, err := img.FrameBytes(); err == nil && n <= 1<<16 {
				img.Data = append(bytes.Clone(data), make([]byte, n)...)
			}
		}
		d := dataset(b)
		x := New(d, func(context.Context, *dicom.Element) ([]byte, error) { return data, nil })
		for _, o := range []Options{{}, {MediaType: media, ICC: "srgb", Patient: true, Technique: true,
			Viewport: &Viewport{Width: int(vw%400) + 1, Height: int(vh%400) + 1, X: float64(vw) / 100, Y: float64(vh) / 100, W: -float64(vh) / 7}}} {
			for _, n := range []int{1, 2, int(rows)} {
				m, err := x.Frame(context.Background(), n, img, o)
				if err != nil {
					if k := fault.KindOf(err); k != fault.NotAcceptable && k != fault.Invalid {
						t.Fatalf("%v of kind %v", err, k)
					}
					continue
				}
				size := m.Bounds().Size()
				if o.Viewport != nil && (size.X > o.Viewport.Width || size.Y > o.Viewport.Height) || size.X < 1 || size.Y < 1 {
					t.Fatalf("%v in a viewport of %v", size, o.Viewport)
				}
				icc, err := x.Profile(context.Background(), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := Encode(io.Discard, m, o, icc); err != nil {
					t.Fatal(err)
				}
				if _, grey := m.(*image.Gray); grey != x.grey() && text(d, photometricInterpretation) == photometric {
					t.Fatalf("a picture of type %T", m)
				}
			}
		}
		if d := x.Delay(int(rows)); d < leastDelay || d > mostDelay {
			t.Fatalf("a delay of %v", d)
		}
	})
}

// attributes writes a data set in Implicit VR, as dataset reads it.
func attributes(d *dicom.Dataset) []byte {
	var b []byte
	for i := range d.Elements {
		e := &d.Elements[i]
		v := e.Value
		if e.Items != nil {
			v = nil
			for _, item := range e.Items {
				in := attributes(item)
				v = binary.LittleEndian.AppendUint32(append(v, 0xFE, 0xFF, 0x00, 0xE0), uint32(len(in)))
				v = append(v, in...)
			}
		}
		b = binary.LittleEndian.AppendUint16(b, e.Tag.Group())
		b = binary.LittleEndian.AppendUint16(b, e.Tag.Element())
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

// dataset reads what it can.
func dataset(b []byte) *dicom.Dataset {
	element := func(t dicom.Tag, v string) string {
		var e []byte
		e = binary.LittleEndian.AppendUint16(e, t.Group())
		e = binary.LittleEndian.AppendUint16(e, t.Element())
		return string(append(binary.LittleEndian.AppendUint32(e, uint32(len(v))), v...))
	}
	meta := "\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\x00"
	head := append(make([]byte, 128), "DICM\x02\x00\x00\x00UL\x04\x00\x1a\x00\x00\x00"+meta+element(sopClassUID, "1.2")...)
	f, err := dicom.Read(context.Background(), bytes.NewReader(append(head, b...)), dicom.Limits{Hold: 1 << 10})
	if err != nil || f.Data == nil {
		return set()
	}
	return f.Data
}

// TestFuzzReads keeps the fuzz target from rendering nothing but empty data sets.
func TestFuzzReads(t *testing.T) {
	d, _ := slice()
	if got := dataset(attributes(d)); text(got, windowCenter) != "40" {
		t.Errorf("%d elements", len(got.Elements))
	}
	nested := dataset(attributes(set(sq(voiLUTSequence, lutItem([]int{3, 0, 8}, []int{1, 2, 3})))))
	if item(nested, voiLUTSequence).Lookup(lutData) == nil {
		t.Error("no sequences")
	}
}
