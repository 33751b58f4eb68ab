package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

var errEnded = errors.New("storage: the object was already committed or aborted")

// writer holds a driver's writer to its contract: one end, nothing after it,
// and the number of bytes that was announced.
type writer struct {
	w     driver.Writer
	key   string
	want  int64 // 0 when not announced
	n     int64
	ended bool
	err   error // of a Write; the object is then not committed
}

func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("writing object %s: %w", w.key, err)
		return n, w.err
	}
	return n, nil
}

func (w *writer) Commit(ctx context.Context) (Attrs, error) {
	switch {
	case w.ended:
		return Attrs{}, errEnded
	case w.err != nil:
		w.Abort()
		return Attrs{}, w.err
	case w.want != 0 && w.n != w.want:
		w.Abort()
		return Attrs{}, fault.New(fault.Internal, "object %s has %d bytes where %d were announced", w.key, w.n, w.want)
	}
	w.ended = true
	a, err := w.w.Commit(ctx)
	if err != nil {
		w.w.Abort()
		return Attrs{}, fmt.Errorf("committing object %s: %w", w.key, err)
	}
	return a, nil
}

func (w *writer) Abort() {
	if !w.ended {
		w.ended = true
		w.w.Abort()
	}
}

// rangedReader makes random reads of ranged ones, for drivers without local files.
type rangedReader struct {
	ctx  context.Context // of OpenAt: io.ReaderAt has none of its own
	d    driver.Driver
	key  string
	size int64
}

func (r *rangedReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.RangeInvalid, "a range starts before the object does")
	}
	if off >= r.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.size-off)
	if want == 0 {
		return 0, nil
	}
	rc, err := r.d.Open(r.ctx, r.key, off, want)
	if err != nil {
		return 0, fmt.Errorf("reading object %s: %w", r.key, err)
	}
	defer rc.Close()
	n, err := io.ReadFull(rc, p[:want])
	if err != nil {
		return n, fmt.Errorf("reading object %s: %w", r.key, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *rangedReader) Close() error { return nil }
