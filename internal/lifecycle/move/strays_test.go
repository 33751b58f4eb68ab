package move_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

func (c *catalog) Where(_ context.Context, _ archive.Tenant, object string) (archive.TierName, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.packs[object]
	return p.Tier, ok, nil
}

func (c *catalog) DoomedCopies(_ context.Context, _ archive.Tenant, object string) (out []archive.Doomed, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tier := range c.doomed[object] {
		out = append(out, archive.Doomed{ID: int64(len(out)) + 1, Object: object, Tier: tier, Moved: true})
	}
	return out, nil
}

// alone runs f as long as nothing else runs so.
func alone(ctx context.Context, f func(context.Context) error) error { return f(ctx) }

// strays removes what has been there for a day.
func (w *world) strays(age time.Duration) (move.Strays, error) {
	return move.RemoveStrays(w.t.Context(), tenant, move.StrayOptions{Index: w.index, Tiers: w.tiers, Alone: alone, Now: func() time.Time { return time.Now().Add(age) }})
}

func (w *world) copies(name archive.TierName) (n int) {
	w.t.Helper()
	b, _, _ := w.tiers.Tier(name)
	for _, err := range b.All(w.t.Context(), "t/pack/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func TestStrays(t *testing.T) {
	w := newWorld(t, 90_000, 3000)
	// A move that dies before its fact, and is never tried again.
	w.hot.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Commit {
			return faultstore.Decision{Action: faultstore.FailBefore}
		}
		return faultstore.Decision{}
	})
	if _, err := w.move("shelf"); err == nil {
		t.Fatal("a move without a fact")
	}
	w.hot.Script(nil)
	shelf, _, _ := w.tiers.Tier("shelf")
	// The reaper's, nobody's at all, and one of who was killed while telling stores apart.
	for _, key := range []string{"t/pack/nobodys", "t/log/s/1", "t/clock/killed"} {
		if _, err := shelf.Put(t.Context(), key, []byte("x"), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := w.strays(23 * time.Hour); err != nil || done.Copies != 0 {
		t.Errorf("within the grace: %+v, %v", done, err)
	}
	if done, err := w.strays(25 * time.Hour); err != nil || done.Copies != 2 || done.Bytes != w.bytes() {
		t.Errorf("%+v, %v", done, err)
	}
	if n := w.copies("shelf"); n != 1 {
		t.Errorf("%d objects are left there, want the one that nothing names", n)
	}
	if there, err := shelf.Exists(t.Context(), "t/clock/killed"); there || err != nil {
		t.Errorf("a probe that was left is still there: %v", err)
	}
	w.read()
	w.at("hot")

	// Copies that a fact let go of are the sweeper's, who keeps the hold.
	w.must("shelf", w.bytes())
	if done, err := w.strays(25 * time.Hour); err != nil || done.Copies != 0 || w.copies("hot") != 2 {
		t.Errorf("after a move: %+v, %v", done, err)
	}
	w.index.doomed = map[string][]archive.TierName{} // and when their rows are gone, and they are not
	if done, err := w.strays(25 * time.Hour); err != nil || done.Copies != 2 || w.copies("hot") != 0 {
		t.Errorf("after a move, not doomed: %+v, %v", done, err)
	}
	w.read()
	w.at("shelf")
}

// TestStraysThatAreNeeded: the copy that counts is not there, or not whole.
func TestStraysThatAreNeeded(t *testing.T) {
	for name, spoil := range map[string]func(b *storage.Bucket, key string) error{
		"gone": func(b *storage.Bucket, key string) error { return b.Delete(t.Context(), key) },
		"short": func(b *storage.Bucket, key string) error {
			_, err := b.Put(t.Context(), key, []byte("x"), storage.CreateOptions{})
			return err
		},
	} {
		w := newWorld(t, 90_000, 3000)
		w.must("shelf", w.bytes())
		w.index.doomed = map[string][]archive.TierName{}
		shelf, _, _ := w.tiers.Tier("shelf")
		if err := spoil(shelf, "t/pack/00"); err != nil {
			t.Fatal(err)
		}
		done, err := w.strays(25 * time.Hour)
		if !fault.Is(err, fault.Corrupt) || done.Copies != 1 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		hot, _, _ := w.tiers.Tier("hot")
		if there, err := hot.Exists(t.Context(), "t/pack/00"); !there || err != nil {
			t.Errorf("%s: the last whole copy was removed: %v", name, err)
		}
	}
	// A tier that is no longer configured: nothing can be said about it.
	w := newWorld(t, 90_000)
	p := w.index.packs["t/pack/00"]
	p.Tier = "attic"
	w.index.packs["t/pack/00"] = p
	if done, err := w.strays(25 * time.Hour); err != nil || done.Copies != 0 {
		t.Errorf("no such tier: %+v, %v", done, err)
	}
}

// TestOneStoreUnderTwoAddresses: where the stores of two tiers are one, the other copy is the only one.
func TestOneStoreUnderTwoAddresses(t *testing.T) {
	w := newWorld(t, 90_000, 3000)
	hot, _, _ := w.tiers.Tier("hot")
	w.tiers = tiers.NewStores(list, map[string]*storage.Bucket{"": hot, "away": storage.New(w.hot.Driver)})
	for _, to := range []archive.TierName{"shelf", "vault"} {
		if _, err := w.move(to); !fault.Is(err, fault.Invalid) {
			t.Errorf("a move to %s: %v", to, err)
		}
	}
	if n := w.index.facts(t); n != 0 {
		t.Errorf("%d facts have copies deleted that are the only ones", n)
	}
	if done, err := w.strays(25 * time.Hour); !fault.Is(err, fault.Invalid) || done.Copies != 0 {
		t.Errorf("strays: %+v, %v", done, err)
	}
	w.read()
	w.at("hot")
}

// TestStraysOfAnotherNode: a copy that a move found whole is removed before its fact is known.
func TestStraysOfAnotherNode(t *testing.T) {
	for _, to := range []archive.TierName{"shelf", "vault"} {
		w := newWorld(t, 90_000, 3000)
		shelf, _, _ := w.tiers.Tier(to)
		var removed int
		w.hot.Script(func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Commit && strings.HasPrefix(op.Key, "t/log/") {
				for key := range w.content {
					if err := shelf.Delete(t.Context(), key); err != nil {
						t.Error(err)
					}
					removed++
				}
			}
			return faultstore.Decision{}
		})
		w.must(to, w.bytes())
		if removed != 2 {
			t.Errorf("%d copies were removed", removed)
		}
		w.hot.Script(nil)
		w.at(to)
		w.sweep()
		w.at(to)
	}
}

