package index

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strata-pacs/strata/internal/fault"
)

// Leases say which node does what only one may do at a time. Time is that of the
// database, so that the clocks of nodes do not matter; on SQLite it is Options.Now.
//
// A holder counts the time to live from before it called Acquire or Renew, by its own
// monotonic clock, and stops when it is over. What it writes elsewhere it marks with
// the epoch, so that a holder that slept and does not know yet is recognised.
type Leases struct{ x *Index }

// Leases returns the leases of the database.
func (x *Index) Leases() Leases { return Leases{x} }

// Lease is a right held for some time.
type Lease struct {
	Name   string
	Holder string
	Epoch  int64     // grows with each change of hands
	Until  time.Time // by the clock of the database
}

// leaseModel is the row of a lease. Times are ms.
type leaseModel struct {
	Name   string `gorm:"primaryKey"`
	Holder string
	Epoch  int64
	Until  int64
}

// TableName names the table for GORM.
func (leaseModel) TableName() string { return "leases" }

func (m *leaseModel) lease() Lease {
	return Lease{Name: m.Name, Holder: m.Holder, Epoch: m.Epoch, Until: time.UnixMilli(m.Until).UTC()}
}

var (
	errLeaseGone = fault.New(fault.Conflict, "the lease has ended or is another's; acquire it again")
	errLeaseName = fault.New(fault.Invalid, "a lease needs a name, a holder and a time of at least a millisecond")
)

// Acquire takes the lease for the time when nobody has it, and reports whether it did. A holder that has it already does not
// get it again: every process, indeed every user of a lease, is a holder of its own. Names and holders carry no patient data.
func (l Leases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (lease Lease, ok bool, err error) {
	if name == "" || holder == "" || ttl < time.Millisecond {
		return Lease{}, false, errLeaseName
	}
	err = l.x.inTx(ctx, func(tx *gorm.DB) error {
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&leaseModel{Name: name}).Error; err != nil {
			return err
		}
		m, now, err := l.lock(tx, name)
		if err != nil || m.Until > now {
			return err
		}
		m.Holder, m.Epoch, m.Until = holder, m.Epoch+1, now+ttl.Milliseconds()
		lease, ok = m.lease(), true
		return tx.Save(&m).Error
	})
	if err != nil {
		return Lease{}, false, fmt.Errorf("acquiring a lease: %w", err)
	}
	return lease, ok, nil
}

// lock reads the lease, and the time after nobody else can change it.
func (l Leases) lock(tx *gorm.DB, name string) (m leaseModel, now int64, err error) {
	if err := l.x.locking(tx, "").Where("name = ?", name).Limit(1).Find(&m).Error; err != nil {
		return m, 0, err
	}
	now, err = l.x.clock(tx)
	return m, now, err
}

// Renew makes the lease last for the time from now. It fails with fault.Conflict
// when the lease has ended, even if nobody took it since.
func (l Leases) Renew(ctx context.Context, lease Lease, ttl time.Duration) (Lease, error) {
	if ttl < time.Millisecond {
		return Lease{}, errLeaseName
	}
	err := l.x.inTx(ctx, func(tx *gorm.DB) error {
		m, now, err := l.lock(tx, lease.Name)
		if err != nil {
			return err
		}
		if m.Epoch != lease.Epoch || m.Holder != lease.Holder || m.Until <= now {
			return errLeaseGone
		}
		m.Until = now + ttl.Milliseconds()
		lease = m.lease()
		return tx.Save(&m).Error
	})
	if err != nil {
		return Lease{}, fmt.Errorf("renewing a lease: %w", err)
	}
	return lease, nil
}

// Release ends the lease. One that is another's by now stays as it is.
func (l Leases) Release(ctx context.Context, lease Lease) error {
	err := l.x.inTx(ctx, func(tx *gorm.DB) error {
		return tx.Model(&leaseModel{}).Where("name = ? AND epoch = ? AND holder = ?", lease.Name, lease.Epoch, lease.Holder).
			Update("until", 0).Error
	})
	if err != nil {
		return fmt.Errorf("releasing a lease: %w", err)
	}
	return nil
}

// Holder returns who has the lease now, and whether anybody has.
func (l Leases) Holder(ctx context.Context, name string) (lease Lease, held bool, err error) {
	err = l.x.inTx(ctx, func(tx *gorm.DB) error {
		var m leaseModel
		if err := tx.Where("name = ?", name).Limit(1).Find(&m).Error; err != nil {
			return err
		}
		now, err := l.x.clock(tx)
		lease, held = m.lease(), m.Until > now
		return err
	})
	if err != nil || !held {
		return Lease{}, false, err
	}
	return lease, true, nil
}
