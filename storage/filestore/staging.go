package filestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// staging is a folder of this process alone for objects that are not complete. Its lock
// ends with the process, however that ends: what lies in a folder whose lock is free is nobody's.
type staging struct {
	dir  string
	lock *os.File // of the folder
}

// openStaging makes a staging folder below tmp, and removes what processes left there that
// have ended. Others may work on the same store: a command beside a server, or another node.
func openStaging(tmp string) (staging, error) {
	all, err := os.Open(tmp)
	if err != nil {
		return staging{}, err
	}
	defer all.Close()
	// Held, so that a folder is never seen between its making and its lock.
	if err := flock(all, unix.LOCK_EX); err != nil {
		return staging{}, err
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		return staging{}, err
	}
	for _, e := range left {
		if err := removeLeft(filepath.Join(tmp, e.Name())); err != nil {
			return staging{}, err
		}
	}
	s := staging{}
	if s.dir, err = os.MkdirTemp(tmp, "staging-"); err != nil {
		return staging{}, err
	}
	if s.lock, err = os.Open(s.dir); err != nil {
		return staging{}, err
	}
	return s, flock(s.lock, unix.LOCK_EX)
}

// removeLeft removes a staging folder unless its process lives, and files, which earlier versions left.
func removeLeft(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	} else if err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
