package transcode

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Pipeline transcodes frames several at a time and in order. What is read and
// not yet written is bounded by Ahead frames and by Memory, which pipelines
// share.
type Pipeline struct {
	Frames int
	Ahead  int // frames in flight, at least 1
	// Memory is taken from while a frame is in flight, Weight bytes for each;
	// of a pipeline that has none in flight one waits for it, so that pipelines
	// that wait for each other's memory all go on in the end.
	Memory *semaphore.Weighted
	Weight int64

	// Read returns the stored bits of frame i; Write takes it transcoded. Both
	// are called in order, by the goroutine of Run.
	Read  func(i int) ([]byte, error)
	Work  func(ctx context.Context, bits []byte) (Frame, error)
	Write func(i int, f Frame) error
}

// worked is a frame on its way.
type worked struct {
	frame Frame
	err   error
}

// Run transcodes all frames. It returns the first error of any part, in the
// order of the frames; everything it began has ended by then.
func (p *Pipeline) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var queue []chan worked // of frames in flight, the oldest first
	defer func() {
		cancel()
		wg.Wait()
		p.Memory.Release(p.Weight * int64(len(queue)))
	}()
	for read, written := 0, 0; written < p.Frames; {
		for read < p.Frames && len(queue) < max(p.Ahead, 1) {
			if len(queue) > 0 {
				if !p.Memory.TryAcquire(p.Weight) {
					break
				}
			} else if err := p.Memory.Acquire(ctx, p.Weight); err != nil {
				return err
			}
			done := make(chan worked, 1)
			queue = append(queue, done)
			bits, err := p.Read(read)
			if err != nil {
				// Frames before it are as good as they are.
				done <- worked{err: err}
				read = p.Frames
				break
			}
			read++
			wg.Go(func() {
				f, err := p.Work(ctx, bits)
				done <- worked{f, err}
			})
		}
		w := <-queue[0]
		if w.err != nil {
			return w.err
		}
		if err := p.Write(written, w.frame); err != nil {
			return err
		}
		written++
		queue = queue[1:]
		p.Memory.Release(p.Weight)
	}
	return nil
}
