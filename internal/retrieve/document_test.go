package retrieve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

const classPDF = "1.2.840.10008.5.1.4.1.1.104.1"

// pdf is the smallest there is that begins and ends as one.
func pdf(n int) []byte {
	return []byte("%PDF-1.4\n" + strings.Repeat("% page\n", n) + "trailer<</Root 1 0 R>>\n%%EOF\n")
}

// instance encodes a data set with the UIDs of ct in a syntax.
func instance(tb testing.TB, syntax, class string, more ...dicom.Element) []byte {
	tb.Helper()
	el := func(t dicom.Tag, vr dicom.VR, v string) dicom.Element {
		return dicom.Element{Tag: t, VR: vr, Value: []byte(v), Length: int64(len(v))}
	}
	d := &dicom.Dataset{Order: binary.LittleEndian, Elements: append([]dicom.Element{el(0x00080016, dicom.UI, class), el(0x00080018, dicom.UI, ct.Instance),
		el(0x0020000D, dicom.UI, ct.Study), el(0x0020000E, dicom.UI, ct.Series)}, more...)}
	for i := range d.Elements {
		d.Elements[i].Length = int64(len(d.Elements[i].Value))
	}
	var b bytes.Buffer
	if err := dicom.Write(&b, &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: d}, nil); err != nil {
		tb.Fatal(err)
	}
	if syntax == dicom.ExplicitVRLittleEndian {
		return b.Bytes()
	}
	var c bytes.Buffer
	if err := dicom.Convert(context.Background(), &c, &b, syntax); err != nil {
		tb.Fatal(err)
	}
	return c.Bytes()
}

// TestPDF: the document comes without its padding, whole and in ranges, however long
// it is and however the data set is encoded.
func TestPDF(t *testing.T) {
	length := func(n int) dicom.Element {
		return dicom.Element{Tag: 0x00420015, VR: dicom.UL, Value: binary.LittleEndian.AppendUint32(nil, uint32(n))}
	}
	for _, syntax := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian} {
		for name, doc := range map[string][]byte{"short": pdf(1), "odd": pdf(2), "long": pdf(200), "longer": pdf(60_000), "with a mark": append([]byte("\xEF\xBB\xBF\r\n"), pdf(1)...)} {
			t.Run(dicom.Syntax(syntax).Name+" "+name, func(t *testing.T) {
				padded := append(bytes.Clone(doc), make([]byte, len(doc)%2)...)
				a := retrievetest.New()
				r := newReader(t, a)
				in := one(t, r, a.Store(t, tenant, instance(t, syntax, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: padded},
					dicom.Element{Tag: 0x00420012, VR: dicom.LO, Value: []byte("application/pdf ")}, length(len(doc))))[0])
				b, err := r.Document(t.Context(), in)
				if !bytes.Equal(read(t, b, err), doc) {
					t.Fatal("another document")
				}
				if b.MediaType != "application/pdf" || b.Version == "" {
					t.Errorf("%s %q", b.MediaType, b.Version)
				}
				checkRange(t, b, doc)
				if got := r.Renderings(in); len(got) != 1 || got[0] != "application/pdf" {
					t.Errorf("renderings %q", got)
				}
			})
		}
	}
}

// TestPDFLengths: a length that does not fit is not believed.
func TestPDFLengths(t *testing.T) {
	doc := pdf(300)
	doc = append(doc, make([]byte, 2-len(doc)%2)...)
	for _, n := range []uint32{0, 1, 10, uint32(len(doc)) - 2, uint32(len(doc)), uint32(len(doc)) + 1, 1<<32 - 1} {
		a := retrievetest.New()
		r := newReader(t, a)
		in := one(t, r, a.Store(t, tenant, instance(t, dicom.ExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: doc},
			dicom.Element{Tag: 0x00420015, VR: dicom.UL, Value: binary.LittleEndian.AppendUint32(nil, n)}))[0])
		b, err := r.Document(t.Context(), in)
		if got := read(t, b, err); !bytes.Equal(got, doc) {
			t.Errorf("length %d: %d bytes of %d", n, len(got), len(doc))
		}
	}
}

