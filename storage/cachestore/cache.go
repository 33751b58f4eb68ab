package cachestore

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	// pause is how long nothing is written into a folder that failed.
	pause = time.Minute
	// fullFor is how long a disk is taken to be full.
	fullFor = time.Hour
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
	resume  time.Time // nothing is written before
	limit   int64     // of bytes: less than Options.Bytes for a while where the disk was full
	fullAt  time.Time
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
	c := &cache{d: d, o: o, block: int64(o.Block), limit: o.Bytes, buffers: make(chan []byte, fetches),
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

// keeps reports whether blocks of the object are kept.
func (c *cache) keeps(key string) bool {
	if rewritten(key) || c.o.Skip != nil && c.o.Skip(key) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed
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

// holds reports whether all blocks of a range are in the folder.
func (c *cache) holds(key string, off, n int64) bool {
	if off < 0 || n <= 0 || n > math.MaxInt64-off {
		return false
	}
	o, tenant := hash(key), tenantOf(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := off / c.block; b <= (off+n-1)/c.block; b++ {
		if c.entries[id{tenant, o, b}] == nil {
			return false
		}
	}
	return true
}

// add takes a block into account whose file is in its place, and returns those
// that have to go for it. The caller holds mu.
func (c *cache) add(e *entry) (out []id) {
	c.remove(e.id)
	c.entries[e.id] = c.lru.PushFront(e)
	c.bytes += e.bytes
	x := c.objects[e.id.object]
	c.objects[e.id.object] = extent{x.held + 1, max(x.top, e.id.n+1)}
	if c.limit < c.o.Bytes && e.touched.Sub(c.fullAt) >= fullFor {
		c.limit = c.o.Bytes
	}
	return c.shrink(c.limit, c.o.Files)
}

// shrink forgets what was used longest ago, until there are no more bytes and
// files than that. The caller holds mu and evicts what it returns.
func (c *cache) shrink(bytes int64, files int) (out []id) {
	for c.lru.Len() > 0 && (c.bytes > bytes || len(c.entries) > files) {
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
	if err != nil { // mostly because there is nothing
		_ = os.Remove(gone)
		return fault.Wrap(fault.Unavailable, os.RemoveAll(c.dir(t)), "cannot remove a tenant's part of the read cache; remove the folder %s by hand", c.o.Folder)
	}
	remove := func() { _ = os.RemoveAll(gone) } // what is left goes at the next start
	if !c.start(remove) {
		remove()
	}
	return nil
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

// broken has nothing written for a while, and says so once. A full disk gets some
// room back, which others may need, and for fullFor the cache grows no more.
func (c *cache) broken(err error) {
	var out []id
	c.mu.Lock()
	c.resume = c.o.Now().Add(pause)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		c.limit, c.fullAt = c.bytes-c.bytes/16, c.o.Now()
		out = c.shrink(c.limit, c.o.Files)
	}
	c.mu.Unlock()
	c.evict(out)
	if c.failed.CompareAndSwap(false, true) && c.o.Log != nil {
		c.o.Log.Warn("the read cache cannot be written and is passed by; give its disk room or repair it", "error", err)
	}
}

// evict removes the files of blocks that were pushed out.
func (c *cache) evict(out []id) {
	c.evictions.Add(int64(len(out)))
	for _, b := range out {
		_ = os.Remove(c.path(b)) // or it is counted again at the next start
	}
}

// works says that the folder can be written, unless it failed meanwhile.
func (c *cache) works() {
	if c.failed.Load() && c.writable() && c.failed.CompareAndSwap(true, false) && c.o.Log != nil {
		c.o.Log.Info("the read cache works again")
	}
}

// writable reports whether the folder is written, now.
func (c *cache) writable() bool {
	now := c.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !now.Before(c.resume)
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
