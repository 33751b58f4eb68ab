// Package driver is the small interface under storage.Bucket. Drivers (a local
// file system, S3, memory) and wrappers (retries, injected faults) implement
// it, and each passes storage/drivertest.
//
// Keys are validated by storage.Bucket, above: UTF-8 path elements of
// [A-Za-z0-9._-], joined by '/', at most 512 bytes, no empty element, none
// that is "." or "..". Errors are classified with internal/fault.
package driver

import (
	"context"
	"io"
	"time"
)

// Driver is one flat namespace of immutable objects.
//
// Every method MUST honour its context, be safe for concurrent use, and
// classify errors: fault.NotFound where the object is not there, fault.Exists
// where IfAbsent met an object, fault.Full where there is no room,
// fault.Archived where an object must be restored before it can be read,
// fault.Unavailable for what may work when tried again. What moves bytes
// otherwise than in the Read and Write calls of its users MUST report them with
// Moved, so that a slow transfer can be told from one that stands still.
type Driver interface {
	// Create starts a staged object. Nothing MUST be visible under key, to
	// Open, Stat or List, before Commit returns; nothing MUST remain after Abort
	// or a crash, but for staging that the driver removes by itself.
	Create(ctx context.Context, key string, o CreateOptions) (Writer, error)

	// Open reads n bytes from off; n < 0 means to the end. It MUST fail with
	// fault.NotFound before the first byte if there is no such object, and with
	// fault.RangeInvalid if off is past its end. A reader that ends early
	// because the object is shorter than off+n returns io.ErrUnexpectedEOF.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)

	// Stat MUST return the attributes of the committed object.
	Stat(ctx context.Context, key string) (Attrs, error)

	// List returns up to limit keys with the prefix that sort after `after`,
	// ascending by bytes. More MUST be true unless the last key was reached.
	// An object committed before List began MUST be listed.
	List(ctx context.Context, prefix, after string, limit int) (Page, error)

	// Delete removes the object, durably. Deleting what is not there MUST succeed.
	Delete(ctx context.Context, key string) error
}

// CreateOptions qualify a Create.
type CreateOptions struct {
	// IfAbsent makes Commit fail with fault.Exists, and change nothing, if the
	// key has an object by then. Of two concurrent commits exactly one succeeds.
	IfAbsent bool
	// IfMatch makes Commit fail with fault.Conflict unless the key's current
	// object has this ETag. Only wrapped keys are ever rewritten.
	IfMatch string
	// Class is the storage class, in the store's own words; empty for its default.
	Class string
	// Size is the number of bytes that will be written, if known; 0 if not.
	Size int64
	// Reserved lets a small object use room that the store keeps back, where it
	// keeps any: for facts that delete, which must work when the store is full.
	Reserved bool
}

// Writer receives the bytes of a staged object. It MUST end with exactly one
// of Commit and Abort; Abort after Commit does nothing.
type Writer interface {
	io.Writer
	// Commit makes the object visible and durable, atomically: when it returns
	// nil, the bytes and the name survive a power cut. When it fails with
	// fault.Exists, fault.Conflict, fault.Full or fault.Invalid nothing MUST have
	// changed, nor will; after any other error the object may be there or not,
	// whole in either case. fault.Exists MUST only be told of a durable object.
	// The attributes are those that Stat tells, but that Modified is zero where
	// the store's answer to a write has no time.
	Commit(ctx context.Context) (Attrs, error)
	// Abort discards what was written. It works under a cancelled context.
	Abort()
}

// Attrs describe a committed object.
type Attrs struct {
	Size     int64
	ETag     string    // changes whenever the object is replaced
	Class    string    // storage class; empty for the default
	Modified time.Time // by the store's clock
	Restore  Restore   // zero for what can be read at once
}

// Restore is the state of an object whose class is an archive.
type Restore struct {
	State RestoreState
	Until time.Time // when a Restored object's readable copy goes; UTC
}

// RestoreState says whether an object's bytes can be read.
type RestoreState uint8

// The states. Opening an object that is Archived or Restoring fails with fault.Archived.
const (
	Online    RestoreState = iota // it can be read, and was never elsewhere
	Archived                      // it must be restored first: see Thawer
	Restoring                     // that was asked for
	Restored                      // it can be read until Restore.Until
)

// Page is one answer of List.
type Page struct {
	Objects []Object
	More    bool
}

// Object is one listed object.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
}
