package retrieve

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/fault"
)

// ready is a body prepared: what writes it and the memory that takes until it
// is written, or why there is nothing to write.
type ready struct {
	write  writer
	err    error
	memory memory
}

// Ahead yields what next does, in order, with the work of the bodies that come
// next begun already where they are made and not only read: the pixels of an
// instance are transcoded while those before it are sent. A body is yielded
// when its own preparation has ended. Memory is bounded; where there is none a
// body is prepared when it is written. What lies far away is fetched ahead, see
// brought. Whatever was begun has ended when the iteration ends.
func Ahead[T any](ctx context.Context, next iter.Seq2[T, error], body func(T) *Body) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var queue []preparing[T]
		defer func() {
			cancel()
			wg.Wait()
			for _, p := range queue {
				p.drop()
			}
		}()
		// first yields the oldest and reports whether to go on.
		first := func() bool {
			p := queue[0]
			if p.done != nil {
				<-p.done
			}
			queue = queue[1:]
			defer p.drop() // who was yielded it may not have written it
			return yield(p.item, p.err)
		}
		for item, err := range brought(ctx, &wg, next, body) {
			p := preparing[T]{item: item, err: err}
			if err == nil {
				p.body = body(item)
			}
			if b := p.body; b != nil && b.prepare != nil {
				p.done = make(chan struct{})
				wg.Go(func() {
					defer close(p.done)
					b.prepareAhead(ctx)
				})
			}
			if queue = append(queue, p); len(queue) > runtime.GOMAXPROCS(0) && !first() {
				return
			}
		}
		for len(queue) > 0 {
			if !first() {
				return
			}
		}
	}
}

// preparing is an item whose body may be being prepared.
type preparing[T any] struct {
	item T
	err  error
	body *Body
	done chan struct{} // nil when nothing is being prepared
}

// drop gives back what a body that nobody will write has taken.
func (p *preparing[T]) drop() {
	if p.body != nil && p.body.ready != nil {
		p.body.ready.memory.release()
		p.body.ready = nil
	}
	p.body.letGo()
}

// prepareAhead prepares the body, if there is memory for it.
func (b *Body) prepareAhead(ctx context.Context) {
	made := &ready{memory: memory{of: b.reader.ahead, limit: memoryAhead}}
	made.write, made.err = b.prepare(b.within(ctx), &made.memory)
	if made.err != nil {
		made.memory.release()
	}
	if made.err != errNoMemory {
		b.ready = made
	}
}

// errNoMemory means that a body is not prepared ahead.
var errNoMemory = fault.New(fault.Busy, "too much is being transcoded at once; try again")

// memory is what a body takes of a budget while it is made and until it is sent.
type memory struct {
	of    *semaphore.Weighted
	limit int64 // there is, in bytes; who needs more takes all
	taken int64
	wait  bool // until there is enough; else errNoMemory
}

// take takes n bytes, once.
func (m *memory) take(ctx context.Context, n int64) error {
	n = min(n, m.limit)
	if !m.wait && !m.of.TryAcquire(n) {
		return errNoMemory
	}
	if m.wait {
		if err := m.of.Acquire(ctx, n); err != nil {
			return err
		}
	}
	m.taken = n
	return nil
}

func (m *memory) release() {
	m.of.Release(m.taken)
	m.taken = 0
}
