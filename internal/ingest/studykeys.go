package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// studyKeys finds the key of a study, or makes one. Requests that store the
// first instances of a study at the same time share one new key; its object is
// written while their bytes still arrive.
type studyKeys struct {
	o  Options
	wg sync.WaitGroup

	mu     sync.Mutex
	new    map[archive.Ref]*studyKey // keys the index may not know yet
	passed int                       // how many have left new
}

// studyKey is a study's key in use.
type studyKey struct {
	id     archive.KeyID
	secret archive.Secret

	made    time.Time
	durable chan struct{} // closed when the key object is written, or failed; nil for a known key
	err     error         // read after durable is closed
}

// maxAsked is how often the index is asked for a study that it does not know while keys
// of whatever studies become known to it. After that a study has one key more than it needs.
const maxAsked = 4

// maxNewKeys bounds the map of new keys; the oldest durable ones go first.
const maxNewKeys = 4096

func newStudyKeys(o Options) *studyKeys {
	return &studyKeys{o: o, new: map[archive.Ref]*studyKey{}}
}

func (k *studyKeys) get(ctx context.Context, ref archive.Ref) (*studyKey, error) {
	var gone archive.KeyID // destroyed while it was asked for
	for asked := 1; ; asked++ {
		sk, passed := k.fresh(ref)
		if sk != nil {
			return sk, nil
		}
		id, known, err := k.o.Index.StudyKey(ctx, k.o.Tenant, ref)
		if err != nil {
			return nil, err
		}
		if !known {
			sk, err := k.make(ctx, ref, func() bool { return k.passed == passed || asked == maxAsked })
			if sk == nil && err == nil {
				continue // the index may know the study since it was asked
			}
			return sk, err
		}
		secret, err := k.o.Keys.Secret(ctx, id)
		if errors.Is(err, keys.ErrAbsent) && id != gone {
			gone = id
			continue
		}
		return &studyKey{id: id, secret: secret}, err
	}
}

func (k *studyKeys) fresh(ref archive.Ref) (sk *studyKey, passed int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.new[ref], k.passed
}

// make makes a key for the study unless another request has; nil if not still, which is asked under the lock.
func (k *studyKeys) make(ctx context.Context, ref archive.Ref, still func() bool) (*studyKey, error) {
	id, secret, object, err := k.o.Keys.NewStudyKey(ctx, ref)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if sk := k.new[ref]; sk != nil { // another request was faster
		secret.Wipe()
		return sk, nil
	}
	if !still() {
		secret.Wipe()
		return nil, nil
	}
	sk := &studyKey{id: id, secret: secret, made: k.o.Now(), durable: make(chan struct{})}
	k.evict()
	k.new[ref] = sk
	k.wg.Go(func() {
		defer close(sk.durable)
		// The key serves other requests too: one client that goes away must not stop it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if sk.err = k.o.Keys.Commit(ctx, object); sk.err != nil {
			k.forget(ref, sk)
		}
	})
	return sk, nil
}

// evict makes room for one more; the caller holds the lock.
func (k *studyKeys) evict() {
	for len(k.new) >= maxNewKeys {
		var oldest archive.Ref
		var sk *studyKey
		for ref, c := range k.new {
			if sk == nil || c.made.Before(sk.made) {
				oldest, sk = ref, c
			}
		}
		delete(k.new, oldest)
		k.passed++
	}
}

// forget drops a new key: the index knows it by now, its object could not be written, or it was destroyed.
func (k *studyKeys) forget(ref archive.Ref, sk *studyKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.new[ref] == sk {
		delete(k.new, ref)
		k.passed++
	}
}

// await returns when the key object is durable.
func (sk *studyKey) await(ctx context.Context) error {
	if sk.durable == nil {
		return nil
	}
	select {
	case <-sk.durable:
		return sk.err
	case <-ctx.Done():
		return fault.Wrap(fault.Timeout, ctx.Err(), "the study's key could not be written in time; send the instances again")
	}
}

func (k *studyKeys) wait() { k.wg.Wait() }
