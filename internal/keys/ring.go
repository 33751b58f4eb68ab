package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Options open a ring. Bucket, Wrapper, KEK and Tenant are required.
type Options struct {
	Bucket  *storage.Bucket
	Wrapper Wrapper
	KEK     ID // wraps new keys; keys that are there name their own
	Tenant  archive.Tenant
	Rand    io.Reader // safe for concurrent use; nil is crypto/rand
	// CacheSize is how many unwrapped study keys are held; 0 is 4096.
	CacheSize int
	Now       func() time.Time // nil is time.Now
}

var errClosed = fault.New(fault.Unavailable, "the archive is being closed; try again when it runs")

// Ring is a tenant's keys in use. It is safe for concurrent use.
type Ring struct {
	o     Options
	cache *cache
	refs  *Refs

	ctx   context.Context // of fetches: it ends with Close
	stop  context.CancelFunc
	fetch sync.WaitGroup

	mu     sync.RWMutex // guards what follows
	closed bool
	kek    ID
	told   time.Time // when kek was last known to be the one; zero: nobody changes it
	uses   map[use]proof
	root   archive.Secret
	fact   archive.Secret
	digest archive.Secret
	calls  map[archive.KeyID]*call
}

// Open unwraps the tenant's root. A root is made for a tenant without any
// object; where there are objects and no root, the archive cannot be opened.
// Errors are fault.Corrupt, fault.KeyDenied, fault.KeyUnreachable and those of the store.
func Open(ctx context.Context, o Options) (_ *Ring, err error) {
	if !o.Tenant.Valid() {
		return nil, errName
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 4096
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Ring{o: o, kek: o.KEK, cache: newCache(o.CacheSize), calls: map[archive.KeyID]*call{}, uses: map[use]proof{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	object, err := r.object(ctx, archive.KeyID{})
	if fault.Is(err, fault.Corrupt) && errors.Is(err, ErrAbsent) {
		if err = r.makeRoot(ctx); err == nil {
			object, err = r.object(ctx, archive.KeyID{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tenant's root key: %w", err)
	}
	if r.root, err = r.unwrap(ctx, object); err != nil {
		return nil, fmt.Errorf("unwrapping the tenant's root key: %w", err)
	}
	if r.kek == "" {
		r.kek = object.Wrapped.KEK
	}
	var ref archive.Secret
	defer ref.Wipe()
	for purpose, to := range map[string]*archive.Secret{"fact": &r.fact, "ref": &ref, "digest": &r.digest} {
		if *to, err = r.Derive(purpose); err != nil {
			return nil, err
		}
	}
	r.refs = &Refs{keyed: newKeyed(&ref)}
	return r, nil
}

// RootName returns the name of a tenant root's object.
func RootName(t archive.Tenant) string { return string(t) + "/root/1" }

// Holds reports whether an object's name is one of wrapped keys, which may lie
// in a bucket of their own.
func Holds(name string) bool {
	_, rest, _ := strings.Cut(name, "/")
	return strings.HasPrefix(rest, "key/") || strings.HasPrefix(rest, "root/") || strings.HasPrefix(rest, "escrow/")
}

// KEK returns which KEK wraps new keys.
func (r *Ring) KEK() ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.kek
}

// SetKEK says which KEK wraps new keys from now on, as whoever decides it was asked
// at the time. Who changes the KEK of an open ring says so again and again: what
// was wrapped long after the last time is not believed to be under the right one.
func (r *Ring) SetKEK(kek ID, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kek, r.told = kek, asked
}

// target returns the KEK that wraps new keys, and since when that is not known any better.
func (r *Ring) target() (kek ID, since time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	since = r.o.Now()
	if !r.told.IsZero() && r.told.Before(since) {
		since = r.told
	}
	return r.kek, since
}

// KeyName returns the name of a study key's object.
func KeyName(t archive.Tenant, id archive.KeyID) string { return string(t) + "/key/" + id.String() }

// Create makes the root of a new tenant. fault.Exists says that there is one, which
// stays as it is; other errors are those of [Open].
func Create(ctx context.Context, o Options) error {
	if !o.Tenant.Valid() {
		return errName
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	r := &Ring{o: o, kek: o.KEK}
	return r.putRoot(ctx)
}

var errName = fault.New(fault.Invalid, "a tenant's name has lower-case letters, digits and hyphens, at most 63")

// makeRoot writes a new root unless the tenant has anything already. Another
// node's root is as good.
func (r *Ring) makeRoot(ctx context.Context) error {
	page, err := r.o.Bucket.List(ctx, string(r.o.Tenant)+"/", "", 1)
	if err != nil {
		return err
	}
	if len(page.Objects) > 0 {
		// Another node may have made the root since this one looked.
		if _, err := r.o.Bucket.Stat(ctx, RootName(r.o.Tenant)); !fault.Is(err, fault.NotFound) {
			return err
		}
		return fault.Wrap(fault.Corrupt, ErrAbsent,
			"the archive holds data, but its root key %s is not in the store; restore that object from a copy", RootName(r.o.Tenant))
	}
	if err := r.putRoot(ctx); !fault.Is(err, fault.Exists) {
		return err
	}
	return nil // another node was faster
}

// putRoot draws and writes a root; fault.Exists where there is one.
func (r *Ring) putRoot(ctx context.Context) error {
	var secret archive.Secret
	defer secret.Wipe()
	if _, err := io.ReadFull(r.o.Rand, secret[:]); err != nil {
		return fmt.Errorf("drawing a root key: %w", err)
	}
	w, err := r.o.Wrapper.Wrap(ctx, r.KEK(), secret[:], aad(rootMagic, r.o.Tenant, archive.KeyID{}, archive.Ref{}))
	if err != nil {
		return err
	}
	b := encode(rootMagic, archive.KeyID{}, archive.Ref{}, w)
	_, err = r.o.Bucket.Put(ctx, RootName(r.o.Tenant), b, storage.CreateOptions{IfAbsent: true})
	return err
}

// object is a wrapped key with what binds it to its place.
type object struct {
	Wrapped Wrapped
	ID      archive.KeyID // zero: the root
	Study   archive.Ref
	aad     []byte
}

// object reads the key object of the id; the zero id names the root. Its errors
// are fault.Corrupt (wrapping ErrAbsent when it is not there) and those of the store.
func (r *Ring) object(ctx context.Context, id archive.KeyID) (object, error) {
	magic, name := place(r.o.Tenant, id)
	b, err := r.o.Bucket.Get(ctx, name, maxObject)
	if fault.Is(err, fault.NotFound) {
		return object{}, corrupt(ErrAbsent)
	}
	if err != nil {
		return object{}, fmt.Errorf("reading a key object: %w", err)
	}
	return parseObject(magic, r.o.Tenant, id, b)
}

// parseObject decodes a key object that was read under the name of the id.
func parseObject(magic string, t archive.Tenant, id archive.KeyID, b []byte) (object, error) {
	named, study, w, err := decode(magic, b)
	if err == nil && (named != id || id == archive.KeyID{} && study != archive.Ref{}) {
		err = corrupt(ErrPlace)
	}
	if err != nil {
		return object{}, fmt.Errorf("reading a key object: %w", err)
	}
	return object{w, id, study, aad(magic, t, id, study)}, nil
}

// unwrap asks the provider for the key, which proves that it still gives it.
func (r *Ring) unwrap(ctx context.Context, o object) (archive.Secret, error) {
	asked := r.o.Now()
	key, err := r.o.Wrapper.Unwrap(ctx, o.Wrapped, o.aad)
	if err != nil {
		return archive.Secret{}, err
	}
	defer clear(key)
	if len(key) != len(archive.Secret{}) {
		return archive.Secret{}, corrupt(ErrLength)
	}
	r.proved(o, asked)
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
	return r.refs.Ref(uid)
}

// Refs returns what gives references after Close as well: for who may still be
// at work then and must not make wrong ones, and drops it when done.
func (r *Ring) Refs() *Refs { return r.refs }

// Refs gives the keyed hashes of UIDs. It is safe for concurrent use.
type Refs struct {
	keyed *blake3.Hasher
	pool  sync.Pool // *blake3.Hasher, clones of keyed
}

// Ref returns the keyed hash of a UID.
func (r *Refs) Ref(uid string) archive.Ref {
	h, ok := r.pool.Get().(*blake3.Hasher)
	if !ok {
		h = r.keyed.Clone()
	}
	defer r.pool.Put(h)
	h.Reset()
	_, _ = h.WriteString(uid)
	var sum [32]byte
	h.Sum(sum[:0])
	return archive.Ref(sum[:16])
}

func newKeyed(s *archive.Secret) *blake3.Hasher {
	h, err := blake3.NewKeyed(s[:])
	if err != nil {
		panic(err) // only a key that is not 32 bytes long is refused
	}
	return h
}

// Digest returns a hash that gives the tenant-keyed BLAKE3-256 of an instance.
// It panics after Close, where a digest would be wrong.
func (r *Ring) Digest() hash.Hash {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		panic("keys: the ring is closed")
	}
	return newKeyed(&r.digest)
}

// Close waits for fetches to end and wipes every key. Nobody may use the ring afterwards.
func (r *Ring) Close() {
	r.stop()
	r.mu.Lock()
	r.closed = true
	for _, s := range []*archive.Secret{&r.root, &r.fact, &r.digest} {
		s.Wipe()
	}
	r.mu.Unlock()
	r.fetch.Wait()
	r.cache.close()
}
