package pixel

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"testing"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// TestLosslessRoundTrip: what the lossless process codes comes back.
func TestLosslessRoundTrip(t *testing.T) {
	c := New(nil)
	rapid.Check(t, func(t *rapid.T) {
		f := drawFormat(t)
		if f.BitsAllocated > 16 {
			f.BitsAllocated, f.BitsStored = 16, min(f.BitsStored, 16)
			f.HighBit = f.BitsStored - 1
		}
		img := drawImage(t, f)
		bits, g, err := c.Encode(context.Background(), dicom.JPEGLosslessSV1, img, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		h, err := readJPEG(bits)
		if err != nil || h.sof != markSOF3 || h.predictor != 1 || len(bits)%2 != 0 || h.end != len(bits) || g.Planar {
			t.Fatal(h, g, err)
		}
		// Cut short anywhere it is refused.
		at := rapid.IntRange(0, h.end-3).Draw(t, "cut")
		if at < h.scan || img.Rows*img.Columns*img.Samples > 64 {
			if _, err := c.Decode(context.Background(), dicom.JPEGLosslessSV1, g, bits[:max(0, min(at, h.end-20))]); !fault.Is(err, fault.NotAcceptable) {
				t.Fatalf("cut at %d of %d: %v", at, len(bits), err)
			}
		}
	})
}

// TestBaseline encodes at the best quality and looks at what comes back.
func TestBaseline(t *testing.T) {
	c := New(nil)
	for _, p := range []Photometric{Monochrome2, RGB, YBRFull} {
		f := Format{Rows: 61, Columns: 47, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: p}
		want := YBRFull422
		if p == Monochrome2 {
			f.Samples, want = 1, p
		}
		n, _ := f.FrameBytes()
		img := Image{f, make([]byte, n)}
		for i := range img.Data {
			pixel := i / f.Samples
			img.Data[i] = byte(64 + pixel/f.Columns + 2*(pixel%f.Columns) + 9*(i%f.Samples))
		}
		bits, g, err := c.Encode(context.Background(), dicom.JPEGBaseline8Bit, img, EncodeOptions{Quality: 100})
		if err != nil || g.Photometric != want {
			t.Fatal(p, g.Photometric, err)
		}
		back, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, g, bits)
		if err != nil {
			t.Fatal(p, err)
		}
		if p == RGB {
			if back, err = ToRGB(back); err != nil {
				t.Fatal(err)
			}
		}
		if worst, mean := difference(img.Data, back.Data, 1); back.Photometric != p || worst > 12 || mean > 1.5 {
			t.Errorf("%s: came back as %s, off by up to %d, %.2f at average", p, back.Photometric, worst, mean)
		}
		if sandbox.Available() { // where there is the Independent JPEG Group's decoder
			h, err := readJPEG(bits)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := jpegFamily{pool: sandboxtest.Pool(t)}.sandboxed(context.Background(), g, &h, bits)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, g, bits)
			if err != nil {
				t.Fatal(err)
			}
			if worst, _ := difference(ours.Data, theirs.Data, 1); worst > 1 || ours.Format != theirs.Format {
				t.Errorf("%s: off by up to %d, %+v and %+v", p, worst, ours.Format, theirs.Format)
			}
		}
		low, _, err := c.Encode(context.Background(), dicom.JPEGBaseline8Bit, img, EncodeOptions{Quality: 5})
		if err != nil || len(low) >= len(bits) {
			t.Errorf("%s: quality 5 makes %d bytes, 100 %d: %v", p, len(low), len(bits), err)
		}
		for _, cut := range []int{0, 1, 2, 3, 20, len(bits) / 2, len(bits) - 10} {
			if _, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, g, bits[:cut]); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%s cut at %d: %v", p, cut, err)
			}
		}
		if _, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, g, bits[:len(bits)-2]); err != nil {
			t.Errorf("%s without its last marker: %v", p, err)
		}
	}
}

