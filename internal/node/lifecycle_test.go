package node

import (
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
)

// ruled is a node on disk with a cold tier in another folder, by a clock that is put forward.
type ruled struct {
	*place
	a     *Archive
	cold  *faultstore.Store
	ahead atomic.Int64
	files map[archive.UIDs][]byte
}

func newRuled(t *testing.T) *ruled {
	t.Helper()
	r := &ruled{place: newPlace(t), files: map[archive.UIDs][]byte{}}
	files, err := filestore.New(filepath.Join(t.TempDir(), "cold"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.cold = faultstore.New(files, nil)
	r.o.Tiers = []archive.Tier{{Name: "hot", Prices: archive.Prices{GBMonth: 0.05}}, {Name: "cold", Store: coldStore, Prices: archive.Prices{GBMonth: 0.005, Write: 0.05}}}
	r.o.TierStores = map[string]driver.Driver{coldStore: r.cold.Driver}
	r.o.Lifecycle.Currency = "EUR"
	r.o.ReconcileEvery = time.Hour
	r.o.Now = func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	r.a = r.open()
	t.Cleanup(func() { r.close(r.a) })
	return r
}

func (r *ruled) passes(d time.Duration) { r.ahead.Add(int64(d)) }

// stores stores a study of three images of so many days ago.
func (r *ruled) stores(study, modality string, days int) {
	r.t.Helper()
	date := r.o.Now().AddDate(0, 0, -days).Format("20060102")
	for i := range 3 {
		u := archive.UIDs{Study: study, Series: study + ".1", Instance: study + ".1." + string(rune('1'+i))}
		r.files[u] = retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 64, Columns: 64, Name: "Fern^Ada", PatientID: "P" + study, Number: i + 1, Modality: modality, StudyDate: date})
		stores(r.t, r.a, r.files[u])
	}
}

func (r *ruled) rules(document string) {
	r.t.Helper()
	if err := r.host.Lifecycle().SetRules(r.t.Context(), r.a.Tenant, []byte(document), "alice"); err != nil {
		r.t.Fatal(err)
	}
}

// done applies the rules until there is nothing left, and returns what was done.
func (r *ruled) done(what string) (sum archive.LifecycleDone) {
	r.t.Helper()
	for range 20 {
		d, err := r.host.Lifecycle().Apply(r.t.Context(), r.a.Tenant)
		if err != nil {
			r.t.Fatalf("%s: %v", what, err)
		}
		sum.Paused, sum.Looked, sum.Settled, sum.Moved, sum.Deleted = d.Paused, sum.Looked+d.Looked, sum.Settled+d.Settled, sum.Moved+d.Moved, sum.Deleted+d.Deleted
		sum.Waiting, sum.Failed, sum.Bytes = sum.Waiting+d.Waiting, sum.Failed+d.Failed, sum.Bytes+d.Bytes
		if !d.More {
			break
		}
	}
	if (sum.Bytes > 0) != (sum.Moved > 0) {
		r.t.Errorf("%s: %d studies moved, %d bytes", what, sum.Moved, sum.Bytes)
	}
	sum.Bytes = 0
	return sum
}

