package localkeys

import (
	"crypto/cipher"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// lookEvery is how old the last look at the file may be when the key is used.
const lookEvery = time.Second

// same reports whether a file is still the one that was read, with the same permissions.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// current returns what the file holds, as of a second ago at most.
func (f *File) current() (*contents, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since := f.now().Sub(f.looked); since >= 0 && since < lookEvery {
		return f.held, f.err
	}
	return f.lookLocked()
}

// look returns what the file holds now.
func (f *File) look() (*contents, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookLocked()
}

func (f *File) lookLocked() (*contents, error) {
	f.looked = f.now()
	info, err := os.Stat(f.path)
	if err == nil && f.held != nil && same(f.state, info) {
		return f.held, f.err
	}
	held, state, err := read(f.path, f.pass.again)
	if err == nil && held.id != f.id {
		err = fault.New(fault.KeyDenied, "the key file was replaced by that of another key; put the right one back")
	}
	if err != nil {
		f.held, f.err = nil, err
		return nil, err
	}
	f.held, f.state, f.err = held, state, nil
	return held, nil
}

// read reads and checks a key file.
func read(path string, unlock func(*kdf) (cipher.AEAD, error)) (*contents, fs.FileInfo, error) {
	b, state, err := readBytes(path)
	defer clear(b)
	if err != nil {
		return nil, nil, err
	}
	c, err := parse(b, unlock)
	return c, state, err
}

func readBytes(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, unreadable(err)
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o077 != 0:
		return nil, nil, fault.New(fault.KeyDenied, "the key file can be read by others (mode %04o); run chmod 600 on it", mode)
	case mode&0o400 == 0: // also for root, who could read it
		return nil, nil, fault.New(fault.KeyDenied, "the key file may not be read (mode %04o); to allow it, run chmod 600 on it", mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, unreadable(err)
	}
	return b, info, nil
}

// unreadable tells a file that was taken away from a disk that does not answer.
func unreadable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.KeyDenied, err, "the key file is not there; put the copy of it back")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return fault.Wrap(fault.KeyDenied, err, "the key file cannot be read")
	}
	return fault.Wrap(fault.KeyUnreachable, err, "the key file cannot be read for now; look at its disk")
}
