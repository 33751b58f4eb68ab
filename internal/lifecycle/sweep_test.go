package lifecycle

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestSweepThatFails: a copy that cannot be removed ends no round, is told, and hides nothing behind it.
func TestSweepThatFails(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1)
	locked := fault.New(fault.Forbidden, "the object is locked")
	results := []Swept{{Objects: 3, Bytes: 30, More: true}, {Objects: 2, Bytes: 20, More: true}, {More: true}}
	n := 0
	w.sweeping = func(context.Context) (Swept, error) {
		n++
		return results[n-1], locked
	}
	k := w.keeper(deleteMR)
	d := w.round(k)
	if n != 3 || d.Removed != 5 || d.RemovedBytes != 50 || w.o.Counters.Removed.Load() != 5 || d.Moved != 1 {
		t.Errorf("%d sweeps: %+v", n, d)
	}
	s, err := k.State(t.Context())
	if err != nil || s.Failure != (archive.LifecycleFailure{At: noon, Why: "the object is locked"}) || s.Failing != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	w.sweeping = func(context.Context) (Swept, error) { return Swept{}, nil }
	w.round(k)
	if s, err := k.State(t.Context()); err != nil || s.Failure != (archive.LifecycleFailure{}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSweepIsBrokenOff: a pause, other rules and the end of the time end a sweep that is under way, and what it did is counted.
func TestSweepIsBrokenOff(t *testing.T) {
	for name, c := range map[string]struct {
		say  func(t *testing.T, k *Keeper)
		want archive.LifecycleDone
	}{
		"pause":       {func(t *testing.T, k *Keeper) { _ = k.SetPaused(t.Context(), true, "anna") }, archive.LifecycleDone{Removed: 3, RemovedBytes: 30, Paused: true}},
		"other rules": {func(t *testing.T, k *Keeper) { _ = k.SetRules(t.Context(), []byte("rules: []"), "anna") }, archive.LifecycleDone{Removed: 3, RemovedBytes: 30, More: true}},
		"the time":    {func(*testing.T, *Keeper) {}, archive.LifecycleDone{Removed: 3, RemovedBytes: 30, More: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.keeper(deleteMR)
			sweeps := 0
			w.sweeping = func(ctx context.Context) (Swept, error) {
				sweeps++
				c.say(t, k)
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
					t.Error("it goes on")
				}
				return Swept{Objects: 3, Bytes: 30, More: true}, context.Cause(ctx)
			}
			most := time.Hour
			if name == "the time" {
				most = 100 * time.Millisecond
			}
			d, err := k.Apply(t.Context(), most)
			if err != nil || d != c.want || sweeps != 1 {
				t.Errorf("%d sweeps: %+v, %v", sweeps, d, err)
			}
			if s, err := k.State(t.Context()); err != nil || s.Failure != (archive.LifecycleFailure{}) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// TestInVain: a round that found nothing to look at and removed nothing was in vain; others were not.
func TestInVain(t *testing.T) {
	within := func(ctx context.Context, f func(context.Context) error) error { return f(ctx) }
	w := newWorld(t)
	k := w.keeper(deleteMR)
	removes := int64(0)
	w.sweeping = func(context.Context) (Swept, error) { return Swept{Objects: removes}, nil }
	is := func(what string, want bool) {
		t.Helper()
		if vain, err := k.once(t.Context(), within); err != nil || vain != want {
			t.Errorf("%s: in vain: %v, %v", what, vain, err)
		}
	}
	is("nothing can be removed", true)
	removes = 1
	is("something was removed", false)
	removes = 0
	w.add("CT", 400, 1)
	is("a study was looked at", false)
	if err := k.SetPaused(t.Context(), true, "anna"); err != nil {
		t.Fatal(err)
	}
	is("paused", false)
}

// TestStudyInSeveralTiers: what is in several tiers is where no rule wants it, also not the one of the tier that the farthest of it is in.
func TestStudyInSeveralTiers(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1, 2)
	w.change(archive.Ref{1}, func(l *archive.StudyLife) { l.Tiers = []archive.TierName{"cold", "hot"} })
	w.change(archive.Ref{2}, func(l *archive.StudyLife) { l.Tiers = []archive.TierName{"cold"} })
	w.round(w.keeper(`rules: [{ when: { tier: [cold] }, action: move, to: cold }]`))
	w.wants("in cold and hot", "move 1")
}

// TestKeptIsAskedOnce: a study that must be kept is settled or moved meanwhile, counted as one that waits, and asked about once.
func TestKeptIsAskedOnce(t *testing.T) {
	w := newWorld(t)
	w.add("MR", 400, 1)
	w.until[archive.Ref{1}] = noon.Add(9 * 24 * time.Hour)
	k := w.keeper(`rules: [{ when: { modality: [MR] }, action: delete }, { action: move, to: cold }]`)
	d := w.round(k)
	w.wants("kept", "move 1")
	if d.Waiting != 1 || d.Deleted != 0 || w.asked != 1 {
		t.Errorf("%+v, asked %d times", d, w.asked)
	}
	w.passes(9*24*time.Hour + time.Minute)
	w.round(k)
	w.wants("kept no more", "delete 1", "settle 1")
}
