package sandbox

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// words16 are little-endian samples of two bytes.
func words16(v ...int) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return b
}

func TestSamples(t *testing.T) {
	for name, tt := range map[string]struct {
		b, want []byte
		do      func(b []byte) []byte
	}{
		"mask 12":        {words16(0xFFF, 0x1001, 0xF800), words16(0xFFF, 1, 0x800), func(b []byte) []byte { extend(b, 2, 12, false); return b }},
		"sign 12":        {words16(0xFFF, 0x7FF, 0x800), words16(-1, 0x7FF, -2048), func(b []byte) []byte { extend(b, 2, 12, true); return b }},
		"16 stay":        {words16(0x8000), words16(0x8000), func(b []byte) []byte { extend(b, 2, 16, true); return b }},
		"sign 7":         {[]byte{0x40, 0x3F, 0xBF}, []byte{0xC0, 0x3F, 0x3F}, func(b []byte) []byte { extend(b, 1, 7, true); return b }},
		"saturate":       {words16(4095, 4096, 65535), words16(4095, 4095, 4095), func(b []byte) []byte { saturate(b, 2, 12, false); return b }},
		"saturate sign":  {words16(2048, -2049, -5), words16(2047, -2048, -5), func(b []byte) []byte { saturate(b, 2, 12, true); return b }},
		"saturate bytes": {[]byte{127, 128, 255}, []byte{127, 127, 127}, func(b []byte) []byte { saturate(b, 1, 7, false); return b }},
		"widen":          {[]byte{1, 0x80}, words16(1, 0x80), func(b []byte) []byte { return widen(b, false) }},
		"widen sign":     {[]byte{1, 0x80}, words16(1, -128), func(b []byte) []byte { return widen(b, true) }},
		"narrow":         {words16(1, -128), []byte{1, 0x80}, narrow},
		"interleave":     {[]byte("rRgGbB"), []byte("rgbRGB"), func(b []byte) []byte { return interleave(b, 1, 3) }},
		"interleave 16":  {words16(1, 2, 3, 4, 5, 6), words16(1, 3, 5, 2, 4, 6), func(b []byte) []byte { return interleave(b, 2, 3) }},
		"center":         {words16(0, 0xFFF, 0xF800), words16(-2048, 2047, 0), func(b []byte) []byte { center(b, 2, 12, false, 0); return b }},
		"center sign":    {words16(-2048, 2047, 0), words16(0, 4095, 2048), func(b []byte) []byte { center(b, 2, 12, true, 2048); return b }},
		"center one bit": {[]byte{0, 1}, []byte{127, 128}, func(b []byte) []byte { center(b, 1, 1, false, 128); return b }},
	} {
		if got := tt.do(bytes.Clone(tt.b)); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %x, want %x", name, got, tt.want)
		}
	}
}
