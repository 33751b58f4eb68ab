package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/singleflight"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Options open a ring. Bucket, Wrapper, KEK and Tenant are required.
type Options struct {
	Bucket  *storage.Bucket
	Wrapper Wrapper
	KEK     ID
	Tenant  archive.Tenant
	Rand    io.Reader        // nil is crypto/rand
	Now     func() time.Time // nil is time.Now
	// CacheSize is how many unwrapped study keys are held; 0 is 4096.
	CacheSize int
}

// Ring is a tenant's keys in use. It is safe for concurrent use.
type Ring struct {
	o       Options
	root    archive.Secret
	fact    archive.Secret
	ref     archive.Secret
	digest  archive.Secret
	cache   *cache
	flight  singleflight.Group
	hashers sync.Pool // *blake3.Hasher keyed for references
}

// Open unwraps the tenant's root. A root is made for a tenant without any
// object; where there are objects and no root, the archive cannot be opened.
// Errors are fault.Corrupt, fault.KeyDenied, fault.KeyUnreachable and those of the store.
func Open(ctx context.Context, o Options) (*Ring, error) {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 4096
	}
	r := &Ring{o: o, cache: newCache(o.CacheSize)}
	b, err := o.Bucket.Get(ctx, r.rootName(), maxObject)
	if fault.Is(err, fault.NotFound) {
		b, err = r.makeRoot(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tenant's root key: %w", err)
	}
	id, study, w, err := decode(rootMagic, b)
	if err == nil && (id != archive.KeyID{} || study != archive.Ref{}) {
		err = corrupt(ErrPlace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tenant's root key: %w", err)
	}
	if r.root, err = r.unwrap(ctx, w, aad(rootMagic, o.Tenant, id, study)); err != nil {
		return nil, fmt.Errorf("unwrapping the tenant's root key: %w", err)
	}
	for purpose, to := range map[string]*archive.Secret{"fact": &r.fact, "ref": &r.ref, "digest": &r.digest} {
		if *to, err = r.Derive(purpose); err != nil {
			return nil, err
		}
	}
	r.hashers.New = func() any { return keyed(&r.ref) }
	return r, nil
}

func keyed(s *archive.Secret) *blake3.Hasher {
	h, err := blake3.NewKeyed(s[:])
	if err != nil {
		panic(err) // only a key that is not 32 bytes long is refused
	}
	return h
}

func (r *Ring) rootName() string { return string(r.o.Tenant) + "/root/1" }

// KeyName returns the name of a study key's object.
func KeyName(t archive.Tenant, id archive.KeyID) string { return string(t) + "/key/" + id.String() }

// makeRoot writes a new root unless the tenant has anything already.
func (r *Ring) makeRoot(ctx context.Context) ([]byte, error) {
	page, err := r.o.Bucket.List(ctx, string(r.o.Tenant)+"/", "", 1)
	if err != nil {
		return nil, err
	}
	if len(page.Objects) > 0 {
		// Another node may have made the root since this one looked.
		if b, err := r.o.Bucket.Get(ctx, r.rootName(), maxObject); !fault.Is(err, fault.NotFound) {
			return b, err
		}
		return nil, fault.Wrap(fault.Corrupt, ErrAbsent,
			"the archive holds data, but its root key %s is not in the store; restore that object from a copy", r.rootName())
	}
	var secret archive.Secret
	defer secret.Wipe()
	if _, err := io.ReadFull(r.o.Rand, secret[:]); err != nil {
		return nil, fmt.Errorf("drawing a root key: %w", err)
	}
	w, err := r.o.Wrapper.Wrap(ctx, r.o.KEK, secret[:], aad(rootMagic, r.o.Tenant, archive.KeyID{}, archive.Ref{}))
	if err != nil {
		return nil, err
	}
	b := encode(rootMagic, archive.KeyID{}, archive.Ref{}, w)
	_, err = r.o.Bucket.Put(ctx, r.rootName(), b, storage.CreateOptions{IfAbsent: true})
	if fault.Is(err, fault.Exists) { // another node was faster
		return r.o.Bucket.Get(ctx, r.rootName(), maxObject)
	}
	return b, err
}

func (r *Ring) unwrap(ctx context.Context, w Wrapped, aad []byte) (archive.Secret, error) {
	key, err := r.o.Wrapper.Unwrap(ctx, w, aad)
	if err != nil {
		return archive.Secret{}, err
	}
	defer clear(key)
	if len(key) != len(archive.Secret{}) {
		return archive.Secret{}, corrupt(ErrLength)
	}
	return archive.Secret(key), nil
}

// Derive returns the tenant's secret for a purpose: HKDF-SHA256 of the root
// with info "strata/1/", purpose, a zero byte and the tenant's name (RFC 5869).
func (r *Ring) Derive(purpose string) (archive.Secret, error) {
	b, err := hkdf.Key(sha256.New, r.root[:], nil, "strata/1/"+purpose+"\x00"+string(r.o.Tenant), len(archive.Secret{}))
	if err != nil {
		return archive.Secret{}, fmt.Errorf("deriving a key: %w", err)
	}
	defer clear(b)
	return archive.Secret(b), nil
}

// Ref returns the keyed hash of a UID: what may be written down of it.
func (r *Ring) Ref(uid string) archive.Ref {
	h := r.hashers.Get().(*blake3.Hasher)
	defer r.hashers.Put(h)
	h.Reset()
	h.WriteString(uid)
	var sum [32]byte
	h.Sum(sum[:0])
	return archive.Ref(sum[:16])
}

// Digest returns a hash that gives the tenant-keyed BLAKE3-256 of an instance.
func (r *Ring) Digest() hash.Hash { return keyed(&r.digest) }

// Secret returns the key of the id, for the caller to wipe; the zero id names
// the key of facts that are not sealed under a study. Errors are fault.Corrupt
// (wrapping ErrAbsent when the object is not there), fault.KeyDenied,
// fault.KeyUnreachable and those of the store.
func (r *Ring) Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	if id == (archive.KeyID{}) {
		return r.fact, nil
	}
	if s, ok := r.cache.get(id); ok {
		return s, nil
	}
	// One unwrap serves all who wait for it; a waiter that goes away does not stop it.
	done := r.flight.DoChan(string(id[:]), func() (any, error) {
		s, err := r.load(context.WithoutCancel(ctx), id)
		if err == nil {
			r.cache.put(id, s)
		}
		s.Wipe()
		return nil, err
	})
	select {
	case <-ctx.Done():
		return archive.Secret{}, fault.Wrap(fault.KindOf(ctx.Err()), ctx.Err(), "waiting for a key")
	case res := <-done:
		if res.Err != nil {
			return archive.Secret{}, res.Err
		}
	}
	if s, ok := r.cache.get(id); ok {
		return s, nil
	}
	return r.load(ctx, id) // evicted at once by many others
}

