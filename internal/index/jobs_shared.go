package index

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Some deferred work is not done by whoever claims it, but shared: many add to one
// row, and who works on it, alone by a lease of its own, notes how far it is. Such rows are
// read and changed as a whole in one transaction. Their kinds must not be claimed.

// maxJobIDs is how many rows one statement is asked for by identity.
const maxJobIDs = 500

var (
	errNoJob    = fault.New(fault.NotFound, "there is no such job")
	errManyJobs = fault.New(fault.TooMany, "as many jobs of the kind are open as there may be; try again later")
)

// ofTenant selects the tenant's rows of a kind.
func ofTenant(tx *gorm.DB, t archive.Tenant, kind string) *gorm.DB {
	return tx.Model(&jobModel{}).Where("kind = ? AND tenant = ?", kind, string(t))
}

// Count returns how many rows of the kind the tenant has; where keys are given, of these alone.
func (q Jobs) Count(ctx context.Context, t archive.Tenant, kind string, keys ...string) (total int, err error) {
	pages := slices.Collect(slices.Chunk(keys, maxJobIDs))
	if len(keys) == 0 {
		pages = [][]string{nil}
	}
	for _, page := range pages {
		var n int64
		err := q.x.inTx(ctx, func(tx *gorm.DB) error {
			rows := ofTenant(tx, t, kind)
			if len(page) > 0 {
				rows = rows.Where("key IN ?", page)
			}
			return rows.Count(&n).Error
		})
		if err != nil {
			return 0, fmt.Errorf("counting jobs: %w", err)
		}
		total += int(n)
	}
	return total, nil
}

// Merge adds a row of the kind and key, or changes the one that there is: f is given what it says by now, ID 0
// for one that is new, and sets Payload, Due, Kind and Key. It may be called again. The error of f is returned and
// nothing is changed. Created is the time that the caller gives to a new one. Where most is not 0 and the tenant has as
// many rows of the kind, a new one is fault.TooMany; on PostgreSQL those that come at once may each be the last.
func (q Jobs) Merge(ctx context.Context, t archive.Tenant, kind, key string, created time.Time, most int, f func(*Job) error) (j Job, err error) {
	if kind == "" || key == "" {
		return Job{}, errJob
	}
	var own error
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		own = nil
		m := jobModel{Tenant: string(t), Kind: kind, Key: key, Payload: []byte{}, Due: created.UnixMilli(), Created: created.UnixMilli()}
		res := tx.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "kind"}, {Name: "tenant"}, {Name: "key"}}, DoNothing: true}).Create(&m)
		if res.Error != nil {
			return res.Error
		}
		if most > 0 && res.RowsAffected > 0 {
			var n int64
			if err := ofTenant(tx, t, kind).Count(&n).Error; err != nil {
				return err
			}
			if n > int64(most) {
				own = errManyJobs
				return fault.Wrap(fault.Conflict, own, "")
			}
		}
		var found jobModel // m has no identity to go by where a row was there
		err := ofTenant(q.x.locking(tx, ""), t, kind).Where("key = ?", key).Take(&found).Error
		if err != nil {
			return err
		}
		if j, own, err = change(tx, &found, res.RowsAffected > 0, f); own != nil {
			return fault.Wrap(fault.Conflict, own, "") // ends the transaction, and is not tried again
		}
		return err
	})
	if own != nil {
		return Job{}, own
	}
	if err != nil {
		return Job{}, fmt.Errorf("noting a job: %w", err)
	}
	return j, nil
}

// Change changes the row with the identity, as Merge does; fault.NotFound when it is gone.
func (q Jobs) Change(ctx context.Context, id int64, f func(*Job) error) (j Job, err error) {
	var own error
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		var found []jobModel
		err := q.x.locking(tx, "").Where("id = ?", id).Limit(1).Find(&found).Error
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			own = errNoJob
		default:
			j, own, err = change(tx, &found[0], false, f)
		}
		if own != nil {
			return fault.Wrap(fault.Conflict, own, "")
		}
		return err
	})
	if own != nil {
		return Job{}, own
	}
	if err != nil {
		return Job{}, fmt.Errorf("changing a job: %w", err)
	}
	return j, nil
}

// change lets f change a row; own is its error.
func change(tx *gorm.DB, m *jobModel, added bool, f func(*Job) error) (j Job, own, err error) {
	j = m.job()
	if added {
		j.ID = 0
	}
	if own = f(&j); own != nil {
		return Job{}, own, nil
	}
	j.ID = m.ID
	err = tx.Model(&jobModel{}).Where("id = ?", m.ID).
		Updates(map[string]any{"kind": j.Kind, "key": j.Key, "payload": j.Payload, "due": j.Due.UnixMilli()}).Error
	return j, nil, err
}

// Get returns the tenant's rows with the identities, by identity; those that are gone are left out.
func (q Jobs) Get(ctx context.Context, t archive.Tenant, ids ...int64) (jobs []Job, err error) {
	for page := range slices.Chunk(ids, maxJobIDs) {
		var found []jobModel
		err := q.x.inTx(ctx, func(tx *gorm.DB) error {
			found = nil
			return tx.Where("id IN ? AND tenant = ?", page, string(t)).Find(&found).Error
		})
		if err != nil {
			return nil, fmt.Errorf("reading jobs: %w", err)
		}
		for i := range found {
			jobs = append(jobs, found[i].job())
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	return jobs, nil
}

// Due returns up to limit rows of the kind, of any tenant, that are due by the time, by when they are due and
// then by identity; behind the row given, whose Due and ID alone are looked at.
func (q Jobs) Due(ctx context.Context, kind string, by time.Time, after Job, limit int) (jobs []Job, err error) {
	from := int64(math.MinInt64)
	if !after.Due.IsZero() {
		from = after.Due.UnixMilli()
	}
	var found []jobModel
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		found = nil
		return tx.Where("kind = ? AND due <= ? AND (due, id) > (?, ?)", kind, by.UnixMilli(), from, after.ID).
			Order("due, id").Limit(min(limit, maxClaim)).Find(&found).Error
	})
	if err != nil {
		return nil, fmt.Errorf("looking for jobs that are due: %w", err)
	}
	for i := range found {
		jobs = append(jobs, found[i].job())
	}
	return jobs, nil
}

// Remove removes rows by identity, whoever works on them.
func (q Jobs) Remove(ctx context.Context, ids ...int64) error {
	for page := range slices.Chunk(ids, maxJobIDs) {
		err := q.x.inTx(ctx, func(tx *gorm.DB) error { return tx.Where("id IN ?", page).Delete(&jobModel{}).Error })
		if err != nil {
			return fmt.Errorf("removing jobs: %w", err)
		}
	}
	return nil
}

// OfKinds returns up to limit of the tenant's rows of the kinds with identities above after, by identity.
func (q Jobs) OfKinds(ctx context.Context, t archive.Tenant, kinds []string, after int64, limit int) (jobs []Job, err error) {
	var found []jobModel
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		found = nil
		return tx.Where("id > ? AND tenant = ? AND kind IN ?", after, string(t), kinds).Order("id").Limit(min(limit, maxClaim)).Find(&found).Error
	})
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}
	for i := range found {
		jobs = append(jobs, found[i].job())
	}
	return jobs, nil
}
