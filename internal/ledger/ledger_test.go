package ledger

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

var _ Bucket = (*storage.Bucket)(nil)

const tenant archive.Tenant = "default"

var studyKey = archive.KeyID{5}

// secrets derives a secret from the key's name, which is all a test needs.
func secrets(_ context.Context, id archive.KeyID) (archive.Secret, error) {
	if id[15] != 0 {
		return archive.Secret{}, fault.New(fault.KeyDenied, "revoked")
	}
	return archive.Secret{1, id[0], 2}, nil
}

func entropy(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// options of a log on a bucket in which nothing is left to chance.
func options(b Bucket) Options {
	at := time.UnixMilli(1_700_000_000_000)
	return Options{Bucket: b, Tenant: tenant, Secrets: secrets, Session: "S1", Rand: entropy(1),
		Now: func() time.Time { return at }, Settle: time.Second}
}

func newLog(t testing.TB, b Bucket) *Log {
	t.Helper()
	l, err := Open(options(b))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newStore() *memstore.Store { return memstore.New(memstore.Options{}) }

// attrs of a study, a series or an instance, as ingest makes them.
func attrs(kv ...any) archive.Attrs {
	var a archive.Attrs
	for i := 0; i < len(kv); i += 3 {
		a = append(a, archive.Attr{Tag: dicom.Tag(kv[i].(int)), VR: kv[i+1].(dicom.VR), Value: kv[i+2].(string)})
	}
	return a
}

var (
	patient = attrs(0x00080020, dicom.DA, "20240131", 0x00100010, dicom.PN, "Müller^Jürgen=ミュラー", 0x00100020, dicom.LO, "PID-1")
	series1 = attrs(0x00080060, dicom.CS, "CT", 0x0008103E, dicom.LO, "Thorax 1.0", 0x00200011, dicom.IS, "1")
	series2 = attrs(0x00080060, dicom.CS, "SR", 0x00200011, dicom.IS, "2")
)

// instance i of a study of two series.
func instance(i int) archive.Instance {
	in := archive.Instance{
		UIDs:     archive.UIDs{Study: "1.2.3", Series: "1.2.3.1", Instance: "1.2.3.1." + string(rune('a'+i))},
		SOPClass: "1.2.840.10008.5.1.4.1.1.2", Syntax: "1.2.840.10008.1.2.1",
		Patient: patient, Series: series1, Attrs: attrs(0x00200013, dicom.IS, string(rune('1'+i)), 0x00280010, dicom.US, "512"),
		Key: studyKey, SegmentBits: 16, Digest: archive.Digest{byte(i), 1}, Layout: []byte{1, 2, 3},
	}
	if i%2 == 1 {
		in.UIDs.Series, in.Series, in.SOPClass, in.Layout = "1.2.3.2", series2, "1.2.840.10008.5.1.4.1.1.88.11", nil
		in.Coding = archive.Deflated
	}
	return in
}

// storedFact returns a fact of n instances with their blobs in memory.
func storedFact(t testing.TB, store pack.Creator, n, size int) (*archive.Fact, pack.Body) {
	t.Helper()
	f := &archive.Fact{Kind: archive.FactStored, Study: archive.Ref{7}, Key: studyKey}
	s := pack.NewStage(context.Background(), store, func() string { return "default/pack/P1" }, 1<<20, nil)
	secret, _ := secrets(context.Background(), studyKey)
	json := ""
	for i := range n {
		in := instance(i)
		off := s.Offset()
		w, err := seal.NewWriter(s, secret, seal.Binding{Tenant: tenant, Kind: seal.KindInstance, Key: studyKey}, seal.Options{Rand: entropy(byte(100 + i)), Coding: in.Coding})
		if err != nil {
			t.Fatal(err)
		}
		w.Write(bytes.Repeat([]byte{byte(i)}, size))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		in.Blob, in.Size, in.At = w.Blob(), w.Plain(), s.Keep(w.Blob(), off)
		in.JSON = archive.JSONRef{Chunk: i / 2, Offset: i % 2 * 10, Length: 10}
		json += "0123456789"
		f.Instances = append(f.Instances, in)
		if i%2 == 1 || i == n-1 {
			f.Chunks = append(f.Chunks, archive.Chunk{Data: []byte("zstd of " + json), Size: len(json)})
			json = ""
		}
	}
	body, err := s.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(body.Release)
	return f, body
}

// all returns the bytes of an object.
func all(t testing.TB, b Opener, key string) []byte {
	t.Helper()
	r, err := b.Open(context.Background(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t testing.TB, b Bucket, key string, p []byte) {
	t.Helper()
	w, err := b.Create(context.Background(), key, driver.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestStoredRoundTrip(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name    string
		n, size int
		edit    func(f *archive.Fact)
	}{
		{"one", 1, 1000, nil},
		{"several", 5, 3000, nil},
		{"larger than the tail", 4, 100_000, nil},
		{"to a pack", 3, 500_000, nil},
		{"no JSON", 2, 10, func(f *archive.Fact) {
			f.Chunks = nil
			for i := range f.Instances {
				f.Instances[i].JSON = archive.JSONRef{}
			}
		}},
		{"no layouts", 2, 10, func(f *archive.Fact) { f.Instances[0].Layout = nil }},
		{"different layouts", 4, 10, func(f *archive.Fact) { f.Instances[2].Layout = []byte{9, 9}; f.Instances[1].Layout = []byte{1, 2, 3} }},
		{"another key", 2, 10, func(f *archive.Fact) { f.Instances[1].Key = archive.KeyID{6} }},
		{"replacing", 2, 10, func(f *archive.Fact) { f.Instances[0].Replaces = []archive.BlobID{{1}, {2}} }},
		{"bare", 1, 10, func(f *archive.Fact) {
			in := &f.Instances[0]
			in.Patient, in.Series, in.Attrs, in.Syntax = nil, nil, nil, ""
		}},
		{"in other objects", 3, 10, func(f *archive.Fact) {
			f.Instances[0].At.Object, f.Instances[2].At.Object = "default/pack/A", "default/log/S0/0000000000000003"
		}},
		{"a record larger than the tail", 3, 10, func(f *archive.Fact) {
			f.Instances[1].Attrs = attrs(0x00204000, dicom.LT, string(bytes.Repeat([]byte("x"), 300_000)))
			f.Chunks[0].Data = bytes.Repeat([]byte("z"), 200_000)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore()
			l := newLog(t, store)
			f, body := storedFact(t, store, c.n, c.size)
			if c.edit != nil {
				c.edit(f)
			}
			e, err := l.Append(ctx, f, &body)
			if err != nil {
				t.Fatal(err)
			}
			if e.Session != "S1" || e.N != 1 || e.Object != "default/log/S1/0000000000000001" || e.Fact != f || f.ID == (archive.FactID{}) {
				t.Errorf("entry %+v", e)
			}
			secret, _ := secrets(ctx, studyKey)
			for i := range f.Instances {
				in := &f.Instances[i]
				if in.At.Object == "default/pack/A" || in.At.Object == "default/log/S0/0000000000000003" {
					continue
				}
				if want := e.Object; body.Object == "" && in.At.Object != want {
					t.Errorf("instance %d lies in %q", i, in.At.Object)
				}
				o := all(t, store, in.At.Object)[in.At.Offset:][:in.At.Length]
				got, err := seal.Open(nil, o, secret, seal.Binding{Tenant: tenant, Kind: seal.KindInstance, Key: studyKey})
				if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, c.size)) {
					t.Errorf("instance %d does not open where its fact says: %v", i, err)
				}
			}
			for _, want := range []Sections{Index, JSON, Layouts, All} {
				got, err := Read(ctx, store, tenant, "S1", 1, secrets, want)
				if err != nil {
					t.Fatalf("Read(%d): %v", want, err)
				}
				if got = expect(got, e, want); !reflect.DeepEqual(got, e) {
					t.Errorf("Read(%d): %s", want, cmp.Diff(e, got))
				}
			}
			if err := Check(ctx, store, e.Object); err != nil {
				t.Error(err)
			}
		})
	}
}

// expect adds to what was read the sections that were not asked for.
func expect(got, whole archive.Entry, want Sections) archive.Entry {
	for i := range got.Fact.Chunks {
		if want&JSON == 0 && got.Fact.Chunks[i].Data == nil {
			got.Fact.Chunks[i].Data = whole.Fact.Chunks[i].Data
		}
	}
	for i := range got.Fact.Instances {
		if want&Layouts == 0 && got.Fact.Instances[i].Layout == nil {
			got.Fact.Instances[i].Layout = whole.Fact.Instances[i].Layout
		}
	}
	if len(got.Fact.Chunks) == 0 {
		got.Fact.Chunks = whole.Fact.Chunks
	}
	return got
}

func TestOtherKinds(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	l := newLog(t, store)
	for _, f := range []*archive.Fact{
		{Kind: archive.FactDeleted, Study: archive.Ref{1}, Scope: archive.UIDs{Study: "1.2", Series: "1.2.3"}, Blobs: []archive.BlobID{{1}, {2}}},
		{Kind: archive.FactDeleted, Blobs: []archive.BlobID{}},
		{Kind: archive.FactUndeleted, Study: archive.Ref{1}, Blobs: []archive.BlobID{{1}}, Undoes: []archive.FactID{{3}, {4}}},
		{Kind: archive.FactHeld, Study: archive.Ref{1}, Hold: &archive.Hold{Study: archive.Ref{1}, Reason: "r", By: "alice"}},
		{Kind: archive.FactReleased, Release: &archive.Release{Hold: archive.FactID{1}, By: "bob"}},
		{Kind: archive.FactRule, Rules: &archive.RuleSet{Name: "lifecycle", Document: []byte("{}"), By: "alice"}},
		{Kind: archive.FactCheckpoint, Sessions: []archive.SessionEnd{{Session: "S0", Last: 12, Ended: true}, {Session: "S1", Last: 99}}},
	} {
		e, err := l.Append(ctx, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(ctx, store, tenant, e.Session, e.N, secrets, All)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("kind %d: %s", f.Kind, diff)
		}
		if f.Kind == archive.FactCheckpoint {
			want := []archive.SessionEnd{{Session: "S0", Last: 12, Ended: true}, {Session: "S1", Last: 7}}
			if diff := cmp.Diff(want, got.Fact.Sessions); diff != "" {
				t.Errorf("checkpoint: %s", diff)
			}
		}
	}
	if err := l.Void(ctx, "S9", 3); err != nil {
		t.Fatal(err)
	}
	if e, err := Read(ctx, store, tenant, "S9", 3, secrets, All); err != nil || e.Fact.Kind != archive.FactVoid {
		t.Errorf("void: %v", err)
	}
	for i, err := range []error{l.Void(ctx, "S9", 3), l.Void(ctx, "S1", 2)} {
		if !fault.Is(err, fault.Exists) {
			t.Errorf("void %d of a number that is taken: %v", i, err)
		}
	}
	one := []archive.Instance{instance(0)}
	for name, f := range map[string]*archive.Fact{
		"reserved":           {Kind: archive.FactLinked},
		"no hold":            {Kind: archive.FactHeld},
		"hold of another":    {Kind: archive.FactHeld, Study: archive.Ref{1}, Hold: &archive.Hold{Study: archive.Ref{2}, By: "alice"}},
		"no release":         {Kind: archive.FactReleased},
		"no rules":           {Kind: archive.FactRule},
		"unknown":            {Kind: 99},
		"void":               {Kind: archive.FactVoid},
		"delete with a key":  {Kind: archive.FactDeleted, Key: studyKey},
		"nothing stored":     {Kind: archive.FactStored, Key: studyKey},
		"nowhere":            {Kind: archive.FactStored, Key: studyKey, Instances: one},
		"in another tenant":  {Kind: archive.FactStored, Key: studyKey, Instances: []archive.Instance{{At: archive.Location{Object: "other/pack/1"}}}},
		"at negative offset": {Kind: archive.FactStored, Key: studyKey, Instances: []archive.Instance{{At: archive.Location{Object: "default/p", Offset: -1}}}},
		"key denied":         {Kind: archive.FactStored, Key: archive.KeyID{15: 1}, Instances: []archive.Instance{{At: archive.Location{Object: "default/p"}}}},
	} {
		if _, err := l.Append(ctx, f, nil); err == nil || name == "key denied" && !fault.Is(err, fault.KeyDenied) {
			t.Errorf("%s: Append = %v", name, err)
		}
	}
	if _, err := Read(ctx, store, tenant, "S1", 77, secrets, Index); !fault.Is(err, fault.NotFound) {
		t.Errorf("Read of nothing: %v", err)
	}
}

// Reading a fact never touches the blobs before it.
func TestReadsOnlyTheEnd(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	f, body := storedFact(t, store, 3, 300_000)
	body2 := body
	e, err := newLog(t, store).Append(ctx, f, &body2)
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{Store: store}
	if _, err := Read(ctx, w, tenant, "S1", e.N, secrets, All); err != nil {
		t.Fatal(err)
	}
	if len(w.from) != 1 || w.from[0] < e.Size-tailSize {
		t.Errorf("read from %v of %d bytes", w.from, e.Size)
	}
	w.from = nil
	p := Place{Session: "S1", N: e.N, Size: e.Size}
	if _, err := ReadPlace(ctx, w, tenant, p, secrets, Index); err != nil || w.stats != 1 {
		t.Errorf("a known size was asked for: %d, %v", w.stats, err)
	}
}

type watch struct {
	*memstore.Store
	mu    sync.Mutex
	from  []int64
	stats int
}

func (w *watch) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	w.mu.Lock()
	w.from = append(w.from, off)
	w.mu.Unlock()
	return w.Store.Open(ctx, key, off, n)
}

func (w *watch) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	w.stats++
	return w.Store.Stat(ctx, key)
}

func TestFactIDs(t *testing.T) {
	ms := int64(1_700_000_000_000)
	o := options(newStore())
	o.Now = func() time.Time { return time.UnixMilli(ms) }
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	last := l.NewFactID()
	if !last.Time().Equal(time.UnixMilli(ms)) {
		t.Errorf("time %v", last.Time())
	}
	for i := range 1000 {
		ms += []int64{0, 1, -5, 0, 100}[i%5]
		id := l.NewFactID()
		if !before(last, id) {
			t.Fatalf("%v after %v", id, last)
		}
		last = id
	}
	l.lastID = archive.FactID{5: 1, 6: 255, 7: 255, 8: 255, 9: 255, 10: 255, 11: 255, 12: 255, 13: 255, 14: 255, 15: 255}
	ms = 0
	if id := l.NewFactID(); id != (archive.FactID{5: 2}) {
		t.Errorf("a full millisecond is followed by %v", id)
	}
	// In the place of facts of nodes whose clocks are behind and ahead.
	if id := l.NewFactIDAfter(archive.FactID{5: 1}); id != (archive.FactID{5: 2, 15: 1}) {
		t.Errorf("after an earlier one comes %v", id)
	}
	a, b := l.NewFactIDAfter(archive.FactID{3: 1, 4: 255, 5: 255, 6: 7}), l.NewFactIDAfter(archive.FactID{3: 1, 4: 255, 5: 255, 6: 7})
	if a != (archive.FactID{3: 2, 15: 2}) || b != (archive.FactID{3: 2, 15: 3}) {
		t.Errorf("after a later one come %v and %v", a, b)
	}
	if id := l.NewFactID(); id != (archive.FactID{5: 2, 15: 4}) {
		t.Errorf("then comes %v", id)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"tenant":     func(o *Options) { o.Tenant = "a/b" },
		"no session": func(o *Options) { o.Session = "" },
		"session":    func(o *Options) { o.Session = "a/b" },
		"no bucket":  func(o *Options) { o.Bucket = nil },
		"no keys":    func(o *Options) { o.Secrets = nil },
	} {
		o := options(newStore())
		edit(&o)
		if _, err := Open(o); err == nil {
			t.Errorf("%s: a log was opened", name)
		}
	}
}
