// Package splitstore makes one namespace of two stores: what a function picks
// lies in one, all else in the other. Strata keeps wrapped keys in a bucket of
// their own, without object lock and versions, so that a key that is destroyed is
// gone, while packs may be locked and versioned.
package splitstore

import (
	"context"
	"io"
	"strings"

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
// driver.Mapper unless both are.
func New(o Options) driver.Driver {
	s := &store{o}
	picked, other := driver.OptionalOf(o.Picked), driver.OptionalOf(o.Other)
	optional := driver.Optional{Classer: other.Classer, Thawer: other.Thawer}
	if picked.Purger != nil || other.Purger != nil {
		optional.Purger = purger{s, picked.Purger, other.Purger}
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
	a, err := s.list(ctx, s.o.Picked, true, prefix, after, limit)
	if err != nil {
		return driver.Page{}, err
	}
	b, err := s.list(ctx, s.o.Other, false, prefix, after, limit)
	if err != nil {
		return driver.Page{}, err
	}
	var out driver.Page
	for len(a.Objects)+len(b.Objects) > 0 {
		if len(out.Objects) == limit {
			out.More = true
			return out, nil
		}
		from := &b
		if len(b.Objects) == 0 || len(a.Objects) > 0 && strings.Compare(a.Objects[0].Key, b.Objects[0].Key) < 0 {
			from = &a
		}
		out.Objects = append(out.Objects, from.Objects[0])
		if from.Objects = from.Objects[1:]; len(from.Objects) == 0 && from.More {
			out.More = true // beyond this page there may be keys before those of the other
			return out, nil
		}
	}
	return out, nil
}

// list reads the next page of one store; it is not empty unless there is nothing more.
func (s *store) list(ctx context.Context, d driver.Driver, picked bool, prefix, after string, limit int) (driver.Page, error) {
	for {
		p, err := d.List(ctx, prefix, after, limit)
		if err != nil {
			return p, err
		}
		kept := p.Objects[:0:0]
		for _, o := range p.Objects {
			after = o.Key
			if s.o.Pick(o.Key) == picked {
				kept = append(kept, o)
			}
		}
		done := !p.More || len(p.Objects) == 0
		if p.Objects = kept; len(kept) > 0 || done {
			p.More = p.More && !done
			return p, nil
		}
	}
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
