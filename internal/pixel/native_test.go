package pixel

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

func TestNative(t *testing.T) {
	grey := Format{Rows: 2, Columns: 2, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	ybr := Format{Rows: 1, Columns: 4, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: YBRFull422}
	with := func(f Format, change func(*Format)) Format { change(&f); return f }
	for _, tt := range []struct {
		name string
		f    Format
		bits string
		want string // empty: refused
		p    Photometric
	}{
		{"grey", grey, "abcd", "abcd", Monochrome2},
		{"grey, padded", grey, "abcd\x00", "abcd", Monochrome2},
		{"grey, cut short", grey, "abc", "", ""},
		{"one bit", with(grey, func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Columns = 1, 1, 0, 7 }), "ab", "ab", Monochrome2},
		{"4:2:2", ybr, "YyBRZzCS", "YBRyBRZCSzCS", YBRFull},
		{"4:2:2, cut short", ybr, "YyBRZzC", "", ""},
		{"4:2:2 but for its samples", ybr, "YBRyBRZCSzCS", "YBRyBRZCSzCS", YBRFull},
		{"4:2:2 of 16 bits", with(ybr, func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Columns = 16, 16, 15, 2 }), "YYyyBBRR", "YYBBRRyyBBRR", YBRFull},
		{"4:2:2 of an odd width", with(ybr, func(f *Format) { f.Columns = 3 }), "YyBRZz", "", ""},
		{"4:2:0", with(ybr, func(f *Format) { f.Photometric, f.Rows = YBRPartial420, 2 }), "YyZzYyZzBCRS", "", ""},
		{"partial", with(ybr, func(f *Format) { f.Photometric, f.Columns = YBRPartial422, 2 }), "\x10\xeb\x80\xf0", "\x00\x80\xff\xff\x80\xff", YBRFull},
	} {
		img, err := New(nil).Decode(context.Background(), dicom.ExplicitVRLittleEndian, tt.f, []byte(tt.bits))
		if tt.want == "" {
			if !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || string(img.Data) != tt.want || img.Photometric != tt.p {
			t.Errorf("%s: %q %s %v", tt.name, img.Data, img.Photometric, err)
		}
	}
}

func TestDeflated(t *testing.T) {
	f := Format{Rows: 30, Columns: 40, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	img := Image{f, bytes.Repeat([]byte("pixels pixels pixels"), 60)}
	c := New(nil)
	bits, g, err := c.Encode(context.Background(), dicom.DeflatedImageFrame, img, EncodeOptions{})
	if err != nil || g != f || len(bits) >= len(img.Data) {
		t.Fatal(len(bits), g, err)
	}
	for name, b := range map[string][]byte{"good": bits, "padded": append(bits[:len(bits):len(bits)], 0)} {
		if back, err := c.Decode(context.Background(), dicom.DeflatedImageFrame, f, b); err != nil || !bytes.Equal(back.Data, img.Data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := f
	big.Rows, big.Columns = 8000, 8000
	for name, tt := range map[string]struct {
		f    Format
		bits []byte
	}{
		"nothing":           {f, nil},
		"cut short":         {f, bits[:len(bits)/2]},
		"no deflate stream": {f, []byte(strings.Repeat("\xff", 200))},
		"larger than it is": {big, bits},
	} {
		if _, err := c.Decode(context.Background(), dicom.DeflatedImageFrame, tt.f, tt.bits); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInterleaved(t *testing.T) {
	f := Format{Rows: 1, Columns: 2, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Planar: true, Photometric: RGB}
	if got := (Image{f, []byte("RrGgBb")}).Interleaved(); string(got.Data) != "RGBrgb" || got.Planar {
		t.Errorf("%q", got.Data)
	}
	f.BitsAllocated, f.BitsStored, f.HighBit = 16, 16, 15
	if got := (Image{f, []byte("R1r1G2g2B3b3")}).Interleaved(); string(got.Data) != "R1G2B3r1g2b3" {
		t.Errorf("%q", got.Data)
	}
}

// TestToRGB compares with the formulas of PS3.3 §C.7.6.3.1.2.
func TestToRGB(t *testing.T) {
	f := Format{Rows: 1, Columns: 1, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: YBRFull}
	for y := 0; y < 256; y += 5 {
		for cb := 0; cb < 256; cb += 5 {
			for cr := 0; cr < 256; cr += 5 {
				img, err := ToRGB(Image{f, []byte{byte(y), byte(cb), byte(cr)}})
				if err != nil || img.Photometric != RGB {
					t.Fatal(img.Photometric, err)
				}
				Y, b, r := float64(y), float64(cb-128), float64(cr-128)
				want := [3]float64{Y + 1.402*r, Y - 0.344136*b - 0.714136*r, Y + 1.772*b}
				for i, w := range want {
					if w = min(max(w, 0), 255); math.Abs(w-float64(img.Data[i])) > 0.51 {
						t.Fatalf("%d %d %d: %v, want %v", y, cb, cr, img.Data, want)
					}
				}
			}
		}
	}
	f.BitsAllocated, f.BitsStored, f.HighBit = 16, 12, 11
	img, err := ToRGB(Image{f, []byte{0, 8, 0, 8, 0xFF, 0xF}}) // half grey, all red
	if err != nil || string(img.Data) != "\xff\x0f\x4a\x02\x00\x08" {
		t.Errorf("% x %v", img.Data, err)
	}
	f.Photometric = Monochrome2
	if _, err := ToRGB(Image{f, make([]byte, 6)}); !fault.Is(err, fault.NotAcceptable) {
		t.Error(err)
	}
}

// TestFromRGB: there and back changes no sample by more than 2.
func TestFromRGB(t *testing.T) {
	f := Format{Rows: 1, Columns: 1, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: YBRFull}
	for v := 0; v < 1<<24; v += 997 {
		r, g, b := []byte{byte(v)}, []byte{byte(v >> 8)}, []byte{byte(v >> 16)}
		want := []byte{r[0], g[0], b[0]}
		fromRGB(r, g, b)
		img, err := ToRGB(Image{f, []byte{r[0], g[0], b[0]}})
		if err != nil {
			t.Fatal(err)
		}
		if worst, _ := difference(img.Data, want, 1); worst > 2 {
			t.Fatalf("%v came back as %v", want, img.Data)
		}
	}
}
