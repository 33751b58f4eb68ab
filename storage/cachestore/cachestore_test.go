package cachestore_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

const block = 64 << 10

// world is a cache over a store in memory that counts requests and may fail.
type world struct {
	t      testing.TB
	mem    *memstore.Store
	far    *delaystore.Store
	faults *faultstore.Store
	o      cachestore.Options
	*cachestore.Store
	b *storage.Bucket
}

func newWorld(t testing.TB, o cachestore.Options) *world {
	t.Helper()
	w := &world{t: t, mem: memstore.New(memstore.Options{}), o: o}
	if w.o.Folder == "" {
		w.o.Folder = filepath.Join(t.TempDir(), "cache")
	}
	if w.o.Bytes == 0 {
		w.o.Bytes = 64 << 20
	}
	if w.o.Block == 0 {
		w.o.Block = block
	}
	w.faults = faultstore.New(w.mem, nil)
	w.far = delaystore.New(w.faults.Driver, delaystore.Options{})
	w.open()
	return w
}

// open opens the cache, again.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.Store, err = cachestore.New(w.far.Driver, w.o); err != nil {
		w.t.Fatal(err)
	}
	own := w.Store
	w.t.Cleanup(func() { own.Close() })
	w.b = storage.New(w.Store.Driver)
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// put stores past the cache.
func (w *world) put(key string, p []byte) []byte {
	w.t.Helper()
	if _, err := storage.New(w.mem).Put(w.t.Context(), key, p, storage.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// read reads a range and compares; it returns the requests that took.
func (w *world) read(key string, off, n int64, want []byte) int64 {
	w.t.Helper()
	before := w.far.Requests()
	got, err := w.b.ReadRange(w.t.Context(), key, off, n)
	if err != nil || !bytes.Equal(got, want[off:off+n]) {
		w.t.Fatalf("%d of %d bytes from %d of %s: %d, %v", n, len(want), off, key, len(got), err)
	}
	return w.far.Requests() - before
}

// files returns the blocks in the folder.
func (w *world) files() (all []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.o.Folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestDriver(t *testing.T) {
	for _, size := range []int{64 << 10, 0} {
		drivertest.Run(t, drivertest.Harness{New: func(t *testing.T) driver.Driver {
			w := newWorld(t, cachestore.Options{Block: size})
			return w.Driver
		}})
	}
}

// TestDriverShort: fewer bytes than asked for, from below, are no end.
func TestDriverShort(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(t *testing.T) driver.Driver {
		w := newWorld(t, cachestore.Options{})
		w.faults.Script(func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Read && op.Size > 1 {
				return faultstore.Decision{Action: faultstore.Short}
			}
			return faultstore.Decision{}
		})
		return w.Driver
	}})
}

// TestDriverFull: where the folder cannot be written, everything works.
func TestDriverFull(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(t *testing.T) driver.Driver {
		w := newWorld(t, cachestore.Options{})
		if err := os.RemoveAll(w.o.Folder); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.o.Folder, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return w.Driver
	}})
}

// TestKeeps: what was read once is read from the folder, all of it and any part,
// also by the next process; other parts are fetched.
func TestKeeps(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	want := w.put("t/pack/a", pattern(10*block+77, 1))
	n := int64(len(want))
	if got := w.read("t/pack/a", 3*block-5, 2*block, want); got != 1 {
		t.Errorf("neighbouring blocks cost %d requests", got)
	}
	if got := w.read("t/pack/a", 2*block, 3*block, want); got != 0 {
		t.Errorf("blocks held cost %d requests", got)
	}
	if got := w.read("t/pack/a", 0, n, want); got != 2 {
		t.Errorf("what is missing on both sides costs %d requests", got)
	}
	for range 2 {
		for _, r := range [][2]int64{{0, n}, {n - 1, 1}, {n - 78, 78}, {block - 1, 2}, {5, 3 * block}, {9 * block, block}, {17, 1}} {
			if got := w.read("t/pack/a", r[0], r[1], want); got != 0 {
				t.Errorf("range %v costs %d requests", r, got)
			}
		}
		if got, err := w.b.Get(t.Context(), "t/pack/a", n); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the whole: %d bytes, %v", len(got), err)
		}
		w.Close()
		w.open() // it is found again
	}
	s := w.Stats()
	if s.Files != 11 || s.Bytes < n || s.Bytes > n+11*8192 {
		t.Errorf("%+v", s)
	}
}

