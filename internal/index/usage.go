package index

import (
	"context"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
)

// Removing returns what each tier holds that is about to be removed, by name: part of what TierUsage tells. more: of
// the oldest [MaxLetGo] objects alone, since there are more of them. It needs no key of the tenant.
func (x *Index) Removing(ctx context.Context, name archive.Tenant) (out []archive.TierUsage, more bool, err error) {
	err = x.keyless(ctx, name, func(c *conn, id int64) error {
		at := map[archive.TierName]int{}
		for _, moved := range []bool{false, true} {
			left := int64(MaxLetGo)
			err := c.query(ctx, `SELECT tier, count(*), CAST(SUM(size) AS BIGINT) FROM (SELECT tier, size FROM doomed WHERE tenant = ? AND moved = ? ORDER BY id LIMIT (?+0)) AS d
				GROUP BY tier ORDER BY tier`, func(v []driver.Value) error {
				tier := archive.TierName(text(v[0]))
				i, ok := at[tier]
				if !ok {
					i = len(out)
					at[tier] = i
					out = append(out, archive.TierUsage{Tier: tier})
				}
				out[i].Objects, out[i].Bytes = out[i].Objects+integer(v[1]), out[i].Bytes+integer(v[2])
				left -= integer(v[1])
				return nil
			}, id, moved, int64(MaxLetGo))
			if err != nil {
				return err
			}
			more = more || left == 0
		}
		return nil
	})
	return out, more, err
}

// Counted returns the tiers for which TierUsage counts a copy of the pack. It needs no key of the tenant.
func (x *Index) Counted(ctx context.Context, name archive.Tenant, object string) (tiers []archive.TierName, err error) {
	err = x.keyless(ctx, name, func(c *conn, id int64) error {
		return c.query(ctx, `SELECT tier FROM packs WHERE tenant = ? AND name = ? UNION SELECT tier FROM doomed WHERE tenant = ? AND object = ?`, func(v []driver.Value) error {
			tiers = append(tiers, archive.TierName(text(v[0])))
			return nil
		}, id, object, id, object)
	})
	return tiers, err
}
