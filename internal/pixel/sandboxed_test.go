package pixel

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// TestSandboxedRoundTrips: what Encodes promises, Encode keeps, whatever the
// depth, sign and size.
func TestSandboxedRoundTrips(t *testing.T) {
	if !sandbox.Available() {
		t.Skip("the codecs are not built in")
	}
	c := codecs(t)
	rapid.Check(t, func(t *rapid.T) {
		f := drawFormat(t)
		if rapid.Bool().Draw(t, "YBR") && f.Samples == 3 {
			f.Photometric = YBRFull
		}
		img := drawImage(t, f)
		if rapid.Bool().Draw(t, "clean") && f.BitsAllocated <= 16 {
			img = settle(img, f.BitsStored, !f.Signed)
		}
		syntax := rapid.SampledFrom([]string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL}).Draw(t, "syntax")
		bits, g, err := c.Encode(context.Background(), syntax, img, EncodeOptions{})
		if promised := c.Encodes(syntax, f); (promised == nil) != (err == nil) {
			t.Fatalf("%+v, depth %d: %v, but %v", f, depth(img), promised, err)
		}
		if err != nil {
			return
		}
		back, err := c.Decode(context.Background(), syntax, g, bits)
		if err != nil || !bytes.Equal(back.Data, img.Interleaved().Data) || back.Photometric != f.Photometric {
			t.Fatal(back.Photometric, err)
		}
	})
}

// TestRPCL looks at what HTJ2K Lossless RPCL demands (PS3.5 §10.18).
func TestRPCL(t *testing.T) {
	if !sandbox.Available() {
		t.Skip("the codecs are not built in")
	}
	c := codecs(t)
	for _, tt := range []struct {
		rows, columns int
		ok            bool
	}{
		{512, 512, true},
		{100, 2000, true},
		{30, 30, true},
		{513, 700, false}, // the codec halves rounding down
		{5000, 5000, false},
	} {
		f := Format{Rows: tt.rows, Columns: tt.columns, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
		if !tt.ok && tt.rows > 1000 {
			if err := c.Encodes(dicom.HTJ2KLosslessRPCL, f); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%d × %d: %v", tt.columns, tt.rows, err)
			}
			continue
		}
		bits, _, err := c.Encode(context.Background(), dicom.HTJ2KLosslessRPCL, Image{f, make([]byte, tt.rows*tt.columns)}, EncodeOptions{})
		if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%d × %d: %v", tt.columns, tt.rows, err)
			continue
		}
		if !tt.ok {
			continue
		}
		h, err := readJ2K(bits)
		if err != nil || h.progression != 2 || !h.tlm || !h.reversible || !h.ht {
			t.Errorf("%d × %d: %+v %v", tt.columns, tt.rows, h, err)
		}
	}
}

// TestNotBuilt: without the sandbox the rest works, and says so.
func TestNotBuilt(t *testing.T) {
	c := New(nil)
	f := Format{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	for _, syntax := range []string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL} {
		if c.Decodes(syntax) {
			t.Errorf("decodes %s", syntax)
		}
		_, err := c.Decode(context.Background(), syntax, f, make([]byte, 100))
		if e := c.Encodes(syntax, f); !fault.Is(err, fault.NotAcceptable) || !fault.Is(e, fault.NotAcceptable) {
			t.Errorf("%s: %v %v", syntax, err, e)
		}
	}
	for _, syntax := range []string{"1.2.840.10008.1.2.4.100", "", "1.2.3"} {
		_, err := c.Decode(context.Background(), syntax, f, make([]byte, 64))
		if e := c.Encodes(syntax, f); c.Decodes(syntax) || !fault.Is(err, fault.NotAcceptable) || !fault.Is(e, fault.NotAcceptable) {
			t.Errorf("%q: %v %v", syntax, err, e)
		}
	}
	if err := c.Encodes(dicom.JPEGBaseline8Bit, f); err != nil {
		t.Error(err)
	}
}

