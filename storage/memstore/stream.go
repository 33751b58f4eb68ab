package memstore

import (
	"context"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// writer stages an object.
type writer struct {
	s     *Store
	ctx   context.Context // of Create: io.Writer has none
	key   string
	o     driver.CreateOptions
	life  uint64
	data  []byte
	ended bool
}

var errEnded = fault.New(fault.Internal, "the object was already committed or aborted")

func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	w.s.mu.RLock()
	full, lost := w.s.full(int64(len(w.data)+len(p)), w.o), w.life != w.s.life
	w.s.mu.RUnlock()
	switch {
	case lost:
		return 0, errCrashed
	case full:
		return 0, errFull
	}
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	if w.ended {
		return driver.Attrs{}, errEnded
	}
	w.ended = true
	if err := ctx.Err(); err != nil {
		return driver.Attrs{}, err
	}
	w.data = slices.Clip(w.data)
	return w.s.put(w)
}

func (w *writer) Abort() { w.ended, w.data = true, nil }

// reader streams committed bytes, which never change.
type reader struct {
	ctx  context.Context
	data []byte
	end  error // io.EOF, or io.ErrUnexpectedEOF past the object's end
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.data) == 0 {
		return 0, r.end
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *reader) Close() error { return nil }

// readerAt reads committed bytes at offsets.
type readerAt []byte

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errRange
	}
	if off >= int64(len(r)) {
		return 0, io.EOF
	}
	n := copy(p, r[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r readerAt) Close() error { return nil }
