package retrieve

import (
	"runtime"

	"golang.org/x/sync/semaphore"
)

// Shares are what the Readers of a process take from together, however many
// there are: cores, and memory of what is on its way. What they remember is bounded
// by Options.Together.
type Shares struct {
	// Memory of what is transcoded: in flight, and ahead of being sent; and bytes
	// that are fetched ahead.
	flight, ahead, warm *semaphore.Weighted
	held                *room               // of sealed bytes that answers hold ahead
	work                *semaphore.Weighted // frames that are transcoded at once
	reports             chan struct{}       // holds one for each report that is being read
	turns               chan *turn          // to render
}

// NewShares returns the shares of this machine.
func NewShares() *Shares {
	cores := runtime.GOMAXPROCS(0)
	s := &Shares{
		flight: semaphore.NewWeighted(memoryFlight), ahead: semaphore.NewWeighted(memoryAhead), warm: semaphore.NewWeighted(warmFlight), held: newRoom(maxHeld),
		work: semaphore.NewWeighted(4 * int64(cores)), reports: make(chan struct{}, 2), turns: make(chan *turn, cores),
	}
	for range cores {
		s.turns <- new(turn)
	}
	return s
}
