package index

import (
	"github.com/strata-pacs/strata/internal/archive"
)

type studyCacheKey struct {
	tenant int64
	ref    archive.Ref
}

// studyCache holds the studies last written to; those used least recently go
// first, half a cache at a time.
type studyCache struct{ now, old map[studyCacheKey]*study }

const (
	maxCachedStudies = 1024
	maxCachedSeries  = 256
)

func (c *studyCache) get(k studyCacheKey) *study {
	s := c.now[k]
	if s == nil {
		if s = c.old[k]; s != nil {
			c.put(k, s)
		}
	}
	return s
}

func (c *studyCache) put(k studyCacheKey, s *study) {
	if c.now == nil {
		c.now = map[studyCacheKey]*study{}
	}
	c.now[k] = s
}

// trim is for between transactions.
func (c *studyCache) trim() {
	if len(c.now) > maxCachedStudies {
		c.old, c.now = c.now, nil
	}
}

// drop drops those that f says.
func (c *studyCache) drop(f func(*study) bool) {
	for _, m := range [...]map[studyCacheKey]*study{c.now, c.old} {
		for k, s := range m {
			if f(s) {
				delete(m, k)
			}
		}
	}
}

// prefix returns the number of the beginning of an object name.
func (b *batch) prefix(t *tenant, dir string) (int64, error) {
	k := prefixKey{t.id, dir}
	if id := b.w.prefixes[k]; id != 0 {
		return id, nil
	}
	id, err := b.c.integer(`SELECT id FROM prefixes WHERE text = ?`, dir)
	if err == nil && id == 0 {
		id, err = b.c.integer(`INSERT INTO prefixes (text) VALUES (?) RETURNING id`, dir)
	}
	if err != nil {
		return 0, err
	}
	if len(b.w.prefixes) > 1024 {
		clear(b.w.prefixes)
	}
	b.w.prefixes[k] = id
	return id, nil
}

type prefixKey struct {
	tenant int64
	dir    string
}
