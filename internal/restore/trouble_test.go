package restore

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestProviderTrouble: what a store says to a restore, and what becomes of it.
func TestProviderTrouble(t *testing.T) {
	slow := fault.New(fault.Unavailable, "the store wants fewer requests")
	for name, tt := range map[string]struct {
		priority archive.Priority
		fail     func(call, key, speed string) error // until the trouble is over
		lasts    time.Duration
		during   string // in the failure while it lasts
		end      archive.RestoreState
		says     string
		asked    []string
	}{
		"slow down": {fail: func(call, _, _ string) error { return when(call == "thaw", slow) }, lasts: 10 * time.Minute,
			during: "fewer requests", end: archive.RestoreDone, asked: []string{"alpha/pack/A Standard"}},
		"gone for a while": {fail: func(string, string, string) error { return fault.New(fault.Unavailable, "the store does not answer") }, lasts: 3 * time.Hour,
			during: "does not answer", end: archive.RestoreDone, asked: []string{"alpha/pack/A Standard"}},
		"no expedited capacity": {priority: archive.Expedited, fail: func(_, _, speed string) error {
			return when(speed == "Expedited", fault.New(fault.Busy, "no room"))
		}, lasts: time.Hour, during: "restored at priority standard", end: archive.RestoreDone, asked: []string{"alpha/pack/A Standard"}},
		"a speed that the class lacks": {priority: archive.Expedited, fail: func(_, _, speed string) error {
			return when(speed == "Expedited", fault.New(fault.Invalid, "a deep archive has none"))
		}, lasts: time.Hour, during: "restored at priority standard", end: archive.RestoreDone, asked: []string{"alpha/pack/A Standard"}},
		"refused at every speed": {fail: func(call, _, _ string) error { return when(call == "thaw", fault.New(fault.Invalid, "not for you")) }, lasts: 0,
			end: archive.RestoreFailed, says: "not for you"},
		"not allowed": {priority: archive.Expedited, fail: func(call, _, _ string) error { return when(call == "thaw", fault.New(fault.Forbidden, "not for you")) }, lasts: 0,
			end: archive.RestoreFailed, says: "not for you"},
		"the object is gone": {fail: func(call, _, _ string) error {
			return when(call == "thaw", fault.New(fault.NotFound, "no such object"))
		}, lasts: 0,
			end: archive.RestoreFailed, says: "strata verify"},
		"for good": {fail: func(call, _, _ string) error { return when(call == "thaw", slow) }, lasts: 0,
			end: archive.RestoreFailed, says: "14 days"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.study("1.2", "alpha/pack/A")
			w.store.setFail(tt.fail)
			st := w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Priority: tt.priority})
			for end := w.clock().Add(tt.lasts); w.clock().Before(end); {
				w.pass(time.Minute)
				if st = w.status(st.ID); st.State.Ended() || !st.Ready.After(w.clock()) {
					t.Fatalf("%+v", st)
				}
			}
			if tt.lasts > 0 {
				w.pass(paceEvery)
				if st = w.status(st.ID); !strings.Contains(st.Failure, tt.during) {
					t.Errorf("meanwhile it says %q, want %q", st.Failure, tt.during)
				}
				w.store.setFail(nil)
			}
			st = w.until(st.ID, 20*time.Minute, tt.end)
			if !strings.Contains(st.Failure, tt.says) || tt.end == archive.RestoreDone && st.Failure != "" {
				t.Errorf("it says %q, want %q", st.Failure, tt.says)
			}
			if got := w.store.asked(); !slices.Equal(got, tt.asked) {
				t.Errorf("asked for %q, want %q", got, tt.asked)
			}
		})
	}
}

func when(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}

// TestPauses: a store that does not answer is not asked more and more.
func TestPauses(t *testing.T) {
	w := newWorld(t, Options{Rate: 1000})
	for i := range 50 {
		w.study("1."+string(rune('0'+i)), "alpha/pack/"+string(rune('0'+i)))
	}
	calls := 0
	w.store.setFail(func(string, string, string) error {
		calls++
		return fault.New(fault.Unavailable, "the store does not answer")
	})
	w.ask(archive.RestoreRequest{PatientID: "1."})
	for range 3600 {
		w.pass(time.Second)
	}
	// 1, 2, 4 … 256 s, then every 5 minutes; those that are in flight together may all fail.
	if calls < 18 || calls > 25*atOnce {
		t.Errorf("%d calls in an hour", calls)
	}
}

