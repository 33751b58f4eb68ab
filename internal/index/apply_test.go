package index

import (
	"context"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

func TestStoreAndFind(t *testing.T) { both(t, testStoreAndFind) }

func testStoreAndFind(t *testing.T, e engine) {
	x := openTest(t, e)
	second := ctSpec
	second.instance, second.number = "1.2.3.1.2", 2
	other := ctSpec
	other.series, other.instance, other.modality, other.seriesNumber = "1.2.3.2", "1.2.3.2.1", "SR", 0
	out := apply(t, x, stored(1, second, ctSpec, other))
	if len(out) != 1 || len(out[0].Instances) != 3 || out[0].Instances[1].Outcome != Visible {
		t.Fatalf("applied: %+v", out)
	}
	ss := studies(t, x, archive.StudyFilter{})
	if len(ss) != 1 {
		t.Fatalf("%d studies", len(ss))
	}
	s := ss[0]
	if s.UID != "1.2.3" || s.Instances != 3 || s.Series != 2 || len(s.Modalities) != 2 || s.Modalities[0] != "CT" || s.Modalities[1] != "SR" || s.Bytes != 12000 {
		t.Errorf("study: %+v", s)
	}
	if v, _ := s.Attrs.Get(0x00100010); v != "Müller^Anna" {
		t.Errorf("name %q", v)
	}
	rows := instances(t, x, archive.UIDs{Study: "1.2.3"})
	var order []string
	for _, r := range rows {
		order = append(order, r.UIDs.Instance)
		if r.Study != "1.2.3" || r.At.Object != "hospital/log/"+testSession+"/0000000000000001" || r.ChunkID == 0 || r.At.Length != 5000 || len(r.Layout) != 3 {
			t.Errorf("row: %+v", r)
		}
	}
	if len(order) != 3 || order[0] != "1.2.3.2.1" || order[1] != "1.2.3.1.1" || order[2] != "1.2.3.1.2" {
		t.Errorf("order %v", order)
	}
	n := 0
	if err := x.Chunks(context.Background(), hospital, []int64{rows[0].ChunkID, rows[0].ChunkID, 99}, func(_ int64, c archive.Chunk) bool {
		n++
		return string(c.Data) == "zstd" && c.Size == 400
	}); err != nil || n != 1 {
		t.Errorf("chunks: %d, %v", n, err)
	}
	if key, ok, err := x.StudyKey(context.Background(), hospital, fakeKeys(hospital).Ref("1.2.3")); err != nil || !ok || key != rows[0].Key {
		t.Errorf("study key %v %v %v", key, ok, err)
	}
	if out := apply(t, x, stored(1, ctSpec)); !out[0].Known {
		t.Error("a second time is not known")
	}
	if again := studies(t, x, archive.StudyFilter{}); again[0].Instances != 3 {
		t.Error("applied twice")
	}
}

func TestVersions(t *testing.T) { both(t, testVersions) }

func testVersions(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx := context.Background()
	apply(t, x, stored(5, ctSpec))
	if o := apply(t, x, stored(6, ctSpec))[0].Instances[0].Outcome; o != SameDigest {
		t.Errorf("the same bytes: %v", o)
	}
	v2 := ctSpec
	v2.version = 2
	if o := apply(t, x, stored(7, v2))[0].Instances[0].Outcome; o != HiddenVersion {
		t.Errorf("other bytes: %v", o)
	}
	v3 := ctSpec
	v3.version, v3.replaces, v3.name = 3, []archive.BlobID{blobOf(ctSpec, 5), blobOf(ctSpec, 6)}, "Meier^Anna"
	p := apply(t, x, stored(8, v3))[0].Instances[0]
	if p.Outcome != HiddenVersion { // of 7 and 8, which both are not replaced, 7 is older
		t.Errorf("outcome %v", p.Outcome)
	}
	if len(p.Conflicts) != 1 || p.Conflicts[0] != 0x00100010 {
		t.Errorf("conflicts %v", p.Conflicts)
	}
	rows, elsewhere, err := x.Versions(ctx, hospital, v3.build(0).UIDs)
	if err != nil || len(rows) != 4 || elsewhere {
		t.Fatalf("%d versions, %v, %v", len(rows), elsewhere, err)
	}
	if rows[0].Blob != blobOf(v2, 7) {
		t.Error("the version shown is not first")
	}
	apply(t, x, deletes(9, v2.build(0).UIDs, blobOf(v2, 7)))
	if rows = instances(t, x, archive.UIDs{Study: "1.2.3"}); len(rows) != 1 || rows[0].Blob != blobOf(v3, 8) {
		t.Errorf("after deletion: %+v", rows)
	}
	if s := studies(t, x, archive.StudyFilter{})[0]; s.Instances != 1 || s.Conflicts != 0 {
		t.Errorf("study: %+v", s)
	} else if v, _ := s.Attrs.Get(0x00100010); v != "Meier^Anna" {
		t.Errorf("the study shows %q, not what its only visible instance has", v)
	}
	same := ctSpec
	same.study = "9.9"
	if p := apply(t, x, stored(10, same))[0].Instances[0]; !p.Elsewhere || p.Outcome != Visible {
		t.Errorf("in another study: %+v", p)
	}
	actions := ""
	cs, err := x.Changes(ctx, hospital, ChangeQuery{})
	for i, c := range cs {
		actions += c.Action + " "
		if c.Sequence != int64(i+1) || c.UIDs.Instance != ctSpec.instance {
			t.Errorf("change %+v", c)
		}
	}
	if err != nil || actions != "create replace replace create " {
		t.Errorf("feed %q %v", actions, err)
	}
}

func TestDeleteAndUndelete(t *testing.T) { both(t, testDeleteAndUndelete) }

func testDeleteAndUndelete(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx := context.Background()
	scope := archive.UIDs{Study: "1.2.3"}
	two := ctSpec
	two.instance = "1.2.3.1.2"
	apply(t, x, stored(1, ctSpec, two))
	blobs, err := x.Blobs(ctx, hospital, scope)
	if err != nil || len(blobs) != 2 {
		t.Fatal(blobs, err)
	}
	apply(t, x, deletes(2, scope, blobs...))
	if n := len(studies(t, x, archive.StudyFilter{})) + len(instances(t, x, scope)); n != 0 {
		t.Errorf("%d rows are still there", n)
	}
	gone, err := x.Deletions(ctx, hospital, scope)
	if err != nil || len(gone) != 2 || len(gone[0].By) != 1 || gone[0].By[0] != factID(2) {
		t.Errorf("%+v %v", gone, err)
	}
	apply(t, x, undeletes(3, "1.2.3", []uint64{2}, blobs[0]))
	if rows := instances(t, x, scope); len(rows) != 1 || rows[0].Blob != blobs[0] {
		t.Errorf("undeleted: %+v", rows)
	}
	// Stored again: new bytes on disk, visible, though an older copy is deleted.
	if p := apply(t, x, stored(4, two))[0].Instances[0]; p.Outcome != Visible {
		t.Errorf("stored again: %+v", p)
	}
	if s := studies(t, x, archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00100010, Word: "muller"}}}}); len(s) != 1 || s[0].Instances != 2 {
		t.Errorf("%+v", s)
	}
	cs, _ := x.Changes(ctx, hospital, ChangeQuery{Newest: true, Limit: 2})
	if len(cs) != 2 || cs[0].Action != "create" || cs[1].Action != "undelete" {
		t.Errorf("%+v", cs)
	}
	cs, _ = x.Changes(ctx, hospital, ChangeQuery{Actions: []string{"delete", "undelete"}, After: 1})
	if len(cs) != 3 || cs[0].Action != "delete" || cs[2].Action != "undelete" {
		t.Errorf("%+v", cs)
	}
}

