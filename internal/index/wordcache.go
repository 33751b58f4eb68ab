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

type pageKey struct{ tenant, id int64 }

// pageCache holds opened pages of words, of which those used least recently go
// first, half a cache at a time. Pages never change, so it cannot be stale, whoever writes.
type pageCache struct {
	use      sync.RWMutex // held to read pages; and to wipe them
	mu       sync.Mutex
	now, old map[pageKey]page
	bytes    int // of now
}

const pageCacheBytes = 12 << 20 // of each half

// each calls f with the words of a page and reports whether it is in memory. f must not call the index.
func (c *pageCache) each(k pageKey, f func(dicom.Tag, string)) (there bool, err error) {
	c.use.RLock()
	defer c.use.RUnlock()
	p, ok := c.get(k)
	if !ok {
		return false, nil
	}
	return true, eachWord(p.plain, p.tag, f)
}

func (c *pageCache) get(k pageKey) (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.now[k]
	if !ok {
		if p, ok = c.old[k]; ok {
			c.add(k, p)
		}
	}
	return p, ok
}

// put keeps the page, unless its tenant is forgotten. Nobody else may have it.
func (c *pageCache) put(t *tenant, k pageKey, p page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.gone.Load() {
		clear(p.plain)
		return
	}
	c.add(k, p)
}

func (c *pageCache) add(k pageKey, p page) {
	if c.bytes > pageCacheBytes || c.now == nil {
		c.old, c.now, c.bytes = c.now, map[pageKey]page{}, 0
	}
	c.now[k] = p
	c.bytes += len(p.plain) + 64
}

// drop wipes and drops the pages of a tenant, of all for 0.
func (c *pageCache) drop(tenant int64) {
	c.use.Lock()
	defer c.use.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range [...]map[pageKey]page{c.now, c.old} {
		for k, p := range m {
			if tenant == 0 || k.tenant == tenant {
				clear(p.plain)
				delete(m, k)
			}
		}
	}
}

// recentWords remembers the words that are known to be in the vocabulary, the latest of them.
type recentWords struct {
	seed     maphash.Seed
	now, old map[uint64]struct{}
}

const recentMax = 1 << 16

func (r *recentWords) hash(tenant int64, tag dicom.Tag, s string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	var head [12]byte
	binary.BigEndian.PutUint64(head[:], uint64(tenant))
	binary.BigEndian.PutUint32(head[8:], uint32(tag))
	_, _ = h.Write(head[:])
	_, _ = h.WriteString(s)
	return h.Sum64()
}

// add reports whether the word was not remembered.
func (r *recentWords) add(tenant int64, tag dicom.Tag, s string) bool {
	k := r.hash(tenant, tag, s)
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

// drop forgets a word.
func (r *recentWords) drop(tenant int64, tag dicom.Tag, s string) {
	k := r.hash(tenant, tag, s)
	delete(r.now, k)
	delete(r.old, k)
}

// forget empties it: after a transaction failed, and when it is first used.
func (r *recentWords) forget() { *r = recentWords{seed: maphash.MakeSeed()} }
