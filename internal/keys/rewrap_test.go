package keys_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/storage/faultstore"
)

func (w *world) rewrap(kek keys.ID) keys.RewrapOptions {
	return keys.RewrapOptions{Bucket: w.bucket, Wrapper: w.kek, Tenant: "a", KEK: kek}
}

// study keys by id, to be found again.
type known map[archive.KeyID]archive.Secret

func (w *world) makeKeys(t testing.TB, n int) known {
	t.Helper()
	r, made := w.open(t, "a"), known{}
	for range n {
		id, s := newKey(t, r)
		made[id] = s
	}
	return made
}

// open checks that a ring gives each of the keys.
func (k known) open(t testing.TB, what string, r *keys.Ring) {
	t.Helper()
	for id, want := range k {
		if s, err := r.Secret(t.Context(), id); err != nil || s != want {
			t.Fatalf("%s: a key does not open: %v", what, err)
		}
	}
}

func (w *world) retire(t testing.TB, before string) {
	t.Helper()
	if err := w.kek.Retire(t.Context(), "kek", before); err != nil {
		t.Fatal(err)
	}
}

func TestRewrap(t *testing.T) {
	w := newWorld()
	made := w.makeKeys(t, 20)
	before := w.open(t, "a")
	made.open(t, "before", before)
	w.rotate(t)
	o, calls := w.rewrap("kek"), 0
	o.Progress = func(p keys.Pass) {
		if calls++; p.Seen != int64(calls) {
			t.Errorf("told of %d objects in call %d", p.Seen, calls)
		}
	}
	p, err := keys.Rewrap(t.Context(), o)
	if err != nil || p.Seen != 21 || p.Changed != 21 || calls != 21 || p.Target != (keys.Version{KEK: "kek", Version: "2"}) {
		t.Fatalf("%+v in %d calls, %v", p, calls, err)
	}
	if p, err = keys.Rewrap(t.Context(), w.rewrap("kek")); err != nil || p.Seen != 21 || p.Changed != 0 {
		t.Errorf("again: %+v, %v", p, err)
	}
	c, err := keys.TakeCensus(t.Context(), w.bucket, "a")
	if err != nil || len(c.Keys) != 1 || c.Keys[p.Target] != 21 || c.Damaged != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	w.retire(t, "2")
	made.open(t, "after", w.open(t, "a"))
	before.Wipe()
	made.open(t, "in a ring that was open all along", before)
	if err := before.Prove(t.Context(), 0); err != nil { // it was opened under what is no more
		t.Error(err)
	}
}

