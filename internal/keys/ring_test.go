package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// world is a store and a provider, and what opens rings over them.
type world struct {
	mem    *memstore.Store
	faults *faultstore.Store
	bucket *storage.Bucket
	kek    *keystest.Provider
}

func newWorld() *world {
	mem := memstore.New(memstore.Options{})
	f := faultstore.New(mem, nil)
	return &world{mem, f, storage.New(f.Driver), keystest.NewProvider("kek", 7)}
}

func (w *world) options(tenant archive.Tenant) keys.Options {
	return keys.Options{Bucket: w.bucket, Wrapper: w.kek, KEK: "kek", Tenant: tenant}
}

func (w *world) open(t testing.TB, tenant archive.Tenant) *keys.Ring {
	t.Helper()
	r, err := keys.Open(t.Context(), w.options(tenant))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// newKey makes and commits a study key.
func newKey(t testing.TB, r *keys.Ring) (archive.KeyID, archive.Secret) {
	t.Helper()
	id, s, obj, err := r.NewStudyKey(t.Context(), r.Ref("1.2.3"))
	if err == nil {
		err = r.Commit(t.Context(), obj)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id, s
}

// move copies an object to another name and removes nothing.
func (w *world) move(t *testing.T, from, to string, change func([]byte) []byte) {
	t.Helper()
	b, err := w.bucket.Get(t.Context(), from, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		b = change(b)
	}
	if _, err := w.bucket.Put(t.Context(), to, b, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	w := newWorld()
	r := w.open(t, "a")
	id, secret := newKey(t, r)
	fact, err := r.Secret(t.Context(), archive.KeyID{})
	if err != nil {
		t.Fatal(err)
	}
	index, err := r.Derive("index/rows")
	if err != nil {
		t.Fatal(err)
	}
	ref, digest := r.Ref("1.2.840.1"), r.Digest()
	digest.Write([]byte("x"))
	sum := digest.Sum(nil)
	r.Close()

	r = w.open(t, "a")
	if s, err := r.Secret(t.Context(), id); err != nil || s != secret {
		t.Errorf("the study key: %v", err)
	}
	if s, err := r.Secret(t.Context(), archive.KeyID{}); err != nil || s != fact {
		t.Errorf("the fact key: %v", err)
	}
	if s, err := r.Derive("index/rows"); err != nil || s != index {
		t.Errorf("a derived key: %v", err)
	}
	digest = r.Digest()
	digest.Write([]byte("x"))
	if r.Ref("1.2.840.1") != ref || !bytes.Equal(digest.Sum(nil), sum) {
		t.Error("references or digests are others after opening again")
	}
}

// TestApart: purposes, tenants and studies have keys of their own.
func TestApart(t *testing.T) {
	w := newWorld()
	a, b := w.open(t, "a"), w.open(t, "b")
	seen := map[archive.Secret]string{}
	add := func(name string, s archive.Secret, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[s]; other != "" || s == (archive.Secret{}) {
			t.Errorf("%s is the same as %s", name, other)
		}
		seen[s] = name
	}
	for name, r := range map[string]*keys.Ring{"a": a, "b": b} {
		for _, purpose := range []string{"index/rows", "index/tokens", "ref", "digest", ""} {
			s, err := r.Derive(purpose)
			add(name+" "+purpose, s, err)
		}
		s, err := r.Secret(t.Context(), archive.KeyID{})
		add(name+" fact", s, err)
		for i := range 3 {
			_, s := newKey(t, r)
			add(fmt.Sprint(name, " study ", i), s, nil)
		}
	}
	ref := a.Ref("1.2.3")
	if ref == b.Ref("1.2.3") || ref == a.Ref("1.2.4") || ref != a.Ref("1.2.3") {
		t.Error("references of two tenants or UIDs are the same, or of one are not")
	}
}

// TestMissing: what is wrong with key objects is told, each in its way.
func TestMissing(t *testing.T) {
	w := newWorld()
	a, b := w.open(t, "a"), w.open(t, "b")
	id, _ := newKey(t, a)
	other, _ := newKey(t, a)
	name := keys.KeyName("a", id)
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b = bytes.Clone(b); b[(i+len(b))%len(b)] ^= 1; return b }
	}
	for _, c := range []struct {
		name     string
		from, to string
		change   func([]byte) []byte
		ring     *keys.Ring
		id       archive.KeyID
		reason   error // that is wrapped, if any
	}{
		{"absent", "", "", nil, a, archive.KeyID{1}, keys.ErrAbsent},
		{"of another key", keys.KeyName("a", other), name, nil, a, id, keys.ErrPlace},
		{"of another tenant", name, keys.KeyName("b", id), nil, b, id, nil},
		{"a root", "a/root/1", keys.KeyName("a", archive.KeyID{}), nil, a, archive.KeyID{2}, keys.ErrAbsent},
		{"a root as key", "a/root/1", keys.KeyName("a", archive.KeyID{3}), nil, a, archive.KeyID{3}, keys.ErrVersion},
		{"empty", name, keys.KeyName("a", archive.KeyID{4}), cut(0), a, archive.KeyID{4}, keys.ErrVersion},
		{"cut in the head", name, name, cut(40), a, id, keys.ErrLength},
		{"another study", name, name, flip(40), a, id, nil},
		{"changed at the end", name, name, flip(-1), a, id, nil},
		{"another version", name, name, flip(1), a, id, keys.ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.from != "" {
				keep, err := w.bucket.Get(t.Context(), name, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				w.move(t, c.from, c.to, c.change)
				defer func() {
					if _, err := w.bucket.Put(t.Context(), name, keep, storage.CreateOptions{}); err != nil {
						t.Error(err)
					}
				}()
			}
			fresh := w.open(t, map[*keys.Ring]archive.Tenant{a: "a", b: "b"}[c.ring])
			s, err := fresh.Secret(t.Context(), c.id)
			if !fault.Is(err, fault.Corrupt) || c.reason != nil && !errors.Is(err, c.reason) || s != (archive.Secret{}) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	w := newWorld()
	w.open(t, "a")
	ctx := t.Context()
	opening := func(tenant archive.Tenant, want fault.Kind, message string) {
		t.Helper()
		r, err := keys.Open(ctx, w.options(tenant))
		if !fault.Is(err, want) || !strings.Contains(err.Error(), message) || r != nil {
			t.Errorf("opening: %v, want %v with %q", err, want, message)
		}
	}
	// Another tenant's root is none.
	w.move(t, "a/root/1", "b/root/1", nil)
	opening("b", fault.Corrupt, "")
	// A tenant with data and no root is not given a new one.
	if _, err := w.bucket.Put(ctx, "c/pack/x", nil, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	opening("c", fault.Corrupt, "c/root/1 is not in the store")
	if ok, _ := w.bucket.Exists(ctx, "c/root/1"); ok {
		t.Error("a root was made over data")
	}
	opening("Not/valid", fault.Invalid, "tenant")
	w.kek.Deny()
	opening("a", fault.KeyDenied, "disabled")
	opening("d", fault.KeyDenied, "disabled")
	w.kek.Silence()
	opening("a", fault.KeyUnreachable, "")
	w.kek.Allow()
	if ok, _ := w.bucket.Exists(ctx, "d/root/1"); ok {
		t.Error("a root was stored that was never wrapped")
	}
	w.open(t, "a")
	w.open(t, "d")
	w.faults.Crash()
	opening("a", fault.Unavailable, "")
}

// TestRootRace: of nodes that start at once on an empty store all get one root.
func TestRootRace(t *testing.T) {
	w := newWorld()
	var refs [8]archive.Ref
	var wg sync.WaitGroup
	for i := range refs {
		wg.Go(func() {
			r, err := keys.Open(t.Context(), w.options("a"))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			refs[i] = r.Ref("1.2.3")
		})
	}
	wg.Wait()
	for _, ref := range refs {
		if ref != refs[0] {
			t.Fatal("two nodes have different roots")
		}
	}
}

// TestRevoked: a refused key is not served once it has left the memory, and is again when granted.
func TestRevoked(t *testing.T) {
	w := newWorld()
	id, secret := newKey(t, w.open(t, "a"))
	r := w.open(t, "a")
	w.kek.Deny()
	for range 2 { // a refusal is not remembered as anything else
		if _, err := r.Secret(t.Context(), id); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("denied: %v", err)
		}
	}
	if _, _, _, err := r.NewStudyKey(t.Context(), archive.Ref{1}); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("a new key: %v", err)
	}
	w.kek.Silence()
	if _, err := r.Secret(t.Context(), id); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("silent: %v", err)
	}
	w.kek.Allow()
	if s, err := r.Secret(t.Context(), id); err != nil || s != secret {
		t.Errorf("granted again: %v", err)
	}
}

// TestOneUnwrap: many who want a key wait for one unwrap; who goes away spoils nothing.
func TestOneUnwrap(t *testing.T) {
	w := newWorld()
	id, secret := newKey(t, w.open(t, "a"))
	r := w.open(t, "a")
	_, before := w.kek.Calls()
	release := w.kek.Hold()
	defer release()
	gone, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.Secret(gone, id)
		left <- err
	}()
	for n := before; n == before; _, n = w.kek.Calls() {
		// until the unwrap is under way
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if s, err := r.Secret(t.Context(), id); err != nil || s != secret {
				t.Errorf("a waiter: %v", err)
			}
		})
	}
	cancel()
	if err := <-left; !fault.Is(err, fault.Canceled) {
		t.Errorf("who went away: %v", err)
	}
	release()
	wg.Wait()
	if _, n := w.kek.Calls(); n != before+1 {
		t.Errorf("%d unwraps for one key", n-before)
	}
}

