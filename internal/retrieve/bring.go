package retrieve

import (
	"context"
	"iter"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	// maxComing is how many requests an answer has under way, or read and not yet
	// sent, and maxBodies how many bodies they bring.
	maxComing = 96
	maxBodies = 4096
	// gatherBytes is the most that one request fetches of several bodies: enough to be worth
	// one, little enough that what is needed first does not share the line with much else.
	gatherBytes = 2 << 20
	// gapBytes is how far two places may lie apart that are fetched by one request.
	gapBytes = 64 << 10
)

// bringer brings near what comes next of an answer: into the read cache
// ([warming]) or, without one, into memory ([holding]).
type bringer interface {
	// far reports whether what lies in the object has to be brought near.
	far(ctx context.Context, object string) bool
	// most is how many bytes may be on their way, or near and not yet sent, by now.
	most() int64
	// begins begins to fetch a place that the bodies are made of. wg waits for
	// it; it ends with ctx.
	begins(ctx context.Context, wg *sync.WaitGroup, at archive.Location, bodies []*Body)
}

// newBringer returns what brings near the parts of one answer; nil: all is near.
func (r *Reader) newBringer() bringer {
	switch {
	case r.warming != nil:
		return r.warming
	case r.o.Far != nil:
		return &holding{r: r, room: r.o.Shares.held}
	}
	return nil
}

// extend makes one place of two, where the second follows right behind the first, or
// nearly, and both are not too much for one fetch.
func extend(a *archive.Location, b archive.Location) bool {
	if a.Object != b.Object || b.Offset < a.Offset || b.Offset-a.Offset > a.Length+gapBytes || b.Offset+b.Length-a.Offset > gatherBytes {
		return false
	}
	a.Length = max(a.Length, b.Offset+b.Length-a.Offset)
	return true
}

// brought yields what next does, in order, while what comes next is brought near:
// neighbours by one request, as many at once as the window holds. The fetches end with
// ctx, and wg waits for them.
func brought[T any](ctx context.Context, wg *sync.WaitGroup, next iter.Seq2[T, error], body func(T) *Body) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		a := &bringing[T]{ctx: ctx, wg: wg, yield: yield}
		defer a.end()
		for item, err := range next {
			x := coming[T]{item: item, err: err}
			if err == nil {
				x.body = body(item)
			}
			at := a.place(x.body)
			if x.size = at.Length; x.size > 0 {
				// There is room for several again, so that neighbours gather.
				if most := a.to.most(); a.requests >= maxComing || a.bytes+x.size > most {
					if !a.give(maxComing-8, most-gatherBytes) {
						return
					}
				}
				x.asks = a.add(x.body, at)
			}
			a.push(x)
			// What is near does not wait.
			if (a.bytes == 0 || len(a.queue) >= maxBodies) && !a.rest() {
				return
			}
		}
		a.rest()
	}
}

// bringing is a sequence whose next bodies are being brought near.
type bringing[T any] struct {
	ctx   context.Context
	wg    *sync.WaitGroup
	yield func(T, error) bool
	queue []coming[T]
	// Of the queue: bytes, and requests.
	bytes    int64
	requests int
	to       bringer
	last     string // the object that was looked at last, and whether it is far
	far      bool
	// What is to be fetched next, and who is made of it: it may grow.
	next   archive.Location
	bodies []*Body
}

type coming[T any] struct {
	item T
	err  error
	body *Body
	size int64 // of what is brought near for it, in bytes
	asks int   // requests: none if its neighbour's brings it
}

// place is what is to be brought near for the body; nothing if that is near, or there is none.
func (a *bringing[T]) place(b *Body) archive.Location {
	if b == nil || b.reader == nil || b.from.Length <= 0 {
		return archive.Location{}
	}
	if a.to == nil {
		if a.to = b.reader.newBringer(); a.to == nil {
			return archive.Location{}
		}
	}
	if b.from.Object != a.last {
		a.last, a.far = b.from.Object, a.to.far(a.ctx, b.from.Object)
	}
	if !a.far {
		return archive.Location{}
	}
	at := b.from
	at.Length = min(at.Length, warmSpan)
	return at
}

// add has a place fetched that the body is made of, now or with those of its
// neighbours, and returns how many requests it takes more.
func (a *bringing[T]) add(b *Body, at archive.Location) (requests int) {
	if len(a.bodies) == 0 || !extend(&a.next, at) {
		a.send()
		a.next, requests = at, 1
	}
	a.bodies = append(a.bodies, b)
	return requests
}

func (a *bringing[T]) push(x coming[T]) {
	a.queue, a.bytes, a.requests = append(a.queue, x), a.bytes+x.size, a.requests+x.asks
}

// send has what has gathered fetched.
func (a *bringing[T]) send() {
	if len(a.bodies) > 0 {
		a.to.begins(a.ctx, a.wg, a.next, a.bodies)
	}
	a.next, a.bodies = archive.Location{}, nil
}

// give yields the first of the queue until there are no more requests and bytes than
// that. What still gathers is fetched when it comes to be yielded.
func (a *bringing[T]) give(requests int, bytes int64) bool {
	for len(a.queue) > 0 && (a.requests > requests || a.bytes > bytes) {
		if !a.first() {
			return false
		}
	}
	return true
}

// rest yields the whole queue.
func (a *bringing[T]) rest() bool {
	a.send()
	for len(a.queue) > 0 {
		if !a.first() {
			return false
		}
	}
	return true
}

func (a *bringing[T]) first() bool {
	x := a.queue[0]
	a.queue, a.bytes, a.requests = a.queue[1:], a.bytes-x.size, a.requests-x.asks
	if len(a.bodies) > 0 && a.bodies[0] == x.body {
		a.send()
	}
	return a.yield(x.item, x.err)
}

// end gives up what nobody will be given.
func (a *bringing[T]) end() {
	for _, x := range a.queue {
		x.body.letGo()
	}
}
