package move_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/storage/s3store"
	"github.com/strata-pacs/strata/storage/tierstore"
)

// glacier is a world in buckets with the classes of Amazon S3, and its clock.
type glacier struct {
	*world
	s     *glaciertest.Server
	clock *glaciertest.Clock
}

// newGlacier has the tiers of a preset, whose address, and that of the hot store, is what
// url makes of the bucket's; an empty one for a hot store in memory.
func newGlacier(t *testing.T, preset func(url string) (setting, hot string)) glacier {
	t.Helper()
	clock := glaciertest.NewClock()
	s := glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: clock.Now})
	s.NewBucket(t, "strata", false)
	setting, hot := preset(s.URL("strata", ""))
	list, err := tiers.Read(setting, hot, "USD")
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := s3store.Open(t.Context(), s.URL("strata", ""), s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	far := retrystore.New(bucket, retrystore.Options{Attempts: 8, Sleep: func(ctx context.Context, _ time.Duration) error {
		clock.Advance(time.Second)
		return ctx.Err()
	}})
	stores, buckets := []driver.Driver{far}, map[string]*storage.Bucket{"": storage.New(far)}
	if hot == "" {
		disk := memstore.New(memstore.Options{})
		stores, buckets[""], buckets[list[1].Store] = []driver.Driver{disk, far}, storage.New(disk), storage.New(far)
	}
	w := &world{t: t, content: map[string][]byte{}, tiers: tiers.NewStores(list, buckets),
		index:  &catalog{packs: map[string]archive.PackState{}, doomed: map[string][]archive.TierName{}, log: buckets[""], n: 1},
		reader: storage.New(tierstore.New(tierstore.Options{Stores: stores}).Driver)}
	w.add("t/pack/00", 700_000, true)
	w.add("t/pack/01", 6<<20, true) // in parts
	return glacier{w, s, clock}
}

// in checks that every pack is of the tier, in its class, and can be read or not as its state says.
func (g glacier) in(name archive.TierName, state driver.RestoreState) {
	g.t.Helper()
	b, tier, _ := g.tiers.Tier(name)
	for key, want := range g.content {
		a, err := b.Stat(g.t.Context(), key)
		if err != nil || a.Class != tier.Class || a.Restore.State != state || g.index.packs[key].Tier != name {
			g.t.Errorf("%s: %+v, %v, by the index in %s; want class %q, state %d", key, a, err, g.index.packs[key].Tier, tier.Class, state)
		}
		got, err := b.Get(g.t.Context(), key, 1<<30)
		if state == driver.Archived && !fault.Is(err, fault.Archived) || state != driver.Archived && (err != nil || !bytes.Equal(got, want)) {
			g.t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
}

// thaw restores every pack and waits for it, by the clock.
func (g glacier) thaw(name archive.TierName) {
	g.t.Helper()
	b, tier, _ := g.tiers.Tier(name)
	for key := range g.content {
		if err := b.Thaw(g.t.Context(), key, storage.ThawOptions{For: 48 * time.Hour, Speed: tier.Speeds[0].Word}); err != nil {
			g.t.Fatal(err)
		}
	}
	if moved, err := g.move("hot"); !fault.Is(err, fault.Archived) || moved != 0 {
		g.t.Fatalf("moved while it is restored: %d, %v", moved, err)
	}
	g.clock.Advance(tier.Speeds[0].Longest + time.Minute)
}

func TestGlacierInOneBucket(t *testing.T) {
	g := newGlacier(t, func(url string) (string, string) { return "aws", url })
	g.must("cold", g.bytes())
	g.in("cold", driver.Online)
	g.must("archive", g.bytes())
	g.in("archive", driver.Archived)
	if moved, err := g.move("cold"); !fault.Is(err, fault.Archived) || moved != 0 {
		t.Fatalf("from the archive without a restore: %d, %v", moved, err)
	}
	g.thaw("archive")
	g.in("archive", driver.Restored)
	g.must("hot", g.bytes())
	g.in("hot", driver.Online)
	if n := len(g.index.doomed); n != 0 {
		t.Errorf("copies of %d packs are to be deleted, and there is one store", n)
	}
}

func TestGlacierFromADisk(t *testing.T) {
	g := newGlacier(t, func(url string) (string, string) { return "on-premises " + url, "" })
	// The provider slows everything down, and breaks the change of class at first.
	g.s.SetRate(3)
	g.s.Faults.Script(s3protocoltest.Times(2, "copy", s3protocoltest.Broken))
	g.must("archive", g.bytes())
	g.s.SetRate(0)
	g.s.Faults.Script(nil)
	if n := g.s.Faults.Count("copy"); n < 4 {
		t.Errorf("%d changes of class were asked for, of which two were broken", n)
	}
	g.in("archive", driver.Archived)
	g.read() // of the disk, until the hold has ended
	g.sweep()
	for key := range g.content {
		if _, err := g.reader.Get(t.Context(), key, 1<<30); !fault.Is(err, fault.Archived) {
			t.Errorf("%s: %v", key, err)
		}
	}
	g.thaw("archive")
	g.read()
	g.must("hot", g.bytes())
	g.read()
	// The copy in the archive has not been swept: it is used, without being read or written.
	gets, puts := g.s.Faults.Count("get"), g.s.Faults.Count("put")
	g.must("archive", g.bytes())
	if n, m := g.s.Faults.Count("get")-gets, g.s.Faults.Count("put")-puts; n+m != 0 {
		t.Errorf("moved there again by %d reads and %d writes", n, m)
	}
	g.clock.Advance(72 * time.Hour)
	g.in("archive", driver.Archived)
}
