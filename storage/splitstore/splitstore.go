// Package splitstore makes one namespace of two stores: what a function picks
// lies in one, all else in the other. Strata keeps wrapped keys in a bucket of
// their own, without object lock and versions, so that a key that is destroyed is
// gone, while packs may be locked and versioned.
package splitstore

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/storage/driver"
)

// Options are the two stores. All are required.
type Options struct {
	Picked driver.Driver
	Other  driver.Driver
	// Pick reports whether the object of the key lies in Picked.
	Pick func(key string) bool
}

// New returns the two as one. It has the optional interfaces that Other has,
// for the objects there, and driver.Purger where Picked has it. It is no
// driver.Mapper and no driver.Folders unless both are.
func New(o Options) driver.Driver {
	s := &store{o}
	picked, other := driver.OptionalOf(o.Picked), driver.OptionalOf(o.Other)
	optional := driver.Optional{Classer: other.Classer, Thawer: other.Thawer, Locker: other.Locker}
	if picked.Purger != nil || other.Purger != nil {
		optional.Purger = purger{s, picked.Purger, other.Purger}
	}
	if picked.Folders != nil && other.Folders != nil {
		optional.Folders = folders{picked.Folders, other.Folders}
	}
	if picked.Mapper != nil && other.Mapper != nil {
		optional.Mapper = mapper{s, picked.Mapper, other.Mapper}
	}
	return driver.Join(s, optional)
}

type store struct{ o Options }

func (s *store) of(key string) driver.Driver {
	if s.o.Pick(key) {
		return s.o.Picked
	}
	return s.o.Other
}

func (s *store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	return s.of(key).Create(ctx, key, o)
}

func (s *store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	return s.of(key).Open(ctx, key, off, n)
}

func (s *store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	return s.of(key).Stat(ctx, key)
}

func (s *store) Delete(ctx context.Context, key string) error { return s.of(key).Delete(ctx, key) }

// List merges the pages of both stores. What a store has that the other should
// have is not listed.
func (s *store) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	picked, err := driver.ListOnly(ctx, s.o.Picked, s.o.Pick, prefix, after, limit)
	if err != nil {
		return driver.Page{}, err
	}
	other, err := driver.ListOnly(ctx, s.o.Other, func(key string) bool { return !s.o.Pick(key) }, prefix, after, limit)
	if err != nil {
		return driver.Page{}, err
	}
	return driver.MergePages(limit, picked, other), nil
}

type folders struct{ picked, other driver.Folders }

// Folders implements driver.Folders. A folder of which a store has what the other should have may be listed.
func (f folders) Folders(ctx context.Context, folder, after string, limit int) ([]string, bool, error) {
	picked, morePicked, err := f.picked.Folders(ctx, folder, after, limit)
	if err != nil {
		return nil, false, err
	}
	other, moreOther, err := f.other.Folders(ctx, folder, after, limit)
	if err != nil {
		return nil, false, err
	}
	names, more := driver.MergeFolders(limit, picked, other, morePicked, moreOther)
	return names, more, nil
}

type purger struct {
	s             *store
	picked, other driver.Purger
}

// Purge removes every version; where a store keeps none, the object.
func (p purger) Purge(ctx context.Context, key string) error {
	purge := p.other
	if p.s.o.Pick(key) {
		purge = p.picked
	}
	if purge == nil {
		return p.s.Delete(ctx, key)
	}
	return purge.Purge(ctx, key)
}

type mapper struct {
	s             *store
	picked, other driver.Mapper
}

func (m mapper) OpenAt(ctx context.Context, key string) (driver.ReaderAtCloser, int64, error) {
	if m.s.o.Pick(key) {
		return m.picked.OpenAt(ctx, key)
	}
	return m.other.OpenAt(ctx, key)
}
