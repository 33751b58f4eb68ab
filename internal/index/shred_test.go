package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// specsOf are instances of a study that leave rows in every table: versions, conflicting sets, several modalities.
func specsOf(study, name, id string) []spec {
	s := spec{study: study, series: study + ".1", instance: study + ".1.1", name: name, id: id, date: "20240305", desc: "Thorax", modality: "CT"}
	other, second := s, s
	other.series, other.instance, other.name, other.modality, other.sopClass = study+".2", study+".2.1", id+"rival", "MR", "1.2.9"
	second.version = 1
	return []spec{s, other, second}
}

// storedUnder stores under a key of the study, partly in a pack.
func storedUnder(n uint64, key string, specs ...spec) archive.Entry {
	e := sealedUnder(stored(n, specs...), keyNamed(specs[0].study, key))
	e.Fact.Instances[0].At.Object = fmt.Sprintf("hospital/pack/%d", n)
	return e
}

func vocabularyOf(t *testing.T, x *Index) (out []string) {
	t.Helper()
	for _, tag := range []dicom.Tag{0x00081030, 0x00100010, 0x00100020} {
		list, _, err := x.Words(context.Background(), hospital, tag, func(string) bool { return true }, 1000)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
	}
	slices.Sort(out)
	return out
}

func count(t *testing.T, x *Index, table string) (n int64) {
	t.Helper()
	err := x.read(context.Background(), hospital, func(c *conn, _ *tenant) (err error) {
		n, err = c.integer(`SELECT count(*) FROM ` + table)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestShredLeavesNothing: no row of any table is left of a study whose key was destroyed, and the other study is as it was.
func TestShredLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		tables := []string{"studies", "series", "instances", "chunks", "variants", "facets", "packs", "pack_series", "entries WHERE NOT closed", "doomed", "tombstones", "words"}
		if e(t).DSN != "" {
			tables = append(tables, "tok")
		}
		one, two := openTest(t, e), openTest(t, e)
		keep := storedUnder(1, "a", specsOf("1.1", "Müller^Berta", "B1")...)
		apply(t, one, keep)
		apply(t, two, keep)
		want := studies(t, one, archive.StudyFilter{})
		gone := storedUnder(2, "a", specsOf("1.2", "Wolkenstein^Anna", "GEHEIM")...)
		apply(t, two, gone, deletes(3, archive.UIDs{Study: "1.2"}, gone.Fact.Instances[0].Blob))
		apply(t, two, closes(4, "1.2", keyNamed("1.2", "a")))
		sweep(t, two) // the pack
		for _, table := range tables {
			if a, b := count(t, one, table), count(t, two, table); a != b {
				t.Errorf("%s: %d rows, without the other study %d", table, b, a)
			}
		}
		if got := studies(t, two, archive.StudyFilter{}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v, not %+v", got, want)
		}
		if a, b := vocabularyOf(t, one), vocabularyOf(t, two); !slices.Equal(a, b) {
			t.Errorf("words: %q, not %q", b, a)
		}
		for _, term := range []archive.Term{{Tag: 0x00100010, Word: "wolkenstein"}, {Tag: 0x00100020, Word: "geheim", Full: true}} {
			if got := studies(t, two, archive.StudyFilter{All: [][]archive.Term{{term}}}); len(got) != 0 {
				t.Errorf("found by %s", term.Word)
			}
		}
		if out := apply(t, two, gone); !out[0].Known || out[0].Instances[0].Outcome != Shredded {
			t.Errorf("applied again: %+v", out[0])
		}
		late := storedUnder(5, "a", specsOf("1.2", "Wolkenstein^Anna", "GEHEIM")...)
		for i, p := range apply(t, two, late)[0].Instances {
			if p.Outcome != Shredded || p.ID != 0 {
				t.Errorf("a late store: %d %+v", i, p)
			}
		}
		fresh := storedUnder(6, "b", specsOf("1.2", "Wolkenstein^Anna", "GEHEIM")...)
		if p := apply(t, two, fresh)[0].Instances[0]; p.Outcome != Visible {
			t.Errorf("imported anew: %+v", p)
		}
		if got := studies(t, two, archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00100010, Word: "wolkenstein"}, {Tag: 0x00100010, Word: "geheimrival"}}}}); len(got) != 1 {
			t.Errorf("imported anew: %d studies", len(got))
		}
		if !slices.Contains(vocabularyOf(t, two), "wolkenstein") {
			t.Error("the words of what was imported anew are not in the vocabulary")
		}
	})
}

