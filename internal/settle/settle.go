// Package settle merges what is stored of a quiet study into few large objects,
// and removes what that leaves behind.
//
// A study that came instance by instance lies in as many objects. When it has
// been quiet for a while, [Settler.Settle] copies its blobs into packs, ordered by
// series and instance number and cut where a series ends, and states them anew in one
// settled fact, their DICOM JSON in chunks as large as a single store would have made
// them. Packs that are large already stay where they are, in whichever tier; those
// that would have to be restored first are never read. A late instance makes a
// pack of its own the next time, or is merged with what is still small.
//
// Blobs are copied as ciphertext, and no blob is sealed anew. Each is authenticated
// on the way nevertheless, and the fact is sealed under the study's key, so the tenant has to be open.
//
// # Safety
//
// Nothing is changed in place. New packs come first, then the fact, then the index; a
// crash in between leaves packs that no fact names, for the reaper, or a fact
// that Catchup indexes. The sources stay where they are for the read grace, because
// who looked up a location before may still be reading it. [Settler.Sweep] removes
// them afterwards, never an object that an instance or a live fact names.
//
// Two settlers of one study, a store, a deletion or a shredding in the middle are
// harmless: a fact supersedes only entries of the log that its settler saw before it read the
// instances; and before it states anything, it looks whether what it saw still holds, and gives
// up where it does not. Between that and the fact pass at most half of the read
// grace, and between the first pack and the fact at most half of the reaper's.
//
// # Deleted instances
//
// A deletion can be undone within the hold window. Until then deleted blobs are
// carried along; later they are dropped: the fact names them as such, and their
// bytes go with the objects that held them, but for packs that must not be read and
// what a store keeps of deleted objects by rules of its own.
//
// Nothing is dropped on the word of one clock. The window has ended when it has by this node's clock and by the
// store's, counted from the deletion's time and from when the store has had it: so a node
// that is ahead ends no window, nor does a deletion that was stated by one that was behind. On a disk of the node's own the two
// clocks are one. And nothing is dropped by an index that is behind the log ([Options.Fresh]), or while somebody
// protects the study: such facts are stated as package intent has it.
//
// A study of which nothing is left becomes a settled fact without instances. Its keys stay, because
// what comes of the study later is sealed under them; to destroy them is package shred's.
package settle

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage"
)

// Index is what settling needs of the index.
type Index interface {
	Chunks
	// Packs returns the packs of a study.
	Packs(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.PackState, error)
	// Entries returns the live entries of the log about a study, ascending.
	Entries(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.LogEntry, error)
	// StudyInstances yields every instance row of a study, hidden and deleted ones
	// included, by series number, series, instance number and source.
	StudyInstances(ctx context.Context, t archive.Tenant, study archive.Ref, yield func(*archive.InstanceRow, archive.State) bool) error
	// Deletions returns every deleted blob below sel, with the deletions that hold it.
	Deletions(ctx context.Context, t archive.Tenant, sel archive.UIDs) ([]archive.Deletion, error)
	// DeletedAt returns where deletions are in the log, of those that it knows of.
	DeletedAt(ctx context.Context, t archive.Tenant, facts ...archive.FactID) (map[archive.FactID]archive.LogPlace, error)
	// Apply indexes facts and returns after the commit, one Applied an entry.
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)

	// Doomed returns objects that are to be deleted, let go of before a time.
	Doomed(ctx context.Context, t archive.Tenant, before time.Time, moved bool, after int64, limit int) ([]archive.Doomed, error)
	// Undoom forgets them.
	Undoom(ctx context.Context, t archive.Tenant, ids ...int64) error
	// Referenced reports whether an instance or a live entry of the log names the object.
	Referenced(ctx context.Context, t archive.Tenant, object string) (bool, error)
	// Where returns the tier whose copy of a pack counts, false for one that the index does not know.
	Where(ctx context.Context, t archive.Tenant, object string) (archive.TierName, bool, error)
}

// Log is what settling needs of the tenant's log.
type Log interface {
	NewFactID() archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Keys gives the keys that blobs and facts are sealed under.
type Keys interface {
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
}

// Thumbnails removes the thumbnails of a study.
type Thumbnails interface {
	Remove(ctx context.Context, t archive.Tenant, study archive.Ref) (removed int, err error)
}

// Near is what keeps near what was read of a store that is far away.
type Near interface {
	// Holds reports whether all of n bytes of an object from off are near.
	Holds(key string, off, n int64) bool
	// Warm brings them near.
	Warm(ctx context.Context, key string, off, n int64) error
	// Forget lets go of an object.
	Forget(key string)
}

// Tiers knows where each tier keeps its objects.
type Tiers interface {
	// Tier returns the store of one tier alone; false when it is not configured.
	Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool)
}

