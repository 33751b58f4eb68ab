package restore

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func one(uid string) archive.RestoreRequest { return archive.RestoreRequest{Studies: []string{uid}} }

func TestOneRestoreForAll(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	const viewers = 100
	ids := make([]string, viewers)
	var wg sync.WaitGroup
	for i := range viewers {
		wg.Go(func() { ids[i] = w.ask(one("1.2")).ID })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("more than one restore: %q and %q", ids[0], id)
		}
	}
	st := w.status(ids[0])
	if st.State != archive.RestoreWaiting || st.Packs != 2 || st.Bytes != 2e9 || st.Requests != viewers || st.Priority != archive.Standard || !st.Ready.After(noon) {
		t.Errorf("%+v", st)
	}
	// 2 GB × 0.01, two requests of 0.05 a thousand, and 7 days of copies at 0.02 a month of 730 hours.
	if want := 0.02 + 0.0001 + 2*0.02*7*24/730; st.Cost < want-1e-9 || st.Cost > want+1e-9 {
		t.Errorf("it costs %v, want %v", st.Cost, want)
	}
	w.pass(0)
	if st = w.status(ids[0]); st.State != archive.RestoreRunning || !st.Ready.Equal(noon.Add(4*time.Hour)) {
		t.Errorf("%+v", st)
	}
	ready := time.Time{}
	for range 500 { // minute by minute: the time is never past, and it does not jump about
		st = w.status(ids[0])
		if st.State == archive.RestoreDone {
			break
		}
		if !st.Ready.After(w.clock()) || st.Ready.Before(ready) {
			t.Fatalf("at %s ready %s after %s", w.clock(), st.Ready, ready)
		}
		ready = st.Ready
		w.pass(time.Minute)
	}
	if st.State != archive.RestoreDone || st.PacksIn != 2 || st.BytesIn != 2e9 || !st.Until.Equal(noon.Add(5*time.Hour+DefaultFor)) {
		t.Errorf("%+v", st)
	}
	if took := w.clock().Sub(noon); took < 5*time.Hour || took > 5*time.Hour+16*time.Minute {
		t.Errorf("noticed after %v what took 5h", took)
	}
	for _, object := range []string{"alpha/pack/A", "alpha/pack/B"} {
		if n := w.store.thaws[object]; n != 1 {
			t.Errorf("%s was asked for %d times", object, n)
		}
	}
	// Who comes now finds it done, and nothing is asked of the store.
	again := w.ask(one("1.2"))
	if again.State != archive.RestoreDone || again.ID != "" || !again.Until.Equal(st.Until) || len(w.store.asked()) != 2 {
		t.Errorf("%+v", again)
	}
}

func TestExpiryAndExtension(t *testing.T) {
	w := newWorld(t, Options{For: 2 * day})
	w.study("1.2", "alpha/pack/A")
	first := w.ask(one("1.2")).ID
	done := w.until(first, 10*time.Minute, archive.RestoreDone)
	// More time is asked of the store without waiting.
	longer := archive.RestoreRequest{Studies: []string{"1.2"}, For: 10 * day}
	st := w.ask(longer)
	if st.State != archive.RestoreDone || st.PacksIn != 1 || st.ID == first || !st.Until.Equal(done.Until) {
		t.Errorf("while it is extended: %+v", st)
	}
	w.pass(time.Minute)
	w.pass(time.Minute)
	if got := w.status(st.ID); got.State != archive.RestoreDone || got.Until.Sub(w.clock()) < 10*day-time.Hour {
		t.Errorf("extended: %+v", got)
	}
	if w.status(first).State != archive.RestoreDone {
		t.Errorf("the first: %+v", w.status(first))
	}
	w.pass(11 * day)
	for _, id := range []string{first, st.ID} {
		if got := w.status(id); got.State != archive.RestoreExpired || got.PacksIn != 0 {
			t.Errorf("after its time: %+v", got)
		}
	}
	again := w.ask(one("1.2"))
	if again.State != archive.RestoreWaiting || again.ID == st.ID {
		t.Errorf("%+v", again)
	}
	w.until(again.ID, 10*time.Minute, archive.RestoreDone)
	if n := w.store.thaws["alpha/pack/A"]; n != 3 {
		t.Errorf("asked for %d times", n)
	}
	w.pass(keepOver + day)
	w.pass(upkeep)
	if _, err := w.r.Status(t.Context(), alpha, first); !fault.Is(err, fault.NotFound) {
		t.Errorf("long after: %v", err)
	}
}

