package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

const tenant archive.Tenant = "clinic"

// world is a store with the log of a tenant, its keys, and an index of it. Every session but the newest is over.
type world struct {
	t      *testing.T
	now    time.Time
	mem    *hooked
	bucket *storage.Bucket
	ring   *keys.Ring
	key    archive.KeyID // of the study
	index  *index.Index
	log    *ledger.Log
	rec    *Reconciler
	packs  int
}

// hooked is a store in which something happens when an object is opened for the first time.
type hooked struct {
	*memstore.Store
	hook func(key string)
}

func (h *hooked) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if f := h.hook; f != nil {
		h.hook = nil
		f(key)
	}
	return h.Store.Open(ctx, key, off, n)
}

const studyUID = "1.2.3"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.UnixMilli(1_700_000_000_000)}
	w.mem = &hooked{Store: memstore.New(memstore.Options{Now: func() time.Time { return w.now }})}
	w.bucket = storage.New(w.mem)
	path := filepath.Join(t.TempDir(), "key")
	w.do(localkeys.Create(path, nil))
	kek, err := localkeys.Open(path, nil)
	w.do(err)
	w.ring, err = keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: kek, KEK: kek.ID(), Tenant: tenant})
	w.do(err)
	t.Cleanup(w.ring.Close)
	id, secret, object, err := w.ring.NewStudyKey(t.Context(), w.study())
	w.do(err)
	secret.Wipe()
	w.do(w.ring.Commit(t.Context(), object))
	w.key = id
	w.freshIndex()
	w.restart("A")
	return w
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) study() archive.Ref { return w.ring.Ref(studyUID) }

// freshIndex takes an empty index.
func (w *world) freshIndex() {
	w.t.Helper()
	x, err := index.Open(w.t.Context(), index.Options{Path: filepath.Join(w.t.TempDir(), "index.db"), Now: func() time.Time { return w.now },
		Keys: func(context.Context, archive.Tenant) (index.Keys, error) { return w.ring, nil }})
	w.do(err)
	w.t.Cleanup(func() { w.do(x.Close()) })
	w.index = x
	w.reconciler()
}

// restart ends the session without a word, as a crash does, and begins another.
func (w *world) restart(session string) {
	w.t.Helper()
	w.now = w.now.Add(time.Second) // facts of two sessions are in the order of their times
	var err error
	w.log, err = ledger.Open(ledger.Options{Bucket: w.bucket, Tenant: tenant, Secrets: w.ring.Secret, Session: session, Now: func() time.Time { return w.now }})
	w.do(err)
	w.reconciler()
}

func (w *world) reconciler() {
	o := Options{Tenant: tenant, Bucket: w.bucket, Index: w.index, Keys: w.ring, Grace: time.Hour, Now: func() time.Time { return w.now }}
	if w.log != nil {
		log := w.log
		o.Log, o.Over = log, func(_ context.Context, s string) bool { return s != log.Session() }
	}
	w.rec = New(o)
}

// write appends a fact and indexes it, unless it is to be left to whoever catches up.
func (w *world) write(f *archive.Fact, body *pack.Body, indexed bool) archive.Entry {
	w.t.Helper()
	e, err := w.log.Append(w.t.Context(), f, body)
	w.do(err)
	if indexed {
		w.apply(e)
	}
	return e
}

func (w *world) apply(es ...archive.Entry) {
	w.t.Helper()
	_, err := w.index.Apply(w.t.Context(), tenant, es...)
	w.do(err)
}

// store stores an instance, in a pack or in the log.
func (w *world) store(n int, packed, indexed bool) archive.Entry {
	w.t.Helper()
	f := &archive.Fact{Kind: archive.FactStored, Study: w.study(), Key: w.key}
	limit := int64(1 << 20)
	if packed {
		limit = 20
	}
	s := pack.NewStage(w.t.Context(), w.bucket, w.packName, limit, nil)
	in := archive.Instance{UIDs: archive.UIDs{Study: studyUID, Series: studyUID + ".1", Instance: fmt.Sprintf("%s.1.%d", studyUID, n)}, SOPClass: "1.2", Syntax: "1.2.840.10008.1.2.1", Key: w.key}
	w.seal(s, &in, bytes.Repeat([]byte{byte(n)}, 1000))
	f.Instances = []archive.Instance{in}
	body, err := s.Finish(w.t.Context())
	w.do(err)
	defer body.Release()
	if body.Object != "" {
		f.Packs = []archive.PackPlace{{Object: body.Object, Size: body.Length, Tier: archive.HotTier}}
	}
	return w.write(f, &body, indexed)
}

