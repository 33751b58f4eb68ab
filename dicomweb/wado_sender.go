package dicomweb

import (
	"io"
	"sync"
	"sync/atomic"
)

// Buffers of a sender: each has room for the head of a part and for segments of
// a blob, and is large enough that system calls cost little; there are as many
// as let both cores work.
const (
	sendSegment = 64 << 10
	sendBuffer  = 4*sendSegment + 4<<10
	sendBuffers = 4
)

var sendPool = sync.Pool{New: func() any { return new([sendBuffer]byte) }}

// sender writes in a goroutine of its own what has been written to it, so that
// its user makes the next bytes meanwhile. It is a [retrieve.Filler].
type sender struct {
	begin func() // called once, before anything is sent
	begun bool
	cur   *[sendBuffer]byte
	n     int
	free  chan *[sendBuffer]byte
	full  chan filled
	done  chan struct{}
	// failed says that err is set, which is the goroutine's until then.
	failed atomic.Bool
	err    error
}

type filled struct {
	buf *[sendBuffer]byte
	n   int
}

func newSender(w io.Writer, begin func()) *sender {
	s := &sender{begin: begin, free: make(chan *[sendBuffer]byte, sendBuffers), full: make(chan filled, sendBuffers), done: make(chan struct{})}
	for range sendBuffers {
		s.free <- nil // made when first needed
	}
	go func() {
		defer close(s.done)
		for f := range s.full {
			if s.err == nil {
				if _, s.err = w.Write(f.buf[:f.n]); s.err != nil {
					s.failed.Store(true)
				}
			}
			s.free <- f.buf
		}
	}()
	return s
}

// room returns the rest of the current buffer, which has at least n bytes.
func (s *sender) room(n int) ([]byte, error) {
	if s.failed.Load() {
		return nil, s.err
	}
	if s.cur != nil && sendBuffer-s.n < n {
		s.flush()
	}
	if s.cur == nil {
		if s.cur = <-s.free; s.cur == nil {
			s.cur = sendPool.Get().(*[sendBuffer]byte)
		}
	}
	return s.cur[s.n:], nil
}

func (s *sender) flush() {
	if !s.begun {
		s.begun = true
		s.begin()
	}
	s.full <- filled{s.cur, s.n}
	s.cur, s.n = nil, 0
}

func (s *sender) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		room, err := s.room(1)
		if err != nil {
			return n - len(p), err
		}
		k := copy(room, p)
		p, s.n = p[k:], s.n+k
	}
	return n, nil
}

// FillFrom writes all of r, which reads right into the buffers.
func (s *sender) FillFrom(r io.Reader) (int64, error) {
	var done int64
	for {
		room, err := s.room(sendSegment)
		if err != nil {
			return done, err
		}
		n, err := r.Read(room)
		s.n += n
		done += int64(n)
		if err == io.EOF {
			return done, nil
		} else if err != nil {
			return done, err
		}
	}
}

func (s *sender) head(p []byte) error {
	_, err := s.Write(p)
	return err
}

// close sends what is left, unless something went wrong, and waits for the
// goroutine: the answer is not written to afterwards.
func (s *sender) close(err error) error {
	if err == nil && s.cur != nil {
		s.flush()
	}
	close(s.full)
	<-s.done
	if s.cur != nil {
		sendPool.Put(s.cur)
	}
	for len(s.free) > 0 {
		if b := <-s.free; b != nil {
			sendPool.Put(b)
		}
	}
	if err == nil {
		err = s.err
	}
	return err
}
