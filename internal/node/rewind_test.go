package node

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// ticking is a clock that moves on by some milliseconds with each look.
func ticking(now *time.Time) func() time.Time {
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		*now = now.Add(5 * time.Millisecond)
		return *now
	}
}

// state is what an archive shows: each instance with the digest of its bytes.
func state(t *testing.T, a *Archive) map[archive.UIDs]archive.Digest {
	t.Helper()
	out := map[archive.UIDs]archive.Digest{}
	err := a.Index.Studies(t.Context(), a.Tenant, archive.StudyFilter{}, func(s *archive.StudyRow) bool {
		for _, r := range rows(t, a, s.UID) {
			out[r.UIDs] = r.Digest
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rewinds goes back until it is done and sums up.
func rewinds(t *testing.T, a *Archive, w remove.Rewind) (sum remove.Rewound) {
	t.Helper()
	for calls := 0; ; calls++ {
		r, err := a.Remove.Rewind(t.Context(), a.Index, a.Tenant, w)
		if err != nil || calls > 1000 {
			t.Fatal(calls, err)
		}
		sum.Deletions += r.Deletions
		sum.Instances += r.Instances
		sum.Versions += r.Versions
		sum.TooLate += r.TooLate
		sum.StoredSince += r.StoredSince
		if w.After = r.Next; w.After == "" {
			return sum
		}
	}
}

// version is an image whose bytes differ by n.
func version(study, i, n int) []byte {
	u, _ := image(study, i)
	return retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "Doe^Jane", Pixels: bytes.Repeat([]byte{byte(n)}, 32)})
}

// TestRewind: what was deleted and replaced since the moment is as it was; what was deleted before stays so, what was
// stored since stays, and what was stored and deleted since does not come. Doing it again changes nothing.
func TestRewind(t *testing.T) {
	p := newPlace(t)
	p.o.Duplicates = ingest.Replace
	now := time.Now()
	p.o.Now = ticking(&now)
	a := p.open()
	defer func() { p.close(a) }()
	ctx := t.Context()
	del := func(study int, u archive.UIDs) {
		t.Helper()
		if u.Study = fmt.Sprint("1.2.", study); a.Remove.Delete(ctx, a.Tenant, u) != nil {
			t.Fatal("deleting ", study)
		}
	}
	for study := 1; study <= 6; study++ {
		stores(t, a, version(study, 1, 0), version(study, 2, 0))
	}
	stores(t, a, version(1, 1, 1)) // replaced before: the newer one is what was shown
	del(6, archive.UIDs{})
	want := state(t, a)
	at := p.o.Now()

	del(1, archive.UIDs{})
	del(2, archive.UIDs{Series: "1.2.2.1", Instance: "1.2.2.1.1"})
	stores(t, a, version(3, 1, 7))
	stores(t, a, version(3, 1, 8)) // replaced twice
	stores(t, a, version(4, 1, 9))
	del(4, archive.UIDs{})
	stores(t, a, version(7, 1, 0)) // stored since
	stores(t, a, version(8, 1, 0))
	del(8, archive.UIDs{}) // stored and deleted since
	if _, err := a.Remove.Undelete(ctx, a.Tenant, archive.UIDs{Study: "1.2.6"}); err != nil {
		t.Fatal(err)
	}
	del(6, archive.UIDs{}) // deleted at the moment, shown since, deleted again
	del(5, archive.UIDs{Series: "1.2.5.1", Instance: "1.2.5.1.2"})

	before := state(t, a)
	planned := rewinds(t, a, remove.Rewind{At: at, DryRun: true})
	if !sameState(before, state(t, a)) {
		t.Error("a dry run changes something")
	}
	one := rewinds(t, a, remove.Rewind{At: at, Study: "1.2.2"})
	if one.Deletions != 1 || one.Instances != 1 || one.Versions != 0 {
		t.Errorf("one study: %+v", one)
	}
	done := rewinds(t, a, remove.Rewind{At: at})
	if planned.Deletions != done.Deletions+1 || planned.Instances != done.Instances+1 || done.StoredSince < 2 {
		t.Errorf("planned %+v, done %+v", planned, done)
	}
	stayed, _ := image(7, 1)
	check := func(when string) {
		t.Helper()
		got := state(t, a)
		if got[stayed] == (archive.Digest{}) {
			t.Errorf("%s: what was stored since is gone", when)
		}
		delete(got, stayed)
		for u := range got { // deleted at the moment and shown in between: an undeletion stays
			if u.Study == "1.2.6" {
				delete(got, u)
			}
		}
		if !sameState(want, got) {
			t.Errorf("%s: %v\nwant %v", when, got, want)
		}
	}
	check("after")
	if again := rewinds(t, a, remove.Rewind{At: at}); again.Deletions != 0 || again.Versions != 0 {
		t.Errorf("again: %+v", again)
	}
	check("again")
	p.close(a)
	if _, err := Rebuild(ctx, p.o, nil); err != nil {
		t.Fatal(err)
	}
	a = p.open()
	check("rebuilt")
	for _, after := range []string{"x", "d:12", "v:x", "d"} {
		if _, err := a.Remove.Rewind(ctx, a.Index, a.Tenant, remove.Rewind{At: at, After: after}); err == nil {
			t.Errorf("after %q: no error", after)
		}
	}
}

func sameState(a, b map[archive.UIDs]archive.Digest) bool {
	if len(a) != len(b) {
		return false
	}
	for u, d := range a {
		if b[u] != d {
			return false
		}
	}
	return true
}

// TestRewindInPages: many deletions of one study and many studies, with pages that end anywhere.
func TestRewindInPages(t *testing.T) {
	p := newPlace(t)
	now := time.Now()
	p.o.Now = ticking(&now)
	a := p.open()
	defer p.close(a)
	for study := range 5 {
		var files [][]byte
		for i := range 8 {
			files = append(files, version(study, i+1, 0))
		}
		stores(t, a, files...)
	}
	want := state(t, a)
	at := p.o.Now()
	for study := range 5 {
		for i := range 3 {
			u, _ := image(study, i+1)
			if err := a.Remove.Delete(t.Context(), a.Tenant, u); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Remove.Delete(t.Context(), a.Tenant, archive.UIDs{Study: fmt.Sprint("1.2.", study)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{1, 2, 3, 5, 7, 100} {
		var facts []archive.FactID
		blobs := 0
		for after := (archive.FactID{}); ; {
			list, next, err := a.Index.DeletionsSince(t.Context(), a.Tenant, at, archive.Ref{}, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				if slices.Contains(facts, d.Fact) {
					t.Errorf("limit %d: a deletion comes twice", limit)
				}
				facts = append(facts, d.Fact)
				blobs += len(d.Blobs)
			}
			if after = next; next == (archive.FactID{}) {
				break
			}
		}
		if len(facts) != 20 || blobs != 40 {
			t.Errorf("limit %d: %d deletions of %d blobs", limit, len(facts), blobs)
		}
	}
	if r := rewinds(t, a, remove.Rewind{At: at}); r.Deletions != 20 || r.Instances != 40 {
		t.Errorf("%+v", r)
	}
	if !sameState(want, state(t, a)) {
		t.Error("not all came back")
	}
}
