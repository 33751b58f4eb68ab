package index

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var errNoRow = fault.New(fault.NotFound, "there is no such row in the index")

// parents remembers the UIDs above instance rows, for one query.
type parents struct {
	t  *tenant
	by map[int64]parent // by series
}

type parent struct {
	study    int64
	uids     archive.UIDs
	tenantID int64
}

func newParents(t *tenant) *parents { return &parents{t: t, by: map[int64]parent{}} }

// of returns what is above the instances of a series.
func (u *parents) of(c *conn, series int64) (parent, error) {
	err := u.look(c, []int64{series})
	return u.by[series], err
}

// look looks up what is above the instances of the series, in one go.
func (u *parents) look(c *conn, series []int64) error {
	if len(u.by) > 4096 {
		clear(u.by)
	}
	var ask []int64
	for _, id := range series {
		if _, ok := u.by[id]; !ok {
			u.by[id] = parent{}
			ask = append(ask, id)
		}
	}
	return c.each(context.Background(), `SELECT e.id, e.study, e.sealed, s.tenant, s.sealed FROM series e JOIN studies s ON s.id = e.study WHERE e.id = ?`, func(v []driver.Value) error {
		id := integer(v[0])
		p := parent{study: integer(v[1]), tenantID: integer(v[3])}
		if p.tenantID != u.t.id {
			u.by[id] = p
			return nil
		}
		plain, err := u.t.seal.open(blob(v[4]), inStudies, p.study)
		if err != nil {
			return err
		}
		var s studyRec
		if err := s.decode(plain); err != nil {
			return err
		}
		if plain, err = u.t.seal.open(blob(v[2]), inSeries, id); err != nil {
			return err
		}
		var e seriesRec
		if err := e.decode(plain); err != nil {
			return err
		}
		p.uids = archive.UIDs{Study: s.uid, Series: e.uid}
		u.by[id] = p
		return nil
	}, ask)
}

// names makes the names of the rows' objects whole, and says where those are.
func (x *Index) names(c *conn, t *tenant, rows []*row) error {
	for _, r := range rows {
		if err := x.name(c, r); err != nil {
			return err
		}
	}
	return x.ofInstances(c, t, rows)
}

// name makes the object's name whole.
func (x *Index) name(c *conn, r *row) error {
	x.prefixMu.RLock()
	dir, ok := x.prefixes[r.prefix]
	x.prefixMu.RUnlock()
	if !ok {
		found, err := c.one(`SELECT text FROM prefixes WHERE id = ?`, func(v []driver.Value) error {
			dir = text(v[0])
			return nil
		}, r.prefix)
		if err != nil {
			return err
		}
		if !found {
			return errRow
		}
		x.prefixMu.Lock()
		if len(x.prefixes) > 1<<16 {
			clear(x.prefixes)
		}
		x.prefixes[r.prefix] = dir
		x.prefixMu.Unlock()
	}
	r.At.Object = dir + r.At.Object
	return nil
}

// instancesByID returns the instance rows, of whatever state; nil for those that the tenant has not.
func (x *Index) instancesByID(c *conn, u *parents, ids []int64) ([]*row, error) {
	out := make([]*row, len(ids))
	at := make(map[int64]int, len(ids))
	var own, series []int64
	for i, id := range ids {
		if _, twice := at[id]; !twice {
			at[id] = i
			series = append(series, id>>ordinalBits)
		}
	}
	if err := u.look(c, series); err != nil {
		return nil, err
	}
	for id := range at {
		if u.by[id>>ordinalBits].tenantID == u.t.id {
			own = append(own, id)
		}
	}
	err := c.each(context.Background(), `SELECT id, state, sealed FROM instances WHERE id = ?`, func(v []driver.Value) error {
		id := integer(v[0])
		r, err := u.t.openInstance(id, State(integer(v[1])), blob(v[2]))
		if err != nil {
			return err
		}
		p := u.by[id>>ordinalBits]
		r.StudyID, r.Study, r.UIDs.Series = p.study, p.uids.Study, p.uids.Series
		out[at[id]] = r
		return nil
	}, own)
	if err != nil {
		return nil, err
	}
	found := make([]*row, 0, len(own))
	for i, id := range ids {
		if r := out[at[id]]; r != nil && i != at[id] {
			out[i] = r
		} else if r != nil {
			found = append(found, r)
		}
	}
	return out, x.names(c, u.t, found)
}

// bySOP returns the tenant's rows of a SOP Instance UID, whatever their state.
func (x *Index) bySOP(c *conn, u *parents, uid string) (rows []*row, err error) {
	var ids []int64
	err = c.query(context.Background(), `SELECT id FROM instances WHERE sop = ? ORDER BY id`, func(v []driver.Value) error {
		ids = append(ids, integer(v[0]))
		return nil
	}, u.t.sop(uid))
	if err != nil {
		return nil, err
	}
	found, err := x.instancesByID(c, u, ids)
	for _, r := range found {
		if r != nil && r.UIDs.Instance == uid {
			rows = append(rows, r)
		}
	}
	return rows, err
}

