package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

// prefix is what the folders of drills begin with.
const prefix = "strata-drill-"

// Sweep removes what drills that were killed left in a folder. No drill may be running there.
func Sweep(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for what a drill left behind: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(folder, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// scratch holds copies of objects, as they are in the store. It is not safe for concurrent use.
type scratch struct {
	dir   string
	left  int64 // bytes that may still be copied, of all that are copied in the drill
	files map[string]file
	made  int
}

type file struct {
	path string
	size int64
}

func newScratch(folder string, bytes int64) (*scratch, error) {
	err := os.MkdirAll(folder, 0o700)
	var dir string
	if err == nil {
		dir, err = os.MkdirTemp(folder, prefix)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "drill-scratch: cannot make a folder in %s", folder)
	}
	return &scratch{dir: dir, left: bytes, files: map[string]file{}}, nil
}

// remove removes the folder with all that is in it.
func (s *scratch) remove() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("removing the scratch folder of the drill: %w", err)
	}
	return nil
}

// scratchError says that it was the scratch folder that failed.
type scratchError struct{ err error }

func (e scratchError) Error() string { return e.err.Error() }
func (e scratchError) Unwrap() error { return e.err }

func isScratch(err error) bool {
	var s scratchError
	return errors.As(err, &s)
}

func scratchFault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return scratchError{fault.Wrap(fault.Full, err, "the scratch folder of the drill is full: give drill-scratch more room, or the drill fewer bytes")}
	}
	return scratchError{fault.Wrap(fault.Unavailable, err, "the scratch folder of the drill cannot be used; see drill-scratch")}
}

// errRoom says that a copy would pass the bytes that the drill may copy.
var errRoom = fault.New(fault.TooLarge, "the study is larger than what was left of the bytes of the drill")

// copy fetches an object. Its errors are those of the store, errRoom, and scratchError.
func (s *scratch) copy(ctx context.Context, from *storage.Bucket, key string) (size int64, err error) {
	r, err := from.Open(ctx, key, 0, -1)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	s.made++
	path := filepath.Join(s.dir, strconv.Itoa(s.made))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, scratchFault(err)
	}
	w := &fileWriter{f: f}
	size, err = io.CopyBuffer(struct{ io.Writer }{w}, &contextReader{ctx, io.LimitReader(r, s.left+1)}, make([]byte, 256<<10))
	if cerr := f.Close(); w.err == nil {
		w.err = cerr
	}
	switch {
	case w.err != nil:
		err = scratchFault(w.err)
	case err == nil && size > s.left:
		err = errRoom
	}
	if err != nil {
		os.Remove(path) // else the folder goes with it
		return size, err
	}
	s.left -= size
	s.files[key] = file{path, size}
	return size, nil
}

// fileWriter tells failures of the file from those of the store.
type fileWriter struct {
	f   *os.File
	err error
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.err = err
	return n, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// drop removes copies.
func (s *scratch) drop(keys ...string) error {
	for _, key := range keys {
		if f, ok := s.files[key]; ok {
			if err := os.Remove(f.path); err != nil {
				return scratchFault(err)
			}
			delete(s.files, key)
		}
	}
	return nil
}

// Open reads a copy as a bucket would the object.
func (s *scratch) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	f, ok := s.files[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "the object was not copied")
	}
	if off < 0 || off > f.size {
		return nil, fault.New(fault.RangeInvalid, "a range is not in the object")
	}
	if n < 0 {
		n = f.size - off
	}
	h, err := os.Open(f.path)
	if err != nil {
		return nil, scratchFault(err)
	}
	var r io.Reader = io.NewSectionReader(h, off, min(n, f.size-off))
	if n > f.size-off {
		r = io.MultiReader(r, short{})
	}
	return struct {
		io.Reader
		io.Closer
	}{&contextReader{ctx, r}, h}, nil
}

// short ends what is shorter than was asked for.
type short struct{}

func (short) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Stat tells the size of a copy.
func (s *scratch) Stat(_ context.Context, key string) (driver.Attrs, error) {
	f, ok := s.files[key]
	if !ok {
		return driver.Attrs{}, fault.New(fault.NotFound, "the object was not copied")
	}
	return driver.Attrs{Size: f.size}, nil
}
