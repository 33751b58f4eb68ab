package cachestore

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

const (
	defaultBlock = 512 << 10
	minBlock     = piece
	maxBlock     = 8 << 20
	// fetches is how many requests are under way at once. Each has one buffer.
	fetches = 64
	// pause is how long a folder that failed is passed by.
	pause = time.Minute
	// touchEvery is how exactly the files remember when they were used.
	touchEvery = time.Hour
)

// name is a hash of an object's or a tenant's name.
type name [16]byte

func hash(s string) name {
	h := sha256.Sum256([]byte(s))
	return name(h[:16])
}

// id names a block. Its file is tenant/object-n.
type id struct {
	tenant, object name
	n              int64
}

// cache is the folder and what is known of it.
type cache struct {
	d     driver.Driver
	o     Options
	block int64

	ctx  context.Context // of fetches: it ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // fetches and removals

	buffers chan []byte // of a block each, nil until first used
	temp    atomic.Int64
	failed  atomic.Bool // the folder, when it was last tried

	hits, misses, requests, fetched, served, passed, damaged, evictions atomic.Int64

	// moving is held by those who put a file in its place, and by those who want
	// none put there, exclusively.
	moving sync.RWMutex

	mu      sync.Mutex // guards what follows; nobody waits or does I/O under it
	closed  bool
	resume  time.Time // the folder is not used before
	entries map[id]*list.Element
	lru     list.List // of *entry, the latest first
	bytes   int64
	objects map[name]extent
	flights map[id]*flight
}

// entry is a block in the folder.
type entry struct {
	id      id
	bytes   int64 // it takes on disk
	touched time.Time
}

// extent is how many blocks of an object are held, and a number above all of theirs.
type extent struct{ held, top int64 }

