package dicom

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// tiny is a file of 2 KB, ct one of 512 KiB with the attributes of a CT slice.
func tiny() []byte {
	m := explicit().el(charsetTag, "CS", "ISO_IR 100")
	for i := range 60 {
		m.el(Tag(0x00101000+i), "LO", "a value of some bytes")
	}
	return part10(ExplicitVRLittleEndian, m.el(pixelDataTag, "OW", strings.Repeat("p", 128)))
}

func ct(syntax string) []byte {
	m := &maker{implicit: syntax == ImplicitVRLittleEndian}
	m.el(charsetTag, "CS", "ISO_IR 100")
	for i := range 200 {
		m.el(Tag(0x00180010+16*i), "DS", "1.25\\-12.5")
		if i%20 == 0 {
			m.head(0x00400275+Tag(i), "SQ", undefined).item(undefined).el(0x00080100, "SH", "CODE").el(0x00080104, "LO", "Meaning ").itemEnd().seqEnd()
		}
	}
	return part10(syntax, m.image("", 512, 512, 1, 16).el(pixelDataTag, "OW", strings.Repeat("p", 512<<10)))
}

func BenchmarkRead(b *testing.B) {
	for name, file := range map[string][]byte{"tiny": tiny(), "ct": ct(ExplicitVRLittleEndian), "ct-implicit": ct(ImplicitVRLittleEndian)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				read(b, file)
			}
		})
	}
}

func BenchmarkLayout(b *testing.B) {
	m := explicit().image("2000", 1, 1, 1, 8).head(pixelDataTag, "OB", undefined).frag("")
	for range 2000 {
		m.frag(soi)
	}
	l := layout(b, read(b, part10(JPEGBaseline8Bit, m.seqEnd())))
	code := l.AppendBinary(nil)
	b.Run("parse2000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseLayout(code); err != nil {
				b.Fatal(err)
			}
		}
	})
	file := read(b, ct(ExplicitVRLittleEndian))
	b.Run("new-ct", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			l, _ := NewLayout(file)
			buf = l.AppendBinary(buf[:0])
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	file := ct(ImplicitVRLittleEndian)
	for _, to := range uncompressed {
		b.Run(to, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Convert(b.Context(), io.Discard, bytes.NewReader(file), to); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
