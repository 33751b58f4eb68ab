package index

import (
	"context"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
)

// step runs f in a transaction.
func (w *writer) step(f func(b *batch) error) error {
	b := w.begin()
	err := w.c.begin()
	if err == nil {
		err = f(b)
	}
	if err == nil {
		err = b.settle()
	}
	return w.end(b, err)
}

// allVersions decides for every SOP Instance UID of which there are several rows which one is shown.
func (w *writer) allVersions(ctx context.Context) error {
	for after, more := int64(-1<<63), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.step(func(b *batch) error {
			const page = 500
			var sops []int64
			err := b.c.query(ctx, `SELECT sop FROM instances WHERE sop > ? GROUP BY sop HAVING count(*) > 1 ORDER BY sop LIMIT (?+0)`, func(v []driver.Value) error {
				sops = append(sops, integer(v[0]))
				return nil
			}, after, int64(page))
			if err != nil {
				return err
			}
			b.bulk, b.late, b.at = true, true, b.now // postings come after this
			for _, sop := range sops {
				if err := b.versionsOf(sop); err != nil {
					return err
				}
				after = sop
			}
			more = len(sops) == page
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// versionsOf regroups the rows of one key, series by series.
func (b *batch) versionsOf(sop int64) error {
	bySeries := map[int64]int{}
	err := b.c.query(context.Background(), `SELECT id FROM instances WHERE sop = ? ORDER BY id`, func(v []driver.Value) error {
		bySeries[integer(v[0])>>ordinalBits]++
		return nil
	}, sop)
	if err != nil {
		return err
	}
	for id, n := range bySeries {
		if n < 2 {
			continue
		}
		e, err := b.seriesByID(id)
		if err != nil {
			return err
		}
		done := map[string]bool{}
		var uids []string
		err = b.c.query(context.Background(), `SELECT id, sealed FROM instances WHERE sop = ? ORDER BY id`, func(v []driver.Value) error {
			if integer(v[0])>>ordinalBits != id {
				return nil
			}
			r, err := e.st.t.openInstance(integer(v[0]), 0, blob(v[1]))
			if err == nil && !done[r.UIDs.Instance] {
				done[r.UIDs.Instance] = true
				uids = append(uids, r.UIDs.Instance)
			}
			return err
		}, sop)
		if err != nil {
			return err
		}
		for _, uid := range uids {
			if err := b.regroup(e, uid, actionCreate); err != nil {
				return err
			}
		}
	}
	return nil
}

// seriesByID brings a series and its study into the writer's hands.
func (b *batch) seriesByID(id int64) (*series, error) {
	var tenantID int64
	var study, ref archive.Ref
	var name string
	_, err := b.c.one(`SELECT s.tenant, s.ref, e.ref, t.name FROM series e JOIN studies s ON s.id = e.study JOIN tenants t ON t.id = s.tenant WHERE e.id = ?`, func(v []driver.Value) error {
		tenantID, study, ref, name = integer(v[0]), archive.Ref(blob(v[1])), archive.Ref(blob(v[2])), text(v[3])
		return nil
	}, id)
	if err != nil {
		return nil, err
	}
	if tenantID == 0 {
		return nil, errRow
	}
	t, err := b.w.x.tenants.get(context.Background(), archive.Tenant(name))
	if err == nil {
		err = b.enter(t)
	}
	if err != nil {
		return nil, err
	}
	st, err := b.study(t, study, "", false)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return nil, errRow
	}
	e, err := b.series(st, ref, "", false)
	if err == nil && e == nil {
		err = errRow
	}
	return e, err
}

// allPostings makes the postings of all studies again, in the order of their keys.
func (w *writer) allPostings(ctx context.Context) error {
	var names []string
	err := w.c.query(ctx, `SELECT name FROM tenants ORDER BY id`, func(v []driver.Value) error {
		names = append(names, text(v[0]))
		return nil
	})
	if err != nil {
		return err
	}
	err = w.step(func(b *batch) error { return b.c.exec(`INSERT INTO postings (postings) VALUES ('delete-all')`) })
	if err != nil {
		return err
	}
	for _, name := range names {
		t, err := w.x.tenants.get(ctx, archive.Tenant(name))
		if err != nil {
			return err
		}
		for after, more := int64(0), true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := w.step(func(b *batch) (err error) {
				after, more, err = b.somePostings(t, after)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) somePostings(t *tenant, after int64) (last int64, more bool, err error) {
	const page = 4000
	type one struct {
		skey  int64
		terms []token
	}
	all := make([]one, 0, page)
	err = b.c.query(context.Background(), `SELECT skey, id, ref, sealed FROM studies INDEXED BY studies_day WHERE tenant = ? AND skey > ? ORDER BY skey LIMIT (?+0)`, func(v []driver.Value) error {
		s, err := t.openStudy(integer(v[1]), blob(v[2]), blob(v[3]))
		if err != nil {
			return err
		}
		all = append(all, one{integer(v[0]), t.terms(s.Attrs, s.Modalities)})
		return nil
	}, t.id, after, int64(page))
	if err != nil {
		return 0, false, err
	}
	for _, o := range all {
		if err := putFTS(b.c, o.skey, o.terms); err != nil {
			return 0, false, err
		}
		last = o.skey
	}
	return last, len(all) == page, nil
}
