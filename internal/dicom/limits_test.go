package dicom

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestLimits(t *testing.T) {
	const ei = ExplicitVRLittleEndian
	nested := explicit()
	for range 10 {
		nested.head(0x00400275, "SQ", undefined).item(undefined)
	}
	for range 10 {
		nested.itemEnd().seqEnd()
	}
	many := explicit()
	for i := range 100 {
		many.el(Tag(0x00090000+0x1000+i), "LO", "value ")
	}
	items := explicit().head(0x00400275, "SQ", undefined)
	for range 100 {
		items.item(0)
	}
	items.seqEnd()
	frags := explicit().head(pixelDataTag, "OB", undefined)
	for range 100 {
		frags.frag("")
	}
	frags.seqEnd()
	for _, c := range []struct {
		name   string
		data   *maker
		syntax string
		limits Limits
		reason string // empty: within the limits
	}{
		{"depth", nested, ei, Limits{Depth: 10}, ""},
		{"too deep", nested, ei, Limits{Depth: 9}, "9 deep"},
		{"elements", many, ei, Limits{Elements: 110}, ""},
		{"too many elements", many, ei, Limits{Elements: 99}, "99 elements"},
		{"too many items", items, ei, Limits{Elements: 99}, "99 elements"},
		{"fragments", frags, JPEGBaseline8Bit, Limits{Fragments: 100}, ""},
		{"too many fragments", frags, JPEGBaseline8Bit, Limits{Fragments: 99}, "99 fragments"},
		{"held", many, ei, Limits{Held: 400}, ""},
		{"too much held", many, ei, Limits{Held: 200}, "take more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(t.Context(), bytes.NewReader(part10(c.syntax, c.data)), c.limits)
			switch {
			case c.reason == "" && err != nil:
				t.Error(err)
			case c.reason != "" && (!fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), c.reason)):
				t.Errorf("%v: %v", fault.KindOf(err), err)
			}
		})
	}
}

func TestHold(t *testing.T) {
	value := strings.Repeat("v", 1000)
	m := explicit()
	for i := range 10 {
		m.el(Tag(0x00091000+i), "UT", value)
	}
	file := part10(ExplicitVRLittleEndian, m)
	for _, c := range []struct {
		limits Limits
		held   int
	}{
		{Limits{}, 10},
		{Limits{Hold: 1000}, 10},
		{Limits{Hold: 999}, 0},
		{Limits{Held: 5100}, 5}, // the rest stays in the stream
		{Limits{Hold: 200_000}, 10},
	} {
		f, err := Read(t.Context(), bytes.NewReader(file), c.limits)
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, e := range f.Data.Elements {
			if !e.Bulk {
				held++
			} else if e.Value != nil || e.Length != 1000 {
				t.Errorf("left in the stream: %+v", e)
			}
		}
		if held != c.held {
			t.Errorf("%+v: %d values held, not %d", c.limits, held, c.held)
		}
	}
}

// TestClaims checks that a length field takes no memory.
func TestClaims(t *testing.T) {
	for _, vr := range []string{"OB", "OW", "UN", "UT", "UC", "OV", "SQ"} {
		for _, tag := range []Tag{0x00091001, extendedOffsets, charsetTag, pixelDataTag} {
			file := part10(ExplicitVRLittleEndian, explicit().head(tag, vr, 0xFFFFFFF0).raw("some"))
			var err error
			l := Limits{Hold: math.MaxInt64, Held: math.MaxInt64 / 4}
			if n := allocation(func() { _, err = Read(t.Context(), bytes.NewReader(file), l) }); n > 512<<10 {
				t.Errorf("%s of VR %s: %d bytes", tag, vr, n)
			}
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s of VR %s: %v", tag, vr, err)
			}
		}
	}
	for _, of := range []uint32{0xFFFFFFF0, 8 << 20} { // a Basic Offset Table
		file := part10(JPEGBaseline8Bit, explicit().head(pixelDataTag, "OB", undefined).item(of).raw("some"))
		if n := allocation(func() { _, _ = Read(t.Context(), bytes.NewReader(file), Limits{}) }); n > 512<<10 {
			t.Errorf("offset table of %d: %d bytes", of, n)
		}
	}
}

// TestInflateLimit checks that what inflates without end is stopped, and takes no memory.
func TestInflateLimit(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	head := explicit().head(pixelDataTag, "OB", 16<<20)
	w.Write(head.b)
	io.CopyN(w, zeros{}, 16<<20)
	w.Close()
	file := part10(DeflatedExplicitVRLittleEndian, &maker{b: b.Bytes()})
	read := func(l Limits) (f *File, err error) {
		if n := allocation(func() { f, err = Read(t.Context(), bytes.NewReader(file), l) }); n > 1<<20 {
			t.Errorf("%d bytes", n)
		}
		return f, err
	}
	if f, err := read(Limits{}); err != nil || f.Data.Elements[0].Length != 16<<20 || !f.Deflated || f.Size != int64(len(file)) {
		t.Errorf("within the limits: %v", err)
	}
	for _, l := range []Limits{{Inflated: 8 << 20, InflatedRatio: 1}, {Inflated: 1, InflatedRatio: 900}} {
		if _, err := read(l); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
