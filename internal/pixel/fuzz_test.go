package pixel

import (
	"context"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/testdata"
)

// seeds adds the first frames of small files in the transfer syntaxes.
func seeds(f *testing.F, add func(frames, []byte), syntaxes ...string) {
	f.Helper()
	for _, tf := range testdata.Files(f, "ok", "ok-derived", "missing-uid") {
		for _, s := range syntaxes {
			if tf.Syntax != s || tf.Size > 60<<10 {
				continue
			}
			if x, err := open(f, tf.Path); err == nil {
				if bits, err := x.payload(0); err == nil && len(bits) < 8<<10 {
					add(x, bits)
				}
			}
		}
	}
}

// small returns a format of numbers that fuzzing found, of a small image.
func small(rows, columns, bits uint16, kind byte) Format {
	f := Format{Rows: int(rows%300) + 1, Columns: int(columns%300) + 1, Samples: 1, BitsAllocated: 8,
		Photometric: Monochrome2, Signed: kind&1 != 0, Planar: kind&2 != 0}
	if kind&4 != 0 {
		f.Samples, f.Photometric = 3, RGB
		if kind&8 != 0 {
			f.Photometric = YBRFull422
		}
	}
	if kind&16 != 0 {
		f.BitsAllocated = 16
	}
	f.BitsStored = int(bits)%f.BitsAllocated + 1
	f.HighBit = f.BitsStored - 1
	if kind&32 != 0 {
		f.HighBit = f.BitsAllocated - 1
	}
	return f
}

// numbers undoes small as far as that goes.
func numbers(f Format) (rows, columns, bits uint16, kind byte) {
	if f.Signed {
		kind |= 1
	}
	if f.Samples == 3 {
		kind |= 4
	}
	if f.BitsAllocated == 16 {
		kind |= 16
	}
	return uint16(f.Rows - 1), uint16(f.Columns - 1), uint16(f.BitsStored - 1), kind
}

// decoded checks what a decoder says of anything.
func decoded(t *testing.T, img Image, err error) {
	t.Helper()
	if err != nil {
		if !fault.Is(err, fault.NotAcceptable) {
			t.Fatal(err)
		}
		return
	}
	if n, err := img.FrameBytes(); err != nil || int64(len(img.Data)) != n {
		t.Fatalf("%d bytes, want %d: %v", len(img.Data), n, err)
	}
	if img.Interleaved(); img.Photometric.IsYBR() {
		if _, err := ToRGB(img); err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Fatal(err)
		}
	}
}

// FuzzDecode decodes frames in Go, of all syntaxes that are.
func FuzzDecode(f *testing.F) {
	syntaxes := []string{dicom.RLELossless, dicom.DeflatedImageFrame, dicom.ExplicitVRLittleEndian, dicom.JPEGBaseline8Bit, dicom.JPEGLosslessSV1}
	for i, s := range syntaxes {
		seeds(f, func(x frames, bits []byte) {
			rows, columns, stored, kind := numbers(x.format)
			f.Add(byte(i), rows, columns, stored, kind, bits)
		}, s)
	}
	c := New(nil)
	f.Fuzz(func(t *testing.T, syntax byte, rows, columns, stored uint16, kind byte, bits []byte) {
		img, err := c.Decode(context.Background(), syntaxes[int(syntax)%len(syntaxes)], small(rows, columns, stored, kind), bits)
		decoded(t, img, err)
	})
}

// FuzzSandboxed decodes frames in the sandbox.
func FuzzSandboxed(f *testing.F) {
	if !sandbox.Available() {
		f.Skip("the codecs are not built in")
	}
	syntaxes := []string{dicom.JPEGExtended12Bit, dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.HTJ2KLossless}
	for i, s := range append(syntaxes, dicom.JPEG2000, dicom.JPEGLSNearLossless) {
		seeds(f, func(x frames, bits []byte) {
			rows, columns, stored, kind := numbers(x.format)
			f.Add(byte(i), rows, columns, stored, kind, bits)
		}, s)
	}
	c := New(sandboxtest.Pool(f))
	f.Fuzz(func(t *testing.T, syntax byte, rows, columns, stored uint16, kind byte, bits []byte) {
		img, err := c.Decode(context.Background(), syntaxes[int(syntax)%len(syntaxes)], small(rows, columns, stored, kind), bits)
		decoded(t, img, err)
	})
}

// FuzzRLE: what unpack makes of anything fits, and pack undoes it.
func FuzzRLE(f *testing.F) {
	f.Add([]byte{2, 1, 2, 3, 254, 7, 128}, uint16(6))
	f.Fuzz(func(t *testing.T, coded []byte, n uint16) {
		plane := make([]byte, n)
		if !unpack(plane, coded) {
			return
		}
		back := make([]byte, n)
		if !unpack(back, pack(nil, plane)) || string(back) != string(plane) {
			t.Fatal("packing loses bytes")
		}
	})
}

// FuzzJPEGHeader reads headers of JPEG and JPEG-LS, and walks over what follows.
func FuzzJPEGHeader(f *testing.F) {
	seeds(f, func(_ frames, bits []byte) { f.Add(bits) }, dicom.JPEGBaseline8Bit, dicom.JPEGExtended12Bit,
		dicom.JPEGLossless, dicom.JPEGLosslessSV1, dicom.JPEGLSLossless, dicom.JPEGLSNearLossless)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readJPEG(b)
		if err != nil {
			if !fault.Is(err, fault.NotAcceptable) {
				t.Fatal(err)
			}
			return
		}
		if h.scan > len(b) || h.end > len(b) || h.end != 0 && h.end < h.scan+2 {
			t.Fatalf("scan at %d, end at %d of %d", h.scan, h.end, len(b))
		}
		if h.rows*h.columns < 1<<20 {
			h.complete(b)
		}
	})
}

// FuzzJ2KHeader reads headers of JPEG 2000 and walks over tile-parts.
func FuzzJ2KHeader(f *testing.F) {
	seeds(f, func(_ frames, bits []byte) { f.Add(bits) }, dicom.JPEG2000Lossless, dicom.JPEG2000)
	f.Add(j2k(64, 32, 32, part, part))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readJ2K(b)
		if err != nil {
			if !fault.Is(err, fault.NotAcceptable) {
				t.Fatal(err)
			}
			return
		}
		if h.tiles < 1 || h.tiles > 65535 || h.rows < 1 || h.columns < 1 || len(h.precision) == 0 || len(h.stream) > len(b) {
			t.Fatalf("%+v", h)
		}
	})
}
