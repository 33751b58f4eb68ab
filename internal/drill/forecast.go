package drill

import (
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

const (
	keep = 24 * time.Hour // how long restored copies stay, which is paid for
	// enough is from how many bytes on a throughput is believed that was measured.
	enough = 1 << 20
	// indexRate is how many instances a second an index is made anew from at least, as the project promises.
	indexRate = 15_000
	longest   = 100 * 365 * 24 * time.Hour
)

// forecast completes the report: what the drill cost, and what restoring everything would take.
func (d *drill) forecast() {
	_, hot, _ := d.o.Tiers.Tier(archive.HotTier)
	f := &d.report.Whole
	var bytes int64
	for _, t := range d.o.Tiers.All() {
		if s := d.speeds[t.Name]; s != nil {
			s.Cost = d.bill(t, hot, cost.Load{Objects: s.Objects, Bytes: s.Bytes}, s.Restored)
			d.report.Cost += s.Cost
			d.report.Times.Copying += s.Copying
			d.report.Tiers = append(d.report.Tiers, *s)
			bytes += s.Bytes
		}
	}
	// Log objects are fetched while facts are read, the first thing of the hot tier.
	copying := d.report.Times.Copying + d.report.Times.Reading
	all := rate(bytes, copying)
	checked := rate(bytes, d.report.Times.Checking)
	for _, t := range d.o.Tiers.All() {
		u, ok := d.whole[t.Name]
		if !ok || u.Objects == 0 {
			continue
		}
		x := archive.TierForecast{Tier: t.Name, Objects: u.Objects, Bytes: u.Bytes}
		if s := d.speeds[t.Name]; s != nil && s.Bytes >= enough {
			copying := s.Copying
			if t.Name == archive.HotTier {
				copying += d.report.Times.Reading
			}
			x.Throughput = rate(s.Bytes, copying)
		}
		speed := x.Throughput
		if speed == 0 {
			speed = all
			f.Assumed = append(f.Assumed, fmt.Sprintf("tier %s was read too little to measure it: as fast as the others", t.Name))
		}
		var restore archive.RestoreSpeed
		if t.Restore {
			if restore, ok = cost.Speed(t, d.q.Priority); !ok {
				f.Assumed = append(f.Assumed, fmt.Sprintf("restores of tier %s take no time and cost nothing: the setting tiers does not say what they do", t.Name))
			}
		}
		x.Least, _ = cost.Time(restore, u.Bytes, speed)
		_, x.Most = cost.Time(restore, u.Bytes, speed)
		if checked > 0 {
			x.Most = min(x.Most+took(float64(u.Bytes)/checked), longest)
		}
		restored := int64(0)
		if t.Restore {
			restored = u.Objects
		}
		x.Cost = d.bill(t, hot, cost.Load{Objects: u.Objects, Bytes: u.Bytes}, restored)
		f.Tiers = append(f.Tiers, x)
		f.Least = max(f.Least, x.Least)
		f.Most = min(f.Most+x.Most, longest)
		f.Cost += x.Cost
	}
	f.Assumed = append(f.Assumed,
		"one object after another, as in the drill, to the machine that it ran on: with more at once it is faster, as far as line and disks go",
		"at least: the tiers side by side, restores as fast as they typically are, nothing checked; at most: one tier after another, the longest restores, everything checked",
		"every object is restored at one time: limits of the provider on how many are not reckoned with",
		"prices of the configuration, for one reading of everything; what the copies cost where they go is not in it")
	d.rebuild()
}

// bill is what reading a load costs, of which so many objects have to be restored.
func (d *drill) bill(t, hot archive.Tier, l cost.Load, restored int64) float64 {
	if restored == 0 || l.Objects == 0 {
		return cost.Read(t.Prices, l).Total()
	}
	s, ok := cost.Speed(t, d.q.Priority)
	if !ok {
		return cost.Read(t.Prices, l).Total()
	}
	part := cost.Load{Objects: min(restored, l.Objects), Bytes: int64(float64(l.Bytes) * float64(min(restored, l.Objects)) / float64(l.Objects))}
	rest := cost.Load{Objects: l.Objects - part.Objects, Bytes: l.Bytes - part.Bytes}
	return cost.Restore(t, s, part, keep, hot.Prices.GBMonth).Total() + cost.Read(t.Prices, rest).Total()
}

// rebuild reckons how long an index would take that is made anew, by how fast facts were read.
func (d *drill) rebuild() {
	f, r := &d.report.Whole, &d.report
	if r.Facts == 0 || r.Studies == 0 || r.Times.Reading <= 0 {
		return
	}
	facts, instances := float64(r.Of.Facts), float64(r.Of.Instances)
	if facts == 0 {
		facts = float64(r.Of.Studies) * float64(r.Facts) / float64(r.Studies)
		f.Assumed = append(f.Assumed, "studies have as many entries of the log as those that were drawn")
	}
	if instances == 0 {
		instances = float64(r.Of.Studies) * float64(r.Instances) / float64(r.Studies)
		f.Assumed = append(f.Assumed, "studies have as many instances as those that were drawn; their number is an estimate, too")
	}
	perFact := r.Times.Reading.Seconds() / float64(r.Facts)
	reading := facts * perFact
	f.RebuildLeast, f.RebuildMost = took(max(reading/2, instances/indexRate)), took(reading+instances/indexRate)
	f.Assumed = append(f.Assumed, fmt.Sprintf("the index is made from facts that are read as fast as in the drill, one or two at a time, and takes in %d instances a second, which the drill did not measure", indexRate))
}

// rate is bytes a second; 0 where that was too quick to be measured.
func rate(bytes int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) / d.Seconds()
}

// took is a duration of seconds that does not overflow.
func took(seconds float64) time.Duration {
	return time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
}
