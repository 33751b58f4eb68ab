package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

const (
	// bufferSize: smaller writes are gathered to this; larger ones go straight through.
	bufferSize = 128 << 10
	// writeback is how many bytes of a large object are written before the disk is
	// told to start on them, so that the final sync is short and dirty memory bounded.
	writeback = 8 << 20
)

var (
	errExists   = fault.New(fault.Exists, "there is an object of this name already")
	errConflict = fault.New(fault.Conflict, "the object was changed by someone else")
	errEnded    = fault.New(fault.Internal, "the object was already committed or aborted")
)

// Create implements driver.Driver.
func (s *Store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	admit := s.admit
	if o.Reserved {
		admit = s.makeRoom
	}
	if err := admit(o.Size); err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx, key: key, o: o}, nil
}

// admit refuses an ordinary object where there is no room besides ballast and headroom.
func (s *Store) admit(size int64) error {
	if err := s.RestoreBallast(); err != nil {
		return err
	}
	if s.headroom == 0 {
		return nil
	}
	free, err := s.Free()
	if err != nil {
		return err
	}
	if free <= size {
		return errFull
	}
	return nil
}

// makeRoom releases the ballast for a Reserved object where the disk is nearly
// full: not only this object needs room now but the databases that will record it.
func (s *Store) makeRoom(size int64) error {
	if s.headroom == 0 || !s.ballast.held.Load() {
		return nil
	}
	free, err := s.Free()
	if err != nil {
		return err
	}
	if free <= size {
		return s.ballast.Release()
	}
	return nil
}

// writer stages an object: in buf until that is full, then in f.
type writer struct {
	s       *Store
	ctx     context.Context // of Create: io.Writer has none
	key     string
	o       driver.CreateOptions
	buf     *[]byte
	used    int // bytes in buf
	f       *os.File
	temp    string // f's path while it has not the object's
	size    int64  // bytes in f
	started int64  // bytes of f whose writeback was started
	ended   bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.used == 0 && len(p) >= bufferSize {
		return w.flush(p)
	}
	if w.buf == nil {
		w.buf = w.s.buffers.Get().(*[]byte)
	}
	done := 0
	for done < len(p) {
		if w.used == bufferSize {
			if _, err := w.flush(*w.buf); err != nil {
				return done, err
			}
			w.used = 0
		}
		n := copy((*w.buf)[w.used:], p[done:])
		w.used += n
		done += n
	}
	return done, nil
}

// flush appends p to the file.
func (w *writer) flush(p []byte) (int, error) {
	if w.f == nil {
		if err := w.open(); err != nil {
			return 0, classify(err, "writing an object")
		}
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if err != nil {
		return n, classify(err, "writing an object")
	}
	if w.size-w.started >= writeback {
		startWriteback(w.f, w.started, w.size-w.started)
		w.started = w.size
	}
	return n, nil
}

func (w *writer) open() (err error) {
	if w.f, err = os.CreateTemp(w.s.tmp.dir, "object-"); err == nil {
		w.temp = w.f.Name()
	}
	return err
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	if w.ended {
		return driver.Attrs{}, errEnded
	}
	defer w.Abort()
	if err := ctx.Err(); err != nil {
		return driver.Attrs{}, err
	}
	whole := w.f == nil // all of it is in buf: it can be written again
	a, err := w.commit(ctx)
	if w.o.Reserved && whole && fault.Is(err, fault.Full) {
		if err := w.s.ballast.Release(); err != nil {
			return driver.Attrs{}, err
		}
		w.discard()
		a, err = w.commit(ctx)
	}
	return a, err
}

func (w *writer) commit(ctx context.Context) (driver.Attrs, error) {
	if w.used > 0 || w.f == nil {
		var rest []byte
		if w.buf != nil {
			rest = (*w.buf)[:w.used]
		}
		if _, err := w.flush(rest); err != nil {
			return driver.Attrs{}, err
		}
	}
	now := w.s.clock.next()
	if err := os.Chtimes(w.temp, now, now); err != nil {
		return driver.Attrs{}, classify(err, "committing an object")
	}
	// Either way the name, once durable, stands for all of the object.
	put := w.f.Sync
	if w.s.ordered {
		put = func() error { return awaitWriteback(w.f) }
	}
	if err := put(); err != nil {
		return driver.Attrs{}, classify(err, "committing an object")
	}
	info, err := w.f.Stat() // the time as the file system keeps it
	if err != nil {
		return driver.Attrs{}, classify(err, "committing an object")
	}
	path := w.s.path(w.key)
	if err := w.s.dirs.ensure(w.s.objects, filepath.Dir(path)); err != nil {
		return driver.Attrs{}, classify(err, "committing an object")
	}
	// From here on the caller's going away stops nothing: it is nearly done.
	c, err := w.s.busy.claim(ctx, w.key)
	if err != nil {
		return driver.Attrs{}, err
	}
	defer w.s.busy.release(w.key, c)
	if err := w.rename(c, path); err != nil {
		return driver.Attrs{}, err
	}
	if err := w.settle(path); err != nil {
		if w.o.IfAbsent {
			_ = os.Remove(path) // best effort: the caller is not told that it is there
		}
		// Never fault.Full, which promises that nothing changed.
		return driver.Attrs{}, fault.Wrap(fault.Unavailable, err, "committing an object: the disk failed, check the system's log")
	}
	return attrs(w.size, info.ModTime()), nil
}

// settle makes the file's new name durable.
func (w *writer) settle(path string) error {
	if w.s.ordered { // its inode has not been synced yet
		if err := w.f.Sync(); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(path)); err != nil || w.s.ordered {
		return err
	}
	// Or a start after a power cut might find the temporary name still there,
	// remove it, and with it the object's only inode.
	return syncDir(w.s.tmp.dir)
}

// rename gives the file its name, under the conditions of the options.
func (w *writer) rename(c *claim, path string) error {
	old, err := w.s.stat(w.key)
	switch {
	case fault.Is(err, fault.NotFound) && w.o.IfMatch != "":
		return errConflict
	case fault.Is(err, fault.NotFound):
		w.s.busy.setFresh(c, true)
	case err != nil:
		return err
	case w.o.IfAbsent:
		return errExists
	case w.o.IfMatch != "" && old.ETag != w.o.IfMatch:
		return errConflict
	}
	rename := os.Rename
	if w.o.IfAbsent {
		rename = renameNew
	}
	if err := rename(w.temp, path); errors.Is(err, fs.ErrExist) {
		return errExists // another process, which should not be there
	} else if err != nil {
		return classify(err, "committing an object")
	}
	w.temp = ""
	return nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.discard()
	if w.buf != nil {
		w.s.buffers.Put(w.buf)
		w.buf = nil
	}
}

// discard gives up the temporary file. One that stays is removed at the next start.
func (w *writer) discard() {
	if w.f != nil {
		w.f.Close()
	}
	if w.temp != "" {
		_ = os.Remove(w.temp)
	}
	w.f, w.temp, w.size, w.started = nil, "", 0, 0
}
