package cachestore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strata-pacs/strata/storage/cachestore"
)

// TestFull: on a full disk everything is read, what is held from the folder, and
// there is one line in the log; with room again more is kept.
func TestFull(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	w := newWorld(t, cachestore.Options{Folder: filepath.Join(disk, "cache"), Now: func() time.Time { return now }, Log: logger(&log)})
	other := filepath.Join(disk, "other")
	if err := os.WriteFile(other, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 160 * block // 10 MiB
	want := w.put("t/pack/a", pattern(size, 1))
	w.read("t/pack/a", 0, size, want)
	held := w.Stats().Files
	if n := strings.Count(log.String(), "\n"); n != 1 || held < 10 || held > 32 {
		t.Errorf("%d blocks are held; the log: %s", held, log.String())
	}
	for off := int64(0); off < size; off += block {
		w.read("t/pack/a", off, block, want)
	}
	if got := w.Stats().Hits; got != held {
		t.Errorf("%d of %d blocks held are read", got, held)
	}
	now = now.Add(2 * time.Minute) // written again, what was used last in place of the rest
	w.read("t/pack/a", 0, 10*block, want)
	if w.read("t/pack/a", 0, 10*block, want) != 0 || w.Stats().Files > held {
		t.Errorf("nothing new is kept, or more than there is room for: %+v", w.Stats())
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	w.read("t/pack/a", 0, size, want)
	if got := w.Stats().Files; got < held+10 {
		t.Errorf("%d blocks are held with room again, %d before", got, held)
	}
}
