package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/lifecycle"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/search"
	"github.com/strata-pacs/strata/internal/settle"
	"github.com/strata-pacs/strata/internal/shred"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage"
)

// Archive is the archive of one tenant while it is open: while its keys are in
// memory. Everything that holds something readable of the tenant hangs on it, so
// that to close it is to go dark.
type Archive struct {
	Tenant   archive.Tenant
	Store    *ingest.Store
	Search   *search.Searcher
	Retrieve *retrieve.Reader
	Remove   *remove.Remover
	Keep     *retention.Keeper
	Shred    *shred.Shredder
	Move     *move.Mover
	Settle   *settle.Settler
	// Lifecycle carries out the tenant's rules.
	Lifecycle *lifecycle.Keeper
	Reconcile *reconcile.Reconciler
	Thumbnail *thumbnail.Maker
	Index     *index.Index
	Bucket    *storage.Bucket
	Codecs    *pixel.Codecs
	// Handler serves the tenant's requests; nil without Options.Serve.
	Handler http.Handler

	n        *Node
	slog     *slog.Logger
	ring     *keys.Ring
	log      *ledger.Log // facts about instances
	controls *ledger.Log // all others, which are read before them where an index is filled
	lease    *keys.Lease
	settings atomic.Pointer[archive.TenantSettings]
	limits   *limiter
	closed   closings
	partial  partial
	clock    storeClock
	caught   catches
	admitted bool // has one of the node's places

	ctx context.Context // ends, with the cause, when the archive is cut off
	cut context.CancelCauseFunc
	wg  sync.WaitGroup // what works in the background

	// Guarded by the gate.
	active  int           // visits
	drained chan struct{} // closed when the last visit of an archive that is cut off ends
}

// openArchive unwraps the tenant's root and opens all that hangs on it. whole says
// that nothing can be in the log that is not in the index.
func (n *Node) openArchive(ctx context.Context, t archive.Tenant, whole bool) (_ *Archive, err error) {
	settings, err := n.settings(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := usable(settings); err != nil {
		return nil, err
	}
	a := &Archive{Tenant: t, Index: n.Index, Bucket: n.Bucket, Codecs: n.Codecs, n: n, slog: n.o.Slog.With("tenant", string(t))}
	a.ctx, a.cut = context.WithCancelCause(context.Background())
	a.settings.Store(&settings)
	a.limits = newLimiter(settings.Limits)
	defer func() {
		if err != nil {
			_ = a.close(context.WithoutCancel(ctx), false)
		}
	}()
	if err := n.belongs(ctx, t); err != nil {
		return nil, err
	}
	asked := n.o.Now()
	a.ring, err = keys.Open(ctx, keys.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, KEK: keys.ID(settings.KEK), Tenant: t, Now: n.o.Now})
	if err != nil {
		return nil, fmt.Errorf("opening the tenant's keys: %w", err)
	}
	// Not before: who may not be opened must not push out another.
	if err := n.admit(ctx); err != nil {
		return nil, err
	}
	a.admitted = true
	a.lease = keys.NewLease(keys.LeaseOptions{Prove: a.prove, TTL: n.o.KeyLease, Grace: n.o.KeyGrace, Now: n.o.Now}, asked)
	n.lend(t, a.ring)
	if err := a.openUses(settings); err != nil {
		return nil, err
	}
	if err := a.closed.begin(ctx, a); err != nil {
		return nil, err
	}
	if !whole {
		if err := a.catchUpFirst(ctx); err != nil {
			return nil, err
		}
	}
	if n.o.Serve != nil {
		a.Handler = n.o.Serve(a)
	}
	return a, nil
}

// belongs refuses a store that has no key of a tenant whom the index knows: it is
// not the one that the index is of, and a new key would open nothing.
func (n *Node) belongs(ctx context.Context, t archive.Tenant) error {
	_, err := n.Bucket.Stat(ctx, keys.RootName(t))
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	known, err := n.Index.Knows(ctx, t)
	if err == nil && known {
		err = fault.New(fault.Conflict, "store: it has no key of tenant %s, but the index has instances: the two do not belong together; check store, key-store and database", t)
	}
	return err
}