// TestStoreForgets: a store that was asked and does nothing is asked again, and not for ever.
func TestStoreForgets(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A")
	st := w.ask(one("1.2"))
	for range 2000 {
		if w.status(st.ID).State.Ended() {
			break
		}
		w.pass(10 * time.Minute)
		w.store.mu.Lock()
		*w.store.packs["alpha/pack/A"] = frozen{}
		w.store.mu.Unlock()
	}
	if st = w.status(st.ID); st.State != archive.RestoreFailed || len(w.store.asked()) != maxTries {
		t.Errorf("%+v after %d times", st, len(w.store.asked()))
	}
	// Asking again begins anew.
	w.until(w.ask(one("1.2")).ID, 10*time.Minute, archive.RestoreDone)
}

// TestRestart: a worker that dies at any call of the table leaves a restore that another
// ends, and the store is asked once for each pack.
func TestRestart(t *testing.T) {
	for call := range 12 {
		w := newWorld(t, Options{})
		w.study("1.2", "alpha/pack/A", "alpha/pack/B")
		st := w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Webhook: "https://ris.example/"})
		for n := 0; !w.status(st.ID).State.Ended(); n++ {
			if n > 1000 {
				t.Fatalf("call %d: %+v", call, w.status(st.ID))
			}
			w.mu.Lock()
			w.now = w.now.Add(time.Minute)
			w.mu.Unlock()
			if n%20 == 0 { // the table is away from that call on, and the process is gone
				r := w.over(&dyingTable{Table: w.table, left: call})
				_ = newWorker(r).pass(t.Context())
				w.w = newWorker(w.r)
				continue
			}
			if err := w.w.pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(time.Minute)
		if st = w.status(st.ID); st.State != archive.RestoreDone {
			t.Errorf("call %d: %+v", call, st)
		}
		if got := w.store.asked(); len(got) != 2 {
			t.Errorf("call %d: asked for %q", call, got)
		}
		if err := w.r.deliverDue(t.Context()); err != nil || len(w.hooks.posts) != 1 {
			t.Errorf("call %d: %q %v", call, w.hooks.posts, err)
		}
		if n := w.table.kinds(); n[kindOpen]+n[kindEnding]+n[kindHook] != 0 || n[kindOver] != 1 {
			t.Errorf("call %d: rows %v", call, n)
		}
	}
}

