// Package node joins the parts of Strata into one working node on the embedded
// default: a data folder with sealed objects, a SQLite index, and a local key
// outside of it. The command line and the tests of the whole open their archives here, so
// that they wire the same thing.
package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/search"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/retrystore"
)

// Options open a node. Data, KEK and Wrapper are required.
type Options struct {
	Tenant  archive.Tenant // default: archive.DefaultTenant
	Data    string         // folder; made when absent
	Index   string         // file of the index; default index.db in Data
	Wrapper keys.Wrapper   // wraps and unwraps under the KEK
	KEK     keys.ID

	Duplicates     ingest.Policy
	ReconcileEvery time.Duration // default 1 min
	Grace          time.Duration // of the reaper, default 24 h
	StoreMemory    int64         // bytes of sealed data in memory, default 64 MiB
	CacheBytes     int64         // bytes of decoded metadata in memory, default 32 MiB
	Slog           *slog.Logger

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

	// Offline opens what verify and rebuild need and writes no session.
	Offline bool
	// Driver replaces the local file store, for tests.
	Driver driver.Driver
	Now    func() time.Time
}

// Node is an open archive of one tenant.
type Node struct {
	Tenant    archive.Tenant
	Store     *ingest.Store
	Search    *search.Searcher
	Retrieve  *retrieve.Reader
	Remove    *remove.Remover
	Index     *index.Index
	Reconcile *reconcile.Reconciler
	Bucket    *storage.Bucket
	Codecs    *pixel.Codecs    // without processes when Offline
	Thumbnail *thumbnail.Maker // nil when Offline

	o    Options
	lock *os.File
	ring *keys.Ring
	log  *ledger.Log
	pool *sandbox.Pool // nil when Offline

	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (o Options) withDefaults() Options {
	o.Tenant = cmp.Or(o.Tenant, archive.DefaultTenant)
	o.Index = cmp.Or(o.Index, filepath.Join(o.Data, "index.db"))
	o.PixelCache = cmp.Or(o.PixelCache, filepath.Join(o.Data, "pixels"))
	o.ReconcileEvery = cmp.Or(o.ReconcileEvery, time.Minute)
	o.Grace = cmp.Or(o.Grace, 24*time.Hour)
	o.StoreMemory = cmp.Or(o.StoreMemory, 64<<20)
	o.CacheBytes = cmp.Or(o.CacheBytes, 32<<20)
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Open locks the data folder and opens everything in it. What a crash left
// unindexed is indexed before Open returns. Errors name the setting to mend.
func Open(ctx context.Context, o Options) (n *Node, err error) {
	o = o.withDefaults()
	n = &Node{Tenant: o.Tenant, o: o}
	defer func() {
		if err != nil {
			n.Close(context.WithoutCancel(ctx))
			n = nil
		}
	}()
	if err = n.openStore(ctx); err != nil {
		return n, err
	}
	if err = n.openIndex(ctx, o.Index); err != nil {
		return n, err
	}
	if err = n.openLog(); err != nil {
		return n, err
	}
	n.Store, err = ingest.New(ingest.Options{Tenant: o.Tenant, Index: n.Index, Keys: n.ring, Log: n.log, Packs: n.Bucket, Room: n.Index.Room,
		Budget: pack.NewBudget(o.StoreMemory), Policy: o.Duplicates, Grace: o.Grace, Now: o.Now, Rand: rand.Reader})
	if err != nil {
		return n, err
	}
	if err = n.openPixels(); err != nil {
		return n, err
	}
	n.Search = search.New(search.Options{Catalog: n.Index, Metadata: n.Retrieve.JSON})
	n.Remove = remove.New(n.Index, n.log, n.ring)
	n.Reconcile = reconcile.New(n.reconcileOptions())
	if o.Offline {
		return n, nil
	}
	caught, err := n.Reconcile.Catchup(ctx)
	if err != nil {
		return n, fmt.Errorf("bringing the index up to the log: %w", err)
	}
	if caught != (reconcile.CaughtUp{}) {
		o.Slog.Info("caught up with the log", "indexed", caught.Indexed, "voided", caught.Voided, "uncommitted", caught.Uncommitted)
	}
	if err = n.Reconcile.Checkpoint(ctx); err != nil {
		if !fault.Is(err, fault.Full) {
			return n, err
		}
		// A full disk must not keep the archive from being read.
		o.Slog.Warn("the disk is full: no checkpoint was written", "error", err)
		err = nil
	}
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.background(ctx)
	n.backgroundPixels(ctx)
	return n, nil
}

func (n *Node) reconcileOptions() reconcile.Options {
	ro := reconcile.Options{Tenant: n.Tenant, Bucket: n.Bucket, Index: n.Index, Keys: n.ring, Grace: n.o.Grace, Slog: n.o.Slog}
	if n.log != nil {
		own := n.log.Session()
		ro.Log = n.log
		// The lock on the data folder says that nobody else writes.
		ro.Over = func(session string) bool { return session != own }
	}
	return ro
}

func (n *Node) openStore(ctx context.Context) (err error) {
	if err := os.MkdirAll(n.o.Data, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, err, "data: cannot make the folder %s", n.o.Data)
	}
	if n.lock, err = lock(n.o.Data); err != nil {
		return err
	}
	d := n.o.Driver
	if d == nil {
		fs, err := filestore.New(filepath.Join(n.o.Data, "objects"), filestore.Options{})
		if err != nil {
			return fmt.Errorf("opening the object store: %w", err)
		}
		d = fs
	}
	n.Bucket = storage.New(retrystore.New(d, retrystore.Options{}))
	n.ring, err = keys.Open(ctx, keys.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, KEK: n.o.KEK, Tenant: n.Tenant})
	if err != nil {
		return fmt.Errorf("opening the tenant's keys: %w", err)
	}
	return nil
}

