package keys

import (
	"container/list"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
)

// cache holds unwrapped keys, the most recently used. A key that leaves is wiped.
type cache struct {
	mu     sync.Mutex
	max    int
	byID   map[archive.KeyID]*list.Element
	order  list.List // of *held, the most recent in front
	closed bool
}

type held struct {
	id     archive.KeyID
	secret archive.Secret
}

func newCache(max int) *cache { return &cache{max: max, byID: map[archive.KeyID]*list.Element{}} }

func (c *cache) get(id archive.KeyID) (archive.Secret, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return archive.Secret{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*held).secret, true
}

func (c *cache) put(id archive.KeyID, s *archive.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if e := c.byID[id]; e != nil {
		c.order.MoveToFront(e)
		return
	}
	for c.order.Len() >= c.max {
		c.remove(c.order.Back())
	}
	c.byID[id] = c.order.PushFront(&held{id, *s})
}

func (c *cache) drop(id archive.KeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.remove(e)
	}
}

// close wipes every key and keeps none from then on.
func (c *cache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wipe()
}

// wipe wipes every key.
func (c *cache) wipe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

// remove wipes and forgets a key; the caller holds the lock.
func (c *cache) remove(e *list.Element) {
	h := c.order.Remove(e).(*held)
	delete(c.byID, h.id)
	h.secret.Wipe()
}
