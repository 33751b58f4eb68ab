package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// rows is an index of nothing but what a store asks for.
type rows struct {
	mu      sync.Mutex
	entries []archive.Entry
	fail    error
	elsewhere,
	hidden bool
	conflicts []dicom.Tag
}

func (x *rows) StudyKey(_ context.Context, _ archive.Tenant, ref archive.Ref) (archive.KeyID, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.entries {
		if e.Fact.Study == ref {
			return e.Fact.Key, true, nil
		}
	}
	return archive.KeyID{}, false, nil
}

func (x *rows) Versions(_ context.Context, _ archive.Tenant, u archive.UIDs) (out []archive.InstanceRow, _ bool, _ error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.entries {
		for _, in := range e.Fact.Instances {
			if in.UIDs == u {
				out = append(out, archive.InstanceRow{Instance: in})
			}
		}
	}
	return out, false, nil
}

func (x *rows) Apply(_ context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return make([]archive.Applied, 0), x.fail
	}
	x.entries = append(x.entries, entries...)
	out := make([]archive.Applied, len(entries))
	for i, e := range entries {
		for range e.Fact.Instances {
			p := archive.Placed{Elsewhere: x.elsewhere, Conflicts: x.conflicts}
			if x.hidden {
				p.Outcome = archive.HiddenVersion
			}
			out[i].Instances = append(out[i].Instances, p)
		}
	}
	return out, nil
}

type bench struct {
	*Store
	index  *rows
	bucket *storage.Bucket
	ring   *keys.Ring
}

