package custody

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
)

// RetiredBefore reports whether every version of the tenant's KEK that may have
// wrapped a key at the time or earlier has been retired, so that a backup of the
// key bucket from then opens nothing. It says no where it cannot tell: the
// provider does not say when versions were made, the tenant's settings, and with
// them perhaps the KEK, have changed since the oldest of those backups, or a recovery
// key opens what is in escrow.
func (c *Custodian) RetiredBefore(ctx context.Context, t archive.Tenant, at time.Time) (bool, error) {
	info, err := c.o.Tenants.Get(ctx, t)
	if err != nil || info.Changed.After(at.Add(-c.o.Backups)) || info.Recovery != (archive.TenantRecovery{}) {
		return false, err
	}
	kek, err := c.kek(ctx, t, info.TenantSettings)
	if err != nil {
		return false, err
	}
	d, err := keys.Describe(ctx, c.o.Wrapper, kek)
	if err != nil || len(d.Versions) == 0 {
		return false, nil // nobody can tell
	}
	for _, v := range d.Versions {
		if v.Created.IsZero() || !v.Created.After(at) {
			return false, nil
		}
	}
	return true, nil
}
