package thumbnail_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// world is an archive with a Maker that has a store of its own, whose
// operations are counted and may be made to fail.
type world struct {
	t     testing.TB
	node  *node.Archive
	maker *thumbnail.Maker
	keys  *testKeys
	drawn *drawn
	store *faultstore.Store
	now   atomic.Int64 // seconds after the beginning

	mu     sync.Mutex
	ops    map[faultstore.Name]int
	script faultstore.Script
}

var beginning = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWorld(t testing.TB, change ...func(*thumbnail.Options)) *world {
	t.Helper()
	w := &world{t: t, keys: &testKeys{}, ops: map[faultstore.Name]int{}}
	dir := t.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	host, archived, err := node.OpenArchive(t.Context(), node.Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID(), Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.node = archived
	w.store = faultstore.New(memstore.New(memstore.Options{}), w.decide)
	w.drawn = &drawn{Reader: w.node.Retrieve, by: map[string]int{}}
	w.maker = w.newMaker(change...)
	return w
}

// newMaker opens another Maker on the same store, as after a restart.
func (w *world) newMaker(change ...func(*thumbnail.Options)) *thumbnail.Maker {
	w.t.Helper()
	o := thumbnail.Options{Index: w.node.Index, Reader: w.drawn, Bucket: storage.New(w.store.Driver), Keys: w.keys, Now: w.clock}
	for _, f := range change {
		f(&o)
	}
	m, err := thumbnail.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.Close)
	return m
}

func (w *world) clock() time.Time { return beginning.Add(time.Duration(w.now.Load()) * time.Second) }

func (w *world) decide(op faultstore.Op) faultstore.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops[op.Name]++
	if w.script != nil {
		return w.script(op)
	}
	return faultstore.Decision{}
}

// fails makes operations fail from now on.
func (w *world) fails(s faultstore.Script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.script = s
}

func (w *world) count(name faultstore.Name) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops[name]
}

// objects lists the store.
func (w *world) objects() (names []string) {
	w.t.Helper()
	for o, err := range storage.New(w.store.Driver).All(context.Background(), "", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		names = append(names, o.Key)
	}
	return names
}

// testKeys are keys that may be taken away.
type testKeys struct{ denied atomic.Bool }

func (k *testKeys) Derive(purpose string) (archive.Secret, error) {
	return archive.Secret{byte(len(purpose)), 1}, nil
}

func (k *testKeys) Ref(uid string) (r archive.Ref) {
	copy(r[:], fmt.Sprintf("%016x", len(uid)*1_000_003+int(uid[len(uid)-1])))
	return r
}

func (k *testKeys) Secret(context.Context, archive.KeyID) (archive.Secret, error) {
	if k.denied.Load() {
		return archive.Secret{}, fault.New(fault.KeyDenied, "the key was revoked")
	}
	return archive.Secret{7}, nil
}

// drawn draws pictures whose colour is the last number of the instance's UID,
// and counts them. Those of instances in broken cannot be drawn.
type drawn struct {
	*retrieve.Reader
	mu     sync.Mutex
	by     map[string]int // instance and frame
	broken []string
	away   []string      // studies whose pixels lie in an archive
	gate   chan struct{} // when set, drawing waits for it
}

// archive says of which studies the pixels lie in an archive.
func (d *drawn) archive(studies ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = studies
}

func (d *drawn) Find(ctx context.Context, t archive.Tenant, sel archive.UIDs, detail retrieve.Detail) ([]retrieve.Instance, error) {
	list, err := d.Reader.Find(ctx, t, sel, detail)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		if slices.Contains(d.away, list[i].Study) {
			list[i].Tier = archive.Nearline
		}
	}
	return list, err
}

func (d *drawn) Rendered(ctx context.Context, in *retrieve.Instance, frames []int, mediaType string, o render.Options) (*retrieve.Body, error) {
	d.mu.Lock()
	gate := d.gate
	d.by[fmt.Sprint(in.Instance, frames)]++
	broken := slices.Contains(d.broken, in.Instance)
	d.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if broken {
		return nil, fault.New(fault.NotAcceptable, "the image is damaged")
	}
	n := 0
	fmt.Sscan(in.Instance[strings.LastIndexByte(in.Instance, '.')+1:], &n)
	picture := image.NewGray(image.Rect(0, 0, o.Viewport.Width, o.Viewport.Height))
	for i := range picture.Pix {
		picture.Pix[i] = uint8(n)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture, &jpeg.Options{Quality: 100}); err != nil {
		return nil, err
	}
	return retrieve.NewBody(mediaType, "", b.Bytes()), nil
}

func (d *drawn) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.by {
		n += k
	}
	return n
}

// file describes an instance to be stored.
type file struct {
	study, series, instance string
	class                   string // default CT
	number, frames          int
	imageType               string
	empty                   bool // without pixels
	more                    []dicom.Element
}

