package sim

import (
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this seed alone and print what happens")
	seedsFlag = flag.Int("seeds", 0, "how many seeds are played; 0 is the usual number")
	firstFlag = flag.Uint64("first", 1, "the first seed")
)

const (
	usual    = 2000 // seeds
	realEach = 125  // of so many seeds one has real indexes
)

// play runs one seed and returns what is wrong.
func play(t *testing.T, seed uint64, m mutant, dir string, keep bool) (w *world, err error) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed, m, dir, keep)
		err = w.run()
		for _, n := range w.nodes {
			if n.fs != nil {
				n.fs.Crash()
			}
		}
		w.g.release()
		synctest.Wait()
		for _, n := range w.nodes {
			n.die()
			if e := n.forget(); err == nil {
				err = e
			}
		}
		w.count.steps += w.g.steps
	})
	return w, err
}

// real reports whether the seed is played with real indexes. It is part of
// the seed's meaning.
func real(seed uint64) bool { return seed%realEach == 0 }

func playSeed(t *testing.T, seed uint64, keep bool) (*world, error) {
	dir := ""
	if real(seed) {
		dir = t.TempDir()
	}
	return play(t, seed, "", dir, keep)
}

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		w, err := playSeed(t, *seedFlag, true)
		t.Log("\n" + strings.Join(w.log, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	// Pools of nodes that are gone live for two collections more.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(192 << 20))
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	n := *seedsFlag
	if n == 0 {
		n = usual
	}
	if testing.Short() {
		n /= 20
	}
	var mu sync.Mutex
	var sum stats
	failures := 0
	t.Run("all", func(t *testing.T) {
		const shards = 2
		for s := range shards {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				t.Parallel()
				for i := s; i < n; i += shards {
					seed := *firstFlag + uint64(i)
					w, err := playSeed(t, seed, false)
					mu.Lock()
					c := w.count
					sum.operations, sum.steps, sum.crashes = sum.operations+c.operations, sum.steps+c.steps, sum.crashes+c.crashes
					sum.faults, sum.stored, sum.real = sum.faults+c.faults, sum.stored+c.stored, sum.real+min(c.real, 1)
					if err != nil {
						failures++
						t.Errorf("seed %d: %v\nplay it again with: go test ./test/sim -run TestSeeds -v -seed %d", seed, err, seed)
					}
					stop := failures >= 5
					mu.Unlock()
					if stop {
						return
					}
				}
			})
		}
	})
	t.Logf("%d seeds (%d with real indexes): %d operations in %d steps, %d faults, %d crashes of running nodes, %d instances acknowledged",
		n, sum.real, sum.operations, sum.steps, sum.faults, sum.crashes, sum.stored)
}

// TestSameSeedSameRun: a seed that fails can be had again.
func TestSameSeedSameRun(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a, errA := playSeed(t, seed, true)
		b, errB := playSeed(t, seed, true)
		if fmt.Sprint(errA) != fmt.Sprint(errB) || !slices.Equal(a.log, b.log) {
			for i := range min(len(a.log), len(b.log)) {
				if a.log[i] != b.log[i] {
					t.Errorf("seed %d: line %d is %q and then %q", seed, i, a.log[i], b.log[i])
					break
				}
			}
			t.Fatalf("seed %d is not the same twice", seed)
		}
	}
}

// TestMutants: the simulation finds what it is there to find.
func TestMutants(t *testing.T) {
	for _, m := range []mutant{losesLog, losesPack, losesKey, overwrites, acksEarly, dropsRow, dropsDelete, reapsEarly, neverVoids, spools} {
		t.Run(string(m), func(t *testing.T) {
			const most = 400
			for seed := uint64(1); seed <= most; seed++ {
				if _, err := play(t, seed, m, "", false); err != nil {
					t.Logf("found by seed %d: %.300v", seed, err)
					return
				}
			}
			t.Errorf("%d seeds do not find it", most)
		})
	}
}
