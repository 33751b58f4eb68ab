package dicom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
)

// windowSize is how much of a stream is in memory at once: large enough that a
// header usually arrives in one read and that skipping pixel data costs little.
const windowSize = 64 << 10

var windows = sync.Pool{New: func() any { return new([windowSize]byte) }}

// source is a stream seen through a window of fixed size.
type source struct {
	ctx  context.Context
	r    io.Reader
	buf  *[windowSize]byte
	pos  int   // of the next byte in buf
	end  int   // of the bytes in buf
	base int64 // offset in the file of buf[0]
	err  error // why no more can be read; io.EOF at the end
}

func newSource(ctx context.Context, r io.Reader, base int64) *source {
	return &source{ctx: ctx, r: r, buf: windows.Get().(*[windowSize]byte), base: base}
}

// release gives the window back. The source is not used after it.
func (s *source) release() {
	windows.Put(s.buf)
	s.buf = nil
}

// offset returns the offset of the next byte in the file.
func (s *source) offset() int64 { return s.base + int64(s.pos) }

// window returns at least n bytes that come next, without taking them; fewer
// only when the stream ends or fails before. n is at most windowSize.
func (s *source) window(n int) []byte {
	if s.end-s.pos < n {
		s.fill(n)
	}
	return s.buf[s.pos:s.end]
}

func (s *source) fill(n int) {
	if s.pos > 0 {
		copy(s.buf[:], s.buf[s.pos:s.end])
		s.base += int64(s.pos)
		s.end -= s.pos
		s.pos = 0
	}
	for s.end < n && s.err == nil {
		s.read()
	}
}

// maxEmptyReads bounds the reads that bring nothing and no error.
const maxEmptyReads = 100

// read appends one read to the window, which has room.
func (s *source) read() {
	if s.err = s.ctx.Err(); s.err != nil {
		return
	}
	for range maxEmptyReads {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// take passes over n bytes that [source.window] has shown.
func (s *source) take(n int) { s.pos += n }

// skip passes over n bytes and reports whether they were there.
func (s *source) skip(n int64) bool {
	for {
		have := int64(s.end - s.pos)
		if n <= have {
			s.pos += int(n)
			return true
		}
		n -= have
		s.base += int64(s.end)
		s.pos, s.end = 0, 0
		if s.err == nil {
			s.read()
		}
		if s.end == 0 && s.err != nil {
			return false
		}
	}
}

// drain passes over everything to the end and returns how much that was.
func (s *source) drain() (int64, error) {
	start := s.offset()
	for {
		s.base += int64(s.end)
		s.pos, s.end = 0, 0
		if s.err != nil {
			break
		}
		s.read()
	}
	if s.err != io.EOF {
		return 0, s.failure()
	}
	return s.offset() - start, nil
}

// failure explains why the stream gave no more bytes before its end. It must
// not be called when the end itself is the reason.
func (s *source) failure() error {
	var limited *inflateLimit
	switch {
	case errors.As(s.err, &limited):
		return fault.New(fault.TooLarge, "the deflated data set grows beyond %d MiB; store it uncompressed", limited.bytes>>20)
	case errors.Is(s.err, errDeflate):
		return fault.New(fault.Invalid, "the deflated data set is damaged; send it again")
	}
	return fmt.Errorf("reading the file: %w", s.err)
}

// Read implements io.Reader for the inflater.
func (s *source) Read(p []byte) (int, error) {
	if s.pos == s.end {
		s.fill(1)
		if s.pos == s.end {
			return 0, s.err
		}
	}
	n := copy(p, s.buf[s.pos:s.end])
	s.pos += n
	return n, nil
}

// ReadByte implements io.ByteReader, so that the inflater takes no byte beyond its stream.
func (s *source) ReadByte() (byte, error) {
	if s.pos == s.end {
		s.fill(1)
		if s.pos == s.end {
			return 0, s.err
		}
	}
	b := s.buf[s.pos]
	s.pos++
	return b, nil
}
