package cachestore

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
)

// windowBytes is how far ahead of a reader its blocks are fetched: at 200 ms a
// request that is 80 MB a second.
const windowBytes = 16 << 20

// reader reads a range by way of the folder.
type reader struct {
	c              *cache
	ctx            context.Context // of Open
	key            string
	tenant, object name
	pos, end       int64 // end is math.MaxInt64 where the caller named none
	toEnd          bool

	// Blocks below planned are in the folder or held, in order. The window
	// doubles where nobody knows how much there is.
	planned, window int64
	held            []*flight

	cur    *block
	curN   int64
	buf    *[]byte // holds a piece of the current block
	have   []byte  // what is left of it to be read
	again  bool    // a block was damaged already
	direct io.ReadCloser
	err    error
}

var pieces = sync.Pool{New: func() any { b := make([]byte, piece); return &b }}

func newReader(ctx context.Context, c *cache, key string, off, n int64) *reader {
	r := &reader{c: c, ctx: ctx, key: key, tenant: tenantOf(key), object: hash(key), pos: off, window: windowBytes / c.block}
	r.planned = off / c.block
	if r.toEnd = n < 0 || n > math.MaxInt64-off; r.toEnd {
		r.end, r.window = math.MaxInt64, 1
	} else {
		r.end = off + n
	}
	return r
}

// begin makes the first byte ready, or says why there is none.
func (r *reader) begin() error {
	if err := r.ready(); err != io.EOF {
		return err
	}
	r.err = io.EOF // the object ends where the range begins
	return nil
}

// plan holds the blocks of the window that begins with block n, a few at a time
// so that they share requests.
func (r *reader) plan(n int64) {
	to, batch := n+r.window, min(runBytes/r.c.block, r.window/2)
	if r.toEnd {
		r.window = min(2*r.window, windowBytes/r.c.block)
	} else if last := (r.end-1)/r.c.block + 1; to >= last {
		to, batch = last, 1
	}
	if to > r.planned && (n >= r.planned || to-r.planned >= batch) {
		r.held = append(r.held, r.c.hold(r.key, r.tenant, r.object, r.planned, to)...)
		r.planned = to
	}
}

// wait waits for a block that is held, and returns whether it is in the folder.
// known is false when it was not held.
func (r *reader) wait(n int64) (known, kept bool, err error) {
	if len(r.held) == 0 || r.held[0].id.n != n {
		return false, false, nil
	}
	f := r.held[0]
	select {
	case <-f.done:
	case <-r.ctx.Done():
		return true, false, r.ctx.Err()
	}
	r.held = r.held[1:]
	r.c.release(f)
	return true, f.kept, f.err
}

// ready has the block of pos open, or the store below. io.EOF says that there is
// no more to read.
func (r *reader) ready() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.pos >= r.end {
		return io.EOF
	}
	n := r.pos / r.c.block
	if r.direct != nil {
		return nil
	}
	if r.cur != nil && r.curN == n {
		return r.within(n)
	}
	r.leave()
	r.plan(n)
	for range 2 {
		held, kept, err := r.wait(n)
		if held && !kept && (err == nil || err == errEnd) {
			break
		}
		if err != nil {
			return err
		}
		there, touch := r.c.found(id{r.tenant, r.object, n})
		if there && r.open(n, touch) {
			if !held {
				r.c.hits.Add(1)
			}
			return r.within(n)
		}
		// It fell out, or is damaged.
		r.held = append(r.c.hold(r.key, r.tenant, r.object, n, n+1), r.held...)
	}
	return r.pass()
}

// open opens a block of the folder, or discards it.
func (r *reader) open(n int64, touch bool) bool {
	b := id{r.tenant, r.object, n}
	cur, err := r.c.openBlock(b)
	if err != nil {
		if errors.Is(err, errDamaged) {
			r.c.damaged.Add(1)
		}
		r.c.discard(b)
		return false
	}
	if touch {
		r.c.touch(b, r.c.o.Now())
	}
	r.cur, r.curN = cur, n
	return true
}

// within checks that the object goes on to pos, in the block n that is open.
// That it ends before a caller who named an end is left to the store below to
// say: a block that was cut short must not be believed for ever.
func (r *reader) within(n int64) error {
	left := n*r.c.block + r.cur.size - r.pos
	switch {
	case left > 0:
		return nil
	case left == 0 && r.toEnd:
		return io.EOF
	}
	r.c.discard(id{r.tenant, r.object, n})
	return r.pass()
}

// pass reads the rest from the store below.
func (r *reader) pass() error {
	r.leave()
	n := int64(-1)
	if !r.toEnd {
		n = r.end - r.pos
	}
	r.c.passed.Add(1)
	var err error
	r.direct, err = r.c.d.Open(r.ctx, r.key, r.pos, n)
	return err
}

// Read implements io.Reader. It gives out nothing that has not been checked.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		if r.err = r.ready(); r.err != nil {
			break
		}
		if r.direct != nil {
			n, err := r.direct.Read(p)
			r.pos, r.err = r.pos+int64(n), err
			return n, err
		}
		n, err := r.read(p)
		if err == nil {
			r.pos += int64(n)
			r.c.served.Add(int64(n))
			return n, nil
		}
		r.err = r.repair()
	}
	return 0, r.err
}

// repair has a block fetched again; the second time the store below is read.
func (r *reader) repair() error {
	r.c.damaged.Add(1)
	r.c.discard(id{r.tenant, r.object, r.curN})
	r.leave()
	if r.again {
		return r.pass()
	}
	r.again = true
	return nil
}

// read reads from the current block: whole pieces right into p where they fit.
func (r *reader) read(p []byte) (int, error) {
	at := r.pos - r.curN*r.c.block
	if len(r.have) == 0 {
		from, n := r.cur.pieceAt(at)
		if want := min(int64(len(p)), r.end-r.pos); from == at && want >= n {
			whole := want &^ (piece - 1)
			if rest := r.cur.size - from; want >= rest {
				whole = rest
			}
			return int(whole), r.cur.read(p[:whole], from)
		}
		if r.buf == nil {
			r.buf = pieces.Get().(*[]byte)
		}
		if err := r.cur.read((*r.buf)[:n], from); err != nil {
			return 0, err
		}
		r.have = (*r.buf)[at-from : n]
	}
	n := copy(p[:min(int64(len(p)), r.end-r.pos)], r.have)
	r.have = r.have[n:]
	return n, nil
}

// leave closes the current block.
func (r *reader) leave() {
	r.have = nil
	if r.cur != nil {
		r.cur.close()
		r.cur = nil
	}
}

// warm waits until all blocks were fetched, without reading them.
func (r *reader) warm() error {
	for n := r.pos / r.c.block; n*r.c.block < r.end; n++ {
		r.plan(n)
		known, kept, err := r.wait(n)
		if err != nil || known && !kept {
			return err
		}
	}
	return nil
}

// Close lets go of everything. Blocks that nobody else waits for are not fetched.
func (r *reader) Close() error {
	r.leave()
	if r.buf != nil {
		pieces.Put(r.buf)
		r.buf = nil
	}
	for _, f := range r.held {
		r.c.release(f)
	}
	r.held, r.err = nil, io.ErrClosedPipe
	if r.direct == nil {
		return nil
	}
	d := r.direct
	r.direct = nil
	return d.Close()
}
