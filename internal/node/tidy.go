package node

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// tidy gives memory back to the system after an archive was closed. Keys and
// patients' data that the collector finds unused would otherwise lie in the heap
// until something else is put there. Whoever asks while it is at work has it done once more.
type tidy struct{ asked chan struct{} }

func newTidy() tidy { return tidy{make(chan struct{}, 1)} }

func (t tidy) ask() {
	select {
	case t.asked <- struct{}{}:
	default:
	}
}

// run does what was asked for until ctx ends, now and then: it stops nobody, but
// costs what two collections do. It is done twice, for what ends a little later.
func (t tidy) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.asked:
		}
		for range 2 {
			runtime.GC() // pools let go of what they hold at the second collection
			debug.FreeOSMemory()
			select {
			case <-ctx.Done():
				return
			case <-time.After(tidyEvery):
			}
		}
	}
}

const tidyEvery = 3 * time.Second
