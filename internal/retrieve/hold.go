package retrieve

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	// answerHeld is about what an answer holds in memory ahead of being sent, in bytes,
	// but for one place: at 50 ms a request that is 300 MB a second. More is not faster.
	answerHeld = 16 << 20
	// maxHeld bounds what all answers of the process hold together.
	maxHeld = 128 << 20
)

// holding holds in memory what comes next of one answer.
type holding struct {
	r    *Reader
	room *room
	held atomic.Int64
}

// far implements [bringer].
func (h *holding) far(ctx context.Context, object string) bool { return h.r.o.Far(ctx, object) }

// most implements [bringer].
func (h *holding) most() int64 { return min(answerHeld, h.room.most(h.held.Load())) }

// begins implements [bringer]. Where there is no memory, the bodies are read when they are sent.
func (h *holding) begins(ctx context.Context, wg *sync.WaitGroup, at archive.Location, bodies []*Body) {
	n := memoryOf(at.Length)
	if !h.room.take(n, h.held.Load()) {
		return
	}
	h.held.Add(n)
	ctx, cancel := context.WithCancel(ctx)
	s := &span{at: at, cancel: cancel, users: len(bodies), free: func() {
		h.held.Add(-n)
		h.room.give(n)
	}}
	for _, b := range bodies {
		b.near = s
		s.behind = max(0, b.from.Offset+b.from.Length-at.Offset-at.Length) // of one that is larger than a place
	}
	wg.Go(func() { s.fill(ctx, h.r.o.Objects) })
}

// room is memory that answers share. One takes no more than it leaves to the
// others: however many stand still with what they hold, there is some for the next.
type room struct {
	mu   sync.Mutex
	left int64
}

func newRoom(n int64) *room { return &room{left: n} }

// most is how much may be held by who holds that much.
func (r *room) most(held int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return held + max(0, (r.left-held)/2)
}

// take takes n bytes for who holds that much already, if there is room.
func (r *room) take(n, held int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held+n > r.left-n {
		return false
	}
	r.left -= n
	return true
}

func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
}

// nearKey is where a context has the span that a body is made of.
type nearKey struct{}

// within returns a context whose reads are served by what is held for the body.
func (b *Body) within(ctx context.Context) context.Context {
	if b.near == nil {
		return ctx
	}
	return context.WithValue(ctx, nearKey{}, b.near)
}

// nearOf returns the span that reads of the context are served by; nil if there is none.
func nearOf(ctx context.Context) *span {
	s, _ := ctx.Value(nearKey{}).(*span)
	return s
}

// letGo gives up what is held for a body.
func (b *Body) letGo() {
	if b == nil {
		return
	}
	b.near.release()
	b.near = nil
}