// TestRewrapFinds: what cannot be wrapped anew keeps nothing else from it.
func TestRewrapFinds(t *testing.T) {
	w := newWorld()
	retired := w.makeKeys(t, 1)
	w.rotate(t)
	if _, err := keys.Rewrap(t.Context(), func() keys.RewrapOptions {
		o := w.rewrap("kek")
		done := 0
		o.Parallel = 1
		o.Progress = func(keys.Pass) { done++ }
		o.Allowed = func() error { // the root, and no more
			if done > 0 {
				return fault.New(fault.Forbidden, "stop")
			}
			return nil
		}
		return o
	}()); !fault.Is(err, fault.Forbidden) {
		t.Fatalf("a rewrap that is not allowed to go on: %v", err)
	}
	w.retire(t, "2")
	made := w.makeKeys(t, 4)
	w.rotate(t)
	var ids []archive.KeyID
	for id := range made {
		ids = append(ids, id)
	}
	w.move(t, keys.KeyName("a", ids[0]), keys.KeyName("a", ids[0]), func(b []byte) []byte { return b[:40] })
	w.move(t, keys.KeyName("a", ids[1]), keys.KeyName("a", ids[1]), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	w.move(t, keys.KeyName("a", ids[2]), "a/key/readme.txt", nil) // no key object's name
	p, err := keys.Rewrap(t.Context(), w.rewrap("kek"))
	if err != nil || p.Seen != 6 || p.Changed != 3 || p.Damaged != 2 || p.Lost != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	c, err := keys.TakeCensus(t.Context(), w.bucket, "a")
	if err != nil || c.Damaged != 1 || c.Keys[keys.Version{KEK: "kek", Version: "1"}] != int64(len(retired)) {
		t.Errorf("%+v, %v", c, err)
	}
	w.rotate(t)
	for kind, set := range map[fault.Kind]func(){fault.KeyDenied: w.kek.Deny, fault.KeyUnreachable: w.kek.Silence} {
		set()
		if _, err := keys.Rewrap(t.Context(), w.rewrap("kek")); !fault.Is(err, kind) {
			t.Errorf("want %v: %v", kind, err)
		}
	}
	w.kek.Allow()
	if _, err := keys.Rewrap(t.Context(), w.rewrap("another")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("to a key that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Rewrap(ctx, w.rewrap("kek")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestRewrapKilled: killed twenty times, wherever it is, it loses nothing and comes to its end.
func TestRewrapKilled(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld()
		made := w.makeKeys(t, 30)
		draw := rand.New(rand.NewPCG(seed, 0))
		killed := 0
		for ; killed < 20; killed++ {
			if killed%4 == 0 {
				w.rotate(t)
			}
			at, action := w.faults.Ops()+1+draw.IntN(120), faultstore.CrashBefore
			if draw.IntN(2) == 0 {
				action = faultstore.CrashAfter
			}
			ctx, cancel := context.WithCancel(t.Context())
			w.faults.Script(func(op faultstore.Op) faultstore.Decision {
				switch {
				case op.N < at:
					return faultstore.Decision{}
				case killed%3 == 0: // the process is told to end
					cancel()
					return faultstore.Decision{}
				}
				return faultstore.Decision{Action: action}
			})
			_, err := keys.Rewrap(ctx, w.rewrap("kek"))
			cancel()
			if err == nil && !w.faults.Crashed() {
				t.Logf("seed %d: pass %d came to its end first", seed, killed)
			}
			w.faults.Script(nil)
			w.faults.Restart()
			r := w.open(t, "a")
			made.open(t, fmt.Sprintf("seed %d, after kill %d", seed, killed), r)
			id, s := newKey(t, r)
			made[id] = s
		}
		p, err := keys.Rewrap(t.Context(), w.rewrap("kek"))
		if err != nil || p.Seen != int64(len(made)+1) {
			t.Fatalf("%+v, %v", p, err)
		}
		w.retire(t, p.Target.Version)
		made.open(t, "at last", w.open(t, "a"))
	}
}

// TestRewrapRaces: other rings make, read and destroy keys, and another rewrap goes
// on, while it runs; passes until nothing is found leave every key under the newest version.
func TestRewrapRaces(t *testing.T) {
	w := newWorld()
	made := w.makeKeys(t, 50)
	var mu sync.Mutex
	var stop atomic.Bool
	var wg sync.WaitGroup
	var destroyed atomic.Int64
	for n := range 3 {
		r := w.open(t, "a")
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id, s, obj, err := r.NewStudyKey(t.Context(), r.Ref(fmt.Sprint(n, i)))
				if err == nil {
					time.Sleep(time.Millisecond) // under way while the version changes
					err = r.Commit(t.Context(), obj)
				}
				if err != nil {
					t.Error(err)
					return
				}
				r.Wipe()
				if got, err := r.Secret(t.Context(), id); err != nil || got != s {
					t.Errorf("a new key does not open: %v", err)
				}
				if i%3 == 0 {
					if err := w.bucket.Delete(t.Context(), obj.Name); err != nil {
						t.Error(err)
					}
					destroyed.Add(1)
					continue
				}
				mu.Lock()
				made[id] = s
				mu.Unlock()
			}
		})
	}
	for range 4 {
		w.rotate(t)
		wg.Go(func() {
			if _, err := keys.Rewrap(t.Context(), w.rewrap("kek")); err != nil {
				t.Error(err)
			}
		})
		if _, err := keys.Rewrap(t.Context(), w.rewrap("kek")); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	var p keys.Pass
	for first := true; first || p.Changed > 0; first = false {
		var err error
		if p, err = keys.Rewrap(t.Context(), w.rewrap("kek")); err != nil {
			t.Fatal(err)
		}
	}
	w.retire(t, p.Target.Version)
	made.open(t, "at last", w.open(t, "a"))
	if p.Seen != int64(len(made)+1) || destroyed.Load() == 0 {
		t.Errorf("%d objects of %d keys; %d were destroyed", p.Seen, len(made)+1, destroyed.Load())
	}
}

// two has two KEKs.
type two map[keys.ID]*keystest.Provider

func (m two) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if m[kek] == nil {
		return keys.Wrapped{}, fault.New(fault.KeyDenied, "there is no such key")
	}
	return m[kek].Wrap(ctx, kek, key, aad)
}

func (m two) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	if m[w.KEK] == nil {
		return nil, fault.New(fault.KeyDenied, "there is no such key")
	}
	return m[w.KEK].Unwrap(ctx, w, aad)
}

