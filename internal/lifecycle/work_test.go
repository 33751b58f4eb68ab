package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	deleteMR = `rules: [{ name: mr, when: { modality: [MR] }, action: delete }, { name: ct, when: { modality: [CT] }, action: move, to: cold }]`
	day      = 24 * time.Hour
)

// TestStudiesAreLookedAtAgain: what happens to a study between the look at its page and the work on it counts.
func TestStudiesAreLookedAtAgain(t *testing.T) {
	ct, mr := archive.Ref{1}, archive.Ref{2}
	for name, c := range map[string]struct {
		between func(w *world)
		want    []string
		waiting int64
		next    time.Time // when to look again
	}{
		"nothing":           {func(*world) {}, []string{"move 1", "delete 2", "settle 2"}, 0, time.Time{}},
		"a store":           {func(w *world) { w.stores(mr) }, []string{"move 1"}, 0, noon.Add(30 * time.Minute)},
		"another modality":  {func(w *world) { w.change(mr, func(l *archive.StudyLife) { l.Modalities = []string{"US"} }) }, []string{"move 1"}, 0, time.Time{}},
		"a hold":            {func(w *world) { w.until[mr] = noon.Add(9 * day) }, []string{"move 1"}, 1, noon.Add(9 * day)},
		"somebody moved it": {func(w *world) { w.change(mr, func(l *archive.StudyLife) { l.Tiers = []archive.TierName{"cold"} }) }, []string{"move 1", "delete 2", "settle 2"}, 0, time.Time{}},
		"it is gone":        {func(w *world) { delete(w.lives, mr) }, []string{"move 1"}, 0, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add("CT", 400, 1)
			w.add("MR", 400, 2)
			k := w.keeper(deleteMR)
			w.moving = func(_ context.Context, study archive.Ref) error {
				if study == ct {
					c.between(w)
				}
				return nil
			}
			d := w.round(k)
			w.wants(name, c.want...)
			if d.Waiting != c.waiting || d.Failed != 0 {
				t.Errorf("%+v", d)
			}
			if l, ok := w.lives[mr]; ok && l.Deleted == 0 && !l.Due.Equal(c.next) {
				t.Errorf("it is looked at again at %v, want %v", l.Due, c.next)
			}
		})
	}
}

// TestDeletionHidesWhatWasSeen: an instance that comes while a rule deletes its study is either seen, and the study stays, or is not deleted.
func TestDeletionHidesWhatWasSeen(t *testing.T) {
	mr := archive.Ref{2}
	w := newWorld(t)
	w.add("MR", 400, 2)
	k := w.keeper(deleteMR)
	w.deleting = func(_ context.Context, study archive.Ref) error { w.stores(study); return nil } // when it is known what there is
	d := w.round(k)
	w.wants("a store before the last look")
	if d.Deleted != 0 || d.Failed != 0 || len(w.instances[mr]) != 2 {
		t.Errorf("%+v, %v", d, w.instances[mr])
	}

	w.deleting = nil
	w.passes(31 * time.Minute)
	w.stating = func(_ context.Context, study archive.Ref) error { w.stores(study); return nil }
	d = w.round(k)
	w.wants("a store after the last look", "delete 2")
	if d.Deleted != 1 || len(w.instances[mr]) != 1 || w.instances[mr][0] != 2 {
		t.Errorf("%+v: %v is visible, want what came last", d, w.instances[mr])
	}
}

// TestPauseAndRulesHoldAtOnce: not after the page.
func TestPauseAndRulesHoldAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		word func(ctx context.Context, k *Keeper) error
		want archive.LifecycleDone
		then []string // in the next round
	}{
		"pause": {func(ctx context.Context, k *Keeper) error { return k.SetPaused(ctx, true, "anna") }, archive.LifecycleDone{Paused: true, Looked: 3, Moved: 1, Bytes: 10}, nil},
		"rules": {func(ctx context.Context, k *Keeper) error {
			return k.SetRules(ctx, []byte(`rules: [{ action: move, to: ice }]`), "anna")
		},
			archive.LifecycleDone{More: true, Looked: 3, Moved: 1, Bytes: 10}, []string{"move 1", "move 2", "move 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add("CT", 400, 1, 2, 3)
			k := w.keeper(deleteMR)
			other := New(w.o) // on another node
			w.moving = func(ctx context.Context, _ archive.Ref) error { return c.word(ctx, other) }
			d := w.round(k)
			if diff := cmp.Diff(c.want, d); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			w.wants(name, "move 1")
			w.moving = nil
			w.round(k)
			w.wants("the next round", c.then...)
		})
	}
}

// TestPauseBreaksMovesOff: a move that takes hours ends when the lifecycle is paused, and the study is no failure.
func TestPauseBreaksMovesOff(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1, 2)
	k := w.keeper(deleteMR)
	w.moving = func(ctx context.Context, _ archive.Ref) error {
		if err := New(w.o).SetPaused(ctx, true, "anna"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Second):
			return errors.New("nobody ended it")
		}
	}
	d := w.round(k)
	if diff := cmp.Diff(archive.LifecycleDone{Paused: true, Looked: 2}, d); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.wants("while it is paused")
	w.moving = nil
	if err := k.SetPaused(t.Context(), false, "anna"); err != nil {
		t.Fatal(err)
	}
	w.round(k)
	w.wants("resumed", "move 1", "move 2")
}

