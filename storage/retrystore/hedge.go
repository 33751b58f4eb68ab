package retrystore

import (
	"slices"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

const (
	hedgeSamples = 128                   // first bytes that are remembered
	hedgeEnough  = 20                    // before so many are known nothing is hedged
	hedgeLeast   = 50 * time.Millisecond // nothing sooner than this is late
	hedgeShare   = 0.05                  // of all reads may be hedged
	hedgeSaved   = 10                    // hedges that may be saved up for a bad moment
)

// hedge knows when a first byte is late. The zero value is ready.
type hedge struct {
	mu     sync.Mutex
	recent [hedgeSamples]time.Duration
	n      int // ever recorded
	saved  float64
	late   time.Duration // 0 while too little is known
}

// begin counts a read and returns after how long it is late, 0 for never.
func (h *hedge) begin() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved = min(h.saved+hedgeShare, hedgeSaved)
	return h.late
}

// allow takes one hedge of those saved up.
func (h *hedge) allow() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.saved < 1 {
		return false
	}
	h.saved--
	return true
}

// record remembers how long a first byte took.
func (h *hedge) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent[h.n%hedgeSamples] = d
	h.n++
	if h.n < hedgeEnough || h.late > 0 && h.n%8 != 0 {
		return
	}
	known := slices.Clone(h.recent[:min(h.n, hedgeSamples)])
	slices.Sort(known)
	h.late = max(hedgeLeast, known[len(known)*95/100])
}

// start opens in a goroutine; done says that it has ended.
func (r *reader) start() *opening {
	o := r.s.opening(r.ctx)
	key, off, n := r.key, r.off, r.n
	go func() {
		defer close(o.done)
		o.open(key, off, n)
	}()
	return o
}

// openHedged opens the range, a second time too if it is late, and returns what
// opened first.
func (r *reader) openHedged() (*opening, error) {
	began := r.s.o.Now()
	late := r.s.hedge.begin()
	if late <= 0 {
		o, err := r.openPlain()
		if err == nil {
			r.s.hedge.record(r.s.o.Now().Sub(began))
		}
		return o, err
	}
	first := r.start()
	isLate := make(chan struct{})
	stop := r.s.o.AfterFunc(late, func() { close(isLate) })
	won := first
	select {
	case <-first.done:
	case <-isLate:
		if r.s.hedge.allow() {
			won = r.race(first, r.start())
		}
		<-won.done
	}
	stop()
	if won.err != nil {
		won.close()
		return nil, won.err
	}
	r.s.hedge.record(r.s.o.Now().Sub(began))
	return won, nil
}

// race returns the one that opened, or failed for good, first. The other is
// cancelled, and closed when it has ended.
func (r *reader) race(a, b *opening) *opening {
	won, lost := a, b
	select {
	case <-a.done:
	case <-b.done:
		won, lost = b, a
	}
	if fault.Is(won.err, fault.Unavailable) {
		<-lost.done
		if lost.err == nil {
			won, lost = lost, won
		}
	}
	lost.w.end()
	ended := &opening{done: make(chan struct{})}
	go func() {
		defer close(ended.done)
		<-lost.done
		_ = lost.close()
	}()
	r.losers = append(r.losers, ended)
	return won
}
