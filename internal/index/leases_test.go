package index

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestLeases(t *testing.T) { both(t, testLeases) }

func testLeases(t *testing.T, e engine) {
	o := e(t)
	o.Now = time.Now
	l := openWith(t, o).Leases()
	ctx := context.Background()
	if _, held, err := l.Holder(ctx, "reaper"); held || err != nil {
		t.Fatal(held, err)
	}
	a, ok, err := l.Acquire(ctx, "reaper", "a", time.Minute)
	if err != nil || !ok || a.Epoch != 1 || time.Until(a.Until) > time.Minute || time.Until(a.Until) < 50*time.Second {
		t.Fatalf("%+v %v %v", a, ok, err)
	}
	for _, who := range []string{"a", "b"} {
		if _, ok, err := l.Acquire(ctx, "reaper", who, time.Minute); ok || err != nil {
			t.Errorf("%s has what a holds: %v", who, err)
		}
	}
	if _, ok, err := l.Acquire(ctx, "mover", "b", time.Minute); !ok || err != nil {
		t.Errorf("another name: %v %v", ok, err)
	}
	if h, held, err := l.Holder(ctx, "reaper"); err != nil || !held || h != a {
		t.Errorf("%+v %v %v", h, held, err)
	}
	const short = 150 * time.Millisecond
	if a, err = l.Renew(ctx, a, short); err != nil || a.Epoch != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	time.Sleep(short + 50*time.Millisecond) // the holder sleeps
	if _, err := l.Renew(ctx, a, time.Minute); !fault.Is(err, fault.Conflict) {
		t.Errorf("renewed after its end: %v", err)
	}
	b, ok, err := l.Acquire(ctx, "reaper", "b", time.Minute)
	if err != nil || !ok || b.Epoch != 2 {
		t.Fatalf("%+v %v %v", b, ok, err)
	}
	if err := l.Release(ctx, a); err != nil {
		t.Error(err)
	}
	if h, held, _ := l.Holder(ctx, "reaper"); !held || h != b {
		t.Error("whoever slept took another's lease away")
	}
	if err := l.Release(ctx, b); err != nil {
		t.Error(err)
	}
	if c, ok, err := l.Acquire(ctx, "reaper", "a", time.Minute); err != nil || !ok || c.Epoch != 3 {
		t.Errorf("%+v %v %v", c, ok, err)
	}
	if _, _, err := l.Acquire(ctx, "", "a", time.Minute); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a name: %v", err)
	}
}

// TestLeasesRace: of many that want it at once, over and over, one has it, and epochs say in which order.
func TestLeasesRace(t *testing.T) { both(t, testLeasesRace) }

func testLeasesRace(t *testing.T, e engine) {
	o := e(t)
	o.Now = time.Now
	x := openWith(t, o)
	nodes := []*Index{x, x}
	if x.shared {
		nodes[1] = openWith(t, o)
	}
	var inside, taken atomic.Int64
	var last atomic.Int64
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			l := nodes[n%2].Leases()
			for range 20 {
				lease, ok, err := l.Acquire(context.Background(), "one", string(rune('a'+n)), time.Minute)
				if err != nil {
					t.Error(err)
				}
				if !ok {
					continue
				}
				if inside.Add(1) != 1 {
					t.Error("two have the lease")
				}
				if last.Swap(lease.Epoch) >= lease.Epoch {
					t.Error("the epoch did not grow")
				}
				taken.Add(1)
				inside.Add(-1)
				if err := l.Release(context.Background(), lease); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 || last.Load() != taken.Load() {
		t.Errorf("taken %d times, the last epoch is %d", taken.Load(), last.Load())
	}
}
