package transcode

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"
)

// TestPipelineOrder: frames that take turns at being slow come in order, as
// many in flight as allowed and no more.
func TestPipelineOrder(t *testing.T) {
	for _, ahead := range []int{1, 2, 5, 100} {
		const frames = 40
		var written []int
		var inFlight, most atomic.Int64
		memory := semaphore.NewWeighted(1000)
		gates := make([]chan struct{}, frames)
		for i := range gates {
			gates[i] = make(chan struct{})
		}
		p := Pipeline{Frames: frames, Ahead: ahead, Memory: memory, Weight: 10,
			Read: func(i int) ([]byte, error) {
				most.Store(max(most.Load(), inFlight.Add(1)))
				if i%2 == 1 {
					close(gates[i-1]) // the one before waits for this one to be read where it may
				}
				return []byte{byte(i)}, nil
			},
			Work: func(_ context.Context, b []byte) (Frame, error) {
				if ahead > 1 && b[0]%2 == 0 {
					<-gates[b[0]]
				}
				return Frame{Bits: b}, nil
			},
			Write: func(i int, f Frame) error {
				inFlight.Add(-1)
				if int(f.Bits[0]) != i {
					t.Errorf("frame %d in place of %d", f.Bits[0], i)
				}
				written = append(written, i)
				return nil
			},
		}
		if err := p.Run(ctx); err != nil || len(written) != frames {
			t.Errorf("%d ahead: %d frames, %v", ahead, len(written), err)
		}
		if n := int(most.Load()); n > ahead || n < min(ahead, 2) {
			t.Errorf("%d in flight with %d allowed", n, ahead)
		}
		if !memory.TryAcquire(1000) {
			t.Error("memory was not given back")
		}
	}
}

var errTest = errors.New("test")

// TestPipelineErrors: whatever fails ends everything, with nothing left
// running and all memory given back, and frames before it are written.
func TestPipelineErrors(t *testing.T) {
	for _, c := range []struct {
		name              string
		read, work, write int // the frame that fails; -1 none
		written           int
	}{
		{"none", -1, -1, -1, 8}, {"read first", 0, -1, -1, 0}, {"read", 3, -1, -1, 3}, {"work", -1, 4, -1, 4}, {"write", -1, -1, 2, 2}, {"read and work", 5, 4, -1, 4},
	} {
		memory := semaphore.NewWeighted(35)
		var running sync.WaitGroup
		written := 0
		p := Pipeline{Frames: 8, Ahead: 4, Memory: memory, Weight: 10,
			Read: func(i int) ([]byte, error) {
				if i == c.read {
					return nil, errTest
				}
				running.Add(1)
				return []byte{byte(i)}, nil
			},
			Work: func(_ context.Context, b []byte) (Frame, error) {
				defer running.Done()
				if int(b[0]) == c.work {
					return Frame{}, errTest
				}
				return Frame{Bits: b}, nil
			},
			Write: func(i int, _ Frame) error {
				if i == c.write {
					return errTest
				}
				written++
				return nil
			}}
		err := p.Run(ctx)
		if (err != nil) != (c.name != "none") || err != nil && !errors.Is(err, errTest) || written != c.written {
			t.Errorf("%s: %d written, %v", c.name, written, err)
		}
		running.Wait() // a leak would have been seen to run on
		if !memory.TryAcquire(35) {
			t.Errorf("%s: memory was not given back", c.name)
		}
	}
}

// TestPipelineCancel: a pipeline that is given up ends, whether it waits for
// memory or for a frame.
func TestPipelineCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, free := range []int64{0, 100} {
			ctx, cancel := context.WithCancel(ctx)
			memory := semaphore.NewWeighted(100)
			_ = memory.TryAcquire(100 - free)
			p := Pipeline{Frames: 8, Ahead: 4, Memory: memory, Weight: 10,
				Read: func(int) ([]byte, error) { return nil, nil },
				Work: func(ctx context.Context, _ []byte) (Frame, error) {
					<-ctx.Done()
					return Frame{}, ctx.Err()
				},
				Write: func(int, Frame) error { return nil }}
			ended := make(chan error)
			go func() { ended <- p.Run(ctx) }()
			synctest.Wait()
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if free > 0 && !memory.TryAcquire(free) {
				t.Error("memory was not given back")
			}
		}
	})
}

// TestPipelinesShare: many pipelines and memory for few frames; all go on.
func TestPipelinesShare(t *testing.T) {
	memory := semaphore.NewWeighted(25)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := Pipeline{Frames: 50, Ahead: 4, Memory: memory, Weight: 10,
				Read: func(int) ([]byte, error) { return nil, nil },
				Work: func(context.Context, []byte) (Frame, error) {
					runtime.Gosched()
					return Frame{}, nil
				},
				Write: func(int, Frame) error { return nil }}
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !memory.TryAcquire(25) {
		t.Error("memory was not given back")
	}
}
