package retrieve

import (
	"container/list"
	"context"
	"crypto/sha256"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	// maxBrowsed is how many series are remembered, each of at most maxSlices instances.
	maxBrowsed = 64
	maxSlices  = 4096
	// Around the instance asked for last, so many to each side are fetched, of
	// so many bytes.
	aroundSlices = 48
	aroundBytes  = 24 << 20
	// patience bounds how long the order of a series is looked up.
	patience = 30 * time.Second
)

// browsing follows who looks through a series an instance at a time: what lies
// next to the instance asked for last is fetched before it is asked for. Nobody
// says when a viewer closes; but nothing is fetched further than the window
// around the last request.
type browsing struct {
	series map[seriesKey]*list.Element
	lru    list.List // of *browsed, the latest first
}

// seriesKey is a hash of tenant, study and series: their UIDs are not held.
type seriesKey [sha256.Size]byte

// browsed is a series being looked through.
type browsed struct {
	key    seriesKey
	last   archive.BlobID // asked for last
	slices []slice        // nil until the order was looked up
	at     map[archive.BlobID]int
	busy   bool // a goroutine looks it up or fetches
}

// slice is an instance in the order of its series.
type slice struct {
	at      archive.Location // of what is fetched of it
	fetched bool
}

// asked notes that an instance is looked at, and fetches it while its key is
// fetched, unless it is large: then who reads says what part is wanted. With the
// second of a series its neighbours follow.
func (w *warming) asked(ctx context.Context, in *Instance) {
	if w == nil {
		return
	}
	if in.At.Length <= warmSpan {
		w.begin(ctx, in, 0, in.Size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := seriesKey(sha256.Sum256([]byte(string(in.tenant) + "\x00" + in.Study + "\x00" + in.Series)))
	e := w.browsing.series[k]
	if e == nil {
		w.browsing.series[k] = w.browsing.lru.PushFront(&browsed{key: k, last: in.Blob})
		if w.browsing.lru.Len() > maxBrowsed {
			delete(w.browsing.series, w.browsing.lru.Remove(w.browsing.lru.Back()).(*browsed).key)
		}
		return
	}
	w.browsing.lru.MoveToFront(e)
	s := e.Value.(*browsed)
	if s.last == in.Blob {
		return
	}
	s.last = in.Blob
	if s.slices != nil {
		i, known := s.at[in.Blob]
		if !known { // it came since: look again
			s.slices, s.at = nil, nil
		} else {
			s.slices[i].fetched = true
		}
	}
	if !s.busy {
		t, sel := in.tenant, archive.UIDs{Study: in.Study, Series: in.Series}
		s.busy = w.start(func() { w.follow(s, t, sel) })
	}
}

// follow fetches what lies around the instance asked for last until all of it is
// fetched.
func (w *warming) follow(s *browsed, t archive.Tenant, sel archive.UIDs) {
	w.mu.Lock()
	known := s.slices != nil
	w.mu.Unlock()
	if !known && !w.lookup(s, t, sel) {
		return
	}
	for {
		w.mu.Lock()
		at, more := s.next()
		if !more {
			s.busy = false
		}
		w.mu.Unlock()
		if !more {
			return
		}
		n := min(at.Length, warmSpan)
		if w.flight.Acquire(w.ctx, n) != nil {
			return // closing
		}
		w.wg.Go(func() {
			defer w.flight.Release(n)
			_ = w.to.Warm(w.ctx, at.Object, at.Offset, n)
		})
	}
}

// lookup learns the order of a series. Where that fails, the next request tries again.
func (w *warming) lookup(s *browsed, t archive.Tenant, sel archive.UIDs) bool {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	found, err := w.r.Find(ctx, t, sel, Files)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || len(found) > maxSlices {
		s.busy = false
		return false
	}
	s.slices, s.at = make([]slice, len(found)), make(map[archive.BlobID]int, len(found))
	for i := range found {
		at := found[i].At
		at.Length = min(at.Length, warmSpan)
		s.slices[i].at, s.at[found[i].Blob] = at, i
	}
	return true
}

// next returns the nearest place around the last instance that is to be fetched,
// with its neighbours further out. The caller holds mu.
func (s *browsed) next() (archive.Location, bool) {
	mid, known := s.at[s.last]
	if !known {
		return archive.Location{}, false
	}
	s.slices[mid].fetched = true
	var bytes int64
	for d := 1; d <= aroundSlices && bytes < aroundBytes; d++ {
		for _, i := range [...]int{mid + d, mid - d} {
			if i < 0 || i >= len(s.slices) {
				continue
			}
			bytes += s.slices[i].at.Length
			if !s.slices[i].fetched {
				return s.gather(i, i-mid), true
			}
		}
	}
	return archive.Location{}, false
}

// gather takes slice i and those behind it, in the direction of way, that one
// request can fetch with it.
func (s *browsed) gather(i, way int) archive.Location {
	at := s.slices[i].at
	s.slices[i].fetched = true
	step := 1
	if way < 0 {
		step = -1
	}
	for i += step; i >= 0 && i < len(s.slices) && !s.slices[i].fetched; i += step {
		x := s.slices[i].at
		if step > 0 && extend(&at, x) || step < 0 && extend(&x, at) {
			if step < 0 {
				at = x
			}
			s.slices[i].fetched = true
			continue
		}
		break
	}
	return at
}
