package retrieve

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

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
	waited *atomic.Bool // set when somebody had to wait for bytes
	cancel context.CancelFunc
	free   func() // gives back the memory

	mu    sync.Mutex // guards what follows
	users int        // bodies that are made of it
	pages []*[pageBytes]byte
	got   int64         // bytes that have arrived
	ended bool          // no more will
	moved chan struct{} // closed when there is more, or the end; nil while nobody waits
}

// memoryOf is what a span of n bytes takes.
func memoryOf(n int64) int64 { return (n + pageBytes - 1) &^ (pageBytes - 1) }

// fill reads the place until it is there, nobody wants it, or it cannot be read.
func (s *span) fill(ctx context.Context, o Objects) {
	defer s.end()
	body, err := o.Open(ctx, s.at.Object, s.at.Offset, s.at.Length)
	if err != nil {
		return
	}
	defer body.Close()
	for off := int64(0); off < s.at.Length && err == nil && ctx.Err() == nil; {
		if off%pageBytes == 0 {
			s.mu.Lock()
			s.pages = append(s.pages, pages.Get().(*[pageBytes]byte))
			s.mu.Unlock()
		}
		in := off % pageBytes
		var n int
		n, err = body.Read(s.pages[off/pageBytes][in:min(pageBytes, in+s.at.Length-off)])
		off += int64(n)
		s.mu.Lock()
		s.got = off
		s.tell()
		s.mu.Unlock()
	}
}

// tell wakes those who wait. The caller holds mu.
func (s *span) tell() {
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

func (s *span) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
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
	s.free()
}

// has reports whether the byte at pos of the object can be had of the span.
func (s *span) has(object string, pos int64) bool {
	return s != nil && object == s.at.Object && pos >= s.at.Offset && pos-s.at.Offset < s.at.Length
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
		if s.moved == nil {
			s.moved = make(chan struct{})
		}
		moved := s.moved
		s.mu.Unlock()
		s.waited.Store(true)
		select {
		case <-moved:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return 0, false, err
		}
	}
	for n < len(p) && off < s.got {
		k := copy(p[n:], s.pages[off/pageBytes][off%pageBytes:min(pageBytes, off%pageBytes+s.got-off)])
		n, off = n+k, off+int64(k)
	}
	return n, true, nil
}

// open reads a range that begins in the span. It returns nil, without an error, if
// its first byte is not to be had here.
func (s *span) open(ctx context.Context, o Objects, at archive.Location) (io.ReadCloser, error) {
	_, there, err := s.read(ctx, nil, at.Offset)
	if err != nil || !there {
		return nil, err
	}
	r := &spanReader{ctx: ctx, s: s, o: o, object: at.Object, pos: at.Offset, end: at.Offset + at.Length}
	if last := s.at.Offset + s.at.Length; r.end > last {
		r.fetch(last)
	}
	return r, nil
}

// spanReader reads a range, first what the span has of it, then the rest from the store.
type spanReader struct {
	ctx      context.Context
	s        *span
	o        Objects
	object   string
	pos, end int64
	rest     chan opened // what lies behind the span, asked for before it is needed; nil if nothing does
	cancel   context.CancelFunc
	body     io.ReadCloser // of the store; nil while the span is read
	err      error
}

type opened struct {
	body io.ReadCloser
	err  error
}

// fetch asks for the bytes from pos on.
func (r *spanReader) fetch(pos int64) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.rest, r.cancel = make(chan opened, 1), cancel
	go func() {
		var x opened
		x.body, x.err = r.o.Open(ctx, r.object, pos, r.end-pos)
		r.rest <- x
	}()
}

func (r *spanReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	if r.pos >= r.end {
		return 0, io.EOF
	}
	if r.body == nil && r.s.has(r.object, r.pos) {
		n, there, err := r.s.read(r.ctx, p[:min(int64(len(p)), r.end-r.pos)], r.pos)
		if r.pos, r.err = r.pos+int64(n), err; err != nil || there {
			return n, err
		}
		r.drop() // what lies behind is not what comes next
		r.body, r.err = r.o.Open(r.ctx, r.object, r.pos, r.end-r.pos)
	} else if r.body == nil {
		x := <-r.rest
		r.rest, r.body, r.err = nil, x.body, x.err
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.body.Read(p)
	r.pos, r.err = r.pos+int64(n), err
	return n, err
}

// drop gives up what was asked for ahead.
func (r *spanReader) drop() {
	if r.rest == nil {
		return
	}
	r.cancel()
	if x := <-r.rest; x.body != nil {
		x.body.Close()
	}
	r.rest = nil
}

// Close ends what was asked for and waits for it.
func (r *spanReader) Close() error {
	r.drop()
	r.err = io.ErrClosedPipe
	var err error
	if r.body != nil {
		err = r.body.Close()
		r.body = nil
	}
	if r.cancel != nil {
		r.cancel()
	}
	return err
}
