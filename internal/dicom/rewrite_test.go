package dicom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

func rewrite(t testing.TB, b []byte, to string, e Edit) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Rewrite(t.Context(), &out, bytes.NewReader(b), to, e); err != nil {
		t.Fatalf("to %s: %v", to, err)
	}
	return out.Bytes()
}

func cs(t Tag, v string) Element { return Element{Tag: t, VR: CS, Value: []byte(v)} }

func us(t Tag, v uint16) Element {
	return Element{Tag: t, VR: US, Value: binary.LittleEndian.AppendUint16(nil, v)}
}

func TestRewriteRules(t *testing.T) {
	const ei, ii, be, rle = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless
	frags := func(m *maker, frags ...string) *maker {
		m.head(pixelDataTag, "OB", undefined)
		for _, f := range frags {
			m.frag(f)
		}
		return m.seqEnd()
	}
	icon := Element{Tag: 0x00880200, VR: SQ, Items: []*Dataset{{Order: binary.LittleEndian, Elements: []Element{us(0x00280010, 258), {Tag: pixelDataTag, VR: OW, Value: []byte("1234")}}}}}
	for _, c := range []struct {
		name     string
		from, to string
		data     *maker
		edit     Edit
		want     *maker
	}{
		{"set in place", ei, ei, explicit().el(0x00080060, "CS", "CT").us(0x00280010, 1), Edit{Set: []Element{cs(0x00080060, "MR")}},
			explicit().el(0x00080060, "CS", "MR").us(0x00280010, 1)},
		{"set what was absent, in order", ei, ii, explicit().el(0x00080060, "CS", "CT").us(0x00280010, 1), Edit{Set: []Element{us(0x00280011, 2), cs(0x00080005, "A"), cs(0x00200011, "7")}},
			implicit().el(0x00080005, "CS", "A ").el(0x00080060, "CS", "CT").el(0x00200011, "IS", "7 ").us(0x00280010, 1).us(0x00280011, 2)},
		{"set in big endian", ei, be, explicit().us(0x00280010, 1), Edit{Set: []Element{us(0x00280011, 258)}},
			bigEndian().us(0x00280010, 1).us(0x00280011, 258)},
		{"removed", ei, ei, explicit().el(0x00080060, "CS", "CT").us(0x00280006, 0).us(0x00280010, 1), Edit{Remove: []Tag{0x00280006, 0x00080018}},
			explicit().el(0x00080060, "CS", "CT").us(0x00280010, 1)},
		{"removed with its items", ei, ei, explicit().head(0x00081140, "SQ", undefined).item(undefined).us(0x00280010, 7).head(0x00081140, "SQ", undefined).item(undefined).itemEnd().seqEnd().
			head(pixelDataTag, "OB", undefined).frag("").frag("ab").seqEnd().itemEnd().seqEnd().us(0x00280011, 1), Edit{Remove: []Tag{0x00081140}},
			explicit().us(0x00280011, 1)},
		{"same tags within items stay", ei, ei, explicit().head(0x00081140, "SQ", undefined).item(undefined).us(0x00280010, 7).itemEnd().seqEnd().us(0x00280010, 1), Edit{Set: []Element{us(0x00280010, 2)}},
			explicit().head(0x00081140, "SQ", undefined).item(undefined).us(0x00280010, 7).itemEnd().seqEnd().us(0x00280010, 2)},
		{"a sequence is set", ei, be, frags(explicit().head(0x00880200, "SQ", undefined).item(undefined), "", "ab").itemEnd().seqEnd(), Edit{Set: []Element{icon}},
			bigEndian().head(0x00880200, "SQ", undefined).item(undefined).us(0x00280010, 258).el(pixelDataTag, "OW", "2143").itemEnd().seqEnd()},
		{"twice and out of order", ei, ei, explicit().us(0x00280010, 1).el(0x00080060, "CS", "CT").us(0x00280010, 3), Edit{Set: []Element{us(0x00280010, 2)}},
			explicit().us(0x00280010, 2).el(0x00080060, "CS", "CT")},
		{"native to fragments", ii, rle, implicit().el(pixelDataTag, "OW", "12345678").el(0xFFFCFFFC, "OB", "zz"), Edit{Pixels: func(p *PixelData) error {
			return errors.Join(p.Fragment([]byte("abc")), p.Fragment([]byte("de")))
		}}, frags(explicit(), "", "abc\x00", "de").el(0xFFFCFFFC, "OB", "zz")},
		{"fragments to native", rle, ii, frags(explicit(), "12345678", "ab", "cdef").el(0xFFFCFFFC, "OB", "zz"), Edit{Pixels: func(p *PixelData) error {
			err := p.Native(OW, 3, 1)
			_, err2 := p.Write([]byte("xyz"))
			return errors.Join(err, err2)
		}}, implicit().el(pixelDataTag, "OW", "xyz\x00").el(0xFFFCFFFC, "OB", "zz")},
		{"fragments to big endian", rle, be, frags(explicit(), "", "ab"), Edit{Pixels: func(p *PixelData) error {
			err := p.Native(OW, 8, 4)
			_, err2 := p.Write([]byte("12345"))
			_, err3 := p.Write([]byte("678"))
			return errors.Join(err, err2, err3)
		}}, bigEndian().el(pixelDataTag, "OW", "43218765")},
		{"a second one goes", rle, rle, frags(frags(explicit(), "", "ab"), "", "cd").el(pixelDataTag, "OB", "ef"), Edit{Pixels: func(p *PixelData) error { return p.Fragment([]byte("AB")) }},
			frags(explicit(), "", "AB")},
		{"in a sequence it stays", rle, rle, frags(explicit().head(0x00880200, "SQ", undefined).item(undefined), "", "ab").itemEnd().seqEnd(), Edit{Pixels: func(p *PixelData) error { return p.Fragment([]byte("AB")) }},
			frags(explicit().head(0x00880200, "SQ", undefined).item(undefined), "", "ab").itemEnd().seqEnd()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rewrite(t, part10(c.from, c.data), c.to, c.edit)
			const meta = 132 + 12
			if got := got[meta+int(binary.LittleEndian.Uint32(got[meta-4:])):]; !bytes.Equal(got, c.want.b) {
				t.Errorf("\n% x instead of\n% x", got, c.want.b)
			}
			if f := read(t, got); f.Syntax != c.to || len(f.Warnings) > 0 {
				t.Errorf("%s %q", f.Syntax, f.Warnings)
			}
		})
	}
}

