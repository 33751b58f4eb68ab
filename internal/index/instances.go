package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var errNoStudy = fault.New(fault.Invalid, "a selection of instances has to name a study")

// Instances yields the visible instances that sel names, with all three UIDs,
// ordered by series number, series, instance number and source. sel names at least a study. Yield may call the index.
func (x *Index) Instances(ctx context.Context, name archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error {
	if sel.Study == "" {
		return errNoStudy
	}
	if sel.Instance != "" {
		rows, err := x.InstancesByUID(ctx, name, []string{sel.Instance})
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].UIDs == sel && !yield(&rows[i]) {
				return nil
			}
		}
		return nil
	}
	var list []archive.SeriesRow
	err := x.read(ctx, name, func(c *conn, t *tenant) error {
		id, err := studyByUID(c, t, sel.Study)
		if err != nil || id == 0 {
			return err
		}
		if sel.Series == "" {
			list, err = seriesOf(ctx, c, t, id)
			return err
		}
		ref := t.keys.Ref(sel.Series)
		_, err = c.one(`SELECT `+seriesColumns+` FROM series WHERE study = ? AND ref = ?`, func(v []driver.Value) error {
			s, err := t.openSeries(v)
			if err == nil && s.Instances > 0 {
				list = append(list, *s)
			}
			return err
		}, id, ref[:])
		return err
	})
	if err != nil {
		return err
	}
	return x.instancesOf(ctx, name, list, sel.Study, yield)
}

// InstancesOf returns the visible instances of a series by instance number and
// source. archive.SeriesRow.Instances says how many that is; Instances yields many a piece at a time.
func (x *Index) InstancesOf(ctx context.Context, name archive.Tenant, series int64) (out []archive.InstanceRow, err error) {
	var list []archive.SeriesRow
	var study string
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		s, err := seriesByID(c, t, series)
		if err != nil || s == nil || s.Instances == 0 {
			return err
		}
		p, err := newParents(t).of(c, series)
		if err != nil {
			return err
		}
		study, list = p.uids.Study, append(list, *s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = x.instancesOf(ctx, name, list, study, func(r *archive.InstanceRow) bool {
		out = append(out, *r)
		return true
	})
	return out, err
}

const (
	wholeSeries = 2048 // a series of no more is read at once
	gathered    = 512  // small ones are read together up to so many instances
	instPage    = 256
)

// instancesOf yields the visible instances of the series.
func (x *Index) instancesOf(ctx context.Context, name archive.Tenant, list []archive.SeriesRow, study string, yield func(*archive.InstanceRow) bool) error {
	for len(list) > 0 {
		if list[0].Instances > wholeSeries {
			more, err := x.longSeries(ctx, name, &list[0], study, yield)
			if err != nil || !more {
				return err
			}
			list = list[1:]
			continue
		}
		var rows []*row
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			for first := true; len(list) > 0 && (first || len(rows)+list[0].Instances <= gathered); first = false {
				from := len(rows)
				s := &list[0]
				err := c.query(context.Background(), `SELECT id, sealed FROM instances WHERE id BETWEEN ? AND ? AND state = 0`, func(v []driver.Value) error {
					r, err := t.openInstance(integer(v[0]), StateVisible, blob(v[1]))
					if err != nil {
						return err
					}
					r.StudyID, r.Study, r.UIDs.Series = s.StudyID, study, s.UID
					rows = append(rows, r)
					return nil
				}, s.ID<<ordinalBits, s.ID<<ordinalBits|ordinalMask)
				if err == nil {
					err = x.names(c, t, rows[from:])
				}
				if err != nil {
					return err
				}
				order(rows[from:])
				list = list[1:]
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range rows {
			if !yield(&r.InstanceRow) {
				return nil
			}
		}
	}
	return nil
}

func order(rows []*row) {
	keys := make([]sortKey, len(rows))
	for i, r := range rows {
		keys[i] = sortKey{number(r.Attrs, tagInstanceNumber), r.Source, int64(i)}
	}
	if slices.IsSortedFunc(keys, sortKey.compare) {
		return
	}
	slices.SortFunc(keys, sortKey.compare)
	sorted := make([]*row, len(rows))
	for i, k := range keys {
		sorted[i] = rows[k.id]
	}
	copy(rows, sorted)
}

// sortKey is what instances of a series are ordered by, and whose they are.
type sortKey struct {
	number int64
	source archive.Source
	id     int64
}

func (k sortKey) compare(o sortKey) int {
	return cmp.Or(cmp.Compare(k.number, o.number), k.source.Compare(o.source), cmp.Compare(k.id, o.id))
}

// longSeries orders first and then reads the rows a page at a time, so that memory holds 72 bytes an instance.
func (x *Index) longSeries(ctx context.Context, name archive.Tenant, s *archive.SeriesRow, study string, yield func(*archive.InstanceRow) bool) (more bool, err error) {
	keys, err := x.sortKeys(ctx, name, s.ID, false)
	if err != nil {
		return false, err
	}
	for len(keys) > 0 {
		page := keys[:min(instPage, len(keys))]
		keys = keys[len(page):]
		rows := make([]*row, 0, len(page))
		ids := make([]int64, len(page))
		for i, k := range page {
			ids[i] = k.id
		}
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			err := c.each(ctx, `SELECT id, sealed FROM instances WHERE id = ? AND state = 0`, func(v []driver.Value) error {
				r, err := t.openInstance(integer(v[0]), StateVisible, blob(v[1]))
				if err != nil {
					return err
				}
				r.StudyID, r.Study, r.UIDs.Series = s.StudyID, study, s.UID
				rows = append(rows, r)
				return nil
			}, ids)
			if err != nil {
				return err
			}
			return x.names(c, t, rows)
		})
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			if !yield(&r.InstanceRow) {
				return false, nil
			}
		}
	}
	return true, nil
}

