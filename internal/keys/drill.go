package keys

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// DrillOptions describe the trial of a recovery key. All but Sample and Parallel
// are required.
type DrillOptions struct {
	Bucket  *storage.Bucket
	Wrapper Wrapper // unwraps the keys in use
	Tenant  archive.Tenant
	From    Wrapper // unwraps with the recovery key
	KEK     ID      // the recovery key
	// Sample is how many study keys are tried beside the root, chosen at random; 0 is all.
	Sample   int
	Parallel int
}

// Drill opens keys in escrow with the recovery key and compares them with those in
// use. It writes nothing. What the recovery key does not open is counted; errors are those of
// the store, of the provider of the keys in use, and fault.KeyUnreachable of the other.
func Drill(ctx context.Context, o DrillOptions) (tried, opened int64, err error) {
	sample, err := drawn(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(0, o.Parallel), parallel))
	for _, id := range sample {
		g.Go(func() error {
			same, err := drillOne(ctx, o, id)
			if isAbsent(err) {
				return nil // the key was destroyed
			}
			if err != nil {
				return fmt.Errorf("trying a key in escrow: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if tried++; same {
				opened++
			}
			return nil
		})
	}
	return tried, opened, g.Wait()
}

// drawn chooses the keys to try: the root, and so many of those in escrow.
func drawn(ctx context.Context, o DrillOptions) ([]archive.KeyID, error) {
	var ids []archive.KeyID
	n := 0
	err := eachNamed(ctx, o.Bucket, EscrowFolder(o.Tenant, o.KEK), func(id archive.KeyID) error {
		if id == (archive.KeyID{}) {
			return nil
		}
		n++
		if o.Sample <= 0 || len(ids) < o.Sample {
			ids = append(ids, id)
		} else if at := rand.IntN(n); at < o.Sample { // each is as likely to stay (reservoir)
			ids[at] = id
		}
		return nil
	})
	return append([]archive.KeyID{{}}, ids...), err
}

// drillOne reports whether the recovery key gives the key that is in use. Its
// error wraps ErrAbsent when there is no such key.
func drillOne(ctx context.Context, o DrillOptions, id archive.KeyID) (bool, error) {
	used, _, err := read(ctx, o.Bucket, o.Tenant, id)
	var want []byte
	if err == nil {
		want, err = o.Wrapper.Unwrap(ctx, used.Wrapped, used.aad)
		defer clear(want)
	}
	if fault.Is(err, fault.Corrupt) && !isAbsent(err) {
		return false, nil // what is in use is damaged: nothing is proved
	}
	if err != nil {
		return false, err
	}
	kept, _, err := readAt(ctx, o.Bucket, escrowMagic, EscrowName(o.Tenant, o.KEK, id), o.Tenant, id)
	if err == nil {
		var got []byte
		got, err = o.From.Unwrap(ctx, kept.Wrapped, kept.aad)
		defer clear(got)
		if err == nil {
			return kept.Study == used.Study && subtle.ConstantTimeCompare(got, want) == 1, nil
		}
	}
	if fault.Is(err, fault.Corrupt) || fault.Is(err, fault.KeyDenied) {
		return false, nil
	}
	return false, err
}
