package index

import (
	"context"
	"database/sql/driver"
	"errors"
	"syscall"

	"modernc.org/sqlite"
	lite "modernc.org/sqlite/lib"

	"github.com/strata-pacs/strata/internal/fault"
)

// classify gives a database error its kind.
func classify(err error) error {
	var e *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.Full, err, "the disk with the index is full; free some space")
	case errors.Is(err, driver.ErrBadConn):
		return fault.Wrap(fault.Unavailable, err, "the index database does not answer; try again")
	case !errors.As(err, &e):
		return fault.Wrap(fault.Internal, err, "using the index database")
	}
	switch code := e.Code(); code & 0xff {
	case lite.SQLITE_FULL:
		return fault.Wrap(fault.Full, err, "the disk with the index is full; free some space")
	case lite.SQLITE_IOERR:
		if code == lite.SQLITE_IOERR_SHMSIZE {
			return fault.Wrap(fault.Full, err, "the disk with the index is full; free some space")
		}
		return fault.Wrap(fault.Unavailable, err, "the disk with the index fails; check it and try again")
	case lite.SQLITE_BUSY, lite.SQLITE_LOCKED, lite.SQLITE_CANTOPEN, lite.SQLITE_NOMEM, lite.SQLITE_PROTOCOL:
		return fault.Wrap(fault.Unavailable, err, "the index database does not answer; try again")
	case lite.SQLITE_READONLY, lite.SQLITE_PERM, lite.SQLITE_AUTH:
		return fault.Wrap(fault.Unavailable, err, "the index database cannot be written; check the permissions of the data folder")
	case lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB:
		return fault.Wrap(fault.Corrupt, err, "the index database is damaged; rebuild it (strata rebuild)")
	case lite.SQLITE_INTERRUPT:
		return fault.Wrap(fault.Canceled, err, "the query was interrupted")
	}
	return fault.Wrap(fault.Internal, err, "using the index database")
}
