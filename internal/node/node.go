// Package node joins the parts of Strata into a working node: an object store,
// an index, key providers, the processes that decode pixels, and above them the
// archives of its tenants. The embedded default is a data folder with sealed objects, a
// SQLite index, and a local key outside of it. The command line and the tests of
// the whole open their archives here, so that they wire the same thing.
//
// # Tenants and keys
//
// A tenant's archive is open while its keys are in memory, and its keys are in
// memory while a lease on them holds, which is proved again before it runs out
// (see [keys.Lease]). [Node.Enter] is the only way in. Whoever takes the key away closes
// the archive: its visitors are cut off, and everything that held something
// readable of it is dropped. Who gives it back lets the next visit open it anew.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/restore"
	"github.com/strata-pacs/strata/internal/shred"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/tierstore"
)

// Options open a node. Data, KEK and Wrapper are required.
type Options struct {
	Tenant archive.Tenant // that needs no settings of its own; default: archive.DefaultTenant
	Data   string         // folder of this node alone; made when absent
	Index  string         // file of the SQLite index; default index.db in Data
	// Database is the address of a PostgreSQL database that nodes share, instead of Index.
	Database string
	// Remote is the object store that nodes share; nil: objects in Data.
	Remote driver.Driver
	// RemoteKeys is where wrapped keys lie, when not in the store.
	RemoteKeys driver.Driver
	// Tiers are where studies may lie, the hot tier first; none: there is that alone. TierStores
	// are the stores that they name, by address; that of the hot one is Remote, or in Data.
	Tiers      []archive.Tier
	TierStores map[string]driver.Driver
	// MoveRate is how many bytes a second this node moves between tiers, at most; 0: no limit.
	MoveRate int64
	// ReadCache is the folder that keeps what was read of a remote store, sealed as it came,
	// up to ReadCacheBytes; empty: nothing is kept.
	ReadCache      string
	ReadCacheBytes int64
	// DrillScratch is the folder for the sealed copies that recovery drills make, of this node alone; default: drill in Data.
	DrillScratch string
	Wrapper      keys.Wrapper // wraps and unwraps under the KEK
	KEK          keys.ID      // for tenants whose settings name none

	// NodeLease is how long the other nodes wait for one that says nothing before they
	// take over what it left; default 15 s. Nodes need not agree on it.
	NodeLease time.Duration
	// StoreStall is how long a remote store may move no byte before it is asked again; default 30 s.
	StoreStall time.Duration

	KeyLease time.Duration // how long an answer of the key provider holds; default 2 s
	KeyGrace time.Duration // how long to go on without any answer; default 30 s, less than 0 is none
	// KeySettle is how long after a rotation keys may still appear under an older
	// version; default: keys.Settle. Less is for tests.
	KeySettle time.Duration
	// RewrapRate is how many key objects a second a rotation or a move wraps anew, at most; 0: no limit.
	RewrapRate float64
	// KeyBackups is how long backups of the bucket with the keys are kept: so long
	// a shredding is pending. 0: there are none.
	KeyBackups time.Duration
	// Retention names the set of package retention for tenants whose own rules name none; empty: none.
	Retention string
	// KeyVersions tells which versions of KEKs are retired; nil: Custody does.
	KeyVersions shred.Versions
	// IdleClose is how long nobody has to ask for an archive before its keys
	// leave memory; 0: never.
	IdleClose time.Duration
	// LongLog is how many facts of a log the index has to lack for it to be filled
	// while the archive is in use, instead of before anybody enters; default 2,000.
	LongLog int
	// Serve, if set, makes the handler of an archive that has been opened.
	Serve func(*Archive) http.Handler

	Settling       Settling
	Lifecycle      Lifecycling
	Duplicates     ingest.Policy
	ReconcileEvery time.Duration // default 1 min
	Grace          time.Duration // of the reaper, default 24 h
	StoreMemory    int64         // bytes of sealed data in memory, default 64 MiB
	CacheBytes     int64         // bytes of decoded metadata in memory, default 32 MiB
	// Open is how many archives may be open at once, default 256. The one that nobody
	// has been in for longest makes room.
	Open int
	Slog *slog.Logger

	// PixelWorkers is the most processes that decode and encode compressed
	// pixels at once; 0 as many as there are cores. They start when one is needed.
	PixelWorkers int
	// PixelTimeout is the least time that a frame may take to be decoded or
	// encoded by these processes; default: that of package sandbox.
	PixelTimeout time.Duration
	// PixelCache is the folder of the codecs' compiled code; default: pixels in Data.
	PixelCache string
	// WarmPixels starts a process ahead, so that the first request finds it ready.
	WarmPixels bool
	// ThumbnailAfter is how long nothing of a study has to change before its
	// thumbnails are made; 0: they are made when they are asked for.
	ThumbnailAfter time.Duration
	// ThumbnailsInMemory keeps thumbnails out of the store.
	ThumbnailsInMemory bool

	// Restores are the settings of restores from archive tiers.
	Restores RestoreOptions

	// Release ends what the options brought, when the node has been closed.
	Release func() error
	// Driver replaces the local file store, for tests.
	Driver driver.Driver
	Now    func() time.Time
}

