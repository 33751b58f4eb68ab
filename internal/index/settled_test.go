package index

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// three are stored facts of a study of two series under one key, the second in a pack.
func three(study string) []archive.Entry {
	s := ctSpec
	s.study = study
	var out []archive.Entry
	for i := range uint64(3) {
		s.series, s.instance = fmt.Sprintf("%s.%d", study, i/2+1), fmt.Sprintf("%s.%d.%d", study, i/2+1, i)
		e := sealedUnder(stored(10+i, s), keyNamed(study, "a"))
		if i == 1 {
			e.Fact.Instances[0].At.Object = "hospital/pack/stored"
			e.Fact.Packs = []archive.PackPlace{{Object: "hospital/pack/stored", Size: 777, Tier: archive.HotTier}}
		}
		out = append(out, e)
	}
	return out
}

func usage(t testing.TB, x *Index) map[archive.TierName][2]int64 {
	t.Helper()
	list, err := x.TierUsage(context.Background(), hospital)
	if err != nil {
		t.Fatal(err)
	}
	out := map[archive.TierName][2]int64{}
	for _, u := range list {
		out[u.Tier] = [2]int64{u.Objects, u.Bytes}
	}
	return out
}

// doomed are all copies that are to be deleted, in order.
func doomed(t testing.TB, x *Index) (out []archive.Doomed) {
	t.Helper()
	for _, moved := range []bool{false, true} {
		list, err := x.Doomed(context.Background(), hospital, x.now().Add(time.Hour), moved, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
	}
	return out
}

// sweep deletes them.
func sweep(t testing.TB, x *Index) {
	t.Helper()
	for _, d := range doomed(t, x) {
		if err := x.Undoom(context.Background(), hospital, d.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func names(list []archive.Doomed) (out []string) {
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s %s %d %v", d.Object[len("hospital/"):], d.Tier, d.Size, d.Moved))
	}
	return out
}

// TestSettled follows a study from its stores over settling and moves to its shredding.
func TestSettled(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		es := three("1.2")
		ref := es[0].Fact.Study
		apply(t, x, es...)
		before := instances(t, x, archive.UIDs{Study: "1.2"})
		live, err := x.Entries(ctx, hospital, ref)
		check(err)
		if len(live) != 3 || live[1] != (archive.LogEntry{Session: testSession, N: 11, Fact: factID(11), Kind: archive.FactStored, Key: keyNamed("1.2", "a"), Size: 1000}) {
			t.Fatalf("entries %+v", live)
		}
		if u := usage(t, x); u["hot"] != [2]int64{4, 3777} || len(u) != 1 {
			t.Errorf("usage %v", u)
		}
		settled := settles(20, es...)
		if out := apply(t, x, settled); out[0].Known || len(out[0].Instances) != 3 || out[0].Instances[2].ID != before[2].ID {
			t.Errorf("settled: %+v", out[0])
		}
		after := instances(t, x, archive.UIDs{Study: "1.2"})
		for i := range after {
			want := before[i]
			want.At, want.JSON, want.ChunkID, want.Place = settled.Fact.Instances[i].At, settled.Fact.Instances[i].JSON, after[i].ChunkID, archive.HotTier
			if fmt.Sprint(after[i]) != fmt.Sprint(want) || after[i].ChunkID == 0 || after[i].ChunkID == before[0].ChunkID || after[i].ChunkID == before[1].ChunkID || after[i].ChunkID == before[2].ChunkID {
				t.Errorf("row %d:\n%+v, not\n%+v", i, after[i], want)
			}
		}
		chunks := 0
		check(x.Chunks(ctx, hospital, []int64{after[0].ChunkID}, func(_ int64, c archive.Chunk) bool {
			if chunks++; string(c.Data) != "zstd 20" {
				t.Errorf("chunk %q", c.Data)
			}
			return true
		}))
		if n := count(t, x, "chunks"); n != 1 || chunks != 1 {
			t.Errorf("%d chunks, %d read", n, chunks)
		}
		live, err = x.Entries(ctx, hospital, ref)
		check(err)
		if len(live) != 1 || live[0].Kind != archive.FactSettled || live[0].N != 20 {
			t.Errorf("entries %+v", live)
		}
		gone := []string{"pack/stored hot 777 false", "log/" + testSession + "/0000000000000010 hot 1000 false", "log/" + testSession + "/0000000000000011 hot 1000 false",
			"log/" + testSession + "/0000000000000012 hot 1000 false"}
		if got := names(doomed(t, x)); !slices.Equal(got, gone) {
			t.Errorf("doomed: %q", got)
		}
		if u := usage(t, x); u["hot"] != [2]int64{6, 4777 + 1020} {
			t.Errorf("usage %v", u)
		}
		if yes, err := x.Referenced(ctx, hospital, "hospital/pack/stored"); err != nil || yes {
			t.Error("the pack of a superseded fact is in use", err)
		}
		if list, err := x.DoomedCopies(ctx, hospital, "hospital/pack/stored"); err != nil || len(list) != 1 || !list[0].Since.Equal(x.now()) || list[0].Moved {
			t.Error(list, err)
		}
		sweep(t, x)
		if u := usage(t, x); u["hot"] != [2]int64{2, 2020} || count(t, x, "packs") != 1 {
			t.Errorf("usage %v", u)
		}
		// Applied again, nothing changes.
		for i, out := range apply(t, x, append(es, settled)...) {
			if !out.Known {
				t.Errorf("entry %d is not known", i)
			}
		}
		if u := usage(t, x); u["hot"] != [2]int64{2, 2020} || len(doomed(t, x)) != 0 {
			t.Errorf("usage %v", u)
		}
		apply(t, x, moves(30, ref, "hot", "cold", settled.Fact.Packs[0].Object))
		packs, err := x.Packs(ctx, hospital, ref)
		check(err)
		if len(packs) != 1 || packs[0].Tier != "cold" || packs[0].Fact != factID(30) || packs[0].Size != 1020 || packs[0].Digest != (archive.Digest{20}) {
			t.Errorf("packs %+v", packs)
		}
		if u := usage(t, x); u["hot"] != [2]int64{3, 3020} || u["cold"] != [2]int64{1, 1020} {
			t.Errorf("usage %v", u)
		}
		if got := names(doomed(t, x)); !slices.Equal(got, []string{"pack/20 hot 1020 true"}) {
			t.Errorf("doomed: %q", got)
		}
		if tier, ok, err := x.Where(ctx, hospital, "hospital/pack/20"); err != nil || !ok || tier != "cold" {
			t.Error(tier, ok, err)
		}
		if _, ok, err := x.Where(ctx, "nobody", "hospital/pack/20"); err != nil || ok {
			t.Error("another tenant's pack", err)
		}
		// An instance more, then settled once more, the old pack with it.
		more := ctSpec
		more.study, more.series, more.instance = "1.2", "1.2.1", "1.2.1.9"
		late := sealedUnder(stored(40, more), keyNamed("1.2", "a"))
		again := settles(50, settled, late)
		again.Fact.Supersedes = append(again.Fact.Supersedes, archive.LogRange{Session: testSession, Range: archive.Range{From: 30, To: 30}})
		apply(t, x, late, again)
		if got := names(doomed(t, x)); !slices.Equal(got, []string{"pack/20 cold 1020 false", "log/" + testSession + "/0000000000000020 hot 1000 false", "log/" + testSession + "/0000000000000040 hot 1000 false",
			"log/" + testSession + "/0000000000000030 hot 1000 false", "pack/20 hot 1020 true"}) {
			t.Errorf("doomed: %q", got)
		}
		if rows := instances(t, x, archive.UIDs{Study: "1.2"}); len(rows) != 4 || rows[3].At.Object != "hospital/pack/50" || count(t, x, "chunks") != 1 {
			t.Errorf("%d rows, %d chunks", len(rows), count(t, x, "chunks"))
		}
		apply(t, x, closes(60, "1.2", keyNamed("1.2", "a")))
		if live, err := x.Entries(ctx, hospital, ref); err != nil || len(live) != 0 {
			t.Errorf("entries of a shredded study: %+v %v", live, err)
		}
		sweep(t, x)
		if u := usage(t, x); u["hot"] != [2]int64{2, 2000} || len(u) != 1 { // the settled fact, which nobody can read, and that which says so
			t.Errorf("usage %v", u)
		}
		for _, table := range []string{"studies", "series", "instances", "chunks", "entries WHERE NOT closed", "packs", "pack_series", "doomed", "passed"} {
			if n := count(t, x, table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
	})
}

// TestSettledAlone: the sources of a settled fact never come, as in a rebuild after they were deleted.
func TestSettledAlone(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x, whole := openTest(t, e), openTest(t, e)
		es := three("1.2")
		settled := settles(20, es...)
		apply(t, whole, append(es, settled)...)
		sweep(t, whole)
		apply(t, x, settled)
		if a, b := answers(t, x, hospital, []archive.Entry{settled}), answers(t, whole, hospital, append(es, settled)); a != b {
			t.Errorf("alone:\n%s\nwith its sources:\n%s", a, b)
		}
		p, err := x.Progress(context.Background(), hospital)
		if err != nil || !p[testSession].Has(10) || !p[testSession].Has(12) || p[testSession].Has(13) {
			t.Errorf("progress %v, %v", p, err)
		}
		if n := count(t, x, "passed"); n != 1 { // one range
			t.Errorf("%d ranges", n)
		}
		// What comes late is doomed, not stated.
		if out := apply(t, x, es[1]); !out[0].Known || len(out[0].Instances) != 0 {
			t.Errorf("%+v", out)
		}
		if n := count(t, x, "passed"); n != 2 {
			t.Errorf("%d ranges", n)
		}
		if got := names(doomed(t, x)); !slices.Equal(got, []string{"pack/stored hot 777 false", "log/" + testSession + "/0000000000000011 hot 1000 false"}) {
			t.Errorf("doomed: %q", got)
		}
	})
}

// TestMovedAlone: a move that a settled fact did not know of, of a pack that went with that fact, counts nothing and loses nothing,
// whatever comes first.
func TestMovedAlone(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		es := three("1.2")
		first := settles(20, es...)
		more := ctSpec
		more.study, more.series, more.instance = "1.2", "1.2.1", "1.2.1.9"
		late := sealedUnder(stored(40, more), keyNamed("1.2", "a"))
		again := settles(50, first, late)
		move := moves(30, es[0].Fact.Study, "hot", "cold", first.Fact.Packs[0].Object)
		for _, order := range [][]archive.Entry{{first, move, late, again}, {again, move}, {move, again}, {move, first, late, again}, {late, again, move}, {first, again, move}} {
			x := openTest(t, e)
			apply(t, x, order...)
			sweep(t, x)
			// The settled fact, the move, and the pack that there is.
			if u := usage(t, x); u["hot"] != [2]int64{3, 3050} || len(u) != 1 {
				t.Errorf("%d facts, the first of kind %d: usage %v", len(order), order[0].Fact.Kind, u)
			}
			if n := count(t, x, "packs"); n != 1 {
				t.Errorf("%d packs", n)
			}
		}
		// Its own fact comes last: it is needed, and lies where the move says.
		x := openTest(t, e)
		apply(t, x, move)
		apply(t, x, first)
		if got := names(doomed(t, x)); len(got) != 1 || got[0] != "pack/20 hot 1000 true" {
			t.Errorf("doomed: %q", got)
		}
		if u := usage(t, x); u["cold"] != [2]int64{1, 1020} {
			t.Errorf("usage %v", u)
		}
	})
}

