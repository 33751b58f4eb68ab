package keys

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/storage"
)

// Destroy destroys every version of the object of a study key, and then of what
// is wrapped of it for recovery keys: whoever makes such a copy looks, when it is
// written, whether the key is still there. Destroying again is no error.
func Destroy(ctx context.Context, b *storage.Bucket, t archive.Tenant, id archive.KeyID) error {
	if err := b.Purge(ctx, KeyName(t, id)); err != nil {
		return fmt.Errorf("destroying a study key: %w", err)
	}
	if err := PurgeEscrow(ctx, b, t, id); err != nil {
		return fmt.Errorf("destroying a study key in escrow: %w", err)
	}
	return nil
}

// Remains reports whether an object of the key can be seen: its own, or one in escrow.
func Remains(ctx context.Context, b *storage.Bucket, t archive.Tenant, id archive.KeyID) (yes bool, err error) {
	if yes, err = b.Exists(ctx, KeyName(t, id)); err != nil || yes {
		return yes, err
	}
	err = eachFolder(ctx, b, t, func(folder string) error {
		there, err := b.Exists(ctx, folder+id.String())
		yes = yes || there
		return err
	})
	return yes, err
}

// Drop forgets study keys that were destroyed; a fetch of one that is under way
// serves those who wait for it and nobody else.
func (r *Ring) Drop(ids ...archive.KeyID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if c := r.calls[id]; c != nil {
			c.dropped = true
		}
		r.cache.drop(id)
	}
}
