package filestore

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
)

// open returns a store; t.TempDir's file system decides what is tested.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// end does to the store what the end of its process does.
func (s *Store) end() { _ = s.tmp.lock.Close() } // it may have ended before

func store(ctx context.Context, s *Store, key string, p []byte) error {
	w, err := s.Create(ctx, key, driver.CreateOptions{IfAbsent: true})
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(p); err != nil {
		return err
	}
	_, err = w.Commit(ctx)
	return err
}

func harness(change func(*Store)) drivertest.Harness {
	o := Options{Ballast: 1 << 20, Headroom: -1}
	return drivertest.Harness{
		New: func(t *testing.T) driver.Driver {
			s := open(t, filepath.Join(t.TempDir(), "store"), o)
			change(s)
			return s
		},
		Reopen: func(t *testing.T, d driver.Driver) driver.Driver {
			s := open(t, strings.TrimSuffix(d.(*Store).objects, "/objects"), o)
			change(s)
			return s
		},
	}
}

func TestDriver(t *testing.T) { drivertest.Run(t, harness(func(*Store) {})) }

// TestDriverOrdered examines the way of ext4 with a journal, wherever the test runs.
func TestDriverOrdered(t *testing.T) {
	drivertest.Run(t, harness(func(s *Store) { s.ordered = true }))
}

func TestStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	s := open(t, dir, Options{Ballast: 4096})
	w, err := s.Create(t.Context(), "t/x", driver.CreateOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 2*bufferSize)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.tmp.dir); err != nil || len(left) != 1 {
		t.Fatalf("%d staged files, %v", len(left), err)
	}
	s.end()
	s = open(t, dir, Options{Ballast: 4096})
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "*")); err != nil || len(left) != 0 {
		t.Errorf("%d staged files after a restart, %v", len(left), err)
	}
	// The writer of the process that was killed cannot commit any more.
	if _, err := w.Commit(t.Context()); err == nil {
		t.Error("an object whose file was removed is committed")
	}
	if info, err := os.Stat(filepath.Join(dir, "ballast")); err != nil || info.Size() != 4096 {
		t.Errorf("ballast: %v, %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := New(filepath.Join(dir, "ballast", "x"), Options{}); err == nil {
		t.Error("a store inside a file is opened")
	}
}

func TestModes(t *testing.T) {
	s := open(t, t.TempDir(), Options{Ballast: -1})
	if err := store(t.Context(), s, "t/x/y", []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Dir(s.objects), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == filepath.Dir(s.objects) {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", d.Name(), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestHidden: between its name and the sync of its folder an object is hidden.
func TestHidden(t *testing.T) {
	s := open(t, t.TempDir(), Options{Ballast: -1})
	if err := store(t.Context(), s, "t/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	c, err := s.busy.claim(t.Context(), "t/x")
	if err != nil {
		t.Fatal(err)
	}
	s.busy.setFresh(c, true)
	p, err := s.List(t.Context(), "", "", 10)
	if err != nil || len(p.Objects) != 0 {
		t.Errorf("listed: %v, %v", p, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Stat(ctx, "t/x"); !fault.Is(err, fault.Timeout) {
		t.Errorf("looked up: %v", err)
	}
	if _, err := s.busy.claim(ctx, "t/x"); !fault.Is(err, fault.Timeout) {
		t.Errorf("claimed twice: %v", err)
	}
	seen := make(chan error)
	go func() {
		_, err := s.Stat(t.Context(), "t/x")
		seen <- err
	}()
	s.busy.release("t/x", c)
	if err := <-seen; err != nil {
		t.Error(err)
	}
}

func TestShards(t *testing.T) {
	// Part of the layout on disk: these never change.
	for name, want := range map[string]string{"": "+c5", "1": "+c5", "99": "+c5", "100": "+83", "00000000000000000001": shard("00000000000000000099")} {
		if got := shard(name); got != want {
			t.Errorf("%q lies in %s, not in %s", name, got, want)
		}
	}
	used := map[string]int{}
	for i := range 10_000 {
		used[shard(fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15))]++
	}
	for name, n := range used {
		if n > 200 {
			t.Errorf("%d of 10,000 names lie in %s", n, name)
		}
	}
	if len(used) < 250 {
		t.Errorf("only %d folders are used", len(used))
	}
}

// TestClock: versions are told apart when the clock stands still or goes back.
func TestClock(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, t.TempDir(), Options{Ballast: -1, Now: func() time.Time { return at }})
	seen := map[string]bool{}
	for range 5 {
		w, err := s.Create(t.Context(), "t/x", driver.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := w.Commit(t.Context())
		if err != nil || seen[a.ETag] || a.Modified.Year() != 2030 {
			t.Fatalf("%+v, %v", a, err)
		}
		seen[a.ETag] = true
		at = at.Add(-time.Millisecond)
	}
}

func TestClassify(t *testing.T) {
	for err, want := range map[error]fault.Kind{
		&fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.ENOENT}:             fault.NotFound,
		&fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.ENOTDIR}:            fault.NotFound,
		&os.LinkError{Op: "rename", Old: "/secret", New: "/secret", Err: syscall.ENOSPC}: fault.Full,
		&fs.PathError{Op: "write", Path: "/secret/name", Err: syscall.EDQUOT}:            fault.Full,
		&fs.PathError{Op: "write", Path: "/secret/name", Err: syscall.EFBIG}:             fault.TooLarge,
		&fs.PathError{Op: "write", Path: "/secret/name", Err: syscall.EIO}:               fault.Unavailable,
		&fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.EMFILE}:             fault.Unavailable,
		&fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.EROFS}:              fault.Unavailable,
		&fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.EACCES}:             fault.Unavailable,
	} {
		got := classify(err, "testing")
		if !fault.Is(got, want) || strings.Contains(got.Error(), "secret") {
			t.Errorf("%v becomes %v, %v", err, fault.KindOf(got), got)
		}
	}
	if classify(nil, "") != nil {
		t.Error("no error becomes one")
	}
}

// BenchmarkCreate is 16 clients that store objects, each durable when the next begins.
func BenchmarkCreate(b *testing.B) {
	for _, size := range []int{2 << 10, 512 << 10, 8 << 20} {
		for _, clients := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, clients), func(b *testing.B) {
				s := open(b, b.TempDir(), Options{})
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ResetTimer()
				var n atomic.Int64
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
							if err := store(b.Context(), s, fmt.Sprintf("t/log/s/%020d", i), p); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func BenchmarkOpenAt(b *testing.B) {
	s := open(b, b.TempDir(), Options{Ballast: -1})
	if err := store(b.Context(), s, "t/log/s/1", make([]byte, 512<<10)); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		r, _, err := s.OpenAt(b.Context(), "t/log/s/1")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.ReadAt(p, 4096); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	s := open(b, b.TempDir(), Options{Ballast: -1})
	for i := range 20_000 { // without a sync each
		path := s.path(fmt.Sprintf("t/log/s/%020d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		p, err := s.List(b.Context(), "t/log/s/", "", 1<<16)
		if err != nil || len(p.Objects) != 20_000 {
			b.Fatal(len(p.Objects), err)
		}
	}
}
