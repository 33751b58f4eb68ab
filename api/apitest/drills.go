package apitest

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Drills is api.Drills, whose methods are called as others are.
func (m *Memory) Drills() Drills { return Drills{m} }

// Drills is the recovery drills of a memory. Each look at one takes it a study further; it has two.
type Drills struct{ m *Memory }

func (d Drills) enter(t archive.Tenant) (unlock func(), err error) {
	unlock, err = d.m.lock()
	if _, ok := d.m.Tenants[t]; err == nil && !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	return unlock, err
}

// Start is of api.Drills.
func (d Drills) Start(_ context.Context, t archive.Tenant, q archive.RecoveryDrill) (archive.DrillRun, error) {
	unlock, err := d.enter(t)
	defer unlock()
	s := d.m.DrillRuns[t]
	if err == nil && s.Running != nil {
		err = fault.New(fault.Conflict, "another drill of this tenant is under way")
	}
	if err != nil {
		return archive.DrillRun{}, err
	}
	if q.Seed == 0 {
		q.Seed = 4711
	}
	s.Running = &archive.DrillRun{ID: "01J1Q4VZZZZZZZZZZZZZZZZZZZ", Tenant: t, State: archive.JobRunning, Asked: q, Created: Noon, Started: Noon, Total: 2, Phase: "copying and checking"}
	d.m.DrillRuns[t] = s
	return *s.Running, nil
}

// Status is of api.Drills.
func (d Drills) Status(_ context.Context, t archive.Tenant) (archive.DrillStatus, error) {
	unlock, err := d.enter(t)
	defer unlock()
	if err != nil {
		return archive.DrillStatus{}, err
	}
	s := d.m.DrillRuns[t]
	if r := s.Running; r != nil {
		next := *r
		if s.Running = &next; next.Done < next.Total {
			next.Done++
		} else {
			next.State, next.Finished, next.Phase = archive.JobDone, Noon.Add(time.Hour), ""
			next.Report = d.m.recovered(next.Asked)
			s.Running, s.Last = nil, &next
			if next.Succeeded() {
				s.LastSuccess = &next
			}
		}
	}
	d.m.DrillRuns[t] = s
	return s, nil
}

// Cancel is of api.Drills.
func (d Drills) Cancel(_ context.Context, t archive.Tenant) error {
	unlock, err := d.enter(t)
	defer unlock()
	s := d.m.DrillRuns[t]
	if err == nil && s.Running == nil {
		err = fault.New(fault.NotFound, "no drill is running")
	}
	if err != nil {
		return err
	}
	off := *s.Running
	off.State, off.Finished, off.Failure = archive.JobFailed, Noon, "the drill was called off"
	s.Running, s.Last = nil, &off
	d.m.DrillRuns[t] = s
	return nil
}

// recovered is a report on two studies.
func (m *Memory) recovered(q archive.RecoveryDrill) *archive.RecoveryReport {
	r := &archive.RecoveryReport{At: Noon, Seed: q.Seed, Studies: 2, Instances: 700, Facts: 3, Objects: 5, Bytes: 300e6, Cost: 0.5,
		Times: archive.DrillTimes{Waiting: 48 * time.Hour, Copying: 3 * time.Second, Reading: time.Second, Checking: 2 * time.Second},
		Tiers: []archive.DrillTier{{Tier: "hot", Objects: 3, Bytes: 1e6}, {Tier: "archive", Objects: 2, Bytes: 299e6, Restored: 2, Cost: 0.5}}}
	r.Of.Studies, r.Of.Instances = 4000, 1_200_000
	r.Whole = archive.RecoveryForecast{Least: 48 * time.Hour, Most: 60 * time.Hour, Cost: 812.5, RebuildLeast: 80 * time.Second, RebuildMost: 3 * time.Minute,
		Tiers:   []archive.TierForecast{{Tier: "archive", Objects: 9000, Bytes: 4e12, Throughput: 1e8, Least: 48 * time.Hour, Most: 60 * time.Hour, Cost: 812.5}},
		Assumed: []string{"one object after another"}}
	if m.Damaged {
		r.Failures = []archive.DrillFailure{{What: "a pack is damaged in tier archive: digest differs", Object: "alpha/pack/01J1"}}
	}
	return r
}
