package retrystore

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

var errEnded = fault.New(fault.Internal, "the object was already committed or aborted")

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	if s.can.Repeater != nil {
		return s.can.Repeater.CreateRepeating(ctx, key, o, s.again)
	}
	if s.o.Replay <= 0 || o.Size > s.o.Replay {
		return s.create(ctx, key, o)
	}
	return &writer{s: s, ctx: ctx, key: key, o: o, kept: make([]byte, 0, o.Size)}, nil
}

// create starts an object whose writing cannot be tried again.
func (s *store) create(ctx context.Context, key string, o driver.CreateOptions) (w driver.Writer, err error) {
	err = s.retry(ctx, func() error { w, err = s.createOnce(ctx, key, o); return err })
	return w, err
}

func (s *store) createOnce(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	ctx, watch := s.watch(ctx)
	w := &watched{watch: watch}
	err := watch.during(func() (err error) { w.w, err = s.d.Create(ctx, key, o); return err })
	if err != nil {
		watch.end()
		return nil, err
	}
	return w, nil
}

// watched is a driver's writer that fails when there is no progress.
type watched struct {
	w     driver.Writer
	watch *watch
}

func (w *watched) Write(p []byte) (n int, err error) {
	err = w.watch.during(func() error { n, err = w.w.Write(p); return err })
	return n, err
}

func (w *watched) Commit(ctx context.Context) (a driver.Attrs, err error) {
	ctx = w.watch.join(ctx)
	err = w.watch.during(func() error { a, err = w.w.Commit(ctx); return err })
	w.watch.end()
	return a, err
}

func (w *watched) Abort() {
	w.w.Abort()
	w.watch.end()
}

// writer keeps an object's bytes until they are committed, or are too many to keep.
type writer struct {
	s     *store
	ctx   context.Context // of Create
	key   string
	o     driver.CreateOptions
	kept  []byte
	w     driver.Writer // set when bytes are no longer kept
	ended bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	if w.w != nil {
		return w.w.Write(p)
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(w.kept)+len(p)) <= w.s.o.Replay {
		w.kept = append(w.kept, p...)
		return len(p), nil
	}
	var err error
	if w.w, err = w.s.create(w.ctx, w.key, w.o); err != nil {
		return 0, err
	}
	if _, err := w.w.Write(w.kept); err != nil {
		return 0, err
	}
	w.kept = nil
	return w.w.Write(p)
}

func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	if w.ended {
		return driver.Attrs{}, errEnded
	}
	w.ended = true
	if w.w != nil {
		return w.w.Commit(ctx)
	}
	if err := ctx.Err(); err != nil {
		return driver.Attrs{}, err
	}
	var a driver.Attrs
	unsure := false // an attempt failed that may have succeeded
	err := w.s.retry(ctx, func() (err error) {
		a, err = w.attempt(ctx)
		if unsure && (fault.Is(err, fault.Exists) || fault.Is(err, fault.Conflict)) {
			a, err = w.mine(ctx, err)
		}
		unsure = true
		return err
	})
	return a, err
}

// attempt stores the object once.
func (w *writer) attempt(ctx context.Context) (driver.Attrs, error) {
	inner, err := w.s.createOnce(ctx, w.key, w.o)
	if err != nil {
		return driver.Attrs{}, err
	}
	for piece := range slices.Chunk(w.kept, 4<<20) { // each that goes through is progress
		if _, err := inner.Write(piece); err != nil {
			inner.Abort()
			return driver.Attrs{}, err
		}
	}
	a, err := inner.Commit(ctx)
	if err != nil {
		inner.Abort()
	}
	return a, err
}

// mine tells whether the object that is in the way is the one of an earlier
// attempt, and if not returns refused.
func (w *writer) mine(ctx context.Context, refused error) (driver.Attrs, error) {
	o := w.s.opening(ctx)
	defer o.close()
	var a driver.Attrs
	err := o.w.during(func() (err error) { a, err = w.s.d.Stat(o.ctx, w.key); return err })
	if err == nil && a.Size != int64(len(w.kept)) || fault.Is(err, fault.NotFound) {
		return driver.Attrs{}, refused
	}
	if err != nil {
		return driver.Attrs{}, err
	}
	if o.open(w.key, 0, -1); o.err != nil {
		return driver.Attrs{}, o.err
	}
	b, err := io.ReadAll(io.LimitReader(o, int64(len(w.kept))+1))
	if err != nil {
		return driver.Attrs{}, err
	}
	if !bytes.Equal(b, w.kept) {
		return driver.Attrs{}, refused
	}
	return a, nil
}

func (w *writer) Abort() {
	if w.w != nil && !w.ended {
		w.w.Abort()
	}
	w.ended, w.kept = true, nil
}
