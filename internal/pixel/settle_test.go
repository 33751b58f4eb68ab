package pixel

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

func words(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func TestSettle(t *testing.T) {
	f := Format{Rows: 1, Columns: 2, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: Monochrome2}
	with := func(change func(*Format)) Format { g := f; change(&g); return g }
	for _, tt := range []struct {
		name      string
		f         Format
		data      []byte
		precision int
		signed    bool
		want      []byte
		high      int
	}{
		{"unsigned", f, words(1, 0xFFF), 12, false, words(1, 0xFFF), 11},
		{"overlays above", f, words(0x8001, 0xFFFF), 16, false, words(0x8001, 0xFFFF), 11},
		{"high bit of what was", with(func(f *Format) { f.HighBit = 15 }), words(1, 2), 12, false, words(1, 2), 11},
		{"high bit of what is", with(func(f *Format) { f.HighBit = 15 }), words(0x10, 0x20), 16, false, words(0x10, 0x20), 15},
		{"sign of an unsigned stream", with(func(f *Format) { f.Signed = true }), words(0x7FF, 0x800), 12, false, words(0x7FF, 0xF800), 11},
		{"sign of a signed stream", with(func(f *Format) { f.Signed = true }), words(0x7FF, 0xF800), 12, true, words(0x7FF, 0xF800), 11},
		{"fewer bits than stored", with(func(f *Format) { f.Signed, f.BitsStored, f.HighBit = true, 16, 15 }), words(0xFFF, 0x1000), 13, false, words(0xFFF, 0xF000), 15},
		{"more bits than stored", with(func(f *Format) { f.Signed, f.BitsStored, f.HighBit = true, 10, 9 }), words(0x200, 0xE00), 12, false, words(0xFE00, 0xFE00), 9},
		{"signed stream, unsigned image", f, words(0xFFFF, 5), 12, true, words(0xFFF, 5), 11},
		{"bytes", f, []byte{1, 255}, 8, false, words(1, 255), 11},
		{"signed bytes", with(func(f *Format) { f.Signed = true }), []byte{1, 255}, 8, true, words(1, 0xFFFF), 11},
		{"few signed bits", with(func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Signed = 8, 6, 5, true }), []byte{0x1F, 0x20}, 6, false, []byte{0x1F, 0xE0}, 5},
		{"one bit", with(func(f *Format) { f.BitsAllocated, f.BitsStored, f.HighBit, f.Columns = 1, 1, 0, 9 }), []byte{1, 0, 0, 1, 0, 0, 0, 0, 1}, 1, false, []byte{9, 1}, 0},
	} {
		img := settle(Image{tt.f, bytes.Clone(tt.data)}, tt.precision, tt.signed)
		if !bytes.Equal(img.Data, tt.want) || img.HighBit != tt.high {
			t.Errorf("%s: % x, want % x, high bit %d", tt.name, img.Data, tt.want, img.HighBit)
		}
	}
}

// TestDepth: with the depth it is given, no sample changes by being cut to it
// and filled again.
func TestDepth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFormat(t)
		if f.BitsAllocated > 16 {
			f.BitsAllocated, f.BitsStored = 16, min(f.BitsStored, 16)
		}
		f.HighBit = f.BitsStored - 1
		img := drawImage(t, f).Interleaved()
		clean := rapid.Bool().Draw(t, "clean")
		if clean {
			img = settle(Image{img.Format, bytes.Clone(img.Data)}, f.BitsStored, !f.Signed)
		}
		d := depth(img)
		if clean && d != f.BitsStored {
			t.Fatalf("%d bits of %d that hold all", d, f.BitsStored)
		}
		back := Image{img.Format, bytes.Clone(img.Data)}
		for i, v := range img.words(d) {
			if f.BitsAllocated == 8 {
				back.Data[i] = byte(v)
			} else {
				binary.LittleEndian.PutUint16(back.Data[2*i:], v)
			}
		}
		if back = settle(back, d, false); !bytes.Equal(back.Data, img.Data) {
			t.Fatalf("%d bits do not hold it: %+v", d, f)
		}
	})
}

func TestPackBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOf(rapid.ByteRange(0, 1)).Draw(t, "samples")
		if got := unpackBits(packBits(samples), len(samples)); !bytes.Equal(got, samples) {
			t.Fatal(got)
		}
	})
}
