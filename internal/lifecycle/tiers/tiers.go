// Package tiers reads the tiers of the configuration: presets, or a list in which
// each tier names its store, its class, how it restores and what it costs. It
// holds them to what can work, and finds the store of each when they are open.
package tiers

import (
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/storage"
)

// Stores are the tiers with their stores, the hot one first.
type Stores struct {
	tiers   []archive.Tier
	buckets map[string]*storage.Bucket // by Tier.Store
}

// NewStores joins tiers with the stores they name; the node's own has the empty
// address. Without tiers there is the hot one alone.
func NewStores(list []archive.Tier, buckets map[string]*storage.Bucket) *Stores {
	if len(list) == 0 {
		list = []archive.Tier{{Name: archive.HotTier}}
	}
	return &Stores{tiers: slices.Clone(list), buckets: buckets}
}

// All returns every tier, the hot one first.
func (s *Stores) All() []archive.Tier { return slices.Clone(s.tiers) }

// Tier returns a tier and the store it is in; false where no such tier is configured.
func (s *Stores) Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
	for _, t := range s.tiers {
		if t.Name == name {
			return s.buckets[t.Store], t, true
		}
	}
	return nil, archive.Tier{}, false
}

// Availability says how fast objects of a tier answer that have not been
// restored: it is what the index tells of instances there.
func (s *Stores) Availability(name archive.TierName) archive.Availability {
	switch _, t, ok := s.Tier(name); {
	case !ok:
		return archive.Unavailable
	case t.Restore:
		return archive.Nearline
	}
	return archive.Online
}