func (r *Ring) load(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	b, err := r.o.Bucket.Get(ctx, KeyName(r.o.Tenant, id), maxObject)
	if fault.Is(err, fault.NotFound) {
		return archive.Secret{}, corrupt(ErrAbsent)
	}
	if err != nil {
		return archive.Secret{}, fmt.Errorf("reading a key object: %w", err)
	}
	named, study, w, err := decode(keyMagic, b)
	if err == nil && named != id {
		err = corrupt(ErrPlace)
	}
	if err != nil {
		return archive.Secret{}, fmt.Errorf("reading a key object: %w", err)
	}
	s, err := r.unwrap(ctx, w, aad(keyMagic, r.o.Tenant, id, study))
	if err != nil {
		return archive.Secret{}, fmt.Errorf("unwrapping a study key: %w", err)
	}
	return s, nil
}

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
	if _, err = io.ReadFull(r.o.Rand, both[:]); err != nil {
		return id, s, obj, fmt.Errorf("drawing a study key: %w", err)
	}
	copy(id[:], both[:])
	copy(s[:], both[len(id):])
	w, err := r.o.Wrapper.Wrap(ctx, r.o.KEK, s[:], aad(keyMagic, r.o.Tenant, id, study))
	if err != nil {
		return id, s, obj, fmt.Errorf("wrapping a study key: %w", err)
	}
	r.cache.put(id, s)
	return id, s, KeyObject{id, KeyName(r.o.Tenant, id), encode(keyMagic, id, study, w)}, nil
}

// Commit makes the key object durable.
func (r *Ring) Commit(ctx context.Context, obj KeyObject) error {
	if _, err := r.o.Bucket.Put(ctx, obj.Name, obj.Bytes, storage.CreateOptions{IfAbsent: true}); err != nil {
		r.cache.drop(obj.ID)
		return fmt.Errorf("writing a study key: %w", err)
	}
	return nil
}

// Close wipes every key.
func (r *Ring) Close() {
	r.cache.wipe()
	for _, s := range []*archive.Secret{&r.root, &r.fact, &r.ref, &r.digest} {
		s.Wipe()
	}
}
