package dicom

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

func TestByReference(t *testing.T) {
	large := bytes.Repeat([]byte("ab"), 513)
	for _, c := range []struct {
		name string
		e    Element
		want bool
	}{
		{"left in the stream", Element{Tag: 0x00081030, VR: LT, Bulk: true, Length: 100}, true},
		{"text", Element{Tag: 0x00081030, VR: LT, Value: large, Length: 1026}, false},
		{"binary, small", Element{Tag: 0x00091001, VR: OB, Value: large[:1024], Length: 1024}, false},
		{"binary, large", Element{Tag: 0x00091001, VR: UN, Value: large, Length: 1026}, true},
		{"numbers", Element{Tag: 0x00091001, VR: US, Value: large, Length: 1026}, false},
		{"pixel data, small", Element{Tag: pixelDataTag, VR: OW, Value: large[:2], Length: 2}, true},
		{"pixel data, empty", Element{Tag: pixelDataTag, VR: OW, Value: []byte{}}, false},
		{"encapsulated", Element{Tag: pixelDataTag, VR: OB, Fragments: []Span{}}, true},
		{"sequence", Element{Tag: 0x00091001, VR: UN, Items: []*Dataset{}, Length: 5000}, false},
	} {
		if got := c.e.ByReference(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestLayoutPaths(t *testing.T) {
	large := strings.Repeat("b", 2000)
	icon := explicit().head(0x00880200, "SQ", undefined).
		item(undefined).el(0x00091001, "OB", "small").itemEnd().
		item(undefined).el(0x00091001, "OB", large).
		head(0x00880200, "SQ", undefined).item(undefined).el(pixelDataTag, "OW", "icon").itemEnd().seqEnd().
		itemEnd().seqEnd()
	b := part10(ExplicitVRBigEndian, bigEndian().el(0x00080001, "OB", large))
	if l := layout(t, read(t, b)); !l.BigEndian || l.Deflated || l.Find("00080001") == nil || l.Find("7FE00010") != nil {
		t.Errorf("%+v", l)
	}
	file := part10(DeflatedExplicitVRLittleEndian, deflated(icon.el(pixelDataTag, "OW", "pixels")))
	f := read(t, file)
	l := layout(t, f)
	var paths []string
	for _, v := range l.Bulk {
		paths = append(paths, v.Path+" "+v.VR.String()+" "+strconv.FormatInt(v.Length, 10))
	}
	want := []string{"00880200/1/00091001 OB 2000", "00880200/1/00880200/0/7FE00010 OW 4", "7FE00010 OW 6"}
	if d := cmp.Diff(want, paths); d != "" || !l.Deflated || l.BigEndian {
		t.Error(d)
	}
	// Offsets count in the file with its data set inflated.
	inflated := append(file[:f.Data.Elements[0].Offset-12:f.Data.Elements[0].Offset-12], icon.b...)
	if v := l.Find("00880200/1/00091001"); string(inflated[v.Offset:v.Offset+v.Length]) != large {
		t.Error("the bulk value lies elsewhere")
	}
}

// TestLayoutCode checks that the encoding keeps all, in few bytes.
func TestLayoutCode(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived", "missing-uid", "invalid-uid") {
		l, err := NewLayout(read(t, m.Bytes(t)))
		if err != nil {
			t.Fatal(err)
		}
		b := l.AppendBinary(nil)
		if len(l.Bulk) == 0 && l.Frames.Tag == 0 {
			l = &Layout{} // nothing to read, nothing to say of it
		}
		again, err := ParseLayout(b)
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if d := cmp.Diff(l, again, cmp.AllowUnexported(Frames{})); d != "" {
			t.Errorf("%s: %s", m.Name, d)
		}
		if limit := 40 + 24*len(l.Bulk) + 4*len(l.Frames.fragments); len(b) > limit {
			t.Errorf("%s: %d bytes for %d bulk values and %d fragments", m.Name, len(b), len(l.Bulk), len(l.Frames.fragments))
		}
	}
	m := explicit().image("2000", 1, 1, 1, 8).head(pixelDataTag, "OB", undefined).frag("")
	for range 2000 {
		m.frag(soi + strings.Repeat("x", 10_000))
	}
	if b := layout(t, read(t, part10(JPEGBaseline8Bit, m.seqEnd()))).AppendBinary(nil); len(b) > 6100 {
		t.Errorf("%d bytes for 2000 frames", len(b))
	}
}

func TestLayoutEmpty(t *testing.T) {
	l := layout(t, read(t, part10(ExplicitVRLittleEndian, explicit().el(0x00100010, "PN", "ab"))))
	if b := l.AppendBinary(nil); len(b) != 0 {
		t.Errorf("%d bytes for nothing", len(b))
	}
}

func TestParseLayoutRefuses(t *testing.T) {
	good := layout(t, read(t, part10(JPEGBaseline8Bit, explicit().image("2 ", 1, 1, 1, 8).head(pixelDataTag, "OB", undefined).
		frag("").frag(soi).frag(more).frag(soi).seqEnd()))).AppendBinary(nil)
	for n := 1; n < len(good); n++ {
		if _, err := ParseLayout(good[:n]); !fault.Is(err, fault.Corrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for _, b := range [][]byte{append(bytes.Clone(good), 0), {2, 0, 0}, {1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}} {
		if _, err := ParseLayout(b); !fault.Is(err, fault.Corrupt) {
			t.Errorf("% x: %v", b, err)
		}
	}
}
