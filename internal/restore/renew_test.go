package restore

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// late has a pack that was asked for come so late.
func (w *world) late(object string, after time.Duration) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	p := w.store.packs[object]
	p.ready = noon.Add(after)
	p.until = p.ready.Add(day)
}

// TestReadableTogether: of a study whose packs come further apart than copies stay, those that came first stay until all are there.
func TestReadableTogether(t *testing.T) {
	for name, tt := range map[string]struct {
		trouble func(call, key, speed string) error
		before  func(w *world, ref archive.Ref)
		asked   string // the pack that is asked for alone before
	}{
		"restored together": {},
		"one was there":     {asked: "alpha/pack/A"},
		"one was left by a move": {before: func(w *world, _ archive.Ref) {
			w.index.left["alpha/pack/A"] = noon.Add(time.Hour)
		}},
		"a store that is slow at times": {trouble: func(call, key, _ string) error {
			if call == "thaw" && key == "alpha/pack/A" {
				return fault.New(fault.Unavailable, "the store wants fewer requests")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{For: day})
			ref := w.study("1.2", "alpha/pack/A", "alpha/pack/B", "alpha/pack/C")
			if tt.before != nil {
				tt.before(w, ref)
			}
			if tt.asked != "" {
				all := w.index.packs[ref]
				w.index.packs[ref] = all[:1]
				w.until(w.ask(one("1.2")).ID, 10*time.Minute, archive.RestoreDone)
				all[0] = w.index.packs[ref][0]
				w.index.packs[ref] = all
			}
			st := w.ask(one("1.2"))
			w.pass(0)
			w.late("alpha/pack/B", 100*time.Hour)
			w.late("alpha/pack/C", 61*time.Hour)
			there := map[int]bool{}
			for n := 0; w.status(st.ID).State != archive.RestoreDone; n++ {
				if n > 200 {
					t.Fatalf("%+v", w.status(st.ID))
				}
				w.store.setFail(nil)
				if n%8 == 3 {
					w.store.setFail(tt.trouble)
				}
				w.pass(time.Hour)
				for i, p := range w.index.packs[ref] {
					if ok := p.Restored.After(w.clock()); there[i] && !ok {
						t.Fatalf("after %s pack %d is gone again", w.clock().Sub(noon), i)
					} else if ok {
						there[i] = true
					}
				}
			}
			got := w.status(st.ID)
			for i, p := range w.index.packs[ref] {
				if p.Restored.Sub(w.clock()) < day/2-2*time.Hour {
					t.Errorf("pack %d goes after %s", i, p.Restored.Sub(w.clock()))
				}
				if n := w.store.begun[p.Object]; n > 1 {
					t.Errorf("pack %d was restored %d times", i, n)
				}
			}
			if took := w.clock().Sub(noon); took < 100*time.Hour || took > 102*time.Hour || got.Until.IsZero() {
				t.Errorf("after %s: %+v", took, got)
			}
			// A request for each half of the time that they stay, and a few more.
			if n := len(w.store.asked()); n > 3+2*(100/12+2) {
				t.Errorf("the store was asked %d times: %q", n, w.store.asked())
			}
			if _, left := w.index.left["alpha/pack/A"]; left != (w.store.begun["alpha/pack/A"] == 0) {
				t.Errorf("left %v, begun %v", w.index.left, w.store.begun)
			}
			// Then nothing is prolonged any more.
			n := len(w.store.asked())
			for range 30 {
				w.pass(time.Hour)
			}
			if len(w.store.asked()) != n {
				t.Errorf("asked for %q after its end", w.store.asked()[n:])
			}
		})
	}
}

// TestLooks: what comes far too early is noticed soon, and what takes its time, or never comes, is looked at a bounded number of times.
func TestLooks(t *testing.T) {
	for name, tt := range map[string]struct {
		priority archive.Priority
		comes    time.Duration
		late     time.Duration // until it is noticed
		looks    int
	}{
		"at once":            {archive.Bulk, time.Second, 6 * time.Second, 3},
		"in a minute":        {archive.Bulk, time.Minute, 35 * time.Second, 9},
		"in ten minutes":     {archive.Standard, 10 * time.Minute, 6 * time.Minute, 14},
		"expedited":          {archive.Expedited, 3 * time.Minute, 12 * time.Second, 25},
		"as a rule":          {archive.Standard, 4 * time.Hour, 16 * time.Minute, 35},
		"at the latest":      {archive.Standard, 5 * time.Hour, 20 * time.Minute, 40},
		"in the night":       {archive.Bulk, 12 * time.Hour, 31 * time.Minute, 45},
		"days too late":      {archive.Standard, 72 * time.Hour, 31 * time.Minute, 190},
		"expedited, in days": {archive.Expedited, 72 * time.Hour, 31 * time.Minute, 230},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.study("1.2", "alpha/pack/A")
			st := w.ask(archive.RestoreRequest{Studies: []string{"1.2"}, Priority: tt.priority})
			w.pass(0)
			w.late("alpha/pack/A", tt.comes)
			for w.status(st.ID).State != archive.RestoreDone {
				if w.clock().Sub(noon) > tt.comes+tt.late {
					t.Fatalf("not noticed after %s", w.clock().Sub(noon))
				}
				if ready := w.status(st.ID).Ready; !ready.After(w.clock()) {
					t.Fatalf("expected at %s", ready)
				}
				w.pass(max(time.Second, tt.comes/2000))
			}
			if w.store.looks > tt.looks {
				t.Errorf("%d looks until it was noticed after %s", w.store.looks, w.clock().Sub(noon))
			}
			t.Logf("%d looks, noticed %s late", w.store.looks, w.clock().Sub(noon)-tt.comes)
		})
	}
}