// Options are the parts of a Settler. Tenant, Bucket, Index, Log and Keys are required.
type Options struct {
	Tenant archive.Tenant
	Bucket *storage.Bucket // reads of every tier, past what keeps near what was read; what is written goes to the hot one
	Index  Index
	Log    Log
	Keys   Keys
	// Tiers is nil where there is the hot tier alone, which is Bucket.
	Tiers      Tiers
	Thumbnails Thumbnails // nil where none are kept
	Near       Near       // nil where nothing is
	// Destroy states a fact that drops something, as package intent has it, if check agrees. It is needed where anything is deleted.
	Destroy func(ctx context.Context, study archive.Ref, f *archive.Fact, check func(context.Context) error) error
	// StoreTime asks the hot tier's store for its time; nil: its clock is Now.
	StoreTime func(ctx context.Context) (time.Time, error)
	// Fresh, if set, brings the index up to the log before anything is dropped.
	Fresh func(ctx context.Context) error
	// Held, if set, reports whether anything, a legal hold or a period, forbids to let go of anything of the study.
	Held func(ctx context.Context, study archive.Ref) (bool, error)
	// Pace, if set, waits until n more bytes may be copied.
	Pace func(ctx context.Context, n int) error

	// Hold is how long a deletion can be undone; 30 days when 0, and not at all below 0.
	Hold time.Duration
	// ReadGrace is how long an object stays that no instance lies in any more; 1 h when 0.
	ReadGrace time.Duration
	// MoveHold is how long a copy stays that has been moved to another store; 24 h when 0.
	MoveHold time.Duration
	// Grace is how old a pack that no fact names must be before the reaper takes it; 24 h when 0.
	Grace time.Duration
	// PackBytes is about how large packs are made; 512 MiB when 0. LargePack is
	// from where a pack is not merged any more; an eighth of that when 0.
	PackBytes, LargePack int64

	Now  func() time.Time // nil is time.Now
	Rand io.Reader        // nil is crypto/rand
	Slog *slog.Logger
}

// Limits of a study that is settled: its fact is held in memory.
const (
	MaxInstances = 1 << 16
	maxChunks    = 256 << 20 // bytes of compressed DICOM JSON
)

// Settler settles the studies of one tenant, and sweeps. It is safe for concurrent use.
type Settler struct {
	o     Options
	z     codec
	apart storage.Apart // the stores of tiers

	mu     sync.Mutex
	behind [2]int64 // what a sweep of those let go of, and of those moved, goes on behind
}

// New returns a Settler.
func New(o Options) (*Settler, error) {
	o.Hold = max(cmp.Or(o.Hold, 30*24*time.Hour), 0)
	o.ReadGrace = cmp.Or(o.ReadGrace, time.Hour)
	o.MoveHold = cmp.Or(o.MoveHold, 24*time.Hour)
	o.Grace = cmp.Or(o.Grace, 24*time.Hour)
	o.PackBytes = cmp.Or(o.PackBytes, 512<<20)
	o.LargePack = cmp.Or(o.LargePack, o.PackBytes/8)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	z, err := newCodec()
	return &Settler{o: o, z: z}, err
}

// Close gives back what the Settler holds. It is not used after it.
func (s *Settler) Close() { s.z.dec.Close() }

// Result is what settling a study did.
type Result struct {
	Settled bool // a fact was written; false when there was nothing to do
	// Before and After are the objects that the study lies in: of the log and packs.
	Before, After int
	Kept, Made    int   // packs that stayed where they are, and new ones
	Copied        int64 // bytes
	Instances     int   // that the study has now, hidden versions and deleted ones included
	Dropped       int   // deleted instances that are gone for good
	DroppedBytes  int64 // of them, sealed
	// Next is when more may be dropped: deletions can be undone until then, or the study must be kept now. Zero: nothing is deleted.
	Next time.Time
}

// add adds what was done for another key of the study.
func (r *Result) add(o Result) {
	r.Settled = r.Settled || o.Settled
	r.Before, r.After, r.Kept, r.Made = r.Before+o.Before, r.After+o.After, r.Kept+o.Kept, r.Made+o.Made
	r.Copied, r.Instances = r.Copied+o.Copied, r.Instances+o.Instances
	r.Dropped, r.DroppedBytes = r.Dropped+o.Dropped, r.DroppedBytes+o.DroppedBytes
	if r.Next.IsZero() || !o.Next.IsZero() && o.Next.Before(r.Next) {
		r.Next = o.Next
	}
}

// frozen reports whether objects of the tier must not be read.
func (s *Settler) frozen(t archive.TierName) bool {
	if s.o.Tiers == nil {
		return false
	}
	_, tier, ok := s.o.Tiers.Tier(t)
	return !ok || tier.Restore // what is not configured cannot be read
}

var (
	errChanged = fault.New(fault.Conflict, "the study changed while it was being settled; it is settled later")
	errSlow    = fault.New(fault.Timeout, "settling took too long to be safe; it is tried again later")
	errClock   = fault.New(fault.Conflict, "another node's clock is ahead; the study is settled when this one has caught up")
)
