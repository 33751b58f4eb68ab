package index

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Jobs is deferred work that any node may do: restores, rewraps, moves, in the
// hundreds. It is a leased table in the index's database rather than a queue of its own: one schema
// and one handler interface on both engines, and no second set of connections and migrations. What
// follows every object reads the change feed instead. Time is that of the database; see Leases.
//
// A job is done at least once: a node that dies leaves it to another when its claim ends.
type Jobs struct{ x *Index }

// Jobs returns the jobs of the database.
func (x *Index) Jobs() Jobs { return Jobs{x} }

// Job is one piece of deferred work.
type Job struct {
	ID       int64
	Tenant   archive.Tenant
	Kind     string
	Key      string // what it is about; carries no patient data
	Payload  []byte // as given; callers seal what needs it
	Due      time.Time
	Holder   string    // who works on it, or did last
	Until    time.Time // when the claim ends
	Attempts int64     // how often it was claimed, this time included
	Failed   bool      // given up
	Reason   string    // why it failed last
	Created  time.Time
}

// jobModel is the row of a job. Times are ms.
type jobModel struct {
	ID                int64 `gorm:"primaryKey"`
	Tenant, Kind, Key string
	Payload           []byte
	Due               int64
	Holder            string
	Until, Attempts   int64
	Failed            bool
	Reason            string
	Created           int64 `gorm:"autoCreateTime:false"`
}

// TableName names the table for GORM.
func (jobModel) TableName() string { return "jobs" }

func (m *jobModel) job() Job {
	return Job{ID: m.ID, Tenant: archive.Tenant(m.Tenant), Kind: m.Kind, Key: m.Key, Payload: m.Payload, Due: time.UnixMilli(m.Due).UTC(),
		Holder: m.Holder, Until: time.UnixMilli(m.Until).UTC(), Attempts: m.Attempts, Failed: m.Failed, Reason: m.Reason,
		Created: time.UnixMilli(m.Created).UTC()}
}

var (
	errJobGone = fault.New(fault.Conflict, "the claim on the job has ended and another took it, or it is done")
	errJob     = fault.New(fault.Invalid, "a job needs a kind and a key, and a claim a holder, a number and a time of at least a millisecond")
)

const (
	maxReason = 500
	maxClaim  = 1000
)

// Enqueue adds a job, to be done from due on, and reports whether it did: not where one
// of the tenant's with the same kind and key is open. One that was given up is opened again.
func (q Jobs) Enqueue(ctx context.Context, t archive.Tenant, kind, key string, payload []byte, due time.Time) (added bool, err error) {
	if kind == "" || key == "" {
		return false, errJob
	}
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		now, err := q.x.clock(tx)
		if err != nil {
			return err
		}
		m := jobModel{Tenant: string(t), Kind: kind, Key: key, Payload: payload, Due: due.UnixMilli(), Created: now}
		res := tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "kind"}, {Name: "tenant"}, {Name: "key"}},
			DoUpdates: clause.AssignmentColumns([]string{"payload", "due", "holder", "until", "attempts", "failed", "reason", "created"}),
			Where:     clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "jobs.failed"}}},
		}).Create(&m)
		added = res.RowsAffected > 0
		return res.Error
	})
	if err != nil {
		return false, fmt.Errorf("adding a job: %w", err)
	}
	return added, nil
}

// Claim takes up to n jobs of the kinds that are due and that nobody works on, the longest due first, for the time.
func (q Jobs) Claim(ctx context.Context, kinds []string, holder string, ttl time.Duration, n int) (jobs []Job, err error) {
	if len(kinds) == 0 || holder == "" || ttl < time.Millisecond || n < 1 {
		return nil, errJob
	}
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		jobs = nil
		now, err := q.x.clock(tx)
		if err != nil {
			return err
		}
		var found []jobModel
		err = q.x.locking(tx, "SKIP LOCKED").Where("kind IN ? AND due <= ? AND until <= ? AND NOT failed", kinds, now, now).
			Order("due, id").Limit(min(n, maxClaim)).Find(&found).Error
		if err != nil || len(found) == 0 {
			return err
		}
		ids := make([]int64, len(found))
		for i := range found {
			m := &found[i]
			m.Holder, m.Until, m.Attempts = holder, now+ttl.Milliseconds(), m.Attempts+1
			ids[i] = m.ID
			jobs = append(jobs, m.job())
		}
		return tx.Model(&jobModel{}).Where("id IN ?", ids).
			Updates(map[string]any{"holder": holder, "until": now + ttl.Milliseconds(), "attempts": gorm.Expr("attempts + 1")}).Error
	})
	if err != nil {
		return nil, fmt.Errorf("claiming jobs: %w", err)
	}
	return jobs, nil
}