// TestRewriteIsConvert: without edits it does what Convert does.
func TestRewriteIsConvert(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "missing-uid") {
		if !Uncompressed(m.Syntax) || m.Size > 1<<20 || testing.Short() && m.Size > 20<<10 {
			continue
		}
		b := m.Bytes(t)
		for _, to := range uncompressed {
			if !bytes.Equal(rewrite(t, b, to, Edit{}), convert(t, b, to)) {
				t.Errorf("%s to %s: not the same", m.Name, to)
			}
		}
	}
}

// frames reads all frames of a file by what NewLayout says.
func frames(t testing.TB, b []byte, to string) (list [][]byte, fr Frames) {
	t.Helper()
	l := layout(t, read(t, b))
	err := Rewrite(t.Context(), io.Discard, bytes.NewReader(b), to, Edit{Pixels: func(p *PixelData) error {
		for i := range l.Frames.Count {
			spans, err := l.Frames.Spans(i)
			if err != nil {
				return err
			}
			bits, err := p.Append(nil, spans)
			if err != nil {
				return err
			}
			var w bytes.Buffer
			lw := l.Frames.LittleEndian(i, &w)
			if _, err := lw.Write(bits); err != nil {
				return err
			}
			if err := lw.Close(); err != nil {
				return err
			}
			list = append(list, w.Bytes())
		}
		return p.Fragment(nil)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return list, l.Frames
}

// TestRewriteFrames takes the frames of every file, in one pass, to fragments
// and these, in the containers there are, to fragments again.
func TestRewriteFrames(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived") {
		if m.Size > 4<<20 {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			l := layout(t, read(t, b))
			if l.Frames.Tag != pixelDataTag || l.Frames.Count == 0 {
				return
			}
			want, fr := frames(t, b, RLELossless)
			if !read(t, b).Deflated && fr.Whole(0) {
				spans, _ := fr.Spans(len(want) - 1)
				var raw []byte
				for _, s := range spans {
					raw = append(raw, b[s.Offset:s.Offset+s.Length]...)
				}
				if !bytes.Equal(raw, want[len(want)-1]) {
					t.Fatal("a frame read in passing is not that of the file")
				}
			}
			edit := Edit{Remove: []Tag{extendedOffsets, extendedLengths}, Pixels: func(p *PixelData) error {
				for _, f := range want {
					if err := p.Fragment(f); err != nil {
						return err
					}
				}
				return nil
			}}
			coded := rewrite(t, b, JPEG2000Lossless, edit)
			got, _ := frames(t, coded, RLELossless)
			if len(got) != len(want) {
				t.Fatalf("%d frames instead of %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(bytes.TrimRight(got[i], "\x00"), bytes.TrimRight(want[i], "\x00")) {
					t.Fatalf("frame %d differs", i)
				}
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	native := part10(ExplicitVRLittleEndian, explicit().el(pixelDataTag, "OW", "12345678"))
	coded := part10(RLELossless, explicit().head(pixelDataTag, "OB", undefined).frag("").frag("abcd").frag("ef").seqEnd())
	mine := errors.New("mine")
	at := int64(len(native) - 8)
	first := int64(len(coded) - 8 - 6 - 8)
	spans := func(s ...Span) func(*PixelData) error {
		return func(p *PixelData) error {
			_, err := p.Append(nil, s)
			return errors.Join(err, p.Fragment(nil))
		}
	}
	for _, c := range []struct {
		name string
		b    []byte
		edit Edit
		kind fault.Kind
	}{
		{"nothing to write", coded, Edit{}, fault.NotAcceptable},
		{"nothing written", native, Edit{Pixels: func(*PixelData) error { return nil }}, fault.Internal},
		{"too little", native, Edit{Pixels: func(p *PixelData) error { return p.Native(OW, 2, 2) }}, fault.Internal},
		{"too much", native, Edit{Pixels: func(p *PixelData) error {
			_, err := p.Write([]byte("abc"))
			return err
		}}, fault.Internal},
		{"both", native, Edit{Pixels: func(p *PixelData) error { return errors.Join(p.Native(OW, 0, 2), p.Fragment(nil)) }}, fault.Internal},
		{"4 GiB", native, Edit{Pixels: func(p *PixelData) error { return p.Native(OW, 1<<32, 2) }}, fault.NotAcceptable},
		{"no value to set", native, Edit{Set: []Element{{Tag: 0x00091001, VR: OB, Bulk: true, Length: 4}}}, fault.Internal},
		{"spans before", native, Edit{Pixels: spans(Span{at - 1, 4})}, fault.Invalid},
		{"spans behind", native, Edit{Pixels: spans(Span{at, 9})}, fault.Invalid},
		{"spans back", native, Edit{Pixels: spans(Span{at + 4, 4}, Span{at, 1})}, fault.Invalid},
		{"no fragment there", coded, Edit{Pixels: spans(Span{first + 1, 2})}, fault.Invalid},
		{"no fragment that long", coded, Edit{Pixels: spans(Span{first - 8 - 4, 5})}, fault.Invalid},
		{"no more fragments", coded, Edit{Pixels: spans(Span{first + 100, 1})}, fault.Invalid},
		{"cut within fragments", coded[:len(coded)-9], Edit{Pixels: spans(Span{first, 2})}, fault.Invalid},
		{"cut within native", native[:len(native)-2], Edit{Pixels: spans(Span{at, 8})}, fault.Invalid},
		{"no DICOM", []byte("no DICOM at all"), Edit{}, fault.Invalid},
	} {
		if err := Rewrite(t.Context(), io.Discard, bytes.NewReader(c.b), RLELossless, c.edit); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, not %v", c.name, err, c.kind)
		}
	}
	if err := Rewrite(t.Context(), io.Discard, bytes.NewReader(native), RLELossless, Edit{Pixels: func(*PixelData) error { return mine }}); !errors.Is(err, mine) {
		t.Errorf("own error: %v", err)
	}
	full := errors.New("no room")
	big := make([]byte, 200_000)
	for _, to := range []string{RLELossless, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian} {
		edit := Edit{Pixels: func(p *PixelData) error {
			if to == RLELossless {
				return p.Fragment(big)
			}
			err := p.Native(OW, int64(len(big)), 2)
			_, err2 := p.Write(big)
			return errors.Join(err, err2)
		}}
		if err := Rewrite(t.Context(), failing{full}, bytes.NewReader(native), to, edit); !errors.Is(err, full) {
			t.Errorf("a writer that fails: %v", err)
		}
	}
}

// TestRewriteShares: native frames that begin within a byte share it, however
// many they are that do.
func TestRewriteShares(t *testing.T) {
	bits := strings.Repeat("\xA5\x3C\x99\x0F", 3)
	for _, from := range []*maker{explicit(), bigEndian()} {
		syntax, vr, value := ExplicitVRLittleEndian, "OB", bits
		if from.big {
			syntax, vr = ExplicitVRBigEndian, "OW"
			b := []byte(bits)
			Swap(b, 2)
			value = string(b)
		}
		b := part10(syntax, from.image("30", 1, 3, 1, 1).el(pixelDataTag, vr, value))
		list, _ := frames(t, b, RLELossless)
		if len(list) != 30 {
			t.Fatalf("%d frames", len(list))
		}
		for i, f := range list {
			var want byte
			for k := range 3 {
				n := 3*i + k
				want |= bits[n/8] >> (n % 8) & 1 << k
			}
			if len(f) != 1 || f[0] != want {
				t.Errorf("%s, frame %d is %x instead of %x", syntax, i, f, want)
			}
		}
	}
}

// TestRewriteMemory rewrites a large file in constant memory.
func TestRewriteMemory(t *testing.T) {
	const size = 64 << 20
	for _, c := range []struct {
		name string
		head []byte
		span int64
	}{
		{"native", part10(ExplicitVRLittleEndian, explicit().us(bitsAllocated, 16).head(pixelDataTag, "OW", size)), 0},
		{"fragments", part10(RLELossless, explicit().head(pixelDataTag, "OB", undefined).frag("").item(size)), 0},
	} {
		tail := explicit().seqEnd().b
		if c.name == "native" {
			tail = nil
		}
		var err error
		n := allocation(func() {
			src := io.MultiReader(bytes.NewReader(c.head), io.LimitReader(zeros{}, size), bytes.NewReader(tail))
			err = Rewrite(t.Context(), io.Discard, src, RLELossless, Edit{Pixels: func(p *PixelData) error { return p.Fragment([]byte("short")) }})
		})
		if err != nil || n > 1<<20 {
			t.Errorf("%s: %d bytes, %v", c.name, n, err)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		parsed, err := Read(t.Context(), bytes.NewReader(b), Limits{})
		if err != nil {
			parsed = &File{Data: &Dataset{}, Syntax: ExplicitVRLittleEndian}
		}
		l := layout(t, parsed)
		edit := Edit{Set: []Element{cs(0x00280004, "RGB"), us(0x00280100, 8)}, Remove: []Tag{0x00280006, extendedOffsets, extendedLengths},
			Pixels: func(p *PixelData) error {
				for i := range min(l.Frames.Count, 100) {
					spans, err := l.Frames.Spans(i)
					if err != nil {
						break
					}
					bits, err := p.Append(nil, spans)
					if err != nil {
						return err
					}
					if err := p.Fragment(bits); err != nil {
						return err
					}
				}
				return p.Fragment(nil)
			}}
		var out bytes.Buffer
		switch err := Rewrite(t.Context(), &out, bytes.NewReader(b), JPEG2000Lossless, edit); {
		case fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge), fault.Is(err, fault.NotAcceptable):
			return
		case err != nil:
			t.Fatal(err)
		}
		g, err := Read(t.Context(), &out, Limits{})
		if fault.Is(err, fault.TooLarge) {
			return
		} else if err != nil {
			t.Fatalf("what was rewritten is not read: %v", err)
		}
		if e := g.Data.Lookup(0x00280004); e == nil || string(e.Value) != "RGB " {
			t.Fatal("an element was not set")
		}
		if slices.ContainsFunc(g.Data.Elements, func(e Element) bool { return slices.Contains(edit.Remove, e.Tag) }) {
			t.Fatal("an element was not removed")
		}
	})
}
