package index

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// What lifecycle rules look at beside a study's life: where its objects are, and whether anything is due. None
// of it is sealed.

// Places returns for each of the studies in which tiers its packs are, and whether nothing of it is left to be settled.
func (x *Index) Places(ctx context.Context, name archive.Tenant, studies ...archive.Ref) ([]archive.StudyPlace, error) {
	out := make([]archive.StudyPlace, len(studies))
	at := make(map[archive.Ref]int, len(studies))
	for i, s := range studies {
		at[s] = i
		out[i].Settled = true
	}
	if len(at) == 0 {
		return out, nil
	}
	place := func(v []driver.Value) error {
		p := &out[at[archive.Ref(blob(v[0]))]]
		if tier := text(v[1]); tier != "" {
			p.Tiers = append(p.Tiers, archive.TierName(tier))
		} else {
			p.Settled = false
		}
		return nil
	}
	stored := int64(archive.FactStored)
	err := x.read(ctx, name, func(c *conn, t *tenant) error {
		if x.shared {
			refs := make([][]byte, len(studies))
			for i := range studies {
				refs[i] = studies[i][:]
			}
			return c.query(ctx, `SELECT DISTINCT study, tier FROM packs WHERE tenant = ? AND study = ANY (?::bytea[]) AND refs > 0
				UNION ALL SELECT DISTINCT study, '' FROM entries WHERE tenant = ? AND study = ANY (?::bytea[]) AND kind = ? AND NOT closed`, place, t.id, refs, t.id, refs, stored)
		}
		for i := range studies {
			err := c.query(ctx, `SELECT DISTINCT study, tier FROM packs WHERE tenant = ? AND study = ? AND refs > 0
				UNION ALL SELECT DISTINCT study, '' FROM entries WHERE tenant = ? AND study = ? AND kind = ? AND NOT closed`, place, t.id, studies[i][:], t.id, studies[i][:], stored)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// Pending reports whether any study is due, or the first object that waits to be removed was let go of before a time, or its copy
// moved before another. It needs no key of the tenant.
func (x *Index) Pending(ctx context.Context, name archive.Tenant, now, letGo, moved time.Time) (pending bool, err error) {
	err = x.keyless(ctx, name, func(c *conn, id int64) error {
		g, err := generationOf(c, id)
		if pending = !g.whole(); err != nil || pending {
			return err
		}
		some := func([]driver.Value) error { return nil }
		for _, q := range [...]string{
			`SELECT 1 FROM lives INDEXED BY lives_new WHERE tenant = ? AND judged = 0 AND due <= ? ORDER BY due LIMIT 1`,
			`SELECT 1 FROM lives INDEXED BY lives_due WHERE tenant = ? AND judged > 0 AND due <= ? ORDER BY due LIMIT 1`,
		} {
			if pending, err = c.one(q, some, id, now.UnixMilli()); err != nil || pending {
				return err
			}
		}
		for i, before := range []time.Time{letGo, moved} {
			pending, err = c.one(`SELECT 1 FROM (SELECT since FROM doomed WHERE tenant = ? AND moved = ? ORDER BY id LIMIT 1) AS d WHERE since <= ?`, some, id, i == 1, before.UnixMilli())
			if err != nil || pending {
				return err
			}
		}
		return nil
	})
	return pending, err
}

// MaxLetGo bounds the objects that LetGo and Removing add up: of those that were moved, and of the others.
const MaxLetGo = 100_000

// LetGo returns about how many bytes of a tier are still there and will be removed: of the oldest objects, if there are very many.
func (x *Index) LetGo(ctx context.Context, name archive.Tenant, tier archive.TierName) (bytes int64, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		for _, moved := range []bool{false, true} {
			n, err := c.integer(`SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM (SELECT tier, size FROM doomed WHERE tenant = ? AND moved = ? ORDER BY id LIMIT (?+0)) AS d WHERE tier = ?`,
				t.id, moved, int64(MaxLetGo), string(tier))
			if err != nil {
				return err
			}
			bytes += n
		}
		return nil
	})
	return bytes, err
}
