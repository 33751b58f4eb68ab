//go:build linux

package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// coded returns files of the test set, the smallest ones of each compressed syntax.
func coded(t testing.TB, each int) []testdata.File {
	t.Helper()
	var all []testdata.File
	for _, syntax := range compressedSyntaxes {
		var of []testdata.File
		for _, f := range testdata.Files(t, "ok", "ok-derived") {
			if f.Syntax == syntax && f.Field("frame1_sha256") != "" && (sandbox.Available() || syntax == rle || syntax == deflFrame || syntax == jpeg8) {
				of = append(of, f)
			}
		}
		slices.SortFunc(of, func(a, b testdata.File) int { return int(a.Size - b.Size) })
		all = append(all, of[:min(each, len(of))]...)
	}
	return all
}

// goodFiles are a few whole files: one of each syntax, and a native one.
func goodFiles(t testing.TB) [][]byte {
	t.Helper()
	list := [][]byte{part10(explicitLE, encode(elements(numbered(0))...))}
	for _, f := range coded(t, 1) {
		list = append(list, f.Bytes(t))
	}
	return list
}

// readdress gives a file other UIDs. Its pixel data stays as it is.
func readdress(t testing.TB, raw []byte, u uids) []byte {
	t.Helper()
	f, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{Hold: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	f.Meta = nil
	for tag, v := range map[dicom.Tag]string{0x0020000D: u.Study, 0x0020000E: u.Series, 0x00080018: u.Instance} {
		e := f.Data.Lookup(tag)
		if e == nil {
			t.Fatalf("a file without %s", tag)
		}
		e.Value = []byte(v + strings.Repeat("\x00", len(v)%2))
		e.Length = int64(len(e.Value))
	}
	var b bytes.Buffer
	err = dicom.Write(&b, f, func(e *dicom.Element) (io.ReadCloser, error) {
		if e.Fragments == nil {
			return io.NopCloser(bytes.NewReader(raw[e.Offset:][:e.Length])), nil
		}
		var r []io.Reader
		for _, s := range e.Fragments {
			r = append(r, bytes.NewReader(raw[s.Offset:][:s.Length]))
		}
		return io.NopCloser(io.MultiReader(r...)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stream is the first frame of a real file, and the file around it.
type stream struct {
	name, syntax string
	file         []byte // with one fragment, which is the stream
	from, to     int    // where in file
}

// firstFrame takes the first frame out of a real file.
func firstFrame(t testing.TB, f testdata.File) stream {
	t.Helper()
	raw := f.Bytes(t)
	d, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := dicom.NewLayout(d)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := l.Frames.Spans(0)
	if err != nil {
		t.Fatal(err)
	}
	var bits []byte
	for _, s := range spans {
		bits = append(bits, raw[s.Offset:][:s.Length]...)
	}
	bits = append(bits, make([]byte, len(bits)%2)...)
	px := d.Data.Lookup(0x7FE00010)
	// Pixel Data of one fragment behind an empty table (PS3.5 §A.4).
	file := append(bytes.Clone(raw[:px.Offset]), "\xFE\xFF\x00\xE0\x00\x00\x00\x00\xFE\xFF\x00\xE0"...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(bits)))
	s := stream{name: f.Name, syntax: f.Syntax, from: len(file), to: len(file) + len(bits)}
	s.file = append(append(file, bits...), "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"...)
	return s
}

// cut returns the file with only n bytes of the stream, an even number.
func (s stream) cut(n int) []byte {
	n &^= 1
	b := append(bytes.Clone(s.file[:s.from+n]), s.file[s.to:]...)
	binary.LittleEndian.PutUint32(b[s.from-4:], uint32(n))
	return b
}

// flip returns the file with k bytes of the stream changed.
func (s stream) flip(r *rand.Rand, k int) []byte {
	b := bytes.Clone(s.file)
	for range k {
		b[s.from+r.IntN(s.to-s.from)] ^= byte(1 + r.IntN(255))
	}
	return b
}

const native8 = "application/octet-stream; transfer-syntax=" + explicitLE

// TestDamagedStreams cuts and changes the first frame of real files of every
// syntax. What is cut is refused, or was not needed: then the pixels are those
// of the whole.
func TestDamagedStreams(t *testing.T) {
	s := start(t)
	x := newTrial(s)
	w := newWitness(t, s)
	n := 200_000
	put := func(t testing.TB, name string, file []byte) (uids, bool) {
		n++
		u := numbered(n)
		return u, x.put(t, name, u, readdress(t, file, u))
	}
	each := 2
	if testing.Short() {
		each = 1
	} else if *every == 1 {
		each = 1000
	}
	for _, f := range coded(t, each) {
		if f.Size > 3<<20 {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			whole := firstFrame(t, f)
			u, ok := put(t, "the whole", whole.file)
			if !ok {
				t.Skip("the whole file is not stored")
			}
			want := s.get(t, u.path()+"/frames/1", native8)
			if want.status != http.StatusOK {
				t.Skipf("the whole is not decoded: %d %.200s", want.status, want.body)
			}
			length := whole.to - whole.from
			for i := range 10 {
				k := length * i / 10
				if i == 9 {
					k = length - 12
				}
				name := named("%s cut at %d of %d", f.Name, k, length)
				if u, ok = put(t, name, whole.cut(k)); !ok {
					continue
				}
				a := s.get(t, u.path()+"/frames/1", native8)
				if a.status == http.StatusOK && !bytes.Equal(a.body, want.body) {
					t.Errorf("%s: other pixels are given as if they were right", name)
				}
				if i%3 == 0 {
					x.everything(t, name, u, nil, false)
				} else {
					x.check(t, name, a, false)
				}
			}
			r := rand.New(rand.NewPCG(uint64(length), 7))
			for i := range 8 {
				if u, ok = put(t, "changed", whole.flip(r, 1+i*i)); !ok {
					continue
				}
				if i == 3 {
					x.everything(t, f.Name+" changed", u, nil, false)
					continue
				}
				for _, ask := range [][2]string{{"/frames/1", native8}, {"/rendered", "image/jpeg"}} {
					a, err := s.watched("GET", u.path()+ask[0], "", ask[1], nil, false)
					if err != nil {
						t.Fatal(err)
					}
					x.check(t, f.Name+" changed: "+ask[0], a, false)
				}
			}
		})
	}
	x.summary(t)
	w.unharmed(t)
}

// TestWrongLabels says of streams of every syntax that they are of every other.
func TestWrongLabels(t *testing.T) {
	s := start(t)
	x := newTrial(s)
	w := newWitness(t, s)
	n := 300_000
	for _, f := range coded(t, 1) {
		whole := firstFrame(t, f)
		for _, syntax := range append([]string{"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.110", "1.2.3.4"}, compressedSyntaxes...) {
			if syntax == f.Syntax || testing.Short() && n%7 != 0 {
				continue
			}
			n++
			u := numbered(n)
			file := relabel(t, readdress(t, whole.file, u), syntax)
			name := f.Syntax + " labelled " + syntax
			if x.put(t, name, u, file) {
				x.everything(t, name, u, nil, false)
			}
		}
	}
	x.summary(t)
	w.unharmed(t)
}

// relabel changes the transfer syntax that a file names.
func relabel(t testing.TB, file []byte, syntax string) []byte {
	t.Helper()
	meta := 144 + int(binary.LittleEndian.Uint32(file[140:]))
	if len(file) < meta {
		t.Fatal("a file without a meta group")
	}
	return part10(syntax, file[meta:])
}
