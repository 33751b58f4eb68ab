package index

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Touched reads the change feed by study: those that entries after a sequence
// number are about, in the order of their first one, and the number up to which
// the feed was read: at most limit entries of it, 10,000 when that is 0. It reads
// no instance rows, and so costs little where an import filled the feed.
func (x *Index) Touched(ctx context.Context, name archive.Tenant, after int64, limit int) (list []archive.Touched, upTo int64, err error) {
	if limit <= 0 || limit > maxChanges {
		limit = maxChanges
	}
	upTo = max(after, 0)
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		u := newParents(t)
		at := map[int64]int{} // by row identity of the study, in list
		base := t.id << sequenceBits
		var series []changeRow // the first entry of each
		bySeries := map[int64]*stretch{}
		err := c.query(ctx, `SELECT id, time, action, instance FROM changes WHERE id > ? AND id <= ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
			r := changeRow{integer(v[0]) & sequenceMask, integer(v[1]), integer(v[2]), integer(v[3]) >> ordinalBits}
			s := bySeries[r.instance]
			if s == nil {
				s = &stretch{first: r.id}
				bySeries[r.instance] = s
				series = append(series, r)
			}
			s.last, s.ms = r.id, r.time
			s.lost = s.lost || action(r.action) == actionDelete || action(r.action) == actionReplace
			upTo = r.id
			return nil
		}, base|upTo, base|sequenceMask, int64(limit))
		if err != nil {
			return err
		}
		ids := make([]int64, len(series))
		for i, r := range series {
			ids[i] = r.instance
		}
		if err := u.look(c, ids); err != nil {
			return err
		}
		for _, r := range series {
			p := u.by[r.instance]
			if p.tenantID != t.id {
				return errRow
			}
			s := bySeries[r.instance]
			i, ok := at[p.study]
			if !ok {
				i = len(list)
				at[p.study] = i
				list = append(list, archive.Touched{Study: p.uids.Study, First: s.first})
			}
			d := &list[i]
			if s.last > d.Last {
				d.Last, d.Time = s.last, time.UnixMilli(s.ms).UTC()
			}
			d.Lost = d.Lost || s.lost
		}
		return nil
	})
	return list, upTo, err
}

// stretch is what a part of the feed says of a series.
type stretch struct {
	first, last int64
	ms          int64 // time of the last entry
	lost        bool
}
