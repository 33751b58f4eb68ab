package pack

import (
	"io"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/storage/driver"
)

// spill writes the chunks of a pack, and hashes them, in a goroutine of its
// own: a large store then seals its next bytes while the last ones go out.
type spill struct {
	w      driver.Writer
	hash   *blake3.Hasher
	budget *Budget
	todo   chan piece
	done   chan struct{}
	err    atomic.Pointer[error]
}

// piece is a chunk on its way out.
type piece struct {
	chunk    *[chunkSize]byte
	n        int
	budgeted bool
}

// newSpill starts the goroutine; close ends it.
func newSpill(w driver.Writer, budget *Budget) *spill {
	// Two chunks may wait, so one is filled, two wait and one is written.
	s := &spill{w: w, hash: blake3.New(), budget: budget, todo: make(chan piece, 2), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spill) run() {
	defer close(s.done)
	for p := range s.todo {
		if s.failed() == nil {
			s.hash.Write(p.chunk[:p.n])
			if err := writeAll(s.w, p.chunk[:p.n]); err != nil {
				s.err.CompareAndSwap(nil, &err)
			}
		}
		chunks.Put(p.chunk)
		if p.budgeted {
			s.budget.release(1)
		}
	}
}

// failed returns the first error of the store so far.
func (s *spill) failed() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// abandon keeps what waits from being written.
func (s *spill) abandon() { s.err.CompareAndSwap(nil, &errFinished) }

// close waits until everything has been written, or has failed.
func (s *spill) close() error {
	close(s.todo)
	<-s.done
	return s.failed()
}

func writeAll(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
