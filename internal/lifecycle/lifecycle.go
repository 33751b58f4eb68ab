// Package lifecycle carries out the rules of package rule, and says beforehand what
// that comes to.
//
// A study is looked at when it is due: when a fact about it came and it has been quiet
// since, when the rules changed, or when the last look at it said so. What there is to be
// done is done (merging its objects, moving it, deleting it, letting go of what was
// deleted long ago), and when to look again is noted. The due column of the index is all that
// is remembered, so a [Keeper] may be stopped at any moment and another goes on; two at
// once are harmless, and a lease keeps them from doing the work twice, whoever asked for it.
//
// What a study is judged by when its page is read is only a first look: before anything is done to it, it is looked
// at again, and so are the rules. A deletion hides what was there at that look, and nothing that came after it.
//
// [Keeper.Plan] reckons what rules would do to all studies and what the archive may
// come to with them, and [Draw] makes a picture of it.
package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
	"github.com/strata-pacs/strata/internal/pack"
)

// Index is what lifecycle work needs of the index.
type Index interface {
	// Life returns what rules look at of one study, Lives of up to limit by row identity above after.
	Life(ctx context.Context, t archive.Tenant, study archive.Ref) (archive.StudyLife, bool, error)
	Lives(ctx context.Context, t archive.Tenant, after int64, limit int) ([]archive.StudyLife, error)
	// Due returns up to limit studies that are due now, behind a place, and the place behind them.
	Due(ctx context.Context, t archive.Tenant, now time.Time, from archive.DuePlace, limit int) ([]archive.StudyLife, archive.DuePlace, error)
	// SetDue notes when to look again; a study about which a fact came since, and all when the rules changed since, stay due.
	SetDue(ctx context.Context, t archive.Tenant, next ...archive.NextDue) error
	// Judged notes that all studies before a place that Due returned have been looked at.
	Judged(ctx context.Context, t archive.Tenant, all archive.DuePlace) error
	// Places returns where the studies are, in their order.
	Places(ctx context.Context, t archive.Tenant, studies ...archive.Ref) ([]archive.StudyPlace, error)
	// Pending reports whether anything is due, or an object was let go of before a time, or moved before another, without the
	// tenant's keys.
	Pending(ctx context.Context, t archive.Tenant, now, letGo, moved time.Time) (bool, error)
	// StudyCount returns how many studies the tenant has.
	StudyCount(ctx context.Context, t archive.Tenant) (int64, error)
	// LetGo returns how many bytes of a tier will be free when what was let go of is removed.
	LetGo(ctx context.Context, t archive.Tenant, tier archive.TierName) (int64, error)
	// RuleSet returns the newest rules of a name, and the fact that stated them; zero: there are none.
	RuleSet(ctx context.Context, t archive.Tenant, name string) (archive.RuleSet, archive.FactID, error)
	// TagsOf returns the tags of a study, and the fact that stated them; zero: none did.
	TagsOf(ctx context.Context, t archive.Tenant, study archive.Ref) ([]string, archive.FactID, error)
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Log is what stating rules and tags needs of a log of the tenant.
type Log interface {
	NewFactIDAfter(other archive.FactID) archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Settler merges the objects of studies and removes what was let go of.
type Settler interface {
	// Settle merges what there is to merge, and drops what was deleted long enough ago. Again is no error.
	Settle(ctx context.Context, study archive.Ref) (Settled, error)
	// Sweep removes objects that were let go of long enough ago, a bounded number of them. What is told beside an error was done.
	Sweep(ctx context.Context) (Swept, error)
}

// Settled is what settling a study did.
type Settled struct {
	Stated                bool      // something was merged or dropped
	Dropped, DroppedBytes int64     // deleted instances that are gone for good
	Drop                  time.Time // when there is more to drop; zero: nothing is deleted
}

// Swept is what a sweep did.
type Swept struct {
	Objects, Bytes int64 // removed
	More           bool
}

// Mover moves settled studies.
type Mover interface {
	// Move brings all packs of a study into a tier, and returns how many bytes that were. Again is no error.
	// fault.Archived: some must be restored first.
	Move(ctx context.Context, t archive.Tenant, study archive.Ref, to archive.TierName) (bytes int64, err error)
}

// Thumbnails are made of pixels, so before these go where they cannot be read at once.
type Thumbnails interface {
	// Make makes those of a study that are not there yet. Again is no error.
	Make(ctx context.Context, t archive.Tenant, study string) error
}

// Remover deletes.
type Remover interface {
	// DeleteIf hides what there is of a scope when it is called, if sure says so, which it asks afterwards. What comes
	// meanwhile stays. An error of sure it returns as it is.
	DeleteIf(ctx context.Context, t archive.Tenant, scope archive.UIDs, sure func(context.Context) error) error
}

// Retention says what must be kept.
type Retention interface {
	// Until returns from when a study may be deleted, zero for now, and why not before.
	Until(ctx context.Context, t archive.Tenant, study archive.Ref) (time.Time, string, error)
}

// Options are the parts of a Keeper. Tenant, Index, Log, Instances, Settler, Mover, Remover, Retention, Thumbnails and Tiers are required.
type Options struct {
	Tenant    archive.Tenant
	Index     Index
	Log       Log // of rules
	Instances Log // of tags, which stand beside the instances that they are about
	Settler   Settler
	Mover     Mover
	Remover   Remover
	Retention Retention
	// Thumbnails are made before a study goes into a tier of which reading takes a restore.
	Thumbnails Thumbnails
	// Whole reports whether the index has all of the log; nil: always. While it has not, tags, instances and moves are
	// missing by which rules decide, and nothing is done.
	Whole func() bool
	// Alone runs f while no other node is at the tenant's lifecycle, and waits for that; where until comes first it returns fault.Busy. f's
	// context ends where another node takes over. nil: there is no other node.
	Alone func(ctx context.Context, until <-chan time.Time, f func(context.Context) error) error
	// Lock has the stores lock what they have of a study for as long as it must be kept by now, which may be longer than before. It is called of
	// every study that is due; again does no harm. nil: no store locks.
	Lock func(ctx context.Context, study archive.Ref) error
	// Disk returns the free bytes and the capacity of the hot tier's disk; nil where it has none.
	Disk func() (free, capacity int64, err error)

	Tiers    []archive.Tier // of the configuration, the hot one first
	Currency string

	Quiet    time.Duration // see rule.Environment; default 30 min
	Revisit  time.Duration // likewise; default 24 h
	Interval time.Duration // between rounds; default 1 min
	// Grace is how long what was let go of stays, MoveHold the copies that were moved; default 1 h and 24 h.
	Grace, MoveHold time.Duration
	AtOnce          int // studies that are worked on at the same time; default 2
	Counters        *Counters
	Record          *Record          // of this tenant; nil: one of the Keeper's own
	Now             func() time.Time // nil is time.Now
	Slog            *slog.Logger
}

// Counters count the work of all tenants of a node.
type Counters struct {
	Looked, Settled, Moved, MovedBytes, Deleted, Failed atomic.Int64
	// Dropped are deleted instances that are gone for good, with the bytes of their blobs; Removed objects that were let go of.
	Dropped, DroppedBytes, Removed, RemovedBytes atomic.Int64
}

// Keeper carries out a tenant's rules. It is safe for concurrent use.
type Keeper struct {
	o     Options
	names []archive.TierName
	far   map[archive.TierName]int // how far away a tier is
	// restores are the tiers of which reading takes a restore.
	restores map[archive.TierName]bool

	pageSize, mostWork int

	rounds chan struct{} // holds who does a round: one at a time

	mu       sync.Mutex // guards what follows
	stated   archive.FactID
	document Document
}

// New returns a Keeper.
func New(o Options) *Keeper {
	o.Quiet = cmp.Or(o.Quiet, 30*time.Minute)
	o.Revisit = cmp.Or(o.Revisit, 24*time.Hour)
	o.Interval = cmp.Or(o.Interval, time.Minute)
	o.Grace = cmp.Or(o.Grace, time.Hour)
	o.MoveHold = cmp.Or(o.MoveHold, 24*time.Hour)
	o.AtOnce = cmp.Or(o.AtOnce, 2)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	if o.Alone == nil {
		o.Alone = func(ctx context.Context, _ <-chan time.Time, f func(context.Context) error) error { return f(ctx) }
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	if o.Record == nil {
		o.Record = new(Record)
	}
	k := &Keeper{o: o, far: map[archive.TierName]int{}, restores: map[archive.TierName]bool{}, rounds: make(chan struct{}, 1), pageSize: pageSize, mostWork: mostWork}
	for i, t := range o.Tiers {
		k.names = append(k.names, t.Name)
		k.far[t.Name], k.restores[t.Name] = i, t.Restore
	}
	return k
}

// subject is what rules look at of a study: what the index keeps for them, and where it is.
func (k *Keeper) subject(l *archive.StudyLife, p archive.StudyPlace) rule.Study {
	s := rule.Study{StudyDate: l.StudyDate, Received: l.Received, Changed: l.Changed, Accessed: l.Accessed,
		Modalities: l.Modalities, BodyParts: l.BodyParts, Tags: l.Tags, Bytes: l.Bytes, Deleted: l.Instances == 0,
		Tier: archive.HotTier, Settled: p.Settled}
	for i, t := range p.Tiers {
		if i == 0 || k.far[t] > k.far[s.Tier] {
			s.Tier = t
		}
	}
	// What is in several tiers is not yet where any rule wants it.
	s.Settled = s.Settled && len(p.Tiers) <= 1
	return s
}

// environment is what the rules look at beside the study. Room that is about to be free counts as
// free: else far more would be moved than is needed, since what was moved stays for a while.
func (k *Keeper) environment(ctx context.Context, rules rule.Set) (env rule.Environment, err error) {
	env = rule.Environment{Quiet: k.o.Quiet, Revisit: k.o.Revisit}
	free, studies := rules.Outside()
	if studies {
		if env.Studies, err = k.o.Index.StudyCount(ctx, k.o.Tenant); err != nil {
			return env, fmt.Errorf("counting studies: %w", err)
		}
	}
	if !free || k.o.Disk == nil {
		return env, nil
	}
	if env.Free, env.Capacity, err = k.o.Disk(); err != nil {
		return env, fmt.Errorf("asking for the free room of the hot tier: %w", err)
	}
	letGo, err := k.o.Index.LetGo(ctx, k.o.Tenant, archive.HotTier)
	if err != nil {
		return env, fmt.Errorf("adding up what is about to be removed: %w", err)
	}
	env.Free += letGo
	return env, nil
}
