package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Same reports whether two buckets are one place under two addresses: what is in one is there in
// the other. Where one has an object that the other lacks, nothing is written; else a byte is, to a,
// under a fresh key with the prefix, and removed again.
func Same(ctx context.Context, a, b *Bucket, prefix string) (same bool, err error) {
	for _, pair := range [][2]*Bucket{{a, b}, {b, a}} {
		if differ, err := lacks(ctx, pair[0], pair[1]); differ || err != nil {
			return false, err
		}
	}
	key := prefix + rand.Text()
	_, err = a.Put(ctx, key, []byte{0}, CreateOptions{})
	if err == nil {
		_, err = b.Stat(ctx, key)
	}
	if same = err == nil; fault.Is(err, fault.NotFound) {
		err = nil
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// With its versions, of which there would be one more each time.
	gone := a.Purge(end, key)
	if gone != nil {
		gone = a.Delete(end, key)
	}
	if err := errors.Join(err, gone); err != nil {
		return false, fmt.Errorf("comparing two stores: %w", err)
	}
	return same, nil
}

// lacks reports whether a does not have the first object of b, which was there all the time.
func lacks(ctx context.Context, a, b *Bucket) (bool, error) {
	page, err := b.List(ctx, "", "", 1)
	if err == nil && len(page.Objects) == 0 {
		return false, nil
	}
	var there, still bool
	if err == nil {
		there, err = a.Exists(ctx, page.Objects[0].Key)
	}
	if err == nil && !there {
		still, err = b.Exists(ctx, page.Objects[0].Key)
	}
	if err != nil {
		return false, fmt.Errorf("comparing two stores: %w", err)
	}
	return still, nil
}

// Apart remembers which buckets are not the same. The zero value knows of none; it
// is safe for concurrent use.
type Apart struct{ known sync.Map }

// Check returns fault.Invalid where two buckets are the same, see [Same]. Whoever lets go of a
// copy in one of them because there is one in the other has to ask.
func (x *Apart) Check(ctx context.Context, a, b *Bucket, prefix string) error {
	pair := [2]*Bucket{a, b}
	if _, ok := x.known.Load(pair); ok {
		return nil
	}
	same, err := Same(ctx, a, b, prefix)
	switch {
	case err != nil:
		return err
	case same:
		return fault.New(fault.Invalid, "the stores of two tiers are one store under two addresses: write its address in the same way wherever it stands, in store and in tiers")
	}
	x.known.Store(pair, true)
	return nil
}
