package index

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// KeepCopy has the copy of a pack stay that a move left in a tier: as if it had been let go of at since, if that is later than it was,
// and notes that the pack can be read until then. It does nothing, and returns false, where there is no such copy, or
// it was let go of at a moment that does not come after the last: it is about to be removed. No fact says so: after a rebuild
// the copy goes when it would have gone without it, and what was let go of later in the log makes it stay longer, as ever.
func (x *Index) KeepCopy(ctx context.Context, name archive.Tenant, object string, tier archive.TierName, last, since, until time.Time) (kept bool, err error) {
	err = x.change(ctx, name, func(b *batch, t *tenant) error {
		var was int64
		found, err := b.c.one(`SELECT since FROM doomed WHERE tenant = ? AND object = ? AND tier = ? AND moved`, func(v []driver.Value) error {
			was = integer(v[0])
			return nil
		}, t.id, object, string(tier))
		if kept = found && err == nil && was > last.UnixMilli(); !kept {
			return err
		}
		if ms := since.UnixMilli(); ms > was {
			err := b.c.exec(`UPDATE doomed SET since = ? WHERE tenant = ? AND object = ? AND tier = ?`, ms, t.id, object, string(tier))
			if err != nil {
				return err
			}
		}
		return b.c.exec(`UPDATE packs SET restored = CASE WHEN restored < ? THEN ? ELSE restored END WHERE tenant = ? AND name = ?`,
			until.UnixMilli(), until.UnixMilli(), t.id, object)
	})
	return kept && err == nil, err
}
