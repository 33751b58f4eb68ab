package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"math"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
)

// Studies yields the candidates of the filter, newest first: by study date and
// then by row, both descending, studies without a date last. UIDs, From, To and Modalities
// hold exactly; the caller matches every candidate against All. Yield may call the index.
//
// Two ways lead to candidates: the walk along study dates, and the posting lists
// of the rarest terms. Where the terms are so common that they cover much of the
// archive, the walk finds matches sooner; whether they do shows after a short walk.
func (x *Index) Studies(ctx context.Context, name archive.Tenant, f archive.StudyFilter, yield func(*archive.StudyRow) bool) error {
	t, err := x.tenants.get(ctx, name)
	if err != nil || t == nil {
		return err
	}
	q := &studyQuery{x: x, name: name, t: t, f: f, yield: yield, lo: 1, hi: math.MaxInt64, mask: modalityMask(f.Modalities)}
	if f.From != "" || f.To != "" {
		q.lo = 2 << x.idBits // a study without a date has day 1
	}
	if f.From != "" {
		q.lo = max(q.lo, studyDay(f.From)<<x.idBits)
	}
	if f.To != "" {
		q.hi = studyDay(f.To)<<x.idBits | (1<<x.idBits - 1)
	}
	switch {
	case q.lo > q.hi:
		return nil
	case f.UIDs != nil || f.IDs != nil:
		return q.named(ctx)
	}
	return q.run(ctx)
}

// studyQuery is one call of Studies.
type studyQuery struct {
	x      *Index
	name   archive.Tenant
	t      *tenant // for the page in hand: it may be forgotten between two
	f      archive.StudyFilter
	yield  func(*archive.StudyRow) bool
	lo, hi int64 // of skey, both included; hi descends as pages are yielded
	mask   int64
	done   bool
}

// read runs f with a reader connection and the tenant.
func (q *studyQuery) read(ctx context.Context, f func(*conn) error) error {
	return q.x.read(ctx, q.name, func(c *conn, t *tenant) error {
		q.t = t
		return f(c)
	})
}

type candidate struct {
	skey int64
	row  *archive.StudyRow // nil: passed over
}

const (
	firstPage = 128
	largePage = 1024
	fewWords  = 64   // a condition of no more terms is looked up at once
	manyWords = 2000 // a condition of more terms is not looked up
	shortWalk = 2000 // studies looked at before terms that are common are looked up
	sample    = 200  // postings that say how common a term is; one that has fewer is rare
)

