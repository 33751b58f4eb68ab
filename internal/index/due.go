package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Due returns up to limit studies that are due now, behind a place, and the place behind them: those that
// facts made due, the longest due first, then those that were judged by rules that have changed since, then those
// whose time has come, the longest due first. Fewer than limit: these are the last. When all of the page
// are looked at, and what came of it noted, Judged is told of the place. Who evaluates rules reads them after the page and
// not before it: else rules that change in between may count as those that the page was judged by.
//
// What the rules made due is read by row, which costs far less than by the time at which each was due.
func (x *Index) Due(ctx context.Context, name archive.Tenant, now time.Time, from archive.DuePlace, limit int) (out []archive.StudyLife, to archive.DuePlace, err error) {
	if err := x.completeLives(ctx, name); err != nil {
		return nil, from, err
	}
	to = from
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		g, err := generationOf(c, t.id)
		if err != nil {
			return err
		}
		if from.Stage != archive.DueByFact && from.Generation != g.number { // the rules changed again
			to.Stage, to.Due, to.ID = archive.DueByRules, 0, g.swept
		}
		to.Generation, to.Swept = g.number, 0
		d := duePage{c: c, t: t, g: g, until: now.UnixMilli(), limit: limit}
		err = d.read(ctx, &to)
		out = d.out
		return err
	})
	return out, to, err
}

// duePage is a page of what is due, while it is read.
type duePage struct {
	c     *conn
	t     *tenant
	g     generation
	until int64 // ms
	limit int
	out   []archive.StudyLife
}

// read fills the page from a place on, which it puts behind the page.
func (d *duePage) read(ctx context.Context, at *archive.DuePlace) error {
	if at.Stage == archive.DueByFact {
		full, err := d.part(ctx, at, `SELECT `+lifeColumns+` FROM lives INDEXED BY lives_new WHERE tenant = ? AND judged = 0 AND (due, id) > (?, ?) AND due <= ?
			ORDER BY due, id LIMIT (?+0)`, d.t.id, at.Due, at.ID, d.until)
		if err != nil || full {
			return err
		}
		at.Stage, at.Due, at.ID = archive.DueByRules, 0, d.g.swept
	}
	if at.Stage == archive.DueByRules {
		if !d.g.whole() {
			// judged <> 0 keeps it from an index that is no help here.
			full, err := d.part(ctx, at, `SELECT `+lifeColumns+` FROM lives WHERE tenant = ? AND id > ? AND judged <> 0 AND judged < ?
				ORDER BY id LIMIT (?+0)`, d.t.id, at.ID, d.g.number)
			if err != nil {
				return err
			}
			if full {
				at.Swept = at.ID
				return nil
			}
			at.Swept = never
		}
		at.Stage, at.Due, at.ID = archive.DueByTime, 0, 0
	}
	// Not again those whose rules have changed: the pages before have them, and may not be noted yet.
	_, err := d.part(ctx, at, `SELECT `+lifeColumns+` FROM lives INDEXED BY lives_due WHERE tenant = ? AND judged > 0 AND (due, id) > (?, ?) AND due <= ?
		AND (judged >= ? OR id <= ?) ORDER BY due, id LIMIT (?+0)`, d.t.id, at.Due, at.ID, d.until, d.g.number, d.g.swept)
	return err
}

// part adds the rows of a query and reports whether the page is full.
func (d *duePage) part(ctx context.Context, at *archive.DuePlace, q string, args ...driver.Value) (full bool, err error) {
	err = d.c.query(ctx, q, func(v []driver.Value) error {
		l, err := d.t.openLife(v, d.g)
		if err != nil {
			return err
		}
		d.out = append(d.out, l)
		at.ID, at.Due = integer(v[0]), integer(v[2])
		return nil
	}, append(args, int64(d.limit-len(d.out)))...)
	return len(d.out) >= d.limit, err
}

// SetDue says when studies that were looked at are to be looked at again; never, until a fact comes, at the
// zero time. It leaves alone a study about which a fact came since it was read, and those that were read before the
// rules changed: they stay due.
func (x *Index) SetDue(ctx context.Context, name archive.Tenant, next ...archive.NextDue) error {
	next = slices.Clone(next)
	slices.SortFunc(next, func(a, b archive.NextDue) int { return cmp.Compare(a.ID, b.ID) })
	return x.inPages(ctx, name, len(next), func(b *batch, t *tenant, from, to int) error {
		g, err := generationOf(b.c, t.id)
		if err != nil {
			return err
		}
		for i := range next[from:to] {
			n := &next[from+i]
			if n.Mark.Generation != g.number {
				continue
			}
			if err := b.c.many(&ofDue, g.number, dueNumber(n.At), t.id, n.ID, n.Mark.Seen[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Judged notes that all studies before a place that Due returned have been looked at: what came of it was
// noted (SetDue), or they stay due when they were (StudyLife.Stays). Where rules have changed meanwhile nothing is noted.
func (x *Index) Judged(ctx context.Context, name archive.Tenant, all archive.DuePlace) error {
	if all.Swept == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return x.update(ctx, name, func(b *batch, t *tenant) error {
		return b.c.exec(`UPDATE generations SET swept = ? WHERE tenant = ? AND generation = ? AND swept < ?`, all.Swept, t.id, all.Generation, all.Swept)
	})
}

// AllDue makes every study of the tenant due: what they are judged by has changed. It costs the same however many there are.
func (x *Index) AllDue(ctx context.Context, name archive.Tenant) error {
	return x.update(ctx, name, func(b *batch, t *tenant) error { return b.allDue(t) })
}
