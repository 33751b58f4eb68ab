// Package filestore is a driver that keeps objects as files in a folder of a
// local disk.
//
// An object is written to a file below tmp/, in a folder of this process. Its bytes are put on the disk, then
// it is renamed if the name is free (renameat2 with RENAME_NOREPLACE), then every
// folder touched is synced, and before them every folder made for it. So at a
// power cut a name never stands for part of an object, and what Commit answered
// stays.
//
// Bytes are put on the disk by an fsync before the rename, except on ext4 with a
// journal of its own: there it is enough to wait until they are written and to
// fsync afterwards, because the journal keeps the order of what follows and flushes
// the disk before it commits. That makes one journal commit of two. (Files without
// a name, O_TMPFILE and linkat, are no faster there, and leave ext4's fast commits
// a journal that cannot be replayed, as of Linux 6.18.)
//
// Until all is synced the object is hidden from readers of this process; New
// syncs the file system once, so that a killed process leaves nothing visible
// that is not durable.
//
// The elements of a key are folders, but for the last one: it is a file in one of
// up to 256 folders "+00" to "+ff" below, chosen by a hash of the element without
// its last two characters. No folder grows without bound, and numbers or times in
// ascending order share a folder, whose sync they then share in the journal.
//
// One process at a time may work on the folder: locking it is the caller's part. What
// merely opens it beside that one, as a command does before it finds the server, harms nothing.
package filestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Options configure a store. The zero value is useful.
type Options struct {
	// Now is the store's clock; time.Now if nil.
	Now func() time.Time
	// Ballast is the number of bytes kept back in a file, so that Reserved
	// objects, and whatever else the caller frees it for, can be written when the
	// disk is full: 64 MiB, but at most a 32nd of the disk, if 0; none if negative.
	Ballast int64
	// Headroom is how many bytes objects that are not Reserved leave free besides,
	// for databases beside the store: 16 MiB, but at most a 32nd of the disk, if 0;
	// none if negative.
	Headroom int64
}

// Store is a driver.Driver and driver.Mapper. It is safe for concurrent use.
type Store struct {
	objects  string  // folder of the objects
	tmp      staging // of staged objects
	ordered  bool    // the file system makes changes durable in their order
	headroom int64
	ballast  *Ballast
	dirs     dirs
	busy     busy
	clock    clock
	buffers  sync.Pool // of *[]byte, bufferSize each
}

// New opens the store in dir, which it makes if it is not there, and removes
// what processes left unfinished that have ended.
func New(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, classify(err, "opening the store")
	}
	s, tmp := &Store{objects: filepath.Join(dir, "objects"), clock: clock{now: o.Now}}, filepath.Join(dir, "tmp")
	s.buffers.New = func() any { p := make([]byte, bufferSize); return &p }
	if s.clock.now == nil {
		s.clock.now = time.Now
	}
	s.busy.keys = map[string]*claim{}
	s.dirs.known = map[string]struct{}{}
	for _, d := range []string{s.objects, tmp} {
		if err := makeDurable(d); err != nil {
			return nil, classify(err, "making the store's folders")
		}
	}
	if s.tmp, err = openStaging(tmp); err != nil {
		return nil, classify(err, "making the folder of unfinished objects")
	}
	if err := syncFS(s.objects); err != nil {
		return nil, classify(err, "syncing the store")
	}
	s.ordered = keepsOrder(s.objects)
	total, _, err := space(s.objects)
	if err != nil {
		return nil, classify(err, "asking the disk for its size")
	}
	s.headroom = portion(o.Headroom, 16<<20, total)
	s.ballast = NewBallast(filepath.Join(dir, "ballast"), portion(o.Ballast, 64<<20, total))
	s.ballast.adopt()
	if err := s.RestoreBallast(); err != nil && !fault.Is(err, fault.Full) {
		return nil, err
	}
	return s, nil
}

// portion is n, or a default bounded by the size of the disk.
func portion(n, normal, total int64) int64 {
	if n == 0 {
		n = min(normal, total/32)
	}
	return max(n, 0)
}

