package dicom

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// seeds adds small inputs of every kind, and small real files when they are there.
func seeds(f *testing.F) {
	data := explicit().el(charsetTag, "CS", "ISO_IR 100").us(pixelRepresentation, 1).image("2 ", 1, 2, 1, 8).
		head(0x00400275, "SQ", undefined).item(undefined).el(0x00100010, "PN", "ab").itemEnd().seqEnd()
	f.Add(part10(ExplicitVRLittleEndian, (&maker{b: data.b}).el(pixelDataTag, "OW", "1234")))
	f.Add(part10(JPEGBaseline8Bit, (&maker{b: bytes.Clone(data.b)}).head(pixelDataTag, "OB", undefined).frag(table(4, 0, 12)).frag(soi).frag(soi).seqEnd()))
	f.Add(part10(ImplicitVRLittleEndian, implicit().us(0x00280010, 1).head(0x00091001, "  ", undefined).item(0).seqEnd()))
	f.Add(part10(ExplicitVRBigEndian, bigEndian().us(bitsAllocated, 32).el(pixelDataTag, "OW", "1234")))
	f.Add(part10(DeflatedExplicitVRLittleEndian, deflated(data)))
	f.Add(part10(ExplicitVRLittleEndian, explicit().head(0x00091001, "UN", undefined).raw(string(implicit().item(4).raw("1234").seqEnd().b))))
	f.Add(data.b)
	for _, dir := range []string{"malformed", "odd/pydicom", "dicom/pydicom"} {
		root := os.Getenv("STRATA_TESTDATA")
		if root == "" {
			root = "../../../shared/testdata"
		}
		paths, _ := filepath.Glob(filepath.Join(root, dir, "*"))
		for _, p := range paths {
			if s, err := os.Stat(p); err == nil && s.Size() <= 8<<10 {
				if b, err := os.ReadFile(p); err == nil {
					f.Add(b)
				}
			}
		}
	}
}

// fuzzLimits keep an input that inflates from taking long.
var fuzzLimits = Limits{Inflated: 1 << 20, InflatedRatio: 10}

func FuzzRead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(t.Context(), bytes.NewReader(b), fuzzLimits)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v: %v", k, err)
			}
			return
		}
		if file.Size != int64(len(b)) {
			t.Fatalf("read %d bytes of %d", file.Size, len(b))
		}
		l := layout(t, file)
		for i := range min(l.Frames.Count, 1000) {
			spans, err := l.Frames.Spans(i)
			for _, s := range spans {
				if err == nil && !file.Deflated && (s.Offset < 0 || s.Length < 0 || s.Offset+s.Length > file.Size) {
					t.Fatalf("frame %d lies outside: %v", i, s)
				}
			}
			l.Frames.Bits(i)
		}
		for _, v := range l.Bulk {
			if !file.Deflated && (v.Offset < 0 || v.Length < 0 || v.Offset+v.Length > file.Size) {
				t.Fatalf("%s lies outside: %v", v.Path, v.Span)
			}
		}
	})
}

func FuzzLayout(f *testing.F) {
	for _, m := range []*maker{
		explicit().image("2 ", 1, 1, 1, 8).head(pixelDataTag, "OB", undefined).frag("").frag(soi).frag(more).frag(soi).seqEnd(),
		explicit().image("2 ", 1, 1, 1, 8).el(pixelDataTag, "OW", "1234"),
	} {
		l, _ := NewLayout(read(f, part10(JPEGBaseline8Bit, m)))
		f.Add(l.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLayout(b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatal(err)
			}
			return
		}
		for _, i := range []int{0, 1, l.Frames.Count - 1, l.Frames.Count} {
			if spans, err := l.Frames.Spans(i); err == nil {
				for _, s := range spans {
					if s.Offset < 0 || s.Length < 0 {
						t.Fatalf("frame %d: %v", i, s)
					}
				}
				l.Frames.Whole(i)
			}
		}
		if again, err := ParseLayout(l.AppendBinary(nil)); err != nil || len(again.Bulk) != len(l.Bulk) || again.Frames.Count != l.Frames.Count {
			t.Fatalf("does not survive its encoding: %v", err)
		}
	})
}

func FuzzConvert(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		for _, to := range uncompressed[:3] {
			var out bytes.Buffer
			if err := Convert(t.Context(), &out, bytes.NewReader(b), to); err != nil {
				switch fault.KindOf(err) {
				case fault.Invalid, fault.TooLarge, fault.NotAcceptable:
					continue
				}
				t.Fatal(err)
			}
			if f := read(t, b); len(content(f.Data, "", nil)) == 0 {
				return // nothing but group lengths, which go
			}
			if to == ImplicitVRLittleEndian {
				continue // a VR that is not the dictionary's goes, and may make another element of this
			}
			if _, err := Read(t.Context(), &out, Limits{}); err != nil && !fault.Is(err, fault.TooLarge) {
				t.Fatalf("what was converted to %s is not read: %v", to, err)
			}
		}
	})
}
