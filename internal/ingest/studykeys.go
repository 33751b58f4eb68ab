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

	mu  sync.Mutex
	new map[archive.Ref]*studyKey // keys the index may not know yet
}

// studyKey is a study's key in use.
type studyKey struct {
	id     archive.KeyID
	secret archive.Secret

	made    time.Time
	durable chan struct{} // closed when the key object is written, or failed; nil for a known key
	err     error         // read after durable is closed
}

// maxNewKeys bounds the map of new keys; the oldest durable ones go first.
const maxNewKeys = 4096

func newStudyKeys(o Options) *studyKeys {
	return &studyKeys{o: o, new: map[archive.Ref]*studyKey{}}
}

func (k *studyKeys) get(ctx context.Context, ref archive.Ref) (*studyKey, error) {
	if sk := k.fresh(ref); sk != nil {
		return sk, nil
	}
	var gone archive.KeyID // destroyed while it was asked for
	for {
		id, known, err := k.o.Index.StudyKey(ctx, k.o.Tenant, ref)
		if err != nil {
			return nil, err
		}
		if !known {
			return k.make(ctx, ref)
		}
		secret, err := k.o.Keys.Secret(ctx, id)
		if errors.Is(err, keys.ErrAbsent) && id != gone {
			gone = id
			continue
		}
		return &studyKey{id: id, secret: secret}, err
	}
}

func (k *studyKeys) fresh(ref archive.Ref) *studyKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.new[ref]
}

func (k *studyKeys) make(ctx context.Context, ref archive.Ref) (*studyKey, error) {
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
	}
}

// forget drops a new key: the index knows it by now, its object could not be written, or it was destroyed.
func (k *studyKeys) forget(ref archive.Ref, sk *studyKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.new[ref] == sk {
		delete(k.new, ref)
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