// applies applies the rules until there is nothing left, and expects what is done.
func (r *ruled) applies(what string, want archive.LifecycleDone) {
	r.t.Helper()
	sum := r.done(what)
	if diff := cmp.Diff(want, sum); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// in counts the packs in the hot and the cold store.
func (r *ruled) in(what string, hot, cold int) {
	r.t.Helper()
	h, _, _ := r.host.Tier("hot")
	c, _, _ := r.host.Tier("cold")
	if g, w := len(packsIn(r.t, h)), len(packsIn(r.t, c)); g != hot || w != cold {
		r.t.Errorf("%s: %d packs are hot and %d cold, want %d and %d", what, g, w, hot, cold)
	}
}

// reads holds that everything that was stored comes back as it was, but for studies that are gone.
func (r *ruled) reads(gone ...string) {
	r.t.Helper()
	for u, file := range r.files {
		if slices.Contains(gone, u.Study) {
			if found, err := r.a.Retrieve.Find(r.t.Context(), r.a.Tenant, u, retrieve.Files); err == nil && len(found) > 0 {
				r.t.Errorf("of %s there is still something", u.Study)
			}
			continue
		}
		r.wants(r.a, u, file)
	}
}

// TestLifecycle: rules settle, move to another tier and back, and delete, all by the clock.
func TestLifecycle(t *testing.T) {
	r := newRuled(t)
	r.stores("1.1", "MG", 500)
	r.stores("1.2", "CT", 3)
	r.stores("1.3", "CT", 400)
	r.stores("1.4", "CT", 4000)
	r.stores("1.5", "CT", 4000)
	r.rules(`
rules:
  - { name: gone, when: { age: { over: 10y } }, action: delete }
  - { name: cold, when: { age: { over: 90d }, not: { modality: [MG] } }, action: move, to: cold }
`)
	if _, err := r.a.Keep.Hold(t.Context(), retention.HoldTarget{Study: "1.5"}, "Az. 1", "alice"); err != nil {
		t.Fatal(err)
	}
	r.applies("before they are quiet", archive.LifecycleDone{})
	r.passes(31 * time.Minute)
	plan, err := r.host.Lifecycle().Plan(t.Context(), r.a.Tenant, archive.LifecycleQuestion{})
	if err != nil || plan.Currency != "EUR" || plan.Studies != 5 || len(plan.Forecast.Points) != 121 {
		t.Fatalf("%v: %+v", err, plan)
	}
	var steps []string
	for _, s := range plan.Steps {
		steps = append(steps, strings.Join([]string{s.Rule, s.Action, string(s.From), string(s.To), string(rune('0' + s.Studies))}, " "))
		if s.Waiting != (s.Rule == "gone" && s.First.Year() == 9999) {
			t.Errorf("%+v", s)
		}
	}
	if diff := cmp.Diff([]string{"gone delete hot  1", "gone delete hot  1", "cold move hot cold 2", " settle hot hot 2"}, steps); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}

	r.applies("at first", archive.LifecycleDone{Looked: 5, Settled: 5, Moved: 2, Deleted: 1, Waiting: 1})
	r.in("at first", 5, 2)
	r.reads("1.4")
	r.applies("again", archive.LifecycleDone{})

	// The hot copies go after their hold; the held study is asked about every day.
	r.passes(25 * time.Hour)
	r.applies("a day later", archive.LifecycleDone{Looked: 1, Waiting: 1})
	r.in("a day later", 3, 2)
	r.reads("1.4")

	// The clock alone makes the young study old enough, and the deleted one gone for good.
	r.passes(88 * 24 * time.Hour)
	r.applies("three months later", archive.LifecycleDone{Looked: 3, Settled: 1, Moved: 1, Waiting: 1})
	r.passes(25 * time.Hour)
	r.applies("and the day after", archive.LifecycleDone{Looked: 1, Waiting: 1})
	r.in("three months later", 1, 3)
	r.reads("1.4")

	// Paused, nothing is done, across a restart.
	if err := r.host.Lifecycle().Pause(t.Context(), r.a.Tenant, true, "alice"); err != nil {
		t.Fatal(err)
	}
	r.rules(`rules: [{ when: { tier: [cold] }, action: move, to: hot }]`)
	r.close(r.a)
	r.a = r.open()
	r.applies("paused", archive.LifecycleDone{Paused: true})
	if s, err := r.host.Lifecycle().State(t.Context(), r.a.Tenant); err != nil || !s.Paused || s.Rules != 1 || !s.Pending {
		t.Errorf("%v: %+v", err, s)
	}
	if err := r.host.Lifecycle().Pause(t.Context(), r.a.Tenant, false, "alice"); err != nil {
		t.Fatal(err)
	}
	r.applies("back", archive.LifecycleDone{Looked: 4, Moved: 3})
	r.passes(25 * time.Hour)
	r.applies("a day after they came back", archive.LifecycleDone{})
	r.in("back", 4, 0)
	r.reads("1.4")
	if s, err := r.host.Lifecycle().State(t.Context(), r.a.Tenant); err != nil || s.Paused || s.Pending {
		t.Errorf("%v: %+v", err, s)
	}
}

