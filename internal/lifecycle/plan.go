package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// Bounds of a plan.
const (
	maxYears     = 30   // of a forecast
	DefaultYears = 10   // of a forecast
	cohort       = 4000 // studies that stand for those to come
	maxAsked     = 20_000
	// packSize is what a settled study is cut into, about.
	packSize = 512 << 20
)

// planOptions say what is planned. Tiers and Now are required.
type planOptions struct {
	Rules       rule.Set
	Tiers       []archive.Tier
	Environment rule.Environment
	Now         time.Time
	Years       int      // of the forecast, up to maxYears; 0: DefaultYears
	Growth      *float64 // a year; nil: what the archive's own history says
}

// subject is a study that is planned for.
type subject struct {
	rule.Study
	// Until returns until when the study must be kept, zero if it need not. Nil: it need not.
	Until func(context.Context) (time.Time, error)

	answered bool // Until was asked, and said answer
	answer   time.Time
}

// planner reckons what rules would do, from the studies that it is given one by
// one, and keeps sums and a sample of them alone: it takes a million as well as ten.
//
// The forecast takes each study through its life as the rules have it. Those to come are
// like those of the last year (by study date), and as many more as the archive
// grows. It takes for granted that nothing is opened any more, that prices stay, and
// that the number of studies and the free room are what they are now.
type planner struct {
	o     planOptions
	plan  archive.LifecyclePlan
	tiers map[archive.TierName]int // into o.Tiers
	steps map[step]*archive.PlannedStep
	// circles counts studies by the two rules.
	circles map[[2]int]int64
	rand    *rand.Rand // for the sample: the same studies, the same plan

	asked   int
	longest time.Duration // that a study must be kept, of those asked about

	forecast forecast
	history  history
	recent   []subject // a sample of what came in the last year
	came     int64     // of how many
}

// step is what PlannedSteps are told apart by.
type step struct {
	rule     int
	action   rule.Verb
	from, to archive.TierName
	waiting  bool
}

// newPlanner returns a planner that has seen no study yet.
func newPlanner(o planOptions) (*planner, error) {
	o.Years = cmp.Or(o.Years, DefaultYears)
	if o.Years < 1 || o.Years > maxYears {
		return nil, fault.New(fault.Invalid, "years: write a number from 1 to %d", maxYears)
	}
	if o.Growth != nil && !(*o.Growth >= minGrowth && *o.Growth <= maxGrowth) {
		return nil, fault.New(fault.Invalid, "growth: write a part from %v to %v a year: 0.1 is a tenth more", minGrowth, float64(maxGrowth))
	}
	o.Now = o.Now.UTC()
	// Nothing outside of the studies changes in a forecast: there is nothing to look at again.
	o.Environment.Revisit = (maxYears + 1) * 366 * 24 * time.Hour
	p := &planner{o: o, tiers: map[archive.TierName]int{}, steps: map[step]*archive.PlannedStep{}, circles: map[[2]int]int64{}, rand: rand.New(rand.NewPCG(1, 2)),
		plan: archive.LifecyclePlan{At: o.Now}, history: history{now: o.Now}}
	for i, t := range o.Tiers {
		p.tiers[t.Name] = i
		p.plan.Tiers = append(p.plan.Tiers, archive.PlannedTier{Name: t.Name})
	}
	p.forecast = newForecast(o.Now, o.Years*12, len(o.Tiers))
	return p, nil
}

// tier returns the number of a configured tier.
func (p *planner) tier(name archive.TierName) int { return p.tiers[name] }

// load is what a study is in a tier, settled.
func load(bytes int64) cost.Load {
	return cost.Load{Objects: max(1, (bytes+packSize-1)/packSize), Bytes: bytes}
}

// month is what a study costs in a tier a month.
func (p *planner) month(tier int, bytes int64) float64 {
	return cost.Month(p.o.Tiers[tier].Prices, load(bytes))
}

// move is what bringing a study from a tier to another costs.
func (p *planner) move(from, to int, bytes int64, lain time.Duration) float64 {
	src := p.o.Tiers[from]
	b := cost.Move(src, p.o.Tiers[to], load(bytes), lain)
	if speed, ok := cost.Speed(src, archive.Bulk); ok && src.Restore {
		b = b.Add(cost.Restore(src, speed, load(bytes), 24*time.Hour, p.o.Tiers[0].Prices.GBMonth))
	}
	return b.Total()
}

// Add takes a study into the plan. Those that are deleted are not in it.
func (p *planner) Add(ctx context.Context, s subject) error {
	if s.Deleted {
		return nil
	}
	if _, ok := p.tiers[s.Tier]; !ok { // nobody knows what it costs, and nothing can be done to it
		p.plan.Studies++
		p.plan.Bytes += s.Bytes
		t := goneTier(&p.plan, s.Tier)
		t.Studies, t.StudiesAfter = t.Studies+1, t.StudiesAfter+1
		t.Bytes, t.BytesAfter = t.Bytes+s.Bytes, t.BytesAfter+s.Bytes
		return nil
	}
	from := p.tier(s.Tier)
	month := p.month(from, s.Bytes)
	p.plan.Studies++
	p.plan.Bytes += s.Bytes
	t := &p.plan.Tiers[from]
	t.Studies++
	t.Bytes += s.Bytes
	t.Month += month
	p.sample(s)

	to, after, err := p.now(ctx, &s, from, month)
	if err != nil {
		return err
	}
	if to >= 0 {
		t = &p.plan.Tiers[to]
		t.StudiesAfter++
		t.BytesAfter += s.Bytes
		t.MonthAfter += after
	}
	return p.live(ctx, &s, p.o.Now, 1)
}