// TestDropped: what a settled fact drops is gone, and never comes back; deletions and their undoing work on what was settled.
func TestDropped(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		es := three("1.2")
		blob := func(i int) archive.BlobID { return es[i].Fact.Instances[0].Blob }
		apply(t, x, es...)
		apply(t, x, settles(20, es...), deletes(21, archive.UIDs{Study: "1.2"}, blob(0), blob(1), blob(2)), undeletes(22, "1.2", []uint64{21}, blob(2)))
		if rows := instances(t, x, archive.UIDs{Study: "1.2"}); len(rows) != 1 || rows[0].Blob != blob(2) {
			t.Fatalf("%d rows are shown", len(rows))
		}
		id := instances(t, x, archive.UIDs{Study: "1.2"})[0].ID
		// One of the same series and attributes leaves no trace, and what is left stays as it is.
		second := settles(30, es[1], es[2])
		second.Fact.Dropped = []archive.BlobID{blob(0)}
		second.Fact.Supersedes = []archive.LogRange{{Session: testSession, Range: archive.Range{From: 20, To: 20}}}
		apply(t, x, second)
		gone, err := x.Deletions(ctx, hospital, archive.UIDs{Study: "1.2"})
		if err != nil || len(gone) != 1 || gone[0].Blob != blob(1) || instances(t, x, archive.UIDs{Study: "1.2"})[0].ID != id {
			t.Errorf("deletions %v, %v", gone, err)
		}
		apply(t, x, undeletes(31, "1.2", []uint64{21}, blob(0), blob(1)))
		if rows := instances(t, x, archive.UIDs{Study: "1.2"}); len(rows) != 2 || rows[0].Blob != blob(1) {
			t.Errorf("%d rows are shown", len(rows))
		}
		twice := es[0] // written twice, and read only now
		twice.N, twice.Object = 99, objectName(&tenant{seal: &sealer{tenant: string(hospital)}}, testSession, 99)
		if out := apply(t, x, twice); out[0].Known || out[0].Instances[0].Outcome != Deleted || out[0].Instances[0].ID != 0 {
			t.Errorf("what was dropped comes back: %+v", out)
		}
		third := settles(40, second)
		third.Fact.Instances, third.Fact.Chunks, third.Fact.Packs = nil, nil, nil
		third.Fact.Dropped = []archive.BlobID{blob(1), blob(2)}
		apply(t, x, third)
		for _, table := range []string{"studies", "series", "instances", "chunks", "variants", "words", "pack_series"} {
			if n := count(t, x, table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		if _, ok, err := x.StudyKey(ctx, hospital, third.Fact.Study); err != nil || ok {
			t.Error("the study is there", err)
		}
		live, err := x.Entries(ctx, hospital, third.Fact.Study)
		if err != nil || len(live) != 2 || live[0].N != 99 || live[1].N != 40 {
			t.Errorf("%+v, %v", live, err)
		}
	})
}

