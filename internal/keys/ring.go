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

	"github.com/zeebo/blake3"

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
	Rand    io.Reader // safe for concurrent use; nil is crypto/rand
	// CacheSize is how many unwrapped study keys are held; 0 is 4096.
	CacheSize int
}

var errClosed = fault.New(fault.Unavailable, "the archive is being closed; try again when it runs")

// Ring is a tenant's keys in use. It is safe for concurrent use.
type Ring struct {
	o       Options
	cache   *cache
	hashers sync.Pool // *blake3.Hasher keyed for references

	ctx   context.Context // of fetches: it ends with Close
	stop  context.CancelFunc
	fetch sync.WaitGroup

	mu     sync.RWMutex // guards what follows
	closed bool
	root   archive.Secret
	fact   archive.Secret
	ref    archive.Secret
	digest archive.Secret
	calls  map[archive.KeyID]*call
}

// Open unwraps the tenant's root. A root is made for a tenant without any
// object; where there are objects and no root, the archive cannot be opened.
// Errors are fault.Corrupt, fault.KeyDenied, fault.KeyUnreachable and those of the store.
func Open(ctx context.Context, o Options) (_ *Ring, err error) {
	if !o.Tenant.Valid() {
		return nil, fault.New(fault.Invalid, "a tenant's name has lower-case letters, digits and hyphens, at most 63")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 4096
	}
	r := &Ring{o: o, cache: newCache(o.CacheSize), calls: map[archive.KeyID]*call{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
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
	return r, nil
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
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return archive.Secret{}, errClosed
	}
	b, err := hkdf.Key(sha256.New, r.root[:], nil, "strata/1/"+purpose+"\x00"+string(r.o.Tenant), len(archive.Secret{}))
	if err != nil {
		return archive.Secret{}, fmt.Errorf("deriving a key: %w", err)
	}
	defer clear(b)
	return archive.Secret(b), nil
}

// Ref returns the keyed hash of a UID: what may be written down of it. It
// panics after Close, where a reference would be wrong.
func (r *Ring) Ref(uid string) archive.Ref {
	if r.ctx.Err() != nil {
		panic("keys: the ring is closed")
	}
	h, ok := r.hashers.Get().(*blake3.Hasher)
	if !ok {
		h = r.keyed(&r.ref)
	}
	defer r.hashers.Put(h)
	h.Reset()
	_, _ = h.WriteString(uid)
	var sum [32]byte
	h.Sum(sum[:0])
	return archive.Ref(sum[:16])
}

// Digest returns a hash that gives the tenant-keyed BLAKE3-256 of an instance.
// It panics after Close, where a digest would be wrong.
func (r *Ring) Digest() hash.Hash { return r.keyed(&r.digest) }

func (r *Ring) keyed(s *archive.Secret) *blake3.Hasher {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		panic("keys: the ring is closed")
	}
	h, err := blake3.NewKeyed(s[:])
	if err != nil {
		panic(err) // only a key that is not 32 bytes long is refused
	}
	return h
}

// Close waits for fetches to end and wipes every key. Nobody may use the ring afterwards.
func (r *Ring) Close() {
	r.stop()
	r.mu.Lock()
	r.closed = true
	for _, s := range []*archive.Secret{&r.root, &r.fact, &r.ref, &r.digest} {
		s.Wipe()
	}
	r.mu.Unlock()
	r.fetch.Wait()
	r.cache.close()
}