func (w *world) packName() string {
	w.packs++
	return fmt.Sprintf("%s/pack/P%d", tenant, w.packs)
}

func (w *world) seal(s *pack.Stage, in *archive.Instance, plain []byte) {
	w.t.Helper()
	secret, err := w.ring.Secret(w.t.Context(), w.key)
	w.do(err)
	off := s.Offset()
	b, err := seal.NewWriter(s, secret, seal.Binding{Tenant: tenant, Kind: seal.KindInstance, Key: w.key}, seal.Options{})
	w.do(err)
	_, err = b.Write(plain)
	w.do(err)
	w.do(b.Close())
	sum := w.ring.Digest()
	sum.Write(plain)
	sum.Sum(in.Digest[:0])
	in.Blob, in.Size, in.SegmentBits, in.At = b.Blob(), b.Plain(), b.SegmentBits(), s.Keep(b.Blob(), off)
}

// settled restates the study as the sources have it in a pack of its own.
func (w *world) settled(sources ...archive.Entry) *archive.Fact {
	w.t.Helper()
	ctx := w.t.Context()
	f := &archive.Fact{Kind: archive.FactSettled, Study: w.study(), Key: w.key}
	s := pack.NewStage(ctx, w.bucket, w.packName, 1, nil)
	for _, e := range sources {
		for _, in := range e.Fact.Instances {
			if e.Fact.Kind == archive.FactStored {
				in.Stated = e.Fact.ID
			}
			r, err := w.bucket.Open(ctx, in.At.Object, in.At.Offset, in.At.Length)
			w.do(err)
			off := s.Offset()
			_, err = io.Copy(s, r)
			w.do(err)
			w.do(r.Close())
			in.At = s.Keep(in.Blob, off)
			f.Instances = append(f.Instances, in)
		}
		f.Supersedes = append(f.Supersedes, e.Fact.Supersedes...)
		f.Supersedes = append(f.Supersedes, archive.LogRange{Session: e.Session, Range: archive.Range{From: e.N, To: e.N}})
	}
	slices.SortFunc(f.Supersedes, func(a, b archive.LogRange) int {
		return strings.Compare(a.Session+fmt.Sprintf("%20d", a.From), b.Session+fmt.Sprintf("%20d", b.From))
	})
	body, err := s.Finish(ctx)
	w.do(err)
	defer body.Release()
	for i := range f.Instances {
		f.Instances[i].At.Object = body.Object
	}
	f.Packs = []archive.PackPlace{{Object: body.Object, Size: body.Length, Tier: archive.HotTier}}
	return f
}

// sweep deletes what is doomed, as whoever does so in a server.
func (w *world) sweep() {
	w.t.Helper()
	ctx := w.t.Context()
	for _, moved := range []bool{false, true} {
		list, err := w.index.Doomed(ctx, tenant, w.now.Add(time.Hour), moved, 0, 1000)
		w.do(err)
		for _, d := range list {
			w.do(w.bucket.Delete(ctx, d.Object))
			w.do(w.index.Undoom(ctx, tenant, d.ID))
		}
	}
}

// objects are the names of what is in the store below a prefix.
func (w *world) objects(prefix string) (out []string) {
	w.t.Helper()
	for o, err := range w.bucket.All(w.t.Context(), string(tenant)+"/"+prefix, "") {
		w.do(err)
		out = append(out, strings.TrimPrefix(o.Key, string(tenant)+"/"))
	}
	return out
}

// usage holds what the index counts against a listing.
func (w *world) usage() {
	w.t.Helper()
	var objects, size int64
	for _, prefix := range []string{"log/", "pack/"} {
		for o, err := range w.bucket.All(w.t.Context(), string(tenant)+"/"+prefix, "") {
			w.do(err)
			objects, size = objects+1, size+o.Size
		}
	}
	list, err := w.index.TierUsage(w.t.Context(), tenant)
	w.do(err)
	if len(list) != 1 || list[0] != (archive.TierUsage{Tier: archive.HotTier, Objects: objects, Bytes: size}) {
		w.t.Errorf("counted %+v, listed %d objects of %d bytes", list, objects, size)
	}
}

// shown are the instances that the index shows, and where they lie.
func (w *world) shown() (out []string) {
	w.t.Helper()
	w.do(w.index.Instances(w.t.Context(), tenant, archive.UIDs{Study: studyUID}, func(r *archive.InstanceRow) bool {
		out = append(out, strings.TrimPrefix(r.Instance.Instance, studyUID+".1.")+" "+strings.TrimPrefix(r.At.Object, string(tenant)+"/"))
		return true
	}))
	slices.Sort(out)
	return out
}
