package index

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/strata-pacs/strata/internal/archive"
)

// What was shelved is kept for years, and large: a row is read when it is the one that is asked for, and found by what is beside its payload.

// Keyed returns the tenant's row of the kind and key, false where there is none.
func (q Jobs) Keyed(ctx context.Context, t archive.Tenant, kind, key string) (j Job, ok bool, err error) {
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		var found []jobModel
		err := ofTenant(tx, t, kind).Where("key = ?", key).Limit(1).Find(&found).Error
		if ok = len(found) > 0; ok {
			j = found[0].job()
		}
		return err
	})
	if err != nil {
		return Job{}, false, fmt.Errorf("looking for a job: %w", err)
	}
	return j, ok, nil
}

// Shelved returns the newest of the tenant's rows of the kind that were shelved, of those that are older than the one with the
// identity before, 0 for all; false where there is none. With clean it must have been shelved without a reason.
func (q Jobs) Shelved(ctx context.Context, t archive.Tenant, kind string, clean bool, before int64) (j Job, ok bool, err error) {
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		rows := ofTenant(tx, t, kind).Where("failed")
		if clean {
			rows = rows.Where("reason = ''")
		}
		if before > 0 {
			rows = rows.Where("id < ?", before)
		}
		var newest []int64
		if err := rows.Select("COALESCE(MAX(id), 0)").Find(&newest).Error; err != nil {
			return err
		}
		var found []jobModel
		err := tx.Where("id IN ?", newest).Find(&found).Error
		if ok = len(found) > 0; ok {
			j = found[0].job()
		}
		return err
	})
	if err != nil {
		return Job{}, false, fmt.Errorf("looking for a job that is over: %w", err)
	}
	return j, ok, nil
}

// Tenants returns those that have rows of the kind.
func (q Jobs) Tenants(ctx context.Context, kind string) (out []archive.Tenant, err error) {
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		return tx.Model(&jobModel{}).Where("kind = ?", kind).Distinct("tenant").Order("tenant").Pluck("tenant", &out).Error
	})
	if err != nil {
		return nil, fmt.Errorf("asking which tenants have jobs: %w", err)
	}
	return out, nil
}
