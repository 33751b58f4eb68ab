package transcode

import (
	"bytes"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

func TestPacker(t *testing.T) {
	for _, c := range []struct {
		bits   int64
		frames [][]byte
		want   []byte
	}{
		{16, [][]byte{{1, 2}, {3, 4}}, []byte{1, 2, 3, 4}},
		{8, nil, nil},
		{1, [][]byte{{1}, {0}, {0xFF}, {0xFE}}, []byte{0b0101}},
		{3, [][]byte{{0b101}, {0b011}, {0b110}, {0xF9}}, []byte{0b10011101, 0b0011}},
		{12, [][]byte{{0x34, 0x12}, {0x78, 0xF6}, {0xBC, 0x0A}}, []byte{0x34, 0x82, 0x67, 0xBC, 0x0A}},
		{9, [][]byte{{0xFF, 0x01}, {0x00, 0x00}, {0xFF, 0xFF}}, []byte{0xFF, 0x01, 0xFC, 0x07}},
	} {
		var w bytes.Buffer
		p := NewPacker(&w, c.bits)
		for _, f := range c.frames {
			if err := p.Frame(f); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // closed twice is closed
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(w.Bytes(), c.want) {
			t.Errorf("%d bits: %08b instead of %08b", c.bits, w.Bytes(), c.want)
		}
	}
	if err := NewPacker(nil, 9).Frame([]byte{1}); !fault.Is(err, fault.Internal) {
		t.Errorf("a frame cut short: %v", err)
	}
}

func TestCoder(t *testing.T) {
	f := pixel.Format{Rows: 2, Columns: 2, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.RGB, Planar: true}
	codecs := pixel.New(nil)
	c := Coder{Codecs: codecs, From: dicom.ExplicitVRLittleEndian, To: dicom.RLELossless, Format: f}
	if err := c.Possible(); err != nil {
		t.Fatal(err)
	}
	planes := []byte{1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24}
	coded, err := c.Frame(ctx, planes)
	if err != nil {
		t.Fatal(err)
	}
	if n := float64(len(coded.Bits)); coded.Was != 1 || coded.Is != 12/n {
		t.Errorf("ratios %v, %v", coded.Was, coded.Is)
	}
	back := Coder{Codecs: codecs, From: c.To, To: dicom.ImplicitVRLittleEndian, Format: coded.Format}
	native, err := back.Frame(ctx, coded.Bits)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24}; !bytes.Equal(native.Bits, want) || native.Format.Planar {
		t.Errorf("%v, %+v", native.Bits, native.Format)
	}
}

func TestCoderRefuses(t *testing.T) {
	grey := pixel.Format{Rows: 2, Columns: 2, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	vast := grey
	vast.Rows, vast.Columns = 65535, 65535
	deep := grey
	deep.Float, deep.BitsAllocated, deep.BitsStored, deep.HighBit = true, 32, 32, 31
	const ei = dicom.ExplicitVRLittleEndian
	for _, c := range []struct {
		name     string
		from, to string
		f        pixel.Format
	}{
		{"video", "1.2.840.10008.1.2.4.102", ei, grey},
		{"unknown", "1.2.3", ei, grey},
		{"needs the sandbox", dicom.JPEG2000, ei, grey},
		{"to unknown", ei, "1.2.3", grey},
		{"to what nobody encodes", ei, dicom.JPEGExtended12Bit, grey},
		{"too large", ei, dicom.RLELossless, vast},
		{"float to JPEG", ei, dicom.JPEGBaseline8Bit, deep},
		{"12 bits to JPEG", ei, dicom.JPEGBaseline8Bit, grey},
		{"no format", ei, dicom.RLELossless, pixel.Format{}},
	} {
		coder := Coder{Codecs: pixel.New(nil), From: c.from, To: c.to, Format: c.f}
		if err := coder.Possible(); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := coder.Frame(ctx, make([]byte, 8)); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s, a frame: %v", c.name, err)
		}
	}
	short := Coder{Codecs: pixel.New(nil), From: ei, To: dicom.RLELossless, Format: grey}
	if _, err := short.Frame(ctx, make([]byte, 7)); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("a frame cut short: %v", err)
	}
}
