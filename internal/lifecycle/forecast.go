package lifecycle

import (
	"context"
	"math"
	"sort"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// forecast sums by month. What lasts is noted where it begins and where it ends;
// points adds it up.
type forecast struct {
	at      []time.Time // of the points
	bytes   [][]float64 // by tier and month: changes
	studies []float64   // changes
	month   []float64   // changes of the cost
	without []float64   // changes of the cost, had nothing been done
	once    []float64   // by month
}

func newForecast(now time.Time, months, tiers int) forecast {
	f := forecast{at: make([]time.Time, months+1), bytes: make([][]float64, tiers)}
	for i := range f.at {
		f.at[i] = now.AddDate(0, i, 0)
	}
	n := months + 2 // what ends behind the last point ends in one that is not shown
	for i := range f.bytes {
		f.bytes[i] = make([]float64, n)
	}
	f.studies, f.month, f.without, f.once = make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	return f
}

func (f *forecast) end() time.Time { return f.at[len(f.at)-1] }

// point is the first one that is not before t; behind the last: their number.
func (f *forecast) point(t time.Time) int {
	// Near enough to begin with, a month being 28 to 31 days.
	i := min(max(int(t.Sub(f.at[0])/(31*24*time.Hour)), 0), len(f.at))
	return i + sort.Search(len(f.at)-i, func(k int) bool { return !f.at[i+k].Before(t) })
}

// lasts notes that something is there from one moment to another.
func (f *forecast) lasts(changes []float64, from, to time.Time, amount float64) {
	changes[f.point(from)] += amount
	changes[f.point(to)] -= amount
}

// points adds everything up.
func (f *forecast) points() []archive.ForecastPoint {
	out := make([]archive.ForecastPoint, len(f.at))
	bytes := make([]float64, len(f.bytes))
	var studies, month, without float64
	for i := range out {
		studies, month, without = studies+f.studies[i], month+f.month[i], without+f.without[i]
		// Sums of what came and went again may end a hair below zero.
		out[i] = archive.ForecastPoint{At: f.at[i], Bytes: make([]int64, len(bytes)), Studies: int64(math.Round(max(studies, 0))),
			Month: max(month, 0), Without: max(without, 0), Once: f.once[i]}
		for t := range bytes {
			bytes[t] += f.bytes[t][i]
			out[i].Bytes[t] = int64(max(bytes[t], 0))
		}
	}
	return out
}

// maxEvents bounds what is done to one study in a forecast.
const maxEvents = 64

// live takes a study through its life from a moment on. It counts as many times as weight says.
func (p *planner) live(ctx context.Context, of *subject, at time.Time, weight float64) error {
	f, end, s := &p.forecast, p.forecast.end().Add(time.Nanosecond), of.Study
	bytes, tier := float64(s.Bytes)*weight, p.tier(s.Tier)
	f.lasts(f.without, at, end, p.month(tier, s.Bytes)*weight)
	since, came := at, s.Received // in the tier: for the forecast, and for the provider
	stay := func(until time.Time) {
		f.lasts(f.bytes[tier], since, until, bytes)
		f.lasts(f.studies, since, until, weight)
		f.lasts(f.month, since, until, p.month(tier, s.Bytes)*weight)
		since = until
	}
	for range maxEvents {
		d := p.o.Rules.Evaluate(&s, at, p.o.Environment)
		switch d.Action {
		case rule.Settle:
			s.Settled = true
			continue
		case rule.Move:
			if _, ok := p.tiers[d.To]; !ok { // it stays where it is
				break
			}
			stay(at)
			to := p.tier(d.To)
			f.once[f.point(at)] += p.move(tier, to, s.Bytes, at.Sub(came)) * weight
			tier, came, s.Tier, s.Settled = to, at, d.To, true
			continue
		case rule.Delete:
			var err error
			if s.Kept, err = p.until(ctx, of); err != nil {
				return err
			}
			if s.Kept.After(at) { // then something else holds until it may be deleted
				continue
			}
			stay(at)
			f.once[f.point(at)] += cost.Early(p.o.Tiers[tier].Prices, load(s.Bytes), at.Sub(came)) * weight
			return nil
		case rule.Nothing:
			if at = d.Next; !at.IsZero() && at.Before(end) {
				continue
			}
		}
		break
	}
	stay(end)
	return nil
}

const (
	year      = 365 * 24 * time.Hour
	minGrowth = -0.5
	maxGrowth = 1
	// historyYears is how many years back growth is reckoned from.
	historyYears = 6
)

// history is what came in which year, counted back from now.
type history struct {
	now      time.Time
	bytes    [historyYears]int64
	before   bool // something is older than all of these
	earliest time.Time
}

// add counts a study, and reports whether it is of the last year.
func (h *history) add(at time.Time, bytes int64) bool {
	if h.earliest.IsZero() || at.Before(h.earliest) {
		h.earliest = at
	}
	age := max(int(h.now.Sub(at)/year), 0) // who has a date to come counts as of today
	if age >= historyYears {
		h.before = true
		return false
	}
	h.bytes[age] += bytes
	return age == 0
}

// growth returns the growth a year, and from how many years it is known. A year counts
// that began after something else was there already: others are not whole.
func (h *history) growth() (float64, int) {
	n := 0
	for n < historyYears && h.bytes[n] > 0 {
		n++
	}
	if n < historyYears || !h.before { // the oldest is not whole, or what is before it is missing
		n--
	}
	if n < 2 {
		return 0, 0
	}
	g := math.Pow(float64(h.bytes[0])/float64(h.bytes[n-1]), 1/float64(n-1)) - 1
	g = math.Round(g*1e4) / 1e4 // more of it would be no knowledge
	return min(max(g, minGrowth), maxGrowth), n
}

// lived is in which time came what came in the last year: less where the archive is
// younger. Less than a month says little, and counts as one.
func (h *history) lived() time.Duration {
	return min(max(h.now.Sub(h.earliest), year/12), year)
}

// grow adds the studies to come: those of the last year again, year after year. A younger
// archive is taken to go on as it began.
func (p *planner) grow(ctx context.Context) error {
	fc := &p.plan.Forecast
	if fc.Growth, fc.GrowthYears = p.history.growth(); p.o.Growth != nil {
		fc.Growth, fc.GrowthYears = *p.o.Growth, 0
	}
	var sampled int64
	for i := range p.recent {
		sampled += p.recent[i].Bytes
	}
	if sampled == 0 {
		return nil
	}
	came, lived := float64(p.history.bytes[0]), p.history.lived()
	fc.YearBytes = int64(came * float64(year) / float64(lived))
	kept := map[int]time.Duration{} // how long a study of the sample must be kept
	for i := range p.recent {
		s := p.recent[i]
		first := s.Date(p.o.Now)
		if first.After(p.o.Now) {
			first = p.o.Now
		}
		ask := s.Until
		for at := first.Add(lived); !at.After(p.forecast.end()); at = at.Add(lived) {
			s.StudyDate, s.Received, s.Changed, s.Accessed = at.Format("20060102"), at, at, at
			s.Tier, s.Settled, s.Kept, s.answered = p.o.Tiers[0].Name, false, time.Time{}, false
			if ask != nil {
				s.Until = func(ctx context.Context) (time.Time, error) {
					if _, ok := kept[i]; !ok {
						until, err := ask(ctx)
						if err != nil {
							return until, err
						}
						if kept[i] = max(until.Sub(first), 0); rule.Endless(until) { // nobody holds what is to come
							kept[i] = p.longest
						}
					}
					return at.Add(kept[i]), nil
				}
			}
			weight := came / float64(sampled) * math.Pow(1+fc.Growth, float64(at.Sub(first))/float64(year))
			if err := p.live(ctx, &s, at, weight); err != nil {
				return err
			}
		}
	}
	return nil
}
