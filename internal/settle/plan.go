package settle

import (
	"github.com/strata-pacs/strata/internal/archive"
)

// sizes say how packs are cut, in bytes.
type sizes struct {
	target int64 // of a new pack
	large  int64 // from here on a pack is left where it is
}

// item is a blob in the order in which it shall lie.
type item struct {
	at     archive.Location
	series int // equal in neighbours of one series
}

// layout says where the blobs of a study shall be.
type layout struct {
	keep  []string // packs that stay as they are, in the order of their first blobs
	fresh [][]int  // new packs: the items that are copied into each
}

// arrange decides which packs stay and what the new ones hold. frozen tells of the
// tiers that must not be read, dirty of packs that hold what is dropped.
//
// A pack stays that is frozen. One that is not dirty stays, too, if it is large and at least half of it
// is still named, or if it holds just what the new pack in its place would.
// Everything else is copied in order. A new pack ends where a series does if that brings it near its
// size, and inside of a series only where it must.
func arrange(items []item, packs map[string]archive.PackState, frozen func(archive.TierName) bool, dirty map[string]bool, s sizes) layout {
	live := map[string]int64{}
	for _, x := range items {
		live[x.at.Object] += x.at.Length
	}
	kept := map[string]bool{}
	var l layout
	keep := func(object string) {
		if !kept[object] {
			kept[object] = true
			l.keep = append(l.keep, object)
		}
	}
	// good reports whether at least half of a pack is named, and nothing is to go.
	good := func(p archive.PackState) bool { return 2*live[p.Object] >= p.Size && !dirty[p.Object] }
	var moves []int
	for i, x := range items {
		if p, ok := packs[x.at.Object]; ok && (frozen(p.Tier) || p.Size >= s.large && good(p)) {
			keep(x.at.Object)
			continue
		}
		moves = append(moves, i)
	}
	for _, g := range group(items, moves, s) {
		if p, ok := packs[items[g[0]].at.Object]; ok && good(p) && alone(items, g, live[p.Object]) {
			keep(p.Object)
			continue
		}
		l.fresh = append(l.fresh, g)
	}
	return l
}

// group cuts the items that are copied into packs.
func group(items []item, moves []int, s sizes) (groups [][]int) {
	var g []int
	var size int64
	cut := func() {
		if len(g) > 0 {
			groups = append(groups, g)
		}
		g, size = nil, 0
	}
	for i := 0; i < len(moves); {
		end, series := i, int64(0)
		for ; end < len(moves) && items[moves[end]].series == items[moves[i]].series; end++ {
			series += items[moves[end]].at.Length
		}
		// A small pack would be copied again the next time.
		if size >= s.large && size+series > s.target {
			cut()
		}
		for ; i < end; i++ {
			n := items[moves[i]].at.Length
			if size+n > s.target {
				cut()
			}
			g, size = append(g, moves[i]), size+n
		}
	}
	cut()
	return groups
}

// alone reports whether the group is all that is named of one object.
func alone(items []item, g []int, live int64) bool {
	for _, i := range g {
		if items[i].at.Object != items[g[0]].at.Object {
			return false
		}
		live -= items[i].at.Length
	}
	return live == 0
}