func TestRefusedEntries(t *testing.T) { both(t, testRefusedEntries) }

func testRefusedEntries(t *testing.T, e engine) {
	x := openTest(t, e)
	bad := stored(2, spec{study: "1", series: "2"})
	reserved := entry(3, &archive.Fact{Kind: archive.FactSettled})
	out, err := x.Apply(context.Background(), hospital, stored(1, ctSpec), bad, reserved, archive.Entry{Session: "s", N: 1})
	if err == nil || out[0].Err != nil || out[1].Err == nil || out[2].Err == nil || out[3].Err == nil {
		t.Errorf("%+v %v", out, err)
	}
	if n := len(studies(t, x, archive.StudyFilter{})); n != 1 {
		t.Errorf("%d studies", n)
	}
	p, err := x.Progress(context.Background(), hospital)
	if err != nil || !p[testSession].Has(1) || p[testSession].Has(2) {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := x.Apply(context.Background(), "Not A Tenant", stored(1, ctSpec)); err == nil {
		t.Error("a malformed tenant name was taken")
	}
}

func TestConflicts(t *testing.T) { both(t, testConflicts) }

func testConflicts(t *testing.T, e engine) {
	x := openTest(t, e)
	b, c := ctSpec, ctSpec
	b.instance, b.desc, b.seriesDesc = "1.2.3.1.2", "Abdomen", "coronal"
	c.instance, c.date = "1.2.3.1.3", "20230101"
	apply(t, x, stored(10, ctSpec))
	p := apply(t, x, stored(11, b))[0].Instances[0]
	if want := []dicom.Tag{0x00081030, 0x0008103E}; len(p.Conflicts) != 2 || p.Conflicts[0] != want[0] || p.Conflicts[1] != want[1] {
		t.Errorf("conflicts %v", p.Conflicts)
	}
	apply(t, x, stored(9, c)) // stated before: it wins, and moves the study to its date
	s := studies(t, x, archive.StudyFilter{From: "20230101", To: "20230101"})
	if len(s) != 1 || s[0].Conflicts != 2 {
		t.Fatalf("%+v", s)
	}
	if n := len(studies(t, x, archive.StudyFilter{From: "20240101"})); n != 0 {
		t.Error("still at its old date")
	}
	apply(t, x, deletes(12, archive.UIDs{Study: "1.2.3", Series: "1.2.3.1", Instance: c.instance}, blobOf(c, 9)))
	s = studies(t, x, archive.StudyFilter{From: "20240101", All: [][]archive.Term{{{Tag: 0x00081030, Word: "thorax"}}}})
	if len(s) != 1 || s[0].Conflicts != 1 {
		t.Fatalf("after deletion: %+v", s)
	}
	all := []archive.BlobID{blobOf(ctSpec, 10)}
	apply(t, x, deletes(13, archive.UIDs{Study: "1.2.3"}, all...))
	s = studies(t, x, archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00081030, Word: "abdomen"}}}})
	if len(s) != 1 || s[0].Conflicts != 0 {
		t.Fatalf("last one: %+v", s)
	}
}

