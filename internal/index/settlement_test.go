package index

import (
	"cmp"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
)

// settlement is what whoever settles what one key of a study seals knows of it, and what is there that it does not know.
type settlement struct {
	study   string
	key     archive.KeyID
	seen    sight
	before  sight    // what was seen before the last fact: another settler may not have seen more
	unseen  []uint64 // live settled facts
	settled map[uint64]*archive.Fact
	tiers   map[string]archive.TierName // of packs
	deleted map[archive.BlobID]bool
}

// sight is what one settler sees.
type sight struct {
	instances []archive.Instance // as they are restated
	entries   []uint64           // live
	packs     []archive.PackPlace
}

func (s sight) clone() sight {
	return sight{slices.Clone(s.instances), slices.Clone(s.entries), slices.Clone(s.packs)}
}

func newSettlement(study string, key archive.KeyID) *settlement {
	return &settlement{study: study, key: key, settled: map[uint64]*archive.Fact{}, tiers: map[string]archive.TierName{}, deleted: map[archive.BlobID]bool{}}
}

func (k *settlement) stored(e archive.Entry) {
	k.before = k.seen.clone()
	for _, in := range e.Fact.Instances {
		in.Stated = e.Fact.ID
		k.seen.instances = append(k.seen.instances, in)
	}
	k.seen.entries = append(k.seen.entries, e.N)
}

// settle restates all in one pack or two, of which one may be an earlier one. It may know less than all of the log, as when
// several nodes settle at the same time: what the fact before it said, or that there is that fact.
func (k *settlement) settle(t *rapid.T, n uint64) archive.Entry {
	s := k.seen
	late := len(k.before.entries) > 0 && rapid.IntRange(0, 3).Draw(t, "too late") == 0
	if late {
		s = k.before
	} else if rapid.Bool().Draw(t, "seeing others") {
		s.entries = append(s.entries, k.unseen...)
		k.unseen = nil
	}
	f := &archive.Fact{Kind: archive.FactSettled, Key: k.key, Study: fakeKeys(hospital).Ref(k.study), Chunks: []archive.Chunk{{Data: []byte("zstd"), Size: 4000}}}
	packs := []archive.PackPlace{{Object: fmt.Sprintf("%s/pack/%d", hospital, n), Size: int64(n), Tier: archive.HotTier}}
	if len(s.packs) > 0 && rapid.Bool().Draw(t, "keeping a pack") {
		kept := s.packs[0]
		kept.Tier = k.tiers[kept.Object]
		packs = append(packs, kept)
	}
	var left []archive.Instance
	for _, in := range s.instances {
		if k.deleted[in.Blob] && rapid.Bool().Draw(t, "dropping") {
			f.Dropped = append(f.Dropped, in.Blob)
			continue
		}
		left = append(left, in)
		at := len(left)
		in.JSON = archive.JSONRef{Offset: 10 * at, Length: 10}
		in.At = archive.Location{Object: packs[at%len(packs)].Object, Offset: int64(100 * at), Length: 5000}
		f.Instances = append(f.Instances, in)
	}
	if f.Packs = packs; len(left) == 0 {
		f.Packs, f.Chunks, packs = nil, nil, nil
	}
	entries := slices.Clone(s.entries)
	if rapid.IntRange(0, 4).Draw(t, "not all") == 0 { // one that it does not supersede, though it restates what that states
		keep := rapid.IntRange(0, len(entries)-1).Draw(t, "keeping")
		entries = slices.Delete(entries, keep, keep+1)
	}
	for _, m := range entries {
		if old := k.settled[m]; old != nil {
			f.Dropped = append(f.Dropped, old.Dropped...)
		}
		f.Supersedes = append(f.Supersedes, archive.LogRange{Session: testSession, Range: archive.Range{From: m, To: m}})
	}
	for _, m := range entries {
		if old := k.settled[m]; old != nil {
			f.Supersedes = append(f.Supersedes, old.Supersedes...)
		}
	}
	slices.SortFunc(f.Supersedes, func(a, b archive.LogRange) int { return cmp.Compare(a.From, b.From) })
	f.Supersedes = slices.Compact(f.Supersedes)
	k.settled[n] = f
	for _, p := range packs {
		k.tiers[p.Object] = p.Tier
	}
	if late || rapid.IntRange(0, 3).Draw(t, "by another node") == 0 {
		k.unseen = append(k.unseen, n)
		return entry(n, f)
	}
	k.before = k.seen.clone()
	s.entries = slices.DeleteFunc(slices.Clone(s.entries), func(m uint64) bool { return slices.Contains(entries, m) })
	k.seen = sight{left, append(s.entries, n), packs}
	return entry(n, f)
}

// move brings a pack to another tier: hot is one store, cold and deep are another.
func (k *settlement) move(t *rapid.T, n uint64) archive.Entry {
	p := k.seen.packs[rapid.IntRange(0, len(k.seen.packs)-1).Draw(t, "pack")]
	to := rapid.SampledFrom([]archive.TierName{"hot", "cold", "deep"}).Draw(t, "tier")
	from := k.tiers[p.Object]
	if (from == "hot") == (to == "hot") {
		from = ""
	}
	k.tiers[p.Object] = to
	k.seen.entries = append(k.seen.entries, n)
	e := moves(n, fakeKeys(hospital).Ref(k.study), from, to, p.Object)
	e.Fact.Packs[0].Size = p.Size
	return e
}