// TestBound: the cache forgets the least recently used key and no other.
func TestBound(t *testing.T) {
	w := newWorld()
	o := w.options("a")
	o.CacheSize = 2
	r, err := keys.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ids []archive.KeyID
	var secrets []archive.Secret
	for range 4 {
		id, s := newKey(t, r)
		ids, secrets = append(ids, id), append(secrets, s)
	}
	unwraps := func(i int) int {
		_, before := w.kek.Calls()
		if s, err := r.Secret(t.Context(), ids[i]); err != nil || s != secrets[i] {
			t.Errorf("key %d: %v", i, err)
		}
		_, after := w.kek.Calls()
		return after - before
	}
	for _, c := range []struct{ key, unwraps int }{{3, 0}, {2, 0}, {0, 1}, {2, 0}, {3, 1}, {0, 1}, {3, 0}} {
		if n := unwraps(c.key); n != c.unwraps {
			t.Errorf("key %d took %d unwraps, want %d", c.key, n, c.unwraps)
		}
	}
}

// TestInjected: with given randomness key objects are the same bytes again, but for the provider's part.
func TestInjected(t *testing.T) {
	run := func() (archive.KeyID, archive.Ref) {
		w := newWorld()
		o := w.options("a")
		o.Rand = rand.NewChaCha8([32]byte{1})
		r, err := keys.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		id, _ := newKey(t, r)
		return id, r.Ref("1.2.3")
	}
	id1, ref1 := run()
	id2, ref2 := run()
	if id1 != id2 || ref1 != ref2 {
		t.Error("the same randomness gives other keys")
	}
}

func BenchmarkSecret(b *testing.B) {
	w := newWorld()
	r := w.open(b, "a")
	id, _ := newKey(b, r)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Secret(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRef(b *testing.B) {
	w := newWorld()
	r := w.open(b, "a")
	b.ReportAllocs()
	for b.Loop() {
		r.Ref("1.2.840.113619.2.55.3.604688119.971.1234567890.1")
	}
}
