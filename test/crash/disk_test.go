//go:build linux

package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in an image file, mounted in a folder.
type disk struct{ image, dir string }

// newDisk makes and mounts a file system, or skips the test where that is not allowed.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting file systems needs root: run this test as root to have it")
	}
	own := t.TempDir()
	d := &disk{image: filepath.Join(own, "image"), dir: filepath.Join(own, "mnt")}
	f, err := os.OpenFile(d.image, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(size)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", d.image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4 (package e2fsprogs) does not work here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if unix.Unmount(d.dir, 0) != nil {
			_ = unix.Unmount(d.dir, unix.MNT_DETACH) // not mounted, or still in use: the last resort
		}
	})
	if err := d.mount(); err != nil {
		t.Skipf("loop mounts are not possible here: %v", err)
	}
	return d
}

func (d *disk) mount() error {
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// cut takes the power: what was not synced will not be there (EXT4_IOC_SHUTDOWN
// without flushing the journal). What comes after it fails.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const shutdown, noLogFlush = 0x8004587D, 2
	flags := uint32(noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Skipf("this kernel cannot shut a file system down: %v", errno)
	}
}

// again mounts the file system anew, as a machine does that starts. Nothing may use it.
func (d *disk) again(t *testing.T) {
	t.Helper()
	err := unix.Unmount(d.dir, 0)
	// A process that decodes notices within a second that its server was killed.
	for end := time.Now().Add(30 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		err = unix.Unmount(d.dir, 0)
	}
	if err != nil {
		t.Fatalf("unmounting: %v", err)
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
}

// fill takes all but some bytes of the file system with a foreign file. Its
// name is returned.
func (d *disk) fill(t *testing.T, leave int64) string {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(d.dir, "foreign")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bfree)*st.Bsize-leave); err != nil {
		t.Fatalf("filling the disk: %v", err)
	}
	return name
}
