package index

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Packs returns the packs of the study that live entries of the log name, by name.
func (x *Index) Packs(ctx context.Context, name archive.Tenant, study archive.Ref) (out []archive.PackState, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, `SELECT name, tier, fact, size, digest, restored FROM packs WHERE tenant = ? AND study = ? AND refs > 0 ORDER BY name`, func(v []driver.Value) error {
			var p archive.PackState
			p.Object, p.Tier, p.Size = text(v[0]), archive.TierName(text(v[1])), integer(v[3])
			copy(p.Fact[:], blob(v[2]))
			copy(p.Digest[:], blob(v[4]))
			p.Restored = timeOf(integer(v[5]))
			out = append(out, p)
			return nil
		}, t.id, study[:])
	})
	return out, err
}

// timeOf is a column of milliseconds, of which 0 is none.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Where returns the tier of a pack, and whether the index knows it. It needs no key of the tenant.
func (x *Index) Where(ctx context.Context, name archive.Tenant, object string) (tier archive.TierName, ok bool, err error) {
	err = x.readers.with(ctx, nil, func(c *conn) error {
		id := x.tenants.have(name).rowID()
		if id == 0 {
			if id, err = c.integer(`SELECT id FROM tenants WHERE name = ?`, string(name)); err != nil || id == 0 {
				return err
			}
		}
		c.as(id)
		ok, err = c.one(`SELECT tier FROM packs WHERE tenant = ? AND name = ?`, func(v []driver.Value) error {
			tier = archive.TierName(text(v[0]))
			return nil
		}, id, object)
		return err
	})
	return tier, ok, err
}

// Referenced reports whether a live entry of the log names the pack: a row that lies in it is one that such an entry states.
func (x *Index) Referenced(ctx context.Context, name archive.Tenant, object string) (yes bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		yes, err = c.one(`SELECT 1 FROM packs WHERE tenant = ? AND name = ? AND refs > 0`, func([]driver.Value) error { return nil }, t.id, object)
		return err
	})
	return yes, err
}

// Unreferenced returns those of the packs, in their order, that no live entry of the log names.
func (x *Index) Unreferenced(ctx context.Context, name archive.Tenant, objects []string) (free []string, err error) {
	used := make(map[string]bool, len(objects))
	note := func(v []driver.Value) error {
		used[text(v[0])] = true
		return nil
	}
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		if x.shared {
			return c.query(ctx, `SELECT name FROM packs WHERE tenant = ? AND name = ANY (?::text[]) AND refs > 0`, note, t.id, objects)
		}
		for _, o := range objects {
			if err := c.query(ctx, `SELECT name FROM packs WHERE tenant = ? AND name = ? AND refs > 0`, note, t.id, o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if !used[o] {
			free = append(free, o)
		}
	}
	return free, nil
}

// SetRestored notes until when a readable copy of the pack stays. No fact says so, and a rebuild forgets it.
func (x *Index) SetRestored(ctx context.Context, name archive.Tenant, object string, until time.Time) error {
	ms := int64(0)
	if !until.IsZero() {
		ms = until.UnixMilli()
	}
	return x.change(ctx, name, func(b *batch, t *tenant) error {
		return b.c.exec(`UPDATE packs SET restored = ? WHERE tenant = ? AND name = ?`, ms, t.id, object)
	})
}

// change runs f in a transaction of the tenant's writer: for what no fact says.
func (x *Index) change(ctx context.Context, name archive.Tenant, f func(*batch, *tenant) error) error {
	return x.inWriter(ctx, name, func(b *batch, t *tenant) error {
		if err := b.enter(t); err != nil {
			return err
		}
		return f(b, t)
	})
}

// Doomed returns up to limit copies that are to be deleted and that facts before the time let go, after a row
// identity and ascending by it: packs come before the entries of the log that named them.
// moved: those of packs that are in another tier now; else those of which nothing is needed any more.
func (x *Index) Doomed(ctx context.Context, name archive.Tenant, before time.Time, moved bool, after int64, limit int) (out []archive.Doomed, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, `SELECT id, object, tier, size, since FROM doomed WHERE tenant = ? AND moved = ? AND id > ? AND since < ? ORDER BY id LIMIT (?+0)`,
			func(v []driver.Value) error {
				out = append(out, archive.Doomed{ID: integer(v[0]), Object: text(v[1]), Tier: archive.TierName(text(v[2])), Size: integer(v[3]),
					Since: time.UnixMilli(integer(v[4])).UTC(), Moved: moved})
				return nil
			}, t.id, moved, after, before.UnixMilli(), int64(limit))
	})
	return out, err
}

// DoomedCopies returns the copies of an object that are to be deleted.
func (x *Index) DoomedCopies(ctx context.Context, name archive.Tenant, object string) (out []archive.Doomed, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		return c.query(ctx, `SELECT id, tier, size, since, moved FROM doomed WHERE tenant = ? AND object = ? ORDER BY id`, func(v []driver.Value) error {
			out = append(out, archive.Doomed{ID: integer(v[0]), Object: object, Tier: archive.TierName(text(v[1])), Size: integer(v[2]),
				Since: time.UnixMilli(integer(v[3])).UTC(), Moved: integer(v[4]) != 0})
			return nil
		}, t.id, object)
	})
	return out, err
}

// Undoom notes that copies are gone, or are to stay after all: they count for their tier no longer.
func (x *Index) Undoom(ctx context.Context, name archive.Tenant, ids ...int64) error {
	if len(ids) == 0 {
		return nil
	}
	return x.change(ctx, name, func(b *batch, t *tenant) error {
		for _, id := range ids {
			var tier archive.TierName
			var object string
			var size int64
			found, err := b.c.one(`SELECT tier, size, object FROM doomed WHERE id = ? AND tenant = ?`, func(v []driver.Value) error {
				tier, size, object = archive.TierName(text(v[0])), integer(v[1]), text(v[2])
				return nil
			}, id, t.id)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			b.tally(t, tier, -1, size)
			if err := b.c.exec(`DELETE FROM doomed WHERE id = ? AND tenant = ?`, id, t.id); err != nil {
				return err
			}
			if err := b.c.exec(`DELETE FROM packs WHERE tenant = ? AND name = ? AND gone AND tier = ?`, t.id, object, string(tier)); err != nil {
				return err
			}
		}
		return nil
	})
}

// TierUsage returns what each tier holds of the tenant, by name. It needs no key of the tenant.
func (x *Index) TierUsage(ctx context.Context, name archive.Tenant) (out []archive.TierUsage, err error) {
	err = x.keyless(ctx, name, func(c *conn, id int64) error {
		return c.query(ctx, `SELECT tier, objects, bytes FROM tier_usage WHERE tenant = ? AND objects > 0 ORDER BY tier`, func(v []driver.Value) error {
			out = append(out, archive.TierUsage{Tier: archive.TierName(text(v[0])), Objects: integer(v[1]), Bytes: integer(v[2])})
			return nil
		}, id)
	})
	return out, err
}
