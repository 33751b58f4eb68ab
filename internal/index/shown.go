package index

import (
	"context"
	"database/sql/driver"
	"strings"
)

// What somebody must wait for to see a series are the packs that shown rows of it lie in: how many, is counted for
// each. A pack of which all rows are deleted or hidden keeps nobody waiting, and is not to be restored for anybody.

// inPack are the rows of a series that lie in a pack.
type inPack struct {
	t      *tenant
	series int64
	pack   string
}

// shows counts a row in, or out, that is shown from now on, or no longer.
func (b *batch) shows(e *series, r *row, n int64) error {
	t := e.st.t
	dir, name := t.seal.tenant+"/pack/", r.At.Object
	if r.prefix != 0 { // what is there is the end of the name
		id, err := b.prefix(t, dir)
		if err != nil || id != r.prefix {
			return err
		}
		name = dir + name
	} else if !strings.HasPrefix(name, dir) {
		return nil
	}
	if b.shown == nil {
		b.shown = map[inPack]int64{}
	}
	b.shown[inPack{t, e.id, name}] += n
	return nil
}

// recount has the packs of the series' rows, whose names are whole, be counted anew when the entry is done.
func (b *batch) recount(rows []lying) error {
	states := map[*series]map[int64]State{}
	for _, l := range rows {
		if states[l.e] != nil {
			continue
		}
		of := map[int64]State{} // rows in hand may say what was so before others came
		err := b.c.query(context.Background(), `SELECT id, state FROM instances WHERE id > ? AND id <= ?`, func(v []driver.Value) error {
			of[integer(v[0])] = State(integer(v[1]))
			return nil
		}, l.e.id<<ordinalBits, l.e.id<<ordinalBits|ordinalMask)
		if err != nil {
			return err
		}
		if states[l.e] = of; len(of) == 0 {
			continue
		}
		if err := b.forgetShown(l.e); err != nil {
			return err
		}
	}
	for _, l := range rows {
		if states[l.e][l.r.ID] != StateVisible {
			continue
		}
		if err := b.shows(l.e, l.r, +1); err != nil {
			return err
		}
	}
	return nil
}

// forgetShown takes out what is counted of the series.
func (b *batch) forgetShown(e *series) error {
	for k := range b.shown {
		if k.series == e.id {
			delete(b.shown, k)
		}
	}
	return b.c.exec(`DELETE FROM pack_series WHERE series = ?`, e.id)
}

// storeShown writes what the entry has counted. Rows that were not counted, as an older version mapped them, stay so.
func (b *batch) storeShown() error {
	for k, n := range b.shown {
		var err error
		b.c.as(k.t.id)
		switch {
		case n > 0:
			err = b.c.exec(`INSERT INTO pack_series (series, pack, shown) SELECT CAST(? AS BIGINT), id, CAST(? AS BIGINT) FROM packs WHERE tenant = ? AND name = ?
				ON CONFLICT (series, pack) DO UPDATE SET shown = pack_series.shown + excluded.shown`, k.series, n, k.t.id, k.pack)
		case n < 0:
			err = b.c.exec(`UPDATE pack_series SET shown = shown - ? WHERE series = ? AND pack = (SELECT id FROM packs WHERE tenant = ? AND name = ?)`,
				-n, k.series, k.t.id, k.pack)
		}
		if err != nil {
			return err
		}
	}
	clear(b.shown)
	return nil
}
