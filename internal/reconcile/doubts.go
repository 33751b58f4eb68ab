package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

// doubts are what facts may name that are in the log and could not be indexed. Nobody was told that what they
// say is stored, if all is well. But a bucket of keys may have been lost and be brought back from its backup,
// and a tier be left out of the configuration for a day: what such a fact names must be there then.
//
//   - A fact that can be read, and of which a pack is missing, tells its other packs.
//   - A settled fact whose key is not there tells its packs in its clear header.
//   - A stored fact whose key is not there tells nothing but the key's name. The blobs of its packs are sealed
//     under that key (storage/FORMAT.md), and say so in their clear headers: a pack whose first blob
//     names another key is not one of its packs.
type doubts struct {
	keys  map[archive.KeyID]bool
	packs map[string]bool
}

func newDoubts() *doubts {
	return &doubts{map[archive.KeyID]bool{}, map[string]bool{}}
}

// add notes a fact that counts as never written, of which unopened ones have the clear header alone. d may be nil.
func (d *doubts) add(f *archive.Fact, unopened bool) {
	if d == nil {
		return
	}
	if unopened && f.Kind == archive.FactStored {
		d.keys[f.Key] = true
	}
	for i := range f.Packs {
		d.packs[f.Packs[i].Object] = true
	}
	for i := range f.Instances {
		d.packs[f.Instances[i].At.Object] = true
	}
}

// mayBeNeeded reports whether somebody may need a copy of a pack that nothing in the index names.
//
// What is in the hot store is the archive's own. Into the store of another tier another archive may move its packs,
// whose tenant has the same name: only what is sealed under a key of this archive is this
// archive's, and it has every such key, or the fact that closed it. What cannot be read there stays, too:
// it would have to be restored first.
func (r *Reconciler) mayBeNeeded(ctx context.Context, o orphan, attrs storage.Attrs, unread *doubts) (bool, error) {
	if unread.packs[o.key] {
		return true, nil
	}
	if o.store.own && len(unread.keys) == 0 {
		return false, nil
	}
	if attrs.Restore.State == driver.Archived || attrs.Restore.State == driver.Restoring {
		return true, nil
	}
	key, err := firstKey(ctx, o.store.Bucket, o.key)
	switch {
	case fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Archived):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("asking under which key a pack is sealed that nothing names: %w", err)
	case unread.keys[key]:
		return true, nil
	case o.store.own:
		return false, nil
	}
	switch _, err := r.o.Bucket.Stat(ctx, keys.KeyName(r.o.Tenant, key)); {
	case err == nil:
		return false, nil
	case !fault.Is(err, fault.NotFound):
		return false, fmt.Errorf("asking whether a pack that nothing names is of this archive: %w", err)
	}
	closed, err := r.o.Index.Closed(ctx, r.o.Tenant, key)
	if err != nil {
		return false, fmt.Errorf("asking whether a key was destroyed: %w", err)
	}
	return !closed, nil
}

// firstKey returns the key that a pack's first blob names. It is fault.Corrupt where there is none to be found.
func firstKey(ctx context.Context, b *storage.Bucket, object string) (archive.KeyID, error) {
	rd, err := b.Open(ctx, object, pack.HeaderSize, seal.HeaderSize)
	if err != nil {
		if fault.Is(err, fault.RangeInvalid) {
			err = fault.Wrap(fault.Corrupt, err, "a pack without blobs")
		}
		return archive.KeyID{}, err
	}
	defer rd.Close()
	head := make([]byte, seal.HeaderSize)
	if _, err := io.ReadFull(rd, head); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		head = nil
	} else if err != nil {
		return archive.KeyID{}, err
	}
	h, err := seal.ParseHeader(head)
	return h.Key, err
}
