package keys

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// KeyObject is a new study key's object, not stored yet.
type KeyObject struct {
	ID    archive.KeyID
	Name  string
	Bytes []byte
	since time.Time // when the KEK and its version were those that wrap
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
	kek, since := r.target()
	o, asked := object{ID: id, Study: study, aad: aad(keyMagic, r.o.Tenant, id, study)}, r.o.Now()
	if o.Wrapped, err = r.o.Wrapper.Wrap(ctx, kek, s[:], o.aad); err != nil {
		return id, s, obj, fmt.Errorf("wrapping a study key: %w", err)
	}
	r.proved(o, asked)
	r.cache.put(id, &s)
	return id, s, KeyObject{id, KeyName(r.o.Tenant, id), encode(keyMagic, id, study, o.Wrapped), since}, nil
}

// Commit makes the key object durable. It may be called again after an error.
//
// It returns nil only if that happened within [CommitWithin] of the moment at which
// the KEK and its version were those that wrap: a rewrap that begins [Settle] after
// those have changed sees every key that it must. A key that took longer, because
// the store hung or the process was stopped, is wrapped anew.
func (r *Ring) Commit(ctx context.Context, obj KeyObject) error {
	err := r.put(ctx, obj)
	for range renewals {
		if err != nil || r.o.Now().Sub(obj.since) <= CommitWithin {
			break
		}
		obj.since, err = r.renew(ctx, obj.ID)
	}
	if err == nil && r.o.Now().Sub(obj.since) > CommitWithin {
		err = fault.New(fault.Unavailable, "the store or the key provider is too slow for a new key; try again")
	}
	if err != nil {
		r.cache.drop(obj.ID)
		return fmt.Errorf("writing a study key: %w", err)
	}
	return nil
}

// renewals is how often a key that took too long is wrapped anew.
const renewals = 3

func (r *Ring) put(ctx context.Context, obj KeyObject) error {
	_, err := r.o.Bucket.Put(ctx, obj.Name, obj.Bytes, storage.CreateOptions{IfAbsent: true})
	if fault.Is(err, fault.Exists) {
		// By its random name it can only be what an earlier attempt left, or what a
		// rewrap has made of that. Another study's key it cannot be.
		there, rerr := r.object(ctx, obj.ID)
		_, study, _, derr := decode(keyMagic, obj.Bytes)
		if rerr == nil && derr == nil && there.Study == study {
			return nil
		}
	}
	return err
}

// renew wraps a key that is in the store anew, and returns since when it is under
// what wraps.
func (r *Ring) renew(ctx context.Context, id archive.KeyID) (since time.Time, err error) {
	kek, since := r.target()
	w, err := newRewrapper(ctx, RewrapOptions{Bucket: r.o.Bucket, Wrapper: r.o.Wrapper, Tenant: r.o.Tenant, KEK: kek})
	if err != nil {
		return since, err
	}
	found, err := w.one(ctx, id, true)
	if err == nil && found != changed {
		err = corrupt(ErrAbsent)
	}
	return since, err
}
