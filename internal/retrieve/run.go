package retrieve

import (
	"container/list"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	maxRuns = 64 // instances that are followed
	// What is read next to what was read before, from so many bytes away, goes on
	// in order: a viewer asks for frames out of order by some connections.
	runSlack = 2 << 20
	// The window ahead of a run doubles from the first to the last, in bytes.
	firstWindow, lastWindow = 1 << 20, warmSpan
)

// runs follow who reads the frames of a large instance in order, each by a
// request of its own: the next ones are fetched ahead, the more the longer it
// goes on. It is guarded by warming.mu.
type runs struct {
	of  map[archive.BlobID]*list.Element
	lru list.List // of *run, the latest first
}

// run is how an instance is being read. Offsets are in its file.
type run struct {
	blob   archive.BlobID
	off    int64 // of what was read last
	end    int64
	ahead  int64 // up to here it is fetched
	window int64
}

// next notes that n bytes from off are read, and returns what to fetch ahead of
// them, which may be nothing.
func (r *runs) next(in *Instance, off, n int64) archive.Location {
	if in.At.Length <= warmSpan { // it is fetched whole
		return archive.Location{}
	}
	e := r.of[in.Blob]
	if e == nil {
		r.of[in.Blob] = r.lru.PushFront(&run{blob: in.Blob, off: off, end: off + n})
		if r.lru.Len() > maxRuns {
			delete(r.of, r.lru.Remove(r.lru.Back()).(*run).blob)
		}
		return archive.Location{}
	}
	r.lru.MoveToFront(e)
	x := e.Value.(*run)
	again := off == x.off
	inOrder := off >= x.end-runSlack && off <= x.end+runSlack
	x.off, x.end = off, off+n
	switch {
	case again:
		return archive.Location{}
	case !inOrder:
		x.ahead, x.window = 0, 0
		return archive.Location{}
	}
	x.window = min(max(2*x.window, firstWindow), lastWindow)
	from, to := max(x.end, x.ahead), min(x.end+x.window, in.Size)
	if to-from < x.window/2 && to < in.Size || to <= from {
		return archive.Location{} // enough is on its way
	}
	x.ahead = to
	return in.sealed(from, to-from)
}