// Versions returns the live instances of the same three UIDs, the visible one
// first, and whether the SOP Instance UID is also in another study or series.
func (x *Index) Versions(ctx context.Context, name archive.Tenant, u archive.UIDs) (out []archive.InstanceRow, elsewhere bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		rows, err := x.bySOP(c, newParents(t), u.Instance)
		if err != nil {
			return err
		}
		slices.SortFunc(rows, func(a, b *row) int {
			return cmp.Or(cmp.Compare(a.state, b.state), a.Source.Compare(b.Source))
		})
		for _, r := range rows {
			switch {
			case r.state == StateDeleted:
			case r.UIDs == u:
				out = append(out, r.InstanceRow)
			default:
				elsewhere = true
			}
		}
		return nil
	})
	return out, elsewhere, err
}

// InstancesByUID returns the visible instances of these SOP Instance UIDs, in whichever study.
func (x *Index) InstancesByUID(ctx context.Context, name archive.Tenant, uids []string) (out []archive.InstanceRow, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		p := newParents(t)
		for _, uid := range uids {
			if err := ctx.Err(); err != nil {
				return err
			}
			rows, err := x.bySOP(c, p, uid)
			if err != nil {
				return err
			}
			slices.SortFunc(rows, func(a, b *row) int { return a.Source.Compare(b.Source) })
			for _, r := range rows {
				if r.state == StateVisible {
					out = append(out, r.InstanceRow)
				}
			}
		}
		return nil
	})
	return out, err
}

// StudyByID returns the study of a row identity, or fault.NotFound.
func (x *Index) StudyByID(ctx context.Context, name archive.Tenant, id int64) (s *archive.StudyRow, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		_, err := c.one(`SELECT tenant, ref, sealed FROM studies WHERE id = ?`, func(v []driver.Value) (err error) {
			if integer(v[0]) == t.id {
				s, err = t.openStudy(id, blob(v[1]), blob(v[2]))
			}
			return err
		}, id)
		if err != nil || s == nil {
			return err
		}
		return x.ofStudies(ctx, c, t, []*archive.StudyRow{s})
	})
	if err == nil && s == nil {
		err = errNoRow
	}
	return s, err
}

// SeriesByID returns the series of a row identity, or fault.NotFound.
func (x *Index) SeriesByID(ctx context.Context, name archive.Tenant, id int64) (s *archive.SeriesRow, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) (err error) {
		s, err = seriesByID(c, t, id)
		if err != nil || s == nil {
			return err
		}
		one := []archive.SeriesRow{*s}
		err = x.ofSeries(ctx, c, t, one)
		s = &one[0]
		return err
	})
	if err == nil && s == nil {
		err = errNoRow
	}
	return s, err
}

func seriesByID(c *conn, t *tenant, id int64) (s *archive.SeriesRow, err error) {
	_, err = c.one(`SELECT e.id, e.study, e.ref, e.sealed, s.tenant FROM series e JOIN studies s ON s.id = e.study WHERE e.id = ?`, func(v []driver.Value) (err error) {
		if integer(v[4]) == t.id {
			s, err = t.openSeries(v)
		}
		return err
	}, id)
	return s, err
}

// SeriesOf returns the visible series of a study by series number and reference.
func (x *Index) SeriesOf(ctx context.Context, name archive.Tenant, study int64) (out []archive.SeriesRow, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		own, err := t.ownsStudy(c, study)
		if err != nil || !own {
			return err
		}
		if out, err = seriesOf(ctx, c, t, study); err != nil {
			return err
		}
		return x.ofSeries(ctx, c, t, out)
	})
	return out, err
}

func seriesOf(ctx context.Context, c *conn, t *tenant, study int64) (out []archive.SeriesRow, err error) {
	err = c.query(context.Background(), `SELECT `+seriesColumns+` FROM series WHERE study = ?`, func(v []driver.Value) error {
		s, err := t.openSeries(v)
		if err != nil {
			return err
		}
		if s.Instances > 0 {
			out = append(out, *s)
		}
		return ctx.Err()
	}, study)
	slices.SortFunc(out, func(a, b archive.SeriesRow) int {
		return cmp.Or(cmp.Compare(number(a.Attrs, tagSeriesNumber), number(b.Attrs, tagSeriesNumber)), bytes.Compare(a.Ref[:], b.Ref[:]))
	})
	return out, err
}

// SeriesByUID returns the visible series of these UIDs, in whichever study.
func (x *Index) SeriesByUID(ctx context.Context, name archive.Tenant, uids []string) (out []archive.SeriesRow, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		for _, uid := range uids {
			if err := ctx.Err(); err != nil {
				return err
			}
			ref := t.keys.Ref(uid)
			err := c.query(context.Background(), `SELECT e.id, e.study, e.ref, e.sealed, s.tenant FROM series e JOIN studies s ON s.id = e.study WHERE e.ref = ?`, func(v []driver.Value) error {
				if integer(v[4]) != t.id {
					return nil
				}
				s, err := t.openSeries(v)
				if err == nil && s.Instances > 0 && s.UID == uid {
					out = append(out, *s)
				}
				return err
			}, ref[:])
			if err != nil {
				return err
			}
		}
		return x.ofSeries(ctx, c, t, out)
	})
	return out, err
}

// studyByUID returns the identity of the study, 0 when there is none.
func studyByUID(c *conn, t *tenant, uid string) (int64, error) {
	ref := t.keys.Ref(uid)
	return c.integer(`SELECT id FROM studies WHERE tenant = ? AND ref = ?`, t.id, ref[:])
}
