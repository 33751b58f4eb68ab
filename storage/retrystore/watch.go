package retrystore

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// watch ends what makes no progress: a call of the driver that neither returns
// nor moves a byte for Options.Stall has its context cancelled. Between calls no
// time counts, for then it is the caller who takes it.
type watch struct {
	s    *store
	mu   sync.Mutex
	ends []context.CancelFunc
	last time.Time   // of the last progress
	stop func() bool // of the timer; nil while there is none
	// stalled is set once, for good: the context is gone.
	stalled bool
}

// watch returns a context for calls of the driver. end must be called.
func (s *store) watch(ctx context.Context) (context.Context, *watch) {
	w := &watch{s: s}
	return w.join(ctx), w
}

// join brings another context under the watch, if it will ever end one.
func (w *watch) join(ctx context.Context) context.Context {
	if w.s.o.Stall <= 0 && !w.s.o.Hedge {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, cancel)
	if w.s.o.Stall <= 0 {
		return ctx
	}
	return driver.WithMoved(ctx, w.moved)
}

// end cancels what is left.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cancel := range w.ends {
		cancel()
	}
}

func (w *watch) moved() {
	now := w.s.o.Now()
	w.mu.Lock()
	w.last = now
	w.mu.Unlock()
}

// during calls f, which calls the driver.
func (w *watch) during(f func() error) error {
	limit := w.s.o.Stall
	if limit <= 0 {
		return f()
	}
	w.mu.Lock()
	w.last = w.s.o.Now()
	w.stop = w.s.o.AfterFunc(limit, w.check)
	w.mu.Unlock()
	err := f()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
	w.stop = nil
	if w.stalled && err != nil && err != io.EOF {
		return fault.Wrap(fault.Unavailable, err, "the store does not answer: no byte moved for %v", limit)
	}
	return err
}

// check is called when the time is over, if there was no progress meanwhile.
func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop == nil {
		return // it returned just now
	}
	if left := w.s.o.Stall - w.s.o.Now().Sub(w.last); left > 0 {
		w.stop = w.s.o.AfterFunc(left, w.check)
		return
	}
	w.stalled = true
	for _, cancel := range w.ends {
		cancel()
	}
}