// ReleaseBallast gives the ballast's room back to the disk, for a database that
// must record a deletion on a full disk. Objects that are not Reserved are then
// refused with fault.Full until the ballast is restored, which Create tries.
func (s *Store) ReleaseBallast() error { return s.ballast.Release() }

// RestoreBallast takes the room back, or fails with fault.Full where that would
// leave less than the headroom.
func (s *Store) RestoreBallast() error {
	if s.ballast.Held() {
		return nil
	}
	if s.headroom > 0 {
		free, err := s.Free()
		if err != nil {
			return err
		}
		if free < s.ballast.size {
			return errFull
		}
	}
	return s.ballast.Restore()
}

// Free returns how many bytes can still be written, besides ballast and headroom.
func (s *Store) Free() (int64, error) {
	_, free, err := space(s.objects)
	if err != nil {
		return 0, classify(err, "asking the disk for its free space")
	}
	return max(free-s.headroom, 0), nil
}

// Close waits for what is being committed or deleted. The ballast stays.
func (s *Store) Close() error {
	s.busy.drain()
	return nil
}

// open opens the file of an object, after any commit of it under way.
func (s *Store) open(ctx context.Context, key string) (*os.File, fs.FileInfo, error) {
	if err := s.busy.wait(ctx, key); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, nil, classify(err, "opening an object")
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, classify(err, "opening an object")
	}
	return f, info, nil
}

// Open implements driver.Driver.
func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	f, info, err := s.open(ctx, key)
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if off < 0 || off > size {
		f.Close()
		return nil, fault.New(fault.RangeInvalid, "the range starts after the object's end")
	}
	r := &reader{ctx: ctx, f: f, off: off, end: size, last: io.EOF}
	switch {
	case n >= 0 && n <= size-off:
		r.end = off + n
	case n >= 0:
		r.last = io.ErrUnexpectedEOF
	}
	return r, nil
}

// OpenAt implements driver.Mapper.
func (s *Store) OpenAt(ctx context.Context, key string) (driver.ReaderAtCloser, int64, error) {
	f, info, err := s.open(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Stat implements driver.Driver.
func (s *Store) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	if err := s.busy.wait(ctx, key); err != nil {
		return driver.Attrs{}, err
	}
	return s.stat(key)
}

func (s *Store) stat(key string) (driver.Attrs, error) {
	info, err := os.Lstat(s.path(key))
	if err != nil {
		return driver.Attrs{}, classify(err, "looking up an object")
	}
	return attrs(info.Size(), info.ModTime()), nil
}

// attrs makes the ETag of size and commit time: the store's clock never stands still.
func attrs(size int64, t time.Time) driver.Attrs {
	tag := strconv.FormatInt(t.UnixNano(), 36) + "-" + strconv.FormatInt(size, 36)
	return driver.Attrs{Size: size, ETag: tag, Modified: t.UTC()}
}

// Delete implements driver.Driver.
func (s *Store) Delete(ctx context.Context, key string) error {
	c, err := s.busy.claim(ctx, key)
	if err != nil {
		return err
	}
	defer s.busy.release(key, c)
	path := s.path(key)
	// The folder is synced even if the file is gone: an earlier attempt may have
	// failed between the two.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err, "deleting an object")
	}
	if err := syncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err, "deleting an object")
	}
	return nil
}

// reader reads a range of an object. The offset is its own, so that no seek is needed.
type reader struct {
	ctx      context.Context // of Open
	f        *os.File
	off, end int64
	last     error
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.off >= r.end {
		return 0, r.last
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), r.end-r.off)], r.off)
	r.off += int64(n)
	if err == io.EOF {
		err = nil
		if n == 0 && len(p) > 0 { // cut short behind our back
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && err != io.ErrUnexpectedEOF {
		err = classify(err, "reading an object")
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// clock is the store's time: never the same twice, so that it tells versions apart.
type clock struct {
	now  func() time.Time
	mu   sync.Mutex
	last int64
}

func (c *clock) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.now().UnixNano(), c.last+1)
	return time.Unix(0, c.last)
}
