package driver

import (
	"context"
	"io"
	"time"
)

// Mapper is optional: a driver whose objects lie in local files may serve
// random reads without opening them anew each time.
type Mapper interface {
	// OpenAt returns a reader of the whole object at random offsets, and its size.
	OpenAt(ctx context.Context, key string) (ReaderAtCloser, int64, error)
}

// ReaderAtCloser reads at offsets until it is closed.
type ReaderAtCloser interface {
	io.ReaderAt
	io.Closer
}

// Purger is optional: removes every version of an object where the store keeps versions.
type Purger interface {
	Purge(ctx context.Context, key string) error
}

// Classer is optional: moves an object to another storage class of the same
// store, under the same key. Its bytes stay; its ETag may change.
type Classer interface {
	// SetClass MUST leave the object whole in the one class or the other; an empty
	// class is the default, as for Create. It fails with fault.Archived where the object must
	// be restored first.
	SetClass(ctx context.Context, key, class string) error
}

// Thawer is optional: restores objects of an archive class.
type Thawer interface {
	// Thaw asks for a readable copy and does not wait for it: Attrs.Restore tells
	// its state. Asking again MUST succeed: for a copy that is there it sets how
	// long it stays; one under way goes on as it was asked for, or at a faster speed
	// where the store can hasten it and nothing else is asked for otherwise. It MUST fail
	// with fault.Invalid for a speed that the object's class never has, and with fault.Busy
	// for one that the store has no room for now: another speed may work at once.
	Thaw(ctx context.Context, key string, o ThawOptions) error
}

// ThawOptions qualify a Thaw.
type ThawOptions struct {
	// For is how long the copy stays, rounded up to days; at least one.
	For time.Duration
	// Speed is the store's own word for the priority ("Expedited", "Standard",
	// "Bulk"); empty for its default.
	Speed string
}

// Locker is optional: a store that keeps objects from being deleted by anyone who has its credentials.
type Locker interface {
	// Lock has the store keep the object, every byte of it, until a moment at least. It MUST NOT shorten
	// how long the object is kept already: then there is nothing to do. Where the store was not told to lock objects it
	// does nothing. It fails with fault.NotFound, and with fault.Invalid where the store cannot lock.
	Lock(ctx context.Context, key string, until time.Time) error
	// Locks reports whether the store was told to lock objects.
	Locks() bool
}

// Folders is optional: a store that tells which folders are below another without going
// through what is in them.
type Folders interface {
	// Folders returns up to limit names of the folders that are directly below folder, which ends in
	// '/': a name is what stands between that and the next '/'. Only those are returned whose
	// keys come after those of the folder after, which is empty at first; they
	// ascend as their keys do. More MUST be true unless the last one was reached. A folder with an object
	// that was committed before Folders began MUST be listed; one that had objects once may be.
	Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error)
}

// Repeater is optional: a driver that keeps the pieces of an object until the
// store has them, and so can send each of them again itself.
type Repeater interface {
	// CreateRepeating is Create; whatever the writer asks of the store is tried by
	// way of again. A Commit that was tried more than once MUST tell its own
	// object from another's.
	CreateRepeating(ctx context.Context, key string, o CreateOptions, again Again) (Writer, error)
}

// Again calls try until it succeeds or there is no point in going on, and
// returns its last error. Each try has a context of its own under ctx, which may
// end before ctx does.
type Again func(ctx context.Context, try func(ctx context.Context) error) error

// Optional are the optional interfaces of a driver; nil are those it has not.
type Optional struct {
	Mapper   Mapper
	Purger   Purger
	Classer  Classer
	Thawer   Thawer
	Locker   Locker
	Folders  Folders
	Repeater Repeater
}

// joined is a driver with the optional interfaces that a wrapper gives it. They
// are values, because as methods each set of them would need a type of its own.
type joined struct {
	Driver
	optional Optional
}

// Join returns d with the optional interfaces given, so that a wrapper has
// those of what it wraps. What d implements itself no longer counts.
func Join(d Driver, o Optional) Driver { return joined{d, o} }

// OptionalOf returns the optional interfaces that d has: those it was joined
// with, or else those that it implements. Nobody asserts them otherwise.
func OptionalOf(d Driver) (o Optional) {
	if j, ok := d.(joined); ok {
		return j.optional
	}
	o.Mapper, _ = d.(Mapper)
	o.Purger, _ = d.(Purger)
	o.Classer, _ = d.(Classer)
	o.Thawer, _ = d.(Thawer)
	o.Locker, _ = d.(Locker)
	o.Folders, _ = d.(Folders)
	o.Repeater, _ = d.(Repeater)
	return o
}
