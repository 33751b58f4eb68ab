package index

import (
	"context"
	"database/sql/driver"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

// What is in no pack is in the hot tier, and so is every pack until a fact says otherwise: only packs that are
// elsewhere are looked for, those of a page together, and none where no tier in use is slower than hot. A study or series
// is as the worst of the packs that instances lie in which are shown of it.

// availability of what lies in a tier, of which there is a readable copy until then (ms).
func (x *Index) availability(tier archive.TierName, restored int64) archive.Availability {
	if x.nearline == nil || tier == archive.HotTier {
		return archive.Online
	}
	a := x.nearline(tier)
	if a == archive.Nearline && restored > x.now().UnixMilli() {
		return archive.Online
	}
	return a
}

// worse returns the availability of something of which parts have these.
func worse(a, b archive.Availability) archive.Availability {
	switch {
	case a == archive.Unavailable || b == archive.Unavailable:
		return archive.Unavailable
	case a == archive.Nearline || b == archive.Nearline:
		return archive.Nearline
	}
	return archive.Online
}

// slow reports whether the tenant has anything in a tier that does not answer at once.
func (x *Index) slow(ctx context.Context, c *conn, t *tenant) (yes bool, err error) {
	if x.nearline == nil {
		return false, nil
	}
	err = c.query(ctx, `SELECT tier FROM tier_usage WHERE tenant = ? AND objects > 0`, func(v []driver.Value) error {
		yes = yes || x.availability(archive.TierName(text(v[0])), 0) != archive.Online
		return nil
	}, t.id)
	return yes, err
}

// ofStudies fills in the availability of studies.
func (x *Index) ofStudies(ctx context.Context, c *conn, t *tenant, rows []*archive.StudyRow) error {
	slow, err := x.slow(ctx, c, t)
	if err != nil || !slow || len(rows) == 0 {
		return err
	}
	by := make(map[archive.Ref]*archive.StudyRow, len(rows))
	refs := make([][]byte, 0, len(rows))
	for _, s := range rows {
		by[s.Ref] = s
		refs = append(refs, s.Ref[:])
	}
	behind := map[archive.Ref]bool{} // that have something in a pack which does not answer at once
	note := func(v []driver.Value) error {
		if x.availability(archive.TierName(text(v[1])), integer(v[2])) != archive.Online {
			behind[archive.Ref(blob(v[0]))] = true
		}
		return nil
	}
	if x.shared {
		err = c.query(ctx, `SELECT study, tier, restored FROM packs WHERE tenant = ? AND study = ANY (?::bytea[]) AND refs > 0 AND tier <> 'hot'`, note, t.id, refs)
	} else {
		for i := 0; i < len(refs) && err == nil; i++ {
			err = c.query(ctx, `SELECT study, tier, restored FROM packs WHERE tenant = ? AND study = ? AND refs > 0 AND tier <> 'hot'`, note, t.id, refs[i])
		}
	}
	if err != nil || len(behind) == 0 {
		return err
	}
	ids, at := make([]int64, 0, len(behind)), make(map[int64]*archive.StudyRow, len(behind))
	for ref := range behind {
		s := by[ref]
		at[s.ID] = s
		ids = append(ids, s.ID)
	}
	return c.each(ctx, `SELECT e.study, p.tier, p.restored FROM series e JOIN pack_series s ON s.series = e.id JOIN packs p ON p.id = s.pack
		WHERE e.study = ? AND COALESCE(s.shown, 1) > 0 AND p.tier <> 'hot'`, func(v []driver.Value) error {
		s := at[integer(v[0])]
		s.Tier = worse(s.Tier, x.availability(archive.TierName(text(v[1])), integer(v[2])))
		return nil
	}, ids)
}

// ofSeries fills in the availability of series.
func (x *Index) ofSeries(ctx context.Context, c *conn, t *tenant, rows []archive.SeriesRow) error {
	slow, err := x.slow(ctx, c, t)
	if err != nil || !slow || len(rows) == 0 {
		return err
	}
	by := make(map[int64]*archive.SeriesRow, len(rows))
	ids := make([]int64, len(rows))
	for i := range rows {
		by[rows[i].ID], ids[i] = &rows[i], rows[i].ID
	}
	return c.each(ctx, `SELECT s.series, p.tier, p.restored FROM pack_series s JOIN packs p ON p.id = s.pack 
		WHERE s.series = ? AND COALESCE(s.shown, 1) > 0 AND p.tier <> 'hot'`, func(v []driver.Value) error {
		s := by[integer(v[0])]
		s.Tier = worse(s.Tier, x.availability(archive.TierName(text(v[1])), integer(v[2])))
		return nil
	}, ids)
}

// ofInstances fills in where instances are whose objects' names are whole.
func (x *Index) ofInstances(c *conn, t *tenant, rows []*row) error {
	packs := map[string][]*row{}
	dir := t.seal.tenant + "/pack/"
	for _, r := range rows {
		r.Place, r.Tier = archive.HotTier, archive.Online
		if strings.HasPrefix(r.At.Object, dir) {
			packs[r.At.Object] = append(packs[r.At.Object], r)
		}
	}
	if len(packs) == 0 {
		return nil
	}
	var ask []question
	for name, in := range packs {
		ask = append(ask, question{`SELECT tier, restored FROM packs WHERE tenant = ? AND name = ?`, []driver.Value{t.id, name}, func(v []driver.Value) error {
			tier := archive.TierName(text(v[0]))
			a := x.availability(tier, integer(v[1]))
			for _, r := range in {
				r.Place, r.Tier = tier, a
			}
			return nil
		}})
	}
	return c.together(ask...)
}
