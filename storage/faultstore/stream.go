package faultstore

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/storage/driver"
)

// writer injects faults into the writing of an object.
type writer struct {
	f    *faults
	life int
	key  string
	w    driver.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	d := w.f.decide(w.life, Write, w.key, len(p))
	switch d.Action {
	case FailBefore, CrashBefore:
		return 0, d.Err
	case Short:
		n, err := w.w.Write(p[:len(p)/2])
		if err == nil {
			err = d.Err
		}
		return n, err
	case FailAfter, CrashAfter:
		n, err := w.w.Write(p)
		if err == nil {
			err = d.Err
		}
		return n, err
	}
	return w.w.Write(p)
}

func (w *writer) Commit(ctx context.Context) (a driver.Attrs, err error) {
	err = w.f.do(w.life, Commit, w.key, func() error { a, err = w.w.Commit(ctx); return err })
	if err != nil {
		w.w.Abort() // no effect if it was committed
		return driver.Attrs{}, err
	}
	return a, nil
}

func (w *writer) Abort() { w.w.Abort() }

// reader injects faults into the reading of an object.
type reader struct {
	f    *faults
	life int
	key  string
	r    io.ReadCloser
	err  error // of a read that was cut: it stays
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.f.read(r.life, r.key, p, r.r.Read)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *reader) Close() error { return r.r.Close() }

// read is one read of p by way of from.
func (f *faults) read(life int, key string, p []byte, from func([]byte) (int, error)) (int, error) {
	d := f.decide(life, Read, key, len(p))
	switch d.Action {
	case FailBefore, CrashBefore, FailAfter, CrashAfter:
		return 0, d.Err
	case Cut:
		n, err := from(p[:len(p)/2])
		if err == nil {
			err = d.Err
		}
		return n, err
	case Short:
		return from(p[:(len(p)+1)/2])
	}
	n, err := from(p)
	if d.Action == Flip && n > 0 {
		p[n/2] ^= 0x10
	}
	return n, err
}

type mapper struct {
	f *faults
	m driver.Mapper
}

func (m mapper) OpenAt(ctx context.Context, key string) (driver.ReaderAtCloser, int64, error) {
	life := m.f.now()
	var inner driver.ReaderAtCloser
	var size int64
	err := m.f.do(life, Open, key, func() (err error) { inner, size, err = m.m.OpenAt(ctx, key); return err })
	if err != nil {
		if inner != nil {
			_ = inner.Close()
		}
		return nil, 0, err
	}
	return &readerAt{inner, m.f, life, key}, size, nil
}

// readerAt injects faults into reads at offsets. A Short one is no error there,
// where io.ReaderAt must explain it, so it reads in two.
type readerAt struct {
	driver.ReaderAtCloser
	f    *faults
	life int
	key  string
}

func (r *readerAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.read(r.life, r.key, p, func(p []byte) (int, error) { return r.ReaderAtCloser.ReadAt(p, off) })
	if err == nil && n < len(p) {
		var more int
		more, err = r.ReaderAtCloser.ReadAt(p[n:], off+int64(n))
		n += more
	}
	return n, err
}
