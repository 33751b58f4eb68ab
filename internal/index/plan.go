package index

import (
	"context"
	"math"
)

// plan decides which postings to look up: groups at once; or, where groups is nil, common after a short walk.
// Both nil: walk.
func (q *studyQuery) plan(ctx context.Context) (groups, common [][]token, err error) {
	for _, any := range q.f.All {
		if len(any) > manyWords {
			continue // the caller matches exactly anyway
		}
		g := make([]token, 0, len(any))
		for _, term := range any {
			g = append(g, q.t.queryToken(term))
		}
		if len(g) <= fewWords {
			groups = append(groups, g)
		} else {
			common = append(common, g)
		}
	}
	if len(groups) == 0 && len(common) == 0 {
		return q.planModalities(ctx)
	}
	if len(groups) == 0 {
		return nil, common, nil
	}
	if len(groups) > 1 {
		if groups, err = q.narrow(ctx, groups); err != nil || len(groups) == 1 {
			return groups, nil, err
		}
	}
	return append(groups, common...), nil, nil
}

// scale says how far back the newest studies reach, whatever their terms: what
// the reach of a term's postings is measured against.
func (q *studyQuery) scale(c *conn) (newest, far int64, err error) {
	const query = `SELECT skey FROM studies INDEXED BY studies_day WHERE tenant = ? AND skey BETWEEN ? AND ?
		ORDER BY skey DESC LIMIT 1 OFFSET (?+0)`
	if newest, err = c.integer(query, q.t.id, q.lo, q.hi, int64(0)); err == nil {
		far, err = c.integer(query, q.t.id, q.lo, q.hi, int64(sample-1))
	}
	return newest, far, err
}

// narrow picks the groups that are worth looking up: the rarest alone when it
// is rare, else all but those that more than half of the studies have.
func (q *studyQuery) narrow(ctx context.Context, groups [][]token) (kept [][]token, err error) {
	err = q.read(ctx, func(c *conn) error {
		newest, far, err := q.scale(c)
		if err != nil {
			return err
		}
		rarest, deepest := 0, int64(math.MaxInt64)
		for i, g := range groups {
			if len(g) == 0 {
				kept = groups[i : i+1] // nothing meets this one
				return nil
			}
			n, reach, err := q.x.postings.sample(ctx, c, g, q.lo, q.hi, sample)
			if err != nil {
				return err
			}
			if n < sample {
				kept = groups[i : i+1]
				return nil
			}
			if reach < deepest {
				rarest, deepest = i, reach
			}
			if newest-reach > 2*(newest-far) {
				kept = append(kept, g)
			}
		}
		if len(kept) == 0 {
			kept = groups[rarest : rarest+1]
		}
		return nil
	})
	return kept, err
}

// planModalities decides for a filter of modalities and dates alone. A short
// time is walked, and so is a long one unless less than a tenth of the studies has them.
func (q *studyQuery) planModalities(ctx context.Context) (groups, common [][]token, err error) {
	days := int64(45) << q.x.idBits
	if len(q.f.Modalities) == 0 || q.hi-q.lo <= days || len(q.f.Modalities) > fewWords {
		return nil, nil, nil
	}
	var g []token
	for _, m := range q.f.Modalities {
		g = append(g, q.t.modalityToken(m))
	}
	err = q.read(ctx, func(c *conn) error {
		n, reach, err := q.x.postings.sample(ctx, c, g, q.lo, q.hi, sample)
		if err != nil {
			return err
		}
		newest, far, err := q.scale(c)
		if err == nil && (n < sample || newest-reach > 10*(newest-far)) {
			groups = [][]token{g}
		}
		return err
	})
	return groups, nil, err
}
