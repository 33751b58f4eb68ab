package keys

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// KeyObject is a new study key's object, not stored yet.
type KeyObject struct {
	ID    archive.KeyID
	Name  string
	Bytes []byte
}

// NewStudyKey draws a key for the study. It is not stored before Commit.
func (r *Ring) NewStudyKey(ctx context.Context, study archive.Ref) (id archive.KeyID, s archive.Secret, obj KeyObject, err error) {
	var both [len(id) + len(s)]byte
	defer clear(both[:])
	if r.ctx.Err() != nil {
		return id, s, obj, errClosed
	}
	if _, err = io.ReadFull(r.o.Rand, both[:]); err != nil {
		return id, s, obj, fmt.Errorf("drawing a study key: %w", err)
	}
	copy(id[:], both[:])
	copy(s[:], both[len(id):])
	o, asked := object{ID: id, Study: study, aad: aad(keyMagic, r.o.Tenant, id, study)}, r.o.Now()
	if o.Wrapped, err = r.o.Wrapper.Wrap(ctx, r.KEK(), s[:], o.aad); err != nil {
		return id, s, obj, fmt.Errorf("wrapping a study key: %w", err)
	}
	r.proved(o, asked)
	r.cache.put(id, &s)
	return id, s, KeyObject{id, KeyName(r.o.Tenant, id), encode(keyMagic, id, study, o.Wrapped)}, nil
}

// Commit makes the key object durable. It may be called again after an error.
func (r *Ring) Commit(ctx context.Context, obj KeyObject) error {
	_, err := r.o.Bucket.Put(ctx, obj.Name, obj.Bytes, storage.CreateOptions{IfAbsent: true})
	if fault.Is(err, fault.Exists) {
		// By its random name it can only be what an earlier attempt left.
		if b, err := r.o.Bucket.Get(ctx, obj.Name, maxObject); err == nil && bytes.Equal(b, obj.Bytes) {
			return nil
		}
	}
	if err != nil {
		r.cache.drop(obj.ID)
		return fmt.Errorf("writing a study key: %w", err)
	}
	return nil
}
