package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is the linear memory of the module: address space that costs what is
// touched of it. What it held when keep was called is a file that is mapped
// privately, so one system call forgets all that was written since.
type memory struct {
	b       []byte
	allowed int // bytes; the rest is not to be touched
}

func newMemory(size int) (*memory, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserving memory for the codecs: %w", err)
	}
	return &memory{b: b, allowed: size}, nil
}

// Reallocate is called for the memory's first size and for growth, up to what
// was reserved.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size:size]
}

// Free is called when the module is closed.
func (m *memory) Free() {
	_ = unix.Munmap(m.b) // at the end of the process
	m.b = nil
}

// initial is more than the codecs write when they start. (Reading all of the
// memory to see that would take longer than anything else.)
const initial = 4 << 20

// keep makes the present content what restore returns to.
func (m *memory) keep() error {
	page := unix.Getpagesize()
	last := initial
	for last > 0 && zero(m.b[last-page:last]) {
		last -= page
	}
	fd, err := unix.MemfdCreate("codecs", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("keeping the codecs' memory: %w", err)
	}
	defer unix.Close(fd)
	if n, err := unix.Pwrite(fd, m.b[:last], 0); err != nil || n != last {
		return fmt.Errorf("keeping the codecs' memory: %d of %d bytes: %w", n, last, err)
	}
	at := unsafe.Pointer(unsafe.SliceData(m.b))
	const flags = unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_NORESERVE
	if _, err := unix.MmapPtr(fd, 0, at, uintptr(last), unix.PROT_READ|unix.PROT_WRITE, flags); err != nil {
		return fmt.Errorf("keeping the codecs' memory: %w", err)
	}
	return m.restore()
}

func (m *memory) restore() error {
	if err := unix.Madvise(m.b, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("restoring the codecs' memory: %w", err)
	}
	return nil
}

// limit makes all but the first n bytes untouchable: the process dies that
// tries. The heap of the codecs grows upwards.
func (m *memory) limit(n int) error {
	page := unix.Getpagesize()
	n = min((n+page-1)&^(page-1), len(m.b))
	var err error
	switch {
	case n > m.allowed:
		err = unix.Mprotect(m.b[m.allowed:n], unix.PROT_READ|unix.PROT_WRITE)
	case n < m.allowed:
		err = unix.Mprotect(m.b[n:m.allowed], unix.PROT_NONE)
	}
	if err != nil {
		return fmt.Errorf("limiting the codecs' memory: %w", err)
	}
	m.allowed = n
	return nil
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
