package index

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
)

// stock is what the stores hold, by object and size: hot is one store, cold and deep are another.
type stock map[archive.TierName]map[string]int64

func storeOf(t archive.TierName) archive.TierName {
	if t == archive.HotTier {
		return t
	}
	return "cold"
}

// stockOf is what the stores hold once the facts are there, and nothing has been removed.
func stockOf(es []archive.Entry) stock {
	s := stock{archive.HotTier: {}, "cold": {}}
	for _, e := range es {
		s[archive.HotTier][e.Object] = e.Size
		for _, p := range e.Fact.Packs {
			if e.Fact.Kind == archive.FactMoved {
				s[storeOf(p.Tier)][p.Object] = p.Size
			} else if _, moved := s["cold"][p.Object]; !moved {
				s[archive.HotTier][p.Object] = p.Size // a pack is written there first
			}
		}
	}
	return s
}

// counts expects that the index counts what is in stock, and nothing else.
func (s stock) counts(t *rapid.T, when string, x *Index, name archive.Tenant) {
	t.Helper()
	usage, err := x.TierUsage(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	got := map[archive.TierName][2]int64{}
	for _, u := range usage {
		g := got[storeOf(u.Tier)]
		got[storeOf(u.Tier)] = [2]int64{g[0] + u.Objects, g[1] + u.Bytes}
	}
	for store, objects := range s {
		want := [2]int64{}
		for _, size := range objects {
			want[0], want[1] = want[0]+1, want[1]+size
		}
		if got[store] != want {
			t.Fatalf("%s: the index counts %v objects and bytes in %s, and %v are there: %v", when, got[store], store, want, objects)
		}
	}
}

// swept removes all that is to be removed; lost has the index forget alone what is not there, as a rebuild does.
func (s stock) swept(t *rapid.T, x *Index, name archive.Tenant, lost bool) {
	t.Helper()
	ctx := context.Background()
	for _, moved := range []bool{false, true} {
		list, err := x.Doomed(ctx, name, x.now().Add(time.Hour), moved, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			store := s[storeOf(d.Tier)]
			if _, there := store[d.Object]; lost && there {
				continue
			}
			if tier, known, err := x.Where(ctx, name, d.Object); err != nil {
				t.Fatal(err)
			} else if !moved || !known || storeOf(tier) != storeOf(d.Tier) {
				if named, err := x.Referenced(ctx, name, d.Object); err != nil || named && !moved {
					t.Fatal("something that is in use is to be removed", err)
				}
			}
			delete(store, d.Object)
			if err := x.Undoom(ctx, name, d.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestUsageIsARecount: what tiers hold is what is in their stores, in any order of the facts, after what is to go
// has gone, and in an index that is made anew of what is left.
func TestUsageIsARecount(t *testing.T) {
	dir := t.TempDir()
	empty := emptyIndex(t)
	run := 0
	open := func(rt *rapid.T) (x *Index, done func()) {
		run++
		o := baseOptions()
		o.Path = fmt.Sprintf("%s/%d.db", dir, run)
		if err := os.WriteFile(o.Path, empty, 0o600); err != nil {
			rt.Fatal(err)
		}
		x, err := Open(context.Background(), o)
		if err != nil {
			rt.Fatal(err)
		}
		return x, func() {
			x.Close()
			_, _ = os.Remove(o.Path), os.Remove(o.Path+".ballast")
		}
	}
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		es := genFacts(rt)
		x, done := open(rt)
		defer done()
		if _, err := x.Apply(ctx, hospital, rapid.Permutation(es).Draw(rt, "order")...); err != nil {
			rt.Fatal(err)
		}
		there := stockOf(es)
		there.swept(rt, x, hospital, true)
		there.counts(rt, "all applied", x, hospital)
		if rapid.Bool().Draw(rt, "sweep") {
			there.swept(rt, x, hospital, false)
			there.counts(rt, "swept", x, hospital)
		}
		var left []archive.Entry
		for _, e := range es {
			if _, ok := there[archive.HotTier][e.Object]; ok {
				left = append(left, e)
			}
		}
		again, done := open(rt)
		defer done()
		err := again.Bulk(ctx, hospital, func(add func(archive.Entry) error) error {
			for _, e := range rapid.Permutation(left).Draw(rt, "order of a rebuild") {
				if err := add(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		there.swept(rt, again, hospital, true)
		there.counts(rt, "rebuilt", again, hospital)
	})
}
