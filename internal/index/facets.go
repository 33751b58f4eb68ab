package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"sort"

	"github.com/strata-pacs/strata/internal/dicom"
)

// facet is the distinct values that something of a study has: modalities and body parts of
// its visible series, SOP classes of its visible instances. While there is one value
// the total is its count; several are counted in rows of facets.
type facet struct {
	values []string // sorted, the first maxFacet of them
	total  int64    // of all values
	spread bool     // counted in rows
}

// maxFacet bounds what a row lists of a facet; a real study has a handful.
const maxFacet = 64

type facetKind int64

const (
	modalities facetKind = 0
	sopClasses facetKind = 1
	bodyParts  facetKind = 2
)

func (f *facet) append(b []byte) []byte {
	b = appendStrings(b, f.values)
	b = binary.AppendUvarint(b, uint64(f.total))
	if f.spread {
		return append(b, 1)
	}
	return append(b, 0)
}

func (f *facet) decode(d *decoder) {
	f.values = d.strings()
	f.total = d.int()
	f.spread = d.uint() == 1
}

// count adds d, +1 or -1, to the count of the value and reports whether the list of values changed.
func (b *batch) count(s *study, kind facetKind, f *facet, v string, d int64) (changed bool, err error) {
	if v == "" {
		return false, nil
	}
	defer func() { f.total += d }()
	if !f.spread {
		switch {
		case f.total == 0:
			f.values = []string{v}
			return true, nil
		case f.values[0] == v:
			if f.total+d == 0 {
				f.values = nil
			}
			return f.total+d == 0, nil
		}
		if err := b.putFacet(s, kind, f.values[0], f.total, true); err != nil {
			return false, err
		}
		f.spread = true
	}
	token := s.t.hash64(tokenFacet, dicom.Tag(kind), v)
	n, err := b.c.integer(`SELECT n FROM facets WHERE study = ? AND kind = ? AND token = ?`, s.id, int64(kind), token)
	if err != nil {
		return false, err
	}
	switch {
	case n == 0:
		f.values = sortedInsert(f.values, v, maxFacet)
		return true, b.putFacet(s, kind, v, d, true)
	case n+d > 0:
		return false, b.putFacet(s, kind, v, n+d, false)
	}
	if err := b.c.exec(`DELETE FROM facets WHERE study = ? AND kind = ? AND token = ?`, s.id, int64(kind), token); err != nil {
		return false, err
	}
	f.spread = f.total+d > 0
	return true, b.listFacet(s, kind, f)
}

func (b *batch) putFacet(s *study, kind facetKind, v string, n int64, fresh bool) error {
	token := s.t.hash64(tokenFacet, dicom.Tag(kind), v)
	if !fresh {
		return b.c.exec(`UPDATE facets SET n = ? WHERE study = ? AND kind = ? AND token = ?`, n, s.id, int64(kind), token)
	}
	sealed, err := s.t.seal.seal(nil, []byte(v), inFacets, s.id^token)
	if err != nil {
		return err
	}
	return b.c.exec(`INSERT INTO facets (study, kind, token, n, sealed) VALUES (?, ?, ?, ?, ?)`, s.id, int64(kind), token, n, sealed)
}

// listFacet reads the values again after one went away.
func (b *batch) listFacet(s *study, kind facetKind, f *facet) error {
	var all []string
	err := b.c.query(context.Background(), `SELECT token, sealed FROM facets WHERE study = ? AND kind = ?`, func(v []driver.Value) error {
		plain, err := s.t.seal.open(blob(v[1]), inFacets, s.id^integer(v[0]))
		if err != nil {
			return err
		}
		all = append(all, string(plain))
		if len(all) > 2*maxFacet {
			sort.Strings(all)
			all = all[:maxFacet]
		}
		return nil
	}, s.id, int64(kind))
	sort.Strings(all)
	f.values = all[:min(len(all), maxFacet)]
	return err
}
