package filestore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strata-pacs/strata/internal/fault"
)

// mount makes a file system of size bytes in a file and mounts it; the test is
// skipped where that is not allowed. It returns the mount point and a function that
// cuts the power: what was not synced is lost, and the disk is mounted again.
func mount(t *testing.T, size int64, mkfs ...string) (dir string, cut func()) {
	t.Helper()
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("needs root, to mount a file system in a file")
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "mnt")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close(), os.Mkdir(dir, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Skipf("needs %s: %v %s", mkfs[0], err, out)
	}
	up := func() error {
		out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	down := func() {
		for range 50 { // a reader may still have a file open for a moment
			if err := unix.Unmount(dir, 0); err == nil || err == unix.EINVAL {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error("the test's file system cannot be unmounted")
	}
	if err := up(); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	t.Cleanup(down)
	return dir, func() {
		down()
		if err := up(); err != nil {
			t.Fatal(err)
		}
	}
}

// powerOff makes the file system stop at once, without writing its journal (EXT4_IOC_SHUTDOWN).
func powerOff(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), 0x8004587D, 2); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCut: what was acknowledged is there after a power cut, and what was
// not is there whole or not at all.
func TestPowerCut(t *testing.T) {
	for _, c := range []struct {
		name    string
		mkfs    []string
		ordered bool
	}{
		{"Journal", []string{"mkfs.ext4", "-q", "-F"}, true},
		{"SyncedFirst", []string{"mkfs.ext4", "-q", "-F"}, false},
		{"FastCommit", []string{"mkfs.ext4", "-q", "-F", "-O", "fast_commit"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, cut := mount(t, 512<<20, c.mkfs...)
			known := history{objects: map[string]*fate{}}
			for round := range 4 {
				s := open(t, filepath.Join(dir, "store"), Options{})
				if !s.ordered {
					t.Fatal("the journal of ext4 was not found")
				}
				s.ordered = c.ordered
				known.check(t, s)
				known.busy(t, s, round, func() { powerOff(t, dir) })
				s.end()
				cut()
			}
			known.check(t, open(t, filepath.Join(dir, "store"), Options{}))
		})
	}
}

// TestOrder tests what the ordered way rests on: that bytes which are written,
// though never synced, are whole under a name which another sync made durable.
func TestOrder(t *testing.T) {
	for _, waited := range []bool{true, false} {
		t.Run(fmt.Sprint("Waited=", waited), func(t *testing.T) {
			dir, cut := mount(t, 64<<20, "mkfs.ext4", "-q", "-F")
			want := content(2)
			f, err := os.Create(filepath.Join(dir, "temp"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(want); err != nil {
				t.Fatal(err)
			}
			if waited {
				if err := awaitWriteback(f); err != nil {
					t.Fatal(err)
				}
			}
			name := filepath.Join(dir, "name")
			if err := renameNew(f.Name(), name); err != nil {
				t.Fatal(err)
			}
			other, err := os.Create(filepath.Join(dir, "other"))
			if err == nil {
				err = errors.Join(other.Sync(), other.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			powerOff(t, dir)
			_ = f.Close()
			cut()
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatalf("the name is not durable: %v", err)
			}
			if whole := bytes.Equal(got, want); whole != waited {
				t.Errorf("whole: %v", whole)
			}
		})
	}
}

// history is what writers were told.
type history struct {
	mu      sync.Mutex
	objects map[string]*fate
}

type fate struct {
	seed            uint64
	stored, deleted bool // acknowledged
	deleting        bool // begun
}

func content(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	size := 1 + r.IntN(4000)
	if r.IntN(3) == 0 {
		size = r.IntN(700_000)
	}
	p := make([]byte, size)
	c := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = c.Read(p)
	return p
}

// busy stores and deletes with 16 clients until the power goes.
func (h *history) busy(t *testing.T, s *Store, round int, powerOff func()) {
	t.Helper()
	var wg sync.WaitGroup
	var acknowledged atomic.Int64
	enough := make(chan struct{})
	end := sync.OnceFunc(func() { close(enough) })
	for g := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				f := &fate{seed: uint64(round)<<24 | uint64(g)<<16 | uint64(i)}
				key := fmt.Sprintf("t/log/%d-%d/%06d", round, g%3, g*10_000+i)
				if i%3 == 0 { // folders that are new each time
					key = fmt.Sprintf("t/%d/%d/%d/x", round, g, i)
				}
				h.mu.Lock()
				h.objects[key] = f
				h.mu.Unlock()
				if err := store(t.Context(), s, key, content(f.seed)); err != nil {
					end()
					return
				}
				f.stored = true
				if acknowledged.Add(1) == int64(60+40*round) {
					end()
				}
				if i%5 == 4 {
					f.deleting = true
					if s.Delete(t.Context(), key) != nil {
						return
					}
					f.deleted = true
				}
			}
		})
	}
	<-enough
	powerOff()
	wg.Wait()
}

func (h *history) check(t *testing.T, s *Store) {
	t.Helper()
	kept, lost := 0, 0
	for key, f := range h.objects {
		r, err := s.Open(t.Context(), key, 0, -1)
		if fault.Is(err, fault.NotFound) {
			if f.stored && !f.deleting {
				t.Errorf("%s was acknowledged and is gone", key)
			}
			lost++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		_ = r.Close()
		if !bytes.Equal(p, content(f.seed)) {
			t.Errorf("%s (acknowledged: %v) has %d bytes that are not its own", key, f.stored, len(p))
		}
		if f.deleted {
			t.Errorf("%s was deleted and is back", key)
		}
		kept++
	}
	t.Logf("%d objects are there, %d are not", kept, lost)
}
