package lifecycle

import (
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
)

// goneTier is the row of a plan for a tier that is not configured. It comes behind those that are.
func goneTier(p *archive.LifecyclePlan, name archive.TierName) *archive.PlannedTier {
	i := slices.IndexFunc(p.Tiers, func(t archive.PlannedTier) bool { return t.Name == name })
	if i < 0 {
		i = len(p.Tiers)
		p.Tiers = append(p.Tiers, archive.PlannedTier{Name: name, Gone: true})
	}
	return &p.Tiers[i]
}