// TestShredFeed: readers of the feed pass over what was shredded, in both directions and whatever the page, and no identity
// comes again, also when the index was closed meanwhile.
func TestShredFeed(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		x, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(9) {
			s := ctSpec
			s.study = fmt.Sprintf("1.%d", n%3+1)
			s.series, s.instance = s.study+".1", fmt.Sprintf("%s.1.%d", s.study, n)
			apply(t, x, storedUnder(n+1, "a", s))
		}
		high := instances(t, x, archive.UIDs{Study: "1.3"})
		apply(t, x, closes(20, "1.3", keyNamed("1.3", "a")), closes(21, "1.1", keyNamed("1.1", "a")))
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		x = openWith(t, o)
		s := ctSpec
		apply(t, x, storedUnder(30, "a", s))
		for _, was := range high {
			for _, r := range instances(t, x, archive.UIDs{Study: s.study}) {
				if r.ID <= was.ID || r.SeriesID <= was.SeriesID || r.StudyID <= was.StudyID {
					t.Errorf("an identity came again: %d %d %d, after %d %d %d", r.ID, r.SeriesID, r.StudyID, was.ID, was.SeriesID, was.StudyID)
				}
			}
		}
		want := []int64{2, 5, 8, 10}
		for _, newest := range []bool{false, true} {
			for _, limit := range []int{1, 2, 3, 100} {
				q := archive.ChangeQuery{Limit: limit, Newest: newest}
				list, err := x.Changes(context.Background(), hospital, q)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, c := range list {
					got = append(got, c.Sequence)
				}
				exp := slices.Clone(want)
				if newest {
					slices.Reverse(exp)
				}
				if exp = exp[:min(limit, len(exp))]; !slices.Equal(got, exp) {
					t.Errorf("newest %v, limit %d: %v, not %v", newest, limit, got, exp)
				}
			}
		}
		list, upTo, err := x.Touched(context.Background(), hospital, 0, 0)
		if err != nil || upTo != 10 || len(list) != 2 || list[0].Study != "1.2" {
			t.Errorf("touched: %+v up to %d, %v", list, upTo, err)
		}
	})
}

// TestShredSharedWords: a word goes with the last study that shows it, and comes back with one that is shown again.
func TestShredSharedWords(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		deleted := specsOf("1.1", "Wolkenstein^Anna", "G1")[:1]
		first := storedUnder(1, "a", deleted...)
		apply(t, x, first, deletes(2, archive.UIDs{Study: "1.1"}, first.Fact.Instances[0].Blob))
		apply(t, x, storedUnder(3, "a", specsOf("1.2", "Wolkenstein^Berta", "G2")[:1]...), storedUnder(4, "a", specsOf("1.3", "Wolkenstein^Clara", "G3")[:1]...))
		has := func(when, w string, want bool) {
			t.Helper()
			if slices.Contains(vocabularyOf(t, x), w) != want {
				t.Errorf("%s: %s: %v", when, w, !want)
			}
		}
		apply(t, x, closes(5, "1.2", keyNamed("1.2", "a")))
		has("one shredded", "wolkenstein", true)
		has("one shredded", "berta", false)
		apply(t, x, closes(6, "1.3", keyNamed("1.3", "a")))
		has("both shredded", "wolkenstein", false)
		has("both shredded", "thorax", false)
		apply(t, x, undeletes(7, "1.1", []uint64{2}, first.Fact.Instances[0].Blob))
		has("shown again", "wolkenstein", true)
		has("shown again", "anna", true)
	})
}