// named looks at the studies that the filter names.
func (q *studyQuery) named(ctx context.Context) error {
	const columns = `SELECT skey, id, ref, sealed FROM studies WHERE tenant = ? AND skey BETWEEN ? AND ? AND `
	var found []candidate
	err := q.read(ctx, func(c *conn) error {
		row := func(v []driver.Value) error {
			s, err := q.t.openStudy(integer(v[1]), blob(v[2]), blob(v[3]))
			found = append(found, candidate{integer(v[0]), s})
			return err
		}
		if q.f.UIDs == nil {
			for _, id := range q.f.IDs {
				if err := c.query(ctx, columns+`id = ?`, row, q.t.id, q.lo, q.hi, id); err != nil {
					return err
				}
			}
			return nil
		}
		for _, uid := range q.f.UIDs {
			ref := q.t.keys.Ref(uid)
			if err := c.query(ctx, columns+`ref = ?`, row, q.t.id, q.lo, q.hi, ref[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(c candidate) bool {
		return q.f.IDs != nil && !slices.Contains(q.f.IDs, c.row.ID) || q.f.UIDs != nil && !slices.Contains(q.f.UIDs, c.row.UID)
	})
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(b.skey, a.skey) })
	return q.emit(ctx, slices.CompactFunc(found, func(a, b candidate) bool { return a.skey == b.skey }))
}

// emit yields those that have the modalities.
func (q *studyQuery) emit(ctx context.Context, page []candidate) error {
	if err := q.available(ctx, page); err != nil {
		return err
	}
	for _, c := range page {
		q.hi = c.skey - 1
		if c.row == nil {
			continue // another tenant's, or without the modalities
		}
		if len(q.f.Modalities) > 0 && !slices.ContainsFunc(c.row.Modalities, func(m string) bool { return slices.Contains(q.f.Modalities, m) }) {
			continue
		}
		if q.f.Skip > 0 {
			q.f.Skip--
			continue
		}
		if q.done = !q.yield(c.row); q.done {
			return nil
		}
	}
	return nil
}

// available fills in the availability of a page of studies.
func (q *studyQuery) available(ctx context.Context, page []candidate) error {
	if q.x.nearline == nil || len(page) == 0 {
		return nil
	}
	rows := make([]*archive.StudyRow, 0, len(page))
	for _, c := range page {
		if c.row != nil {
			rows = append(rows, c.row)
		}
	}
	return q.read(ctx, func(c *conn) error { return q.x.ofStudies(ctx, c, q.t, rows) })
}

func (q *studyQuery) run(ctx context.Context) error {
	groups, common, err := q.plan(ctx)
	if err != nil {
		return err
	}
	if groups == nil {
		if common == nil {
			return q.walk(ctx, math.MaxInt)
		}
		if err := q.walk(ctx, shortWalk); err != nil || q.done || q.hi < q.lo {
			return err
		}
		groups = common
	}
	if slices.ContainsFunc(groups, func(g []token) bool { return len(g) == 0 }) {
		return nil // a condition that no word meets
	}
	for size := q.firstPage(); !q.done && q.lo <= q.hi; size = min(4*size, largePage) {
		var page []candidate
		err := q.read(ctx, func(c *conn) error {
			return q.x.postings.find(ctx, c, groups, q.lo, q.hi, size, func(v []driver.Value) error {
				skey := integer(v[0])
				if integer(v[1]) != q.t.id {
					page = append(page, candidate{skey: skey}) // two tenants' tokens are the same by chance
					return nil
				}
				s, err := q.t.openStudy(skey&(1<<q.x.idBits-1), blob(v[2]), blob(v[3]))
				page = append(page, candidate{skey, s})
				return err
			})
		})
		if err != nil {
			return err
		}
		if err := q.emit(ctx, page); err != nil {
			return err
		}
		if len(page) < size {
			return nil
		}
	}
	return nil
}

// firstPage is how many rows are read at first.
func (q *studyQuery) firstPage() int {
	if q.f.Want > 0 {
		return min(q.f.Want, firstPage)
	}
	return firstPage
}

// walk goes along study dates, over about so many studies at most.
func (q *studyQuery) walk(ctx context.Context, most int) error {
	if err := q.skip(ctx); err != nil {
		return err
	}
	for size := q.firstPage(); most > 0 && !q.done && q.lo <= q.hi; size = min(4*size, largePage) {
		var page []candidate
		size = min(size, most)
		err := q.read(ctx, func(c *conn) error {
			row := func(v []driver.Value) error {
				if v[1] == nil {
					page = append(page, candidate{skey: integer(v[0])})
					return nil
				}
				s, err := q.t.openStudy(integer(v[0])&(1<<q.x.idBits-1), nil, blob(v[1]))
				page = append(page, candidate{integer(v[0]), s})
				return err
			}
			if q.mask == 0 {
				return c.query(ctx, `SELECT skey, sealed FROM studies INDEXED BY studies_day
					WHERE tenant = ? AND skey BETWEEN ? AND ? ORDER BY skey DESC LIMIT (?+0)`, row, q.t.id, q.lo, q.hi, int64(size))
			}
			// The index alone says which studies cannot have the modalities; they count for the page.
			return c.query(ctx, `SELECT k.skey, CASE WHEN k.mods & ? <> 0 THEN (SELECT s.sealed FROM studies s WHERE s.id = k.skey & ?) END FROM
				(SELECT skey, mods FROM studies INDEXED BY studies_day WHERE tenant = ? AND skey BETWEEN ? AND ? ORDER BY skey DESC LIMIT (?+0)) k
				ORDER BY k.skey DESC`, row, q.mask, int64(1)<<q.x.idBits-1, q.t.id, q.lo, q.hi, int64(size))
		})
		if err != nil {
			return err
		}
		if err := q.emit(ctx, page); err != nil {
			return err
		}
		if len(page) < size {
			q.done = true // nothing is left, and postings would find nothing else
			return nil
		}
		most -= len(page)
	}
	return nil
}

// skip passes over studies by the index alone, where every one counts.
func (q *studyQuery) skip(ctx context.Context) error {
	if q.f.Skip <= 0 || q.mask != 0 {
		return nil
	}
	var hi int64
	err := q.read(ctx, func(c *conn) error {
		return c.query(ctx, `SELECT skey FROM studies INDEXED BY studies_day WHERE tenant = ? AND skey BETWEEN ? AND ?
			ORDER BY skey DESC LIMIT 1 OFFSET (?+0)`, func(v []driver.Value) error {
			hi = integer(v[0])
			return nil
		}, q.t.id, q.lo, q.hi, int64(q.f.Skip-1))
	})
	q.hi, q.f.Skip = hi-1, 0
	return err
}
