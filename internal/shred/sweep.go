package shred

import (
	"context"
	"fmt"
	"time"
)

const (
	sweepPage = 500
	// lookEvery is the pace at which Look goes along the keys.
	lookEvery = 20 * time.Millisecond
)

// Sweep destroys the keys that are closed and may still be there: whoever began
// did not come to the end, or the index was rebuilt since. It returns how many those were.
func (s *Shredder) Sweep(ctx context.Context) (destroyed int, err error) {
	for {
		page, err := s.o.Index.UnpurgedKeys(ctx, s.o.Tenant, sweepPage)
		if err != nil {
			return destroyed, fmt.Errorf("listing keys to destroy: %w", err)
		}
		for i := range page {
			if err := s.purge(ctx, &page[i]); err != nil {
				return destroyed, err
			}
			destroyed++
		}
		if len(page) < sweepPage {
			return destroyed, nil
		}
	}
}

// Look looks for every key that was destroyed, fifty a second, and destroys again
// those that came back: from an old backup, or with a write that was late. It returns
// how many those were.
func (s *Shredder) Look(ctx context.Context) (back int, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for after := int64(0); ; {
		page, err := s.o.Index.ClosedKeys(ctx, s.o.Tenant, after, sweepPage)
		if err != nil {
			return back, fmt.Errorf("listing destroyed keys: %w", err)
		}
		for i := range page {
			k := &page[i]
			after = k.Sequence
			select {
			case <-tick.C:
			case <-ctx.Done():
				return back, ctx.Err()
			}
			there, err := s.o.Keys.Remains(ctx, k.ID)
			if err != nil {
				return back, fmt.Errorf("looking for a destroyed key: %w", err)
			}
			if !there {
				continue
			}
			s.o.Slog.Warn("a key that was destroyed came back, perhaps from a backup; it is destroyed again", "key", k.ID.String())
			if err := s.purge(ctx, k); err != nil {
				return back, err
			}
			back++
		}
		if len(page) < sweepPage {
			return back, nil
		}
	}
}
