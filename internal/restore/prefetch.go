package restore

import (
	"context"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

const (
	maxAppointments = 2000
	maxPriors       = 50
	defaultPriors   = 3
	// spare is how long before the appointment everything should be there.
	spare = 30 * time.Minute
	// afterwards is how long copies stay after the appointment, for the report.
	afterwards = 2 * day
)

// Prefetch restores earlier studies of patients who are to come, the first appointment first: the most
// like what is planned, and the newest of these. Each is restored at bulk priority if that is in time, else at
// standard, whichever costs less among those that are. What can be read already stays where it is.
func (r *Restorer) Prefetch(ctx context.Context, t archive.Tenant, list []archive.Appointment, by, hook string) (archive.Prefetch, error) {
	var out archive.Prefetch
	if len(list) == 0 || len(list) > maxAppointments {
		return out, fault.New(fault.Invalid, "give from 1 to %d appointments", maxAppointments)
	}
	if err := r.allowed(t, hook); err != nil {
		return out, err
	}
	now := r.o.Now()
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b archive.Appointment) int { return a.At.Compare(b.At) })
	var all []wanted
	seen := map[archive.Ref]bool{}
	p := r.paceNow(ctx)
	var before cost.Load // what is to be restored for earlier appointments
	for _, a := range list {
		if a.PatientID == "" || a.Priors < 0 || a.Priors > maxPriors {
			return out, fault.New(fault.Invalid, "an appointment needs a patientId, and at most %d priors", maxPriors)
		}
		if a.At.Sub(now)+afterwards > maxFor {
			return out, fault.New(fault.Invalid, "an appointment is too far away; copies can stay for at most 365 days")
		}
		if a.Priors == 0 {
			a.Priors = defaultPriors
		}
		priors, err := r.o.Catalog.Priors(ctx, t, a)
		if err != nil {
			return out, err
		}
		for _, study := range priors[:min(a.Priors, len(priors))] {
			if seen[study] {
				continue // an earlier appointment needs it
			}
			seen[study] = true
			out.Priors++
			keep := max(a.At.Sub(now), 0) + afterwards
			n, err := r.need(ctx, t, study, now, now.Add(keep-day), true)
			if err != nil {
				return out, err
			}
			if len(n.restore) == 0 {
				out.Readable++
				continue
			}
			for _, pack := range n.restore {
				before = before.Add(cost.Load{Objects: 1, Bytes: pack.Size})
			}
			priority, late := r.inTime(&p, n.restore, a.At.Add(-spare), now, int(before.Objects), keep)
			if late {
				out.Late++
			}
			all = append(all, wanted{study, wish{priority: priority, keep: keep, deadline: a.At, by: by}})
			if len(all) > maxStudies {
				return out, errTooMany
			}
		}
	}
	if len(all) == 0 {
		out.Restore = r.readable(t, out.Priors, nil, now)
		return out, nil
	}
	st, err := r.askAll(ctx, t, all, wish{by: by, hook: hook}, now)
	st.Studies = out.Priors
	out.Restore = st
	return out, err
}

// inTime chooses between bulk and standard: the cheaper of those that are in time, and
// when none is, the faster one.
func (r *Restorer) inTime(p *pace, packs []archive.PackState, at, now time.Time, ahead int, keep time.Duration) (best archive.Priority, late bool) {
	loads := map[archive.TierName]cost.Load{}
	for _, s := range packs {
		loads[s.Tier] = loads[s.Tier].Add(cost.Load{Objects: 1, Bytes: s.Size})
	}
	var bestCost float64
	for _, priority := range []archive.Priority{archive.Bulk, archive.Standard} {
		var longest time.Duration
		var sum float64
		for name, load := range loads {
			_, tier, _ := r.o.Tiers.Tier(name)
			s, ok := cost.Speed(tier, priority)
			if !ok {
				continue
			}
			_, most := cost.Time(s, load.Bytes, 0)
			waves := time.Duration((ahead - 1) / r.o.Running)
			longest = max(longest, most+r.turn(p, name, priority, s.Typical)+waves*s.Typical)
			sum += cost.Restore(tier, s, load, keep, r.copyPrice()).Total()
		}
		if now.Add(longest).After(at) {
			continue
		}
		if best == "" || sum < bestCost {
			best, bestCost = priority, sum
		}
	}
	if best == "" {
		return archive.Standard, true
	}
	return best, false
}
