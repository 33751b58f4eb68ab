package pixel

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// j2k makes a code stream of one component in tiles whose tile-parts have the
// given lengths, which may be wrong.
func j2k(width, height, tileWidth uint32, parts ...uint32) []byte {
	be := binary.BigEndian
	b := []byte{0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0}
	for _, v := range []uint32{width, height, 0, 0, tileWidth, height, 0, 0} {
		b = be.AppendUint32(b, v)
	}
	b = append(b, 0, 1, 15, 1, 1)
	b = append(b, 0xFF, 0x52, 0, 12, 0, 2, 0, 1, 1, 5, 4, 4, 0x40, 1)
	b = append(b, 0xFF, 0x55, 0, 4, 0, 0)
	for i, n := range parts {
		b = append(b, 0xFF, 0x90, 0, 10, 0, byte(i))
		b = be.AppendUint32(b, n)
		b = append(b, 0, 1, 0xFF, 0x93)
		b = append(b, "packets!"...)
	}
	return append(b, 0xFF, 0xD9)
}

// inParts makes a code stream of one tile in so many tile-parts, that say there
// are others.
func inParts(n int, say byte) []byte {
	whole := j2k(64, 32, 64, part)
	head, tile, end := whole[:len(whole)-2-part], whole[len(whole)-2-part:len(whole)-2], whole[len(whole)-2:]
	tile[11] = say
	return slices.Concat(head, bytes.Repeat(tile, n), end)
}

const part = 12 + 2 + 8 // a tile-part of j2k

func TestReadJ2K(t *testing.T) {
	boxed := func(b []byte) []byte {
		out := []byte("\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 \x00\x00\x00\x00jp2 ")
		out = binary.BigEndian.AppendUint32(out, uint32(8+len(b)))
		return append(append(out, "jp2c"...), b...)
	}
	tiles := j2k(64, 32, 32, part, part)
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"a tile", j2k(64, 32, 64, part), true},
		{"two tiles", tiles, true},
		{"padded", append(bytes.Clone(tiles), 0), true},
		{"without its end", tiles[:len(tiles)-2], true},
		{"length left open", j2k(64, 32, 64, 0), true},
		{"longer than it says", j2k(64, 32, 64, part-3), true},
		{"shorter than it says", j2k(64, 32, 64, part+30), false},
		{"length and end left open", j2k(64, 32, 64, 0)[:75], false},
		{"two tile-parts of two", inParts(2, 2), true},
		{"one tile-part of two", inParts(1, 2), false},
		{"one tile-part of who knows how many", inParts(1, 0), true},
		{"the same without an end", inParts(1, 0)[:len(inParts(1, 0))-2], false},
		{"in boxes", boxed(tiles), true},
		{"in boxes, cut short", boxed(tiles)[:len(tiles)], false},
		{"boxes without a stream", boxed(nil)[:32], false},
		{"nothing", nil, false},
		{"cut in the header", tiles[:60], false},
		{"cut in the first tile", tiles[:len(tiles)-2-part-3], false},
		{"cut in the second tile", tiles[:len(tiles)-5], false},
		{"a tile missing", j2k(64, 32, 32, part), false},
		{"a tile too many", j2k(64, 32, 64, part, part), false},
		{"tile-part of nothing", j2k(64, 32, 64, 3), false},
		{"tiles of no width", j2k(64, 32, 0, part), false},
		{"65536 tiles", j2k(65535, 65535, 1, part), false},
		{"no width", j2k(0, 32, 32, part), false},
		{"too wide", j2k(1<<31, 32, 1<<31, part), false},
	} {
		h, err := readJ2K(tt.b)
		if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if tt.ok && (h.columns != 64 || h.rows != 32 || !slices.Equal(h.precision, []int{16}) || h.signed[0] ||
			h.progression != 2 || !h.transform || h.levels != 5 || !h.ht || !h.reversible || !h.tlm) {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
}

func TestJ2KCheck(t *testing.T) {
	f := Format{Rows: 32, Columns: 64, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: Monochrome2}
	good := j2kHeader{rows: 32, columns: 64, precision: []int{16}, signed: []bool{false}}
	if err := good.check(f); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*j2kHeader){
		"rows":       func(h *j2kHeader) { h.rows = 33 },
		"columns":    func(h *j2kHeader) { h.columns = 65535 },
		"bits":       func(h *j2kHeader) { h.precision[0] = 17 },
		"components": func(h *j2kHeader) { h.precision, h.signed = []int{8, 8, 8}, make([]bool, 3) },
		"mixed bits": func(h *j2kHeader) { h.precision, h.signed = []int{8, 9, 8}, make([]bool, 3) },
		"sizes":      func(h *j2kHeader) { h.subsampled = true },
	} {
		h := good
		h.precision, h.signed = slices.Clone(good.precision), slices.Clone(good.signed)
		change(&h)
		if err := h.check(f); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