// TestOneStudyStopsNothing: whatever a study fails with, it is not the first one that the next round meets.
func TestOneStudyStopsNothing(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Forbidden, fault.Busy, fault.Corrupt, fault.Conflict} {
		w := newWorld(t)
		w.add("CT", 400, 1, 2)
		w.change(archive.Ref{1}, func(l *archive.StudyLife) { l.Settled, l.Loose = false, 1 })
		k := w.keeper(deleteMR)
		w.settling = func(context.Context, archive.Ref) error { return fault.New(kind, "no") }
		_, err := k.Round(t.Context())
		if ends := kind != fault.Corrupt && kind != fault.Conflict; (err != nil) != ends {
			t.Errorf("%v: %v", kind, err)
		}
		if _, err := k.Round(t.Context()); err != nil {
			t.Errorf("%v: again: %v", kind, err)
		}
		w.wants(kind.String(), "move 2")
		s, err := k.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := archive.LifecycleState{Rules: 2, By: "alice", Stated: noon, Round: archive.LifecycleRound{At: noon}}
		if kind != fault.Conflict { // that is no failure
			want.Failing, want.Retry, want.Failure = 1, noon.Add(10*time.Minute), archive.LifecycleFailure{At: noon, Why: "no"}
		}
		s.Round.Done = archive.LifecycleDone{}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%v (-want +got):\n%s", kind, diff)
		}
	}
}

// TestRetries: a study that fails is tried again after twice as long each time, until it succeeds.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1)
	k := w.keeper(deleteMR)
	w.moving = func(context.Context, archive.Ref) error { return fault.New(fault.Full, "no room") }
	for _, after := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute} {
		if d := w.round(k); d.Failed != 1 {
			t.Errorf("%+v", d)
		}
		if got := w.lives[archive.Ref{1}].Due.Sub(w.clock()); got != after {
			t.Errorf("it is tried again after %v, want %v", got, after)
		}
		w.passes(after)
		k = New(w.o) // the archive was closed meanwhile
	}
	fails := w.moving
	w.moving = nil
	w.round(k)
	if s, err := k.State(t.Context()); err != nil || s.Failing != 0 || s.Failure != (archive.LifecycleFailure{}) || s.Round.Done.Moved != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	w.moving = fails
	w.change(archive.Ref{1}, func(l *archive.StudyLife) { l.Tiers, l.Due = []archive.TierName{"hot"}, w.now })
	w.round(k)
	if got := w.lives[archive.Ref{1}].Due.Sub(w.clock()); got != 10*time.Minute {
		t.Errorf("after it succeeded it is tried again after %v", got)
	}
}

// TestRoomThatIsMade: no more is moved than makes the room that a rule wants, however large the page.
func TestRoomThatIsMade(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1, 2, 3, 4, 5, 6)
	w.o.Disk = func() (int64, int64, error) { return 75, 1000, nil } // 10% are 100
	k := w.keeper(`rules: [{ when: { free: { under: 10% } }, action: move, to: cold }]`)
	fails := 0
	w.moving = func(_ context.Context, study archive.Ref) error {
		if study == (archive.Ref{1}) {
			fails++
			return fault.New(fault.Forbidden, "no")
		}
		return nil
	}
	w.round(k)
	w.wants("at first", "move 2", "move 3", "move 4") // 105; what could not be moved makes no room
	w.letGo = 25                                      // what is about to be removed is as good as free
	w.change(archive.Ref{5}, func(l *archive.StudyLife) { l.Due = w.now })
	w.round(k)
	w.wants("with what is let go of")
	if fails != 1 {
		t.Errorf("%d tries", fails)
	}
}

// TestRoomOfWhatIsInSeveralTiers: what is partly in the hot tier makes room when it is moved out of it, and what is not there makes none.
func TestRoomOfWhatIsInSeveralTiers(t *testing.T) {
	for _, c := range []struct {
		tiers []archive.TierName
		loose int
		want  []string
	}{
		{[]archive.TierName{"cold", "hot"}, 0, []string{"move 1", "move 2", "move 3", "settle 4", "settle 5"}},
		{[]archive.TierName{"cold"}, 1, []string{"settle 1", "move 1", "settle 2", "move 2", "settle 3", "move 3", "settle 4", "settle 5"}},
		{[]archive.TierName{"cold"}, 0, []string{"move 1", "move 2", "move 3", "move 4", "move 5"}},
	} {
		w := newWorld(t)
		w.add("CT", 400, 1, 2, 3, 4, 5)
		for n := range byte(5) {
			w.change(archive.Ref{n + 1}, func(l *archive.StudyLife) { l.Tiers, l.Loose, l.Settled = c.tiers, c.loose, c.loose == 0 })
		}
		w.o.Disk = func() (int64, int64, error) { return 75, 1000, nil } // 10% are 100
		w.round(w.keeper(`rules: [{ when: { free: { under: 10% } }, action: move, to: ice }]`))
		w.wants(fmt.Sprint(c.tiers, c.loose), c.want...)
	}
}
