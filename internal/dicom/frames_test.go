package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

const (
	soi  = "\xff\xd8\xff\xe0" // begins a JPEG
	more = "\x01\x02\x03\x04" // goes on with one
)

// table writes an offset table of 32-bit or 64-bit offsets.
func table(size int, offsets ...uint64) string {
	var b []byte
	for _, o := range offsets {
		if size == 4 {
			b = binary.LittleEndian.AppendUint32(b, uint32(o))
		} else {
			b = binary.LittleEndian.AppendUint64(b, o)
		}
	}
	return string(b)
}

func TestEncapsulatedSpans(t *testing.T) {
	const jpeg = JPEGBaseline8Bit
	for _, c := range []struct {
		name, syntax, frames string
		extended, lengths    string
		basic                string
		fragments            []string
		want                 string // fragments of each frame, e.g. "1 2 1"; or the error
	}{
		{"single", jpeg, "", "", "", "", []string{soi}, "1"},
		{"single, number of frames", jpeg, "1 ", "", "", table(4, 0), []string{soi}, "1"},
		{"single in three fragments", jpeg, "1 ", "", "", "", []string{soi, more, soi}, "3"},
		{"single, padding", jpeg, "1 ", table(8, 0), table(8, 3), "", []string{soi}, "1"},
		{"one each", jpeg, "3 ", "", "", "", []string{soi, soi, soi}, "1 1 1"},
		{"one each, no markers", "1.2.3", "3 ", "", "", "", []string{more, more, more}, "1 1 1"},
		{"basic table", jpeg, "2 ", "", "", table(4, 0, 24), []string{more, more, more}, "2 1"},
		{"basic table, one each", jpeg, "2 ", "", "", table(4, 0, 12), []string{more, more}, "1 1"},
		{"basic table for more frames", jpeg, "2 ", "", "", table(4, 0, 12, 24), []string{soi, soi, soi}, "1 1"},
		{"extended table", jpeg, "2 ", table(8, 0, 24), "", "", []string{more, more, more}, "2 1"},
		{"extended before basic", jpeg, "2 ", table(8, 0, 12), "", table(4, 0, 24), []string{more, more, more}, "1 2"},
		{"extended table, padding", jpeg, "2 ", table(8, 0, 12), table(8, 3, 4), "", []string{soi, soi}, "1 1 (7)"},
		{"table that misses, markers", jpeg, "2 ", "", "", table(4, 0, 20), []string{soi, more, soi}, "2 1"},
		{"table that goes back, markers", jpeg, "2 ", "", "", table(4, 24, 0), []string{soi, more, soi}, "2 1"},
		{"table not from the start", jpeg, "2 ", "", "", table(4, 12, 24), []string{soi, more, soi}, "2 1"},
		{"table of zeros", jpeg, "2 ", "", "", table(4, 0, 0), []string{soi, soi}, "1 1"},
		{"markers", jpeg, "2 ", "", "", "", []string{soi, more, more, soi, more}, "3 2"},
		{"markers, cut short", jpeg, "5 ", "", "", "", []string{soi, soi}, "1 1"},
		{"no way to tell", jpeg, "2 ", "", "", "", []string{soi, more, more}, "not-acceptable"},
		{"fewer fragments than frames", jpeg, "3 ", "", "", "", []string{more, more}, "not-acceptable"},
		{"RLE headers", RLELossless, "2 ", "", "", "", []string{"\x01\x00\x00\x00\x40\x00\x00\x00", more, "\x02\x00\x00\x00\x40\x00\x00\x00"}, "2 1"},
		{"video", "1.2.840.10008.1.2.4.102", "100 ", "", "", "", []string{more, more, more}, "3"},
		{"no fragments", jpeg, "", "", "", "", nil, "not-found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := explicit().image(c.frames, 1, 1, 1, 8)
			if c.extended != "" {
				m.el(extendedOffsets, "OV", c.extended)
			}
			if c.lengths != "" {
				m.el(extendedLengths, "OV", c.lengths)
			}
			m.head(pixelDataTag, "OB", undefined).frag(c.basic)
			for _, f := range c.fragments {
				m.frag(f)
			}
			b := part10(c.syntax, m.seqEnd())
			l := layout(t, read(t, b))
			if got := assignment(t, b, l, c.fragments); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// assignment tells how many fragments each frame has, in order, and in
// parentheses the bytes of all when some are left out.
func assignment(t *testing.T, b []byte, l *Layout, fragments []string) string {
	t.Helper()
	var out, payload string
	for i := range max(l.Frames.Count, 1) {
		spans, err := l.Frames.Spans(i)
		if err != nil {
			return fault.KindOf(err).String()
		}
		out += fmt.Sprintf(" %d", len(spans))
		for _, s := range spans {
			payload += string(b[s.Offset : s.Offset+s.Length])
		}
	}
	if _, err := l.Frames.Spans(l.Frames.Count); !fault.Is(err, fault.NotFound) {
		t.Errorf("a frame too many: %v", err)
	}
	if all := strings.Join(fragments, ""); !strings.HasPrefix(all, payload) {
		out += fmt.Sprintf(" (%d)", len(payload))
	}
	return out[1:]
}

func TestNativeSpans(t *testing.T) {
	value := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i + 1)
		}
		return string(b)
	}
	for _, c := range []struct {
		name                      string
		syntax, frames            string
		rows, cols, samples, bits uint16
		photometric, vr, value    string
		count                     int
		last                      string // the last frame
	}{
		{"8 bits", ExplicitVRLittleEndian, "", 2, 2, 1, 8, "", "OB", value(4), 1, value(4)},
		{"16 bits, two frames", ExplicitVRLittleEndian, "2 ", 1, 2, 1, 16, "", "OW", value(8), 2, "\x05\x06\x07\x08"},
		{"padded", ExplicitVRLittleEndian, "1 ", 1, 3, 1, 8, "", "OB", value(4), 1, value(3)},
		{"colour, odd frames", ExplicitVRLittleEndian, "2 ", 1, 1, 3, 8, "", "OB", value(6), 2, "\x04\x05\x06"},
		{"422", ExplicitVRLittleEndian, "2 ", 1, 2, 3, 8, "YBR_FULL_422", "OB", value(8), 2, "\x05\x06\x07\x08"},
		{"422 in name alone", ExplicitVRLittleEndian, "2 ", 1, 2, 3, 8, "YBR_FULL_422", "OB", value(12), 2, "\x07\x08\x09\x0a\x0b\x0c"},
		{"bits", ExplicitVRLittleEndian, "3 ", 1, 3, 1, 1, "", "OB", "\x88\x01", 3, "\x06"},
		{"bits, whole bytes", ExplicitVRLittleEndian, "2 ", 1, 8, 1, 1, "", "OB", "\x88\x01", 2, "\x01"},
		{"big endian words", ExplicitVRBigEndian, "2 ", 1, 1, 1, 16, "", "OW", value(4), 2, "\x04\x03"},
		{"big endian, bytes in words", ExplicitVRBigEndian, "2 ", 1, 3, 1, 8, "", "OW", value(6), 2, "\x03\x06\x05"},
		{"big endian bytes", ExplicitVRBigEndian, "2 ", 1, 3, 1, 8, "", "OB", value(6), 2, "\x04\x05\x06"},
		{"big endian bits in words", ExplicitVRBigEndian, "3 ", 1, 5, 1, 1, "", "OW", "\x7f\xe0", 3, "\x1f"},
		{"big endian, 32 bits", ExplicitVRBigEndian, "1 ", 1, 1, 1, 32, "", "OW", value(4), 1, "\x04\x03\x02\x01"},
		{"cut short", ExplicitVRLittleEndian, "3 ", 1, 2, 1, 8, "", "OB", value(4), 2, "\x03\x04"},
		{"less than one", ExplicitVRLittleEndian, "1 ", 9, 9, 1, 8, "", "OB", value(4), 0, ""},
		{"no size", ExplicitVRLittleEndian, "1 ", 0, 9, 1, 8, "", "OB", value(4), 0, ""},
		{"overflow", ExplicitVRLittleEndian, "2147483647", 65535, 65535, 65535, 65535, "", "OB", value(4), 0, ""},
		{"nonsense in number of frames", ExplicitVRLittleEndian, "-3", 1, 4, 1, 8, "", "OB", value(4), 1, value(4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &maker{big: c.syntax == ExplicitVRBigEndian}
			if c.photometric != "" {
				m.el(photometric, "CS", c.photometric)
			}
			b := part10(c.syntax, m.image(c.frames, c.rows, c.cols, c.samples, c.bits).el(pixelDataTag, c.vr, c.value))
			l := layout(t, read(t, b))
			if l.Frames.Count != c.count || !l.Frames.Native {
				t.Fatalf("%d frames, native %v", l.Frames.Count, l.Frames.Native)
			}
			if c.count > 0 {
				if got := nativeFrame(t, b, l, c.count-1); string(got) != c.last {
					t.Errorf("the last frame is % x, not % x", got, c.last)
				}
			}
			for _, i := range []int{-1, c.count} {
				if _, err := l.Frames.Spans(i); !fault.Is(err, fault.NotFound) {
					t.Errorf("frame %d: %v", i, err)
				}
			}
		})
	}
}

