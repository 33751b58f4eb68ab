package node

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// drilled waits for the end of the drill.
func drilled(t *testing.T, n *Node, id string) archive.DrillRun {
	t.Helper()
	for range 1000 {
		s, err := n.Drills().Status(t.Context(), n.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		if s.Running == nil && s.Last != nil && s.Last.ID == id {
			return *s.Last
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the drill does not end")
	return archive.DrillRun{}
}

// tieredStudies stores three studies, of which the first two are settled and in the cold tier, one with a
// deleted instance; the copies that they came from are still in the hot tier.
func tieredStudies(t *testing.T, a *Archive) {
	t.Helper()
	for i := range 3 {
		u, file := image(i, 1)
		v, other := image(i, 2)
		store(t, a, file)
		store(t, a, other)
		if i == 2 {
			break
		}
		ref := a.ring.Ref(u.Study)
		if i == 0 {
			if err := a.Remove.Delete(t.Context(), a.Tenant, v); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := a.Settle.Settle(t.Context(), ref); err != nil || !r.Settled {
			t.Fatalf("%+v, %v", r, err)
		}
		if n, err := a.Move.Move(t.Context(), a.Tenant, ref, "cold"); err != nil || n == 0 {
			t.Fatalf("%d bytes moved, %v", n, err)
		}
	}
}

// TestDrill: the archive as it is, with its index, is restored from both tiers; then damage in the cold
// store is found that reading past the copy left in the hot one does not show.
func TestDrill(t *testing.T) {
	p, _ := newTieredPlace(t)
	a := p.open()
	tieredStudies(t, a)
	d := p.host.Drills()
	if s, err := d.Status(t.Context(), p.host.Tenant); err != nil || s != (archive.DrillStatus{}) {
		t.Errorf("before any drill: %+v, %v", s, err)
	}
	for _, q := range []archive.RecoveryDrill{{Seed: 5}, {FromLog: true}} {
		run, err := d.Start(t.Context(), p.host.Tenant, q)
		if err != nil || run.State != archive.JobWaiting || run.Asked.Seed == 0 {
			t.Fatalf("%+v, %v", run, err)
		}
		run = drilled(t, p.host, run.ID)
		r := run.Report
		if run.State != archive.JobDone || r == nil || r.Failed() || r.Studies != 3 || r.Instances != 6 || r.Seed != run.Asked.Seed ||
			len(r.Tiers) != 2 || r.Tiers[1].Objects != 2 || !run.Succeeded() || run.Done != 3 || run.Total != 3 {
			t.Fatalf("%+v %+v", run, r)
		}
	}
	cold, _, _ := p.host.Tier("cold")
	object := packsIn(t, cold)[0]
	b, err := cold.Get(t.Context(), object, 1<<20)
	if err == nil {
		err = cold.Delete(t.Context(), object)
	}
	if err == nil {
		b[len(b)/2] ^= 1
		_, err = cold.Put(t.Context(), object, b, storage.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	run, err := d.Start(t.Context(), p.host.Tenant, archive.RecoveryDrill{})
	if err != nil {
		t.Fatal(err)
	}
	run = drilled(t, p.host, run.ID)
	if run.State != archive.JobDone || run.Succeeded() || len(run.Report.Failures) == 0 || run.Report.Failures[0].Object != object {
		t.Errorf("%+v %+v", run, run.Report)
	}
	p.close(a)
	a = p.open()
	defer p.close(a)
	s, err := p.host.Drills().Status(t.Context(), p.host.Tenant)
	if err != nil || s.Running != nil || s.Last.ID != run.ID || s.LastSuccess == nil || s.LastSuccess.Report.Studies != 3 || !s.LastSuccess.Asked.FromLog {
		t.Errorf("%+v, %v", s, err)
	}
	when, err := p.host.Drills().Successes(t.Context())
	if err != nil || len(when) != 1 || !when[p.host.Tenant].Equal(s.LastSuccess.Finished) {
		t.Errorf("%v, %v", when, err)
	}
	if left, err := os.ReadDir(p.host.o.DrillScratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func awaitReading(t *testing.T, reading chan struct{}) {
	t.Helper()
	select {
	case <-reading:
	case <-time.After(10 * time.Second):
		t.Fatal("the drill does not read the cold store")
	}
}

// TestDrillEnds: one that is called off, one at a time, and one that is begun anew after the node ended.
func TestDrillEnds(t *testing.T) {
	t.Parallel()
	p, cold := newTieredPlace(t)
	a := p.open()
	tieredStudies(t, a)
	d, tenant := p.host.Drills(), p.host.Tenant
	if err := d.Cancel(t.Context(), tenant); !fault.Is(err, fault.NotFound) {
		t.Errorf("calling off none: %v", err)
	}
	if _, err := d.Start(t.Context(), tenant, archive.RecoveryDrill{Studies: -1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("less than no study: %v", err)
	}
	if _, err := d.Start(t.Context(), "nobody", archive.RecoveryDrill{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("nobody's: %v", err)
	}
	// hang keeps the first read of the cold store until released.
	hang := func() (reading, release chan struct{}) {
		reading, release = make(chan struct{}), make(chan struct{})
		first := true
		cold.Script(func(o faultstore.Op) faultstore.Decision {
			if o.Name == faultstore.Open && first {
				first = false
				close(reading)
				<-release
			}
			return faultstore.Decision{}
		})
		return reading, release
	}
	reading, release := hang()
	run, err := d.Start(t.Context(), tenant, archive.RecoveryDrill{})
	if err != nil {
		t.Fatal(err)
	}
	awaitReading(t, reading)
	if _, err := d.Start(t.Context(), tenant, archive.RecoveryDrill{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second one: %v", err)
	}
	if err := d.Cancel(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	close(release)
	if run = drilled(t, p.host, run.ID); run.State != archive.JobFailed || !strings.Contains(run.Failure, "called off") || run.Report != nil {
		t.Errorf("called off: %+v", run)
	}

	reading, release = hang()
	if run, err = d.Start(t.Context(), tenant, archive.RecoveryDrill{}); err != nil {
		t.Fatal(err)
	}
	awaitReading(t, reading)
	closed := make(chan error)
	go func() { closed <- p.host.Close(context.Background()) }()
	time.Sleep(50 * time.Millisecond)
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := os.MkdirAll(p.host.o.DrillScratch+"/strata-drill-killed/x", 0o700); err != nil { // as if it had been
		t.Fatal(err)
	}
	a = p.open()
	defer p.close(a)
	again := drilled(t, p.host, run.ID)
	if !again.Succeeded() || again.Asked.Seed != run.Asked.Seed {
		t.Errorf("after a restart: %+v", again)
	}
	if left, err := os.ReadDir(p.host.o.DrillScratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDrillsOfYears: of the drills that are over the last and the last that succeeded are read, and no others, however many there are.
func TestDrillsOfYears(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	defer p.close(a)
	n, jobs := p.host, p.host.Index.Jobs()
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	over := func(id, payload, reason string) {
		t.Helper()
		_, err := jobs.Merge(t.Context(), n.Tenant, "past", id, at, 0, func(j *index.Job) error {
			j.Payload = []byte(payload)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := jobs.Claim(t.Context(), []string{"past"}, "test", time.Minute, 1)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if err := jobs.Shelve(t.Context(), got[0], id, reason, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err = jobs.Change(t.Context(), got[0].ID, func(j *index.Job) error { j.Kind = drillKind; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	run := func(id string, report archive.RecoveryReport) string {
		at = at.Add(time.Hour)
		b, err := json.Marshal(archive.DrillRun{ID: id, Tenant: n.Tenant, State: archive.JobDone, Finished: at, Report: &report})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	well, bad := archive.RecoveryReport{Studies: 1}, archive.RecoveryReport{Studies: 1, Failures: []archive.DrillFailure{{What: "lost"}}}
	over("A", "nobody reads this", "")
	over("B", run("B", well), "")
	success := at
	over("C", "nor this", "something could not be restored")
	over("D", run("D", bad), "") // as an older version shelved it
	over("E", run("E", bad), "something could not be restored")
	s, err := n.Drills().Status(t.Context(), n.Tenant)
	if err != nil || s.Running != nil || s.Last == nil || s.Last.ID != "E" || s.LastSuccess == nil || s.LastSuccess.ID != "B" {
		t.Errorf("%+v, %v", s, err)
	}
	when, err := n.Drills().Successes(t.Context())
	if err != nil || len(when) != 1 || !when[n.Tenant].Equal(success) {
		t.Errorf("%v, %v", when, err)
	}
}
