package node

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3store"
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
		whole, err := cold.Get(t.Context(), packsIn(t, cold)[0], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		noise := "default/pack/01JABCDEFGHJKMNPQRSTVWXYZ1"
		for name, b := range map[string][]byte{stray: whole, noise: []byte("nobody knows whose this is")} {
			if _, err := cold.Put(t.Context(), name, b, storage.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		p.close(n)

		p.o.Grace = time.Nanosecond
		n = p.open()
		if k, err := n.Reconcile.Reap(t.Context()); err != nil || k.Packs != 1 || k.Kept != 1 {
			t.Errorf("%+v reaped, %v", k, err)
		}
		cold, _, _ = p.host.Tier("cold")
		if left := packsIn(t, cold); len(left) != 3 || slices.Contains(left, stray) || !slices.Contains(left, noise) {
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

// TestMoveOfAStudy: a study moves while it is read, is found in its tier by the index, and by
// one that is made anew.
func TestMoveOfAStudy(t *testing.T) {
	for _, remote := range []bool{false, true} {
		p, _ := newTieredPlace(t)
		p.o.Tiers = append(p.o.Tiers, archive.Tier{Name: "attic", Store: "file:///attic", Restore: true})
		attic, err := filestore.New(filepath.Join(t.TempDir(), "attic"), filestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.o.TierStores["file:///attic"] = attic
		if remote {
			if p.o.Remote, err = filestore.New(filepath.Join(t.TempDir(), "objects"), filestore.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		n := p.open()
		u, file := image(1, 1)
		store(t, n, file)
		hot, _, _ := p.host.Tier("hot")
		name := packsIn(t, hot)[0]
		study := n.ring.Ref(u.Study)
		moves := func(to archive.TierName, availability archive.Availability) {
			t.Helper()
			// What is in one study's pack here is far less than what moves by itself.
			m := move.New(move.Options{Index: n.Index, Log: n.log, Tiers: p.host.tiers, Pace: p.host.paceMoves, Least: 1})
			if moved, err := m.Move(t.Context(), n.Tenant, study, to); err != nil || moved == 0 {
				t.Fatalf("to %s: %d, %v", to, moved, err)
			}
			if at, ok, err := n.Index.Where(t.Context(), n.Tenant, name); at != to || !ok || err != nil {
				t.Errorf("it is in %s by the index, want %s: %v, %v", at, to, ok, err)
			}
			found, err := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Files)
			if err != nil || len(found) != 1 || found[0].Tier != availability {
				t.Errorf("to %s: %+v, %v; want %s", to, found, err, availability)
			}
			p.wants(n, u, file)
		}
		moves("cold", archive.Online)
		if err := hot.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		p.wants(n, u, file)
		moves("attic", archive.Nearline)
		if _, err := n.Move.Move(t.Context(), n.Tenant, study, "nowhere"); !fault.Is(err, fault.Invalid) {
			t.Errorf("no such tier: %v", err)
		}
		if remote && p.host.Condition().WrongHints != 0 {
			t.Errorf("%d wrong hints", p.host.Condition().WrongHints)
		}
		p.close(n)

		if report, err := Rebuild(t.Context(), p.o, nil); err != nil || len(report.Gaps) != 0 || report.Instances != 1 {
			t.Errorf("rebuild: %+v, %v", report, err)
		}
		n = p.open()
		if at, ok, err := n.Index.Where(t.Context(), n.Tenant, name); at != "attic" || !ok || err != nil {
			t.Errorf("after a rebuild it is in %s: %v, %v", at, ok, err)
		}
		p.wants(n, u, file)
		if r := p.verify(n); len(r.Gaps) > 0 {
			t.Errorf("%+v", r)
		}
		p.close(n)
		p.o.Tiers = p.o.Tiers[:2] // what is there cannot be read any more, and is not lost
		n = p.open()
		found, err := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Files)
		if err != nil || len(found) != 1 || found[0].Tier != archive.Unavailable {
			t.Errorf("its tier is not configured: %+v, %v", found, err)
		}
		p.close(n)
	}
}

// TestArchiveClass: the tiers of a preset in one bucket. What is archived says so
// until it has been restored.
func TestArchiveClass(t *testing.T) {
	clock := glaciertest.NewClock()
	s := glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: clock.Now})
	s.NewBucket(t, "strata", false)
	p := newPlace(t)
	bucket, err := s3store.Open(t.Context(), s.URL("strata", ""), s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	if p.o.Tiers, err = tiers.Read("aws", s.URL("strata", ""), "USD"); err != nil {
		t.Fatal(err)
	}
	p.o.Remote, p.o.StoreMemory = bucket, 1
	n := p.open()
	defer p.close(n)
	u, file := image(1, 1)
	store(t, n, file)
	study := n.ring.Ref(u.Study)
	is := func(want archive.Availability) {
		t.Helper()
		found, err := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Files)
		if err != nil || len(found) != 1 || found[0].Tier != want {
			t.Errorf("%+v, %v; want %s", found, err, want)
		}
	}
	for _, c := range []struct {
		to   archive.TierName
		want archive.Availability
	}{{"cold", archive.Online}, {"archive", archive.Nearline}} {
		if moved, err := mover(p.host, n).Move(t.Context(), n.Tenant, study, c.to); err != nil || moved == 0 {
			t.Fatal(moved, err)
		}
		if is(c.want); c.want == archive.Online {
			p.wants(n, u, file)
		}
	}
	packs, err := n.Index.Packs(t.Context(), n.Tenant, study)
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	if _, err := n.Bucket.Get(t.Context(), packs[0].Object, 1<<20); !fault.Is(err, fault.Archived) {
		t.Errorf("it is read from the archive: %v", err)
	}
	if r := p.verify(n); len(r.Gaps) > 0 || r.Archived != 1 {
		t.Errorf("%+v", r)
	}
	b, tier, _ := p.host.Tier("archive")
	if err := b.Thaw(t.Context(), packs[0].Object, storage.ThawOptions{For: 24 * time.Hour, Speed: tier.Speeds[0].Word}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(tier.Speeds[0].Longest + time.Minute)
	p.wants(n, u, file)
	if moved, err := mover(p.host, n).Move(t.Context(), n.Tenant, study, "hot"); err != nil || moved == 0 {
		t.Fatal(moved, err)
	}
	is(archive.Online)
	p.wants(n, u, file)
}

func TestMoveRate(t *testing.T) {
	p := newPlace(t)
	p.o.MoveRate = 1 << 20
	n := p.open()
	defer p.close(n)
	// What is more than one gulp waits for the rest: 256 KiB at once, then a mebibyte a second.
	began := time.Now()
	if err := p.host.paceMoves(t.Context(), 512<<10); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("half a mebibyte took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.host.paceMoves(ctx, 1<<20); !fault.Is(err, fault.Canceled) {
		t.Errorf("cancelled: %v", err)
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
	began := time.Now()
	var ahead atomic.Int64
	p.o.Now = func() time.Time { return began.Add(time.Duration(ahead.Load())) }
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
	ahead.Add(int64(readyFor))
	if wrong := p.host.Impaired(t.Context()); !slices.Equal(wrong, []string{"tiers.cold: the bucket is not ours"}) {
		t.Errorf("the cold store fails: %v", wrong)
	}
	if err := p.host.Ready(t.Context()); err != nil {
		t.Errorf("without its cold store the node is not ready: %v", err)
	}
	p.wants(n, u, file)
	cold.Script(nil)
	ahead.Add(int64(readyFor))
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