func TestFloatPixelData(t *testing.T) {
	b := part10(ExplicitVRLittleEndian, explicit().image("2 ", 1, 1, 1, 0).el(floatPixelTag, "OF", "12345678"))
	l := layout(t, read(t, b))
	if got := nativeFrame(t, b, l, 1); string(got) != "5678" || l.Frames.Tag != floatPixelTag {
		t.Errorf("frame %q of %s", got, l.Frames.Tag)
	}
	l = layout(t, read(t, part10(ExplicitVRLittleEndian, explicit().el(0x00100010, "PN", "ab"))))
	if _, err := l.Frames.Spans(0); !fault.Is(err, fault.NotFound) {
		t.Errorf("no pixel data: %v", err)
	}
}

// TestLittleEndianStream compares cutting a long stream with cutting it bit by bit.
func TestLittleEndianStream(t *testing.T) {
	raw := make([]byte, 3*cutterSize+6)
	for i := range raw {
		raw[i] = byte(i * 7 / 3)
	}
	for _, word := range []int{1, 2, 4, 8} {
		for _, size := range []int64{1, 7, 8, 12, 333, 8 * cutterSize, 8*cutterSize + 5, 200_001} {
			f := Frames{Tag: pixelDataTag, Native: true, Word: word, frameBits: size, Value: Span{0, int64(len(raw))}}
			f.Count = int(f.Value.Length * 8 / size)
			swapped := bytes.Clone(raw)
			Swap(swapped, word)
			for _, i := range []int{0, f.Count / 2, f.Count - 1} {
				got := nativeFrame(t, raw, &Layout{Frames: f}, i)
				want := make([]byte, (size+7)/8)
				for k := range size {
					at := int64(i)*size + k
					want[k/8] |= swapped[at/8] >> (at % 8) & 1 << (k % 8)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("words of %d, frames of %d bits, frame %d differs", word, size, i)
				}
			}
		}
	}
}
