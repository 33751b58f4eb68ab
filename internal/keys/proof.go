package keys

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// use is a version of a KEK that keys in memory were unwrapped under.
type use struct {
	kek     ID
	version string
}

// proof is when the provider last gave a key under a version, and a key object
// by which it can be asked again: the stored canary.
type proof struct {
	canary  object
	at      time.Time
	latency time.Duration
}

// Proof says when a provider last opened a key under a KEK for a ring.
type Proof struct {
	KEK     ID
	At      time.Time // when it was asked
	Latency time.Duration
}

// Proofs returns the last proof of each KEK that keys in memory came from.
func (r *Ring) Proofs() []Proof {
	r.mu.RLock()
	defer r.mu.RUnlock()
	last := map[ID]Proof{}
	for k, p := range r.uses {
		if have, ok := last[k.kek]; !ok || p.at.After(have.At) {
			last[k.kek] = Proof{k.kek, p.at, p.latency}
		}
	}
	return slices.Collect(maps.Values(last))
}

// maxUses bounds the versions that are watched: those of an ordinary rotation
// are two, of a move from one provider to another a few more.
const maxUses = 64

// proved notes that the provider gave the object's key when asked at the time.
func (r *Ring) proved(o object, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := use{o.Wrapped.KEK, o.Wrapped.Version}
	p, known := r.uses[k]
	if !known {
		if len(r.uses) >= maxUses {
			return
		}
		p.canary = o
	}
	if at.After(p.at) {
		p.at, p.latency = at, r.o.Now().Sub(at)
	}
	r.uses[k] = p
}

// Prove asks the provider for a key under every version that keys in memory came
// from, but for those it gave one of within fresh. It returns nil if all are
// still given; fault.KeyDenied if one is refused, which is to be taken as the
// word on all; else fault.KeyUnreachable, or what the store says.
func (r *Ring) Prove(ctx context.Context, fresh time.Duration) error {
	r.mu.RLock()
	var ask []object
	for _, p := range r.uses {
		if r.o.Now().Sub(p.at) >= fresh {
			ask = append(ask, p.canary)
		}
	}
	r.mu.RUnlock()
	var denied, failed error
	for _, o := range ask {
		switch err := r.proveOne(ctx, o); {
		case fault.Is(err, fault.KeyDenied):
			denied = err
		case err != nil:
			failed = err
		}
	}
	if denied != nil {
		return denied
	}
	return failed
}

// proveOne unwraps a canary. One that was rewrapped since is proved by what it is
// under now: its former version, or provider, may be gone for good reason. So it is read
// again where new keys go to another KEK, and before a refusal is believed.
func (r *Ring) proveOne(ctx context.Context, o object) error {
	if o.Wrapped.KEK != r.KEK() {
		if moved, err := r.proveMoved(ctx, o); moved {
			return err
		}
	}
	s, err := r.unwrap(ctx, o)
	if err == nil {
		s.Wipe()
		return nil
	}
	if fault.Is(err, fault.KeyDenied) {
		if moved, merr := r.proveMoved(ctx, o); moved {
			return merr
		}
	}
	return err
}

// proveMoved reads a canary again and, where it is under another version by now or
// was shredded, proves that.
func (r *Ring) proveMoved(ctx context.Context, o object) (moved bool, err error) {
	now, err := r.object(ctx, o.ID)
	if errors.Is(err, ErrAbsent) {
		r.unuse(o) // shredded: nothing is to be proved by it
		return true, nil
	}
	if err != nil || now.Wrapped.version() == o.Wrapped.version() {
		return false, nil
	}
	s, err := r.unwrap(ctx, now)
	if err == nil {
		s.Wipe()
		r.unuse(o)
	}
	return true, err
}

// unuse forgets a version, and with it every study key in memory: some may
// have come from it, and have to be asked for again.
func (r *Ring) unuse(o object) {
	r.mu.Lock()
	delete(r.uses, use{o.Wrapped.KEK, o.Wrapped.Version})
	r.mu.Unlock()
	r.cache.wipe()
}

// Wipe forgets every study key in memory; whoever needs one asks the provider again.
func (r *Ring) Wipe() { r.cache.wipe() }