func open(d driver.Driver, o Options) (*cache, error) {
	if o.Block == 0 {
		o.Block = defaultBlock
	}
	if o.Block < minBlock || o.Block > maxBlock || o.Block&(o.Block-1) != 0 {
		return nil, fault.New(fault.Invalid, "the blocks of the read cache must be a power of two of 64 KiB to 8 MiB")
	}
	if o.Bytes < 4*int64(o.Block) {
		return nil, fault.New(fault.Invalid, "the read cache is smaller than four of its blocks; give it %d bytes or more", 4*o.Block)
	}
	if o.Files <= 0 {
		o.Files = int(o.Bytes / int64(o.Block) * 4)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &cache{d: d, o: o, block: int64(o.Block), buffers: make(chan []byte, fetches),
		entries: map[id]*list.Element{}, objects: map[name]extent{}, flights: map[id]*flight{}}
	for range fetches {
		c.buffers <- nil
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if err := c.scan(); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// keeps reports whether blocks of the object are kept, now.
func (c *cache) keeps(key string) bool {
	if rewritten(key) || c.o.Skip != nil && c.o.Skip(key) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed && !c.o.Now().Before(c.resume)
}

func (c *cache) dir(tenant name) string {
	return filepath.Join(c.o.Folder, hex.EncodeToString(tenant[:]))
}

func (c *cache) path(b id) string {
	return filepath.Join(c.dir(b.tenant), hex.EncodeToString(b.object[:])+"-"+strconv.FormatInt(b.n, 16))
}

// parse is the inverse of path.
func parse(tenant name, file string) (id, bool) {
	o, n, ok := strings.Cut(file, "-")
	k, err := strconv.ParseInt(n, 16, 48)
	b := id{tenant: tenant, n: k}
	if !ok || err != nil || k < 0 || len(o) != 2*len(b.object) || strconv.FormatInt(k, 16) != n {
		return id{}, false
	}
	_, err = hex.Decode(b.object[:], []byte(o))
	return b, err == nil
}

// found returns whether the block is in the folder, and marks it as used.
func (c *cache) found(b id) (there, touch bool) {
	now := c.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[b]
	if e == nil {
		return false, false
	}
	c.lru.MoveToFront(e)
	it := e.Value.(*entry)
	if touch = now.Sub(it.touched) > touchEvery; touch {
		it.touched = now
	}
	return true, touch
}

// add takes a block into account whose file is in its place, and returns those
// that have to go for it. The caller holds mu.
func (c *cache) add(e *entry) (out []id) {
	c.remove(e.id)
	c.entries[e.id] = c.lru.PushFront(e)
	c.bytes += e.bytes
	x := c.objects[e.id.object]
	c.objects[e.id.object] = extent{x.held + 1, max(x.top, e.id.n+1)}
	for c.bytes > c.o.Bytes || len(c.entries) > c.o.Files {
		last := c.lru.Back().Value.(*entry).id
		c.remove(last)
		out = append(out, last)
	}
	return out
}

// remove forgets a block and reports whether it was known. The caller holds mu.
func (c *cache) remove(b id) bool {
	e := c.entries[b]
	if e == nil {
		return false
	}
	c.bytes -= c.lru.Remove(e).(*entry).bytes
	delete(c.entries, b)
	x := c.objects[b.object]
	if x.held--; x.held == 0 {
		delete(c.objects, b.object)
	} else {
		c.objects[b.object] = x
	}
	return true
}

// discard removes a block that is not what it should be.
func (c *cache) discard(b id) {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	known := c.remove(b)
	c.mu.Unlock()
	if known {
		_ = os.Remove(c.path(b)) // it is replaced, or swept out at the next start
	}
}

// forget removes all blocks of an object, and those that are on their way.
func (c *cache) forget(key string) {
	if rewritten(key) {
		return
	}
	o, tenant := hash(key), tenantOf(key)
	c.moving.Lock()
	defer c.moving.Unlock()
	var out []id
	c.mu.Lock()
	for b, f := range c.flights {
		if b.object == o {
			c.abandon(b, f)
		}
	}
	for n, top := int64(0), c.objects[o].top; n < top; n++ {
		if b := (id{tenant, o, n}); c.remove(b) {
			out = append(out, b)
		}
	}
	c.mu.Unlock()
	for _, b := range out {
		_ = os.Remove(c.path(b)) // nothing finds it; an object's name is not used again
	}
}

func tenantOf(key string) name {
	t, _, _ := strings.Cut(key, "/")
	return hash(t)
}

// drop removes all blocks of a tenant.
func (c *cache) drop(tenant string) error {
	t := hash(tenant)
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	for b, f := range c.flights {
		if b.tenant == t {
			c.abandon(b, f)
		}
	}
	for b := range c.entries {
		if b.tenant == t {
			c.remove(b)
		}
	}
	c.mu.Unlock()
	gone, err := os.MkdirTemp(filepath.Join(c.o.Folder, goneFolder), "")
	if err == nil {
		err = os.Rename(c.dir(t), filepath.Join(gone, "tenant"))
	}
	remove := func() { _ = os.RemoveAll(gone) } // what is left goes at the next start
	switch {
	case err == nil && !c.start(remove), os.IsNotExist(err):
		remove()
		return nil
	case err != nil:
		err = os.RemoveAll(c.dir(t))
	}
	return fault.Wrap(fault.Unavailable, err, "cannot remove a tenant's part of the read cache; remove the folder %s by hand", c.o.Folder)
}

// start runs what Close waits for, unless it does already.
func (c *cache) start(do func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(do)
	return true
}

// broken has the folder passed by for a while, and says so once.
func (c *cache) broken(err error) {
	c.mu.Lock()
	c.resume = c.o.Now().Add(pause)
	c.mu.Unlock()
	if c.failed.CompareAndSwap(false, true) && c.o.Log != nil {
		c.o.Log.Warn("the read cache cannot be written and is passed by; give its disk room or repair it", "error", err)
	}
}

// works says that the folder can be written.
func (c *cache) works() {
	if c.failed.CompareAndSwap(true, false) && c.o.Log != nil {
		c.o.Log.Info("the read cache works again")
	}
}

func (c *cache) stats() Stats {
	s := Stats{Hits: c.hits.Load(), Misses: c.misses.Load(), Requests: c.requests.Load(), Fetched: c.fetched.Load(), Served: c.served.Load(),
		Passed: c.passed.Load(), Damaged: c.damaged.Load(), Evictions: c.evictions.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Files, s.Bytes = int64(len(c.entries)), c.bytes
	return s
}

func (c *cache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.wg.Wait()
}
