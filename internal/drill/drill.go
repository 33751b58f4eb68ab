// Package drill proves that an archive can be restored. It draws studies at
// random, has them restored where their tier needs it, copies their objects from
// the stores of their tiers into a scratch folder, and from there on reads nothing but those
// copies: digests of log objects and packs, the facts, and every instance against its fact.
//
// # What is read
//
// A pack is read in the tier that the newest fact about it names, which is where the archive will
// have to be restored from one day: past the read cache, and past a copy that is left in a
// warmer tier. The log is read in the hot tier. The index is asked which studies there
// are and what it thinks of them, and is held to the facts; with FromLog it is asked nothing.
//
// # How studies are drawn
//
// Each study is as likely as any other, not each byte: a patient with one radiograph
// counts as much as one with ten scans. A study is drawn by the hash of its reference and the seed, and
// the smallest hashes win. So the order in which studies come makes no difference: the same seed
// draws the same studies of an archive before and after its index was made anew, and by either way.
//
// # What is written
//
// Ciphertext, to the scratch folder, a study's log objects and one pack at a time. Each copy
// is removed when it was checked, the folder at the end, and what a crash left by [Sweep].
package drill

import (
	"cmp"
	"context"
	"fmt"
	"hash"
	"math/rand/v2"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Index is what a drill holds to the log.
type Index interface {
	// Studies yields the studies; yield may call the index.
	Studies(ctx context.Context, t archive.Tenant, f archive.StudyFilter, yield func(*archive.StudyRow) bool) error
	// Entries returns the live entries of the log about a study.
	Entries(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.LogEntry, error)
	// Packs returns the packs of a study.
	Packs(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.PackState, error)
	// StudyInstances yields every row of a study, hidden and deleted ones too.
	StudyInstances(ctx context.Context, t archive.Tenant, study archive.Ref, yield func(*archive.InstanceRow, archive.State) bool) error
	// TierUsage tells what each tier holds.
	TierUsage(ctx context.Context, t archive.Tenant) ([]archive.TierUsage, error)
}

// Keys are the tenant's keys.
type Keys interface {
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
	Digest() hash.Hash
}

// Tiers are those of the configuration, with the store of each.
type Tiers interface {
	All() []archive.Tier
	Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool)
}

// Restorer makes studies readable.
type Restorer interface {
	// Ask has the studies with these UIDs restored, for a day at least. What can be read
	// already is done at once, and may have no ID. fault.NotFound where one is not there.
	Ask(ctx context.Context, t archive.Tenant, studies []string, p archive.Priority) (archive.RestoreStatus, error)
	// Wait returns when the restore has ended.
	Wait(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error)
}

// Options are the parts of a Driller; all but those that say otherwise are required.
type Options struct {
	Tenant   archive.Tenant
	Index    Index // nil: every drill is FromLog
	Keys     Keys
	Tiers    Tiers
	Restorer Restorer // nil: nothing is restored
	// Scratch is the folder that a drill makes a folder of its own in.
	Scratch string
	Now     func() time.Time // nil is time.Now
}

// Limits of a request.
const (
	DefaultStudies = 10
	DefaultBytes   = 10 << 30
	MaxStudies     = 5000
	maxFailures    = 1000 // listed
	// spares are drawn for each study, since some have to be left out.
	spares = 10
	// attempts at a study that changes while it is read.
	attempts = 3
)

// Progress says how far a drill is: of its studies, and what it is at, for people.
type Progress func(done, total int, phase string)