// now plans what is to be done to a study at once, and returns the tier that it is
// in afterwards, -1 for none, and what it costs there a month.
func (p *planner) now(ctx context.Context, s *subject, from int, month float64) (to int, after float64, err error) {
	d := p.o.Rules.Evaluate(&s.Study, p.o.Now, p.o.Environment)
	if d.Action == rule.Delete {
		if s.Kept, err = p.until(ctx, s); err != nil {
			return 0, 0, err
		}
		if s.Kept.After(p.o.Now) { // it waits, and something else is done meanwhile
			st := p.step(step{rule: d.Rule, action: d.Action, from: s.Tier, waiting: true}, s.Bytes)
			st.Before, st.After = st.Before+month, st.After+month
			if st.First.IsZero() || s.Kept.Before(st.First) {
				st.First = s.Kept
			}
			d = p.o.Rules.Evaluate(&s.Study, p.o.Now, p.o.Environment)
		}
	}
	if d.Circular {
		p.plan.Circular++
		p.circles[[2]int{d.Rule, d.Back}]++
	}
	if d.Action == rule.Nothing {
		return from, month, nil
	}
	key := step{rule: d.Rule, action: d.Action, from: s.Tier, to: s.Tier}
	to, after = from, month
	var once float64
	switch d.Action {
	case rule.Move:
		key.to = d.To
		if _, ok := p.tiers[d.To]; !ok { // it fails, and the study stays where it is
			goneTier(&p.plan, d.To)
			break
		}
		to = p.tier(d.To)
		after, once = p.month(to, s.Bytes), p.move(from, to, s.Bytes, p.o.Now.Sub(s.Received))
	case rule.Delete:
		key.to, to, after = "", -1, 0
		once = cost.Early(p.o.Tiers[from].Prices, load(s.Bytes), p.o.Now.Sub(s.Received))
	}
	st := p.step(key, s.Bytes)
	st.Once += once
	st.Before += month
	st.After += after
	return to, after, nil
}

// step counts a study in a step.
func (p *planner) step(key step, bytes int64) *archive.PlannedStep {
	st := p.steps[key]
	if st == nil {
		st = &archive.PlannedStep{Action: string(key.action), From: key.from, To: key.to, Waiting: key.waiting}
		if key.rule >= 0 {
			st.Rule = p.o.Rules.Rules[key.rule].Name
		}
		p.steps[key] = st
	}
	st.Studies++
	st.Bytes += bytes
	return st
}

// until returns until when a study must be kept. When very many have been asked
// about, the others are taken to be kept for as long as the longest of those that nothing holds.
func (p *planner) until(ctx context.Context, s *subject) (time.Time, error) {
	if s.Until == nil || s.answered {
		return s.answer, nil
	}
	from := s.Date(p.o.Now)
	if p.asked >= maxAsked {
		p.plan.Sampled = maxAsked
		return from.Add(p.longest), nil
	}
	p.asked++
	until, err := s.Until(ctx)
	if err != nil {
		return until, fmt.Errorf("asking until when a study must be kept: %w", err)
	}
	if !rule.Endless(until) { // a hold is about this study alone
		p.longest = max(p.longest, until.Sub(from))
	}
	s.answered, s.answer = true, until
	return until, nil
}

// sample keeps a study for those to come, each of the last year's with the same chance.
func (p *planner) sample(s subject) {
	if !p.history.add(s.Date(p.o.Now), s.Bytes) {
		return
	}
	p.came++
	if len(p.recent) < cohort {
		p.recent = append(p.recent, s)
	} else if i := p.rand.Int64N(p.came); i < cohort {
		p.recent[i] = s
	}
}

// Plan returns the plan for the studies that were added. It is to be called once.
func (p *planner) Plan(ctx context.Context) (archive.LifecyclePlan, error) {
	keys := make([]step, 0, len(p.steps))
	for k := range p.steps {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b step) int {
		waiting := func(s step) int {
			if s.waiting {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(uint(a.rule), uint(b.rule)), // no rule: last
			cmp.Compare(a.action, b.action), cmp.Compare(p.tier(a.from), p.tier(b.from)), cmp.Compare(p.tier(a.to), p.tier(b.to)),
			cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(waiting(a), waiting(b)))
	})
	for _, k := range keys {
		p.plan.Steps = append(p.plan.Steps, *p.steps[k])
	}
	for _, c := range slices.SortedFunc(maps.Keys(p.circles), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		p.plan.Circles = append(p.plan.Circles, archive.PlannedCircle{Studies: p.circles[c], Moves: p.o.Rules.Rules[c[0]].Name, Back: p.o.Rules.Rules[c[1]].Name})
	}
	if err := p.grow(ctx); err != nil {
		return archive.LifecyclePlan{}, err
	}
	p.plan.Forecast.Tiers = make([]archive.TierName, len(p.o.Tiers))
	for i, t := range p.o.Tiers {
		p.plan.Forecast.Tiers[i] = t.Name
	}
	p.plan.Forecast.Points = p.forecast.points()
	return p.plan, nil
}
