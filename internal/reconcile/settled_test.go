package reconcile

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// wants catches up and verifies all, expecting no gaps, and holds a rebuilt index against the one there is.
func (w *world) wants(gaps int) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.rec.Catchup(ctx); err != nil {
		w.t.Fatal(err)
	}
	report, err := w.rec.Verify(ctx, VerifyOptions{Sample: 1, Workers: 1})
	w.do(err)
	if len(report.Gaps) != gaps {
		w.t.Errorf("verify: %+v", report.Gaps)
	}
	shown := w.shown()
	was := w.index
	w.freshIndex()
	report, err = w.rec.Rebuild(ctx, nil)
	w.do(err)
	if len(report.Gaps) != gaps {
		w.t.Errorf("rebuild: %+v", report.Gaps)
	}
	if gaps == 0 {
		if got := w.shown(); !slices.Equal(got, shown) {
			w.t.Errorf("rebuilt: %q, not %q", got, shown)
		}
		w.usage()
	}
	w.index = was
	w.reconciler()
}

// TestSettledExplains: what a settled fact supersedes may be gone from the store, and the same index comes of what is left.
func TestSettledExplains(t *testing.T) {
	w := newWorld(t)
	one, two, three := w.store(1, false, true), w.store(2, true, true), w.store(3, false, true)
	w.usage()
	settled := w.write(w.settled(one, two), nil, true)
	w.usage()
	w.wants(0)
	w.sweep()
	if got := w.objects("log/"); !slices.Equal(got, []string{"log/A/0000000000000003", "log/A/0000000000000004"}) {
		t.Errorf("left: %q", got)
	}
	w.usage()
	w.wants(0)
	w.restart("B")
	done, err := w.rec.Catchup(t.Context())
	if err != nil || done.Voided != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	w.do(w.rec.Checkpoint(t.Context()))
	w.wants(0)
	// Settled once more, from the next session: all of the first one goes.
	w.write(w.settled(settled, three), nil, true)
	w.sweep()
	w.do(w.rec.Checkpoint(t.Context()))
	if got := w.objects("log/A/"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if got := w.shown(); !slices.Equal(got, []string{"1 pack/P3", "2 pack/P3", "3 pack/P3"}) {
		t.Errorf("%q", got)
	}
	w.usage()
	w.wants(0)
	// Without the fact that explains them they are lost.
	w.do(w.bucket.Delete(t.Context(), ledger.ObjectName(tenant, "B", 2)))
	w.wants(1) // session A; its own session still grows
}

// TestCatchupExplained: catching up with a log of which nothing is indexed closes only the holes that no settled fact, of
// whichever session, explains.
func TestCatchupExplained(t *testing.T) {
	w := newWorld(t)
	one, two := w.store(1, false, true), w.store(2, false, true)
	lost := w.store(3, false, true)
	w.store(4, false, true)
	w.restart("B")
	w.write(w.settled(one, two), nil, true)
	w.sweep()
	w.do(w.bucket.Delete(t.Context(), lost.Object))
	w.freshIndex()
	done, err := w.rec.Catchup(t.Context())
	if err != nil || done.Voided != 1 || done.Indexed != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	if got := w.objects("log/A/"); !slices.Equal(got, []string{"log/A/0000000000000003", "log/A/0000000000000004"}) {
		t.Errorf("there are %q", got)
	}
	w.usage()
}

// TestReap: packs that live entries name stay, however old, and those that were in use until lately for a while.
func TestReap(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	one := w.store(1, true, true)
	w.now = w.now.Add(3 * time.Hour)
	w.do(w.bucketPut("pack/orphan"))
	w.write(w.settled(one), nil, true)
	reap := func(want int, left ...string) {
		t.Helper()
		if n, err := w.rec.Reap(ctx); err != nil || n.Packs != want {
			t.Errorf("%+v removed, %v", n, err)
		}
		if got := w.objects("pack/"); !slices.Equal(got, left) {
			t.Errorf("left: %q", got)
		}
	}
	reap(0, "pack/P1", "pack/P2", "pack/orphan")
	w.now = w.now.Add(30 * time.Minute)
	reap(0, "pack/P1", "pack/P2", "pack/orphan")
	w.now = w.now.Add(time.Hour)
	reap(2, "pack/P2") // the superseded one, and that which nothing names
	w.now = w.now.Add(1000 * time.Hour)
	reap(0, "pack/P2")
}

func (w *world) bucketPut(name string) error {
	_, err := w.bucket.Put(w.t.Context(), string(tenant)+"/"+name, []byte("x"), storage.CreateOptions{})
	return err
}

// TestRebuildDoomed: of what is to be deleted, a rebuild finds again what is still there, and nothing else.
func TestRebuildDoomed(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	cold := storage.New(memstore.New(memstore.Options{}))
	settled := w.write(w.settled(w.store(1, true, true), w.store(2, false, true)), nil, true)
	move := func(k archive.PackPlace) {
		r, err := w.bucket.Open(ctx, k.Object, 0, -1)
		w.do(err)
		defer r.Close()
		b, err := io.ReadAll(r)
		w.do(err)
		_, err = cold.Put(ctx, k.Object, b, storage.CreateOptions{})
		w.do(err)
		k.Tier, k.From = "cold", archive.HotTier
		w.write(&archive.Fact{Kind: archive.FactMoved, Study: w.study(), Packs: []archive.PackPlace{k}}, nil, true)
	}
	move(settled.Fact.Packs[0])
	tiers := func(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
		b := map[archive.TierName]*storage.Bucket{archive.HotTier: w.bucket, "cold": cold}[name]
		return b, archive.Tier{Name: name}, b != nil
	}
	doomed := func() (out []string) {
		t.Helper()
		for _, moved := range []bool{false, true} {
			list, err := w.index.Doomed(ctx, tenant, w.now.Add(time.Hour), moved, 0, 100)
			w.do(err)
			for _, d := range list {
				out = append(out, strings.TrimPrefix(d.Object, string(tenant)+"/")+" "+string(d.Tier))
			}
		}
		slices.Sort(out)
		return out
	}
	rebuilt := func(want ...string) {
		t.Helper()
		w.freshIndex()
		w.rec.o.Tier = tiers
		report, err := w.rec.Rebuild(ctx, nil)
		w.do(err)
		if len(report.Gaps) > 0 {
			t.Errorf("%+v", report.Gaps)
		}
		if got := doomed(); !slices.Equal(got, want) {
			t.Errorf("to be deleted: %q, not %q", got, want)
		}
		if tier, ok, err := w.index.Where(ctx, tenant, settled.Fact.Packs[0].Object); err != nil || !ok || tier != "cold" {
			t.Error(tier, ok, err)
		}
	}
	all := []string{"log/A/0000000000000001 hot", "log/A/0000000000000002 hot", "pack/P1 hot", "pack/P2 hot"}
	if got := doomed(); !slices.Equal(got, all) {
		t.Fatalf("to be deleted: %q", got)
	}
	rebuilt(all...)
	w.do(w.bucket.Delete(ctx, string(tenant)+"/pack/P1"))
	rebuilt(all[0], all[1], all[3])
	w.do(w.bucket.Delete(ctx, ledger.ObjectName(tenant, "A", 1)))
	rebuilt(all[1], all[3])
}

// TestShreddedSettled: the key of what was settled, superseded and swept is destroyed; the header of the settled fact explains it still.
func TestShreddedSettled(t *testing.T) {
	w := newWorld(t)
	one, two := w.store(1, false, true), w.store(2, true, true)
	w.write(w.settled(one, two), nil, true)
	w.sweep()
	w.write(&archive.Fact{Kind: archive.FactKeyClosed, Study: w.study(), Closed: []archive.KeyID{w.key}, Until: w.now}, nil, true)
	w.do(keys.Destroy(t.Context(), w.bucket, tenant, w.key))
	w.ring.Drop(w.key)
	w.usage()
	w.wants(0)
	w.sweep() // the pack
	if got := w.objects("pack/"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	w.usage()
	w.wants(0)
	if got := w.shown(); len(got) != 0 {
		t.Errorf("shown: %q", got)
	}
}

// TestSweptMeanwhile: a study is settled, and its sources deleted, after Verify has listed the log.
func TestSweptMeanwhile(t *testing.T) {
	w := newWorld(t)
	one, two := w.store(1, true, true), w.store(2, false, true)
	w.restart("B") // so that what is verified does not grow
	w.write(&archive.Fact{Kind: archive.FactCheckpoint}, nil, true)
	if _, err := w.rec.Catchup(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mem.hook = func(string) {
		w.write(w.settled(one, two), nil, true)
		w.sweep()
	}
	report, err := w.rec.Verify(t.Context(), VerifyOptions{Sample: 1, Workers: 1})
	if err != nil || len(report.Gaps) > 0 || w.mem.hook != nil {
		t.Errorf("%+v, %v", report, err)
	}
	w.wants(0)
}
