package filestore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/strata-pacs/strata/internal/fault"
)

var errFull = fault.New(fault.Full, "the disk has no room left: delete something or give it more")

// classify gives an error of the file system its kind. Paths stay out of the message.
func classify(err error, doing string) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	var link *os.LinkError
	cause := err
	switch {
	case errors.As(err, &path):
		cause = path.Err
	case errors.As(err, &link):
		cause = link.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.NotFound, "there is no such object")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errFull
	case errors.Is(err, syscall.EFBIG):
		return fault.New(fault.TooLarge, "the object is larger than the file system allows")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.Wrap(fault.Unavailable, cause, "too many files are open: raise the limit on open files")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.Unavailable, cause, "%s: the data folder does not allow it, check its owner and mode and how its disk is mounted", doing)
	}
	return fault.Wrap(fault.Unavailable, cause, "%s: the disk failed, check the system's log", doing)
}
