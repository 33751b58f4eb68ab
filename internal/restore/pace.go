package restore

import (
	"context"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

const (
	keepTimes   = 32 // observed, of each speed
	needTimes   = 3  // before what was observed counts for more than what the tier says
	paceEvery   = 10 * time.Second
	believePace = 2 * time.Second // what was read of the table
	soonestLook = 5 * time.Second
	latestLook  = 30 * time.Minute
	looksOf     = 16 // in the typical time, but for the first ones
)

// pace is how fast tiers restore, and how many wait: one row for all nodes.
type pace struct {
	Speeds map[string][]time.Duration // how long the last objects took, by tier and priority
	Queue  map[archive.TierName]queue
}

// queue is what is before a tier.
type queue struct {
	Running int
	Waiting [3]int // by the priority's rank
	Why     string `json:",omitempty"` // nothing is asked of the store now
}

func speedKey(t archive.TierName, p archive.Priority) string { return string(t) + "/" + string(p) }

// observe adds how long an object took.
func (p *pace) observe(t archive.TierName, at archive.Priority, took time.Duration) {
	if took < 0 {
		return
	}
	if p.Speeds == nil {
		p.Speeds = map[string][]time.Duration{}
	}
	key := speedKey(t, at)
	times := append(p.Speeds[key], took)
	p.Speeds[key] = times[max(0, len(times)-keepTimes):]
}

// typical is how long an object takes as a rule.
func (p *pace) typical(t archive.TierName, s archive.RestoreSpeed) time.Duration {
	times := p.Speeds[speedKey(t, s.Priority)]
	if len(times) < needTimes {
		return s.Typical
	}
	times = slices.Sorted(slices.Values(times))
	return times[len(times)/2]
}

// turn is how long it takes until a pack that waits is asked for: as many restores as may run
// at once must end for those before it, and so many a second are begun.
func (r *Restorer) turn(p *pace, t archive.TierName, at archive.Priority, each time.Duration) time.Duration {
	q := p.Queue[t]
	ahead := q.Running
	for rank := 0; rank <= min(at.Rank(), len(q.Waiting)-1); rank++ {
		ahead += q.Waiting[rank]
	}
	waves := max(0, ahead-1) / r.o.Running
	return time.Duration(waves)*each + time.Duration(float64(ahead)/r.o.Rate*float64(time.Second))
}

// expected is when the pack can be read: never in the past for one that cannot be.
func (r *Restorer) expected(p pace, u *unit, it *item, now time.Time) time.Time {
	_, tier, ok := r.o.Tiers.Tier(it.Tier)
	if it.State == in || it.State == failed || !ok {
		return time.Time{}
	}
	s, ok := cost.Speed(tier, it.priority(u))
	if !ok {
		return now
	}
	each := p.typical(tier.Name, s)
	if it.State == waiting {
		return now.Add(r.turn(&p, tier.Name, it.priority(u), each) + each)
	}
	for _, took := range []time.Duration{each, max(each, s.Longest)} {
		if at := it.Asked.Add(took); at.After(now) {
			return at
		}
	}
	return now.Add(lookIn(now.Sub(it.Asked), each))
}

// lookIn is after how long to look at a pack again that was asked for some time ago, and that takes so long as a rule: half
// of the time that has passed, so that what comes far too early is noticed, up to a sixteenth of what it takes, or has taken. So
// a pack is looked at some 30 times until it is typically there, and then a few times an hour.
func lookIn(passed, typical time.Duration) time.Duration {
	return max(min(passed/2, max(typical, passed)/looksOf, latestLook), soonestLook)
}

// paceNow is the pace as the table has it, or had a moment ago.
func (r *Restorer) paceNow(ctx context.Context) pace {
	now := r.o.Now()
	r.mu.Lock()
	known, fresh := r.pace, !r.paced.IsZero() && now.Sub(r.paced) < believePace
	r.mu.Unlock()
	if fresh {
		return known
	}
	if rows, err := r.o.Table.OfKinds(ctx, "", []string{kindPace}, 0, 1); err == nil && len(rows) > 0 {
		if p, err := decode[pace](rows[0]); err == nil {
			known = p
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace, r.paced = known, now
	return known
}