// TestShredOverwrites: what SQLite kept of the study, sealed, is not in its files any more.
func TestShredOverwrites(t *testing.T) {
	o := onSQLite(t)
	x := openWith(t, o)
	for i := range uint64(30) { // rows that share pages, and grow
		s := specsOf(fmt.Sprintf("1.%d", i%3+1), "Wolkenstein^Anna", "G1")
		s[0].instance = fmt.Sprint(s[0].instance, ".", i)
		apply(t, x, storedUnder(i+1, "a", s...))
	}
	var sealed [][]byte
	err := x.read(context.Background(), hospital, func(c *conn, _ *tenant) error {
		for _, q := range []string{
			`SELECT sealed FROM studies WHERE id = 2`, `SELECT sealed FROM series WHERE study = 2`, `SELECT sealed FROM words`,
			`SELECT i.sealed FROM instances i JOIN series e ON i.id >> 24 = e.id WHERE e.study = 2`,
			`SELECT c.sealed FROM chunks c JOIN series e ON c.id >> 24 = e.id WHERE e.study = 2`,
			`SELECT sealed FROM variants WHERE owner = 4`,
		} {
			n := len(sealed)
			err := c.query(context.Background(), q, func(v []driver.Value) error {
				sealed = append(sealed, bytes.Clone(blob(v[0])))
				return nil
			})
			if err != nil || len(sealed) == n {
				t.Fatal(q, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		files, err := filepath.Glob(o.Path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sealed {
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(b, s[len(s)-32:]) {
					n++
					break
				}
			}
		}
		return n
	}
	if n := left(); n != len(sealed) {
		t.Fatalf("%d of %d are found before", n, len(sealed))
	}
	for n := range uint64(3) {
		study := fmt.Sprintf("1.%d", n+1)
		apply(t, x, closes(100+n, study, keyNamed(study, "a")))
	}
	if n := left(); n != 0 {
		t.Errorf("%d of %d sealed values are still in the files", n, len(sealed))
	}
}

// TestStudiesOf: exact, deleted ones too.
func TestStudiesOf(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		for i, id := range []string{"P-1", "p-1", "P-10", "P-1"} {
			s := ctSpec
			s.study = fmt.Sprintf("1.%d", i)
			s.series, s.instance, s.id = s.study+".1", s.study+".1.1", id
			entry := storedUnder(uint64(i+1), "a", s)
			apply(t, x, entry)
			if i == 3 {
				apply(t, x, deletes(10, archive.UIDs{Study: s.study}, entry.Fact.Instances[0].Blob))
			}
		}
		refs, err := x.StudiesOf(context.Background(), hospital, "P-1", "")
		want := []archive.Ref{fakeKeys(hospital).Ref("1.0"), fakeKeys(hospital).Ref("1.3")}
		slices.SortFunc(want, func(a, b archive.Ref) int { return bytes.Compare(a[:], b[:]) })
		if err != nil || !slices.Equal(refs, want) {
			t.Errorf("%v, not %v: %v", refs, want, err)
		}
		if refs, err := x.StudiesOf(context.Background(), hospital, "P-1", "NORD"); err != nil || len(refs) != 0 {
			t.Errorf("of an issuer: %v %v", refs, err)
		}
		ref := fakeKeys(hospital).Ref("1.3")
		s, ok, err := x.Sealed(context.Background(), hospital, ref)
		if err != nil || !ok || s.Instances != 1 || s.PatientID != "P-1" || !slices.Equal(s.Keys, []archive.KeyID{keyNamed("1.3", "a")}) {
			t.Errorf("%+v %v %v", s, ok, err)
		}
	})
}

// TestPurgedKeys: which of them are destroyed is noted, and what is not is listed.
func TestPurgedKeys(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x, ctx := openTest(t, e), context.Background()
		a, b := keyNamed("1.1", "a"), keyNamed("1.1", "b")
		apply(t, x, closes(1, "1.1", a, b))
		if last, err := x.LastClosed(ctx, hospital); err != nil || last != 2 {
			t.Fatal(last, err)
		}
		if err := x.SetPurged(ctx, hospital, a); err != nil {
			t.Fatal(err)
		}
		left, err := x.UnpurgedKeys(ctx, hospital, 10)
		if err != nil || len(left) != 1 || left[0].ID != b {
			t.Errorf("%+v %v", left, err)
		}
		all, err := x.ClosedOf(ctx, hospital, fakeKeys(hospital).Ref("1.1"), archive.Ref{}, archive.Ref{})
		if err != nil || len(all) != 2 || !all[0].Purged || all[1].Purged {
			t.Errorf("%+v %v", all, err)
		}
		if all, err := x.ClosedOf(ctx, hospital, archive.Ref{}, archive.Ref{1}, archive.Ref{9}); err != nil || len(all) != 0 {
			t.Errorf("of another issuer: %+v %v", all, err)
		}
		if yes, err := x.Closed(ctx, hospital, a); err != nil || !yes {
			t.Error(yes, err)
		}
	})
}
