package move_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

func (w *world) move(to archive.TierName) (int64, error) {
	return w.mover().Move(w.t.Context(), tenant, study, to)
}

func (w *world) must(to archive.TierName, want int64) {
	w.t.Helper()
	if moved, err := w.move(to); err != nil || moved != want {
		w.t.Fatalf("to %s: %d bytes moved, want %d; %v", to, moved, want, err)
	}
}

// writes lets a test count what is written to a store and what changes class there.
func writes(n *atomic.Int64) faultstore.Script {
	return func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Commit || op.Name == faultstore.Class {
			n.Add(1)
		}
		return faultstore.Decision{}
	}
}

func TestMove(t *testing.T) {
	for _, to := range []archive.TierName{"ia", "deep", "shelf", "vault"} {
		t.Run(string(to), func(t *testing.T) {
			w := newWorld(t, 100, 300_000, 5000)
			w.must(to, w.bytes())
			w.at(to)
			_, tier, _ := w.tiers.Tier(to)
			for key := range w.content {
				want := 0
				if tier.Store != "" {
					want = 1
				}
				if from := w.index.doomed[key]; len(from) != want || want == 1 && from[0] != "hot" {
					t.Errorf("%s: copies to be deleted are in %v", key, from)
				}
			}
			if to != "deep" {
				w.read() // of what is in vault the copy in hot is still there
			}
			// What is there is left alone.
			var n atomic.Int64
			w.hot.Script(writes(&n))
			w.away.Script(writes(&n))
			w.must(to, 0)
			if n.Load() != 0 {
				t.Errorf("%d objects are written when there is nothing to do", n.Load())
			}
			if w.sweep(); to == "ia" || to == "shelf" {
				w.read()
			}
			w.at(to)
		})
	}
}

// TestThereAndBack: from every tier to every other.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t, 3000, 70_000)
	last := archive.TierName("hot")
	for _, to := range []archive.TierName{"shelf", "vault", "hot", "ia", "shelf", "deep", "ia", "vault", "shelf", "hot", "deep", "vault", "ia", "hot"} {
		if _, tier, _ := w.tiers.Tier(last); tier.Restore {
			if moved, err := w.move(to); !fault.Is(err, fault.Archived) || moved != 0 || !strings.Contains(fault.Message(err), "restore it first") {
				t.Fatalf("%s to %s without a restore: %d, %v", last, to, moved, err)
			}
			for key := range w.content {
				w.inHot.thaw(key)
				w.inAway.thaw(key)
			}
		}
		w.must(to, w.bytes())
		w.at(to)
		w.sweep()
		w.at(to)
		w.index.doomed = map[string][]archive.TierName{}
		last = to
	}
	w.read()
}

