package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// planPage is how many studies a plan reads at once.
const planPage = 5000

// State says how the tenant's lifecycle stands.
func (k *Keeper) State(ctx context.Context) (s archive.LifecycleState, err error) {
	d, err := k.Document(ctx)
	if err != nil {
		return s, err
	}
	s = archive.LifecycleState{Rules: len(d.Rules.Rules), By: d.Stated.By, Stated: d.Stated.At,
		Paused: d.Paused, PausedBy: d.PausedBy.By, PausedAt: d.PausedBy.At}
	k.o.Record.tell(&s, k.o.Now())
	s.Pending, err = k.Pending(ctx)
	return s, err
}

// Plan reckons what rules would do to all studies of the tenant, as they are one after the other:
// what is stored or moved meanwhile is in it or not.
func (k *Keeper) Plan(ctx context.Context, q archive.LifecycleQuestion) (plan archive.LifecyclePlan, err error) {
	o := planOptions{Tiers: k.o.Tiers, Now: k.o.Now(), Years: q.Years, Growth: q.Growth}
	if q.Rules != nil {
		o.Rules, err = k.Check(q.Rules)
	} else {
		var d Document
		d, err = k.Document(ctx)
		o.Rules = d.Rules
	}
	if err != nil {
		return plan, err
	}
	if o.Environment, err = k.environment(ctx, o.Rules); err != nil {
		return plan, err
	}
	p, err := newPlanner(o)
	if err != nil {
		return plan, err
	}
	read := func(after int64) func() ([]archive.StudyLife, error) {
		return ahead(func() ([]archive.StudyLife, error) { return k.o.Index.Lives(ctx, k.o.Tenant, after, planPage) })
	}
	for next := read(0); next != nil; {
		lives, err := next()
		if err != nil {
			return plan, fmt.Errorf("reading what rules look at: %w", err)
		}
		next = nil
		if len(lives) == planPage {
			next = read(lives[len(lives)-1].ID)
		}
		if err := k.planned(ctx, p, lives); err != nil {
			if next != nil {
				_, _ = next()
			}
			return plan, err
		}
	}
	plan, err = p.Plan(ctx)
	plan.Currency = k.o.Currency
	return plan, err
}

// planned adds a page of studies to a plan.
func (k *Keeper) planned(ctx context.Context, p *planner, lives []archive.StudyLife) error {
	for i := range lives {
		if err := ctx.Err(); err != nil {
			return err
		}
		study := lives[i].Study
		s := subject{Study: k.subject(&lives[i], placeOf(&lives[i])), Until: func(ctx context.Context) (time.Time, error) {
			until, _, err := k.o.Retention.Until(ctx, k.o.Tenant, study)
			return until, err
		}}
		if err := p.Add(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Rules returns the rules that hold, as the API and files have them.
func (k *Keeper) Rules(ctx context.Context) (rule.Set, error) {
	d, err := k.Document(ctx)
	return d.Rules, err
}
