package index

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// ballast is a file beside the database that holds room, so that a full disk
// can still take a deletion.
type ballast struct {
	path  string
	size  int64
	there bool
	next  time.Time // when to try again to make it
}

const ballastSize = 16 << 20

// release frees the room and reports whether there was any.
func (b *ballast) release() bool {
	if !b.there {
		return false
	}
	b.there = false
	return os.Remove(b.path) == nil
}

// restore makes the file where it is absent, at most once a minute. That the disk is full is not an error here.
func (b *ballast) restore(now time.Time) {
	if b.there || b.path == "" || now.Before(b.next) {
		return
	}
	b.next = now.Add(time.Minute)
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.there = true
		return
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	err = allocate(f, b.size)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(b.path)
		return
	}
	b.there = true
}

func writeZeros(f *os.File, size int64) error {
	var zeros [1 << 16]byte
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(size-at, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}
