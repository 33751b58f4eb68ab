package node

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
)

// TestSettleAndMove: a study is settled, moves to another store, its copy goes after the
// hold, a late instance comes, it is settled and moves again, and comes back.
func TestSettleAndMove(t *testing.T) {
	q := newQuiet(t, Settling{})
	q.close(q.a)
	cold, err := filestore.New(filepath.Join(t.TempDir(), "cold"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: coldStore}}
	q.o.TierStores = map[string]driver.Driver{coldStore: cold}
	q.a = q.open()
	defer func() { q.close(q.a) }()
	in := func(name archive.TierName) int {
		b, _, _ := q.host.Tier(name)
		return len(packsIn(t, b))
	}
	moves := func(to archive.TierName) {
		t.Helper()
		if moved, err := q.a.Move.Move(t.Context(), q.a.Tenant, q.ref(), to); err != nil || moved == 0 {
			t.Fatalf("to %s: %d, %v", to, moved, err)
		}
	}
	there := func(when string, hot, cold int) {
		t.Helper()
		q.reads(when)
		if in("hot") != hot || in("cold") != cold {
			t.Errorf("%s: %d packs are hot, %d cold; want %d and %d", when, in("hot"), in("cold"), hot, cold)
		}
	}
	q.fill(6)
	if moved, err := q.a.Move.Move(t.Context(), q.a.Tenant, q.ref(), "cold"); moved != 0 || err != nil {
		t.Errorf("a study that was not settled: %d, %v", moved, err)
	}
	q.settles()
	there("settled", 1, 0)
	moves("cold")
	there("moved", 1, 1)
	q.passes(2 * time.Hour)
	q.sweeps()
	there("before the hold has ended", 1, 1)
	q.passes(24 * time.Hour)
	if w := q.sweeps(); w.Objects != 1 {
		t.Errorf("swept: %+v", w)
	}
	there("after the hold", 0, 1)

	q.stores(1, 77)
	q.reads("a late instance")
	q.settles()
	moves("cold")
	q.passes(30 * time.Hour)
	q.sweeps()
	if q.reads("settled and moved again"); in("hot") != 0 {
		t.Errorf("%d packs are hot", in("hot"))
	}
	moves("hot")
	q.passes(30 * time.Hour)
	q.sweeps()
	if q.reads("back"); in("cold") != 0 {
		t.Errorf("%d packs are cold", in("cold"))
	}
	done, err := move.RemoveStrays(t.Context(), q.a.Tenant, move.StrayOptions{Index: q.a.Index, Tiers: q.host.tiers, Alone: q.a.Lifecycle.Alone, Now: q.o.Now})
	if err != nil || done.Copies != 0 {
		t.Errorf("strays: %+v, %v", done, err)
	}
	if k, err := q.a.Reconcile.Reap(t.Context()); err != nil || k.Packs != 0 {
		t.Errorf("%+v reaped, %v", k, err)
	}
	q.reads("at last")
	before := q.dump()
	q.close(q.a)
	if r, err := Rebuild(t.Context(), q.o, nil); err != nil || len(r.Gaps) != 0 {
		t.Errorf("rebuild: %+v, %v", r, err)
	}
	q.a = q.open()
	if after := q.dump(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	q.reads("rebuilt")
}
