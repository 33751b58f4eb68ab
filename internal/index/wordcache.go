package index

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/strata-pacs/strata/internal/dicom"
)

type page struct {
	tag   dicom.Tag
	plain []byte
}

// pageCache holds opened pages of words, of which those used least recently go
// first, half a cache at a time. Pages never change, so it cannot be stale.
type pageCache struct {
	mu       sync.Mutex
	now, old map[int64]page
	bytes    int // of now
}

const pageCacheBytes = 12 << 20 // of each half

func (c *pageCache) get(id int64) (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.now[id]
	if !ok {
		if p, ok = c.old[id]; ok {
			c.add(id, p)
		}
	}
	return p, ok
}

func (c *pageCache) put(id int64, p page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(id, p)
}

func (c *pageCache) add(id int64, p page) {
	if c.bytes > pageCacheBytes || c.now == nil {
		c.old, c.now, c.bytes = c.now, map[int64]page{}, 0
	}
	c.now[id] = p
	c.bytes += len(p.plain) + 64
}

// clear wipes and drops everything.
func (c *pageCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range [...]map[int64]page{c.now, c.old} {
		for _, p := range m {
			clear(p.plain)
		}
	}
	c.now, c.old, c.bytes = nil, nil, 0
}

// recentWords remembers the words that are known to be in the vocabulary, the latest of them.
type recentWords struct {
	seed     maphash.Seed
	now, old map[uint64]struct{}
}

const recentMax = 1 << 16

// add reports whether the word was not remembered.
func (r *recentWords) add(tenant int64, tag dicom.Tag, s string) bool {
	var h maphash.Hash
	h.SetSeed(r.seed)
	var head [12]byte
	binary.BigEndian.PutUint64(head[:], uint64(tenant))
	binary.BigEndian.PutUint32(head[8:], uint32(tag))
	_, _ = h.Write(head[:])
	_, _ = h.WriteString(s)
	k := h.Sum64()
	if _, ok := r.now[k]; ok {
		return false
	}
	_, known := r.old[k]
	if len(r.now) >= recentMax || r.now == nil {
		r.old, r.now = r.now, make(map[uint64]struct{}, 1024)
	}
	r.now[k] = struct{}{}
	return !known
}

// forget empties it: after a transaction failed, and when it is first used.
func (r *recentWords) forget() { *r = recentWords{seed: maphash.MakeSeed()} }
