package archive

// Usage is what is kept of a tenant, and what that costs.
type Usage struct {
	Tenant   Tenant
	Studies  int64 // with an instance that is shown
	Tiers    []UsedTier
	Currency string  // of the prices, ISO 4217
	Month    float64 // what all tiers cost a month whose prices are known
}

// UsedTier is what a tier holds of a tenant: its log and its packs. The hot tier is always told of.
type UsedTier struct {
	TierUsage
	// Removing is the part of it that nothing needs any more, and that goes when its grace has passed.
	Removing TierUsage
	// RemovingMore: there is more to be removed than Removing tells.
	RemovingMore bool
	Month        float64 // what it costs a month as it is; nothing where it has no price
	Gone         bool    // the configuration has no such tier: what it costs is not known, nor can it be read
}

// Recount compares what is counted of a tenant with what is in the stores.
type Recount struct {
	Tenant Tenant
	Stores []RecountedStore // one for tiers that share a store
	// Moving: something was stored or removed meanwhile, so that a difference may be none.
	Moving bool
}

// Equal reports whether every store holds what is counted for it.
func (r *Recount) Equal() bool {
	for i := range r.Stores {
		if !r.Stores[i].Equal() {
			return false
		}
	}
	return true
}

// RecountedStore is what one store has of a tenant's log and packs.
type RecountedStore struct {
	Tiers   []TierName
	Counted TierUsage // what the index says; Tier is unset, as in the others
	Listed  TierUsage // what the store has
	// Unnamed is what it has beside: packs that no fact names, of stores or moves that are under way
	// or were broken off, which go when their grace has passed; and facts that are not indexed yet, as
	// after a crash until the archive is opened.
	Unnamed TierUsage
}

// Equal reports whether the store holds what is counted, beside what no fact names.
func (s *RecountedStore) Equal() bool {
	return s.Counted.Objects == s.Listed.Objects-s.Unnamed.Objects && s.Counted.Bytes == s.Listed.Bytes-s.Unnamed.Bytes
}
