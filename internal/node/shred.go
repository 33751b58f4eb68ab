package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/shred"
	"github.com/strata-pacs/strata/storage"
)

// Shredder destroys the keys of studies and patients of any tenant.
type Shredder struct{ n *Node }

// Shredder returns what shreds.
func (n *Node) Shredder() Shredder { return Shredder{n} }

// Shred returns when the key-closed facts are durable and every copy of the keys
// that can be reached is destroyed; see [shred.Shredder.Shred]. Other nodes find nothing of
// it from then on, and drop the keys from memory when they next prove their leases.
func (s Shredder) Shred(ctx context.Context, t archive.Tenant, target archive.ShredTarget) (st archive.ShredStatus, err error) {
	err = s.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { st, err = a.Shred.Shred(ctx, target); return err })
	return st, err
}

func (a *Archive) newShredder() *shred.Shredder {
	n := a.n
	return shred.New(shred.Options{Tenant: a.Tenant, Index: n.Index, Log: a.controls, Refs: a.ring, Keys: studyKeys{n.Bucket, a.Tenant},
		Destroy: a.guard(a.controls).Destroy, Caches: caches{a}, Catchup: a.catchUpForShredding, Holds: a.Keep, Versions: n.keyVersions(), Lifetime: n.o.KeyBackups, Now: n.o.Now, Slog: a.slog})
}

// keyVersions is who knows which versions of KEKs are retired.
func (n *Node) keyVersions() shred.Versions {
	if n.o.KeyVersions != nil {
		return n.o.KeyVersions
	}
	return n.Custody
}

// catchUpForShredding indexes what can be indexed: damage elsewhere in the log must
// not keep a study from being shredded.
func (a *Archive) catchUpForShredding(ctx context.Context) error {
	_, err := a.Reconcile.Catchup(ctx)
	if fault.Is(err, fault.Corrupt) {
		a.slog.Error("shredding although not all of the log can be read", "error", err)
		return nil
	}
	return err
}

// studyKeys are the key objects of a tenant.
type studyKeys struct {
	b *storage.Bucket
	t archive.Tenant
}

// Destroy implements [shred.Keys].
func (k studyKeys) Destroy(ctx context.Context, id archive.KeyID) error {
	return keys.Destroy(ctx, k.b, k.t, id)
}

// Remains implements [shred.Keys].
func (k studyKeys) Remains(ctx context.Context, id archive.KeyID) (bool, error) {
	return keys.Remains(ctx, k.b, k.t, id)
}

// caches are what an open archive holds of studies.
type caches struct{ a *Archive }

// Forget implements [shred.Caches].
func (c caches) Forget(ids ...archive.KeyID) {
	c.a.ring.Drop(ids...)
	c.a.Retrieve.Forget()
	c.a.Thumbnail.Forget()
	c.a.Index.ForgetWords(c.a.Tenant)
}

// RemovePictures implements [shred.Caches].
func (c caches) RemovePictures(ctx context.Context, study archive.Ref) error {
	_, err := c.a.Thumbnail.Remove(ctx, c.a.Tenant, study)
	return err
}

// closings are the closed keys that an open archive has heard of, whichever node
// closed them: it forgets each when it next proves its lease, and for a while
// after, since a request may ask for the key until its object is destroyed.
type closings struct {
	mu     sync.Mutex
	seen   int64
	recent []closing
}

type closing struct {
	id archive.KeyID
	at time.Time
}

const (
	closedPage = 1000
	closedLate = time.Minute
)

// begin takes note of those that are closed before any key is in memory.
func (c *closings) begin(ctx context.Context, a *Archive) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen, err = a.Index.LastClosed(ctx, a.Tenant); err != nil {
		return fmt.Errorf("asking which keys are destroyed: %w", err)
	}
	return nil
}

// follow drops what is in memory of those that were closed since.
func (c *closings) follow(ctx context.Context, a *Archive) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := a.n.o.Now()
	c.recent = slices.DeleteFunc(c.recent, func(k closing) bool { return now.Sub(k.at) > closedLate })
	for _, k := range c.recent {
		a.ring.Drop(k.id)
	}
	for {
		page, err := a.Index.ClosedKeys(ctx, a.Tenant, c.seen, closedPage)
		if err != nil {
			return fmt.Errorf("asking which keys are destroyed: %w", err)
		}
		ids := make([]archive.KeyID, len(page))
		for i := range page {
			ids[i], c.seen = page[i].ID, page[i].Sequence
			c.recent = append(c.recent, closing{page[i].ID, now})
		}
		if len(ids) > 0 {
			caches{a}.Forget(ids...)
		}
		if len(page) < closedPage {
			return nil
		}
	}
}

// sweepKeys destroys keys whose shredding was cut short, and those that came back.
func (a *Archive) sweepKeys(ctx context.Context) {
	tick := time.NewTicker(a.n.o.ReconcileEvery)
	defer tick.Stop()
	for looked := (time.Time{}); ; {
		destroyed, err := a.Shred.Sweep(ctx)
		if err == nil && a.n.o.Now().Sub(looked) >= a.n.o.Grace/4 {
			looked = a.n.o.Now()
			var back int
			back, err = a.Shred.Look(ctx)
			destroyed += back
		}
		if err != nil && ctx.Err() == nil {
			a.slog.Error("destroying keys of shredded studies failed; it is tried again", "error", err)
		}
		if destroyed > 0 {
			a.slog.Info("destroyed keys of shredded studies", "keys", destroyed)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