// TestTwoWorkers: should two nodes work for a moment, the store is asked once all the same.
func TestTwoWorkers(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	w.study("1.3", "alpha/pack/C")
	other := newWorker(w.r)
	a, b := w.ask(one("1.2")), w.ask(one("1.3"))
	for range 200 {
		w.pass(5 * time.Minute)
		if err := other.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{a.ID, b.ID} {
		if st := w.status(id); st.State != archive.RestoreDone {
			t.Errorf("%+v", st)
		}
	}
	if got := w.store.asked(); len(got) != 3 {
		t.Errorf("asked for %q", got)
	}
	if n := w.table.kinds(); n[kindOver] != 2 || n[kindOpen] != 0 {
		t.Errorf("%v", n)
	}
}

// TestStudyGoes: a study that is deleted, shredded or moved while it is restored.
func TestStudyGoes(t *testing.T) {
	for name, tt := range map[string]struct {
		begun bool
		gone  func(*world, archive.Ref)
		end   archive.RestoreState
		asked int
	}{
		"deleted before":   {false, func(w *world, r archive.Ref) { delete(w.index.packs, r) }, archive.RestoreCancelled, 0},
		"deleted during":   {true, func(w *world, r archive.Ref) { delete(w.index.packs, r) }, archive.RestoreCancelled, 2},
		"moved to hot":     {false, func(w *world, r archive.Ref) { setTier(w, r, "hot") }, archive.RestoreDone, 0},
		"moved meanwhile":  {true, func(w *world, r archive.Ref) { setTier(w, r, "hot") }, archive.RestoreDone, 2},
		"one pack is left": {false, func(w *world, r archive.Ref) { w.index.packs[r] = w.index.packs[r][1:] }, archive.RestoreDone, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			ref := w.study("1.2", "alpha/pack/A", "alpha/pack/B")
			st := w.ask(one("1.2"))
			if tt.begun {
				w.pass(0)
			}
			w.index.mu.Lock()
			tt.gone(w, ref)
			w.index.mu.Unlock()
			st = w.until(st.ID, 10*time.Minute, tt.end)
			if tt.end == archive.RestoreCancelled && !strings.Contains(st.Failure, "not in the archive") {
				t.Errorf("%+v", st)
			}
			if got := w.store.asked(); len(got) != tt.asked {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

func setTier(w *world, r archive.Ref, tier archive.TierName) {
	for i := range w.index.packs[r] {
		w.index.packs[r][i].Tier = tier
	}
}

// TestIndexAway: where the index does not tell, nothing is asked of a store.
func TestIndexAway(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.2", "alpha/pack/A")
	st := w.ask(one("1.2"))
	w.index.fail = fault.New(fault.Unavailable, "the index database does not answer")
	for range 5 {
		w.pass(time.Minute)
	}
	if len(w.store.asked()) != 0 || w.status(st.ID).State != archive.RestoreWaiting {
		t.Errorf("%+v %q", w.status(st.ID), w.store.asked())
	}
	w.index.fail = nil
	w.until(st.ID, 10*time.Minute, archive.RestoreDone)
}

func TestCancel(t *testing.T) {
	w := newWorld(t, Options{Running: 1})
	w.study("1.1", "alpha/pack/A1", "alpha/pack/A2")
	w.study("1.2", "alpha/pack/B")
	w.study("2.1", "alpha/pack/C")
	begun := w.ask(one("1.1"))
	w.pass(0)
	waits := w.ask(one("1.2"))
	if st, err := w.r.Cancel(t.Context(), alpha, waits.ID); err != nil || st.State != archive.RestoreCancelled {
		t.Errorf("%+v %v", st, err)
	}
	st, err := w.r.Cancel(t.Context(), alpha, begun.ID)
	if err != nil || st.State != archive.RestoreRunning {
		t.Errorf("what has begun goes on: %+v %v", st, err)
	}
	w.until(begun.ID, 10*time.Minute, archive.RestoreCancelled)
	if _, err := w.r.Cancel(t.Context(), alpha, begun.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("cancelled twice: %v", err)
	}
	if got := w.store.asked(); !slices.Equal(got, []string{"alpha/pack/A1 Standard"}) {
		t.Errorf("asked for %q", got)
	}
	// Of a request for several, what others want too goes on.
	other := w.ask(one("1.2"))
	all := w.ask(archive.RestoreRequest{Studies: []string{"1.2", "2.1"}})
	if st, err := w.r.Cancel(t.Context(), alpha, all.ID); err != nil || st.State != archive.RestoreCancelled {
		t.Errorf("%+v %v", st, err)
	}
	if st := w.status(other.ID); st.State != archive.RestoreWaiting || st.Requests != 1 {
		t.Errorf("%+v", st)
	}
	w.until(other.ID, 10*time.Minute, archive.RestoreDone)
	if st := w.status(all.ID); st.State != archive.RestoreCancelled {
		t.Errorf("%+v", st)
	}
	if got := w.store.asked(); len(got) != 2 || got[1] != "alpha/pack/B Standard" {
		t.Errorf("asked for %q", got)
	}
	// Who asks before the end of what was cancelled has it go on.
	a := w.ask(one("2.1"))
	if _, err := w.r.Cancel(t.Context(), alpha, a.ID); err != nil {
		t.Error(err)
	}
	w.until(w.ask(one("2.1")).ID, 10*time.Minute, archive.RestoreDone)
}
