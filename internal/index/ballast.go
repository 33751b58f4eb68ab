package index

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// ballast is a file beside the database that holds room, so that a full disk
// can still take a deletion.
type ballast struct {
	path  string
	size  int64
	there bool
	next  time.Time    // when to try again to make it
	need  atomic.Int64 // 0, or the bytes that must be free before instances are taken again: the disk was full
}

const (
	ballastSize = 16 << 20
	// walRoom is what the WAL takes until it is checkpointed.
	walRoom = 8 << 20
)

var errFull = fault.New(fault.Full, "the disk with the index is full; free some space")

// Room says with fault.Full that the disk with the index was full and still is:
// a fact of instances would become durable and not be acknowledged. It costs
// nothing where there is room.
func (x *Index) Room() error { return x.ballast.room() }

func (b *ballast) room() error {
	need := b.need.Load()
	if need == 0 {
		return nil
	}
	if free, known := freeSpace(filepath.Dir(b.path)); known && free < need {
		return errFull
	}
	return nil
}

// full notes that the disk is full.
func (b *ballast) full() {
	if b.path == "" {
		return // PostgreSQL's disk is not this node's
	}
	need := int64(walRoom)
	if !b.there {
		need += b.size
	}
	b.need.Store(need)
}

// admit is room for the writer: instances do not get the room that the ballast
// gave to deletions.
func (b *ballast) admit(now time.Time) error {
	if b.need.Load() == 0 {
		return nil
	}
	if err := b.room(); err != nil {
		return err
	}
	if b.next = (time.Time{}); b.restore(now) {
		return errFull
	}
	b.need.Store(0)
	return nil
}

// release frees the room and reports whether there was any.
func (b *ballast) release() bool {
	if !b.there {
		return false
	}
	b.there = false
	b.full()
	return os.Remove(b.path) == nil
}

// restore makes the file where it is absent, at most once a minute, and reports
// whether the disk was too full for it, which is not an error here.
func (b *ballast) restore(now time.Time) (full bool) {
	if b.there || b.path == "" || now.Before(b.next) {
		return false
	}
	b.next = now.Add(time.Minute)
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.there = true
		return false
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = allocate(f, b.size)
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			_ = os.Remove(b.path)
		}
	}
	b.there = err == nil
	if full = errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); full {
		b.full()
	}
	return full
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
