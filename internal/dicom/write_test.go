package dicom

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// from returns the source of bulk values of a file that is in memory.
func from(b []byte) func(*Element) (io.ReadCloser, error) {
	return func(e *Element) (io.ReadCloser, error) {
		spans := e.Fragments
		if spans == nil {
			spans = []Span{{e.Offset, e.Length}}
		}
		var parts []io.Reader
		for _, s := range spans {
			parts = append(parts, bytes.NewReader(b[s.Offset:s.Offset+s.Length]))
		}
		return io.NopCloser(io.MultiReader(parts...)), nil
	}
}

// TestWriteFiles writes every file again from what was read, and compares.
func TestWriteFiles(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived", "missing-uid", "invalid-uid") {
		if Syntax(m.Syntax).Deflated || m.Size > 1<<20 {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			f := read(t, b)
			for _, again := range []*File{f, {Syntax: f.Syntax, Data: f.Data}} {
				var out bytes.Buffer
				if err := Write(&out, again, from(b)); err != nil {
					t.Fatal(err)
				}
				g := read(t, out.Bytes())
				if i := firstDifference(content(f.Data, "", nil), content(g.Data, "", nil)); i >= 0 || g.Syntax != f.Syntax || len(g.Warnings) > 0 {
					t.Fatalf("element %d differs, transfer syntax %s, warnings %q", i, g.Syntax, g.Warnings)
				}
				var second bytes.Buffer
				if err := Write(&second, again, from(b)); err != nil || !bytes.Equal(second.Bytes(), out.Bytes()) {
					t.Fatal("the same file is written in two ways")
				}
				l, k := layout(t, f), layout(t, g)
				for i := range l.Frames.Count {
					s1, err1 := l.Frames.Spans(i)
					s2, err2 := k.Frames.Spans(i)
					if (err1 == nil) != (err2 == nil) || len(s1) != len(s2) {
						t.Fatalf("frame %d: %v %v, %v %v", i, s1, err1, s2, err2)
					}
					for n := range s1 {
						p1, p2 := b[s1[n].Offset:][:s1[n].Length], out.Bytes()[s2[n].Offset:][:s2[n].Length]
						if !bytes.HasPrefix(p2, p1) {
							t.Fatalf("frame %d differs", i)
						}
					}
				}
			}
		})
	}
}

func TestWriteMade(t *testing.T) {
	little := (encoding{}).order()
	d := &Dataset{Order: little, Elements: []Element{
		{Tag: 0x00100010, VR: PN, Value: []byte("Doe")},
		{Tag: 0x00080018, VR: UI, Value: []byte("1.2.3")},
		{Tag: 0x00080016, VR: UI, Value: []byte("1.2")},
		{Tag: 0x00280010, VR: US, Value: []byte{2, 1}},
		{Tag: 0x00400275, VR: SQ, Items: []*Dataset{{Order: little, Elements: []Element{{Tag: 0x00080060, VR: CS, Value: []byte("CT")}}}}},
		{Tag: pixelDataTag, VR: OW, Bulk: true, Length: 4},
	}}
	bulk := func(s string) func(*Element) (io.ReadCloser, error) {
		return func(*Element) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	for _, syntax := range uncompressed {
		var out bytes.Buffer
		if err := Write(&out, &File{Syntax: syntax, Data: d}, bulk("abcd")); err != nil {
			t.Fatal(err)
		}
		f := read(t, out.Bytes())
		if got, want := structure(f), "0 00080016 UI 4; 0 00080018 UI 6; 0 00100010 PN 4; 0 00280010 US 2; 0 00400275 SQ -; 1 FFFEE000 na -; 2 00080060 CS 2; 0 7FE00010 OW 4"; got != want {
			t.Errorf("%s: %s", syntax, got)
		}
		if got := f.Data.Order.Uint16(f.Data.Lookup(0x00280010).Value); got != 0x0102 {
			t.Errorf("%s: rows are %d", syntax, got)
		}
		if e := f.Meta.Lookup(metaUID); e == nil || string(e.Value) != "1.2.3\x00" {
			t.Errorf("%s: no Media Storage SOP Instance UID", syntax)
		}
	}
	broken := errors.New("no such part")
	for name, c := range map[string]struct {
		bulk func(*Element) (io.ReadCloser, error)
		ok   func(error) bool
	}{
		"too short": {bulk("abc"), func(err error) bool { return fault.Is(err, fault.Invalid) }},
		"absent":    {func(*Element) (io.ReadCloser, error) { return nil, broken }, func(err error) bool { return errors.Is(err, broken) }},
	} {
		if err := Write(io.Discard, &File{Syntax: ExplicitVRLittleEndian, Data: d}, c.bulk); !c.ok(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteFragments(t *testing.T) {
	d := &Dataset{Elements: []Element{{Tag: pixelDataTag, VR: OB, Fragments: []Span{{0, 0}, {0, 5}, {0, 4}}}}}
	var out bytes.Buffer
	err := Write(&out, &File{Syntax: JPEGBaseline8Bit, Data: d}, func(*Element) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("onetwo2..")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := explicit().head(pixelDataTag, "OB", undefined).frag("").frag("onetw\x00").frag("o2..").seqEnd()
	if !bytes.HasSuffix(out.Bytes(), want.b) {
		t.Errorf("% x", out.Bytes())
	}
}