func (n *Node) openIndex(ctx context.Context, path string) (err error) {
	ring := n.ring
	n.Index, err = index.Open(ctx, index.Options{Path: path, Now: n.o.Now,
		Keys: func(context.Context, archive.Tenant) (index.Keys, error) { return ring, nil }})
	if err != nil {
		return fmt.Errorf("opening the index: %w", err)
	}
	return nil
}

func (n *Node) openLog() (err error) {
	if n.o.Offline {
		return nil
	}
	id, err := ulid.New(ulid.Timestamp(n.o.Now()), rand.Reader)
	if err != nil {
		return fmt.Errorf("naming this session: %w", err)
	}
	n.log, err = ledger.Open(ledger.Options{Bucket: n.Bucket, Tenant: n.Tenant, Secrets: n.ring.Secret,
		Session: id.String(), Now: n.o.Now})
	return err
}

// background reconciles and reaps until Close.
func (n *Node) background(ctx context.Context) {
	n.wg.Go(func() {
		tick := time.NewTicker(n.o.ReconcileEvery)
		defer tick.Stop()
		reaped := n.o.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := n.Reconcile.Catchup(ctx); err != nil && ctx.Err() == nil {
				n.o.Slog.Error("reconciling failed", "error", err)
			}
			if n.o.Now().Sub(reaped) < n.o.Grace/4 {
				continue
			}
			reaped = n.o.Now()
			if k, err := n.Reconcile.Reap(ctx); err != nil && ctx.Err() == nil {
				n.o.Slog.Error("removing unused packs failed", "error", err)
			} else if k > 0 {
				n.o.Slog.Info("removed packs that nothing names", "packs", k)
			}
		}
	})
}

// Ready says why the node cannot work, or nil.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.Index.Ready(ctx); err != nil {
		return err
	}
	_, err := n.Bucket.List(ctx, string(n.Tenant)+"/root/", "", 1)
	return err
}

// Derive returns the tenant's secret for a purpose of its own.
func (n *Node) Derive(purpose string) (archive.Secret, error) { return n.ring.Derive(purpose) }

// Close finishes what is in flight, writes a checkpoint, and lets go of the
// data folder. Requests must have ended.
func (n *Node) Close(ctx context.Context) error {
	if n.stop != nil {
		n.stop()
		n.wg.Wait()
	}
	var errs []error
	if n.Store != nil {
		n.Store.Close()
	}
	if n.stop != nil {
		// Says that this session has ended, and with which number.
		if err := n.log.Close(ctx); err != nil && !fault.Is(err, fault.Full) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, n.closePixels())
	if n.Index != nil {
		errs = append(errs, n.Index.Close())
	}
	if n.ring != nil {
		n.ring.Close()
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}
