package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// person is whose images a test stores.
type person struct{ name, id, issuer string }

var (
	anna  = person{"Wolkenstein^Anna", "GEHEIM-4711", "NORD"}
	berta = person{"Müller^Berta", "B-12", "NORD"}
)

// of is an image of the person.
func (w person) of(study, i int) (archive.UIDs, []byte) {
	u, _ := image(study, i)
	return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: w.name, PatientID: w.id, Issuer: w.issuer})
}

func stores(t *testing.T, a *Archive, files ...[]byte) {
	t.Helper()
	for _, r := range store(t, a, files...) {
		if r.Outcome != ingest.Stored {
			t.Fatalf("%+v", r)
		}
	}
}

func shreds(t *testing.T, a *Archive, target archive.ShredTarget) archive.ShredStatus {
	t.Helper()
	st, err := a.Shred.Shred(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// found is how many instances a study shows.
func found(t *testing.T, a *Archive, study string) int {
	t.Helper()
	rows, err := a.Retrieve.Find(t.Context(), a.Tenant, archive.UIDs{Study: study}, retrieve.Files)
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// keyObjects are the wrapped study keys in the store.
func keyObjects(t *testing.T, a *Archive) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for o, err := range a.Bucket.All(t.Context(), string(a.Tenant)+"/key/", "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := a.Bucket.Get(t.Context(), o.Key, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		out[o.Key] = b
	}
	return out
}

// rows are the instances of a study with their keys, before it is shredded.
func rows(t *testing.T, a *Archive, study string) (out []archive.InstanceRow) {
	t.Helper()
	err := a.Index.Instances(t.Context(), a.Tenant, archive.UIDs{Study: study}, func(r *archive.InstanceRow) bool {
		out = append(out, *r)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// opens reports whether the blob of an instance opens under any key that the tenant has: those of its key
// objects, and what is derived from the root.
func opens(t *testing.T, a *Archive, in *archive.InstanceRow, objects map[string][]byte) bool {
	t.Helper()
	sealed, err := a.Bucket.ReadRange(t.Context(), in.At.Object, in.At.Offset, in.At.Length)
	if err != nil {
		t.Fatal(err)
	}
	var secrets []archive.Secret
	for _, purpose := range []string{"fact", "ref", "digest", "thumbnail", "index/rows", "index/tokens"} {
		s, err := a.Derive(purpose)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	for name := range objects {
		id, _ := hex.DecodeString(name[strings.LastIndexByte(name, '/')+1:])
		s, err := a.ring.Secret(t.Context(), archive.KeyID(id))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	for _, s := range secrets {
		if _, err := seal.Open(nil, sealed, s, seal.Binding{Tenant: a.Tenant, Kind: seal.KindInstance, Key: in.Key}); err == nil {
			return true
		}
	}
	return false
}

func words(t *testing.T, a *Archive) string {
	t.Helper()
	var all []string
	for _, tag := range []dicom.Tag{0x00100010, 0x00100020, 0x00100021} {
		list, _, err := a.Index.Words(t.Context(), a.Tenant, tag, func(string) bool { return true }, 1000)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
	}
	return strings.Join(all, " ")
}

// TestShred: nothing of a study that was shredded opens, with whatever key is left; all else does; the
// same study can be imported anew; and neither a rebuild nor an old backup of the keys brings it back.
func TestShred(t *testing.T) {
	p := newPlace(t)
	p.o.ReconcileEvery = time.Hour
	a := p.open()
	var us [3]archive.UIDs
	var files [3][]byte
	for i := range us {
		us[i], files[i] = []person{anna, berta, anna}[i].of(i, 1)
	}
	stores(t, a, files[0])
	stores(t, a, files[1])
	large := append(bytes.Clone(files[0]), make([]byte, 17<<20)...) // a pack
	large = bytes.Replace(large, []byte("1.2.0.1.1"), []byte("1.2.0.1.7"), -1)
	stores(t, a, large)
	before := keyObjects(t, a)
	was := rows(t, a, "1.2.0")
	key := was[0].Key
	if !opens(t, a, &was[0], before) {
		t.Fatal("the test cannot open a blob")
	}
	if len(before) != 2 || len(was) != 2 || was[1].At.Object == was[0].At.Object {
		t.Fatal(len(before), len(was))
	}
	escrowed := string(a.Tenant) + "/escrow/00ff/" + key.String()
	for _, name := range []string{escrowed, escrowed[:len(escrowed)-32] + hex.EncodeToString(make([]byte, 16))} {
		if _, err := a.Bucket.Put(t.Context(), name, []byte("wrapped"), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Shred.Shred(t.Context(), archive.ShredTarget{Study: "9.9"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("shredding what there is not: %v", err)
	}
	st := shreds(t, a, archive.ShredTarget{Study: "1.2.0"})
	if st.Studies != 1 || st.Instances != 2 || st.Keys != 1 || st.Closed.IsZero() || !st.PendingUntil.IsZero() {
		t.Errorf("%+v", st)
	}
	if again := shreds(t, a, archive.ShredTarget{Study: "1.2.0"}); again != st {
		t.Errorf("asked again: %+v, not %+v", again, st)
	}
	if by := shreds(t, a, archive.ShredTarget{PatientID: anna.id, Issuer: anna.issuer}); by != st {
		t.Errorf("asked by patient: %+v", by)
	}
	dark := func(when string) {
		t.Helper()
		if n := found(t, a, "1.2.0"); n != 0 {
			t.Errorf("%s: %d instances are found", when, n)
		}
		if s := words(t, a); strings.Contains(s, "wolkenstein") || strings.Contains(s, "geheim") || !strings.Contains(s, "berta") || !strings.Contains(s, "nord") {
			t.Errorf("%s: vocabulary: %s", when, s)
		}
		p.wants(a, us[1], files[1])
	}
	dark("shredded")
	if _, err := a.ring.Secret(t.Context(), key); !errors.Is(err, keys.ErrAbsent) {
		t.Errorf("the key: %v", err)
	}
	left := keyObjects(t, a)
	if len(left) != 1 {
		t.Errorf("%d keys are left", len(left))
	}
	if there, _ := a.Bucket.Exists(t.Context(), escrowed); there {
		t.Error("the key is in escrow")
	}
	if opens(t, a, &was[0], left) {
		t.Error("a shredded blob opens")
	}
	if r := p.verify(a); len(r.Gaps) != 0 || r.Instances != 1 {
		t.Errorf("verify: %+v", r)
	}
	p.close(a)
	p.o.Grace = 1
	a = p.open()
	if k, err := a.Reconcile.Reap(t.Context()); err != nil || k.Packs != 1 {
		t.Errorf("reaped %+v, %v", k, err)
	}
	p.close(a)
	p.o.Grace = 24 * time.Hour

	r, err := Rebuild(t.Context(), p.o, nil)
	if err != nil || len(r.Gaps) != 0 || r.Instances != 1 || r.Shredded != 2 {
		t.Errorf("rebuild: %+v, %v", r, err)
	}
	a = p.open()
	dark("rebuilt")
	if again := shreds(t, a, archive.ShredTarget{Study: "1.2.0"}); again != st {
		t.Errorf("asked after a rebuild: %+v, not %+v", again, st)
	}
	if r := p.verify(a); len(r.Gaps) != 0 || r.Shredded != 2 {
		t.Errorf("verify: %+v", r)
	}

	// An old backup of the keys.
	restore := func() {
		for name, b := range before {
			if there, _ := a.Bucket.Exists(t.Context(), name); there {
				continue
			}
			if _, err := a.Bucket.Put(t.Context(), name, b, storage.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore()
	dark("restored")
	if r := p.verify(a); len(r.Gaps) != 0 {
		t.Errorf("verify: %+v", r)
	}
	p.close(a)
	restore() // what was destroyed again meanwhile
	if r, err = Rebuild(t.Context(), p.o, nil); err != nil || len(r.Gaps) != 0 {
		t.Errorf("rebuild with an old key: %+v, %v", r, err)
	}
	a = p.open()
	defer func() { p.close(a) }()
	dark("rebuilt with an old key")
	if _, err := a.Shred.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(keyObjects(t, a)); n != 1 {
		t.Errorf("after the sweep %d keys are left", n)
	}
	restore()
	if _, err := a.Shred.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(keyObjects(t, a)); n != 1 {
		t.Errorf("%d keys are left", n)
	}

	stores(t, a, files[0])
	p.wants(a, us[0], files[0])
	if s := words(t, a); !strings.Contains(s, "wolkenstein") {
		t.Errorf("imported anew: %s", s)
	}
	if list, err := a.Index.Changes(t.Context(), a.Tenant, archive.ChangeQuery{}); err != nil || len(list) != 2 {
		t.Errorf("the feed has %d entries, %v", len(list), err)
	}
}

// TestShredPatient: every study that shows the patient, deleted ones too, and nobody else's.
func TestShredPatient(t *testing.T) {
	p := newPlace(t)
	p.o.KeyBackups = 90 * 24 * time.Hour
	retired := false
	p.o.KeyVersions = versions(func() bool { return retired })
	a := p.open()
	defer p.close(a)
	other := person{anna.name, anna.id, "SUED"}
	for i, w := range []person{anna, berta, anna, other, {"X", "geheim-4711", "NORD"}, anna} {
		_, file := w.of(i, 1)
		stores(t, a, file)
	}
	if err := a.Remove.Delete(t.Context(), a.Tenant, archive.UIDs{Study: "1.2.2"}); err != nil {
		t.Fatal(err)
	}
	target := archive.ShredTarget{PatientID: anna.id, Issuer: "NORD"}
	hold, err := a.Keep.Hold(t.Context(), retention.HoldTarget{Study: "1.2.5"}, "a court wants it", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Shred.Shred(t.Context(), target); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Message(err), "legal hold") {
		t.Errorf("under legal hold: %v", err)
	}
	if n := found(t, a, "1.2.0"); n != 1 {
		t.Error("what is under legal hold is gone")
	}
	for _, person := range []string{"alice", "bob"} {
		if _, err := a.Keep.Release(t.Context(), hold.ID, "settled", person); err != nil {
			t.Fatal(err)
		}
	}
	st := shreds(t, a, target)
	if st.Studies != 3 || st.Keys != 3 || st.Instances != 3 {
		t.Errorf("%+v", st)
	}
	if d := st.PendingUntil.Sub(st.Closed); d < p.o.KeyBackups-time.Second || d > p.o.KeyBackups+time.Minute {
		t.Errorf("pending for %v", d)
	}
	for i, want := range []int{0, 1, 0, 1, 1, 0} {
		if n := found(t, a, fmt.Sprintf("1.2.%d", i)); n != want {
			t.Errorf("study %d: %d instances", i, n)
		}
	}
	if _, err := a.Remove.Undelete(t.Context(), a.Tenant, archive.UIDs{Study: "1.2.2"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("undeleting what was shredded: %v", err)
	}
	retired = true
	if st := shreds(t, a, target); !st.PendingUntil.IsZero() || st.Studies != 3 {
		t.Errorf("when the version is retired: %+v", st)
	}
	if st := shreds(t, a, archive.ShredTarget{PatientID: anna.id}); st.Studies != 4 {
		t.Errorf("of any issuer: %+v", st)
	}
	for _, target := range []archive.ShredTarget{{}, {Study: "1.2.1", PatientID: "x"}} {
		if _, err := a.Shred.Shred(t.Context(), target); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", target, err)
		}
	}
}

type versions func() bool

func (v versions) RetiredBefore(context.Context, archive.Tenant, time.Time) (bool, error) {
	return v(), nil
}

// TestShredOnAnotherNode: what one node shreds, another finds no more, and forgets; stores that it has under way are refused.
func TestShredOnAnotherNode(t *testing.T) {
	t.Parallel()
	db := testservers.Postgres(t)
	mem := memstore.New(memstore.Options{})
	var nodes [2]*Archive
	for i := range nodes {
		p := newPlace(t)
		if i > 0 {
			p.o.Wrapper, p.o.KEK = nodes[0].n.o.Wrapper, nodes[0].n.o.KEK
		}
		p.o.Database, p.o.Remote, p.o.KeyLease = db.DSN("shred"), mem, 50*time.Millisecond
		nodes[i] = p.open()
		defer p.close(nodes[i])
	}
	a, b := nodes[0], nodes[1]
	_, file := anna.of(1, 1)
	_, more := anna.of(1, 2)
	stores(t, a, file)
	key := rows(t, b, "1.2.1")[0].Key
	if found(t, b, "1.2.1") != 1 {
		t.Fatal("the other node does not see it")
	}
	if s, err := b.ring.Secret(t.Context(), key); err != nil {
		t.Fatal(err)
	} else {
		s.Wipe()
	}
	_ = words(t, b)
	late := b.Store.Begin(ingest.RequestOptions{})
	late.Add(t.Context(), bytes.NewReader(more))
	shreds(t, a, archive.ShredTarget{Study: "1.2.1"})
	if found(t, b, "1.2.1") != 0 {
		t.Error("the other node finds it")
	}
	if r := late.Commit(t.Context())[0]; r.Outcome != ingest.Refused || !fault.Is(r.Err, fault.Conflict) || !strings.Contains(r.Detail, "send it again") {
		t.Errorf("a late store: %+v", r)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := b.ring.Secret(t.Context(), key); errors.Is(err, keys.ErrAbsent) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other node holds the key")
		}
		time.Sleep(20 * time.Millisecond)
	}
	stores(t, b, more)
	for _, n := range nodes {
		if found(t, n, "1.2.1") != 1 || !strings.Contains(words(t, n), "wolkenstein") {
			t.Errorf("imported anew: %d, %s", found(t, n, "1.2.1"), words(t, n))
		}
	}
}