// TestSmallReads: readers that take a few bytes at a time get the same.
func TestSmallReads(t *testing.T) {
	w := newWorld(t, cachestore.Options{Block: 2 * block})
	want := w.put("t/pack/a", pattern(5*block+100, 2))
	for _, step := range []int{777, 40_000, 66_000, 200_000} {
		r, err := w.b.Open(t.Context(), "t/pack/a", 100, int64(len(want)-150))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for p := make([]byte, step); ; {
			n, err := r.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		if !bytes.Equal(got, want[100:len(want)-50]) {
			t.Errorf("%d at a time: %d bytes differ", step, len(got))
		}
	}
}

// TestNotKept: wrapped keys and what is excluded are read below each time.
func TestNotKept(t *testing.T) {
	w := newWorld(t, cachestore.Options{Skip: func(key string) bool { return strings.HasSuffix(key, "/skipped") }})
	for _, key := range []string{"t/key/0123", "t/root/1", "t/escrow/0123/4567", "t/thumb/skipped"} {
		v1 := w.put(key, pattern(100, 1))
		w.read(key, 0, 100, v1)
		v2 := w.put(key, pattern(100, 2)) // rewritten by another node
		if got := w.read(key, 0, 100, v2); got != 1 {
			t.Errorf("%s: %d requests", key, got)
		}
		if err := w.Warm(t.Context(), key, 0, 100); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"t/log/key/1", "t/keys/1", "key", "root/1"} {
		p := w.put(key, pattern(100, 1))
		w.read(key, 0, 100, p)
		if got := w.read(key, 0, 100, p); got != 0 {
			t.Errorf("%s is not kept", key)
		}
	}
	if n := len(w.files()); n != 4 {
		t.Errorf("%d files", n)
	}
}

// TestNames: the folder shows no names and holds the store's bytes as they are.
func TestNames(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	w.read("clinic/pack/01HZX", 0, 1000, w.put("clinic/pack/01HZX", pattern(1000, 1)))
	for _, f := range w.files() {
		rel, _ := filepath.Rel(w.o.Folder, f)
		if strings.Contains(rel, "clinic") || strings.Contains(rel, "01HZX") || strings.Contains(rel, "pack") {
			t.Errorf("a file is called %s", rel)
		}
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("clinic")) {
			t.Errorf("a file holds a name, %v", err)
		}
		if i, err := os.Stat(f); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", i, err)
		}
	}
}

// TestShared: readers of one missing block share a fetch, and one that goes away
// does not fail the others; without any it is cancelled.
func TestShared(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(memstore.Options{})
		want := pattern(3*block, 1)
		if _, err := storage.New(mem).Put(t.Context(), "t/pack/a", want, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		far := delaystore.New(mem, delaystore.Options{Delay: time.Second})
		c, err := cachestore.New(far.Driver, cachestore.Options{Folder: dir, Bytes: 1 << 20, Block: block})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := storage.New(c.Driver)
		gone, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.ReadRange(gone, "t/pack/a", 0, 3*block); !fault.Is(err, fault.Canceled) {
				t.Errorf("who went away: %v", err)
			}
		})
		synctest.Wait()
		for i := range 10 {
			wg.Go(func() {
				off := int64(i * 1000)
				got, err := b.ReadRange(t.Context(), "t/pack/a", off, 2*block)
				if err != nil || !bytes.Equal(got, want[off:off+2*block]) {
					t.Errorf("who joined: %d bytes, %v", len(got), err)
				}
			})
		}
		synctest.Wait()
		leave()
		wg.Wait()
		if n := far.Requests(); n != 1 {
			t.Errorf("%d requests", n)
		}
		// Nobody is left: the fetch ends, and the next begins anew.
		if err := c.Drop("t"); err != nil {
			t.Fatal(err)
		}
		gone, leave = context.WithCancel(t.Context())
		wg.Go(func() { _ = c.Warm(gone, "t/pack/a", 0, 3*block) })
		synctest.Wait()
		leave()
		wg.Wait()
		from := time.Now()
		if got, err := b.ReadRange(t.Context(), "t/pack/a", 0, 1000); err != nil || !bytes.Equal(got, want[:1000]) || time.Since(from) != time.Second {
			t.Errorf("%d bytes, %v after %v", len(got), err, time.Since(from))
		}
	})
}

