package keys

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// RewrapOptions describe a rewrap. Bucket, Wrapper, Tenant and KEK are required.
type RewrapOptions struct {
	Bucket  *storage.Bucket
	Wrapper Wrapper
	Tenant  archive.Tenant
	KEK     ID // goes over to the newest version of this one
	// Parallel is how many key objects are worked on at once; 0 is 8.
	Parallel int
	// Rate is how many key objects a second are wrapped anew, at most; 0 is no limit.
	Rate float64
	// Allowed, if set, is asked before anything is unwrapped and before anything
	// is written; its error ends the pass.
	Allowed func() error
	// Progress, if set, is told after each key object, by one caller at a time.
	Progress func(Pass)
}

// Pass says what one pass over the key objects of a tenant found.
type Pass struct {
	Target  Version // the newest of the KEK when it began
	Seen    int64   // key objects looked at
	Changed int64   // wrapped anew
	Gone    int64   // destroyed meanwhile
	Lost    int64   // under versions that their provider has given up
	Damaged int64   // that cannot be read, or do not open
}

// Rewrap wraps every key object of a tenant that is not under the newest version
// of the KEK under that, where it lies. What is already is skipped, so whoever
// stops goes on by starting again. Several may do it at once, while keys are
// made, read and destroyed.
//
// One pass does not see keys that are made behind it. All are under the target
// when a pass changes nothing that began later than [Settle] after the target
// became the newest version of the KEK that wraps new keys.
//
// Errors are those of the providers and of the store; damaged objects are counted.
func Rewrap(ctx context.Context, o RewrapOptions) (Pass, error) {
	w, err := newRewrapper(ctx, o)
	if err != nil {
		return Pass{}, err
	}
	err = walk(ctx, o.Bucket, o.Tenant, cmp.Or(max(0, o.Parallel), parallel), func(ctx context.Context, id archive.KeyID) error {
		found, err := w.one(ctx, id, false)
		if err != nil {
			return fmt.Errorf("wrapping a key anew: %w", err)
		}
		w.note(found)
		return nil
	})
	return w.pass, err
}

// CommitWithin is how long after it was wrapped a new key may become durable
// without being wrapped anew: [Ring.Commit] sees to it.
const CommitWithin = 10 * time.Second

// Settle is how long after a new version, or another KEK, wraps new keys some may
// still appear under what did before: what was wrapped just then has to be
// written, and another node may learn of it a moment later.
const Settle = CommitWithin + 2*time.Second

// rewrapper does the work of a rewrap.
type rewrapper struct {
	o     RewrapOptions
	limit *rate.Limiter

	mu    sync.Mutex
	pass  Pass
	known map[ID]Description // of the KEKs that were asked about
}

func newRewrapper(ctx context.Context, o RewrapOptions) (*rewrapper, error) {
	w := &rewrapper{o: o, limit: rate.NewLimiter(rate.Inf, 1), known: map[ID]Description{}}
	if o.Rate > 0 {
		w.limit.SetLimit(rate.Limit(o.Rate))
	}
	if err := w.allowed(); err != nil {
		return nil, err
	}
	target, err := Probe(ctx, o.Wrapper, o.KEK)
	w.pass.Target = target
	return w, err
}

// Probe wraps and unwraps a random value, which proves that the KEK can be used,
// and returns the version that wraps. No provider is asked otherwise: what wraps
// is the truth about what wraps.
func Probe(ctx context.Context, w Wrapper, kek ID) (Version, error) {
	probe := make([]byte, 32)
	rand.Read(probe)
	out, err := w.Wrap(ctx, kek, probe, probe)
	if err == nil {
		err = opens(ctx, w, out, probe, probe)
	}
	if err != nil {
		return Version{}, fmt.Errorf("trying the key-encryption key: %w", err)
	}
	return out.version(), nil
}

// opens fails unless the provider gives the key that was wrapped.
func opens(ctx context.Context, w Wrapper, wrapped Wrapped, key, aad []byte) error {
	got, err := w.Unwrap(ctx, wrapped, aad)
	defer clear(got)
	if err == nil && subtle.ConstantTimeCompare(got, key) != 1 {
		err = fault.New(fault.Internal, "the key provider does not give the key that it was given")
	}
	return err
}

func (w *rewrapper) allowed() error {
	if w.o.Allowed == nil {
		return nil
	}
	return w.o.Allowed()
}

// finding is what became of one key object.
type finding uint8

const (
	current finding = iota
	changed
	gone
	lost
	damaged
)

func (w *rewrapper) note(f finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass.Seen++
	switch f {
	case changed:
		w.pass.Changed++
	case gone:
		w.pass.Gone++
	case lost:
		w.pass.Lost++
	case damaged:
		w.pass.Damaged++
	}
	if w.o.Progress != nil {
		w.o.Progress(w.pass)
	}
}

// maxTries bounds how often an object is read again that others replace meanwhile.
const maxTries = 10

// one wraps one key object anew, under force also one that is current.
func (w *rewrapper) one(ctx context.Context, id archive.KeyID, force bool) (finding, error) {
	for range maxTries {
		o, etag, err := read(ctx, w.o.Bucket, w.o.Tenant, id)
		switch {
		case isAbsent(err):
			return gone, nil
		case fault.Is(err, fault.Corrupt):
			return damaged, nil
		case err != nil:
			return 0, err
		case !force && o.Wrapped.version() == w.pass.Target:
			return current, nil
		}
		found, err := w.replace(ctx, o, etag)
		if !fault.Is(err, fault.Conflict) {
			return found, err
		}
	}
	return 0, fault.New(fault.Conflict, "a key object is being replaced by others all the time; is another rewrap to another key under way?")
}

// replace wraps an object's key anew and puts it in the place of the object with
// the ETag. fault.Conflict says that this one has been replaced or destroyed.
func (w *rewrapper) replace(ctx context.Context, o object, etag string) (finding, error) {
	if err := w.limit.Wait(ctx); err != nil {
		return 0, err
	}
	if err := w.allowed(); err != nil {
		return 0, err
	}
	key, err := w.o.Wrapper.Unwrap(ctx, o.Wrapped, o.aad)
	defer clear(key)
	switch {
	case fault.Is(err, fault.Corrupt), err == nil && len(key) != len(archive.Secret{}):
		return damaged, nil
	case fault.Is(err, fault.KeyDenied) && w.retired(ctx, o.Wrapped):
		return lost, nil
	case err != nil:
		return 0, err
	}
	fresh, err := w.o.Wrapper.Wrap(ctx, w.o.KEK, key, o.aad)
	if err != nil {
		return 0, err
	}
	// It takes the place of the only copy: not before it is known to open.
	if err := opens(ctx, w.o.Wrapper, fresh, key, o.aad); err != nil {
		return 0, err
	}
	if err := w.allowed(); err != nil {
		return 0, err
	}
	magic, name := place(w.o.Tenant, o.ID)
	_, err = w.o.Bucket.Put(ctx, name, encode(magic, o.ID, o.Study, fresh), storage.CreateOptions{IfMatch: etag})
	return changed, err
}

// retired reports whether the provider knows the KEK and has given up the version.
func (w *rewrapper) retired(ctx context.Context, wrapped Wrapped) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.known[wrapped.KEK]
	if !ok {
		var err error
		if d, err = Describe(ctx, w.o.Wrapper, wrapped.KEK); err != nil {
			return false
		}
		w.known[wrapped.KEK] = d
	}
	return len(d.Versions) > 0 && !d.Has(wrapped.Version)
}

func isAbsent(err error) bool { return errors.Is(err, ErrAbsent) }
