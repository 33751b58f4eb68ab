package retrystore

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

var errEnded = fault.New(fault.Internal, "the object was already committed or aborted")

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	if s.o.Replay <= 0 || o.Size > s.o.Replay {
		return s.create(ctx, key, o)
	}
	return &writer{s: s, ctx: ctx, key: key, o: o, kept: make([]byte, 0, o.Size)}, nil
}

func (s *store) create(ctx context.Context, key string, o driver.CreateOptions) (w driver.Writer, err error) {
	err = s.retry(ctx, func() error { w, err = s.d.Create(ctx, key, o); return err })
	return w, err
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
	inner, err := w.s.d.Create(ctx, w.key, w.o)
	if err != nil {
		return driver.Attrs{}, err
	}
	if _, err := inner.Write(w.kept); err != nil {
		inner.Abort()
		return driver.Attrs{}, err
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
	a, err := w.s.d.Stat(ctx, w.key)
	if err == nil && a.Size != int64(len(w.kept)) || fault.Is(err, fault.NotFound) {
		return driver.Attrs{}, refused
	}
	if err != nil {
		return driver.Attrs{}, err
	}
	r, err := w.s.d.Open(ctx, w.key, 0, -1)
	if err != nil {
		return driver.Attrs{}, err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(len(w.kept))+1))
	if err = errors.Join(err, r.Close()); err != nil {
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
