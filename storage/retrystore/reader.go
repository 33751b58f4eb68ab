package retrystore

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

func (s *store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r := &reader{s: s, ctx: ctx, key: key, off: off, n: n}
	if err := s.retry(ctx, r.open); err != nil {
		r.wait()
		return nil, err
	}
	return r, nil
}

// reader opens its range anew where a read breaks off.
type reader struct {
	s      *store
	ctx    context.Context
	key    string
	off, n int64      // what is still to be read; n < 0: to the end
	failed int        // attempts since the last byte
	cause  error      // why it must be opened anew; nil if it need not
	from   *opening   // nil if there is none
	losers []*opening // of hedges; each is cancelled, and ends by itself
}

func (r *reader) open() (err error) {
	if r.s.o.Hedge {
		r.from, err = r.openHedged()
	} else {
		r.from, err = r.openPlain()
	}
	return err
}

func (r *reader) openPlain() (*opening, error) {
	o := r.s.opening(r.ctx)
	o.open(r.key, r.off, r.n)
	if o.err != nil {
		o.close()
		return nil, o.err
	}
	return o, nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.cause != nil {
			if err := r.reopen(); err != nil {
				return 0, err
			}
		}
		n, err := r.from.Read(p)
		r.off += int64(n)
		if r.n >= 0 {
			r.n -= int64(n)
		}
		if n > 0 {
			r.failed = 0
		}
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return n, err
		}
		r.cause = err
		if n > 0 {
			return n, nil
		}
	}
}

// reopen goes on where the stream broke off. It fails with the cause for good.
func (r *reader) reopen() error {
	if r.failed++; r.failed >= r.s.o.Attempts || r.s.pause(r.ctx, r.failed-1) != nil {
		return r.cause
	}
	_ = r.from.close()
	r.from = nil
	if err := r.s.retry(r.ctx, r.open); err != nil {
		r.cause, r.failed = err, r.s.o.Attempts
		return err
	}
	r.cause = nil
	return nil
}

func (r *reader) Close() error {
	var err error
	if r.from != nil {
		err = r.from.close()
		r.from = nil
	}
	if r.cause == nil {
		r.cause = errClosed
		r.failed = r.s.o.Attempts
	}
	r.wait()
	return err
}

// wait waits for the losers of hedges.
func (r *reader) wait() {
	for _, l := range r.losers {
		<-l.done
	}
	r.losers = nil
}

var errClosed = fault.New(fault.Internal, "the object was read after it was closed")

// opening is one stream of the driver, or the attempt to open one.
type opening struct {
	s    *store
	ctx  context.Context
	w    *watch
	r    io.ReadCloser
	err  error
	done chan struct{} // closed when open has returned, if a goroutine called it
}

func (s *store) opening(ctx context.Context) *opening {
	o := &opening{s: s, done: make(chan struct{})}
	o.ctx, o.w = s.watch(ctx)
	return o
}

func (o *opening) open(key string, off, n int64) {
	o.err = o.w.during(func() (err error) {
		o.r, err = o.s.d.Open(o.ctx, key, off, n)
		return err
	})
}

func (o *opening) Read(p []byte) (n int, err error) {
	err = o.w.during(func() (err error) { n, err = o.r.Read(p); return err })
	return n, err
}

func (o *opening) close() (err error) {
	if o.r != nil {
		err = o.r.Close()
	}
	o.w.end()
	return err
}