const (
	ctImage      = "1.2.840.10008.5.1.4.1.1.2"
	secondary    = "1.2.840.10008.5.1.4.1.1.7"
	segmentation = "1.2.840.10008.5.1.4.1.1.66.4"
	keyObject    = "1.2.840.10008.5.1.4.1.1.88.59"
	basicSR      = "1.2.840.10008.5.1.4.1.1.88.11"
)

func text(t dicom.Tag, vr dicom.VR, s string) dicom.Element {
	if len(s)%2 == 1 {
		if vr == dicom.UI {
			s += "\x00"
		} else {
			s += " "
		}
	}
	return dicom.Element{Tag: t, VR: vr, Value: []byte(s), Length: int64(len(s))}
}

func us(t dicom.Tag, n int) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.US, Value: binary.LittleEndian.AppendUint16(nil, uint16(n)), Length: 2}
}

func sequence(t dicom.Tag, items ...[]dicom.Element) dicom.Element {
	e := dicom.Element{Tag: t, VR: dicom.SQ, Items: []*dicom.Dataset{}}
	for _, i := range items {
		e.Items = append(e.Items, &dicom.Dataset{Elements: i, Order: binary.LittleEndian})
	}
	return e
}

func (f file) bytes(t testing.TB) []byte {
	t.Helper()
	if f.class == "" {
		f.class = ctImage
	}
	list := append([]dicom.Element{text(0x00080016, dicom.UI, f.class), text(0x00080018, dicom.UI, f.instance), text(0x00100010, dicom.PN, "Doe^Jane"),
		text(0x0020000D, dicom.UI, f.study), text(0x0020000E, dicom.UI, f.series), text(0x00200013, dicom.IS, fmt.Sprint(f.number))}, f.more...)
	if f.imageType != "" {
		list = append(list, text(0x00080008, dicom.CS, f.imageType))
	}
	if !f.empty {
		n := max(f.frames, 1)
		pixels := make([]byte, 4*6*n)
		for i := range pixels {
			pixels[i] = byte(i * 5)
		}
		list = append(list, us(0x00280002, 1), text(0x00280004, dicom.CS, "MONOCHROME2"), us(0x00280010, 4), us(0x00280011, 6), us(0x00280100, 8), us(0x00280101, 8),
			us(0x00280102, 7), us(0x00280103, 0), dicom.Element{Tag: 0x7FE00010, VR: dicom.OB, Value: pixels, Length: int64(len(pixels))})
		if f.frames > 0 {
			list = append(list, text(0x00280008, dicom.IS, fmt.Sprint(f.frames)))
		}
	}
	var b bytes.Buffer
	err := dicom.Write(&b, &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: &dicom.Dataset{Elements: list, Order: binary.LittleEndian}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) put(files ...file) {
	w.t.Helper()
	if err := w.node.Check(w.t.Context()); err != nil { // as every request does, which matters when the clock has jumped
		w.t.Fatal(err)
	}
	r := w.node.Store.Begin(ingest.RequestOptions{})
	defer r.Abort()
	for _, f := range files {
		r.Add(w.t.Context(), bytes.NewReader(f.bytes(w.t)))
	}
	for _, res := range r.Commit(w.t.Context()) {
		if res.Outcome != ingest.Stored {
			w.t.Fatalf("not stored: %s", res.Detail)
		}
	}
}

// series stores a series of n images whose instances are numbered from first.
func (w *world) series(study, series string, first, n int, change ...func(*file)) {
	w.t.Helper()
	var files []file
	for i := range n {
		f := file{study: study, series: series, instance: fmt.Sprintf("%s.%d", series, first+i), number: i + 1}
		for _, c := range change {
			c(&f)
		}
		files = append(files, f)
	}
	w.put(files...)
}

func (w *world) delete(sel archive.UIDs) {
	w.t.Helper()
	if err := w.node.Remove.Delete(w.t.Context(), w.node.Tenant, sel); err != nil {
		w.t.Fatal(err)
	}
}

// get returns the number of the instance that is shown, and the body.
func (w *world) get(m *thumbnail.Maker, sel archive.UIDs, frame int, v thumbnail.Viewport) (int, *retrieve.Body, error) {
	w.t.Helper()
	body, err := m.Thumbnail(w.t.Context(), w.node.Tenant, sel, frame, v)
	if err != nil {
		return 0, nil, err
	}
	var b bytes.Buffer
	if err := body.Write(w.t.Context(), &b); err != nil {
		w.t.Fatal(err)
	}
	if int64(b.Len()) != body.Size || body.MediaType != "image/jpeg" {
		w.t.Errorf("%d bytes, %d announced, of %s", b.Len(), body.Size, body.MediaType)
	}
	img, err := jpeg.Decode(&b)
	if err != nil {
		w.t.Fatal(err)
	}
	return int(color.GrayModel.Convert(img.At(0, 0)).(color.Gray).Y), body, nil
}

// shows wants the instance of a number to be shown.
func (w *world) shows(sel archive.UIDs, want int) {
	w.t.Helper()
	got, _, err := w.get(w.maker, sel, 0, thumbnail.Viewport{})
	if err != nil || got != want {
		w.t.Errorf("instance %d is shown, %v; want %d", got, err, want)
	}
}
