package retrieve

import (
	"bytes"
	"container/list"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/held"
)

const (
	defaultCacheBytes = 48 << 20
	// maxChunk bounds one decoded metadata chunk. Chunks are written far smaller.
	maxChunk = 256 << 20
)

// text is a decoded metadata chunk: DICOM JSON texts one after another. It is
// wiped when the last holder lets go of it.
type text struct {
	json []byte
	// marks are the offsets at which a BulkDataURI's relative value begins.
	marks []int32
	refs  atomic.Int32
}

func (t *text) retain() { t.refs.Add(1) }

func (t *text) release() {
	if t.refs.Add(-1) == 0 {
		clear(t.json)
	}
}

var bulkDataURI = []byte(`"BulkDataURI":"`)

// newText decodes a chunk. The caller holds the text once.
func newText(d *zstd.Decoder, c archive.Chunk) (*text, error) {
	if c.Size < 0 || c.Size > maxChunk {
		return nil, fault.New(fault.Corrupt, "stored metadata is damaged: a chunk claims an impossible size; run 'strata rebuild'")
	}
	json, err := d.DecodeAll(c.Data, make([]byte, 0, c.Size))
	if err != nil {
		return nil, fault.Wrap(fault.Corrupt, err, "stored metadata is damaged: it cannot be decompressed; run 'strata rebuild'")
	}
	if len(json) != c.Size {
		return nil, fault.New(fault.Corrupt, "stored metadata is damaged: a chunk has another size than stated; run 'strata rebuild'")
	}
	t := &text{json: json}
	for at := 0; ; {
		i := bytes.Index(json[at:], bulkDataURI)
		if i < 0 {
			break
		}
		at += i + len(bulkDataURI)
		t.marks = append(t.marks, int32(at))
	}
	t.refs.Store(1)
	return t, nil
}

// cacheKey names a chunk, or a selection when chunk is 0.
type cacheKey struct {
	tenant archive.Tenant
	chunk  int64
	sel    archive.UIDs
}

type cached struct {
	key   cacheKey
	bytes int64
	text  *text
	list  *selection
}

// cache keeps decoded chunks and lists of instances, those used last, up to a
// number of bytes. Chunks never change while the index lives; lists are checked
// by whoever takes them.
type cache struct {
	together *held.Budget
	mu       sync.Mutex
	max      int64
	used     int64
	items    map[cacheKey]*list.Element
	lru      list.List // of *cached, the latest first
}

func newCache(limit int64, together *held.Budget) *cache {
	if limit == 0 {
		limit = defaultCacheBytes
	}
	return &cache{together: together, max: limit, items: make(map[cacheKey]*list.Element)}
}

func (c *cache) get(k cacheKey) *cached {
	e := c.items[k]
	if e == nil {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*cached)
}

// chunk returns a decoded chunk, which the caller has to release, or nil.
func (c *cache) chunk(t archive.Tenant, id int64) *text {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.get(cacheKey{tenant: t, chunk: id})
	if it == nil {
		return nil
	}
	it.text.retain()
	return it.text
}

func (c *cache) selection(t archive.Tenant, sel archive.UIDs) *selection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.get(cacheKey{tenant: t, sel: sel}); it != nil {
		return it.list
	}
	return nil
}

func (c *cache) putChunk(t archive.Tenant, id int64, x *text) {
	const perItem = 200 // what the cache itself needs
	c.put(&cached{key: cacheKey{tenant: t, chunk: id}, bytes: int64(cap(x.json)+4*cap(x.marks)) + perItem, text: x})
}

func (c *cache) putSelection(t archive.Tenant, sel archive.UIDs, s *selection) {
	c.put(&cached{key: cacheKey{tenant: t, sel: sel}, bytes: s.bytes(), list: s})
}

func (c *cache) put(it *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.bytes > c.max/4 { // one giant does not push out everything else
		return
	}
	if e := c.items[it.key]; e != nil {
		c.drop(e)
	}
	for c.used+it.bytes > c.max {
		c.drop(c.lru.Back())
	}
	for !c.together.Take(it.bytes) {
		if c.lru.Len() == 0 {
			return
		}
		c.drop(c.lru.Back())
	}
	if it.text != nil {
		it.text.retain()
	}
	c.items[it.key] = c.lru.PushFront(it)
	c.used += it.bytes
}

func (c *cache) drop(e *list.Element) {
	it := c.lru.Remove(e).(*cached)
	delete(c.items, it.key)
	c.used -= it.bytes
	c.together.Give(it.bytes)
	if it.text != nil {
		it.text.release()
	}
}

func (c *cache) wipe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.lru.Len() > 0 {
		c.drop(c.lru.Back())
	}
}