func TestNoDocument(t *testing.T) {
	html := []byte("<html><script>alert(1)</script></html>" + strings.Repeat(" ", 2000))
	frames := func(syntax string, f ...[]byte) []byte {
		return retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: syntax, Rows: 8, Columns: 8, Bits: 8, Fragments: f})
	}
	const h264 = "1.2.840.10008.1.2.4.102"
	for name, file := range map[string][]byte{
		"HTML as PDF":    instance(t, dicom.ExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: html}),
		"no PDF":         instance(t, dicom.ExplicitVRLittleEndian, classPDF),
		"empty PDF":      instance(t, dicom.ExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB}),
		"no content":     instance(t, dicom.ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.88.11"),
		"CDA":            instance(t, dicom.ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.104.2", dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: html}),
		"image":          retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 8, Columns: 8}),
		"JPEG as video":  frames(h264, []byte("\xFF\xD8\xFF\xE0 and so on")),
		"bare H.264":     frames(h264, []byte("\x00\x00\x00\x01\x67\x42\x00\x0A and so on")),
		"QuickTime":      frames(h264, []byte("\x00\x00\x00\x20ftypqt  \x00\x00\x02\x00")),
		"empty fragment": frames(h264, []byte{}),
	} {
		t.Run(name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			if _, err := r.Document(t.Context(), one(t, r, a.Store(t, tenant, file)[0])); !fault.Is(err, fault.NotAcceptable) || fault.Message(err) == "" {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestVideo: the fragments are one stream, whose container says what it is.
func TestVideo(t *testing.T) {
	packets := func(first, size int) []byte {
		b := retrievetest.Pattern(size * 500)
		for at := first; at < len(b); at += size {
			b[at] = 'G'
		}
		return b
	}
	head := func(s string) []byte { return append([]byte(s), retrievetest.Pattern(300_000)...) }
	for _, c := range []struct {
		name, syntax, want string
		stream             []byte
	}{
		{"MP4", "1.2.840.10008.1.2.4.102", "video/mp4", head("\x00\x00\x00\x20ftypisom")},
		{"HEVC in MP4", "1.2.840.10008.1.2.4.107", "video/mp4", head("\x00\x00\x00\x18ftyphvc1")},
		{"transport stream", "1.2.840.10008.1.2.4.103.1", "video/mp2t", packets(0, 188)},
		{"transport stream with time stamps", "1.2.840.10008.1.2.4.103", "video/mp2t", packets(4, 192)},
		{"program stream", "1.2.840.10008.1.2.4.100", "video/mpeg", head("\x00\x00\x01\xBA")},
		{"MPEG-2 sequence", "1.2.840.10008.1.2.4.101", "video/mpeg", head("\x00\x00\x01\xB3")},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fragments [][]byte
			rnd := rand.New(rand.NewPCG(1, 2))
			for rest := c.stream; len(rest) > 0; {
				n := min(len(rest), 2*(1+rnd.IntN(20_000)))
				if len(fragments) == 0 {
					n = 2 // the beginning is in several
				}
				fragments, rest = append(fragments, rest[:n]), rest[n:]
			}
			a := retrievetest.New()
			r := newReader(t, a)
			in := one(t, r, a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: c.syntax, Rows: 8, Columns: 8, Bits: 8, Frames: 25, Fragments: fragments}))[0])
			b, err := r.Document(t.Context(), in)
			if !bytes.Equal(read(t, b, err), c.stream) {
				t.Fatal("another stream")
			}
			if b.MediaType != c.want {
				t.Errorf("%s instead of %s", b.MediaType, c.want)
			}
			checkRange(t, b, c.stream)
			if types := retrieve.DocumentTypes(in); !strings.Contains(strings.Join(types, " "), c.want) {
				t.Errorf("%s was not to be expected: %q", c.want, types)
			}
		})
	}
}

// TestRealVideo takes what an encoder writes.
func TestRealVideo(t *testing.T) {
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	for _, c := range []struct{ file, syntax, want string }{{"x.mp4", "1.2.840.10008.1.2.4.102", "video/mp4"}, {"x.ts", "1.2.840.10008.1.2.4.102", "video/mp2t"}, {"x.vob", "1.2.840.10008.1.2.4.100", "video/mpeg"}} {
		t.Run(c.file, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if out, err := exec.Command(tool, "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=1", path).CombinedOutput(); err != nil {
				t.Skipf("%v %s", err, out)
			}
			stream, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			stream = append(stream, make([]byte, len(stream)%2)...)
			a := retrievetest.New()
			r := newReader(t, a)
			in := one(t, r, a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: c.syntax, Rows: 64, Columns: 64, Bits: 8, Frames: 25, Fragments: [][]byte{stream}}))[0])
			b, err := r.Document(t.Context(), in)
			if !bytes.Equal(read(t, b, err), stream) || b.MediaType != c.want {
				t.Errorf("%s, or another stream", b.MediaType)
			}
		})
	}
}

