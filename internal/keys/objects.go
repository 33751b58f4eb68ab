package keys

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// parallel is how many key objects are worked on at once where options do not say.
const parallel = 8

// place returns where the key object of the id lies, and how it begins.
func place(t archive.Tenant, id archive.KeyID) (magic, name string) {
	if id == (archive.KeyID{}) {
		return rootMagic, RootName(t)
	}
	return keyMagic, KeyName(t, id)
}

// idIn returns the key id that an object under the prefix is named by.
func idIn(prefix, name string) (id archive.KeyID, ok bool) {
	text, ok := strings.CutPrefix(name, prefix)
	if !ok || len(text) != hex.EncodedLen(len(id)) || strings.ToLower(text) != text {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}

// each calls f with the id of every key that a tenant has in the store, the
// root's first. Objects of other names are none of its.
func each(ctx context.Context, b *storage.Bucket, t archive.Tenant, f func(archive.KeyID) error) error {
	root, err := b.Exists(ctx, RootName(t))
	if err == nil && root {
		err = f(archive.KeyID{})
	}
	if err != nil {
		return err
	}
	return eachNamed(ctx, b, string(t)+"/key/", f)
}

// eachNamed calls f with the ids that objects under the prefix are named by, ascending.
func eachNamed(ctx context.Context, b *storage.Bucket, prefix string, f func(archive.KeyID) error) error {
	for o, err := range b.All(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("listing key objects: %w", err)
		}
		if id, ok := idIn(prefix, o.Key); ok {
			if err := f(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// Count returns how many keys a tenant has in the store, its root included.
func Count(ctx context.Context, b *storage.Bucket, t archive.Tenant) (n int64, err error) {
	err = each(ctx, b, t, func(archive.KeyID) error { n++; return nil })
	return n, err
}

// walk calls f for every key of the tenant, several at once, until one fails.
func walk(ctx context.Context, b *storage.Bucket, t archive.Tenant, width int, f func(context.Context, archive.KeyID) error) error {
	return several(ctx, width, func(ctx context.Context, start func(func() error) error) error {
		return each(ctx, b, t, func(id archive.KeyID) error {
			return start(func() error { return f(ctx, id) })
		})
	})
}

// several lets list start work, so much of it at once, until some fails.
func several(ctx context.Context, width int, list func(ctx context.Context, start func(func() error) error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(width)
	err := list(ctx, func(f func() error) error {
		g.Go(f)
		return ctx.Err()
	})
	if failed := g.Wait(); failed != nil {
		return failed // why the list ended too
	}
	return err
}

// read reads the key object of the id, and the ETag by which it may be replaced.
// An object replaced in between has the ETag of the one before.
func read(ctx context.Context, b *storage.Bucket, t archive.Tenant, id archive.KeyID) (object, string, error) {
	magic, name := place(t, id)
	return readAt(ctx, b, magic, name, t, id)
}

func readAt(ctx context.Context, b *storage.Bucket, magic, name string, t archive.Tenant, id archive.KeyID) (object, string, error) {
	attrs, err := b.Stat(ctx, name)
	if err == nil {
		var text []byte
		if text, err = b.Get(ctx, name, maxObject); err == nil {
			o, err := parseObject(magic, t, id, text)
			return o, attrs.ETag, err
		}
	}
	if fault.Is(err, fault.NotFound) {
		return object{}, "", corrupt(ErrAbsent)
	}
	return object{}, "", fmt.Errorf("reading a key object: %w", err)
}

// KEKOf returns which KEK the tenant's root is under.
func KEKOf(ctx context.Context, b *storage.Bucket, t archive.Tenant) (ID, error) {
	o, _, err := read(ctx, b, t, archive.KeyID{})
	return o.Wrapped.KEK, err
}

// Version names a version of a KEK.
type Version struct {
	KEK     ID
	Version string // in the provider's words
}

func (w Wrapped) version() Version { return Version{w.KEK, w.Version} }

// Census says under which versions the objects of a tenant lie.
type Census struct {
	Keys    map[Version]int64 // key objects, the root's included
	Escrow  map[Version]int64 // what is wrapped for recovery keys
	Damaged int64             // objects that cannot be read
}

// TakeCensus reads every key object and every escrow object of a tenant. It
// needs no key.
func TakeCensus(ctx context.Context, b *storage.Bucket, t archive.Tenant) (Census, error) {
	c := Census{Keys: map[Version]int64{}, Escrow: map[Version]int64{}}
	var mu sync.Mutex
	count := func(in map[Version]int64, o object, err error) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case fault.Is(err, fault.Corrupt):
			if !isAbsent(err) {
				c.Damaged++
			}
			return nil
		case err != nil:
			return err
		}
		in[o.Wrapped.version()]++
		return nil
	}
	err := walk(ctx, b, t, 2*parallel, func(ctx context.Context, id archive.KeyID) error {
		o, _, err := read(ctx, b, t, id)
		return count(c.Keys, o, err)
	})
	if err != nil {
		return Census{}, fmt.Errorf("counting key objects: %w", err)
	}
	err = several(ctx, 2*parallel, func(ctx context.Context, start func(func() error) error) error {
		return eachEscrow(ctx, b, t, func(name string, id archive.KeyID) error {
			return start(func() error {
				o, _, err := readAt(ctx, b, escrowMagic, name, t, id)
				return count(c.Escrow, o, err)
			})
		})
	})
	if err != nil {
		return Census{}, fmt.Errorf("counting escrow objects: %w", err)
	}
	return c, nil
}
