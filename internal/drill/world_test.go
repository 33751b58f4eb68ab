package drill_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/drill"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
)

const tenant archive.Tenant = "praxis"

// secretName is in every image; so are pixels.
const secretName = "Geheim^Nora"

// world is an archive on disk in two tiers, with an index that knows what it was told.
type world struct {
	t          *testing.T
	hot, cold  *faultstore.Store
	coldBucket *storage.Bucket
	list       []archive.Tier
	hotBucket  *storage.Bucket
	ring       *keys.Ring
	log        *ledger.Log
	index      *memory
	scratch    string
	images     [][]byte
	now        func() time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	open := func() driver.Driver {
		d, err := filestore.New(t.TempDir(), filestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return worldOver(t, open(), open(), archive.Tier{Name: "cold", Store: "file:///cold", Prices: archive.Prices{GBMonth: 0.01, RetrieveGB: 1000, Read: 1000}})
}

func worldOver(t *testing.T, hot, cold driver.Driver, tier archive.Tier) *world {
	t.Helper()
	w := &world{t: t, hot: faultstore.New(hot, nil), cold: faultstore.New(cold, nil), scratch: filepath.Join(t.TempDir(), "scratch"), now: time.Now,
		list: []archive.Tier{{Name: archive.HotTier}, tier}, index: &memory{studies: map[archive.Ref]*known{}}}
	w.hotBucket, w.coldBucket = storage.New(w.hot.Driver), storage.New(w.cold.Driver)
	var err error
	w.ring, err = keys.Open(t.Context(), keys.Options{Bucket: w.hotBucket, Wrapper: keystest.NewProvider("kek", 1), KEK: "kek", Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.ring.Close)
	w.log, err = ledger.Open(ledger.Options{Bucket: w.hotBucket, Tenant: tenant, Secrets: w.ring.Secret, Session: "S1"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) options() drill.Options {
	return drill.Options{Tenant: tenant, Index: w.index, Keys: w.ring, Scratch: w.scratch, Now: w.now,
		Tiers: tiers.NewStores(w.list, map[string]*storage.Bucket{"": w.hotBucket, w.list[1].Store: w.coldBucket})}
}

// run carries out a drill, after which nothing may be left of its scratch.
func (w *world) run(q archive.RecoveryDrill) (archive.RecoveryReport, error) {
	w.t.Helper()
	r, err := drill.Run(w.t.Context(), w.options(), q, nil)
	w.wantNoScratch()
	return r, err
}

func (w *world) wantNoScratch() {
	w.t.Helper()
	left, err := os.ReadDir(w.scratch)
	if err != nil && !os.IsNotExist(err) || len(left) > 0 {
		w.t.Errorf("the drill left %d folders, %v", len(left), err)
	}
}

// wants runs a drill of everything, from index and log, in which exactly one failure is found.
func (w *world) wants(what, object string) {
	w.t.Helper()
	for _, fromLog := range []bool{false, true} {
		r, err := w.run(archive.RecoveryDrill{Studies: 100, FromLog: fromLog})
		if err != nil || len(r.Failures) == 0 {
			w.t.Errorf("from the log %v: %+v, %v", fromLog, r, err)
			continue
		}
		for _, f := range r.Failures {
			if f.Object != object {
				w.t.Errorf("from the log %v: names %s, not %s", fromLog, f.Object, object)
			}
		}
		if !strings.Contains(r.Failures[0].What, what) {
			w.t.Errorf("from the log %v: %s", fromLog, r.Failures[0].What)
		}
	}
}

// store stores n new instances of a study by one fact.
func (w *world) store(study, n int) archive.Ref {
	w.t.Helper()
	uid := fmt.Sprintf("1.2.%d", study)
	ref := w.ring.Ref(uid)
	k := w.index.study(ref, uid)
	if k.key == (archive.KeyID{}) {
		id, _, obj, err := w.ring.NewStudyKey(w.t.Context(), ref)
		if err == nil {
			err = w.ring.Commit(w.t.Context(), obj)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		k.key = id
	}
	secret, err := w.ring.Secret(w.t.Context(), k.key)
	if err != nil {
		w.t.Fatal(err)
	}
	stage := pack.NewStage(w.t.Context(), w.hotBucket, func() string { return "" }, 0, nil)
	f := &archive.Fact{Kind: archive.FactStored, Study: ref, Key: k.key}
	for range n {
		u := archive.UIDs{Study: uid, Series: uid + ".1", Instance: fmt.Sprintf("%s.1.%d", uid, len(w.images))}
		file := retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 64, Columns: 64, Name: secretName, PatientID: "P-4711"})
		w.images = append(w.images, file)
		blob, id, err := seal.Seal(nil, file, secret, seal.Binding{Tenant: tenant, Kind: seal.KindInstance, Key: k.key}, seal.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		sum := w.ring.Digest()
		sum.Write(file)
		off := stage.Offset()
		if _, err := stage.Write(blob); err != nil {
			w.t.Fatal(err)
		}
		f.Instances = append(f.Instances, archive.Instance{UIDs: u, Key: k.key, Blob: id, At: stage.Keep(id, off), SegmentBits: seal.DefaultSegmentBits,
			Size: int64(len(file)), Digest: archive.Digest(sum.Sum(nil))})
	}
	body, err := stage.Finish(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Release()
	e := w.append(f, &body)
	k.entries = append(k.entries, entryOf(e))
	for _, in := range e.Fact.Instances {
		k.rows = append(k.rows, archive.InstanceRow{Instance: in})
	}
	return ref
}

func (w *world) append(f *archive.Fact, body *pack.Body) archive.Entry {
	w.t.Helper()
	e, err := w.log.Append(w.t.Context(), f, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func entryOf(e archive.Entry) archive.LogEntry {
	return archive.LogEntry{Session: e.Session, N: e.N, Fact: e.Fact.ID, Kind: e.Fact.Kind, Size: e.Size}
}

// settle merges a study into one pack, as the settler does; the objects stay that it stands for.
func (w *world) settle(ref archive.Ref) string {
	w.t.Helper()
	k := w.index.studies[ref]
	object := fmt.Sprintf("%s/pack/%s-%d", tenant, ref, len(k.entries))
	stage := pack.NewStage(w.t.Context(), w.hotBucket, func() string { return object }, 1, nil)
	f := &archive.Fact{Kind: archive.FactSettled, Study: ref, Key: k.key}
	for i := range k.rows {
		in := k.rows[i].Instance
		b, err := w.hotBucket.ReadRange(w.t.Context(), in.At.Object, in.At.Offset, in.At.Length)
		if err != nil {
			w.t.Fatal(err)
		}
		off := stage.Offset()
		if _, err := stage.Write(b); err != nil {
			w.t.Fatal(err)
		}
		in.At = stage.Keep(in.Blob, off)
		in.At.Object, in.Stated = object, k.entries[0].Fact
		f.Instances, k.rows[i].Instance = append(f.Instances, in), in
	}
	body, err := stage.Finish(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	body.Release()
	all, err := w.hotBucket.Get(w.t.Context(), object, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	place := archive.PackPlace{Object: object, Size: int64(len(all)), Digest: archive.Digest(all[len(all)-40 : len(all)-8]), Tier: archive.HotTier}
	f.Packs = []archive.PackPlace{place}
	for _, e := range k.entries {
		f.Supersedes = append(f.Supersedes, archive.LogRange{Session: e.Session, Range: archive.Range{From: e.N, To: e.N}})
	}
	e := w.append(f, nil)
	k.entries = []archive.LogEntry{entryOf(e)}
	k.packs = []archive.PackState{{PackPlace: place, Fact: e.Fact.ID}}
	return object
}

// move moves the packs of a study to the cold tier; the hot copy stays, as it does for a day.
func (w *world) move(ref archive.Ref) {
	w.t.Helper()
	k := w.index.studies[ref]
	f := &archive.Fact{Kind: archive.FactMoved, Study: ref}
	for i := range k.packs {
		p := &k.packs[i]
		b, err := w.hotBucket.Get(w.t.Context(), p.Object, 1<<30)
		if err == nil {
			_, err = w.coldBucket.Put(w.t.Context(), p.Object, b, storage.CreateOptions{Class: w.list[1].Class})
		}
		if err != nil {
			w.t.Fatal(err)
		}
		p.Tier = w.list[1].Name
		moved := p.PackPlace
		moved.From = archive.HotTier
		f.Packs = append(f.Packs, moved)
	}
	e := w.append(f, nil)
	k.entries = append(k.entries, entryOf(e))
	for i := range k.packs {
		k.packs[i].Fact = e.Fact.ID
	}
}

// coldStudy makes a settled study in the cold tier.
func (w *world) coldStudy(study, n int) (ref archive.Ref, object string) {
	w.t.Helper()
	ref = w.store(study, n)
	w.store(study, 1)
	object = w.settle(ref)
	w.move(ref)
	return ref, object
}

// edit changes an object in a store behind everybody's back.
func edit(t *testing.T, b *storage.Bucket, object string, f func([]byte) []byte) {
	t.Helper()
	old, err := b.Get(t.Context(), object, 1<<30)
	if err == nil {
		err = b.Delete(t.Context(), object)
	}
	if err == nil {
		_, err = b.Put(t.Context(), object, f(old), storage.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readable reports what of the images can be read in the files of a folder.
func (w *world) readable(folder string) (found string, files int) {
	needles := [][]byte{[]byte(secretName), []byte("P-4711"), []byte("DICM"), []byte("1.2.840.10008")}
	for _, file := range w.images {
		needles = append(needles, file[len(file)/2:][:64])
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(needles, func(n []byte) bool { return bytes.Contains(b, n) }); i >= 0 {
			found = string(needles[i])
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	return found, files
}

// memory is an index.
type memory struct {
	studies map[archive.Ref]*known
	order   []archive.Ref
	asked   func(archive.Ref) // called when the index is asked for entries
}

type known struct {
	uid     string
	key     archive.KeyID
	entries []archive.LogEntry
	packs   []archive.PackState
	rows    []archive.InstanceRow
}

func (m *memory) study(ref archive.Ref, uid string) *known {
	if m.studies[ref] == nil {
		m.studies[ref] = &known{uid: uid}
		m.order = append(m.order, ref)
	}
	return m.studies[ref]
}

func (m *memory) Studies(_ context.Context, _ archive.Tenant, _ archive.StudyFilter, yield func(*archive.StudyRow) bool) error {
	for _, ref := range m.order {
		if k := m.studies[ref]; k != nil && !yield(&archive.StudyRow{Ref: ref, UID: k.uid, Instances: len(k.rows)}) {
			break
		}
	}
	return nil
}

func (m *memory) Entries(_ context.Context, _ archive.Tenant, ref archive.Ref) ([]archive.LogEntry, error) {
	if m.asked != nil {
		m.asked(ref)
	}
	if k := m.studies[ref]; k != nil {
		return slices.Clone(k.entries), nil
	}
	return nil, nil
}

func (m *memory) Packs(_ context.Context, _ archive.Tenant, ref archive.Ref) ([]archive.PackState, error) {
	if k := m.studies[ref]; k != nil {
		return slices.Clone(k.packs), nil
	}
	return nil, nil
}

func (m *memory) StudyInstances(_ context.Context, _ archive.Tenant, ref archive.Ref, yield func(*archive.InstanceRow, archive.State) bool) error {
	if k := m.studies[ref]; k != nil {
		for i := range k.rows {
			if !yield(&k.rows[i], archive.StateVisible) {
				break
			}
		}
	}
	return nil
}

func (m *memory) TierUsage(context.Context, archive.Tenant) (out []archive.TierUsage, _ error) {
	by := map[archive.TierName]*archive.TierUsage{}
	add := func(t archive.TierName, n int64) {
		if by[t] == nil {
			by[t] = &archive.TierUsage{Tier: t}
		}
		by[t].Objects, by[t].Bytes = by[t].Objects+1, by[t].Bytes+n
	}
	for _, k := range m.studies {
		for _, e := range k.entries {
			add(archive.HotTier, e.Size)
		}
		for _, p := range k.packs {
			add(p.Tier, p.Size)
		}
	}
	for _, u := range by {
		out = append(out, *u)
	}
	return out, nil
}