func TestUrgency(t *testing.T) {
	w := newWorld(t, Options{Running: 1, Rate: 1000})
	w.study("1.1", "alpha/pack/A1", "alpha/pack/A2")
	w.study("1.2", "alpha/pack/B1", "alpha/pack/B2", "alpha/pack/B3")
	w.study("1.3", "alpha/pack/C1")
	bulk := w.ask(archive.RestoreRequest{Studies: []string{"1.1"}, Priority: archive.Bulk})
	w.pass(0)
	w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Priority: archive.Bulk})
	w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Priority: archive.Standard, First: archive.UIDs{Series: "alpha/pack/B3"}})
	urgent := w.ask(archive.RestoreRequest{Studies: []string{"1.3"}, Priority: archive.Expedited})
	if urgent.Priority != archive.Expedited || urgent.Ready.Sub(w.clock()) < 3*time.Minute {
		t.Errorf("%+v", urgent)
	}
	w.until(bulk.ID, 10*time.Minute, archive.RestoreDone)
	// What had begun went on as it was asked for; then the most urgent, what somebody waits for, the rest.
	want := []string{"alpha/pack/A1 Bulk", "alpha/pack/C1 Expedited", "alpha/pack/B3 Standard", "alpha/pack/B1 Standard", "alpha/pack/B2 Standard", "alpha/pack/A2 Bulk"}
	if got := w.store.asked(); !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, Options{Running: 5, Rate: 2})
	for i := range 20 {
		w.study("1."+string(rune('a'+i)), "alpha/pack/"+string(rune('A'+i)))
	}
	st := w.ask(archive.RestoreRequest{PatientID: "1."})
	if st.Studies != 20 || st.Packs != 20 {
		t.Fatalf("%+v", st)
	}
	for second, want := range []int{2, 4, 5, 5} {
		if w.pass(time.Duration(min(second, 1)) * time.Second); len(w.store.asked()) != want {
			t.Errorf("second %d: %d were asked for, want %d", second, len(w.store.asked()), want)
		}
	}
	// Four times five, one after the other: the estimate says so.
	if st = w.status(st.ID); st.Ready.Sub(noon) < 15*time.Hour || st.Ready.Sub(noon) > 17*time.Hour {
		t.Errorf("ready after %v", st.Ready.Sub(noon))
	}
	busiest := 0
	for range 1000 {
		if w.status(st.ID).State == archive.RestoreDone {
			break
		}
		w.pass(3 * time.Minute)
		running := 0
		for _, p := range w.store.packs {
			if p.ready.After(w.clock()) {
				running++
			}
		}
		busiest = max(busiest, running)
	}
	if st = w.status(st.ID); st.State != archive.RestoreDone || busiest != 5 || len(w.store.asked()) != 20 {
		t.Errorf("%+v, at most %d at once, %d asked for", st, busiest, len(w.store.asked()))
	}
}

