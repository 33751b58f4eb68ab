package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Life returns what lifecycle rules look at of a study, and whether the index has any of it.
func (x *Index) Life(ctx context.Context, name archive.Tenant, study archive.Ref) (l archive.StudyLife, ok bool, err error) {
	if err := x.completeLives(ctx, name); err != nil {
		return l, false, err
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		g, err := generationOf(c, t.id)
		if err != nil {
			return err
		}
		ok, err = c.one(`SELECT `+lifeColumns+` FROM lives WHERE tenant = ? AND id = (SELECT id FROM studies WHERE tenant = ? AND ref = ?)`,
			func(v []driver.Value) (err error) {
				l, err = t.openLife(v, g)
				return err
			}, t.id, t.id, study[:])
		return err
	})
	return l, ok, err
}

// Lives returns up to limit studies by row identity, from those above after.
func (x *Index) Lives(ctx context.Context, name archive.Tenant, after int64, limit int) (out []archive.StudyLife, err error) {
	if err := x.completeLives(ctx, name); err != nil {
		return nil, err
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		g, err := generationOf(c, t.id)
		if err != nil {
			return err
		}
		return c.query(ctx, `SELECT `+lifeColumns+` FROM lives WHERE tenant = ? AND id > ? ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
			l, err := t.openLife(v, g)
			out = append(out, l)
			return err
		}, t.id, after, int64(limit))
	})
	return out, err
}

// StudyCount returns how many studies of the tenant are visible. It needs no keys, and costs one look-up.
func (x *Index) StudyCount(ctx context.Context, name archive.Tenant) (n int64, err error) {
	err = x.keyless(ctx, name, func(c *conn, tenant int64) error {
		n, err = c.integer(`SELECT studies FROM generations WHERE tenant = ?`, tenant)
		return err
	})
	return n, err
}

// keyless runs f with a connection that sees the tenant's rows; not at all when the index has nothing of the tenant.
func (x *Index) keyless(ctx context.Context, name archive.Tenant, f func(c *conn, tenant int64) error) error {
	return x.readers.with(ctx, nil, func(c *conn) error {
		id, err := c.integer(`SELECT id FROM tenants WHERE name = ?`, string(name))
		if err != nil || id == 0 {
			return err
		}
		c.as(id)
		return f(c, id)
	})
}

// Accessed notes the day (UTC) on which pixels of the studies were asked for, where it is newer than the one that is
// known. Studies that the index does not have are passed over.
func (x *Index) Accessed(ctx context.Context, name archive.Tenant, day time.Time, studies ...archive.Ref) error {
	studies = slices.Clone(studies)
	slices.SortFunc(studies, func(a, b archive.Ref) int { return bytes.Compare(a[:], b[:]) })
	n := day.UnixMilli() / msDay
	return x.inPages(ctx, name, len(studies), func(b *batch, t *tenant, from, to int) error {
		for i := range studies[from:to] {
			err := b.c.exec(`UPDATE lives SET accessed = ? WHERE tenant = ? AND id = (SELECT id FROM studies WHERE tenant = ? AND ref = ?) AND accessed < ?`,
				n, t.id, t.id, studies[from+i][:], n)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// inPages calls f for parts of n things, each in a transaction of its own.
func (x *Index) inPages(ctx context.Context, name archive.Tenant, n int, f func(b *batch, t *tenant, from, to int) error) error {
	const page = 8192 // others wait for one
	for from := 0; from < n; from += page {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := x.update(ctx, name, func(b *batch, t *tenant) error { return f(b, t, from, min(n, from+page)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// update runs f in a transaction that changes nothing of what writers remember of the tenant.
func (x *Index) update(ctx context.Context, name archive.Tenant, f func(*batch, *tenant) error) error {
	return x.inWriter(ctx, name, func(b *batch, t *tenant) error {
		if x.shared { // as Apply does, so that the two never wait for each other; the count is for what is remembered
			if _, err := b.c.integer(`SELECT id FROM tenants WHERE id = ? FOR UPDATE`, t.id); err != nil {
				return err
			}
		}
		return f(b, t)
	})
}

// inWriter runs f in a transaction of the tenant's writer.
func (x *Index) inWriter(ctx context.Context, name archive.Tenant, f func(*batch, *tenant) error) error {
	w := x.writerOf(name)
	x.closing.RLock()
	defer x.closing.RUnlock()
	if x.closed {
		return errClosed
	}
	defer w.tidy()
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.tenant(ctx, name)
	if err != nil {
		return err
	}
	err = w.step(func(b *batch) error { return f(b, t) })
	if fault.Is(err, fault.Full) && x.ballast.release() { // nothing here stores instances, and some of it frees room
		err = w.step(func(b *batch) error { return f(b, t) })
	}
	return err
}

// completeLives makes the rows that an upgrade left to be made, a part of them in a transaction.
func (x *Index) completeLives(ctx context.Context, name archive.Tenant) error {
	const page = 100
	for {
		var ids []int64
		done := false
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			if done = t.complete.Load(); done {
				return nil
			}
			err := c.query(ctx, `SELECT id FROM lives INDEXED BY lives_new WHERE tenant = ? AND judged = 0 AND due = 0 ORDER BY id LIMIT (?+0)`, func(v []driver.Value) error {
				ids = append(ids, integer(v[0]))
				return nil
			}, t.id, int64(page))
			if err == nil && len(ids) == 0 {
				t.complete.Store(true)
			}
			return err
		})
		if err != nil || done || len(ids) == 0 {
			return err
		}
		err = x.inWriter(ctx, name, func(b *batch, t *tenant) error {
			if err := b.enter(t); err != nil {
				return err
			}
			for _, id := range ids {
				var ref archive.Ref
				if _, err := b.c.one(`SELECT ref FROM studies WHERE id = ?`, func(v []driver.Value) error {
					copy(ref[:], blob(v[0]))
					return nil
				}, id); err != nil {
					return err
				}
				st, err := b.study(t, ref, "", false)
				if err != nil {
					return err
				}
				if st == nil {
					return errRow
				}
				st.dirty = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