// TestRewrapMoves goes over to another KEK, then to both as two locks.
func TestRewrapMoves(t *testing.T) {
	w := newWorld()
	made := w.makeKeys(t, 10)
	old, new := w.kek, keystest.NewProvider("new", 9)
	m := two{"kek": old, "new": new}
	r, err := keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: m, Tenant: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetKEK("new", time.Now())
	id, s := newKey(t, r)
	made[id] = s
	o := w.rewrap("new")
	o.Wrapper = m
	if p, err := keys.Rewrap(t.Context(), o); err != nil || p.Changed != 11 || p.Seen != 12 {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, gone := range []func(){old.Silence, old.Deny} { // a ring that was open all along does not need it
		gone()
		if err := r.Prove(t.Context(), 0); err != nil {
			t.Errorf("without the old key: %v", err)
		}
	}
	after, err := keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: m, Tenant: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	made.open(t, "without the old key", after)
	if after.KEK() != "new" {
		t.Errorf("new keys go under %s", after.KEK())
	}
	old.Allow()
	o.KEK, o.Wrapper = "kek+new", pairs{m, keys.Both(m, m)}
	if p, err := keys.Rewrap(t.Context(), o); err != nil || p.Changed != 12 || p.Target.Version != "1+1" {
		t.Fatalf("%+v, %v", p, err)
	}
	old.Deny()
	if _, err := keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: o.Wrapper, Tenant: "a"}); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("opened with one of two keys: %v", err)
	}
}

// pairs gives names of two keys to both.
type pairs struct {
	one  two
	both *keys.TwoLocks
}

func (l pairs) of(kek keys.ID) keys.Wrapper {
	if _, _, ok := keys.SplitPair(kek); ok {
		return l.both
	}
	return l.one
}

func (l pairs) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	return l.of(kek).Wrap(ctx, kek, key, aad)
}

func (l pairs) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	return l.of(w.KEK).Unwrap(ctx, w, aad)
}

func TestRewrapThrottled(t *testing.T) {
	w := newWorld()
	w.makeKeys(t, 9)
	w.rotate(t)
	o := w.rewrap("kek")
	o.Rate = 50
	start := time.Now()
	if _, err := keys.Rewrap(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 170*time.Millisecond {
		t.Errorf("ten objects at 50/s took %v", took)
	}
}

// TestCommitLate: a key that was long under way is not left under a version that a
// rewrap may have seen the last of, nor under a KEK that was changed meanwhile.
func TestCommitLate(t *testing.T) {
	w := newWorld()
	now := time.UnixMilli(1e12)
	m := two{"kek": w.kek, "new": keystest.NewProvider("new", 9)}
	r, err := keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: m, KEK: "kek", Tenant: "a", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	under := func(id archive.KeyID) keys.Version {
		c, err := keys.TakeCensus(t.Context(), w.bucket, "a")
		if err != nil {
			t.Fatal(err)
		}
		for v := range c.Keys {
			if v != (keys.Version{KEK: "kek", Version: "1"}) { // where the root is
				return v
			}
		}
		return keys.Version{KEK: "kek", Version: "1"}
	}
	id, s, obj, err := r.NewStudyKey(t.Context(), r.Ref("1"))
	if err != nil {
		t.Fatal(err)
	}
	w.rotate(t)
	now = now.Add(keys.CommitWithin)
	if err := r.Commit(t.Context(), obj); err != nil || under(id).Version != "1" {
		t.Errorf("just in time: under %v, %v", under(id), err)
	}
	now = now.Add(1)
	if err := r.Commit(t.Context(), obj); err != nil || under(id).Version != "2" {
		t.Errorf("too late: under %v, %v", under(id), err)
	}
	r.Wipe()
	if got, err := r.Secret(t.Context(), id); err != nil || got != s {
		t.Errorf("the key does not open: %v", err)
	}

	// The KEK was told to be this one long ago: it may be another by now.
	r.SetKEK("kek", now)
	now = now.Add(keys.CommitWithin + 1)
	if _, _, obj, err = r.NewStudyKey(t.Context(), r.Ref("2")); err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context(), obj); !fault.Is(err, fault.Unavailable) {
		t.Errorf("under a KEK that may be another by now: %v", err)
	}
	r.SetKEK("new", now)
	if err := r.Commit(t.Context(), obj); err != nil {
		t.Errorf("now that it is known: %v", err)
	}
	c, err := keys.TakeCensus(t.Context(), w.bucket, "a")
	if err != nil || c.Keys[keys.Version{KEK: "new", Version: "1"}] != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