// TestLifecycleColdIsBroken: while a tier's store refuses, studies are settled and read all
// the same, and what could not be moved is moved later.
func TestLifecycleColdIsBroken(t *testing.T) {
	r := newRuled(t)
	for _, study := range []string{"1.1", "1.2", "1.3"} {
		r.stores(study, "CT", 400)
	}
	r.rules(`rules: [{ when: { modality: [CT] }, action: move, to: cold }]`)
	r.passes(31 * time.Minute)
	r.cold.Script(func(faultstore.Op) faultstore.Decision {
		return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.Full, "the store has no room")}
	})
	r.applies("while it is broken", archive.LifecycleDone{Looked: 3, Settled: 3, Failed: 3})
	r.reads()
	r.cold.Script(nil)
	r.applies("at once", archive.LifecycleDone{})
	r.passes(11 * time.Minute)
	r.applies("later", archive.LifecycleDone{Looked: 3, Moved: 3})
	r.reads()
}

// TestLifecycleOfSleepers: the rules of a tenant whom nobody asks for are carried out nevertheless.
func TestLifecycleOfSleepers(t *testing.T) {
	r := newRuled(t)
	r.close(r.a)
	r.o.IdleClose = 100 * time.Millisecond
	r.o.Lifecycle.On, r.o.Lifecycle.Interval, r.o.Lifecycle.Wake = true, 20*time.Millisecond, 50*time.Millisecond
	n, err := Open(t.Context(), r.o)
	if err != nil {
		t.Fatal(err)
	}
	r.host = n
	v, err := n.Enter(t.Context(), n.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	r.a = v.Archive
	r.stores("1.1", "CT", 400)
	r.rules(`rules: [{ when: { modality: [CT] }, action: move, to: cold }]`)
	v.Leave()
	eventually(t, "the archive is closed", func() bool { return !n.isOpen(n.Tenant) })
	r.passes(31 * time.Minute)
	eventually(t, "the study is moved", func() bool { return n.LifecycleCounters().Moved.Load() == 1 })
	eventually(t, "the archive is closed again", func() bool { return !n.isOpen(n.Tenant) })
	r.in("asleep", 1, 1)
}

// eventually waits for what works in the background.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestThumbnailsOfArchived: they are made before a rule moves a study where it cannot be read at once, and answer
// after a restart that left nothing in memory.
func TestThumbnailsOfArchived(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	uids, files := heavy(t, a, 1, 1)
	f.clock.Advance(time.Hour)
	l := a.n.Lifecycle()
	if err := l.SetRules(t.Context(), a.Tenant, []byte(`{"rules": [{"action": "move", "to": "archive"}]}`), ""); err != nil {
		t.Fatal(err)
	}
	if d, err := l.Apply(t.Context(), a.Tenant); err != nil || d.Moved != 1 {
		t.Fatalf("%+v %v", d, err)
	}
	f.clock.Advance(25 * time.Hour)
	if _, err := l.Apply(t.Context(), a.Tenant); err != nil { // the copy in the hot tier goes
		t.Fatal(err)
	}
	f.close(a)
	a = f.open()
	defer f.close(a)
	if reads(t, a, uids[0], files[0]) {
		t.Error("what is archived can be read")
	}
	for _, sel := range []archive.UIDs{{Study: uids[0].Study}, {Study: uids[0].Study, Series: uids[0].Series}, uids[0]} {
		if _, err := a.Thumbnail.Thumbnail(t.Context(), a.Tenant, sel, 0, thumbnail.Viewport{}); err != nil {
			t.Errorf("%+v: %v", sel, err)
		}
	}
	if _, err := a.Thumbnail.Thumbnail(t.Context(), a.Tenant, uids[0], 0, thumbnail.Viewport{Width: 512, Height: 512}); !fault.Is(err, fault.Archived) {
		t.Errorf("one that was never made: %v", err)
	}
}
