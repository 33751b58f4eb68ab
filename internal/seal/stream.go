package seal

import (
	"context"
	"io"
)

const (
	// pieceBits is log2 of how much is read, opened and written at a time: enough
	// to make system calls cheap, little enough to stay in a core's cache.
	pieceBits = 18
	// pipelineFrom is the length of range in bytes from which reading and writing overlap.
	pipelineFrom = 4 << 20
)

// stream opens the segments of one range in order.
type stream struct {
	s     sealer // a copy: the nonce is the stream's own
	src   Source
	body  io.ReadCloser
	bits  uint8
	size  int64 // of the whole plaintext
	seg   int64 // next segment
	end   int64 // one past the last segment of the range
	skip  int   // bytes of the first segment before the range
	left  int64 // bytes of the range not yet returned
	head  bool  // the header is still to be read and compared
	class uint8 // of the buffers
	in    *[]byte
	out   *[]byte
	rest  []byte // opened, not yet read
	err   error
}

// stream plans a range that lies within the plaintext.
func (r *Reader) stream(off, n, size int64) *stream {
	st := &stream{s: r.s, src: r.src, bits: r.bits, size: size, left: n, class: r.bits}
	st.seg = off >> r.bits
	st.end = max(st.seg+1, (off+n+int64(1)<<r.bits-1)>>r.bits)
	st.skip = int(off - st.seg<<r.bits)
	st.head = st.seg == 0
	if st.end-st.seg > 1 {
		st.class = max(r.bits, pieceBits)
	}
	return st
}

// open asks the source for all of the range at once.
func (st *stream) open(ctx context.Context) error {
	from, n := Span(st.size, st.bits, st.seg<<st.bits, (st.end-st.seg)<<st.bits)
	body, err := st.src.ReadRange(ctx, from, n)
	if err != nil {
		return source(err)
	}
	st.body, st.in, st.out = body, take(st.class), take(st.class)
	return nil
}

// Close releases what the stream holds. It may be called again.
func (st *stream) Close() error {
	for _, b := range []**[]byte{&st.in, &st.out} {
		if *b != nil {
			give(st.class, *b)
			*b = nil
		}
	}
	st.rest, st.err = nil, io.ErrClosedPipe
	if st.body == nil {
		return nil
	}
	body := st.body
	st.body = nil
	return body.Close()
}

// next returns the next bytes of the range, valid until the call after, and
// io.EOF when there are no more.
func (st *stream) next() ([]byte, error) {
	if st.body == nil {
		return nil, io.EOF
	}
	return st.fill(*st.out)
}

// fill reads and opens as many segments as fit, into out.
func (st *stream) fill(out []byte) ([]byte, error) {
	in := *st.in
	full := 1<<st.bits + TagSize
	n := min(int64((len(in)-HeaderSize)/full), int64(len(out)>>st.bits), st.end-st.seg)
	if n <= 0 {
		return nil, io.EOF
	}
	in = in[:min((st.seg+n)<<st.bits, st.size)-st.seg<<st.bits+n*TagSize]
	if st.head {
		in = (*st.in)[:HeaderSize+len(in)]
	}
	if _, err := io.ReadFull(st.body, in); err != nil {
		return nil, source(err)
	}
	if st.head {
		if [HeaderSize]byte(in) != st.s.header {
			return nil, st.wrongHeader(in)
		}
		in, st.head = in[HeaderSize:], false
	}
	p := out[:0]
	for ; n > 0; n-- {
		m := min(full, len(in))
		last := (st.seg+1)<<st.bits >= st.size
		var err error
		if p, err = st.s.aead.Open(p, st.s.at(st.seg, last), in[:m], st.s.header[:]); err != nil {
			return nil, corrupt(ErrSegment)
		}
		in = in[m:]
		st.seg++
	}
	p = p[st.skip:]
	st.skip = 0
	if int64(len(p)) > st.left {
		p = p[:st.left]
	}
	st.left -= int64(len(p))
	return p, nil
}

// wrongHeader says in what the header differs from the expected one.
func (st *stream) wrongHeader(b []byte) error {
	h, err := ParseHeader(b)
	if err != nil {
		return err
	}
	if [HeaderSize - 32]byte(b) == [HeaderSize - 32]byte(st.s.header[:]) && !st.s.committed(&h) {
		return corrupt(ErrCommitment)
	}
	return corrupt(ErrHeader)
}

// Read implements io.Reader. Whole segments are opened right into a p that has
// room for them.
func (st *stream) Read(p []byte) (int, error) {
	for len(st.rest) == 0 {
		if st.err != nil {
			return 0, st.err
		}
		if len(p) >= 1<<st.bits && st.skip == 0 && st.body != nil {
			var q []byte
			q, st.err = st.fill(p[:len(p):len(p)])
			return len(q), st.err
		}
		st.rest, st.err = st.next()
	}
	n := copy(p, st.rest)
	st.rest = st.rest[n:]
	return n, nil
}

// pipeline writes the range to w while a goroutine reads and opens the next
// piece. It returns when the goroutine has ended; cancel ends its reading.
func (st *stream) pipeline(ctx context.Context, cancel context.CancelFunc, w io.Writer) (int64, error) {
	type piece struct {
		buf *[]byte
		p   []byte
		err error
	}
	second := take(st.class)
	defer give(st.class, second)
	free, full := make(chan *[]byte, 2), make(chan piece)
	free <- st.out
	free <- second
	go func() {
		defer close(full)
		for buf := range free {
			p, err := st.fill(*buf)
			select {
			case full <- piece{buf, p, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	// The buffers go back to the pool only when the goroutine is gone.
	defer func() {
		cancel()
		close(free)
		for range full {
		}
	}()
	var done int64
	for x := range full {
		if x.err == io.EOF {
			return done, nil
		} else if x.err != nil {
			return done, x.err
		}
		n, err := w.Write(x.p)
		done += int64(n)
		if err != nil {
			return done, err
		}
		free <- x.buf
	}
	return done, context.Cause(ctx)
}