// TestStraysBesideMoves: stores are listed while rounds go on, none is kept waiting where there is nothing to remove, and what is so
// no more when its turn comes is left alone.
func TestStraysBesideMoves(t *testing.T) {
	strays := func(w *world, alone func(context.Context, func(context.Context) error) error) (move.Strays, error) {
		return move.RemoveStrays(t.Context(), tenant, move.StrayOptions{Index: w.index, Tiers: w.tiers, Alone: alone, Now: func() time.Time { return time.Now().Add(25 * time.Hour) }})
	}
	w := newWorld(t, 90_000, 3000)
	w.must("shelf", w.bytes()) // what is left in the hot tier is let go of
	for range 2 {
		done, err := strays(w, func(context.Context, func(context.Context) error) error {
			t.Error("rounds wait, and nothing is to be removed")
			return nil
		})
		if err != nil || done.Copies != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		w.sweep()
	}

	w = newWorld(t, 90_000, 3000)
	w.must("shelf", w.bytes())
	left := w.index.packs
	w.index.doomed = map[string][]archive.TierName{}
	hot, _, _ := w.tiers.Tier("hot")
	waits, listed := 0, 0
	w.hot.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.List && strings.HasPrefix(op.Key, "t/pack/") && waits > 0 {
			listed++
		}
		return faultstore.Decision{}
	})
	done, err := strays(w, func(ctx context.Context, f func(context.Context) error) error {
		waits++
		w.index.mu.Lock()
		w.index.packs = map[string]archive.PackState{}
		for object, p := range left {
			if object != "t/pack/00" { // which is the reaper's by now
				w.index.packs[object] = p
			}
		}
		w.index.mu.Unlock()
		defer func() { waits = 0 }()
		return f(ctx)
	})
	w.hot.Script(nil)
	if there, serr := hot.Exists(t.Context(), "t/pack/00"); err != nil || done.Copies != 1 || !there || serr != nil || listed != 0 {
		t.Errorf("%+v, %v; what is another's is there: %v, %v; listed %d times while moves wait", done, err, there, serr, listed)
	}
}
