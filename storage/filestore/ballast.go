package filestore

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

// Ballast is a file that holds room on a disk, to be given back when something
// small must be written and the disk is full. It is safe for concurrent use.
type Ballast struct {
	path string
	size int64
	held atomic.Bool
	mu   sync.Mutex
}

// NewBallast returns the ballast of size bytes in the file path; it takes no
// room before Restore. A size of 0 or less is no ballast: Restore always succeeds.
func NewBallast(path string, size int64) *Ballast { return &Ballast{path: path, size: size} }

// Restore takes the room, if it is not held already. It fails with fault.Full
// when the disk does not have it; nothing is held then.
func (b *Ballast) Restore() error {
	if b.size <= 0 || b.held.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held.Load() {
		return nil
	}
	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return classify(err, "holding room on the disk")
	}
	defer f.Close()
	if err := allocate(f, b.size); err != nil {
		_ = os.Remove(b.path) // what was taken of it must not be missing elsewhere
		return classify(err, "holding room on the disk")
	}
	b.held.Store(true)
	return nil
}

// adopt holds what an earlier process left: on a full disk it could not be taken again.
func (b *Ballast) adopt() {
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.held.Store(true)
	}
}

// Release gives the room back to the disk.
func (b *Ballast) Release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size <= 0 {
		return nil
	}
	b.held.Store(false)
	// Emptied first: removing a file makes some file systems ask for room.
	if err := os.Truncate(b.path, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err, "giving room back to the disk")
	}
	return nil
}

// Held reports whether the room is held.
func (b *Ballast) Held() bool { return b.size <= 0 || b.held.Load() }

// fill writes zeros where a file system cannot reserve room otherwise.
func fill(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return f.Sync()
}
