package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func TestSeveral(t *testing.T) {
	w := newWorld(t, Options{Rate: 1000})
	w.hooks.always = []string{"https://ris.example/a"} // for the one that was asked for alone, and for the request
	for i := range 30 {
		w.study(fmt.Sprintf("p.%02d", i), fmt.Sprintf("alpha/pack/%02d", i))
	}
	w.studies["p.hot"] = Study{Ref: archive.Ref{1}}
	single := w.ask(one("p.07"))
	st := w.ask(archive.RestoreRequest{PatientID: "p.", Webhook: "https://ris.example/a", By: "RIS"})
	if st.Studies != 31 || st.Packs != 30 || st.State != archive.RestoreWaiting || st.Bytes != 30e9 {
		t.Errorf("%+v", st)
	}
	if again := w.status(single.ID); again.Requests != 2 {
		t.Errorf("%+v", again)
	}
	st = w.until(st.ID, 10*time.Minute, archive.RestoreDone)
	if st.PacksIn != 30 || st.Until.IsZero() || !st.Ready.Equal(w.status(single.ID).Ready) {
		t.Errorf("%+v", st)
	}
	if len(w.store.asked()) != 30 {
		t.Errorf("asked for %d", len(w.store.asked()))
	}
	w.pass(upkeep)
	if err := w.r.deliverDue(t.Context()); err != nil || len(w.hooks.posts) != 2 {
		t.Fatalf("%q %v", w.hooks.posts, err)
	}
	slices.SortFunc(w.hooks.posts, func(a, b string) int { return len(b) - len(a) }) // the request has more objects and bytes
	url, rest, _ := strings.Cut(w.hooks.posts[0], " ")
	_, body, _ := strings.Cut(rest, " ")
	var e event
	if err := json.Unmarshal([]byte(body), &e); err != nil || url != "https://ris.example/a" || e.ID != st.ID || e.Event != "restore.done" || e.Objects != 30 || e.Until == nil || strings.Contains(body, "p.") {
		t.Errorf("%s %+v %v", url, e, err)
	}
	if n := w.table.kinds(); n[kindBatchOver] != 1 || n[kindOver] != 30 || n[kindHook] != 0 {
		t.Errorf("%v", n)
	}
	list, err := w.r.List(t.Context(), alpha, "", 100, false)
	if err != nil || len(list) != 31 {
		t.Errorf("%d %v", len(list), err)
	}
	if rest, err := w.r.List(t.Context(), alpha, list[9].ID, 5, false); err != nil || len(rest) != 5 || rest[0].ID != list[10].ID {
		t.Errorf("%+v %v", rest, err)
	}
	if open, err := w.r.List(t.Context(), alpha, "", 100, true); err != nil || len(open) != 0 {
		t.Errorf("%+v %v", open, err)
	}
	w.pass(DefaultFor)
	if st = w.status(st.ID); st.State != archive.RestoreExpired {
		t.Errorf("%+v", st)
	}
	// Nothing to restore: done, and nothing written down.
	before := w.table.kinds()
	if st := w.ask(archive.RestoreRequest{PatientID: "p.hot"}); st.State != archive.RestoreDone || st.ID != "" || st.Studies != 1 || w.table.kinds()[kindBatchOver] != before[kindBatchOver] {
		t.Errorf("%+v", st)
	}
}

// TestAskBreaksOff: a request for several that the table does not take to its end leaves nothing that stays.
func TestAskBreaksOff(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.1", "alpha/pack/A")
	w.study("1.2", "alpha/pack/B")
	for calls := 1; calls < 5; calls++ {
		r := w.over(&dyingTable{Table: w.table, left: calls})
		_, err := r.Ask(t.Context(), alpha, archive.RestoreRequest{PatientID: "1."})
		if calls < 4 != fault.Is(err, fault.Unavailable) {
			t.Errorf("after %d calls: %v", calls, err)
		}
	}
	for range 40 {
		w.pass(30 * time.Minute)
	}
	if n := w.table.kinds(); n[kindBatchOver]+n[kindBatch] != 1 || n[kindOver] != 2 {
		t.Errorf("%v", n)
	}
	if len(w.store.asked()) != 2 {
		t.Errorf("%q", w.store.asked())
	}
}

