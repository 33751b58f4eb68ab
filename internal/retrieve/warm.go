package retrieve

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/seal"
)

const (
	// warmSpan is the most that is fetched by one call, in bytes.
	warmSpan = 4 << 20
	// An answer's bytes are fetched ahead of being sent up to so many: some 200 ms of a
	// fast line, so that it does not fall idle.
	warmBytes = 48 << 20
	// warmFlight bounds the bytes that the whole node is fetching ahead at once.
	// They go to the disk: memory holds some hundred KiB of each fetch.
	warmFlight = 128 << 20
)

// warming fetches what will be read next. A nil one does nothing: objects are near.
type warming struct {
	r  *Reader
	to Warmer

	ctx    context.Context // of what no request waits for: it ends with close
	stop   context.CancelFunc
	wg     sync.WaitGroup
	flight *semaphore.Weighted // bytes

	mu       sync.Mutex // guards what follows
	closed   bool
	browsing browsing
	runs     runs
}

func newWarming(r *Reader) *warming {
	if r.o.Ahead == nil {
		return nil
	}
	w := &warming{r: r, to: r.o.Ahead, flight: r.o.Shares.warm}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.browsing.series, w.runs.of = make(map[seriesKey]*list.Element), make(map[archive.BlobID]*list.Element)
	return w
}

func (w *warming) close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	w.wg.Wait()
}

// start runs what close waits for. The caller holds mu.
func (w *warming) start(do func()) bool {
	if w.closed {
		return false
	}
	w.wg.Go(do)
	return true
}

// fetch fetches at most warmSpan bytes of a place and waits for them. That it
// fails is left to who reads them to find out.
func (w *warming) fetch(ctx context.Context, at archive.Location) {
	n := min(at.Length, warmSpan)
	if n <= 0 || w.flight.Acquire(ctx, n) != nil {
		return
	}
	defer w.flight.Release(n)
	_ = w.to.Warm(ctx, at.Object, at.Offset, n)
}

// begins implements [bringer].
func (w *warming) begins(ctx context.Context, wg *sync.WaitGroup, at archive.Location, _ []*Body) {
	wg.Go(func() { w.fetch(ctx, at) })
}

// most implements [bringer].
func (w *warming) most() int64 { return warmBytes }

// far implements [bringer]: Warm knows better.
func (w *warming) far(context.Context, string) bool { return true }

// begin fetches the first of what is about to be read of an instance, while its
// key is fetched. It does not wait.
func (w *warming) begin(ctx context.Context, in *Instance, off, n int64) {
	if w == nil {
		return
	}
	at := in.sealed(off, n)
	if at.Length = min(at.Length, warmSpan); at.Length <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// No turn is waited for: the request itself asks for these bytes next.
	w.start(func() { _ = w.to.Warm(ctx, at.Object, at.Offset, at.Length) })
	if next := w.runs.next(in, off, n); next.Length > 0 {
		w.start(func() { w.fetch(w.ctx, next) })
	}
}

// sealed is where n bytes of the instance's file from off lie, sealed; nowhere
// if they are not in it.
func (in *Instance) sealed(off, n int64) archive.Location {
	if off < 0 || n <= 0 || off > in.Size || n > in.Size-off {
		return archive.Location{}
	}
	from, length := seal.Span(in.Size, in.SegmentBits, off, n)
	if from < 0 || length < 0 || length > in.At.Length || from > in.At.Length-length {
		return archive.Location{} // the index is damaged, as the reader will say
	}
	return archive.Location{Object: in.At.Object, Offset: in.At.Offset + from, Length: length}
}

// holds is where the bytes lie that spans of the instance's file are made of.
func (in *Instance) holds(spans []dicom.Span) archive.Location {
	if in.Coding == archive.Deflated || len(spans) == 0 {
		return in.At
	}
	first, last := spans[0], spans[len(spans)-1]
	return in.sealed(first.Offset, last.Offset+last.Length-first.Offset)
}
