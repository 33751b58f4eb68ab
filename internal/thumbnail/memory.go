package thumbnail

import (
	"container/list"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/held"
)

// pictureKey is what a picture is of: a frame of a blob, in a size.
type pictureKey struct {
	blob          archive.BlobID
	frame         int32 // 0: what represents an instance of several frames
	width, height int16
}

type picture struct {
	name  pictureName
	study string // UID
	jpeg  []byte
}

// lru keeps what was used last, up to a weight.
type lru[K comparable, V any] struct {
	together *held.Budget
	mu       sync.Mutex
	max      int64
	used     int64
	items    map[K]*list.Element
	order    list.List // of *weighed[K, V], the latest first
}

type weighed[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](most int64) *lru[K, V] {
	return &lru[K, V]{max: most, items: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[k]
	if e == nil {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*weighed[K, V]).value, true
}

func (c *lru[K, V]) put(k K, v V, weight int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if weight > c.max {
		return
	}
	if e := c.items[k]; e != nil {
		c.drop(e)
	}
	for c.used+weight > c.max {
		c.drop(c.order.Back())
	}
	for !c.together.Take(weight) {
		if c.order.Len() == 0 {
			return
		}
		c.drop(c.order.Back())
	}
	c.items[k] = c.order.PushFront(&weighed[K, V]{k, v, weight})
	c.used += weight
}

// removeIf drops what a condition holds for.
func (c *lru[K, V]) removeIf(f func(V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		if f(e.Value.(*weighed[K, V]).value) {
			c.drop(e)
		}
		e = next
	}
}

func (c *lru[K, V]) drop(e *list.Element) {
	w := c.order.Remove(e).(*weighed[K, V])
	delete(c.items, w.key)
	c.used -= w.weight
	c.together.Give(w.weight)
}

func (c *lru[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}

// memory holds pictures. Those it lets go of may still be on their way to a
// client and are left to the garbage collector.
type memory struct{ lru *lru[pictureKey, *picture] }

func newMemory(bytes int64, together *held.Budget) *memory {
	m := &memory{newLRU[pictureKey, *picture](bytes)}
	m.lru.together = together
	return m
}

func (c *memory) get(k pictureKey) *picture {
	p, _ := c.lru.get(k)
	return p
}

func (c *memory) put(k pictureKey, p *picture) {
	const perItem = 300 // what the cache itself needs
	c.lru.put(k, p, int64(cap(p.jpeg))+perItem)
}

// forget drops the pictures of a study.
func (c *memory) forget(study string) {
	c.lru.removeIf(func(p *picture) bool { return p.study == study })
}

func (c *memory) wipe() { c.lru.clear() }

// refusals remembers what cannot be drawn, so that nobody tries it again and
// again. It forgets after a while, each time a longer one: not every reason lasts.
type refusals struct {
	lru *lru[pictureKey, refusal]
	now func() time.Time
}

type refusal struct {
	err   error
	until time.Time
	lasts time.Duration
}

const (
	maxRefusals    = 4096
	shortRefusal   = 30 * time.Second
	longestRefusal = time.Hour
)

func newRefusals(now func() time.Time) *refusals {
	return &refusals{newLRU[pictureKey, refusal](maxRefusals), now}
}

// of returns why the frame of the blob cannot be drawn, or nil.
func (r *refusals) of(k pictureKey) error {
	k.width, k.height = 0, 0 // no size helps
	if f, ok := r.lru.get(k); ok && r.now().Before(f.until) {
		return f.err
	}
	return nil
}

func (r *refusals) put(k pictureKey, err error) {
	k.width, k.height = 0, 0
	f := refusal{err: err, lasts: shortRefusal}
	if before, ok := r.lru.get(k); ok {
		f.lasts = min(2*before.lasts, longestRefusal)
	}
	f.until = r.now().Add(f.lasts)
	r.lru.put(k, f, 1)
}