// Node is one process at work. It is safe for concurrent use.
type Node struct {
	Tenant archive.Tenant // the default one
	Index  *index.Index
	Bucket *storage.Bucket
	Codecs *pixel.Codecs
	// Custody rotates, moves, retires and escrows the keys of tenants.
	Custody *custody.Custodian

	o      Options
	member member
	lock   *os.File
	pool   *sandbox.Pool
	budget *pack.Budget
	near   *cachestore.Store // nil without a read cache
	past   *storage.Bucket   // reads the stores themselves: Bucket without the read cache
	tiers  *tiers.Stores
	apart  []*tierstore.Store // what finds packs in tiers; none where there is one store
	moving *rate.Limiter
	tidy   tidy
	drills drills

	together  together
	lifecycle *lifecycled
	places    *semaphore.Weighted // for archives that are open
	restorer  *restore.Restorer
	accesses  accesses
	stopping  chan struct{} // closed by Shutdown
	shutdown  sync.Once

	sessions atomic.Int64 // of the log, that were begun
	ready    ready
	stores   map[string]lister // by the setting that names them; without them nothing works
	extra    map[string]lister // without them only what is in some tiers cannot be read
	dark     atomic.Int64      // archives that were closed for want of their key
	reaped   struct{ packs, bytes atomic.Int64 }

	mu     sync.Mutex // guards what follows
	closed bool
	gates  map[archive.Tenant]*gate
	rings  map[archive.Tenant]*keys.Ring

	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (o Options) withDefaults() Options {
	o.Tenant = cmp.Or(o.Tenant, archive.DefaultTenant)
	o.Index = cmp.Or(o.Index, filepath.Join(o.Data, "index.db"))
	o.DrillScratch = cmp.Or(o.DrillScratch, filepath.Join(o.Data, "drill"))
	o.PixelCache = cmp.Or(o.PixelCache, filepath.Join(o.Data, "pixels"))
	o.ReconcileEvery = cmp.Or(o.ReconcileEvery, time.Minute)
	o.Grace = cmp.Or(o.Grace, 24*time.Hour)
	o.StoreMemory = cmp.Or(o.StoreMemory, 64<<20)
	o.CacheBytes = cmp.Or(o.CacheBytes, 32<<20)
	o.NodeLease = cmp.Or(o.NodeLease, 15*time.Second)
	o.StoreStall = cmp.Or(o.StoreStall, 30*time.Second)
	o.Open = cmp.Or(o.Open, defaultOpen)
	o.LongLog = cmp.Or(o.LongLog, 2000)
	o.KeyLease = cmp.Or(o.KeyLease, 2*time.Second)
	o.KeyGrace = cmp.Or(o.KeyGrace, 30*time.Second)
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Open locks the data folder and opens the stores in it; archives are opened
// by who enters them. Errors name the setting to mend.
func Open(ctx context.Context, o Options) (n *Node, err error) {
	o = o.withDefaults()
	n = newNode(o)
	defer func() {
		if err != nil {
			n.Close(context.WithoutCancel(ctx))
			n = nil
		}
	}()
	if err = n.openStore(); err != nil {
		return n, err
	}
	if err = n.openIndex(ctx, o.Index); err != nil {
		return n, err
	}
	n.openPixels()
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	if n.shared() {
		if err = n.join(ctx); err != nil {
			return n, err
		}
		n.wg.Go(func() { n.remain(ctx) })
	}
	n.wg.Go(func() { n.watchGates(ctx) })
	n.wg.Go(func() { n.tidy.run(ctx) })
	n.wg.Go(func() { n.watchGone(ctx) })
	if n.o.Lifecycle.On {
		n.wg.Go(func() { n.whileHeld(ctx, "lifecycle", n.wake) })
	}
	n.openCustody(ctx)
	if err = n.openDrills(ctx); err != nil {
		return n, err
	}
	n.openAccesses(ctx)
	n.openRestores(ctx)
	n.upkeep(ctx)
	n.backgroundPixels(ctx)
	return n, nil
}

func newNode(o Options) *Node {
	return &Node{Tenant: o.Tenant, o: o, tidy: newTidy(), stopping: make(chan struct{}), member: member{id: newID(o.Now())}, budget: pack.NewBudget(o.StoreMemory),
		ready: ready{stores: map[string]time.Time{}, extra: map[string]said{}}, stores: map[string]lister{}, extra: map[string]lister{},
		drills:    drills{wake: make(chan struct{}, 1), running: map[string]context.CancelCauseFunc{}},
		lifecycle: new(lifecycled), moving: newMoveLimit(o.MoveRate), together: newTogether(o), places: semaphore.NewWeighted(int64(o.Open)),
		gates: map[archive.Tenant]*gate{}, rings: map[archive.Tenant]*keys.Ring{}}
}

func (n *Node) openIndex(ctx context.Context, path string) (err error) {
	n.Index, err = index.Open(ctx, index.Options{Path: path, DSN: n.o.Database, Now: n.o.Now, Keys: n.keysOf,
		Quiet: n.o.Lifecycle.Quiet, Nearline: n.tiers.Availability})
	switch {
	case err == nil:
		return nil
	case n.shared():
		return fmt.Errorf("database: %w", err)
	}
	return fmt.Errorf("opening the index: %w", err)
}

// lend lets the index use the keys of an open archive.
func (n *Node) lend(t archive.Tenant, r *keys.Ring) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rings[t] = r
}

// takeBack has the index drop what it made of a tenant's keys.
func (n *Node) takeBack(t archive.Tenant) {
	n.mu.Lock()
	delete(n.rings, t)
	n.mu.Unlock()
	if n.Index != nil {
		n.Index.Forget(t)
	}
}

// keysOf implements index.Options.Keys.
func (n *Node) keysOf(_ context.Context, t archive.Tenant) (index.Keys, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rings[t]; r != nil {
		return indexKeys{r, r.Refs()}, nil
	}
	return nil, errClosing
}

// indexKeys are a tenant's keys in the hands of the index, whose transactions
// may outlast the archive by a moment.
type indexKeys struct {
	ring *keys.Ring
	*keys.Refs
}

// Derive returns the tenant's secret for a purpose.
func (k indexKeys) Derive(purpose string) (archive.Secret, error) { return k.ring.Derive(purpose) }

// settings returns what holds for a tenant: its newest tenant fact, or for the
// default tenant without one, the options. A tenant that the store has and the
// index does not is one whose key was not there when the index was made anew: its log tells.
func (n *Node) settings(ctx context.Context, t archive.Tenant) (archive.TenantSettings, error) {
	info, err := n.Index.Tenant(ctx, t)
	if !fault.Is(err, fault.NotFound) {
		return info.TenantSettings, err
	}
	if t == n.Tenant {
		return archive.TenantSettings{State: archive.TenantActive, KEK: string(n.o.KEK)}, nil
	}
	if !t.Valid() {
		return archive.TenantSettings{}, err
	}
	if _, serr := n.Bucket.Stat(ctx, keys.RootName(t)); serr != nil {
		if fault.Is(serr, fault.NotFound) {
			return archive.TenantSettings{}, err // not in the words of a store
		}
		return archive.TenantSettings{}, serr
	}
	return archive.TenantSettings{State: archive.TenantActive}, nil
}

// gate returns the tenant's gate; fault.NotFound where there is no such tenant.
func (n *Node) gate(ctx context.Context, t archive.Tenant) (*gate, error) {
	n.mu.Lock()
	g, closed := n.gates[t], n.closed
	n.mu.Unlock()
	if closed {
		return nil, errClosing
	}
	if g != nil {
		return g, nil
	}
	if _, err := n.settings(ctx, t); err != nil {
		return nil, err
	}
	return n.gateOf(t), nil
}

// shared reports whether other nodes work on the same archives.
func (n *Node) shared() bool { return n.o.Database != "" }

func (n *Node) allGates() (all []*gate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.gates {
		all = append(all, g)
	}
	return all
}

// start runs f in a goroutine that Close waits for, unless the node is closed.
func (n *Node) start(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Go(f)
	return true
}

// session names a new session of a log, after the node that writes it.
func (n *Node) session(c ledger.Content) string {
	n.member.mu.Lock()
	defer n.member.mu.Unlock()
	return ledger.SessionName(n.member.id, c, n.sessions.Add(1))
}

// Condition is what a node tells of itself.
type Condition struct {
	Open  int              // archives that are open
	Dark  int64            // how often one was closed for want of its key
	Cache cachestore.Stats // zero without a read cache
	// WrongHints counts packs that were in another tier than the index said.
	WrongHints int64
	// Reaped counts copies of packs that nothing named and that were removed, with their bytes. Kept are those that
	// were not, since they may be needed, and Unread facts that cannot be read, or of which a pack is missing: both
	// as this node, of the tenants that it takes stock of, last saw them.
	Reaped, ReapedBytes, Kept, Unread int64
}

// Condition returns how the node is.
func (n *Node) Condition() Condition {
	c := Condition{Dark: n.dark.Load(), Reaped: n.reaped.packs.Load(), ReapedBytes: n.reaped.bytes.Load()}
	for _, g := range n.allGates() {
		c.Kept, c.Unread = c.Kept+g.kept.Load(), c.Unread+g.unread.Load()
		g.mu.Lock()
		if g.a != nil {
			c.Open++
		}
		g.mu.Unlock()
	}
	if n.near != nil {
		c.Cache = n.near.Stats()
	}
	for _, s := range n.apart {
		c.WrongHints += s.WrongHints()
	}
	return c
}

// Close closes every archive, finishing what is in flight, and lets go of the
// data folder. Requests must have ended.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if n.accesses.end != nil {
		n.accesses.end()
	}
	var errs []error
	for _, g := range n.allGates() {
		if err := g.end(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if n.stop != nil {
		n.stop() // the membership last: the logs have been closed under it
	}
	n.wg.Wait()
	if n.pool != nil {
		errs = append(errs, n.pool.Close())
	}
	if n.Index != nil {
		errs = append(errs, n.Index.Close())
	}
	if n.near != nil {
		errs = append(errs, n.near.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	if n.o.Release != nil {
		errs = append(errs, n.o.Release())
	}
	return errors.Join(errs...)
}
