package retrieve_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

const tenant archive.Tenant = "default"

var ct = archive.UIDs{Study: "1.2.3", Series: "1.2.3.4", Instance: "1.2.3.4.5"}

func newReader(tb testing.TB, a *retrievetest.Archive) *retrieve.Reader {
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a})
	tb.Cleanup(r.Close)
	return r
}

func one(tb testing.TB, r *retrieve.Reader, sel archive.UIDs) *retrieve.Instance {
	tb.Helper()
	list, err := r.Find(context.Background(), tenant, sel, retrieve.Layouts)
	if err != nil {
		tb.Fatal(err)
	}
	if len(list) != 1 {
		tb.Fatalf("%d instances instead of one", len(list))
	}
	return &list[0]
}

func read(tb testing.TB, b *retrieve.Body, err error) []byte {
	tb.Helper()
	var w bytes.Buffer
	if err == nil {
		err = b.Write(context.Background(), &w)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if b.Size >= 0 && b.Size != int64(w.Len()) {
		tb.Fatalf("the body has %d bytes and says %d", w.Len(), b.Size)
	}
	return w.Bytes()
}

func TestFindNothing(t *testing.T) {
	r := newReader(t, retrievetest.New())
	list, err := r.Find(context.Background(), tenant, ct, retrieve.Files)
	if err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := r.Metadata(context.Background(), tenant, ct); !fault.Is(err, fault.NotFound) {
		t.Errorf("metadata of nothing: %v", err)
	}
}

// TestRealFiles stores every real file and compares the file, its ranges, its
// frames and bulk values with what the file itself has.
func TestRealFiles(t *testing.T) {
	for _, f := range testdata.Files(t) {
		if !f.Storable() || testing.Short() && f.Size > 20<<10 {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			raw := f.Bytes(t)
			in := one(t, r, a.Store(t, tenant, raw)[0])
			b, err := r.File(in, "")
			if !bytes.Equal(read(t, b, err), raw) {
				t.Fatal("the file differs from what was stored")
			}
			checkRange(t, b, raw)
			px, err := in.Pixels()
			if err != nil {
				t.Fatal(err)
			}
			checkFrames(t, r, in, px, &f, raw)
			checkBulk(t, r, in, px)
		})
	}
}

func checkRange(t *testing.T, b *retrieve.Body, want []byte) {
	t.Helper()
	n := int64(len(want))
	for _, c := range [][2]int64{{0, 0}, {0, 1}, {n - 1, 1}, {n / 3, n / 3}, {n, 0}, {0, n}} {
		var w bytes.Buffer
		if err := b.WriteRange(context.Background(), &w, c[0], c[1]); err != nil {
			t.Errorf("range %v: %v", c, err)
		} else if !bytes.Equal(w.Bytes(), want[c[0]:c[0]+c[1]]) {
			t.Errorf("range %v differs", c)
		}
	}
	for _, c := range [][2]int64{{-1, 1}, {0, n + 1}, {n + 1, 0}, {1, -1}} {
		if err := b.WriteRange(context.Background(), io.Discard, c[0], c[1]); !fault.Is(err, fault.RangeInvalid) {
			t.Errorf("range %v: %v", c, err)
		}
	}
}

func checkFrames(t *testing.T, r *retrieve.Reader, in *retrieve.Instance, px retrieve.Pixels, f *testdata.File, raw []byte) {
	for _, n := range []int{0, -1, px.Frames + 1} {
		if _, err := r.Frame(in, n, ""); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("frame %d of %d: %v", n, px.Frames, err)
		}
	}
	if px.Frames == 0 {
		return
	}
	var all [][]byte
	for n := 1; n <= px.Frames; n++ {
		b, err := r.Frame(in, n, "")
		frame := read(t, b, err)
		checkRange(t, b, frame)
		all = append(all, frame)
	}
	// What the decoder made of the first native frame is its bytes, unless it
	// unpacked bits, sorted planes, upsampled or cleared bits above Bits Stored.
	if px.Encapsulated || f.Field("frame1_sha256") == "" || f.Field("bits_allocated") == "1" ||
		strings.HasPrefix(f.Field("photometric"), "YBR") || planar(t, raw) || strings.HasSuffix(f.Name, "/mlut_18.dcm") {
		return
	}
	sum := sha256.Sum256(all[0])
	if got := hex.EncodeToString(sum[:]); got != f.Field("frame1_sha256") {
		t.Errorf("frame 1 has SHA-256 %s, a decoder says %s", got, f.Field("frame1_sha256"))
	}
}