// openUses opens the use cases.
func (a *Archive) openUses(settings archive.TenantSettings) (err error) {
	n := a.n
	policy := n.o.Duplicates
	if settings.Duplicates != "" {
		if policy, err = ingest.ParsePolicy(settings.Duplicates); err != nil {
			return err
		}
	}
	for c, to := range map[ledger.Content]**ledger.Log{ledger.Instances: &a.log, ledger.Controls: &a.controls} {
		session := n.session(c)
		*to, err = ledger.Open(ledger.Options{Bucket: n.Bucket, Tenant: a.Tenant, Secrets: a.ring.Secret, Session: session, Now: n.o.Now,
			Fence: func() error { return n.writes(session) }})
		if err != nil {
			return err
		}
	}
	a.Store, err = ingest.New(ingest.Options{Tenant: a.Tenant, Index: n.Index, Keys: a.ring, Log: a.log, Packs: n.Bucket, Room: n.Index.Room,
		Budget: n.budget, Policy: policy, Grace: n.o.Grace, Now: n.o.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	ro := retrieve.Options{Index: n.Index, Objects: n.Bucket, Secrets: a.ring, Codecs: n.Codecs, Shares: n.together.shares}
	ro.CacheBytes, ro.Together = n.cacheBytes(a.Tenant)
	n.readAhead(&ro)
	a.Retrieve = retrieve.New(ro)
	a.Thumbnail, err = thumbnail.New(thumbnail.Options{Index: n.Index, Reader: a.Retrieve, Bucket: n.Bucket, Keys: a.ring,
		Together: ro.Together, MemoryOnly: n.o.ThumbnailsInMemory, Log: a.slog, Now: n.o.Now})
	if err != nil {
		return err
	}
	a.Search = search.New(search.Options{Catalog: n.Index, Metadata: a.Retrieve.JSON})
	a.Reconcile = reconcile.New(n.reconcileOptions(a.Tenant, a.ring, a.controls, a.log))
	protect := a.guard(a.controls).Protect
	a.Keep = retention.New(retention.Options{Tenant: a.Tenant, Index: n.Index, Log: a.controls, Refs: a.ring, Set: n.o.Retention, Now: n.o.Now,
		StoreTime: a.storeTime, Protect: protect, Whole: func() bool { return !a.Partial() }})
	a.Remove = remove.New(remove.Options{Index: n.Index, Log: a.controls, Refs: a.ring, Keep: a.Keep, Hold: n.o.Settling.undoable(), Protect: protect, StoreTime: a.storeTime, Now: n.o.Now})
	a.Shred = a.newShredder()
	a.Move = move.New(move.Options{Index: n.Index, Log: a.log, Tiers: n.tiers, Pace: n.paceMoves})
	if a.Settle, err = a.newSettler(); err != nil {
		return err
	}
	a.Lifecycle = a.newLifecycle()
	return nil
}

// prove asks whoever may take the tenant's keys away: the operator, by the
// settings in the index, and the key provider.
func (a *Archive) prove(ctx context.Context) error {
	asked := a.n.o.Now()
	settings, err := a.n.settings(ctx, a.Tenant)
	if err != nil {
		// Who cannot learn of a revocation must not go on.
		return fault.Wrap(fault.Unavailable, err, "the database does not answer; try again")
	}
	if err := usable(settings); err != nil {
		return err
	}
	a.adopt(settings, asked)
	if err := a.closed.follow(ctx, a); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database does not answer; try again")
	}
	return a.ring.Prove(ctx, a.n.o.KeyLease/2)
}

// ErrRevoked says that the tenant's key was revoked from Strata's side.
var ErrRevoked = fault.New(fault.KeyDenied, "the key of this archive has been revoked; nothing can be read or written until it is granted again")

// adopt takes settings over that held at the time.
func (a *Archive) adopt(settings archive.TenantSettings, at time.Time) {
	old := a.settings.Swap(&settings)
	if settings.KEK != "" { // else what the root is under
		a.ring.SetKEK(keys.ID(settings.KEK), at)
	}
	if old.Limits != settings.Limits {
		a.limits.set(settings.Limits)
	}
}

// usable refuses what a tenant's state forbids.
func usable(s archive.TenantSettings) error {
	switch s.State {
	case archive.TenantActive:
		return nil
	case archive.TenantRevoked:
		return ErrRevoked
	}
	return fault.New(fault.Forbidden, "this archive is suspended; ask its operator")
}

// Accessed notes that pixels of a study were given today.
func (a *Archive) Accessed(study string) { a.n.accesses.Note(a.Tenant, a.ring.Ref(study)) }

// Derive returns the tenant's secret for a purpose of its own.
func (a *Archive) Derive(purpose string) (archive.Secret, error) { return a.ring.Derive(purpose) }

// Restores restores what lies in archive tiers.
func (a *Archive) Restores() Restores { return a.n.Restores() }

// Check returns nil while the tenant's keys may be used.
func (a *Archive) Check(ctx context.Context) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	return a.lease.Check(ctx)
}

// Pace waits until n more bytes may move for the tenant.
func (a *Archive) Pace(ctx context.Context, n int) error { return a.limits.pace(ctx, n) }

// close ends what openArchive began; nobody visits any more. A session of the
// log is ended only where its keys may still be used.
func (a *Archive) close(ctx context.Context, allowed bool) error {
	a.cut(errClosing)
	a.wg.Wait()
	var errs []error
	if a.Store != nil {
		a.Store.Close()
	}
	for _, log := range [...]*ledger.Log{a.log, a.controls} {
		if log == nil || !allowed {
			continue
		}
		if err := a.n.endLog(ctx, a.Tenant, log); err != nil && !fault.Is(err, fault.Full) {
			errs = append(errs, err)
		}
	}
	if a.Settle != nil {
		a.Settle.Close()
	}
	if a.Thumbnail != nil {
		a.Thumbnail.Close()
	}
	if a.Retrieve != nil {
		a.Retrieve.Close()
	}
	if a.lease != nil {
		a.lease.Close()
	}
	a.n.takeBack(a.Tenant)
	if a.ring != nil {
		a.ring.Close()
	}
	if a.admitted {
		a.n.places.Release(1)
	}
	return errors.Join(errs...)
}

var errClosing = fault.New(fault.Unavailable, "the archive is being closed; try again in a moment")
