package usage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

// tries is how often a recount begins anew because something came or went meanwhile.
const tries = 3

// Recount lists what the stores have of the tenant and compares. It takes as long as listing does: on S3 a
// request for a thousand objects. Where something is stored or removed meanwhile it begins anew; where that goes on, it says so.
func (u Teller) Recount(ctx context.Context, t archive.Tenant) (out archive.Recount, err error) {
	for range tries {
		before, err := u.Index.TierUsage(ctx, t)
		if err != nil {
			return out, fmt.Errorf("asking what tiers hold: %w", err)
		}
		if out, err = u.recount(ctx, t, before); err != nil {
			return out, err
		}
		after, err := u.Index.TierUsage(ctx, t)
		if err != nil {
			return out, fmt.Errorf("asking what tiers hold: %w", err)
		}
		if out.Moving = !slices.Equal(before, after); !out.Moving {
			break
		}
	}
	return out, nil
}

func (u Teller) recount(ctx context.Context, t archive.Tenant, counted []archive.TierUsage) (archive.Recount, error) {
	out := archive.Recount{Tenant: t}
	at := map[string]int{} // by address of the store
	for _, tier := range u.Tiers.All() {
		i, ok := at[tier.Store]
		if !ok {
			i = len(out.Stores)
			at[tier.Store] = i
			out.Stores = append(out.Stores, archive.RecountedStore{})
		}
		out.Stores[i].Tiers = append(out.Stores[i].Tiers, tier.Name)
	}
	for _, c := range counted {
		_, tier, ok := u.Tiers.Tier(c.Tier)
		if !ok { // nobody can look there
			continue
		}
		add(&out.Stores[at[tier.Store]].Counted, c.Objects, c.Bytes)
	}
	for i := range out.Stores {
		if err := u.list(ctx, t, &out.Stores[i]); err != nil {
			return out, fmt.Errorf("listing the store of tier %s: %w", out.Stores[i].Tiers[0], err)
		}
	}
	return out, nil
}

func add(u *archive.TierUsage, objects, bytes int64) {
	u.Objects, u.Bytes = u.Objects+objects, u.Bytes+bytes
}

// list counts what one store has. The index is asked after the listing: what it knows by then and did not before is
// something that came meanwhile.
func (u Teller) list(ctx context.Context, t archive.Tenant, s *archive.RecountedStore) error {
	b, _, _ := u.Tiers.Tier(s.Tiers[0])
	logs := string(t) + "/log/"
	for _, folder := range []string{logs, string(t) + "/pack/"} {
		var progress map[string]archive.Progress
		if folder == logs && s.Tiers[0] == archive.HotTier {
			var err error
			if progress, err = u.Index.Progress(ctx, t); err != nil {
				return fmt.Errorf("asking how far the index is: %w", err)
			}
		}
		for o, err := range b.All(ctx, folder, "") {
			if err != nil {
				return err
			}
			add(&s.Listed, 1, o.Size)
			known := false
			if folder == logs {
				known = applied(progress, o.Key[len(logs):])
			} else if known, err = u.counted(ctx, t, s, o.Key); err != nil {
				return err
			}
			if !known {
				add(&s.Unnamed, 1, o.Size)
			}
		}
	}
	return nil
}

// applied reports whether the index has the object of the log, named {session}/{number}.
func applied(progress map[string]archive.Progress, name string) bool {
	session, number, _ := strings.Cut(name, "/")
	n, err := strconv.ParseUint(number, 10, 64)
	return err == nil && progress[session].Has(n)
}

// counted reports whether a copy of the pack is counted for a tier of the store.
func (u Teller) counted(ctx context.Context, t archive.Tenant, s *archive.RecountedStore, object string) (bool, error) {
	tiers, err := u.Index.Counted(ctx, t, object)
	if err != nil {
		return false, fmt.Errorf("asking whether a pack is counted: %w", err)
	}
	return slices.ContainsFunc(tiers, func(tier archive.TierName) bool { return slices.Contains(s.Tiers, tier) }), nil
}
