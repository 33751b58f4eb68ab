package restore

import (
	"context"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

// Estimate tells what a restore would take at each priority, and starts nothing. The request's own priority does not count.
func (r *Restorer) Estimate(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreEstimate, error) {
	if err := r.check(t, &q); err != nil {
		return archive.RestoreEstimate{}, err
	}
	list, err := r.find(ctx, t, q)
	if err != nil {
		return archive.RestoreEstimate{}, err
	}
	e := archive.RestoreEstimate{Studies: len(list)}
	loads := map[archive.TierName]cost.Load{}
	now := r.o.Now()
	for _, s := range list {
		n, err := r.need(ctx, t, s.Ref, now, now, false)
		if err != nil {
			return archive.RestoreEstimate{}, err
		}
		for _, p := range n.restore {
			loads[p.Tier] = loads[p.Tier].Add(cost.Load{Objects: 1, Bytes: p.Size})
			e.Packs, e.Bytes = e.Packs+1, e.Bytes+p.Size
		}
	}
	if e.Packs == 0 {
		return e, nil
	}
	p := r.paceNow(ctx)
	for _, priority := range archive.Priorities() {
		if r.offered(loads, priority) {
			e.Choices = append(e.Choices, r.choice(&p, loads, priority, q))
		}
	}
	return e, nil
}

// offered reports whether a tier restores at the priority.
func (r *Restorer) offered(loads map[archive.TierName]cost.Load, priority archive.Priority) bool {
	for name := range loads {
		_, tier, _ := r.o.Tiers.Tier(name)
		if slices.ContainsFunc(tier.Speeds, func(s archive.RestoreSpeed) bool { return s.Priority == priority }) {
			return true
		}
	}
	return false
}

// choice is what the loads take at a priority, behind those whose turn is first.
func (r *Restorer) choice(p *pace, loads map[archive.TierName]cost.Load, priority archive.Priority, q archive.RestoreRequest) archive.RestoreChoice {
	c := archive.RestoreChoice{Priority: priority}
	for name, load := range loads {
		_, tier, _ := r.o.Tiers.Tier(name)
		s, ok := cost.Speed(tier, priority)
		if !ok {
			continue
		}
		typical, longest := cost.Time(s, load.Bytes, 0)
		if seen := p.typical(name, s); seen != s.Typical {
			typical, longest = seen, max(seen, longest)
		}
		queued := *p
		queued.Queue = map[archive.TierName]queue{name: p.Queue[name]}
		own := queued.Queue[name]
		own.Running += int(load.Objects)
		queued.Queue[name] = own
		turn := r.turn(&queued, name, priority, typical)
		c.Typical = max(c.Typical, typical+turn)
		c.Longest = max(c.Longest, longest+turn)
		c.Cost += cost.Restore(tier, s, load, q.For, r.copyPrice()).Total()
	}
	return c
}
