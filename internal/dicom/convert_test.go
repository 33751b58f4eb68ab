package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

var uncompressed = []string{ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}

func convert(t testing.TB, b []byte, to string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Convert(t.Context(), &out, bytes.NewReader(b), to); err != nil {
		t.Fatalf("to %s: %v", to, err)
	}
	return out.Bytes()
}

// holding reads a file with all its values, pixel data apart.
func holding(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Read(t.Context(), bytes.NewReader(b), Limits{Hold: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// content writes a data set as lines of what no conversion may change: values
// in little endian, without padding and group lengths.
func content(d *Dataset, indent string, lines []string) []string {
	big := d.Order == encoding{big: true}.order()
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Tag.IsGroupLength() {
			continue
		}
		v := bytes.Clone(e.Value)
		if big {
			Swap(v, e.VR.Size())
		}
		if e.Bulk {
			v = fmt.Appendf(nil, "bulk of %d", (e.Length+1)&^1)
		}
		lines = append(lines, fmt.Sprintf("%s%s %x", indent, e.Tag, bytes.TrimRight(v, " \x00")))
		for _, item := range e.Items {
			lines = content(item, indent+"> ", append(lines, indent+"item"))
		}
	}
	return lines
}

// TestConvertFiles converts every uncompressed file to every other syntax and
// back, and compares data sets and frames.
func TestConvertFiles(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived", "missing-uid") {
		if !Uncompressed(m.Syntax) || m.Size > 1<<20 || testing.Short() && m.Size > 20<<10 {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			f := holding(t, b)
			want := content(f.Data, "", nil)
			frame := someFrame(t, b, f)
			for _, to := range uncompressed {
				c := convert(t, b, to)
				g := holding(t, c)
				if g.Syntax != to || len(g.Warnings) > 0 || !g.Preamble {
					t.Fatalf("%s, %q", g.Syntax, g.Warnings)
				}
				if i := firstDifference(want, content(g.Data, "", nil)); i >= 0 {
					t.Fatalf("to %s: element %d differs", to, i)
				}
				if to != DeflatedExplicitVRLittleEndian && !bytes.Equal(frame, someFrame(t, c, g)) {
					t.Fatalf("to %s: the frame differs", to)
				}
				if again := convert(t, c, to); !bytes.Equal(again, c) {
					t.Fatalf("to %s: a second conversion changes it", to)
				}
				back := convert(t, c, ExplicitVRLittleEndian)
				if f.Syntax == ExplicitVRLittleEndian && to != ImplicitVRLittleEndian && !bytes.Equal(back, convert(t, b, ExplicitVRLittleEndian)) {
					t.Fatalf("to %s and back differs", to)
				}
			}
		})
	}
}

func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// someFrame returns the last frame of a native image.
func someFrame(t *testing.T, b []byte, f *File) []byte {
	t.Helper()
	if l := layout(t, f); l.Frames.Count > 0 && !f.Deflated {
		return nativeFrame(t, b, l, l.Frames.Count-1)
	}
	return nil
}

// TestConvertSecondOpinion lets dcmtk read what was converted.
func TestConvertSecondOpinion(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out every file against another tool")
	}
	var paths, names []string
	var want [][]string
	for _, m := range testdata.Files(t, "ok") {
		if !Uncompressed(m.Syntax) || m.Size > 40_000 {
			continue
		}
		for _, to := range uncompressed {
			b := convert(t, m.Bytes(t), to)
			paths, names = append(paths, write(t, b)), append(names, m.Name+" to "+to)
			want = append(want, dump(read(t, b).Data, 0, nil))
		}
	}
	for i, got := range dcmdump(t, paths...) {
		t.Run(names[i], func(t *testing.T) { compareDumps(t, want[i], got) })
	}
}

