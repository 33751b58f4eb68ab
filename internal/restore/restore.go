// Package restore has what lies in an archive tier made readable again, for a
// while: nothing is uploaded and nothing in the log changes, the store makes a copy
// beside the object and removes it by itself.
//
// # One restore for all
//
// The unit is a study. Whoever asks for a study that is being restored joins that restore: there is
// one row for it in the table that nodes share, and a store is asked once for each pack. A more urgent
// request makes what has not begun more urgent; what has begun goes on as it was asked for. A request for
// several studies is a row of its own that names theirs.
//
// One node works, by a lease that its caller holds for [Restorer.Run], so that the provider's
// limits hold for all of them. It keeps nothing that it could not read again: when it dies, another goes on with
// the rows, and asking a store again for what it is restoring is harmless (driver.Thawer).
//
// # What need not be restored
//
// For some time after a pack was moved to an archive the copy that it was moved from is still there. Whoever asks
// then is served from that: it is kept for as long as a restored copy would stay, and the provider is not asked.
//
// # What a restore promises
//
// Ready is an estimate until the restore is done, and never in the past. It is what the tier says is typical, or the
// median of what was lately observed, behind those whose turn is first. It moves later when something
// more urgent came, when the typical time has passed (then the longest counts), or when the store slows its
// users down; earlier when objects arrive faster than the tier says.
package restore

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/storage/driver"
)

// Defaults of [Options].
const (
	DefaultFor     = 7 * 24 * time.Hour
	DefaultRate    = 20
	DefaultRunning = 1000
	DefaultOpen    = 10_000
)

// Options of a Restorer. Table, Keys, Index, Tiers and Catalog are required.
type Options struct {
	Table   Table
	Keys    Keys
	Index   Index
	Tiers   Tiers
	Catalog Catalog
	Hooks   Hooks // nil: nobody is told
	// Restored is called when a study can be read that was asked for by [Restorer.Prefetch], on the node that
	// works; it must not block. Nil: nobody wants to know.
	Restored func(ctx context.Context, t archive.Tenant, study archive.Ref)

	For      time.Duration    // how long copies stay; default 7 days
	Priority archive.Priority // default standard
	// Rate is how many objects a second a store is asked for, Running how many it may be restoring at
	// once, in each tier and for all tenants together; defaults 20 and 1,000.
	Rate    float64
	Running int
	// Open is of how many studies of one tenant restores may be under way, or wait, at once; default 10,000.
	Open int
	// Poll is how often the table is looked at; default 1 s. It is real time.
	Poll time.Duration
	Now  func() time.Time
	Slog *slog.Logger
}

// Index knows where packs are.
type Index interface {
	// Packs returns the packs of a study, by object.
	Packs(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.PackState, error)
	// SetRestored notes until when a pack can be read.
	SetRestored(ctx context.Context, t archive.Tenant, object string, until time.Time) error
	// Left returns until when the pack can be read from a copy that a move left in a tier that answers at once, if nobody keeps
	// that; zero where there is none that lasts.
	Left(ctx context.Context, t archive.Tenant, p archive.PackState) (time.Time, error)
	// Keep has such a copy stay until a time at least, and notes that the pack can be read. It returns until when; zero
	// where there is no such copy, and then it has done nothing.
	Keep(ctx context.Context, t archive.Tenant, p archive.PackState, until time.Time) (time.Time, error)
}

// Store is one tier's.
type Store interface {
	Stat(ctx context.Context, key string) (driver.Attrs, error)
	Thaw(ctx context.Context, key string, o driver.ThawOptions) error
}

// Tiers are those of the configuration.
type Tiers interface {
	Tier(name archive.TierName) (Store, archive.Tier, bool)
}

// Study is a study that a request names.
type Study struct {
	Ref   archive.Ref
	First []string // objects that somebody waits for
}

// Catalog finds studies; it needs the tenant's keys, and fails without them.
type Catalog interface {
	// Find returns the studies of a request, at most limit+1 of them. fault.NotFound when a study
	// that it names is not there; none found by patient or query is no error.
	Find(ctx context.Context, t archive.Tenant, r archive.RestoreRequest, limit int) ([]Study, error)
	// Priors returns earlier studies of an appointment's patient, the most useful first.
	Priors(ctx context.Context, t archive.Tenant, a archive.Appointment) ([]archive.Ref, error)
}

// Restorer restores. It is safe for concurrent use.
type Restorer struct {
	o    Options
	wake chan struct{}
	seed maphash.Seed

	mu     sync.Mutex // guards what follows
	pace   pace
	paced  time.Time         // when it was read
	recent map[recall]recent // by what was asked for
	broken map[int64]bool    // rows that were logged as such
}

// maxBroken bounds how many rows are remembered that cannot be read.
const maxBroken = 10_000

// unreadable logs, once, that a row cannot be read: it is left alone, and keeps no other from being worked on.
func (r *Restorer) unreadable(row Row, err error) {
	r.mu.Lock()
	known := r.broken[row.ID]
	if !known {
		if r.broken == nil || len(r.broken) >= maxBroken {
			r.broken = map[int64]bool{}
		}
		r.broken[row.ID] = true
	}
	r.mu.Unlock()
	if !known {
		r.o.Slog.Error("a restore cannot be read and is left alone; ask for what it was about anew", "restore", idOf(row), "tenant", string(row.Tenant), "error", err)
	}
}

// New returns a Restorer. Its owner calls [Restorer.Run].
func New(o Options) *Restorer {
	o.For = cmp.Or(o.For, DefaultFor)
	o.Priority = cmp.Or(o.Priority, archive.Standard)
	o.Rate = cmp.Or(o.Rate, DefaultRate)
	o.Running = cmp.Or(o.Running, DefaultRunning)
	o.Open = cmp.Or(o.Open, DefaultOpen)
	o.Poll = cmp.Or(o.Poll, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	return &Restorer{o: o, wake: make(chan struct{}, 1), seed: maphash.MakeSeed(), recent: map[recall]recent{}}
}

// stir has the worker look at the table at once, if it is in this process.
func (r *Restorer) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