func TestHooksAreTriedAgain(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A")
	w.hooks.always = []string{"https://ris.example/always"}
	w.hooks.fails = 4
	w.until(w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Webhook: "https://ris.example/a"}).ID, 10*time.Minute, archive.RestoreDone)
	w.pass(time.Second)
	for range 60 {
		if err := w.r.deliverDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
	}
	slices.Sort(w.hooks.posts)
	if len(w.hooks.posts) != 2 || !strings.HasPrefix(w.hooks.posts[0], "https://ris.example/a ") || !strings.HasPrefix(w.hooks.posts[1], "https://ris.example/always ") {
		t.Errorf("%q", w.hooks.posts)
	}
	// One that never answers is given up.
	w.hooks.fails = 1 << 30
	w.study("1.3", "alpha/pack/B")
	w.until(w.ask(one("1.3")).ID, 10*time.Minute, archive.RestoreDone)
	w.pass(time.Second)
	for range 60 {
		if err := w.r.deliverDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
	}
	if n := w.table.kinds()[kindHook]; n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestPrefetch(t *testing.T) {
	w := newWorld(t, Options{Running: 1, Rate: 1000})
	refs := map[string]archive.Ref{}
	for _, name := range []string{"a1", "a2", "a3", "b1", "c1"} {
		refs[name] = w.study(name, "alpha/pack/"+name)
	}
	refs["hot"] = archive.Ref{7}
	w.studies["hot"] = Study{Ref: refs["hot"]}
	w.priors["A"] = []archive.Ref{refs["a1"], refs["hot"], refs["a2"], refs["a3"]}
	w.priors["B"] = []archive.Ref{refs["b1"], refs["a1"]}
	w.priors["C"] = []archive.Ref{refs["c1"]}
	w.priors["E"] = []archive.Ref{w.study("e1", "alpha/pack/e1")}
	at := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	p, err := w.r.Prefetch(t.Context(), alpha, []archive.Appointment{
		{PatientID: "A", At: at(48)},            // three of its four; bulk is in time, and costs less
		{PatientID: "B", At: at(20), Priors: 5}, // standard is in time, bulk is not
		{PatientID: "C", At: at(2), Priors: 5},  // nothing is
		{PatientID: "D", At: at(24), Priors: 5}, // nobody knows
		{PatientID: "E", At: at(-1)},            // is over
	}, "RIS", "")
	if err != nil || p.Past != 1 || p.Priors != 5 || p.Readable != 1 || p.Late != 1 || p.Restore.Studies != 5 || p.Restore.Packs != 4 {
		t.Fatalf("%+v %v", p, err)
	}
	w.until(p.Restore.ID, 10*time.Minute, archive.RestoreDone)
	// In the order of the appointments where the priority is the same. What two need goes with the first.
	want := []string{"alpha/pack/c1 Standard", "alpha/pack/b1 Standard", "alpha/pack/a1 Standard", "alpha/pack/a2 Bulk"}
	if got := w.store.asked(); !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	for _, p := range w.index.packs[refs["a2"]] {
		if p.Restored.Before(at(48 + 24)) {
			t.Errorf("the copy goes at %s", p.Restored)
		}
	}
	for _, bad := range [][]archive.Appointment{nil, {{At: noon}}, {{PatientID: "A", Priors: 51}}, {{PatientID: "A", At: noon.Add(maxFor)}}, make([]archive.Appointment, maxAppointments+1)} {
		if _, err := w.r.Prefetch(t.Context(), alpha, bad, "", ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d appointments: %v", len(bad), err)
		}
	}
}

// TestUrgentBesideMany: somebody who waits is not behind thousands that were asked for first, and what the
// worker does in one pass is bounded.
func TestUrgentBesideMany(t *testing.T) {
	w := newWorld(t, Options{Rate: 50})
	for i := range 450 {
		w.study(fmt.Sprintf("p.%04d", i), fmt.Sprintf("alpha/pack/%04d", i))
	}
	w.study("urgent", "alpha/pack/urgent")
	all := w.ask(archive.RestoreRequest{PatientID: "p.", Priority: archive.Bulk})
	w.pass(time.Second)
	urgent := w.ask(archive.RestoreRequest{Studies: []string{"urgent"}, Priority: archive.Expedited})
	w.pass(time.Second)
	if !slices.Contains(w.store.asked(), "alpha/pack/urgent Expedited") || len(w.store.asked()) > 100 {
		t.Errorf("%d were asked for, the urgent one not among them", len(w.store.asked()))
	}
	w.w = newWorker(w.r) // another node goes on
	w.until(urgent.ID, 10*time.Second, archive.RestoreDone)
	w.until(all.ID, 30*time.Minute, archive.RestoreDone)
	if n := len(w.store.asked()); n != 451 {
		t.Errorf("%d were asked for", n)
	}
}

// counted counts how often the rows of a request are read together.
type counted struct {
	Table
	reads int
}

func (c *counted) Get(ctx context.Context, t archive.Tenant, ids ...int64) ([]Row, error) {
	if len(ids) > 1 {
		c.reads++
	}
	return c.Table.Get(ctx, t, ids...)
}

// TestOpenRequestsAreLeftAlone: while a study of a request is being restored, the ends of others do not have all of its rows read.
func TestOpenRequestsAreLeftAlone(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A")
	w.study("1.3", "alpha/pack/B")
	batch := w.ask(archive.RestoreRequest{Studies: []string{"1.2", "1.3"}}).ID
	sooner := w.ask(archive.RestoreRequest{Studies: []string{"1.3"}, Priority: archive.Expedited}).ID
	table := &counted{Table: w.table}
	w.r.o.Table = table
	w.w.pruned = w.clock().Add(day) // which looks at all requests, now and then
	for !w.status(sooner).State.Ended() {
		w.pass(time.Minute)
	}
	if table.reads != 0 {
		t.Errorf("the request's rows were read %d times", table.reads)
	}
	w.w.pruned = time.Time{}
	w.until(batch, 10*time.Minute, archive.RestoreDone)
}
