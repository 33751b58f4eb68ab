package filestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// tmpfs mounts a file system of size bytes in memory.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFull: on a full disk stores fail with fault.Full and leave nothing, what
// is there can be read, facts can be written and things deleted, and with room
// again stores work without help.
func TestFull(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		disk func(t *testing.T) string
	}{
		{"Ext4", Options{}, func(t *testing.T) string { dir, _ := mount(t, 64<<20, "mkfs.ext4", "-q", "-F"); return dir }},
		{"Tmpfs", Options{}, func(t *testing.T) string { return tmpfs(t, 32<<20) }},
		{"NoHeadroom", Options{Headroom: -1}, func(t *testing.T) string { return tmpfs(t, 16<<20) }},
		{"Nothing", Options{Headroom: -1, Ballast: -1}, func(t *testing.T) string { return tmpfs(t, 8<<20) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := c.disk(t)
			dir := filepath.Join(disk, "store")
			s := open(t, dir, c.o)
			b, ctx := storage.New(s), t.Context()
			p := make([]byte, 500_000)
			var err error
			n := 0
			for ; err == nil && n < 1000; n++ {
				_, err = b.Put(ctx, fmt.Sprintf("t/pack/%03d", n), p, storage.CreateOptions{IfAbsent: true})
			}
			n--
			if !fault.Is(err, fault.Full) || n < 5 {
				t.Fatalf("object %d: %v", n, err)
			}
			// One whose size is not known is refused as well, at once or while it is written.
			w, err := b.Create(ctx, "t/stream", storage.CreateOptions{IfAbsent: true})
			for i := 0; err == nil && i < 1000; i++ {
				_, err = w.Write(p)
			}
			if !fault.Is(err, fault.Full) {
				t.Fatalf("a stream: %v", err)
			}
			if w != nil {
				w.Abort()
			}
			page, err := b.List(ctx, "t/", "", 10_000)
			if err != nil || len(page.Objects) != n {
				t.Fatalf("%d of %d objects listed, %v", len(page.Objects), n, err)
			}
			if got, err := b.Get(ctx, "t/pack/001", 1<<20); err != nil || len(got) != len(p) {
				t.Errorf("reading: %d bytes, %v", len(got), err)
			}
			left, err := os.ReadDir(s.tmp.dir)
			if err != nil || len(left) != 0 {
				t.Errorf("%d unfinished objects are left, %v", len(left), err)
			}
			if c.o.Ballast < 0 {
				return
			}
			fillDisk(t, disk) // someone else takes the rest
			for i := range 20 {
				if _, err := b.Put(ctx, fmt.Sprintf("t/log/s/%d", i), make([]byte, 700), storage.CreateOptions{IfAbsent: true, Reserved: true}); err != nil {
					t.Fatalf("fact %d: %v", i, err)
				}
			}
			if _, err := b.Put(ctx, "t/pack/x", p, storage.CreateOptions{IfAbsent: true}); !fault.Is(err, fault.Full) {
				t.Errorf("an ordinary object takes the room of the facts: %v", err)
			}
			s = open(t, dir, c.o) // a restart on a full disk
			b = storage.New(s)
			if err := b.Delete(ctx, "t/pack/000"); err != nil {
				t.Fatal(err)
			}
			for i := 1; i < n; i++ {
				if err := b.Delete(ctx, fmt.Sprintf("t/pack/%03d", i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Remove(filepath.Join(disk, "foreign")); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Put(ctx, "t/pack/x", p, storage.CreateOptions{IfAbsent: true}); err != nil {
				t.Errorf("with room again: %v", err)
			}
			if !s.ballast.Held() {
				t.Error("the ballast is not held again")
			}
		})
	}
}

// fillDisk takes all room there is.
func fillDisk(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "foreign"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	_ = f.Sync()
}
