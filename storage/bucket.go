// Package storage gives the rest of Strata one portable, concrete [Bucket] over
// the small interface that file systems, S3 and memory implement (package
// driver). It validates names and limits once, above all drivers; what only some
// drivers can do is asserted here and nowhere else.
//
// Objects are immutable and named by keys (see [CheckKey]). An object is there
// entirely or not at all, and once Commit or Put returns nil it survives a power
// cut. The package knows no DICOM, no SQL and no keys of encryption.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// The driver's words, so that users of a Bucket need not import package driver.
type (
	CreateOptions  = driver.CreateOptions
	Writer         = driver.Writer
	Attrs          = driver.Attrs
	Object         = driver.Object
	Page           = driver.Page
	ReaderAtCloser = driver.ReaderAtCloser
	ThawOptions    = driver.ThawOptions
)

// Limits of single calls.
const (
	// MaxPage is the largest number of keys one List returns.
	MaxPage = 1 << 16
	// MaxRead is the largest number of bytes that ReadRange or Get hold in memory.
	MaxRead = 256 << 20
)

// Bucket is one namespace of objects. It is safe for concurrent use.
type Bucket struct {
	d   driver.Driver
	can driver.Optional
}

// New returns the bucket over a driver.
func New(d driver.Driver) *Bucket { return &Bucket{d: d, can: driver.OptionalOf(d)} }

// Create starts a staged object; see [driver.Driver]. Nothing is visible until
// the writer's Commit returns. When Commit fails with fault.Exists,
// fault.Conflict, fault.Full or fault.Invalid nothing changed; after any other
// error the object may be there or not, and a caller that needs to know asks.
func (b *Bucket) Create(ctx context.Context, key string, o CreateOptions) (Writer, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if o.Size < 0 {
		return nil, fault.New(fault.Invalid, "an object's announced size is negative")
	}
	if o.IfAbsent && o.IfMatch != "" {
		return nil, fault.New(fault.Invalid, "an object cannot be both absent and of a given version")
	}
	w, err := b.d.Create(ctx, key, o)
	if err != nil {
		return nil, fmt.Errorf("creating object %s: %w", key, err)
	}
	return &writer{w: w, key: key, want: o.Size}, nil
}

// Put creates an object of the given bytes in one call.
func (b *Bucket) Put(ctx context.Context, key string, p []byte, o CreateOptions) (Attrs, error) {
	o.Size = int64(len(p))
	w, err := b.Create(ctx, key, o)
	if err != nil {
		return Attrs{}, err
	}
	defer w.Abort()
	if _, err := w.Write(p); err != nil {
		return Attrs{}, err
	}
	return w.Commit(ctx)
}

// Open reads n bytes of an object from off; n < 0 means to its end. It fails
// with fault.NotFound or fault.RangeInvalid before the first byte. A reader that
// meets the object's end before off+n returns io.ErrUnexpectedEOF.
func (b *Bucket) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fault.New(fault.RangeInvalid, "a range starts before the object does")
	}
	r, err := b.d.Open(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("opening object %s: %w", key, err)
	}
	return r, nil
}

// ReadRange returns exactly the n bytes from off, at most [MaxRead]. An object
// that ends before off+n is fault.RangeInvalid.
func (b *Bucket) ReadRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if n < 0 || n > MaxRead {
		return nil, fault.New(fault.TooLarge, "a range of %d bytes is more than is read at once", n)
	}
	r, err := b.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := readAll(r, n)
	switch {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("reading object %s: %w", key, err)
	case err != nil || int64(len(p)) < n:
		return nil, fault.New(fault.RangeInvalid, "a range ends after the object does")
	}
	return p, nil
}

// Get returns a whole object of at most limit bytes (and [MaxRead]); a larger
// one is fault.TooLarge.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	limit = min(limit, MaxRead)
	r, err := b.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := readAll(r, limit+1)
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", key, err)
	}
	if int64(len(p)) > limit {
		return nil, fault.New(fault.TooLarge, "object %s has more than the %d bytes expected", key, limit)
	}
	return p, nil
}

