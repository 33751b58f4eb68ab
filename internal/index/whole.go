package index

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
)

// StudyInstances yields every instance row of the study, hidden versions and deleted ones too, by series number,
// series, instance number and source, whole as a settled fact restates it: with all UIDs, the attributes of each level that it
// came with, its layout, and the fact that stated it. Only JSON.Chunk is unset. Yield may call the index.
func (x *Index) StudyInstances(ctx context.Context, name archive.Tenant, ref archive.Ref, yield func(*archive.InstanceRow, archive.State) bool) error {
	var uid string
	var list []seriesOrder
	var patient map[uint64]archive.Attrs
	err := x.read(ctx, name, func(c *conn, t *tenant) error {
		st := &study{t: t, all: map[archive.Ref]*series{}}
		found, err := c.one(`SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref = ?`, st.load, t.id, ref[:])
		if err != nil || !found {
			return err
		}
		uid = st.uid
		if patient, err = setsOf(c, t, st.owner(), &st.set); err != nil {
			return err
		}
		return c.query(ctx, `SELECT `+seriesColumns+` FROM series WHERE study = ?`, func(v []driver.Value) error {
			e := &series{st: st}
			if err := e.load(v); err != nil {
				return err
			}
			d := decoder{b: e.set.attrs}
			list = append(list, seriesOrder{e, number(d.attrs(), tagSeriesNumber)})
			return nil
		}, st.id)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b seriesOrder) int {
		return cmp.Or(cmp.Compare(a.number, b.number), bytes.Compare(a.e.ref[:], b.e.ref[:]))
	})
	for _, l := range list {
		more, err := x.wholeSeries(ctx, name, l.e, uid, patient, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

type seriesOrder struct {
	e      *series
	number int64
}

// wholeSeries is StudyInstances for a series. Memory holds 72 bytes an instance, and a page of them.
func (x *Index) wholeSeries(ctx context.Context, name archive.Tenant, e *series, study string, patient map[uint64]archive.Attrs, yield func(*archive.InstanceRow, archive.State) bool) (more bool, err error) {
	keys, err := x.sortKeys(ctx, name, e.id, true)
	if err != nil {
		return false, err
	}
	var sets map[uint64]archive.Attrs
	err = x.read(ctx, name, func(c *conn, t *tenant) (err error) {
		sets, err = setsOf(c, t, e.owner(), &e.set)
		return err
	})
	for err == nil && len(keys) > 0 {
		page := keys[:min(instPage, len(keys))]
		keys = keys[len(page):]
		rows := make([]*row, 0, len(page))
		ids := make([]int64, len(page))
		for i, k := range page {
			ids[i] = k.id
		}
		err = x.read(ctx, name, func(c *conn, t *tenant) error {
			err := c.each(ctx, `SELECT id, state, sealed FROM instances WHERE id = ?`, func(v []driver.Value) error {
				r, err := t.openInstance(integer(v[0]), State(integer(v[1])), blob(v[2]))
				if err != nil {
					return err
				}
				r.StudyID, r.Study, r.UIDs.Series = e.st.id, study, e.uid
				r.Patient, r.Instance.Series, r.Stated = patient[r.sv], sets[r.ev], r.Source.Fact
				rows = append(rows, r)
				return nil
			}, ids)
			if err != nil {
				return err
			}
			return x.names(c, t, rows)
		})
		for i := 0; i < len(rows) && err == nil; i++ {
			if !yield(&rows[i].InstanceRow, rows[i].state) {
				return false, nil
			}
		}
	}
	return err == nil, err
}
