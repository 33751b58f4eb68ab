package index

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lite3 "modernc.org/sqlite/lib"

	"github.com/strata-pacs/strata/internal/fault"
)

const (
	msgFull     = "the disk with the index is full; free some space"
	msgNoAnswer = "the index database does not answer; try again"
	msgUsing    = "using the index database"
)

// classify gives a database error its kind, once.
func classify(err error) error {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotDurable):
		return errNotDurable
	case errors.As(err, &lite):
		return classifySQLite(err, lite.Code())
	case errors.As(err, &pg):
		return classifyPostgres(err, pg)
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return fault.Wrap(fault.Unavailable, err, "the index database is a standby that cannot be written; name its primary, or all hosts, in its address")
	case isNetwork(err):
		return fault.Wrap(fault.Unavailable, err, msgNoAnswer)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.Full, err, msgFull)
	}
	return fault.Wrap(fault.Internal, err, msgUsing)
}

// isNetwork reports a connection that is not there or broke, or that did not answer in the time of the driver.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var op *net.OpError
	return errors.As(err, &connect) || errors.As(err, &op) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func classifySQLite(err error, code int) error {
	switch code & 0xff {
	case lite3.SQLITE_FULL:
		return fault.Wrap(fault.Full, err, msgFull)
	case lite3.SQLITE_IOERR:
		if code == lite3.SQLITE_IOERR_SHMSIZE {
			return fault.Wrap(fault.Full, err, msgFull)
		}
		return fault.Wrap(fault.Unavailable, err, "the disk with the index fails; check it and try again")
	case lite3.SQLITE_BUSY, lite3.SQLITE_LOCKED, lite3.SQLITE_CANTOPEN, lite3.SQLITE_NOMEM, lite3.SQLITE_PROTOCOL:
		return fault.Wrap(fault.Unavailable, err, msgNoAnswer)
	case lite3.SQLITE_READONLY, lite3.SQLITE_PERM, lite3.SQLITE_AUTH:
		return fault.Wrap(fault.Unavailable, err, "the index database cannot be written; check the permissions of the data folder")
	case lite3.SQLITE_CORRUPT, lite3.SQLITE_NOTADB:
		return fault.Wrap(fault.Corrupt, err, "the index database is damaged; rebuild it (strata rebuild)")
	case lite3.SQLITE_INTERRUPT:
		return fault.Wrap(fault.Canceled, err, "the query was interrupted")
	}
	return fault.Wrap(fault.Internal, err, msgUsing)
}

// classifyPostgres goes by the codes of PostgreSQL's Appendix A.
func classifyPostgres(err error, e *pgconn.PgError) error {
	switch e.Code {
	case "53100": // disk_full
		return fault.Wrap(fault.Full, err, msgFull)
	case "25006": // read_only_sql_transaction
		return fault.Wrap(fault.Unavailable, err, "the index database cannot be written: it is a standby, or was made read-only; try again")
	case "57014": // query_canceled: by its caller, or statement_timeout
		return fault.Wrap(fault.Timeout, err, "the query of the index took too long")
	case "42501", "3D000", "28000", "28P01":
		return fault.Wrap(fault.Unavailable, err, "the index database refuses Strata's role; check its name, password and rights")
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return fault.Wrap(fault.Corrupt, err, "the index database is damaged; rebuild it (strata rebuild)")
	case "55P03", "40001", "40P01", "25P03", "25P04": // lock_not_available, serialization_failure, deadlock_detected, session timeouts
		return fault.Wrap(fault.Unavailable, err, "the index database is busy; try again")
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "53", "57", "58": // connection, resources, operator intervention, system
		return fault.Wrap(fault.Unavailable, err, msgNoAnswer)
	}
	return fault.Wrap(fault.Internal, err, msgUsing)
}

// passes reports an error that may be gone when the transaction, or the connection, is tried again.
func passes(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case "40001", "40P01", "25006", "25P03", "25P04", "53300", "57P01", "57P02", "57P03", "57P05":
			return true
		}
		return strings.HasPrefix(e.Code, "08")
	}
	return errors.Is(err, pgconn.ErrReadOnlyConnection) || isNetwork(err)
}
