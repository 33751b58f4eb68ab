// Package memstore is a driver that keeps objects in memory: for tests, for
// simulation and as the model of what other drivers must do. [Store.Crash]
// loses what was not committed, as a power cut does.
package memstore

import (
	"context"
	"io"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Options configure a store. The zero value is useful.
type Options struct {
	// Now is the store's clock; time.Now if nil.
	Now func() time.Time
	// Capacity bounds the bytes of committed objects; 0 is unbounded. Past it
	// Commit fails with fault.Full, but for Reserved objects.
	Capacity int64
}

// Store is a driver.Driver. It is safe for concurrent use.
type Store struct {
	now      func() time.Time
	capacity int64

	mu      sync.RWMutex
	objects map[string]*object
	keys    []string // sorted
	used    int64
	version uint64
	life    uint64 // grows with every Crash: writers of an earlier life are lost
}

type object struct {
	data     []byte // never changed once committed
	etag     string
	class    string
	modified time.Time
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{now: o.Now, capacity: o.Capacity, objects: map[string]*object{}}
}

var (
	errNotFound = fault.New(fault.NotFound, "there is no such object")
	errExists   = fault.New(fault.Exists, "there is an object of this name already")
	errConflict = fault.New(fault.Conflict, "the object was changed by someone else")
	errFull     = fault.New(fault.Full, "the store has no room: delete something or give it more")
	errCrashed  = fault.New(fault.Unavailable, "the store went down while the object was written")
	errRange    = fault.New(fault.RangeInvalid, "the range starts after the object's end")
)

// Crash loses every staged object, as a power cut does: their writers fail with
// fault.Unavailable from now on. Committed objects stay.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
}

// SetCapacity changes the capacity; 0 is unbounded.
func (s *Store) SetCapacity(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capacity = n
}

// Create implements driver.Driver.
func (s *Store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.full(o.Size, o) {
		return nil, errFull
	}
	return &writer{s: s, ctx: ctx, key: key, o: o, life: s.life}, nil
}

// full reports whether n more bytes are too many. The caller holds the lock.
func (s *Store) full(n int64, o driver.CreateOptions) bool {
	return s.capacity > 0 && !o.Reserved && s.used+n > s.capacity
}

func (s *Store) get(ctx context.Context, key string) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.objects[key]; o != nil {
		return o, nil
	}
	return nil, errNotFound
}

// Open implements driver.Driver.
func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	o, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	size := int64(len(o.data))
	if off < 0 || off > size {
		return nil, errRange
	}
	r := &reader{ctx: ctx, data: o.data[off:], end: io.EOF}
	switch {
	case n >= 0 && n <= size-off:
		r.data = r.data[:n]
	case n >= 0:
		r.end = io.ErrUnexpectedEOF
	}
	return r, nil
}

// OpenAt implements driver.Mapper.
func (s *Store) OpenAt(ctx context.Context, key string) (driver.ReaderAtCloser, int64, error) {
	o, err := s.get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return readerAt(o.data), int64(len(o.data)), nil
}

// Stat implements driver.Driver.
func (s *Store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	o, err := s.get(ctx, key)
	if err != nil {
		return driver.Attrs{}, err
	}
	return o.attrs(), nil
}

func (o *object) attrs() driver.Attrs {
	return driver.Attrs{Size: int64(len(o.data)), ETag: o.etag, Class: o.class, Modified: o.modified}
}

// List implements driver.Driver.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	if err := ctx.Err(); err != nil {
		return driver.Page{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var p driver.Page
	i := sort.SearchStrings(s.keys, max(prefix, after))
	for ; i < len(s.keys) && strings.HasPrefix(s.keys[i], prefix); i++ {
		k := s.keys[i]
		if k == after {
			continue
		}
		if len(p.Objects) == limit {
			p.More = true
			break
		}
		o := s.objects[k]
		p.Objects = append(p.Objects, driver.Object{Key: k, Size: int64(len(o.data)), Modified: o.modified})
	}
	return p, nil
}

// Delete implements driver.Driver.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		return nil
	}
	s.used -= int64(len(o.data))
	delete(s.objects, key)
	i := sort.SearchStrings(s.keys, key)
	s.keys = append(s.keys[:i], s.keys[i+1:]...)
	return nil
}

// put commits data under key.
func (s *Store) put(w *writer) (driver.Attrs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.objects[w.key]
	switch {
	case w.life != s.life:
		return driver.Attrs{}, errCrashed
	case w.o.IfAbsent && old != nil:
		return driver.Attrs{}, errExists
	case w.o.IfMatch != "" && (old == nil || old.etag != w.o.IfMatch):
		return driver.Attrs{}, errConflict
	case s.full(int64(len(w.data)), w.o):
		return driver.Attrs{}, errFull
	}
	s.version++
	o := &object{data: w.data, etag: strconv.FormatUint(s.version, 10), class: w.o.Class, modified: s.now()}
	if old == nil {
		i := sort.SearchStrings(s.keys, w.key)
		s.keys = append(s.keys, "")
		copy(s.keys[i+1:], s.keys[i:])
		s.keys[i] = w.key
	} else {
		s.used -= int64(len(old.data))
	}
	s.used += int64(len(o.data))
	s.objects[w.key] = o
	return o.attrs(), nil
}
