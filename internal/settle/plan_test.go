package settle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

// of makes items from lines "object series length": each lies behind the one before in its object.
func of(lines ...string) (items []item) {
	next := map[string]int64{}
	for _, l := range lines {
		var object string
		var x item
		if _, err := fmt.Sscan(l, &object, &x.series, &x.at.Length); err != nil {
			panic(err)
		}
		x.at.Object, x.at.Offset = object, next[object]
		next[object] += x.at.Length
		items = append(items, x)
	}
	return items
}

func at(object string, size int64, tier archive.TierName) archive.PackState {
	return archive.PackState{PackPlace: archive.PackPlace{Object: object, Size: size, Tier: tier}}
}

func TestArrange(t *testing.T) {
	s := sizes{target: 100, large: 30}
	frozen := func(t archive.TierName) bool { return t == "deep" }
	for _, c := range []struct {
		name  string
		items []item
		packs []archive.PackState
		keep  string
		fresh string
	}{
		{"nothing", nil, nil, "", ""},
		{"log objects", of("a 0 10", "b 0 10", "c 1 10"), nil, "", "[0 1 2]"},
		{"one log object", of("a 0 10"), nil, "", "[0]"},
		{"split at a series", of("a 0 20", "b 0 20", "c 1 30", "d 1 40"), nil, "", "[0 1] [2 3]"},
		{"not while it is small", of("a 0 20", "b 1 50", "c 1 50"), nil, "", "[0 1] [2]"},
		{"split inside a series", of("a 0 60", "b 0 60", "c 0 30", "d 1 10"), nil, "", "[0] [1 2 3]"},
		{"larger than a pack", of("a 0 10", "b 0 500", "c 0 10"), nil, "", "[0] [1] [2]"},
		{"just as large as a pack", of("a 0 50", "b 1 50", "c 2 1"), nil, "", "[0 1] [2]"},
		{"a large pack stays", of("p 0 20", "p 0 20", "a 1 5"), []archive.PackState{at("p", 40, "hot")}, "p", "[2]"},
		{"in a cold tier too", of("p 0 20", "p 0 20", "a 1 5"), []archive.PackState{at("p", 40, "cold")}, "p", "[2]"},
		{"half of it live", of("p 0 20", "a 1 5"), []archive.PackState{at("p", 40, "hot")}, "p", "[1]"},
		{"less than half of it live", of("p 0 19", "a 1 5"), []archive.PackState{at("p", 40, "hot")}, "", "[0 1]"},
		{"a small pack is merged", of("p 0 20", "a 1 5"), []archive.PackState{at("p", 20, "hot")}, "", "[0 1]"},
		{"a frozen one is not", of("p 0 1", "a 1 5"), []archive.PackState{at("p", 40, "deep")}, "p", "[1]"},
		{"a small pack alone stays", of("p 0 10", "p 1 5"), []archive.PackState{at("p", 16, "hot")}, "p", ""},
		{"not when most of it is dead", of("p 0 3"), []archive.PackState{at("p", 16, "hot")}, "", "[0]"},
		{"packs in order of need", of("q 0 40", "p 1 40", "q 2 40"), []archive.PackState{at("p", 40, "hot"), at("q", 80, "hot")}, "q p", ""},
		{"small packs beside each other", of("p 0 10", "q 1 10"), []archive.PackState{at("p", 10, "hot"), at("q", 10, "hot")}, "", "[0 1]"},
		{"two small packs that fill one each", of("p 0 29", "q 1 29", "r 2 50"), []archive.PackState{at("p", 29, "hot"), at("q", 29, "hot")}, "", "[0 1] [2]"},
		{"a dirty one is copied", of("dirty 0 40", "p 1 40"), []archive.PackState{at("dirty", 50, "hot"), at("p", 40, "hot")}, "p", "[0]"},
		{"alone too", of("dirty 0 10"), []archive.PackState{at("dirty", 20, "cold")}, "", "[0]"},
		{"unless it is frozen", of("dirty 0 40"), []archive.PackState{at("dirty", 50, "deep")}, "dirty", ""},
		{"around a pack that stays", of("a 0 10", "p 1 40", "b 2 10"), []archive.PackState{at("p", 40, "hot")}, "p", "[0 2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			packs := map[string]archive.PackState{}
			for _, p := range c.packs {
				packs[p.Object] = p
			}
			l := arrange(c.items, packs, frozen, map[string]bool{"dirty": true}, s)
			var fresh []string
			for _, g := range l.fresh {
				fresh = append(fresh, fmt.Sprint(g))
			}
			if got := strings.Join(l.keep, " "); got != c.keep {
				t.Errorf("keeps %q, want %q", got, c.keep)
			}
			if got := strings.Join(fresh, " "); got != c.fresh {
				t.Errorf("makes %s, want %s", got, c.fresh)
			}
		})
	}
}

// TestArrangeRandom: every item is in one place, in order; packs are not larger than they
// may be; nothing is read of a frozen tier; and what came out settled stays.
func TestArrangeRandom(t *testing.T) {
	s := sizes{target: 1000, large: 125}
	frozen := func(t archive.TierName) bool { return t == "deep" }
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var items []item
		next := map[string]int64{}
		for i, series := 0, 0; i < r.IntN(200); i++ {
			if r.IntN(20) == 0 {
				series++
			}
			x := item{archive.Location{Object: fmt.Sprint("o", r.IntN(40)), Length: 1 + r.Int64N(60)}, series}
			x.at.Offset = next[x.at.Object]
			next[x.at.Object] += x.at.Length + r.Int64N(20)
			items = append(items, x)
		}
		packs := map[string]archive.PackState{}
		for object, size := range next {
			if r.IntN(3) > 0 {
				packs[object] = at(object, size, []archive.TierName{"hot", "cold", "deep"}[r.IntN(3)])
			}
		}
		l := arrange(items, packs, frozen, nil, s)
		in := make([]string, len(items))
		for n, g := range l.fresh {
			size := int64(0)
			if !slices.IsSorted(g) {
				t.Fatalf("seed %d: out of order", seed)
			}
			for _, i := range g {
				if in[i] != "" || frozen(packs[items[i].at.Object].Tier) {
					t.Fatalf("seed %d: item %d is copied twice, or out of a frozen tier", seed, i)
				}
				in[i], size = fmt.Sprint("new", n), size+items[i].at.Length
			}
			if size > s.target && len(g) > 1 {
				t.Fatalf("seed %d: a pack of %d", seed, size)
			}
		}
		for i, x := range items {
			if kept := slices.Contains(l.keep, x.at.Object); kept == (in[i] != "") {
				t.Fatalf("seed %d: item %d is in %q, and kept: %v", seed, i, in[i], kept)
			}
		}
		// What it made, settled again, is left alone.
		place := map[string]int64{}
		for i := range items {
			if in[i] != "" {
				items[i].at.Object, items[i].at.Offset = in[i], place[in[i]]
				place[in[i]] += items[i].at.Length
			}
		}
		for object, size := range place {
			packs[object] = at(object, size, "hot")
		}
		small := 0
		for _, g := range arrange(items, packs, frozen, nil, s).fresh {
			small += len(g)
		}
		if small > 0 {
			t.Fatalf("seed %d: settled again, %d items are copied", seed, small)
		}
	}
}