// TestSettledGuards: what rows lie in is not doomed, whatever a settled fact says.
func TestSettledGuards(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		for _, late := range []bool{false, true} {
			x := openTest(t, e)
			es := three("1.2")
			both := stored(5, ctSpec, spec{study: "1.2.3", series: "1.2.3.1", instance: "1.2.3.1.2", name: ctSpec.name})
			sealedUnder(both, keyNamed("1.2.3", "a"))
			half := settles(20, both)
			half.Fact.Instances = half.Fact.Instances[:1]
			if late {
				apply(t, x, half, both)
			} else {
				apply(t, x, both, half)
			}
			rows := instances(t, x, archive.UIDs{Study: "1.2.3"})
			var in []string
			for _, r := range rows {
				in = append(in, r.At.Object)
			}
			slices.Sort(in)
			if !slices.Equal(in, []string{both.Object, "hospital/pack/20"}) || len(doomed(t, x)) != 0 {
				t.Errorf("late %v: rows lie in %q, %q is doomed", late, in, names(doomed(t, x)))
			}
			for name, edit := range map[string]func(f *archive.Fact){
				"another key":   func(f *archive.Fact) { f.Instances[0].Key = archive.KeyID{9} },
				"no key":        func(f *archive.Fact) { f.Key = archive.KeyID{} },
				"never stated":  func(f *archive.Fact) { f.Instances[0].Stated = archive.FactID{} },
				"no such pack":  func(f *archive.Fact) { f.Packs = nil },
				"no study":      func(f *archive.Fact) { f.Study = archive.Ref{} },
				"no tier":       func(f *archive.Fact) { f.Packs[0].Tier = "" },
				"too much":      func(f *archive.Fact) { f.Supersedes[0].To = 1 << 40 },
				"another study": func(f *archive.Fact) { f.Study = archive.Ref{1} },
			} {
				bad := settles(30, es...)
				edit(bad.Fact)
				if _, err := x.Apply(context.Background(), hospital, bad); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Corrupt) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}