// TestCostly: a frame that would take too much to compress is refused before it is decoded.
func TestCostly(t *testing.T) {
	c := New(nil)
	f := Format{Rows: 8192, Columns: 8192, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	for _, rows := range []int{8192, 8193} {
		f.Rows = rows
		for syntax, costly := range map[string]bool{dicom.JPEGBaseline8Bit: true, dicom.JPEGLosslessSV1: true, dicom.RLELossless: false, dicom.DeflatedImageFrame: false} {
			err := c.Encodes(syntax, f)
			if refused := costly && rows > 8192; refused != fault.Is(err, fault.NotAcceptable) || !refused && err != nil {
				t.Errorf("%d rows in %s: %v", rows, syntax, err)
			}
		}
	}
}

// TestCodable: what no code stream takes is known in advance.
func TestCodable(t *testing.T) {
	good := Format{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: Monochrome2}
	for name, change := range map[string]func(*Format){
		"float":        func(f *Format) { f.Float, f.BitsAllocated, f.BitsStored, f.HighBit = true, 32, 32, 31 },
		"32 bits":      func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit = 32, 32, 31 },
		"one bit":      func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit = 1, 1, 0 },
		"four samples": func(f *Format) { f.Samples, f.Photometric = 4, "ARGB" },
	} {
		f := good
		change(&f)
		for _, codec := range []Codec{jpegFamily{lossless: true}, jpegLS{}, jpeg2000{op: sandbox.EncodeJPEG2000}, jpeg2000{op: sandbox.EncodeHTJ2K}} {
			if err := codec.Encodes(f); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%s in %T: %v", name, codec, err)
			}
			if err := codec.Encodes(good); err != nil {
				t.Errorf("%T: %v", codec, err)
			}
		}
	}
}

// TestMemory: who waits for memory heeds the context.
func TestMemory(t *testing.T) {
	c := New(nil)
	release, err := c.hold(context.Background(), 2*budget)
	if err != nil {
		t.Fatal(err)
	}
	f := Format{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Decode(ctx, dicom.RLELossless, f, make([]byte, 100)); !fault.Is(err, fault.Canceled) {
		t.Error(err)
	}
	if _, err := c.Decode(ctx, dicom.ExplicitVRLittleEndian, f, make([]byte, 64)); err != nil {
		t.Error("native frames need no memory:", err)
	}
	if _, _, err := c.Encode(ctx, dicom.RLELossless, Image{f, make([]byte, 64)}, EncodeOptions{}); !fault.Is(err, fault.Canceled) {
		t.Error(err)
	}
	release()
	if _, _, err := c.Encode(context.Background(), dicom.RLELossless, Image{f, make([]byte, 64)}, EncodeOptions{}); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Encode(context.Background(), dicom.RLELossless, Image{f, make([]byte, 63)}, EncodeOptions{}); !fault.Is(err, fault.Internal) {
		t.Error("an image of another size than its format's:", err)
	}
}

// TestParallel decodes and encodes frames at once, of all codecs.
func TestParallel(t *testing.T) {
	c := codecs(t)
	f := Format{Rows: 40, Columns: 50, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: Monochrome2}
	group, ctx := errgroup.WithContext(context.Background())
	for i := range 48 {
		syntax := reversible[i%len(reversible)]
		if c.Encodes(syntax, f) != nil {
			continue
		}
		group.Go(func() error {
			img := Image{f, make([]byte, 4000)}
			for k := range img.Data {
				img.Data[k] = byte(k*i) & 0x0F
			}
			bits, g, err := c.Encode(ctx, syntax, img, EncodeOptions{})
			if err != nil {
				return err
			}
			back, err := c.Decode(ctx, syntax, g, bits)
			if err == nil && !bytes.Equal(back.Data, img.Data) {
				err = fmt.Errorf("%s: frames are mixed up", syntax)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
