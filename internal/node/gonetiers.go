package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// goneEvery is how often a node looks whether something lies in tiers that its configuration does not name.
const goneEvery = 10 * time.Minute

// watchGone tells of tiers that are not configured, or were renamed, and hold something: what lies there cannot be
// read, and no rule moves it.
func (n *Node) watchGone(ctx context.Context) {
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		if err := n.lookForGone(ctx); err != nil && ctx.Err() == nil {
			n.o.Slog.Warn("asking what tiers hold failed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookForGone sums up over all tenants, without keys, what those tiers hold. A tier is logged when it is first seen.
func (n *Node) lookForGone(ctx context.Context) error {
	const page = 100
	gone := map[archive.TierName]archive.TierUsage{}
	for after := archive.Tenant(""); ; {
		list, err := n.Usage().Held(ctx, after, page)
		if err != nil {
			return fmt.Errorf("looking for tiers that are not configured: %w", err)
		}
		for _, u := range list {
			after = u.Tenant
			for _, t := range u.Tiers {
				if t.Gone && t.Objects > 0 {
					sum := gone[t.Tier]
					sum.Objects, sum.Bytes = sum.Objects+t.Objects, sum.Bytes+t.Bytes
					gone[t.Tier] = sum
				}
			}
		}
		if len(list) < page {
			break
		}
	}
	n.ready.mu.Lock()
	before := n.ready.gone
	n.ready.gone = gone
	n.ready.mu.Unlock()
	for name, sum := range gone {
		if _, known := before[name]; !known {
			n.o.Slog.Warn("a tier is not configured and holds objects; they cannot be read or moved until it is in tiers again, under this name",
				"tier", string(name), "objects", sum.Objects, "bytes", sum.Bytes)
		}
	}
	return nil
}

// saidOfGone is what a node says of itself about them.
func (r *ready) saidOfGone() (wrong []string) {
	for name, sum := range r.gone {
		wrong = append(wrong, fmt.Sprintf("tiers.%s: it is not configured and holds objects: %d", name, sum.Objects))
	}
	return wrong
}
