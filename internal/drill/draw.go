package drill

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
)

// picked is a study that was drawn.
type picked struct {
	ref     archive.Ref
	rank    [16]byte
	uid     string // empty in a drill from the log, until a fact was opened
	entries []archive.LogEntry
	packs   []archive.PackState
	frozen  map[archive.TierName]int64 // packs that have to be restored
	headers []archive.Entry            // of the entries, while the log is looked through: facts without what is sealed
}

// bytes is how much there is to copy of the study, as far as is known.
func (p *picked) bytes() (n int64) {
	for i := range p.entries {
		n += p.entries[i].Size
	}
	for i := range p.packs {
		n += p.packs[i].Size
	}
	return n
}

// sampler keeps the studies with the smallest ranks.
type sampler struct {
	seed uint64
	want int
	top  ranks // the largest first
	by   map[archive.Ref]*picked
}

func newSampler(seed uint64, want int) *sampler {
	return &sampler{seed: seed, want: want, by: map[archive.Ref]*picked{}}
}

// offer returns the study if it is among those with the smallest ranks so far. One that is
// not will never be again, so that whatever is noted of those who stay is complete.
func (s *sampler) offer(ref archive.Ref) *picked {
	if p := s.by[ref]; p != nil {
		return p
	}
	var in [24]byte
	binary.BigEndian.PutUint64(in[:], s.seed)
	copy(in[8:], ref[:])
	sum := blake3.Sum256(in[:])
	rank := [16]byte(sum[:16])
	if len(s.top) >= s.want {
		if bytes.Compare(rank[:], s.top[0].rank[:]) >= 0 {
			return nil
		}
		out := heap.Pop(&s.top).(*picked)
		delete(s.by, out.ref)
	}
	p := &picked{ref: ref, rank: rank}
	heap.Push(&s.top, p)
	s.by[ref] = p
	return p
}

// drawn returns the studies in the order in which they are to be tried.
func (s *sampler) drawn() []*picked {
	out := slices.Clone([]*picked(s.top))
	slices.SortFunc(out, func(a, b *picked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	return out
}

// studies is how many different studies were offered. Where more were than are kept it is an
// estimate, by how small the smallest ranks are: to some 10 % with a hundred kept.
func (s *sampler) studies() int64 {
	if len(s.top) < s.want || s.want < 2 {
		return int64(len(s.top))
	}
	part := float64(binary.BigEndian.Uint64(s.top[0].rank[:])) / (1 << 64)
	return int64(float64(s.want-1) / part)
}

// ranks is a heap with the largest rank on top.
type ranks []*picked

func (r ranks) Len() int           { return len(r) }
func (r ranks) Less(i, j int) bool { return bytes.Compare(r[i].rank[:], r[j].rank[:]) > 0 }
func (r ranks) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranks) Push(v any)        { *r = append(*r, v.(*picked)) }
func (r *ranks) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// draw returns studies, more than are needed.
func (d *drill) draw(ctx context.Context) ([]*picked, error) {
	defer d.spend(&d.report.Times.Drawing)()
	s := newSampler(d.report.Seed, d.q.Studies*spares)
	if d.q.FromLog {
		return d.drawFromLog(ctx, s)
	}
	err := d.o.Index.Studies(ctx, d.o.Tenant, archive.StudyFilter{}, func(row *archive.StudyRow) bool {
		d.report.Of.Studies++
		d.report.Of.Instances += int64(row.Instances)
		if p := s.offer(row.Ref); p != nil {
			p.uid = row.UID
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	usage, err := d.o.Index.TierUsage(ctx, d.o.Tenant)
	for _, u := range usage {
		d.whole[u.Tier] = u
	}
	return s.drawn(), err
}

// look asks the index where a study is.
func (d *drill) look(ctx context.Context, p *picked) (err error) {
	if d.q.FromLog {
		return nil
	}
	if p.entries, err = d.o.Index.Entries(ctx, d.o.Tenant, p.ref); err == nil {
		p.packs, err = d.o.Index.Packs(ctx, d.o.Tenant, p.ref)
	}
	return err
}
