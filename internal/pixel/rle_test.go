package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// drawFormat returns a format of a small image.
func drawFormat(t *rapid.T) Format {
	f := Format{
		Rows:          rapid.IntRange(1, 40).Draw(t, "rows"),
		Columns:       rapid.IntRange(1, 300).Draw(t, "columns"),
		Samples:       rapid.SampledFrom([]int{1, 1, 3}).Draw(t, "samples"),
		BitsAllocated: rapid.SampledFrom([]int{8, 8, 16, 16, 32}).Draw(t, "allocated"),
		Signed:        rapid.Bool().Draw(t, "signed"),
		Photometric:   Monochrome2,
	}
	f.BitsStored = rapid.IntRange(1, f.BitsAllocated).Draw(t, "stored")
	f.HighBit = f.BitsStored - 1
	if f.Samples == 3 {
		f.Photometric, f.Signed = RGB, false
		f.Planar = rapid.Bool().Draw(t, "planar")
	}
	return f
}

// drawImage returns a small image with runs, ramps and noise.
func drawImage(t *rapid.T, f Format) Image {
	n, err := f.FrameBytes()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 0, n)
	state := rapid.Uint32().Draw(t, "state") | 1
	for len(data) < int(n) {
		run := rapid.IntRange(1, 700).Draw(t, "run")
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		for range run {
			switch kind {
			case 1:
				state += 1 << 24
			case 2:
				state = state*1664525 + 1013904223
			}
			data = append(data, byte(state>>24))
		}
	}
	return Image{Format: f, Data: data[:n]}
}

func TestRLERoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := drawImage(t, drawFormat(t))
		bits, f, err := rle{}.Encode(context.Background(), img, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Planar || len(bits)%2 != 0 {
			t.Fatalf("planar %v, %d bytes", f.Planar, len(bits))
		}
		back, err := rle{}.Decode(context.Background(), f, bits)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Data, img.Interleaved().Data) {
			t.Fatal("it does not come back the same")
		}
	})
}

// TestPack compares with the definition of the coding, and that runs are used.
func TestPack(t *testing.T) {
	for _, tt := range []struct{ row, want []byte }{
		{[]byte{}, nil},
		{[]byte{7}, []byte{0, 7}},
		{[]byte{7, 7}, []byte{1, 7, 7}},
		{[]byte{7, 7, 7}, []byte{254, 7}},
		{[]byte{1, 2, 3, 3, 3, 3}, []byte{1, 1, 2, 253, 3}},
		{slices.Repeat([]byte{9}, 128), []byte{129, 9}},
		{slices.Repeat([]byte{9}, 129), []byte{129, 9, 0, 9}},
		{slices.Repeat([]byte{9}, 256), []byte{129, 9, 129, 9}},
		{[]byte{1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 5, 5, 5, 1}, []byte{9, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 254, 5, 0, 1}},
	} {
		if got := pack(nil, tt.row); !bytes.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.row, got, tt.want)
		}
	}
	// A literal of more than 128.
	row := make([]byte, 300)
	for i := range row {
		row[i] = byte(i)
	}
	got := pack(nil, row)
	if len(got) != 303 || got[0] != 127 || got[129] != 127 || got[258] != 43 {
		t.Errorf("%d bytes: %v", len(got), got)
	}
}

func TestRLERefused(t *testing.T) {
	f := Format{Rows: 2, Columns: 4, Samples: 1, BitsAllocated: 16, BitsStored: 16, HighBit: 15, Photometric: Monochrome2}
	good := func() []byte {
		bits, _, err := rle{}.Encode(context.Background(), Image{f, []byte("0123456789abcdef")}, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return bits
	}
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	for name, change := range map[string]func([]byte) []byte{
		"nothing":              func([]byte) []byte { return nil },
		"half a header":        func(b []byte) []byte { return b[:40] },
		"header alone":         func(b []byte) []byte { return b[:64] },
		"no segments":          put(0, 0),
		"sixteen segments":     put(0, 16),
		"too few segments":     put(0, 1),
		"too many segments":    put(0, 4),
		"segment in header":    put(4, 60),
		"segment behind frame": put(8, 1<<31),
		"segments overlap":     put(8, 10),
		"segment of nothing":   put(8, 64),
		"cut short":            func(b []byte) []byte { return b[:len(b)-4] },
		"all no operations":    func(b []byte) []byte { return append(b[:64], slices.Repeat([]byte{128}, 100)...) },
	} {
		if _, err := (rle{}).Decode(context.Background(), f, change(good())); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := f
	big.Rows, big.Columns = 9000, 9000
	if _, err := (rle{}).Decode(context.Background(), big, good()); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("a large image of few bytes: %v", err)
	}
	four := Format{Rows: 1, Columns: 1, Samples: 4, BitsAllocated: 32, BitsStored: 32, HighBit: 31, Photometric: "ARGB"}
	if err := New(nil).Encodes(dicom.RLELossless, four); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("sixteen segments: %v", err)
	}
}

// TestRLESlack: runs past the end of a segment and padding do no harm.
func TestRLESlack(t *testing.T) {
	f := Format{Rows: 1, Columns: 5, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: Monochrome2}
	header := make([]byte, 64)
	header[0], header[4] = 1, 64
	for name, tt := range map[string]struct{ coded, want []byte }{
		"run too long":     {[]byte{1, 1, 2, 200, 3}, []byte{1, 2, 3, 3, 3}},
		"literal too long": {[]byte{6, 1, 2, 3, 4, 5, 6, 7}, []byte{1, 2, 3, 4, 5}},
		"no operation":     {[]byte{128, 128, 252, 7, 128}, []byte{7, 7, 7, 7, 7}},
		"padding":          {[]byte{252, 7, 0, 0, 0}, []byte{7, 7, 7, 7, 7}},
	} {
		img, err := rle{}.Decode(context.Background(), f, append(slices.Clone(header), tt.coded...))
		if err != nil || !bytes.Equal(img.Data, tt.want) {
			t.Errorf("%s: %v %v", name, img.Data, err)
		}
	}
}
