package dicom

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// structure writes a file's data set as one line.
func structure(f *File) string { return strings.Join(dump(f.Data, 0, nil), "; ") }

func deflated(m *maker) *maker {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	w.Write(m.b)
	w.Close()
	return &maker{b: b.Bytes()}
}

func TestReadStructures(t *testing.T) {
	const ei, ii, be = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian
	name := func(m *maker) *maker { return m.el(0x00100010, "PN", "Doe^Jane") }
	for _, c := range []struct {
		name, syntax string
		data         *maker
		want         string
		warning      string
	}{
		{"explicit", ei, name(explicit()), "0 00100010 PN 8", ""},
		{"implicit", ii, name(implicit()), "0 00100010 PN 8", ""},
		{"big endian", be, name(bigEndian()), "0 00100010 PN 8", ""},
		{"deflated", DeflatedExplicitVRLittleEndian, deflated(name(explicit())), "0 00100010 PN 8", ""},
		{"deflated and padded", DeflatedExplicitVRLittleEndian, deflated(name(explicit())).raw("\x00"), "0 00100010 PN 8", ""},
		{"deflated only by name", DeflatedExplicitVRLittleEndian, name(explicit()), "0 00100010 PN 8", "not deflated"},
		{"explicit but labelled implicit", ii, name(explicit()), "0 00100010 PN 8", "explicit"},
		{"implicit but labelled explicit", ei, name(implicit()), "0 00100010 PN 8", "no explicit"},
		{"unheard-of syntax", "1.2.3.4", name(explicit()).head(pixelDataTag, "OB", undefined).frag("").frag("abcd").seqEnd(),
			"0 00100010 PN 8; 0 7FE00010 OB u/l; 1 FFFEE000 pi 0; 1 FFFEE000 pi 4", ""},
		{"64-bit and new VRs", ei, explicit().el(0x00080001, "UC", "abcd").el(0x00091001, "OV", "12345678").el(0x00091002, "SV", "12345678").el(0x00091003, "UV", "12345678"),
			"0 00080001 UC 4; 0 00091001 OV 8; 0 00091002 SV 8; 0 00091003 UV 8", ""},
		{"VR of the future", ei, explicit().raw("\x08\x00\x05\x00CS\x00\x00\x09\x00\x01\x10ZZ\x00\x00\x02\x00\x00\x00ab\x10\x00\x20\x00LO\x02\x00ab"),
			"0 00080005 CS 0; 0 00091001 UN 2; 0 00100020 LO 2", "unknown VR"},
		{"sequence of defined length", ei, explicit().el(0x00400275, "SQ", string(explicit().el(itemTag, "  ", string(name(explicit()).b)).b)),
			"0 00400275 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", ""},
		{"sequence of undefined length", ei, name(explicit().head(0x00400275, "SQ", undefined).item(undefined)).itemEnd().item(0).seqEnd(),
			"0 00400275 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8; 1 FFFEE000 na -", ""},
		{"empty sequence", ei, explicit().head(0x00400275, "SQ", 0).head(0x00400276, "SQ", undefined).seqEnd(),
			"0 00400275 SQ -; 0 00400276 SQ -", ""},
		{"item without delimiter", ei, name(explicit().head(0x00400275, "SQ", undefined).item(undefined)).seqEnd(),
			"0 00400275 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", "no delimiter"},
		{"UN of undefined length (CP-246)", ei, explicit().head(0x00091001, "UN", undefined).raw(string(name(implicit().item(undefined)).itemEnd().seqEnd().b)),
			"0 00091001 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", ""},
		{"UN of undefined length in big endian", be, bigEndian().head(0x00091001, "UN", undefined).raw(string(name(implicit().item(undefined)).itemEnd().seqEnd().b)),
			"0 00091001 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", ""},
		{"UN of undefined length with explicit VRs", ei, explicit().head(0x00091001, "UN", undefined).raw(string(name(explicit().item(undefined)).itemEnd().seqEnd().b)),
			"0 00091001 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", ""},
		{"private sequence in implicit", ii, name(implicit().el(0x00090010, "LO", "ACME").head(0x00091001, "  ", undefined).item(undefined)).itemEnd().seqEnd(),
			"0 00090010 LO 4; 0 00091001 SQ -; 1 FFFEE000 na -; 2 00100010 PN 8", ""},
		{"US or SS", ii, implicit().us(pixelRepresentation, 1).us(0x00280106, 1).el(0x00283000, "SQ", string(implicit().el(itemTag, "  ", string(implicit().el(0x00283002, "SS", "123456").b)).b)),
			"0 00280103 US 2; 0 00280106 SS 2; 0 00283000 SQ -; 1 FFFEE000 na -; 2 00283002 SS 6", ""},
		{"group length and padding", ei, explicit().el(0x00080000, "UL", "1234").el(0x00080005, "CS", "").el(0xFFFCFFFC, "OB", "ab"),
			"0 00080000 UL 4; 0 00080005 CS 0; 0 FFFCFFFC OB 2", ""},
		{"zeros behind", ei, name(explicit()).raw(strings.Repeat("\x00", 21)), "0 00100010 PN 8", "21 bytes follow"},
		{"few zeros behind", ei, name(explicit()).raw("\x00\x00"), "0 00100010 PN 8", "2 bytes follow"},
		{"anything behind pixel data", ei, explicit().el(pixelDataTag, "OB", "ab").raw("anything at all"), "0 7FE00010 OB 2", "15 bytes follow"},
		{"stray delimiter", ei, name(explicit()).seqEnd().el(0x00100020, "LO", "ab"), "0 00100010 PN 8; 0 00100020 LO 2", "outside any sequence"},
		{"encapsulated icon", ei, explicit().head(0x00880200, "SQ", undefined).item(undefined).head(pixelDataTag, "OB", undefined).frag("").frag("icon").seqEnd().itemEnd().seqEnd().el(0x00880904, "LO", "ab"),
			"0 00880200 SQ -; 1 FFFEE000 na -; 2 7FE00010 OB u/l; 3 FFFEE000 pi 0; 3 FFFEE000 pi 4; 0 00880904 LO 2", ""},
		{"fragments without delimiter", JPEGBaseline8Bit, explicit().head(pixelDataTag, "OB", undefined).frag("").frag("abcd"),
			"0 7FE00010 OB u/l; 1 FFFEE000 pi 0; 1 FFFEE000 pi 4", "no delimiter"},
		{"no sequence though it should be", ii, implicit().el(0x00400275, "SQ", "no items").el(0x00400276, "SQ", "ab"), "0 00400275 UN 8; 0 00400276 UN 2", "should be a sequence"},
		{"element without VR", ei, explicit().el(0x00080060, "CS", "CT").raw(string(implicit().el(0x00080070, "LO", "ACME").b)),
			"0 00080060 CS 2; 0 00080070 LO 4", "no VR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := part10(c.syntax, c.data)
			f := read(t, b)
			if got := structure(f); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if f.Size != int64(len(b)) {
				t.Errorf("size %d, want %d", f.Size, len(b))
			}
			if w := strings.Join(f.Warnings, "; "); (c.warning == "") != (w == "") || !strings.Contains(w, c.warning) {
				t.Errorf("warnings %q, want %q", w, c.warning)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	const ei = ExplicitVRLittleEndian
	for _, c := range []struct {
		name   string
		file   []byte
		kind   fault.Kind
		reason string
	}{
		{"nothing", nil, fault.Invalid, "not a DICOM file"},
		{"text", []byte("<html>" + strings.Repeat("text ", 100)), fault.Invalid, "not a DICOM file"},
		{"meta alone", part10(ei, explicit()), fault.Invalid, "no data set"},
		{"no transfer syntax", append(make([]byte, 128), "DICM\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff"...), fault.Invalid, "transfer syntax"},
		{"half a header", part10(ei, explicit().el(0x00100010, "PN", "ab").raw("\x10\x00\x20\x00")), fault.Invalid, "cut short"},
		{"half a value", part10(ei, explicit().head(0x00100010, "PN", 100).raw("Doe")), fault.Invalid, "(0010,0010)"},
		{"half a large value", part10(ei, explicit().head(0x00091001, "OB", 0xFFFFFFF0).raw("Doe")), fault.Invalid, "(0009,1001)"},
		{"half of pixel data", part10(ei, explicit().head(pixelDataTag, "OW", 1<<31).raw("pixels")), fault.Invalid, "(7FE0,0010)"},
		{"sequence never ends", part10(ei, explicit().head(0x00400275, "SQ", undefined).item(undefined)), fault.Invalid, "(0040,0275)"},
		{"no item in sequence", part10(ei, explicit().el(0x00400275, "SQ", "12345678")), fault.Invalid, "not an item"},
		{"item longer than sequence", part10(ei, explicit().head(0x00400275, "SQ", 8).item(100).raw(strings.Repeat(" ", 100))), fault.Invalid, "longer than what holds it"},
		{"item header over the end", part10(ei, explicit().head(0x00400275, "SQ", 4).item(0)), fault.Invalid, "longer than the sequence"},
		{"element longer than item", part10(ei, explicit().head(0x00400275, "SQ", undefined).item(12).head(0x00100010, "PN", 100).raw(strings.Repeat(" ", 200))), fault.Invalid, "(0010,0010)"},
		{"item ends in a header", part10(ei, explicit().head(0x00400275, "SQ", undefined).item(4).raw(strings.Repeat(" ", 100))), fault.Invalid, "ends within"},
		{"item in an item", part10(ei, explicit().head(0x00400275, "SQ", undefined).item(undefined).item(0)), fault.Invalid, "delimiter"},
		{"text of undefined length", part10(ei, explicit().head(0x00091001, "UT", undefined).itemEnd()), fault.Invalid, "no length"},
		{"native without length", part10(ei, explicit().head(pixelDataTag, "OW", undefined).raw("0123456789abcdef")), fault.Invalid, "not a fragment"},
		{"fragment without length", part10(JPEGBaseline8Bit, explicit().head(pixelDataTag, "OB", undefined).item(undefined).raw("0123456789abcdef")), fault.Invalid, "not a fragment"},
		{"deflate stream cut", part10(DeflatedExplicitVRLittleEndian, &maker{b: deflated(explicit().el(0x00100010, "PN", "Doe^Jane Maria")).b[:12]}), fault.Invalid, "deflated"},
		{"meta of undefined length", append(make([]byte, 128), "DICM\x02\x00\x02\x01OB\x00\x00\xff\xff\xff\xff"...), fault.Invalid, "no length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Read(t.Context(), bytes.NewReader(c.file), Limits{})
			if err == nil {
				t.Fatalf("read as %s", structure(f))
			}
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v: %v", fault.KindOf(err), err)
			}
		})
	}
}

func TestReadWithoutPreamble(t *testing.T) {
	data := explicit().el(0x00080016, "UI", "1.2\x00").el(0x00100010, "PN", "Doe^Jane")
	file := part10(ExplicitVRLittleEndian, data)
	for name, b := range map[string][]byte{
		"prefix only":         file[128:],
		"meta first":          file[132:],
		"data set, explicit":  data.b,
		"data set, implicit":  implicit().el(0x00080016, "UI", "1.2\x00").el(0x00100010, "PN", "Doe^Jane").b,
		"data set, big":       bigEndian().el(0x00080016, "UI", "1.2\x00").el(0x00100010, "PN", "Doe^Jane").b,
		"meta without syntax": append(explicit().el(0x00020001, "OB", "\x00\x01").b, data.b...),
	} {
		f := read(t, b)
		if f.Preamble || len(f.Warnings) == 0 || structure(f) != "0 00080016 UI 4; 0 00100010 PN 8" {
			t.Errorf("%s: preamble %v, warnings %q, %s", name, f.Preamble, f.Warnings, structure(f))
		}
	}
}

func TestReadValues(t *testing.T) {
	big := strings.Repeat("x", 70_000)
	f := read(t, part10(ExplicitVRLittleEndian, explicit().el(charsetTag, "CS", `\ISO 2022 IR 87 `).
		el(0x00081030, "LO", "head").el(0x00091001, "UT", big).
		head(0x00400275, "SQ", undefined).item(undefined).el(0x00100010, "PN", "ab").itemEnd().
		item(undefined).el(charsetTag, "CS", "ISO_IR 192").el(0x00100010, "PN", "ab").itemEnd().seqEnd().
		el(pixelDataTag, "OW", "12345678")))
	if e := f.Data.Lookup(0x00081030); string(e.Value) != "head" || e.Bulk || e.ByReference() {
		t.Errorf("held value: %+v", e)
	}
	for _, tag := range []Tag{0x00091001, pixelDataTag} {
		if e := f.Data.Lookup(tag); e.Value != nil || !e.Bulk || !e.ByReference() || e.Length == 0 {
			t.Errorf("value left in the stream: %+v", e)
		}
	}
	want := []string{"", "ISO 2022 IR 87"}
	items := f.Data.Lookup(0x00400275).Items
	if !slices.Equal(f.Data.Charset, want) || !slices.Equal(items[0].Charset, want) || !slices.Equal(items[1].Charset, []string{"ISO_IR 192"}) {
		t.Errorf("character sets %q, %q, %q", f.Data.Charset, items[0].Charset, items[1].Charset)
	}
}

// TestReadInPieces checks that it does not matter how a stream arrives.
func TestReadInPieces(t *testing.T) {
	for _, m := range testdata.Files(t, "ok") {
		if m.Size > 300_000 {
			continue
		}
		b := m.Bytes(t)
		want := structure(read(t, b))
		for name, r := range map[string]io.Reader{
			"halves":   iotest.HalfReader(bytes.NewReader(b)),
			"data+EOF": iotest.DataErrReader(bytes.NewReader(b)),
			"bytes":    iotest.OneByteReader(bytes.NewReader(b)),
		} {
			if f, err := Read(t.Context(), r, Limits{}); err != nil || structure(f) != want || f.Size != m.Size {
				t.Errorf("%s in %s: %v", m.Name, name, err)
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("the line broke")
	file := part10(ExplicitVRLittleEndian, explicit().el(0x00100010, "PN", "ab").el(pixelDataTag, "OW", strings.Repeat("p", 200_000)))
	for n := 0; n < len(file); n += 1 + n/3 {
		_, err := Read(t.Context(), io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)), Limits{})
		if !errors.Is(err, broken) || fault.KindOf(err) != fault.Internal {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(file), Limits{}); !fault.Is(err, fault.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := Read(t.Context(), stuck{}, Limits{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }
