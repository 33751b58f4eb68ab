package node

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/storage"
)

const (
	// apartWithin is how long stores may take to be told apart.
	apartWithin = 10 * time.Second
	// strayAfter is when what somebody wrote to tell stores apart is taken to be left behind.
	strayAfter = 24 * time.Hour
)

// TellApart fails with fault.Invalid where the stores of two tiers are one under two addresses. A
// byte is written to one of the two and looked for in the other, in neither if that cannot be done
// just now: that is logged, and no error. Moves look again before they count on a copy.
func (n *Node) TellApart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apartWithin)
	defer cancel()
	type place struct {
		key string // of the setting that names the store
		b   *storage.Bucket
	}
	var places []place
	seen := map[string]bool{}
	for _, t := range n.tiers.All() {
		if seen[t.Store] {
			continue
		}
		seen[t.Store] = true
		b, _, _ := n.Tier(t.Name)
		key := "tiers." + string(t.Name) + ".store"
		switch {
		case t.Store == "" && n.o.Remote != nil:
			key = "store"
		case t.Store == "":
			key = "data"
		}
		places = append(places, place{key, b})
	}
	if len(places) < 2 {
		return nil
	}
	prefix := archive.Clocks(n.Tenant)
	for i, a := range places {
		for _, b := range places[i+1:] {
			write, look := a, b
			if a.b.Locks() && !b.b.Locks() {
				write, look = b, a // what is written into a store that locks may stay
			}
			switch same, err := storage.Same(ctx, write.b, look.b, prefix); {
			case err != nil:
				n.o.Slog.Warn("whether two stores are one under two addresses cannot be told just now; moves between them ask again", "store", a.key, "other", b.key, "error", err)
			case same:
				return fault.New(fault.Invalid, "%s and %s are one store under two addresses: a tier that is to have a store of its own needs another one, else write the address in the same way in both", a.key, b.key)
			}
		}
	}
	for _, p := range places {
		if err := move.RemoveProbes(ctx, n.Tenant, p.b, n.o.Now().Add(-strayAfter)); err != nil {
			n.o.Slog.Warn("removing what was left when stores were told apart failed; it is tried again", "store", p.key, "error", err)
		}
	}
	return nil
}
