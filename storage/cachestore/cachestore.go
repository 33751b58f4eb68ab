// Package cachestore wraps a driver whose objects are far away so that what was
// read of them stays near, in files of a local folder.
//
// It keeps fixed blocks of immutable objects. Everything in the store is sealed
// before it gets there, so the folder holds ciphertext alone and needs no keys;
// its file names are hashes. What is ever rewritten is not kept: the wrapped
// keys under {tenant}/key/, {tenant}/root/ and {tenant}/escrow/, nor what
// Options.Skip names.
//
// The folder is bounded in bytes and files; what was used longest ago goes
// first. It may be lost at any time, whole or in part: a block is written beside
// and renamed, carries checksums, and is fetched again when they do not agree,
// as after a power cut (nothing is flushed). A folder that cannot be written is
// passed by, with one line in the log, until it can be again.
//
// In memory are at most 64 blocks on their way, and 64 KiB of each reader.
//
// Objects deleted or replaced through the wrapper are forgotten. Those deleted
// by others may still be read here until they fall out: the names are never
// used again, and whether they may be read is decided by keys and index.
package cachestore

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/strata-pacs/strata/storage/driver"
)

// Options configure the cache. Folder and Bytes are required.
type Options struct {
	// Folder is made when absent. It MUST be this process's alone.
	Folder string
	// Bytes bounds what the blocks take on disk.
	Bytes int64
	// Files bounds their number; 0 is as many as have room in Bytes at a quarter
	// of a block each. One takes some 250 bytes of memory.
	Files int
	// Block is the size of blocks in bytes, a power of two of 64 KiB to 8 MiB;
	// 0 is 512 KiB. Blocks of another size, from an earlier run, are not used.
	Block int
	// Skip names further objects that are not kept; nil is none.
	Skip func(key string) bool
	// Log gets a line when the folder stops working, and when it works again.
	Log *slog.Logger
	// Now is the clock of what was used last; time.Now if nil.
	Now func() time.Time
}

// Stats count what a cache did since it was opened.
type Stats struct {
	Hits      int64 // blocks that readers found in the folder
	Misses    int64 // blocks that were fetched, for readers and ahead of them
	Requests  int64 // made of the store below to fetch them
	Fetched   int64 // bytes fetched
	Served    int64 // bytes given to readers from the folder
	Passed    int64 // reads given to the store below as they were
	Damaged   int64 // blocks that were not what had been written
	Evictions int64
	Files     int64 // now in the folder
	Bytes     int64 // they take
}

// Store is a driver.Driver. It is safe for concurrent use.
type Store struct {
	driver.Driver // with what is optional of the wrapped driver, but driver.Mapper
	s             *store
}

// New opens the folder and counts what is in it. It fails, as fault.Invalid, only
// where the options or the folder cannot work. Close has to be called.
//
// The Driver of the result is what to hand on. It is no driver.Mapper: there is
// nothing to map until it has been fetched.
func New(d driver.Driver, o Options) (*Store, error) {
	c, err := open(d, o)
	if err != nil {
		return nil, err
	}
	s := &store{d: d, c: c}
	inner := driver.OptionalOf(d)
	optional := driver.Optional{Classer: inner.Classer, Thawer: inner.Thawer, Locker: inner.Locker, Folders: inner.Folders}
	if inner.Purger != nil {
		optional.Purger = purger{s, inner.Purger}
	}
	return &Store{Driver: driver.Join(s, optional), s: s}, nil
}

// Warm fetches what the folder lacks of n bytes of an object from off, and
// returns when that has ended. Who wants them meanwhile joins in. Where nothing
// can be kept it does nothing.
func (s *Store) Warm(ctx context.Context, key string, off, n int64) error {
	c := s.s.c
	if off < 0 || n <= 0 || !c.keeps(key) {
		return nil
	}
	r := newReader(ctx, c, key, off, n)
	defer r.Close()
	return r.warm()
}

// Holds reports whether all of n bytes of an object from off are in the folder. It
// is no use of them.
func (s *Store) Holds(key string, off, n int64) bool { return s.s.c.holds(key, off, n) }

// Forget removes what is kept of an object that will not be read any more. Who is
// reading it goes on with the store below.
func (s *Store) Forget(key string) { s.s.c.forget(key) }

// Drop forgets all objects of a tenant, whose names begin with tenant and '/'. It
// returns when none of them is found any more, here or after a crash; their
// files are then removed in the background. Readers under way go on with the
// store below or the file they have open, and who reads later fills it again:
// that a tenant is not read is for others to see to, before.
func (s *Store) Drop(tenant string) error { return s.s.c.drop(tenant) }

// Stats returns the counts.
func (s *Store) Stats() Stats { return s.s.c.stats() }

// Close ends fetches and waits for them and for the removal of what was dropped.
// The folder stays. Reads afterwards pass it by.
func (s *Store) Close() error {
	s.s.c.close()
	return nil
}

// store is the driver without what is optional.
type store struct {
	d driver.Driver
	c *cache
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n == 0 || !s.c.keeps(key) {
		s.c.passed.Add(1)
		return s.d.Open(ctx, key, off, n)
	}
	r := newReader(ctx, s.c, key, off, n)
	if err := r.begin(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (s *store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	return s.d.Stat(ctx, key)
}

func (s *store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	return s.d.List(ctx, prefix, after, limit)
}

// Delete forgets the object before and after: a fetch that began in between may
// have found it still.
func (s *store) Delete(ctx context.Context, key string) error {
	s.c.forget(key)
	defer s.c.forget(key)
	return s.d.Delete(ctx, key)
}

type purger struct {
	s *store
	p driver.Purger
}

func (p purger) Purge(ctx context.Context, key string) error {
	p.s.c.forget(key)
	defer p.s.c.forget(key)
	return p.p.Purge(ctx, key)
}

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := s.d.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	return &writer{w, s.c, key}, nil
}

// writer forgets what it may have replaced.
type writer struct {
	driver.Writer
	c   *cache
	key string
}

func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	w.c.forget(w.key)
	defer w.c.forget(w.key)
	return w.Writer.Commit(ctx)
}

// rewritten reports whether the object's name is that of a wrapped key.
func rewritten(key string) bool {
	_, rest, _ := strings.Cut(key, "/")
	kind, _, below := strings.Cut(rest, "/")
	return below && (kind == "key" || kind == "root" || kind == "escrow")
}
