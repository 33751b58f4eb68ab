// Package tierstore makes one namespace of the stores of several tiers. Everything
// is written to the first, the hot one, and all but packs stays there. Packs,
// {tenant}/pack/…, may lie in any of them, under the same key, because whoever moves them
// writes to the stores themselves: a pack is opened where a hint says, or else
// wherever it is. So readers need not know of tiers, and an index that is lost or
// behind costs requests and nothing else.
//
// While a pack moves, and until the copy it came from is deleted, it is in two
// stores. Both are whole and the same, since objects are immutable: either is read. Where one
// is archived or its store does not answer, the other is.
//
// # Lists and deletions
//
// A list has the packs of every store, each once, with the latest time of its
// copies. What looks for packs that nothing names (reconcile.Reap) must see them wherever
// they are, or what was left in a cold store would be paid for until it is noticed by hand;
// what looks for packs that are missing (rebuild, verify) must not take one that has moved
// for lost. Delete removes every copy for the same reason. Who means one copy uses its store.
//
// Times of a list are by the clock of the store that has the object. The grace
// periods that are measured by them are hours: stores' clocks agree far better.
package tierstore

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

// Options name the stores.
type Options struct {
	// Stores are the stores of the tiers, the hot one first, each once however many
	// tiers it has. At least one.
	Stores []driver.Driver
	// Hint says in which of them a pack is, if that is known; nil: it never is, and they
	// are asked in their order. It is asked each time a pack is opened and must be quick.
	Hint func(ctx context.Context, key string) (store int, known bool)
}

// Store is a driver.Driver. It is safe for concurrent use.
//
// It is a driver.Mapper if the hot store is one: objects of the others are then
// read by ranges. It is a driver.Purger if any of them is. It is no
// driver.Classer and no driver.Thawer: the words for classes are those of one store.
type Store struct {
	driver.Driver
	s *store
}

type store struct {
	stores  []driver.Driver
	buckets []*storage.Bucket // the same, for what is optional
	hint    func(context.Context, string) (int, bool)
	wrong   atomic.Int64
}

// New returns the stores as one.
func New(o Options) *Store {
	s := &store{stores: o.Stores, hint: o.Hint}
	var optional driver.Optional
	for i, d := range o.Stores {
		s.buckets = append(s.buckets, storage.New(d))
		can := driver.OptionalOf(d)
		if can.Mapper != nil && i == 0 {
			optional.Mapper = mapper{s}
		}
		if can.Folders != nil && i == 0 {
			optional.Folders = folders{s}
		}
		if can.Purger != nil {
			optional.Purger = purger{s}
		}
	}
	return &Store{driver.Join(s, optional), s}
}

// WrongHints counts packs that were not where the hint said.
func (s *Store) WrongHints() int64 { return s.s.wrong.Load() }

// Moves reports whether the object may lie in another store than the hot one.
func Moves(key string) bool {
	_, rest, _ := strings.Cut(key, "/")
	return strings.HasPrefix(rest, "pack/")
}

// find calls use for the stores in which the object may be, the likeliest first,
// until it succeeds. A copy that cannot be read is not the last word while there
// may be another; if there is none, its error is.
func (s *store) find(ctx context.Context, key string, use func(i int) error) error {
	if !Moves(key) {
		return use(0)
	}
	first, known := 0, false
	if s.hint != nil {
		if first, known = s.hint(ctx, key); !known || first < 0 || first >= len(s.stores) {
			first, known = 0, false
		}
	}
	err := use(first)
	if err == nil || !elsewhere(err) {
		return err
	}
	wrong := known && fault.Is(err, fault.NotFound)
	for i := range s.stores {
		if i == first {
			continue
		}
		switch other := use(i); {
		case other == nil:
			if wrong {
				s.wrong.Add(1)
			}
			return nil
		case fault.Is(err, fault.NotFound):
			err = other
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// elsewhere reports whether another store may do better.
func elsewhere(err error) bool {
	return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Archived) || fault.Is(err, fault.Unavailable)
}

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	return s.stores[0].Create(ctx, key, o)
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (r io.ReadCloser, err error) {
	err = s.find(ctx, key, func(i int) (err error) { r, err = s.stores[i].Open(ctx, key, off, n); return err })
	return r, err
}

func (s *store) Stat(ctx context.Context, key string) (a driver.Attrs, err error) {
	err = s.find(ctx, key, func(i int) (err error) { a, err = s.stores[i].Stat(ctx, key); return err })
	return a, err
}

// List merges the hot store's page with the packs of the others.
func (s *store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	hot, err := s.stores[0].List(ctx, prefix, after, limit)
	packs, may := packsUnder(prefix)
	if err != nil || !may || len(s.stores) == 1 {
		return hot, err
	}
	pages := []driver.Page{hot}
	for _, d := range s.stores[1:] {
		p, err := driver.ListOnly(ctx, d, Moves, packs, after, limit)
		if err != nil {
			return driver.Page{}, err
		}
		pages = append(pages, p)
	}
	return driver.MergePages(limit, pages...), nil
}

type folders struct{ s *store }

// Folders implements driver.Folders. What has packs below it is told by the lists of all stores.
func (f folders) Folders(ctx context.Context, folder, after string, limit int) ([]string, bool, error) {
	if _, may := packsUnder(folder); may && len(f.s.stores) > 1 {
		return driver.ListFolders(ctx, f.s, folder, after, limit)
	}
	return driver.OptionalOf(f.s.stores[0]).Folders.Folders(ctx, folder, after, limit)
}

// packsUnder returns the prefix of the packs among the keys with the prefix; false if there are none.
func packsUnder(prefix string) (string, bool) {
	tenant, rest, one := strings.Cut(prefix, "/")
	switch {
	case !one:
		return prefix, true
	case strings.HasPrefix(rest, "pack/"):
		return prefix, true
	}
	return tenant + "/pack/", strings.HasPrefix("pack/", rest)
}

// everywhere calls use for every store that may have a copy. All are asked, even
// after a failure; the copies that stay go when it is tried again.
func (s *store) everywhere(key string, use func(i int) error) error {
	if !Moves(key) {
		return use(0)
	}
	var errs []error
	for i := range s.stores {
		errs = append(errs, use(i))
	}
	return errors.Join(errs...)
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.everywhere(key, func(i int) error { return s.stores[i].Delete(ctx, key) })
}

type purger struct{ s *store }

// Purge removes every version; where a store keeps none, the object.
func (p purger) Purge(ctx context.Context, key string) error {
	return p.s.everywhere(key, func(i int) error { return p.s.buckets[i].Purge(ctx, key) })
}

type mapper struct{ s *store }

func (m mapper) OpenAt(ctx context.Context, key string) (r driver.ReaderAtCloser, size int64, err error) {
	err = m.s.find(ctx, key, func(i int) (err error) { r, size, err = m.s.buckets[i].OpenAt(ctx, key); return err })
	return r, size, err
}