// TestReports shows real reports as they are stored.
func TestReports(t *testing.T) {
	for _, f := range testdata.Files(t) {
		if f.Field("modality") != "SR" {
			continue
		}
		a := retrievetest.New()
		r := newReader(t, a)
		in := one(t, r, a.Store(t, tenant, f.Bytes(t))[0])
		b, err := r.Document(t.Context(), in)
		text := read(t, b, err)
		if b.MediaType != "text/html" || !bytes.HasPrefix(text, []byte("<!DOCTYPE html>")) || !bytes.HasSuffix(bytes.TrimSpace(text), []byte("</html>")) {
			t.Errorf("%s: %s %.100s", f.Name, b.MediaType, text)
		}
		checkRange(t, b, text)
	}
}

// TestHugeReports: a page is not made of more than is bearable.
func TestHugeReports(t *testing.T) {
	const sr = "1.2.840.10008.5.1.4.1.1.88.33"
	var items []*dicom.Dataset
	for range 50_000 {
		items = append(items, &dicom.Dataset{Elements: []dicom.Element{{Tag: 0x0040A040, VR: dicom.CS, Value: []byte("TEXT")}}})
	}
	tree := func(items ...*dicom.Dataset) dicom.Element {
		return dicom.Element{Tag: 0x0040A730, VR: dicom.SQ, Items: items}
	}
	quotes := &dicom.Dataset{Elements: []dicom.Element{{Tag: 0x0040A040, VR: dicom.CS, Value: []byte("TEXT")}, {Tag: 0x0040A160, VR: dicom.UT, Value: bytes.Repeat([]byte(`"`), 900<<10)}}}
	deep := &dicom.Dataset{}
	for range 100 {
		deep = &dicom.Dataset{Elements: []dicom.Element{tree(deep)}}
	}
	for _, c := range []struct {
		name  string
		file  []byte
		shown bool
	}{
		{"many items", instance(t, dicom.ExplicitVRLittleEndian, sr, tree(items...)), true},
		{"too many items", instance(t, dicom.ExplicitVRLittleEndian, sr, tree(&dicom.Dataset{Elements: []dicom.Element{tree(items...), {Tag: 0x0040A375, VR: dicom.SQ, Items: append(append(items, items...), append(items, items...)...)}}})), false},
		{"a long page", instance(t, dicom.ExplicitVRLittleEndian, sr, tree(quotes, quotes, quotes, quotes, quotes, quotes)), false},
		{"deep", instance(t, dicom.ExplicitVRLittleEndian, sr, tree(deep)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			b, err := r.Document(t.Context(), one(t, r, a.Store(t, tenant, c.file)[0]))
			if c.shown {
				if n := len(read(t, b, err)); n > 16<<20 {
					t.Errorf("%d bytes", n)
				}
			} else if !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDocumentsOfDamage: what the store does not vouch for does not get out.
func TestDocumentsOfDamage(t *testing.T) {
	doc := pdf(30_000)
	file := instance(t, dicom.ExplicitVRLittleEndian, classPDF, dicom.Element{Tag: 0x00420011, VR: dicom.OB, Value: doc[:len(doc)&^1]})
	for name, damage := range map[string]func(a *retrievetest.Archive, row *archive.InstanceRow){
		"beginning": func(a *retrievetest.Archive, row *archive.InstanceRow) { a.Objects[row.At.Object][500] ^= 1 },
		"end":       func(a *retrievetest.Archive, row *archive.InstanceRow) { a.Objects[row.At.Object][200_000] ^= 1 },
		"gone":      func(a *retrievetest.Archive, row *archive.InstanceRow) { delete(a.Objects, row.At.Object) },
	} {
		a := retrievetest.New()
		r := newReader(t, a)
		u := a.Store(t, tenant, file)[0]
		damage(a, a.Row(u))
		b, err := r.Document(t.Context(), one(t, r, u))
		var w bytes.Buffer
		if err == nil {
			err = b.Write(t.Context(), &w)
		}
		if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.NotFound) || !bytes.HasPrefix(doc, w.Bytes()) {
			t.Errorf("%s: %v after %d bytes", name, err, w.Len())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := retrievetest.New()
	r := newReader(t, a)
	if _, err := r.Document(ctx, one(t, r, a.Store(t, tenant, file)[0])); err == nil {
		t.Error("a cancelled request went on")
	}
}