// TestErrors: a failure below is told, and nothing of it is kept.
func TestErrors(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	want := w.put("t/pack/a", pattern(4*block, 1))
	broke := fault.Wrap(fault.Unavailable, io.ErrUnexpectedEOF, "the connection broke off") // which is no end
	for _, d := range []faultstore.Decision{{Action: faultstore.FailBefore}, {Action: faultstore.Cut}, {Action: faultstore.Cut, Err: broke}} {
		var reads atomic.Int64
		w.faults.Script(func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Read && reads.Add(1) == 3 {
				return d
			}
			return faultstore.Decision{}
		})
		r, err := w.Driver.Open(t.Context(), "t/pack/a", 0, 4*block)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v: %v", d, err)
		}
		w.faults.Script(nil)
		w.read("t/pack/a", 0, 4*block, want)
		if err := w.Drop("t"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.b.ReadRange(t.Context(), "t/pack/none", 0, 10); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	w.put("t/pack/none", pattern(10, 9))
	if _, err := w.b.ReadRange(t.Context(), "t/pack/none", 0, 10); err != nil {
		t.Errorf("an absence is remembered: %v", err)
	}
}

// TestLate: an object that is not there yet, or seemed shorter, is not held to that.
func TestLate(t *testing.T) {
	w := newWorld(t, cachestore.Options{})
	w.read("t/pack/a", 0, 100, w.put("t/pack/a", pattern(100, 1)))
	want := w.put("t/pack/a", pattern(3*block, 1)) // the same bytes first: as if it had been cut short
	w.read("t/pack/a", 50, 2*block, want)
	w.read("t/pack/a", 0, 3*block, want)
}

func TestInvalid(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []cachestore.Options{{Folder: dir, Bytes: 1000}, {Folder: dir, Bytes: 1 << 30, Block: 100_000},
		{Folder: dir, Bytes: 1 << 30, Block: 16 << 20}, {Folder: filepath.Join(file, "x"), Bytes: 1 << 30}, {Folder: file, Bytes: 1 << 30}} {
		if _, err := cachestore.New(memstore.New(memstore.Options{}), o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func logger(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

// TestHolds: what is held is told without using it, and is not held when it was forgotten.
func TestHolds(t *testing.T) {
	w := newWorld(t, cachestore.Options{Bytes: 4 * 2 * block})
	w.put("t/pack/a", pattern(5*block, 1))
	b := w.put("t/pack/b", pattern(6*block, 2))
	if err := w.Warm(t.Context(), "t/pack/a", block, 2*block); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		off, n int64
		want   bool
	}{
		{"t/pack/a", block, 2 * block, true},
		{"t/pack/a", block + 1, 1, true},
		{"t/pack/a", 3*block - 1, 1, true},
		{"t/pack/a", block - 1, 2, false},
		{"t/pack/a", 3*block - 1, 2, false},
		{"t/pack/b", block, 1, false},
		{"t/pack/a", -1, 2 * block, false},
		{"t/pack/a", block, 0, false},
		{"t/pack/a", block, 1<<63 - 1, false},
	} {
		if got := w.Holds(c.key, c.off, c.n); got != c.want {
			t.Errorf("%s, %d bytes from %d: %v", c.key, c.n, c.off, got)
		}
	}
	before := w.Stats()
	for off := int64(0); w.Holds("t/pack/a", block, 2*block) && off < 6*block; off += block {
		w.read("t/pack/b", off, block, b)
	}
	if s := w.Stats(); s.Evictions == 0 || before.Hits != 0 {
		t.Errorf("asking whether it is held kept it: %+v", s)
	}
	w.Forget("t/pack/b")
	if s := w.Stats(); w.Holds("t/pack/b", 5*block, block) || s.Files > 2 {
		t.Errorf("forgotten: %+v", s)
	}
}