// sortKeys returns what the rows of a series are ordered by, in order: of the visible ones, or of all.
func (x *Index) sortKeys(ctx context.Context, name archive.Tenant, series int64, all bool) (keys []sortKey, err error) {
	for after, n := series<<ordinalBits, instPage; n == instPage; {
		n = 0
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			return c.query(context.Background(), `SELECT id, sealed, state FROM instances WHERE id > ? AND id <= ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
				after = integer(v[0])
				n++
				if !all && State(integer(v[2])) != StateVisible {
					return nil
				}
				r, err := t.openInstance(after, StateVisible, blob(v[1]))
				if err == nil {
					keys = append(keys, sortKey{number(r.Attrs, tagInstanceNumber), r.Source, after})
				}
				return err
			}, after, series<<ordinalBits|ordinalMask, int64(instPage))
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(keys, sortKey.compare)
	return keys, nil
}

// Each yields every instance row of the tenant after the given row identity, in
// the order of identities, hidden versions and deleted ones included. Yield may call the index.
// On PostgreSQL rows that are added meanwhile may have identities that were passed.
func (x *Index) Each(ctx context.Context, name archive.Tenant, after int64, yield func(*archive.InstanceRow, State) bool) error {
	for series, n := after>>ordinalBits, instPage; n == instPage; {
		var list []int64
		err := x.read(ctx, name, func(c *conn, _ *tenant) error {
			return c.query(ctx, `SELECT id FROM series WHERE id >= ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
				list = append(list, integer(v[0]))
				return nil
			}, series, int64(instPage))
		})
		if err != nil {
			return err
		}
		n = len(list)
		for _, id := range list {
			more, err := x.eachOf(ctx, name, id, max(after, id<<ordinalBits), yield)
			if err != nil || !more {
				return err
			}
			series = id + 1
		}
	}
	return nil
}

// eachOf is Each for a series, if it is the tenant's.
func (x *Index) eachOf(ctx context.Context, name archive.Tenant, series, after int64, yield func(*archive.InstanceRow, State) bool) (more bool, err error) {
	for n := instPage; n == instPage; {
		var rows []*row
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			p, err := newParents(t).of(c, series)
			if err != nil || p.tenantID != t.id {
				return err
			}
			err = c.query(ctx, `SELECT id, state, sealed FROM instances WHERE id > ? AND id <= ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
				after = integer(v[0])
				r, err := t.openInstance(after, State(integer(v[1])), blob(v[2]))
				if err != nil {
					return err
				}
				r.StudyID, r.Study, r.UIDs.Series = p.study, p.uids.Study, p.uids.Series
				rows = append(rows, r)
				return nil
			}, after, series<<ordinalBits|ordinalMask, int64(instPage))
			if err != nil {
				return err
			}
			return x.names(c, t, rows)
		})
		if err != nil {
			return false, err
		}
		n = len(rows)
		for _, r := range rows {
			if !yield(&r.InstanceRow, r.state) {
				return false, nil
			}
		}
	}
	return true, nil
}

// below calls f with every row below sel, whatever its state. f must not call the index.
func (x *Index) below(ctx context.Context, name archive.Tenant, sel archive.UIDs, f func(*row)) error {
	if sel.Study == "" {
		return errNoStudy
	}
	return x.read(ctx, name, func(c *conn, t *tenant) error {
		if sel.Instance != "" {
			rows, err := x.bySOP(c, newParents(t), sel.Instance)
			for _, r := range rows {
				if r.UIDs == sel {
					f(r)
				}
			}
			return err
		}
		study, err := studyByUID(c, t, sel.Study)
		if err != nil || study == 0 {
			return err
		}
		var ids []int64
		list := func(v []driver.Value) error {
			ids = append(ids, integer(v[0]))
			return nil
		}
		if sel.Series != "" {
			ref := t.keys.Ref(sel.Series)
			err = c.query(ctx, `SELECT id FROM series WHERE study = ? AND ref = ?`, list, study, ref[:])
		} else {
			err = c.query(ctx, `SELECT id FROM series WHERE study = ?`, list, study)
		}
		if err != nil {
			return err
		}
		for _, id := range ids {
			err := c.query(ctx, `SELECT id, state, sealed FROM instances WHERE id BETWEEN ? AND ?`, func(v []driver.Value) error {
				r, err := t.openInstance(integer(v[0]), State(integer(v[1])), blob(v[2]))
				if err == nil {
					f(r)
				}
				return err
			}, id<<ordinalBits, id<<ordinalBits|ordinalMask)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