func TestConvertRules(t *testing.T) {
	const ei, ii, be = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian
	long := strings.Repeat("1\\", 40_000)
	for _, c := range []struct {
		name     string
		from, to string
		data     *maker
		want     *maker
	}{
		{"group length goes", ei, ei, explicit().el(0x00080000, "UL", "1234").el(0x00080060, "CS", "CT"), explicit().el(0x00080060, "CS", "CT")},
		{"odd values are padded", ei, ei, explicit().el(0x00080018, "UI", "1.2.3").el(0x00100010, "PN", "Doe"), explicit().el(0x00080018, "UI", "1.2.3\x00").el(0x00100010, "PN", "Doe ")},
		{"too long for its VR", ii, ei, implicit().el(0x00283006, "US", long).el(0x30060050, "DS", long), explicit().el(0x00283006, "OW", long).el(0x30060050, "UN", long)},
		{"too long for its VR, big endian", ii, be, implicit().el(0x30060050, "DS", long), bigEndian().el(0x30060050, "UN", long)},
		{"words", ei, be, explicit().us(0x00280010, 258).el(0x00091001, "FD", "12345678").el(0x00091002, "AT", "1234").el(0x00091003, "UN", "1234"),
			bigEndian().us(0x00280010, 258).el(0x00091001, "FD", "87654321").el(0x00091002, "AT", "2143").el(0x00091003, "UN", "1234")},
		{"32-bit cells", ei, be, explicit().us(bitsAllocated, 32).el(pixelDataTag, "OW", "12345678"), bigEndian().us(bitsAllocated, 32).el(pixelDataTag, "OW", "43218765")},
		{"8-bit cells in words", ei, be, explicit().us(bitsAllocated, 8).el(pixelDataTag, "OW", "1234"), bigEndian().us(bitsAllocated, 8).el(pixelDataTag, "OW", "2143")},
		{"signed by pixel representation", ii, ei, implicit().us(pixelRepresentation, 1).el(0x00280120, "SS", "ab"), explicit().us(pixelRepresentation, 1).el(0x00280120, "SS", "ab")},
		{"sequences", ei, ii, explicit().el(0x00400275, "SQ", string(explicit().item(10).el(0x00080060, "CS", "CT").item(0).b)),
			implicit().head(0x00400275, "SQ", undefined).item(undefined).el(0x00080060, "CS", "CT").itemEnd().item(undefined).itemEnd().seqEnd()},
		{"UN with items becomes SQ", be, be, bigEndian().head(0x00091001, "UN", undefined).raw(string(implicit().item(undefined).us(0x00280010, 1).itemEnd().seqEnd().b)),
			bigEndian().head(0x00091001, "SQ", undefined).item(undefined).us(0x00280010, 1).itemEnd().seqEnd()},
		{"encapsulated icon", ei, be, explicit().head(0x00880200, "SQ", undefined).item(undefined).head(pixelDataTag, "OB", undefined).frag("").frag("odd").seqEnd().itemEnd().seqEnd(),
			bigEndian().head(0x00880200, "SQ", undefined).item(undefined).head(pixelDataTag, "OB", undefined).frag("").frag("odd\x00").seqEnd().itemEnd().seqEnd()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := convert(t, part10(c.from, c.data), c.to)
			if !bytes.HasSuffix(got, c.want.b) || len(got) != int(read(t, got).Data.Elements[0].Offset)+len(c.want.b)-headerSize(c.want.b, c.to) {
				t.Errorf("got  % x\nwant % x", got[max(0, len(got)-len(c.want.b)-8):], c.want.b)
			}
		})
	}
}

func headerSize(b []byte, syntax string) int {
	if syntax != ImplicitVRLittleEndian && vrForm(MakeVR(b[4], b[5])) == longForm {
		return 12
	}
	return 8
}

func TestConvertMeta(t *testing.T) {
	meta := explicit().el(0x00020002, "UI", "1.2\x00").el(0x00020010, "UI", even(ImplicitVRLittleEndian)).el(0x00020012, "UI", "9.9\x00").
		el(0x00020016, "AE", "SENDER").el(0x00020102, "OB", "abc\x00")
	b := append(append(make([]byte, 128), "DICM"...), append(meta.b, implicit().el(0x00080060, "CS", "CT").b...)...)
	f := read(t, convert(t, b, ExplicitVRLittleEndian))
	got := strings.Join(dump(f.Meta, 0, nil), "; ")
	if want := "0 00020000 UL 4; 0 00020001 OB 2; 0 00020002 UI 4; 0 00020010 UI 20; 0 00020012 UI 4; 0 00020016 AE 6; 0 00020102 OB 4"; got != want {
		t.Errorf("got %s", got)
	}
	end := f.Data.Elements[0].Offset - 8
	if n := f.Meta.Elements[0]; n.Offset+4+int64(f.Meta.Order.Uint32(n.Value)) != end {
		t.Errorf("the group length is wrong")
	}
}

func TestConvertRefuses(t *testing.T) {
	jpeg := explicit().head(pixelDataTag, "OB", undefined).frag("").frag(soi).seqEnd()
	for name, c := range map[string]struct {
		b    []byte
		to   string
		kind fault.Kind
	}{
		"to compressed":        {part10(ExplicitVRLittleEndian, explicit().el(0x00080060, "CS", "CT")), JPEGBaseline8Bit, fault.NotAcceptable},
		"from compressed":      {part10(JPEGBaseline8Bit, jpeg), ExplicitVRLittleEndian, fault.NotAcceptable},
		"compressed, mislabel": {part10(ExplicitVRLittleEndian, jpeg), ExplicitVRBigEndian, fault.NotAcceptable},
		"not DICOM":            {[]byte("not DICOM"), ExplicitVRLittleEndian, fault.Invalid},
		"cut short":            {part10(ExplicitVRLittleEndian, explicit().head(pixelDataTag, "OW", 1000).raw("some")), ImplicitVRLittleEndian, fault.Invalid},
	} {
		if err := Convert(t.Context(), io.Discard, bytes.NewReader(c.b), c.to); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("no room")
	file := part10(ExplicitVRLittleEndian, explicit().el(pixelDataTag, "OW", strings.Repeat("p", 200_000)))
	for _, to := range uncompressed {
		if err := Convert(t.Context(), failing{full}, bytes.NewReader(file), to); !errors.Is(err, full) {
			t.Errorf("a writer that fails: %v", err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestConvertMemory converts a large file in constant memory.
func TestConvertMemory(t *testing.T) {
	const size = 64 << 20
	head := part10(ExplicitVRLittleEndian, explicit().us(bitsAllocated, 16).head(pixelDataTag, "OW", size))
	for _, to := range slices.DeleteFunc(slices.Clone(uncompressed), func(s string) bool { return Syntax(s).Deflated }) {
		var err error
		n := allocation(func() {
			err = Convert(t.Context(), io.Discard, io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size)), to)
		})
		if err != nil || n > 1<<20 {
			t.Errorf("to %s: %d bytes, %v", to, n, err)
		}
	}
}
