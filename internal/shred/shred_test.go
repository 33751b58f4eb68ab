package shred

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// world is a log, an index of what it says, and the keys that are there. Package node tests the real ones.
type world struct {
	now    time.Time
	sealed map[archive.Ref]archive.Sealed
	closed []archive.ClosedKey
	keys   map[archive.KeyID]bool
	steps  []string // in their order
	fail   string   // the step that fails
}

func (w *world) step(s string) error {
	w.steps = append(w.steps, s)
	if s == w.fail {
		return fault.New(fault.Unavailable, "the store does not answer")
	}
	return nil
}

func (w *world) Ref(uid string) (r archive.Ref) { copy(r[:], uid); return r }

func (w *world) Sealed(_ context.Context, _ archive.Tenant, ref archive.Ref) (archive.Sealed, bool, error) {
	s, ok := w.sealed[ref]
	return s, ok, nil
}

func (w *world) StudiesOf(_ context.Context, _ archive.Tenant, id, _ string) (refs []archive.Ref, _ error) {
	for ref, s := range w.sealed {
		if s.PatientID == id {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

func (w *world) ClosedOf(_ context.Context, _ archive.Tenant, study, patient, _ archive.Ref) (out []archive.ClosedKey, _ error) {
	for _, k := range w.closed {
		if k.Study == study || study == (archive.Ref{}) && k.Closing.Patient == patient {
			out = append(out, k)
		}
	}
	return out, nil
}

func (w *world) ClosedKeys(_ context.Context, _ archive.Tenant, after int64, limit int) (out []archive.ClosedKey, _ error) {
	return w.closed[min(int(after), len(w.closed)):][:min(limit, len(w.closed)-int(after))], nil
}

func (w *world) UnpurgedKeys(_ context.Context, _ archive.Tenant, limit int) (out []archive.ClosedKey, _ error) {
	for _, k := range w.closed {
		if !k.Purged && len(out) < limit {
			out = append(out, k)
		}
	}
	return out, nil
}

func (w *world) SetPurged(_ context.Context, _ archive.Tenant, ids ...archive.KeyID) error {
	if err := w.step("noted"); err != nil {
		return err
	}
	for i := range w.closed {
		w.closed[i].Purged = w.closed[i].Purged || slices.Contains(ids, w.closed[i].ID)
	}
	return nil
}

func (w *world) state(ctx context.Context, _ archive.Ref, f *archive.Fact, check func(context.Context) error) error {
	if err := check(ctx); err != nil {
		return err
	}
	if err := w.step("stated"); err != nil {
		return err
	}
	if err := w.step("indexed"); err != nil {
		return err
	}
	delete(w.sealed, f.Study)
	for _, id := range f.Closed {
		w.closed = append(w.closed, archive.ClosedKey{ID: id, Sequence: int64(len(w.closed) + 1), Study: f.Study, Fact: f.ID, Until: f.Until, Closing: f.Closing})
	}
	return nil
}

func (w *world) NewFactID() (f archive.FactID) {
	ms := w.now.UnixMilli()
	for i := range 6 {
		f[i] = byte(ms >> (40 - 8*i))
	}
	f[15] = byte(len(w.steps))
	return f
}

func (w *world) Destroy(_ context.Context, id archive.KeyID) error {
	if err := w.step("destroyed"); err != nil {
		return err
	}
	delete(w.keys, id)
	return nil
}

func (w *world) Remains(_ context.Context, id archive.KeyID) (bool, error) { return w.keys[id], nil }
func (w *world) Forget(...archive.KeyID)                                   {}
func (w *world) RemovePictures(context.Context, archive.Ref) error         { return w.step("pictures") }

func newWorld() (*world, *Shredder) {
	w := &world{now: time.UnixMilli(1_700_000_000_000).UTC(), keys: map[archive.KeyID]bool{{1}: true, {2}: true, {3}: true}}
	w.sealed = map[archive.Ref]archive.Sealed{
		w.Ref("1.1"): {Keys: []archive.KeyID{{1}, {2}}, Instances: 7, PatientID: "P"},
		w.Ref("1.2"): {Keys: []archive.KeyID{{3}}, Instances: 2},
	}
	return w, New(Options{Tenant: "a", Index: w, Log: w, Refs: w, Keys: w, Caches: w, Destroy: w.state, Catchup: func(context.Context) error { return w.step("caught up") },
		Lifetime: 30 * 24 * time.Hour, Now: func() time.Time { return w.now }})
}

// TestOrder: the fact first, then the index, then the keys, and only then is it noted that they are destroyed.
func TestOrder(t *testing.T) {
	w, s := newWorld()
	st, err := s.Shred(t.Context(), archive.ShredTarget{Study: "1.1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"caught up", "stated", "indexed", "destroyed", "pictures", "noted", "destroyed", "pictures", "noted"}
	if !slices.Equal(w.steps, want) {
		t.Errorf("%v, not %v", w.steps, want)
	}
	if st != (archive.ShredStatus{Studies: 1, Instances: 7, Keys: 2, Closed: w.now, PendingUntil: w.now.Add(30 * 24 * time.Hour)}) {
		t.Errorf("%+v", st)
	}
	if len(w.keys) != 1 {
		t.Errorf("%d keys are left", len(w.keys))
	}
	w.now = w.now.Add(31 * 24 * time.Hour)
	if st, err := s.Shred(t.Context(), archive.ShredTarget{PatientID: "P"}); err != nil || !st.PendingUntil.IsZero() || st.Keys != 2 {
		t.Errorf("when no backup is left: %+v, %v", st, err)
	}
}

// TestFailures: whichever step fails, nothing is said to be done; asking again, or the sweep, comes to the end.
func TestFailures(t *testing.T) {
	for _, step := range []string{"caught up", "stated", "indexed", "destroyed", "pictures", "noted"} {
		for _, again := range []bool{true, false} {
			w, s := newWorld()
			w.fail = step
			if _, err := s.Shred(t.Context(), archive.ShredTarget{Study: "1.1"}); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s: %v", step, err)
			}
			if closed := len(w.closed) > 0; closed != slices.Contains([]string{"destroyed", "pictures", "noted"}, step) {
				t.Errorf("%s: closed %v", step, closed)
			}
			w.fail = ""
			if again {
				if _, err := s.Shred(t.Context(), archive.ShredTarget{Study: "1.1"}); err != nil {
					t.Errorf("%s: again: %v", step, err)
				}
			} else if _, err := s.Sweep(t.Context()); err != nil {
				t.Errorf("%s: sweep: %v", step, err)
			}
			for _, k := range w.closed {
				if !k.Purged || w.keys[k.ID] {
					t.Errorf("%s: a closed key is left", step)
				}
			}
			if again && len(w.closed) != 2 {
				t.Errorf("%s: %d keys are closed", step, len(w.closed))
			}
		}
	}
}

// TestLook: keys that came back are destroyed again, others are not touched.
func TestLook(t *testing.T) {
	w, s := newWorld()
	if _, err := s.Shred(t.Context(), archive.ShredTarget{Study: "1.1"}); err != nil {
		t.Fatal(err)
	}
	w.keys[archive.KeyID{2}] = true
	if n, err := s.Look(t.Context()); err != nil || n != 1 || len(w.keys) != 1 || !w.keys[archive.KeyID{3}] {
		t.Errorf("%d came back, %v; left: %v", n, err, w.keys)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Look(ctx); err == nil {
		t.Error("it goes on although it is not wanted any more")
	}
}

// held is a study that is held from a moment on.
type held struct{ asked, from int }

func (h *held) Held(context.Context, archive.Tenant, archive.Ref) (string, error) {
	if h.asked++; h.asked > h.from {
		return "a legal hold stands on this", nil
	}
	return "", nil
}

// TestHeldMeanwhile: what is held when the fact is about to be stated is not shredded, although it was not held before.
func TestHeldMeanwhile(t *testing.T) {
	for from, want := range []int{3, 3, 1} { // keys that are left
		w, s := newWorld()
		s.o.Holds = &held{from: from}
		_, err := s.Shred(t.Context(), archive.ShredTarget{Study: "1.1"})
		if fault.Is(err, fault.Conflict) != (want == 3) || len(w.keys) != want {
			t.Errorf("held after it was asked %d times: %d keys are left, %v", from, len(w.keys), err)
		}
	}
}
