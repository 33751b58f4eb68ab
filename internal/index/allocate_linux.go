package index

import (
	"os"
	"syscall"
)

// allocate reserves disk blocks without writing them; file systems that cannot get zeros.
func allocate(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if err == syscall.EOPNOTSUPP || err == syscall.ENOSYS {
		return writeZeros(f, size)
	}
	return err
}

// freeSpace returns what this process may still write to the folder's disk.
func freeSpace(dir string) (int64, bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0, false
	}
	blocks := st.Bavail
	if os.Geteuid() == 0 {
		blocks = st.Bfree // what is set aside for root
	}
	return int64(blocks) * st.Bsize, true
}
