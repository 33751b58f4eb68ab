package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/splitstore"
	"github.com/strata-pacs/strata/storage/tierstore"
)

// openStore locks the data folder and puts together what reads and writes objects.
func (n *Node) openStore() (err error) {
	if err := os.MkdirAll(n.o.Data, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, err, "data: cannot make the folder %s", n.o.Data)
	}
	if n.lock, err = lock(n.o.Data); err != nil {
		return err
	}
	hot, err := n.hotStore()
	if err != nil {
		return err
	}
	return n.joinTiers(hot)
}

// far are the retries of a store across a network.
func (n *Node) far() retrystore.Options {
	return retrystore.Options{Stall: n.o.StoreStall, Hedge: true}
}

// hotStore returns the node's own store: in the data folder, or the remote one
// with the bucket of keys.
func (n *Node) hotStore() (driver.Driver, error) {
	if n.o.Remote != nil {
		d := retrystore.New(n.o.Remote, n.far())
		n.stores["store"] = d
		if n.o.RemoteKeys != nil {
			k := retrystore.New(n.o.RemoteKeys, n.far())
			n.stores["key-store"] = k
			d = splitstore.New(splitstore.Options{Picked: k, Other: d, Pick: keys.Holds})
		}
		return d, nil
	}
	d := n.o.Driver
	if d == nil {
		fs, err := filestore.New(filepath.Join(n.o.Data, "objects"), filestore.Options{Now: n.o.Now})
		if err != nil {
			return nil, fmt.Errorf("opening the object store: %w", err)
		}
		d = fs
	}
	d = retrystore.New(d, retrystore.Options{})
	n.stores["store"] = d
	return d, nil
}

// joinTiers makes one store of those of the tiers, with the read cache and without. A hot
// store that is far away is read through the read cache as the others are. One in the data
// folder is asked first and past the cache: a look there costs less than one into the index.
func (n *Node) joinTiers(hot driver.Driver) error {
	stores, places, buckets := []driver.Driver{hot}, map[string]int{"": 0}, map[string]*storage.Bucket{"": storage.New(hot)}
	for _, t := range n.o.Tiers {
		if _, ok := places[t.Store]; ok {
			continue
		}
		d := n.o.TierStores[t.Store]
		if d == nil {
			return fault.New(fault.Invalid, "tiers.%s.store: the store is not open", t.Name)
		}
		d = retrystore.New(d, n.far())
		n.extra["tiers."+string(t.Name)] = d
		places[t.Store] = len(stores)
		stores, buckets[t.Store] = append(stores, d), storage.New(d)
	}
	n.tiers = tiers.NewStores(n.o.Tiers, buckets)
	if n.o.Remote != nil || len(stores) == 1 {
		all := n.oneOf(stores, places, 0)
		near := all
		if n.o.Remote != nil {
			var err error
			if near, err = n.cached(all); err != nil {
				return err
			}
		}
		n.Bucket, n.past = storage.New(near), storage.New(all)
		return nil
	}
	away := n.oneOf(stores[1:], places, 1)
	near, err := n.cached(away)
	if err != nil {
		return err
	}
	n.Bucket = storage.New(n.oneOf([]driver.Driver{hot, near}, nil, 0))
	n.past = storage.New(n.oneOf([]driver.Driver{hot, away}, nil, 0))
	return nil
}

// oneOf makes one of several stores. places says, less first, which of them has the
// store of a tier; nil: they are asked in their order.
func (n *Node) oneOf(stores []driver.Driver, places map[string]int, first int) driver.Driver {
	if len(stores) == 1 {
		return stores[0]
	}
	o := tierstore.Options{Stores: stores}
	if places != nil {
		o.Hint = func(ctx context.Context, key string) (int, bool) {
			if n.Index == nil { // not open yet
				return 0, false
			}
			tenant, _, _ := strings.Cut(key, "/")
			name, ok, err := n.Index.Where(ctx, archive.Tenant(tenant), key)
			if err != nil || !ok {
				return 0, false
			}
			_, t, ok := n.tiers.Tier(name)
			return places[t.Store] - first, ok
		}
	}
	s := tierstore.New(o)
	n.apart = append(n.apart, s)
	return s.Driver
}

// cached puts the read cache before a store, if there is to be one.
func (n *Node) cached(d driver.Driver) (driver.Driver, error) {
	if n.o.ReadCache == "" {
		return d, nil
	}
	c, err := cachestore.New(d, cachestore.Options{Folder: n.o.ReadCache, Bytes: n.o.ReadCacheBytes, Log: n.o.Slog})
	if err != nil {
		return nil, fmt.Errorf("read-cache: %w", err)
	}
	n.near = c
	return c.Driver, nil
}

// Tier returns the store of a tier, without the others and without the read
// cache; false where no such tier is configured.
func (n *Node) Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
	return n.tiers.Tier(name)
}

// Tiers returns the tiers, the hot one first.
func (n *Node) Tiers() []archive.Tier { return n.tiers.All() }

// Currency is that of their prices, ISO 4217.
func (n *Node) Currency() string { return n.o.Lifecycle.Currency }

// paceMoves waits until n more bytes may be moved by this node.
func (n *Node) paceMoves(ctx context.Context, bytes int) error {
	for most := n.moving.Burst(); bytes > 0; bytes -= most {
		if err := n.moving.WaitN(ctx, min(bytes, most)); err != nil {
			return fmt.Errorf("waiting until more may be moved: %w", err)
		}
	}
	return nil
}

// newMoveLimit returns the limit of moves in bytes a second; 0 is none.
func newMoveLimit(bytes int64) *rate.Limiter {
	if bytes <= 0 {
		return rate.NewLimiter(rate.Inf, 1<<30)
	}
	return rate.NewLimiter(rate.Limit(bytes), 256<<10)
}

// warmer is the read cache of the stores that are away.
type warmer struct {
	*cachestore.Store
	n *Node
}

// Warm implements retrieve.Warmer and settle.Near.
func (w warmer) Warm(ctx context.Context, key string, off, n int64) error {
	if !w.n.away(ctx, key) {
		return nil
	}
	return w.Store.Warm(ctx, key, off, n)
}

// away reports whether the object is not in the data folder.
func (n *Node) away(ctx context.Context, key string) bool {
	if n.o.Remote != nil {
		return true
	}
	if !tierstore.Moves(key) {
		return false
	}
	hot, _, ok := n.Tier(archive.HotTier)
	if !ok {
		return false
	}
	here, err := hot.Exists(ctx, key)
	return err == nil && !here
}

// readAhead says how what is far away is read ahead: into the read cache, or, without
// one, into memory. Where everything is in the data folder nothing is.
func (n *Node) readAhead(o *retrieve.Options) {
	switch {
	case n.near != nil:
		o.Ahead = warmer{n.near, n}
	case n.o.Remote != nil || len(n.apart) > 0:
		o.Far = n.away
	}
}
