package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	// prefetchShare is the part of the read cache that what was prefetched may take in prefetchDay: the
	// rest is in use.
	prefetchShare = 4
	prefetchDay   = 24 * time.Hour
	// prefetchQueue bounds how many studies wait to be read, prefetchRuns how many reads one study is.
	prefetchQueue = 1000
	prefetchRuns  = 100_000
	prefetchSpan  = 4 << 20 // bytes of one read
)

// prefetched reads studies that were restored for an appointment into this node's read cache, the newest
// first and one read after the other, so that requests come first.
type prefetched struct {
	n    *Node
	wake chan struct{}

	mu    sync.Mutex // guards what follows
	queue []restored // the newest last
	spent []spent    // in the last day
}

// restored is a study that is to be read.
type restored struct {
	tenant archive.Tenant
	study  archive.Ref
	date   string // of the study
}

type spent struct {
	at    time.Time
	bytes int64
}

// add implements restore.Options.Restored.
func (p *prefetched) add(ctx context.Context, t archive.Tenant, study archive.Ref) {
	if p.n.near == nil {
		return
	}
	life, _, err := p.n.Index.Life(ctx, t, study)
	if err != nil {
		return // it is read when somebody asks for it
	}
	p.mu.Lock()
	p.queue = append(p.queue, restored{t, study, life.StudyDate})
	slices.SortStableFunc(p.queue, func(a, b restored) int { return cmp.Compare(a.date, b.date) })
	p.queue = p.queue[max(0, len(p.queue)-prefetchQueue):]
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run reads what was added until the context ends, or the node is shut down.
func (p *prefetched) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-p.n.stopping:
			cancel()
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for {
			p.mu.Lock()
			last := len(p.queue) - 1
			if last < 0 {
				p.mu.Unlock()
				break
			}
			next := p.queue[last]
			p.queue = p.queue[:last]
			p.mu.Unlock()
			if err := p.read(ctx, next); err != nil && ctx.Err() == nil {
				p.n.o.Slog.Warn("what was restored for an appointment could not be read ahead; it is read when somebody asks for it", "tenant", string(next.tenant), "error", err)
			}
		}
	}
}

// read brings the images of a study into the read cache, as far as its share goes.
func (p *prefetched) read(ctx context.Context, r restored) error {
	var runs []archive.Location
	err := p.n.inArchive(ctx, r.tenant, func(ctx context.Context, a *Archive) error {
		return a.Index.StudyInstances(ctx, r.tenant, r.study, func(i *archive.InstanceRow, state archive.State) bool {
			if state == archive.StateVisible {
				runs = addRun(runs, i.At)
			}
			return len(runs) < prefetchRuns
		})
	})
	for _, at := range runs {
		for ; at.Length > 0 && err == nil; at.Offset, at.Length = at.Offset+prefetchSpan, at.Length-prefetchSpan {
			span := min(at.Length, prefetchSpan)
			if p.n.near.Holds(at.Object, at.Offset, span) || !p.n.away(ctx, at.Object) {
				continue
			}
			if !p.spend(span) {
				return nil
			}
			// Each in a visit of its own: who takes the keys away, or closes, waits for one read at most.
			err = p.n.inArchive(ctx, r.tenant, func(ctx context.Context, _ *Archive) error {
				if err := p.n.paceMoves(ctx, int(span)); err != nil {
					return err
				}
				return p.n.near.Warm(ctx, at.Object, at.Offset, span)
			})
		}
	}
	return err
}

// addRun adds a place to those before, as a part of the last where it follows on that.
func addRun(runs []archive.Location, at archive.Location) []archive.Location {
	if n := len(runs) - 1; n >= 0 && runs[n].Object == at.Object && runs[n].Offset+runs[n].Length == at.Offset {
		runs[n].Length += at.Length
		return runs
	}
	return append(runs, at)
}

// spend takes bytes out of the day's share; false where there are not as many.
func (p *prefetched) spend(bytes int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.n.o.Now()
	p.spent = slices.DeleteFunc(p.spent, func(s spent) bool { return now.Sub(s.at) >= prefetchDay })
	var sum int64
	for _, s := range p.spent {
		sum += s.bytes
	}
	if sum+bytes > p.n.o.ReadCacheBytes/prefetchShare {
		return false
	}
	if n := len(p.spent) - 1; n >= 0 && now.Sub(p.spent[n].at) < time.Minute {
		p.spent[n].bytes += bytes
	} else {
		p.spent = append(p.spent, spent{now, bytes})
	}
	return true
}