func TestBaselineRefused(t *testing.T) {
	good := Format{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	if err := New(nil).Encodes(dicom.JPEGBaseline8Bit, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Format){
		"16 bits": func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit = 16, 12, 11 },
		"6 bits":  func(f *Format) { f.BitsStored, f.HighBit = 6, 5 },
		"signed":  func(f *Format) { f.Signed = true },
		"palette": func(f *Format) { f.Photometric = PaletteColor },
		"one bit": func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit = 1, 1, 0 },
		"no size": func(f *Format) { f.Rows = 0 },
		"CMYK":    func(f *Format) { f.Samples, f.Photometric = 4, "CMYK" },
	} {
		f := good
		change(&f)
		if err := New(nil).Encodes(dicom.JPEGBaseline8Bit, f); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJPEGHeader: a stream that does not fit its data set is refused before it
// is decoded.
func TestJPEGHeader(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 8)), nil); err != nil {
		t.Fatal(err)
	}
	f := Format{Rows: 8, Columns: 16, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	c := New(nil)
	if _, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, f, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	sof := bytes.Index(b.Bytes(), []byte{0xFF, markSOF0})
	for name, change := range map[string]func([]byte) []byte{
		"not JPEG":         func(b []byte) []byte { b[0] = 0; return b },
		"other rows":       func(b []byte) []byte { b[sof+6] = 9; return b },
		"65535 rows":       func(b []byte) []byte { b[sof+5], b[sof+6] = 255, 255; return b },
		"no rows":          func(b []byte) []byte { b[sof+6] = 0; return b },
		"other columns":    func(b []byte) []byte { b[sof+8] = 15; return b },
		"12 bits":          func(b []byte) []byte { b[sof+4] = 12; return b },
		"no bits":          func(b []byte) []byte { b[sof+4] = 0; return b },
		"components":       func(b []byte) []byte { b[sof+9] = 2; return b },
		"many components":  func(b []byte) []byte { b[sof+9] = 255; return b },
		"no frame":         func(b []byte) []byte { return append(b[:sof:sof], b[sof+13:]...) },
		"two frames":       func(b []byte) []byte { return append(append(b[:sof:sof], b[sof:sof+13]...), b[sof:]...) },
		"segment too long": func(b []byte) []byte { b[sof+2] = 255; return b },
		"end before scan":  func(b []byte) []byte { b[sof+1] = markEOI; return b },
		"needs sandbox":    func(b []byte) []byte { b[sof+1] = markSOF9; return b },
	} {
		if _, err := c.Decode(context.Background(), dicom.JPEGBaseline8Bit, f, change(bytes.Clone(b.Bytes()))); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPhotometricOfStream: what the stream says of its colours counts first.
func TestPhotometricOfStream(t *testing.T) {
	full := []jpegComponent{{1, 1, 1}, {2, 1, 1}, {3, 1, 1}}
	for _, tt := range []struct {
		h    jpegHeader
		set  Photometric
		want Photometric
	}{
		{jpegHeader{adobe: -1, components: full}, RGB, RGB},
		{jpegHeader{adobe: -1, components: full}, YBRFull422, YBRFull},
		{jpegHeader{adobe: 0, components: full}, YBRFull, RGB},
		{jpegHeader{adobe: 1, components: full}, RGB, YBRFull},
		{jpegHeader{adobe: -1, jfif: true, components: full}, RGB, YBRFull},
		{jpegHeader{adobe: -1, components: []jpegComponent{{1, 2, 1}, {2, 1, 1}, {3, 1, 1}}}, RGB, YBRFull},
		{jpegHeader{adobe: -1, components: []jpegComponent{{'R', 1, 1}, {'G', 1, 1}, {'B', 1, 1}}}, YBRFull, RGB},
		{jpegHeader{adobe: -1, components: full[:1]}, Monochrome1, Monochrome1},
	} {
		if got := tt.h.photometric(tt.set); got != tt.want {
			t.Errorf("%+v in %s: %s, want %s", tt.h, tt.set, got, tt.want)
		}
	}
}
