package node

import (
	"context"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// TestTidy: who asks has memory collected, however many ask, and it ends with its context.
func TestTidy(t *testing.T) {
	collections := func() int64 {
		var s debug.GCStats
		debug.ReadGCStats(&s)
		return s.NumGC
	}
	ctx, cancel := context.WithCancel(t.Context())
	y := newTidy()
	before := collections()
	for range 10 {
		y.ask() // nobody waits
	}
	var wg sync.WaitGroup
	wg.Go(func() { y.run(ctx) })
	for end := time.Now().Add(10 * time.Second); collections() < before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was collected")
		}
	}
	cancel()
	wg.Wait()
}