// readAll reads at most n bytes. Memory follows what arrives, not n.
func readAll(r io.Reader, n int64) ([]byte, error) {
	p := make([]byte, 0, min(n, 64<<10))
	for int64(len(p)) < n {
		if len(p) == cap(p) {
			p = append(p, 0)[:len(p)]
		}
		m, err := r.Read(p[len(p):min(int64(cap(p)), n)])
		p = p[:len(p)+m]
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// OpenAt opens an object for reads at random offsets and returns its size. On
// stores without local files each ReadAt is a ranged read under ctx.
func (b *Bucket) OpenAt(ctx context.Context, key string) (ReaderAtCloser, int64, error) {
	if err := CheckKey(key); err != nil {
		return nil, 0, err
	}
	if b.can.Mapper != nil {
		r, size, err := b.can.Mapper.OpenAt(ctx, key)
		if err != nil {
			return nil, 0, fmt.Errorf("opening object %s: %w", key, err)
		}
		return r, size, nil
	}
	a, err := b.Stat(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return &rangedReader{ctx: ctx, d: b.d, key: key, size: a.Size}, a.Size, nil
}

// Stat returns an object's attributes, or fault.NotFound.
func (b *Bucket) Stat(ctx context.Context, key string) (Attrs, error) {
	if err := CheckKey(key); err != nil {
		return Attrs{}, err
	}
	a, err := b.d.Stat(ctx, key)
	if err != nil {
		return Attrs{}, fmt.Errorf("looking up object %s: %w", key, err)
	}
	return a, nil
}

// Exists reports whether the object is there.
func (b *Bucket) Exists(ctx context.Context, key string) (bool, error) {
	_, err := b.Stat(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// List returns up to limit keys (1 to [MaxPage]; others are brought into that
// range) with the prefix that sort after `after`, ascending by bytes.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) (Page, error) {
	if err := checkPrefix(prefix); err != nil {
		return Page{}, err
	}
	if err := checkPrefix(after); err != nil {
		return Page{}, err
	}
	p, err := b.d.List(ctx, prefix, after, min(max(limit, 1), MaxPage))
	if err != nil {
		return Page{}, fmt.Errorf("listing objects: %w", err)
	}
	return p, nil
}

// Folders returns up to limit names of the folders directly below folder, which ends in '/', that
// come after the one named after, and whether there are more; see [driver.Folders]. Where the store
// cannot tell them it takes one request for each.
func (b *Bucket) Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error) {
	if err := errors.Join(checkPrefix(folder), checkPrefix(after)); err != nil {
		return nil, false, err
	}
	limit = min(max(limit, 1), MaxPage)
	if b.can.Folders != nil {
		names, more, err = b.can.Folders.Folders(ctx, folder, after, limit)
	} else {
		names, more, err = driver.ListFolders(ctx, b.d, folder, after, limit)
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing folders: %w", err)
	}
	return names, more, nil
}

// All yields every object with the prefix that sorts after `after`, ascending,
// a page at a time. An error is yielded once, last.
func (b *Bucket) All(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for limit := 1024; ; limit = MaxPage {
			p, err := b.List(ctx, prefix, after, limit)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, o := range p.Objects {
				if !yield(o, nil) {
					return
				}
				after = o.Key
			}
			if !p.More || len(p.Objects) == 0 {
				return
			}
		}
	}
}

// Delete removes the object, durably. Deleting what is not there succeeds.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if err := b.d.Delete(ctx, key); err != nil {
		return fmt.Errorf("deleting object %s: %w", key, err)
	}
	return nil
}

// Purge removes every version of the object where the store keeps versions,
// and the object where it does not.
func (b *Bucket) Purge(ctx context.Context, key string) error {
	if b.can.Purger == nil {
		return b.Delete(ctx, key)
	}
	if err := CheckKey(key); err != nil {
		return err
	}
	if err := b.can.Purger.Purge(ctx, key); err != nil {
		return fmt.Errorf("purging object %s: %w", key, err)
	}
	return nil
}

// HasClasses reports whether objects can be moved between storage classes.
func (b *Bucket) HasClasses() bool { return b.can.Classer != nil }

// SetClass moves an object to another storage class of the same store, in the
// store's own words. It fails with fault.Archived where the object must be
// restored first, and with fault.Invalid where the store has no classes.
func (b *Bucket) SetClass(ctx context.Context, key, class string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if b.can.Classer == nil {
		return fault.New(fault.Invalid, "the store has no storage classes: name a store of its own for each tier")
	}
	if err := b.can.Classer.SetClass(ctx, key, class); err != nil {
		return fmt.Errorf("moving object %s to class %s: %w", key, class, err)
	}
	return nil
}

// Lock has the store keep the object until a moment at least, whoever has the store's credentials, where it was told to lock
// objects; elsewhere it does nothing. It never shortens. Wrapped keys must not be locked: they could not be destroyed.
func (b *Bucket) Lock(ctx context.Context, key string, until time.Time) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if b.can.Locker == nil {
		return nil
	}
	if err := b.can.Locker.Lock(ctx, key, until); err != nil {
		return fmt.Errorf("locking object %s: %w", key, err)
	}
	return nil
}

// Locks reports whether the store was told to lock objects.
func (b *Bucket) Locks() bool { return b.can.Locker != nil && b.can.Locker.Locks() }

// Thaw asks for a readable copy of an archived object and does not wait for it:
// Stat tells its state. It fails with fault.Invalid where the store has no archive.
func (b *Bucket) Thaw(ctx context.Context, key string, o ThawOptions) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if b.can.Thawer == nil {
		return fault.New(fault.Invalid, "the store has no archive to restore from")
	}
	if err := b.can.Thawer.Thaw(ctx, key, o); err != nil {
		return fmt.Errorf("restoring object %s: %w", key, err)
	}
	return nil
}