func newBench(t testing.TB, change func(*Options)) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	kek, err := localkeys.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{index: &rows{}, bucket: storage.New(memstore.New(memstore.Options{}))}
	b.ring, err = keys.Open(context.Background(), keys.Options{Bucket: b.bucket, Wrapper: kek, KEK: kek.ID(), Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(ledger.Options{Bucket: b.bucket, Tenant: "default", Secrets: b.ring.Secret, Session: "S1"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Tenant: "default", Index: b.index, Keys: b.ring, Log: log, Packs: b.bucket, Budget: pack.NewBudget(8 << 20), Now: time.Now, Rand: rand.Reader}
	if change != nil {
		change(&o)
	}
	if b.Store, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Store.Close)
	return b
}

func (b *bench) store(t testing.TB, o RequestOptions, files ...[]byte) []Result {
	t.Helper()
	r := b.Begin(o)
	defer r.Abort()
	for _, f := range files {
		r.Add(context.Background(), bytes.NewReader(f))
	}
	return r.Commit(context.Background())
}

// instance is a Part 10 file of a study with so many bytes of pixels.
func instance(study, n, pixels int, name string) []byte {
	f := &dicom.File{Syntax: dicom.ExplicitVRLittleEndian, Data: &dicom.Dataset{}}
	add := func(tag dicom.Tag, vr dicom.VR, v string) {
		if len(v)%2 == 1 {
			if vr == dicom.UI {
				v += "\x00"
			} else {
				v += " "
			}
		}
		f.Data.Elements = append(f.Data.Elements, dicom.Element{Tag: tag, VR: vr, Value: []byte(v), Length: int64(len(v))})
	}
	add(0x00080016, dicom.UI, "1.2.840.10008.5.1.4.1.1.7")
	add(0x00080018, dicom.UI, fmt.Sprintf("1.2.%d.1.%d", study, n))
	add(0x00080060, dicom.CS, "OT")
	add(0x00100010, dicom.PN, name)
	add(0x0020000D, dicom.UI, fmt.Sprintf("1.2.%d", study))
	add(0x0020000E, dicom.UI, fmt.Sprintf("1.2.%d.1", study))
	if pixels > 0 {
		add(0x7FE00010, dicom.OB, strings.Repeat("p", pixels))
	}
	var out bytes.Buffer
	if err := dicom.Write(&out, f, nil); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func TestStoreAndResend(t *testing.T) {
	b := newBench(t, nil)
	a, c := instance(1, 1, 100, "A^B"), instance(1, 2, 2<<20, "A^B")
	res := b.store(t, RequestOptions{}, a, c, a)
	if res[0].Outcome != Stored || res[1].Outcome != Stored || res[2].Outcome != Known {
		t.Fatalf("%+v", res)
	}
	if n := len(b.index.entries); n != 1 {
		t.Errorf("%d facts for one study in one request", n)
	}
	for _, r := range b.store(t, RequestOptions{}, a, c) {
		if r.Outcome != Known || r.Reason != 0 {
			t.Errorf("sent again: %+v", r)
		}
	}
	if len(b.index.entries) != 1 {
		t.Error("what is known was written again")
	}
}

func TestRefused(t *testing.T) {
	b := newBench(t, nil)
	good := instance(1, 1, 10, "A")
	noStudy := bytes.Replace(good, []byte("UI\x06\x001.2.1\x00"), []byte("UI\x06\x00\x00\x00\x00\x00\x00\x00"), 1)
	text := bytes.Replace(good, []byte("1.2.1.1\x00"), []byte("abc/../\x00"), 1)
	res := b.store(t, RequestOptions{}, []byte("hello"), nil, noStudy, text, good[:len(good)-5], good)
	for i, want := range []uint16{ReasonNotUnderstood, ReasonNotUnderstood, ReasonMissingValue, ReasonInvalidInstance, ReasonNotUnderstood} {
		if res[i].Outcome != Refused || res[i].Reason != want || res[i].Err == nil || res[i].Detail == "" {
			t.Errorf("%d: %+v, want reason %04X", i, res[i], want)
		}
	}
	if strings.Contains(fmt.Sprint(res[3].UIDs), "abc") {
		t.Error("a malformed UID is given back")
	}
	if res[4].Instance != "1.2.1.1.1" || res[4].Dataset == nil {
		t.Error("what could be parsed of a failed instance is missing")
	}
	if res[5].Outcome != Stored {
		t.Errorf("the good one among them: %+v", res[5])
	}
	if r := b.store(t, RequestOptions{Study: "9.9"}, instance(2, 1, 0, "A"), instance(2, 2, 2<<20, "A")); r[0].Reason != ReasonMismatch || r[1].Reason != ReasonMismatch {
		t.Errorf("another study than the URL names: %+v", r)
	}
}

func TestDuplicatePolicies(t *testing.T) {
	first, other := instance(1, 1, 10, "A"), instance(1, 1, 12, "A")
	for _, tt := range []struct {
		policy   Policy
		outcome  Outcome
		replaces int
	}{{KeepFirst, Stored, 0}, {Replace, Stored, 1}, {Refuse, Refused, 0}} {
		b := newBench(t, func(o *Options) { o.Policy = tt.policy })
		b.store(t, RequestOptions{}, first)
		res := b.store(t, RequestOptions{}, other)
		if res[0].Outcome != tt.outcome {
			t.Errorf("policy %d: %+v", tt.policy, res[0])
		}
		if tt.outcome == Refused {
			if res[0].Reason != ReasonDuplicate || !fault.Is(res[0].Err, fault.Exists) {
				t.Errorf("refused with %+v", res[0])
			}
			continue
		}
		if in := b.index.entries[1].Fact.Instances[0]; len(in.Replaces) != tt.replaces {
			t.Errorf("policy %d: replaces %d", tt.policy, len(in.Replaces))
		}
	}
	for s, want := range map[string]Policy{"": KeepFirst, "keep-first": KeepFirst, "replace": Replace, "refuse": Refuse} {
		if p, err := ParsePolicy(s); err != nil || p != want {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	if _, err := ParsePolicy("x"); err == nil {
		t.Error("an unknown policy was taken")
	}
}

func TestRemarks(t *testing.T) {
	b := newBench(t, nil)
	b.index.conflicts = []dicom.Tag{0x00100010}
	if r := b.store(t, RequestOptions{}, instance(1, 1, 0, "A"))[0]; r.Reason != 0 || r.Detail == "" || len(r.Tags) != 1 {
		t.Errorf("conflict: %+v", r)
	}
	b.index.elsewhere = true
	if r := b.store(t, RequestOptions{}, instance(1, 2, 0, "A"))[0]; r.Reason != WarningDataset {
		t.Errorf("elsewhere: %+v", r)
	}
	b.index.hidden = true
	if r := b.store(t, RequestOptions{}, instance(1, 3, 0, "A"))[0]; r.Reason != WarningDataset {
		t.Errorf("hidden: %+v", r)
	}
}

// TestIndexFails: what the index did not take is not acknowledged, and sticks at nothing later.
func TestIndexFails(t *testing.T) {
	b := newBench(t, nil)
	b.index.fail = fault.New(fault.Full, "no room")
	f := instance(1, 1, 0, "A")
	if r := b.store(t, RequestOptions{}, f)[0]; r.Outcome != Refused || r.Reason != ReasonOutOfResources {
		t.Fatalf("%+v", r)
	}
	b.index.fail = nil
	if r := b.store(t, RequestOptions{}, f)[0]; r.Outcome != Stored {
		t.Errorf("sent again: %+v", r)
	}
}

// TestManyPartsAndStudies: facts are cut, results keep their order.
func TestManyPartsAndStudies(t *testing.T) {
	b := newBench(t, nil)
	var files [][]byte
	for i := range maxOpenStudies + 40 {
		files = append(files, instance(i, 1, 0, "A"))
	}
	for i := range maxOpenInstances + 10 {
		files = append(files, instance(5000, i, 0, "A"))
	}
	res := b.store(t, RequestOptions{}, files...)
	if len(res) != len(files) {
		t.Fatal(len(res))
	}
	for i, r := range res {
		if r.Outcome != Stored {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	if res[3].Study != "1.2.3" || res[len(res)-1].Instance != fmt.Sprintf("1.2.5000.1.%d", maxOpenInstances+9) {
		t.Error("results are out of order")
	}
}

// TestLargeHead: the study is found behind more than a head of other elements.
func TestLargeHead(t *testing.T) {
	b := newBench(t, nil)
	f := instance(1, 1, 3<<20, "A")
	// A private element of 1.5 MiB before the patient.
	at := bytes.Index(f, []byte{0x10, 0, 0x10, 0, 'P', 'N'})
	private := append([]byte{0x09, 0, 0x10, 0x10, 'O', 'B', 0, 0, 0, 0, 0x18, 0}, make([]byte, 0x180000)...)
	large := append(append(bytes.Clone(f[:at]), private...), f[at:]...)
	if r := b.store(t, RequestOptions{}, large)[0]; r.Outcome != Stored {
		t.Fatalf("%+v", r)
	}
	in := b.index.entries[0].Fact.Instances[0]
	if in.Size != int64(len(large)) || in.Layout == nil {
		t.Errorf("size %d of %d", in.Size, len(large))
	}
	cut := b.store(t, RequestOptions{}, instance(2, 1, 3<<20, "A")[:2<<20])[0]
	if cut.Outcome != Refused || cut.Reason != ReasonNotUnderstood {
		t.Errorf("a large instance cut short: %+v", cut)
	}
}

// brokenReader fails in the middle, as a client that goes away.
type brokenReader struct{ r io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errors.New("connection reset")
	}
	return n, err
}

func TestBrokenClient(t *testing.T) {
	b := newBench(t, nil)
	for _, f := range [][]byte{instance(1, 1, 0, "A"), instance(1, 2, 3<<20, "A")} {
		r := b.Begin(RequestOptions{})
		if res := r.Add(t.Context(), brokenReader{bytes.NewReader(f)}); res.Outcome != Refused {
			t.Errorf("%+v", res)
		}
		r.Abort()
	}
	if len(b.index.entries) > 0 {
		t.Error("something was stored")
	}
}

// TestConcurrentNewStudy: requests that start a study together share one key.
func TestConcurrentNewStudy(t *testing.T) {
	b := newBench(t, nil)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if r := b.store(t, RequestOptions{}, instance(1, i, 1000, "A"))[0]; r.Outcome != Stored {
				t.Errorf("%+v", r)
			}
		})
	}
	wg.Wait()
	ids := map[archive.KeyID]bool{}
	for _, e := range b.index.entries {
		ids[e.Fact.Key] = true
		if _, err := b.ring.Secret(t.Context(), e.Fact.Key); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 1 {
		t.Errorf("%d keys", len(ids))
	}
}

// late is an index whose first answer about a study arrives when another request has stored it.
type late struct {
	*rows
	asked atomic.Bool
	store func()
}

func (x *late) StudyKey(ctx context.Context, t archive.Tenant, ref archive.Ref) (archive.KeyID, bool, error) {
	id, ok, err := x.rows.StudyKey(ctx, t, ref)
	if !x.asked.Swap(true) {
		x.store()
	}
	return id, ok, err
}

// TestStoredSinceAsked: a study that another request stored from beginning to end after the
// index was asked for it has that request's key, not one more.
func TestStoredSinceAsked(t *testing.T) {
	x := &late{}
	b := newBench(t, func(o *Options) {
		x.rows = o.Index.(*rows)
		o.Index = x
	})
	x.store = func() {
		if r := b.store(t, RequestOptions{}, instance(1, 1, 1000, "A"))[0]; r.Outcome != Stored {
			t.Errorf("%+v", r)
		}
	}
	if r := b.store(t, RequestOptions{}, instance(1, 2, 1000, "A"))[0]; r.Outcome != Stored {
		t.Errorf("%+v", r)
	}
	if len(x.entries) != 2 || x.entries[0].Fact.Key != x.entries[1].Fact.Key {
		t.Errorf("%d facts, or not under one key", len(x.entries))
	}
}

func TestValidUID(t *testing.T) {
	for s, want := range map[string]bool{"1.2.3": true, "1": true, "0.01": true, "": false, "1..2": false, ".1": false, "1.": false,
		"1.2.a": false, strings.Repeat("1", 64): true, strings.Repeat("1", 65): false, "1.2 ": false, "../..": false} {
		if ValidUID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{2 << 10, 512 << 10, 4 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := newBench(b, nil)
			f := instance(1, 1, size, "A")
			b.SetBytes(int64(len(f)))
			b.ReportAllocs()
			for b.Loop() {
				r := x.Begin(RequestOptions{})
				if res := r.Add(b.Context(), bytes.NewReader(f)); res.Outcome != Stored {
					b.Fatal(res)
				}
				r.Abort()
			}
		})
	}
}