// Extend makes the claim last for the time from now, and keeps the payload that the job has by now. It fails
// with fault.Conflict when the claim has ended, even if nobody took the job since.
func (q Jobs) Extend(ctx context.Context, j Job, ttl time.Duration) (Job, error) {
	err := q.x.inTx(ctx, func(tx *gorm.DB) error {
		now, err := q.x.clock(tx)
		if err != nil {
			return err
		}
		until := now + ttl.Milliseconds()
		j.Until = time.UnixMilli(until).UTC()
		return oneJob(own(tx, j).Where("until > ?", now).Updates(map[string]any{"until": until, "payload": j.Payload}))
	})
	if err != nil {
		return Job{}, fmt.Errorf("extending the claim on a job: %w", err)
	}
	return j, nil
}

// Finish removes the job: it is done. It fails with fault.Conflict when another took it.
func (q Jobs) Finish(ctx context.Context, j Job) error {
	if err := q.x.inTx(ctx, func(tx *gorm.DB) error { return oneJob(own(tx, j).Delete(&jobModel{})) }); err != nil {
		return fmt.Errorf("finishing a job: %w", err)
	}
	return nil
}

// Shelve ends the job and keeps its row, with its payload and under another key, to be looked at: as one that is
// not to be done. Rows of the tenant and kind that were shelved or given up, and added before the time, go. It fails with
// fault.Conflict when another took the job.
func (q Jobs) Shelve(ctx context.Context, j Job, key, reason string, before time.Time) error {
	if key == "" {
		return errJob
	}
	err := q.x.inTx(ctx, func(tx *gorm.DB) error {
		err := oneJob(own(tx, j).Updates(map[string]any{"key": key, "payload": j.Payload, "until": 0, "failed": true, "reason": archive.Cut(reason, maxReason)}))
		if err != nil {
			return err
		}
		return tx.Where("kind = ? AND tenant = ? AND failed AND created < ? AND id <> ?", j.Kind, string(j.Tenant), before.UnixMilli(), j.ID).Delete(&jobModel{}).Error
	})
	if err != nil {
		return fmt.Errorf("shelving a job: %w", err)
	}
	return nil
}

// Fail gives the job back, to be tried again from retry on, or gives it up when retry is zero. The reason is
// for an operator and carries no patient data. It fails with fault.Conflict when another took the job.
func (q Jobs) Fail(ctx context.Context, j Job, retry time.Time, reason string) error {
	set := map[string]any{"until": 0, "reason": archive.Cut(reason, maxReason), "failed": retry.IsZero()}
	if !retry.IsZero() {
		set["due"] = retry.UnixMilli()
	}
	if err := q.x.inTx(ctx, func(tx *gorm.DB) error { return oneJob(own(tx, j).Updates(set)) }); err != nil {
		return fmt.Errorf("noting that a job failed: %w", err)
	}
	return nil
}

// JobFilter selects jobs; an empty field selects all.
type JobFilter struct {
	Tenant archive.Tenant
	Kind   string
	Failed bool  // those given up alone
	After  int64 // identities above this one
	Limit  int   // 100 when 0, at most 1,000
}

// List returns jobs by identity.
func (q Jobs) List(ctx context.Context, f JobFilter) (jobs []Job, err error) {
	err = q.x.inTx(ctx, func(tx *gorm.DB) error {
		jobs = nil
		if f.Limit <= 0 {
			f.Limit = 100
		}
		query := tx.Where("id > ?", f.After).Order("id").Limit(min(f.Limit, maxClaim))
		if f.Tenant != "" {
			query = query.Where("tenant = ?", string(f.Tenant))
		}
		if f.Kind != "" {
			query = query.Where("kind = ?", f.Kind)
		}
		if f.Failed {
			query = query.Where("failed")
		}
		var found []jobModel
		if err := query.Find(&found).Error; err != nil {
			return err
		}
		for i := range found {
			jobs = append(jobs, found[i].job())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}
	return jobs, nil
}

// own selects the job as long as it is the claimant's.
func own(tx *gorm.DB, j Job) *gorm.DB {
	return tx.Model(&jobModel{}).Where("id = ? AND holder = ? AND attempts = ? AND NOT failed", j.ID, j.Holder, j.Attempts)
}

// oneJob fails when the job was not there to change.
func oneJob(res *gorm.DB) error {
	if res.Error == nil && res.RowsAffected == 0 {
		return errJobGone
	}
	return res.Error
}
