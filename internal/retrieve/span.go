package retrieve

import (
	"context"
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
)

// pageBytes is the unit in which spans take memory.
const pageBytes = 64 << 10

var pages = sync.Pool{New: func() any { return new([pageBytes]byte) }}

// span is a place whose sealed bytes are read into memory before they are asked
// for. Whoever asks gets them as they arrive; what does not arrive, for whatever reason,
// is left to the store to give or to explain.
type span struct {
	at     archive.Location
	behind int64 // bytes behind the place that the same request asks for; they stay on the line until somebody takes them
	cancel context.CancelFunc
	free   func() // gives back the memory

	mu    sync.Mutex // guards what follows
	users int        // bodies that are made of it
	pages []*[pageBytes]byte
	got   int64         // bytes that have arrived
	ended bool          // no more will
	moved chan struct{} // closed when there is more, or the end; nil while nobody waits
	rest  io.ReadCloser // gives what lies behind; nil until the place has arrived, and when it was taken
}

// memoryOf is what a span of n bytes takes.
func memoryOf(n int64) int64 { return (n + pageBytes - 1) &^ (pageBytes - 1) }

// fill reads the place until it is there, nobody wants it, or it cannot be read.
func (s *span) fill(ctx context.Context, o Objects) {
	var rest io.ReadCloser
	defer func() { s.end(rest) }()
	body, err := o.Open(ctx, s.at.Object, s.at.Offset, s.at.Length+s.behind)
	if err != nil {
		return
	}
	off := int64(0)
	for off < s.at.Length && err == nil && ctx.Err() == nil {
		in := off % pageBytes
		if int64(len(s.pages))*pageBytes == off {
			s.mu.Lock()
			s.pages = append(s.pages, pages.Get().(*[pageBytes]byte))
			s.mu.Unlock()
		}
		var n int
		n, err = body.Read(s.pages[off/pageBytes][in:min(pageBytes, in+s.at.Length-off)])
		off += int64(n)
		s.mu.Lock()
		s.got = off
		s.tell()
		s.mu.Unlock()
	}
	if s.behind > 0 && off == s.at.Length && err == nil {
		rest = body
		return
	}
	body.Close()
}

// tell wakes those who wait. The caller holds mu.
func (s *span) tell() {
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

func (s *span) end(rest io.ReadCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.rest = true, rest
	s.tell()
	s.leave()
}

// release is called once for each body that is made of the span: with the last,
// reading ends and the memory is given back.
func (s *span) release() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.leave()
}

// leave gives back the memory once nobody uses it. The caller holds mu.
func (s *span) leave() {
	if s.users > 0 {
		return
	}
	s.cancel()
	if !s.ended {
		return
	}
	s.got = 0
	for _, p := range s.pages {
		pages.Put(p)
	}
	s.pages = nil
	if s.rest != nil {
		s.rest.Close()
		s.rest = nil
	}
	s.free()
}

// has reports whether the byte at pos of the object can be had of the span.
func (s *span) has(object string, pos int64) bool {
	return s != nil && object == s.at.Object && pos >= s.at.Offset && pos-s.at.Offset < s.at.Length
}

// wait waits until there is more, or the end. The caller holds mu.
func (s *span) wait(ctx context.Context) (err error) {
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	moved := s.moved
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read reads what has arrived from pos on, waiting for the first byte. With a p
// of no bytes it only waits. It returns false if that byte does not come.
func (s *span) read(ctx context.Context, p []byte, pos int64) (n int, there bool, err error) {
	off := pos - s.at.Offset
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.got <= off {
		if s.ended || s.users <= 0 {
			return 0, false, nil
		}
		if err := s.wait(ctx); err != nil {
			return 0, false, err
		}
	}
	for n < len(p) && off < s.got {
		k := copy(p[n:], s.pages[off/pageBytes][off%pageBytes:min(pageBytes, off%pageBytes+s.got-off)])
		n, off = n+k, off+int64(k)
	}
	return n, true, nil
}

// take returns what gives the bytes behind the place, which the caller closes;
// nil if they have to be asked for.
func (s *span) take(ctx context.Context) io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.behind > 0 && !s.ended && s.users > 0 {
		if s.wait(ctx) != nil {
			break
		}
	}
	rest := s.rest
	s.rest = nil
	return rest
}

// open reads a range that begins in the span. It returns nil, without an error, if
// its first byte is not to be had here.
func (s *span) open(ctx context.Context, o Objects, at archive.Location) (io.ReadCloser, error) {
	_, there, err := s.read(ctx, nil, at.Offset)
	if err != nil || !there {
		return nil, err
	}
	return &spanReader{ctx: ctx, s: s, o: o, object: at.Object, pos: at.Offset, end: at.Offset + at.Length, stop: func() bool { return true }}, nil
}

// spanReader reads a range, first what the span has of it, then the rest from the store.
type spanReader struct {
	ctx      context.Context
	s        *span
	o        Objects
	object   string
	pos, end int64
	body     io.ReadCloser // of the store; nil while the span is read
	stop     func() bool
	err      error
}

// Read implements io.Reader.
func (r *spanReader) Read(p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), r.end-r.pos)]
	switch {
	case r.err != nil:
		return 0, r.err
	case r.pos == r.end:
		return 0, io.EOF
	case r.body == nil && r.s.has(r.object, r.pos):
		var there bool
		if n, there, r.err = r.s.read(r.ctx, p, r.pos); there || r.err != nil {
			r.pos += int64(n)
			return n, r.err
		}
	case r.body == nil:
		if r.body = r.s.take(r.ctx); r.body != nil { // it ends with the span, and now with the reader too
			r.stop = context.AfterFunc(r.ctx, r.s.cancel)
		}
	}
	if r.body == nil {
		if r.body, r.err = r.o.Open(r.ctx, r.object, r.pos, r.end-r.pos); r.err != nil {
			return 0, r.err
		}
	}
	n, r.err = r.body.Read(p)
	r.pos += int64(n)
	return n, r.err
}

// Close implements io.Closer.
func (r *spanReader) Close() error {
	r.stop()
	body := r.body
	r.body, r.err = nil, io.ErrClosedPipe
	if body == nil {
		return nil
	}
	return body.Close()
}