func TestObservedTimes(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 4 {
		w.study("1."+string(rune('a'+i)), "alpha/pack/"+string(rune('A'+i)))
	}
	for i := range 3 {
		w.until(w.ask(archive.RestoreRequest{Studies: []string{"1." + string(rune('a'+i))}, Priority: archive.Expedited}).ID, 30*time.Second, archive.RestoreDone)
	}
	w.pass(paceEvery)
	// The tier says 3 minutes; it took 5.
	st := w.ask(archive.RestoreRequest{Studies: []string{"1.d"}, Priority: archive.Expedited})
	if eta := st.Ready.Sub(w.clock()); eta < 5*time.Minute || eta > 6*time.Minute {
		t.Errorf("expected in %v", eta)
	}
	e, err := w.r.Estimate(t.Context(), alpha, one("1.d"))
	if err != nil || len(e.Choices) != 3 || e.Choices[0].Typical < 5*time.Minute || e.Choices[1].Typical < 4*time.Hour || e.Choices[1].Typical > 4*time.Hour+time.Minute {
		t.Errorf("%+v %v", e, err)
	}
}

func TestEstimate(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	w.studies["1.3"] = Study{Ref: archive.Ref{9}}
	e, err := w.r.Estimate(t.Context(), alpha, archive.RestoreRequest{Studies: []string{"1.2", "1.3"}, For: 10 * day})
	if err != nil || e.Studies != 2 || e.Packs != 2 || e.Bytes != 2e9 || len(e.Choices) != 3 {
		t.Fatalf("%+v %v", e, err)
	}
	copies := 2 * 0.02 * 240 / 730
	for i, want := range []archive.RestoreChoice{
		{Priority: archive.Expedited, Typical: 3 * time.Minute, Longest: 5 * time.Minute, Cost: 0.06 + 0.02 + copies},
		{Priority: archive.Standard, Typical: 4 * time.Hour, Longest: 5 * time.Hour, Cost: 0.02 + 0.0001 + copies},
		{Priority: archive.Bulk, Typical: 8 * time.Hour, Longest: 12 * time.Hour, Cost: copies},
	} {
		got := e.Choices[i]
		if got.Priority != want.Priority || (got.Typical-want.Typical).Abs() > time.Second || (got.Longest-want.Longest).Abs() > time.Second || got.Cost-want.Cost > 1e-9 || want.Cost-got.Cost > 1e-9 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if n := len(w.table.kinds()); n != 0 || len(w.store.asked()) != 0 {
		t.Errorf("an estimate started something: %v", w.table.kinds())
	}
	if e, err := w.r.Estimate(t.Context(), alpha, one("1.3")); err != nil || e.Packs != 0 || len(e.Choices) != 0 {
		t.Errorf("what can be read: %+v %v", e, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A")
	ref := w.study("1.9", "alpha/pack/Z")
	w.index.packs[ref][0].Tier = "elsewhere"
	many := archive.RestoreRequest{Studies: make([]string, maxStudies+1)}
	for name, tt := range map[string]struct {
		q    archive.RestoreRequest
		kind fault.Kind
		says string
	}{
		"nothing":             {archive.RestoreRequest{}, fault.Invalid, "either"},
		"two ways":            {archive.RestoreRequest{Studies: []string{"1.2"}, PatientID: "p"}, fault.Invalid, "either"},
		"issuer alone":        {archive.RestoreRequest{Query: "x=y", Issuer: "i"}, fault.Invalid, "issuer"},
		"unknown priority":    {archive.RestoreRequest{Studies: []string{"1.2"}, Priority: "soon"}, fault.Invalid, "priority"},
		"for years":           {archive.RestoreRequest{Studies: []string{"1.2"}, For: 400 * day}, fault.Invalid, "365"},
		"too many":            {many, fault.TooLarge, "5000"},
		"no such study":       {one("1.7"), fault.NotFound, ""},
		"foreign webhook":     {archive.RestoreRequest{Studies: []string{"1.2"}, Webhook: "https://evil.example/"}, fault.Invalid, "list"},
		"a tier that is gone": {one("1.9"), fault.Unavailable, "tier elsewhere"},
	} {
		if _, err := w.r.Ask(t.Context(), alpha, tt.q); !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(w.table.kinds()) != 0 {
		t.Errorf("rows: %v", w.table.kinds())
	}
	st := w.ask(one("1.2"))
	for _, id := range []string{"", "x", st.ID[:25] + "Z", strings.Repeat("0", 26), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"} {
		if _, err := w.r.Status(t.Context(), alpha, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := w.r.Status(t.Context(), "beta", st.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another tenant's: %v", err)
	}
	if _, err := w.r.Cancel(context.Background(), "beta", st.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another tenant cancels: %v", err)
	}
}

func TestRecall(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	var st archive.RestoreStatus
	for range 50 { // a viewer asks for each image
		var err error
		if st, err = w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "1.2", Series: "alpha/pack/B", Instance: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if st.Requests != 1 || st.Priority != archive.Standard {
		t.Errorf("%+v", st)
	}
	w.pass(recallAgain)
	if again, err := w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "1.2", Series: "alpha/pack/B"}); err != nil || again.ID != st.ID || again.Requests != 2 {
		t.Errorf("%+v %v", again, err)
	}
	if got := w.store.asked(); len(got) != 2 || got[0] != "alpha/pack/B Standard" && got[1] != "alpha/pack/B Standard" {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.r.Wait(ctx, alpha, st.ID); err == nil {
		t.Error("the wait did not end with its context")
	}
	waited := make(chan archive.RestoreStatus)
	go func() {
		st, err := w.r.Wait(context.Background(), alpha, st.ID)
		if err != nil {
			t.Error(err)
		}
		waited <- st
	}()
	w.until(st.ID, 10*time.Minute, archive.RestoreDone)
	if st := <-waited; st.State != archive.RestoreDone {
		t.Errorf("%+v", st)
	}
}

// TestRecallOfLostCopy: the index says that there is a copy, and the store has none.
func TestRecallOfLostCopy(t *testing.T) {
	w := newWorld(t, Options{})
	ref := w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	w.until(w.ask(one("1.2")).ID, 10*time.Minute, archive.RestoreDone)
	sel := archive.UIDs{Study: "1.2"}
	if st, err := w.r.Recall(t.Context(), alpha, sel); err != nil || st.State != archive.RestoreDone || st.ID != "" {
		t.Errorf("it is there: %+v %v", st, err)
	} else if st, err = w.r.Wait(t.Context(), alpha, st.ID); err != nil || st.State != archive.RestoreDone {
		t.Errorf("waiting for nothing: %+v %v", st, err)
	}
	*w.store.packs["alpha/pack/B"] = frozen{}
	st, err := w.r.Recall(t.Context(), alpha, sel)
	if err != nil || st.State != archive.RestoreWaiting || st.Packs != 1 || w.index.packs[ref][0].Restored.IsZero() {
		t.Fatalf("%+v %v", st, err)
	}
	w.until(st.ID, 10*time.Minute, archive.RestoreDone)
	if w.store.thaws["alpha/pack/A"] != 1 || w.store.thaws["alpha/pack/B"] != 2 {
		t.Errorf("%v", w.store.thaws)
	}
}

// TestCounts: what waits and what is under way, of every tenant; what has ended is not counted.
func TestCounts(t *testing.T) {
	w := newWorld(t, Options{})
	counts := func(waiting, running int) {
		t.Helper()
		got, err := w.r.Counts(t.Context())
		if err != nil || len(got) != 3 || got[archive.RestoreWaiting] != waiting || got[archive.RestoreRunning] != running {
			t.Errorf("%v, %v; want %d and %d", got, err, waiting, running)
		}
	}
	counts(0, 0)
	w.study("1.2", "alpha/pack/A")
	w.study("1.3", "alpha/pack/B")
	id := w.ask(one("1.2")).ID
	counts(1, 0)
	w.pass(0)
	w.ask(one("1.3"))
	counts(1, 1)
	w.until(id, time.Hour, archive.RestoreDone)
	w.pass(5 * time.Hour)
	w.pass(5 * time.Hour)
	counts(0, 0)
}