func TestProgress(t *testing.T) { both(t, testProgress) }

func testProgress(t *testing.T, e engine) {
	x := openTest(t, e)
	void := func(n uint64) archive.Entry { return entry(n, &archive.Fact{Kind: archive.FactVoid}) }
	apply(t, x, void(1), void(3), void(4), void(7))
	apply(t, x, entry(9, &archive.Fact{Kind: archive.FactCheckpoint, Sessions: []archive.SessionEnd{{Session: testSession, Last: 9, Ended: true}, {Session: "other", Last: 4}}}))
	p, err := x.Progress(context.Background(), hospital)
	if err != nil {
		t.Fatal(err)
	}
	got := p[testSession]
	if len(got.Applied) != 4 || got.Applied[1] != (Range{From: 3, To: 4}) || got.Last != 9 || !got.Ended || got.Has(2) || !got.Has(7) {
		t.Errorf("%+v", got)
	}
	if o := p["other"]; len(o.Applied) != 0 || o.Last != 4 || o.Ended {
		t.Errorf("%+v", o)
	}
	apply(t, x, void(2), void(5), void(6), void(8))
	p, _ = x.Progress(context.Background(), hospital)
	if got = p[testSession]; len(got.Applied) != 1 || got.Applied[0] != (Range{From: 1, To: 9}) {
		t.Errorf("%+v", got)
	}
}
