package node

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
)

const coldStore = "file:///cold"

// newTieredPlace is a place with a cold tier in another store, which can be broken.
// Every study it stores becomes a pack.
func newTieredPlace(t *testing.T) (*place, *faultstore.Store) {
	t.Helper()
	p := newPlace(t)
	files, err := filestore.New(filepath.Join(t.TempDir(), "cold"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cold := faultstore.New(files, nil)
	p.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: coldStore}}
	p.o.TierStores = map[string]driver.Driver{coldStore: cold.Driver}
	p.o.ReadCache, p.o.ReadCacheBytes = filepath.Join(t.TempDir(), "cache"), 64<<20
	p.o.StoreMemory = 1
	return p, cold
}

// packs returns the names of the default tenant's packs in a store.
func packsIn(t *testing.T, b *storage.Bucket) (names []string) {
	t.Helper()
	for o, err := range b.All(t.Context(), "default/pack/", "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Key)
	}
	return names
}

// carry moves every pack to another tier as a move does whose hold has ended.
func carry(t *testing.T, n *Node, from, to archive.TierName) (names []string) {
	t.Helper()
	a, _, _ := n.Tier(from)
	b, _, _ := n.Tier(to)
	names = packsIn(t, a)
	for _, name := range names {
		all, err := a.Get(t.Context(), name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), name, all, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := a.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestTiers: what has moved to another store is found wherever packs are asked for.
func TestTiers(t *testing.T) {
	for _, remote := range []bool{false, true} {
		p, _ := newTieredPlace(t)
		if remote {
			files, err := filestore.New(filepath.Join(t.TempDir(), "objects"), filestore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p.o.Remote = files
		}
		n := p.open()
		u, file := image(1, 1)
		store(t, n, file)
		v, other := image(2, 1)
		store(t, n, other)
		if moved := carry(t, p.host, "hot", "cold"); len(moved) != 2 {
			t.Fatalf("%d packs, want 2", len(moved))
		}
		w, hot := image(3, 1)
		store(t, n, hot)
		before := p.host.Condition().Cache.Fetched
		p.wants(n, w, hot)
		if fetched := p.host.Condition().Cache.Fetched - before; fetched > 0 != remote {
			t.Errorf("remote %v: %d bytes of a hot study were fetched into the read cache", remote, fetched)
		}
		p.wants(n, u, file)
		p.wants(n, v, other)
		if p.host.Condition().Cache.Fetched == 0 {
			t.Error("nothing of a cold study is in the read cache")
		}
		if r := p.verify(n); len(r.Gaps) > 0 || r.Instances != 3 {
			t.Errorf("verify: %+v", r)
		}
		cold, _, _ := p.host.Tier("cold")
		stray := "default/pack/01JABCDEFGHJKMNPQRSTVWXYZ0"
		if _, err := cold.Put(t.Context(), stray, []byte("nothing names it"), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		p.close(n)

		p.o.Grace = time.Nanosecond
		n = p.open()
		if k, err := n.Reconcile.Reap(t.Context()); err != nil || k != 1 {
			t.Errorf("%d packs reaped, %v", k, err)
		}
		cold, _, _ = p.host.Tier("cold")
		if left := packsIn(t, cold); len(left) != 2 || slices.Contains(left, stray) {
			t.Errorf("left in the cold store: %v", left)
		}
		p.close(n)

		if report, err := Rebuild(t.Context(), p.o, nil); err != nil || len(report.Gaps) != 0 || report.Instances != 3 {
			t.Errorf("rebuild: %+v, %v", report, err)
		}
		n = p.open()
		p.wants(n, u, file)
		p.wants(n, w, hot)
		p.close(n)
	}
}

// TestVerifyOfAnArchive: what is archived is no gap, and neither is it lost; what is gone is.
func TestVerifyOfAnArchive(t *testing.T) {
	p, cold := newTieredPlace(t)
	p.o.Tiers[1].Restore = true
	n := p.open()
	defer p.close(n)
	for i := range 3 {
		_, file := image(i, 1)
		store(t, n, file)
		if i == 1 {
			carry(t, p.host, "hot", "cold")
		}
	}
	archived := func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Open {
			return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.Archived, "it must be restored first")}
		}
		return faultstore.Decision{}
	}
	cold.Script(archived)
	if r := p.verify(n); len(r.Gaps) > 0 || r.Packs != 3 || r.Archived != 2 || r.Instances != 3 {
		t.Errorf("archived: %+v", r)
	}
	cold.Script(nil)
	b, _, _ := p.host.Tier("cold")
	if err := b.Delete(t.Context(), packsIn(t, b)[0]); err != nil {
		t.Fatal(err)
	}
	cold.Script(archived)
	if r := p.verify(n); len(r.Gaps) == 0 || r.Archived != 1 {
		t.Errorf("one is gone: %+v", r)
	}
}

// TestImpaired: a tier whose store fails is named, and the node goes on without it.
func TestImpaired(t *testing.T) {
	p, cold := newTieredPlace(t)
	now := time.Now()
	p.o.Now = func() time.Time { return now }
	n := p.open()
	defer p.close(n)
	u, file := image(1, 1)
	store(t, n, file)
	if wrong := p.host.Impaired(t.Context()); wrong != nil {
		t.Errorf("nothing is wrong: %v", wrong)
	}
	cold.Script(func(faultstore.Op) faultstore.Decision {
		return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.Forbidden, "the bucket is not ours")}
	})
	if wrong := p.host.Impaired(t.Context()); wrong != nil {
		t.Errorf("an answer is not believed for a while: %v", wrong)
	}
	now = now.Add(readyFor)
	if wrong := p.host.Impaired(t.Context()); !slices.Equal(wrong, []string{"tiers.cold: the bucket is not ours"}) {
		t.Errorf("the cold store fails: %v", wrong)
	}
	if err := p.host.Ready(t.Context()); err != nil {
		t.Errorf("without its cold store the node is not ready: %v", err)
	}
	p.wants(n, u, file)
	cold.Script(nil)
	now = now.Add(readyFor)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p.host.Impaired(ended) // says nothing of the store
	if wrong := p.host.Impaired(t.Context()); wrong != nil {
		t.Errorf("it works again: %v", wrong)
	}
}

func TestTierWithoutStore(t *testing.T) {
	p, _ := newTieredPlace(t)
	p.o.TierStores = nil
	n, err := Open(t.Context(), p.o)
	if err == nil {
		p.host = n
		p.close(nil)
	}
	if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(fault.Message(err), "tiers.cold.store: ") {
		t.Errorf("%v", err)
	}
}