// Run carries out a drill. What could not be restored is in the report; the error is for what
// kept the drill from finding out: fault.Invalid for a request that makes no sense, fault.Full where the
// scratch folder has no room, and those of the keys, of the context, and of drawing.
// fault.KeyDenied and KeyUnreachable end a drill: they say nothing about the archive.
func Run(ctx context.Context, o Options, q archive.RecoveryDrill, progress Progress) (archive.RecoveryReport, error) {
	if err := Check(&q); err != nil {
		return archive.RecoveryReport{}, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if progress == nil {
		progress = func(int, int, string) {}
	}
	if o.Index == nil {
		q.FromLog = true
	}
	hot, _, ok := o.Tiers.Tier(archive.HotTier)
	if !ok {
		return archive.RecoveryReport{}, fault.New(fault.Invalid, "tiers: there is no hot tier, in which the log is")
	}
	d := &drill{o: o, q: q, hot: hot, progress: progress, speeds: map[archive.TierName]*archive.DrillTier{}, whole: map[archive.TierName]archive.TierUsage{}}
	d.report.At, d.report.Seed = o.Now(), cmp.Or(q.Seed, NewSeed())
	var err error
	if d.scratch, err = newScratch(o.Scratch, q.Bytes); err != nil {
		return archive.RecoveryReport{}, err
	}
	err = d.run(ctx)
	if rerr := d.scratch.remove(); err == nil {
		err = rerr
	}
	if err != nil {
		return archive.RecoveryReport{}, err
	}
	d.forecast()
	return d.report, nil
}

// Check refuses a request that makes no sense with fault.Invalid, and fills in what it leaves open but the seed.
func Check(q *archive.RecoveryDrill) error {
	q.Studies, q.Bytes = cmp.Or(q.Studies, DefaultStudies), cmp.Or(q.Bytes, DefaultBytes)
	q.Priority = cmp.Or(q.Priority, archive.Bulk) // a drill can wait
	switch {
	case q.Studies < 0 || q.Studies > MaxStudies:
		return fault.New(fault.Invalid, "studies: must be 1 to %d", MaxStudies)
	case q.Bytes < 0:
		return fault.New(fault.Invalid, "bytes: must be more than 0")
	}
	switch q.Priority {
	case archive.Expedited, archive.Standard, archive.Bulk:
		return nil
	}
	return fault.New(fault.Invalid, "priority: must be expedited, standard or bulk")
}

// NewSeed makes up a seed, which is not 0 and fits in a number of JSON.
func NewSeed() uint64 { return 1 + rand.Uint64N(1<<53-1) }

// drill is one run.
type drill struct {
	o        Options
	q        archive.RecoveryDrill
	hot      *storage.Bucket // where the log is
	scratch  *scratch
	progress Progress

	report archive.RecoveryReport
	speeds map[archive.TierName]*archive.DrillTier
	whole  map[archive.TierName]archive.TierUsage // of the tenant
}

func (d *drill) run(ctx context.Context) error {
	d.progress(0, 0, "drawing studies")
	drawn, err := d.draw(ctx)
	if err != nil {
		return fmt.Errorf("drawing studies: %w", err)
	}
	now, later, err := d.choose(ctx, drawn)
	if err != nil {
		return err
	}
	later, restore, err := d.ask(ctx, later)
	if err != nil {
		return err
	}
	total := len(now) + len(later)
	for i, p := range now {
		d.progress(i, total, "copying and checking")
		if err := d.study(ctx, p); err != nil {
			return err
		}
	}
	if len(later) > 0 {
		d.progress(len(now), total, "waiting for restores")
		if err := d.await(ctx, restore); err != nil {
			return err
		}
	}
	for i, p := range later {
		d.progress(len(now)+i, total, "copying and checking")
		if err := d.study(ctx, p); err != nil {
			return err
		}
	}
	d.progress(total, total, "done")
	return nil
}

// spend adds the time until its result is called.
func (d *drill) spend(on *time.Duration) (until func()) {
	from := d.o.Now()
	return func() { *on += d.o.Now().Sub(from) }
}

func (d *drill) fail(what, object string) {
	if len(d.report.Failures) >= maxFailures {
		d.report.MoreFailures++
		return
	}
	d.report.Failures = append(d.report.Failures, archive.DrillFailure{What: what, Object: object})
}

// stops returns the error if it is none of what was read but a reason to stop.
func stops(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isScratch(err), fault.Is(err, fault.KeyDenied), fault.Is(err, fault.KeyUnreachable):
		return err
	}
	return nil
}
