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

// Same reports whether two buckets are one place under two addresses: what is
// written to one is there in the other. It writes a byte to a, under a fresh key with the
// prefix, and removes it.
func Same(ctx context.Context, a, b *Bucket, prefix string) (same bool, err error) {
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
	if err := errors.Join(err, a.Delete(end, key)); err != nil {
		return false, fmt.Errorf("comparing two stores: %w", err)
	}
	return same, nil
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