func TestWhatMoves(t *testing.T) {
	w := newWorld(t, 5000)
	small, large := "t/pack/stored-small", "t/pack/stored-large"
	w.add(small, 1000, false)
	w.add(large, 3000, false)
	m := move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers, Least: 3000})
	moved, err := m.Move(t.Context(), tenant, study, "shelf")
	if want := w.bytes() - int64(len(w.content[small])); err != nil || moved != want {
		t.Fatalf("%d bytes moved, want %d; %v", moved, want, err)
	}
	if p := w.index.packs[small]; p.Tier != "hot" {
		t.Errorf("a pack that is about to be merged is in %s", p.Tier)
	}
	if p := w.index.packs[large]; p.Tier != "shelf" || p.Digest == (archive.Digest{}) {
		t.Errorf("a large pack that was never settled: %+v", p)
	}
	w.read()
	if moved, err := m.Move(t.Context(), tenant, archive.Ref{9}, "shelf"); moved != 0 || err != nil {
		t.Errorf("a study without packs: %d, %v", moved, err)
	}
	if _, err := m.Move(t.Context(), tenant, study, "attic"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"attic"`) {
		t.Errorf("no such tier: %v", err)
	}
	w.index.packs[small] = archive.PackState{PackPlace: archive.PackPlace{Object: small, Size: 1, Tier: "attic"}, Fact: archive.FactID{1}}
	if _, err := m.Move(t.Context(), tenant, study, "hot"); !fault.Is(err, fault.Invalid) {
		t.Errorf("from a tier that is no longer configured: %v", err)
	}
}

// TestFacts: one for a study, more for a large one, one for each pack that becomes
// unreadable where it lies.
func TestFacts(t *testing.T) {
	for _, c := range []struct {
		to    archive.TierName
		flush int64
		want  int
	}{{"shelf", 0, 1}, {"ia", 0, 1}, {"shelf", 15_000, 2}, {"shelf", 1, 4}, {"deep", 0, 4}} {
		w := newWorld(t, 8000, 8000, 8000, 8000)
		m := move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers, Flush: c.flush})
		if moved, err := m.Move(t.Context(), tenant, study, c.to); err != nil || moved != w.bytes() {
			t.Fatal(moved, err)
		}
		if n := w.index.facts(t); n != c.want {
			t.Errorf("to %s, flushed at %d: %d facts, want %d", c.to, c.flush, n, c.want)
		}
	}
}

// TestKilledAnywhere: the mover dies before or after each operation of either
// store. The study can be read, as the index knows it when it has caught up with the log, and the
// next try ends the move.
func TestKilledAnywhere(t *testing.T) {
	for _, to := range []archive.TierName{"ia", "deep", "shelf", "vault"} {
		for _, side := range []string{"hot", "away"} {
			for _, action := range []faultstore.Action{faultstore.CrashBefore, faultstore.CrashAfter} {
				t.Run(fmt.Sprintf("%s/%s/%d", to, side, action), func(t *testing.T) {
					died := 0
					for n := 1; ; n++ {
						w := newWorld(t, 700_000, 3000)
						store := w.hot
						if side == "away" {
							store = w.away
						}
						before := store.Ops()
						store.Script(faultstore.At(before+n, action))
						_, err := w.move(to)
						if !store.Crashed() {
							if err != nil {
								t.Fatal(err)
							}
							break
						}
						died++
						// CrashAfter of a read, say, goes unnoticed until the next operation.
						store.Script(nil)
						store.Restart()
						if err := w.index.catchUp(t.Context()); err != nil {
							t.Fatal(err)
						}
						w.readableOrArchived(to)
						if _, err := w.move(to); err != nil {
							t.Fatalf("after dying at %d: %v", n, err)
						}
						w.at(to)
						w.sweep()
						w.at(to)
					}
					if _, tier, _ := w(t, to); died == 0 && (side == "hot" || tier.Store != "") {
						t.Error("it never died: the test shows nothing")
					}
				})
			}
		}
	}
}

func w(t *testing.T, to archive.TierName) (*storage.Bucket, archive.Tier, bool) {
	return newWorld(t).tiers.Tier(to)
}

// readableOrArchived checks that every pack can be read; of those that become an
// archive where they lie, one may say so before the index does.
func (w *world) readableOrArchived(to archive.TierName) {
	w.t.Helper()
	early := 0
	for key, want := range w.content {
		got, err := w.reader.Get(w.t.Context(), key, 1<<30)
		switch {
		case err == nil && string(got) == string(want):
		case to == "deep" && fault.Is(err, fault.Archived):
			if w.index.packs[key].Tier == "hot" {
				early++
			}
		default:
			w.t.Errorf("%s cannot be read: %d bytes, %v", key, len(got), err)
		}
	}
	if early > 1 {
		w.t.Errorf("%d packs are archived and the index does not know", early)
	}
}

func TestTwoMoversOfOneStudy(t *testing.T) {
	for _, to := range []archive.TierName{"ia", "deep", "shelf", "vault"} {
		for range 20 {
			w := newWorld(t, 90_000, 3000, 40_000)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					// One of them may find that a pack has become an archive under it.
					if _, err := w.move(to); err != nil && !fault.Is(err, fault.Archived) {
						t.Errorf("to %s: %v", to, err)
					}
				})
			}
			wg.Wait()
			w.must(to, 0)
			w.at(to)
			w.sweep()
			w.at(to)
		}
	}
}

// TestMoversWhoDisagree: two targets at once. Whoever is later holds, nothing is lost.
func TestMoversWhoDisagree(t *testing.T) {
	for range 50 {
		w := newWorld(t, 90_000, 3000)
		var wg sync.WaitGroup
		for _, to := range []archive.TierName{"shelf", "ia"} {
			wg.Go(func() {
				if _, err := w.move(to); err != nil && !fault.Is(err, fault.Conflict) {
					t.Errorf("to %s: %v", to, err)
				}
			})
		}
		wg.Wait()
		w.read()
		w.sweep()
		w.read()
		if _, err := w.move("shelf"); err != nil {
			t.Fatal(err)
		}
		w.at("shelf")
	}
}

func TestFull(t *testing.T) {
	w := newWorld(t, 60_000, 200_000)
	w.room.SetCapacity(100_000)
	first := int64(len(w.content["t/pack/00"]))
	moved, err := w.move("shelf")
	if !fault.Is(err, fault.Full) || moved != first {
		t.Fatalf("%d bytes moved, %v", moved, err)
	}
	if w.index.packs["t/pack/00"].Tier != "shelf" || w.index.packs["t/pack/01"].Tier != "hot" {
		t.Errorf("the index has %+v", w.index.packs)
	}
	w.read()
	w.sweep()
	w.read()
	if page, err := w.reader.List(t.Context(), "t/pack/", "", 10); err != nil || len(page.Objects) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	w.room.SetCapacity(0)
	w.must("shelf", w.bytes()-first)
	w.at("shelf")
}

// TestProviderErrors: a tenth of all operations fail, with and without effect, and
// nobody tries them again but the next move.
func TestProviderErrors(t *testing.T) {
	rates := map[faultstore.Name]float64{faultstore.Create: 0.1, faultstore.Write: 0.1, faultstore.Commit: 0.1, faultstore.Open: 0.1, faultstore.Read: 0.05, faultstore.Stat: 0.1, faultstore.Class: 0.1}
	failed := 0
	for seed := range uint64(40) {
		for _, to := range []archive.TierName{"ia", "deep", "shelf", "vault"} {
			w := newWorld(t, 90_000, 3000)
			w.hot.Script(faultstore.Random(seed, rates, faultstore.FailBefore, faultstore.FailAfter, faultstore.Cut))
			w.away.Script(faultstore.Random(seed+1000, rates, faultstore.FailBefore, faultstore.FailAfter, faultstore.Cut, faultstore.Short))
			for tries := 0; ; tries++ {
				_, err := w.move(to)
				if err == nil {
					break
				}
				if failed++; tries > 200 {
					t.Fatalf("to %s: %v", to, err)
				}
			}
			w.hot.Script(nil)
			w.away.Script(nil)
			if err := w.index.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.must(to, 0)
			w.at(to)
		}
	}
	if failed < 50 {
		t.Errorf("only %d failures: the test shows little", failed)
	}
}

// TestDamage: what arrives otherwise than it was is noticed before anybody counts on it.
func TestDamage(t *testing.T) {
	flips := func(name faultstore.Name, size int) faultstore.Script {
		done := false
		return func(op faultstore.Op) faultstore.Decision {
			if !done && op.Name == name && op.Size > size {
				done = true
				return faultstore.Decision{Action: faultstore.Flip}
			}
			return faultstore.Decision{}
		}
	}
	for _, c := range []struct {
		name string
		side func(*world) *faultstore.Store
	}{
		{"on the way", func(w *world) *faultstore.Store { return w.hot }},
		{"when it is read back", func(w *world) *faultstore.Store { return w.away }},
	} {
		for _, to := range []archive.TierName{"shelf", "vault"} {
			w := newWorld(t, 90_000)
			store := c.side(w)
			store.Script(flips(faultstore.Read, 1000))
			if _, err := w.move(to); !fault.Is(err, fault.Corrupt) {
				t.Errorf("damaged %s to %s: %v", c.name, to, err)
			}
			if w.index.packs["t/pack/00"].Tier != "hot" {
				t.Errorf("damaged %s: it counts as moved", c.name)
			}
			store.Script(nil)
			w.read()
			w.must(to, w.bytes())
			w.at(to)
		}
	}
	// Another pack under the name, whole in itself and of the same size.
	w := newWorld(t, 90_000, 90_000)
	away, _, _ := w.tiers.Tier("shelf")
	for key, other := range map[string]string{"t/pack/00": "t/pack/01", "t/pack/01": "t/pack/00"} {
		if _, err := away.Put(t.Context(), key, w.content[other], storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.must("shelf", w.bytes())
	w.at("shelf")
	// Half of it, as no store leaves it that keeps its word.
	w = newWorld(t, 90_000)
	away, _, _ = w.tiers.Tier("vault")
	if _, err := away.Put(t.Context(), "t/pack/00", w.content["t/pack/00"][:50_000], storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.must("vault", w.bytes())
	w.at("vault")
	// The pack itself is damaged: it stays where it is.
	w = newWorld(t, 90_000)
	hot, _, _ := w.tiers.Tier("hot")
	broken := append([]byte(nil), w.content["t/pack/00"]...)
	broken[40_000] ^= 1
	if _, err := hot.Put(t.Context(), "t/pack/00", broken, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if moved, err := w.move("shelf"); !fault.Is(err, fault.Corrupt) || moved != 0 || w.index.packs["t/pack/00"].Tier != "hot" {
		t.Errorf("a damaged pack: %d, %v", moved, err)
	}
}

// TestCopyIsNotMadeTwice: what a mover that died left is used.
func TestCopyIsNotMadeTwice(t *testing.T) {
	for _, to := range []archive.TierName{"shelf", "vault"} {
		w := newWorld(t, 90_000, 3000)
		w.hot.Script(func(op faultstore.Op) faultstore.Decision { // no fact can be written
			if op.Name == faultstore.Commit && strings.HasPrefix(op.Key, "t/log/") {
				return faultstore.Decision{Action: faultstore.FailBefore}
			}
			return faultstore.Decision{}
		})
		if moved, err := w.move(to); !fault.Is(err, fault.Unavailable) || moved != 0 {
			t.Fatalf("%d, %v", moved, err)
		}
		w.hot.Script(nil)
		w.read()
		var n atomic.Int64
		w.away.Script(writes(&n))
		w.must(to, w.bytes())
		if n.Load() != 0 {
			t.Errorf("to %s: %d writes", to, n.Load())
		}
		w.at(to)
	}
}

// TestMeanwhile: what others do to the study while it is copied.
func TestMeanwhile(t *testing.T) {
	w := newWorld(t, 90_000, 3000)
	during := func(do func()) *move.Mover {
		var once sync.Once
		return move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers, Pace: func(context.Context, int) error { once.Do(do); return nil }})
	}
	merged := w.index.packs["t/pack/00"]
	moved, err := during(func() { // merged into another pack
		w.index.mu.Lock()
		defer w.index.mu.Unlock()
		delete(w.index.packs, "t/pack/00")
	}).Move(t.Context(), tenant, study, "shelf")
	if err != nil || moved != int64(len(w.content["t/pack/01"])) || len(w.index.doomed["t/pack/00"]) != 0 {
		t.Errorf("merged meanwhile: %d, %v", moved, err)
	}
	w.index.packs["t/pack/00"] = merged
	moved, err = during(func() { // moved elsewhere
		w.index.mu.Lock()
		defer w.index.mu.Unlock()
		p := w.index.packs["t/pack/00"]
		p.Tier = "ia"
		w.index.packs["t/pack/00"] = p
	}).Move(t.Context(), tenant, study, "shelf")
	if !fault.Is(err, fault.Conflict) || moved != 0 {
		t.Errorf("moved meanwhile: %d, %v", moved, err)
	}
}

func TestPace(t *testing.T) {
	w := newWorld(t, 700_000)
	paced := 0
	count := func(_ context.Context, n int) error { paced += n; return nil }
	if _, err := move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers, Pace: count}).Move(t.Context(), tenant, study, "shelf"); err != nil {
		t.Fatal(err)
	}
	// Read, and read back with the trailer first.
	if n := int(w.bytes()); paced < 2*n || paced > 2*n+1000 {
		t.Errorf("%d bytes were paced, of a pack of %d", paced, n)
	}
	// A move that is cancelled, or that may not go on, ends there.
	stop := errors.New("no more today")
	w = newWorld(t, 700_000)
	ctx, cancel := context.WithCancel(t.Context())
	for name, pace := range map[string]func(context.Context, int) error{
		"refused":   func(context.Context, int) error { return stop },
		"cancelled": func(ctx context.Context, _ int) error { cancel(); return ctx.Err() },
	} {
		moved, err := move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers, Pace: pace}).Move(ctx, tenant, study, "shelf")
		if moved != 0 || !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %d, %v", name, moved, err)
		}
	}
	away, _, _ := w.tiers.Tier("shelf")
	if there, err := away.Exists(t.Context(), "t/pack/00"); there || err != nil {
		t.Errorf("half a copy is there: %v", err)
	}
	w.read()
}

// TestClockBehind: a move whose fact would come before the one that says where a pack is is not begun.
func TestClockBehind(t *testing.T) {
	for _, to := range []archive.TierName{"ia", "deep", "shelf", "vault"} {
		w := newWorld(t, 9000, 3000)
		p := w.index.packs["t/pack/01"]
		p.Fact = archive.FactID{0, 200}
		w.index.packs["t/pack/01"] = p
		var n atomic.Int64
		w.hot.Script(writes(&n))
		w.away.Script(writes(&n))
		if moved, err := w.move(to); !fault.Is(err, fault.Conflict) || moved != 0 || n.Load() != 0 {
			t.Errorf("to %s: %d bytes moved by %d writes, %v", to, moved, n.Load(), err)
		}
		w.at("hot")
		w.index.n = 200
		w.must(to, w.bytes())
		w.at(to)
	}
}

// TestClassUntilChecked: a copy gets the class of its tier after it was checked and not before, also where the store's address
// names that class for all that is stored: a try that ended in between is no proof that the copy is whole.
func TestClassUntilChecked(t *testing.T) {
	w := newWorld(t, 90_000, 3000)
	w.inAway.own = "DEEP"
	vault, _, _ := w.tiers.Tier("vault")
	broken := false
	w.away.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name != faultstore.Commit || broken || !strings.HasPrefix(op.Key, "t/pack/") {
			return faultstore.Decision{}
		}
		broken = true
		return faultstore.Decision{Action: faultstore.FailAfter} // the copy is there, and nobody has read it back
	})
	if _, err := w.move("vault"); err == nil {
		t.Fatal("a move that broke off")
	}
	w.away.Script(nil)
	if n := w.copies("vault"); n != 1 {
		t.Fatalf("%d copies are there", n)
	}
	for o, err := range vault.All(t.Context(), "t/pack/", "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := vault.Get(t.Context(), o.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if _, err := vault.Put(t.Context(), o.Key, b, storage.CreateOptions{Class: "STANDARD"}); err != nil {
			t.Fatal(err)
		}
	}
	w.must("vault", w.bytes())
	w.at("vault")
	for key := range w.content {
		w.inAway.thaw(key)
	}
	w.read()
}
