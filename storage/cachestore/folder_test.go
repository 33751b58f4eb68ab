package cachestore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
)

// TestDamage: whatever becomes of a block's file, as after a power cut, the bytes
// are right; it is fetched again.
func TestDamage(t *testing.T) {
	const size = 4 * 64 << 10
	for _, c := range []struct {
		name string
		do   func(b []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"short by a byte", func(b []byte) []byte { return b[:len(b)-1] }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"zeros at the end", func(b []byte) []byte { clear(b[len(b)-5000:]); return b }},
		{"another magic", func(b []byte) []byte { b[0]++; return b }},
		{"another length", func(b []byte) []byte { b[47]--; return b }},
		{"a bit at the end", func(b []byte) []byte { b[len(b)-1] ^= 4; return b }},
		{"a bit in the middle", func(b []byte) []byte { b[len(b)/2] ^= 4; return b }},
		{"gone", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, cachestore.Options{Block: size})
			want := w.put("t/pack/a", pattern(2*size, 1))
			w.read("t/pack/a", 0, 2*size, want)
			for _, f := range w.files() {
				b, err := os.ReadFile(f)
				if err == nil && c.do == nil {
					err = os.Remove(f)
				} else if err == nil {
					err = os.WriteFile(f, c.do(b), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			w.read("t/pack/a", 10, 2*size-10, want)
			if s := w.Stats(); c.do != nil && s.Damaged == 0 || s.Damaged > 2 {
				t.Errorf("%+v", s)
			}
			w.Close()
			w.open()
			if got := w.read("t/pack/a", 0, 2*size, want); got > 1 {
				t.Errorf("%d requests after it was mended", got)
			}
		})
	}
}

// TestSwapped: a block is not taken for another, nor for one of another size.
func TestSwapped(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	a, b := w.put("t/pack/a", pattern(block, 1)), w.put("t/pack/b", pattern(block, 2))
	w.read("t/pack/a", 0, block, a)
	first := w.files()[0]
	w.read("t/pack/b", 0, block, b)
	for _, f := range w.files() {
		if f != first {
			if err := os.Rename(f, first); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.read("t/pack/a", 0, block, a)
	w.read("t/pack/b", 0, block, b)
	w.Close()
	w.o.Block = 2 * block
	w.open()
	w.read("t/pack/a", 0, block, a)
	w.read("t/pack/b", 0, block, b)
}

// TestBounds: the folder keeps to its bytes and files, and gives up first what
// was used longest ago, also after a restart.
func TestBounds(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		o    cachestore.Options
	}{
		{"bytes", cachestore.Options{Bytes: 10 * (block + 4096)}},
		{"files", cachestore.Options{Files: 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Now = func() time.Time { return now }
			w := newWorld(t, c.o)
			var want [][]byte
			key := func(i int) string { return fmt.Sprintf("t/pack/%d", i) }
			for i := range 30 {
				now = now.Add(2 * time.Hour)
				want = append(want, w.put(key(i), pattern(block, byte(i))))
				w.read(key(i), 0, block, want[i])
				if i > 0 && w.read(key(0), 0, block, want[0]) != 0 {
					t.Fatalf("what is used all the time fell out before block %d", i)
				}
				if n := len(w.files()); n > 10 {
					t.Fatalf("%d files", n)
				}
			}
			if s := w.Stats(); s.Files != 10 || s.Evictions != 20 || s.Bytes > 10*(block+4096) {
				t.Errorf("%+v", s)
			}
			w.Close()
			now = now.Add(2 * time.Hour)
			w.o.Bytes, w.o.Files = 5*(block+4096), 0
			w.open()
			if s := w.Stats(); s.Files != 5 || len(w.files()) != 5 {
				t.Errorf("%+v after a restart with less room", s)
			}
			for _, i := range []int{0, 29, 28, 27, 26} {
				if w.read(key(i), 0, block, want[i]) != 0 {
					t.Errorf("block %d fell out", i)
				}
			}
		})
	}
}

// TestLeftovers: what a crash left half done goes at the next start, and files
// of others are left alone.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	want := w.put("t/pack/a", pattern(block, 1))
	w.read("t/pack/a", 0, block, want)
	w.Close()
	tenant := filepath.Dir(w.files()[0])
	for _, f := range []string{"new/7", "gone/1/tenant/x", filepath.Base(tenant) + "/junk", "README", "other/file"} {
		f = filepath.Join(w.o.Folder, f)
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	if got := w.files(); len(got) != 3 {
		t.Errorf("left: %q", got)
	}
	if w.read("t/pack/a", 0, block, want) != 0 {
		t.Error("the block was lost")
	}
}

// TestDrop: nothing of a tenant is found or left, and others keep theirs.
func TestDrop(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	a, b := w.put("t1/pack/a", pattern(5*block, 1)), w.put("t2/pack/a", pattern(5*block, 2))
	w.read("t1/pack/a", 0, 5*block, a)
	w.read("t2/pack/a", 0, 5*block, b)
	under, err := w.b.Open(t.Context(), "t1/pack/a", 0, 5*block)
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	for _, tenant := range []string{"t1", "t1", "never-there"} {
		if err := w.Drop(tenant); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.Stats(); s.Files != 5 {
		t.Errorf("%+v", s)
	}
	if got := make([]byte, 5*block); readFull(under, got) != nil || !bytes.Equal(got, a) {
		t.Error("a reader under way got other bytes")
	}
	if err := w.Drop("t1"); err != nil { // what the reader had fetched again
		t.Fatal(err)
	}
	w.Close()
	for _, f := range w.files() {
		if p, err := os.ReadFile(f); err != nil || bytes.Contains(p, a[1000:1100]) {
			t.Errorf("bytes of what was dropped are left, %v", err)
		}
	}
	w.open()
	if w.read("t2/pack/a", 0, 5*block, b) != 0 || w.read("t1/pack/a", 0, 5*block, a) == 0 {
		t.Error("another tenant's blocks went, or some that were dropped did not")
	}
}

func readFull(r interface{ Read([]byte) (int, error) }, p []byte) error {
	for len(p) > 0 {
		n, err := r.Read(p)
		if p = p[n:]; err != nil && len(p) > 0 {
			return err
		}
	}
	return nil
}

// TestBroken: a folder that fails costs one line in the log and no errors, and is
// used again when it works.
func TestBroken(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	w := newWorld(t, cachestore.Options{Now: func() time.Time { return now }, Log: logger(&log)})
	want := w.put("t/pack/a", pattern(5*block, 1))
	away := w.o.Folder + "-away"
	if err := os.Rename(w.o.Folder, away); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.read("t/pack/a", 0, 5*block, want)
		if err := w.Warm(t.Context(), "t/pack/a", 0, 5*block); err != nil {
			t.Error(err)
		}
		now = now.Add(30 * time.Second)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "read cache") || strings.Contains(log.String(), "pack/a") {
		t.Errorf("the log: %s", log.String())
	}
	if err := os.Rename(away, w.o.Folder); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	w.read("t/pack/a", 0, 5*block, want)
	if w.read("t/pack/a", 0, 5*block, want) != 0 {
		t.Error("it is not used again")
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("the log: %s", log.String())
	}
}

// TestClosed: after Close everything is read below.
func TestClosed(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	want := w.put("t/pack/a", pattern(2*block, 1))
	w.read("t/pack/a", 0, 2*block, want)
	w.Close()
	if w.read("t/pack/a", 0, 2*block, want) != 1 {
		t.Error("the folder is used after Close")
	}
	if err := w.Drop("t"); err != nil || len(w.files()) != 0 {
		t.Errorf("%q are left, %v", w.files(), err)
	}
}

// TestWarm: what was fetched ahead costs nothing when it is read.
func TestWarm(t *testing.T) {
	w := newWorld(t, cachestore.Options{Bytes: 256 << 20})
	want := w.put("t/pack/a", pattern(40<<20, 1))
	if err := w.Warm(t.Context(), "t/pack/a", 100, 30<<20); err != nil {
		t.Fatal(err)
	}
	s := w.Stats()
	if s.Requests > 10 || s.Hits != 0 {
		t.Errorf("%+v", s)
	}
	if w.read("t/pack/a", 100, 30<<20, want) != 0 {
		t.Error("it was fetched again")
	}
	for _, r := range [][2]int64{{100, 30 << 20}, {-1, 5}, {0, 0}, {39 << 20, 1 << 20}} {
		if err := w.Warm(t.Context(), "t/pack/a", r[0], r[1]); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// TestConcurrent: many readers, evictions, damage, drops and deletions at once
// never give a wrong byte.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, cachestore.Options{Bytes: 24 * block})
	const objects, size = 8, 9*block + 333
	var want [][]byte
	key := func(i int) string { return fmt.Sprintf("t%d/pack/%d", i%3, i) }
	for i := range objects {
		want = append(want, w.put(key(i), pattern(size, byte(i))))
	}
	stop := make(chan struct{})
	var readers, trouble sync.WaitGroup
	for g := range 6 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 60 {
				i, off := rnd.IntN(objects), rnd.Int64N(size)
				n := 1 + rnd.Int64N(size-off)
				got, err := w.b.ReadRange(t.Context(), key(i), off, n)
				if err != nil || !bytes.Equal(got, want[i][off:off+n]) {
					t.Errorf("%d bytes of object %d from %d: %d, %v", n, i, off, len(got), err)
				}
			}
		})
	}
	trouble.Go(func() {
		rnd := rand.New(rand.NewPCG(9, 9))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			switch rnd.IntN(3) {
			case 0:
				if err := w.Drop(fmt.Sprintf("t%d", rnd.IntN(3))); err != nil {
					t.Error(err)
				}
			case 1: // the same bytes again: readers must not see a difference
				i := rnd.IntN(objects)
				if _, err := w.b.Put(t.Context(), key(i), want[i], storage.CreateOptions{}); err != nil {
					t.Error(err)
				}
			case 2:
				if all, _ := filepath.Glob(filepath.Join(w.o.Folder, "*", "*-*")); len(all) > 0 {
					_ = os.Truncate(all[rnd.IntN(len(all))], 50_000) // it may have gone
				}
			}
		}
	})
	readers.Wait()
	close(stop)
	trouble.Wait()
	w.Close()
	if s := w.Stats(); s.Files < int64(len(w.files())) {
		t.Errorf("%d files are known, %d are there", s.Files, len(w.files()))
	}
}