// planar reports whether Planar Configuration (0028,0006) is 1.
func planar(t *testing.T, raw []byte) bool {
	f, err := dicom.Read(context.Background(), bytes.NewReader(raw), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := f.Data.Text(0x00280006)
	return v == "1"
}

func checkBulk(t *testing.T, r *retrieve.Reader, in *retrieve.Instance, px retrieve.Pixels) {
	paths, err := in.BulkPaths()
	if err != nil {
		t.Fatal(err)
	}
	if px.Frames > 0 && !slices.Contains(paths, px.Path) {
		t.Errorf("%v lacks the pixel data, %s", paths, px.Path)
	}
	for _, p := range paths {
		b, err := r.Bulk(in, p)
		checkRange(t, b, read(t, b, err))
	}
	for _, p := range []string{"", "7FE00011", "7FE00010/0", "../7FE00010"} {
		if _, err := r.Bulk(in, p); !fault.Is(err, fault.NotFound) {
			t.Errorf("bulk data %q: %v", p, err)
		}
	}
}

func TestFragmentsAreJoined(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	frags := [][]byte{[]byte("\xFF\xD8first"), []byte(" second "), bytes.Repeat([]byte("x"), 200_000), []byte("last")}
	in := one(t, r, a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: dicom.JPEGBaseline8Bit,
		Rows: 8, Columns: 8, Bits: 8, Fragments: frags}))[0])
	b, err := r.Frame(in, 1, "")
	got := read(t, b, err)
	want := append(bytes.Join(frags[:1], nil), 0)
	want = append(want, bytes.Join(frags[1:], nil)...)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes instead of %d", len(got), len(want))
	}
	if b.MediaType != "image/jpeg" || b.Syntax != dicom.JPEGBaseline8Bit {
		t.Errorf("%s %s", b.MediaType, b.Syntax)
	}
	checkRange(t, b, want)
	if n := a.Opens.Load(); n > 12 {
		t.Errorf("%d reads of the object", n)
	}
}

// TestOneReadAFrame: a frame costs one look-up and one read.
func TestOneReadAFrame(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	px := retrievetest.Pattern(64 * 64 * 2 * 50)
	u := a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 64, Columns: 64, Frames: 50, Pixels: px}))[0]
	a.Listings.Store(0)
	b, err := r.Frame(one(t, r, u), 17, "")
	if !bytes.Equal(read(t, b, err), px[16*8192:17*8192]) {
		t.Error("another frame")
	}
	if l, o := a.Listings.Load(), a.Opens.Load(); l != 1 || o != 1 {
		t.Errorf("%d look-ups and %d reads", l, o)
	}
}

func TestDamageIsNeverServed(t *testing.T) {
	px := retrievetest.Pattern(512 * 512 * 2)
	file := retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 512, Columns: 512, Pixels: px})
	for name, damage := range map[string]func(a *retrievetest.Archive, row *archive.InstanceRow){
		"a bit": func(a *retrievetest.Archive, row *archive.InstanceRow) { a.Objects[row.At.Object][300_000] ^= 1 },
		"cut off": func(a *retrievetest.Archive, row *archive.InstanceRow) {
			a.Objects[row.At.Object] = a.Objects[row.At.Object][:300_000]
		},
		"no object": func(a *retrievetest.Archive, row *archive.InstanceRow) { delete(a.Objects, row.At.Object) },
		"shorter":   func(_ *retrievetest.Archive, row *archive.InstanceRow) { row.Size -= 1 << 16 },
		"blob":      func(_ *retrievetest.Archive, row *archive.InstanceRow) { row.Blob[0] ^= 1 },
		"layout":    func(_ *retrievetest.Archive, row *archive.InstanceRow) { row.Layout = row.Layout[:len(row.Layout)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			u := a.Store(t, tenant, file)[0]
			damage(a, a.Row(u))
			in := one(t, r, u)
			b, err := r.File(in, "")
			for _, read := range []func(w io.Writer) error{
				func(w io.Writer) error {
					if name == "layout" {
						return errors.New("files need no layout")
					}
					return b.Write(context.Background(), w)
				},
				func(w io.Writer) error {
					f, err := r.Frame(in, 1, "")
					if err != nil {
						return err
					}
					return f.Write(context.Background(), w)
				},
			} {
				var w bytes.Buffer
				if err == nil {
					err = read(&w)
				}
				if err == nil {
					t.Error("no error")
				}
				if fault.KindOf(err) != fault.Corrupt && name != "layout" {
					t.Errorf("%v is of kind %s", err, fault.KindOf(err))
				}
				if !bytes.HasPrefix(file, w.Bytes()) && !bytes.HasPrefix(px, w.Bytes()) || w.Len() > 300_000 {
					t.Errorf("%d bytes came out, which are not those stored", w.Len())
				}
				err = nil
			}
		})
	}
}

func TestKeysAndDestinationsFail(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 256, Columns: 256}))[0])
	b, err := r.File(in, "")
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the client is gone")
	if err := b.Write(context.Background(), broken{gone}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Write(ctx, io.Discard); err == nil {
		t.Error("a cancelled request went on")
	}
	a.Secrets = func(archive.KeyID) (archive.Secret, error) {
		return archive.Secret{}, fault.New(fault.KeyDenied, "the key is revoked")
	}
	if err := b.Write(context.Background(), io.Discard); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("%v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }
